"""Where branches meet: sums, products, and tensors laid side by side."""

from itertools import accumulate, pairwise

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import Tap, dims, joined, pointwise
from zfviz.graph.rules import Signals, rule
from zfviz.graph.rules.shape import refuse_batch


@rule("Add", reach=pointwise)
@rule("Sum", reach=pointwise)
def copy(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal, to each summand."""
    return {i: net.unbroadcast(signal, layer, t) for i, t in enumerate(layer.inputs) if net.wants(t)}


@rule("Sub", reach=pointwise)
def copy_and_negate(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal to the minuend, its negative to the subtrahend."""
    signals: dict[int, Tensor | None] = {}
    if net.wants(layer.inputs[0]):
        signals[0] = net.unbroadcast(signal, layer, layer.inputs[0])
    if net.wants(layer.inputs[1]):
        signals[1] = net.unbroadcast(net.emit("Neg", signal), layer, layer.inputs[1])
    return signals


@rule("Mul", reach=pointwise, curved=True)
def times_other(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the other factor, for each factor: a gate passes both ways, in every method."""
    return {
        i: net.unbroadcast(net.emit("Mul", signal, net.forward(layer.inputs[1 - i])), layer, t)
        for i, t in enumerate(layer.inputs)
        if net.wants(t)
    }


@rule("Div", reach=pointwise, curved=True)
def over_divisor(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal over the divisor; to the divisor, that times minus the quotient."""
    divided = net.emit("Div", signal, net.forward(layer.inputs[1]))
    signals: dict[int, Tensor | None] = {}
    if net.wants(layer.inputs[0]):
        signals[0] = net.unbroadcast(divided, layer, layer.inputs[0])
    if net.wants(layer.inputs[1]):
        scaled = net.emit("Neg", net.emit("Mul", divided, net.forward(layer.outputs[0])))
        signals[1] = net.unbroadcast(scaled, layer, layer.inputs[1])
    return signals


@rule("Mean", reach=pointwise)
def share_evenly(layer: Node, signal: Tensor, net: Net) -> Signals:
    """An equal share of the signal, to each summand."""
    return copy(layer, net.emit("Mul", signal, net.constant(1 / len(layer.inputs))), net)


@rule("Max", reach=pointwise)
@rule("Min", reach=pointwise)
def choose(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal to the input that was chosen, in equal shares where several were."""
    values = [net.forward(tensor) for tensor in layer.inputs]
    chosen = [net.emit("Equal", value, net.forward(layer.outputs[0])) for value in values]
    hits = [net.real(mask) for mask in chosen]
    share = net.emit("Div", signal, net.total(hits))
    return {
        i: net.unbroadcast(net.emit("Mul", share, hits[i]), layer, t)
        for i, t in enumerate(layer.inputs)
        if net.wants(t)
    }


@rule("Where", reach=pointwise)
def route(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal to the branch that was taken, element by element."""
    condition, zero = net.forward(layer.inputs[0]), net.constant(0)
    signals: dict[int, Tensor | None] = {0: None}
    for index, parts in ((1, (signal, zero)), (2, (zero, signal))):
        if net.wants(layer.inputs[index]):
            signals[index] = net.unbroadcast(net.emit("Where", condition, *parts), layer, layer.inputs[index])
    return signals


@rule("Concat", reach=joined)
def take_apart(layer: Node, signal: Tensor, net: Net) -> Signals:
    """To each input, the part of the signal that it filled."""
    axis: int = layer.attrs["axis"] % len(dims(layer.outputs[0]))
    refuse_batch(layer, axis, net)
    signals: dict[int, Tensor | None] = {}
    ends = list(accumulate(dims(tensor)[axis] for tensor in layer.inputs))
    for index, (start, end) in enumerate(pairwise([0, *ends])):
        if net.wants(layer.inputs[index]):
            signals[index] = net.slice(signal, [start], [end], [axis])
    return signals


def _parted(node: Node, index: int, axis: int) -> Tap | None:
    """Split: along the split axis positions move, by a distance that differs from output to output."""
    rank = len(dims(node.inputs[0]))
    return Tap(axis) if index == 0 and axis != node.attrs.get("axis", 0) % rank else None


@rule("Split", reach=_parted, every_output=True)
def put_together(layer: Node, signal: tuple[Tensor | None, ...], net: Net) -> Signals:
    """The signals side by side, zeros where none came."""
    rank = len(dims(layer.inputs[0]))
    axis: int = layer.attrs.get("axis", 0) % rank
    refuse_batch(layer, axis, net)
    some = next(s for s in signal if s is not None)
    parts = [
        net.zeros_along(some, axis, dims(output)[axis], rank) if part is None else part
        for output, part in zip(layer.outputs, signal, strict=True)
    ]
    return {0: net.emit("Concat", *parts, axis=axis)}

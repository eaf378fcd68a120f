"""Reductions: many numbers to one, along some axes."""

from math import prod

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import Tap, dims
from zfviz.graph.rules import Signals, rule
from zfviz.graph.rules.shape import constant_of, is_given, refuse_batch


def _kept(node: Node, index: int, axis: int) -> Tap | None:
    """An axis that is not reduced stays."""
    kept = [a for a in range(len(dims(node.inputs[0]))) if node.attrs.get("keepdims", 1) or a not in reduced_axes(node)]
    return Tap(kept[axis]) if index == 0 and kept[axis] not in reduced_axes(node) else None


def reduced_axes(layer: Node) -> list[int]:
    """The axes that a reduction takes together, from the front."""
    rank = len(dims(layer.inputs[0]))
    axes: list[int] = constant_of(layer, 1, "axes").reshape(-1).tolist() if is_given(layer, 1) else []
    if not axes:
        return [] if layer.attrs.get("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({axis % rank for axis in axes})


@rule("ReduceSum", reach=_kept)
def repeat(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal, to each summand."""
    sizes = [size or 1 for size in net.rows(layer.inputs[0])]
    return {0: net.emit("Expand", _column(layer, signal, net), net.ints(sizes))}


@rule("ReduceMean", reach=_kept)
def spread_evenly(layer: Node, signal: Tensor, net: Net) -> Signals:
    """An equal share of the signal, to each summand."""
    count = prod(dims(layer.inputs[0])[axis] for axis in reduced_axes(layer))
    return repeat(layer, net.emit("Mul", signal, net.constant(1 / max(1, count))), net)


@rule("ReduceMax", reach=_kept)
@rule("ReduceMin", reach=_kept)
def back_to_extreme(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal to the extreme value, in equal shares where several are."""
    hits = net.real(net.emit("Equal", net.forward(layer.inputs[0]), _value(layer, net)))
    count = net.emit("ReduceSum", hits, net.ints(reduced_axes(layer)), keepdims=1)
    return {0: net.emit("Mul", hits, net.emit("Div", _column(layer, signal, net), count))}


@rule("ReduceL1", reach=_kept)
def times_signs(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the sign of each value."""
    return {0: net.emit("Mul", net.emit("Sign", net.forward(layer.inputs[0])), _column(layer, signal, net))}


@rule("ReduceL2", reach=_kept, curved=True)
def times_direction(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times each value over their norm; nothing at the origin."""
    norm = _value(layer, net)
    share = net.emit("Div", _column(layer, signal, net), norm)
    share = net.mask(net.emit("Greater", norm, net.constant(0)), share)
    return {0: net.emit("Mul", net.forward(layer.inputs[0]), share)}


@rule("ReduceSumSquare", reach=_kept, curved=True)
def times_twice_value(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times twice each value."""
    doubled = net.emit("Mul", _column(layer, signal, net), net.constant(2))
    return {0: net.emit("Mul", net.forward(layer.inputs[0]), doubled)}


@rule("ReduceLogSum", reach=_kept, curved=True)
def over_sum(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal over the sum, to each summand."""
    total = net.emit("Exp", net.forward(layer.outputs[0]))
    return repeat(layer, net.emit("Div", signal, total), net)


@rule("ReduceLogSumExp", reach=_kept, curved=True)
def times_odds(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times exp(x - y): the softmax of the values."""
    odds = net.emit("Exp", net.emit("Sub", net.forward(layer.inputs[0]), _value(layer, net)))
    return {0: net.emit("Mul", odds, _column(layer, signal, net))}


def _column(layer: Node, signal: Tensor, net: Net) -> Tensor:
    """A tensor of the shape of the output with the reduced axes back, one long."""
    axes = reduced_axes(layer)
    for axis in axes:
        refuse_batch(layer, axis, net)
    if layer.attrs.get("keepdims", 1):
        return signal
    sizes = [1 if axis in axes else size for axis, size in enumerate(net.rows(layer.inputs[0]))]
    return net.emit("Reshape", signal, net.ints([-1 if size is None else size for size in sizes]))


def _value(layer: Node, net: Net) -> Tensor:
    return _column(layer, net.forward(layer.outputs[0]), net)

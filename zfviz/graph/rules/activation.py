"""Activations: where the methods differ (paper, section 2.1: rectification)."""

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import dims, pointwise
from zfviz.graph.rules import Signals, rule
from zfviz.graph.rules.shape import constant_of, refuse_batch


@rule("Relu", reach=pointwise)
def mask_by_forward(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where the forward value was positive: the gradient."""
    return {0: net.mask(_was_positive(layer, net), signal)}


@rule("Relu", method="deconvnet", reach=pointwise)
def rectify(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The positive part of the signal itself (paper, section 2.1)."""
    del layer
    return {0: net.emit("Relu", signal)}


@rule("Relu", method="guided", reach=pointwise)
def rectify_and_mask(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The positive part of the signal where the forward value was positive (Springenberg et al. 2014)."""
    return {0: net.mask(_was_positive(layer, net), net.emit("Relu", signal))}


def _was_positive(layer: Node, net: Net) -> Tensor:
    return net.emit("Greater", net.forward(layer.outputs[0]), net.constant(0))


@rule("LeakyRelu", reach=pointwise)
def leak_by_forward(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal, times alpha where the forward value was negative: the gradient."""
    negative = net.emit("Less", net.forward(layer.inputs[0]), net.constant(0))
    return {0: net.emit("Where", negative, _leaked(layer, signal, net), signal)}


@rule("LeakyRelu", method="deconvnet", reach=pointwise)
def leak(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The leaky rectification of the signal itself."""
    return {0: net.emit("LeakyRelu", signal, alpha=_alpha(layer))}


@rule("LeakyRelu", method="guided", reach=pointwise)
def leak_twice(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The leaky rectification of the signal, times the gradient of the forward one."""
    return leak_by_forward(layer, net.emit("LeakyRelu", signal, alpha=_alpha(layer)), net)


def _alpha(layer: Node) -> float:
    return layer.attrs.get("alpha", 0.01)


def _leaked(layer: Node, signal: Tensor, net: Net) -> Tensor:
    return net.emit("Mul", signal, net.constant(_alpha(layer)))


@rule("Clip", reach=pointwise)
def mask_inside(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where the forward value lay between the bounds: the gradient."""
    low, high = _bounds(layer)
    if low is not None:
        signal = net.mask(net.emit("Greater", net.forward(layer.inputs[0]), net.forward(low)), signal)
    return {0: _mask_below(layer, signal, high, net)}


@rule("Clip", method="deconvnet", reach=pointwise)
def rectify_below(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Clip(0, b) is Relu, then Min: the positive part of the signal, where the forward value lay below b."""
    if not _rectifies(layer):
        return mask_inside(layer, signal, net)
    return {0: net.emit("Relu", _mask_below(layer, signal, _bounds(layer)[1], net))}


@rule("Clip", method="guided", reach=pointwise)
def rectify_inside(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The positive part of the signal where the forward value lay between the bounds."""
    return mask_inside(layer, net.emit("Relu", signal) if _rectifies(layer) else signal, net)


def _bounds(layer: Node) -> tuple[Tensor | None, Tensor | None]:
    low, high = (layer.inputs[i] if len(layer.inputs) > i and not layer.inputs[i].is_empty() else None for i in (1, 2))
    return low, high


def _rectifies(layer: Node) -> bool:
    return _bounds(layer)[0] is not None and not constant_of(layer, 1, "bounds").any()


def _mask_below(layer: Node, signal: Tensor, high: Tensor | None, net: Net) -> Tensor:
    if high is None:
        return signal
    return net.mask(net.emit("Less", net.forward(layer.inputs[0]), net.forward(high)), signal)


@rule("Sigmoid", reach=pointwise, curved=True)
def times_sigmoid_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times y (1 - y): exact in every method, since a gate is no rectifier."""
    y = net.forward(layer.outputs[0])
    return {0: net.emit("Mul", signal, net.emit("Mul", y, net.emit("Sub", net.constant(1), y)))}


@rule("Tanh", reach=pointwise, curved=True)
def times_tanh_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times 1 - y^2."""
    y = net.forward(layer.outputs[0])
    return {0: net.emit("Mul", signal, net.emit("Sub", net.constant(1), net.emit("Mul", y, y)))}


@rule("Softmax", curved=True)
def softmax_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """y (g - sum(g y)): exact in every method."""
    y = net.forward(layer.outputs[0])
    axis = layer.attrs.get("axis", -1) % len(dims(layer.inputs[0]))
    refuse_batch(layer, axis, net)
    weighted = net.emit("Mul", signal, y)
    total = net.emit("ReduceSum", weighted, net.ints([axis]), keepdims=1)
    return {0: net.emit("Sub", weighted, net.emit("Mul", y, total))}

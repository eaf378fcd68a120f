"""Activations: their slopes; what the methods make of rectifiers is told in `companion` (paper, section 2.1)."""

from math import pi, sqrt

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import across_axis, dims, pointwise
from zfviz.graph.rules import Signals, rule
from zfviz.graph.rules.shape import is_given, refuse_batch


@rule("Relu", reach=pointwise)
def mask_by_forward(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where the forward value was positive: the gradient."""
    return {0: net.mask(net.emit("Greater", net.forward(layer.outputs[0]), net.constant(0)), signal)}


@rule("LeakyRelu", reach=pointwise)
def leak_by_forward(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal, times alpha where the forward value was not positive: the gradient."""
    positive = net.emit("Greater", net.forward(layer.inputs[0]), net.constant(0))
    leaked = net.emit("Mul", signal, net.constant(layer.attrs.get("alpha", 0.01)))
    return {0: net.emit("Where", positive, signal, leaked)}


@rule("Clip", reach=pointwise)
def mask_inside(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where the forward value lay between the bounds: the gradient."""
    x = net.forward(layer.inputs[0])
    for index, inside in ((1, "Greater"), (2, "Less")):
        if is_given(layer, index):
            signal = net.mask(net.emit(inside, x, net.forward(layer.inputs[index])), signal)
    return {0: signal}


@rule("PRelu", reach=pointwise)
def leak_by_channel(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal, times the slope where the forward value was not positive: the gradient."""
    positive = net.emit("Greater", net.forward(layer.inputs[0]), net.constant(0))
    return {0: net.emit("Where", positive, signal, net.emit("Mul", signal, net.forward(layer.inputs[1])))}


@rule("PRelu", method="deconvnet", reach=pointwise)
def leak(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The leaky rectification of the signal itself."""
    return {0: net.emit("PRelu", signal, net.forward(layer.inputs[1]))}


@rule("PRelu", method="guided", reach=pointwise)
def leak_twice(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The leaky rectification of the signal, times the gradient of the forward one."""
    return leak_by_channel(layer, net.emit("PRelu", signal, net.forward(layer.inputs[1])), net)


@rule("ThresholdedRelu", reach=pointwise)
def mask_by_threshold(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where the forward value was above alpha."""
    above = net.emit("Greater", net.forward(layer.inputs[0]), net.constant(layer.attrs.get("alpha", 1.0)))
    return {0: net.mask(above, signal)}


@rule("Elu", reach=pointwise, curved=True)
@rule("Selu", reach=pointwise, curved=True)
@rule("Celu", reach=pointwise, curved=True)
def times_exponential_unit_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times gamma where the forward value was positive, else times gamma alpha exp(x)."""
    alpha = layer.attrs.get("alpha", 1.6732632 if layer.op == "Selu" else 1.0)
    gamma = layer.attrs.get("gamma", 1.0507010) if layer.op == "Selu" else 1.0
    x = net.forward(layer.inputs[0])
    # exp of what is positive might overflow
    fall = net.emit("Exp", net.emit("Min", x, net.constant(0)))
    if layer.op == "Celu":
        fall = net.emit("Exp", net.emit("Div", net.emit("Min", x, net.constant(0)), net.constant(alpha)))
        alpha = 1.0
    slope = net.emit("Where", net.emit("Greater", x, net.constant(0)), net.constant(1), _times(fall, alpha, net))
    return {0: _times(net.emit("Mul", signal, slope), gamma, net)}


@rule("Softplus", reach=pointwise, curved=True)
def times_gate(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times sigmoid(x)."""
    return {0: net.emit("Mul", signal, net.emit("Sigmoid", net.forward(layer.inputs[0])))}


@rule("Softsign", reach=pointwise, curved=True)
def times_softsign_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times (1 - |y|)^2."""
    rest = net.emit("Sub", net.constant(1), net.emit("Abs", net.forward(layer.outputs[0])))
    return {0: net.emit("Mul", signal, net.emit("Mul", rest, rest))}


@rule("Mish", reach=pointwise, curved=True)
def times_mish_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times t + x (1 - t^2) sigmoid(x), where t = tanh(softplus(x))."""
    x = net.forward(layer.inputs[0])
    gate = net.emit("Tanh", net.emit("Softplus", x))
    steepness = net.emit("Mul", _tanh_slope(gate, net), net.emit("Sigmoid", x))
    return {0: net.emit("Mul", signal, _product_slope(gate, x, steepness, net))}


@rule("Gelu", reach=pointwise, curved=True)
def times_gelu_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the slope of x P(x), where P is the normal distribution or its tanh approximation."""
    x = net.forward(layer.inputs[0])
    square = net.emit("Mul", x, x)
    if layer.attrs.get("approximate", "none") == "tanh":
        inner = net.emit("Add", _times(square, 0.044715, net), net.constant(1))
        bent = net.emit("Tanh", _times(net.emit("Mul", x, inner), sqrt(2 / pi), net))
        growth = net.emit("Add", _times(square, 3 * 0.044715, net), net.constant(1))
        density = _times(net.emit("Mul", _tanh_slope(bent, net), growth), sqrt(2 / pi) / 2, net)
    else:
        bent = net.emit("Erf", _times(x, sqrt(1 / 2), net))
        density = _times(net.emit("Exp", _times(square, -1 / 2, net)), 1 / sqrt(2 * pi), net)
    portion = _times(net.emit("Add", bent, net.constant(1)), 1 / 2, net)
    return {0: net.emit("Mul", signal, _product_slope(portion, x, density, net))}


@rule("HardSwish", reach=pointwise, curved=True)
def times_hard_swish_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where the forward value is above 3, none below -3, times x / 3 + 1 / 2 between."""
    x = net.forward(layer.inputs[0])
    line = net.emit("Add", _times(x, 1 / 3, net), net.constant(1 / 2))
    above, below = net.emit("Greater", x, net.constant(3)), net.emit("Less", x, net.constant(-3))
    slope = net.emit("Where", above, net.constant(1), net.emit("Where", below, net.constant(0), line))
    return {0: net.emit("Mul", signal, slope)}


def _times(value: Tensor, factor: float, net: Net) -> Tensor:
    return value if factor == 1 else net.emit("Mul", value, net.constant(factor))


def _bell(gate: Tensor, net: Net) -> Tensor:
    """The slope of a sigmoid, from its value."""
    return net.emit("Mul", gate, net.emit("Sub", net.constant(1), gate))


def _tanh_slope(bent: Tensor, net: Net) -> Tensor:
    """The slope of a tanh, from its value."""
    return net.emit("Sub", net.constant(1), net.emit("Mul", bent, bent))


def _product_slope(gate: Tensor, x: Tensor, steepness: Tensor, net: Net) -> Tensor:
    """The slope of x times a gate of x that has this steepness."""
    return net.emit("Add", gate, net.emit("Mul", x, steepness))


@rule("HardSigmoid", reach=pointwise)
def times_ramp_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times alpha where the forward value lies on the ramp, strictly between 0 and 1."""
    y = net.forward(layer.outputs[0])
    ramp = net.emit("And", net.emit("Greater", y, net.constant(0)), net.emit("Less", y, net.constant(1)))
    return {0: net.mask(ramp, _times(signal, layer.attrs.get("alpha", 0.2), net))}


@rule("Sigmoid", reach=pointwise, curved=True)
def times_sigmoid_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times y (1 - y): exact in every method, since a gate is no rectifier."""
    return {0: net.emit("Mul", signal, _bell(net.forward(layer.outputs[0]), net))}


@rule("Tanh", reach=pointwise, curved=True)
def times_tanh_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times 1 - y^2."""
    return {0: net.emit("Mul", signal, _tanh_slope(net.forward(layer.outputs[0]), net))}


@rule("Softmax", reach=across_axis, curved=True)
def softmax_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """y (g - sum(g y)): exact in every method."""
    y = net.forward(layer.outputs[0])
    axis = layer.attrs.get("axis", -1) % len(dims(layer.inputs[0]))
    refuse_batch(layer, axis, net)
    weighted = net.emit("Mul", signal, y)
    total = net.emit("ReduceSum", weighted, net.ints([axis]), keepdims=1)
    return {0: net.emit("Sub", weighted, net.emit("Mul", y, total))}


@rule("LogSoftmax", reach=across_axis, curved=True)
def log_softmax_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """g - exp(y) sum(g): exact in every method."""
    axis = layer.attrs.get("axis", -1) % len(dims(layer.inputs[0]))
    refuse_batch(layer, axis, net)
    total = net.emit("ReduceSum", signal, net.ints([axis]), keepdims=1)
    odds = net.emit("Exp", net.forward(layer.outputs[0]))
    return {0: net.emit("Sub", signal, net.emit("Mul", odds, total))}

"""Functions of one number: the signal times the slope, exact in every method, since none of them is a rectifier."""

from math import pi, sqrt

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import pointwise
from zfviz.graph.rules import Signals, rule


@rule("Neg", reach=pointwise)
def negate(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The negative of the signal."""
    del layer
    return {0: net.emit("Neg", signal)}


@rule("Abs", reach=pointwise)
def times_sign(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the sign of the forward value."""
    return {0: net.emit("Mul", signal, net.emit("Sign", net.forward(layer.inputs[0])))}


@rule("Exp", reach=pointwise, curved=True)
def times_exponential(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times exp(x)."""
    return {0: net.emit("Mul", signal, net.forward(layer.outputs[0]))}


@rule("Log", reach=pointwise, curved=True)
def over_argument(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal over x."""
    return {0: net.emit("Div", signal, net.forward(layer.inputs[0]))}


@rule("Sqrt", reach=pointwise, curved=True)
def over_twice_root(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal over 2 sqrt(x)."""
    return {0: net.emit("Div", signal, net.emit("Mul", net.forward(layer.outputs[0]), net.constant(2)))}


@rule("Reciprocal", reach=pointwise, curved=True)
def times_minus_square(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times -1 / x^2."""
    y = net.forward(layer.outputs[0])
    return {0: net.emit("Neg", net.emit("Mul", signal, net.emit("Mul", y, y)))}


@rule("Erf", reach=pointwise, curved=True)
def times_gaussian(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times 2 / sqrt(pi) exp(-x^2)."""
    x = net.forward(layer.inputs[0])
    bell = net.emit("Exp", net.emit("Neg", net.emit("Mul", x, x)))
    return {0: net.emit("Mul", signal, net.emit("Mul", bell, net.constant(2 / sqrt(pi))))}


@rule("HardSigmoid", reach=pointwise)
def times_ramp_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times alpha where the forward value lies on the ramp, strictly between 0 and 1."""
    y = net.forward(layer.outputs[0])
    ramp = net.emit("And", net.emit("Greater", y, net.constant(0)), net.emit("Less", y, net.constant(1)))
    return {0: net.mask(ramp, net.emit("Mul", signal, net.constant(layer.attrs.get("alpha", 0.2))))}

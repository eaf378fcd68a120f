"""Functions of one number: the signal times the slope, exact in every method, since none of them is a rectifier."""

from math import pi, sqrt

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import is_real, pointwise
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


@rule("Sin", reach=pointwise, curved=True)
def times_cosine(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times cos(x)."""
    return {0: net.emit("Mul", signal, net.emit("Cos", net.forward(layer.inputs[0])))}


@rule("Cos", reach=pointwise, curved=True)
def times_minus_sine(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times -sin(x)."""
    return {0: net.emit("Neg", net.emit("Mul", signal, net.emit("Sin", net.forward(layer.inputs[0]))))}


@rule("Pow", reach=pointwise, curved=True)
def times_power_slope(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times e x^(e - 1); the exponent takes none."""
    base, exponent = layer.inputs
    power = net.numbers(exponent)
    lower = net.emit("Pow", net.forward(base), net.emit("Sub", power, net.constant(1)))
    return {0: net.unbroadcast(net.emit("Mul", signal, net.emit("Mul", power, lower)), layer, base)}


@rule("Floor", reach=pointwise)
@rule("Ceil", reach=pointwise)
@rule("Round", reach=pointwise)
@rule("Sign", reach=pointwise)
def stop_at_steps(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Nothing: a step function has no slope."""
    del layer, signal, net
    return {0: None}


@rule("Cast", reach=pointwise)
def cast_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal as it is, but nothing through a cast to integers, which is a step function."""
    return {0: signal if is_real(layer.outputs[0]) else None}

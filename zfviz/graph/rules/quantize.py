"""Quantisation: rounding passes a signal as it is, in the units of what it makes (straight-through)."""

from math import prod

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import Tap, across, dims
from zfviz.graph.rules import Signals, rule
from zfviz.graph.rules.shape import is_given

STRAIGHT_THROUGH = "rounding and saturation pass the signal as it is (straight-through)"


def _scaled(node: Node, index: int, axis: int) -> Tap | None:
    """Each value is scaled by itself, by constants that may lie along an axis, or in blocks along each."""
    sizes, rank = dims(node.inputs[index]), len(dims(node.inputs[0]))
    if index == 0 or len(sizes) == rank > 1:
        return Tap(axis) if index == 0 or sizes[axis] > 1 else None
    return Tap(0) if prod(sizes) > 1 and axis == node.attrs.get("axis", 1) % rank else None


@rule("QuantizeLinear", reach=_scaled, inexact=STRAIGHT_THROUGH)
def over_scale(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal over the scale, which takes none itself; where the integers begin at 0, they are a Relu too."""
    if layer.outputs[0].name in net.canonical.rectifiers:
        zero = net.numbers(layer.inputs[2])
        signal = net.mask(net.emit("Greater", net.numbers(layer.outputs[0]), zero), signal)
    scale = layer.inputs[1]
    return {0: net.emit("Div", signal, _along_axis(layer, net.forward(scale), scale, net)), 1: None, 2: None}


@rule("DynamicQuantizeLinear", reach=across(), inexact=STRAIGHT_THROUGH, every_output=True)
def over_own_scale(layer: Node, signal: tuple[Tensor | None, ...], net: Net) -> Signals:
    """The signal over the scale, which is taken as given, as is the zero point."""
    integers = signal[0]
    return {0: integers and net.emit("Div", integers, net.forward(layer.outputs[1]))}


@rule("DequantizeLinear", reach=_scaled)
def times_scale(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the scale, which takes none itself."""
    scale = layer.inputs[1]
    return {0: net.emit("Mul", signal, _along_axis(layer, net.forward(scale), scale, net)), 1: None, 2: None}


def _along_axis(layer: Node, scale: Tensor, like: Tensor, net: Net) -> Tensor:
    """A scale for each slice of an axis, so that it broadcasts with the signal."""
    if len(dims(like)) != 1 or dims(like) == (1,):
        return scale
    rank = len(dims(layer.inputs[0]))
    axis = layer.attrs.get("axis", 1) % rank
    return net.emit("Reshape", scale, net.ints([-1 if a == axis else 1 for a in range(rank)]))


def without_zero(layer: Node, index: int, zero: int, net: Net, axis: int) -> Tensor:
    """An integer factor of the layer as real numbers, less its zero point, which may be one a slice of `axis`."""
    factor = net.numbers(layer.inputs[index])
    if not is_given(layer, zero):
        return factor
    point = net.numbers(layer.inputs[zero])
    if len(dims(layer.inputs[zero])) == 1:
        rank = len(dims(layer.inputs[index]))
        point = net.emit("Reshape", point, net.ints([-1 if a == axis % rank else 1 for a in range(rank)]))
    return net.emit("Sub", factor, point)

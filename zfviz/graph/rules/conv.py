"""Convolutions: the paper's filter step, with the forward weights."""

from fractions import Fraction

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import Tap, window
from zfviz.graph.rules import Signals, rule
from zfviz.graph.rules.quantize import without_zero


@rule("Conv", reach=window)
def filter_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Each signal times the kernel that made it, added up over windows (paper, section 2.1: filtering)."""
    weight = net.forward(layer.inputs[1])
    return {0: net.filter(layer, signal, weight, like=layer.inputs[0], group=layer.attrs["group"])}


def _upward(node: Node, index: int, axis: int) -> Tap | None:
    """A window of the output lies where each position of the input puts its kernel."""
    spatial = axis - 2
    if index != 0 or spatial < 0:
        return Tap(0) if axis == 0 and index == 0 else None
    stride, pad = node.attrs["strides"][spatial], node.attrs["pads"][spatial]
    span = (node.attrs["kernel_shape"][spatial] - 1) * node.attrs["dilations"][spatial]
    return Tap(axis, Fraction(1, stride), Fraction(pad - span, stride), -(-span // stride) + 1)


@rule("ConvTranspose", reach=_upward)
def filter_forth(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Each signal that a kernel made, times that kernel: the convolution of which the layer is the transpose."""
    window = ("strides", "dilations", "pads", "kernel_shape", "group")
    weight = net.forward(layer.inputs[1])
    return {0: net.emit("Conv", signal, weight, **{name: layer.attrs[name] for name in window})}


@rule("ConvInteger", reach=window)
def filter_integers_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Each signal times the kernel that made it, less its zero point."""
    weight = without_zero(layer, 1, 3, net, axis=0)
    return {0: net.filter(layer, signal, weight, like=layer.inputs[0], group=layer.attrs["group"]), 2: None}

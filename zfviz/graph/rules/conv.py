"""Convolutions: the paper's filter step, with the forward weights."""

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import window
from zfviz.graph.rules import Signals, rule


@rule("Conv", reach=window)
def filter_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Each signal times the kernel that made it, added up over windows (paper, section 2.1: filtering)."""
    weight = net.forward(layer.inputs[1])
    return {0: net.filter(layer, signal, weight, like=layer.inputs[0], group=layer.attrs["group"])}

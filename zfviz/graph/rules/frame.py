"""What lies between windows: their ends in the padding, and the step from a window to the whole map."""

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.rules import Signals, rule


@rule("zfviz::Extend")
def drop_outside(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal inside the map; what went to the padding is lost."""
    (tensor,) = layer.inputs
    # what sticks out of the image is dropped anyway
    return {0: signal if tensor is net.canonical.image else net.mask(net.inside(tensor), signal)}


@rule("zfviz::Window")
def paste(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal of the window at its place in the whole map."""
    return {0: net.paste(signal, layer.outputs[0])}

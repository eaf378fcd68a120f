"""Matrix products: fully connected layers and attention."""

from onnx_graphsurgeon import Node, Tensor

from zfviz.errors import UnsupportedError
from zfviz.graph.net import Net
from zfviz.graph.reach import Tap, dims
from zfviz.graph.rules import Signals, rule


def _batch_only(node: Node, index: int, axis: int) -> Tap | None:
    """A product mixes its last axes; those before them stay."""
    rank = len(dims(node.outputs[0]))
    return Tap(axis) if index == 0 and axis < rank - 2 and len(dims(node.inputs[0])) == rank else None


@rule("Gemm", curved=True)
def multiply_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the transposed matrix, for each factor; the addend takes the signal as it is."""
    alpha, beta = layer.attrs.get("alpha", 1.0), layer.attrs.get("beta", 1.0)
    turned_a, turned_b = layer.attrs.get("transA", 0), layer.attrs.get("transB", 0)
    a, b = (net.forward(t) for t in layer.inputs[:2])
    signals: dict[int, Tensor | None] = {}
    if turned_a:
        signals[0] = net.emit("Gemm", b, signal, transA=turned_b, transB=1, alpha=alpha)
    else:
        signals[0] = net.emit("Gemm", signal, b, transB=1 - turned_b, alpha=alpha)
    if turned_b:
        signals[1] = net.emit("Gemm", signal, a, transA=1, transB=turned_a, alpha=alpha)
    else:
        signals[1] = net.emit("Gemm", a, signal, transA=1 - turned_a, alpha=alpha)
    if len(layer.inputs) > 2 and net.wants(layer.inputs[2]):
        scaled = net.emit("Mul", signal, net.constant(beta))
        signals[2] = net.unbroadcast(scaled, layer, layer.inputs[2])
    return signals


@rule("MatMul", reach=_batch_only, curved=True)
def matmul_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the transposed matrix, for each factor."""
    a, b = layer.inputs
    signals: dict[int, Tensor | None] = {}
    if net.wants(a):
        signals[0] = net.unbroadcast(net.emit("MatMul", signal, _turned(b, net)), layer, a)
    if net.wants(b):
        signals[1] = net.unbroadcast(net.emit("MatMul", _turned(a, net), signal), layer, b)
    return signals


def _turned(factor: Tensor, net: Net) -> Tensor:
    """The forward value of a factor with its last two axes swapped."""
    rank = len(dims(factor))
    if rank < 2:
        raise UnsupportedError("a factor is a vector; reshape it to a matrix")
    return net.emit("Transpose", net.forward(factor), perm=[*range(rank - 2), rank - 1, rank - 2])

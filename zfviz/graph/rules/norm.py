"""Normalisation: linear at inference (BatchNormalization), or skipped on the way down (LRN in the paper)."""

from onnx_graphsurgeon import Node, Tensor

from zfviz.errors import UnsupportedError
from zfviz.graph.net import Net
from zfviz.graph.reach import dims, pointwise
from zfviz.graph.rules import Signals, rule


@rule("BatchNormalization", reach=pointwise)
def scale(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times scale / sqrt(variance + epsilon), channel by channel."""
    if layer.attrs.get("training_mode", 0):
        raise UnsupportedError("it is in training mode; export the model for inference")
    gain, variance = net.forward(layer.inputs[1]), net.forward(layer.inputs[4])
    deviation = net.emit("Sqrt", net.emit("Add", variance, net.constant(layer.attrs.get("epsilon", 1e-5))))
    ones = [1] * (len(dims(layer.inputs[0])) - 2)
    per_channel = net.emit("Reshape", net.emit("Div", gain, deviation), net.ints([-1, *ones]))
    return {0: net.emit("Mul", signal, per_channel)}


@rule("LRN", reach=pointwise, curved=True)
def normalise_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The gradient: g s^-beta - (2 alpha beta / size) x * sum over the channel window of (g x s^(-beta - 1)).

    s = bias + alpha / size * sum of squares over the channel window, as ONNX defines LRN.
    """
    size, alpha, beta = layer.attrs["size"], layer.attrs.get("alpha", 1e-4), layer.attrs.get("beta", 0.75)
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    x = net.forward(layer.inputs[0])
    mean_square = _channel_mean(net.emit("Mul", x, x), layer, size, before, after, net)
    base = net.emit(
        "Add", net.emit("Mul", mean_square, net.constant(alpha)), net.constant(layer.attrs.get("bias", 1.0))
    )
    direct = net.emit("Mul", signal, net.emit("Pow", base, net.constant(-beta)))
    shared = _channel_mean(net.emit("Mul", net.emit("Div", direct, base), x), layer, size, after, before, net)
    indirect = net.emit("Mul", net.emit("Mul", x, shared), net.constant(2 * alpha * beta))
    return {0: net.emit("Sub", direct, indirect)}


@rule("LRN", method="deconvnet", reach=pointwise)
def skip(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal as it is: the paper skips contrast normalisation on the way down (ECCV 2014 text)."""
    del layer, net
    return {0: signal}


def _channel_mean(tensor: Tensor, layer: Node, size: int, before: int, after: int, net: Net) -> Tensor:
    """The mean over `before` channels before to `after` channels after each channel, zeros beyond the ends."""
    planes = net.emit("Reshape", tensor, net.ints([0, 1, dims(layer.inputs[0])[1], -1]))
    # pads of their own, since pooling with different pads at its two ends is wrong or refused on CUDA
    padded = net.emit("Pad", planes, net.ints([0, 0, before, 0, 0, 0, after, 0]))
    means = net.emit("AveragePool", padded, kernel_shape=[size, 1])
    return net.reshape_like(means, layer.inputs[0])

"""Normalisation: linear at inference (BatchNormalization), or skipped on the way down (LRN in the paper)."""

from collections.abc import Iterable

from onnx_graphsurgeon import Node, Tensor

from zfviz.errors import UnsupportedError
from zfviz.graph.net import Net
from zfviz.graph.reach import Tap, across, across_axis, across_map, dims
from zfviz.graph.rules import Signals, rule
from zfviz.graph.rules.shape import refuse_batch


def _by_channel_alone(node: Node, index: int, axis: int) -> Tap | None:
    """Each value is scaled by itself, by constants that lie along axis 1."""
    del node
    return Tap(axis) if index == 0 else Tap(0) if axis == 1 else None


@rule("BatchNormalization", reach=_by_channel_alone)
def scale(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times scale / sqrt(variance + epsilon), channel by channel."""
    if layer.attrs.get("training_mode", 0):
        raise UnsupportedError("it is in training mode; export the model for inference")
    gain, variance = net.forward(layer.inputs[1]), net.forward(layer.inputs[4])
    deviation = net.emit("Sqrt", net.emit("Add", variance, net.constant(layer.attrs.get("epsilon", 1e-5))))
    ones = [1] * (len(dims(layer.inputs[0])) - 2)
    per_channel = net.emit("Reshape", net.emit("Div", gain, deviation), net.ints([-1, *ones]))
    return {0: net.emit("Mul", signal, per_channel)}


def _from_axis(node: Node, index: int, axis: int) -> Tap | None:
    """Each row, from an axis on, is normalised by itself."""
    rank = len(dims(node.inputs[0]))
    return across(*range(node.attrs.get("axis", -1) % rank, rank))(node, index, axis)


def _along_axes(node: Node, index: int, axis: int) -> Tap | None:
    return across(*node.attrs.get("axes", [0, 2, 3]))(node, index, axis)


@rule("LRN", reach=across(1), curved=True)
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


@rule("LRN", method="deconvnet", reach=across(1))
def skip(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal as it is: the paper skips contrast normalisation on the way down (ECCV 2014 text)."""
    del layer, net
    return {0: signal}


@rule("InstanceNormalization", reach=across_map, curved=True)
def instance_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The gradient of each map, of mean 0 and variance 1, times the scale of its channel."""
    rank = len(dims(layer.inputs[0]))
    scaled = net.emit("Mul", signal, _by_channel(layer.inputs[1], rank, net))
    x, epsilon = net.forward(layer.inputs[0]), layer.attrs.get("epsilon", 1e-5)
    return {0: _standardised_back(x, scaled, range(2, rank), epsilon, net), 1: None, 2: None}


@rule("GroupNormalization", reach=across_map, curved=True)
def group_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The gradient of each group of channels, of mean 0 and variance 1, times the scale of each channel."""
    scaled = net.emit("Mul", signal, _by_channel(layer.inputs[1], len(dims(layer.inputs[0])), net))
    groups = net.ints([0, layer.attrs["num_groups"], -1])
    x, g = (net.emit("Reshape", t, groups) for t in (net.forward(layer.inputs[0]), scaled))
    back = _standardised_back(x, g, [2], layer.attrs.get("epsilon", 1e-5), net)
    return {0: net.reshape_like(back, layer.inputs[0]), 1: None, 2: None}


@rule("LayerNormalization", reach=_from_axis, curved=True)
def layer_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The gradient of each row, of mean 0 and variance 1, times the scale of each place in it."""
    rank = len(dims(layer.inputs[0]))
    axis = layer.attrs.get("axis", -1) % rank
    refuse_batch(layer, axis, net)
    scaled = net.emit("Mul", signal, net.forward(layer.inputs[1]))
    x, epsilon = net.forward(layer.inputs[0]), layer.attrs.get("epsilon", 1e-5)
    return {0: _standardised_back(x, scaled, range(axis, rank), epsilon, net), 1: None, 2: None}


@rule("MeanVarianceNormalization", reach=_along_axes, curved=True)
def standardised_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The gradient of values brought to mean 0 and variance 1 along some axes."""
    rank = len(dims(layer.inputs[0]))
    axes = sorted(axis % rank for axis in layer.attrs.get("axes", [0, 2, 3]))
    if not axes:
        raise UnsupportedError("it names no axes")
    refuse_batch(layer, axes[0], net)
    # ONNX adds 1e-9 to the deviation, below what float32 can tell
    return {0: _standardised_back(net.forward(layer.inputs[0]), signal, axes, 0.0, net)}


@rule("LpNormalization", reach=across_axis, curved=True)
def normalised_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """(g - d sum(g y)) / norm, where d is the slope of the norm: y for p = 2, the signs of x for p = 1."""
    axis = layer.attrs.get("axis", -1) % len(dims(layer.inputs[0]))
    refuse_batch(layer, axis, net)
    x, y, axes = net.forward(layer.inputs[0]), net.forward(layer.outputs[0]), net.ints([axis])
    euclidean = layer.attrs.get("p", 2) == 2
    norm = net.emit("ReduceL2" if euclidean else "ReduceL1", x, axes, keepdims=1)
    common = net.emit("ReduceSum", net.emit("Mul", signal, y), axes, keepdims=1)
    slope = y if euclidean else net.emit("Sign", x)
    rest = net.emit("Sub", signal, net.emit("Mul", slope, common))
    return {0: net.mask(net.emit("Greater", norm, net.constant(0)), net.emit("Div", rest, norm))}


def _standardised_back(x: Tensor, signal: Tensor, along: Iterable[int], epsilon: float, net: Net) -> Tensor:
    """The gradient of n = (x - mean) / sqrt(variance + epsilon): (g - mean(g) - n mean(g n)) / deviation."""
    axes = net.ints(list(along))

    def mean(value: Tensor) -> Tensor:
        return net.emit("ReduceMean", value, axes, keepdims=1)

    centred, rest = (net.emit("Sub", value, mean(value)) for value in (x, signal))
    variance = mean(net.emit("Mul", centred, centred))
    deviation = net.emit("Sqrt", net.emit("Add", variance, net.constant(epsilon)))
    normal = net.emit("Div", centred, deviation)
    common = net.emit("Mul", normal, mean(net.emit("Mul", signal, normal)))
    return net.emit("Div", net.emit("Sub", rest, common), deviation)


def _by_channel(values: Tensor, rank: int, net: Net) -> Tensor:
    return net.emit("Reshape", net.forward(values), net.ints([-1, *[1] * (rank - 2)]))


def _channel_mean(tensor: Tensor, layer: Node, size: int, before: int, after: int, net: Net) -> Tensor:
    """The mean over `before` channels before to `after` channels after each channel, zeros beyond the ends."""
    planes = net.emit("Reshape", tensor, net.ints([0, 1, dims(layer.inputs[0])[1], -1]))
    # pads of their own, since pooling with different pads at its two ends is wrong or refused on CUDA
    padded = net.emit("Pad", planes, net.ints([0, 0, before, 0, 0, 0, after, 0]))
    means = net.emit("AveragePool", padded, kernel_shape=[size, 1])
    return net.reshape_like(means, layer.inputs[0])

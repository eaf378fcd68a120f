"""Pooling: the paper's unpool step, and averages."""

from math import prod

import numpy as np
from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.net import Net
from zfviz.graph.reach import dims, window
from zfviz.graph.rules import Signals, rule


@rule("MaxPool", reach=window)
def unpool(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Put each signal back where its maximum was; where windows overlap, signals add up (paper, section 2.1)."""
    if net.unpool == "maxunpool":
        return {0: net.max_unpool(layer, signal)}
    return {0: net.scatter_add(net.switches(layer), signal, like=layer.inputs[0])}


@rule("AveragePool", reach=window)
def spread(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Spread each signal evenly over the window it was averaged from."""
    return {0: _to_windows(layer, net.emit("Div", signal, net.constant(window_counts(layer))), net)}


def _to_windows(layer: Node, signal: Tensor, net: Net) -> Tensor:
    """Each signal at every place of its window; where windows overlap, signals add up."""
    # every channel is filtered alone, by ones: one kernel serves all when channels are moved to the batch
    planes = net.emit("Reshape", signal, net.ints([-1, 1, *dims(layer.outputs[0])[2:]]))
    ones = net.constant(np.ones([1, 1, *layer.attrs["kernel_shape"]]))
    summed = net.filter(layer, planes, ones, like=layer.inputs[0], group=1)
    return net.reshape_like(summed, layer.inputs[0])


def window_counts(layer: Node) -> np.ndarray:
    """By how many elements each output of an AveragePool was divided: [1, 1, *map]."""
    counts = np.ones([1, 1])
    rank = len(layer.attrs["kernel_shape"])
    for axis in range(rank):
        size, out = dims(layer.inputs[0])[2 + axis], dims(layer.outputs[0])[2 + axis]
        begin: int = layer.attrs["pads"][axis]
        end: int = layer.attrs["pads"][rank + axis]
        firsts = np.arange(out) * int(layer.attrs["strides"][axis]) - begin
        kernel, dilation = int(layer.attrs["kernel_shape"][axis]), int(layer.attrs["dilations"][axis])
        low, high = (-begin, size + end) if layer.attrs.get("count_include_pad", 0) else (0, size)
        before, within = (np.clip(-(-(edge - firsts) // dilation), 0, kernel) for edge in (low, high))
        counts = counts[..., None] * (within - before)
    return counts


@rule("GlobalAveragePool")
def spread_over_map(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Spread each signal evenly over its whole map."""
    size = dims(layer.inputs[0])[2:]
    share = net.emit("Mul", signal, net.constant(1 / max(1, prod(size))))
    return {0: net.emit("Expand", share, net.ints([1, 1, *size]))}


@rule("GlobalMaxPool")
def unpool_over_map(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Put each signal back where the maximum of its map was."""
    planes = net.emit("Reshape", net.forward(layer.inputs[0]), net.ints([0, 0, -1]))
    switches = net.emit("ArgMax", planes, axis=2, keepdims=1)
    return {0: net.scatter_add(switches, signal, like=layer.inputs[0])}


@rule("LpPool", reach=window, curved=True)
def spread_by_size(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Over each window, the signal times sign(x) (|x| / y)^(p - 1): the gradient of the norm y."""
    return {0: _norm_back(layer, _to_windows(layer, _over_powers(layer, signal, net), net), net)}


@rule("GlobalLpPool", curved=True)
def spread_by_size_over_map(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Over each map, the signal times sign(x) (|x| / y)^(p - 1): the gradient of the norm y."""
    return {0: _norm_back(layer, _over_powers(layer, signal, net), net)}


def _over_powers(layer: Node, signal: Tensor, net: Net) -> Tensor:
    """The signal over y^(p - 1), nothing where y is 0."""
    norm = net.forward(layer.outputs[0])
    power = net.emit("Pow", norm, net.constant(layer.attrs.get("p", 2) - 1))
    return net.mask(net.emit("Greater", norm, net.constant(0)), net.emit("Div", signal, power))


def _norm_back(layer: Node, shares: Tensor, net: Net) -> Tensor:
    """The shares of each place times sign(x) |x|^(p - 1)."""
    x = net.forward(layer.inputs[0])
    powers = net.emit("Pow", net.emit("Abs", x), net.constant(layer.attrs.get("p", 2) - 1))
    return net.emit("Mul", net.emit("Mul", net.emit("Sign", x), powers), shares)


@rule("MaxUnpool")
def pool_by_switches(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal from where each value was put."""
    plane = prod(dims(layer.outputs[0])[2:])
    places = net.emit("Mod", net.forward(layer.inputs[1]), net.ints(plane))
    flat, places = (net.emit("Reshape", t, net.ints([0, 0, -1])) for t in (signal, places))
    rows = net.emit("Expand", places, net.emit("Shape", net.slice(flat, [0], [1], [2])))
    return {0: net.reshape_like(net.emit("GatherElements", flat, rows, axis=2), layer.inputs[0]), 1: None}

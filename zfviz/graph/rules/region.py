"""Regions of interest, cut out of a map by bilinear weights."""

import numpy as np
from onnx_graphsurgeon import Node, Tensor

from zfviz.errors import UnsupportedError
from zfviz.graph.net import BatchError, Net
from zfviz.graph.reach import dims
from zfviz.graph.rules import Signals, rule


@rule("RoiAlign")
def paste_regions(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal of each region, spread over the places it was averaged from; the regions themselves take none."""
    if net.batched:
        raise BatchError("its regions stand in the place of the batch")
    samples: int = layer.attrs.get("sampling_ratio", 0)
    if layer.attrs.get("mode", "avg") != "avg" or not samples:
        raise UnsupportedError("it takes maxima, or as many samples as the region is large; only fixed averages work")
    (images, _, *size), (regions, _, *bins) = dims(layer.inputs[0]), dims(layer.outputs[0])
    rows, columns = (
        _weights(layer, place, bins[place], size[place], samples, net) for place in range(2)
    )  # [regions, bins, size]
    turned = net.emit("Unsqueeze", net.emit("Transpose", rows, perm=[0, 2, 1]), net.ints([1]))
    pasted = net.emit("MatMul", net.emit("MatMul", turned, signal), net.emit("Unsqueeze", columns, net.ints([1])))
    owners = net.emit("Reshape", net.forward(layer.inputs[2]), net.ints([1, -1]))
    mine = net.real(net.emit("Equal", owners, net.constant(np.arange(images)[:, None], np.int64)))
    flat = net.emit("Reshape", pasted, net.ints([regions, -1]))
    return {0: net.reshape_like(net.emit("MatMul", mine, flat), layer.inputs[0]), 1: None, 2: None}


def _weights(layer: Node, place: int, bins: int, size: int, samples: int, net: Net) -> Tensor:
    """By how much each bin of each region took of each row (place 0) or column (1): [regions, bins, size]."""
    rois = net.emit("Mul", net.forward(layer.inputs[1]), net.constant(layer.attrs.get("spatial_scale", 1.0)))
    half = 0.5 if layer.attrs.get("coordinate_transformation_mode", "half_pixel") == "half_pixel" else 0.0
    start, end = (
        net.emit("Sub", net.slice(rois, [column], [column + 1], [1]), net.constant(half))
        for column in (1 - place, 3 - place)
    )
    extent = net.emit("Sub", end, start)
    if not half:
        extent = net.emit("Max", extent, net.constant(1))
    steps = (np.arange(bins * samples) + 0.5) / (bins * samples)
    points = net.emit("Add", start, net.emit("Mul", extent, net.constant(steps[None])))
    inside = net.emit(
        "And",
        net.emit("GreaterOrEqual", points, net.constant(-1)),
        net.emit("LessOrEqual", points, net.constant(size)),
    )
    held = net.emit("Min", net.emit("Max", points, net.constant(0)), net.constant(size - 1))
    apart = net.emit("Abs", net.emit("Sub", net.emit("Unsqueeze", held, net.ints([2])), net.constant(np.arange(size))))
    tents = net.emit("Relu", net.emit("Sub", net.constant(1), apart))
    tents = net.emit("Where", net.emit("Unsqueeze", inside, net.ints([2])), tents, net.constant(0))
    by_bin = net.emit("Reshape", tents, net.ints([-1, bins, samples, size]))
    return net.emit("ReduceMean", by_bin, net.ints([2]), keepdims=0)

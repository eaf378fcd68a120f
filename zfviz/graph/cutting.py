"""Cutting: how a companion makes windows and switches of whole maps, which stay on the device where they were made."""

from collections.abc import Sequence
from math import prod

import numpy as np
from onnx_graphsurgeon import Constant, Node, Tensor

from zfviz.graph.building import Builder
from zfviz.graph.reach import WHOLE, Frame, dims


def cut_windows(
    graph: Builder, maps: Tensor, window: Tensor, frame: Frame, images: Tensor, places: Sequence[Tensor]
) -> Tensor:
    """The part [K, ...] of forward values [N, ...] that is `window` for each unit: of its image, `images` [K], at the
    places [K, size] of each span of its frame.

    A whole map comes in one row, that of the first unit's image. Beyond the ends of a map its last values go on; no
    signal comes there.
    """
    if frame == WHOLE:
        return graph.emit("Gather", maps, graph.slice(images, [0], [1], [0]), axis=0)
    order = [0, *(span.axis for span in frame)]
    order += [axis for axis in range(len(dims(window))) if axis not in order]
    others = [dims(window)[axis] for axis in order[len(frame) + 1 :]]
    rows = graph.emit("Reshape", graph.emit("Transpose", maps, perm=order), graph.ints([-1, *others]))
    chosen = graph.emit("Reshape", images, graph.ints([-1, *[1] * len(frame)]))
    for span, along in zip(frame, places, strict=True):
        inside = graph.emit("Clip", along, graph.ints(0), graph.ints(span.extent - 1))
        aligned = graph.emit("Reshape", inside, graph.ints([-1, *(s.size if s is span else 1 for s in frame)]))
        chosen = graph.emit("Add", graph.emit("Mul", chosen, graph.ints(span.extent)), aligned)
    return graph.emit("Transpose", graph.emit("Gather", rows, chosen, axis=0), perm=np.argsort(order).tolist())


def find_switches(graph: Builder, pool: Node, values: Tensor, least: Constant) -> Tensor:
    """Where the maxima of `values` are in the windows of a max-pool: int64, the shape of its output, each the place in
    its own plane of the input. Of equal ones the first in reading order counts, on any device (CUDA's own MaxPool takes
    the first by columns); padding is no more than `least`.
    """
    size, made = dims(pool.inputs[0])[2:], dims(pool.outputs[0])[2:]
    kernel, strides, dilations, pads = (pool.attrs[name] for name in ("kernel_shape", "strides", "dilations", "pads"))
    rank = len(kernel)
    reached = [(out - 1) * s + (k - 1) * d + 1 for out, s, k, d in zip(made, strides, kernel, dilations, strict=True)]
    begins = pads[:rank]
    ends = [max(0, r - n - b) for r, n, b in zip(reached, size, begins, strict=True)]
    steps = [prod(size[axis + 1 :]) for axis in range(rank)]
    best, found = values, graph.ints(0)
    if any(begins + ends):
        best = graph.emit("Pad", best, graph.ints([0, 0, *begins, 0, 0, *ends]), least)
    # the maximum along the last axis first, then that of these maxima along the axis before it, and so on
    for axis in reversed(range(rank)):

        def at(tensor: Tensor, tap: int, axis: int = axis) -> Tensor:
            if isinstance(tensor, Constant):
                return tensor  # the same everywhere
            start = tap * dilations[axis]
            end = start + (made[axis] - 1) * strides[axis] + 1
            return graph.slice(tensor, [start], [end], [axis + 2], [strides[axis]])

        maxima, places = at(best, 0), at(found, 0)
        for tap in range(1, kernel[axis]):
            value = at(best, tap)
            larger = graph.emit("Greater", value, maxima)
            further = graph.emit("Add", at(found, tap), graph.ints(tap * dilations[axis] * steps[axis]))
            maxima, places = graph.emit("Where", larger, value, maxima), graph.emit("Where", larger, further, places)
        best, found = maxima, places
    corners = np.tensordot(np.multiply(steps, strides), np.indices(made), 1) - int(np.dot(begins, steps))
    if isinstance(found, Constant):
        found = graph.emit("Expand", found, graph.emit("Shape", best))
    return graph.emit("Add", found, graph.constant(corners[None, None], np.int64))

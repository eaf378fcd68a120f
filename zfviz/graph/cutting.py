"""Cutting: how a companion makes windows and switches of whole maps, which stay on the device where they were made.

What is not on a device of its own is cut before it goes into the companion, by the runtime floor's windows.py.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
from onnx_graphsurgeon import Constant, Node, Tensor

from zfviz.graph.building import Builder
from zfviz.graph.reach import WHOLE, Frame, dims, window_ends


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
    size, rank = dims(pool.inputs[0])[2:], len(pool.attrs["kernel_shape"])
    begins = pool.attrs["pads"][:rank]
    ends = [max(0, end - n - b) for end, n, b in zip(window_ends(pool), size, begins, strict=True)]
    best, switches = values, graph.constant(np.zeros([1] * rank), np.int64)
    if any(begins + ends):
        best = graph.emit("Pad", best, graph.ints([0, 0, *begins, 0, 0, *ends]), least)
    # the maximum along the last axis first, then that of these maxima along the axis before it, and so on
    for axis in reversed(range(rank)):
        best, switches = _best_along(graph, pool, axis, best, switches)
    shared = isinstance(switches, Constant)
    return graph.emit("Expand", switches, graph.emit("Shape", best)) if shared else switches


def _best_along(graph: Builder, pool: Node, axis: int, values: Tensor, switches: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of each window along one axis, and where in the plane it is, given those along the axes after it;
    places that are the same in every row are a constant.
    """
    kernel, stride, dilation, begin = (pool.attrs[n][axis] for n in ("kernel_shape", "strides", "dilations", "pads"))
    made, step = dims(pool.outputs[0])[axis + 2], prod(dims(pool.inputs[0])[axis + 3 :])
    rank = len(dims(pool.inputs[0])) - 2
    first = np.arange(made) * stride - begin

    def at(tensor: Tensor, tap: int) -> Tensor:
        start = tap * dilation
        return graph.slice(tensor, [start], [start + (made - 1) * stride + 1], [axis + 2], [stride])

    def places(tap: int) -> Tensor:
        # where all is padding's number, the first place counts that is no padding
        along = first + (tap * dilation if tap else np.maximum(0, -(first // dilation)) * dilation)
        offsets = (along * step).reshape([-1 if a == axis else 1 for a in range(rank)])
        if isinstance(switches, Constant):
            return graph.constant(switches.values + offsets, np.int64)
        return graph.emit("Add", at(switches, tap), graph.constant(offsets, np.int64))

    best, found = at(values, 0), places(0)
    for tap in range(1, kernel):
        value = at(values, tap)
        larger = graph.emit("Greater", value, best)
        best, found = graph.emit("Where", larger, value, best), graph.emit("Where", larger, places(tap), found)
    return best, found

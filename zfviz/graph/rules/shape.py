"""Ops that move values without changing them."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from onnx_graphsurgeon import Constant, Node, Tensor

from zfviz.errors import UnsupportedError
from zfviz.graph.net import Net
from zfviz.graph.reach import Tap, dims, permuted, pointwise, regrouped
from zfviz.graph.rules import Signals, rule


@rule("Identity", reach=pointwise)
@rule("Dropout", reach=pointwise)
def passed_on(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal as it is."""
    if len(layer.inputs) > 2 and constant_of(layer, 2, "training_mode").any():
        raise UnsupportedError("it is in training mode; export the model for inference")
    del net
    return {0: signal}


@rule("Reshape", reach=regrouped)
@rule("Flatten", reach=regrouped)
@rule("Squeeze", reach=regrouped)
@rule("Unsqueeze", reach=regrouped)
def reshape_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal in the shape of the input."""
    return {0: net.reshape_like(signal, layer.inputs[0])}


@rule("Transpose", reach=permuted)
def permute_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal with its axes back in their order."""
    if layer.attrs["perm"][0] != 0:
        refuse_batch(layer, 0, net)
    return {0: net.emit("Transpose", signal, perm=np.argsort(layer.attrs["perm"]).tolist())}


@rule("Shape")
@rule("Size")
@rule("ArgMax")
@rule("ArgMin")
def stop(layer: Node, signal: Tensor, net: Net) -> Signals:
    """Nothing: what comes out does not change with the input's values."""
    del signal, net
    return dict.fromkeys(range(len(layer.inputs)))


def _sliced(node: Node, index: int, axis: int) -> Tap | None:
    if index != 0:
        return None
    start, _, step = slice_of(node).get(axis, (0, 0, 1))
    return Tap(axis, step, start)


@rule("Slice", reach=_sliced)
def pad_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where it was cut from, zeros elsewhere."""
    rank = len(dims(layer.inputs[0]))
    before, after = [0] * rank, [0] * rank
    for axis, (start, count, step) in slice_of(layer).items():
        size = dims(layer.inputs[0])[axis]
        if (start, count, step) != (0, size, 1):
            refuse_batch(layer, axis, net)
        if step == 1:
            before[axis], after[axis] = start, size - start - count
        else:
            places = [start + step * i for i in range(count)]
            signal = net.gather_back(signal, places, axis, like=layer.inputs[0])
    return {0: net.emit("Pad", signal, net.ints([*before, *after])) if any(before + after) else signal}


def slice_of(layer: Node) -> dict[int, tuple[int, int, int]]:
    """By axis, the first index, the count and the step that a Slice takes."""
    sizes = dims(layer.inputs[0])
    starts, ends = (constant_of(layer, i, name).tolist() for i, name in ((1, "starts"), (2, "ends")))
    axes = constant_of(layer, 3, "axes").tolist() if _given(layer, 3) else list(range(len(starts)))
    steps = constant_of(layer, 4, "steps").tolist() if _given(layer, 4) else [1] * len(starts)
    taken: dict[int, tuple[int, int, int]] = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        indices = range(*slice(start, _reachable(end, step, sizes[axis]), step).indices(sizes[axis]))
        taken[axis % len(sizes)] = (indices[0] if indices else 0, len(indices), step)
    return taken


def _reachable(end: int, step: int, size: int) -> int | None:
    """`end` as Python reads it: ONNX writes 'down to the first element' as a number below -size."""
    return None if step < 0 and end < -size else end


def _padded(node: Node, index: int, axis: int) -> Tap | None:
    return Tap(axis, offset=-_pads(node)[0][axis]) if index == 0 else None


@rule("Pad", reach=_padded)
def crop_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal without the padding; what was padded with copies goes back to what it copied."""
    mode = layer.attrs.get("mode", "constant")
    sizes = dims(layer.inputs[0])
    for axis, (before, after) in enumerate(zip(*_pads(layer), strict=True)):
        if (before, after) == (0, 0):
            continue
        refuse_batch(layer, axis, net)
        if mode == "constant":
            signal = _crop(signal, axis, before, after, sizes, net)
        else:
            signal = net.gather_back(signal, _copied(sizes[axis], before, after, mode), axis, like=layer.inputs[0])
    return {0: signal}


def _crop(signal: Tensor, axis: int, before: int, after: int, sizes: Sequence[int], net: Net) -> Tensor:
    """Undo constant padding along one axis; negative padding had cut, so zeros come back."""
    if before > 0 or after > 0:
        start = max(before, 0)
        signal = net.slice(signal, [start], [start + sizes[axis] + min(before, 0) + min(after, 0)], [axis])
    if before < 0 or after < 0:
        pads = [0] * 2 * len(sizes)
        pads[axis], pads[axis + len(sizes)] = max(-before, 0), max(-after, 0)
        signal = net.emit("Pad", signal, net.ints(pads))
    return signal


def _copied(size: int, before: int, after: int, mode: str) -> list[int]:
    """From which place of an axis each place of the padded axis was copied."""
    kept = np.arange(size)[max(-before, 0) : size - max(-after, 0)]
    if mode not in ("edge", "reflect", "wrap"):
        raise UnsupportedError(f"padding mode {mode!r} is unknown")
    return np.pad(kept, (max(before, 0), max(after, 0)), mode=cast("Any", mode)).tolist()


def _pads(layer: Node) -> tuple[list[int], list[int]]:
    """The padding before and after, for every axis."""
    rank = len(dims(layer.inputs[0]))
    pads = constant_of(layer, 1, "pads").tolist()
    axes = constant_of(layer, 3, "axes").tolist() if _given(layer, 3) else list(range(rank))
    before, after = [0] * rank, [0] * rank
    for axis, low, high in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        before[axis], after[axis] = low, high
    return before, after


@rule("Gather")
def gather_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where it was taken from; what was taken more than once adds up."""
    indices = constant_of(layer, 1, "indices")
    size = dims(layer.inputs[0])
    axis: int = layer.attrs.get("axis", 0) % len(size)
    refuse_batch(layer, axis, net)
    places: list[int] = (indices.reshape(-1) % size[axis]).tolist()
    flat = [-1, *size[1:axis], len(places), *size[axis + 1 :]] if axis else [len(places), *size[1:]]
    signal = net.emit("Reshape", signal, net.ints(flat))
    return {0: net.gather_back(signal, places, axis, like=layer.inputs[0])}


def refuse_batch(layer: Node, axis: int, net: Net) -> None:
    """UnsupportedError where `axis` of the layer's input is the batch: each signal there belongs to an image alone."""
    if axis == 0 and dims(layer.inputs[0])[0] == dims(net.canonical.image)[0]:
        raise UnsupportedError("it works along the batch")


def constant_of(layer: Node, index: int, what: str) -> np.ndarray:
    """The constant at an input of the layer; UnsupportedError where it is not at hand."""
    tensor = layer.inputs[index]
    if not isinstance(tensor, Constant):
        raise UnsupportedError(f"its {what} are computed while the model runs, or lie in a file beside it")
    return np.asarray(tensor.values)


def _given(layer: Node, index: int) -> bool:
    return len(layer.inputs) > index and not layer.inputs[index].is_empty()

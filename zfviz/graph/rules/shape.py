"""Ops that move values without changing them."""

from collections.abc import Sequence
from fractions import Fraction
from math import prod
from typing import Any, cast

import numpy as np
from onnx import TensorProto
from onnx_graphsurgeon import Constant, Node, Tensor

from zfviz.errors import UnsupportedError
from zfviz.graph.net import BatchError, Net
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
@rule("NonZero")
@rule("OneHot")
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
    starts, ends = (constant_of(layer, i, name).reshape(-1).tolist() for i, name in ((1, "starts"), (2, "ends")))
    axes = constant_of(layer, 3, "axes").reshape(-1).tolist() if is_given(layer, 3) else list(range(len(starts)))
    steps = constant_of(layer, 4, "steps").reshape(-1).tolist() if is_given(layer, 4) else [1] * len(starts)
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
    pads = constant_of(layer, 1, "pads").reshape(-1).tolist()
    axes = constant_of(layer, 3, "axes").reshape(-1).tolist() if is_given(layer, 3) else list(range(rank))
    before, after = [0] * rank, [0] * rank
    for axis, low, high in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        before[axis], after[axis] = low, high
    return before, after


def _taken(node: Node, index: int, axis: int) -> Tap | None:
    """The axes before and after the one from which places are taken stay."""
    chosen, rank = node.attrs.get("axis", 0) % len(dims(node.inputs[0])), len(dims(node.inputs[1]))
    if index != 0 or chosen <= axis < chosen + rank:
        return None
    return Tap(axis if axis < chosen else axis - rank + 1)


@rule("Gather", reach=_taken)
def gather_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where it was taken from; what was taken more than once adds up."""
    size, taken = dims(layer.inputs[0]), layer.inputs[1]
    axis: int = layer.attrs.get("axis", 0) % len(size)
    refuse_batch(layer, axis, net)
    count = prod(dims(taken))
    rows = [-1, *size[1:axis]] if axis else []
    flat = net.emit("Reshape", signal, net.ints([*rows, count, *size[axis + 1 :]]))
    if isinstance(taken, Constant):
        places: list[int] = (np.asarray(taken.values).reshape(-1) % size[axis]).tolist()
        return {0: net.gather_back(flat, places, axis, like=layer.inputs[0]), 1: None}
    column = [count if a == axis else 1 for a in range(len(size))]
    wrapped = net.emit("Mod", net.emit("Cast", net.forward(taken), to=TensorProto.INT64), net.ints(size[axis]))
    return {0: net.scatter(net.emit("Reshape", wrapped, net.ints(column)), flat, axis, size[axis], len(size)), 1: None}


@rule("GatherElements")
def scatter_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where it was taken from; what was taken more than once adds up."""
    axis = layer.attrs.get("axis", 0) % len(dims(layer.inputs[0]))
    refuse_batch(layer, axis, net)
    places = net.emit("Expand", net.forward(layer.inputs[1]), net.emit("Shape", signal))
    zeros = _zeros_like(layer.inputs[0], signal, net)
    return {0: net.add_at("ScatterElements", zeros, places, signal, axis=axis), 1: None}


@rule("GatherND")
def scatter_slices_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where it was taken from; what was taken more than once adds up."""
    if net.batched:
        raise BatchError("its places count the batch")
    size, batch = dims(layer.inputs[0]), int(layer.attrs.get("batch_dims", 0))
    if not batch:
        zeros = net.constant(np.zeros(size))
        return {0: net.add_at("ScatterND", zeros, net.forward(layer.inputs[1]), signal), 1: None}
    places = constant_of(layer, 1, "indices")
    if places.dtype.kind not in "iu":
        raise UnsupportedError(f"its indices are {places.dtype.name}, no whole numbers")
    depth = places.shape[-1]
    # a place beyond the end is the forward graph's to refuse
    rows = (places % np.array(size[batch : batch + depth], np.int64)).reshape(prod(size[:batch]), -1, depth)
    whole = np.arange(prod(size)).reshape(len(rows), *size[batch:])
    chosen = [whole[row][tuple(np.moveaxis(where, -1, 0))] for row, where in enumerate(rows)]
    targets = net.constant(np.reshape(chosen, [1, 1, -1]), np.int64)
    zeros = net.constant(np.zeros([1, 1, prod(size)]))
    flat = net.emit("Reshape", signal, net.ints([1, 1, -1]))
    summed = net.add_at("ScatterElements", zeros, targets, flat, axis=2)
    return {0: net.reshape_like(summed, layer.inputs[0]), 1: None}


@rule("TopK")
def back_to_places(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal where each of the largest values was."""
    size = dims(layer.inputs[0])
    axis: int = layer.attrs.get("axis", -1) % len(size)
    refuse_batch(layer, axis, net)
    return {0: net.scatter(net.forward(layer.outputs[1]), signal, axis, size[axis], len(size))}


def _zeros_like(tensor: Tensor, signal: Tensor, net: Net) -> Tensor:
    """Zeros in the shape of a forward tensor, in as many rows as the signal has."""
    zeros = net.constant(np.zeros([1, *dims(tensor)[1:]] if net.batched else dims(tensor)))
    if not net.batched:
        return zeros
    rank = len(dims(tensor))
    rows = net.slice(signal, [0] * (rank - 1), [1] * (rank - 1), range(1, rank))
    return net.emit("Add", zeros, net.emit("Mul", rows, net.constant(0)))


@rule("ScatterElements")
@rule("ScatterND")
def overwrite_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """To the data, the signal where nothing was written; to the updates, the signal from where each was written."""
    if layer.attrs.get("reduction", "none") != "none":
        raise UnsupportedError("it reduces what it writes; only overwriting has a rule")
    if net.batched:
        raise BatchError("its places count the batch")
    places = net.forward(layer.inputs[1])
    nothing = net.constant(np.zeros(dims(layer.inputs[2])))
    signals: dict[int, Tensor | None] = {1: None}
    if net.wants(layer.inputs[0]):
        signals[0] = net.emit(layer.op, signal, places, nothing, **layer.attrs)
    if net.wants(layer.inputs[2]):
        taken = {"ScatterElements": "GatherElements", "ScatterND": "GatherND"}[layer.op]
        kept = {name: value for name, value in layer.attrs.items() if name == "axis"}
        signals[2] = net.emit(taken, signal, places, **kept)
    return signals


@rule("Expand", reach=pointwise)
def sum_repeats(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The sum of the signals at the copies of each value."""
    return {0: net.unbroadcast(signal, layer, layer.inputs[0])}


@rule("Tile")
def sum_tiles(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The sum of the signals at the copies of each value."""
    repeats = constant_of(layer, 1, "repeats").reshape(-1).tolist()
    sizes = net.rows(layer.inputs[0])
    if repeats[0] != 1:
        refuse_batch(layer, 0, net)
    parts = [part for pair in zip(repeats, sizes, strict=True) for part in pair]
    apart = net.emit("Reshape", signal, net.ints([-1 if part is None else part for part in parts]))
    return {0: net.emit("ReduceSum", apart, net.ints(list(range(0, len(parts), 2))), keepdims=0)}


def _blocks(node: Node, index: int, axis: int) -> Tap | None:
    """Places in a block of the larger map share one place of the smaller."""
    if axis < 2:
        return Tap(0) if axis == 0 else None
    size: int = node.attrs["blocksize"]
    return Tap(axis, size, 0, size) if node.op == "SpaceToDepth" else Tap(axis, Fraction(1, size))


@rule("SpaceToDepth", reach=_blocks)
def depth_to_space(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal of each channel, back at its place in the block."""
    return {0: net.emit("DepthToSpace", signal, blocksize=layer.attrs["blocksize"])}


@rule("DepthToSpace", reach=_blocks)
def space_to_depth(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal of each place in a block, back at its channel."""
    _, channels, height, width = dims(layer.inputs[0])
    size: int = layer.attrs["blocksize"]
    if layer.attrs.get("mode", "DCR") == "DCR":
        return {0: net.emit("SpaceToDepth", signal, blocksize=size)}
    rows = -1 if net.batched else dims(layer.inputs[0])[0]
    blocks = net.emit("Reshape", signal, net.ints([rows, channels // size**2, height, size, width, size]))
    return {0: net.reshape_like(net.emit("Transpose", blocks, perm=[0, 1, 3, 5, 2, 4]), layer.inputs[0])}


@rule("CumSum")
def sum_from_behind(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The running sum of the signal from the other end."""
    axis = constant_of(layer, 1, "axis")
    refuse_batch(layer, int(axis) % len(dims(layer.inputs[0])), net)
    turned = {"exclusive": layer.attrs.get("exclusive", 0), "reverse": 1 - layer.attrs.get("reverse", 0)}
    return {0: net.emit("CumSum", signal, net.constant(axis, np.int64), **turned)}


@rule("Trilu")
def same_triangle(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal of the triangle that was kept."""
    diagonal = [net.forward(layer.inputs[1])] if is_given(layer, 1) else []
    return {0: net.emit("Trilu", signal, *diagonal, upper=layer.attrs.get("upper", 1))}


def refuse_batch(layer: Node, axis: int, net: Net) -> None:
    """BatchError where `axis` of the layer's input is the batch: each signal there belongs to an image alone."""
    if axis == 0 and net.batched:
        raise BatchError(f"{layer.op} works along the batch")


def constant_of(layer: Node, index: int, what: str) -> np.ndarray:
    """The constant at an input of the layer; UnsupportedError where it is not at hand."""
    tensor = layer.inputs[index]
    if not isinstance(tensor, Constant):
        raise UnsupportedError(f"its {what} are computed while the model runs, or lie in a file beside it")
    return np.asarray(tensor.values)


def is_given(layer: Node, index: int) -> bool:
    """Whether an optional input is there."""
    return len(layer.inputs) > index and not layer.inputs[index].is_empty()

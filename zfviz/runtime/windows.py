"""Windows: what a companion takes of forward values, for units at many places of many images."""

from collections.abc import Sequence

import numpy as np

from zfviz.graph.reach import Frame, Span
from zfviz.graph.windowed import Pool


def cut_windows(values: np.ndarray, frame: Frame, images: Sequence[int], places: np.ndarray) -> np.ndarray:
    """The part [K, ...] of forward values [N, ...] that belongs to each unit: at `places` [K, 2] of its image.

    A whole map comes in one row where all units are of one image. Beyond the ends of a map its last values go on; no
    signal comes there.
    """
    if not frame:
        return _rows(values, images)
    parts: list[np.ndarray] = []
    for image, place in zip(images, places, strict=True):
        part = values[image]
        for span in frame:
            part = _cut(part, span.axis - 1, _first(span, place), span.size)
        parts.append(part)
    return np.stack(parts)


def find_switches(values: np.ndarray, pool: Pool, images: Sequence[int], places: np.ndarray) -> np.ndarray:
    """The switches [K, ...] of a max-pool for each unit, found where signals go only: int32 places in the plane of the
    pool's input. Of equal values the first in reading order counts, on any device.
    """
    steps = np.array([int(np.prod(pool.plane[axis + 1 :])) for axis in range(len(pool.plane))])
    taps = np.indices(pool.kernel).reshape(len(pool.kernel), -1).T * pool.dilations
    table = (taps @ steps).astype(np.int32)
    # the whole map is where any unit is
    spans = pool.frame or tuple(Span(axis + 2, 0, size, size, jump=0) for axis, size in enumerate(pool.made))
    counts = [span.size for span in spans]
    corners = np.indices(counts).reshape(len(counts), -1).T * pool.strides - np.array(pool.before)
    base = (corners @ steps).astype(np.int32).reshape(counts)
    found: dict[int, np.ndarray] = {}
    firsts: dict[int, list[int]] = {}
    for image in dict.fromkeys(images):
        own = places[[place for place, of in enumerate(images) if of == image]]
        begins = np.array([[_first(span, place) for span in spans] for place in own])
        lows = np.clip(begins.min(0), 0, np.array(pool.made) - 1).tolist()
        highs = np.clip(begins.max(0) + counts, 1, pool.made).tolist()
        found[image], firsts[image] = _taps(values[image], pool, lows, highs), lows
    out = np.empty((len(images), values.shape[1], *counts), np.int32)
    for row, (image, place) in enumerate(zip(images, places, strict=True)):
        part = found[image]
        for span, low in zip(spans, firsts[image], strict=True):
            part = _cut(part, span.axis - 1, _first(span, place) - low, span.size)
        np.add(table[part], base, out=out[row])
    return out


def paste_windows(windows: np.ndarray, frame: Frame, places: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The windows [K, ...] in whole maps [K, *shape], zeros elsewhere; what sticks out is dropped."""
    if not frame:
        return windows
    whole = np.zeros((len(windows), *shape), windows.dtype)
    for row, (window, place) in enumerate(zip(windows, places, strict=True)):
        into, out = [slice(None)] * len(shape), [slice(None)] * len(shape)
        for span in frame:
            first = _first(span, place)
            begin, end = max(first, 0), min(first + span.size, span.extent)
            into[span.axis - 1], out[span.axis - 1] = slice(begin, end), slice(begin - first, end - first)
        whole[row, *into] = window[*out]
    return whole


def _first(span: Span, place: np.ndarray) -> int:
    return span.start + span.jump * int(place[span.side])


def _rows(values: np.ndarray, images: Sequence[int]) -> np.ndarray:
    one = len(set(images)) == 1
    return values[images[0] : images[0] + 1] if one else values[list(images)]


def _cut(values: np.ndarray, axis: int, first: int, size: int) -> np.ndarray:
    extent = values.shape[axis]
    if first >= 0 and first + size <= extent:
        return values[(slice(None),) * axis + (slice(first, first + size),)]
    return values.take(np.clip(np.arange(first, first + size), 0, extent - 1), axis)


def _taps(values: np.ndarray, pool: Pool, lows: Sequence[int], highs: Sequence[int]) -> np.ndarray:
    """Which position of the kernel is the maximum, for the windows from `lows` to `highs` of one image [C, ...]: the
    maximum along the last axis first, then that of these maxima along the axis before it, and so on.
    """
    # integers lack a number that is less than all of them; numpy is slow with float16
    best = values if values.dtype.kind == "f" and values.itemsize > 2 else values.astype(np.float32)
    for axis, (low, high) in enumerate(zip(lows, highs, strict=True)):
        best = _strip(best, pool, axis, low, high)
    tap = np.zeros(best.shape, np.min_scalar_type(int(np.prod(pool.kernel)) - 1))
    for axis in reversed(range(len(pool.kernel))):
        best, tap = _best_along(best, tap, pool, axis, highs[axis] - lows[axis])
    return tap


def _strip(values: np.ndarray, pool: Pool, axis: int, low: int, high: int) -> np.ndarray:
    """What the windows from `low` to `high` see along an axis, less than any number where they stick out."""
    first = low * pool.strides[axis] - pool.pads[axis]
    size = (high - low - 1) * pool.strides[axis] + (pool.kernel[axis] - 1) * pool.dilations[axis] + 1
    place = axis + 1
    begin, end = max(first, 0), min(first + size, values.shape[place])
    held = values[(slice(None),) * place + (slice(begin, end),)]
    missing = [(0, 0)] * values.ndim
    missing[place] = (begin - first, first + size - end)
    return np.pad(held, missing, constant_values=-np.inf) if any(missing[place]) else held


def _best_along(
    values: np.ndarray, taps: np.ndarray, pool: Pool, axis: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each window along one axis, and which position of the kernel it is, given those along the axes
    after it.
    """
    step = int(np.prod(pool.kernel[axis + 1 :]))

    def at(array: np.ndarray, tap: int) -> np.ndarray:
        start = tap * pool.dilations[axis]
        stop = start + (count - 1) * pool.strides[axis] + 1
        return array[(slice(None),) * (axis + 1) + (slice(start, stop, pool.strides[axis]),)]

    best, found = at(values, 0).copy(), at(taps, 0).copy()
    for tap in range(1, pool.kernel[axis]):
        larger = at(values, tap) > best
        np.copyto(best, at(values, tap), where=larger)
        np.copyto(found, at(taps, tap) + taps.dtype.type(tap * step), where=larger)
    return best, found

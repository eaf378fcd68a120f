"""Windows: what a companion takes of forward values, for units at many places of many images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

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


class Switches:
    """The switches of a max-pool, found once for units at `places` [K, 2] of `images`, and only where signals of these
    go. Of equal values the first in reading order counts, on any device.
    """

    def __init__(self, pool: Pool, values: np.ndarray, images: Sequence[int], places: np.ndarray) -> None:
        self._pool, self._channels = pool, values.shape[1]
        self._steps = np.array([prod(pool.plane[axis + 1 :]) for axis in range(len(pool.plane))])
        # the whole map is where any unit is
        self._spans = pool.frame or tuple(Span(axis + 2, 0, n, n, jump=0) for axis, n in enumerate(pool.made))
        self._counts = [span.size for span in self._spans]
        self._found: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        """By image and first position of a window: where the first of those that were found together is, and they."""
        firsts = self._firsts(places)
        for image in dict.fromkeys(images):
            own = np.unique(firsts[[row for row, of in enumerate(images) if of == image]], axis=0)
            low, high = self._inside(own.min(0), own.max(0))
            scattered = np.prod(high - low) > len(own) * np.prod(self._counts)
            for group in own[:, None] if scattered else own[None]:
                low, high = self._inside(group.min(0), group.max(0))
                found = low, _find(values[image], pool, low, high, self._steps)
                self._found |= {(image, *first): found for first in group.tolist()}

    def cut(self, images: Sequence[int], places: np.ndarray) -> np.ndarray:
        """Those of some of the units [K, ...]: int32 places in the plane of the pool's input. Whole maps come in one
        row where all units are of one image.
        """
        if not self._pool.frame and len(set(images)) == 1:
            images, places = images[:1], places[:1]
        pool, firsts = self._pool, self._firsts(places)
        outside = np.any((firsts < 0) | (firsts + self._counts > pool.made), axis=1)
        out = np.empty((len(images), self._channels, *self._counts), np.int32)
        for row, (image, first) in enumerate(zip(images, firsts, strict=True)):
            low, part = self._found[image, *first.tolist()]
            ahead = first - low
            for span, begin in zip(self._spans, ahead.tolist(), strict=True):
                part = _cut(part, span.axis - 1, begin, span.size)
            # the plane of this window begins further on than that of them all
            np.subtract(part, int((ahead * pool.strides + pool.before) @ self._steps), out=out[row])
            if outside[row]:
                np.clip(out[row], 0, prod(pool.plane) - 1, out=out[row])
        return out

    def _inside(self, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The part of the map from the window at `first` to that at `last`."""
        return np.clip(first, 0, np.array(self._pool.made) - 1), np.clip(last + self._counts, 1, self._pool.made)

    def _firsts(self, places: np.ndarray) -> np.ndarray:
        return np.array([[_first(span, place) for span in self._spans] for place in places])


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A window of a whole map, the part of it that lies inside; the map is zero elsewhere."""

    values: np.ndarray
    part: tuple[slice, ...]


def paste(patches: Sequence[Patch], shape: Sequence[int]) -> np.ndarray:
    """The whole maps [K, *shape], float32."""
    whole = np.zeros((len(patches), *shape), np.float32)
    for row, patch in zip(whole, patches, strict=True):
        row[patch.part] = patch.values
    return whole


def patches_of(windows: np.ndarray, frame: Frame, places: np.ndarray) -> Iterator[Patch]:
    """Each of the windows [K, ...] without what sticks out of the map."""
    for window, place in zip(windows, places, strict=True):
        into, out = [slice(None)] * window.ndim, [slice(None)] * window.ndim
        for span in frame:
            first = _first(span, place)
            # a window that lies in the padding as a whole has no part in the map
            begin, end = (min(max(edge, 0), span.extent) for edge in (first, first + span.size))
            into[span.axis - 1], out[span.axis - 1] = slice(begin, end), slice(begin - first, end - first)
        yield Patch(window[*out], tuple(into))


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


def _find(values: np.ndarray, pool: Pool, lows: np.ndarray, highs: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Where the maxima of the windows from `lows` to `highs` of one image [C, ...] are: `steps` apart along each axis,
    from the first position of the first window on.
    """
    # integers lack a number that is less than all of them; numpy is slow with float16
    best = values if values.dtype.kind == "f" and values.itemsize > 2 else values.astype(np.float32)
    best = _strip(best, pool, lows, highs)
    taps = np.zeros([1] * best.ndim, np.min_scalar_type(prod(pool.kernel) - 1))
    counts = highs - lows
    # the maximum along the last axis first, then that of these maxima along the axis before it, and so on
    for axis in reversed(range(len(pool.kernel))):
        best, taps = _best_along(best, taps, pool, axis, int(counts[axis]))
    kernel = np.indices(pool.kernel).reshape(len(pool.kernel), -1).T * pool.dilations
    corners = np.tensordot(steps * pool.strides, np.indices(tuple(counts.tolist())), 1)
    return (kernel @ steps).astype(np.int32).take(np.broadcast_to(taps, best.shape)) + corners.astype(np.int32)


def _strip(values: np.ndarray, pool: Pool, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
    """What the windows from `lows` to `highs` see, less than any number where they stick out."""
    rank = len(pool.kernel)
    kernel = (np.array(pool.kernel) - 1) * pool.dilations + 1
    firsts = lows * pool.strides - pool.pads[:rank]
    ends = (highs - 1) * pool.strides - pool.pads[:rank] + kernel
    begins, stops = np.maximum(firsts, 0), np.minimum(ends, values.shape[1:])
    held = values[:, *map(slice, begins, stops)]
    missing = [(0, 0), *zip(begins - firsts, ends - stops, strict=True)]
    return np.pad(held, missing, constant_values=-np.inf) if np.any(missing) else held


def _best_along(
    values: np.ndarray, taps: np.ndarray, pool: Pool, axis: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each window along one axis, and which position of the kernel it is, given those along the axes
    after it.
    """
    step = prod(pool.kernel[axis + 1 :])

    def at(array: np.ndarray, tap: int) -> np.ndarray:
        if array.shape[axis + 1] == 1:
            return array  # the same everywhere
        start = tap * pool.dilations[axis]
        stop = start + (count - 1) * pool.strides[axis] + 1
        part = array[(slice(None),) * (axis + 1) + (slice(start, stop, pool.strides[axis]),)]
        # numpy is slow where neighbours lie apart
        return np.ascontiguousarray(part) if axis + 2 == array.ndim else part

    best, found = at(values, 0), at(taps, 0)
    for tap in range(1, pool.kernel[axis]):
        value = at(values, tap)
        larger = value > best
        best = np.maximum(best, value)
        # a later position has the larger number, so that the maximum is the latest that was larger
        found = np.maximum(found, larger * (at(taps, tap) + taps.dtype.type(tap * step)))
    return best, found

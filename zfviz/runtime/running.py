"""Running: a batch of images through the forward graph, a batch of signals through the companion."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, groupby
from math import ceil
from typing import Any, TypeVar

import numpy as np
from onnxruntime import OrtValue

from zfviz.errors import ModelError, UnsupportedError
from zfviz.graph.companion import PIXELS, SIGNAL
from zfviz.graph.image_input import ImageInput
from zfviz.graph.net import IMAGE, PLACE
from zfviz.graph.reach import WHOLE
from zfviz.graph.windowed import Windowed
from zfviz.runtime.session import Session, Value
from zfviz.runtime.windows import Patch, Switches, cut_windows, patches_of

Item = TypeVar("Item")
Result = TypeVar("Result")

IMAGES_AT_ONCE = 8
SIGNALS_AT_ONCE = {"cpu": 4, "cuda": 16}
"""As many as stay in a processor's cache on their way; a GPU wants more."""
MEMORY = 2**28
"""Bytes that the forward values of the images that go together may take, and as much the largest of the signals."""


def at_once(most: int, size: int) -> int:
    """How many go together, of which each takes `size` bytes: `most` of them, or fewer where memory wants it so."""
    return max(1, min(most, MEMORY // max(1, size)))


def run_forward(
    session: Session,
    image: ImageInput,
    batch: np.ndarray,
    outputs: Sequence[str],
    whole: bool = False,
    finite: bool = True,
    kept: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The named outputs for a batch of images [N, ...] in the model's layout, N rows each; as they come when `whole`,
    which takes one image. Those that are `kept`, each with its `watch`, stay on the device; that wants no more images
    than the model takes at once, and gives as many rows as it takes.

    A model of fixed batch gets its images in portions, the last one filled up. Raises ModelError for values that are
    not finite where they have to be, UnsupportedError for an output whose rows are not the images.
    """
    if image.dtype.kind == "u":
        batch = np.rint(batch).clip(0, np.iinfo(image.dtype).max)
    batch = batch.astype(image.dtype, copy=False)
    kept = kept or {}
    asked = [*outputs, *filter(None, kept.values())]
    size = image.batch or len(batch)
    portions: list[dict[str, Any]] = []
    for start in range(0, len(batch), size):
        rows = batch[start : start + size]
        filled = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)]) if len(rows) < size else rows
        values = session.run({image.name: filled}, asked, kept)
        for name in outputs:
            _check(name, values[name], None if whole else size, finite, values.get(kept.get(name, "")))
        if whole:
            return values
        portions.append({name: values[name] if name in kept else values[name][: len(rows)] for name in outputs})
    return portions[0] if len(portions) == 1 else {n: np.concatenate([p[n] for p in portions]) for n in outputs}


def fetch(values: Mapping[str, Any], name: str) -> np.ndarray:
    """A forward value as an array, brought from the device where it was kept there."""
    value = values[name]
    return value.numpy() if isinstance(value, OrtValue) else value


@dataclass(frozen=True, slots=True)
class Signal:
    """The signal of one unit: `value` at `index` of its layer, as the model stores it, of one `image` of the batch.

    `place` is (y, x) of the unit, (0, 0) in a layer that has no map.
    """

    image: int
    index: tuple[int, ...]
    place: tuple[int, int]
    value: float


def run_companion(
    session: Session,
    companion: Windowed,
    signals: Sequence[Signal],
    values: Mapping[str, Any],
) -> Iterator[Patch]:
    """The pixels of each signal, parts of an image in the model's layout, from the forward `values` of a batch; those
    of one image for a companion that is not batched.
    """

    def rows(of: Sequence[Signal], pooled: np.ndarray) -> tuple[list[int], np.ndarray]:
        return _whose(of) if companion.batched else ([*range(len(pooled))], np.zeros((len(pooled), 2), np.int64))

    pools = [(name, pool, values[pool.tensor]) for name, pool in companion.pools.items()]
    switches = {name: Switches(pool, pooled, *rows(signals, pooled)) for name, pool, pooled in pools}

    def project(chosen: Sequence[Signal]) -> list[Patch]:
        images, places = _whose(chosen)
        units = {PLACE: places, IMAGE: np.array(images, np.int64)}
        feeds: dict[str, Value] = {name: units[name] for name in companion.unit_inputs}
        feeds[SIGNAL] = _stacked(chosen, companion)
        for name, asked in companion.values.items():
            value = values[asked.tensor]
            if companion.cutting:
                feeds[asked.tensor] = value
            else:
                feeds[name] = cut_windows(value, asked.frame, images, places) if companion.batched else value
        feeds |= {name: switches[name].cut(*rows(chosen, pooled)) for name, _, pooled in pools}
        pixels = session.run(feeds, [PIXELS])[PIXELS]
        if not np.isfinite(pixels).all():
            raise ModelError(
                f"a projection is NaN or infinite in {pixels.dtype.name}; expected finite numbers. "
                "Choose float32, or check the weights below this layer."
            )
        return [*patches_of(pixels[: len(chosen)], companion.pixels, places)]

    together = portions(signals, companion, session.device, session.runs)
    yield from chain.from_iterable(ahead(project, together, session.runs if session.runs > 1 else 0))


def ahead(run: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """What `run` makes of each item, in order; so many `threads` go on with the next ones while the last is in use."""
    if not threads:
        yield from map(run, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        coming: deque[Future[Result]] = deque()
        for item in items:
            coming.append(pool.submit(run, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def portions(
    signals: Sequence[Signal], companion: Windowed, device: str = "cpu", runs: int = 1
) -> Iterator[Sequence[Signal]]:
    """The signals that go together: of one image, where whole maps of it serve them all; some for each of the `runs`
    that go side by side.
    """
    most = min(SIGNALS_AT_ONCE[device], ceil(len(signals) / runs))
    together = at_once(most, companion.largest * runs) if companion.batched else 1
    frames = [asked.frame for asked in (*companion.values.values(), *companion.pools.values())]
    apart = WHOLE in frames
    for _, group in groupby(signals, key=lambda signal: signal.image if apart else 0):
        members = list(group)
        for start in range(0, len(members), together):
            yield members[start : start + together]


def _whose(signals: Sequence[Signal]) -> tuple[list[int], np.ndarray]:
    """The image and the place [K, 2] of each signal."""
    return [s.image for s in signals], np.array([s.place for s in signals], np.int64)


def _stacked(signals: Sequence[Signal], companion: Windowed) -> np.ndarray:
    """The signals as the companion takes them; one that is not batched takes all that the model takes at once, zeros
    but for the first image.
    """
    rows = len(signals) if companion.batched else companion.shape[0]
    stacked = np.zeros((rows, *companion.shape[1:]), companion.dtype)
    framed = {span.axis - 1 for span in companion.signal}
    for row, signal in enumerate(signals):
        index = tuple(0 if axis in framed else place for axis, place in enumerate(signal.index))
        stacked[index if len(index) == stacked.ndim else (row, *index)] = signal.value
    return stacked


def _check(name: str, value: Value, rows: int | None, finite: bool, watch: np.ndarray | None) -> None:
    """UnsupportedError where a forward value has not so many `rows`, ModelError where it has to be `finite` and is not;
    one that is on the device is looked at only where its `watch` is not finite.
    """
    kept = isinstance(value, OrtValue)
    shape = value.shape() if kept else value.shape
    if rows is not None and (not shape or shape[0] != rows):
        raise UnsupportedError(
            f"{name!r} has shape {list(shape)} for {rows} image{'s' * (rows > 1)}; expected a row for each. "
            "The model folds its batch into another axis; choose a layer below that."
        )
    if not finite or (kept and (watch is None or np.isfinite(watch))):
        return
    array = value.numpy() if kept else value
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise ModelError(
            f"{bad} of {np.size(array)} activations of {name!r} are NaN or infinite; expected finite numbers. "
            "Check the weights below this layer and the preprocessing."
        )

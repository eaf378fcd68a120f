"""Checks of behaviour: what a model does for the same picture twice, for a shifted one, for one with a part hidden; and
whether the rules of zfviz hold for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from zfviz.checks.checking import Measurement, check
from zfviz.checks.responses import look
from zfviz.checks.subject import Subject, spread
from zfviz.errors import LayerError, ModelError, SkipError
from zfviz.graph.layers import Layer
from zfviz.report.pixels import Colour, display_scale, picture_of, render
from zfviz.runtime.loading import Model
from zfviz.runtime.running import IMAGES_AT_ONCE, ahead, run_forward
from zfviz.runtime.verify import find_residuals
from zfviz.studies.inputs import Batch, read_batch
from zfviz.studies.project import Projector, prepare
from zfviz.studies.selection import default_layers
from zfviz.tolerances import SINGLE_OP

SHIFTED = 32
"""How many pictures are shifted."""

MARGIN, MARGIN_OF = 32, 224
"""By less than how many pixels, of how many along the shorter side (Zhang 2019)."""

SEED = 2013
"""Of the shifts."""

OCCLUDED = 4
"""How many pictures have parts hidden."""

PLACES = 5
"""Of the grey square, along each side of the unit's receptive field."""

PART = 0.25
"""Of each side of the receptive field, as long as the square."""


@check(
    "ZF301",
    "same-bits",
    "Does the same picture give the same bits?",
    group="behaviour",
    unit="numbers",
    source="IEEE 754",
    severity="error",
    limit=0,
)
def same_bits(subject: Subject) -> Iterator[Measurement]:
    """How many numbers of the model's outputs differ when it looks at one picture twice."""
    model, image, outputs = subject.model, subject.image(), subject.outputs
    first, second = (
        run_forward(subject.session, model.image, image, outputs, whole=True, finite=False) for _ in range(2)
    )
    differing = {name: differing_bits(first[name], second[name]) for name in outputs}
    count, size = sum(differing.values()), sum(first[name].size for name in outputs)
    where = f", first in {next(name for name in outputs if differing[name])!r}" if count else ""
    yield Measurement("", count, f"{count} of {size} numbers differ when one picture is looked at twice{where}")


@check(
    "ZF302",
    "shift-agreement",
    "Does a shifted picture stay in its class?",
    group="behaviour",
    unit="share of pictures",
    source="Zhang 2019",
    worse="below",
    drift=0.1,
    needs=["images", "classes"],
)
def shift_agreement(subject: Subject) -> Iterator[Measurement]:
    """The share of pictures of which two crops get the same class, shifted by less than 32 of 224 pixels along each
    side.
    """
    scores, paths = subject.scores, spread(subject.paths, SHIFTED)
    assert scores is not None
    offsets = np.random.default_rng(SEED).integers(0, margin(subject.model), (len(paths), 2, 2))
    together = IMAGES_AT_ONCE // 2
    portions = [slice(start, start + together) for start in range(0, len(paths), together)]
    stays: list[np.ndarray] = []
    for crops, _ in ahead(lambda part: shifted(subject.model, paths[part], offsets[part]), portions, threads=1):
        classes = look(subject.model, subject.session, crops, [scores])[scores.tensor].argmax(axis=1)
        stays.append(classes[::2] == classes[1::2])
    stay = np.concatenate(stays)
    said = f"{np.count_nonzero(stay)} of {len(stay)} pictures stay in their class when they are shifted"
    if stay.all():
        yield Measurement("", 1.0, said)
        return
    left = int(np.argmin(stay))
    draw = partial(_draw_shifted, subject.model, paths[left], offsets[left])
    yield Measurement("", float(stay.mean()), said, image=paths[left].name, picture=draw)


@check(
    "ZF303",
    "projection-and-occlusion",
    "Does a projection show what its unit needs?",
    group="behaviour",
    unit="rank correlation",
    source="Zeiler & Fergus 2013, Fig. 7",
    worse="below",
    drift=0.1,
    needs=["images"],
)
def projection_and_occlusion(subject: Subject) -> Iterator[Measurement]:
    """How well the energy of a projection within a square tells by how much its unit falls when that square is grey:
    the strongest unit of the deepest map, the mean of up to four pictures.
    """
    model, layer = subject.model, _deepest(subject.model)
    projector = prepare(model, layer.name, top=1, device=subject.device, threads=subject.threads, scores=False)
    found = [
        occlusion
        for batch in _each(subject.some, OCCLUDED)
        if (occlusion := _occlude(batch, layer, projector)) is not None
    ]
    if not found:
        raise SkipError(f"no unit of {layer.name!r} falls when a part of its picture is hidden")
    mean = float(np.mean([occlusion.correlation for occlusion in found]))
    worst = min(found, key=lambda occlusion: occlusion.correlation)
    said = f"projections and occlusions correlate by {mean:.2f} in the mean, by {worst.correlation:.2f} at worst"
    draw = partial(worst.draw, model.preprocessing.colour)
    yield Measurement(layer.name, mean, said, (worst.channel,), worst.name, draw)


@check(
    "ZF304",
    "verification",
    "Do the rules of zfviz hold for this model?",
    group="behaviour",
    unit="residual",
    source="central differences",
    severity="error",
    limit=SINGLE_OP,
)
def verification(subject: Subject) -> Iterator[Measurement]:
    """How far the rule of an op is from central differences of the op, on the model's own values: the worst of one
    layer of each kind below the deepest map.
    """
    layer = _deepest(subject.model)
    try:
        residuals = find_residuals(subject.model, subject.image(), [layer.tensor], kinds=True)
    except ModelError as error:
        raise SkipError(str(error)) from error
    if not residuals:
        raise SkipError(f"no layer below {layer.name!r} gives values that can be judged")
    worst = max(residuals, key=lambda residual: residual.value)
    said = f"of {len(residuals)} rules the one of {worst.op} is farthest from central differences"
    yield Measurement(worst.layer, worst.value, said)


def differing_bits(first: np.ndarray, second: np.ndarray) -> int:
    """How many numbers differ, if only in a bit; NaN is the same as itself."""
    if first.shape != second.shape:
        return max(first.size, second.size)
    if first.dtype == object:
        return int(np.count_nonzero(first != second))
    one, other = (np.frombuffer(v.tobytes(), np.uint8).reshape(v.size, v.dtype.itemsize) for v in (first, second))
    return int(np.count_nonzero((one != other).any(axis=1)))


def shifted(model: Model, paths: Sequence[Path], offsets: np.ndarray) -> tuple[np.ndarray, list[Image.Image]]:
    """Two crops of each picture, one after the other: arrays [2N, ...] in the model's layout, and pictures.

    They are cut out of the picture as a larger model would see it, at `offsets` [N, 2, 2], (y, x) each.
    """
    height, width = model.image.size
    _, _, down, across = model.image.axes
    batch = read_batch(_larger(model), paths)
    arrays: list[np.ndarray] = []
    views: list[Image.Image] = []
    for whole, view, pair in zip(batch.array, batch.views, offsets.tolist(), strict=True):
        for y, x in pair:
            rows = whole.take(range(y, y + height), axis=down - 1)
            arrays.append(rows.take(range(x, x + width), axis=across - 1))
            views.append(view.crop((x, y, x + width, y + height)))
    return np.stack(arrays), views


def margin(model: Model) -> int:
    """How many places along each side a shifted crop can have."""
    return max(2, MARGIN * min(model.image.size) // MARGIN_OF)


def _larger(model: Model) -> Model:
    """The model as if it took larger pictures, of what it sees with a margin around it where there is one."""
    more, height = margin(model) - 1, model.image.size[0]
    n, a, b, c = (side + more * (axis in model.image.axes[2:]) for axis, side in enumerate(model.image.shape))
    crop = min(1.0, model.preprocessing.crop * (height + more) / height)
    return replace(
        model,
        image=replace(model.image, shape=(n, a, b, c)),
        preprocessing=replace(model.preprocessing, crop=crop),
    )


def _draw_shifted(model: Model, path: Path, offsets: np.ndarray) -> Image.Image:
    return _side_by_side(shifted(model, [path], offsets[None])[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Occlusion:
    """What hiding parts of a picture does to a unit of `channel`: `drops` [5, 5], by how much it falls, and their
    `correlation` with the energy of the projection `pixels` [C, H, W] there. `view` is the picture, `box` the part of
    it that the unit sees: left, top, right, bottom.
    """

    name: str
    view: Image.Image
    box: tuple[int, int, int, int]
    channel: int
    pixels: np.ndarray
    drops: np.ndarray
    correlation: float

    def draw(self, colour: Colour) -> Image.Image:
        """The picture, the projection, and where the unit falls: the further, the whiter."""
        left, top, right, bottom = self.box
        drops = Image.new("RGB", self.view.size)
        drawn = picture_of(self.drops[None]).resize((right - left, bottom - top), Image.Resampling.NEAREST)
        drops.paste(drawn, (left, top))
        return _side_by_side([self.view, render(self.pixels, display_scale(self.pixels), colour), drops])


def _occlude(batch: Batch, layer: Layer, projector: Projector) -> _Occlusion | None:
    """What hiding parts of one picture does to the strongest unit of the layer; None where nothing comes of it."""
    try:
        projections = projector.project(batch)
    except ModelError:
        return None  # its values are no numbers, which is another check's to say
    (unit,), pixels, model = projections.units, projections.pixels[0], projector.model
    height, width = model.image.size
    top, left, bottom, right = layer.box(unit.y, unit.x, model.image.size)
    box = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    places = [*product(_along(box[1], box[3]), _along(box[0], box[2]))]
    values: list[np.ndarray] = []
    for start in range(0, len(places), IMAGES_AT_ONCE):
        hidden = _hide(model, batch.array[0], places[start : start + IMAGES_AT_ONCE])
        values.append(look(model, projector.forward, hidden, [layer])[layer.tensor][:, unit.channel, unit.y, unit.x])
    drops = projections.activations[0] - np.concatenate(values)
    energy = np.abs(pixels).sum(axis=0, dtype=np.float64)
    correlation = spearman(np.array([energy[place].sum() for place in places]), drops)
    if not np.isfinite(correlation):
        return None
    grid = drops.reshape(PLACES, PLACES)
    return _Occlusion(batch.names[0], batch.views[0], box, unit.channel, pixels, grid, correlation)


def _along(start: int, end: int) -> list[slice]:
    """Where the grey square is laid along one side of a receptive field."""
    length = max(1, round(PART * (end - start)))
    return [slice(at, at + length) for at in np.linspace(start, end - length, PLACES).astype(int).tolist()]


def _hide(model: Model, image: np.ndarray, places: Sequence[tuple[slice, slice]]) -> np.ndarray:
    """The image with each of the places laid over by its mean colour."""
    _, _, down, across = (axis - 1 for axis in model.image.axes)
    hidden = np.repeat(image[None], len(places), axis=0)
    grey = image.mean(axis=(down, across), keepdims=True)
    for one, (rows, columns) in zip(hidden, places, strict=True):
        index = [slice(None)] * one.ndim
        index[down], index[across] = rows, columns
        one[tuple(index)] = grey
    return hidden


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """The rank correlation of two rows of numbers, NaN where one of them is constant; equal numbers share the mean of
    their ranks.
    """
    a, b = (ranks - ranks.mean() for ranks in map(_ranks, (first, second)))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def _deepest(model: Model) -> Layer:
    try:
        return default_layers(model)[-1]
    except LayerError as error:
        raise SkipError(str(error)) from error


def _each(batch: Batch, most: int) -> Iterator[Batch]:
    """Some images of a batch, each by itself."""
    for row in spread(range(len(batch.array)), most):
        one = slice(row, row + 1)
        yield replace(
            batch, array=batch.array[one], views=batch.views[one], names=batch.names[one], stems=batch.stems[one]
        )


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    gap = 8
    width = sum(picture.width + gap for picture in pictures) - gap
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width + gap
    return sheet

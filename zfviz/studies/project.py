"""Projections: what of an image drove a unit (paper, section 2)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, product
from math import prod
from typing import Any, Literal, get_args

import numpy as np
from onnx import ModelProto

from zfviz.errors import LayerError
from zfviz.graph.exposure import cut, expose, watch
from zfviz.graph.layers import Layer
from zfviz.graph.net import Precision
from zfviz.graph.reach import WHOLE, dims
from zfviz.graph.rules import METHODS, Method
from zfviz.graph.windowed import Windowed, build_windowed
from zfviz.runtime.loading import Model, ModelLike, load
from zfviz.runtime.running import IMAGES_AT_ONCE, Signal, ahead, at_once, fetch, run_companion, run_forward
from zfviz.runtime.session import Device, Session, choose_device, open_session
from zfviz.runtime.verify import Residual, verify_layers
from zfviz.runtime.windows import Patch, paste
from zfviz.studies.inputs import Batch, ImageLike, as_nchw, list_pictures, name_pictures, read_batch
from zfviz.studies.projections import Projections
from zfviz.studies.selection import (
    Unit,
    UnitLike,
    check_unit,
    chosen_unit,
    class_layer,
    default_layers,
    find_class,
    read_units,
    strongest_units,
)

Seed = Literal["activation", "one"]
SEEDS: tuple[Seed, ...] = get_args(Seed)
FLOAT_BYTES = 4


def project(
    model: ModelLike,
    image: ImageLike,
    layer: str | Sequence[str] | None = None,
    units: Iterable[UnitLike] | None = None,
    top: int = 9,
    method: Method = "deconvnet",
    device: Device = "auto",
    threads: int | None = None,
    *,
    classes: str | int | Sequence[str | int] = (),
    seed: Seed = "activation",
    precision: Precision = "float32",
    scores: bool = True,
    verify: bool = False,
) -> Projections:
    """The projections of units to pixels, in the order of images, then layers, then units.

    `image` is a path, a PIL image, a list of those, or a float array in the model's own layout. `layer` is one layer
    or several; None takes the last rectified map of each resolution, filled up to five. `units` are (channel, y, x), or
    a channel alone for its strongest place; None takes the `top` strongest channels. `classes` adds the logits of
    classes, by name or index. `seed` "activation" starts from the unit's activation (paper, section 2.1), "one" from
    1. The companion computes in `precision`, whatever the model's own type. Without `scores` the record names no class,
    and the model runs no deeper than the layers. `verify` checks each layer on the way down by finite differences, on
    the first image.

    Raises LayerError (unknown layer, unit or class), UnsupportedError (an op without a rule), ImageError, ModelError,
    DeviceError, and VerificationError when `verify` finds a layer that is wrong.
    """
    prepared = prepare(
        model,
        layer,
        units,
        top,
        method,
        device,
        threads,
        classes=classes,
        seed=seed,
        precision=precision,
        scores=scores,
    )
    return prepared.project(image, verify)


def prepare(
    model: ModelLike,
    layer: str | Sequence[str] | None = None,
    units: Iterable[UnitLike] | None = None,
    top: int = 9,
    method: Method = "deconvnet",
    device: Device = "auto",
    threads: int | None = None,
    *,
    classes: str | int | Sequence[str | int] = (),
    seed: Seed = "activation",
    precision: Precision = "float32",
    scores: bool = True,
) -> "Projector":
    """What `project` does before it looks at an image, so that many calls share it: graphs built, sessions open."""
    if method not in METHODS:
        raise LayerError(f"no method {method!r}; expected one of {', '.join(METHODS)}.")
    if seed not in SEEDS:
        raise LayerError(f"no seed {seed!r}; expected one of {', '.join(SEEDS)}.")
    if top < 1 or top % 1:
        raise LayerError(f"top is {top}; expected a whole number, 1 or more.")
    model = load(model)
    places = None if units is None else read_units(units)
    named = [classes] if isinstance(classes, str | int) else classes
    logits = class_layer(model)
    # maps that lie on a device of its own stay there
    cutting = choose_device(device) != "cpu"
    wishes: list[_Wish] = []
    for chosen, asked in _choices(model, layer, places, named, logits):
        companion = build_windowed(model.canonical, chosen.tensor, chosen.start, method, precision, cutting)
        windows = companion.pixels != WHOLE
        session = open_session(companion.proto, model.source.folder, device, threads, side_by_side=windows)
        wishes.append(_Wish(chosen, asked, top, companion, session))
    named_by = logits if scores else None
    forward = forward_graph(model, _tensors(wishes, named_by))
    kept = watch(forward, [name for wish in wishes for name in wish.companion.tensors]) if cutting else {}
    session = open_session(forward, model.source.folder, device, threads)
    return Projector(model, method, seed, precision, tuple(wishes), named_by, session, kept)


@dataclass(frozen=True, slots=True, eq=False)
class Projector:
    """Graphs and sessions that project the same layers of any number of images; `prepare` makes it. `kept` are the
    forward values that stay on the device, each with what tells whether it is finite.
    """

    model: Model
    method: Method
    seed: Seed
    precision: Precision
    wishes: tuple["_Wish", ...]
    scores: Layer | None
    forward: Session
    kept: Mapping[str, str]

    def each(self, images: ImageLike, verify: bool = False) -> Iterator[Projections]:
        """The projections of each image by itself, one after the other, so that memory does not grow with their number.
        Some go through the model together, and the next pictures are decoded meanwhile. `verify` as in `project`.
        """
        for number, batch in enumerate(self._batches(images)):
            found, scores, residual = self._found(batch, verify and not number)
            for image in range(len(batch.names)):
                own = [replace(p, image=0) for p in found if p.image == image]
                one = slice(image, image + 1)
                yield self._projections(batch.part(one), own, scores[one], None if image else residual)

    def project(self, image: ImageLike | Batch, verify: bool = False) -> Projections:
        """The projections of an image or a batch of them; `verify` checks the layers on the first of them."""
        batch = image if isinstance(image, Batch) else read_batch(self.model, image)
        return self._projections(batch, *self._found(batch, verify))

    def portions(self, image: ImageLike, units: int = 64) -> Iterator[Projections]:
        """What `each` gives, at most so many `units` at a time, so that memory does not grow with their number."""
        if units < 1:
            raise LayerError(f"units is {units}; expected 1 or more.")
        for batch in self._batches(image, together=1):
            projected, scores = self._look(batch.array)
            first = 0
            while found := [*islice(projected, units)]:
                yield self._projections(batch, found, scores, None, first)
                first += len(found)

    @property
    def _batched(self) -> bool:
        return all(wish.companion.batched for wish in self.wishes)

    def _images_at_once(self) -> int:
        """As many as are bounded in what the model makes of them, and in their projections."""
        if not self._batched:
            return 1
        if self.kept and self.model.image.batch:
            return self.model.image.batch
        made = {t.name: t for node in self.model.canonical.graph.nodes for t in node.outputs}
        taken = sum(prod(dims(made[name])[1:]) for name in self.tensors if name in made)
        projected = sum(wish.count for wish in self.wishes) * prod(self.model.image.shape[1:])
        return at_once(IMAGES_AT_ONCE, max(taken, projected) * FLOAT_BYTES)

    def _batches(self, images: ImageLike, together: int | None = None) -> Iterator[Batch]:
        """The images, so many together; the next pictures are decoded while the last ones are in use."""
        together = together or self._images_at_once()
        if isinstance(images, np.ndarray):
            batch = read_batch(self.model, images)
            yield from (batch.part(slice(n, n + together)) for n in range(0, len(batch.names), together))
            return
        pictures = list_pictures(images)
        named = name_pictures(pictures)
        portions = [slice(start, start + together) for start in range(0, len(pictures), together)]
        yield from ahead(lambda portion: read_batch(self.model, pictures[portion], named[portion]), portions, threads=1)

    def _found(self, batch: Batch, verify: bool) -> tuple[list["_Projected"], list[np.ndarray], Residual | None]:
        """All projections of a batch, by image, the class scores, and the worst of a verification."""
        found: list[_Projected] = []
        class_scores: list[np.ndarray] = []
        together = self._images_at_once()
        for start in range(0, len(batch.array), together):
            projected, scores = self._look(batch.array[start : start + together])
            found += [replace(p, image=start + p.image) for p in projected]
            class_scores += scores
        found.sort(key=lambda p: p.image)
        residuals = verify_layers(self.model, batch.array[:1], [w.layer.tensor for w in self.wishes]) if verify else []
        return found, class_scores, max(residuals, key=lambda r: r.value, default=None)

    def _look(self, images: np.ndarray) -> tuple[Iterator["_Projected"], list[np.ndarray]]:
        """The projections of some images, each made when it is asked for, and their scores."""
        values = run_forward(
            self.forward, self.model.image, images, self.tensors, whole=not self._batched, kept=self.kept
        )
        scores = [*self.scores.as_map(fetch(values, self.scores.tensor))[: len(images)]] if self.scores else []
        each = (wish.each(values, len(images), self.seed) for wish in self.wishes)
        return chain.from_iterable(each), scores

    def _projections(
        self,
        batch: Batch,
        found: Sequence["_Projected"],
        scores: Sequence[np.ndarray],
        residual: Residual | None,
        first: int | None = None,
    ) -> Projections:
        return Projections(
            pixels=as_nchw(self.model, paste([p.patch for p in found], self.model.image.shape[1:])),
            units=tuple(p.unit for p in found),
            activations=np.array([p.activation for p in found], np.float32),
            image_index=np.array([p.image for p in found]),
            inexact=tuple(sorted({word for wish in self.wishes for word in wish.companion.inexact})),
            model=self.model,
            batch=batch,
            method=self.method,
            seed=self.seed,
            precision=self.precision,
            device=self.forward.device,
            class_scores=tuple(scores),
            residual=residual,
            first=first,
        )

    @property
    def tensors(self) -> list[str]:
        """Every forward value that the layers, their companions and the scores need, once."""
        return _tensors(self.wishes, self.scores)


def _tensors(wishes: Sequence["_Wish"], scores: Layer | None) -> list[str]:
    values = [name for wish in wishes for name in (wish.layer.tensor, *wish.companion.tensors)]
    return [*dict.fromkeys([*values, *([scores.tensor] if scores else [])])]


def _choices(
    model: Model,
    layer: str | Sequence[str] | None,
    units: Sequence[Sequence[int]] | None,
    classes: Sequence[str | int],
    scores: Layer | None,
) -> list[tuple[Layer, Sequence[Sequence[int]] | None]]:
    """The layers wanted, and the units of each, None for the strongest."""
    names = [layer] if isinstance(layer, str) else layer
    layers = [model.layer(name) for name in names or ()]
    if names is None and not classes:
        layers = default_layers(model)
    for chosen, unit in product(layers, units or ()):
        check_unit(chosen, unit)
    choices = [(chosen, units) for chosen in dict.fromkeys(layers)]
    if classes:
        if scores is None:
            raise LayerError(f"{model.name} is no classifier: its first output is no vector. Name a layer instead.")
        choices.append((scores, [(find_class(model, scores, c),) for c in classes]))
    if not choices:
        raise LayerError("layer is an empty list; expected at least one name, or None for the rows of a sheet.")
    return choices


def activations(
    model: ModelLike,
    image: ImageLike,
    layers: str | Sequence[str],
    device: Device = "auto",
    threads: int | None = None,
) -> dict[str, np.ndarray]:
    """The activations of layers, by the names asked: float32 [N, C, H, W], or [N, F] where a layer has no map.

    Raises LayerError for an unknown layer, ImageError, ModelError, DeviceError.
    """
    model = load(model)
    if not layers:
        raise LayerError("layers is an empty list; expected at least one name.")
    batch = read_batch(model, image)
    asked = {name: model.layer(name) for name in ([layers] if isinstance(layers, str) else layers)}
    session = open_forward(model, [layer.tensor for layer in asked.values()], device, threads)
    tensors = [*{layer.tensor for layer in asked.values()}]
    if not any(layer.folded for layer in asked.values()):
        values = run_forward(session, model.image, batch.array, tensors)
    else:
        rows = [run_forward(session, model.image, row[None], tensors, whole=True) for row in batch.array]
        values = {name: np.concatenate([row[name] for row in rows]) for name in tensors}
    return {name: layer.as_map(values[layer.tensor]) for name, layer in asked.items()}


def open_forward(model: Model, tensors: Iterable[str], device: Device, threads: int | None) -> Session:
    """A session of as much of the model as gives `tensors`."""
    return open_session(forward_graph(model, tensors), model.source.folder, device, threads)


def forward_graph(model: Model, tensors: Iterable[str]) -> ModelProto:
    """As much of the model as gives `tensors`."""
    asked = {*tensors}
    whole = expose(model.canonical, asked, {})
    return cut(whole, [output for output in whole.graph.output if output.name in asked])


@dataclass(frozen=True, slots=True, eq=False)
class _Wish:
    """What is wanted of one layer: these units, or the strongest ones; and the companion that projects them."""

    layer: Layer
    units: Sequence[Sequence[int]] | None
    top: int
    companion: Windowed
    session: Session

    def each(self, values: Mapping[str, Any], images: int, seed: Seed) -> Iterator["_Projected"]:
        """The projections of the layer's units, for that many images whose forward values these are."""
        maps = self.layer.as_map(fetch(values, self.layer.tensor))[:images]
        chosen = [(image, unit) for image, activations in enumerate(maps) for unit in self._units_of(activations)]
        strengths = [float(maps[image, *_place(unit)]) for image, unit in chosen]
        signals = [
            Signal(
                image,
                self.layer.index_of(_place(unit)),
                (unit.y or 0, unit.x or 0),
                (strength if seed == "activation" else 1) * self.layer.scale,
            )
            for (image, unit), strength in zip(chosen, strengths, strict=True)
        ]
        patches = run_companion(self.session, self.companion, signals, values)
        for (image, unit), strength, patch in zip(chosen, strengths, patches, strict=True):
            yield _Projected(image, unit, strength, patch)

    @property
    def count(self) -> int:
        """How many units of one image it is about."""
        return min(self.top, self.layer.shape[0]) if self.units is None else len(self.units)

    def _units_of(self, activations: np.ndarray) -> list[Unit]:
        if self.units is None:
            return strongest_units(self.layer, activations, self.top)
        return [chosen_unit(self.layer, activations, unit) for unit in self.units]


@dataclass(frozen=True, slots=True, eq=False)
class _Projected:
    image: int
    unit: Unit
    activation: float
    patch: Patch


def _place(unit: Unit) -> tuple[int, ...]:
    return tuple(p for p in (unit.channel, unit.y, unit.x) if p is not None)

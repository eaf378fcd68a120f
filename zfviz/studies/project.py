"""Projections: what of an image drove a unit (paper, section 2)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from zfviz.errors import LayerError
from zfviz.graph.companion import Companion, build_companion
from zfviz.graph.exposure import expose
from zfviz.graph.layers import Layer
from zfviz.graph.rules import METHODS, Method
from zfviz.runtime.loading import Model, ModelLike, load
from zfviz.runtime.running import IMAGES_AT_ONCE, run_companion, run_forward
from zfviz.runtime.session import Device, Session, open_session
from zfviz.runtime.verify import Residual, verify_layers
from zfviz.studies.inputs import ImageLike, as_nchw, read_batch
from zfviz.studies.projections import Projections
from zfviz.studies.selection import (
    Unit,
    chosen_unit,
    class_layer,
    default_layers,
    find_class,
    strongest_units,
)

Seed = Literal["activation", "one"]


def project(
    model: ModelLike,
    image: ImageLike,
    layer: str | Sequence[str] | None = None,
    units: Sequence[Sequence[int | None]] | None = None,
    top: int = 9,
    method: Method = "deconvnet",
    device: Device = "auto",
    threads: int | None = None,
    *,
    classes: Sequence[str | int] = (),
    seed: Seed = "activation",
    verify: bool = False,
) -> Projections:
    """The projections of units to pixels, in the order of images, then layers, then units.

    `image` is a path, a PIL image, a list of those, or a float array in the model's own layout. `layer` is one layer
    or several; None takes the last rectified map of each resolution, five at least. `units` are (channel, y, x), or
    (channel,) for the channel's strongest place; None takes the `top` strongest channels. `classes` adds the logits of
    classes, by name or index. `seed` "activation" starts from the unit's activation (paper, section 2.1), "one" from
    1. `verify` checks each layer on the way down by finite differences.

    Raises LayerError (unknown layer, unit or class), UnsupportedError (an op without a rule), ImageError, ModelError,
    DeviceError, and VerificationError when `verify` finds a layer that is wrong.
    """
    if method not in METHODS:
        raise LayerError(f"no method {method!r}; expected one of {', '.join(METHODS)}.")
    if top < 1:
        raise LayerError(f"top is {top}; expected 1 or more.")
    model = load(model)
    batch = read_batch(model, image)
    wishes = _wishes(model, layer, units, top, classes)
    scores = class_layer(model)
    companions = {w.layer.tensor: build_companion(model.canonical, w.layer.tensor, method) for w in wishes}
    seen = dict.fromkeys([w.layer.tensor for w in wishes] + ([scores.tensor] if scores else []))
    forward = open_forward(model, companions.values(), seen, device, threads)
    sessions = {
        tensor: open_session(companion.proto, model.source.folder, device, threads)
        for tensor, companion in companions.items()
    }
    names = [*dict.fromkeys([*seen, *(v for c in companions.values() for v in c.values)])]
    found: list[_Projected] = []
    residuals: list[Residual] = []
    class_scores: list[np.ndarray] = []
    for start in range(0, len(batch.array), IMAGES_AT_ONCE):
        images = batch.array[start : start + IMAGES_AT_ONCE]
        values = run_forward(forward, model.image, images, names)
        for wish in wishes:
            tensor = wish.layer.tensor
            projected = _project_layer(wish, companions[tensor], sessions[tensor], values, seed)
            found += [replace(p, image=start + p.image) for p in projected]
        class_scores += [*scores.as_map(values[scores.tensor])] if scores else []
        if verify and not start:
            residuals = verify_layers(model, images[:1], [wish.layer.tensor for wish in wishes])
    found.sort(key=lambda p: p.image)
    return Projections(
        pixels=as_nchw(model, np.stack([p.pixels for p in found])),
        units=tuple(p.unit for p in found),
        activations=np.array([p.activation for p in found], np.float32),
        image_index=np.array([p.image for p in found]),
        inexact=tuple(sorted({word for c in companions.values() for word in c.inexact})),
        model=model,
        batch=batch,
        method=method,
        seed=seed,
        device=forward.device,
        class_scores=tuple(class_scores),
        residual=max(residuals, key=lambda r: r.value, default=None),
    )


def activations(
    model: ModelLike,
    image: ImageLike,
    layers: Sequence[str],
    device: Device = "auto",
    threads: int | None = None,
) -> dict[str, np.ndarray]:
    """The activations of layers, by the names asked: float32 [N, C, H, W], or [N, F] where a layer has no map.

    Raises LayerError for an unknown layer, ImageError, ModelError, DeviceError.
    """
    model = load(model)
    batch = read_batch(model, image)
    asked = {name: model.layer(name) for name in layers}
    session = open_forward(model, (), [layer.tensor for layer in asked.values()], device, threads)
    values = run_forward(session, model.image, batch.array, [*{layer.tensor for layer in asked.values()}])
    return {name: layer.as_map(values[layer.tensor]) for name, layer in asked.items()}


def open_forward(
    model: Model, companions: Iterable[Companion], tensors: Iterable[str], device: Device, threads: int | None
) -> Session:
    """A session of the forward graph that gives `tensors` and all that the companions ask for."""
    companions = tuple(companions)
    switches = {name: pooled for c in companions for name, pooled in c.switches.items()}
    asked = [*tensors, *(name for c in companions for name in c.values if name not in c.switches)]
    return open_session(expose(model.canonical, asked, switches), model.source.folder, device, threads)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is wanted of one layer: these units, or the strongest ones."""

    layer: Layer
    units: Sequence[Sequence[int | None]] | None
    top: int

    def units_of(self, activations: np.ndarray) -> list[Unit]:
        if self.units is None:
            return strongest_units(self.layer, activations, self.top)
        return [chosen_unit(self.layer, activations, unit) for unit in self.units]


@dataclass(frozen=True, slots=True, eq=False)
class _Projected:
    image: int
    unit: Unit
    activation: float
    pixels: np.ndarray


def _wishes(
    model: Model,
    layer: str | Sequence[str] | None,
    units: Sequence[Sequence[int | None]] | None,
    top: int,
    classes: Sequence[str | int],
) -> list[_Wish]:
    names = [layer] if isinstance(layer, str) else layer
    layers = [model.layer(name) for name in names or ()]
    if names is None and not classes:
        layers = default_layers(model)
    wishes = [_Wish(chosen, units, top) for chosen in dict.fromkeys(layers)]
    if classes:
        scores = class_layer(model)
        if scores is None:
            raise LayerError(f"{model.name} is no classifier: its first output is no vector. Name a layer instead.")
        wishes.append(_Wish(scores, [(find_class(model, scores, c),) for c in classes], top))
    return wishes


def _project_layer(
    wish: _Wish, companion: Companion, session: Session, values: Mapping[str, np.ndarray], seed: Seed
) -> list[_Projected]:
    maps = wish.layer.as_map(values[wish.layer.tensor])
    chosen = [(image, unit) for image, activations in enumerate(maps) for unit in wish.units_of(activations)]
    places = [(image, *_place(unit)) for image, unit in chosen]
    strengths = [float(maps[place]) for place in places]
    signals: list[np.ndarray] = []
    for place, strength in zip(places, strengths, strict=True):
        signal = np.zeros((1, *wish.layer.shape), np.float32)
        signal[(0, *place[1:])] = strength if seed == "activation" else 1
        signals.append(wish.layer.as_stored(signal)[0])
    asked = {name: values[name] for name in companion.values}
    pixels = run_companion(session, signals, [image for image, _ in chosen], asked)
    return [
        _Projected(image, unit, strength, projected)
        for (image, unit), strength, projected in zip(chosen, strengths, pixels, strict=True)
    ]


def _place(unit: Unit) -> tuple[int, ...]:
    return tuple(p for p in (unit.channel, unit.y, unit.x) if p is not None)

"""Checks of comparison: what is not as it was in the baseline, a record or another model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from zfviz.checks.before_after import before_and_after
from zfviz.checks.checking import Measurement, check
from zfviz.checks.evidence import listed, numbered
from zfviz.checks.kernels import FILTERING
from zfviz.checks.pairing import Named, paired
from zfviz.checks.records import Baseline, Filters, Strongest, Window
from zfviz.checks.responses import LayerResponses, look
from zfviz.checks.subject import SHOWN, Subject
from zfviz.errors import SkipError
from zfviz.graph.layers import Layer
from zfviz.runtime.loading import Model
from zfviz.studies.project import open_forward
from zfviz.studies.selection import class_layer

One = TypeVar("One", bound=Named)

MOVED = 0.1
"""Of a filter's norm. Integers of 8 bits move all but the weakest filters of a layer by less."""

ENOUGH = 20
"""Pictures. Of fewer, channels that have nothing in common share too many of their strongest five: of 20, two or more
with 37 % of them."""

KEPT = 2 / 5
"""Of a channel's strongest pictures. One that keeps fewer responds to something else."""

CHANGED = 0.25
"""Of a layer's channels. In AlexNet and ZFNet integers of 8 bits change up to 0.11, colours in the wrong order 0.17 to
0.45, a mean left out 0.06 to 0.32, values of the wrong scale 0.44 to 0.96."""

FLIPPED = 3
"""Pictures of another class. Integers of 8 bits flip some in a hundred: fewer than three may be chance."""

ALIVE = 2
"""Pictures that a channel fired for; a single one may be a matter of rounding."""

FLOOR = 10.0
"""Decibels: noise of a tenth of the signal's power. Integers of 8 bits leave 30 to 40 in AlexNet and ZFNet."""

CEILING = 150.0
"""Decibels, where nothing differs: more than the 24 bits of a float can tell apart."""

_TINY = 1e-38  # a norm that is as good as none


@check(
    "ZF501",
    "moved-filters",
    "Are the filters those of the baseline?",
    group="baseline",
    unit="share of filters",
    source="Achlioptas 2003",
    needs=["baseline"],
)
def moved_filters(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's filters that moved by more than 10 % of their norm, as far as sketches tell."""
    for before, now in paired(_baseline(subject).filters, _filters(subject)):
        if before.shape != now.shape:
            continue
        distances = np.linalg.norm(now.sketches - before.sketches, axis=1)
        # a filter that is not finite has moved
        moved = ~(distances <= MOVED * before.norms)
        channels = _ordered(-distances / np.maximum(before.norms, _TINY), moved)
        farthest = f", farthest first: {listed(channels)}" * bool(channels)
        said = f"{len(channels)} of {len(moved)} filters moved by more than {MOVED:.0%} of their norm{farthest}"
        drawn = before_and_after(subject, before.name, now.name, dict.fromkeys(channels, 0))
        yield Measurement(now.name, len(channels) / len(moved), said, channels, picture=drawn)


@check(
    "ZF506",
    "changed-layers",
    "Are the layers that filter those of the baseline?",
    group="baseline",
    unit="layers",
    source="zfviz",
    severity="warning",
    limit=0,
    needs=["baseline"],
)
def changed_layers(subject: Subject) -> Iterator[Measurement]:
    """How many layers that filter are gone, new, or of another shape."""
    before, now = _baseline(subject).filters, _filters(subject)
    changes = _changes(before, now, lambda filters: "x".join(map(str, filters.shape)))
    same = f"all {len(now)} layers that filter have the shape that they had"
    yield Measurement("", float(len(changes)), listed(changes) or same)


@check(
    "ZF507",
    "changed-preprocessing",
    "Are pictures prepared as they were for the baseline?",
    group="baseline",
    unit="settings",
    source="zfviz",
    severity="warning",
    limit=0,
    needs=["baseline"],
)
def changed_preprocessing(subject: Subject) -> Iterator[Measurement]:
    """How many settings of the preprocessing, such as its mean or the order of colours, give other values."""
    changes = _baseline(subject).preprocessing.changes(subject.preprocessing)
    yield Measurement("", float(len(changes)), listed(changes) or subject.preprocessing.describe())


@check(
    "ZF508",
    "changed-windows",
    "Do convolutions and pools slide as they did in the baseline?",
    group="baseline",
    unit="layers",
    source="zfviz",
    severity="warning",
    limit=0,
    needs=["baseline"],
)
def changed_windows(subject: Subject) -> Iterator[Measurement]:
    """How many layers have windows of another size, or other strides, pads, dilations or groups, or are gone or new."""
    before, now = _baseline(subject).windows, tuple(Window.of(subject.model))
    changes = _changes(before, now, lambda window: window.slides)
    same = f"the windows of {numbered(len(now), 'layer')} slide as they did"
    yield Measurement("", float(len(changes)), "; ".join(changes) or same)


@check(
    "ZF502",
    "changed-responses",
    "Does every channel respond to the pictures that it responded to?",
    group="baseline",
    unit="share of channels",
    source="Zeiler & Fergus 2013, figure 2",
    severity="warning",
    limit=CHANGED,
    needs=["images", "baseline"],
)
def changed_responses(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's channels for which fewer than 2 of their 5 strongest pictures are still among these.

    Of 20 pictures a layer that has nothing to do with the baseline's gives 0.63, of more of them up to 1.
    """
    common = _common(subject)
    if len(common) < ENOUGH:
        raise _too_few(common)
    for before, seen in _paired_maps(subject):
        changed: dict[int, int] = {}
        compared = 0
        now = Strongest.of(seen, [*common.values()])
        for channel, (old, new) in enumerate(zip(before.pictures, now.pictures, strict=True)):
            # what is left of a ranking is the beginning of the ranking of what is left
            still = [common[image] for image in old if image in common]
            compared += bool(still)
            if len({*still} & {*new[: len(still)]}) < KEPT * len(still):
                changed[channel] = still[0]
        if compared:
            said = (
                f"{len(changed)} of {compared} channels respond to others of the {len(common)} pictures that both saw"
            )
            yield _shown_by(subject, before.name, now.name, changed, len(changed) / compared, said)


@check(
    "ZF503",
    "top1-agreement",
    "Do pictures keep their class?",
    group="baseline",
    unit="share of pictures",
    source="Hu et al. 2022",
    severity="warning",
    limit=0.9,
    worse="below",
    needs=["images", "baseline", "classes"],
)
def top1_agreement(subject: Subject) -> Iterator[Measurement]:
    """The share of pictures that have the class which they had; of fewer than 20, if three or more have another."""
    common, shown, top1 = _common(subject), _baseline(subject).shown, subject.responses.top1
    if shown is None or shown.top1 is None or top1 is None:
        raise SkipError("the baseline has no classes of pictures")
    flipped = [(before, now) for before, now in common.items() if shown.top1[before] != top1[now]]
    if len(common) < ENOUGH and len(flipped) < FLIPPED:
        raise _too_few(common)
    changes = [
        f"{subject.responses.names[now]} ({_class(subject, shown.top1[before])} to {_class(subject, top1[now])})"
        for before, now in flipped
    ]
    said = f"{len(flipped)} of the {len(common)} pictures that both saw changed their class"
    said += f": {listed(changes)}" * bool(changes)
    image = subject.responses.names[flipped[0][1]] if flipped else ""
    yield Measurement("", 1 - len(flipped) / len(common), said, image=image)


@check(
    "ZF504",
    "signal-to-noise",
    "Are the activations those of the model that is the baseline?",
    group="baseline",
    unit="dB",
    source="Lin, Talathi & Annapureddy 2016; 10 dB as in Hailo's Dataflow Compiler",
    severity="warning",
    limit=FLOOR,
    worse="below",
    needs=["baseline"],
)
def signal_to_noise(subject: Subject) -> Iterator[Measurement]:
    """The power of a layer's activations in the baseline over that of what is different now, for images or noise."""
    model = _baseline(subject).model
    if model is None:
        raise SkipError("the baseline is a record, which has no activations; expected a model")
    if not subject.paths and model.image.size != subject.model.image.size:
        raise SkipError("the models take images of different size; expected pictures to scale (--images)")
    earlier = Subject(model, subject.paths, None, subject.device, subject.threads)
    pairs = [pair for pair in paired(_compared(model), _compared(subject.model)) if pair[0].shape == pair[1].shape]
    shown = numbered(min(SHOWN, len(subject.paths)), "picture") if subject.paths else "an image of noise"
    for (before, now), (signal, noise) in zip(pairs, _powers(earlier, subject, pairs), strict=True):
        value = float(_decibels(signal.sum(), noise.sum()))
        noisy = ~(noise <= signal / 10 ** (FLOOR / 10))
        channels = () if value >= FLOOR else _ordered(-noise, noisy)
        said = f"signal over noise for {shown}" + f", the noise is mostly of {listed(channels)}" * bool(channels)
        drawn = before_and_after(subject, before.name, now.name, dict.fromkeys(channels, 0))
        yield Measurement(now.name, value, said, channels, picture=drawn)


@check(
    "ZF505",
    "new-dead-channels",
    "Does every channel that fired still fire?",
    group="baseline",
    unit="share of channels",
    source="Hu et al. 2016",
    severity="warning",
    limit=0,
    needs=["images", "baseline"],
)
def new_dead_channels(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's channels that fired for two or more of the pictures, and fire for none now."""
    common = _common(subject)
    if len(common) < ENOUGH:
        raise _too_few(common)
    for before, seen in _paired_maps(subject):
        alive = [[common[image] for image in old if image in common] for old in before.pictures]
        never = np.flatnonzero(np.count_nonzero(seen.fired, axis=0) == 0).tolist()
        dead = {channel: alive[channel][0] for channel in never if len(alive[channel]) >= ALIVE}
        said = f"{len(dead)} of {len(alive)} channels fell silent for the {len(common)} pictures that both saw"
        yield _shown_by(subject, before.name, seen.layer.name, dead, len(dead) / len(alive), said)


def _class(subject: Subject, index: int) -> str:
    return subject.model.labels.get(index, str(index))


def _baseline(subject: Subject) -> Baseline:
    assert subject.baseline is not None  # checks that need one do not run without
    return subject.baseline


def _filters(subject: Subject) -> tuple[Filters, ...]:
    return tuple(map(Filters.of, subject.kernels))


def _changes(before: Sequence[One], now: Sequence[One], say: Callable[[One], str]) -> list[str]:
    """What became of layers: of some there is something else to say now, others are gone or new."""
    pairs = paired(before, now)
    kept_before, kept_now = {id(one) for one, _ in pairs}, {id(one) for _, one in pairs}
    return [
        *(f"{b.name} was {say(a)} and is {say(b)}" for a, b in pairs if say(a) != say(b)),
        *(f"{one.name} ({say(one)}) is gone" for one in before if id(one) not in kept_before),
        *(f"{one.name} ({say(one)}) is new" for one in now if id(one) not in kept_now),
    ]


def _ordered(values: np.ndarray, chosen: np.ndarray) -> tuple[int, ...]:
    """The channels that are chosen, those of the lowest values first."""
    order = np.argsort(values, kind="stable")
    return tuple(order[chosen[order]].tolist())


def _common(subject: Subject) -> dict[int, int]:
    """The pictures that the baseline was shown too: their places there, with their places here; each picture once."""
    shown = _baseline(subject).shown
    places = {picture: index for index, picture in enumerate(subject.responses.pictures)}
    common: dict[int, int] = {}
    for index, picture in enumerate(shown.pictures if shown else ()):
        if picture in places:
            common[index] = places.pop(picture)
    return common


def _too_few(common: Mapping[int, int]) -> SkipError:
    return SkipError(f"too few pictures that the baseline saw too: {len(common)}; expected {ENOUGH} or more")


def _paired_maps(subject: Subject) -> Iterator[tuple[Strongest, LayerResponses]]:
    """What each rectified layer did for the baseline's pictures, and for these."""
    shown = _baseline(subject).shown
    seen = {id(layer.layer): layer for layer in subject.responses.layers}
    for before, now in paired(shown.layers if shown else (), [layer.layer for layer in seen.values()]):
        if before.shape[0] == now.shape[0] and seen[id(now)].is_finite:
            yield before, seen[id(now)]


def _shown_by(
    subject: Subject, before: str, now: str, images: Mapping[int, int], value: float, said: str
) -> Measurement:
    """A measurement of these channels, each of which an image shows."""
    said += f": {listed([*images])}" * bool(images)
    image = subject.responses.names[next(iter(images.values()))] if images else ""
    return Measurement(now, value, said, tuple(images), image, before_and_after(subject, before, now, images))


def _compared(model: Model) -> list[Layer]:
    """The layers whose activations are compared: the rectified ones, without any those that filter, and the scores."""
    layers = [layer for layer in model.layers if not layer.folded]
    inner = [layer for layer in layers if layer.rectified] or [layer for layer in layers if layer.op in FILTERING]
    scores = class_layer(model)
    return [*dict.fromkeys([*inner, *(layer for layer in layers if layer is scores)])]


def _powers(before: Subject, now: Subject, pairs: Sequence[tuple[Layer, Layer]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each pair of layers the power of the first one's activations, and of what the second one's differ by: of
    each channel, over a few images.
    """
    signals, noises = ([np.zeros(layer.shape[0]) for layer, _ in pairs] for _ in range(2))
    if not pairs:
        return []
    images = zip(_activations(before, [p[0] for p in pairs]), _activations(now, [p[1] for p in pairs]), strict=True)
    for ones, others in images:
        for index, (one, other) in enumerate(zip(ones, others, strict=True)):
            with np.errstate(invalid="ignore"):  # two infinities differ by no number, and that is what is told
                signals[index] += np.square(one).sum(axis=1)
                noises[index] += np.square(one - other).sum(axis=1)
    return [*zip(signals, noises, strict=True)]


def _activations(subject: Subject, layers: Sequence[Layer]) -> Iterator[list[np.ndarray]]:
    """The activations of the layers for each of a few images, or for noise: float64 [C, places]."""
    session = open_forward(subject.model, [layer.tensor for layer in layers], subject.device, subject.threads)
    for image in subject.some.array if subject.paths else subject.image():
        values = look(subject.model, session, image[None], layers)
        yield [values[layer.tensor].astype(np.float64).reshape(layer.shape[0], -1) for layer in layers]


def _decibels(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(noise == 0, CEILING, np.clip(10 * np.log10(signal / noise), -CEILING, CEILING))

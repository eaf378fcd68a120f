"""Checks of activations: what the channels of each rectified map do over the images."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image

from zfviz.checks.checking import Measurement, check
from zfviz.checks.evidence import counted, listed
from zfviz.checks.responses import LayerResponses
from zfviz.checks.subject import Subject
from zfviz.errors import SkipError
from zfviz.studies.inputs import read_batch

FEWEST = 50
"""Images; of fewer nothing is said about a channel that none of them made fire."""

RARE = 0.01
"""The share of images below which a channel fires rarely."""

SILENT = 1e-6
"""How far from zero a channel may be that never fires; smooth rectifiers say more below zero."""


@check(
    "ZF201",
    "non-finite-activations",
    "Is every activation a finite number?",
    group="activations",
    unit="numbers",
    source="IEEE 754",
    severity="error",
    limit=0,
    needs=["images"],
)
def non_finite_activations(subject: Subject) -> Iterator[Measurement]:
    """How many activations of a layer are NaN or infinite, in images that were finite in all layers before it."""
    responses = subject.responses
    found = {seen.layer.name: seen.not_finite for seen in responses.layers} | dict(responses.outputs)
    spoiled = np.zeros(len(responses.names), bool)
    for layer, not_finite in found.items():
        here: list[int] = np.flatnonzero(not_finite.astype(bool) & ~spoiled).tolist()
        spoiled[here] = True
        if here:
            count = int(not_finite[here].sum())
            yield Measurement(
                layer,
                count,
                f"{count} activations are NaN or infinite, in {len(here)} of {len(spoiled)} images",
                image=responses.names[here[0]],
                picture=partial(_view, subject, here[0]),
            )
    if not spoiled.any():
        yield Measurement("", 0, "all activations are finite in every image")


@check(
    "ZF202",
    "never-firing-channels",
    "Does every channel fire for some image?",
    group="activations",
    unit="share of channels",
    source="Hu et al. 2016; Zeiler & Fergus 2013, section 4.1",
    severity="warning",
    limit=0,
    drift=0,
    needs=["images"],
)
def never_firing_channels(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's channels that are zero everywhere in all images, of which there are 50 or more."""
    images = len(subject.responses.names)
    if images < FEWEST:
        raise SkipError(f"too few images to tell: {images}; expected {FEWEST} or more")
    for seen in _finite(subject):
        peaks = seen.peaks.max(axis=0)
        yield _share(seen, (peaks <= 0) & (peaks >= -SILENT), "zero everywhere in every image")


@check(
    "ZF203",
    "rarely-firing-channels",
    "Does every channel fire for more than 1 % of the images?",
    group="activations",
    unit="share of channels",
    source="zfviz",
    needs=["images"],
)
def rarely_firing_channels(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's channels that fire for some images, but for less than 1 % of them."""
    images = len(subject.responses.names)
    if images * RARE <= 1:
        raise SkipError(f"too few images to tell: {images}; expected more than {round(1 / RARE)}")
    for seen in _finite(subject):
        share = seen.fired.mean(axis=0)
        found = _share(seen, (share > 0) & (share < RARE), f"above zero in less than {RARE:.0%} of images")
        if found.channels:
            image = int(seen.peaks[:, found.channels[0]].argmax())
            found = replace(found, image=subject.responses.names[image], picture=partial(_view, subject, image))
        yield found


@check(
    "ZF204",
    "always-firing-channels",
    "Does every channel rest somewhere?",
    group="activations",
    unit="share of channels",
    source="zfviz",
    drift=0,
    needs=["images"],
)
def always_firing_channels(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's channels that are above zero everywhere in all images: there it is no rectifier."""
    for seen in _finite(subject):
        yield _share(seen, np.all(seen.never_zero, axis=0), "above zero everywhere in every image")


@check(
    "ZF205",
    "saturated-gates",
    "Do gates move between their bounds?",
    group="activations",
    unit="share of outputs",
    source="zfviz",
    drift=0.05,
    needs=["images"],
)
def saturated_gates(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's outputs that are within 1e-3 of a bound: of both of a gate, of the upper one of a
    rectifier.
    """
    for seen in subject.responses.gates:
        share = float(seen.saturated.mean())
        stuck = tuple(np.flatnonzero(np.all(seen.saturated == 1, axis=0)).tolist())
        bounds = " or ".join(f"{bound:g}" for bound in seen.bounds)
        always = (
            f", those of {len(stuck)} of {seen.saturated.shape[1]} channels always: {listed(stuck)}" if stuck else ""
        )
        said = f"{share:.1%} of outputs are at {bounds}{always}"
        image = int(seen.saturated.mean(axis=1).argmax())
        name, picture = subject.responses.names[image], partial(_view, subject, image)
        yield Measurement(seen.layer.name, share, said, stuck, name, picture)


@check(
    "ZF206",
    "share-of-zeros",
    "How many outputs of the rectifier are zero?",
    group="activations",
    unit="share of outputs",
    source="Hu et al. 2016 (APoZ)",
    drift=0.05,
    needs=["images"],
)
def share_of_zeros(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's outputs that are not above zero, the mean of its channels; named are those that are zero
    more often by a standard deviation, which Hu et al. prune.
    """
    for seen in _finite(subject):
        zeros = seen.zeros.mean(axis=0)
        mean, deviation = float(zeros.mean()), float(zeros.std())
        often = zeros > mean + deviation
        channels = tuple(np.flatnonzero(often).tolist())
        count = counted(len(channels), len(often), "channels")
        said = f"{count} above the mean by more than the deviation of {deviation:.1%}{': ' * bool(channels)}"
        said += listed(channels)
        image = int(seen.zeros.mean(axis=1).argmax())
        name, picture = subject.responses.names[image], partial(_view, subject, image)
        yield Measurement(seen.layer.name, mean, said, channels, name, picture)


def _finite(subject: Subject) -> Iterator[LayerResponses]:
    """The layers that gave numbers only; of others ZF201 tells."""
    return (seen for seen in subject.responses.layers if seen.is_finite)


def _share(seen: LayerResponses, which: np.ndarray, what: str) -> Measurement:
    channels = tuple(np.flatnonzero(which).tolist())
    said = f"{counted(len(channels), len(which), 'channels')} {what}{': ' * bool(channels)}{listed(channels)}"
    return Measurement(seen.layer.name, len(channels) / len(which), said, channels)


def _view(subject: Subject, image: int) -> Image.Image:
    """An image as the model sees it."""
    return read_batch(subject.model, subject.paths[image]).views[0]

"""Checks of spectra: which frequencies the filters look for, what their stride does to them, how many differ."""

from collections.abc import Iterator, Sequence
from math import gcd, inf, prod

import numpy as np
import onnx_graphsurgeon as gs

from zfviz.checks.checking import Measurement, check
from zfviz.checks.evidence import LISTED, listed, pictured
from zfviz.checks.kernels import Kernels, spectra_of
from zfviz.checks.subject import Subject
from zfviz.checks.weights import by_group, live_filters, unit_rows
from zfviz.graph.companion import layer_name
from zfviz.graph.reach import dims

LOW, HIGH = 1 / 8, 1 / 4
"""Where the middle frequencies begin and end, in cycles per pixel; the highest along an axis is 1/2."""

FREQUENCIES = 64
"""Along each axis; filters are padded with zeros to so many."""

SAMPLED = 128
"""The filters of a group whose angles are taken."""

_PLANES = 96  # that are transformed at once

_BANDS = ("low", "middle", "high")
_WHITE = "5%, 15% and 80%"

WINDOWS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")


@check(
    "ZF106",
    "extreme-frequencies",
    "Does the first layer see what lies between the lowest and the highest frequencies?",
    group="weights",
    unit="share of filters",
    source="Zeiler & Fergus 2013, section 4.1",
    drift=0.05,
)
def extreme_frequencies(subject: Subject) -> Iterator[Measurement]:
    """The share of the first layer's filters with most of their energy below 1/8 or above 1/4 cycles per pixel."""
    for kernels in subject.kernels:
        if not (kernels.first and _is_spread(kernels)):
            continue
        live = live_filters(kernels)
        if not live.size:
            continue
        bands = _bands(kernels.values[live], kernels.dilations)
        low, _, high = (bands > 1 / 2).T
        extreme = np.flatnonzero(low | high)
        shares = ", ".join(f"{share:.0%} {name}" for share, name in zip(bands.mean(axis=0), _BANDS, strict=True))
        said = f"{low.sum()} of {len(live)} filters see mostly low frequencies and {high.sum()} mostly high ones; "
        said += f"their energy is {shares}, where white noise is {_WHITE}"
        worst = extreme[np.argsort(-bands[extreme].max(axis=1), kind="stable")]
        captions = [f"{live[one]}: {bands[one].max():.0%} {_BANDS[bands[one].argmax()]}" for one in worst]
        channels = [int(live[one]) for one in worst]
        picture = pictured(kernels, channels, captions, subject.model.preprocessing.colour, False, (1, 1))
        yield Measurement(kernels.layer, len(extreme) / len(live), said, tuple(sorted(channels)), picture=picture)


@check(
    "ZF107",
    "aliasing",
    "Do strided filters let through what their stride cannot tell from lower frequencies?",
    group="weights",
    unit="share of filter energy",
    source="Zeiler & Fergus 2013, section 4.1",
    drift=0.05,
)
def aliasing(subject: Subject) -> Iterator[Measurement]:
    """The share of a filter's energy above 1/(2 * stride) cycles per pixel along y or x, in the mean over filters."""
    for kernels in subject.kernels:
        if kernels.op != "Conv" or not kernels.is_map or max(kernels.strides) == 1:
            continue
        live = live_filters(kernels)
        if not live.size:
            continue
        aliased = 1 - _kept(kernels.values[live], kernels.strides, kernels.dilations)
        white = 1 - 1 / prod(kernels.strides)
        # single pixels are as white as noise, all of them alike
        worst = np.argsort(-aliased, kind="stable")[: LISTED if _is_spread(kernels) else 0]
        channels = [int(live[one]) for one in worst]
        said = f"stride {_sides(kernels.strides)} folds {aliased.mean():.0%} of the filters' energy onto lower "
        said += f"frequencies, of white noise {white:.0%}{'; most of filters ' * bool(channels)}{listed(channels)}"
        captions = [f"{live[one]}: {aliased[one]:.0%}" for one in worst]
        picture = pictured(kernels, channels, captions, subject.model.preprocessing.colour, False, kernels.strides)
        yield Measurement(kernels.layer, float(aliased.mean()), said, tuple(channels), picture=picture)


@check(
    "ZF108",
    "uneven-overlap",
    "Do a layer's windows cover all places equally often?",
    group="weights",
    unit="most over fewest windows on a place",
    source="Odena et al. 2016",
    drift=0.01,
)
def uneven_overlap(subject: Subject) -> Iterator[Measurement]:
    """How often the most covered places are, over the least covered ones, far from the borders; 1 is even.

    It is infinite where some places are never covered: a transposed convolution leaves holes in its output, a dilated
    window falls on a part of the places only. Convolutions and pools whose windows are smaller than their stride are
    left out: they skip places of their input on purpose, and of convolutions `aliasing` says what that costs.
    """
    for node in subject.model.canonical.graph.nodes:
        if node.op not in WINDOWS or node.domain or max(node.attrs["strides"]) == 1:
            continue
        most, fewest = (prod(ends) for ends in zip(*_coverage(node), strict=True))
        if not fewest and _skips(node):
            continue
        kernel, stride, dilation = (_sides(node.attrs[name]) for name in ("kernel_shape", "strides", "dilations"))
        windows = f"windows of {kernel} with stride {stride}" + f" and dilation {dilation}" * (dilation != "1")
        where = f"every place {_times(most)}"
        if most != fewest:
            where = f"some places {_times(most)}, others {_times(fewest)}"
        value = most / fewest if fewest else inf
        yield Measurement(layer_name(node), value, f"{windows} cover {where}")


@check(
    "ZF109",
    "orthogonality",
    "Do a layer's filters look at different things?",
    group="weights",
    unit="1 - mean absolute cosine of two filters",
    source="none published",
    worse="below",
    drift=0.02,
)
def orthogonality(subject: Subject) -> Iterator[Measurement]:
    """1 where all filters of the same inputs are at right angles, 0 where all are the same."""
    for kernels in subject.kernels:
        cosines = [np.abs(rows @ rows.T) for rows in _directions(kernels)]
        pairs = sum(len(square) * (len(square) - 1) for square in cosines)
        if pairs:
            mean = sum(float(square.sum() - np.trace(square)) for square in cosines) / pairs
            yield Measurement(
                kernels.layer, 1 - mean, f"two filters have a cosine of {mean:.3f} in the mean{_of(kernels)}"
            )


@check(
    "ZF110",
    "effective-rank",
    "How many different filters do a layer's amount to?",
    group="weights",
    unit="effective rank over full rank",
    source="Roy & Vetterli 2007",
    worse="below",
    drift=0.05,
)
def effective_rank(subject: Subject) -> Iterator[Measurement]:
    """The exponential of the entropy of the singular values of a layer's filters, of full rank.

    All filters are given the same length first, as any length is undone by a norm that follows.
    """
    for kernels in subject.kernels:
        groups = _directions(kernels)
        full = sum(min(rows.shape) for rows in groups)
        if not groups or full < 2:
            continue
        squares = [np.linalg.eigvalsh(_smaller_gram(rows)) for rows in groups]
        values = np.sqrt(np.maximum(np.concatenate(squares), 0))
        shares = values[values > 0] / values.sum()
        rank = float(np.exp(-(shares * np.log(shares)).sum()))
        yield Measurement(kernels.layer, rank / full, f"the effective rank is {rank:.1f} of {full}{_of(kernels)}")


def _times(number: int) -> str:
    return {0: "never", 1: "once"}.get(number, f"{number} times")


def _sides(sizes: Sequence[int]) -> str:
    """ "4" for 4 along every axis, else "4x2"."""
    return "x".join(map(str, sizes if len(set(sizes)) > 1 else sizes[:1]))


def _is_spread(kernels: Kernels) -> bool:
    """Whether the kernels are larger than a pixel: the spectrum of one pixel is flat."""
    return kernels.is_map and max(kernels.values.shape[2:]) > 1


def _bands(filters: np.ndarray, dilations: tuple[int, ...]) -> np.ndarray:
    """The shares of each filter's energy in the low, middle and high frequencies, by their distance from 0, [n, 3]."""
    size = max(FREQUENCIES, *filters.shape[2:])
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    weights = np.stack([radius < LOW, (radius >= LOW) & (radius <= HIGH), radius > HIGH]).astype(np.float64)
    energies: list[np.ndarray] = []
    step = max(1, _PLANES // filters.shape[1])
    for start in range(0, len(filters), step):
        spectra = spectra_of(filters[start : start + step].astype(np.float64), dilations, size)
        energies.append(np.einsum("ncyx,byx->nb", np.abs(spectra) ** 2, weights))
    energy = np.concatenate(energies)
    return energy / energy.sum(axis=1, keepdims=True)


def _kept(filters: np.ndarray, strides: tuple[int, ...], dilations: tuple[int, ...]) -> np.ndarray:
    """The share of each filter's energy at frequencies that maps of these strides can hold, exactly, [n].

    The energy between -1/(2s) and 1/(2s) is a quadratic form of the weights: the integral of their spectrum's square.
    """
    across, along = map(_pass, filters.shape[2:], strides, dilations)
    rows = filters.reshape(len(filters), -1)
    # squares of what is tiny or huge are no numbers of float32
    scaled = filters / np.maximum(rows.max(axis=1), -rows.min(axis=1)).reshape(-1, 1, 1, 1)
    kept = np.einsum("ncyx,ncyx->n", scaled, across @ scaled @ along, dtype=np.float64)
    return np.clip(kept / np.einsum("ncyx,ncyx->n", scaled, scaled, dtype=np.float64), 0, 1)


def _pass(size: int, stride: int, dilation: int) -> np.ndarray:
    """The form that gives the energy below 1/(2 * stride) of so many weights in a row, with gaps of this dilation."""
    places = np.arange(size) * (dilation / stride)
    return (np.sinc(places[:, None] - places) / stride).astype(np.float32)


def _coverage(node: gs.Node) -> Iterator[tuple[int, int]]:
    """How many windows lie on the most and on the least covered place along each axis."""
    # the places that overlap are those of what the windows slide over: of the output, where they are laid out
    slides = zip(
        node.attrs["kernel_shape"],
        node.attrs["strides"],
        node.attrs["dilations"],
        dims(node.inputs[0] if node.op == "ConvTranspose" else node.outputs[0])[2:],
        strict=True,
    )
    for kernel, stride, dilation, windows in slides:
        if windows == 1:
            yield 1, 1
            continue
        # a dilated window falls on every gcd-th place only
        period = stride // gcd(dilation, stride)
        yield -(-kernel // period), kernel // period if period == stride else 0


def _skips(node: gs.Node) -> bool:
    """Whether what no window covers are places of the input between windows that are smaller than their stride."""
    # along the other axes a window reaches the next one, and only its dilation leaves places out
    axes = zip(node.attrs["kernel_shape"], node.attrs["strides"], _coverage(node), strict=True)
    return node.op != "ConvTranspose" and all(fewest or kernel < stride for kernel, stride, (_, fewest) in axes)


def _directions(kernels: Kernels) -> list[np.ndarray]:
    """The directions of some live filters of each group that has two or more."""
    return [unit_rows(kernels, group) for group in by_group(kernels, SAMPLED) if len(group) > 1]


def _of(kernels: Kernels) -> str:
    """How many of how many filters were looked at, where not all were."""
    size = len(kernels.values) // kernels.groups
    each = " of each group" if kernels.groups > 1 else ""
    return f", among {SAMPLED} of {size} filters{each}" if size > SAMPLED else ""


def _smaller_gram(rows: np.ndarray) -> np.ndarray:
    gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
    return gram.astype(np.float64)

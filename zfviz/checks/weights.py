"""Checks of weights: what is broken, dead, far too strong or said twice among the filters of each layer."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from zfviz.checks.checking import Measurement, check
from zfviz.checks.evidence import counted, listed, pictured
from zfviz.checks.kernels import FILTERING, Kernels, stored, weight_of
from zfviz.checks.subject import Subject
from zfviz.graph.companion import layer_name
from zfviz.runtime.loading import Model

DEAD = 0.01
"""Of a layer's strongest weight; a filter all below is dead (Gavrikov & Keuper 2022)."""

OUTLIER = 30
"""How many times as strong as the median filter one is that says nothing of how strong the others should be."""

FEWEST = 4
"""The filters that have a median."""

DEAD_DEPTHWISE = 1e-6
"""The same of a depthwise layer. Each of its filters has a channel of its own, which the layers around it may scale as
they like: trained ones differ a hundredfold."""

SAME = 0.999
"""The cosine of two filters that say the same."""

SHORTEST = 16
"""Numbers of a filter; shorter ones are alike by chance, and repeat where they are the same bit for bit."""

MOST = 8192
"""The filters of a layer among which repeats are looked for."""

_SKETCH = 32  # random directions that tell filters apart: enough that of 10^8 equal pairs one is missed
_BLOCK = 1024

_SMALLEST: dict[int, float] = {
    TensorProto.FLOAT: 2.0**-126,
    TensorProto.BFLOAT16: 2.0**-126,
    TensorProto.FLOAT16: 2.0**-14,
    TensorProto.DOUBLE: 2.0**-1022,
}
"""The smallest normal number of each type of real numbers."""

_WEIGHING = (
    *FILTERING,
    *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "PRelu", "Mul"),
    *("RNN", "GRU", "LSTM"),
)
"""The ops that no infinity passes; others take one to mask with, or to bound nothing."""


@check(
    "ZF101",
    "non-finite-weights",
    "Is every weight a finite number?",
    group="weights",
    unit="numbers",
    source="IEEE 754",
    severity="error",
    limit=0,
)
def non_finite_weights(subject: Subject) -> Iterator[Measurement]:
    """How many numbers of a weight are NaN or infinite: kernels, biases and the constants of norms."""
    seen = 0
    sound = True
    for node, name, values, _ in _parameters(subject.model):
        broken = ~np.isfinite(values) if node.op in _WEIGHING else np.isnan(values)
        seen += 1
        if count := int(broken.sum()):
            sound = False
            channels = _channels(subject, name, broken)
            where = f", in filters {listed(channels)}" if channels else ""
            yield Measurement(
                layer_name(node),
                count,
                f"{count} of {values.size} numbers of {name!r} are NaN or infinite{where}",
                channels,
            )
    if sound:
        yield Measurement("", 0, f"the numbers of all {seen} weights are finite")


@check(
    "ZF102",
    "denormal-weights",
    "Are weights so small that processors are slow with them?",
    group="weights",
    unit="share of weights",
    source="IEEE 754",
    drift=0.01,
)
def denormal_weights(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's weights that are too small for a full mantissa, in the type in which they are stored."""
    totals: dict[str, tuple[int, int]] = {}
    for node, _, values, smallest in _parameters(subject.model):
        if node.op in _WEIGHING:
            small = int(np.count_nonzero(np.abs(values) < smallest) - np.count_nonzero(values == 0))
            before = totals.get(layer_name(node), (0, 0))
            totals[layer_name(node)] = (before[0] + small, before[1] + values.size)
    for layer, (small, size) in totals.items():
        yield Measurement(layer, small / max(size, 1), f"{small} of {size} weights are denormal")


@check(
    "ZF103",
    "dead-filters",
    "Does every filter have weights?",
    group="weights",
    unit="share of filters",
    source="Gavrikov & Keuper 2022",
    severity="warning",
    limit=0,
    drift=0.01,
)
def dead_filters(subject: Subject) -> Iterator[Measurement]:
    """The share of a layer's filters without a weight of 1 % of the layer's strongest one.

    It is 1 % of the second strongest filter's where, of four or more that are not zero, the strongest has over 30 times
    the median one's strongest weight: beside it all others would look dead, and `dominated-filters` tells of it. In
    depthwise layers it is a millionth, as the layers around may scale each of their channels as they like.
    """
    for kernels in subject.kernels:
        peaks, dead = _peaks(kernels)
        channels = tuple(map(int, np.flatnonzero(dead)))
        said = f"{counted(len(channels), len(dead), 'filters')} dead{': ' * bool(channels)}{listed(channels)}"
        captions = [f"{channel}: {peaks[channel]:.2g}" for channel in channels]
        picture = pictured(kernels, channels, captions, subject.model.preprocessing.colour)
        yield Measurement(kernels.layer, len(channels) / len(dead), said, channels, picture=picture)


@check(
    "ZF104",
    "dominated-filters",
    "Does one filter outweigh all others of its layer?",
    group="weights",
    unit="RMS of the strongest filter over the median's",
    source="Zeiler & Fergus 2013, section 3 and figure 6a",
    severity="warning",
    limit=OUTLIER,
    drift=5,
)
def dominated_filters(subject: Subject) -> Iterator[Measurement]:
    """How many times the RMS of the median filter the strongest one has.

    The paper held the first layer's to 0.1, for inputs of +-128, but that was no limit for what was trained otherwise,
    or has its batch norms folded in: it is said, where the inputs are known, and what counts is the ratio. Depthwise
    layers are left out: how strong one of their filters is beside another is up to the layers around.
    """
    for kernels in subject.kernels:
        live = live_filters(kernels)
        if kernels.is_depthwise or len(live) < 2:
            continue
        rms = _rms(kernels.values[live])
        ratio = float(rms.max() / np.median(rms))
        order = np.argsort(-rms, kind="stable")[:3]
        channel = int(live[order[0]])
        said = f"filter {channel} is {ratio:.3g} times as strong as the median one"
        if (scale := _input_scale(subject.model, kernels)) is not None:
            held = float(_rms(kernels.values[[channel]] * scale)[0])
            said += f", and has an RMS of {held:.2g} for inputs of +-128, where the paper allows 0.1"
        captions = [f"{live[one]}: {rms[one]:.2g}" for one in order]
        picture = pictured(kernels, [int(live[one]) for one in order], captions, subject.model.preprocessing.colour)
        yield Measurement(kernels.layer, ratio, said, (channel,), picture=picture)


@check(
    "ZF105",
    "duplicate-filters",
    "Does every filter say something of its own?",
    group="weights",
    unit="filters that repeat another",
    source="cosine above 0.999",
    severity="warning",
    limit=0,
)
def duplicate_filters(subject: Subject) -> Iterator[Measurement]:
    """How many filters are an earlier one of the same inputs, but for a positive factor.

    Filters of fewer than 16 numbers are alike by chance: those that are the same bit for bit count, but for constant
    ones, such as means. Depthwise layers are left out, as their filters read different inputs.
    """
    for kernels in subject.kernels:
        if kernels.is_depthwise:
            continue
        short = kernels.values[0].size < SHORTEST
        repeating = _copies if short else _repeats
        found = [pair for group in by_group(kernels, MOST) for pair in repeating(kernels, group)]
        repeats = "1 filter repeats" if len(found) == 1 else f"{len(found)} filters repeat"
        which = listed([f"{later} is {earlier}" for earlier, later in found])
        said = f"{repeats} an earlier one{' bit for bit' * short}{': ' * bool(found)}{which}"
        pairs = [channel for pair in found for channel in pair]
        picture = pictured(kernels, pairs, [str(c) for c in pairs], subject.model.preprocessing.colour, together=False)
        yield Measurement(kernels.layer, len(found), said, tuple(later for _, later in found), picture=picture)


@check(
    "ZF111",
    "small-batch-norm-scales",
    "Does batch normalisation let every channel through?",
    group="weights",
    unit="share of channels",
    source="Liu et al. 2017, network slimming",
    drift=0.05,
)
def small_batch_norm_scales(subject: Subject) -> Iterator[Measurement]:
    """The share of a batch norm's scales that are below 1 % of its largest, or below 0.001."""
    for node in subject.model.canonical.graph.nodes:
        if node.op != "BatchNormalization" or (scales := weight_of(subject.model, node.inputs[1])) is None:
            continue
        sizes = np.abs(scales.ravel())
        largest = float(sizes.max(initial=0.0, where=np.isfinite(sizes)))
        channels = tuple(map(int, np.flatnonzero(sizes < max(DEAD * largest, 1e-3))))
        said = f"{counted(len(channels), sizes.size, 'scales')} all but 0{': ' * bool(channels)}{listed(channels)}"
        yield Measurement(layer_name(node), len(channels) / max(sizes.size, 1), said, channels)


def live_filters(kernels: Kernels) -> np.ndarray:
    """Which filters, as int [n], are finite and not dead."""
    peaks, dead = _peaks(kernels)
    return np.flatnonzero(np.isfinite(peaks) & ~dead)


def _peaks(kernels: Kernels) -> tuple[np.ndarray, np.ndarray]:
    """The strongest weight of each filter, and whether that is too weak for a live one."""
    rows = kernels.values.reshape(len(kernels.values), -1)
    peaks = np.abs(np.maximum(rows.max(axis=1), -rows.min(axis=1)))
    found = np.sort(peaks[np.isfinite(peaks) & (peaks > 0)])
    strongest = found[-1] if found.size else 0.0
    # beside one filter that outweighs all, the others would look dead
    if len(found) >= FEWEST and strongest > OUTLIER * np.median(found):
        strongest = found[-2]
    share = DEAD_DEPTHWISE if kernels.is_depthwise else DEAD
    return peaks, (peaks == 0) | (peaks < share * strongest)


def _rms(filters: np.ndarray) -> np.ndarray:
    rows = filters.reshape(len(filters), -1).astype(np.float64)
    return np.sqrt(np.einsum("ij,ij->i", rows, rows) / rows.shape[1])


def _input_scale(model: Model, kernels: Kernels) -> np.ndarray | None:
    """What a pixel's level, 0 to 255, is multiplied with before it meets the kernels, [C, 1, 1]; None where unknown."""
    readers = [layer_name(node) for node in model.canonical.image.outputs]
    if kernels.layer not in readers or not kernels.is_map or model.preprocessing.source == "assumed":
        return None
    std = np.array(model.preprocessing.std)
    return (model.preprocessing.scale / std).reshape(-1, 1, 1) if std.size in (1, kernels.values.shape[1]) else None


def by_group(kernels: Kernels, most: int) -> list[np.ndarray]:
    """The live filters of each group, at most so many, evenly spread."""
    live = live_filters(kernels)
    edges = np.searchsorted(live, np.linspace(0, len(kernels.values), kernels.groups + 1))
    groups = [live[start:end] for start, end in pairwise(edges)]
    return [g if len(g) <= most else g[np.linspace(0, len(g) - 1, most).astype(int)] for g in groups]


def unit_rows(kernels: Kernels, channels: np.ndarray) -> np.ndarray:
    """These filters, each of length 1, as float32 [n, size]."""
    rows = kernels.values[channels].reshape(len(channels), kernels.values[0].size)
    # first by their size: the squares of what is tiny or huge are no numbers of float32
    rows /= np.maximum(rows.max(axis=1), -rows.min(axis=1))[:, None]
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return rows


def _repeats(kernels: Kernels, channels: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (earlier, later) of filters that are the same; each later one once."""
    if len(channels) < 2:
        return []
    rows = unit_rows(kernels, channels)
    directions = np.random.default_rng(0).standard_normal((rows.shape[1], _SKETCH)).astype(np.float32)
    # how far two filters are apart shows in a few random directions; only what is near is compared in all
    sketches = rows @ (directions / np.sqrt(_SKETCH, dtype=np.float32))
    squares = np.einsum("ij,ij->i", sketches, sketches)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(rows)))
        distances = squares[block, None] + squares[: block.stop] - 2 * sketches[block] @ sketches[: block.stop].T
        later = np.arange(start, block.stop)
        distances[later[:, None] <= np.arange(block.stop)] = np.inf
        nearest = distances.argmin(axis=1)
        near = distances[later - start, nearest] < 6 * (1 - SAME)
        cosines = np.einsum("ij,ij->i", rows[later[near]], rows[nearest[near]])
        for one, other, cosine in zip(later[near], nearest[near], cosines, strict=True):
            if cosine > SAME:
                pairs.append((int(channels[other]), int(channels[one])))
    return pairs


def _copies(kernels: Kernels, channels: np.ndarray) -> list[tuple[int, int]]:
    """The pairs (earlier, later) of filters that are the same bit for bit, and not constant; each later one once."""
    rows = kernels.values[channels].reshape(len(channels), kernels.values[0].size) + 0  # -0 is 0
    varied = np.flatnonzero((rows != rows[:, :1]).any(axis=1))
    first: dict[bytes, int] = {}
    pairs = [(first.setdefault(rows[one].tobytes(), int(channels[one])), int(channels[one])) for one in varied]
    return [(earlier, later) for earlier, later in pairs if earlier != later]


def _parameters(model: Model) -> Iterator[tuple[gs.Node, str, np.ndarray, float]]:
    """The weights of real numbers that a model stores: the layer that reads each first, its name, its values as float32
    or float64, and the smallest normal number of the type in which it is stored.
    """
    seen: set[str] = set()
    for node in model.canonical.graph.nodes:
        waiting = [tensor for tensor in node.inputs if tensor.name not in model.canonical.live]
        while waiting:
            tensor = waiting.pop(0)
            if tensor.name in seen or tensor.is_empty():
                continue
            seen.add(tensor.name)
            proto = model.canonical.weights.get(tensor.name)
            if proto is None:
                waiting += [below for maker in tensor.inputs for below in maker.inputs]
            elif proto.data_type in _SMALLEST:
                values = stored(model, proto)
                wide = values if proto.data_type == TensorProto.DOUBLE else values.astype(np.float32)
                yield node, tensor.name, wide, _SMALLEST[proto.data_type]


def _channels(subject: Subject, tensor: str, broken: np.ndarray) -> tuple[int, ...]:
    """The channels of a layer that numbers of a weight spoil, as far as the weight is laid out by channels."""
    for kernels in subject.kernels:
        if kernels.tensor == tensor:
            rows = kernels.values.reshape(len(kernels.values), -1)
            return tuple(map(int, np.flatnonzero(~np.isfinite(rows).all(axis=1))))
    return tuple(map(int, np.flatnonzero(broken))) if broken.ndim == 1 else ()

"""What a model's channels do over many images, from one pass over them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import file_digest
from itertools import chain
from math import isfinite, prod
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from zfviz.errors import ModelError
from zfviz.graph.layers import Layer
from zfviz.graph.rectifiers import MOVED
from zfviz.graph.summaries import Summarizer
from zfviz.runtime.loading import Model
from zfviz.runtime.running import IMAGES_AT_ONCE, ahead, at_once, run_forward
from zfviz.runtime.session import Device, Session, open_session
from zfviz.studies.inputs import Batch, read_batch
from zfviz.studies.project import FLOAT_BYTES, open_forward
from zfviz.studies.selection import class_layer

NEAR = 1e-3
"""How near to its bound the output of a gate counts as saturated."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerResponses:
    """What the channels of one layer did: `peaks` float32 [N, C], the largest activation of each channel in each image;
    `fired` [N, C], whether it was above zero anywhere; `zeros` float [N, C], which share of its outputs was not above
    zero; `never_zero` bool [N, C], whether it was above zero everywhere; `not_finite` int [N], how many values were NaN
    or infinite. A peak is of the finite values, 0 where there is none.
    """

    layer: Layer
    peaks: np.ndarray
    fired: np.ndarray
    zeros: np.ndarray
    never_zero: np.ndarray
    not_finite: np.ndarray

    @property
    def is_finite(self) -> bool:
        """Whether all values were numbers; what a channel does is not told by others."""
        return not self.not_finite.any()


@dataclass(frozen=True, slots=True, eq=False)
class GateResponses:
    """How far the gates of one layer went: `saturated` float [N, C], which share of a channel's outputs was within 1e-3
    of one of the `bounds`.
    """

    layer: Layer
    bounds: tuple[float, ...]
    saturated: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """What all rectified maps did, and `top1` int [N], the class of each image, where the model is a classifier.

    `names` are those of the images, `pictures` the SHA-256 of the file of each. `gates` are the layers that others are
    multiplied by, and the rectifiers that have an upper bound; `outputs` says of the model's own outputs how many
    values of each image were NaN or infinite, int [N] by the layer's name.
    """

    names: tuple[str, ...]
    layers: tuple[LayerResponses, ...]
    top1: np.ndarray | None
    pictures: tuple[str, ...] = ()
    gates: tuple[GateResponses, ...] = ()
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])


def see(model: Model, paths: Sequence[Path], device: Device, threads: int | None) -> Responses:
    """The responses to all pictures, read and run some at a time.

    Raises ImageError for a file that is no picture, ModelError for a model that does not run.
    """
    maps, gates, outputs, scores = _watched_maps(model), _gates(model), _outputs(model), class_layer(model)
    gated, kept = [layer for layer, _ in gates], [*outputs, *([scores] if scores else [])]
    watched = [*{layer.tensor: layer for layer in (*maps, *gated, *kept)}.values()]
    graph = Summarizer(model.canonical, watched)
    told = [(graph.peak(layer), graph.share_above(layer)) for layer in maps]
    means = [graph.mean(layer) for layer in (*maps, *gated)]
    above = [[graph.share_above(layer, edge) for edge in _edges(bounds)] for layer, bounds in gates]
    asked = [*dict.fromkeys([*chain(*told), *means, *chain(*above), *(layer.tensor for layer in kept)])]
    session = open_session(graph.finish(kept), model.source.folder, device, threads)
    open_whole = cache(lambda: open_forward(model, [layer.tensor for layer in (*maps, *gated)], device, threads))
    names: list[str] = []
    pictures: list[str] = []
    of_maps: list[list[_Seen]] = []
    of_gates: list[list[np.ndarray]] = []
    of_outputs: list[list[np.ndarray]] = []
    top1: list[np.ndarray] = []
    together = at_once(IMAGES_AT_ONCE, sum(prod(layer.shape) for layer in watched) * FLOAT_BYTES)
    for batch, files in _read(model, paths, together):
        names += batch.names
        pictures += files
        values = _run(model, session, batch.array, asked)
        if all(np.isfinite(values[mean]).all() for mean in means):
            of_maps.append(
                [_told(layer, values[peak], values[share]) for layer, (peak, share) in zip(maps, told, strict=True)]
            )
            of_gates.append(
                [_near(layer, [values[s] for s in shares]) for layer, shares in zip(gated, above, strict=True)]
            )
        else:
            whole = look(model, open_whole(), batch.array, [*maps, *gated])
            of_maps.append([_counted(whole[layer.tensor]) for layer in maps])
            of_gates.append([_saturated(whole[layer.tensor], bounds) for layer, bounds in gates])
        of_outputs.append([_not_finite(_values(layer, values)) for layer in outputs])
        if scores:
            top1.append(_values(scores, values).argmax(axis=1))
    return Responses(
        tuple(names),
        tuple(_joined(layer, found) for layer, found in zip(maps, zip(*of_maps, strict=True), strict=True)),
        np.concatenate(top1) if top1 else None,
        tuple(pictures),
        tuple(
            GateResponses(layer, bounds, np.concatenate(found))
            for (layer, bounds), found in zip(gates, zip(*of_gates, strict=True), strict=True)
        ),
        {
            layer.name: np.concatenate(found)
            for layer, found in zip(outputs, zip(*of_outputs, strict=True), strict=True)
        },
    )


def look(model: Model, session: Session, images: np.ndarray, layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    """The values of layers, finite or not, by tensor: float32 [N, C, H, W], or [N, F] where a layer has no map."""
    values = _run(model, session, images, [layer.tensor for layer in layers])
    return {layer.tensor: _values(layer, values) for layer in layers}


def _values(layer: Layer, values: Mapping[str, np.ndarray]) -> np.ndarray:
    return layer.as_map(values[layer.tensor]).astype(np.float32, copy=False)


def _run(model: Model, session: Session, images: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
    """The outputs of the session for the images, finite or not."""
    try:
        return run_forward(session, model.image, images, outputs, finite=False)
    except ModelError:
        if len(images) == 1:
            raise
        # some exports leave the batch open but take one image
        alone = [run_forward(session, model.image, image[None], outputs, finite=False) for image in images]
        return {name: np.concatenate([one[name] for one in alone]) for name in outputs}


def _read(model: Model, paths: Sequence[Path], together: int) -> Iterator[tuple[Batch, list[str]]]:
    """The pictures, so many together, and the SHA-256 of each file."""

    def read(portion: Sequence[Path]) -> tuple[Batch, list[str]]:
        # decoded first, which refuses what is no plain file
        return read_batch(model, portion), [_hash_of(path) for path in portion]

    # the next pictures are decoded while the model runs
    return ahead(read, (paths[start : start + together] for start in range(0, len(paths), together)), threads=1)


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What some images did to a map: `peaks` float32 [N, C], how many places were `above` zero, [N, C], and how many
    values were `not_finite`, int [N].
    """

    peaks: np.ndarray
    above: np.ndarray
    not_finite: np.ndarray


def _told(layer: Layer, peaks: np.ndarray, above: np.ndarray) -> _Seen:
    """From the summary of a map that is finite."""
    return _Seen(peaks[:, :, 0, 0], _counts(layer, above), np.zeros(len(peaks), np.int64))


def _counted(values: np.ndarray) -> _Seen:
    """From a map [N, C, H, W]."""
    finite = np.isfinite(values)
    peaks = values.max(axis=(2, 3), where=finite, initial=-np.inf)
    peaks[~finite.any(axis=(2, 3))] = 0
    return _Seen(peaks, np.count_nonzero(values > 0, axis=(2, 3)), _not_finite(values))


def _joined(layer: Layer, portions: Sequence[_Seen]) -> LayerResponses:
    peaks, above, not_finite = (
        np.concatenate(part) for part in zip(*((p.peaks, p.above, p.not_finite) for p in portions), strict=True)
    )
    return LayerResponses(layer, peaks, above > 0, 1 - above / _places(layer), above == _places(layer), not_finite)


def _near(layer: Layer, above: Sequence[np.ndarray]) -> np.ndarray:
    """Which share of each channel's outputs is near a bound, [N, C], from which shares are above the `_edges`."""
    *lower, upper = (_counts(layer, shares) for shares in above)
    return (upper + sum(_places(layer) - counts for counts in lower)) / _places(layer)


def _edges(bounds: Sequence[float]) -> list[float]:
    """The largest number near a lower bound, where there is one, and the largest below those near the upper one."""
    *lower, upper = map(np.float32, bounds)
    edge = upper - np.float32(NEAR)
    while abs(edge - upper) <= np.float32(NEAR):
        edge = np.nextafter(edge, np.float32(-np.inf))
    return [*(float(bound + np.float32(NEAR)) for bound in lower), float(edge)]


def _saturated(values: np.ndarray, bounds: Sequence[float]) -> np.ndarray:
    """Which share of each channel's outputs is near a bound, [N, C], from all of them."""
    flat = values.reshape(*values.shape[:2], -1)
    return np.any([np.abs(flat - np.float32(bound)) <= NEAR for bound in bounds], axis=0).mean(axis=2)


def _not_finite(values: np.ndarray) -> np.ndarray:
    """How many values of each image are NaN or infinite, int [N]."""
    return np.count_nonzero(~np.isfinite(values.reshape(len(values), -1)), axis=1)


def _counts(layer: Layer, shares: np.ndarray) -> np.ndarray:
    """How many places of a layer these shares are, float32 [N, C, 1, 1]: whole numbers [N, C]."""
    return np.rint(shares[:, :, 0, 0] * np.float64(_places(layer)))


def _places(layer: Layer) -> int:
    return prod(layer.shape[1:])


def _watched_maps(model: Model) -> list[Layer]:
    """The rectified maps above 1x1; without rectifiers, the outputs of Conv."""
    inner = _inner_nodes(model)
    maps = [
        layer
        for layer in model.layers
        if layer.has_map and layer.followed and not layer.folded and prod(layer.shape[1:]) > 1
    ]
    made = _made(model)
    rectified = [layer for layer in maps if layer.rectified and id(made[layer.tensor]) not in inner]
    return rectified or [layer for layer in maps if layer.op == "Conv"]


def _gates(model: Model) -> list[tuple[Layer, tuple[float, ...]]]:
    """The layers that can saturate, and the bounds where they do."""
    inner, made = _inner_nodes(model), _made(model)
    found: list[tuple[Layer, tuple[float, ...]]] = []
    for layer in model.layers:
        node = made[layer.tensor]
        if layer.folded or id(node) in inner:
            continue
        if node.op in ("Sigmoid", "HardSigmoid") and _multiplies(model, node.outputs[0]):
            found.append((layer, (0.0, 1.0)))
        elif layer.rectified and (bound := _upper_bound(node)) is not None:
            # the lower bound of a rectifier is no saturation
            found.append((layer, (bound,)))
    return found


def _outputs(model: Model) -> list[Layer]:
    names = {output.name for output in model.canonical.proto.graph.output}
    return [layer for layer in model.layers if layer.tensor in names and not layer.folded]


def _made(model: Model) -> dict[str, gs.Node]:
    """The node that makes each tensor."""
    return {tensor.name: node for node in model.canonical.graph.nodes for tensor in node.outputs}


def _inner_nodes(model: Model) -> set[int]:
    """The nodes of activations that are spelled with several, but the last of each; by identity."""
    return {id(node) for rectifier in model.canonical.rectifiers.values() for node in rectifier.nodes[:-1]}


def _multiplies(model: Model, tensor: gs.Tensor) -> bool:
    """Whether another value that descends from the image is multiplied by this one."""
    readers = tensor.outputs
    return any(
        (node.op == "Mul" and all(t.name in model.canonical.live for t in node.inputs))
        or (node.op in MOVED and _multiplies(model, node.outputs[0]))
        for node in readers
    )


def _upper_bound(node: gs.Node) -> float | None:
    """Where a Clip or a Min ends, None where it does not."""
    stated = {"Clip": node.inputs[2:3], "Min": node.inputs}.get(node.op, [])
    bounds = [float(t.values.item()) for t in stated if isinstance(t, gs.Constant) and t.values.size == 1]
    return min((bound for bound in bounds if isfinite(bound)), default=None)

"""What a model's channels do over many images, from one pass over them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from math import isfinite, prod
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from zfviz.errors import ModelError
from zfviz.graph.layers import Layer
from zfviz.graph.rectifiers import MOVED
from zfviz.runtime.loading import Model
from zfviz.runtime.running import IMAGES_AT_ONCE, ahead, at_once, run_forward
from zfviz.runtime.session import Device, Session
from zfviz.studies.inputs import Batch, read_batch
from zfviz.studies.project import FLOAT_BYTES, open_forward
from zfviz.studies.selection import class_layer

NEAR = 1e-3
"""How near to its bound the output of a gate counts as saturated."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerResponses:
    """What the channels of one layer did: `peaks` float32 [N, C], the largest activation of each channel in each image;
    `fired` [N, C], whether it was above zero anywhere; `zeros` float [C], which share of all its outputs was not above
    zero; `never_zero` bool [N, C], whether it was above zero everywhere; `not_finite` int [N], how many values were NaN
    or infinite. A peak is of the finite values, 0 where there is none.
    """

    layer: Layer
    peaks: np.ndarray
    fired: np.ndarray
    zeros: np.ndarray
    never_zero: np.ndarray
    not_finite: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class GateResponses:
    """How far the gates of one layer went: `saturated` float [C], which share of all outputs of a channel was within
    1e-3 of one of the `bounds`.
    """

    layer: Layer
    bounds: tuple[float, ...]
    saturated: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """What all rectified maps did, and `top1` int [N], the class of each image, where the model is a classifier.

    `names` are those of the images, `hashes` the SHA-256 of each as the model takes it, `pictures` that of its file,
    which stays when the preprocessing changes. `gates` are the layers that others are multiplied by, and the rectifiers
    that have an upper bound; `outputs` says of the model's own outputs how many values of each image were NaN or
    infinite, int [N] by the layer's name.
    """

    names: tuple[str, ...]
    hashes: tuple[str, ...]
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
    asked = (*maps, *(layer for layer, _ in gates), *outputs, *([scores] if scores else []))
    layers = [*{layer.tensor: layer for layer in asked}.values()]
    session = open_forward(model, [layer.tensor for layer in layers], device, threads)
    names: list[str] = []
    hashes: list[str] = []
    pictures: list[str] = []
    of_maps: list[list[tuple[np.ndarray, ...]]] = [[] for _ in maps]
    of_gates: list[list[np.ndarray]] = [[] for _ in gates]
    of_outputs: list[list[np.ndarray]] = [[] for _ in outputs]
    top1: list[np.ndarray] = []
    together = at_once(IMAGES_AT_ONCE, sum(prod(layer.shape) for layer in layers) * FLOAT_BYTES)
    for batch, files in _read(model, paths, together):
        names += batch.names
        hashes += [sha256(row.tobytes()).hexdigest() for row in batch.array]
        pictures += files
        values = look(model, session, batch.array, layers)
        for layer, found in zip(maps, of_maps, strict=True):
            found.append(_summary(values[layer.tensor]))
        for (layer, bounds), found in zip(gates, of_gates, strict=True):
            found.append(_saturated(values[layer.tensor], bounds))
        for layer, found in zip(outputs, of_outputs, strict=True):
            found.append(np.count_nonzero(~np.isfinite(_flat(values[layer.tensor], 1)), axis=1))
        if scores:
            top1.append(values[scores.tensor].argmax(axis=1))
    return Responses(
        tuple(names),
        tuple(hashes),
        tuple(_joined(layer, found) for layer, found in zip(maps, of_maps, strict=True)),
        np.concatenate(top1) if top1 else None,
        tuple(pictures),
        tuple(
            GateResponses(layer, bounds, np.concatenate(found).mean(axis=0))
            for (layer, bounds), found in zip(gates, of_gates, strict=True)
        ),
        {layer.name: np.concatenate(found) for layer, found in zip(outputs, of_outputs, strict=True)},
    )


def look(model: Model, session: Session, images: np.ndarray, layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    """The values of layers, finite or not, by tensor: float32 [N, C, H, W], or [N, F] where a layer has no map."""
    tensors = [layer.tensor for layer in layers]
    try:
        values = run_forward(session, model.image, images, tensors, finite=False)
    except ModelError:
        if len(images) == 1:
            raise
        # some exports leave the batch open but take one image
        alone = [run_forward(session, model.image, image[None], tensors, finite=False) for image in images]
        values = {name: np.concatenate([one[name] for one in alone]) for name in tensors}
    return {layer.tensor: layer.as_map(values[layer.tensor]).astype(np.float32, copy=False) for layer in layers}


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


def _summary(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of a map [N, C, H, W] what `LayerResponses` holds, but the share of zeros of each image, [N, C]."""
    peaks, lows = values.max(axis=(2, 3)), values.min(axis=(2, 3))
    above = (values > 0).view(np.uint8).sum(axis=(2, 3), dtype=np.uint32)
    not_finite = np.zeros(len(values), np.int64)
    # NaN passes through both, so that only maps that hold one, or an infinity, are looked at again
    for image, channel in np.argwhere(~(np.isfinite(peaks) & np.isfinite(lows))):
        finite = np.isfinite(values[image, channel])
        not_finite[image] += finite.size - np.count_nonzero(finite)
        peaks[image, channel] = values[image, channel][finite].max() if finite.any() else 0
    return peaks, above > 0, 1 - above / prod(values.shape[2:]), lows > 0, not_finite


def _joined(layer: Layer, portions: Sequence[tuple[np.ndarray, ...]]) -> LayerResponses:
    peaks, fired, zeros, never_zero, not_finite = (np.concatenate(part) for part in zip(*portions, strict=True))
    return LayerResponses(layer, peaks, fired, zeros.mean(axis=0), never_zero, not_finite)


def _saturated(values: np.ndarray, bounds: Sequence[float]) -> np.ndarray:
    """Which share of each channel's outputs is near a bound, [N, C]."""
    flat = _flat(values, 2)
    return np.any([np.abs(flat - np.float32(bound)) <= NEAR for bound in bounds], axis=0).mean(axis=2)


def _flat(values: np.ndarray, kept: int) -> np.ndarray:
    """The values with all axes but the first ones as one."""
    return values.reshape(*values.shape[:kept], -1)


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

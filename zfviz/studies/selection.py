"""What is projected: the default layers, the strongest units, the logit of a class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import index

import numpy as np
import onnx_graphsurgeon as gs

from zfviz.errors import LayerError, nearest
from zfviz.graph.layers import Layer
from zfviz.runtime.loading import Model

ROWS = 5
TO_PROBABILITIES = ("Softmax", "LogSoftmax")
PASSED_ON = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", *TO_PROBABILITIES)
RETYPED = ("Cast", "QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """One number of a layer: its channel and place; y and x are None where the layer has no map."""

    layer: str
    channel: int
    y: int | None
    x: int | None


UnitLike = int | Sequence[int | None] | Unit
"""A unit as it is asked for: (channel, y, x), a channel alone for its strongest place, or one that was found."""


def read_units(units: Iterable[UnitLike]) -> list[tuple[int, ...]]:
    """(channel,) or (channel, y, x) of each unit. Raises LayerError where one is something else."""
    try:
        return [tuple(index(place) for place in _places(unit) if place is not None) for unit in units]
    except TypeError:
        raise LayerError(f"units is {units!r}; expected a list of channels, (channel, y, x) or zfviz.Unit.") from None


def _places(unit: UnitLike) -> Sequence[int | None]:
    if isinstance(unit, Unit):
        return unit.channel, unit.y, unit.x
    return [unit] if isinstance(unit, int | np.integer) else unit


def default_layers(model: Model) -> tuple[Layer, ...]:
    """The rows of a sheet: the last rectified map of each resolution above 1x1, filled up to five with the deepest
    others.

    For AlexNet and ZFNet these are conv1 to conv5, the paper's rows (Fig. 2). Without rectifiers, outputs of Conv
    serve.
    """
    maps = [layer for layer in model.layers if layer.has_map and layer.followed and layer.shape[1] * layer.shape[2] > 1]
    candidates = [m for m in maps if m.rectified] or [m for m in maps if m.op == "Conv"] or maps
    if not candidates:
        raise LayerError(f"{model.name} has no feature map above 1x1; expected one. Name a layer with --layer.")
    last = {layer.shape[1:]: layer for layer in candidates}
    chosen = set(map(id, last.values()))
    for layer in reversed(candidates):
        if len(chosen) >= ROWS:
            break
        chosen.add(id(layer))
    return tuple(layer for layer in candidates if id(layer) in chosen)


def strongest_units(layer: Layer, activations: np.ndarray, top: int) -> list[Unit]:
    """The `top` strongest channels of one image's activations [C, H, W] or [F], each at its strongest place."""
    peaks = activations.reshape(len(activations), -1).max(axis=1)
    channels = np.argsort(-peaks, kind="stable")[:top]
    return [strongest_place(layer, activations, int(channel)) for channel in channels]


def strongest_place(layer: Layer, activations: np.ndarray, channel: int) -> Unit:
    """The unit of `channel` with the largest activation."""
    if not layer.has_map:
        return Unit(layer.name, channel, None, None)
    y, x = np.unravel_index(int(activations[channel].argmax()), activations.shape[1:])
    return Unit(layer.name, channel, int(y), int(x))


def check_unit(layer: Layer, given: Sequence[int]) -> None:
    """LayerError where the layer has no unit that (channel,) or (channel, y, x) names."""
    shape = " x ".join(map(str, layer.shape))
    if len(given) not in ((1, 3) if layer.has_map else (1,)):
        wanted = "CHANNEL or CHANNEL,Y,X" if layer.has_map else "CHANNEL, since it has no map"
        raise LayerError(f"unit {','.join(map(str, given))} for layer {layer.name!r} ({shape}); expected {wanted}.")
    if any(not 0 <= place < size for place, size in zip(given, layer.shape, strict=False)):
        upper = ", ".join(f"0 to {size - 1}" for size in layer.shape)
        raise LayerError(f"no unit {','.join(map(str, given))} in layer {layer.name!r} ({shape}); expected {upper}.")


def chosen_unit(layer: Layer, activations: np.ndarray, given: Sequence[int]) -> Unit:
    """The unit that (channel,) or (channel, y, x) names."""
    return strongest_place(layer, activations, given[0]) if len(given) == 1 else Unit(layer.name, *given)


def class_layer(model: Model) -> Layer | None:
    """The layer of class scores before the softmax, or None where the model's first output is no such vector."""
    tensors = {t.name: t for node in model.canonical.graph.nodes for t in node.outputs}
    tensor = tensors.get(model.canonical.proto.graph.output[0].name)
    if tensor is None:
        return None
    by_tensor = {layer.tensor: layer for layer in model.layers}
    scores = tensor
    for node in _chain_below(tensor):
        scores = node.inputs[0] if node.op in TO_PROBABILITIES else scores
    # below the softmax the canonical form may have nodes of its own
    for node in _chain_below(scores):
        if scores.name not in by_tensor:
            scores = node.inputs[0]
    layer = by_tensor.get(scores.name)
    return layer if layer and not layer.has_map and layer.shape[0] > 1 else None


def _chain_below(tensor: gs.Tensor) -> list[gs.Node]:
    """The nodes under a tensor that only pass values on or turn them to probabilities, from the top."""
    chain: list[gs.Node] = []
    while tensor.inputs and tensor.inputs[0].op in (*PASSED_ON, *RETYPED):
        chain.append(tensor.inputs[0])
        tensor = tensor.inputs[0].inputs[0]
    return chain


def find_class(model: Model, layer: Layer, wanted: str | int) -> int:
    """The index of a class given by name or index. Raises LayerError with the nearest names."""
    count = layer.shape[0]
    if isinstance(wanted, int | np.integer) or wanted.lstrip("-").isdigit():
        index = int(wanted)
        if 0 <= index < count:
            return index
        raise LayerError(f"no class {index} in {model.name}; expected 0 to {count - 1}.")
    names = {part.strip().lower(): i for i, label in model.labels.items() for part in (label, *label.split(","))}
    if wanted.strip().lower() in names:
        return names[wanted.strip().lower()]
    if not names:
        raise LayerError(
            f"{model.name} has no class names, so {wanted!r} is unknown; expected an index, 0 to {count - 1}."
        )
    raise LayerError(f"no class {wanted!r} in {model.name}; {nearest(wanted.lower(), names)}.")

"""Layers: the nodes of the canonical graph as a user sees them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, prod

import numpy as np
import onnx_graphsurgeon as gs

from zfviz.errors import LayerError
from zfviz.graph.canonical import Canonical
from zfviz.graph.fields import Fields, trace_fields
from zfviz.graph.image_input import ImageInput
from zfviz.graph.reach import WHOLE, Frame, Span, dims, is_carrier
from zfviz.graph.rectifiers import constant_scale
from zfviz.graph.rules import is_rectifier


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of the canonical graph, named as in the user's file.

    `shape` is (C, H, W) of its output, or (F,) where it has no map. `receptive_field` is (height, width) in pixels of
    the image, the whole image at most; `jump` how many pixels apart neighbours of the map look, (y, x) (paper, Fig. 2).
    `name` is what addresses it: its node's name, or its output's where the node has none, shares it, or another tensor
    has it. `node` is the node's name as it stands, `tensor` the name of its output, `followed` whether y and x of the
    map follow the image's, else the map is reported as it is stored; `rectified` whether it is the output of a
    rectifier; `folded` whether its first axis is not the batch, so that one image has the whole of it. Where a
    quantised layer's integers stand for real numbers, those are (integer - `zero`) * `scale`.
    """

    name: str
    node: str
    op: str
    tensor: str
    shape: tuple[int, ...]
    receptive_field: tuple[int, int]
    jump: tuple[float, float]
    followed: bool
    rectified: bool
    fields: Fields
    stored: tuple[int, ...]
    order: tuple[int, ...]
    folded: bool
    scale: float
    zero: int

    @property
    def has_map(self) -> bool:
        """Whether a unit of the layer has a place (y, x)."""
        return len(self.shape) == 3

    def as_map(self, values: np.ndarray) -> np.ndarray:
        """Values as the model stores them, turned to [N, C, H, W], or to [N, F] where there is no map; integers of one
        scale as the real numbers that they stand for.
        """
        if not values.size:
            raise LayerError(f"{self.name!r} is empty, {list(values.shape)}; expected values. Choose a layer below.")
        if values.dtype.kind in "iu":
            values = (values.astype(np.float32) - self.zero) * np.float32(self.scale)
        if values.shape[1:] != self.stored[1:] and not self.folded:
            raise LayerError(
                f"{self.name!r} has shape {list(values.shape[1:])} for this image; expected {list(self.stored[1:])}: "
                "how many values it has depends on what is in the image. Choose a layer below."
            )
        return values.reshape(-1, *self.stored[1:]).transpose(self.order).reshape(-1, *self.shape)

    @property
    def start(self) -> Frame:
        """The place of one unit, where its signal starts: the whole of a layer that has no map."""
        (y, x) = (field.axis for field in self.fields)
        if y is None or x is None or not (self.has_map and self.followed) or self.folded:
            return WHOLE
        return Span(y, 0, self.stored[y]), Span(x, 1, self.stored[x])

    def index_of(self, place: Sequence[int]) -> tuple[int, ...]:
        """Where a unit (channel, y, x), or (channel,) without a map, lies in the layer of one image as it is stored."""
        turned = [self.stored[axis] for axis in self.order[1:]]
        parts = np.unravel_index(int(np.ravel_multi_index(tuple(place), self.shape)), turned)
        index = {axis: int(part) for axis, part in zip(self.order[1:], parts, strict=True)}
        return tuple(index[axis] for axis in sorted(index))

    def box(self, y: int | None, x: int | None, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """The receptive field of a unit in an image of `size`: top, left, bottom, right; may stick out of the image."""
        (top, bottom), (left, right) = (
            f.span(p, extent) for f, p, extent in zip(self.fields, (y, x), size, strict=True)
        )
        return top, left, bottom, right


def list_layers(canonical: Canonical, image: ImageInput) -> tuple[Layer, ...]:
    """Every layer whose output the user's own graph holds, from the image upwards."""
    fields = trace_fields(canonical.graph, canonical.image, (image.axes[2], image.axes[3]))
    named = Counter(node.name for node in canonical.graph.nodes)
    unclear = {name for name, count in named.items() if count > 1 or name in canonical.made_by} | {
        "",
        canonical.image.name,
    }
    scales = _scales(canonical)
    return tuple(
        _layer(node, tensor, unclear, canonical, image, fields, scales.get(tensor.name, (1.0, 0)))
        for node in canonical.graph.nodes
        for tensor in node.outputs
        if tensor.name in canonical.made_by and tensor.name in fields and is_carrier(tensor) and dims(tensor)
    )


def _layer(
    node: gs.Node,
    tensor: gs.Tensor,
    unclear: set[str],
    canonical: Canonical,
    image: ImageInput,
    all_fields: Mapping[str, Fields],
    quantised: tuple[float, int],
) -> Layer:
    stored, fields = dims(tensor), all_fields[tensor.name]
    folded = stored[0] != image.shape[0]
    if folded:
        stored, fields = (1, *stored), _moved(fields)
    order, shape, followed = _layout(stored, fields)
    whole = zip(fields, image.size, strict=True)
    height, width = (extent if f.size is None or not followed else min(ceil(f.size), extent) for f, extent in whole)
    return Layer(
        name=tensor.name if len(node.outputs) > 1 or node.name in unclear else node.name,
        node=node.name,
        op=canonical.made_by[tensor.name].op_type,
        tensor=tensor.name,
        shape=shape,
        receptive_field=(height, width),
        jump=(_plain(fields[0].jump), _plain(fields[1].jump)),
        followed=followed,
        rectified=is_rectifier(node)
        or (tensor.name in canonical.rectifiers and canonical.rectifiers[tensor.name].bends),
        fields=fields,
        stored=stored,
        order=order,
        folded=folded,
        scale=quantised[0],
        zero=quantised[1],
    )


def _scales(canonical: Canonical) -> dict[str, tuple[float, int]]:
    """Scale and zero point of each tensor of integers that stand for real numbers, by name."""
    scales: dict[str, tuple[float, int]] = {}
    for node in canonical.graph.nodes:
        made = node.outputs[0]
        if node.op == "QuantizeLinear" and (found := constant_scale(node)):
            scales[made.name] = found
        elif node.inputs and node.inputs[0].name in scales and made.dtype == node.inputs[0].dtype:
            scales[made.name] = scales[node.inputs[0].name]  # what moves integers keeps their meaning
    return scales


def _plain(jump: int | Fraction) -> float:
    return int(jump) if Fraction(jump).denominator == 1 else float(jump)


def _moved(fields: Fields) -> Fields:
    """The fields, for one axis more in front."""
    y, x = (replace(field, axis=None if field.axis is None else field.axis + 1) for field in fields)
    return y, x


def _layout(stored: tuple[int, ...], fields: Fields) -> tuple[tuple[int, ...], tuple[int, ...], bool]:
    """How the axes of a tensor turn to [N, C, H, W], the shape (C, H, W) then, and whether y and x follow the
    image's.
    """
    y, x = (field.axis for field in fields)
    if y is not None and x is not None and len(stored) >= 4:
        rest = [axis for axis in range(1, len(stored)) if axis not in (y, x)]
        return (0, *rest, y, x), (prod(stored[a] for a in rest), stored[y], stored[x]), True
    order = tuple(range(len(stored)))
    if prod(stored[1:]) == max(stored[1:], default=1):
        return order, (prod(stored[1:]),), True
    channels, *rest = list(stored[1:])
    return order, (channels, prod(rest[:-1]), rest[-1]) if len(rest) > 1 else (channels, rest[0], 1), False

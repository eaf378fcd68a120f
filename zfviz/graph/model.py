"""A model that is ready to be projected: the user's own graph, its canonical form, its image input and its layers."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs
from onnx import TensorProto, ValueInfoProto, helper

from zfviz.errors import LayerError, ModelError, nearest
from zfviz.graph.canonical import Canonical, Evaluate, canonicalize
from zfviz.graph.companion import layer_name
from zfviz.graph.fields import Fields, trace_fields
from zfviz.graph.reach import dims, is_real
from zfviz.graph.rules import is_rectifier
from zfviz.graph.source import Source

DEFAULT_SIDE = 224
CHANNELS = (1, 3)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The input that takes the picture: its name and shape; `batch` is None where any number of images goes in.

    `axes` are where batch, channel, y and x lie: (0, 1, 2, 3) for NCHW, (0, 3, 1, 2) for NHWC.
    """

    name: str
    shape: tuple[int, int, int, int]
    batch: int | None
    axes: tuple[int, int, int, int]
    assumed_size: bool

    @property
    def channels(self) -> int:
        """How many colour channels go in."""
        return self.shape[self.axes[1]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.shape[self.axes[2]], self.shape[self.axes[3]]


@dataclass(frozen=True, slots=True)
class Layer:
    """A node of the canonical graph, named as in the user's file.

    `shape` is (C, H, W) of its output, or (F,) where it has no map; `axes` says where batch, channel, y and x lie in the
    tensor, and is None where the layout could not be followed and the map is reported as it is stored.
    `receptive_field` is (height, width) in pixels of the image, the whole image at most; `jump` how many pixels apart
    neighbours of the map look (paper, Fig. 2).
    """

    name: str
    op: str
    tensor: str
    shape: tuple[int, ...]
    axes: tuple[int, ...] | None
    receptive_field: tuple[int, int]
    jump: tuple[int, int]
    fields: Fields
    rectified: bool


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model; made by `zfviz.load`."""

    source: Source
    image: ImageInput
    canonical: Canonical
    layers: tuple[Layer, ...]

    def layer(self, name: str) -> Layer:
        """The layer addressed by its output tensor or its node's name; the tensor wins where a name is both.

        Raises LayerError for an unknown name, with the nearest ones, and for a name that two nodes share.
        """
        for layer in self.layers:
            if layer.tensor == name:
                return layer
        named = [layer for layer in self.layers if layer.name == name]
        if len(named) == 1:
            return named[0]
        if named:
            tensors = ", ".join(repr(layer.tensor) for layer in named)
            raise LayerError(f"{len(named)} nodes are named {name!r}; expected one. Choose by output tensor: {tensors}.")
        known = [n for layer in self.layers for n in dict.fromkeys((layer.name, layer.tensor))]
        raise LayerError(f"no layer {name!r} in {self.source.name}; {nearest(name, known)}. `zfviz layers` lists all.")


def find_image_input(source: Source, input_shape: Sequence[int] | None = None) -> ImageInput:
    """The one input that takes a picture, with its static shape; sizes that the model leaves open become 224.

    Raises ModelError: no such input, more than one input, or an `input_shape` that contradicts the model's.
    """
    graph = source.proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [i for i in graph.input if i.name not in stored]
    described = ", ".join(f"{i.name} {_describe(i)}" for i in inputs) or "none"
    if len(inputs) != 1:
        raise ModelError(
            f"{source.name} has {len(inputs)} inputs ({described}); expected one, the image. Cut the model down to it."
        )
    sizes = _sizes(inputs[0], input_shape)
    axes = _image_axes(sizes)
    if axes is None or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ModelError(
            f"the input of {source.name} is {described}; expected an image, float32 [N, C, H, W] or [N, H, W, C] with "
            f"{' or '.join(map(str, CHANNELS))} channels. If the channels are left open, give input_shape."
        )
    batch, channel, y, x = axes
    defaults = {batch: 1, y: DEFAULT_SIDE, x: DEFAULT_SIDE}
    shape = tuple(defaults[axis] if size is None else size for axis, size in enumerate(sizes))
    assumed = sizes[y] is None or sizes[x] is None
    return ImageInput(inputs[0].name, shape, _sizes(inputs[0], None)[batch], axes, assumed)


def _sizes(value: ValueInfoProto, input_shape: Sequence[int] | None) -> list[int | None]:
    """The sizes of an input, None where they are open; those of `input_shape` fill what is open."""
    sizes = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in value.type.tensor_type.shape.dim]
    if input_shape is None:
        return sizes
    fits = len(input_shape) == len(sizes) and all(
        given > 0 and size in (None, given) for size, given in zip(sizes, input_shape, strict=True)
    )
    if not fits:
        raise ModelError(
            f"input_shape {tuple(input_shape)} does not fit the input {value.name} {_describe(value)}; expected one size "
            "above 0 for each axis, equal to the model's where it has one."
        )
    return list(input_shape)


def _image_axes(sizes: Sequence[int | None]) -> tuple[int, int, int, int] | None:
    if len(sizes) != 4:
        return None
    if sizes[1] in CHANNELS:
        return 0, 1, 2, 3
    return (0, 3, 1, 2) if sizes[3] in CHANNELS else None


def _describe(value: ValueInfoProto) -> str:
    kind = value.type.tensor_type
    sizes = ", ".join(str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in kind.shape.dim)
    return f"{TensorProto.DataType.Name(kind.elem_type).lower()} [{sizes}]"


def build_model(source: Source, image: ImageInput, evaluate: Evaluate) -> Model:
    """The model with its canonical form and its layers; `evaluate` runs it where only a run can tell shapes."""
    value = helper.make_tensor_value_info(image.name, TensorProto.FLOAT, list(image.shape))
    canonical = canonicalize(source.proto, value, evaluate)
    fields = trace_fields(canonical.graph, canonical.image, (image.axes[2], image.axes[3]))
    layers = tuple(
        _layer(node, tensor, fields[tensor.name], image)
        for node in canonical.graph.nodes
        for tensor in node.outputs
        if tensor.name in canonical.visible and is_real(tensor) and dims(tensor)
    )
    return Model(source, image, canonical, layers)


def _layer(node: gs.Node, tensor: gs.Tensor, fields: Fields, image: ImageInput) -> Layer:
    sizes = dims(tensor)
    axes = _axes_of_map(sizes, fields)
    shape = tuple(sizes[a] for a in axes[1:]) if axes else sizes[1:]
    height, width = (
        extent if field.size is None else min(field.size, extent) for field, extent in zip(fields, image.size, strict=True)
    )
    name = tensor.name if len(node.outputs) > 1 else layer_name(node)
    jump = (fields[0].jump, fields[1].jump)
    return Layer(name, node.op, tensor.name, shape, axes, (height, width), jump, fields, is_rectifier(node))


def _axes_of_map(sizes: tuple[int, ...], fields: Fields) -> tuple[int, ...] | None:
    """Where batch, channel, y and x lie: (0, c, y, x) for a map that follows the image, (0, 1) for a vector."""
    if len(sizes) == 2:
        return 0, 1
    y, x = (field.axis for field in fields)
    if len(sizes) == 4 and y and x:
        return 0, 6 - y - x, y, x
    return None

"""The image input: the one input of a model that takes a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import TensorProto, ValueInfoProto

from zfviz.errors import ModelError
from zfviz.graph.source import Source

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


def find_image_input(
    source: Source, input_shape: Sequence[int] | None = None, open_size: tuple[int, int] = (224, 224)
) -> ImageInput:
    """The one input that takes a picture, with its static shape; a height and width that are left open become
    `open_size`.

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
    batch, _, y, x = axes
    defaults = {batch: 1, y: open_size[0], x: open_size[1]}
    n, a, b, c = (defaults[axis] if size is None else size for axis, size in enumerate(sizes))
    assumed = sizes[y] is None or sizes[x] is None
    return ImageInput(inputs[0].name, (n, a, b, c), _sizes(inputs[0], None)[batch], axes, assumed)


def _sizes(value: ValueInfoProto, input_shape: Sequence[int] | None) -> list[int | None]:
    """The sizes of an input, None where they are open; those of `input_shape` fill what is open."""
    sizes = [
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in value.type.tensor_type.shape.dim
    ]
    if input_shape is None:
        return sizes
    fits = len(input_shape) == len(sizes) and all(
        given > 0 and size in (None, given) for size, given in zip(sizes, input_shape, strict=True)
    )
    if not fits:
        raise ModelError(
            f"input_shape {tuple(input_shape)} does not fit the input {value.name} {_describe(value)}; expected one "
            "size above 0 for each axis, equal to the model's where it has one."
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

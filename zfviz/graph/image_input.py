"""The image input: the one input of a model that takes a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import prod

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from zfviz.errors import ModelError
from zfviz.graph.limits import LONGEST_SIDE, MOST_NUMBERS
from zfviz.graph.source import Source

CHANNELS = (1, 3)
TYPES = tuple(map(np.dtype, ("float32", "float16", "float64", "uint8")))


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The input that takes the picture: its name, shape and type; `batch` is None where any number of images goes in.

    `axes` are where batch, channel, y and x lie: (0, 1, 2, 3) for NCHW, (0, 3, 1, 2) for NHWC.
    """

    name: str
    shape: tuple[int, int, int, int]
    batch: int | None
    axes: tuple[int, int, int, int]
    assumed_size: bool
    dtype: np.dtype

    @property
    def channels(self) -> int:
        """How many colour channels go in."""
        return self.shape[self.axes[1]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.shape[self.axes[2]], self.shape[self.axes[3]]


def bind_inputs(source: Source, inputs: Mapping[str, np.ndarray]) -> Source:
    """The model with values for inputs other than the image, which stay inputs and take these by default.

    Raises ModelError for a name that is no input, and for a value of another type or shape.
    """
    declared = {value.name: value for value in source.proto.graph.input}
    for name, array in inputs.items():
        if name not in declared:
            raise ModelError(f"{source.name} has no input {name!r}; expected one of {', '.join(declared)}.")
        kind = declared[name].type.tensor_type
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        fits = len(sizes) == array.ndim and all(s in (None, n) for s, n in zip(sizes, array.shape, strict=True))
        if not fits or helper.tensor_dtype_to_np_dtype(kind.elem_type) != array.dtype:
            raise ModelError(
                f"the value for input {name!r} is {array.dtype} {list(array.shape)}; "
                f"expected {_describe(declared[name])}. Save it so with numpy.save."
            )
    proto = ModelProto()
    proto.CopyFrom(source.proto)
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in inputs.items())
    bound = tuple((name, sha256(array.tobytes()).hexdigest()) for name, array in inputs.items())
    return replace(source, proto=proto, bound=bound)


def find_image_input(
    source: Source, input_shape: Sequence[int] | None = None, open_size: tuple[int, int] = (224, 224)
) -> ImageInput:
    """The one input that takes a picture, with its static shape; a height and width that are left open become
    `open_size`.

    Raises ModelError: no such input, more than one, others that have no value, or an `input_shape` that contradicts
    the model's.
    """
    graph = source.proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [i for i in graph.input if i.name not in stored]
    pictures = [i for i in inputs if _takes_pictures(i, input_shape if len(inputs) == 1 else None)]
    image = pictures[0] if len(pictures) == 1 else inputs[0] if len(inputs) == 1 else None
    described = ", ".join(f"{i.name} {_describe(i)}" for i in inputs) or "none"
    others = [i.name for i in inputs if i is not image]
    if inputs and not any(len(_sizes(i, None)) in (0, 4) for i in inputs):
        raise ModelError(
            f"{source.name} takes no image: its inputs without a value are {described}; expected [N, C, H, W] or "
            "[N, H, W, C]. zfviz projects networks that look at pictures."
        )
    if image is None or others:
        raise ModelError(
            f"{source.name} has {len(inputs)} inputs without a value ({described}); expected one, the image. "
            f"Give the others with --input NAME=FILE.npy (load(..., inputs=...)): {', '.join(others)}."
        )
    sizes = _sizes(image, input_shape)
    axes = _image_axes(sizes)
    dtype = _dtype(image)
    open_ = len(sizes) in (0, 4) and None in sizes[1:]
    if axes is None or dtype not in TYPES:
        raise ModelError(
            f"the input of {source.name} is {described}; expected an image, {', '.join(t.name for t in TYPES)} "
            f"[N, C, H, W] or [N, H, W, C] with {' or '.join(map(str, CHANNELS))} channels."
            + (" Its channels are left open: give --input-shape (input_shape=...)." if axes is None and open_ else "")
        )
    batch, _, y, x = axes
    defaults = {batch: 1, y: open_size[0], x: open_size[1]}
    n, a, b, c = (defaults[axis] if size is None else size for axis, size in enumerate(sizes))
    if prod((n, a, b, c)) > MOST_NUMBERS or max(n, a, b, c) > LONGEST_SIDE:
        raise ModelError(
            f"the input of {source.name} is {[n, a, b, c]}; expected at most {MOST_NUMBERS:,} numbers, "
            f"and {LONGEST_SIDE:,} along an axis. "
            "Export it for smaller images."
        )
    assumed = sizes[y] is None or sizes[x] is None
    return ImageInput(image.name, (n, a, b, c), _sizes(image, None)[batch], axes, assumed, dtype)


def _takes_pictures(value: ValueInfoProto, input_shape: Sequence[int] | None) -> bool:
    """Whether an input could be a picture: one that is more than a pixel high and wide."""
    sizes = _sizes(value, input_shape)
    axes = _image_axes(sizes)
    return axes is not None and all(sizes[axis] != 1 for axis in axes[2:]) and _dtype(value) in TYPES


def _dtype(value: ValueInfoProto) -> np.dtype:
    kind = value.type.tensor_type.elem_type
    return np.dtype(object) if kind == TensorProto.UNDEFINED else helper.tensor_dtype_to_np_dtype(kind)


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

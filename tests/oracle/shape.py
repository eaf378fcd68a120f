"""Ops that move values about, and those that say or make shapes."""

import math
from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from oracle.arithmetic import KINDS
from oracle.layer import OPS, Layer, as_tensor, ints, op

OPS |= {
    "Concat": lambda layer, *parts: torch.cat(parts, layer.get("axis", 1)),
    "Size": lambda layer, x: torch.tensor(x.numel()),
    "NonZero": lambda layer, x: torch.stack(torch.nonzero(x, as_tuple=True)),
    "Expand": lambda layer, x, shape: x.expand(torch.broadcast_shapes(x.shape, shape.tolist())),
}


@op("Flatten")
def flatten(layer: Layer, x: Tensor) -> Tensor:
    sizes, axis = x.shape, layer.get("axis", 1)
    axis += len(sizes) if axis < 0 else 0
    return x.reshape(math.prod(sizes[:axis]), math.prod(sizes[axis:]))


@op("Reshape")
def reshape(layer: Layer, x: Tensor, shape: Tensor | None = None) -> Tensor:
    sizes = layer["shape"] if shape is None else shape.tolist()
    copies = not layer["allowzero"]
    return x.reshape([x.shape[axis] if copies and size == 0 else size for axis, size in enumerate(sizes)])


@op("Squeeze")
def squeeze(layer: Layer, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze(ints(axes) or layer["axes"] or tuple(range(x.ndim)))


@op("Unsqueeze")
def unsqueeze(layer: Layer, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = np.ravel(layer["axes"] if axes is None else axes).tolist()
    return reduce(torch.unsqueeze, sorted(axis % (x.ndim + len(given)) for axis in given), x)


@op("Transpose")
def transpose(layer: Layer, x: Tensor) -> Tensor:
    return x.permute(layer.get("perm", list(range(x.ndim))[::-1]))


@op("Slice")
def cut(layer: Layer, x: Tensor, *inputs: Tensor | None) -> Tensor:
    given: Iterable[Any] = inputs or [layer[name] for name in ("starts", "ends", "axes")]
    starts, ends, axes, steps = [*map(ints, given), None, None][:4]
    for i, axis in enumerate(axes or range(len(starts))):
        # range clamps as ONNX does, and torch has no negative steps
        places = range(x.shape[axis])[starts[i] : ends[i] : steps[i] if steps else 1]
        x = x.index_select(axis, torch.tensor(places, dtype=torch.int64))
    return x


@op("Split")
def split(layer: Layer, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis, parts = layer.get("axis", 0), layer.get("num_outputs", len(layer.proto.output))
    lengths = ints(sizes) or layer["split"]
    return x.split(lengths or max(1, -(-x.shape[axis] // parts)), axis)


@op("Pad")
def pad(
    layer: Layer, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    amounts = ints(pads) or layer.get("pads") or layer["paddings"]
    half = len(amounts) // 2
    ends = {
        axis % x.ndim: (amounts[i], amounts[i + half])
        for i, axis in enumerate(range(half) if axes is None else axes.tolist())
    }
    mode = layer.get("mode", "constant")
    if mode == "constant":
        flat = [amount for axis in reversed(range(x.ndim)) for amount in ends.get(axis, (0, 0))]
        return functional.pad(x, flat, value=layer.get("value", 0.0) if value is None else value.item())
    for axis, (before, after) in ends.items():
        size = x.shape[axis]
        places = np.arange(size)[max(-before, 0) : size - max(-after, 0)]
        places = np.pad(places, (max(before, 0), max(after, 0)), mode)
        x = x.index_select(axis, torch.from_numpy(places))
    return x


@op("Crop")
def crop(layer: Layer, x: Tensor) -> Tensor:
    left, top, right, bottom = layer["border"]
    rows, columns = layer["scale"] or (x.shape[2] - top - bottom, x.shape[3] - left - right)
    return x[:, :, top : top + rows, left : left + columns]


@op("CenterCropPad")
def fit(layer: Layer, x: Tensor, shape: Tensor) -> Tensor:
    for axis, size in zip(layer["axes"] or range(x.ndim), shape.tolist(), strict=True):
        spare = size - x.shape[axis]
        before = spare // 2 if spare > 0 else -(-spare // 2)
        flat = [0, 0] * (x.ndim - 1 - axis % x.ndim) + [before, spare - before]
        x = functional.pad(x, flat)
    return x


@op("Tile")
def tile(layer: Layer, x: Tensor, repeats: Tensor, axis: Tensor | None = None) -> Tensor:
    if axis is None:
        return x.repeat(repeats.tolist())
    return torch.cat([x] * int(repeats.item()), int(axis.item()))


@op("DepthToSpace")
def depth_to_space(layer: Layer, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = layer["blocksize"]
    if layer.get("mode", "DCR") == "CRD":
        y = x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    else:
        y = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // b**2, h * b, w * b)


@op("SpaceToDepth")
def space_to_depth(layer: Layer, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = layer["blocksize"]
    if layer.get("mode", "DCR") == "CRD":
        y = x.reshape(n, c, h // b, b, w // b, b).permute(0, 1, 3, 5, 2, 4)
    else:
        y = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return y.reshape(n, c * b**2, h // b, w // b)


@op("Dropout")
def drop(layer: Layer, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None) -> tuple[Tensor, Tensor]:
    if training is not None and training.item() and (ratio is None or ratio.item() != 0):
        raise NotImplementedError("the oracle runs Dropout in inference only")
    return x, torch.ones_like(x, dtype=torch.bool)


@op("Constant")
def constant(layer: Layer) -> Tensor:
    if (value := layer["value"]) is not None:
        return value
    kinds = {"value_float": float, "value_floats": float, "value_int": np.int64, "value_ints": np.int64}
    return next(as_tensor(np.array(layer[name], kind)) for name, kind in kinds.items() if layer[name] is not None)


@op("ConstantOfShape")
def fill(layer: Layer, shape: Tensor) -> Tensor:
    return layer.get("value", torch.zeros(1, dtype=torch.float64)).expand(shape.tolist())


@op("Shape")
def shape_of(layer: Layer, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[layer["start"] : layer["end"]], dtype=torch.int64)


@op("Range")
def count(layer: Layer, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    number = max(math.ceil((limit - start).item() / delta.item()), 0)
    return start + torch.arange(number, dtype=start.dtype) * delta


@op("EyeLike")
def eye(layer: Layer, x: Tensor) -> Tensor:
    kind = KINDS[layer["dtype"]] if layer["dtype"] else x.dtype
    return torch.ones(x.shape).tril(layer.get("k", 0)).triu(layer.get("k", 0)).to(kind)


@op("Trilu")
def triangle(layer: Layer, x: Tensor, k: Tensor | None = None) -> Tensor:
    f = torch.triu if layer.get("upper", 1) else torch.tril
    return f(x, int(k.item()) if k is not None else 0)


@op("OneHot")
def one_hot(layer: Layer, places: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    number, axis = int(depth.item()), layer.get("axis", -1)
    hot = (places.to(torch.int64) % number)[..., None] == torch.arange(number)
    inside = (places >= -number) & (places < number)
    return torch.where(hot & inside[..., None], values[1], values[0]).movedim(-1, axis)

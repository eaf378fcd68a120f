"""Arithmetic, comparison, logic and casts: element by element, and sums along axes."""

import math
from collections.abc import Callable
from functools import partial, reduce

import torch
from onnx import TensorProto, helper
from torch import Tensor
from torch.nn import functional

from oracle.layer import OPS, Layer, ints, op, rectify

OPS |= {
    "Abs": lambda layer, x: x.abs(),
    "Neg": lambda layer, x: -x,
    "Exp": lambda layer, x: x.exp(),
    "Log": lambda layer, x: x.log(),
    "Sqrt": lambda layer, x: x.sqrt(),
    "Reciprocal": lambda layer, x: x.reciprocal(),
    "Sign": lambda layer, x: x.sign(),
    "Floor": lambda layer, x: x.floor(),
    "Ceil": lambda layer, x: x.ceil(),
    "Round": lambda layer, x: x.round(),
    "Not": lambda layer, x: ~x,
    "BitwiseNot": lambda layer, x: ~x,
    "IsNaN": lambda layer, x: x.isnan(),
    "Identity": lambda layer, x: x,
    "Affine": lambda layer, x: layer["alpha"] * x + layer["beta"],
    "Sum": lambda layer, *parts: reduce(torch.add, parts),
    "Mean": lambda layer, *parts: reduce(torch.add, parts) / len(parts),
}
ANGLES = (torch.sin, torch.cos, torch.tan, torch.sinh, torch.cosh)
ANGLES += (torch.asin, torch.acos, torch.atan, torch.asinh, torch.acosh, torch.atanh)
OPS |= {f.__name__.capitalize(): lambda layer, x, f=f: f(x) for f in ANGLES}


def aligned(layer: Layer, a: Tensor, b: Tensor) -> Tensor:
    """b so that it broadcasts with a, where the old attributes say along which axes it lies."""
    if layer.opset < 7 and layer["broadcast"] and layer["axis"] is not None:
        return b.reshape(*b.shape, *[1] * (a.ndim - layer["axis"] % a.ndim - b.ndim))
    return b


def divide(a: Tensor, b: Tensor) -> Tensor:
    exact = a.is_floating_point() or b.is_floating_point()
    return torch.div(a, b, rounding_mode=None if exact else "trunc")


def power(a: Tensor, b: Tensor) -> Tensor:
    if not b.requires_grad and b.numel() == 1 and b.item() == 2:
        return a * a  # torch squares so, but not where the exponent is a tensor
    y = torch.pow(a.double(), b.double())
    return y if a.is_floating_point() else y.to(a.dtype)


BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": divide,
    "Pow": power,
    "Equal": torch.eq,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "And": torch.logical_and,
    "Or": torch.logical_or,
    "Xor": torch.logical_xor,
    "BitwiseAnd": torch.bitwise_and,
    "BitwiseOr": torch.bitwise_or,
    "BitwiseXor": torch.bitwise_xor,
}
OPS |= {name: lambda layer, a, b, f=f: f(a, aligned(layer, a, b)) for name, f in BINARY.items()}


@op("Mod")
def modulo(layer: Layer, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if layer["fmod"] else torch.remainder(a, b)


@op("Max")
def largest(layer: Layer, *parts: Tensor) -> Tensor:
    live = [part for part in parts if part.requires_grad]
    if len(live) == 1 and len(parts) == 2:  # Relu, or like it far from 0
        (x,), (floor,) = live, [part for part in parts if part is not live[0]]
        if floor.numel() == 1 and x.ndim >= floor.ndim:
            return rectify(layer, x, lambda x: functional.threshold(x, floor.item(), floor.item()))
    return reduce(torch.maximum, parts)


@op("Min")
def smallest(layer: Layer, *parts: Tensor) -> Tensor:
    return reduce(torch.minimum, parts)


@op("Where")
def choose(layer: Layer, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition, a, b)


@op("IsInf")
def is_infinite(layer: Layer, x: Tensor) -> Tensor:
    up, down = layer.get("detect_positive", 1), layer.get("detect_negative", 1)
    return (x == math.inf) & bool(up) | (x == -math.inf) & bool(down)


KINDS = {
    TensorProto.BOOL: torch.bool,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.int32,
    TensorProto.UINT32: torch.int64,
    TensorProto.UINT64: torch.int64,
    TensorProto.FLOAT: torch.float64,
    TensorProto.FLOAT16: torch.float64,
    TensorProto.BFLOAT16: torch.float64,
    TensorProto.DOUBLE: torch.float64,
}


@op("Cast")
def cast(layer: Layer, x: Tensor) -> Tensor:
    to = layer["to"]
    code = TensorProto.DataType.Value(to) if isinstance(to, str) else to
    if code not in KINDS:
        raise NotImplementedError(f"the oracle casts to no {helper.tensor_dtype_to_string(code)}")
    return as_kind(x, KINDS[code])


@op("CastLike")
def cast_like(layer: Layer, x: Tensor, like: Tensor) -> Tensor:
    return as_kind(x, like.dtype)


def as_kind(x: Tensor, kind: torch.dtype) -> Tensor:
    """x in another type; floats lose their fraction, and wrap where an integer type is too narrow for them."""
    if x.is_floating_point() and kind not in (torch.bool, torch.float64):
        x = x.to(torch.int64)
    return x.to(kind)


Reduction = Callable[[Tensor, list[int], bool], Tensor]


def product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    y = reduce(lambda y, axis: y.prod(axis, keepdim=True), axes, x)
    return y if keep else y.squeeze(axes)


def limits(kind: torch.dtype) -> tuple[float, float]:
    """The least and the greatest number of a type."""
    if kind == torch.bool:
        return 0, 1
    info = torch.iinfo(kind) if not kind.is_floating_point else None
    return (info.min, info.max) if info else (-math.inf, math.inf)


def extreme(f: Callable[..., Tensor], start: float) -> Reduction:
    def reduction(x: Tensor, axes: list[int], keep: bool) -> Tensor:
        if 0 in (x.shape[axis] for axis in axes):
            none = torch.full_like(x.sum(axes, keep), start, dtype=torch.float64)
            return none.clamp(*limits(x.dtype)).to(x.dtype)
        return f(x.to(torch.uint8) if x.dtype == torch.bool else x, axes, keep).to(x.dtype)

    return reduction


def norm(order: int) -> Reduction:
    def reduction(x: Tensor, axes: list[int], keep: bool) -> Tensor:
        y = torch.linalg.vector_norm(x.double(), order, axes, keep)
        return y if x.is_floating_point() else y.to(x.dtype)

    return reduction


REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep, dtype=x.dtype),
    "ReduceMean": lambda x, axes, keep: x.double().mean(axes, keep).to(x.dtype),
    "ReduceMax": extreme(torch.amax, -math.inf),
    "ReduceMin": extreme(torch.amin, math.inf),
    "ReduceProd": product,
    "ReduceL1": norm(1),
    "ReduceL2": norm(2),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keep, dtype=x.dtype),
    "ReduceLogSum": lambda x, axes, keep: x.double().sum(axes, keep).log().to(x.dtype),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x.double(), axes, keep).to(x.dtype),
}


def reduce_axes(layer: Layer, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = ints(axes) or layer["axes"]
    if not given:
        if layer["noop_with_empty_axes"]:  # what comes before and after the sum is still done
            return REDUCTIONS[layer.proto.op_type](x[..., None], [x.ndim], False)
        given = list(range(x.ndim))
    if not given:
        return REDUCTIONS[layer.proto.op_type](x[None], [0], False)
    return REDUCTIONS[layer.proto.op_type](x, [a % x.ndim for a in given], bool(layer.get("keepdims", 1)))


OPS |= dict.fromkeys(REDUCTIONS, reduce_axes)


@op("ArgMax", "ArgMin")
def find_extreme(layer: Layer, x: Tensor) -> Tensor:
    axis, keep = layer.get("axis", 0), bool(layer.get("keepdims", 1))
    if layer["select_last_index"]:
        x = x.flip(axis)
    extreme = x.amax(axis, keepdim=True) if layer.proto.op_type == "ArgMax" else x.amin(axis, keepdim=True)
    places = (x == extreme).to(torch.int8).argmax(axis, keepdim=keep)  # the first of equals
    return x.shape[axis] - 1 - places if layer["select_last_index"] else places


@op("CumSum")
def accumulate(layer: Layer, x: Tensor, axis: Tensor) -> Tensor:
    along = int(axis.item())
    flip = partial(torch.flip, dims=[along]) if layer["reverse"] else torch.clone
    sums = torch.cumsum(flip(x), along, dtype=x.dtype)
    return flip(sums - flip(x) if layer["exclusive"] else sums)

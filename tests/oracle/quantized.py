"""Quantised ops: floats that are rounded on the way forward, which the way back passes straight through.

A quantised tensor that depends on the image is held in float64, so that it carries a signal.
"""

import torch
from onnx import TensorProto
from torch import Tensor

from oracle.arithmetic import KINDS, limits
from oracle.layer import Detour, Layer, op
from oracle.windows import convolve

NARROW = {TensorProto.INT4: (-8, 7), TensorProto.UINT4: (0, 15), TensorProto.INT2: (-2, 1), TensorProto.UINT2: (0, 3)}


def along(x: Tensor, parameter: Tensor, axis: int, block: int = 0) -> Tensor:
    """A scale or zero point, one for all of x or one for each place or block along the axis, to broadcast with x."""
    parameter = parameter.detach().double()
    if parameter.numel() == 1:
        return parameter.reshape([])
    if parameter.ndim == 1 and x.ndim > 0:
        return parameter.reshape(-1, *[1] * (x.ndim - 1 - axis % x.ndim))
    return parameter.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])


def unpack(q: Tensor, scale: Tensor, zero: Tensor | None, axis: int = 1, block: int = 0) -> Tensor:
    """The floats that quantised numbers stand for."""
    y = q.double()
    if zero is not None:
        y = y - along(q, zero, axis, block)
    return y * along(q, scale, axis, block)


def pack(
    layer: Layer,
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    axis: int = 1,
    block: int = 0,
    ends: tuple[int, int] | None = None,
    given: bool = True,
) -> Tensor:
    """The quantised numbers that stand for floats; the way back is that of x / scale, also where they saturate.

    But where 0 is the smallest of the numbers, as a quantiser puts it that took a Relu in: then that is there too. A
    zero point that is not `given`, but found on the way, takes no Relu in.
    """
    shift = torch.zeros([]) if zero is None else along(x, zero, axis, block)
    least, most = ends or quantized_limits(torch.uint8 if zero is None else zero.dtype)
    unit = along(x, scale, axis, block)

    def nearest(x: Tensor) -> Tensor:
        # divided in float32, as onnxruntime does: what falls between two numbers falls there in both
        return ((x.float() / unit.float()).round() + shift).double().clamp(least, most)

    packed = nearest(x.detach())
    relu = given and zero is not None and zero.numel() == 1 and ends is None and zero.item() == least

    def back(signal: Tensor) -> Tensor:
        if relu:
            signal = signal if layer.method == "gradient" else torch.relu(signal)
            signal = signal if layer.method == "deconvnet" else signal * (packed > least)
        return signal / unit

    return Detour.apply(x, nearest, back)


def quantized_limits(kind: torch.dtype) -> tuple[float, float]:
    """Of the numbers whose zero point is of that type; int32 is what uint16 is held in."""
    return (0, 65535) if kind == torch.int32 else limits(kind)


@op("QuantizeLinear")
def quantize(layer: Layer, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    code = layer["output_dtype"]
    if code:
        ends = NARROW.get(code) or (quantized_limits(KINDS[code]) if code in KINDS else None)
        if ends is None:
            raise NotImplementedError("the oracle quantises to integers only")
    else:
        ends = None
    if zero is not None and zero.is_floating_point():
        raise NotImplementedError("the oracle quantises to integers only")
    return pack(layer, x, scale, zero, layer.get("axis", 1), layer.get("block_size", 0), ends)


@op("DequantizeLinear")
def dequantize(layer: Layer, q: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    return unpack(q, scale, zero, layer.get("axis", 1), layer.get("block_size", 0))


@op("DynamicQuantizeLinear")
def quantize_by_range(layer: Layer, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = x.detach().min().clamp(max=0), x.detach().max().clamp(min=0)
    scale = ((high - low) / 255).float().double()
    scale = torch.where(scale == 0, 1.0, scale)
    zero = (-low.float() / scale.float()).round().clamp(0, 255).to(torch.uint8)
    return pack(layer, x, scale, zero, given=False), scale, zero


@op("QLinearConv")
def convolve_quantized(
    layer: Layer,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    w: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    weight = unpack(w, w_scale, w_zero, 0)
    if bias is not None:
        bias = bias * (x_scale * w_scale).double().flatten()
    last = bool(layer["channels_last"])
    x = x.movedim(-1, 1) if last else x
    y = pack(layer, convolve(layer, unpack(x, x_scale, x_zero), weight, bias), y_scale, y_zero)
    return y.movedim(1, -1) if last else y


@op("ConvInteger")
def convolve_integers(
    layer: Layer, x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None
) -> Tensor:
    return convolve(layer, shifted(x, x_zero, 1), shifted(w, w_zero, 0))


def shifted(q: Tensor, zero: Tensor | None, axis: int) -> Tensor:
    return q.double() if zero is None else q.double() - along(q, zero, axis)


@op("MatMulInteger")
def multiply_integers(
    layer: Layer, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    return shifted(a, a_zero, -2) @ shifted(b, b_zero, -1)


@op("MatMulIntegerToFloat")
def multiply_integers_to_floats(
    layer: Layer,
    a: Tensor,
    b: Tensor,
    a_scale: Tensor,
    b_scale: Tensor,
    a_zero: Tensor | None = None,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    y = unpack(a, a_scale, a_zero, -2) @ unpack(b, b_scale, b_zero, -1)
    return y if bias is None else y + bias


@op("DynamicQuantizeMatMul")
def quantize_and_multiply(
    layer: Layer,
    a: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    y = unpack(*quantize_by_range(layer, a)) @ unpack(b, b_scale, b_zero, -1)
    return y if bias is None else y + bias


@op("QLinearMatMul")
def multiply_quantized(layer: Layer, *inputs: Tensor) -> Tensor:
    a, b, (y_scale, y_zero) = inputs[:3], inputs[3:6], inputs[6:]
    return pack(layer, unpack(*a, -2) @ unpack(*b, -1), y_scale, y_zero, -2)


@op("QGemm")
def multiply_quantized_and_add(
    layer: Layer,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    c: Tensor | None = None,
    y_scale: Tensor | None = None,
    y_zero: Tensor | None = None,
) -> Tensor:
    left, right = unpack(a, a_scale, a_zero), unpack(b, b_scale, b_zero, 0 if layer["transB"] else 1)
    y = layer.get("alpha", 1.0) * ((left.T if layer["transA"] else left) @ (right.T if layer["transB"] else right))
    if c is not None:  # integers in units of what the product counts in
        y = y + c * layer.get("alpha", 1.0) * (a_scale * b_scale).double()
    return y if y_scale is None else pack(layer, y, y_scale, y_zero)


@op("QLinearAdd", "QLinearMul")
def combine_quantized(layer: Layer, *inputs: Tensor | None) -> Tensor:
    a, b, (y_scale, y_zero) = unpack(*inputs[:3]), unpack(*inputs[3:6]), [*inputs[6:], None][:2]
    return pack(layer, a + b if layer.proto.op_type == "QLinearAdd" else a * b, y_scale, y_zero)


@op("QLinearConcat")
def concat_quantized(layer: Layer, y_scale: Tensor, y_zero: Tensor, *inputs: Tensor) -> Tensor:
    parts = [unpack(*inputs[i : i + 3]) for i in range(0, len(inputs), 3)]
    return pack(layer, torch.cat(parts, layer["axis"]), y_scale, y_zero)


@op("QLinearWhere")
def choose_quantized(layer: Layer, condition: Tensor, *inputs: Tensor) -> Tensor:
    return pack(layer, torch.where(condition, unpack(*inputs[:3]), unpack(*inputs[3:6])), *inputs[6:])


PARTS = {
    "QLinearSigmoid": "Sigmoid",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearAveragePool": "AveragePool",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearSoftmax": "Softmax",
}


@op(*PARTS)
def compute_quantized(
    layer: Layer,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor | None,
    y_scale: Tensor,
    y_zero: Tensor | None = None,
) -> Tensor:
    """What the float op makes of the floats, quantised again."""
    attributes = {a.name: layer[a.name] for a in layer.proto.attribute}
    last = attributes.pop("channels_last", 0)
    opset = attributes.pop("opset", layer.opset)
    x = unpack(x, x_scale, x_zero)
    y = layer.part(PARTS[layer.proto.op_type], x.movedim(-1, 1) if last else x, opset=opset, **attributes)
    return pack(layer, y.movedim(1, -1) if last else y, y_scale, y_zero)

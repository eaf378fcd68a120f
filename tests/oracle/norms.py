"""Norms: exact in every method, except LRN, which deconvnet walks back through as if it were not there."""

import torch
from torch import Tensor
from torch.nn import functional

from oracle.layer import OPS, Detour, Layer, op


def by_channel(x: Tensor, parameter: Tensor) -> Tensor:
    """A parameter for each channel, or each value of an image, so that it broadcasts with [N, C, ...]."""
    return parameter.reshape(*parameter.shape, *[1] * (x.ndim - 1 - parameter.ndim))


def standardize(x: Tensor, axes: list[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """x with mean 0 and deviation 1 along the axes; the mean; the inverse of the deviation."""
    mean = x.mean(axes, keepdim=True)
    inverse = ((x - mean).square().mean(axes, keepdim=True) + epsilon).rsqrt()
    return (x - mean) * inverse, mean, inverse


@op("LRN")
def normalize_locally(layer: Layer, x: Tensor) -> Tensor:
    def f(x: Tensor) -> Tensor:
        size, channels = layer["size"], x.shape[1]
        squares = functional.pad(x.square(), (0, 0) * (x.ndim - 2) + ((size - 1) // 2, size // 2))
        total = sum(squares[:, i : i + channels] for i in range(size))
        divisor = layer.get("bias", 1.0) + layer.get("alpha", 1e-4) / size * total
        return x / divisor ** layer.get("beta", 0.75)

    return Detour.apply(x, f, torch.clone) if layer.method == "deconvnet" else f(x)


@op("BatchNormalization")
def normalize_batch(layer: Layer, x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    scale, bias, mean, variance = (by_channel(x, p) for p in parameters)
    if not layer["training_mode"]:
        return ((x - mean) / (variance + layer.get("epsilon", 1e-5)).sqrt() * scale + bias,)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    new = x.mean(axes), x.var(axes, correction=0)
    y = standardize(x, axes, layer.get("epsilon", 1e-5))[0] * scale + bias
    kept = layer.get("momentum", 0.9)
    return y, *(kept * old + (1 - kept) * now for old, now in zip(parameters[2:], new, strict=True))


@op("InstanceNormalization")
def normalize_instance(layer: Layer, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    y, *_ = standardize(x, list(range(2, x.ndim)), layer.get("epsilon", 1e-5))
    return y * by_channel(x, scale) + by_channel(x, bias)


@op("GroupNormalization")
def normalize_groups(layer: Layer, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = layer["num_groups"]
    grouped = x.reshape(x.shape[0], groups, -1)
    y, *_ = standardize(grouped, [2], layer.get("epsilon", 1e-5))
    if layer.opset < 21:  # a scale and a bias for each group
        return (y * scale[:, None] + bias[:, None]).reshape(x.shape)
    return y.reshape(x.shape) * by_channel(x, scale) + by_channel(x, bias)


@op("LayerNormalization")
def normalize_layer(
    layer: Layer, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(layer.get("axis", -1) % x.ndim, x.ndim))
    y, mean, inverse = standardize(x, axes, layer.get("epsilon", 1e-5))
    return (y * scale if bias is None else y * scale + bias), mean, inverse


@op("RMSNormalization", "SimplifiedLayerNormalization")
def normalize_size(layer: Layer, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    axes = list(range(layer.get("axis", -1) % x.ndim, x.ndim))
    inverse = (x.square().mean(axes, keepdim=True) + layer.get("epsilon", 1e-5)).rsqrt()
    return x * inverse * scale, inverse


@op("SkipLayerNormalization")
def normalize_sum(
    layer: Layer, x: Tensor, skip: Tensor, scale: Tensor, beta: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, ...]:
    total = x + skip if bias is None else x + skip + bias
    y, mean, inverse = standardize(total, [-1], layer.get("epsilon", 1e-12))
    return (y * scale if beta is None else y * scale + beta), mean, inverse, total


@op("SkipSimplifiedLayerNormalization")
def normalize_size_of_sum(
    layer: Layer, x: Tensor, skip: Tensor, scale: Tensor, bias: Tensor | None = None
) -> tuple[Tensor | None, ...]:
    total = x + skip if bias is None else x + skip + bias
    inverse = (total.square().mean(-1, keepdim=True) + layer.get("epsilon", 1e-12)).rsqrt()
    return total * inverse * scale, None, inverse, total


@op("MeanVarianceNormalization")
def normalize_mean_and_variance(layer: Layer, x: Tensor) -> Tensor:
    axes = layer.get("axes", [0, 2, 3])
    if layer.opset < 9:
        axes = list(range(1 if layer["across_channels"] else 2, x.ndim))
    y = x - x.mean(axes, keepdim=True)
    if layer.get("normalize_variance", 1):
        y = y / (y.square().mean(axes, keepdim=True).sqrt() + 1e-9)
    return y


@op("LpNormalization")
def normalize_norm(layer: Layer, x: Tensor) -> Tensor:
    size = torch.linalg.vector_norm(x, layer.get("p", 2), layer.get("axis", -1), keepdim=True)
    return x / torch.where(size == 0, 1.0, size)


OPS |= {
    "ImageScaler": lambda layer, x: x * layer.get("scale", 1.0) + by_channel(x, torch.tensor(layer["bias"]).double()),
}


@op("Softmax", "LogSoftmax", "Hardmax")
def soften(layer: Layer, x: Tensor) -> Tensor:
    def f(x: Tensor, axis: int) -> Tensor:
        if layer.proto.op_type == "Hardmax":
            first = (x == x.amax(axis, keepdim=True)).to(torch.int8).argmax(axis, keepdim=True)
            return torch.zeros_like(x).scatter(axis, first, 1.0)
        return x.log_softmax(axis) if layer.proto.op_type == "LogSoftmax" else x.softmax(axis)

    if layer.opset >= 13:
        return f(x, layer.get("axis", -1))
    return f(x.flatten(layer.get("axis", 1) % x.ndim), -1).reshape(x.shape)  # all axes from `axis` on share one sum

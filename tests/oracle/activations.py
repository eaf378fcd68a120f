"""Activations: the rectifiers, which the methods tell apart, and the others, which are exact in all."""

import math
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

from oracle.layer import OPS, Layer, op, rectify

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875
ENDLESS = 1e30  # a bound beyond this is none: exporters write the largest float

OPS |= {
    "Relu": lambda layer, x: rectify(layer, x, functional.relu),
    "Softplus": lambda layer, x: rectify(layer, x, lambda x: torch.logaddexp(x, torch.zeros_like(x))),
    "Mish": lambda layer, x: rectify(layer, x, functional.mish),
    "Sigmoid": lambda layer, x: x.sigmoid(),
    "Tanh": lambda layer, x: x.tanh(),
    "Erf": lambda layer, x: x.erf(),
    "Softsign": lambda layer, x: x / (1 + x.abs()),
    "ScaledTanh": lambda layer, x: layer["alpha"] * (layer["beta"] * x).tanh(),
}


@op("LeakyRelu")
def leak(layer: Layer, x: Tensor) -> Tensor:
    f = partial(functional.leaky_relu, negative_slope=layer.get("alpha", 0.01))
    return rectify(layer, x, f, f)


@op("PRelu")
def leak_by_channel(layer: Layer, x: Tensor, slope: Tensor) -> Tensor:
    if layer.opset < 7 and slope.ndim == 1:
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))

    def f(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, slope * x)

    return rectify(layer, x, f, f)


@op("Elu")
def elu(layer: Layer, x: Tensor) -> Tensor:
    return rectify(layer, x, partial(functional.elu, alpha=layer.get("alpha", 1.0)))


@op("Selu")
def selu(layer: Layer, x: Tensor) -> Tensor:
    alpha, gamma = layer.get("alpha", SELU_ALPHA), layer.get("gamma", SELU_GAMMA)
    return rectify(
        layer, x, lambda x: gamma * functional.elu(x, alpha), lambda signal: gamma * functional.relu(signal), gamma
    )


@op("Celu")
def celu(layer: Layer, x: Tensor) -> Tensor:
    return rectify(layer, x, partial(functional.celu, alpha=layer.get("alpha", 1.0)))


@op("ThresholdedRelu")
def rectify_above(layer: Layer, x: Tensor) -> Tensor:
    return rectify(layer, x, partial(functional.threshold, threshold=layer.get("alpha", 1.0), value=0.0))


@op("HardSwish")
def hard_swish(layer: Layer, x: Tensor) -> Tensor:
    return rectify(layer, x, lambda x: x * (x / 6 + 0.5).clamp(0, 1))


@op("Gelu")
def gelu(layer: Layer, x: Tensor) -> Tensor:
    return rectify(layer, x, partial(functional.gelu, approximate=layer.get("approximate", "none")))


@op("Swish")
def swish(layer: Layer, x: Tensor) -> Tensor:
    return swish_by(layer, x, layer.get("alpha", 1.0))


@op("QuickGelu")
def quick_gelu(layer: Layer, x: Tensor) -> Tensor:
    return swish_by(layer, x, layer.get("alpha", 1.702))


def swish_by(layer: Layer, x: Tensor, alpha: float) -> Tensor:
    limits = {1: functional.relu, -1: lambda signal: -functional.relu(-signal), 0: lambda signal: signal / 2}
    return rectify(layer, x, lambda x: x * (alpha * x).sigmoid(), limits[(alpha > 0) - (alpha < 0)])


@op("Clip")
def clip(layer: Layer, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    least = layer.get("min", -math.inf) if low is None else low.item()
    most = layer.get("max", math.inf) if high is None else high.item()
    if least == 0 or (least > -ENDLESS and most > ENDLESS):  # Relu, or like it far from 0; also where Min follows
        return rectify(layer, x, lambda x: between(x, least, most))
    return between(x, least, most)


def between(x: Tensor, least: float, most: float) -> Tensor:
    """x within bounds; at a bound its slope is 0, as that of Relu at 0. What float32 takes for the bound lies on it."""
    inside = (x.float() > torch.tensor(least).float()) & (x.float() < torch.tensor(most).float())
    return torch.where(inside, x, x.detach().clamp(least, most))


@op("HardSigmoid")
def hard_sigmoid(layer: Layer, x: Tensor) -> Tensor:
    return (layer.get("alpha", 0.2) * x + layer.get("beta", 0.5)).clamp(0, 1)


@op("Shrink")
def shrink(layer: Layer, x: Tensor) -> Tensor:
    bias, edge = layer.get("bias", 0.0), layer.get("lambd", 0.5)
    return torch.where(x < -edge, x + bias, torch.where(x > edge, x - bias, torch.zeros_like(x)))


@op("BiasGelu", "FastGelu")
def gelu_of_sum(layer: Layer, x: Tensor, bias: Tensor | None = None) -> Tensor:
    approximate = "tanh" if layer.proto.op_type == "FastGelu" else "none"
    return rectify(layer, x if bias is None else x + bias, partial(functional.gelu, approximate=approximate))


FUSED_PARAMETERS = MappingProxyType(
    {"LeakyRelu": ("alpha",), "Elu": ("alpha",), "Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta")}
)


def activate(layer: Layer, x: Tensor) -> Tensor:
    """The activation that is fused into a layer, with its parameters as a list or one by one."""
    if not (name := layer["activation"]):
        return x
    names = FUSED_PARAMETERS.get(name, ())
    listed = layer["activation_params"] or [layer[f"activation_{key}"] for key in ("alpha", "beta", "gamma")]
    given = {key: value for key, value in zip(names, listed, strict=False) if value is not None}
    return layer.part(name, x, opset=10, **given)

"""The networks that are timed, each twice: as ONNX for zfviz, and in torch with the same weights for the others."""

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from zfviz.models.bundled import NETWORKS, bundled
from zfviz.models.networks import Conv, Dense, Flatten, Norm, Pool, Relu, Softmax

sys.path.append(str(Path(__file__).parents[1] / "converters"))
import from_torch


@dataclass(frozen=True)
class Pair:
    """One network for both sides; `layers` low, middle and last are called the same in both."""

    proto: ModelProto
    net: nn.Module
    layers: tuple[str, str, str]

    def passed_over(self, whether: bool) -> None:
        """Whether contrast normalisation passes a signal as it is, as the deconvnet has it; others take its slope."""
        for module in self.net.modules():
            if isinstance(module, ContrastNorm):
                module.passed_over = whether


class _PassedOver(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, y: Tensor) -> Tensor:
        del ctx, x
        return y

    @staticmethod
    def backward(ctx: object, *signals: Tensor) -> tuple[Tensor, None]:
        del ctx
        return signals[0], None


class ContrastNorm(nn.Module):
    """`Norm` of zfviz.models, which torch has, but for the deconvnet's way back."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self.norm, self.passed_over = norm, False

    def forward(self, x: Tensor) -> Tensor:
        """Of [N, C, H, W]."""
        y = functional.local_response_norm(x, self.norm.size, self.norm.alpha, self.norm.beta, self.norm.bias)
        return _PassedOver.apply(x, y.detach()) if self.passed_over else y


def _twin(name: str) -> nn.Module:
    """A bundled network in torch, with the weights that ship."""
    weights = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in bundled(name).graph.initializer}
    width, classes = (len(weights[f"{layer}/bias"]) for layer in ("fc6", "fc8"))
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in NETWORKS[name](width, classes):
        match layer:
            case Conv(pads=(above, left, below, right)):
                inputs = weights[f"{layer.name}/weight"].shape[1] * layer.groups
                even = above == left == below == right
                if not even:
                    modules[f"{layer.name}_pad"] = nn.ZeroPad2d((left, right, above, below))
                sizes = {"stride": layer.stride, "padding": above if even else 0, "groups": layer.groups}
                modules[layer.name] = nn.Conv2d(inputs, layer.maps, layer.kernel, **sizes)
            case Dense():
                modules[layer.name] = nn.Linear(weights[f"{layer.name}/weight"].shape[1], layer.units)
            case Relu():
                modules[layer.name] = nn.ReLU()
            case Norm():
                modules[layer.name] = ContrastNorm(layer)
            case Pool():
                modules[layer.name] = nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=True)
            case Flatten():
                modules[layer.name] = nn.Flatten()
            case Softmax():
                modules[layer.name] = nn.Softmax(1)
        if isinstance(layer, Conv | Dense):
            modules[layer.name].load_state_dict({k: weights[f"{layer.name}/{k}"] for k in ("weight", "bias")})
    return nn.Sequential(modules).eval()


def plain(net: nn.Module) -> nn.Module:
    """A twin of torch's own modules only, which a script loads without ours."""
    return nn.Sequential(
        OrderedDict(
            (name, nn.LocalResponseNorm(m.norm.size, m.norm.alpha, m.norm.beta, m.norm.bias))
            if isinstance(m, ContrastNorm)
            else (name, m)
            for name, m in net.named_children()
        )
    ).eval()


def _bundled(name: str) -> Pair:
    return Pair(bundled(name), _twin(name), ("conv1", "conv3", "conv5"))


def _torchvision(name: str, layers: tuple[str, str, str]) -> Pair:
    """A published architecture with seeded weights: how long it takes does not depend on them."""
    source = f"torchvision.models:{name}"
    torch.manual_seed(2013)
    net = from_torch.make_module(source, {}).eval()
    torch.manual_seed(2013)
    return Pair(from_torch.convert(source), net, layers)


PAIRS: dict[str, Callable[[], Pair]] = {
    **{name: (lambda name=name: _bundled(name)) for name in NETWORKS},
    "vgg16": lambda: _torchvision("vgg16", ("features.2", "features.14", "features.28")),
    "resnet50": lambda: _torchvision("resnet50", ("conv1", "layer2.3.conv3", "layer4.2.conv3")),
}

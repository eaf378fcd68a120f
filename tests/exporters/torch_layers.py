"""Small networks written by hand, of layers that no zoo holds."""

import math
from collections.abc import Sequence

import torch
from exporters.torch_blocks import CLASSES, Then, conv, head
from torch import Tensor, nn
from torch.nn import functional


class Activated(nn.Module):
    """Activations side by side, each after a convolution of its own."""

    def __init__(self, *activations: nn.Module) -> None:
        super().__init__()
        self.first = conv(3, 16, stride=2)
        widths = (32 if isinstance(activation, nn.GLU) else 16 for activation in activations)
        pairs = zip(widths, activations, strict=True)
        self.branches = nn.ModuleList(nn.Sequential(nn.Conv2d(16, a, 3, padding=1), act) for a, act in pairs)
        self.last = nn.Sequential(conv(16 * len(activations), 16, stride=2), head(16))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.cat([branch(x) for branch in self.branches], 1))


def smooth() -> nn.Module:
    tanh = nn.GELU(approximate="tanh")
    return Activated(nn.GELU(), tanh, nn.SiLU(), nn.Mish(), nn.GLU(1), nn.Softsign(), nn.Tanhshrink())


def piecewise() -> nn.Module:
    leaky = nn.LeakyReLU(0.1), nn.PReLU(), nn.PReLU(16)
    clipped = nn.ReLU6(), nn.Hardtanh(-0.5, 2.0), nn.Hardswish(), nn.Hardsigmoid()
    return Activated(*leaky, *clipped, nn.Softshrink(0.3), nn.Hardshrink(0.3))


def exponential() -> nn.Module:
    soft = nn.Softplus(), nn.Softplus(beta=2.0), nn.LogSigmoid(), nn.Softmax2d(), nn.LogSoftmax(1)
    return Activated(nn.ELU(), nn.ELU(0.5), nn.SELU(), nn.CELU(0.7), *soft)


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of [N, C, H, W], spelled out as ConvNeXt does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return self.weight[:, None, None] * (x - mean) / torch.sqrt(variance + 1e-6) + self.bias[:, None, None]


class Last(nn.Module):
    """A layer that wants the channels last, among layers that have them second."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResponseNorm(nn.Module):
    """ConvNeXt V2's: channels compete by their norm over the whole map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        size = x.norm(p=2, dim=(2, 3), keepdim=True)
        size = size / (size.mean(1, keepdim=True) + 1e-6)
        return x + self.bias[:, None, None] + self.weight[:, None, None] * (x * size)


def normed(*norms: nn.Module) -> nn.Module:
    """A convolution before every norm of 16 channels."""
    body: list[nn.Module] = [nn.Conv2d(3, 16, 5, 2, 2)]
    for norm in norms:
        body += [norm, nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
    return nn.Sequential(*body, head(16))


def norms() -> nn.Module:
    instance = nn.InstanceNorm2d(16), nn.InstanceNorm2d(16, affine=True)
    group = nn.GroupNorm(4, 16), nn.GroupNorm(1, 16), nn.LayerNorm([16, 32, 40])
    lengths = Then(lambda x: functional.normalize(x, dim=1)), ChannelNorm(16), ResponseNorm(16)
    return normed(nn.BatchNorm2d(16), *instance, *group, *lengths, nn.LocalResponseNorm(5, 1e-2))


def norms_last(*norms: nn.Module) -> nn.Module:
    return normed(*map(Last, (nn.LayerNorm(16), nn.LayerNorm(16, bias=False), *norms)))


def reparametrised(name: str) -> nn.Module:
    """Weights computed from other parameters: on export the computation is part of the graph, or folded."""
    wrap = getattr(nn.utils.parametrizations, name)
    layers = wrap(nn.Conv2d(3, 16, 3, 2, 1)), nn.ReLU(), wrap(nn.Conv2d(16, 16, 3, padding=1)), nn.ReLU()
    return nn.Sequential(*layers, head(16))


class Pools(nn.Module):
    """Every pool: their maps of one size are put side by side."""

    def __init__(self, regions: Sequence[int] = (4, 5)) -> None:
        super().__init__()
        self.first = conv(3, 8)
        self.pools = nn.ModuleList(
            [
                nn.MaxPool2d(3, 2, 1),
                nn.MaxPool2d(2, 2, ceil_mode=True),
                nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(3, 1, 1)),
                nn.AvgPool2d(3, 2, 1, count_include_pad=False),
                nn.AvgPool2d(2, ceil_mode=True),
                nn.LPPool2d(2, 2),
                nn.MaxPool2d(2, 2, 1, dilation=2),
                Then(lambda x: functional.avg_pool2d(x.clamp(min=1e-3) ** 3, 2) ** (1 / 3)),
            ]
        )
        self.second = conv(8 * len(self.pools), 16)
        self.regions = nn.AdaptiveAvgPool2d(regions)
        self.last = nn.Linear(16 * math.prod(regions) + 48, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.second(torch.cat([pool(x) for pool in self.pools], 1))
        deviation, mean = torch.std_mean(x, dim=(2, 3))
        tallest = functional.adaptive_max_pool2d(x, 1).flatten(1)
        return self.last(torch.cat([self.regions(x).flatten(1), deviation, mean, tallest], 1))


class NonLocal(nn.Module):
    """Attention of every place to every other, spelled with einsum, bmm or torch's own function."""

    def __init__(self, spelling: str, width: int = 16) -> None:
        super().__init__()
        self.spelling, self.width = spelling, width
        self.project, self.last = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x).chunk(3, 1)
        if self.spelling == "einsum":
            weights = torch.einsum("nchw,ncyx->nhwyx", query, key).flatten(3) / math.sqrt(self.width)
            mixed = torch.einsum("nhwk,nck->nchw", weights.softmax(-1), value.flatten(2))
        else:
            query, key, value = (part.flatten(2).transpose(1, 2) for part in (query, key, value))
            if self.spelling == "bmm":
                mixed = torch.bmm((torch.bmm(query, key.transpose(1, 2)) * self.width**-0.5).softmax(2), value)
            else:
                heads = (part.unflatten(2, (4, -1)).transpose(1, 2) for part in (query, key, value))
                mixed = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
            mixed = mixed.transpose(1, 2).view_as(x)
        return x + self.last(mixed)


class Gates(nn.Module):
    """CBAM and ECA: channels weighed by their pools, then places by their channels, then neighbours among channels."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Conv2d(4, width, 1))
        self.place = nn.Conv2d(2, 1, 7, padding=3)
        self.neighbours = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x * (self.squeeze(x.mean((2, 3), True)) + self.squeeze(x.amax((2, 3), keepdim=True))).sigmoid()
        x = x * self.place(torch.cat([x.mean(1, True), x.max(1, keepdim=True).values], 1)).sigmoid()
        gate = self.neighbours(functional.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(1, 2)).transpose(1, 2)
        return x * gate.sigmoid().unsqueeze(-1)


def attended(*blocks: nn.Module) -> nn.Module:
    return nn.Sequential(conv(3, 16, 3, 4), *blocks, conv(16, 16, 3, 2), head(16))


class Shapes(nn.Module):
    """What moves places and channels about and computes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = conv(12, 16), conv(32, 16), conv(16, 16)
        self.register_buffer("order", torch.randperm(16))
        self.register_buffer("kept", torch.rand(1, 16, 1, 1) < 0.7)
        self.last = head(32)

    def forward(self, image: Tensor) -> Tensor:
        x = self.first(functional.pixel_unshuffle(image, 2))
        left, right = x[:, :8, :, 1:], x.index_select(1, self.order)[:, -8:, :, :-1]
        x = torch.cat([x.flip(3), torch.roll(x, (2, -3), (2, 3))], 1)
        x = self.second(x).unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2) + x[:, 16:]
        edges = torch.stack([left, right], 2).flatten(1, 2)
        x = torch.where(self.kept, x, torch.zeros_like(x)).masked_fill(x > 3, 1.0)
        x = functional.pad(x, (-2, 1, 1, -1))[..., ::2].repeat_interleave(2, 3)
        rows = x.unbind(2)
        x = self.third(torch.stack(rows[::-1], 2))[:, :, :-1, : edges.shape[3]]
        return self.last(torch.cat([x, edges[:, :, : x.shape[2], : x.shape[3]].expand_as(x)], 1))


class Patches(nn.Module):
    """Windows taken out, mixed one by one and added up where they overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix, self.last = conv(3, 8, stride=2), nn.Linear(8 * 16, 8 * 16), head(8)

    def forward(self, x: Tensor) -> Tensor:
        windows = functional.unfold(self.first(x), 4, stride=2, padding=1)
        windows = functional.relu(self.mix(windows.transpose(1, 2))).transpose(1, 2)
        return self.last(functional.fold(windows, (32, 40), 4, stride=2, padding=1))


class Arithmetic(nn.Module):
    """Elementwise functions and reductions that few networks hold."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv(a, 12, stride=2 if a == 3 else 1, act=nn.Identity) for a in (3, 12, 12, 12))
        self.last = nn.Linear(12 * 6, CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        first, second, third, fourth = self.layers
        x = first(image)
        x = second(torch.exp(-x.abs()) + torch.log1p(x.square()) - torch.maximum(x, x.mean(1, True)))
        x = third(x.sin() * x.cos() + torch.sqrt(x * x + 1) - torch.rsqrt(x.pow(2) + 0.5) + torch.erf(x).neg())
        x = fourth(torch.minimum(x, 2 - x) + x.clamp(-1, 1) ** 3 + x.sign() * x.atan() + x / (1 + x.abs()) + x.fmod(4))
        x = torch.where(x > 0, x, x.exp() - 1) + torch.lerp(x, x.round() - x.floor(), 0.1)
        moments = [x.amax((2, 3)), x.amin((2, 3)), x.sum((2, 3)) / 100, x.logsumexp((2, 3)), x.norm(1, (2, 3)) / 100]
        return self.last(torch.cat([*moments, x.flatten(2).topk(9).values.mean(2)], 1))


class Deformable(nn.Module):
    """A convolution whose taps go where another one sends them."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.ops import DeformConv2d

        self.first, self.offsets = conv(3, 12, stride=2), nn.Conv2d(12, 18, 3, padding=1)
        self.deform, self.last = DeformConv2d(12, 16, 3, padding=1), head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(functional.relu(self.deform(x, self.offsets(x))))


class Spectral(nn.Module):
    """Channels mixed in the frequency domain."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix, self.last = conv(3, 8, stride=2), conv(16, 16, 1), head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        waves = torch.view_as_real(torch.fft.rfft2(x, norm="ortho"))
        mixed = self.mix(waves.permute(0, 1, 4, 2, 3).flatten(1, 2)).unflatten(1, (8, 2)).permute(0, 1, 3, 4, 2)
        back = torch.fft.irfft2(torch.view_as_complex(mixed.contiguous()), s=x.shape[2:], norm="ortho")
        return self.last(x + back)

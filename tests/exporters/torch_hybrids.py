"""Small networks written by hand: of layers that no zoo holds, and of shapes that zoos hold only at full size."""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 5

Activation = Callable[[], nn.Module]


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, act: Activation = nn.ReLU) -> nn.Module:
    """The block that most of these networks are made of."""
    layers = (nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), act())
    return nn.Sequential(*layers)


def head(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(channels, CLASSES))


class Then(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    def __init__(self, *layers: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) * self.scale


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


class Preprocessed(nn.Module):
    """The network takes images from -1 to 1, in BGR: it crops, resizes and normalises them itself."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        image = functional.interpolate(image[:, [2, 1, 0], 4:-4, 4:-4], (48, 48), mode="bilinear")
        return self.net(((image + 1) / 2 - self.mean) / self.deviation).softmax(-1)


class Half(nn.Module):
    """float16 inside, float32 outside."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.half()

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image.half()).float()


class Rounded(nn.Module):
    """As trained for integers: weights and activations pass through eight bits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 16), (16, 16)))
        self.last = head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.fake_quantize_per_tensor_affine(x, 0.04, 0, -128, 127)
        for layer in self.layers:
            scales = layer.weight.detach().abs().amax((1, 2, 3)) / 127
            zeros = torch.zeros(len(scales), dtype=torch.int32)
            weight = torch.fake_quantize_per_channel_affine(layer.weight, scales, zeros, 0, -128, 127)
            x = functional.relu(functional.conv2d(x, weight, layer.bias, layer.stride, layer.padding))
            x = torch.fake_quantize_per_tensor_affine(x, 0.04, 0, 0, 255)
        return self.last(x)


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


def espcn(enlarge: int = 3) -> nn.Module:
    """Super-resolution as in torch's tutorial on ONNX."""
    layers = [nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(32, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 3 * enlarge**2, 3, padding=1), nn.PixelShuffle(enlarge))


class Edsr(nn.Module):
    """Residual blocks, a long skip, and the bicubically enlarged image added at the end."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        blocks = (
            Residual(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), scale=0.1)
            for _ in range(3)
        )
        self.body = Residual(*blocks, nn.Conv2d(width, width, 3, padding=1))
        self.last = nn.Sequential(nn.Conv2d(width, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, image: Tensor) -> Tensor:
        enlarged = functional.interpolate(image, scale_factor=2, mode="bicubic", align_corners=False)
        return self.last(self.body(self.first(image))) + enlarged


class UNet(nn.Module):
    """`enlarge` names how maps grow: transposed, nearest, bilinear, aligned (bilinear, corners on corners), to size."""

    def __init__(self, enlarge: str, widths: Sequence[int] = (12, 16, 24, 32), deep: bool = False) -> None:
        super().__init__()
        pairs = [(3, widths[0]), *itertools.pairwise(widths)]
        self.down = nn.ModuleList(nn.Sequential(conv(a, b), conv(b, b)) for a, b in pairs)
        self.enlarge, self.deep = enlarge, deep
        self.grow = nn.ModuleList(self._grow(b, a) for a, b in reversed(pairs[1:]))
        self.up = nn.ModuleList(conv(2 * a, a) for a, _ in reversed(pairs[1:]))
        self.heads = nn.ModuleList(nn.Conv2d(a, 2, 1) for a, _ in reversed(pairs[1:]))

    def _grow(self, inputs: int, outputs: int) -> nn.Module:
        if self.enlarge == "transposed":
            return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        mode = "nearest" if self.enlarge == "nearest" else "bilinear"
        resize = nn.Identity() if self.enlarge == "to size" else nn.Upsample(scale_factor=2, mode=mode)
        if self.enlarge == "aligned":
            resize.align_corners = True
        return nn.Sequential(resize, nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        skips = []
        for block in self.down:
            x = block(x if not skips else functional.max_pool2d(x, 2))
            skips.append(x)
        maps = []
        for grow, up, last, skip in zip(self.grow, self.up, self.heads, reversed(skips[:-1]), strict=True):
            x = grow(x)
            if self.enlarge == "to size":
                x = functional.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = up(torch.cat([skip, x], 1))
            maps.append(last(x))
        return tuple(maps) if self.deep else torch.sigmoid(maps[-1])


class Bottlenecks(nn.Module):
    """YOLO's C2f: part of the channels passes by, and each block's output is kept."""

    def __init__(self, inputs: int, outputs: int, blocks: int = 1) -> None:
        super().__init__()
        half = outputs // 2
        self.first = conv(inputs, outputs, 1, act=nn.SiLU)
        self.blocks = nn.ModuleList(Residual(conv(half, half, act=nn.SiLU)) for _ in range(blocks))
        self.last = conv(half * (2 + blocks), outputs, 1, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Yolo(nn.Module):
    """Backbone, pyramid and head of a detector: anchors on a grid (v5), or distances as distributions (v8)."""

    bins = 8

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = version
        self.focus = conv(12, 16, act=nn.SiLU)
        self.shallow = nn.Sequential(conv(16, 24, 3, 2, nn.SiLU), Bottlenecks(24, 24))
        self.deep = nn.Sequential(conv(24, 32, 3, 2, nn.SiLU), Bottlenecks(32, 32))
        self.squeeze, self.spread = conv(32, 16, 1, act=nn.SiLU), conv(64, 32, 1, act=nn.SiLU)
        self.merge = Bottlenecks(56, 24)
        outputs = 3 * (5 + CLASSES) if version == 5 else 4 * self.bins + CLASSES
        self.heads = nn.ModuleList(nn.Conv2d(width, outputs, 1) for width in (24, 32))
        self.register_buffer("anchors", torch.tensor([[[9.0, 7], [12, 20], [30, 16]], [[28, 40], [56, 44], [48, 90]]]))

    def pool(self, x: Tensor) -> Tensor:
        """SPPF: one pool, applied three times."""
        maps = [self.squeeze(x)]
        for _ in range(3):
            maps.append(functional.max_pool2d(maps[-1], 5, 1, 2))
        return self.spread(torch.cat(maps, 1))

    def grid(self, height: int, width: int) -> Tensor:
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        return torch.stack((x, y), -1).float()

    def forward(self, image: Tensor) -> Tensor:
        corners = [image[..., y::2, x::2] for y in (0, 1) for x in (0, 1)]
        shallow = self.shallow(self.focus(torch.cat(corners, 1)))
        deep = self.pool(self.deep(shallow))
        shallow = self.merge(torch.cat([functional.interpolate(deep, scale_factor=2.0), shallow], 1))
        boxes = []
        for place, (layer, features, stride) in enumerate(zip(self.heads, (shallow, deep), (4, 8), strict=True)):
            decode = self.anchored if self.version == 5 else self.distributed
            boxes.append(decode(layer(features), stride, self.anchors[place]))
        return torch.cat(boxes, 1)

    def anchored(self, x: Tensor, stride: int, anchors: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        x = x.view(batch, 3, 5 + CLASSES, height, width).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
        centre, size, scores = x.split((2, 2, 1 + CLASSES), -1)
        centre = (centre * 2 - 0.5 + self.grid(height, width)) * stride
        size = (size * 2) ** 2 * anchors.view(1, 3, 1, 1, 2)
        return torch.cat((centre, size, scores), -1).view(batch, -1, 5 + CLASSES)

    def distributed(self, x: Tensor, stride: int, _: Tensor) -> Tensor:
        centre = (self.grid(*x.shape[2:]) + 0.5).flatten(0, 1).T
        box, scores = x.flatten(2).split((4 * self.bins, CLASSES), 1)
        shares = box.view(len(x), 4, self.bins, -1).transpose(1, 2).softmax(1)
        near, far = (shares * torch.arange(self.bins).view(1, -1, 1, 1)).sum(1).chunk(2, 1)
        low, high = centre - near, centre + far
        return torch.cat((torch.cat(((low + high) / 2, high - low), 1) * stride, scores.sigmoid()), 1).transpose(1, 2)


def generator(norm: Callable[[int], nn.Module] = nn.InstanceNorm2d) -> nn.Module:
    """CycleGAN's: mirrored borders, norms of each image alone, a transposed convolution with output padding."""
    residual = Residual(
        *(nn.ReflectionPad2d(1), nn.Conv2d(24, 24, 3), norm(24), nn.PReLU()),
        *(nn.ReplicationPad2d(1), nn.Conv2d(24, 24, 3), norm(24)),
    )
    return nn.Sequential(
        *(nn.ReflectionPad2d(3), nn.Conv2d(3, 12, 7), norm(12), nn.PReLU(12)),
        *(nn.Conv2d(12, 24, 3, 2, 1, padding_mode="reflect"), norm(24), nn.LeakyReLU(0.2), residual),
        *(nn.ConvTranspose2d(24, 12, 3, 2, 1, output_padding=1), norm(12), nn.ReLU()),
        *(nn.ZeroPad2d((3, 2, 3, 4)), nn.Conv2d(12, 3, (8, 6)), nn.Tanh()),
    )


class SegNet(nn.Module):
    """Unpools to where the maxima were."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = conv(3, 12), conv(12, 24)
        self.up, self.last = conv(24, 12), nn.Conv2d(12, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x, first = functional.max_pool2d(self.down(x), 2, return_indices=True)
        x, second = functional.max_pool2d(self.deep(x), 2, return_indices=True)
        x = self.up(functional.max_unpool2d(x, second, 2))
        return self.last(functional.max_unpool2d(x, first, 2))


class SpatialTransformer(nn.Module):
    """The image itself decides where it is sampled."""

    def __init__(self, affine: bool = True) -> None:
        super().__init__()
        self.affine = affine
        self.where = nn.Sequential(conv(3, 8, 5, 4), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 6))
        self.net = nn.Sequential(conv(3, 16, 3, 2), conv(16, 16, 3, 2), head(16))
        self.register_buffer("rows", torch.linspace(-1, 1, 48))
        self.register_buffer("columns", torch.linspace(-1, 1, 40))

    def forward(self, image: Tensor) -> Tensor:
        moves = self.where(image).view(-1, 2, 3) * 0.1 + torch.eye(2, 3)
        if self.affine:
            grid = functional.affine_grid(moves, [image.shape[0], 3, 48, 40], align_corners=False)
        else:
            y, x = torch.meshgrid(self.rows, self.columns, indexing="ij")
            points = torch.stack([x, y, torch.ones_like(x)], -1)
            grid = torch.einsum("nij,hwj->nhwi", moves, points)
        return self.net(functional.grid_sample(image, grid, padding_mode="border", align_corners=False))


class Recurrent(nn.Module):
    """Text recognition: the columns of a feature map are read one after another, both ways."""

    def __init__(self, cell: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 12), nn.MaxPool2d(2), conv(12, 16), nn.MaxPool2d((2, 1)), conv(16, 16))
        self.read = cell(16, 12, bidirectional=True)
        self.last = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.features(x).mean(2).permute(2, 0, 1)
        return self.last(self.read(columns)[0]).log_softmax(-1)


class Film(nn.Module):
    """A vector scales and shifts every channel."""

    def __init__(self, length: int = 7) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 2, 1)
        self.film, self.last = nn.Linear(length, 32), head(16)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[..., None, None].chunk(2, 1)
        return self.last(functional.relu(self.second(functional.relu(self.first(image) * (1 + scale) + shift))))


class Projected(nn.Module):
    """A discriminator that is told the class: an embedding, looked up by index, meets the features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*(conv(a, b, 3, 2, lambda: nn.LeakyReLU(0.1)) for a, b in ((3, 16), (16, 32))))
        self.embedding, self.last = nn.Embedding(10, 32), nn.Linear(32, 1)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        features = self.features(image).sum((2, 3))
        return self.last(features) + (features * self.embedding(label)).sum(1, keepdim=True)


class Autoencoder(nn.Module):
    """Logits, the image again, and the code between."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(conv(3, 12, 4, 2), conv(12, 16, 4, 2))
        self.decode = nn.Sequential(nn.ConvTranspose2d(16, 12, 4, 2, 1), nn.ELU(), nn.ConvTranspose2d(12, 3, 4, 2, 1))
        self.last = head(16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        code = self.encode(x)
        return self.last(code).softmax(1), self.decode(code), code


class Boxes(nn.Module):
    """A detector of torchvision, which takes a list of images, given one image."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = self.detector(list(images))[0]
        return found["boxes"], found["scores"], found["labels"]


class RawBoxes(nn.Module):
    """What the heads of a detector say, before boxes are decoded and sifted."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.head(list(self.backbone(images).values())).values())

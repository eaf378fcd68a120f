"""Small networks written by hand that make a picture or a mask of a picture."""

import itertools
from collections.abc import Callable, Sequence

import torch
from exporters.torch_blocks import Residual, conv, head
from torch import Tensor, nn
from torch.nn import functional


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

"""YOLO written by hand, and torchvision's detectors in a form that exports."""

import torch
from exporters.torch_blocks import CLASSES, Residual, conv
from torch import Tensor, nn
from torch.nn import functional


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

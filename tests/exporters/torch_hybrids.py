"""Small networks written by hand that join convolutions with something else, or wrap another network."""

import torch
from exporters.torch_blocks import CLASSES, conv, head
from torch import Tensor, nn
from torch.nn import functional


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

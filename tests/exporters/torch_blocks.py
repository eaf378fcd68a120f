"""What networks written by hand are made of: a convolution with its norm, a head, a function, a residual."""

from collections.abc import Callable

from torch import Tensor, nn

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

"""Small networks of torch, and what is none: also a package for the command to import."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv2(self.relu(self.bn1(self.conv1(x)))) + x)


class Toy(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 8, 5, stride=2, bias=False), nn.MaxPool2d(2)
        self.layer1 = nn.Sequential(Block(), Block())
        self.gate = nn.Hardswish()
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        x = functional.relu(self.stem(x))
        x = self.gate(self.layer1(self.pool(x)))
        return self.fc(x.mean((2, 3)))


class Clash(nn.Module):
    """Functions and later calls that would take the names of modules and weights."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.relu_1, self.image = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.ReLU(), nn.Conv2d(3, 3, 1)
        self.sub = nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        x = functional.relu(self.conv(x))
        x = self.image(self.relu(self.relu(x) - self.sub))
        return {"first": self.relu_1(x - self.sub), "second": functional.relu(x)}


class Svd(nn.Module):
    def forward(self, x):
        return torch.linalg.svd(x)[1]


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class OneBatch(nn.Module):
    def forward(self, x):
        return x.reshape(2, -1)


class Nothing(nn.Module):
    def forward(self, x):
        return ()


class Scaled(nn.Module):
    def forward(self, x, factor):
        return x * factor


class Away(Toy):
    """Its weights are elsewhere until they are brought to the CPU."""

    def __init__(self):
        super().__init__()
        self.to("meta")

    def cpu(self):
        self.to_empty(device="cpu")
        self.load_state_dict(make_toy().state_dict())
        return self


class Grid(nn.Module):
    """Makes numbers on the device where its images are."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x):
        return self.conv(x) + torch.arange(8, device=x.device)[:, None, None]


class Bytes(Toy):
    """Takes pixels of 8 bits, or other whole numbers; for zeros, `matrix` does not matter."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(3))

    def forward(self, x):
        return super().forward(torch.einsum("nchw,dc->ndhw", x.float() / 255, self.matrix))


def weightless():
    return Toy().to("meta")


def text():
    return "no module"


def broken():
    raise OSError("the disk is gone")


number = 3


def make_toy() -> Toy:
    """The same toy each time, with statistics that make its norms work."""
    torch.manual_seed(0)
    toy = Toy().eval()
    for block in toy.layer1:
        nn.init.uniform_(block.bn1.running_mean, -1, 1)
        nn.init.uniform_(block.bn1.running_var, 0.5, 2)
    return toy

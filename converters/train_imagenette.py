# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy", "torch>=2.6", "torchvision>=0.21", "zfviz"]
#
# [tool.uv.sources]
# zfviz = { path = "..", editable = true }
# ///
"""Trains the AlexNet and the ZFNet that zfviz bundles, on the ten ImageNet classes of Imagenette, on a CPU.

    python converters/train_imagenette.py zfnet --out runs/zfnet
    python converters/train_imagenette.py alexnet --out runs/alexnet --data imagenette2-320.tgz

Both networks have one recipe, in the spirit of section 3 of Zeiler & Fergus 2013: stochastic gradient descent with
momentum 0.9, weights that start at 1e-2 (those of layer 1 at 1e-3), filters of convolutions kept within the paper's
radius while they learn, dropout 0.5 on layers 6 and 7, crops and flips. What a CPU asks for is newer: batch
normalisation, which is folded into the weights that are written, pictures that grow during the run, Nesterov's
momentum, weight decay, a rate that falls along a cosine, label smoothing, random colours and distortions, an average
of the weights.

A run that was stopped goes on after its last epoch when the same command is given again. `--out` receives curve.csv,
a row an epoch; epoch-N.onnx, snapshots; weights.npz, what ships, in half precision; and state.pt, to go on from.
"""

import argparse
import csv
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from imagenette import ADDRESS, fetch, read_jpegs
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import v2

from zfviz.images.preprocessing import METADATA_KEY, Preprocessing
from zfviz.models import networks
from zfviz.models.networks import SIDE, Conv, Dense, Flatten, Layer, Norm, Pool, Relu, Softmax, build, weight_shapes

CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
MEAN = (119.0, 117.0, 109.5)  # of the training pictures, RGB, 0 to 255
PREPROCESSING = Preprocessing(crop=1.0, scale=1.0, mean=MEAN, size=(SIDE, SIDE))
RADIUS = 1e-1  # of the root mean square of a filter (paper, section 3)
SNAPSHOTS = (1, 2, 5, 10, 20, 30, 40, 64)  # the epochs of the paper's figure 4
# a batch-normalised map has unit variance; where the papers' contrast normalisation bends, maps of pictures minus
# their mean have about this many times that
CONTRAST = 64.0


@dataclass(frozen=True)
class Recipe:
    """What is chosen; the rest follows from it."""

    # (epochs, side of the pictures in pixels, pictures a batch), one after the other
    stages: tuple[tuple[int, int, int], ...] = ((26, 112, 64), (8, 160, 64), (6, 224, 64))
    rate: float = 0.015
    momentum: float = 0.9
    decay: float = 5e-4
    smoothing: float = 0.1
    dropout: float = 0.5
    width: int = 512
    smallest_crop: float = 0.35
    average: float = 0.998
    seed: int = 2013

    @property
    def epochs(self) -> int:
        """How many, in all stages."""
        return sum(epochs for epochs, _, _ in self.stages)

    def stage(self, epoch: int) -> tuple[int, int]:
        """Side and batch in epoch 0, 1 ..."""
        for epochs, side, batch in self.stages:
            if epoch < epochs:
                return side, batch
            epoch -= epochs
        raise ValueError(f"the recipe has {self.epochs} epochs")


class ContrastNorm(nn.Module):
    """`Norm` in maps of unit variance. A 1 x 1 convolution adds the neighbours, which is faster than torch's own."""

    def __init__(self, layer: Norm, maps: int) -> None:
        super().__init__()
        near = (torch.arange(maps)[:, None] - torch.arange(maps)[None]).abs() <= layer.size // 2
        share = layer.alpha * CONTRAST**2 / layer.size
        self.register_buffer("window", (near * share)[:, :, None, None].float(), persistent=False)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """Of [N, C, H, W]."""
        divisor = functional.conv2d(x * x, self.window) + self.bias
        return x * torch.rsqrt(divisor * torch.sqrt(divisor))  # to the power of -0.75, four times as fast as `pow`


class ToSix(nn.Module):
    """Maps of smaller pictures are stretched to the 6 x 6 that layer 6 sees at full size."""

    def forward(self, x: Tensor) -> Tensor:
        """From [N, C, H, W] to [N, 36 C]."""
        return functional.adaptive_avg_pool2d(x, 6).flatten(1)


def trainable(layers: Sequence[Layer], recipe: Recipe) -> nn.Sequential:
    """The network of `zfviz.models`, with batch normalisation after every weight but the last, and with dropout."""
    net = nn.Sequential()
    shapes = weight_shapes(layers)
    scores = next(layer.name for layer in reversed(layers) if isinstance(layer, Dense))
    maps = 3
    for layer in layers:
        match layer:
            case Conv(name=name, pads=(above, left, below, right)):
                net.append(nn.ZeroPad2d((left, right, above, below)))
                inputs, maps = shapes[f"{name}/weight"][1] * layer.groups, layer.maps
                sizes = {"stride": layer.stride, "groups": layer.groups, "bias": False}
                net.add_module(name, nn.Conv2d(inputs, maps, layer.kernel, **sizes))
                net.add_module(f"{name}_batch", nn.BatchNorm2d(maps))
            case Dense(name=name):
                net.add_module(name, nn.Linear(shapes[f"{name}/weight"][1], layer.units, bias=name == scores))
                if name != scores:
                    net.add_module(f"{name}_batch", nn.BatchNorm1d(layer.units))
            case Flatten(name=name):
                net.add_module(name, ToSix())
            case Relu(name=name):
                net.add_module(name, nn.ReLU())
                if name in ("relu6", "relu7"):
                    net.append(nn.Dropout(recipe.dropout))
            case Pool(name=name):
                net.add_module(name, nn.MaxPool2d(layer.kernel, layer.stride, ceil_mode=True))
            case Norm(name=name):
                net.add_module(name, ContrastNorm(layer, maps))
            case Softmax():
                pass
    _start(net)
    return net.to(memory_format=torch.channels_last)


def _start(net: nn.Sequential) -> None:
    for name, module in net.named_children():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # batch normalisation frees the filters from their size; from small ones nothing of the start is left to see
            nn.init.normal_(module.weight, std=1e-3 if name == "conv1" else 1e-2)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def folded(net: nn.Sequential, layers: Sequence[Layer]) -> dict[str, np.ndarray]:
    """The weights without batch normalisation, at the scale at which the papers' contrast normalisation is meant."""
    modules = dict(net.named_children())
    weights: dict[str, np.ndarray] = {}
    before = 1.0
    for place, layer in enumerate(layers):
        if not isinstance(layer, Conv | Dense):
            continue
        until = next((n for n, rest in enumerate(layers[place + 1 :], place + 1) if isinstance(rest, Conv | Dense)), 0)
        after = CONTRAST if any(isinstance(rest, Norm) for rest in layers[place:until]) else 1.0
        module = modules[layer.name]
        weight = module.weight.detach().double()
        if f"{layer.name}_batch" in modules:
            batch = modules[f"{layer.name}_batch"]
            gain = batch.weight.detach().double() / (batch.running_var.double() + batch.eps).sqrt()
            bias = batch.bias.detach().double() - batch.running_mean.double() * gain
            weight = weight * gain.reshape(-1, *[1] * (weight.dim() - 1))
        else:
            bias = module.bias.detach().double()
        weights[f"{layer.name}/weight"] = (weight * (after / before)).float().contiguous().numpy()
        weights[f"{layer.name}/bias"] = (bias * after).float().numpy()
        before = after
    return weights


class Pictures(Dataset[tuple[Tensor, int]]):
    """Decoded pictures, 8-bit RGB, as a run wants them."""

    def __init__(self, pictures: Sequence[tuple[Tensor, int]], change: v2.Transform) -> None:
        self.pictures, self.change = pictures, change

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        picture, label = self.pictures[place]
        return self.change(picture), label


def for_training(side: int, recipe: Recipe) -> v2.Transform:
    """Crops, flips, random colours and distortions."""
    crop = v2.RandomResizedCrop(side, scale=(recipe.smallest_crop, 1), antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(), v2.TrivialAugmentWide()])


def for_measuring() -> v2.Transform:
    """Nearly as `zfviz` prepares a picture: shorter side to 224, then the middle."""
    return v2.Compose([v2.Resize(SIDE, antialias=True), v2.CenterCrop(SIDE)])


def read_pictures(archive: Path) -> dict[str, list[tuple[Tensor, int]]]:
    """The pictures of `train` and `val`, shorter side 224 pixels, with the number of their class."""
    labels = {name: number for number, name in enumerate(CLASSES)}
    resize = v2.Resize(SIDE, antialias=True)
    found: dict[str, list[tuple[Tensor, int]]] = {"train": [], "val": []}
    for split, folder, jpeg in read_jpegs(archive, *found):
        if folder in labels:
            data = torch.frombuffer(bytearray(jpeg), dtype=torch.uint8)
            found[split].append((resize(decode_jpeg(data, ImageReadMode.RGB)), labels[folder]))
    if not (found["train"] and found["val"]):
        raise SystemExit(f"{archive}: found no train/WNID/*.JPEG and val/WNID/*.JPEG; expected those of {ADDRESS}")
    return found


def ready(pictures: Tensor) -> Tensor:
    """8-bit pictures as the network takes them."""
    mean = torch.tensor(MEAN).reshape(1, 3, 1, 1)
    return (pictures.float() - mean).to(memory_format=torch.channels_last)


def measure(net: nn.Module, pictures: Sequence[tuple[Tensor, int]]) -> float:
    """Share of pictures whose class comes first, in float32."""
    net.eval()
    right = 0
    with torch.no_grad():
        for batch, labels in DataLoader(Pictures(pictures, for_measuring()), batch_size=64):
            right += int((net(ready(batch)).argmax(1) == labels).sum())
    return right / len(pictures)


class Run:
    """A network on its way, with all that is needed to go on after a stop."""

    def __init__(self, name: str, recipe: Recipe, out: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.name, self.recipe, self.out = name, recipe, out
        self.layers: list[Layer] = getattr(networks, name)(width=recipe.width, classes=len(CLASSES))
        self.net = trainable(self.layers, recipe)
        self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
        decayed = [p for p in self.net.parameters() if p.dim() > 1]
        others = [p for p in self.net.parameters() if p.dim() == 1]
        groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=True)
        self.epoch = 0
        self.parts = {"net": self.net, "average": self.average, "optimizer": self.optimizer}
        self.made_by = f"{name} {recipe!r}"
        state = out / "state.pt"
        if state.exists():
            kept = torch.load(state, weights_only=True)
            if kept["made_by"] != self.made_by:
                raise SystemExit(
                    f"{state}: found a run of {kept['made_by']}; expected {self.made_by}. Give another --out."
                )
            self.epoch = kept["epoch"]
            for part, thing in self.parts.items():
                thing.load_state_dict(kept[part])

    def train_epoch(self, pictures: Sequence[tuple[Tensor, int]]) -> float:
        """One pass over the pictures; gives the mean loss."""
        torch.manual_seed(self.recipe.seed + self.epoch)
        side, size = self.recipe.stage(self.epoch)
        changed = Pictures(pictures, for_training(side, self.recipe))
        batches = DataLoader(changed, size, shuffle=True, drop_last=True, num_workers=1)
        self.net.train()
        total = 0.0
        for number, (batch, labels) in enumerate(batches):
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate(self.epoch + number / len(batches))
            loss = functional.cross_entropy(self.net(ready(batch)), labels, label_smoothing=self.recipe.smoothing)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.keep_within_radius()
            self.average.update_parameters(self.net)
            total += loss.item()
        self.epoch += 1
        return total / len(batches)

    def rate(self, epoch: float) -> float:
        """The learning rate: up during the first two epochs, then down along a cosine."""
        return self.recipe.rate * min(1, epoch / 2 + 0.01, (1 + math.cos(math.pi * epoch / self.recipe.epochs)) / 2)

    def keep_within_radius(self) -> None:
        """Filters beyond the radius are brought back to it (paper, section 3)."""
        with torch.no_grad():
            for module in self.net:
                if isinstance(module, nn.Conv2d):
                    size = module.weight.square().mean((1, 2, 3), keepdim=True).sqrt()
                    module.weight.mul_((RADIUS / size).clamp(max=1))

    def save(self) -> None:
        """All of the run; the older file stays until the newer is whole."""
        kept = {part: thing.state_dict() for part, thing in self.parts.items()}
        part = self.out / "state.part"
        torch.save(kept | {"epoch": self.epoch, "made_by": self.made_by}, part)
        part.replace(self.out / "state.pt")


def write_model(path: Path, name: str, layers: Sequence[Layer], weights: Mapping[str, np.ndarray]) -> None:
    """The network as ONNX with its preprocessing and its classes, written beside, then renamed."""
    part = path.with_suffix(".part")
    model = build(name, layers, weights)
    labels = {str(number): label for number, label in enumerate(CLASSES.values())}
    properties = {METADATA_KEY: json.dumps(PREPROCESSING.to_json()), "zfviz.labels": json.dumps(labels)}
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, part)
    part.replace(path)


def train(name: str, pictures: dict[str, list[tuple[Tensor, int]]], recipe: Recipe, out: Path) -> None:
    """Trains to the end of the recipe, from where the last run stopped."""
    out.mkdir(parents=True, exist_ok=True)
    run = Run(name, recipe, out)
    while run.epoch < recipe.epochs:
        began = time.time()
        side, _ = recipe.stage(run.epoch)
        loss = run.train_epoch(pictures["train"])
        if not math.isfinite(loss):
            raise SystemExit(
                f"epoch {run.epoch}: the loss is {loss}; expected a number. What is kept is of the epoch before; lower "
                "the rate of the recipe."
            )
        last = run.epoch == recipe.epochs
        if run.epoch in SNAPSHOTS or last:
            write_model(out / f"epoch-{run.epoch}.onnx", name, run.layers, folded(run.net, run.layers))
        top1 = measure(run.average.module, pictures["val"]) if run.epoch % 4 == 0 or last else math.nan
        row = {"epoch": run.epoch, "side": side, "loss": round(loss, 4), "top1": round(top1, 4)}
        row["seconds"] = round(time.time() - began)
        run.save()
        append(out / "curve.csv", row)
        print(row, flush=True)
    weights = folded(run.average.module, run.layers)
    part = out / "weights.part.npz"
    np.savez(part, **{key: value.astype(np.float16) for key, value in weights.items()})
    part.replace(out / "weights.npz")
    write_model(out / f"{name}.onnx", name, run.layers, weights)


def append(path: Path, row: dict[str, object]) -> None:
    """A row more of the curve."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Trains a bundled network.", epilog=str(asdict(Recipe())))
    parser.add_argument("name", choices=["alexnet", "zfnet"])
    parser.add_argument("--out", type=Path, required=True, help="folder of this run; a run that stopped goes on")
    parser.add_argument("--data", type=Path, help="an archive of train/WNID/*.JPEG and val/WNID/*.JPEG")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="processor threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    archive = options.data or fetch(Path("imagenette2-320.tgz"))
    train(options.name, read_pictures(archive), Recipe(), options.out)

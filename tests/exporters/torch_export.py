"""Networks of torch, with seeded noise for weights, through both exporters of torch."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exporters.specimen import Specimen
from exporters.torch_blocks import CLASSES
from torch import Tensor, nn

_NORM = ("weight", "bias", "running_mean", "running_var")  # parameters, or buffers where the norm is frozen

Build = Callable[[], nn.Module]


def narrowed(model: nn.Module, by: int) -> nn.Module:
    """The same convolutional network with `by` times fewer channels: the first of each layer are kept."""

    def keep(channels: int) -> int:
        return channels if channels in (3, CLASSES) else channels // by

    def cut(*tensors: Tensor | None, sizes: tuple[int, ...]) -> None:
        for tensor in tensors:
            if tensor is not None:
                tensor.data = tensor.data[tuple(map(slice, sizes))].clone()

    for module in model.modules() if by > 1 else ():
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels
            module.in_channels, module.out_channels = keep(module.in_channels), keep(module.out_channels)
            module.groups = module.in_channels if depthwise else module.groups
            cut(module.weight, sizes=(module.out_channels, module.in_channels // module.groups))
            cut(module.bias, sizes=(module.out_channels,))
        elif isinstance(module, nn.Linear):
            module.in_features, module.out_features = keep(module.in_features), keep(module.out_features)
            cut(module.weight, sizes=(module.out_features, module.in_features))
            cut(module.bias, sizes=(module.out_features,))
        elif hasattr(module, "running_mean"):
            held = [getattr(module, name) for name in _NORM]
            cut(*held, sizes=(keep(len(held[0])),))
    return model


def _season(model: nn.Module, args: tuple[Tensor, ...]) -> nn.Module:
    """Weights, scales, shifts and statistics as training leaves them: signals keep their size, norms do work."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d):
            inputs = module.weight[:, 0].numel() / math.prod(module.stride)
            nn.init.normal_(module.weight, std=math.sqrt(2 / inputs))
        tensors = dict(module.named_parameters(recurse=False))
        tensors |= {name: tensor for name, tensor in module.named_buffers(recurse=False) if name in _NORM}
        for name, tensor in tensors.items():
            if name in ("bias", "running_mean"):
                nn.init.uniform_(tensor, -0.2, 0.2)
            elif tensor.numel() > 0 and (tensor == tensor.flatten()[0]).all():
                start = tensor.flatten()[0].item()  # residual branches often start at nothing
                nn.init.uniform_(tensor, *(0.1, 0.4) if abs(start) < 1e-2 else sorted((0.5 * start, 1.5 * start)))

    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # one pass then sets the statistics
    with torch.no_grad():
        model(*args)
    return model.eval()


def _images(size: tuple[int, int], count: int = 16) -> Tensor:
    """Images of every brightness, contrast and grain: norms set on images alike would blow up all others."""
    height, width = size
    blocks = torch.randn(count, 3, height // 8 + 1, width // 8 + 1)
    blocks = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, :height, :width]
    grain, contrast, light = torch.rand(3, count, 1, 1, 1)
    return 2 * light - 1 + 2 * contrast * (grain * torch.randn(count, 3, height, width) + (1 - grain) * blocks)


def _export(
    folder: Path,
    name: str,
    build: Build,
    size: tuple[int, int],
    free: Mapping[int, str],
    inputs: Mapping[str, np.ndarray],
    options: Mapping[str, Any],
) -> Path:
    def rows(array: np.ndarray, count: int) -> Tensor:
        return torch.from_numpy(array).expand(count, *array.shape[1:]).clone()

    path = folder / f"{name}.onnx"
    with torch.random.fork_rng(), warnings.catch_warnings(action="ignore"):
        torch.manual_seed(0)
        images = _images(size)
        model = _season(build().eval(), (images, *(rows(array, len(images)) for array in inputs.values())))
        count = 2 if 0 in free else 1  # torch.export takes an axis of one for a constant
        args = (images[:count], *(rows(array, count) for array in inputs.values()))
        axes = [free, *({0: free[0]} if free else {} for _ in inputs)]
        if options["dynamo"]:
            dynamic = {"dynamic_shapes": tuple(dict.fromkeys(axis, torch.export.Dim.DYNAMIC) for axis in axes)}
        else:
            dynamic = {"dynamic_axes": dict(zip(("image", *inputs), axes, strict=True))}
        torch.onnx.export(model, args, path, input_names=["image", *inputs], verbose=False, **dynamic, **options)
    return path


def exported(
    name: str,
    build: Build,
    size: tuple[int, int] = (64, 80),
    opset: int | None = 17,
    dynamo: int | None = None,
    fixed_batch: bool = False,
    open_size: bool = False,
    inputs: Mapping[str, np.ndarray] | None = None,
    export: Mapping[str, Any] | None = None,
) -> Iterator[Specimen]:
    """One network by TorchScript at `opset` and by torch.export at the opset `dynamo`; None leaves one out."""
    free = {} if fixed_batch else {0: "batch"}
    free |= {2: "height", 3: "width"} if open_size else {}
    for exporter, title, version in (("TorchScript", name, opset), ("dynamo", f"{name} dynamo", dynamo)):
        if version:
            options = {"dynamo": exporter == "dynamo", "opset_version": version, **(export or {})}
            make = partial(_export, name=title, build=build, size=size, free=free, inputs=inputs or {}, options=options)
            yield Specimen(f"torch ({exporter})", title, make, inputs or {})


def zoo(
    library: Callable[..., nn.Module],
    name: str,
    size: tuple[int, int] = (64, 96),
    opset: int | None = 17,
    dynamo: int | None = None,
    fixed_batch: bool = False,
    open_size: bool = False,
    export: Mapping[str, Any] | None = None,
    **net: Any,
) -> Iterator[Specimen]:
    """A network of torchvision or timm, which `library` builds; `net` says in what it differs from theirs."""
    build = partial(library, name.split()[1], **net)
    return exported(name, build, size, opset, dynamo, fixed_batch, open_size, export=export)

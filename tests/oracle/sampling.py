"""Ops that read a map between its places: GridSample, RoiAlign, DeformConv; and Col2Im, which lays patches over it."""

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional

from oracle.layer import Layer, op


@op("GridSample")
def sample_grid(layer: Layer, x: Tensor, grid: Tensor) -> Tensor:
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(name := layer.get("mode", "bilinear"), name)
    return functional.grid_sample(x, grid, mode, layer.get("padding_mode", "zeros"), bool(layer["align_corners"]))


@op("AffineGrid")
def affine_grid(layer: Layer, theta: Tensor, size: Tensor) -> Tensor:
    return functional.affine_grid(theta, size.tolist(), bool(layer["align_corners"]))


@op("RoiAlign")
def align_regions(layer: Layer, x: Tensor, regions: Tensor, batch: Tensor) -> Tensor:
    rows, columns = layer.get("output_height", 1), layer.get("output_width", 1)
    shift = 0.5 if layer.opset >= 16 and layer.get("coordinate_transformation_mode") != "output_half_pixel" else 0.0
    results = []
    for region, image in zip(regions.tolist(), batch.tolist(), strict=True):
        left, top, right, bottom = (end * layer.get("spatial_scale", 1.0) - shift for end in region)
        width, height = right - left, bottom - top
        if not shift:
            width, height = max(width, 1.0), max(height, 1.0)
        ys, xs = samples(layer, top, height, rows), samples(layer, left, width, columns)
        results.append(read_region(layer, x[image], ys, xs))
    return torch.stack(results) if results else x.new_zeros(0, x.shape[1], rows, columns)


def samples(layer: Layer, start: float, size: float, bins: int) -> Tensor:
    """Where one axis is read: float64 [bins, samples in each]."""
    number = layer.get("sampling_ratio", 0) or max(math.ceil(size / bins), 1)
    inside = (torch.arange(number, dtype=torch.float64) + 0.5) / number
    return start + (torch.arange(bins)[:, None] + inside) * (size / bins)


def read_region(layer: Layer, image: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """The bins of one region of [C, H, W]: [C, rows, columns]."""

    def corners(points: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The two places beside each point [2, ...], and their weights; none for points off the image."""
        inside = (points >= -1) & (points <= size)
        points = points.clamp(0, size - 1)
        low = points.floor().clamp(max=max(size - 1, 0)).long()
        high = (low + 1).clamp(max=size - 1)
        part = points - low
        return torch.stack([low, high]), torch.stack([1 - part, part]) * inside

    (rows, down), (columns, across) = corners(ys, image.shape[1]), corners(xs, image.shape[2])
    read = image[:, rows[:, None, :, None, :, None], columns[None, :, None, :, None, :]]
    weighted = read * down[:, None, :, None, :, None] * across[None, :, None, :, None, :]
    if layer.get("mode", "avg") == "max":  # of the weighted corners, not of their sums, as onnxruntime has it
        return weighted.amax((1, 2, 5, 6))
    return weighted.sum((1, 2)).mean((3, 4))


@op("DeformConv")
def convolve_deformed(
    layer: Layer, x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """A Conv each tap of which reads the map where an offset of its own moves it, times a mask."""
    strides, dilations = layer.get("strides", [1, 1]), layer.get("dilations", [1, 1])
    pads, groups, parts = layer.get("pads", [0] * 4), layer.get("group", 1), layer.get("offset_group", 1)
    kernel, counts, (batch, _, *sizes) = weight.shape[2:], offset.shape[2:], x.shape
    offset = offset.reshape(batch * parts, -1, 2, *counts)
    planes = x.reshape(batch * parts, -1, *sizes)
    columns = []
    for tap, place in enumerate(itertools.product(*map(range, kernel))):
        starts = [
            torch.arange(count) * stride - pad + i * dilation
            for count, stride, pad, i, dilation in zip(counts, strides, pads[:2], place, dilations, strict=True)
        ]
        points = offset[:, tap].movedim(1, -1) + torch.stack(torch.meshgrid(*starts, indexing="ij"), -1)
        unit = 2 * points / (torch.tensor(sizes) - 1).clamp(min=1) - 1
        read = functional.grid_sample(planes, unit.flip(-1), "bilinear", "zeros", align_corners=True)
        if mask is not None:
            read = read * mask.reshape(batch * parts, -1, 1, *counts)[:, tap]
        columns.append(read.reshape(batch, groups, -1, *counts))
    kernels = weight.reshape(groups, -1, weight.shape[1], len(columns))
    y = torch.einsum("gock,kbgcyx->bgoyx", kernels, torch.stack(columns)).flatten(1, 2)
    return y if bias is None else y + bias[:, None, None]


@op("Col2Im")
def lay_patches(layer: Layer, x: Tensor, shape: Tensor, block: Tensor) -> Tensor:
    """The sum of the patches that the columns of [N, C * taps, patches] are."""
    sizes, kernel = shape.tolist(), block.tolist()
    rank = len(sizes)
    strides, dilations = layer.get("strides", [1] * rank), layer.get("dilations", [1] * rank)
    pads = layer.get("pads", [0] * 2 * rank)
    whole = [sizes[i] + pads[i] + pads[i + rank] for i in range(rank)]
    counts = [(whole[i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(rank)]
    taps = x.reshape(x.shape[0], -1, math.prod(kernel), *counts)
    y = x.new_zeros(*taps.shape[:2], *whole)
    for tap, place in enumerate(itertools.product(*map(range, kernel))):
        reached = [
            slice(i * dilation, i * dilation + (count - 1) * stride + 1, stride)
            for i, dilation, count, stride in zip(place, dilations, counts, strides, strict=True)
        ]
        y[(..., *reached)] += taps[:, :, tap]
    return y[(..., *(slice(pads[i], pads[i] + sizes[i]) for i in range(rank)))]

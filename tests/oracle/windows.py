"""Convolutions and pools: ops whose windows slide over an [N, C, ...] tensor of one to three spatial axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from oracle.activations import activate
from oracle.layer import OPS, Layer, op

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
MAXIMIZE = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


@dataclass(frozen=True)
class Window:
    """The grid of windows of one Conv or pool; a list has an entry for each spatial axis, `pads` one for each end."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    counts: list[int]

    @classmethod
    def of(cls, layer: Layer, sizes: Sequence[int], kernel: Sequence[int]) -> "Window":
        """What the attributes say, for an input of spatial `sizes`."""
        rank = len(sizes)
        if not 1 <= rank <= 3:
            raise NotImplementedError(f"the oracle runs {layer.proto.op_type} on 1 to 3 spatial axes only")
        strides, dilations = layer.get("strides", [1] * rank), layer.get("dilations", [1] * rank)
        pads, mode = list(layer.get("pads", [0] * 2 * rank)), layer.get("auto_pad", "NOTSET")
        counts, pools = [], "Pool" in layer.proto.op_type
        for axis, size in enumerate(sizes):
            stride, extent = strides[axis], (kernel[axis] - 1) * dilations[axis] + 1
            if mode.startswith("SAME"):
                total = (-(-size // stride) - 1) * stride + (kernel[axis] if pools else extent) - size
                # onnxruntime's pools forget dilations here, and crop where windows are smaller than strides
                total = total if pools else max(total, 0)
                pads[axis] = int((total + (mode == "SAME_LOWER")) / 2)
                pads[axis + rank] = total - pads[axis]
            elif mode == "VALID":
                pads[axis] = pads[axis + rank] = 0
            space = size + pads[axis] + pads[axis + rank] - extent
            count = (-(-space // stride) if layer["ceil_mode"] else space // stride) + 1
            # A window must start on the input or on the padding before it, not on the padding after it.
            starts_late = layer["ceil_mode"] and (count - 1) * stride >= size + pads[axis]
            counts.append(count - 1 if starts_late else count)
        return cls(list(kernel), list(strides), list(dilations), pads, counts)

    @property
    def rank(self) -> int:
        return len(self.kernel)

    def cover(self, x: Tensor, value: float) -> Tensor:
        """x padded or cropped to just what the windows see, so that torch needs no pads and no ceil_mode."""
        flat: list[int] = []
        for axis in reversed(range(self.rank)):
            seen = (self.counts[axis] - 1) * self.strides[axis] + (self.kernel[axis] - 1) * self.dilations[axis] + 1
            flat += [self.pads[axis], seen - x.shape[2 + axis] - self.pads[axis]]
        return functional.pad(x, flat, value=value)

    def total(self, x: Tensor) -> Tensor:
        """The sum of each window of each channel."""
        planes = self.cover(x, 0.0).flatten(0, 1)[:, None]
        ones = x.new_ones(1, 1, *self.kernel)
        sums = CONVOLVE[self.rank](planes, ones, None, self.strides, 0, self.dilations)
        return sums.reshape(*x.shape[:2], *self.counts)


@op("Conv")
def convolve(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    window = Window.of(layer, x.shape[2:], weight.shape[2:])
    group = layer.get("group", 1)
    return CONVOLVE[window.rank](window.cover(x, 0.0), weight, bias, window.strides, 0, window.dilations, group)


@op("FusedConv")
def convolve_and_activate(
    layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None = None, more: Tensor | None = None
) -> Tensor:
    y = convolve(layer, x, weight, bias)
    return activate(layer, y if more is None else y + more)


@op("ConvTranspose")
def transpose_convolve(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    rank = x.ndim - 2
    strides, dilations = layer.get("strides", [1] * rank), layer.get("dilations", [1] * rank)
    extra, pads = layer.get("output_padding", [0] * rank), list(layer.get("pads", [0] * 2 * rank))
    mode, wanted = layer.get("auto_pad", "NOTSET"), layer["output_shape"]
    y = TRANSPOSE[rank](x, weight, None, strides, 0, 0, layer.get("group", 1), dilations)
    flat: list[int] = []
    for axis in reversed(range(rank)):
        begin, end = (0, 0) if mode == "VALID" else (pads[axis], pads[axis + rank])
        if wanted or mode.startswith("SAME"):
            target = wanted[axis - rank] if wanted else x.shape[2 + axis] * strides[axis]
            spare = y.shape[2 + axis] + extra[axis] - target
            total = max(spare, 0)
            begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
            end = (spare if wanted else total) - begin
        flat += [-begin, extra[axis] - end]
    y = functional.pad(y, flat)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


@op("MaxPool")
def pool_max(layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
    window = Window.of(layer, x.shape[2:], layer["kernel_shape"])
    covered = window.cover(x.double(), -math.inf)
    maximize = MAXIMIZE[window.rank]
    y, places = maximize(covered, window.kernel, window.strides, 0, window.dilations, return_indices=True)
    order = range(window.rank) if layer["storage_order"] else reversed(range(window.rank))
    step, flat = 1, torch.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *[1] * window.rank)
    flat = flat * math.prod(x.shape[2:])
    rows: dict[int, Tensor] = {}
    for axis in reversed(range(window.rank)):
        rows[axis] = places % covered.shape[2 + axis] - window.pads[axis]
        places = places // covered.shape[2 + axis]
    for axis in order:
        flat = flat + rows[axis] * step
        step *= x.shape[2 + axis]
    return y.to(x.dtype), flat


@op("AveragePool")
def pool_average(layer: Layer, x: Tensor) -> Tensor:
    window = Window.of(layer, x.shape[2:], layer["kernel_shape"])
    counted = torch.ones_like(x[:1, :1])
    if layer["count_include_pad"]:  # only the pads: what ceil_mode adds beyond them never counts
        ends = zip(window.pads[: window.rank], window.pads[window.rank :], strict=True)
        counted = functional.pad(counted, [amount for pair in list(ends)[::-1] for amount in pair], value=1.0)
        window_of_pads = replace(window, pads=[0] * len(window.pads))
        return window.total(x) / window_of_pads.total(counted)
    return window.total(x) / window.total(counted)


@op("LpPool")
def pool_norm(layer: Layer, x: Tensor) -> Tensor:
    window = Window.of(layer, x.shape[2:], layer["kernel_shape"])
    order = layer.get("p", 2)
    total = window.total(x.abs() ** order)
    return torch.where(total == 0, 0.0, torch.where(total == 0, 1.0, total) ** (1 / order))  # at 0 the slope is 0


def spatial(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


def pool_norm_of_all(layer: Layer, x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, layer.get("p", 2), spatial(x), keepdim=True)


def pool_max_of_all(layer: Layer, x: Tensor) -> Tensor:
    # one of equals, as in MaxPool, not all of them
    return x.flatten(2).max(2).values.reshape(*x.shape[:2], *[1] * (x.ndim - 2))


OPS |= {
    "GlobalAveragePool": lambda layer, x: x.mean(spatial(x), keepdim=True),
    "GlobalMaxPool": pool_max_of_all,
    "GlobalLpPool": pool_norm_of_all,
}


@op("MaxUnpool")
def unpool(layer: Layer, x: Tensor, places: Tensor, shape: Tensor | None = None) -> Tensor:
    """Each value at its place, which is flat over the output, as onnxruntime reads it; of equals the last is kept."""
    if shape is None:
        rank, kernel = x.ndim - 2, layer["kernel_shape"]
        strides, pads = layer.get("strides", [1] * rank), layer.get("pads", [0] * 2 * rank)
        ends = [(x.shape[2 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[i + rank] for i in range(rank)]
        sizes = [*x.shape[:2], *ends]
    else:
        sizes = shape.tolist()
    return x.new_zeros(math.prod(sizes)).scatter(0, places.flatten(), x.flatten()).reshape(sizes)


@op("NhwcMaxPool")
def pool_max_channels_last(layer: Layer, x: Tensor) -> Tensor:
    return pool_max(layer, x.movedim(-1, 1))[0].movedim(1, -1)

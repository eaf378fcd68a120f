"""A second implementation of the paper to compare zfviz with: an ONNX graph run in torch, in float64.

It shares no code with zfviz and is no transpose of anything: autograd walks back, and only what a method prescribes
differently from the gradient is replaced. It reads a ModelProto as it is, at its own opset.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own spelling)
from onnx import helper, numpy_helper
from torch import Tensor

Method = Literal["deconvnet", "guided", "gradient"]
Map = Callable[[Tensor], Tensor]


class Oracle:
    """A model run forward on one image batch, ready to send signals back to it by one method.

    values: every tensor of the graph, by name, float64 (integers stay integers).
    switches: for each MaxPool, by the name of its output, ONNX's Indices: int64, flat over its [N, C, H, W] input.
    """

    def __init__(self, model: onnx.ModelProto, image: np.ndarray, method: Method) -> None:
        graph = model.graph
        opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        self._tensors = {tensor.name: _tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
        (name,) = (value.name for value in graph.input if value.name not in self._tensors)
        self._image = self._tensors[name] = _tensor(image).requires_grad_()
        self.switches: dict[str, np.ndarray] = {}
        for proto in graph.node:
            layer = Layer(proto, opset, method)
            results = layer.run([self._tensors[key] if key else None for key in proto.input])
            self._tensors.update((key, value) for key, value in zip(proto.output, results, strict=False) if key)
            if proto.op_type == "MaxPool":
                self.switches[proto.output[0]] = results[1].numpy()
        self.values: Mapping[str, np.ndarray] = {key: value.detach().numpy() for key, value in self._tensors.items()}

    def project(self, tensor: str, seed: np.ndarray) -> np.ndarray:
        """The signal `seed`, of the shape of `tensor`, sent back to the pixels: float64 [N, C, H, W]."""
        source = self._tensors[tensor]
        (pixels,) = torch.autograd.grad(source, self._image, _tensor(seed).reshape(source.shape), retain_graph=True)
        return pixels.numpy()


@dataclass(frozen=True)
class Layer:
    """One node, with the opset that says how to read it and the method that says how to walk back through it."""

    proto: onnx.NodeProto
    opset: int
    method: Method

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, tensors as torch tensors."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                if isinstance(value, onnx.TensorProto):
                    return _tensor(numpy_helper.to_array(value))
                return value.decode() if isinstance(value, bytes) else value
        return default

    def run(self, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        """The outputs of the node."""
        if self.proto.op_type not in OPS:
            raise NotImplementedError(f"the oracle has no {self.proto.op_type}")
        result = OPS[self.proto.op_type](self, *inputs)
        return result if isinstance(result, tuple) else (result,)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, np.float64 if array.dtype.kind == "f" else array.dtype))


def _ints(given: Tensor | list[int] | None) -> list[int] | None:
    return given.tolist() if isinstance(given, Tensor) else given


class _Detour(torch.autograd.Function):
    """Forward f(x); backward `back` of the signal, whatever f's derivative is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, f: Map, back: Map) -> Tensor:
        ctx.back = back
        return f(x)

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(signals[0]), None, None


def rectify(layer: Layer, x: Tensor, f: Map, limit: Map = F.relu) -> Tensor:
    """f(x); on the way back `limit`, which f is like far from 0, takes the place of f' or comes before it."""
    if layer.method == "deconvnet":
        return _Detour.apply(x, f, limit)
    if layer.method == "guided":
        return _Detour.apply(f(x), torch.clone, limit)
    return f(x)


def leaky(layer: Layer, x: Tensor) -> Tensor:
    f = partial(F.leaky_relu, negative_slope=layer.get("alpha", 0.01))
    return rectify(layer, x, f, f)


def clip(layer: Layer, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    least = layer.get("min", -math.inf) if low is None else low.item()
    most = layer.get("max", math.inf) if high is None else high.item()
    return (rectify(layer, x, F.relu) if least == 0 else x.clamp(min=least)).clamp(max=most)


def normalize_locally(layer: Layer, x: Tensor) -> Tensor:
    def f(x: Tensor) -> Tensor:
        size, channels = layer["size"], x.shape[1]
        squares = F.pad(x.square(), (0, 0) * (x.ndim - 2) + ((size - 1) // 2, size // 2))
        total = sum(squares[:, i : i + channels] for i in range(size))
        divisor = layer.get("bias", 1.0) + layer.get("alpha", 1e-4) / size * total
        return x / divisor ** layer.get("beta", 0.75)

    return _Detour.apply(x, f, torch.clone) if layer.method == "deconvnet" else f(x)


@dataclass(frozen=True)
class Window:
    """The grid of windows of one Conv or pool over an [N, C, H, W] tensor; `pads` are (top, left, bottom, right)."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]
    counts: list[int]

    @classmethod
    def of(cls, layer: Layer, sizes: Sequence[int], kernel: Sequence[int]) -> "Window":
        """What the attributes say, for an input of height and width `sizes`."""
        if len(sizes) != 2:
            raise NotImplementedError(f"the oracle runs {layer.proto.op_type} on [N, C, H, W] only")
        strides, dilations = layer.get("strides", [1, 1]), layer.get("dilations", [1, 1])
        pads, mode = list(layer.get("pads", [0] * 4)), layer.get("auto_pad", "NOTSET")
        counts = []
        for axis, size in enumerate(sizes):
            stride, extent = strides[axis], (kernel[axis] - 1) * dilations[axis] + 1
            if mode.startswith("SAME"):
                total = max((-(-size // stride) - 1) * stride + extent - size, 0)
                less, more = total // 2, total - total // 2
                pads[axis], pads[axis + 2] = (less, more) if mode == "SAME_UPPER" else (more, less)
            space = size + pads[axis] + pads[axis + 2] - extent
            count = (-(-space // stride) if layer["ceil_mode"] else space // stride) + 1
            # A window must start on the input or on the padding before it, not on the padding after it.
            starts_late = layer["ceil_mode"] and (count - 1) * stride >= size + pads[axis]
            counts.append(count - 1 if starts_late else count)
        return cls(list(kernel), strides, dilations, pads, counts)

    def cover(self, x: Tensor, value: float) -> Tensor:
        """x padded or cropped to just what the windows see, so that torch needs no pads and no ceil_mode."""
        ends = [
            (count - 1) * stride + (kernel - 1) * dilation + 1 - size - pad
            for count, stride, kernel, dilation, size, pad in zip(
                self.counts, self.strides, self.kernel, self.dilations, x.shape[2:], self.pads[:2], strict=True
            )
        ]
        return F.pad(x, (self.pads[1], ends[1], self.pads[0], ends[0]), value=value)

    def total(self, x: Tensor) -> Tensor:
        """The sum of each window of each channel."""
        planes = self.cover(x, 0.0).flatten(0, 1)[:, None]
        sums = F.conv2d(planes, x.new_ones(1, 1, *self.kernel), None, self.strides, dilation=self.dilations)
        return sums.reshape(*x.shape[:2], *self.counts)


def convolve(layer: Layer, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    window = Window.of(layer, x.shape[2:], weight.shape[2:])
    group = layer.get("group", 1)
    return F.conv2d(window.cover(x, 0.0), weight, bias, window.strides, 0, window.dilations, group)


def pool_max(layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
    window = Window.of(layer, x.shape[2:], layer["kernel_shape"])
    covered = window.cover(x, -math.inf)
    y, places = F.max_pool2d(covered, window.kernel, window.strides, 0, window.dilations, return_indices=True)
    rows, columns = places // covered.shape[3] - window.pads[0], places % covered.shape[3] - window.pads[1]
    batch, channels, height, width = x.shape
    planes = torch.arange(batch * channels).reshape(batch, channels, 1, 1) * (height * width)
    return y, planes + (columns * height + rows if layer["storage_order"] else rows * width + columns)


def pool_average(layer: Layer, x: Tensor) -> Tensor:
    window = Window.of(layer, x.shape[2:], layer["kernel_shape"])
    counted = torch.ones_like(x[:1, :1])
    if layer["count_include_pad"]:  # only the pads: what ceil_mode adds beyond them never counts
        top, left, bottom, right = window.pads
        counted = F.pad(counted, (left, right, top, bottom), value=1.0)
        window_of_pads = Window(window.kernel, window.strides, window.dilations, [0] * 4, window.counts)
        return window.total(x) / window_of_pads.total(counted)
    return window.total(x) / window.total(counted)


def normalize_batch(layer: Layer, x: Tensor, *parameters: Tensor) -> Tensor:
    if layer["training_mode"]:
        raise NotImplementedError("the oracle runs BatchNormalization in inference only")
    scale, bias, mean, variance = (p.reshape(-1, *[1] * (x.ndim - 2)) for p in parameters)
    return (x - mean) / (variance + layer.get("epsilon", 1e-5)).sqrt() * scale + bias


def multiply(layer: Layer, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    y = layer.get("alpha", 1.0) * ((a.T if layer["transA"] else a) @ (b.T if layer["transB"] else b))
    return y if c is None else y + layer.get("beta", 1.0) * c


def divide(layer: Layer, a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def soften(layer: Layer, x: Tensor) -> Tensor:
    if layer.opset >= 13:
        return x.softmax(layer.get("axis", -1))
    return flatten(layer, x).softmax(1).reshape(x.shape)  # before 13, all axes from `axis` on share one sum


def flatten(layer: Layer, x: Tensor) -> Tensor:
    sizes, axis = x.shape, layer.get("axis", 1)
    axis += len(sizes) if axis < 0 else 0
    return x.reshape(math.prod(sizes[:axis]), math.prod(sizes[axis:]))


def reshape(layer: Layer, x: Tensor, shape: Tensor | None = None) -> Tensor:
    sizes = _ints(shape) or layer["shape"]
    copies = not layer["allowzero"]
    return x.reshape([x.shape[axis] if copies and size == 0 else size for axis, size in enumerate(sizes)])


def squeeze(layer: Layer, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze(_ints(axes) or layer["axes"] or tuple(range(x.ndim)))


def unsqueeze(layer: Layer, x: Tensor, axes: Tensor | None = None) -> Tensor:
    given = _ints(axes) or layer["axes"]
    return reduce(torch.unsqueeze, sorted(axis % (x.ndim + len(given)) for axis in given), x)


def transpose(layer: Layer, x: Tensor) -> Tensor:
    return x.permute(layer.get("perm", list(range(x.ndim))[::-1]))


def cut(layer: Layer, x: Tensor, *inputs: Tensor | None) -> Tensor:
    given: Iterable[Any] = inputs or [layer[name] for name in ("starts", "ends", "axes")]
    starts, ends, axes, steps = [*map(_ints, given), None, None][:4]
    for i, axis in enumerate(axes or range(len(starts))):
        # range clamps as ONNX does, and torch has no negative steps
        places = range(x.shape[axis])[starts[i] : ends[i] : steps[i] if steps else 1]
        x = x.index_select(axis, torch.tensor(places, dtype=torch.int64))
    return x


def split(layer: Layer, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis, parts = layer.get("axis", 0), layer.get("num_outputs", len(layer.proto.output))
    lengths = _ints(sizes) or layer["split"]
    return x.split(lengths or -(-x.shape[axis] // parts), axis)


def pad(
    layer: Layer, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    if layer.get("mode", "constant") != "constant":
        raise NotImplementedError("the oracle pads with constants only")
    amounts = _ints(pads) or layer["pads"]
    half = len(amounts) // 2
    ends = dict.fromkeys(range(x.ndim), (0, 0))
    for i, axis in enumerate(range(half) if axes is None else axes.tolist()):
        ends[axis % x.ndim] = (amounts[i], amounts[i + half])
    flat = [amount for axis in reversed(range(x.ndim)) for amount in ends[axis]]
    return F.pad(x, flat, value=layer.get("value", 0.0) if value is None else value.item())


def drop(layer: Layer, x: Tensor, *_: Tensor | None) -> tuple[Tensor, Tensor]:
    return x, torch.ones_like(x, dtype=torch.bool)


def constant(layer: Layer) -> Tensor:
    if (value := layer["value"]) is not None:
        return value
    kinds = {"value_float": float, "value_floats": float, "value_int": np.int64, "value_ints": np.int64}
    return next(_tensor(np.array(layer[name], kind)) for name, kind in kinds.items() if layer[name] is not None)


def fill(layer: Layer, shape: Tensor) -> Tensor:
    return layer.get("value", torch.zeros(1, dtype=torch.float64)).expand(shape.tolist())


def shape_of(layer: Layer, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[layer["start"] : layer["end"]], dtype=torch.int64)


def gather(layer: Layer, x: Tensor, places: Tensor) -> Tensor:
    axis = layer.get("axis", 0) % x.ndim
    picked = x.index_select(axis, places.flatten() % x.shape[axis])
    return picked.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


OPS: dict[str, Callable[..., Tensor | tuple[Tensor, ...]]] = {
    "Relu": lambda layer, x: rectify(layer, x, F.relu),
    "LeakyRelu": leaky,
    "Clip": clip,
    "Sigmoid": lambda layer, x: x.sigmoid(),
    "Tanh": lambda layer, x: x.tanh(),
    "Softmax": soften,
    "Conv": convolve,
    "MaxPool": pool_max,
    "AveragePool": pool_average,
    "GlobalAveragePool": lambda layer, x: x.mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda layer, x: F.max_pool2d(x, x.shape[2:]),
    "BatchNormalization": normalize_batch,
    "LRN": normalize_locally,
    "Gemm": multiply,
    "MatMul": lambda layer, a, b: a @ b,
    "Add": lambda layer, a, b: a + b,
    "Sub": lambda layer, a, b: a - b,
    "Mul": lambda layer, a, b: a * b,
    "Div": divide,
    "Sum": lambda layer, *parts: reduce(torch.add, parts),
    "Concat": lambda layer, *parts: torch.cat(parts, layer["axis"]),
    "Split": split,
    "Slice": cut,
    "Gather": gather,
    "Pad": pad,
    "Reshape": reshape,
    "Flatten": flatten,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Shape": shape_of,
    "Identity": lambda layer, x: x,
    "Dropout": drop,
    "Constant": constant,
    "ConstantOfShape": fill,
}

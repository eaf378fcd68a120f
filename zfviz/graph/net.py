"""What rules build with: nodes of the companion graph, forward values, and sizes that come from the frame."""

from collections.abc import Sequence
from itertools import product
from math import ceil, prod
from string import ascii_lowercase
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper

from zfviz.errors import UnsupportedError
from zfviz.graph.building import Builder
from zfviz.graph.canonical import Canonical
from zfviz.graph.cutting import cut_windows, find_switches
from zfviz.graph.reach import OWN, WHOLE, Frame, Span, dims, is_carrier, is_real, window_ends
from zfviz.graph.rectifiers import Rectifier

Unpool = Literal["scatter", "maxunpool"]
Precision = Literal["float32", "float16"]

PLACE = "signal/place"
"""Where the unit of each signal is, int64 [K, 2], y and x: an input of companions of windows."""
IMAGE = "signal/image"
"""Which image of the batch each signal is of, int64 [K]: an input of companions that cut windows themselves."""
RESERVED = ("signal", "pixels", PLACE, IMAGE)


class BatchError(UnsupportedError):
    """An op takes the batch for something else, so that signals of several images cannot go through together."""


class FrameError(UnsupportedError):
    """A window of a tensor is asked for that the user's graph does not hold."""


class Net(Builder):
    """A companion graph under construction.

    Signals have the shape of the forward tensor they belong to; where they are `batched`, with K in the place of its
    batch. They are floats of `precision`, whatever the forward values are. Where frames are windows, the companion
    takes windows of forward values, or whole maps of which it cuts them itself: `cutting`.
    """

    def __init__(
        self,
        canonical: Canonical,
        unpool: Unpool = "scatter",
        batched: bool = True,
        precision: Precision = "float32",
        cutting: bool = False,
    ) -> None:
        super().__init__(
            "companion", np.dtype(precision), canonical.made_by, canonical.weights, (canonical.image.name,)
        )
        self.canonical = canonical
        self.unpool = unpool
        self.batched = batched
        self.cutting = cutting
        self.values: dict[str, gs.Variable] = {}
        self.pooled: dict[str, str] = {}
        self.sources: dict[str, str] = {}
        self.pools: dict[str, gs.Node] = {}
        self.weights: dict[str, gs.Tensor] = {}
        self._recomputed: dict[str, gs.Tensor] = {}
        self._widened: dict[str, gs.Tensor] = {}
        self._windows: dict[str, gs.Tensor] = {}

    def wants(self, tensor: gs.Tensor) -> bool:
        """Whether a signal can go on through `tensor`: it descends from the image and holds numbers that can carry
        one.
        """
        return tensor.name in self.canonical.live and is_carrier(tensor)

    def forward(self, tensor: gs.Tensor) -> gs.Tensor:
        """The forward value of `tensor`, real numbers in the signals' precision: a weight, an input of the companion,
        or recomputed from such.
        """
        value = self._stored(tensor)
        return self.real(value) if is_real(tensor) and tensor.dtype != self.dtype else value

    def numbers(self, tensor: gs.Tensor) -> gs.Tensor:
        """The forward value of `tensor` as real numbers, also where it holds integers."""
        return self.forward(tensor) if is_real(tensor) else self.real(self._stored(tensor))

    def real(self, value: gs.Tensor) -> gs.Tensor:
        """A value of another type as real numbers in the signals' precision."""
        if isinstance(value, gs.Constant):
            return self.constant(value.values)
        if value.name not in self._widened:
            self._widened[value.name] = self.emit("Cast", value, to=helper.np_dtype_to_tensor_dtype(self.dtype))
        return self._widened[value.name]

    def rows(self, tensor: gs.Tensor) -> list[int | None]:
        """The shape of `tensor`, its batch left open where signals are batched."""
        return [None, *dims(tensor)[1:]] if self.batched else [*dims(tensor)]

    def _stored(self, tensor: gs.Tensor) -> gs.Tensor:
        name = tensor.name
        if isinstance(tensor, gs.Constant) and name not in self.canonical.weights:
            return self.constant(tensor.values, tensor.values.dtype)
        maker = tensor.inputs[0] if tensor.inputs else None
        source = maker.inputs[0] if maker and (maker.domain, maker.op) == (OWN, "Window") else tensor
        if name in self.canonical.weights:
            return self.weights.setdefault(name, gs.Variable(_allowed(name)))
        if source.name in self.canonical.made_by or source is self.canonical.image:
            self.sources[name] = source.name
            return self._windowed(tensor, source.name) if self.cutting else self._input(name, tensor)
        if source is not tensor:
            raise FrameError(f"{source.name!r} is no tensor of the user's graph")
        if name not in self._recomputed:
            self._recompute(tensor.inputs[0])
        return self._recomputed[name]

    def switches(self, layer: gs.Node) -> gs.Tensor:
        """The switches of a MaxPool: int64, the shape of its output, each the place of the maximum in its own plane."""
        pooled = layer.outputs[0]
        plane = prod(dims(layer.inputs[0])[2:])
        made_by = self.canonical.made_by.get(pooled.name)
        if self.cutting or made_by is None or made_by.op_type != "MaxPool":
            return self._found_switches(layer)
        name = f"{pooled.name}/switches"
        if name in self.canonical.made_by or name in self.canonical.weights:
            raise UnsupportedError(
                f"the model has a tensor named {name!r}, the name of its switches; rename it, or give the model that "
                "`zfviz expose` was given"
            )
        framed = self.canonical.frames is not None
        if name not in self.values:
            self.values[name] = gs.Variable(name, np.int32 if framed else np.int64, self.rows(pooled))
            self.pooled[name], self.pools[name] = pooled.name, layer
        return self.values[name] if framed else self.emit("Mod", self.values[name], self.ints(plane))

    def _found_switches(self, layer: gs.Node) -> gs.Tensor:
        (tensor,) = layer.inputs
        values, kind = self._stored(tensor), tensor.dtype
        if not is_real(tensor):
            values, kind = self.emit("Cast", values, to=TensorProto.FLOAT), np.float32
        least = self.constant(-np.inf, kind)
        if self._frame(tensor) != WHOLE:
            values = self.emit("Where", self.inside(tensor), values, least)
        return find_switches(self, layer, values, least)

    def _frame(self, tensor: gs.Tensor) -> Frame:
        return (self.canonical.frames or {}).get(tensor.name, WHOLE)

    def _input(self, name: str, tensor: gs.Tensor) -> gs.Tensor:
        """The input of the companion that bears a forward value."""
        return self.values.setdefault(name, gs.Variable(_allowed(name), tensor.dtype, self.rows(tensor)))

    def _windowed(self, tensor: gs.Tensor, source: str) -> gs.Tensor:
        """The window that a tensor is, cut out of the whole map."""
        frame, sizes = self._frame(tensor), [*dims(tensor)]
        for span in frame:
            sizes[span.axis] = span.extent
        maps = self._input(source, gs.Variable(source, tensor.dtype, sizes))
        if not self.batched:
            return maps
        if tensor.name not in self._windows:
            images = self.values.setdefault(IMAGE, gs.Variable(IMAGE, np.int64, [None]))
            places = [self._places(span) for span in frame]
            self._windows[tensor.name] = cut_windows(self, maps, tensor, frame, images, places)
        return self._windows[tensor.name]

    def inside(self, tensor: gs.Tensor) -> gs.Tensor:
        """Whether each position of a window lies in the map: bools that broadcast with its signal."""
        parts: list[gs.Tensor] = []
        for span in self._frame(tensor):
            places = self._places(span)
            held = self.emit(
                "And",
                self.emit("GreaterOrEqual", places, self.ints(0)),
                self.emit("Less", places, self.ints(span.extent)),
            )
            sizes = [-1, *(span.size if axis == span.axis else 1 for axis in range(1, len(dims(tensor))))]
            parts.append(self.emit("Reshape", held, self.ints(sizes)))
        return parts[0] if len(parts) == 1 else self.emit("And", *parts)

    def paste(self, signal: gs.Tensor, window: gs.Tensor) -> gs.Tensor:
        """The signal of a window, at its place in the whole map; what sticks out is dropped."""
        axes = ascii_lowercase[: len(dims(window))]
        factors, pasted, equation = [signal], axes, axes
        for span in self._frame(window):
            here = self.emit("Unsqueeze", self._places(span), self.ints([1]))
            hit = self.emit("Equal", here, self.constant(np.arange(span.extent)[:, None], np.int64))
            factors.append(self.real(hit))
            equation += f",{axes[0]}{axes[span.axis].upper()}{axes[span.axis]}"
            pasted = pasted.replace(axes[span.axis], axes[span.axis].upper())
        return self.emit("Einsum", *factors, equation=f"{equation}->{pasted}")

    def _places(self, span: Span) -> gs.Tensor:
        """Where along its axis each position of a span lies: [K, size]."""
        place = self.values.setdefault(PLACE, gs.Variable(PLACE, np.int64, [None, 2]))
        unit = self.slice(place, [span.side], [span.side + 1], [1])
        first = self.emit("Mul", unit, self.ints(span.jump))
        return self.emit("Add", first, self.ints([span.start + offset for offset in range(span.size)]))

    def scatter_add(self, indices: gs.Tensor, signal: gs.Tensor, like: gs.Tensor) -> gs.Tensor:
        """The signal [K, C, ...] put at `indices` of each plane of `like`; what meets at one place adds up."""
        size = dims(like)[2:]
        flat = self.emit("Reshape", signal, self.ints([0, 0, -1]))
        places = self.emit("Reshape", indices, self.ints([0, 0, -1]))
        shared = (self.canonical.frames or {}).get(self.pooled.get(indices.name, ""), WHOLE) == WHOLE
        return self.emit("Reshape", self.scatter(places, flat, 2, prod(size), shared=shared), self.ints([0, 0, *size]))

    def max_unpool(self, layer: gs.Node, signal: gs.Tensor) -> gs.Tensor:
        """What `scatter_add` gives, from MaxUnpool nodes: they overwrite, so windows that overlap go to different
        ones.
        """
        size, pooled = dims(layer.inputs[0])[1:], dims(layer.outputs[0])[2:]
        if self.dtype != np.float32:
            raise UnsupportedError("MaxUnpool takes float32 only; choose scatter")
        offsets = self.emit("Range", self.ints(0), self._batch(signal, squeeze=True), self.ints(1))
        offsets = self.emit("Reshape", offsets, self.ints([-1, *[1] * (len(size))]))
        channels = self.emit("Reshape", self.ints(range(size[0])), self.ints([1, -1, *[1] * (len(size) - 1)]))
        planes = self.emit("Add", self.emit("Mul", offsets, self.ints(size[0])), channels)
        indices = self.emit("Add", self.switches(layer), self.emit("Mul", planes, self.ints(prod(size[1:]))))
        shape = self.emit("Concat", self._batch(signal), self.ints(size), axis=0)
        extents = [(k - 1) * d + 1 for k, d in zip(layer.attrs["kernel_shape"], layer.attrs["dilations"], strict=True)]
        phases = [ceil(extent / stride) for extent, stride in zip(extents, layer.attrs["strides"], strict=True)]
        parts: list[gs.Tensor] = []
        for starts in product(*(range(min(p, out)) for p, out in zip(phases, pooled, strict=True))):
            axes = list(range(2, 2 + len(pooled)))
            chosen = [self.slice(t, starts, pooled, axes, phases) for t in (signal, indices)]
            unit = [1] * len(pooled)
            parts.append(self.emit("MaxUnpool", *chosen, shape, kernel_shape=unit, strides=unit))
        return self.total(parts)

    def filter(self, layer: gs.Node, signal: gs.Tensor, weight: gs.Tensor, like: gs.Tensor, group: int) -> gs.Tensor:
        """The transpose of a convolution with the window attributes of `layer`, as large as `like`."""
        strides, dilations, pads = (list(layer.attrs[name]) for name in ("strides", "dilations", "pads"))
        size, rank = dims(like)[2:], len(strides)
        reached = window_ends(layer)
        begins = pads[:rank]
        if group == 1 and size == tuple(layer.attrs["kernel_shape"]) == tuple(reached) and not any(pads):
            # from one place to one kernel: a product of matrices reads the weights once for all signals
            kernels = self.emit("MatMul", *(self.emit("Reshape", t, self.ints([0, -1])) for t in (signal, weight)))
            return self.emit("Reshape", kernels, self.ints([0, -1, *size]))
        # a window of ceil_mode may reach beyond the pads
        ends = [max(e, r - n - b) for e, r, n, b in zip(pads[rank:], reached, size, begins, strict=True)]
        rest = [n + b + e - r for n, b, e, r in zip(size, begins, ends, reached, strict=True)]
        common: dict[str, Any] = {
            "strides": strides,
            "dilations": dilations,
            "group": group,
            "output_padding": rest,
            "kernel_shape": list(layer.attrs["kernel_shape"]),
        }
        if begins == ends:
            return self.emit("ConvTranspose", signal, weight, pads=begins + ends, **common)
        # CUDA takes symmetric pads only: transpose as if without pads, then cut them off
        padded = self.emit("ConvTranspose", signal, weight, pads=[0] * 2 * rank, **common)
        return self.slice(padded, begins, [b + n for b, n in zip(begins, size, strict=True)], range(2, rank + 2))

    def zeros_along(self, signal: gs.Tensor, axis: int, size: int, rank: int) -> gs.Tensor:
        """Zeros in the shape of `signal`, but `size` long along `axis`."""
        shape = [1] * rank
        shape[axis] = size
        # the shape of a slice stays a plain input; one computed from numbers would leave the GPU
        one = self.slice(signal, [0], [1], [axis])
        return self.emit("Expand", self.constant(np.zeros(shape)), self.emit("Shape", one))

    def reshape_like(self, signal: gs.Tensor, tensor: gs.Tensor) -> gs.Tensor:
        """The signal in the shape of `tensor`, whatever its batch."""
        return self.emit("Reshape", signal, self.ints([-1 if size is None else size for size in self.rows(tensor)]))

    def unbroadcast(self, signal: gs.Tensor, layer: gs.Node, tensor: gs.Tensor) -> gs.Tensor:
        """The signal at the output of `layer` summed over the axes along which `tensor` was repeated."""
        outs, ins = dims(layer.outputs[0]), dims(tensor)
        extra = len(outs) - len(ins)
        axes = [a for a, size in enumerate(outs) if a < extra or (ins[a - extra] == 1 and size != 1)]
        if not axes:
            return signal
        if 0 in axes and self.batched:
            raise BatchError(f"{tensor.name!r} descends from the image but is shared by the batch")
        summed = self.emit("ReduceSum", signal, self.ints(axes), keepdims=1)
        return self.reshape_like(summed, tensor) if extra else summed

    def rectify(self, signal: gs.Tensor, rectifier: Rectifier, gain: bool) -> gs.Tensor:
        """r(signal), where f(tx)/t -> r(x) as t grows; without `gain`, scaled so that it keeps what is positive."""
        above, below = rectifier.above, rectifier.below / rectifier.above
        if not below.any():
            signal = self.emit("Relu", signal)
        elif np.ptp(below) > 0:
            signal = self.emit("PRelu", signal, self.constant(below))
        elif below.flat[0] != 1:
            signal = self.emit("LeakyRelu", signal, alpha=float(below.flat[0]))
        return self.emit("Mul", signal, self.constant(above)) if gain and not np.allclose(above, 1) else signal

    def gather_back(self, signal: gs.Tensor, places: Sequence[int], axis: int, like: gs.Tensor) -> gs.Tensor:
        """The transpose of taking `places` along `axis` of the tensor `like`; what meets at one place adds up."""
        size, rank = dims(like)[axis], len(dims(like))
        order = np.argsort(places, kind="stable")
        if np.array_equal(np.asarray(places)[order], np.arange(size)):
            return self.emit("Gather", signal, self.ints(order.tolist()), axis=axis)
        column = np.reshape(places, [-1 if a == axis else 1 for a in range(rank)])
        return self.scatter(self.constant(column, np.int64), signal, axis, size, rank)

    def scatter(
        self, places: gs.Tensor, signal: gs.Tensor, axis: int, size: int, rank: int = 3, shared: bool = True
    ) -> gs.Tensor:
        """The signal put at `places` of an axis `size` long; what meets at one place adds up. `shared` places are
        repeated for what shares them.
        """
        if shared:
            places = self.emit("Expand", places, self.emit("Shape", signal))
        return self.add_at("ScatterElements", self.zeros_along(signal, axis, size, rank), places, signal, axis=axis)

    def add_at(self, op: str, zeros: gs.Tensor, places: gs.Tensor, signal: gs.Tensor, **attrs: Any) -> gs.Tensor:
        """What ScatterElements or ScatterND adds up, in float32: onnxruntime adds no float16 on the CPU."""
        if self.dtype == np.float32:
            return self.emit(op, zeros, places, signal, reduction="add", **attrs)
        single = [self.emit("Cast", t, to=TensorProto.FLOAT) for t in (zeros, signal)]
        summed = self.emit(op, single[0], places, single[1], reduction="add", **attrs)
        return self.emit("Cast", summed, to=helper.np_dtype_to_tensor_dtype(self.dtype))

    def total(self, signals: Sequence[gs.Tensor]) -> gs.Tensor:
        """The sum of signals that meet at one tensor."""
        return signals[0] if len(signals) == 1 else self.emit("Sum", *signals)

    def mask(self, condition: gs.Tensor, signal: gs.Tensor) -> gs.Tensor:
        """The signal where the condition holds, else zero."""
        return self.emit("Where", condition, signal, self.constant(0))

    def _batch(self, signal: gs.Tensor, squeeze: bool = False) -> gs.Tensor:
        batch = self.emit("Shape", signal, start=0, end=1)
        return self.emit("Squeeze", batch) if squeeze else batch

    def _recompute(self, node: gs.Node) -> None:
        """Repeat a node that only the canonical form has, so that its outputs are at hand in the companion."""
        if node.op == "DequantizeLinear":
            self._recomputed[node.outputs[0].name] = self._dequantized(node)
            return
        inputs = [t if t.is_empty() else self._stored(t) for t in node.inputs]
        if (node.domain, node.op) == (OWN, "Extend"):
            zero = self.constant(0, node.outputs[0].dtype)
            self._recomputed[node.outputs[0].name] = self.emit("Where", self.inside(node.inputs[0]), *inputs, zero)
            return
        outputs = [gs.Variable(self.fresh(t.name), t.dtype) for t in node.outputs]
        self._recomputed |= {t.name: made for t, made in zip(node.outputs, outputs, strict=True)}
        made = gs.Node(node.op, outputs[0].name, dict(node.attrs), inputs, outputs, node.domain)
        self.graph.nodes.append(made)

    def _dequantized(self, node: gs.Node) -> gs.Tensor:
        """(integer - zero point) * scale, in plain words: a DequantizeLinear before a product makes onnxruntime
        quantise the other factor too, which is the signal.
        """
        rank, axis = len(dims(node.inputs[0])), node.attrs.get("axis", 1)

        def aligned(tensor: gs.Tensor) -> gs.Tensor:
            value = self.numbers(tensor)
            if prod(dims(tensor)) == 1:
                return value
            return self.emit("Reshape", value, self.ints([-1 if a == axis % rank else 1 for a in range(rank)]))

        value = self.numbers(node.inputs[0])
        if len(node.inputs) > 2 and not node.inputs[2].is_empty():
            value = self.emit("Sub", value, aligned(node.inputs[2]))
        return self.emit("Mul", value, aligned(node.inputs[1]))


def _allowed(name: str) -> str:
    """The name, which a tensor of the user's brings along. Raises UnsupportedError where it is ours."""
    if name in RESERVED:
        raise UnsupportedError(f"the model has a tensor named {name!r}, a reserved name; rename it")
    return name

"""The companion of windows: what the runtime runs, where the exported one takes and gives whole maps."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import ModelProto

from zfviz.graph.canonical import Canonical
from zfviz.graph.companion import build
from zfviz.graph.frames import window_form
from zfviz.graph.net import IMAGE, PLACE, BatchError, FrameError, Net, Precision
from zfviz.graph.reach import WHOLE, Frame, dims
from zfviz.graph.rules import Method


@dataclass(frozen=True, slots=True)
class Value:
    """A forward value that a companion takes: the tensor it is of, and the part of it."""

    tensor: str
    frame: Frame


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """A max-pool whose switches a companion takes, as places in the part of its input `tensor` that signals go to.

    `kernel`, `strides`, `dilations`, `pads` and the size of the map that is `made` are those of the user's node;
    `frame` is the part of that map, `plane` the size of the part of the input, and `before` how far before that part
    the first window begins.
    """

    tensor: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    made: tuple[int, ...]
    frame: Frame
    plane: tuple[int, ...]
    before: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Windowed:
    """A companion graph of windows with what it takes.

    `signal` is the part of the layer that a signal has, `pixels` the part of the image that comes out; `values` and
    `pools` say what it needs of the forward values. Each of these is an input; or, where it is `cutting`, the tensors
    that they are of are its inputs, and it has no pools. `unit_inputs` are those that say of which image and where the
    units are; `largest` is the size in bytes of its largest signal. One that is not `batched` takes one signal and the
    forward values of one image, all whole.
    """

    proto: ModelProto
    batched: bool
    cutting: bool
    dtype: np.dtype
    shape: tuple[int, ...]
    signal: Frame
    pixels: Frame
    values: Mapping[str, Value]
    pools: Mapping[str, Pool]
    unit_inputs: tuple[str, ...]
    largest: int
    inexact: tuple[str, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """What it asks of the forward graph."""
        return tuple(dict.fromkeys(asked.tensor for asked in (*self.values.values(), *self.pools.values())))


def build_windowed(
    canonical: Canonical,
    layer: str,
    start: Frame,
    method: Method = "deconvnet",
    precision: Precision = "float32",
    cutting: bool = False,
) -> Windowed:
    """The companion of the layer whose output tensor is `layer`, for signals within `start`. One that is `cutting`
    makes windows and switches of whole maps itself.

    Raises UnsupportedError with every op that stops the signal.
    """
    try:
        return _build(canonical, layer, start, method, precision, cutting)
    except BatchError:
        return _build(canonical, layer, WHOLE, method, precision, cutting, batched=False)
    except FrameError:
        return build_windowed(canonical, layer, WHOLE, method, precision, cutting)


def _build(
    canonical: Canonical,
    layer: str,
    start: Frame,
    method: Method,
    precision: Precision,
    cutting: bool,
    batched: bool = True,
) -> Windowed:
    framed = window_form(canonical, layer, start)
    net = Net(framed, batched=batched, precision=precision, cutting=cutting)
    companion = build(net, layer, method)
    frames = framed.frames or {}
    nodes = {node.outputs[0].name: node for node in canonical.graph.nodes}
    pools = {name: _pool(net.pools[name], nodes[net.pooled[name]], framed) for name in companion.switches}
    values = {
        name: Value(tensor, frames[name])
        for name, tensor in net.sources.items()
        if (tensor if cutting else name) in companion.values
    }
    (target,) = (t for node in framed.graph.nodes for t in node.outputs if t.name == layer)
    return Windowed(
        companion.proto,
        batched,
        cutting,
        companion.dtype,
        dims(target),
        frames[layer],
        frames[canonical.image.name],
        values,
        pools,
        tuple(name for name in (PLACE, IMAGE) if name in companion.values),
        max(prod(dims(t)[1:]) for node in framed.graph.nodes for t in node.outputs) * companion.dtype.itemsize,
        companion.inexact,
    )


def _pool(framed: gs.Node, node: gs.Node, canonical: Canonical) -> Pool:
    maker = canonical.made_by[node.outputs[0].name]
    kernel, strides, dilations, pads = (
        tuple(node.attrs[name]) for name in ("kernel_shape", "strides", "dilations", "pads")
    )
    attrs: Mapping[str, Any] = framed.attrs
    return Pool(
        tensor=maker.input[0],
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads=pads,
        made=dims(node.outputs[0])[2:],
        frame=tuple(sorted((canonical.frames or {})[framed.outputs[0].name], key=lambda span: span.axis)),
        plane=dims(framed.inputs[0])[2:],
        before=tuple(attrs["pads"][: len(kernel)]),
    )

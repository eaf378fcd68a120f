"""Summaries: what the maps of layers come down to, computed in the forward graph, so that no map has to leave it."""

from collections.abc import Sequence
from math import frexp
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from zfviz.graph.canonical import Canonical
from zfviz.graph.exposure import cut, expose
from zfviz.graph.layers import Layer


class Summarizer:
    """A forward graph that also gives numbers for each channel of its layers: float32 [N, C, 1, 1] each. Every method
    adds an output and gives its name.

    It is said with operators that read the same in every opset that onnxruntime runs, and that have kernels for the
    layout that it gives to what comes out of a Conv: turning maps to another one takes longer than summing them up.
    """

    def __init__(self, canonical: Canonical, layers: Sequence[Layer]) -> None:
        """The layers are those that are going to be summarised, or kept."""
        self._proto = expose(canonical, [layer.tensor for layer in layers], {})
        self._types = {output.name: output.type.tensor_type for output in self._proto.graph.output}
        self._added: dict[tuple[object, ...], str] = {}
        self._outputs: list[str] = []

    def peak(self, layer: Layer) -> str:
        """The largest value of each channel; any number where one of its values is NaN."""
        return self._output("GlobalMaxPool", self._map(layer))

    def mean(self, layer: Layer) -> str:
        """The mean of each channel, which is NaN or infinite where one of its values is."""
        return self._output("GlobalAveragePool", self._map(layer))

    def share_above(self, layer: Layer, limit: float = 0.0) -> str:
        """Which share of each channel is above `limit`, a float32; any number where one of its values is NaN."""
        # the steepest HardSigmoid is a step
        steep = 2.0 ** (126 - max(0, frexp(limit)[1]))
        step = self._add("HardSigmoid", self._map(layer), alpha=steep, beta=-limit * steep)
        if not limit:
            # but for the smallest numbers above zero, 1e-45 to 1e-38: for those, two are
            step = self._add("HardSigmoid", step, alpha=steep, beta=0.0)
        return self._output("GlobalAveragePool", step)

    def finish(self, kept: Sequence[Layer]) -> ModelProto:
        """The part of the graph that gives the summaries, and the layers that are `kept`."""
        names = {layer.tensor for layer in kept}
        values = [output for output in self._proto.graph.output if output.name in names]
        values += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in self._outputs]
        return cut(self._proto, values)

    def _map(self, layer: Layer) -> str:
        """The values of a layer as `Layer.as_map` gives them: [N, C, H, W], float32; H and W are 1 where it has no
        map.
        """
        stored = self._types[layer.tensor]
        values = layer.tensor
        if stored.elem_type != TensorProto.FLOAT:
            values = self._add("Cast", values, to=TensorProto.FLOAT)
        if helper.tensor_dtype_to_np_dtype(stored.elem_type).kind in "iu":
            above = self._add("Sub", values, self._constant(np.float32(layer.zero)))
            values = self._add("Mul", above, self._constant(np.float32(layer.scale)))
        turned = layer.order != tuple(range(len(layer.order)))
        if turned:
            values = self._add("Transpose", values, perm=layer.order)
        shape = [*layer.shape, 1, 1][:3]
        # also where the graph leaves the shape open: a map that is not what it was expected to be does not fit
        if turned or [size.dim_value for size in stored.shape.dim][1:] != shape:
            values = self._add("Reshape", values, self._constant(np.array([-1, *shape])))
        return values

    def _output(self, op: str, values: str) -> str:
        name = self._add(op, values)
        if name not in self._outputs:
            self._outputs.append(name)
        return name

    def _add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The output of a node, of one that is there already where there is one."""
        key = (op, inputs, *attributes.values())
        if key not in self._added:
            self._added[key] = f"zfviz/summary{len(self._added)}"
            node = helper.make_node(op, inputs, [self._added[key]], self._added[key], **attributes)
            self._proto.graph.node.append(node)
        return self._added[key]

    def _constant(self, values: np.ndarray | np.generic) -> str:
        key = (values.dtype.str, values.tobytes())
        if key not in self._added:
            self._added[key] = f"zfviz/summary{len(self._added)}"
            self._proto.graph.initializer.append(numpy_helper.from_array(np.asarray(values), self._added[key]))
        return self._added[key]

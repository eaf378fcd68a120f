"""Graphs in the shapes that tf2onnx 1.17 writes from TensorFlow, with seeded noise for weights.

TensorFlow's images are NHWC. tf2onnx puts Transposes around every op that wants NCHW, then pushes them through whatever
it can; both outcomes are held here, and every spelling was read off graphs that tf2onnx wrote.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from exporters.nodes import Nodes, Operand, save
from exporters.specimen import Specimen
from onnx import TensorProto, helper, shape_inference

_EXPORTER = "tf2onnx (NHWC)"
_IR = {9: 4, 11: 6, 13: 7, 15: 8}
END = np.iinfo(np.int32).max


class Graph(Nodes):
    """Layers as tf2onnx writes them. Convolutions are NCHW, as in ONNX."""

    def __init__(self, opset: int, seed: int = 0) -> None:
        super().__init__(opset, seed, "StatefulPartitionedCall/net/", "const", ":0")
        self.shapes: list[onnx.ValueInfoProto] = []

    def nchw(self, x: str) -> str:
        return self.op("Transpose", x, perm=[0, 3, 1, 2])

    def nhwc(self, x: str) -> str:
        return self.op("Transpose", x, perm=[0, 2, 3, 1])

    def conv(
        self,
        x: str,
        channels: int,
        filters: int,
        size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        group: int = 1,
        weight: str = "",
        bias: bool = True,
        padding: str = "SAME",
    ) -> str:
        """A Conv2D whose SAME padding is written out if padding says so, and left to auto_pad if it is SAME_UPPER."""
        return self.op(
            "Conv",
            x,
            weight or self.kernel(filters, channels // group, size, size),
            *([self.noise(filters)] if bias else []),
            dilations=[dilation] * 2,
            group=group,
            kernel_shape=[size] * 2,
            strides=[stride] * 2,
            **_padding(padding, size, stride, dilation),
        )

    def depthwise(self, x: str, channels: int, size: int = 3, **options: object) -> str:
        return self.conv(x, channels, channels, size, group=channels, bias=False, **options)

    def pool(self, kind: str, x: str, size: int, stride: int, padding: str = "SAME") -> str:
        return self.op(kind, x, kernel_shape=[size] * 2, strides=[stride] * 2, **_padding(padding, size, stride))

    def affine(self, x: str, channels: int) -> str:
        """A batch norm that could not be folded into a convolution."""
        shape = (1, channels, 1, 1)
        return self.op("Add", self.op("Mul", x, self.noise(*shape, mean=1.0)), self.noise(*shape))

    def batch_norm(self, x: str, channels: int) -> str:
        scale, shift, mean, variance = (self.noise(channels, mean=centre) for centre in (1.0, 0.0, 0.0, 3.0))
        return self.op("BatchNormalization", x, scale, shift, mean, variance, epsilon=0.001)

    def dense(self, x: str, features: int, units: int) -> str:
        weight = self.noise(features, units, spread=0.5 / math.sqrt(features))
        return self.op("Add", self.op("MatMul", x, weight), self.noise(units))

    def clip(self, x: str, low: float, high: float) -> str:
        return self.op("Clip", x, low, high) if self.opset >= 11 else self.op("Clip", x, min=low, max=high)

    def relu6(self, x: str) -> str:
        return self.clip(x, 0.0, 6.0)

    def swish(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def hard_sigmoid(self, x: str) -> str:
        return self.op("Mul", self.relu6(self.op("Add", x, 3.0)), 1 / 6)

    def hard_swish(self, x: str) -> str:
        return self.op("Mul", x, self.hard_sigmoid(x))

    def pad(self, x: str, pads: Sequence[int], mode: str = "constant") -> str:
        return self.op("Pad", x, pads, mode=mode) if self.opset >= 11 else self.op("Pad", x, pads=pads, mode=mode)

    def squeeze(self, x: str, axes: Sequence[int]) -> str:
        return self.op("Squeeze", x, axes) if self.opset >= 13 else self.op("Squeeze", x, axes=axes)

    def slice(self, x: str, start: int, end: int, axis: int = 0) -> str:
        if self.opset >= 10:
            return self.op("Slice", x, [start], [end], [axis])
        return self.op("Slice", x, starts=[start], ends=[end], axes=[axis])

    def reshape(self, x: str, shape: str, *rest: int) -> str:
        """Reshape to the batch in `shape` and then `rest`, through the int32 chain of tf.shape and tf.stack."""
        batch = self.slice(self.op("Cast", shape, to=TensorProto.INT32), 0, 1)
        wanted = self.op("Concat", batch, *([np.int32([size]) for size in rest]), axis=0)
        result = self.op("Reshape", x, self.op("Cast", wanted, to=TensorProto.INT64))
        known = [None, *(None if size < 0 else size for size in rest)]
        self.shapes.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, known))  # TensorFlow knew it
        return result

    def resize(self, x: str, target: Operand, mode: str, coordinates: str) -> str:
        """Resize NCHW by scales, or to the int64 sizes of the spatial axes if `target` is a name."""
        none = np.float32([])
        nearest = "round_prefer_ceil" if coordinates == "align_corners" else "floor"
        attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
        if mode == "cubic":
            attributes |= {"cubic_coeff_a": -0.5, "exclude_outside": 1}
        if not isinstance(target, str):
            return self.op("Resize", x, none, np.float32([1, 1, *target]), **attributes)
        sizes = self.op("Concat", self.slice(self.op("Shape", x), 0, 2), target, axis=0)
        return self.op("Resize", x, none, none, sizes, **attributes)

    def sizes(self, x: str) -> str:
        """Height and width of an NHWC tensor, as tf.shape(x)[1:3] comes out."""
        shape = self.op("Cast", self.op("Shape", x), to=TensorProto.INT32)
        return self.op("Cast", self.slice(shape, 1, 3), to=TensorProto.INT64)


Build = Callable[[Graph, str], list[str]]


def _padding(padding: str, size: int, stride: int, dilation: int = 1) -> dict[str, object]:
    if padding == "SAME_UPPER":
        return {"auto_pad": padding}
    if padding == "VALID":
        return {}
    total = max((size - 1) * dilation + 1 - stride, 0)  # of a size that the stride divides
    return {"pads": [total // 2] * 2 + [total - total // 2] * 2}


def _write(folder: Path, name: str, build: Build, opset: int, shape: tuple[int | str, ...], kind: int) -> Path:
    g = Graph(opset)
    results = build(g, "image")
    masks = {name for node in g.nodes if node.op_type == "ArgMax" for name in node.output}
    image = helper.make_tensor_value_info("image", kind, shape)
    outputs = [
        helper.make_tensor_value_info(result, TensorProto.INT64 if result in masks else TensorProto.FLOAT, None)
        for result in results
    ]
    graph = helper.make_graph(g.nodes, "tf2onnx", [image], outputs, g.weights, value_info=g.shapes)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR[opset], producer_name="tf2onnx")
    model = shape_inference.infer_shapes(model, check_type=True)
    onnx.checker.check_model(model)
    return save(model, folder, name)


def specimen(name: str, build: Build, opset: int, *shape: int | str, kind: int = TensorProto.FLOAT) -> Specimen:
    name = f"tf2onnx {name}"
    return Specimen(_EXPORTER, name, partial(_write, name=name, build=build, opset=opset, shape=shape, kind=kind))

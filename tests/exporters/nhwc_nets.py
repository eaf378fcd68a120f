"""Graphs in the shapes that tf2onnx 1.17 writes from TensorFlow, with seeded noise for weights.

TensorFlow's images are NHWC. tf2onnx puts Transposes around every op that wants NCHW, then pushes them through whatever
it can; both outcomes are held here, and every spelling was read off graphs that tf2onnx wrote.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from exporters.specimen import Specimen
from onnx import TensorProto, helper, numpy_helper, shape_inference

_EXPORTER = "tf2onnx (NHWC)"
_IR = {9: 4, 11: 6, 13: 7, 15: 8}
_END = np.iinfo(np.int32).max

Operand = str | float | Sequence[int] | np.ndarray


class _Graph:
    """Collects nodes. Convolutions are NCHW, as in ONNX; operands that are no names become initializers."""

    def __init__(self, opset: int, seed: int = 0) -> None:
        self.opset = opset
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.shapes: list[onnx.ValueInfoProto] = []

    def const(self, value: Operand) -> str:
        array = np.float32(value) if isinstance(value, float) else np.asarray(value)
        name = f"const_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def ops(self, kind: str, *operands: Operand, outputs: int = 1, **attributes: object) -> list[str]:
        names = [operand if isinstance(operand, str) else self.const(operand) for operand in operands]
        scope = f"StatefulPartitionedCall/net/{kind}_{len(self.nodes)}"
        results = [f"{scope}:{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, results, name=scope, **attributes))
        return results

    def op(self, kind: str, *operands: Operand, **attributes: object) -> str:
        return self.ops(kind, *operands, **attributes)[0]

    def noise(self, *shape: int, mean: float = 0.0, spread: float = 0.1) -> np.ndarray:
        return self.rng.normal(mean, spread, shape).astype(np.float32)

    def kernel(self, *shape: int) -> np.ndarray:
        return self.noise(*shape, spread=math.sqrt(2 / math.prod(shape[1:])))

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


Net = Callable[[_Graph, str], list[str]]


def _padding(padding: str, size: int, stride: int, dilation: int = 1) -> dict[str, object]:
    if padding == "SAME_UPPER":
        return {"auto_pad": padding}
    if padding == "VALID":
        return {}
    total = max((size - 1) * dilation + 1 - stride, 0)  # of a size that the stride divides
    return {"pads": [total // 2] * 2 + [total - total // 2] * 2}


def _mobilenet_v1(g: _Graph, image: str) -> list[str]:
    x = g.relu6(g.conv(g.nchw(image), 3, 16, stride=2))
    for channels, filters, stride in ((16, 24, 1), (24, 32, 2), (32, 32, 1), (32, 48, 2)):
        x = g.relu6(g.affine(g.depthwise(x, channels, stride=stride), channels))
        x = g.relu6(g.conv(x, channels, filters, 1))
    x = g.op("Reshape", g.op("GlobalAveragePool", x), [-1, 48, 1, 1])
    return [g.op("Softmax", g.squeeze(g.conv(x, 48, 5, 1), [2, 3]), axis=1)]


def _mobilenet_v2(g: _Graph, image: str) -> list[str]:
    def relu6(x: str) -> str:
        return g.op("Min", g.op("Max", x, 0.0), 6.0)

    same = "SAME_UPPER"  # what tf2onnx falls back to where it does not know the size
    x = relu6(g.conv(g.nchw(image), 3, 16, stride=2, padding=same))
    for channels, filters, stride in ((16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1)):
        y = relu6(g.conv(x, channels, 4 * channels, 1))
        y = relu6(g.affine(g.depthwise(y, 4 * channels, stride=stride, padding=same), 4 * channels))
        y = g.conv(y, 4 * channels, filters, 1)
        x = g.op("Add", x, y) if channels == filters and stride == 1 else y
    x = g.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    return [g.op("Softmax", g.dense(x, 32, 5), axis=1)]


def _mobilenet_v3(g: _Graph, image: str) -> list[str]:
    """Every Transpose stays: a scalar Add makes tf2onnx's optimizer give up, as on the real MobileNetV3."""

    def conv(x: str, *sizes: int, **options: object) -> str:
        return g.nhwc(g.conv(g.nchw(x), *sizes, **options))

    x = g.op("Add", g.op("Mul", image, 1 / 127.5), -1.0)
    x = g.hard_swish(conv(x, 3, 16, stride=2))
    for channels, filters, stride in ((16, 16, 2), (16, 24, 2), (24, 24, 1)):
        width = 2 * channels
        y = g.hard_swish(conv(x, channels, width, 1))
        if stride == 2:
            y = g.pad(y, [0, 0, 0, 0, 0, 1, 1, 0])
        y = g.nhwc(g.depthwise(g.nchw(y), width, stride=stride, padding="VALID" if stride == 2 else "SAME"))
        y = g.hard_swish(g.op("Add", g.op("Mul", y, g.noise(width, mean=1.0)), g.noise(width)))
        gate = g.op("ReduceMean", y, axes=[1, 2], keepdims=1)
        gate = g.hard_sigmoid(conv(g.op("Relu", conv(gate, width, 8, 1)), 8, width, 1))
        y = conv(g.op("Mul", y, gate), width, filters, 1)
        x = g.op("Add", y, x) if channels == filters and stride == 1 else y
    x = g.op("ReduceMean", g.hard_swish(conv(x, 24, 64, 1)), axes=[1, 2], keepdims=1)
    x = conv(g.hard_swish(conv(x, 64, 64, 1)), 64, 5, 1)
    return [g.op("Softmax", g.op("Reshape", x, [-1, 5]), axis=-1)]


def _efficientnet(g: _Graph, image: str) -> list[str]:
    """The kernels are still TensorFlow's HWIO, and the graph reshapes and transposes them."""

    def hwio(x: str, channels: int, size: int, stride: int) -> str:
        kernel = g.noise(size, size, channels, 1, spread=math.sqrt(2) / size)
        kernel = g.op("Transpose", g.op("Reshape", kernel, [size, size, 1, channels]), perm=[3, 2, 0, 1])
        return g.depthwise(x, channels, size, stride=stride, weight=kernel)

    x = g.op("Mul", image, 1 / 255)
    x = g.op("Mul", g.op("Sub", x, np.float32([0.485, 0.456, 0.406])), np.float32([4.37, 4.46, 4.44]))
    x = g.swish(g.conv(g.nchw(x), 3, 16, stride=2))
    for channels, filters, size, stride in ((16, 24, 3, 2), (24, 24, 5, 1), (24, 32, 5, 2), (32, 32, 3, 1)):
        width = 3 * channels
        y = g.swish(g.conv(x, channels, width, 1))
        y = g.swish(g.affine(hwio(y, width, size, stride), width))
        gate = g.op("Reshape", g.op("ReduceMean", g.nhwc(y), axes=[1, 2], keepdims=0), [-1, width, 1, 1])
        gate = g.op("Sigmoid", g.conv(g.swish(g.conv(gate, width, 6, 1)), 6, width, 1))
        y = g.conv(g.op("Mul", gate, y), width, filters, 1)
        x = g.op("Add", y, x) if channels == filters and stride == 1 else y
    x = g.squeeze(g.op("GlobalAveragePool", x), [2, 3])
    return [g.op("Softmax", g.dense(x, 32, 5), axis=1)]


def _convnext(g: _Graph, image: str) -> list[str]:
    """Norms as Keras folds them, x s + (b - m s), on either layout; dense layers on NHWC; both spellings of Gelu."""

    def norm(x: str, axes: Sequence[int], shape: Sequence[int]) -> str:
        mean = g.op("ReduceMean", x, axes=axes, keepdims=1)
        centred = g.op("Sub", x, mean)
        variance = g.op("ReduceMean", g.op("Mul", centred, centred), axes=axes, keepdims=1)
        inverse = g.op("Reciprocal", g.op("Sqrt", g.op("Add", variance, 1e-6)))
        scale = g.op("Mul", inverse, g.noise(*shape, mean=1.0))
        shift = g.op("Add", g.op("Mul", g.op("Neg", mean), scale), g.noise(*shape))
        return g.op("Add", g.op("Mul", x, scale), shift)

    def dense(x: str, features: int, units: int) -> str:
        shape = g.op("Cast", g.op("Shape", x), to=TensorProto.INT32)
        kept = g.op("Gather", shape, np.int32([0, 1, 2]), axis=0)
        wanted = g.op("Cast", g.op("Concat", kept, np.int32([units]), axis=0), to=TensorProto.INT64)
        y = g.op("MatMul", g.op("Reshape", x, [-1, features]), g.kernel(units, features).T)
        return g.op("Add", g.op("Reshape", y, wanted), g.noise(units))

    def gelu(x: str, exact: bool) -> str:
        half = g.op("Mul", 0.5, x)
        if exact:
            return g.op("Mul", half, g.op("Add", 1.0, g.op("Erf", g.op("Mul", x, math.sqrt(0.5)))))
        cubed = g.op("Add", x, g.op("Mul", 0.044715, g.op("Pow", x, 3.0)))
        return g.op("Mul", half, g.op("Add", 1.0, g.op("Tanh", g.op("Mul", math.sqrt(2 / math.pi), cubed))))

    x = g.conv(g.nchw(image), 3, 16, 4, stride=4)
    x = norm(x, [1], (1, 16, 1, 1))
    for exact in (True, False):
        y = g.nhwc(g.op("Add", g.depthwise(x, 16, 7), g.noise(1, 16, 1, 1)))
        y = dense(gelu(dense(norm(y, [3], (1, 1, 1, 16)), 16, 32), exact), 32, 16)
        x = g.op("Add", x, g.nchw(g.op("Mul", y, g.noise(16, mean=0.5))))
    x = g.op("Softsign", g.conv(x, 16, 24, 2, stride=2))
    groups = g.op("Reshape", g.nhwc(x), [-1, 8, 6, 4, 6])
    x = g.reshape(norm(groups, [1, 2, 4], (1, 1, 1, 4, 6)), g.op("Shape", x), 8, 6, 24)
    x = g.op("ReduceMean", x, axes=[1, 2], keepdims=0)
    return [g.dense(x, 24, 5)]


def _resnet_v2(g: _Graph, image: str) -> list[str]:
    x = g.nchw(g.pad(image, [0, 3, 3, 0, 0, 3, 3, 0]))
    x = g.pool("MaxPool", g.conv(x, 3, 16, 7, stride=2, padding="VALID"), 3, 2)
    for channels, filters, stride in ((16, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2)):
        y = g.op("Relu", g.batch_norm(x, channels))
        if channels != filters:
            x = g.conv(y, channels, filters, 1, stride=stride)
        elif stride == 2:
            x = g.pool("MaxPool", x, 1, 2)  # how slim subsamples
        y = g.op("Relu", g.conv(y, channels, filters // 4, 1))
        y = g.pad(y, [0, 0, 1, 1, 0, 0, 1, 1])
        y = g.op("Relu", g.conv(y, filters // 4, filters // 4, stride=stride, padding="VALID"))
        x = g.op("Add", x, g.conv(y, filters // 4, filters, 1))
    x = g.op("ReduceMean", g.op("Relu", g.batch_norm(x, 64)), axes=[2, 3], keepdims=1)
    x = g.nhwc(g.conv(x, 64, 5, 1))
    return [x, g.op("Softmax", g.squeeze(x, [1, 2]), axis=1)]


def _alexnet(g: _Graph, image: str) -> list[str]:
    """Two towers through Split and Concat, LRN, and a flatten that runs over NHWC."""

    def lrn(x: str) -> str:
        return g.op("LRN", x, alpha=0.009, beta=0.75, bias=1.0, size=9)

    x = g.op("Relu", g.conv(g.nchw(image), 3, 16, 11, stride=4))
    x = g.nhwc(g.pool("MaxPool", lrn(x), 3, 2, padding="VALID"))
    halves = g.ops("Split", x, axis=-1, outputs=2)
    halves = [g.nhwc(g.conv(g.nchw(half), 8, 16, 5, bias=False)) for half in halves]
    x = g.op("Relu", g.op("Add", g.op("Concat", *halves, axis=3), g.noise(32)))
    x = g.nhwc(g.pool("MaxPool", lrn(g.nchw(x)), 3, 2, padding="VALID"))
    x = g.op("Reshape", x, [-1, 7 * 5 * 32])
    return [g.dense(g.op("Relu", g.dense(x, 7 * 5 * 32, 48)), 48, 5)]


def _inception(g: _Graph, image: str) -> list[str]:
    x = g.op("Div", g.op("Cast", image, to=TensorProto.FLOAT), 255.0)
    x = g.op("Mul", g.op("Sub", x, 0.5), 2.0)
    x = g.op("Relu", g.conv(g.nchw(x), 3, 16, stride=2))
    for channels, stride in ((16, 1), (32, 2), (64, 1)):
        branches = [g.conv(x, channels, 8, 1), g.conv(g.op("Relu", g.conv(x, channels, 8, 1)), 8, 8, 5)]
        branches += [g.conv(g.pool("AveragePool", x, 3, 1), channels, 8, 1)]
        branches += [g.conv(g.conv(x, channels, 8, 1, bias=False), 8, 8, bias=False)]
        x = g.op("Relu", g.op("Concat", *branches, axis=1))
        if channels != 64:
            y = g.op("Relu", g.conv(x, 32, 32, stride=stride))
            x = g.op("Concat", y, g.pool("MaxPool", x, 3, stride), axis=1)
            x = g.conv(x, 64, 2 * channels, 1)
    x = g.pool("AveragePool", x, 8, 1, padding="VALID")
    logits = g.nhwc(g.conv(x, 32, 6, 1))
    return [g.op("Softmax", g.slice(g.reshape(logits, g.op("Shape", logits), 6), 1, _END, axis=1), axis=-1)]


def _shufflenet(g: _Graph, image: str) -> list[str]:
    x = g.nhwc(g.pool("MaxPool", g.op("Relu", g.conv(g.nchw(image), 3, 16, stride=2)), 3, 2))
    for _ in range(2):
        kept, y = g.ops("Split", x, axis=-1, outputs=2)
        y = g.op("Relu", g.conv(g.nchw(y), 8, 8, 1))
        y = g.nhwc(g.op("Relu", g.conv(g.affine(g.depthwise(y, 8), 8), 8, 8, 1)))
        x = g.op("Concat", kept, y, axis=3)
        apart = g.op("Transpose", g.op("Reshape", x, [-1, 16, 12, 2, 8]), perm=[0, 1, 2, 4, 3])
        x = g.reshape(apart, g.op("Shape", x), 16, 12, 16)
    x = g.op("Slice", x, *(np.int32(v) for v in ([0] * 4, [_END] * 4, [0, 1, 2, 3], [1, 2, 2, 1])))
    x = g.op("Concat", g.op("Relu", x), g.op("Relu", g.op("Neg", x)), axis=3)  # tf.nn.crelu
    x = g.op("ReduceMax", x, axes=[1, 2], keepdims=0)
    total = g.op("ReduceSum", g.op("Mul", x, x), [-1], keepdims=1)
    norm = g.op("Reciprocal", g.op("Sqrt", g.op("Max", total, 1e-12)))
    return [g.op("Mul", x, norm)]


def _ssd(g: _Graph, image: str) -> list[str]:
    """Boxes over anchors and their scores; every reshape asks tf.shape for the batch."""

    def flat(x: str, *rest: int) -> str:
        return g.reshape(g.nhwc(x), g.op("Gather", g.op("Shape", x), [0, 2, 3, 1]), *rest)

    x = g.relu6(g.conv(g.nchw(image), 3, 16, stride=2))
    boxes, scores = [], []
    for channels, filters in ((16, 24), (24, 32), (32, 32)):
        x = g.relu6(g.conv(g.relu6(g.depthwise(x, channels, stride=2)), channels, filters, 1))
        boxes.append(flat(g.conv(x, filters, 3 * 4), -1, 1, 4))
        scores.append(flat(g.conv(x, filters, 3 * 6), -1, 6))
    count = 3 * (16 * 12 + 8 * 6 + 4 * 3)
    offsets = g.squeeze(g.op("Concat", *boxes, axis=1), [2])
    y, x, height, width = g.ops("Split", offsets, axis=-1, outputs=4)
    tall, wide = (
        g.op("Mul", g.op("Exp", g.op("Mul", t, 0.2)), g.noise(count, 1, mean=0.2, spread=0.03)) for t in (height, width)
    )
    tall, wide = g.op("Mul", tall, 0.5), g.op("Mul", wide, 0.5)
    y, x = (g.op("Add", g.op("Mul", t, 0.1), g.noise(count, 1, mean=0.5, spread=0.2)) for t in (y, x))
    corners = [g.op(kind, centre, half) for kind in ("Sub", "Add") for centre, half in ((y, tall), (x, wide))]
    known = g.op("Sigmoid", g.op("Concat", *scores, axis=1))
    return [
        g.op("Concat", *corners, axis=2),
        g.slice(known, 1, _END, axis=2),
        g.op("Gather", known, np.int32([1, 3]), axis=-1),
    ]


def _yolo(g: _Graph, image: str) -> list[str]:
    """LeakyRelu as Max(x, 0.1 x), a reorg through SpaceToDepth, and cells decoded in the graph."""

    def leaky(x: str) -> str:
        return g.op("Max", g.op("Mul", x, 0.1), x)

    x = g.pool("MaxPool", leaky(g.conv(g.nchw(image), 3, 16)), 2, 2)
    early = g.pool("MaxPool", leaky(g.conv(x, 16, 16)), 2, 2)
    x = leaky(g.conv(g.pool("MaxPool", leaky(g.conv(early, 16, 32)), 2, 2), 32, 32))
    x = leaky(g.conv(g.op("Concat", g.op("SpaceToDepth", early, blocksize=2), x, axis=1), 96, 48, 1))
    cells = g.op("Reshape", g.nhwc(g.conv(x, 48, 2 * 9, 1)), [-1, 6, 8, 2, 9])
    starts = (0, 2, 4, 5, 9)
    centre, size, sure, kinds = (g.slice(cells, a, b, axis=4) for a, b in itertools.pairwise(starts))
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(6)), -1).astype(np.float32)[None, :, :, None]
    centre = g.op("Mul", g.op("Add", g.op("Sigmoid", centre), grid), np.float32([1 / 8, 1 / 6]))
    size = g.op("Mul", g.op("Exp", g.clip(size, -4.0, 4.0)), np.float32([[0.2, 0.3], [0.5, 0.4]]))
    sure = g.op("Mul", g.op("Sigmoid", sure), g.op("Softmax", kinds, axis=-1))
    merged = g.op("Concat", centre, size, sure, axis=4)
    return [g.reshape(merged, g.op("Shape", image), 6 * 8 * 2, 8)]


def _retinanet(g: _Graph, image: str) -> list[str]:
    """A pyramid through Upsample, and heads whose kernels all levels share."""
    same = "SAME_UPPER"
    x = g.op("Relu", g.conv(g.nchw(image), 3, 16, stride=2, padding=same))
    levels = [x := g.op("Relu", g.conv(x, 16, 16, stride=2, padding=same)) for _ in range(3)]
    tops = [g.conv(levels[2], 16, 16, 1)]
    for level in levels[1::-1]:
        wanted, had = (g.slice(g.op("Shape", g.nhwc(t)), 1, 3) for t in (level, tops[-1]))
        factors = g.op("Div", *(g.op("Cast", t, to=TensorProto.FLOAT) for t in (wanted, had)))
        up = g.op("Upsample", tops[-1], g.op("Concat", np.float32([1, 1]), factors, axis=0), mode="nearest")
        tops.append(g.op("Add", g.conv(level, 16, 16, 1), up))
    tower, head = g.const(g.kernel(16, 16, 3, 3)), g.const(g.kernel(3 * 5, 16, 3, 3))
    heads = []
    for top in tops:
        x = g.op("Relu", g.conv(top, 16, 16, weight=tower, padding=same))
        x = g.nhwc(g.conv(x, 16, 15, weight=head, padding=same))
        heads.append(g.reshape(x, g.op("Shape", x), -1, 5))
    return [g.op("Sigmoid", g.op("Concat", *heads, axis=1))]


def _deeplab(g: _Graph, image: str) -> list[str]:
    """Atrous convolutions, pooling to one pixel and back, and a mask at the size of whatever image came."""
    same = "SAME_UPPER"
    low = g.op("Relu", g.conv(g.nchw(image), 3, 16, stride=2, padding=same))
    x = g.op("Relu", g.conv(g.pool("MaxPool", low, 3, 2, padding=same), 16, 32, padding=same))
    pooled = g.op("Relu", g.conv(g.op("ReduceMean", x, axes=[2, 3], keepdims=1), 32, 8, 1))
    branches = [g.resize(pooled, g.sizes(g.nhwc(x)), "linear", "half_pixel")]
    for rate in (1, 2, 4):
        y = g.affine(g.depthwise(x, 32, dilation=rate), 32)
        branches.append(g.op("Relu", g.conv(g.op("Relu", y), 32, 8, 1)))
    x = g.op("Relu", g.conv(g.op("Concat", *branches, axis=1), 32, 16, 1))
    x = g.resize(x, g.sizes(g.nhwc(low)), "linear", "align_corners")
    x = g.op("Concat", x, g.op("Relu", g.conv(low, 16, 8, 1)), axis=1)
    x = g.resize(g.conv(x, 24, 4, padding=same), g.sizes(image), "linear", "half_pixel")
    return [g.op("Softmax", g.nhwc(x), axis=-1), g.op("ArgMax", x, axis=1, keepdims=0)]


def _unet(g: _Graph, image: str) -> list[str]:
    """Up by every way of tf.image.resize and by Conv2DTranspose; PRelu and leaky Relu6 as Keras spells them."""

    def prelu(x: str, channels: int) -> str:
        slope = g.noise(1, channels, 1, 1, mean=-0.25, spread=0.05)
        return g.op("Add", g.op("Relu", x), g.op("Mul", slope, g.op("Relu", g.op("Neg", x))))

    def leaky_relu6(x: str) -> str:
        return g.op("Sub", g.relu6(x), g.op("Mul", 0.1, g.op("Relu", g.op("Neg", x))))

    x = g.nchw(image)
    skips, channels = [], 3
    for filters in (8, 12, 16, 20):
        x = prelu(g.conv(x, channels, filters), filters)
        skips.append((x, filters))
        x, channels = g.pool("MaxPool", x, 2, 2), filters
    ways = (("nearest", "tf_half_pixel_for_nn"), ("linear", "asymmetric"), ("nearest", "asymmetric"))
    for (skip, filters), way in zip(reversed(skips), (*ways, ("cubic", "half_pixel")), strict=True):
        x = g.op("Concat", g.resize(x, [2.0, 2.0], *way), skip, axis=1)
        x, channels = leaky_relu6(g.conv(x, channels + filters, filters)), filters
    kernel = g.noise(channels, 6, 3, 3, spread=0.2)
    spans = {"kernel_shape": [3, 3], "strides": [2, 2], "dilations": [1, 1]}
    x = g.op("ConvTranspose", x, kernel, pads=[0, 0, 1, 1], auto_pad="NOTSET", **spans)
    return [g.op("Sigmoid", g.nhwc(g.conv(x, 6, 1)))]


def _style(g: _Graph, image: str) -> list[str]:
    """Instance norm through tf.nn.moments, reflected edges, and the picture as output."""

    def norm(x: str, channels: int) -> str:
        centred = g.op("Sub", x, g.op("ReduceMean", x, axes=[1, 2], keepdims=1))
        variance = g.op("ReduceMean", g.op("Mul", centred, centred), axes=[1, 2], keepdims=1)
        deviation = g.op("Sqrt", g.op("Add", variance, 1e-3))
        scaled = g.op("Mul", g.noise(channels, mean=1.0), g.op("Mul", centred, g.op("Reciprocal", deviation)))
        return g.op("Add", scaled, g.noise(channels))

    def conv(x: str, channels: int, filters: int, stride: int = 1) -> str:
        x = g.pad(x, [0, 1, 1, 0, 0, 1, 1, 0], mode="reflect")
        x = g.nhwc(g.conv(g.nchw(x), channels, filters, stride=stride, bias=False, padding="VALID"))
        return norm(x, filters)

    x = g.op("Relu", conv(g.op("Sub", image, np.float32([0.1, 0.0, -0.1])), 3, 12))
    x = g.op("Elu", conv(x, 12, 16, stride=2), alpha=1.0)
    x = g.op("Add", x, conv(g.op("Relu", conv(x, 16, 16)), 16, 16))
    x = g.nhwc(g.resize(g.nchw(x), [2.0, 2.0], "nearest", "tf_half_pixel_for_nn"))
    x = g.op("Tanh", conv(g.op("Softplus", conv(x, 16, 12)), 12, 3))
    return [g.op("Add", g.op("Mul", x, 150.0), 127.5)]


def _write(folder: Path, name: str, net: Net, opset: int, shape: tuple[int | str, ...], kind: int) -> Path:
    g = _Graph(opset)
    results = net(g, "image")
    masks = {name for node in g.nodes if node.op_type == "ArgMax" for name in node.output}
    image = helper.make_tensor_value_info("image", kind, shape)
    outputs = [
        helper.make_tensor_value_info(result, TensorProto.INT64 if result in masks else TensorProto.FLOAT, None)
        for result in results
    ]
    graph = helper.make_graph(g.nodes, "tf2onnx", [image], outputs, g.initializers, value_info=g.shapes)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR[opset], producer_name="tf2onnx")
    model = shape_inference.infer_shapes(model, check_type=True)
    onnx.checker.check_model(model)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def _specimen(name: str, net: Net, opset: int, *shape: int | str, kind: int = TensorProto.FLOAT) -> Specimen:
    name = f"tf2onnx {name}"
    return Specimen(_EXPORTER, name, partial(_write, name=name, net=net, opset=opset, shape=shape, kind=kind))


SPECIMENS: tuple[Specimen, ...] = (
    _specimen("MobileNetV1", _mobilenet_v1, 13, 1, 64, 48, 3),
    _specimen("MobileNetV2 any size", _mobilenet_v2, 9, "unk__1", "unk__2", "unk__3", 3),
    _specimen("MobileNetV3", _mobilenet_v3, 15, "unk__1", 64, 48, 3),
    _specimen("EfficientNet", _efficientnet, 13, "unk__1", 64, 64, 3),
    _specimen("ConvNeXt", _convnext, 15, "unk__1", 64, 48, 3),
    _specimen("ResNetV2", _resnet_v2, 11, 1, 64, 64, 3),
    _specimen("AlexNet", _alexnet, 11, "unk__1", 128, 96, 3),
    _specimen("Inception uint8", _inception, 13, "unk__1", 32, 32, 3, kind=TensorProto.UINT8),
    _specimen("ShuffleNet", _shufflenet, 13, "unk__1", 64, 48, 3),
    _specimen("SSD", _ssd, 13, "unk__1", 64, 48, 3),
    _specimen("YOLO", _yolo, 15, "unk__1", 48, 64, 3),
    _specimen("RetinaNet", _retinanet, 9, "unk__1", 64, 64, 3),
    _specimen("DeepLab any size", _deeplab, 13, "unk__1", "unk__2", "unk__3", 3),
    _specimen("UNet", _unet, 11, "unk__1", 32, 48, 3),
    _specimen("style transfer", _style, 15, 1, 32, 48, 3),
)

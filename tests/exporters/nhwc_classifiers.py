"""Classifiers as tf2onnx writes them."""

import math
from collections.abc import Sequence

import numpy as np
from exporters.nhwc_graph import END, Graph, specimen
from exporters.specimen import Specimen
from onnx import TensorProto


def _mobilenet_v1(g: Graph, image: str) -> list[str]:
    x = g.relu6(g.conv(g.nchw(image), 3, 16, stride=2))
    for channels, filters, stride in ((16, 24, 1), (24, 32, 2), (32, 32, 1), (32, 48, 2)):
        x = g.relu6(g.affine(g.depthwise(x, channels, stride=stride), channels))
        x = g.relu6(g.conv(x, channels, filters, 1))
    x = g.op("Reshape", g.op("GlobalAveragePool", x), [-1, 48, 1, 1])
    return [g.op("Softmax", g.squeeze(g.conv(x, 48, 5, 1), [2, 3]), axis=1)]


def _mobilenet_v2(g: Graph, image: str) -> list[str]:
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


def _mobilenet_v3(g: Graph, image: str) -> list[str]:
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


def _efficientnet(g: Graph, image: str) -> list[str]:
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


def _convnext(g: Graph, image: str) -> list[str]:
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


def _resnet_v2(g: Graph, image: str) -> list[str]:
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


def _alexnet(g: Graph, image: str) -> list[str]:
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


def _inception(g: Graph, image: str) -> list[str]:
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
    return [g.op("Softmax", g.slice(g.reshape(logits, g.op("Shape", logits), 6), 1, END, axis=1), axis=-1)]


def _shufflenet(g: Graph, image: str) -> list[str]:
    x = g.nhwc(g.pool("MaxPool", g.op("Relu", g.conv(g.nchw(image), 3, 16, stride=2)), 3, 2))
    for _ in range(2):
        kept, y = g.ops("Split", x, axis=-1, outputs=2)
        y = g.op("Relu", g.conv(g.nchw(y), 8, 8, 1))
        y = g.nhwc(g.op("Relu", g.conv(g.affine(g.depthwise(y, 8), 8), 8, 8, 1)))
        x = g.op("Concat", kept, y, axis=3)
        apart = g.op("Transpose", g.op("Reshape", x, [-1, 16, 12, 2, 8]), perm=[0, 1, 2, 4, 3])
        x = g.reshape(apart, g.op("Shape", x), 16, 12, 16)
    x = g.op("Slice", x, *(np.int32(v) for v in ([0] * 4, [END] * 4, [0, 1, 2, 3], [1, 2, 2, 1])))
    x = g.op("Concat", g.op("Relu", x), g.op("Relu", g.op("Neg", x)), axis=3)  # tf.nn.crelu
    x = g.op("ReduceMax", x, axes=[1, 2], keepdims=0)
    total = g.op("ReduceSum", g.op("Mul", x, x), [-1], keepdims=1)
    norm = g.op("Reciprocal", g.op("Sqrt", g.op("Max", total, 1e-12)))
    return [g.op("Mul", x, norm)]


SPECIMENS: tuple[Specimen, ...] = (
    specimen("MobileNetV1", _mobilenet_v1, 13, 1, 64, 48, 3),
    specimen("MobileNetV2 any size", _mobilenet_v2, 9, "unk__1", "unk__2", "unk__3", 3),
    specimen("MobileNetV3", _mobilenet_v3, 15, "unk__1", 64, 48, 3),
    specimen("EfficientNet", _efficientnet, 13, "unk__1", 64, 64, 3),
    specimen("ConvNeXt", _convnext, 15, "unk__1", 64, 48, 3),
    specimen("ResNetV2", _resnet_v2, 11, 1, 64, 64, 3),
    specimen("AlexNet", _alexnet, 11, "unk__1", 128, 96, 3),
    specimen("Inception uint8", _inception, 13, "unk__1", 32, 32, 3, kind=TensorProto.UINT8),
    specimen("ShuffleNet", _shufflenet, 13, "unk__1", 64, 48, 3),
)

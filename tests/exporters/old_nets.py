"""Nets of opsets 1 to 9, as Caffe2, Caffe, CNTK and Windows ML wrote them."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from exporters.nodes import Net, save
from exporters.specimen import Specimen
from onnx import TensorProto, helper


class _Old(Net):
    """Spells each op as its opset did; weights are inputs too."""

    def broadcast(self, kind: str, x: str, vector: np.ndarray) -> str:
        """A sum or a product with one number per channel."""
        if self.opset < 7:
            return self.op(kind, x, vector, broadcast=1, axis=1)
        return self.op(kind, x, self.op("Unsqueeze", vector, axes=[1, 2]))

    def act(self, kind: str, x: str, **attributes: object) -> str:
        return self.op(kind, x, **attributes, **({"consumed_inputs": [0]} if self.opset < 6 else {}))

    def norm(self, x: str, channels: int, scale: float = 1.0) -> str:
        old = {"is_test": 1} if self.opset < 7 else {}
        old |= {"consumed_inputs": [0, 0, 0, 1, 1]} if self.opset < 6 else {}
        old |= {"spatial": 1} if self.opset < 9 else {}
        means = self.noise(channels, mean=scale), self.noise(channels), self.noise(channels)
        variance = 1 + abs(self.noise(channels))
        return self.op("BatchNormalization", x, *means, variance, epsilon=1e-5, momentum=0.9, **old)

    def dropout(self, x: str) -> str:
        old = {"is_test": 1} if self.opset < 7 else {}
        return self.ops(
            "Dropout", x, outputs=2, ratio=0.5, **old | ({"consumed_inputs": [0]} if self.opset < 6 else {})
        )[0]

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        if self.opset < 5:
            return self.act("Reshape", x, shape=shape)
        return self.op("Reshape", x, np.int64(shape))

    def gemm(self, x: str, channels: int, filters: int) -> str:
        old = {"broadcast": 1} if self.opset < 7 else {}
        return self.op("Gemm", x, self.kernel(filters, channels), self.noise(filters), transB=1, **old)

    def pad(self, x: str, *pads: int, **attributes: object) -> str:
        return self.op("Pad", x, **{"paddings" if self.opset < 2 else "pads": pads}, **attributes)

    def concat(self, *parts: str) -> str:
        return self.op("Concat", *parts, **({} if self.opset < 4 else {"axis": 1}))

    def enlarge(self, x: str, mode: str) -> str:
        if self.opset < 7:
            return self.op("Upsample", x, height_scale=2.0, width_scale=2.0, mode=mode)
        if self.opset < 9:
            return self.op("Upsample", x, scales=[1.0, 1.0, 2.0, 2.0], mode=mode)
        return self.op("Upsample", x, np.float32([1, 1, 2, 2]), mode=mode)

    def pool(self, kind: str, x: str, size: int, stride: int, **attributes: object) -> str:
        return self.op(kind, x, kernel_shape=[size] * 2, strides=[stride] * 2, **attributes)


def _alexnet(net: _Old) -> str:
    x = net.act("Relu", net.conv("image", 3, 16, 11, 4, pads=[0] * 4))
    x = net.op("LRN", x, size=5, alpha=1e-2, beta=0.75, bias=1.0)
    x = net.act("Relu", net.conv(net.pool("MaxPool", x, 3, 2), 16, 32, group=2))
    x = net.pool("MaxPool", net.op("LRN", x, size=5, alpha=1e-2, beta=0.75), 3, 2, pads=[0, 0, 1, 1])
    x = net.act("Relu", net.gemm(net.reshape(x, [1, 32 * 9]), 32 * 9, 48))
    return net.op("Softmax", net.gemm(net.dropout(x), 48, 10), axis=1)


def _squeezenet(net: _Old) -> str:
    x = net.pool("MaxPool", net.act("Relu", net.conv("image", 3, 16, stride=2, pads=[0] * 4)), 3, 2)
    for channels, filters in ((16, 8), (32, 12)):
        x = net.act("Relu", net.conv(x, channels, filters, 1))
        x = net.concat(*(net.act("Relu", net.conv(x, filters, channels, size)) for size in (1, 3)))
    x = net.conv(x if net.opset == 6 else net.dropout(x), 64, 10, 1)  # of opset 6, Dropout alone is not in onnxruntime
    return net.op("Softmax", net.op("GlobalAveragePool", x), axis=1)


def _resnet(net: _Old) -> str:
    """Caffe's: each batch norm is followed by a scale and a shift of its own."""

    def unit(x: str, channels: int, filters: int, size: int, stride: int = 1, scale: float = 1.0) -> str:
        x = net.norm(net.conv(x, channels, filters, size, stride), filters)
        x = net.broadcast("Mul", x, net.noise(filters, mean=scale))
        return net.broadcast("Add", x, net.noise(filters))

    x = net.pool("MaxPool", net.act("Relu", unit("image", 3, 16, 7, 2)), 3, 2, pads=[0, 0, 1, 1])
    for channels, filters, stride in ((16, 16, 1), (16, 24, 2)):
        inner = unit(net.act("Relu", unit(x, channels, filters, 3, stride)), filters, filters, 3, scale=0.5)
        x = inner if stride == 1 else net.op("Sum", inner, unit(x, channels, filters, 1, stride))
        x = net.act("Relu", x)
    x = net.pool("AveragePool", x, 4, 4)
    return net.op("Softmax", net.gemm(net.op("Flatten", x), 24 * 4, 10))


def _yolo(net: _Old) -> str:
    """Windows ML's: an ImageScaler before the first layer, paddings left to auto_pad."""
    x = net.op("ImageScaler", "image", scale=0.5, bias=[0.1, -0.2, 0.3])
    channels = 3
    for filters, stride in ((16, 2), (24, 2), (32, 1)):
        x = net.op("Conv", x, net.kernel(filters, channels, 3, 3), kernel_shape=[3, 3], auto_pad="SAME_UPPER")
        x = net.act("LeakyRelu", net.norm(x, filters), alpha=0.1)
        x, channels = net.pool("MaxPool", x, 2, stride, auto_pad="SAME_UPPER"), filters
    return net.conv(x, channels, 20, 1)


def _segmenter(net: _Old) -> str:
    """Attributes where later opsets have inputs: pads, slices, splits, axes, bounds, scales."""
    slope = net.noise(16, mean=0.2)
    x = net.conv(net.pad("image", 0, 0, 1, 1, 0, 0, 1, 1, mode="reflect"), 3, 16, pads=[0] * 4)
    x = first = net.op("PRelu", x, slope if net.opset < 7 else slope[:, None, None])
    x = net.act("Elu", net.conv(x, 16, 24, stride=2), alpha=0.7)
    left, right = net.ops("Split", x, outputs=2, axis=1, split=[8, 16])
    old = {"consumed_inputs": [0]} if net.opset < 6 else {}
    right = net.op("Clip", right, min=-0.5, max=6.0, **old)
    right = net.op("InstanceNormalization", right, net.noise(16, mean=1.0), net.noise(16), epsilon=1e-3, **old)
    x = net.concat(right, net.op("Slice", left, axes=[1], starts=[0], ends=[-2]))
    x = net.enlarge(net.conv(x, 22, 16), "nearest")
    x = net.concat(net.pad(x, 0, 0, 0, 0, 0, 0, 0, 0, mode="constant", value=0.0), first)
    kind: object = "FLOAT" if net.opset < 6 else TensorProto.FLOAT
    x = net.op("Cast", net.op("Squeeze", net.op("Unsqueeze", net.conv(x, 32, 16), axes=[0]), axes=[0]), to=kind)
    x = net.op("ConvTranspose", x, net.kernel(16, 8, 2, 2), strides=[2, 2], kernel_shape=[2, 2])
    x = net.enlarge(x, "bilinear" if net.opset < 7 else "linear")
    return net.act("Sigmoid", net.conv(x, 8, 2, 1))


def _rarities(net: _Old) -> str:
    """Operators that are experimental, or that no framework writes any more."""
    x = net.op("Affine", net.op("Crop", "image", border=[2, 2, 2, 2]), alpha=0.9, beta=0.1)
    x = net.op("MeanVarianceNormalization", x, **({"across_channels": 0} if net.opset < 9 else {"axes": [2, 3]}))
    x = net.op("ScaledTanh", net.conv(x, 3, 16), alpha=1.7, beta=0.6)
    x = net.op("LpPool", x, kernel_shape=[2, 2], strides=[2, 2], p=2)
    x = net.op("ParametricSoftplus", net.conv(x, 16, 16), alpha=0.8, beta=1.1)
    x = net.op("ThresholdedRelu", net.conv(x, 16, 16), alpha=0.3)
    x = net.op("LpNormalization", net.act("Selu", net.conv(x, 16, 16)), axis=1, p=2)
    x = net.op("Softsign", net.conv(x, 16, 16))
    x = net.op("Flatten", net.op("GlobalLpPool", x, p=2))
    return net.op("LogSoftmax", net.gemm(net.dropout(x), 16, 10), axis=1)


def _old(name: str, build: Callable[[_Old], str], opset: int, shape: Sequence[int], folder: Path) -> Path:
    net = _Old(opset, seed=5)
    result = build(net)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])
    inputs = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in net.weights]
    inputs = [image, *inputs] if opset % 2 else [*inputs, image]  # both are found in the wild
    output = helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)
    graph = helper.make_graph(net.nodes, "net", inputs, [output], net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)
    return save(model, folder, name)


def _olds(name: str, build: Callable[[_Old], str], shape: Sequence[int], *opsets: int) -> Iterable[Specimen]:
    """One net in several opsets, always with the same weights."""
    for opset in opsets:
        title = f"{name} of opset {opset}"
        runs = opset > 6 or title == "Caffe2 SqueezeNet of opset 6"
        exporter = "old opsets" if runs else "old opsets (onnxruntime cannot run)"
        yield Specimen(exporter, title, partial(_old, title, build, opset, shape))


SPECIMENS: tuple[Specimen, ...] = (
    *_olds("Caffe2 AlexNet", _alexnet, [1, 10], 3, 4, 5, 6, 7, 8, 9),
    *_olds("Caffe2 SqueezeNet", _squeezenet, [1, 10, 1, 1], 3, 6, 8),
    *_olds("Caffe ResNet", _resnet, [1, 10], 1, 5, 6, 7, 8, 9),
    *_olds("Windows ML YOLO", _yolo, [1, 20, 16, 16], 1, 6, 7, 9),
    *_olds("Caffe2 segmenter", _segmenter, [1, 2, 256, 256], 1, 2, 4, 6, 7, 8, 9),
    *_olds("Windows ML rarities", _rarities, [1, 10], 6, 7, 9),
)

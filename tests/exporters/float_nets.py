"""Small float nets, from which tools and the other modules derive specimens.

A derived specimen's name begins with that of its float parent, which `float_parent` builds.
"""

import math
from collections.abc import Callable, Mapping
from functools import cache, partial

import numpy as np
import onnx
from corpus import LIGHT, light_model
from exporters.nodes import Net, save
from exporters.specimen import Specimen
from onnx import ModelProto

_FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

Derive = Callable[[ModelProto], ModelProto]


def resnet() -> ModelProto:
    """Two stages of residual blocks with their batch norms still there, as opset 17 writes them."""
    net = Net(17, seed=1)

    def block(x: str, channels: int, filters: int, stride: int) -> str:
        inner = net.op("Relu", net.norm(net.conv(x, channels, filters, stride=stride), filters))
        inner = net.norm(net.conv(inner, filters, filters), filters, scale=0.5)
        if stride > 1:
            x = net.norm(net.conv(x, channels, filters, 1, stride), filters)
        return net.op("Relu", net.op("Add", inner, x))

    x = net.op("Relu", net.norm(net.conv("image", 3, 16, 7, 2), 16))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for channels, filters, stride in ((16, 16, 1), (16, 32, 2), (32, 32, 1)):
        x = block(x, channels, filters, stride)
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model([net.op("Gemm", x, net.kernel(10, 32), net.noise(10), transB=1)], ["N", 3, 64, 64])


def mobilenet() -> ModelProto:
    """MobileNetV3's blocks: depthwise convolutions, HardSwish, squeeze and excite; a block of V2 with its Clip."""
    net = Net(17, seed=2)

    def excite(x: str, channels: int) -> str:
        gate = net.conv(net.op("GlobalAveragePool", x), channels, channels // 4, 1)
        gate = net.conv(net.op("Relu", gate), channels // 4, channels, 1)
        return net.op("Mul", x, net.op("HardSigmoid", gate, alpha=1 / 6))

    def block(x: str, channels: int, wide: int, stride: int, act: Callable[[str], str], squeeze: bool = True) -> str:
        inner = act(net.norm(net.conv(x, channels, wide, 1), wide))
        inner = act(net.norm(net.conv(inner, wide, wide, 5, stride, group=wide), wide))
        inner = excite(inner, wide) if squeeze else inner
        inner = net.norm(net.conv(inner, wide, channels, 1), channels)
        return inner if stride > 1 else net.op("Add", inner, x)

    def hard_swish(x: str) -> str:
        return net.op("HardSwish", x)

    def relu6(x: str) -> str:
        return net.op("Clip", x, 0.0, 6.0)

    x = hard_swish(net.norm(net.conv("image", 3, 16, stride=2), 16))
    x = block(x, 16, 32, 1, lambda x: net.op("Relu", x))
    x = block(x, 16, 48, 2, relu6, squeeze=False)
    x = block(x, 16, 48, 1, hard_swish)
    x = hard_swish(net.norm(net.conv(x, 16, 64, 1), 64))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    x = hard_swish(net.op("Gemm", x, net.kernel(32, 64), net.noise(32), transB=1))
    return net.model([net.op("Gemm", x, net.kernel(10, 32), net.noise(10), transB=1)], ["N", 3, 64, 64])


def vit(opset: int = 17) -> ModelProto:
    """A convolutional stem and two transformer blocks; what the opset has no operator for is spelled out."""
    net = Net(opset, seed=3)
    tokens, width, heads = 64, 32, 4

    def gelu(x: str) -> str:
        if opset >= 20:
            return net.op("Gelu", x, approximate="tanh")
        bell = net.op("Add", net.op("Erf", net.op("Div", x, math.sqrt(2))), 1.0)
        return net.op("Mul", net.op("Mul", x, bell), 0.5)

    def silu(x: str) -> str:
        return net.op("Mul", x, net.op("Sigmoid", x))

    def dense(x: str, channels: int, filters: int) -> str:
        return net.op("Add", net.noise(filters), net.op("MatMul", x, net.kernel(filters, channels).T.copy()))

    def norm(x: str) -> str:
        scale, shift = net.noise(width, mean=1.0), net.noise(width)
        if opset >= 17:
            return net.op("LayerNormalization", x, scale, shift, epsilon=1e-6)
        centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
        variance = net.op("ReduceMean", net.op("Pow", centred, 2.0), axes=[-1])
        unit = net.op("Div", centred, net.op("Sqrt", net.op("Add", variance, 1e-6)))
        return net.op("Add", net.op("Mul", unit, scale), shift)

    def attention(x: str) -> str:
        split = [net.op("Reshape", dense(x, width, width), [0, 0, heads, width // heads]) for _ in range(3)]
        query, value = (net.op("Transpose", split[place], perm=[0, 2, 1, 3]) for place in (0, 2))
        key = net.op("Transpose", split[1], perm=[0, 2, 3, 1])
        if opset >= 20:
            key = net.op("Transpose", net.op("Transpose", split[1], perm=[0, 2, 1, 3]), perm=[0, 1, 3, 2])
        scores = net.op("Div", net.op("MatMul", query, key), math.sqrt(width / heads))
        scores = net.op("Softmax", scores, axis=-1)
        joined = net.op("Transpose", net.op("MatMul", scores, value), perm=[0, 2, 1, 3])
        return dense(net.op("Reshape", joined, [0, 0, width]), width, width)

    x = net.op("Relu", net.conv("image", 3, 16, stride=2))
    x = net.conv(x, 16, width, 4, 4, pads=[0] * 4)
    x = net.op("Transpose", net.op("Reshape", x, [0, width, tokens]), perm=[0, 2, 1])
    x = net.op("Add", x, net.noise(1, tokens, width))
    for act in (gelu, silu):
        x = net.op("Add", x, attention(norm(x)))
        x = net.op("Add", x, dense(act(dense(norm(x), width, 2 * width)), 2 * width, width))
    x = net.op(
        "ReduceMean", norm(x), *([[1]] if opset >= 18 else []), **({} if opset >= 18 else {"axes": [1]}), keepdims=0
    )
    return net.model([net.op("Gemm", x, net.kernel(10, width), net.noise(10), transB=1)], ["N", 3, 64, 64])


def unet() -> ModelProto:
    """An encoder and a decoder, between them a non-local block; activations right after their layer; two heads."""
    net = Net(17, seed=4)

    def act(kind: str, x: str, **attributes: float) -> str:
        return net.op(kind, x, **attributes)

    def non_local(x: str, channels: int) -> str:
        query, key, value = (
            net.op("Reshape", net.conv(x, channels, filters, 1), [0, filters, -1]) for filters in (8, 8, channels)
        )
        weights = net.op("Softmax", net.op("MatMul", net.op("Transpose", query, perm=[0, 2, 1]), key), axis=-1)
        seen = net.op("MatMul", value, net.op("Transpose", weights, perm=[0, 2, 1]))
        return net.op("Add", x, net.op("Reshape", seen, net.op("Shape", x)))

    first = act("LeakyRelu", net.conv("image", 3, 16), alpha=0.1)
    x = net.op("AveragePool", first, kernel_shape=[2, 2], strides=[2, 2])
    x = act("Tanh", net.conv(x, 16, 32))
    x = act("Relu", net.op("Add", net.conv(x, 32, 32), net.conv(x, 32, 32, 1)))
    second = net.op("Clip", net.conv(x, 32, 32), 0.0, 6.0)
    x = net.op("MaxPool", second, kernel_shape=[3, 3], strides=[2, 2], pads=[0] * 4, ceil_mode=1)
    x = act("Elu", net.conv(x, 32, 32), alpha=0.5)
    x = act("HardSigmoid", net.conv(x, 32, 32), alpha=0.2, beta=0.4)
    x = act("HardSwish", net.conv(x, 32, 48))
    inner = net.op("PRelu", x, net.noise(48, 1, 1, mean=0.2))
    inner = net.conv(non_local(inner, 48), 48, 32)
    x = net.op("Resize", inner, "", np.float32([1, 1, 2, 2]), mode="nearest", **_FLOOR)
    x = net.op("Concat", x, second, axis=1)
    x = act("Sigmoid", net.conv(x, 64, 32))
    x = net.op("ConvTranspose", x, net.kernel(32, 16, 4, 4), net.noise(16), strides=[2, 2], pads=[1] * 4)
    x = net.op("Pad", net.op("Add", act("LeakyRelu", x, alpha=0.2), first), [0, 0, 1, 1, 0, 0, 1, 1], 0.0)
    mask = net.conv(x, 16, 1)
    x = net.op("Flatten", net.op("GlobalMaxPool", inner))
    for activation, options in {"LeakyRelu": {"alpha": 0.3}, "Elu": {"alpha": 0.7}, "Softplus": {}, "Relu": {}}.items():
        x = act(activation, net.op("Gemm", x, net.kernel(32, 32), net.noise(32), transB=1, alpha=0.9), **options)
    scores = net.op("Gemm", x, net.kernel(10, 32), net.noise(10), transB=1)
    return net.model([act("Sigmoid", mask), scores], [1, 3, 64, 64])


def _light(name: str) -> ModelProto:
    return onnx.version_converter.convert_version(light_model(name), 13)


PARENTS: Mapping[str, Callable[[], ModelProto]] = {
    "resnet": resnet,
    "mobilenet": mobilenet,
    "vit": vit,
    "vit13": partial(vit, 13),
    "vit20": partial(vit, 20),
    "unet": unet,
} | {name: partial(_light, name) for name in LIGHT}


@cache
def _built(parent: str) -> bytes:
    return PARENTS[parent]().SerializeToString()


def float_parent(name: str) -> ModelProto:
    """The float model that a specimen of this name is derived from."""
    return ModelProto.FromString(_built(name.split(maxsplit=1)[0]))


def derived(exporter: str, parent: str, how: str, derive: Derive) -> Specimen:
    """A specimen whose model is made from its parent alone."""
    name = f"{parent} {how}"
    return Specimen(exporter, name, lambda folder: save(derive(float_parent(name)), folder, name))

"""Nets from picture to picture or mask, as tf2onnx writes them."""

import numpy as np
from exporters.nhwc_graph import Graph, specimen
from exporters.specimen import Specimen


def _deeplab(g: Graph, image: str) -> list[str]:
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


def _unet(g: Graph, image: str) -> list[str]:
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


def _style(g: Graph, image: str) -> list[str]:
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


SPECIMENS: tuple[Specimen, ...] = (
    specimen("DeepLab any size", _deeplab, 13, "unk__1", "unk__2", "unk__3", 3),
    specimen("UNet", _unet, 11, "unk__1", 32, 48, 3),
    specimen("style transfer", _style, 15, 1, 32, 48, 3),
)

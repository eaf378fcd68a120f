"""AlexNet (Krizhevsky et al. 2012) and ZFNet (Zeiler & Fergus 2013, figure 3), layer by layer, for 224 x 224 pixels.

Neither paper states its padding. Where the sizes do not divide, both round up, as the program that both were trained
with does; a convolution of ONNX has no such rounding, so zeros to the right and below take its place. That gives 55 x
55 maps to AlexNet's first layer and 110, 55, 26, 13, 13, 13, 13, 6 to ZFNet, as its figure says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

SIDE = 224


@dataclass(frozen=True)
class Conv:
    """A convolution; `pads` are those of ONNX: above, left, below, right."""

    name: str
    maps: int
    kernel: int
    stride: int = 1
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1


@dataclass(frozen=True)
class Relu:
    """The larger of the value and 0."""

    name: str


@dataclass(frozen=True)
class Norm:
    """Krizhevsky's contrast normalisation over 5 neighbouring maps: x / (2 + 1e-4 * sum x^2)^0.75 (section 3.3)."""

    name: str
    size: int = 5
    # ONNX divides alpha by the size, the formula does not
    alpha: float = 5e-4
    beta: float = 0.75
    bias: float = 2.0


@dataclass(frozen=True)
class Pool:
    """The largest of 3 x 3 values, every second row and column; what is left over at the end makes a window too."""

    name: str
    kernel: int = 3
    stride: int = 2


@dataclass(frozen=True)
class Flatten:
    """All maps as one row."""

    name: str


@dataclass(frozen=True)
class Dense:
    """Every output is a weighted sum of all inputs."""

    name: str
    units: int


@dataclass(frozen=True)
class Softmax:
    """The scores as probabilities."""

    name: str


Layer = Conv | Relu | Norm | Pool | Flatten | Dense | Softmax


def alexnet(width: int = 4096, classes: int = 1000) -> list[Layer]:
    """AlexNet with `width` units in fc6 and in fc7: 60,965,224 parameters at 4096 and 1000."""
    return [
        *(Conv("conv1", 96, 11, stride=4, pads=(0, 0, 3, 3)), Relu("relu1"), Norm("norm1"), Pool("pool1")),
        *(Conv("conv2", 256, 5, pads=(2, 2, 2, 2), groups=2), Relu("relu2"), Norm("norm2"), Pool("pool2")),
        *(Conv("conv3", 384, 3, pads=(1, 1, 1, 1)), Relu("relu3")),
        *(Conv("conv4", 384, 3, pads=(1, 1, 1, 1), groups=2), Relu("relu4")),
        *(Conv("conv5", 256, 3, pads=(1, 1, 1, 1), groups=2), Relu("relu5"), Pool("pool5")),
        *_classifier(width, classes),
    ]


def zfnet(width: int = 4096, classes: int = 1000) -> list[Layer]:
    """ZFNet with `width` units in fc6 and in fc7: 62,357,608 parameters at 4096 and 1000."""
    return [
        *(Conv("conv1", 96, 7, stride=2, pads=(0, 0, 1, 1)), Relu("relu1"), Pool("pool1"), Norm("norm1")),
        *(Conv("conv2", 256, 5, stride=2), Relu("relu2"), Pool("pool2"), Norm("norm2")),
        *(Conv("conv3", 384, 3, pads=(1, 1, 1, 1)), Relu("relu3")),
        *(Conv("conv4", 384, 3, pads=(1, 1, 1, 1)), Relu("relu4")),
        *(Conv("conv5", 256, 3, pads=(1, 1, 1, 1)), Relu("relu5"), Pool("pool5")),
        *_classifier(width, classes),
    ]


def _classifier(width: int, classes: int) -> list[Layer]:
    return [
        *(Flatten("flat"), Dense("fc6", width), Relu("relu6")),
        *(Dense("fc7", width), Relu("relu7")),
        *(Dense("fc8", classes), Softmax("prob")),
    ]


def weight_shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    """The shape of each weight and bias of a network, by name: `conv1/weight` [maps, inputs, height, width]."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs, side = 3, SIDE
    for layer in layers:
        if isinstance(layer, Conv):
            shapes[f"{layer.name}/weight"] = (layer.maps, inputs // layer.groups, layer.kernel, layer.kernel)
            shapes[f"{layer.name}/bias"] = (layer.maps,)
            side = (side + layer.pads[0] + layer.pads[2] - layer.kernel) // layer.stride + 1
            inputs = layer.maps
        elif isinstance(layer, Pool):
            side = -(-(side - layer.kernel) // layer.stride) + 1
        elif isinstance(layer, Flatten):
            inputs *= side * side
        elif isinstance(layer, Dense):
            shapes[f"{layer.name}/weight"] = (layer.units, inputs)
            shapes[f"{layer.name}/bias"] = (layer.units,)
            inputs = layer.units
    return shapes


def build(name: str, layers: Sequence[Layer], weights: Mapping[str, np.ndarray]) -> ModelProto:
    """The network as an ONNX model: `image` float32 [N, 3, 224, 224] in, `prob` float32 [N, classes] out.

    The output of each layer bears the layer's name. `weights` hold an array for each name of `weight_shapes`; they are
    written as float32. Raises ValueError for a weight of another shape.
    """
    names = ["image", *(layer.name for layer in layers)]
    nodes = [_node(layer, below) for below, layer in zip(names, layers, strict=False)]
    classes = [layer.units for layer in layers if isinstance(layer, Dense)][-1]
    stored: list[TensorProto] = []
    for weight, shape in weight_shapes(layers).items():
        if weights[weight].shape != shape:
            raise ValueError(f"{name}: {weight} has shape {weights[weight].shape}; expected {shape}")
        stored.append(numpy_helper.from_array(np.asarray(weights[weight], np.float32), weight))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])
    output = helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, ["N", classes])
    graph = helper.make_graph(nodes, name, [image], [output], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="zfviz")


def _node(layer: Layer, below: str) -> NodeProto:
    def node(op: str, *weights: str, **attributes: object) -> NodeProto:
        inputs = [below, *(f"{layer.name}/{weight}" for weight in weights)]
        made = helper.make_node(op, inputs, [layer.name], layer.name)
        made.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        return made

    match layer:
        case Conv(kernel=kernel, stride=stride, pads=pads, groups=groups):
            sizes = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": pads}
            made = node("Conv", "weight", "bias", group=groups, **sizes)
        case Relu():
            made = node("Relu")
        case Norm(size=size, alpha=alpha, beta=beta, bias=bias):
            made = node("LRN", size=size, alpha=alpha, beta=beta, bias=bias)
        case Pool(kernel=kernel, stride=stride):
            made = node("MaxPool", kernel_shape=[kernel, kernel], strides=[stride, stride], ceil_mode=1)
        case Flatten():
            made = node("Flatten")
        case Dense():
            made = node("Gemm", "weight", "bias", transB=1)
        case Softmax():
            made = node("Softmax", axis=1)
    return made

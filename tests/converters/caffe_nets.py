"""Networks of Caffe for the tests: their files, written byte by byte, since the converter must not judge itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Weights = Mapping[str, Sequence[np.ndarray]]
Shapes = Mapping[str, Sequence[tuple[int, ...]]]

ALEXNET = """
name: "Alex" # as deploy.prototxt of 2015
layer { name: "data" type: "Input" top: "data" input_param { shape: { dim: 10 dim: 3 dim: 39 dim: 39 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 decay_mult: 1 }
  convolution_param { num_output: 8 kernel_size: 7 stride: 2 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "norm1" type: "LRN" bottom: "conv1" top: "norm1" lrn_param { local_size: 5 alpha: 0.01 beta: 0.75 } }
layer { name: "pool1" type: "Pooling" bottom: "norm1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 12 pad: 2 kernel_size: 5 group: 2 } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "norm2" type: "LRN" bottom: "conv2" top: "norm2" lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 } }
layer { name: "pool2" type: "Pooling" bottom: "norm2" top: "pool2"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "fc6" type: "InnerProduct" bottom: "pool2" top: "fc6" inner_product_param { num_output: 16 } }
layer { name: "relu6" type: "ReLU" bottom: "fc6" top: "fc6" }
layer { name: "drop6" type: "Dropout" bottom: "fc6" top: "fc6" dropout_param { dropout_ratio: 0.5 } }
layer { name: "fc7" type: "InnerProduct" bottom: "fc6" top: "fc7" inner_product_param { num_output: 7 } }
layer { name: "prob" type: "Softmax" bottom: "fc7" top: "prob" }
"""
ALEXNET_SHAPES = {
    "conv1": [(8, 3, 7, 7), (8,)],
    "conv2": [(12, 4, 5, 5), (12,)],
    "fc6": [(16, 192), (16,)],
    "fc7": [(7, 16), (7,)],
}

# an inception, with pools of both kinds that pad, and two outputs
GOOGLENET = """
name: "Goog" input: "data" input_shape { dim: 1 dim: 3 dim: 33 dim: 31 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 3 stride: 2 pad: 1 engine: CUDNN } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "a/1x1" type: "Convolution" bottom: "pool1" top: "a/1x1"
  convolution_param { num_output: 4 kernel_size: 1 } }
layer { name: "a/relu_1x1" type: "ReLU" bottom: "a/1x1" top: "a/1x1" }
layer { name: "a/3x3" type: "Convolution" bottom: "pool1" top: "a/3x3"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 } }
layer { name: "a/relu_3x3" type: "ReLU" bottom: "a/3x3" top: "a/3x3" }
layer { name: "a/pool" type: "Pooling" bottom: "pool1" top: "a/pool"
  pooling_param { pool: AVE kernel_size: 3 stride: 1 pad: 1 } }
layer { name: "a/output" type: "Concat" bottom: "a/1x1" bottom: "a/3x3" bottom: "a/pool" top: "a/output" }
layer { name: "pool2" type: "Pooling" bottom: "a/output" top: "pool2"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "aux" type: "InnerProduct" bottom: "pool2" top: "aux" inner_product_param { num_output: 5 } }
layer { name: "pool3" type: "Pooling" bottom: "pool2" top: "pool3" pooling_param { pool: AVE global_pooling: true } }
layer { name: "drop" type: "Dropout" bottom: "pool3" top: "drop" }
layer { name: "fc" type: "InnerProduct" bottom: "drop" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" include { phase: TEST } }
"""
GOOGLENET_SHAPES = {
    "conv1": [(8, 3, 3, 3), (8,)],
    "a/1x1": [(4, 8, 1, 1), (4,)],
    "a/3x3": [(6, 8, 3, 3), (6,)],
    "aux": [(5, 450), (5,)],
    "fc": [(5, 18), (5,)],
}

RESNET = """
name: "Res"
input: "data" input_dim: 1 input_dim: 3 input_dim: 24 input_dim: 20
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 7 pad: 3 stride: 2 bias_term: false } }
layer { name: "bn_conv1" type: "BatchNorm" bottom: "conv1" top: "conv1" batch_norm_param { use_global_stats: true } }
layer { name: "scale_conv1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "conv1_relu" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { kernel_size: 3 stride: 2 pool: MAX } }
layer { name: "branch1" type: "Convolution" bottom: "pool1" top: "branch1"
  convolution_param { num_output: 12 kernel_size: 1 bias_term: false } }
layer { name: "branch2" type: "Convolution" bottom: "pool1" top: "branch2"
  convolution_param { num_output: 12 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "bn2" type: "BatchNorm" bottom: "branch2" top: "branch2" }
layer { name: "scale2" type: "Scale" bottom: "branch2" top: "branch2" scale_param { bias_term: true } }
layer { name: "res2" type: "Eltwise" bottom: "branch1" bottom: "branch2" top: "res2" }
layer { name: "res2_relu" type: "ReLU" bottom: "res2" top: "res2" }
layer { name: "pool5" type: "Pooling" bottom: "res2" top: "pool5" pooling_param { kernel_size: 5 stride: 1 pool: AVE } }
layer { name: "fc1000" type: "InnerProduct" bottom: "pool5" top: "fc1000" inner_product_param { num_output: 9 } }
layer { name: "prob" type: "Softmax" bottom: "fc1000" top: "prob" }
"""
RESNET_SHAPES = {
    "conv1": [(8, 3, 7, 7)],
    "bn_conv1": [(8,), (8,), (1,)],
    "scale_conv1": [(8,), (8,)],
    "branch1": [(12, 8, 1, 1)],
    "branch2": [(12, 8, 3, 3)],
    "bn2": [(12,), (12,), (1,)],
    "scale2": [(12,), (12,)],
    "fc1000": [(9, 24), (9,)],
}

# ZF as SPP-net and Faster R-CNN have it, in the format of 2014
ZFNET = """
name: "ZF"
input: "data"
input_dim: 10 input_dim: 3 input_dim: 47 input_dim: 47
layers { name: "conv1" type: CONVOLUTION bottom: "data" top: "conv1" blobs_lr: 1 blobs_lr: 2 weight_decay: 1
  convolution_param { num_output: 8 kernel_size: 7 stride: 2 pad: 3 weight_filler { type: "gaussian" } } }
layers { name: "relu1" type: RELU bottom: "conv1" top: "conv1" }
layers { name: "norm1" type: LRN bottom: "conv1" top: "norm1"
  lrn_param { local_size: 3 alpha: 0.05 beta: 0.75 norm_region: WITHIN_CHANNEL } }
layers { name: "pool1" type: POOLING bottom: "norm1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layers { name: "conv2" type: CONVOLUTION bottom: "pool1" top: "conv2"
  convolution_param { num_output: 12 kernel_size: 5 stride: 2 pad: 2 group: 2 } }
layers { name: "relu2" type: RELU bottom: "conv2" top: "conv2" }
layers { name: "fc6" type: INNER_PRODUCT bottom: "conv2" top: "fc6" inner_product_param { num_output: 16 } }
layers { name: "relu6" type: RELU bottom: "fc6" top: "fc6" }
layers { name: "drop6" type: DROPOUT bottom: "fc6" top: "fc6" dropout_param { dropout_ratio: 0.5 } }
layers { name: "fc7" type: INNER_PRODUCT bottom: "fc6" top: "fc7" inner_product_param { num_output: 7 } }
layers { name: "prob" type: SOFTMAX bottom: "fc7" top: "prob" }
"""
ZFNET_SHAPES = {
    "conv1": [(8, 3, 7, 7), (8,)],
    "conv2": [(12, 4, 5, 5), (12,)],
    "fc6": [(16, 588), (16,)],
    "fc7": [(7, 16), (7,)],
}
NETS = {
    "alexnet": (ALEXNET, ALEXNET_SHAPES, 2),
    "googlenet": (GOOGLENET, GOOGLENET_SHAPES, 2),
    "resnet": (RESNET, RESNET_SHAPES, 2),
    "zfnet of 2014": (ZFNET, ZFNET_SHAPES, 1),
    "zfnet of 2013": (ZFNET, ZFNET_SHAPES, 0),
}
"""Description, shapes of weights, and the version of Caffe that wrote them."""


def varint(number: int) -> bytes:
    """A whole number from 0 as protobuf has it."""
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def field(number: int, value: bytes | int) -> bytes:
    """A field of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def blob(array: np.ndarray, old: bool = False, double: bool = False) -> bytes:
    """A BlobProto; an `old` one has four sizes, ones in front."""
    if old:
        sizes = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(field(place, size) for place, size in enumerate(sizes, 1))
    else:
        shape = field(7, field(1, b"".join(map(varint, array.shape))))
    return shape + (field(8, array.astype("<f8").tobytes()) if double else field(5, array.astype("<f4").tobytes()))


def caffemodel(weights: Weights, version: int = 2, double: bool = False) -> bytes:
    """A NetParameter with the blobs of each layer, as Caffe of today (2), of 2014 (1) or of 2013 (0) writes it."""
    layers = []
    for name, arrays in weights.items():
        blobs = [blob(array, old=version < 2, double=double) for array in arrays]
        numbers = {2: (1, 7), 1: (4, 6), 0: (1, 50)}[version]
        layer = field(numbers[0], name.encode()) + b"".join(field(numbers[1], each) for each in blobs)
        layers.append({2: field(100, layer), 1: field(2, layer), 0: field(2, field(1, layer))}[version])
    return field(1, b"net") + b"".join(layers)


def draw(shapes: Shapes, seed: int = 0) -> Weights:
    """Random weights that keep values near 1: kernels by their size, else 0.5 to 1.5, since some are variances."""
    rng = np.random.default_rng(seed)

    def of_shape(shape: tuple[int, ...]) -> np.ndarray:
        kernel = rng.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[1:])))
        return (kernel if len(shape) > 1 else rng.uniform(0.5, 1.5, shape)).astype(np.float32)

    return {name: [of_shape(shape) for shape in of_layer] for name, of_layer in shapes.items()}


def write_net(folder: Path, name: str) -> tuple[Path, Path]:
    """The prototxt and the caffemodel of one of NETS."""
    text, shapes, version = NETS[name]
    prototxt, weights = folder / "deploy.prototxt", folder / "net.caffemodel"
    prototxt.write_text(text)
    weights.write_bytes(caffemodel(draw(shapes), version))
    return prototxt, weights


def opencv() -> Any:
    """OpenCV, which reads Caffe without Caffe; the test is skipped where it is not there, or no longer does."""
    cv2 = pytest.importorskip("cv2", reason="needs opencv-python-headless 4")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip(f"OpenCV {cv2.__version__} reads no Caffe; needs 4")
    return cv2

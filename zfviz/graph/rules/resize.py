"""Resizing: a matrix along each axis, whatever the mode, and its transpose on the way back."""

from fractions import Fraction
from math import ceil

import numpy as np
from onnx_graphsurgeon import Node, Tensor, Variable

from zfviz.errors import UnsupportedError
from zfviz.graph.net import Net
from zfviz.graph.reach import Tap, dims
from zfviz.graph.rules import Signals, rule
from zfviz.graph.rules.shape import constant_of, is_given, refuse_batch

ABOUT_AXES = ("axes", "keep_aspect_ratio_policy")
FINEST = 1000
"""The largest denominator that a scale is taken for; float32 makes others of simple ones."""
LARGEST_MATRIX = 2**26
TAPS = {"nearest": 2, "linear": 2, "cubic": 4}
"""How many neighbours a place of the output may have along an axis, when nothing is left out for antialiasing."""


def _stretched(node: Node, index: int, axis: int) -> Tap | None:
    if index != 0:
        return None
    size, made = dims(node.inputs[0])[axis], dims(node.outputs[0])[axis]
    if size == made:
        return Tap(axis)
    mode = node.attrs.get("coordinate_transformation_mode", "half_pixel")
    if mode == "tf_crop_and_resize":
        return None
    # sizes are rounded, places go by the scale
    scale = Fraction(_scales(node)[axis]).limit_denominator(FINEST)
    if not scale:
        return None
    ratio, offset = 1 / scale, Fraction(0)
    if mode == "align_corners":
        ratio = Fraction(size - 1, max(made - 1, 1))
    elif mode != "asymmetric":
        offset = (ratio - 1) / 2
    kind = node.attrs.get("mode", "nearest")
    if kind not in TAPS:
        raise UnsupportedError(f"Resize has no mode {kind!r}; expected one of {', '.join(TAPS)}")
    taps = TAPS[kind]
    if node.attrs.get("antialias", 0) and ratio > 1:
        taps *= ceil(ratio)
    if mode == "half_pixel_symmetric":
        taps += 2  # by less than a place is it moved
    return Tap(axis, ratio, offset - (taps // 2 - 1), taps)


@rule("Resize", reach=_stretched)
def resize_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal of each place shared among those it was made of, by the weights with which it was."""
    made = dims(layer.outputs[0])
    if layer.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch" and not is_given(layer, 2):
        _check_policy(layer)
    for axis, (size, scale) in enumerate(zip(dims(layer.inputs[0]), _scales(layer), strict=True)):
        if size == made[axis] and scale == 1:
            continue
        refuse_batch(layer, axis, net)
        weights = _weights(layer, axis, scale, net)
        if axis == len(made) - 1:
            signal = net.emit("MatMul", signal, net.emit("Transpose", weights, perm=[1, 0]))
        else:
            columns = net.emit("Reshape", signal, net.ints([*[0] * (axis + 1), -1]))
            resized = net.emit("MatMul", weights, columns)
            signal = net.emit("Reshape", resized, net.ints([*[0] * (axis + 1), *made[axis + 1 :]]))
    return {0: signal}


def _weights(layer: Node, axis: int, scale: float, net: Net) -> Tensor:
    """The weights of the resizing along one axis, [size before, size after]: what it makes of the unit vectors.

    Left to the runtime, which computes them once, so that they are those of the forward graph in every mode.
    """
    size, made = dims(layer.inputs[0])[axis], dims(layer.outputs[0])[axis]
    if size * max(size, made) > LARGEST_MATRIX:
        raise UnsupportedError(f"it resizes an axis from {size} to {made}; expected at most {LARGEST_MATRIX:,} weights")
    units = net.constant(np.eye(size)[None, None])
    kept = {name: v for name, v in layer.attrs.items() if name not in (*ABOUT_AXES, "extrapolation_value")}
    roi = _roi(layer, axis, net)
    if is_given(layer, 2):
        resized = net.emit("Resize", units, roi, net.constant([1, 1, 1, scale], np.float32), **kept)
    else:
        resized = net.emit("Resize", units, roi, Variable.empty(), net.ints([1, 1, size, made]), **kept)
    return net.emit("Reshape", resized, net.ints([size, made]))


def _scales(layer: Node) -> list[float]:
    """By how much each axis is stretched: as given, or as the sizes and the policy for them tell."""
    sizes, made = dims(layer.inputs[0]), dims(layer.outputs[0])
    axes: list[int] = layer.attrs.get("axes", list(range(len(sizes))))
    if not is_given(layer, 2):
        return [after / before for before, after in zip(sizes, made, strict=True)]
    scales = [1.0] * len(sizes)
    for axis, scale in zip(axes, constant_of(layer, 2, "scales").tolist(), strict=True):
        scales[axis] = scale
    if not all(0 < scale < float("inf") for scale in scales):
        raise UnsupportedError(f"it scales by {scales}; expected numbers above 0")
    return scales


def _check_policy(layer: Node) -> None:
    """UnsupportedError where a policy keeps the aspect of places, but not that of the rounded sizes."""
    axes: list[int] = layer.attrs.get("axes", list(range(len(dims(layer.inputs[0])))))
    if len({Fraction(dims(layer.outputs[0])[axis], dims(layer.inputs[0])[axis]) for axis in axes}) > 1:
        raise UnsupportedError("its aspect is kept, but its sizes are rounded; give sizes of that aspect")


def _roi(layer: Node, axis: int, net: Net) -> Tensor:
    """What part of the axis is cropped, as the roi of a tensor [1, 1, size, size] resized along its last axis."""
    if layer.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        return Variable.empty()
    roi = constant_of(layer, 1, "region of interest").tolist()
    axes: list[int] = layer.attrs.get("axes", list(range(len(dims(layer.inputs[0])))))
    place = axes.index(axis)
    return net.constant([0, 0, 0, roi[place], 1, 1, 1, roi[place + len(axes)]], np.float32)

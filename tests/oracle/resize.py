"""Resize and Upsample, as one matrix for each axis."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from oracle.layer import Layer, op


@op("Upsample", "Resize")
def resize(layer: Layer, x: Tensor, *inputs: Tensor | None) -> Tensor:
    if _is_simple(layer):
        listed = inputs[0] if inputs else None
        given = layer["scales"] or [1.0, 1.0, layer["height_scale"], layer["width_scale"]]
        scales = given if listed is None else listed.tolist()
        sizes = [math.floor(size * scale) for size, scale in zip(x.shape, scales, strict=True)]
        return resample(layer, x, list(range(x.ndim)), sizes, scales, None)
    roi, scales, sizes = [*inputs, None, None, None][:3]
    axes = [axis % x.ndim for axis in layer.get("axes", list(range(x.ndim)))]
    before = [x.shape[axis] for axis in axes]
    if sizes is not None and sizes.numel():
        after = sizes.tolist()
        policy = layer.get("keep_aspect_ratio_policy", "stretch")
        if policy == "stretch":
            factors = [new / old for new, old in zip(after, before, strict=True)]
        else:
            pick = min if policy == "not_larger" else max
            factors = [pick(new / old for new, old in zip(after, before, strict=True))] * len(axes)
            after = [math.floor(factors[0] * old + 0.5) for old in before]
    else:
        assert scales is not None
        factors = scales.tolist()
        after = [math.floor(old * factor) for old, factor in zip(before, factors, strict=True)]
    ends = None if roi is None or not roi.numel() else roi.reshape(2, -1).T.tolist()
    return resample(layer, x, axes, after, factors, ends)


def resample(
    layer: Layer,
    x: Tensor,
    axes: Sequence[int],
    sizes: Sequence[int],
    scales: Sequence[float],
    ends: Sequence[Sequence[float]] | None,
) -> Tensor:
    """x with each axis multiplied by the matrix of its interpolation."""
    outside = layer.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    beyond = torch.zeros(1, dtype=torch.bool)
    kept = [x.shape[axis] == size for axis, size in zip(axes, sizes, strict=True)]
    for i, axis in enumerate(axes):
        size = x.shape[axis]
        # onnxruntime copies what keeps its size, or its scale, wherever the points would lie
        if all(kept) or scales[i] == 1 or (kept[i] and layer["antialias"]):
            continue
        points = coordinates(layer, sizes[i], size, scales[i], ends[i] if ends else None)
        matrix = torch.from_numpy(interpolation(layer, points, size, scales[i]))
        x = torch.tensordot(x, matrix, ([axis], [1])).movedim(-1, axis)
        if outside:
            late = torch.from_numpy((points < 0) | (points > size - 1))
            beyond = beyond | late.reshape(-1, *[1] * (x.ndim - 1 - axis))
    return torch.where(beyond, layer.get("extrapolation_value", 0.0), x) if beyond.any() else x


def coordinates(layer: Layer, new: int, old: int, scale: float, ends: Sequence[float] | None) -> np.ndarray:
    """Where on the old axis each place of the new one lies; in float32, since on ties a last bit picks the pixel."""
    place, scale, last, half = np.arange(new, dtype=np.float32), np.float32(scale), np.float32(old - 1), np.float32(0.5)
    ends = np.float32(ends or (0, 1))
    mode = "asymmetric" if _is_simple(layer) else layer.get("coordinate_transformation_mode", "half_pixel")
    if new == 1 and mode in ("pytorch_half_pixel", "align_corners"):
        return np.zeros(1, np.float32)
    if new == 1 and mode == "tf_crop_and_resize":
        return half * ends.sum(keepdims=True) * last
    formulas = {
        "asymmetric": lambda: place / scale,
        "half_pixel": lambda: (place + half) / scale - half,
        "pytorch_half_pixel": lambda: (place + half) / scale - half,
        "tf_half_pixel_for_nn": lambda: (place + half) / scale,
        "half_pixel_symmetric": lambda: half * old * (1 - new / (scale * old)) + (place + half) / scale - half,
        "align_corners": lambda: place * last / np.float32(new - 1),
        "tf_crop_and_resize": lambda: ends[0] * last + place * ((ends[1] - ends[0]) * last / np.float32(new - 1)),
    }
    return np.float32(formulas[mode]())


def _is_simple(layer: Layer) -> bool:
    """Whether this is from before the attributes that say where places lie."""
    return layer.proto.op_type == "Upsample" or layer.opset < 11


def interpolation(layer: Layer, points: np.ndarray, old: int, scale: float) -> np.ndarray:
    """What of each old place goes to each new one: float64 [new, old]."""
    mode = layer.get("mode", "nearest")
    if mode == "nearest":
        return np.eye(old)[np.clip(nearest(layer, points, scale), 0, old - 1)]
    # linear clamps the point, cubic the places that it reads; both are the same for linear
    kernel = triangle if mode in ("linear", "bilinear") else cubic(layer.get("cubic_coeff_a", -0.75))
    reach = 1 if kernel is triangle else 2
    shrink = min(scale, 1.0) if layer["antialias"] else 1.0
    wide = math.ceil(reach / shrink)
    floors = np.floor(points).astype(np.int64)
    matrix = np.zeros((len(points), old))
    for offset in range(-wide, wide + 1):
        places = floors + offset
        weights = kernel((points.astype(np.float64) - places) * shrink)
        inside = (places >= 0) & (places < old)
        if layer["exclude_outside"]:
            weights = np.where(inside, weights, 0)
        np.add.at(matrix, (np.arange(len(points)), np.clip(places, 0, old - 1)), weights)
    return matrix / matrix.sum(1, keepdims=True)


def nearest(layer: Layer, points: np.ndarray, scale: float) -> np.ndarray:
    points = points.astype(np.float64)
    match ("ceil" if scale < 1 else "floor") if _is_simple(layer) else layer.get("nearest_mode", "round_prefer_floor"):
        case "round_prefer_floor":
            places = np.ceil(points - 0.5)
        case "round_prefer_ceil":
            places = np.floor(points + 0.5)
        case "floor":
            places = np.floor(points)
        case _:
            places = np.ceil(points)
    return places.astype(np.int64)


def triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def cubic(a: float):
    """Keys's kernel."""

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    return kernel

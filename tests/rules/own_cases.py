"""Node cases of our own: older spellings, and corners that the wheel leaves out; x is always a batch of one."""

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
from node_cases import NodeCase
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper, parser

Bound = tuple[int, ...] | list[int] | np.ndarray
"""What else goes in: a shape to fill with noise, numbers for an int64 tensor, or an array as it is."""

PADDED = "kernel_shape = [3, 3], strides = [3, 3], pads = [1, 1, 1, 1]"
POOL = "kernel_shape = [3, 3], strides = [2, 2]"

UP = np.float32([1, 1, 2, 1.5])
DOWN = np.float32([1, 1, 0.6, 0.5])


def _resizes() -> Iterator["Row"]:
    """Every mode with every way to place coordinates, up and down; and the older spellings."""
    for mode in ("nearest", "linear", "cubic"):
        for place in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"):
            for name, scales in (("up", UP), ("down", DOWN)):
                body = f'y = Resize<mode = "{mode}", coordinate_transformation_mode = "{place}">(x, , scales)'
                yield (f"Resize {mode} {place} {name}", 19, (1, 2, 6, 7), body, {"scales": scales})
    for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
        body = f'y = Resize<nearest_mode = "{rounding}">(x, , , sizes)'
        yield (f"Resize {rounding}", 13, (1, 2, 6, 7), body, {"sizes": [1, 2, 9, 4]})
    for policy in ("not_larger", "not_smaller"):
        body = f'y = Resize<mode = "linear", axes = [2, 3], keep_aspect_ratio_policy = "{policy}">(x, , , sizes)'
        yield (f"Resize {policy}", 18, (1, 2, 6, 6), body, {"sizes": [9, 9]})
    for mode in ("linear", "cubic"):
        body = f'y = Resize<mode = "{mode}", antialias = 1>(x, , scales)'
        yield (f"Resize {mode} antialias", 18, (1, 2, 8, 9), body, {"scales": DOWN})
    body = 'y = Resize<mode = "cubic", cubic_coeff_a = -0.5, exclude_outside = 1>(x, , scales)'
    yield ("Resize cubic inside", 13, (1, 2, 6, 7), body, {"scales": UP})
    body = 'y = Resize<mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize">(x, roi, , sizes)'
    roi = np.float32([0, 0, 0.1, 0.2, 1, 1, 0.8, 1.1])
    yield ("Resize cut out", 13, (1, 2, 6, 7), body, {"roi": roi, "sizes": [1, 2, 4, 5]})
    body = 'y = Resize<mode = "linear", coordinate_transformation_mode = "align_corners">(x, , , sizes)'
    yield ("Resize volume", 13, (1, 2, 3, 4, 5), body, {"sizes": [1, 2, 5, 6, 8]})
    body = 'y = Resize<mode = "linear">(x, , scales)'
    yield ("Resize columns last", 13, (1, 6, 7, 2), body, {"scales": np.float32([1, 2, 2, 1])})
    yield ("Resize 10", 10, (1, 2, 4, 5), 'y = Resize<mode = "linear">(x, scales)', {"scales": UP})
    yield ("Resize of Upsample 9", 9, (1, 2, 4, 5), "y = Upsample(x, scales)", {"scales": UP})
    yield (
        "Resize of Upsample 7",
        7,
        (1, 2, 4, 5),
        'y = Upsample<mode = "linear", scales = [1.0, 1.0, 2.0, 2.0]>(x)',
        {},
    )


Row = tuple[str, int, tuple[int, ...], str, dict[str, Bound]]
RESIZES: tuple[Row, ...] = tuple(_resizes())

# name (its first word is the op that is tested), opset, shape of x, nodes that make y from x, what else they read
TABLE: tuple[Row, ...] = (
    ("Conv 1d", 11, (1, 3, 9), "y = Conv<strides = [2]>(x, w)", {"w": (4, 3, 3)}),
    ("Conv 3d", 13, (1, 2, 5, 4, 6), "y = Conv<pads = [1, 0, 1, 0, 1, 0]>(x, w)", {"w": (3, 2, 2, 3, 3)}),
    ("Conv bias", 7, (1, 3, 6, 5), "y = Conv(x, w, b)", {"w": (4, 3, 3, 2), "b": (4,)}),
    ("Conv groups", 9, (1, 6, 5, 5), "y = Conv<group = 3>(x, w)", {"w": (9, 2, 3, 3)}),
    ("Conv depthwise", 22, (1, 4, 5, 5), "y = Conv<group = 4, pads = [1, 1, 1, 1]>(x, w)", {"w": (8, 1, 3, 3)}),
    ("Conv dilations", 11, (1, 2, 9, 9), "y = Conv<dilations = [2, 3]>(x, w)", {"w": (3, 2, 3, 3)}),
    (
        "Conv stride leaves a rest",
        17,
        (1, 2, 10, 11),
        "y = Conv<strides = [3, 4], pads = [1, 1, 1, 1]>(x, w)",
        {"w": (3, 2, 3, 3)},
    ),
    (
        "Conv kernel below stride",
        21,
        (1, 2, 8, 8),
        "y = Conv<strides = [3, 3]>(x, w)",
        {"w": (3, 2, 1, 2)},
    ),
    (
        "Conv pads differ",
        13,
        (1, 2, 7, 8),
        "y = Conv<strides = [2, 3], pads = [0, 2, 1, 0], dilations = [2, 1]>(x, w)",
        {"w": (3, 2, 3, 3)},
    ),
    (
        "Conv pads beyond need",
        13,
        (1, 2, 6, 6),
        "y = Conv<strides = [4, 4], pads = [0, 1, 3, 0]>(x, w)",
        {"w": (3, 2, 3, 3)},
    ),
    (
        "Conv SAME_UPPER",
        11,
        (1, 2, 7, 8),
        'y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w)',
        {"w": (3, 2, 4, 3)},
    ),
    (
        "Conv SAME_LOWER",
        8,
        (1, 2, 7, 8),
        'y = Conv<auto_pad = "SAME_LOWER", strides = [2, 3]>(x, w)',
        {"w": (3, 2, 4, 2)},
    ),
    ("Conv VALID", 11, (1, 2, 7, 8), 'y = Conv<auto_pad = "VALID", strides = [2, 2]>(x, w)', {"w": (3, 2, 3, 3)}),
    ("MaxPool 1d", 8, (1, 3, 10), "y = MaxPool<kernel_shape = [3], strides = [2], pads = [1, 0]>(x)", {}),
    ("MaxPool 3d", 12, (1, 2, 5, 6, 5), "y = MaxPool<kernel_shape = [2, 3, 3], strides = [1, 2, 2]>(x)", {}),
    ("MaxPool overlap", 7, (1, 3, 9, 9), f"y = MaxPool<{POOL}>(x)", {}),
    ("MaxPool stride 1", 12, (1, 2, 6, 6), "y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)", {}),
    ("MaxPool pads differ", 12, (1, 2, 8, 7), f"y = MaxPool<{POOL}, pads = [0, 2, 1, 1]>(x)", {}),
    ("MaxPool ceil", 10, (1, 2, 8, 7), f"y = MaxPool<{POOL}, ceil_mode = 1, pads = [1, 0, 0, 0]>(x)", {}),
    ("MaxPool ceil drops a window", 13, (1, 2, 2, 5), f"y = MaxPool<{PADDED}, ceil_mode = 1>(x)", {}),
    ("MaxPool dilations", 10, (1, 2, 9, 9), f"y = MaxPool<{POOL}, dilations = [2, 3]>(x)", {}),
    ("MaxPool SAME_UPPER", 11, (1, 2, 7, 8), f'y = MaxPool<{POOL}, auto_pad = "SAME_UPPER">(x)', {}),
    ("MaxPool SAME_LOWER", 12, (1, 2, 7, 8), f'y = MaxPool<{POOL}, auto_pad = "SAME_LOWER">(x)', {}),
    ("MaxPool columns first", 12, (1, 2, 7, 8), f"y, taken = MaxPool<{POOL}, storage_order = 1>(x)", {}),
    ("MaxPool indices unread", 22, (1, 2, 7, 8), f"y, unread = MaxPool<{POOL}>(x)", {}),
    ("MaxPool indices taken", 9, (1, 2, 7, 8), f"y, taken = MaxPool<{POOL}>(x)", {}),
    ("AveragePool 1d", 7, (1, 3, 10), "y = AveragePool<kernel_shape = [3], strides = [2], pads = [1, 1]>(x)", {}),
    ("AveragePool 3d", 11, (1, 2, 5, 6, 5), "y = AveragePool<kernel_shape = [2, 3, 3], strides = [1, 2, 2]>(x)", {}),
    ("AveragePool pads", 7, (1, 2, 8, 7), f"y = AveragePool<{POOL}, pads = [1, 1, 1, 1]>(x)", {}),
    (
        "AveragePool pads count",
        10,
        (1, 2, 8, 7),
        f"y = AveragePool<{POOL}, pads = [1, 1, 1, 1], count_include_pad = 1>(x)",
        {},
    ),
    ("AveragePool pads differ", 11, (1, 2, 8, 7), f"y = AveragePool<{POOL}, pads = [0, 2, 1, 1]>(x)", {}),
    (
        "AveragePool pads that differ count",
        22,
        (1, 2, 8, 7),
        f"y = AveragePool<{POOL}, pads = [0, 2, 1, 1], count_include_pad = 1>(x)",
        {},
    ),
    ("AveragePool ceil", 10, (1, 2, 8, 6), f"y = AveragePool<{POOL}, ceil_mode = 1>(x)", {}),
    (
        "AveragePool ceil pads count",
        19,
        (1, 2, 8, 7),
        f"y = AveragePool<{POOL}, ceil_mode = 1, pads = [1, 0, 0, 1], count_include_pad = 1>(x)",
        {},
    ),
    ("AveragePool ceil drops a window", 11, (1, 2, 2, 5), f"y = AveragePool<{PADDED}, ceil_mode = 1>(x)", {}),
    (
        "AveragePool dilations",
        19,
        (1, 2, 9, 9),
        f"y = AveragePool<{POOL}, dilations = [2, 3], pads = [1, 1, 1, 1]>(x)",
        {},
    ),
    ("AveragePool SAME_LOWER", 11, (1, 2, 7, 8), f'y = AveragePool<{POOL}, auto_pad = "SAME_LOWER">(x)', {}),
    ("AveragePool gaps", 13, (1, 2, 7, 8), "y = AveragePool<kernel_shape = [2, 1], strides = [3, 2]>(x)", {}),
    ("GlobalAveragePool 1d", 7, (1, 3, 7), "y = GlobalAveragePool(x)", {}),
    ("GlobalAveragePool 3d", 22, (1, 3, 2, 3, 4), "y = GlobalAveragePool(x)", {}),
    ("GlobalMaxPool 1d", 7, (1, 3, 7), "y = GlobalMaxPool(x)", {}),
    ("GlobalMaxPool 3d", 22, (1, 3, 2, 3, 4), "y = GlobalMaxPool(x)", {}),
    ("LRN 1", 7, (1, 5, 3, 3), "y = LRN<size = 1, alpha = 0.5>(x)", {}),
    ("LRN 3", 13, (1, 5, 3, 3), "y = LRN<size = 3, alpha = 0.8, beta = 0.6, bias = 2.0>(x)", {}),
    ("LRN 5", 7, (1, 4, 3, 2), "y = LRN<size = 5, alpha = 0.8>(x)", {}),
    ("BatchNormalization 7", 7, (1, 3, 4, 4), "y = BatchNormalization(x, a, b, c, d)", {}),
    ("BatchNormalization 9", 9, (1, 3, 4), "y = BatchNormalization<epsilon = 0.3>(x, a, b, c, d)", {}),
    ("BatchNormalization 14", 14, (1, 3, 2, 2, 3), "y = BatchNormalization<epsilon = 0.01>(x, a, b, c, d)", {}),
    ("BatchNormalization of a vector", 15, (1, 3), "y = BatchNormalization(x, a, b, c, d)", {}),
    ("Relu 7", 7, (1, 3, 4, 4), "y = Relu(x)", {}),
    ("LeakyRelu 7", 7, (1, 3, 4, 4), "y = LeakyRelu<alpha = 0.3>(x)", {}),
    ("Clip attributes", 7, (1, 3, 4, 4), "y = Clip<min = 0.0, max = 0.7>(x)", {}),
    ("Clip inputs", 11, (1, 3, 4, 4), "y = Clip(x, low, high)", {"low": np.float32(-0.4), "high": np.float32(0.7)}),
    ("Clip above only", 12, (1, 3, 4, 4), "y = Clip(x, , high)", {"high": np.float32(0.7)}),
    ("Clip below only", 13, (1, 3, 4, 4), "y = Clip(x, low)", {"low": np.float32(-0.4)}),
    ("Clip nothing", 13, (1, 3, 4, 4), "y = Clip(x)", {}),
    ("Sigmoid 7", 7, (1, 3, 4), "y = Sigmoid(x)", {}),
    ("Neg 7", 7, (1, 3, 4), "y = Neg(x)", {}),
    ("Abs 7", 7, (1, 3, 4), "y = Abs(x)", {}),
    ("Exp 7", 7, (1, 3, 4), "y = Exp(x)", {}),
    ("Log 7", 7, (1, 3, 4), "e = Exp(x)  s = Sqrt(e)  y = Log(s)", {}),
    ("Sqrt 7", 7, (1, 3, 4), "e = Exp(x)  y = Sqrt(e)", {}),
    ("Reciprocal 7", 7, (1, 3, 4), "e = Exp(x)  y = Reciprocal(e)", {}),
    ("Erf 9", 9, (1, 3, 4), "y = Erf(x)", {}),
    ("HardSigmoid 7", 7, (1, 3, 4), "y = HardSigmoid<alpha = 0.5, beta = 0.6>(x)", {}),
    ("Tanh 7", 7, (1, 3, 4), "y = Tanh(x)", {}),
    ("Softmax maps before 13", 11, (1, 3, 2, 2), "y = Softmax<axis = 1>(x)", {}),
    ("Softmax rows before 13", 7, (1, 6), "y = Softmax(x)", {}),
    ("Softmax channels", 13, (1, 3, 2, 4), "y = Softmax<axis = 1>(x)", {}),
    ("Softmax last but one", 13, (1, 3, 2, 4), "y = Softmax<axis = -2>(x)", {}),
    ("Gemm addend", 7, (1, 4), "y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(x, w, b)", {"w": (5, 4), "b": (5,)}),
    ("Gemm is addend", 9, (1, 5), "y = Gemm<beta = 3.0>(a, w, x)", {"a": (1, 4), "w": (4, 5)}),
    ("Gemm without addend", 11, (1, 4), "y = Gemm(x, w)", {"w": (4, 5)}),
    ("Gemm right factor", 13, (1, 4), "y = Gemm<transA = 1>(a, x)", {"a": (1, 3)}),
    ("MatMul", 9, (1, 4), "y = MatMul(x, w)", {"w": (4, 5)}),
    ("MatMul batched", 13, (1, 3, 4), "y = MatMul(x, w)", {"w": (4, 5)}),
    ("MatMul left of many", 13, (1, 2, 3, 4), "y = MatMul(x, w)", {"w": (2, 4, 5)}),
    ("MatMul right", 13, (1, 2, 3, 4), "y = MatMul(w, x)", {"w": (5, 3)}),
    ("MatMul of one tensor twice", 13, (1, 2, 3, 3), "y = MatMul(x, x)", {}),
    ("Add channels", 7, (1, 3, 2, 2), "y = Add(x, w)", {"w": (3, 1, 1)}),
    ("Add repeats", 13, (1, 3, 1, 1), "y = Add(w, x)", {"w": (1, 3, 4, 5)}),
    ("Add twice", 14, (1, 3, 2, 2), "y = Add(x, x)", {}),
    ("Sub repeats", 7, (1, 1, 2, 2), "y = Sub(w, x)", {"w": (1, 3, 2, 2)}),
    ("Sub of one tensor twice", 13, (1, 3, 2, 2), "y = Sub(x, x)", {}),
    ("Mul repeats", 13, (1, 3, 1, 1), "y = Mul(x, w)", {"w": (1, 3, 4, 5)}),
    ("Mul repeats two ways", 13, (1, 3, 1, 4), "y = Mul(x, w)", {"w": (1, 1, 5, 1)}),
    ("Mul square", 7, (1, 3, 2, 2), "y = Mul(x, x)", {}),
    (
        "Div repeats",
        7,
        (1, 3, 1, 1),
        "y = Div(x, w)",
        {"w": np.linspace(1, 3, 12, dtype=np.float32).reshape(1, 3, 4, 1)},
    ),
    (
        "Div divisor",
        13,
        (1, 1, 1, 4),
        "one = Identity(w) b = Mul(x, x) c = Add(b, one) y = Div(w, c)",
        {"w": np.float32([[[[2], [3]]]])},
    ),
    ("Sum many", 8, (1, 3, 1, 2), "y = Sum(x, w, x, v)", {"w": (1, 3, 2, 2), "v": (2,)}),
    ("Concat last", 7, (1, 2, 3, 4), "y = Concat<axis = 3>(x, w, x)", {"w": (1, 2, 3, 1)}),
    ("Concat from the end", 13, (1, 2, 3, 4), "y = Concat<axis = -3>(w, x)", {"w": (1, 5, 3, 4)}),
    ("Split attribute", 7, (1, 6, 3), "a, y, b = Split<axis = 1, split = [1, 3, 2]>(x)", {}),
    ("Split input", 13, (1, 2, 6), "a, y = Split<axis = -1>(x, sizes)", {"sizes": [1, 5]}),
    (
        "Split all used",
        13,
        (1, 6, 2),
        "a, b, c = Split<axis = 1>(x, sizes) y = Concat<axis = 1>(c, a, b, a)",
        {"sizes": [1, 3, 2]},
    ),
    ("Split unequal by number", 18, (1, 7, 2), "a, b, y = Split<axis = 1, num_outputs = 3>(x)", {}),
    ("Identity", 7, (1, 3, 2), "y = Identity(x)", {}),
    ("Dropout 7", 7, (1, 3, 2), "y = Dropout<ratio = 0.4>(x)", {}),
    ("Dropout mask", 10, (1, 3, 2), "y, mask = Dropout(x)", {}),
    ("Dropout mask 13", 13, (1, 3, 2), "y, mask = Dropout(x, ratio)", {"ratio": np.float32(0.4)}),
    ("Reshape keeps and infers", 7, (1, 4, 2, 3), "y = Reshape(x, to)", {"to": [0, 2, -1]}),
    ("Reshape splits channels", 14, (1, 4, 2, 3), "y = Reshape(x, to)", {"to": [1, 2, 2, 2, 3]}),
    ("Flatten 7", 7, (1, 4, 2, 3), "y = Flatten(x)", {}),
    ("Flatten from the end", 13, (1, 4, 2, 3), "y = Flatten<axis = -3>(x)", {}),
    ("Flatten further", 21, (1, 4, 2, 3), "y = Flatten<axis = 2>(x)", {}),
    ("Squeeze attribute", 7, (1, 4, 1, 1), "y = Squeeze<axes = [2, 3]>(x)", {}),
    ("Squeeze input", 13, (1, 4, 1, 3), "y = Squeeze(x, axes)", {"axes": [-2]}),
    ("Unsqueeze attribute", 7, (1, 4, 3), "y = Unsqueeze<axes = [2, 4]>(x)", {}),
    ("Unsqueeze input", 13, (1, 4, 3), "y = Unsqueeze(x, axes)", {"axes": [-1]}),
    ("Transpose", 7, (1, 4, 2, 3), "y = Transpose<perm = [0, 3, 1, 2]>(x)", {}),
    ("Transpose a cube", 13, (1, 3, 3, 3), "y = Transpose<perm = [0, 2, 3, 1]>(x)", {}),
    ("Slice attributes", 7, (1, 4, 7, 6), "y = Slice<axes = [2, 3], starts = [1, -3], ends = [-2, 100]>(x)", {}),
    ("Slice all axes", 7, (1, 4, 7, 6), "y = Slice<starts = [0, 1, 2, 3], ends = [1, 3, 6, 5]>(x)", {}),
    (
        "Slice steps",
        10,
        (1, 4, 7, 6),
        "y = Slice(x, from, to, axes, steps)",
        {"from": [0, 5], "to": [9, 0], "axes": [2, -1], "steps": [3, -2]},
    ),
    (
        "Slice backwards to the end",
        13,
        (1, 4, 7),
        "y = Slice(x, from, to, axes, steps)",
        {"from": [-1], "to": [-(2**63)], "axes": [2], "steps": [-1]},
    ),
    (
        "Slice backwards with rest",
        11,
        (1, 7, 4),
        "y = Slice(x, from, to, axes, steps)",
        {"from": [-2], "to": [-100], "axes": [1], "steps": [-3]},
    ),
    ("Pad attributes", 7, (1, 2, 4, 5), "y = Pad<pads = [0, 1, 0, 2, 0, 0, 3, 1], value = 0.5>(x)", {}),
    ("Pad input", 11, (1, 2, 4, 5), "y = Pad(x, pads)", {"pads": [0, 0, 1, 2, 0, 1, 0, 3]}),
    ("Pad axes", 18, (1, 2, 4, 5), "y = Pad(x, pads, , axes)", {"pads": [1, 0, 2, 3], "axes": [3, -2]}),
    ("Pad cuts", 11, (1, 2, 4, 5), "y = Pad(x, pads)", {"pads": [0, 0, -1, 2, 0, 0, 1, -2]}),
    ("Pad cuts both ends", 11, (1, 2, 4, 5), "y = Pad(x, pads)", {"pads": [0, 0, -1, 0, 0, 0, -2, -1]}),
    ("Pad reflect", 7, (1, 2, 4, 5), 'y = Pad<mode = "reflect", pads = [0, 0, 2, 1, 0, 0, 1, 4]>(x)', {}),
    ("Pad edge", 11, (1, 2, 4, 5), 'y = Pad<mode = "edge">(x, pads)', {"pads": [0, 0, 2, 1, 0, 0, 1, 4]}),
    ("Pad edge cuts", 13, (1, 2, 5, 5), 'y = Pad<mode = "edge">(x, pads)', {"pads": [0, 0, -2, 1, 0, 0, 1, -1]}),
    ("Pad reflect cuts", 13, (1, 2, 5, 5), 'y = Pad<mode = "reflect">(x, pads)', {"pads": [0, 0, -2, 1, 0, 0, 1, -1]}),
    ("Pad wrap", 19, (1, 2, 4, 5), 'y = Pad<mode = "wrap">(x, pads)', {"pads": [0, 0, 2, 1, 0, 0, 1, 4]}),
    ("Gather once", 11, (1, 4, 3), "y = Gather<axis = 1>(x, places)", {"places": [2, 0, 3, 1]}),
    ("Gather again", 11, (1, 4, 3), "y = Gather<axis = -2>(x, places)", {"places": np.array([[2, -1], [2, 0]])}),
    ("Gather one", 11, (1, 4, 3), "y = Gather<axis = 1>(x, place)", {"place": np.array(2)}),
    ("PRelu channels", 9, (1, 3, 4, 4), "y = PRelu(x, w)", {"w": (3, 1, 1)}),
    ("PRelu one slope", 16, (1, 3, 4), "y = PRelu(x, w)", {"w": (1,)}),
    ("Elu 7", 7, (1, 3, 4, 4), "y = Elu<alpha = 0.7>(x)", {}),
    ("Selu as it was", 7, (1, 3, 4, 4), "y = Selu(x)", {}),
    ("Selu own numbers", 13, (1, 3, 4, 4), "y = Selu<alpha = 0.7, gamma = 2.0>(x)", {}),
    ("Celu 12", 12, (1, 3, 4, 4), "y = Celu<alpha = 0.7>(x)", {}),
    ("ThresholdedRelu 10", 10, (1, 3, 4, 4), "y = ThresholdedRelu<alpha = 0.3>(x)", {}),
    ("Softplus 7", 7, (1, 3, 4, 4), "y = Softplus(x)", {}),
    ("Softsign 7", 7, (1, 3, 4, 4), "e = Exp(x) y = Softsign(e)", {}),
    ("Mish 18", 18, (1, 3, 4, 4), "y = Mish(x)", {}),
    ("Gelu erf", 20, (1, 3, 4, 4), "y = Gelu(x)", {}),
    ("Gelu tanh", 20, (1, 3, 4, 4), 'y = Gelu<approximate = "tanh">(x)', {}),
    ("HardSwish 14", 14, (1, 3, 4, 4), "z = Mul(x, w) y = HardSwish(z)", {"w": np.float32(3)}),
    ("LogSoftmax rows before 13", 11, (1, 3, 2), "y = LogSoftmax<axis = 1>(x)", {}),
    ("LogSoftmax channels", 13, (1, 3, 2, 4), "y = LogSoftmax<axis = 1>(x)", {}),
    ("Sin 7", 7, (1, 3, 4), "y = Sin(x)", {}),
    ("Cos 7", 7, (1, 3, 4), "y = Cos(x)", {}),
    ("Pow square", 7, (1, 3, 4), "y = Pow(x, w)", {"w": np.float32(2)}),
    ("Pow repeats", 12, (1, 3, 1), "e = Exp(x) y = Pow(e, w)", {"w": (3, 4)}),
    ("Pow whole exponent", 15, (1, 3, 4), "y = Pow(x, w)", {"w": np.array(3)}),
    ("Cast there and back", 9, (1, 3, 4), "d = Cast<to = 11>(x) y = Cast<to = 1>(d)", {}),
    ("Cast by CastLike", 15, (1, 3, 4), "y = CastLike(x, w)", {"w": (1,)}),
    ("Mean of three", 8, (1, 3, 4), "y = Mean(x, w, x)", {"w": (3, 1)}),
    ("Max of three", 8, (1, 3, 4), "n = Neg(x) y = Max(x, w, n)", {"w": (3, 1)}),
    ("Min below", 13, (1, 3, 4), "y = Min(w, x)", {"w": np.float32(0.3)}),
    (
        "Where both ways",
        9,
        (1, 3, 4),
        "c = Less(x, w) n = Mul(x, w) y = Where(c, x, n)",
        {"w": (3, 1)},
    ),
    ("Where of a constant", 16, (1, 3, 1), "y = Where(c, x, w)", {"w": (3, 4), "c": np.eye(3, 4, dtype=bool)}),
    ("ReduceSum attribute", 11, (1, 3, 4, 5), "y = ReduceSum<axes = [2, -1], keepdims = 0>(x)", {}),
    ("ReduceSum input", 13, (1, 3, 4, 5), "y = ReduceSum(x, axes)", {"axes": [1]}),
    ("ReduceSum nothing", 13, (1, 3, 4), "y = ReduceSum<noop_with_empty_axes = 1>(x)", {}),
    ("ReduceMean all", 18, (1, 3, 4), "y = ReduceMean(x)", {}),
    ("ReduceMean map", 11, (1, 3, 4, 5), "y = ReduceMean<axes = [2, 3]>(x)", {}),
    ("ReduceMax", 11, (1, 3, 4, 5), "y = ReduceMax<axes = [1], keepdims = 0>(x)", {}),
    ("ReduceMin", 18, (1, 3, 4, 5), "y = ReduceMin(x, axes)", {"axes": [3]}),
    ("ReduceL1", 11, (1, 3, 4, 5), "y = ReduceL1<axes = [2, 3]>(x)", {}),
    ("ReduceL2", 11, (1, 3, 4, 5), "y = ReduceL2<axes = [1]>(x)", {}),
    ("ReduceSumSquare", 11, (1, 3, 4, 5), "y = ReduceSumSquare<axes = [1]>(x)", {}),
    ("ReduceLogSum", 11, (1, 3, 4), "e = Exp(x) y = ReduceLogSum<axes = [1]>(e)", {}),
    ("ReduceLogSumExp", 11, (1, 3, 4), "y = ReduceLogSumExp<axes = [-1], keepdims = 0>(x)", {}),
    ("ConvTranspose", 7, (1, 4, 5, 5), "y = ConvTranspose(x, w, b)", {"w": (4, 3, 3, 2), "b": (3,)}),
    ("ConvTranspose 1d", 11, (1, 4, 5), "y = ConvTranspose<strides = [2]>(x, w)", {"w": (4, 3, 3)}),
    ("ConvTranspose 3d", 11, (1, 2, 3, 4, 3), "y = ConvTranspose<strides = [1, 2, 1]>(x, w)", {"w": (2, 3, 2, 2, 2)}),
    (
        "ConvTranspose groups",
        11,
        (1, 4, 5, 5),
        "y = ConvTranspose<group = 2, strides = [3, 2], output_padding = [1, 1]>(x, w)",
        {"w": (4, 3, 3, 3)},
    ),
    (
        "ConvTranspose pads differ",
        11,
        (1, 4, 5, 5),
        "y = ConvTranspose<strides = [2, 2], pads = [0, 1, 2, 1], dilations = [2, 1]>(x, w)",
        {"w": (4, 3, 3, 3)},
    ),
    (
        "ConvTranspose SAME_UPPER",
        11,
        (1, 4, 5, 5),
        'y = ConvTranspose<strides = [2, 2], auto_pad = "SAME_UPPER">(x, w)',
        {"w": (4, 3, 3, 3)},
    ),
    (
        "ConvTranspose SAME_LOWER",
        11,
        (1, 4, 5, 5),
        'y = ConvTranspose<strides = [2, 2], auto_pad = "SAME_LOWER">(x, w)',
        {"w": (4, 3, 3, 3)},
    ),
    (
        "ConvTranspose shape given",
        11,
        (1, 4, 5, 5),
        "y = ConvTranspose<strides = [2, 2], output_shape = [10, 10]>(x, w)",
        {"w": (4, 3, 3, 3)},
    ),
    ("LpPool 1", 11, (1, 2, 7, 8), f"y = LpPool<{POOL}, p = 1>(x)", {}),
    ("LpPool 2", 18, (1, 2, 7, 8), f"y = LpPool<{POOL}, pads = [1, 1, 1, 1]>(x)", {}),
    ("LpPool 3 ceil", 22, (1, 2, 8, 7), f"y = LpPool<{POOL}, ceil_mode = 1, p = 3>(x)", {}),
    ("GlobalLpPool 2", 7, (1, 2, 4, 5), "y = GlobalLpPool(x)", {}),
    ("GlobalLpPool 3", 7, (1, 2, 4, 5), "y = GlobalLpPool<p = 3>(x)", {}),
    (
        "MaxUnpool",
        11,
        (1, 2, 6, 6),
        "m, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) s = Mul(m, w) "
        "y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(s, i)",
        {"w": (2, 1, 1)},
    ),
    ("InstanceNormalization", 7, (1, 3, 4, 5), "y = InstanceNormalization(x, a, b)", {"a": (3,), "b": (3,)}),
    (
        "GroupNormalization 21",
        21,
        (1, 6, 4, 5),
        "y = GroupNormalization<num_groups = 3>(x, a, b)",
        {"a": (6,), "b": (6,)},
    ),
    ("LayerNormalization last", 17, (1, 3, 5), "y = LayerNormalization(x, a)", {"a": (5,)}),
    ("LayerNormalization two", 17, (1, 3, 4, 5), "y = LayerNormalization<axis = 2>(x, a, b)", {"a": (4, 5), "b": (5,)}),
    (
        "ReduceMean of SimplifiedLayerNormalization",
        17,
        (1, 3, 5),
        "y = SimplifiedLayerNormalization<axis = -1>(x, a)",
        {"a": (5,)},
    ),
    (
        "LayerNormalization before 17",
        13,
        (1, 3, 5),
        "y = LayerNormalization<axis = -1>(x, a, b)",
        {"a": (5,), "b": (5,)},
    ),
    ("MeanVarianceNormalization", 13, (2, 3, 4, 5), "y = MeanVarianceNormalization(x)", {}),
    ("MeanVarianceNormalization map", 13, (1, 3, 4, 5), "y = MeanVarianceNormalization<axes = [2, 3]>(x)", {}),
    ("LpNormalization 1", 7, (1, 3, 4), "y = LpNormalization<axis = 1, p = 1>(x)", {}),
    ("LpNormalization 2", 22, (1, 3, 4), "y = LpNormalization(x)", {}),
    ("Einsum product", 12, (1, 3, 4), 'y = Einsum<equation = "bij,jk->bik">(x, w)', {"w": (4, 5)}),
    ("Einsum with itself", 12, (1, 3, 4), 'y = Einsum<equation = "...ij,...kj->...ik">(x, x)', {}),
    ("Einsum implicit", 12, (1, 3, 4), 'y = Einsum<equation = "aij,jk">(x, w)', {"w": (4, 5)}),
    ("Einsum sums alone", 12, (1, 3, 4), 'y = Einsum<equation = "bij,k->bk">(x, w)', {"w": (5,)}),
    (
        "GatherElements",
        11,
        (1, 3, 4),
        "y = GatherElements<axis = 2>(x, places)",
        {"places": np.array([[[0, 0, 3]] * 3])},
    ),
    ("GatherND", 11, (1, 3, 4), "y = GatherND(x, places)", {"places": np.array([[0, 2], [0, 1], [0, 2]])}),
    (
        "GatherND rows",
        12,
        (1, 3, 4),
        "y = GatherND<batch_dims = 1>(x, places)",
        {"places": np.array([[[2, 1], [0, 3]]])},
    ),
    (
        "ScatterElements",
        11,
        (1, 3, 4),
        "y = ScatterElements<axis = 1>(x, i, w)",
        {"i": np.array([[[1, 0]]]), "w": (1, 1, 2)},
    ),
    (
        "ScatterElements of it",
        18,
        (1, 1, 2),
        "y = ScatterElements<axis = 1>(w, i, x)",
        {"i": np.array([[[1, 0]]]), "w": (1, 3, 4)},
    ),
    ("ScatterND", 11, (1, 3, 4), "y = ScatterND(x, i, w)", {"i": np.array([[0, 1], [0, 2]]), "w": (2, 4)}),
    ("ScatterND of it", 18, (2, 4), "y = ScatterND(w, i, x)", {"i": np.array([[0, 1], [0, 2]]), "w": (1, 3, 4)}),
    ("TopK values", 11, (1, 3, 5), "y, i = TopK<axis = 2>(x, k)", {"k": [2]}),
    ("TopK before 10", 9, (1, 3, 5), "y, i = TopK<axis = 1, k = 2>(x)", {}),
    ("Expand", 8, (1, 3, 1), "y = Expand(x, shape)", {"shape": [2, 1, 3, 4]}),
    ("Tile", 9, (1, 3, 2), "y = Tile(x, repeats)", {"repeats": [1, 2, 3]}),
    ("Tile rows", 13, (1, 3, 2), "y = Tile(x, repeats)", {"repeats": [2, 1, 1]}),
    ("SpaceToDepth", 7, (1, 3, 4, 6), "y = SpaceToDepth<blocksize = 2>(x)", {}),
    ("DepthToSpace DCR", 7, (1, 8, 2, 3), "y = DepthToSpace<blocksize = 2>(x)", {}),
    ("DepthToSpace CRD", 11, (1, 8, 2, 3), 'y = DepthToSpace<blocksize = 2, mode = "CRD">(x)', {}),
    ("CumSum", 11, (1, 3, 4), "y = CumSum<exclusive = 1>(x, axis)", {"axis": np.array(1)}),
    ("CumSum reverse", 14, (1, 3, 4), "y = CumSum<reverse = 1>(x, axis)", {"axis": np.array(-1)}),
    ("Trilu lower", 14, (1, 3, 4), "y = Trilu<upper = 0>(x, k)", {"k": np.array(1)}),
    ("Trilu", 14, (1, 3, 4), "y = Trilu(x)", {}),
    (
        "RoiAlign",
        16,
        (2, 3, 8, 9),
        "y = RoiAlign<output_height = 3, output_width = 2, sampling_ratio = 2, spatial_scale = 0.5>(x, rois, rows)",
        {"rois": np.float32([[1, 2, 9, 11], [0, 0, 17, 15], [-3, 4, 22, 7]]), "rows": [1, 0, 1]},
    ),
    (
        "RoiAlign before 16",
        10,
        (1, 3, 8, 9),
        "y = RoiAlign<output_height = 3, output_width = 2, sampling_ratio = 3>(x, rois, rows)",
        {"rois": np.float32([[1, 2, 6.5, 7], [3, 3, 3.2, 3.1]]), "rows": [0, 0]},
    ),
    *RESIZES,
)


@cache
def own_cases() -> tuple[NodeCase, ...]:
    """The cases of the table."""
    return tuple(make_case(*row) for row in TABLE)


def make_case(
    name: str, opset: int, shape: tuple[int, ...], body: str, bound: Mapping[str, Bound] = MappingProxyType({})
) -> NodeCase:
    """The case of one row; weights and x are noise that only the name decides."""
    rng = np.random.default_rng(sum(map(ord, name)))
    op = name.split(maxsplit=1)[0]
    if op == "BatchNormalization":
        bound = {key: rng.uniform(0.5, 2, shape[1]).astype(np.float32) for key in "abcd"}
    head = f'<ir_version: 8, opset_import: ["" : {opset}]> {op} (float{list(shape)} x) => (float y)'
    proto = parser.parse_model(f"{head} {{ {body} }}")
    proto.graph.output[0].CopyFrom(ValueInfoProto(name="y"))
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    if "taken" in body:
        proto.graph.output.append(helper.make_tensor_value_info("taken", TensorProto.INT64, None))
    for key, given in bound.items():
        array = rng.standard_normal(given, np.float32) if isinstance(given, tuple) else np.asarray(given)
        proto.graph.initializer.append(numpy_helper.from_array(array, key))
    value = rng.standard_normal(shape, np.float32)
    return NodeCase(name, op, proto, "x", value, "y")

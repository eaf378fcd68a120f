"""Node cases of our own: older spellings, and corners that the wheel leaves out; x is always a batch of one."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import numpy as np
from node_cases import NodeCase
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper, parser

Bound = tuple[int, ...] | list[int] | np.ndarray
"""What else goes in: a shape to fill with noise, numbers for an int64 tensor, or an array as it is."""

PADDED = "kernel_shape = [3, 3], strides = [3, 3], pads = [1, 1, 1, 1]"
POOL = "kernel_shape = [3, 3], strides = [2, 2]"

# name (its first word is the op that is tested), opset, shape of x, nodes that make y from x, what else they read
TABLE: tuple[tuple[str, int, tuple[int, ...], str, dict[str, Bound]], ...] = (
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

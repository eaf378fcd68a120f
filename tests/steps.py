"""Steps of which tests make models: each a few nodes from a map to a map of the same shape."""

import re
from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, numpy_helper

# each makes OUT of A (and B), all of the same shape; other words are constants
STEPS = (
    "OUT = Conv<pads = [1, 1, 1, 1]>(A, kernel, four)",
    "OUT = Conv<group = 4, dilations = [2, 2], pads = [2, 2, 2, 2]>(A, depthwise)",
    "OUT_s = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(A, kernel) "
    "OUT = ConvTranspose<strides = [2, 2], pads = [1, 1, 0, 0]>(OUT_s, kernel)",
    "OUT = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(A)",
    "OUT_p = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(A) "
    'OUT = Resize<mode = "linear">(OUT_p, , twice)',
    "OUT = AveragePool<kernel_shape = [3, 2], pads = [1, 1, 1, 0]>(A)",
    "OUT_l = LpPool<kernel_shape = [2, 2], strides = [2, 2]>(A) OUT = Resize(OUT_l, , twice)",
    'OUT_r = Resize<mode = "cubic", coordinate_transformation_mode = "align_corners">(A, , twice) '
    "OUT = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(OUT_r)",
    *(f"OUT = {op}(A)" for op in ("Relu", "Sigmoid", "Tanh", "Softplus", "Elu", "Selu", "Celu", "Gelu", "Mish")),
    *(f"OUT = {op}(A)" for op in ("HardSwish", "HardSigmoid", "Erf", "Neg", "Abs", "Sin", "Cos", "Softsign")),
    "OUT = LeakyRelu<alpha = 0.2>(A)",
    "OUT = PRelu(A, slopes)",
    "OUT = ThresholdedRelu<alpha = 0.1>(A)",
    "OUT_g = Sigmoid(A) OUT = Mul(A, OUT_g)",
    "OUT = Clip(A, zero, one)",
    "OUT_e = Exp(A) OUT_o = Add(OUT_e, one) OUT = Log(OUT_o)",
    "OUT_s = Mul(A, A) OUT_o = Add(OUT_s, one) OUT = Sqrt(OUT_o)",
    "OUT = BatchNormalization(A, gains, four, four, gains)",
    "OUT = LRN<size = 3, alpha = 0.5>(A)",
    "OUT = InstanceNormalization(A, gains, four)",
    "OUT = GroupNormalization<num_groups = 2>(A, gains, four)",
    "OUT = LayerNormalization<axis = -1>(A, columns)",
    "OUT = LpNormalization<axis = 1>(A)",
    "OUT = MeanVarianceNormalization<axes = [2, 3]>(A)",
    "OUT = Softmax<axis = 1>(A)",
    "OUT = LogSoftmax<axis = -1>(A)",
    "OUT_m = ReduceMean(A, map) OUT = Sub(A, OUT_m)",
    "OUT_m = ReduceMax(A, channels) OUT = Sub(A, OUT_m)",
    "OUT_m = ReduceL2(A, channels) OUT_o = Add(OUT_m, one) OUT = Div(A, OUT_o)",
    "OUT_m = GlobalAveragePool(A) OUT_g = Sigmoid(OUT_m) OUT = Mul(A, OUT_g)",
    "OUT_m = GlobalMaxPool(A) OUT = Add(A, OUT_m)",
    "OUT = MatMul(A, square)",
    'OUT = Einsum<equation = "bchw,wv->bchv">(A, square)',
    "OUT_d = SpaceToDepth<blocksize = 2>(A) OUT = DepthToSpace<blocksize = 2>(OUT_d)",
    "OUT_t = Transpose<perm = [0, 2, 1, 3]>(A) OUT_r = Relu(OUT_t) OUT = Transpose<perm = [0, 2, 1, 3]>(OUT_r)",
    "OUT_f = Reshape(A, tokens) OUT_s = Softmax<axis = -1>(OUT_f) OUT = Reshape(OUT_s, whole)",
    "OUT_a, OUT_b = Split<axis = 1, num_outputs = 2>(A) OUT = Concat<axis = 1>(OUT_b, OUT_a)",
    'OUT_p = Pad<mode = "reflect">(A, pads) OUT = Slice(OUT_p, first, last, axes)',
    "OUT = Gather<axis = 1>(A, shuffled)",
    "OUT_c = CumSum(A, axis) OUT = Mul(OUT_c, half)",
    "OUT = Trilu(A)",
    "OUT_m = ReduceSum(A, map) OUT = Expand(OUT_m, sizes)",
    "OUT_m = ReduceLogSumExp(A, channels) OUT = Tile(OUT_m, fourfold)",
    "OUT_e = Exp(A) OUT_l = ReduceLogSum(OUT_e, channels) OUT = Add(A, OUT_l)",
    "OUT_l = ReduceL1(A, map) OUT_q = ReduceSumSquare(A, map) OUT_o = Add(OUT_q, one) OUT_d = Div(OUT_l, OUT_o) "
    "OUT = Mul(A, OUT_d)",
    "OUT_m = ReduceMin(A, channels) OUT = Max(A, OUT_m)",
    "OUT_v, OUT_i = TopK<axis = 1>(A, two) OUT = Tile(OUT_v, twofold)",
    "OUT = GatherElements<axis = 3>(A, elements)",
    "OUT = ScatterElements<axis = 1>(A, element, update)",
    "OUT = ScatterND(A, row, plane)",
    "OUT_m, OUT_i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(A) "
    "OUT = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(OUT_m, OUT_i)",
    "OUT_m = GlobalLpPool(A) OUT_o = Add(OUT_m, one) OUT = Div(A, OUT_o)",
    "OUT_a = Abs(A) OUT_o = Add(OUT_a, one) OUT_r = Reciprocal(OUT_o) OUT = Pow(OUT_r, half)",
    "OUT_f = Flatten(A) OUT_g = Gemm(OUT_f, wide) OUT = Reshape(OUT_g, whole)",
    "OUT_u = Unsqueeze(A, behind) OUT = Squeeze(OUT_u, behind)",
    "OUT_d = Cast<to = 11>(A) OUT_c = Cast<to = 1>(OUT_d) OUT_i = Identity(OUT_c) OUT = Dropout(OUT_i)",
    "OUT = Add(A, B)",
    "OUT = Sub(A, B)",
    "OUT = Mul(A, B)",
    "OUT = Max(A, B)",
    "OUT = Min(A, B)",
    "OUT = Mean(A, B, A)",
    "OUT_c = Less(A, B) OUT = Where(OUT_c, A, half)",
    "OUT_c = Concat<axis = 1>(A, B) OUT = Conv(OUT_c, mixer)",
    "OUT = GatherND<batch_dims = 2>(A, rows)",
    'OUT = RoiAlign<coordinate_transformation_mode = "half_pixel", output_height = 6, output_width = 6, '
    "sampling_ratio = 2>(A, region, first_image)",
    "OUT_i = ArgMax<axis = 1, keepdims = 0>(A) OUT_h = OneHot<axis = 1>(OUT_i, depth, off_on) OUT = Mul(A, OUT_h)",
    "OUT_i = ArgMin<axis = 1, keepdims = 0>(A) OUT_h = OneHot<axis = 1>(OUT_i, depth, off_on) OUT = Add(A, OUT_h)",
    "OUT_p = NonZero(A) OUT_n = Size(OUT_p) OUT_f = Cast<to = 1>(OUT_n) OUT_r = Reciprocal(OUT_f) OUT = Mul(A, OUT_r)",
    "OUT_n = Size(A) OUT_f = Cast<to = 1>(OUT_n) OUT_s = Shape(A) OUT_r = Reshape(A, OUT_s) OUT = Div(OUT_r, OUT_f)",
    *(f"OUT_s = {op}(A) OUT = Add(A, OUT_s)" for op in ("Sign", "Round", "Floor", "Ceil")),
    # stairs: differences tell nothing of their slope, which is taken to be that of the line through them
    "OUT_q = QuantizeLinear(A, step, nought) OUT = DequantizeLinear(OUT_q, step, nought)",
    "OUT_q, OUT_s, OUT_z = DynamicQuantizeLinear(A) OUT_i = MatMulInteger(OUT_q, square_bytes, OUT_z) "
    "OUT_f = Cast<to = 1>(OUT_i) OUT_r = Mul(OUT_f, OUT_s) OUT = Mul(OUT_r, step)",
    "OUT_q, OUT_s, OUT_z = DynamicQuantizeLinear(A) "
    "OUT_i = ConvInteger<pads = [1, 1, 1, 1]>(OUT_q, kernel_bytes, OUT_z) "
    "OUT_f = Cast<to = 1>(OUT_i) OUT_r = Mul(OUT_f, OUT_s) OUT = Mul(OUT_r, step)",
)

_RNG = np.random.default_rng(5)
_FLOATS = {
    "entry": _RNG.standard_normal((4, 3, 3, 3)) / 5,
    "kernel": _RNG.standard_normal((4, 4, 3, 3)) / 6,
    "depthwise": _RNG.standard_normal((4, 1, 3, 3)) / 3,
    "mixer": _RNG.standard_normal((4, 8, 1, 1)) / 3,
    "square": _RNG.standard_normal((6, 6)) / 3,
    "four": _RNG.standard_normal(4) / 5,
    "gains": _RNG.uniform(0.5, 1.5, 4),
    "columns": _RNG.uniform(0.5, 1.5, 6),
    "slopes": np.array([0.1, 0.2, 0.3, 0.4]).reshape(4, 1, 1),
    "wide": _RNG.standard_normal((144, 144)) / 12,
    "update": _RNG.standard_normal((1, 1, 1, 1)),
    "plane": _RNG.standard_normal((1, 6, 6)),
    "twice": np.array([1, 1, 2, 2]),
    "zero": np.array(0.0),
    "one": np.array(1.0),
    "half": np.array(0.5),
    "step": np.array(0.02),
    "region": np.array([[0.5, 1, 5, 4.5]]),
    "off_on": np.array([0.5, 1]),
}
_BYTES = {
    "nought": np.array(100),
    "square_bytes": _RNG.integers(-40, 40, (6, 6)),
    "kernel_bytes": _RNG.integers(-20, 20, (4, 4, 3, 3)),
}
_INTEGERS = {
    "map": [2, 3],
    "channels": [1],
    "tokens": [0, 4, 36],
    "whole": [0, 4, 6, 6],
    "pads": [0, 0, 1, 2, 0, 0, 2, 1],
    "first": [1, 1],
    "last": [7, 7],
    "axes": [2, 3],
    "axis": 2,
    "two": [2],
    "sizes": [1, 4, 6, 6],
    "fourfold": [1, 4, 1, 1],
    "twofold": [1, 2, 1, 1],
    "elements": [[[[0, 5, 5, 2, 1, 3]] * 6] * 4],
    "element": [[[[2]]]],
    "row": [[0, 3]],
    "behind": [4],
    "shuffled": [2, 0, 3, 1],
    "rows": [[[[2], [0], [5], [5], [1], [3]]] * 4],
    "first_image": [0],
    "depth": 4,
}
CONSTANTS = (
    {name: np.asarray(value, np.float32) for name, value in _FLOATS.items()}
    | {name: np.asarray(value, np.int64) for name, value in _INTEGERS.items()}
    | {name: value.astype(np.int8) for name, value in _BYTES.items()}
)
"""What the steps name, by name."""


def written(step: str, out: str, a: str, b: str) -> str:
    """The nodes of a step that makes `out` of `a` (and `b`)."""
    return re.sub(r"\bA\b", a, re.sub(r"\bB\b", b, step.replace("OUT", out)))


def with_constants(proto: ModelProto, constants: Mapping[str, np.ndarray] = CONSTANTS) -> ModelProto:
    """The model, with the constants that its nodes name."""
    read = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in constants.items() if name in read)
    return proto

"""What is mutated: small models of every kind of op, and small pictures of every format."""

import io
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
from graph.nets import network
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser
from onnx.backend.test.case.node import collect_testcases
from PIL import Image, features

# each makes OUT of A, both [1, 4, 6, 6]; other words are constants
STEPS = (
    "OUT = Conv<pads = [1, 1, 1, 1]>(A, kernel, four)",
    'OUT = Conv<auto_pad = "SAME_UPPER">(A, kernel)',
    "OUT = Conv<group = 4, dilations = [2, 2], pads = [2, 2, 2, 2]>(A, depthwise)",
    "OUT_s = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(A, kernel) "
    "OUT = ConvTranspose<strides = [2, 2], pads = [1, 1, 0, 0]>(OUT_s, kernel)",
    "OUT = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(A)",
    "OUT_p = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(A) "
    'OUT = Resize<mode = "linear">(OUT_p, , twice)',
    "OUT = AveragePool<kernel_shape = [3, 2], pads = [1, 1, 1, 0]>(A)",
    "OUT_l = LpPool<kernel_shape = [2, 2], strides = [2, 2]>(A) OUT = Resize(OUT_l, , , sizes)",
    *(f"OUT = {op}(A)" for op in ("Relu", "Sigmoid", "Elu", "Gelu", "HardSwish", "Erf", "Abs", "Softsign")),
    "OUT = LeakyRelu<alpha = 0.2>(A)",
    "OUT = PRelu(A, slopes)",
    "OUT_g = Sigmoid(A) OUT = Mul(A, OUT_g)",
    "OUT = Clip(A, zero, one)",
    "OUT_e = Exp(A) OUT_o = Add(OUT_e, one) OUT = Log(OUT_o)",
    "OUT = BatchNormalization(A, gains, four, four, gains)",
    "OUT = LRN<size = 3, alpha = 0.5>(A)",
    "OUT = InstanceNormalization(A, gains, four)",
    "OUT = GroupNormalization<num_groups = 2>(A, gains, four)",
    "OUT = LayerNormalization<axis = -1>(A, columns)",
    "OUT = LpNormalization<axis = 1>(A)",
    "OUT = Softmax<axis = 1>(A)",
    "OUT_m = ReduceMean(A, map) OUT = Sub(A, OUT_m)",
    "OUT_m = ReduceMax(A, channels) OUT = Sub(A, OUT_m)",
    "OUT_m = GlobalAveragePool(A) OUT_g = Sigmoid(OUT_m) OUT = Mul(A, OUT_g)",
    "OUT = MatMul(A, square)",
    'OUT = Einsum<equation = "bchw,wv->bchv">(A, square)',
    "OUT_d = SpaceToDepth<blocksize = 2>(A) OUT = DepthToSpace<blocksize = 2>(OUT_d)",
    "OUT_t = Transpose<perm = [0, 2, 1, 3]>(A) OUT = Transpose<perm = [0, 2, 1, 3]>(OUT_t)",
    "OUT_f = Reshape(A, tokens) OUT_s = Softmax<axis = -1>(OUT_f) OUT = Reshape(OUT_s, whole)",
    "OUT_a, OUT_b = Split<axis = 1, num_outputs = 2>(A) OUT = Concat<axis = 1>(OUT_b, OUT_a)",
    'OUT_p = Pad<mode = "reflect">(A, pads) OUT = Slice(OUT_p, first, last, axes)',
    "OUT = Gather<axis = 1>(A, shuffled)",
    "OUT = CumSum(A, axis)",
    "OUT = Trilu(A)",
    "OUT_m = ReduceSum(A, map) OUT = Expand(OUT_m, sizes)",
    "OUT_m = ReduceLogSumExp(A, channels) OUT = Tile(OUT_m, fourfold)",
    "OUT_v, OUT_i = TopK<axis = 1>(A, two) OUT = Tile(OUT_v, twofold)",
    "OUT = GatherElements<axis = 3>(A, elements)",
    "OUT = ScatterElements<axis = 1>(A, element, update)",
    "OUT = ScatterND(A, row, plane)",
    "OUT_m, OUT_i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(A) "
    "OUT = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(OUT_m, OUT_i)",
    "OUT_f = Flatten(A) OUT_g = Gemm(OUT_f, wide) OUT = Reshape(OUT_g, whole)",
    "OUT_u = Unsqueeze(A, behind) OUT = Squeeze(OUT_u, behind)",
    "OUT_c = Cast<to = 10>(A) OUT = Cast<to = 1>(OUT_c)",
    "OUT_c = Less(A, half) OUT = Where(OUT_c, A, half)",
    "OUT_n = NonZero(A) OUT_s = Size(OUT_n) OUT_f = Cast<to = 1>(OUT_s) OUT = Mul(A, OUT_f)",
    "OUT_n = Shape(A) OUT_r = Reshape(A, OUT_n) OUT = Neg(OUT_r)",
    "OUT_n = Shape(A) OUT_c = ConstantOfShape(OUT_n) OUT = Add(A, OUT_c)",
    "OUT_r = Range(zero, four_of, one) OUT_s = ReduceSum(OUT_r, nought_axis) OUT = Add(A, OUT_s)",
    "OUT_q = QuantizeLinear(A, step, nought) OUT = DequantizeLinear(OUT_q, step, nought)",
    "OUT_q, OUT_s, OUT_z = DynamicQuantizeLinear(A) OUT_i = ConvInteger<pads = [1, 1, 1, 1]>(OUT_q, bytes, OUT_z) "
    "OUT_f = Cast<to = 1>(OUT_i) OUT = Mul(OUT_f, OUT_s)",
    "OUT = If(yes) <then_branch = th () => (OUT_1) { OUT_1 = Relu(A) }, "
    "else_branch = el () => (OUT_2) { OUT_2 = Neg(A) }>",
    "OUT = Loop(trips, yes, A) <body = lo (int64 OUT_i, bool OUT_c, float[1, 4, 6, 6] OUT_v) => "
    "(bool OUT_d, float[1, 4, 6, 6] OUT_w) { OUT_d = Identity(OUT_c) OUT_w = Relu(OUT_v) }>",
    "OUT_i = ArgMax<axis = 1, keepdims = 0>(A) OUT_h = OneHot<axis = 1>(OUT_i, depth, off_on) OUT = Mul(A, OUT_h)",
    'OUT = RoiAlign<coordinate_transformation_mode = "half_pixel", output_height = 6, output_width = 6, '
    "sampling_ratio = 2>(A, region, first_image)",
)

_RNG = np.random.default_rng(2013)
FLOATS = {
    "entry": _RNG.standard_normal((4, 3, 3, 3)) / 5,
    "kernel": _RNG.standard_normal((4, 4, 3, 3)) / 6,
    "depthwise": _RNG.standard_normal((4, 1, 3, 3)) / 3,
    "four": _RNG.standard_normal(4) / 9,
    "gains": _RNG.uniform(0.5, 1.5, 4),
    "columns": _RNG.uniform(0.5, 1.5, 6),
    "slopes": _RNG.uniform(0.1, 0.4, (4, 1, 1)),
    "square": _RNG.standard_normal((6, 6)) / 2,
    "wide": _RNG.standard_normal((144, 144)).round(1),
    "update": np.ones((1, 1, 1, 1)),
    "plane": _RNG.standard_normal((1, 6, 6)),
    "twice": np.array([1, 1, 2, 2]),
    "zero": np.array(0.0),
    "one": np.array(1.0),
    "half": np.array(0.5),
    "four_of": np.array(4.0),
    "step": np.array(0.02),
    "region": np.array([[0.5, 1, 5, 4.5]]),
    "off_on": np.array([0.5, 1]),
}
INTEGERS = {
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
    "first_image": [0],
    "depth": 4,
    "trips": 3,
    "nought_axis": [0],
}
CONSTANTS = (
    {name: np.asarray(value, np.float32) for name, value in FLOATS.items()}
    | {name: np.asarray(value, np.int64) for name, value in INTEGERS.items()}
    | {"yes": np.array(True), "nought": np.array(100, np.int8)}
    | {"bytes": _RNG.integers(0, 40, (4, 4, 3, 3)).astype(np.uint8)}
)


def stepped_model(rng: Random) -> ModelProto:
    """A few steps, one after the other."""
    steps = rng.sample(STEPS, rng.randint(1, 4))
    lines = ["t = Conv<pads = [1, 1, 1, 1]>(x, entry)"]
    made = ["t"]
    for index, step in enumerate(steps):
        lines.append(step.replace("OUT", f"t{index}").replace("(A", f"({made[-1]}").replace(", A", f", {made[-1]}"))
        made.append(f"t{index}")
    body = "\n".join(lines)
    opset = rng.choice([21] * 5 + [18, 20, 22, 23])
    batch = rng.choice(["1", "1", "N", "2"])
    head = f'<ir_version: 10, opset_import: ["" : {opset}]> g (float[{batch}, 3, 6, 6] x) => (float y)'
    proto = parser.parse_model(f"{head} {{ {body} y = Relu({rng.choice(made)}) }}")
    read = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in CONSTANTS.items() if name in read)
    return proto


CLASSIFIER = (
    "c1 = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w1, b1) r1 = Relu(c1) n1 = LRN<size = 5>(r1) "
    "p1 = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(n1) "
    "c2 = Conv<pads = [1, 1, 1, 1]>(p1, w2, b2) r2 = Relu(c2) g = GlobalAveragePool(r2) f = Flatten(g) "
    "l = Gemm<transB = 1>(f, w3, b3) y = Softmax<axis = 1>(l)"
)
WEIGHTS = {"w1": (6, 3, 5, 5), "b1": (6,), "w2": (8, 6, 3, 3), "b2": (8,), "w3": (5, 8), "b3": (5,)}


def classifier(rng: Random) -> ModelProto:
    """ZFNet in small: two rectified maps, contrast normalisation, overlapping pools, classes with names."""
    opset, ir = rng.choice([(10, 3), (10, 4), (11, 6), (13, 7), (17, 8), (21, 10)])
    proto = network(CLASSIFIER, f"{rng.choice('1N')}, 3, 16, 16", opset, WEIGHTS, ir)
    helper.set_model_props(
        proto,
        {
            "zfviz.labels": '["tench", "tabby", "fish", "dog", "cock"]',
            "zfviz.preprocessing": '{"fit": "crop", "crop": 0.875, "mean": [0.4], "std": [0.2], "size": [16, 16]}',
        },
    )
    return proto


def channels_last(rng: Random) -> ModelProto:
    """An input [N, H, W, C] of bytes or floats, turned on the way."""
    kind = rng.choice(["uint8", "float16", "float"])
    text = (
        f'<ir_version: 8, opset_import: ["" : 17]> g ({kind}[N, 9, 9, 3] x) => (float y) '
        "{ f = Cast<to = 1>(x) t = Transpose<perm = [0, 3, 1, 2]>(f) c = Conv(t, w1) r = Relu(c) y = Relu(r) }"
    )
    proto = parser.parse_model(text)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32) / 9, "w1"))
    return proto


def with_function(rng: Random) -> ModelProto:
    """A model whose nodes are functions of its own."""
    del rng
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "own" : 1]> g (float[1, 3, 6, 6] x) => (float[1, 3, 6, 6] y) '
        "{ a = own.block(x) y = own.outer(a) } "
        '<domain: "own", opset_import: ["" : 17]> block (v) => (w) { w = Relu(v) } '
        '<domain: "own", opset_import: ["" : 17, "own" : 1]> outer (v) => (w) { u = own.block(v) w = Neg(u) }'
    )
    return parser.parse_model(text)


def fused(rng: Random) -> ModelProto:
    """Operators of onnxruntime's own domain."""
    del rng
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[1, 3, 6, 6] x) => (float y) '
        '{ c = com.microsoft.FusedConv<activation = "Relu", kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, entry) '
        "b = com.microsoft.BiasGelu(c, columns) q = com.microsoft.QuickGelu(b) "
        "m = com.microsoft.FusedMatMul<transB = 1, alpha = 0.5>(q, square) y = Relu(m) }"
    )
    proto = parser.parse_model(text)
    read = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in CONSTANTS.items() if name in read)
    return proto


def old(rng: Random) -> ModelProto:
    """An opset that is updated before it is run."""
    text = (
        f'<ir_version: 3, opset_import: ["" : {rng.choice([1, 3, 5, 6])}]> g (float[1, 3, 8, 8] x) => (float y) '
        "{ c = Conv<kernel_shape = [3, 3]>(x, entry) r = Relu(c) "
        "p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r) y = Dropout(p) }"
    )
    proto = parser.parse_model(text)
    proto.graph.initializer.append(numpy_helper.from_array(CONSTANTS["entry"], "entry"))
    proto.graph.input.append(helper.make_tensor_value_info("entry", TensorProto.FLOAT, [4, 3, 3, 3]))
    return proto


def sparse(rng: Random) -> ModelProto:
    """A weight that is stored by its few values."""
    del rng
    proto = network("c = Conv(x, w) y = Relu(c)", "1, 3, 6, 6", 17, {})
    values = numpy_helper.from_array(np.float32([1, 2, 3]), "w")
    places = numpy_helper.from_array(np.int64([0, 10, 20]), "")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 3, 3, 3]))
    return proto


MODELS: tuple[Callable[[Random], ModelProto], ...] = (
    *[stepped_model] * 6,
    *[classifier] * 3,
    channels_last,
    with_function,
    fused,
    old,
    sparse,
)


@cache
def node_models() -> tuple[bytes, ...]:
    """The node models of the onnx wheel that have an input like an image, their other inputs bound."""
    found: list[bytes] = []
    with np.errstate(all="ignore"):
        tests = collect_testcases(None)
    for test in tests:
        if test.model is None or not test.data_sets or test.model.ByteSize() > 20_000:
            continue
        names = [value.name for value in test.model.graph.input]
        values = test.data_sets[0][0]
        plain = all(isinstance(v, np.ndarray) and v.dtype.kind in "fiub" for v in values)
        image = next((i for i, v in enumerate(values) if isinstance(v, np.ndarray) and _like_image(v)), None)
        if not plain or image is None or sum(v.nbytes for v in values) > 20_000:
            continue
        bound = ModelProto()
        bound.CopyFrom(test.model)
        others = [i for i in range(len(names)) if i != image]
        bound.graph.initializer.extend(numpy_helper.from_array(values[i], names[i]) for i in others)
        found.append(bound.SerializeToString(deterministic=True))
    return tuple(found)


def _like_image(value: np.ndarray) -> bool:
    return value.ndim == 4 and value.dtype.kind == "f" and (value.shape[1] in (1, 3) or value.shape[3] in (1, 3))


FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")


def picture(rng: Random) -> tuple[str, bytes]:
    """The suffix and the bytes of a small picture in one of the formats."""
    kind = rng.choice([f for f in FORMATS if f not in ("WEBP", "AVIF") or features.check(f.lower())])
    modes = {"PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"), "TIFF": ("1", "L", "RGB", "RGBA", "CMYK", "F")}
    modes |= {"GIF": ("P", "L"), "JPEG": ("L", "RGB", "CMYK"), "PPM": ("L", "RGB", "1"), "BMP": ("1", "L", "P", "RGB")}
    mode = rng.choice(modes.get(kind, ("RGB", "RGBA")))
    width, height = rng.choice([(1, 1), (1, 40), (40, 1), (17, 13), (32, 24), (64, 64)])
    noise = np.frombuffer(rng.randbytes(width * height * 3), np.uint8).reshape(height, width, 3)
    image = Image.fromarray(noise).convert("L").convert(mode) if mode in ("I", "I;16", "F") else Image.fromarray(noise)
    image = image.convert(mode) if image.mode != mode else image
    options = {}
    if kind in ("GIF", "PNG", "TIFF", "WEBP") and rng.random() < 0.2:
        options |= {"save_all": True, "append_images": [image.copy(), image.copy()]}
    if kind == "TIFF":
        options["compression"] = rng.choice([None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
    if kind in ("JPEG", "PNG", "WEBP", "TIFF") and rng.random() < 0.4:
        exif = Image.Exif()
        exif[0x0112] = rng.choice([1, 3, 6, 8, 9, 65535])
        options["exif"] = exif.tobytes() if kind != "TIFF" else exif
    if kind == "JPEG":
        options["progressive"] = rng.random() < 0.5
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **options)
    except (ValueError, OSError, KeyError, TypeError, RuntimeError):
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "PNG")
        kind = "PNG"
    return {"JPEG": "jpg", "TIFF": "tif"}.get(kind, kind.lower()), buffer.getvalue()

"""What is mutated: small models of every kind of op, and small pictures of every format."""

import io
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
import steps
from graph.nets import network
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser
from onnx.backend.test.case.node import collect_testcases
from PIL import Image, features

# what has no gradient to hold, but may be misread
ODD_STEPS = (
    'OUT = Conv<auto_pad = "SAME_UPPER">(A, kernel)',
    "OUT_l = LpPool<kernel_shape = [2, 2], strides = [2, 2]>(A) OUT = Resize(OUT_l, , , sizes)",
    "OUT_n = Shape(A) OUT_r = Reshape(A, OUT_n) OUT = Neg(OUT_r)",
    "OUT_n = Shape(A) OUT_c = ConstantOfShape(OUT_n) OUT = Add(A, OUT_c)",
    "OUT_r = Range(zero, four_of, one) OUT_s = ReduceSum(OUT_r, nought_axis) OUT = Add(A, OUT_s)",
    "OUT_c = Cast<to = 10>(A) OUT = Cast<to = 1>(OUT_c)",
    "OUT = If(yes) <then_branch = th () => (OUT_1) { OUT_1 = Relu(A) }, "
    "else_branch = el () => (OUT_2) { OUT_2 = Neg(A) }>",
    "OUT = Loop(trips, yes, A) <body = lo (int64 OUT_i, bool OUT_c, float[1, 4, 6, 6] OUT_v) => "
    "(bool OUT_d, float[1, 4, 6, 6] OUT_w) { OUT_d = Identity(OUT_c) OUT_w = Relu(OUT_v) }>",
)
CONSTANTS = steps.CONSTANTS | {
    "wide": steps.CONSTANTS["wide"].round(1),  # so that cases that are kept are small
    "four_of": np.array(4, np.float32),
    "trips": np.array(3),
    "nought_axis": np.array([0]),
    "yes": np.array(True),
}


def stepped_model(rng: Random) -> ModelProto:
    """A few steps, one after the other."""
    made = ["t"]
    lines = ["t = Conv<pads = [1, 1, 1, 1]>(x, entry)"]
    for index, step in enumerate(rng.sample((*steps.STEPS, *ODD_STEPS), rng.randint(1, 4))):
        lines.append(steps.written(step, f"t{index}", made[-1], rng.choice(made)))
        made.append(f"t{index}")
    body = "\n".join(lines)
    opset = rng.choice([21] * 5 + [18, 20, 22, 23])
    batch = rng.choice(["1", "1", "N", "2"])
    head = f'<ir_version: 10, opset_import: ["" : {opset}]> g (float[{batch}, 3, 6, 6] x) => (float y)'
    proto = parser.parse_model(f"{head} {{ {body} y = Relu({rng.choice(made)}) }}")
    return steps.with_constants(proto, CONSTANTS)


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
    return steps.with_constants(proto, CONSTANTS)


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

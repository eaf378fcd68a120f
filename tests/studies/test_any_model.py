"""What a model may need besides a picture, and the types that it may hold."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

import zfviz
from zfviz.cli.main import main
from zfviz.errors import LayerError, UnsupportedError

RNG = np.random.default_rng(3)
PICTURE = RNG.standard_normal((1, 3, 8, 9), dtype=np.float32)


def net(body: str, kind: str = "float", extra: str = "", opset: int = 18, **weights: np.ndarray) -> ModelProto:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> net ({kind}[N, 3, 8, 9] x{extra}) => ({kind} y) {{ {body} }}'
    proto = parser.parse_model(text)
    real = np.float16 if kind == "float16" and "Cast" not in body else np.float32
    weights.setdefault("w", RNG.standard_normal((4, 3, 3, 3)))
    weights["w"] = weights["w"].astype(real)
    read = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in weights.items() if n in read)
    return proto


GATED = "c = Conv(x, w) g = Mul(c, scale) y = Relu(g)"


def test_a_value_for_another_input_is_used(tmp_path: Path) -> None:
    proto = net(GATED, extra=", float[1, 4, 1, 1] scale")
    scale = np.float32([1, 0, 2, -1]).reshape(1, 4, 1, 1)
    np.save(tmp_path / "scale.npy", scale)
    bound = net(GATED, scale=scale)
    del bound.graph.initializer[:]
    bound.graph.initializer.extend([*proto.graph.initializer, numpy_helper.from_array(scale, "scale")])
    expected = zfviz.project(bound, PICTURE, layer="y").pixels
    for value in (scale, tmp_path / "scale.npy"):
        model = zfviz.load(proto, inputs={"scale": value})
        np.testing.assert_array_equal(zfviz.project(model, PICTURE, layer="y").pixels, expected)
    forward = zfviz.expose(zfviz.load(proto, inputs={"scale": scale}), ["y"])
    assert "scale" in {value.name for value in forward.graph.input}  # with a default now


def test_inputs_without_a_value_are_named() -> None:
    proto = net(GATED, extra=", float[1, 4, 1, 1] scale")
    with pytest.raises(zfviz.ZfvizError, match=r"2 inputs without a value.*--input NAME=FILE\.npy.*: scale\."):
        zfviz.load(proto)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("scales", np.ones((1, 4, 1, 1), np.float32), "no input 'scales'; expected one of x, scale"),
        ("scale", np.ones((1, 4, 1, 1)), r"float64 \[1, 4, 1, 1\]; expected float \[1, 4, 1, 1\]"),
        ("scale", np.ones(4, np.float32), r"float32 \[4\]"),
        ("scale", "nowhere.npy", "cannot be read from nowhere.npy"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(name: str, value: object, said: str) -> None:
    proto = net(GATED, extra=", float[1, 4, 1, 1] scale")
    with pytest.raises(zfviz.ZfvizError, match=said):
        zfviz.load(proto, inputs={name: value})


def test_a_file_of_several_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "scale.npz", np.ones((1, 4, 1, 1), np.float32))
    with pytest.raises(zfviz.ZfvizError, match="several arrays"):
        zfviz.load(net(GATED, extra=", float[1, 4, 1, 1] scale"), inputs={"scale": tmp_path / "scale.npz"})


def test_what_is_shaped_by_the_image_is_no_constant() -> None:
    """The number of positive values is none of an image of zeros, which tells all other shapes."""
    body = """
        c = Conv(x, w) r = Relu(c) p = NonZero(r) n = Size(p) f = Cast<to = 1>(n) y = Div(r, f)
        t = Transpose(p) m = GatherND(r, t) g = Unsqueeze(m, zero)
    """
    model = zfviz.load(net(body, zero=np.array([0])))
    conv = zfviz.activations(model, PICTURE, ["c"])["c"]
    unit = zfviz.project(model, PICTURE, layer="y", top=1, method="gradient", seed="one")
    assert unit.pixels.any()
    assert np.isfinite(unit.pixels).all()
    assert unit.activations[0] == pytest.approx(conv.max() / (4 * (conv > 0).sum()), rel=1e-5)
    with pytest.raises(LayerError, match=r"'g' has shape .*depends on what is in the image"):
        zfviz.activations(model, PICTURE, "g")
    with pytest.raises(UnsupportedError, match="Unsqueeze: what it reads or makes is empty for an image of zeros"):
        zfviz.project(model, PICTURE, "g")


def test_a_file_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "scale.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(zfviz.ZfvizError, match="plain numbers"):
        zfviz.load(net(GATED, extra=", float[1, 4, 1, 1] scale"), inputs={"scale": tmp_path / "scale.npy"})


def test_the_command_takes_inputs_and_a_precision(tmp_path: Path, photo_path: Path, capsys) -> None:
    onnx.save(net(GATED, extra=", float[1, 4, 1, 1] scale"), tmp_path / "net.onnx")
    np.save(tmp_path / "scale.npy", np.ones((1, 4, 1, 1), np.float32))
    given = ["--input", f"scale={tmp_path / 'scale.npy'}"]
    out = str(tmp_path)
    for words in (
        ["project", str(tmp_path / "net.onnx"), str(photo_path), "--out", out, "--precision", "float16", *given],
        ["layers", str(tmp_path / "net.onnx"), *given],
        [
            "companion",
            str(tmp_path / "net.onnx"),
            "--layer",
            "y",
            "-o",
            f"{out}/c.onnx",
            "--precision",
            "float16",
            *given,
        ],
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code, capsys.readouterr().err
    signal = onnx.load(tmp_path / "c.onnx").graph.input[0]
    assert (signal.name, signal.type.tensor_type.elem_type) == ("signal", TensorProto.FLOAT16)


def test_half_precision_is_near_single() -> None:
    proto = net("c = Conv(x, w) r = Relu(c) p = MaxPool<kernel_shape = [2, 2]>(r) y = Sigmoid(p)")
    single = zfviz.project(proto, PICTURE, layer="y").pixels
    half = zfviz.project(proto, PICTURE, layer="y", precision="float16").pixels
    assert half.dtype == np.float32
    assert 0 < np.abs(half - single).max() < 5e-3 * np.abs(single).max()


@pytest.mark.parametrize("kind", ["float16", "double", "uint8"])
def test_images_of_other_types_go_in(kind: str) -> None:
    proto = net("f = Cast<to = 1>(x) c = Conv(f, w) y = Relu(c)", kind)
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    plain = net("c = Conv(x, w) y = Relu(c)")
    plain.graph.initializer[0].CopyFrom(proto.graph.initializer[0])
    picture = 100 + 20 * PICTURE
    found = zfviz.project(proto, picture, layer="y").pixels
    held = np.rint(picture) if kind == "uint8" else picture.astype(kind).astype(np.float32)
    expected = zfviz.project(plain, held, layer="y").pixels
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


QUANTISED = (
    "s_x = Identity(x) c = Conv(s_x, w) q = QuantizeLinear(c, scale, zero) p = MaxPool<kernel_shape = [2, 2]>(q) "
    "y = DequantizeLinear(p, scale, zero)"
)


def test_a_quantised_layer_is_told_in_real_numbers_and_named_inexact() -> None:
    proto = net(QUANTISED, scale=np.array(0.05, np.float32), zero=np.array(0, np.uint8))
    model = zfviz.load(proto)
    real = zfviz.activations(model, PICTURE, ["q", "c"])
    np.testing.assert_allclose(real["q"], np.clip(real["c"], 0, 255 * 0.05), atol=0.026)
    seen = {m: zfviz.project(model, PICTURE, layer="p", top=1, method=m) for m in ("deconvnet", "gradient")}
    np.testing.assert_allclose(
        seen["deconvnet"].pixels, zfviz.project(model, PICTURE, layer="y", top=1).pixels, rtol=1e-5
    )
    assert "straight-through" in seen["deconvnet"].inexact[0]
    # where 0 is the smallest integer, the quantiser took a Relu in
    plain = net("c = Conv(x, w) r = Relu(c) y = MaxPool<kernel_shape = [2, 2]>(r)")
    plain.graph.initializer[0].CopyFrom(next(t for t in proto.graph.initializer if t.name == "w"))
    unit = [seen["gradient"].units[0]]
    place = [(u.channel, u.y, u.x) for u in unit]
    expected = zfviz.project(plain, PICTURE, layer="y", units=place, method="gradient", seed="one").pixels
    found = zfviz.project(model, PICTURE, layer="p", units=place, method="gradient", seed="one").pixels
    np.testing.assert_allclose(found, expected, atol=1e-5)


DYNAMIC = (
    "q, s, z = DynamicQuantizeLinear(x) c = ConvInteger(q, wq, z) f = Cast<to = 1>(c) t = Mul(s, scale) g = Mul(f, t) "
    "y = Relu(g)"
)
FUSED = (
    "q = QuantizeLinear(x, scale, zero) c = QLinearConv(q, scale, zero, wq, scale, wz, scale, zero) "
    "y = DequantizeLinear(c, scale, zero)"
)


@pytest.mark.parametrize(
    "proto",
    [
        net("c = Conv(x, w) y = Relu(c)", "float16"),
        net("i = Identity(x) " + DYNAMIC, scale=np.array(0.05, np.float32), wq=np.ones((4, 3, 3, 3), np.uint8)),
        net(
            FUSED,
            scale=np.array(0.05, np.float32),
            zero=np.array(9, np.uint8),
            wz=np.array(2, np.uint8),
            wq=RNG.integers(0, 9, (4, 3, 3, 3), np.uint8),
        ),
    ],
    ids=["float16", "dynamic", "QOperator"],
)
def test_any_model_is_verified(proto: ModelProto) -> None:
    residual = zfviz.project(proto, PICTURE, layer="y", top=1, verify=True).residual
    assert residual is not None
    assert residual.value < 1e-4


def test_the_scale_of_a_quantiser_widens_no_field() -> None:
    """It is found from the whole map, but takes no signal."""
    weight = np.ones((4, 3, 3, 3), np.uint8)
    model = zfviz.load(net("i = Identity(x) " + DYNAMIC, scale=np.array(0.05, np.float32), wq=weight))
    assert model.layer("y").receptive_field == (3, 3)


def test_a_model_with_weights_beside_it_is_verified(tmp_path: Path) -> None:
    proto = net("c = Conv(x, w) y = Relu(c)", w=RNG.standard_normal((40, 3, 3, 3)))
    path = tmp_path / "net.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0)
    residual = zfviz.project(path, PICTURE, layer="y", top=1, verify=True).residual
    assert residual is not None
    assert residual.value < 1e-4


def test_a_signal_is_not_quantised_by_the_runtime() -> None:
    """onnxruntime makes 8-bit products of a DequantizeLinear and what it meets: a signal, in a companion."""
    weight = RNG.integers(0, 255, (9, 5), np.uint8)
    numbers = {"scale": np.array(0.05, np.float32), "zero": np.array(120, np.uint8), "m": weight}
    body = "q = QuantizeLinear(x, scale, zero) p = QLinearMatMul(q, scale, zero, m, scale, zero, scale, zero) "
    model = zfviz.load(net(f"{body} y = DequantizeLinear(p, scale, zero)", **numbers))
    back = zfviz.companion(model, "y", "gradient")
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in back.graph.node}
    unit = zfviz.project(model, PICTURE, layer="y", units=[(1, 2, 3)], method="gradient", seed="one")
    expected = np.zeros_like(PICTURE)
    expected[0, 1, 2] = 0.05 * (weight[:, 3].astype(np.float32) - 120)
    np.testing.assert_allclose(unit.pixels, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("zero", "rectifies"), [(0, True), (128, False)])
def test_a_quantiser_is_a_relu_where_zero_is_its_smallest_integer(zero: int, rectifies: bool) -> None:
    body = "c = Conv(x, w) q = QuantizeLinear(c, scale, zero) d = DequantizeLinear(q, scale, zero) y = Neg(d)"
    model = zfviz.load(net(body, scale=np.array(0.1, np.float32), zero=np.array(zero, np.uint8)))
    conv = zfviz.activations(model, PICTURE, ["c"])["c"][0]
    for method, place in (("deconvnet", conv.argmax()), ("guided", conv.argmax()), ("gradient", conv.argmin())):
        # a negative signal, or one from where the value was negative
        unit = tuple(map(int, np.unravel_index(place, conv.shape)))
        pixels = zfviz.project(model, PICTURE, layer="y", units=[unit], method=method, seed="one").pixels
        assert pixels.any() != rectifies, method


def test_sparse_weights_are_those_that_they_spell() -> None:
    plain = net("c = Conv(x, w) y = Relu(c)")
    weight = numpy_helper.to_array(plain.graph.initializer[0]) * (RNG.random((4, 3, 3, 3)) < 0.3)
    plain.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    expected = zfviz.project(plain, PICTURE, layer="y").pixels
    flat, places = weight.reshape(-1), np.argwhere(weight)
    for indices in (np.flatnonzero(flat), places):
        proto = net("c = Conv(x, w) y = Relu(c)")
        del proto.graph.initializer[:]
        values = numpy_helper.from_array(flat[np.flatnonzero(flat)], "w")
        sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(indices, "places"), list(weight.shape))
        proto.graph.sparse_initializer.append(sparse)
        np.testing.assert_array_equal(zfviz.project(proto, PICTURE, layer="y").pixels, expected)


BRANCHED = """
    n = Shape(c) h = Gather(n, two) k = Greater(h, four) t = Cast<to = 9>(k)
    b = If(t) <then_branch = yes () => (float[N, 4, 6, 7] e) <float half = {0.5}> { r = Relu(c) e = Mul(r, half) },
              else_branch = no () => (float[N, 4, 6, 7] e) { e = Neg(c) }>
    y = MaxPool<kernel_shape = [2, 2]>(b)
"""


def test_the_branch_that_is_always_taken_is_projected_through() -> None:
    proto = net("c = Conv(x, w)" + BRANCHED, two=np.array(2), four=np.array(4))
    body = "c = Conv(x, w) r = Relu(c) b = Mul(r, half) y = MaxPool<kernel_shape = [2, 2]>(b)"
    plain = net(body, half=np.array(0.5, np.float32))
    weight = next(t for t in proto.graph.initializer if t.name == "w")
    next(t for t in plain.graph.initializer if t.name == "w").CopyFrom(weight)
    for method in ("deconvnet", "guided", "gradient"):
        found, expected = (zfviz.project(p, PICTURE, layer="y", method=method).pixels for p in (proto, plain))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_saturated_unit_is_dark_in_gradient_only_and_that_is_said() -> None:
    proto = net(
        "c = Conv(x, w) l = Mul(c, loud) y = Clip(l, zero, six)",
        loud=np.array(100, np.float32),
        zero=np.array(0, np.float32),
        six=np.array(6, np.float32),
    )
    seen = {m: zfviz.project(proto, PICTURE, layer="y", top=1, method=m) for m in ("deconvnet", "gradient")}
    assert seen["deconvnet"].activations[0] == 6
    assert seen["deconvnet"].pixels.any()
    assert not seen["gradient"].pixels.any()
    assert any("1 of 1 projections are zero everywhere" in w for w in seen["gradient"].warnings())


def test_bfloat16_is_computed_in_float32_and_said_so() -> None:
    proto = net("c = Conv(x, w) y = Relu(c)", "bfloat16", opset=22)
    array = numpy_helper.to_array(proto.graph.initializer[0])
    kind = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(array.astype(kind), "w"))
    projections = zfviz.project(proto, PICTURE, layer="y")
    assert any("bfloat16" in warning for warning in projections.warnings())
    plain = net("c = Conv(x, w) y = Relu(c)", w=array)
    plain.graph.initializer[0].CopyFrom(numpy_helper.from_array(array.astype(kind).astype(np.float32), "w"))
    np.testing.assert_allclose(projections.pixels, zfviz.project(plain, PICTURE, layer="y").pixels, rtol=1e-5)


def test_an_old_opset_is_read_as_a_newer_one_and_said_so() -> None:
    proto = net("c = Conv(x, w) y = Relu<consumed_inputs = [0]>(c)", opset=5)
    assert any("opset 5 is read as opset 8" in w for w in zfviz.project(proto, PICTURE, layer="y").warnings())


def test_what_stops_is_told_all_at_once_with_the_ops_above_it() -> None:
    model = zfviz.load(net("c = Conv(x, w) h = Cosh(c) r = Relu(h) s = Sinh(r) y = Sigmoid(s)"))
    with pytest.raises(zfviz.ZfvizError, match=r"Sinh \(opset 18\) at layer 's' \(below Sigmoid\); no rule for Cosh"):
        zfviz.project(model, PICTURE, layer="y")

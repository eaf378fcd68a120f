"""The graph that explains itself: plain onnxruntime gives from it what `project` gives."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from nets import Weights, network, noise
from onnx import ModelProto

import zfviz
from zfviz.errors import LayerError, UnsupportedError
from zfviz.graph.rules import METHODS, Method
from zfviz.tolerances import SAME_GRAPH

CONV: Weights = {"w": (8, 3, 3, 3), "v": (8, 8, 3, 3)}
BODY = (
    "c = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(c) p = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(r) "
    "d = Conv(p, v) e = Relu(d) g = GlobalAveragePool(e) y = Flatten(g)"
)


def run(proto: ModelProto, image: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: image}), strict=True))


def check(proto: ModelProto, layer: str, image: np.ndarray, method: Method = "deconvnet", top: int = 3) -> None:
    model = zfviz.load(proto, preprocessing="unit")
    exported = zfviz.export(model, layer, top, method)
    found = run(exported, image)
    expected = zfviz.project(model, image, layer=layer, top=top, method=method)
    places = [[p for p in (unit.channel, unit.y, unit.x) if p is not None] for unit in expected.units]
    assert found["units"].tolist() == places
    np.testing.assert_allclose(found["activations"], expected.activations, rtol=10 * SAME_GRAPH)
    pixels = found["pixels"].transpose(model.image.axes)
    np.testing.assert_allclose(pixels, expected.pixels, atol=10 * SAME_GRAPH * np.abs(expected.pixels).max())
    (own,) = (output.name for output in proto.graph.output)
    plain = run(proto, image)[own]
    np.testing.assert_allclose(found[own], plain, atol=SAME_GRAPH * np.abs(plain).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", ["r", "e", "y"])
def test_units_and_pixels_are_those_of_project(layer: str, method: Method) -> None:
    check(network(BODY, "N, 3, 33, 29", 18, CONV), layer, noise(1, 3, 33, 29), method)


@pytest.mark.parametrize("opset", [9, 13, 17, 18, 21, 22])
def test_at_any_opset(opset: int) -> None:
    check(network(BODY, "1, 3, 33, 29", opset, CONV), "e", noise(1, 3, 33, 29))


def test_channels_last() -> None:
    body = (
        "t = Transpose<perm = [0, 3, 1, 2]>(x) c = Conv(t, w) r = Relu(c) "
        "b = Transpose<perm = [0, 2, 3, 1]>(r) y = Mul(b, s)"
    )
    proto = network(body, "1, 33, 29, 3", 18, {"w": (8, 3, 3, 3), "s": (8,)})
    check(proto, "y", noise(1, 33, 29, 3))


def test_integers_that_stand_for_real_numbers() -> None:
    body = "c = Conv(x, w) r = Relu(c) q = QuantizeLinear(r, scale, zero) y = DequantizeLinear(q, scale, zero)"
    weights = CONV | {"scale": np.float32(0.05), "zero": np.uint8(3)}
    check(network(body, "1, 3, 33, 29", 18, weights), "q", noise(1, 3, 33, 29))


def test_the_bundled_network_explains_itself_and_holds_its_weights_once(tmp_path: Path) -> None:
    model = zfviz.load("alexnet")
    exported = zfviz.export(model, "conv5", top=4)
    onnx.checker.check_model(exported, full_check=True)
    names = [tensor.name for tensor in exported.graph.initializer]
    assert len(names) == len(set(names))
    assert exported.ByteSize() < 1.01 * model.source.proto.ByteSize()
    facts = {entry.key: entry.value for entry in exported.metadata_props}
    assert (facts["zfviz.layer"], facts["zfviz.method"]) == ("conv5", "deconvnet")
    assert "tench" in facts["zfviz.labels"]
    onnx.save(exported, tmp_path / "explain.onnx")
    image = 50 * noise(1, 3, 224, 224)
    found = run(onnx.load(tmp_path / "explain.onnx"), image)
    expected = zfviz.project(model, image, layer="conv5", top=4)
    assert [tuple(unit) for unit in found["units"]] == [(u.channel, u.y, u.x) for u in expected.units]
    difference = np.abs(found["pixels"] - expected.pixels).max()
    assert difference < 10 * SAME_GRAPH * np.abs(expected.pixels).max()


def test_what_cannot_be_is_refused() -> None:
    model = zfviz.load(network(BODY, "1, 3, 33, 29", 18, CONV), preprocessing="unit")
    with pytest.raises(LayerError, match="expected 1 to 8, the channels of 'e'"):
        zfviz.export(model, "e", top=9)
    named = network(BODY.replace("p = ", "units = ").replace("(p, v)", "(units, v)"), "1, 3, 33, 29", 18, CONV)
    with pytest.raises(UnsupportedError, match="'units', a reserved name"):
        zfviz.export(zfviz.load(named, preprocessing="unit"), "e", top=2)
    named = network(BODY, "1, 3, 33, 29", 18, CONV)
    named.graph.node[0].output[0] = named.graph.node[1].input[0] = "signal/constant3"
    with pytest.raises(UnsupportedError, match="'signal/constant3', a reserved name"):
        zfviz.export(zfviz.load(named, preprocessing="unit"), "e", top=2)
    with pytest.raises(UnsupportedError, match="takes 4 images at once; expected any number, or 1"):
        zfviz.export(zfviz.load(network(BODY, "4, 3, 33, 29", 18, CONV), preprocessing="unit"), "e", top=2)
    windows = "a = Reshape(x, apart) r = Relu(a) y = Reshape(r, back)"
    proto = network(windows, "1, 3, 8, 8", 18, {"apart": [4, 3, 4, 4], "back": [1, 3, 8, 8]})
    with pytest.raises(UnsupportedError, match="takes its batch for something else"):
        zfviz.export(zfviz.load(proto, preprocessing="unit"), "y", top=2)

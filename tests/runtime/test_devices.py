"""Devices: CPU and CUDA make the same pixels; so do values that stay on a device and values that are fetched."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from corpus import light_model
from onnx import ModelProto, helper, numpy_helper, parser

import zfviz
from zfviz.errors import DeviceError, ModelError, UnsupportedError
from zfviz.graph.companion import SIGNAL
from zfviz.graph.net import IMAGE, PLACE
from zfviz.graph.rules import METHODS, Method
from zfviz.runtime.running import run_forward
from zfviz.runtime.session import Session, Value, choose_device, open_session
from zfviz.studies import project
from zfviz.tolerances import WHOLE_NET


@pytest.fixture
def feeds(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Value]]:
    """What companions were fed with, the CPU treated as a device with memory of its own."""
    fed: list[dict[str, Value]] = []
    run = Session.run

    def watched(self: Session, feeds: dict[str, Value], outputs: list[str], kept: Collection[str] = ()) -> Any:
        if SIGNAL in feeds:
            fed.append(feeds)
        return run(self, feeds, outputs, kept)

    monkeypatch.setattr(project, "choose_device", lambda device: "cuda")
    monkeypatch.setattr(Session, "run", watched)
    return fed


def pictures(number: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((number, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_forward_values_stay_on_the_device_and_give_the_same_pixels(
    method: Method, tiny: ModelProto, monkeypatch: pytest.MonkeyPatch, feeds: list[dict[str, Value]]
) -> None:
    batch, asked = pictures(3), {"layer": ["relu1", "relu2"], "classes": [0, 2], "method": method, "device": "cpu"}
    found = zfviz.project(tiny, batch, **asked)
    told = {SIGNAL, PLACE, IMAGE}
    brought = [name for fed in feeds for name in fed.keys() - told if not isinstance(fed[name], ort.OrtValue)]
    assert not brought
    assert any(fed.keys() - told for fed in feeds)
    monkeypatch.undo()
    expected = zfviz.project(tiny, batch, **asked)
    assert found.units == expected.units
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.activations, expected.activations)


def test_a_model_that_takes_two_images_at_once_keeps_their_values(
    tiny: ModelProto, monkeypatch: pytest.MonkeyPatch, feeds: list[dict[str, Value]]
) -> None:
    tiny.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    square = helper.make_node("Mul", ["image", "image"], ["square"])  # whose rule takes the image itself
    tiny.graph.node[0].input[0] = "square"
    tiny.graph.node.insert(0, square)
    batch, asked = pictures(3), {"layer": "relu2", "device": "cpu"}
    found = zfviz.project(tiny, batch, **asked)
    assert any(isinstance(fed["image"], ort.OrtValue) for fed in feeds)
    monkeypatch.undo()
    np.testing.assert_array_equal(found.pixels, zfviz.project(tiny, batch, **asked).pixels)


def made(body: str) -> ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> one (float[N, 2] x) => ({body}')


def test_a_kept_value_lies_on_the_device_and_goes_into_another_session() -> None:
    ahead = open_session(made("float[N, 2] y, float[N, 2] z) { y = Neg(x) z = Exp(x) }"), device="cpu")
    x = np.array([[1, 2], [3, 4]], np.float32)
    values = ahead.run({"x": x}, ["y", "z"], kept=["y"])
    assert isinstance(values["y"], ort.OrtValue)
    np.testing.assert_allclose(values["z"], np.exp(x), rtol=1e-6)
    then = open_session(made("float[N, 2] y) { y = Neg(x) }"), device="cpu")
    np.testing.assert_array_equal(then.run({"x": values["y"]}, ["y"])["y"], x)


def test_a_kept_value_whose_rows_are_no_images_is_refused(tiny: ModelProto) -> None:
    image = replace(zfviz.load(tiny).image, name="x", batch=None)
    session = open_session(made("float[M, 2] y) { y = Concat<axis = 0>(x, x) }"), device="cpu")
    x = np.ones((1, 2), np.float32)
    with pytest.raises(UnsupportedError, match=r"'y' has shape \[2, 2\] for 1 image"):
        run_forward(session, image, x, ["y"], kept={"y": ""})


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_a_kept_value_that_is_not_finite_is_refused_in_the_same_words(
    number: float, monkeypatch: pytest.MonkeyPatch, feeds: list[dict[str, Value]]
) -> None:
    """Also where none of it is seen in the layer above."""
    hole = np.zeros((1, 3, 32, 32), np.float32)
    hole[..., 5, 5] = number
    body = "h = Add(x, hole) p = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(h) y = Relu(p)"
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> one (float[N, 3, 32, 32] x) => (float[N, 3, 15, 15] y) {{ {body} }}'
    )
    model.graph.initializer.append(numpy_helper.from_array(hole, "hole"))
    said: list[str] = []
    for _ in range(2):
        with pytest.raises(ModelError, match="are NaN or infinite") as refused:
            zfviz.project(zfviz.load(model, preprocessing="unit"), pictures(1), layer="y", device="cpu", scores=False)
        said.append(str(refused.value))
        monkeypatch.undo()
    assert not feeds
    assert said[0] == said[1]


@pytest.fixture(scope="module")
def cuda() -> None:
    try:
        choose_device("cuda")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", ["zfnet", "alexnet", "squeezenet", "resnet50"])
def test_cuda_makes_the_pixels_of_the_cpu(network: str, method: Method, photo_path: Path) -> None:
    model = zfviz.load(network if network in ("zfnet", "alexnet") else light_model(network))
    cpu = zfviz.project(model, photo_path, top=4, method=method, classes=[3], device="cpu", seed="one")
    # the same units, where two are as strong as each other
    for layer in dict.fromkeys(unit.layer for unit in cpu.units):
        rows = [row for row, unit in enumerate(cpu.units) if unit.layer == layer]
        places = [(u.channel, u.y, u.x) for u in (cpu.units[row] for row in rows)]
        there = zfviz.project(model, photo_path, layer, places, method=method, device="cuda", seed="one")
        assert there.device == "cuda"
        for row, pixels in zip(rows, there.pixels, strict=True):
            size = np.abs(cpu.pixels[row]).max()
            np.testing.assert_allclose(pixels, cpu.pixels[row], atol=WHOLE_NET * size)
    assert zfviz.prepare(model, classes=[3], method=method, device="cuda").kept

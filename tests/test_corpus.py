"""The corpus: nine published graphs, every method, low to high layers, against float64 autograd with the same masks."""

from functools import cache

import numpy as np
import pytest
from corpus import LIGHT, light_model, photo
from windows import difference

from zfviz.graph.companion import PIXELS, SIGNAL, Companion, build_companion
from zfviz.graph.exposure import expose
from zfviz.graph.layers import Layer
from zfviz.graph.rules import METHODS
from zfviz.runtime.loading import Model, load
from zfviz.runtime.session import open_session
from zfviz.runtime.verify import verify_layers
from zfviz.studies.selection import class_layer, default_layers
from zfviz.tolerances import SAME_GRAPH, SINGLE_OP, WHOLE_NET

pytestmark = pytest.mark.slow


@cache
def loaded(name: str) -> Model:
    return load(light_model(name), preprocessing="imagenet")


def probed(model: Model) -> list[Layer]:
    """Layers low, middle and high, and the logits."""
    rows = default_layers(model)
    scores = class_layer(model)
    assert scores is not None
    return [rows[0], rows[len(rows) // 2], rows[-1], scores]


def run_back(companion: Companion, values: dict[str, np.ndarray], signal: np.ndarray) -> np.ndarray:
    feeds = {name: values[name] for name in companion.values}
    return open_session(companion.proto, device="cpu").run({**feeds, SIGNAL: signal}, [PIXELS])[PIXELS]


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    assert np.abs(expected).max() > 0
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LIGHT)
def test_projection_equals_float64_autograd_with_the_same_masks(name: str, method: str) -> None:
    pytest.importorskip("torch", reason="the independent autograd is torch; install zfviz[oracle]")
    from oracle import Oracle

    model = loaded(name)
    oracle = Oracle(light_model(name), photo(), method)
    rng = np.random.default_rng(0)
    for layer in probed(model):
        companion = build_companion(model.canonical, layer.tensor, method)
        values = {
            v: oracle.switches[companion.switches[v]]
            if v in companion.switches
            else oracle.values[v].astype(np.float32)
            for v in companion.values
        }
        maps = oracle.values[layer.tensor].reshape(-1)
        seed = np.zeros(maps.shape)
        strongest = int(maps.argmax())
        other = int(rng.choice(np.flatnonzero(maps)))
        seed[[strongest, other]] = maps[[strongest, other]]
        seed = seed.reshape(oracle.values[layer.tensor].shape)
        found = run_back(companion, values, seed.astype(np.float32))
        assert relative(found, oracle.project(layer.tensor, seed)) < WHOLE_NET, layer.name


@pytest.mark.parametrize("name", LIGHT)
def test_every_layer_alone_agrees_with_central_differences(name: str) -> None:
    model = loaded(name)
    scores = class_layer(model)
    assert scores is not None
    residuals = verify_layers(model, photo(), [scores.tensor])
    assert len(residuals) >= len([layer for layer in model.layers if layer.op != "Softmax"])
    assert max(r.value for r in residuals) < SINGLE_OP


@pytest.mark.parametrize("name", LIGHT)
def test_windows_give_what_whole_maps_give(name: str) -> None:
    model = loaded(name)
    for layer in probed(model)[:3]:
        assert difference(model, layer, "guided", photo()) < 10 * SAME_GRAPH, layer.name


@pytest.mark.parametrize("name", ["bvlc_alexnet", "inception_v1", "inception_v2"])
def test_maxunpool_gives_the_pixels_of_scatter(name: str) -> None:
    model = loaded(name)
    layer = default_layers(model)[-1]
    scatter, unpool = (build_companion(model.canonical, layer.tensor, "deconvnet", u) for u in ("scatter", "maxunpool"))
    forward = open_session(expose(model.canonical, [layer.tensor], scatter.switches), device="cpu")
    values = forward.run({model.image.name: photo()}, [layer.tensor, *scatter.values])
    signal = np.maximum(values[layer.tensor], 0)
    found, expected = (run_back(companion, values, signal) for companion in (unpool, scatter))
    assert relative(found, expected) < 10 * SAME_GRAPH

"""Captum on a torch twin with the same weights: NeuronDeconvolution, NeuronGuidedBackprop, NeuronGradient."""

import numpy as np
import pytest
from conftest import tiny_network
from onnx import numpy_helper

import zfviz
from zfviz.tolerances import WHOLE_NET

torch = pytest.importorskip("torch", reason="the twin is torch; install zfviz[oracle]")
attr = pytest.importorskip("captum.attr", reason="the oracle is captum; install zfviz[oracle]")

ORACLES = {
    "deconvnet": attr.NeuronDeconvolution,
    "guided": attr.NeuronGuidedBackprop,
    "gradient": attr.NeuronGradient,
}


def twin() -> tuple[torch.nn.Sequential, dict[str, torch.nn.Module]]:
    """`tiny_network` in torch, and its layers by their names in the graph."""
    weights = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in tiny_network().graph.initializer}
    layers: dict[str, torch.nn.Module] = {
        "conv1": torch.nn.Conv2d(3, 8, 7, 2, 3, bias=False),
        "relu1": torch.nn.ReLU(),
        "pool1": torch.nn.MaxPool2d(3, 2, ceil_mode=True),
        "conv2": torch.nn.Conv2d(8, 12, 3, 1, 1, bias=False),
        "relu2": torch.nn.ReLU(),
        "gap": torch.nn.AdaptiveAvgPool2d(1),
        "flatten": torch.nn.Flatten(),
        "fc": torch.nn.Linear(12, 3, bias=False),
    }
    for name, weight in (("conv1", "w1"), ("conv2", "w2"), ("fc", "w3")):
        layers[name].weight.data = weights[weight]
    return torch.nn.Sequential(*layers.values()), layers


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", ["relu1", "conv2", "relu2", "fc"])
@pytest.mark.parametrize("method", list(ORACLES))
def test_projections_are_captums(method: str, layer: str) -> None:
    image = np.random.default_rng(3).standard_normal((1, 3, 32, 32), dtype=np.float32)
    p = zfviz.project(tiny_network(), image, layer=layer, top=3, method=method, seed="one")
    net, layers = twin()
    oracle = ORACLES[method](net, layers[layer])
    for unit, pixels in zip(p.units, p.pixels, strict=True):
        place = tuple(i for i in (unit.channel, unit.y, unit.x) if i is not None)
        expected = oracle.attribute(torch.from_numpy(image).requires_grad_(), place).detach().numpy()[0]
        assert np.abs(expected).max() > 0
        assert np.abs(pixels - expected).max() <= WHOLE_NET * np.abs(expected).max()

"""Summaries are what numpy makes of the maps themselves, to the last place that is counted."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import pytest
from conftest import tiny_network
from nets import network
from onnx import ModelProto

from zfviz.graph.layers import Layer
from zfviz.graph.summaries import Summarizer
from zfviz.runtime.loading import Model, load
from zfviz.runtime.running import run_forward
from zfviz.runtime.session import open_session
from zfviz.studies.project import open_forward

LARGEST = np.nextafter(np.finfo(np.float32).max, np.float32(0))
LIMITS = [*map(float, np.array([0, 1e-3, 1, 5.999, 2**40, LARGEST], np.float32))]


def summed_up(model: Model, images: np.ndarray, layers: Sequence[Layer], limits: Sequence[float]) -> list[np.ndarray]:
    """Of each layer its peaks, its means, and the shares above the limits: [2 + limits, N, C]."""
    graph = Summarizer(model.canonical, layers)
    names = [
        [graph.peak(layer), graph.mean(layer), *(graph.share_above(layer, limit) for limit in limits)]
        for layer in layers
    ]
    session = open_session(graph.finish([]), device="cpu")
    values = run_forward(session, model.image, images, [*chain(*names)], finite=False)
    return [np.stack([values[name][:, :, 0, 0] for name in of_layer]) for of_layer in names]


def reckoned(model: Model, images: np.ndarray, layers: Sequence[Layer], limits: Sequence[float]) -> list[np.ndarray]:
    """The same from the maps themselves."""
    tensors = [layer.tensor for layer in layers]
    values = run_forward(open_forward(model, tensors, "cpu", None), model.image, images, tensors)
    maps = [layer.as_map(values[layer.tensor]).astype(np.float32) for layer in layers]
    flat = [values.reshape(*values.shape[:2], -1) for values in maps]
    return [
        np.stack([one.max(axis=2), one.mean(axis=2), *((one > limit).mean(axis=2) for limit in limits)]) for one in flat
    ]


def small(opset: int) -> ModelProto:
    body = "a = Conv(x, w)  r = Relu(a)  p = GlobalAveragePool(r)  s = Sigmoid(p)  y = Flatten(s)"
    return network(body, "N, 3, 12, 14", opset, {"w": (5, 3, 3, 3)})


def quantised() -> ModelProto:
    pooled = "q = QuantizeLinear(x, scale, zero)  p = MaxPool<kernel_shape = [2, 2]>(q)"
    numbers = {"scale": np.float32(0.02), "zero": np.array(7, np.int8)}
    return network(f"{pooled}  y = DequantizeLinear(p, scale, zero)", "N, 3, 12, 14", 17, numbers)


def half() -> ModelProto:
    body = "h = Cast<to = 10>(x)  a = Relu(h)  y = Cast<to = 1>(a)"
    return network(body, "N, 3, 12, 14", 17, {})


def of_open_size() -> ModelProto:
    return network("a = Conv(x, w)  y = Relu(a)", "N, 3, H, W", 17, {"w": (5, 3, 3, 3)})


@pytest.mark.parametrize(
    "proto",
    [
        small(7),
        small(13),
        small(22),
        quantised(),
        half(),
        of_open_size(),
        tiny_network(nhwc=True),
        tiny_network(batch=2),
    ],
    ids=["opset 7", "opset 13", "opset 22", "quantised", "half", "open size", "channels last", "fixed batch"],
)
def test_they_are_those_of_the_maps(proto: ModelProto) -> None:
    model = load(proto)
    images = np.random.default_rng(1).standard_normal((3, *model.image.shape[1:]), np.float32)
    limits = (0.0, 0.25, 0.5)
    pairs = zip(
        summed_up(model, images, model.layers, limits), reckoned(model, images, model.layers, limits), strict=True
    )
    for layer, (found, expected) in zip(model.layers, pairs, strict=True):
        assert np.allclose(found[:2], expected[:2], rtol=1e-4, atol=1e-5), layer.name
        places = np.prod(layer.shape[1:])
        assert np.array_equal(np.rint(found[2:] * places), np.rint(expected[2:] * places)), layer.name


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_is_as_sharp_as_numbers_are(limit: float) -> None:
    model = load(network("y = Relu(x)", "N, 3, 1, 1", 13, {}))
    at = np.float32(limit)
    below, above = np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))
    images = np.array([below, at, above]).reshape(1, 3, 1, 1)
    ((_, _, shares),) = summed_up(model, images, model.layers, [limit])
    assert shares.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_mean_tells_of_what_is_not_finite(bad: float) -> None:
    model = load(network("y = Abs(x)", "N, 3, 4, 4", 13, {}))
    images = np.ones((2, 3, 4, 4), np.float32)
    images[1, 2, 3, 3] = bad
    ((_, means),) = summed_up(model, images, model.layers, [])
    assert np.isfinite(means).tolist() == [[True] * 3, [True, True, False]]

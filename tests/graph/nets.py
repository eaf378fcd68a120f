"""Small networks with seeded weights, written as ONNX text, and both graphs of each run once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, numpy_helper, parser

from zfviz.graph.companion import PIXELS, SIGNAL, Companion, build_companion
from zfviz.graph.exposure import expose
from zfviz.graph.net import Unpool
from zfviz.graph.rules import Method
from zfviz.runtime.loading import Model, load
from zfviz.runtime.session import open_session

Weights = Mapping[str, tuple[int, ...] | list[int] | np.ndarray]
"""By name: a shape to fill with noise, numbers for an int64 tensor, or an array as it is."""


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def tensors(weights: Weights) -> list[TensorProto]:
    return [
        numpy_helper.from_array(_filled(given, seed), name) for seed, (name, given) in enumerate(weights.items(), 1)
    ]


def _filled(given: tuple[int, ...] | list[int] | np.ndarray, seed: int) -> np.ndarray:
    if not isinstance(given, tuple):
        return np.asarray(given)
    fan_in = max(np.prod(given[1:]), 1)
    return noise(*given, seed=seed) / np.sqrt(fan_in, dtype=np.float32)


def network(body: str, sizes: str, opset: int, weights: Weights, ir_version: int = 8) -> ModelProto:
    """A model with the image input x[sizes] and one float output y; initializers are also inputs before IR 4."""
    head = f'<ir_version: {ir_version}, opset_import: ["" : {opset}]> net (float[{sizes}] x) => (float y)'
    proto = parser.parse_model(f"{head} {{ {body} }}")
    proto.graph.output[0].CopyFrom(ValueInfoProto(name="y"))
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    proto.graph.initializer.extend(tensors(weights))
    if ir_version < 4:
        proto.graph.input.extend(
            onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in proto.graph.initializer
        )
    return proto


@dataclass(frozen=True)
class Pair:
    """Both graphs of one layer, and what the forward graph gave for one batch of images."""

    model: Model
    forward: ModelProto
    companion: Companion
    values: dict[str, np.ndarray]
    y: np.ndarray

    @classmethod
    def of(
        cls, proto: ModelProto, image: np.ndarray, layer: str, method: Method = "gradient", unpool: Unpool = "scatter"
    ) -> "Pair":
        model = load(proto, input_shape=image.shape)
        companion = build_companion(model.canonical, layer, method, unpool)
        asked = [layer, *(v for v in companion.values if v not in companion.switches)]
        forward = expose(model.canonical, asked, companion.switches)
        values = open_session(forward, device="cpu").run({model.image.name: image}, [layer, *companion.values])
        return cls(model, forward, companion, {v: values[v] for v in companion.values}, values[layer])

    def back(self, signal: np.ndarray, values: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """The pixels, from the forward graph's values or from others."""
        session = open_session(self.companion.proto, device="cpu")
        return session.run({**(self.values if values is None else values), SIGNAL: signal}, [PIXELS])[PIXELS]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0
    return float(np.abs(found - expected).max() / np.abs(expected).max())

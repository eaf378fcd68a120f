"""The networks that come with zfviz: their weights, and the cards that say how these were learned."""

import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from zfviz.models.networks import Layer, alexnet, build, zfnet

NETWORKS: dict[str, Callable[[int, int], list[Layer]]] = {"alexnet": alexnet, "zfnet": zfnet}


def card(name: str) -> Mapping[str, Any]:
    """What is known of a bundled network: data, recipe, errors, preprocessing, licence, and what it is not."""
    return json.loads(files("zfviz.models").joinpath(f"{name}.json").read_text("utf-8"))


def bundled(name: str) -> ModelProto:
    """A bundled network with its weights, in float32 (they are stored in half precision), and its card as metadata:
    `zfviz.preprocessing`, `zfviz.labels` and `zfviz.card`, all JSON.
    """
    told = card(name)
    stored = files("zfviz.models").joinpath(f"{name}.npz").read_bytes()
    with np.load(BytesIO(stored), allow_pickle=False) as weights:
        width, classes = (weights[f"{layer}/bias"].size for layer in ("fc6", "fc8"))
        model = build(name, NETWORKS[name](width, classes), weights)
    properties = {f"zfviz.{key}": json.dumps(told[key]) for key in ("preprocessing", "labels")}
    helper.set_model_props(model, properties | {"zfviz.card": json.dumps(told)})
    return model

"""The layers of a model as a table: what each sees, and how a signal passes it."""

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from zfviz.graph.reach import is_carrier
from zfviz.graph.rules import Method, find_rule, op_key
from zfviz.runtime.loading import Model


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer as `zfviz layers` shows it; `projection` says what its rule does, or which op below it stops every
    signal.
    """

    name: str
    op: str
    tensor: str
    shape: tuple[int, ...]
    receptive_field: tuple[int, int]
    jump: tuple[float, float]
    projection: str


def describe_layers(model: Model, method: Method = "deconvnet") -> tuple[LayerRow, ...]:
    """A row for each layer, from the image upwards."""
    told = _projections(model, method)
    return tuple(
        LayerRow(layer.name, layer.op, layer.tensor, layer.shape, layer.receptive_field, layer.jump, told[layer.tensor])
        for layer in model.layers
    )


def _projections(model: Model, method: Method) -> dict[str, str]:
    stopped: dict[str, str] = {}
    told: dict[str, str] = {}
    for node in model.canonical.graph.nodes:
        reason = _without_rule(node, method) or next((stopped[t.name] for t in node.inputs if t.name in stopped), "")
        for output in node.outputs:
            if reason and is_carrier(output):
                stopped[output.name] = reason
            told[output.name] = reason or _told(model, node, method)
    return told


def _without_rule(node: gs.Node, method: Method) -> str:
    return "" if find_rule(node, method) else f"cannot be: no rule for {op_key(node)}"


def _told(model: Model, node: gs.Node, method: Method) -> str:
    found = find_rule(node, method)
    assert found is not None
    verb = found.verb
    rectifier = model.canonical.rectifiers.get(node.outputs[0].name)
    if rectifier is not None and found.method is None and method in rectifier.told_apart_by:
        if rectifier.passed_over:
            verb = "skip"
        elif rectifier.bends:
            verb = "rectify" if method == "deconvnet" else f"rectify, {verb}"
    return f"{verb} (inexact: {found.inexact})" if found.inexact else verb

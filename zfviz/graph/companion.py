"""The companion graph: signal and forward values in, pixels out; built by one reverse walk over the canonical form."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto

from zfviz.errors import UnsupportedError
from zfviz.graph.canonical import Canonical
from zfviz.graph.net import Net, Unpool
from zfviz.graph.reach import dims
from zfviz.graph.rules import Method, Rule, find_rule, op_key
from zfviz.graph.source import opset_of

IR_VERSION = 8
SIGNAL, PIXELS = "signal", "pixels"


@dataclass(frozen=True, slots=True, eq=False)
class Companion:
    """A companion graph with what it asks of the forward graph.

    `values` are the forward values it takes, by input name; `switches` those of them that are switches, with the tensor
    that their MaxPool gives; `inexact` names every op on the way that is not the exact adjoint of what the method
    prescribes.
    """

    proto: ModelProto
    values: tuple[str, ...]
    switches: Mapping[str, str]
    inexact: tuple[str, ...]


def build_companion(
    canonical: Canonical, layer: str, method: Method = "deconvnet", unpool: Unpool = "scatter"
) -> Companion:
    """The companion graph of the layer whose output tensor is `layer`.

    Its inputs are `signal` [K, ...] (the shape of the layer's output, float32) and forward values of batch K or 1; its
    output is `pixels` [K, ...] (the shape of the image input, float32). Raises UnsupportedError with every op that
    stops the signal.
    """
    net = Net(canonical, unpool)
    target = next(t for node in canonical.graph.nodes for t in node.outputs if t.name == layer)
    signal = gs.Variable(SIGNAL, np.float32, ["K", *dims(target)[1:]])
    passed, reached = _walk_back(net, target, signal, method)
    pixels = net.emit("Identity", reached)
    pixels.name, pixels.dtype, pixels.shape = PIXELS, np.float32, ["K", *dims(canonical.image)[1:]]
    inexact = sorted({f"{op_key(node)}: {rule.inexact}" for node, rule in passed if rule.inexact})
    return _finish(net, signal, pixels, tuple(inexact), {"layer": layer, "method": method, "unpool": unpool})


def _finish(
    net: Net, signal: gs.Tensor, pixels: gs.Tensor, inexact: tuple[str, ...], facts: Mapping[str, str]
) -> Companion:
    graph = net.graph
    graph.inputs, graph.outputs = [signal, *net.values.values()], [pixels]
    graph.cleanup().toposort()
    used = {t.name for node in graph.nodes for t in node.inputs}
    graph.inputs = [t for t in graph.inputs if t is signal or t.name in used]
    proto = gs.export_onnx(graph, do_type_check=False)
    proto.ir_version = IR_VERSION
    proto.producer_name = "zfviz"
    weights = net.canonical.weights
    proto.graph.initializer.extend(weights[name] for name in net.weights if name in used)
    onnx.helper.set_model_props(proto, {f"zfviz.{k}": v for k, v in {**facts, "inexact": "; ".join(inexact)}.items()})
    values = tuple(t.name for t in graph.inputs[1:])
    return Companion(proto, values, {n: net.pooled[n] for n in values if n in net.pooled}, inexact)


def _walk_back(
    net: Net, target: gs.Tensor, signal: gs.Tensor, method: Method
) -> tuple[list[tuple[gs.Node, Rule]], gs.Tensor]:
    canonical = net.canonical
    arrived: dict[str, list[gs.Tensor]] = {target.name: [signal]}
    passed: list[tuple[gs.Node, Rule]] = []
    refused: list[str] = []
    opset = opset_of(canonical.proto)
    for node in reversed(canonical.graph.nodes):
        coming = tuple(net.total(arrived.pop(t.name)) if t.name in arrived else None for t in node.outputs)
        if not any(coming):
            continue
        found = find_rule(node, method)
        if found is None:
            refused.append(f"no rule for {op_key(node)} (opset {opset}) at layer {layer_name(node)!r}")
            continue
        try:
            signals = found.transpose(node, coming if found.every_output else _only_first(coming), net)
        except UnsupportedError as error:
            refused.append(f"{op_key(node)} at layer {layer_name(node)!r}: {error}")
            continue
        passed.append((node, found))
        for index, tensor in enumerate(node.inputs):
            if not net.wants(tensor):
                continue
            if index not in signals:
                refused.append(f"{op_key(node)} at layer {layer_name(node)!r} takes input {index} from the image")
            elif (back := signals[index]) is not None:
                arrived.setdefault(tensor.name, []).append(back)
    if refused:
        raise UnsupportedError(
            f"{target.name!r} cannot be projected: {'; '.join(dict.fromkeys(refused))}. "
            "Choose a layer below, or add a rule (CONTRIBUTING.md)."
        )
    if canonical.image.name not in arrived:
        raise UnsupportedError(
            f"no signal from {target.name!r} reaches the image; expected a layer that depends on it."
        )
    return passed, net.total(arrived[canonical.image.name])


def _only_first(coming: tuple[gs.Tensor | None, ...]) -> gs.Tensor:
    """The signal at the first output, for ops whose other outputs carry none."""
    first, *others = coming
    if first is None or any(others):
        raise UnsupportedError("a signal comes to an output that carries none")
    return first


def layer_name(node: gs.Node) -> str:
    """How the user's file calls the layer: by its node's name, or by its first output where the node has none."""
    return node.name or node.outputs[0].name

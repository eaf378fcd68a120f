"""Networks with faults that were put there on purpose, and which checks of weights see them."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

import zfviz
from zfviz.checks.checking import Check, Measurement, all_checks
from zfviz.checks.subject import Subject
from zfviz.models.bundled import bundled

Change = Callable[[np.ndarray], object]


@cache
def network(name: str) -> ModelProto:
    """A bundled network; not to be changed."""
    return bundled(name)


@cache
def trunk(layers: int) -> ModelProto:
    """The first layers of ZFNet, with what it learned; not to be changed. 8 hold conv1 and conv2."""
    model = deepcopy(network("zfnet"))
    nodes = list(model.graph.node)[:layers]
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info(nodes[-1].output[0], 1, None))
    for field, content in ((model.graph.node, nodes), (model.graph.initializer, kept)):
        del field[:]
        field.extend(content)
    return model


def planted(proto: ModelProto, changes: dict[str, Change]) -> ModelProto:
    """The same network, with some weights changed in place by functions."""
    model = deepcopy(proto)
    for tensor in model.graph.initializer:
        if tensor.name in changes:
            array = numpy_helper.to_array(tensor).copy()
            changes[tensor.name](array)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


def small_network(
    nodes: list[NodeProto], weights: dict[str, np.ndarray], channels: int, size: int = 32, dtype: type = np.float32
) -> ModelProto:
    """A network from "image", with so many channels, to "out"; other than three are copies of one."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    if channels != 3:
        stored.append(numpy_helper.from_array(np.array([1, channels, 1, 1]), "copies"))
        nodes = [helper.make_node("Expand", ["grey", "copies"], ["image"]), *nodes]
    shape = [1, 1 if channels != 3 else 3, size, size]
    image = helper.make_tensor_value_info("image" if channels == 3 else "grey", kind, shape)
    out = helper.make_tensor_value_info("out", kind, None)
    graph = helper.make_graph(nodes, "small", [image], [out], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def one_layer(
    op: str, weight: np.ndarray, size: int = 32, inputs: int | None = None, **attributes: object
) -> ModelProto:
    """A network of one layer with weights, on as many channels as it takes."""
    node = helper.make_node(op, ["image", "weight"], ["out"], "layer", **attributes)
    return small_network([node], {"weight": weight}, inputs or weight.shape[1], size, weight.dtype.type)


def window_layer(op: str, kernel: int, stride: int, dilation: int = 1, size: int = 32) -> ModelProto:
    """A network of one pool."""
    sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2} | (
        {"dilations": [dilation] * 2} if dilation > 1 else {}
    )
    return small_network([helper.make_node(op, ["image"], ["out"], "layer", **sizes)], {}, 3, size)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@cache
def weight_checks() -> dict[str, Check]:
    return {check.code: check for check in all_checks() if check.code.startswith("ZF1")}


def measured(model: ModelProto | zfviz.Model | str, code: str) -> dict[str, Measurement]:
    """What a check measures, by layer."""
    return {m.layer: m for m in weight_checks()[code].measure(Subject(zfviz.load(model)))}


def everything(model: ModelProto | zfviz.Model | str) -> dict[tuple[str, str], Measurement]:
    """What all checks of weights measure, by code and layer."""
    subject = Subject(zfviz.load(model))
    return {(code, m.layer): m for code, check in weight_checks().items() for m in check.measure(subject)}


def findings(
    model: ModelProto | zfviz.Model | str, before: dict[tuple[str, str], Measurement] | None = None
) -> list[tuple[str, str]]:
    """Which checks find something and in which layers: numbers beyond a limit, or worse than `before`."""
    found: list[tuple[str, str]] = []
    for (code, layer), measurement in everything(model).items():
        check = weight_checks()[code]
        limits = [] if check.limit is None else [check.limit]
        if before and check.drift is not None and (old := before.get((code, layer))):
            limits.append(old.value + (check.drift if check.worse == "above" else -check.drift))
        if any(check.is_beyond(measurement.value, limit) for limit in limits):
            found.append((code, layer))
    return found

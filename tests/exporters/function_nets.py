"""A float net with its nodes inside functions and branches, or without names."""

import numpy as np
import onnx
from exporters.float_nets import derived
from exporters.nodes import Net, with_nodes
from exporters.specimen import Specimen
from onnx import ModelProto, TensorProto, helper


def _functions(model: ModelProto) -> ModelProto:
    """Each Conv with its batch norm is a call of one local function, which calls another."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv")
    for key, kind in {"strides": 7, "pads": 7}.items():
        conv.attribute.append(onnx.AttributeProto(name=key, type=kind, ref_attr_name=key))
    bn = helper.make_node("BatchNormalization", ["c", "s", "o", "m", "v"], ["y"], "norm", epsilon=1e-3)
    weights = ["w", "b", "s", "o", "m", "v"]
    inner = helper.make_function("local", "Normalise", ["c", *weights[2:]], ["y"], [bn], opsets[:1])
    call = helper.make_node("Normalise", ["c", *weights[2:]], ["y"], "normalise", domain="local")
    outer = helper.make_function("local", "ConvNorm", ["x", *weights], ["y"], [conv, call], opsets, ["strides", "pads"])
    model.functions.extend([inner, outer])
    model.opset_import.append(opsets[1])
    norms = {node.input[0]: node for node in model.graph.node if node.op_type == "BatchNormalization"}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            norm = norms[node.output[0]]
            options = {a.name: a.ints for a in node.attribute if a.name in ("strides", "pads")}
            names = [*node.input, *norm.input[1:]], norm.output, f"{node.name}_call"
            nodes.append(helper.make_node("ConvNorm", *names, domain="local", **options))
        elif node.op_type != "BatchNormalization":
            nodes.append(node)
    del model.graph.value_info[:]
    return with_nodes(model, nodes, model.graph.initializer)


def _branches(model: ModelProto) -> ModelProto:
    """Flatten stands in an If on a constant, the last Gemm in one on a shape, as torch writes squeeze."""
    net = Net(17, prefix="chosen_")

    def branch(name: str, node: onnx.NodeProto) -> onnx.GraphProto:
        inner = onnx.NodeProto()
        inner.CopyFrom(node)
        inner.name, inner.output[0] = f"{node.name}_{name}", f"{node.output[0]}_{name}"
        return helper.make_graph(
            [inner], name, [], [helper.make_tensor_value_info(inner.output[0], TensorProto.FLOAT, None)]
        )

    nodes = []
    for node in model.graph.node:
        if node.op_type not in ("Flatten", "Gemm"):
            nodes.append(node)
            continue
        start = len(net.nodes)
        if node.op_type == "Flatten":
            condition = net.const(np.array(True), "condition")
            other = helper.make_node("Identity", [node.input[0]], ["same"], "same")
        else:
            axis = net.op("Gather", net.op("Shape", node.input[0]), net.const(np.int64(1), "one"), axis=0)
            condition = net.op("Equal", axis, net.const(np.int64(32), "width"))
            other = helper.make_node("Gemm", node.input, ["other"], "other", transB=1, alpha=-1.0)
        net.ops("If", condition, then_branch=branch("then", node), else_branch=branch("else", other))
        net.nodes[-1].output[0] = node.output[0]
        nodes.extend(net.nodes[start:])
    return with_nodes(model, nodes, [*model.graph.initializer, *net.weights])


def _nameless(model: ModelProto) -> ModelProto:
    for node in model.graph.node:
        node.name = ""
    return model


SPECIMENS: tuple[Specimen, ...] = (
    derived("functions and branches", "resnet", "functions", _functions),
    derived("functions and branches", "resnet", "branches", _branches),
    derived("functions and branches", "resnet", "nameless", _nameless),
)

"""Unfolding: operators that are functions, and branches that are always taken, replaced by what they hold."""

from collections.abc import Mapping

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.inliner import inline_selected_functions

from zfviz.errors import ModelError
from zfviz.graph.opsets import OPSET, first_line
from zfviz.graph.protos import STANDARD, is_known, opset_of, with_nodes


def inline_newest(proto: ModelProto) -> ModelProto:
    """The model with operators that the canonical opset lacks replaced by the functions that ONNX defines them by, and
    with each CastLike as the Cast that it is.
    """
    version = opset_of(proto)
    newest = {
        n.op_type
        for n in proto.graph.node
        if n.domain in STANDARD and version > OPSET and is_known(n.op_type, version) and not is_known(n.op_type, OPSET)
    }
    if not newest and all(node.op_type != "CastLike" for node in proto.graph.node):
        return proto
    bare = _bare(proto)
    for node in bare.graph.node:
        if node.op_type in newest:
            _write_defaults(node, version)
    try:
        inlined = inline_selected_functions(bare, [("", op) for op in newest], inline_schema_functions=True)
    except RuntimeError as error:
        raise ModelError(f"the functions of {', '.join(newest)} cannot be read: {first_line(error)}") from None
    return _with_plain_casts(with_nodes(proto, inlined.graph.node), inlined)


def _with_plain_casts(proto: ModelProto, bare: ModelProto) -> ModelProto:
    """The model with each CastLike as a Cast: what is cast like the image's descendants does not descend from it.

    Types are inferred from `bare`, the same without weights.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(bare).graph
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"the model's types contradict each other: {first_line(error)}") from None
    types = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.input, *inferred.output)}
    types |= {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    nodes = [
        helper.make_node("Cast", node.input[:1], node.output, node.name, to=types[node.input[1]])
        if node.op_type == "CastLike" and len(node.input) == 2 and types.get(node.input[1])
        else node
        for node in proto.graph.node
    ]
    return with_nodes(proto, nodes)


def _bare(proto: ModelProto) -> ModelProto:
    """The model without its weights, which become inputs."""
    graph = proto.graph
    declared = {value.name for value in graph.input}
    weights = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in graph.initializer]
    inputs = [*graph.input, *(w for w in weights if w.name not in declared)]
    bare = GraphProto(name=graph.name, node=graph.node, input=inputs, output=graph.output, value_info=graph.value_info)
    return ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import, graph=bare)


def _write_defaults(node: NodeProto, version: int) -> None:
    """Say what a node leaves to defaults: the inliner of onnx 1.23 forgets them (github.com/onnx/onnx/pull/6976)."""
    said = {attribute.name for attribute in node.attribute}
    for name, attribute in onnx.defs.get_schema(node.op_type, version).attributes.items():
        if name not in said and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def splice_branches(proto: ModelProto, known: Mapping[str, TensorProto]) -> ModelProto:
    """The model with the branch taken in the place of each If whose condition is `known`."""
    if not any(_is_decided(node, known) for node in proto.graph.node):
        return proto
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []
    for node in proto.graph.node:
        if not _is_decided(node, known):
            nodes.append(node)
            continue
        taken = "then_branch" if numpy_helper.to_array(known[node.input[0]]).any() else "else_branch"
        branch = next(a.g for a in node.attribute if a.name == taken)
        if len(branch.output) != len(node.output):
            raise ModelError(
                f"the branch that makes {node.output[0]!r} has {len(branch.output)} outputs; expected "
                f"{len(node.output)}, as the If has. Export it again."
            )
        inner = [*(t.name for t in branch.initializer), *(name for n in branch.node for name in n.output)]
        names = {name: f"{node.output[0]}/{name}" for name in inner if name}
        weights += [_renamed_tensor(t, names[t.name]) for t in branch.initializer]
        nodes += [_renamed(n, names) for n in branch.node]
        nodes += [
            helper.make_node("Identity", [names.get(value.name, value.name)], [output])
            for value, output in zip(branch.output, node.output, strict=True)
        ]
    spliced = with_nodes(proto, nodes)
    spliced.graph.initializer.extend(weights)
    return spliced


def _is_decided(node: NodeProto, known: Mapping[str, TensorProto]) -> bool:
    return node.op_type == "If" and node.domain in STANDARD and node.input[0] in known


def _renamed_tensor(tensor: TensorProto, name: str) -> TensorProto:
    renamed = TensorProto()
    renamed.CopyFrom(tensor)
    renamed.name = name
    return renamed


def _renamed(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    """The node with tensors renamed, also where its bodies read them."""
    renamed = NodeProto()
    renamed.CopyFrom(node)
    for field in (renamed.input, renamed.output):
        field[:] = [names.get(name, name) for name in field]
    for attribute in renamed.attribute:
        if attribute.type == AttributeProto.GRAPH:
            body = attribute.g
            hidden = {t.name for t in body.initializer} | {name for n in body.node for name in n.output}
            outer = {name: new for name, new in names.items() if name not in hidden}
            changed = [_renamed(n, outer) for n in body.node]
            del body.node[:]
            body.node.extend(changed)
            for output in body.output:
                output.name = outer.get(output.name, output.name)
    return renamed

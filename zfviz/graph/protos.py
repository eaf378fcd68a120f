"""Parts of a ModelProto: its opset, its constants, its nodes."""

from collections.abc import Iterable

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from zfviz.errors import ModelError

STANDARD = ("", "ai.onnx")
"""The names of the standard domain."""


def opset_of(proto: ModelProto) -> int:
    """The version of the standard operator set that the model imports."""
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            return entry.version
    raise ModelError(
        "the model imports no standard operator set; expected opset_import with domain ''. Export it again."
    )


def is_known(op: str, version: int) -> bool:
    """Whether ONNX has the operator at an opset."""
    try:
        onnx.defs.get_schema(op, version)
    except onnx.defs.SchemaError:
        return False
    return True


def with_nodes(proto: ModelProto, nodes: Iterable[NodeProto]) -> ModelProto:
    """The model with other nodes."""
    changed = ModelProto()
    changed.CopyFrom(proto)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del changed.graph.node[:]
    changed.graph.node.extend(kept)
    return changed


def read_by(node: NodeProto) -> set[str]:
    """The names that a node reads, also those that its bodies read."""
    bodies = (a.g for a in node.attribute if a.HasField("g"))
    return set(node.input).union(*(read_by(inner) for body in bodies for inner in body.node))


def stored_constants(graph: GraphProto) -> dict[str, TensorProto]:
    """The tensors that the model stores, by name: initializers and the values of Constant nodes."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and not node.domain:
            constants[node.output[0]] = _constant_value(node)
    return constants


def _constant_value(node: NodeProto) -> TensorProto:
    attribute = node.attribute[0]
    name = node.output[0]
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
        tensor.name = name
        return tensor
    value = onnx.helper.get_attribute_value(attribute)
    kinds = {"value_float": TensorProto.FLOAT, "value_floats": TensorProto.FLOAT}
    kinds |= {"value_int": TensorProto.INT64, "value_ints": TensorProto.INT64}
    if attribute.name not in kinds:
        raise ModelError(f"Constant {name!r} holds a {attribute.name}; expected a tensor or numbers. Export it again.")
    values, shape = ([value], []) if attribute.name in ("value_float", "value_int") else (value, [len(value)])
    return onnx.helper.make_tensor(name, kinds[attribute.name], shape, values)

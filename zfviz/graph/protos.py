"""Parts of a ModelProto: its opset, its constants, its nodes."""

from collections.abc import Iterable, Iterator

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from zfviz.errors import ModelError

STANDARD = ("", "ai.onnx")
"""The names of the standard domain."""


def opset_of(proto: ModelProto) -> int:
    """The version of the standard operator set that the model imports."""
    newest = onnx.defs.onnx_opset_version()
    for entry in proto.opset_import:
        if entry.domain in STANDARD:
            if not 1 <= entry.version <= newest:
                raise ModelError(
                    f"the model is of opset {entry.version}; expected 1 to {newest}, the newest that the installed "
                    "onnx knows. Export it at an older opset, or install a newer onnx."
                )
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


def bodies_of(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds: branches, or what a loop turns."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def read_by(node: NodeProto) -> set[str]:
    """The names that a node reads, also those that its bodies read."""
    return set(node.input).union(*(read_by(inner) for body in bodies_of(node) for inner in body.node))


def stored_constants(graph: GraphProto) -> dict[str, TensorProto]:
    """The tensors that the model stores, by name: initializers and the values of Constant nodes."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and not node.domain:
            constants[node.output[0]] = _constant_value(node)
    return constants


def _constant_value(node: NodeProto) -> TensorProto:
    name = node.output[0]
    if len(node.attribute) != 1:
        raise ModelError(f"Constant {name!r} holds {len(node.attribute)} values; expected one. Export it again.")
    attribute = node.attribute[0]
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

"""Opsets: a model said in another one, by onnx's own conversion upwards, by relabelling downwards."""

from collections.abc import Collection

import onnx
from onnx import ModelProto, NodeProto, helper
from onnx.shape_inference import InferenceError
from onnx.version_converter import ConvertError, convert_version

from zfviz.errors import ModelError, UnsupportedError
from zfviz.graph.protos import STANDARD, is_known, opset_of, with_nodes

OPSET = 21
"""The opset of the canonical form."""
FIRST_OPSET_WITH_COORDINATES = 11
APART = "onnxruntime"
"""A domain for operators that onnxruntime runs as if they were ONNX's; for as long as onnx converts the rest."""


def convert(proto: ModelProto, opset: int) -> ModelProto:
    """`proto` at another opset: converted upwards, relabelled downwards where no operator's form changed."""
    version = opset_of(proto)
    if version < opset:
        try:
            converted = with_domain(convert_version(_set_apart(proto, version), opset), APART, "")
        except (RuntimeError, ConvertError, InferenceError) as error:
            raise ModelError(f"opset {version} does not convert to {opset}: {first_line(error)}") from None
        return _with_old_coordinates(converted) if version < FIRST_OPSET_WITH_COORDINATES else converted
    return relabel(proto, opset)


def _set_apart(proto: ModelProto, version: int) -> ModelProto:
    """The model with what ONNX does not know in its own domain moved to another, so that its converter passes it."""
    unknown = {n.op_type for n in proto.graph.node if n.domain in STANDARD and not is_known(n.op_type, version)}
    return with_domain(proto, "", APART, unknown) if unknown else proto


def with_domain(proto: ModelProto, old: str, new: str, ops: Collection[str] | None = None) -> ModelProto:
    """The model with its nodes of one domain, or those of some `ops`, moved to another."""
    if old and all(entry.domain != old for entry in proto.opset_import):
        return proto
    moved = with_nodes(proto, proto.graph.node)
    for node in moved.graph.node:
        if node.domain == old and (ops is None or node.op_type in ops):
            node.domain = new
    kept = [entry for entry in proto.opset_import if entry.domain != old or not old]
    del moved.opset_import[:]
    moved.opset_import.extend([*kept, *([helper.make_opsetid(new, 1)] if new else [])])
    return moved


def _with_old_coordinates(proto: ModelProto) -> ModelProto:
    """A converted model whose Resize nodes keep the places that they had.

    onnx's conversion forgets that their default was another one (github.com/onnx/onnx/pull/3343).
    """
    for node in proto.graph.node:
        if node.op_type == "Resize" and not any(a.name == "coordinate_transformation_mode" for a in node.attribute):
            node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(helper.make_attribute("nearest_mode", "floor"))
    return proto


def relabel(proto: ModelProto, opset: int, trusted: Collection[str] = ()) -> ModelProto:
    """`proto` with another opset written on it; UnsupportedError where a node would read differently there.

    `trusted` are operators that are said as that opset does.
    """
    version = opset_of(proto)
    if version == opset:
        return proto
    for node in proto.graph.node:
        if node.domain in STANDARD and node.op_type not in trusted and not _means_the_same(node, version, opset):
            raise UnsupportedError(
                f"{node.op_type} of opset {version} at {node.output[0]!r} means something else in opset {opset}; "
                f"expected an operator that both share. Export the model at opset {opset}."
            )
    relabelled = ModelProto()
    relabelled.CopyFrom(proto)
    for entry in relabelled.opset_import:
        if entry.domain in STANDARD:
            entry.version = opset
    return relabelled


def _means_the_same(node: NodeProto, version: int, opset: int) -> bool:
    """Whether a node reads the same at two opsets: all that it uses is in both, with the same defaults."""
    if not is_known(node.op_type, version) and not is_known(node.op_type, opset):
        return True  # not ONNX's at all, but onnxruntime's
    try:
        one, other = (onnx.defs.get_schema(node.op_type, number) for number in (version, opset))
    except onnx.defs.SchemaError:
        return False
    shared = one.attributes.keys() & other.attributes.keys()

    def used(schema: onnx.defs.OpSchema) -> tuple[list[bytes], list[str]]:
        defaults = [
            schema.attributes[name].default_value.SerializeToString(deterministic=True) for name in sorted(shared)
        ]
        return defaults, [formal.name for formal in schema.inputs][: len(node.input)]

    return {a.name for a in node.attribute} <= shared and used(one) == used(other)


def first_line(error: Exception) -> str:
    """What an error of a library says, short."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__

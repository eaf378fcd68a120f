"""Soundness: nodes are as ONNX defines their operators, and stored tensors hold what their sizes ask for."""

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import onnx
from google.protobuf.message import Message
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from zfviz.errors import ModelError
from zfviz.graph.protos import STANDARD, bodies_of, opset_of

MOST_AXES = 32
MOST_NUMBERS = 2**40
MOST_BLOCK = 1024
MOST_PLACES = 2**30
"""That a window is wide, moves or is padded by."""
WINDOW = ("kernel_shape", "strides", "dilations", "pads", "paddings", "output_padding", "output_shape")
"""The attributes that say how windows lie."""
MOST_SAMPLES = 64
"""Along a side of a bin of RoiAlign; networks take 2."""
BITS: Mapping[int, int] = {TensorProto.INT4: 4, TensorProto.UINT4: 4, TensorProto.FLOAT4E2M1: 4}
"""Of the types of which a byte holds several numbers."""


def check_texts(message: Message, name: str) -> None:
    """Raise ModelError for a name that is no UTF-8, as ONNX asks, and such an attribute; reading it later would fail
    anywhere.
    """
    try:
        sound = all(isinstance(text, str) for text in _texts(message))
    except UnicodeDecodeError:
        sound = False
    if not sound:
        raise ModelError(f"{name} holds a name that is no text (UTF-8); expected one. Export it again.")


def _texts(message: Message) -> Iterator[object]:
    """The texts of a message and of all in it; protobuf gives bytes where they are none."""
    if isinstance(message, AttributeProto):
        yield from (text.decode() for text in (message.s, *message.strings))
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            yield from [value] if isinstance(value, str | bytes) else value
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if isinstance(value, Message) else value:
                yield from _texts(part)


def check_nodes(proto: ModelProto) -> None:
    """Raise ModelError for a node that lacks inputs or attributes that its operator needs, or has others than it may.

    Operators that ONNX does not know are left to onnxruntime.
    """
    context = onnx.checker.C.CheckerContext()
    context.ir_version = max(2, min(proto.ir_version, onnx.IR_VERSION))
    context.opset_imports = {"": opset_of(proto)}
    _check_nodes(proto.graph, context)


def _check_nodes(graph: GraphProto, context: onnx.checker.C.CheckerContext) -> None:
    for node in graph.node:
        if not any(node.output):
            raise ModelError(f"a node {node.op_type!r} makes nothing; expected it to name an output. Export it again.")
        _check_numbers(node)
        if node.domain in STANDARD and _is_current(node.op_type, context.opset_imports[""]):
            _check_row(node, context.opset_imports[""])
            try:
                onnx.checker.check_node(_bare(node), context)
            except onnx.checker.ValidationError as error:
                said = " ".join(str(error).split("==>")[0].split())[:300]
                raise ModelError(f"the node that makes {node.output[0]!r} is wrong: {said} Export it again.") from None
        for body in bodies_of(node):
            _check_nodes(body, context)


def _check_numbers(node: NodeProto) -> None:
    """Raise ModelError for an attribute that native code trusts, and hangs with or dies of."""
    numbers = {attribute.name: attribute.i for attribute in node.attribute}
    made = len(node.output)
    if node.op_type == "Split" and numbers.get("num_outputs", made) != made:
        raise ModelError(
            f"the Split that makes {node.output[0]!r} has {made} outputs; expected {numbers['num_outputs']}."
        )
    for attribute in node.attribute:
        if attribute.name in ("axis", "axes", "perm", "batch_dims") and any(
            abs(axis) > MOST_AXES for axis in (attribute.i, *attribute.ints)
        ):
            raise ModelError(
                f"{node.op_type} for {node.output[0]!r} has {attribute.name} {[attribute.i, *attribute.ints][:9]}; "
                f"expected -{MOST_AXES} to {MOST_AXES}."
            )
        if attribute.name in WINDOW and any(abs(places) > MOST_PLACES for places in attribute.ints):
            raise ModelError(
                f"{node.op_type} for {node.output[0]!r} has {attribute.name} {[*attribute.ints][:9]}; "
                f"expected at most {MOST_PLACES:,}."
            )
        # before opset 6 it was a text
        if attribute.name == "to" and attribute.HasField("i") and attribute.i not in helper.get_all_tensor_dtypes():
            raise ModelError(
                f"{node.op_type} for {node.output[0]!r} makes a type that ONNX does not know ({attribute.i}). "
                "Export it again."
            )
    if not 0 < numbers.get("blocksize", 1) <= MOST_BLOCK:
        raise ModelError(
            f"{node.op_type} for {node.output[0]!r} has blocks of {numbers['blocksize']}; expected 1 to {MOST_BLOCK}."
        )
    if node.op_type == "RoiAlign" and numbers.get("sampling_ratio", 0) > MOST_SAMPLES:
        raise ModelError(
            f"the RoiAlign that makes {node.output[0]!r} takes {numbers['sampling_ratio']} samples a side; "
            f"expected at most {MOST_SAMPLES}."
        )


def _check_row(node: NodeProto, version: int) -> None:
    """Raise ModelError for a gap in a row of inputs of any number, of which native code dies."""
    inputs = onnx.defs.get_schema(node.op_type, version).inputs
    if inputs and inputs[-1].option == inputs[-1].option.Variadic and not all(node.input[len(inputs) - 1 :]):
        raise ModelError(
            f"the {node.op_type} that makes {node.output[0]!r} leaves out one of its inputs; expected all. "
            "Export it again."
        )


def _is_current(op: str, version: int) -> bool:
    try:
        return not onnx.defs.get_schema(op, version).deprecated
    except onnx.defs.SchemaError:
        return False


def _bare(node: NodeProto) -> NodeProto:
    """The node with nothing in its tensors and bodies, which are checked by themselves."""
    bare = NodeProto(op_type=node.op_type, input=node.input, output=node.output)
    for attribute in node.attribute:
        if attribute.HasField("g"):
            empty = AttributeProto(name=attribute.name, type=attribute.type, g=GraphProto(name="body"))
        elif attribute.HasField("t"):
            number = TensorProto(data_type=TensorProto.FLOAT, float_data=[0])
            empty = AttributeProto(name=attribute.name, type=attribute.type, t=number)
        else:
            empty = attribute
        bare.attribute.append(empty)
    return bare


def check_tensors(proto: ModelProto) -> None:
    """Raise ModelError for inputs and outputs of no type, and for a stored tensor of impossible sizes, of no type, or
    with too much or too little data.
    """
    for value in (*proto.graph.input, *proto.graph.output):
        kind = value.type.tensor_type.elem_type
        if kind and kind not in helper.get_all_tensor_dtypes():
            raise ModelError(f"{value.name!r} has no type that ONNX knows ({kind}). Export the model again.")
    for tensor in stored_tensors(proto.graph):
        name, sizes = tensor.name, list(tensor.dims)
        if tensor.data_type not in helper.get_all_tensor_dtypes():
            raise ModelError(f"the tensor {name!r} has no type that ONNX knows ({tensor.data_type}). Export it again.")
        if not is_size(sizes) or tensor.HasField("segment"):
            raise ModelError(
                f"the tensor {name!r} has the sizes {sizes[:MOST_AXES]}; expected whole ones, none below 0."
            )
        if tensor.data_location == TensorProto.EXTERNAL:
            continue
        held, asked = _held(tensor)
        unit = "bytes" if tensor.HasField("raw_data") else "values"
        if held != asked:
            raise ModelError(
                f"the tensor {name!r} of sizes {sizes} holds {held:,} {unit}; expected {asked:,}. "
                "Download or export it again."
            )


def is_size(sizes: Sequence[int]) -> bool:
    """Whether an array can have these sizes; one that is empty along an axis may not be endless along another."""
    return min(sizes, default=0) >= 0 and len(sizes) <= MOST_AXES and prod(max(1, n) for n in sizes) <= MOST_NUMBERS


def stored_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor that a graph and its bodies store."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            yield from attribute.tensors
        for body in bodies_of(node):
            yield from stored_tensors(body)


def size_of(tensor: TensorProto) -> int:
    """How many bytes the data of a tensor takes."""
    bits = BITS.get(tensor.data_type) or 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-prod(tensor.dims) * bits // 8)


def _held(tensor: TensorProto) -> tuple[int, int]:
    """How much a tensor holds, and how much its sizes ask for: bytes where they are raw, else numbers."""
    if tensor.HasField("raw_data") and tensor.data_type != TensorProto.STRING:
        return len(tensor.raw_data), size_of(tensor)
    held = len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return held, 2 * prod(tensor.dims)
    return held, size_of(tensor) if tensor.data_type in BITS else prod(tensor.dims)

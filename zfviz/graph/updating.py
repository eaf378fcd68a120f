"""Updating: what onnxruntime does not run, said as it does: old opsets, sparse weights, bfloat16."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    helper,
    numpy_helper,
)

from zfviz.errors import ModelError
from zfviz.graph.opsets import convert, relabel
from zfviz.graph.protos import with_nodes
from zfviz.graph.soundness import is_size

TYPE_ATTRIBUTES = ("to", "dtype", "stash_type", "softmax_precision", "output_dtype")
FIRST_RUN = 7
"""The first opset whose operators onnxruntime has kernels for."""
READ_AS = 8
PLAIN = 6
REWRITTEN = ("Reshape", "Cast", "Concat", "Pad", "Clip")
"""Operators that are said as opset 6 does when they are relabelled; Clip only got defaults."""
MOST_NUMBERS = 2**28
"""Of a sparse tensor when it is spelled out: a gigabyte of float32."""
FEWEST = 10_000
"""Of so many numbers a sparse tensor has to store one, if it is no small one; pruned networks store hundreds."""
SMALL = 2**20


def update(proto: ModelProto, version: int, folder: Path | None) -> tuple[ModelProto, tuple[str, ...]]:
    """The model as onnxruntime runs it, and a sentence on each change; weights outside are read from `folder`.

    Raises ModelError for an opset that does not convert, and for sparse weights that are too large.
    """
    notes: list[str] = []
    if proto.graph.sparse_initializer:
        proto = _copied(proto)
        proto.graph.initializer.extend(_dense(sparse, folder) for sparse in proto.graph.sparse_initializer)
        del proto.graph.sparse_initializer[:]
    if version < FIRST_RUN:
        proto = _converted(proto, version)
        notes.append(f"opset {version} is read as opset {READ_AS}, since onnxruntime runs no older than {FIRST_RUN}.")
    if _holds(proto.graph, TensorProto.BFLOAT16):
        proto = _copied(proto)
        widen(proto.graph, TensorProto.BFLOAT16, folder)
        notes.append("the model is bfloat16; it is computed in float32, which onnxruntime has kernels for.")
    return proto, tuple(notes)


def _copied(proto: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(proto)
    return copy


def _converted(proto: ModelProto, version: int) -> ModelProto:
    """The model at an opset that onnxruntime runs.

    From before opset 6 first by relabelling: the shapes that onnx's converter asks for are lost at operators of that
    time, most of which differ from those of opset 6 in nothing but a hint on memory.
    """
    try:
        if version < PLAIN:
            proto = relabel(with_nodes(proto, _of_today(proto)), PLAIN, REWRITTEN)
        return convert(proto, READ_AS)
    except ModelError as error:
        raise ModelError(
            f"the model is of opset {version}, which onnxruntime does not run, and it does not convert to {READ_AS} "
            f"({error}); expected opset {FIRST_RUN} or newer. Export it again."
        ) from None


def _of_today(proto: ModelProto) -> Iterator[NodeProto]:
    """The nodes as opset 6 spells them: without what only said how to use memory, their shapes as inputs."""
    for node in proto.graph.node:
        plain = NodeProto()
        plain.CopyFrom(node)
        del plain.attribute[:]
        for attribute in node.attribute:
            if attribute.name == "shape" and node.op_type == "Reshape":
                name = f"{node.output[0]}/shape"
                shape = numpy_helper.from_array(np.array(attribute.ints, np.int64), name)
                yield helper.make_node("Constant", [], [name], value=shape)
                plain.input.append(name)
            elif attribute.name == "to" and node.op_type == "Cast" and attribute.s:
                plain.attribute.append(helper.make_attribute("to", _type_of(attribute.s.decode())))
            elif attribute.name != "consumed_inputs":
                plain.attribute.append(attribute)
                if attribute.name == "paddings" and node.op_type == "Pad":
                    plain.attribute[-1].name = "pads"
        if node.op_type == "Concat" and all(a.name != "axis" for a in node.attribute):
            plain.attribute.append(helper.make_attribute("axis", 1))
        yield plain


def _type_of(word: str) -> int:
    """The type that a Cast of before opset 6 names."""
    if word.upper() not in dict(TensorProto.DataType.items()):
        raise ModelError(f"a Cast to {word!r} is not known; expected the name of a type. Export the model again.")
    return TensorProto.DataType.Value(word.upper())


def _dense(sparse: SparseTensorProto, folder: Path | None) -> TensorProto:
    """A sparse tensor spelled out; its indices are places in the flat tensor, or coordinates."""
    size, name = tuple(sparse.dims), sparse.values.name
    most = min(MOST_NUMBERS, max(SMALL, FEWEST * np.prod(sparse.values.dims, dtype=float)))
    if not is_size(size) or np.prod(size, dtype=float) > most:
        raise ModelError(f"the sparse weight {name!r} is {list(size)}; expected at most {most:,.0f} numbers.")
    values, places = (numpy_helper.to_array(part, str(folder or "")) for part in (sparse.values, sparse.indices))
    whole = np.zeros(size, values.dtype)
    try:
        whole.reshape(-1)[places if places.ndim == 1 else np.ravel_multi_index(tuple(places.T), size)] = values
    except (IndexError, ValueError, TypeError) as error:
        raise ModelError(f"the sparse weight {name!r} has values at wrong places ({error}). Export it again.") from None
    return numpy_helper.from_array(whole, name)


def _holds(graph: GraphProto, kind: int) -> bool:
    """Whether a graph has tensors of a type, or says that it makes some."""
    values = (*graph.input, *graph.output, *graph.value_info)
    return (
        any(tensor.data_type == kind for tensor in graph.initializer)
        or any(value.type.tensor_type.elem_type == kind for value in values)
        or any(_says(a, kind) for node in graph.node for a in node.attribute)
    )


def _says(attribute: AttributeProto, kind: int) -> bool:
    return (
        (attribute.name in TYPE_ATTRIBUTES and attribute.i == kind)
        or (attribute.HasField("t") and attribute.t.data_type == kind)
        or (attribute.HasField("g") and _holds(attribute.g, kind))
    )


def widen(graph: GraphProto, kind: int, folder: Path | None = None) -> None:
    """Make float32 of all that is of a smaller float type; weights outside are read from `folder`."""
    for tensor in graph.initializer:
        _widen_tensor(tensor, kind, folder)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == kind:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for attribute in (a for node in graph.node for a in node.attribute):
        if attribute.name in TYPE_ATTRIBUTES and attribute.i == kind:
            attribute.i = TensorProto.FLOAT
        elif attribute.HasField("t"):
            _widen_tensor(attribute.t, kind, folder)
        elif attribute.HasField("g"):
            widen(attribute.g, kind, folder)


def _widen_tensor(tensor: TensorProto, kind: int, folder: Path | None) -> None:
    if tensor.data_type == kind:
        array = numpy_helper.to_array(tensor, str(folder or "")).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

"""Widening: models in bfloat16, which onnxruntime has hardly a kernel for, as float32 ones of the same weights."""

from pathlib import Path

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, numpy_helper

TYPE_ATTRIBUTES = ("to", "dtype", "stash_type", "softmax_precision", "output_dtype")


def widen_bfloat16(proto: ModelProto, folder: Path | None) -> ModelProto | None:
    """The model with float32 in the place of bfloat16, or None where it has none; weights outside are read from
    `folder`.
    """
    if not _holds_bfloat16(proto.graph):
        return None
    widened = ModelProto()
    widened.CopyFrom(proto)
    _widen(widened.graph, folder)
    return widened


def _holds_bfloat16(graph: GraphProto) -> bool:
    values = (*graph.input, *graph.output, *graph.value_info)
    return (
        any(tensor.data_type == TensorProto.BFLOAT16 for tensor in graph.initializer)
        or any(value.type.tensor_type.elem_type == TensorProto.BFLOAT16 for value in values)
        or any(_says_bfloat16(a) for node in graph.node for a in node.attribute)
    )


def _says_bfloat16(attribute: AttributeProto) -> bool:
    return (
        (attribute.name in TYPE_ATTRIBUTES and attribute.i == TensorProto.BFLOAT16)
        or (attribute.HasField("t") and attribute.t.data_type == TensorProto.BFLOAT16)
        or (attribute.HasField("g") and _holds_bfloat16(attribute.g))
    )


def _widen(graph: GraphProto, folder: Path | None) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor, folder)
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for attribute in (a for node in graph.node for a in node.attribute):
        if attribute.name in TYPE_ATTRIBUTES and attribute.i == TensorProto.BFLOAT16:
            attribute.i = TensorProto.FLOAT
        elif attribute.HasField("t"):
            _widen_tensor(attribute.t, folder)
        elif attribute.HasField("g"):
            _widen(attribute.g, folder)


def _widen_tensor(tensor: TensorProto, folder: Path | None) -> None:
    if tensor.data_type == TensorProto.BFLOAT16:
        array = numpy_helper.to_array(tensor, str(folder or "")).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

"""The forward graph: the user's own model, which also gives activations and switches."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from zfviz.errors import UnsupportedError
from zfviz.graph.canonical import Canonical, skeleton
from zfviz.graph.opsets import OPSET, relabel
from zfviz.graph.protos import opset_of, read_by
from zfviz.graph.reach import dims

FIRST_OPSET_WITH_INDICES = 8
REAL = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def expose(canonical: Canonical, tensors: Iterable[str], switches: Mapping[str, str]) -> ModelProto:
    """A copy of the user's model with more outputs: `tensors` of its graph, and the switches of max-pools.

    `switches` maps the name of such an output to the tensor that the MaxPool gives. The switches come from a second
    MaxPool beside the user's own, since asking that one for Indices would change its layout, its speed and the last
    bits of the model's outputs. The pooled tensors become outputs too: onnxruntime would merge the two pools otherwise.
    """
    forward = ModelProto()
    forward.CopyFrom(_at_usable_opset(canonical.proto, bool(switches)))
    graph = forward.graph
    present = {output.name for output in graph.output}
    types = _types(canonical)
    made_by = {name: node for node in graph.node for name in node.output}
    for name in dict.fromkeys((*tensors, *switches.values())):
        if name not in present:
            graph.output.append(types[name])
    for name, pooled in switches.items():
        graph.node.append(_beside(made_by[pooled], name))
        shape = types[pooled].type.tensor_type.shape
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, None))
        graph.output[-1].type.tensor_type.shape.CopyFrom(shape)
    return forward


def cut(proto: ModelProto, outputs: Sequence[ValueInfoProto]) -> ModelProto:
    """The part of the model that computes the `outputs`."""
    needed = {value.name for value in outputs}
    nodes: list[NodeProto] = []
    for node in reversed(proto.graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= read_by(node)
    graph = GraphProto(
        name=proto.graph.name or "graph",
        node=reversed(nodes),
        input=[i for i in proto.graph.input if i.name in needed],
        output=outputs,
        initializer=[i for i in proto.graph.initializer if i.name in needed],
    )
    return ModelProto(ir_version=max(proto.ir_version, 4), opset_import=proto.opset_import, graph=graph)


def watch(forward: ModelProto, outputs: Iterable[str]) -> dict[str, str]:
    """Let the model tell whether `outputs` are finite, so that nobody has to bring them along to see: the name of one
    more output for each, their sum, which is NaN or infinite where one of them is; "" for one of integers.
    """
    graph = forward.graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.output}
    taken = {*types, *(name for node in graph.node for name in node.output)}
    watches: dict[str, str] = {}
    for name in dict.fromkeys(outputs):
        watches[name] = ""
        if types[name] in REAL:
            watches[name] = next(total for k in count() if (total := f"{name}/sum{k}") not in taken)
            graph.node.append(helper.make_node("ReduceSum", [name], [watches[name]], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(watches[name], types[name], []))
    return watches


def _types(canonical: Canonical) -> dict[str, ValueInfoProto]:
    """The type of every tensor, with shapes as open as the model's input leaves them."""
    proto = canonical.proto
    image = next(i for i in proto.graph.input if i.name == canonical.image.name)
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton(proto, image, canonical.weights))
    except onnx.shape_inference.InferenceError:
        inferred = ModelProto()
    ranked = {v.name: v for v in (image, *inferred.graph.value_info, *inferred.graph.output) if _has_rank(v)}
    for tensor in (t for node in canonical.graph.nodes for t in node.outputs):
        if tensor.name not in ranked and tensor.dtype is not None:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
            ranked[tensor.name] = helper.make_tensor_value_info(tensor.name, kind, [None] * len(dims(tensor)))
    return ranked


def _has_rank(value: ValueInfoProto) -> bool:
    return value.type.tensor_type.HasField("shape") and value.type.tensor_type.elem_type != 0


def _beside(pool: NodeProto, switches: str) -> NodeProto:
    """A MaxPool like `pool` that also gives its indices, in row-major order."""
    second = NodeProto()
    second.CopyFrom(pool)
    second.name = switches
    del second.output[:]
    second.output.extend([f"{switches}/maximum", switches])
    kept = [a for a in second.attribute if a.name != "storage_order"]
    del second.attribute[:]
    second.attribute.extend(kept)
    return second


def _at_usable_opset(proto: ModelProto, with_indices: bool) -> ModelProto:
    """The model at an opset where MaxPool has a CUDA kernel, and gives indices if asked."""
    version = opset_of(proto)
    if with_indices and version < FIRST_OPSET_WITH_INDICES:
        return relabel(proto, FIRST_OPSET_WITH_INDICES)
    if version > OPSET:
        try:
            return relabel(proto, OPSET)
        except UnsupportedError:
            return proto
    return proto

"""Limits: what a model may ask for, so that a few hostile bytes do not take all memory or run for ever."""

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from math import prod

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from zfviz.errors import ModelError
from zfviz.graph.protos import bodies_of, stored_constants

MOST_BYTES = 2**30
"""Of one tensor while the model runs: what 64 maps of 2048 x 2048 float32 take."""
MOST_NUMBERS = 2**26
"""Of the image input: 21 images of 1024 x 1024 pixels in colour, or 445 of 224 x 224."""
LONGEST_SIDE = 16_384
"""Of the image input along any axis."""
MOST_NODES = 20_000
"""Of a model with its functions written out; networks of convolutions have a few thousand."""
MOST_TURNS = 10_000
"""Of a loop that goes on whatever it makes."""


def check_functions(proto: ModelProto, name: str) -> None:
    """Raise ModelError for functions that call themselves, or each other so often that too many nodes come of them."""
    called = {(f.domain, f.name): [(n.domain, n.op_type) for n in _all_nodes(f.node)] for f in proto.functions}
    try:
        order = list(TopologicalSorter(called).static_order())
    except CycleError:
        raise ModelError(f"the functions of {name} are recursive; expected none to be. Export it again.") from None
    counts: dict[tuple[str, str], int] = {}
    for key in order:
        counts[key] = sum(counts[other] for other in called[key]) if key in called else 1
    total = sum(counts.get((node.domain, node.op_type), 1) for node in _all_nodes(proto.graph.node))
    if total > MOST_NODES:
        raise ModelError(
            f"{name} has {total:,} nodes when its functions are written out; expected at most {MOST_NODES:,}. "
            "Export a smaller model."
        )


def check_sizes(values: Iterable[ValueInfoProto]) -> None:
    """Raise ModelError for a tensor of known shape that is larger than anybody needs."""
    for value in values:
        kind = value.type.tensor_type
        sizes = [d.dim_value for d in kind.shape.dim]
        if prod(sizes) * _itemsize(kind.elem_type) > MOST_BYTES:
            raise ModelError(
                f"the model makes {value.name!r} of sizes {sizes}; expected at most {MOST_BYTES:,} bytes for a tensor. "
                "Give a smaller input_shape, or export the model again."
            )


def has_loops(graph: GraphProto) -> bool:
    """Whether something of the graph runs as often as it likes."""
    return any(node.op_type == "Loop" for node in _all_nodes(graph.node))


def check_loops(graph: GraphProto) -> None:
    """Raise ModelError for a loop that turns very often, whatever it makes."""
    known = stored_constants(graph)
    for node in _all_nodes(graph.node):
        if node.op_type != "Loop" or len(node.input) < 2:
            continue
        turns = _turns(node, known)
        if turns > MOST_TURNS and _goes_on(node):
            raise ModelError(
                f"the loop that makes {node.output[0]!r} turns {turns:,.0f} times; expected at most {MOST_TURNS:,}. "
                "Export the model without it."
            )


def check_pads(graph: GraphProto) -> None:
    """Raise ModelError for pads with which sizes overflow: shape inference ends the process then."""
    known = stored_constants(graph)
    for node in _all_nodes(graph.node):
        pads = known.get(node.input[1]) if node.op_type == "Pad" and len(node.input) > 1 else None
        if pads is None or pads.data_type != TensorProto.INT64 or pads.data_location == TensorProto.EXTERNAL:
            continue
        numbers = numpy_helper.to_array(pads).reshape(-1).tolist()
        if any(abs(number) > MOST_BYTES for number in numbers):
            raise ModelError(
                f"the pads for {node.output[0]!r} are {numbers[:16]}; expected smaller ones. Export it again."
            )


def _turns(loop: NodeProto, known: Mapping[str, TensorProto]) -> float:
    """How often a loop turns at most, 0 where that is computed."""
    if not loop.input[0]:
        return float("inf")
    count = known.get(loop.input[0])
    if count is None or count.data_type != TensorProto.INT64:
        return 0
    return float(numpy_helper.to_array(count).max(initial=0))


def _goes_on(loop: NodeProto) -> bool:
    """Whether a loop does not look at what it made before it turns again."""
    body = next(bodies_of(loop))
    if not body.output or len(body.input) < 2:
        return False
    looked_at = {body.output[0].name}
    for node in reversed(body.node):
        if not looked_at.isdisjoint(node.output):
            looked_at.update(node.input)
    return looked_at.isdisjoint(value.name for value in (body.input[0], *body.input[2:]))


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for body in bodies_of(node):
            yield from _all_nodes(body.node)


def _itemsize(kind: int) -> int:
    return 1 if kind in (TensorProto.UNDEFINED, TensorProto.STRING) else helper.tensor_dtype_to_np_dtype(kind).itemsize

"""The canonical form: the user's graph at one opset, with every shape known, explicit pads and constants at hand.

Tensors keep the names of the user's file; what the conversion adds has names of its own. Weights are not in it:
they are the user's tensors and stay where they are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from zfviz.errors import ModelError
from zfviz.graph.fusions import unfold
from zfviz.graph.limits import check_sizes
from zfviz.graph.opsets import APART, OPSET, convert, first_line, relabel, with_domain
from zfviz.graph.protos import read_by, stored_constants
from zfviz.graph.reach import Frame, dims
from zfviz.graph.rectifiers import Rectifier, find_rectifiers
from zfviz.graph.source import SMALL
from zfviz.graph.unfolding import inline_newest, splice_branches

SHAPED_BY_VALUES = ("NonZero", "NonMaxSuppression", "Unique", "Compress")
"""The ops that give as many positions as values of their input ask for."""

LARGEST_WINDOW = 2**24
"""Numbers under a kernel of one channel: that of a global pool over 4096 x 4096."""

LONGEST_LIST = 100_000
"""Numbers of one axis that are followed as if they were a shape."""

Evaluate = Callable[[ModelProto, Sequence[str]], dict[str, np.ndarray]]
"""Runs a model on an image of zeros and gives the named tensors; the runtime floor provides it."""


@dataclass(frozen=True, slots=True, eq=False)
class Canonical:
    """A canonical graph and what goes with it.

    `proto` is the user's model; `live` are the tensors that descend from the image; `weights` the stored or computed
    constants, by name; `made_by` the node of the user's own graph that makes a tensor; `rectifiers` the activations
    that the methods tell apart, by their output. Where `frames` are given, the graph is about the windows that the
    signal of one unit can touch, and they say which of each tensor; else it is about whole maps.
    """

    proto: ModelProto
    graph: gs.Graph
    image: gs.Tensor
    live: frozenset[str]
    weights: Mapping[str, TensorProto]
    made_by: Mapping[str, NodeProto]
    rectifiers: Mapping[str, Rectifier]
    frames: Mapping[str, Frame] | None = None


def canonicalize(proto: ModelProto, image: ValueInfoProto, evaluate: Evaluate) -> Canonical:
    """The canonical form of `proto` for one static shape of its `image` input.

    Raises ModelError when the model does not convert, or its shapes contradict each other.
    """
    spelled = inline_newest(proto)
    spelled = splice_branches(spelled, stored_constants(spelled.graph))
    weights = dict(stored_constants(spelled.graph))
    seen: dict[str, np.ndarray] = {}
    bare = skeleton(spelled, image, weights, seen)
    inferred = _infer(bare)
    varying = _shaped_by_values(inferred, image.name)
    while asked := _unanswered(inferred, image.name, set(weights), set(seen), varying):
        values = evaluate(spelled, [*asked.constants, *asked.shapes])
        weights |= {name: numpy_helper.from_array(values[name], name) for name in asked.constants}
        seen |= {name: values[name] for name in asked.shapes}
        spelled = splice_branches(spelled, weights)
        weights |= stored_constants(spelled.graph)
        bare = skeleton(spelled, image, weights, seen)
        inferred = _infer(bare)
    graph = gs.import_onnx(_with_shapes(unfold(convert(bare, OPSET), _kinds(inferred)), bare))
    made_by = {output: node for node in proto.graph.node for output in node.output}
    return _settle(proto, graph, image.name, weights, made_by)


def _kinds(proto: ModelProto) -> dict[str, tuple[int, int]]:
    """How many axes each tensor has, and of which type it is."""
    values = (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
    kinds = {v.name: (len(v.type.tensor_type.shape.dim), v.type.tensor_type.elem_type) for v in values}
    return kinds | {tensor.name: (len(tensor.dims), tensor.data_type) for tensor in proto.graph.initializer}


def skeleton(
    proto: ModelProto,
    image: ValueInfoProto,
    weights: Mapping[str, TensorProto],
    known: Mapping[str, np.ndarray] | None = None,
) -> ModelProto:
    """The user's graph without its weights: small constants stay, large ones become inputs of the same name.

    `known` are values seen in a run; they tell shapes.
    """
    inputs = [image]
    small: list[TensorProto] = []
    for name, tensor in weights.items():
        if np.prod(tensor.dims, dtype=float) <= SMALL and tensor.data_location != TensorProto.EXTERNAL:
            small.append(tensor)
        else:
            inputs.append(helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
    others = [i for i in proto.graph.input if i.name != image.name and i.name not in weights]
    nodes = [node for node in proto.graph.node if not set(node.output) & weights.keys()]
    # an output that is an input or a weight as it is has a shape already, which an empty one would hide
    made = {name for node in nodes for name in node.output}
    seen = {
        name: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), list(value.shape))
        for name, value in (known or {}).items()
    }
    graph = GraphProto(
        name=proto.graph.name or "graph",
        node=nodes,
        input=[*inputs, *others],
        output=[seen.get(output.name) or _shapeless(output) for output in proto.graph.output if output.name in made],
        initializer=small,
        value_info=seen.values(),
    )
    return ModelProto(ir_version=max(proto.ir_version, 4), opset_import=proto.opset_import, graph=graph)


def _shapeless(value: ValueInfoProto) -> ValueInfoProto:
    """The same output without its shape, which was written for any image size."""
    bare = ValueInfoProto(name=value.name)
    bare.type.tensor_type.elem_type = value.type.tensor_type.elem_type
    return bare


def _infer(proto: ModelProto) -> ModelProto:
    try:
        if any(node.op_type == "Slice" for node in proto.graph.node):
            # onnx ends the process where a Slice reads a size below 0: without them, sizes are looked at first
            apart = onnx.shape_inference.infer_shapes(with_domain(proto, "", APART, ("Slice",)))
            _check_signs(apart.graph.value_info)
        inferred = onnx.shape_inference.infer_shapes(proto)
        # onnx would write down each number of a list that it passes on, even where it knows none
        if not any(map(_is_long_list, inferred.graph.value_info)):
            inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"the model's shapes contradict each other: {first_line(error)}. Export it again.") from None
    check_sizes(value for value in (*inferred.graph.value_info, *inferred.graph.output) if _is_static(value))
    return inferred


def _check_signs(values: Iterable[ValueInfoProto]) -> None:
    for value in values:
        sizes = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if min(sizes, default=0) < 0:
            raise ModelError(
                f"the model makes {value.name!r} of sizes {sizes}; expected none below 0. Give a larger image, or "
                "export it again."
            )


def _is_long_list(value: ValueInfoProto) -> bool:
    shape = value.type.tensor_type.shape.dim
    return len(shape) == 1 and shape[0].dim_value > LONGEST_LIST


def _with_shapes(proto: ModelProto, told: ModelProto) -> ModelProto:
    """The shapes of a canonical graph, inferred from its input and what `told` was told of them."""
    # before opset 22, inference counts windows of ceil_mode that start in the padding; runtimes drop them at any opset
    newer = relabel(proto, 22)
    # so do the shapes that the conversion left in it
    for field, content in ((newer.graph.value_info, told.graph.value_info), (newer.graph.output, told.graph.output)):
        del field[:]
        field.extend(content)
    return relabel(_infer(newer), OPSET)


@dataclass(frozen=True, slots=True)
class _Unanswered:
    """Tensors that only a run of the model can tell: constants that it computes, shapes that inference did not find."""

    constants: list[str]
    shapes: list[str]

    def __bool__(self) -> bool:
        return bool(self.constants or self.shapes)


def _shaped_by_values(proto: ModelProto, image: str) -> frozenset[str]:
    """The tensors whose shape depends on what is in the image, as far as inference can tell."""
    live, shaped = {image}, set[str]()
    for node in proto.graph.node:
        read = read_by(node)
        if not live.isdisjoint(read):
            live.update(node.output)
            if node.op_type in SHAPED_BY_VALUES or not shaped.isdisjoint(read):
                shaped.update(node.output)
    return frozenset(shaped - {v.name for v in (*proto.graph.value_info, *proto.graph.output) if _is_static(v)})


def _unanswered(
    proto: ModelProto, image: str, constants: set[str], answered: set[str], varying: frozenset[str]
) -> _Unanswered:
    known = {v.name for v in (*proto.graph.value_info, *proto.graph.output) if _is_static(v)}
    told = known | answered | {""}
    shapes = [name for node in proto.graph.node for name in node.output if name not in told]
    return _Unanswered(_computed_constants(proto, (known | {image}) - varying, constants), shapes)


def _computed_constants(proto: ModelProto, known: set[str], constants: set[str]) -> list[str]:
    """The tensors computed from nothing but constants and known shapes, where a node that is not uses them."""
    fixed = constants | {""}
    frontier: dict[str, None] = {}
    for node in proto.graph.node:
        shape_only = node.op_type in ("Shape", "Size") and not node.domain and node.input[0] in known
        has_body = any(a.HasField("g") for a in node.attribute)
        if shape_only or (not has_body and all(name in fixed for name in node.input)):
            fixed.update(node.output)
        else:
            frontier |= dict.fromkeys(name for name in node.input if name in fixed - constants - {""})
    return list(frontier)


def _is_static(value: ValueInfoProto) -> bool:
    shape = value.type.tensor_type.shape
    return value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in shape.dim)


def _settle(
    proto: ModelProto,
    graph: gs.Graph,
    image_name: str,
    weights: Mapping[str, TensorProto],
    made_by: Mapping[str, NodeProto],
) -> Canonical:
    """Leave only what descends from the image, spelled out."""
    graph.toposort()
    image = next(t for t in graph.inputs if t.name == image_name)
    live = {image_name}
    nodes: list[gs.Node] = []
    for node in graph.nodes:
        if any(t.name in live for t in node.inputs):
            live.update(t.name for t in node.outputs if not t.is_empty())
            # the conversion gives names to nodes that have none
            maker = made_by.get(node.outputs[0].name)
            node.name = maker.name if maker else ""
            _trim_outputs(node, graph)
            _explicit(node)
            _check_sizes_of(node)
            nodes.append(node)
        elif node.op == "Constant":
            _fold_constant(node)
    graph.nodes = nodes
    rectifiers = find_rectifiers(nodes, frozenset(live))
    return Canonical(proto, graph, image, frozenset(live), weights, made_by, rectifiers)


def _check_sizes_of(node: gs.Node) -> None:
    for tensor in node.outputs:
        if min(dims(tensor), default=0) < 0:
            raise ModelError(
                f"{node.op} makes {tensor.name!r} of sizes {list(dims(tensor))}; expected none below 0. "
                "Export it again."
            )


def _trim_outputs(node: gs.Node, graph: gs.Graph) -> None:
    """Drop the last outputs that nobody reads, such as the mask of a Dropout, whose type changed between opsets."""
    if node.op in ("Split", "TopK"):
        return  # none is optional
    while len(node.outputs) > 1 and not node.outputs[-1].outputs and node.outputs[-1] not in graph.outputs:
        node.outputs = node.outputs[:-1]


def _fold_constant(node: gs.Node) -> None:
    """Turn the output of a Constant that the opset conversion wrote into a constant tensor."""
    value = node.attrs["value"].values
    output = node.outputs[0]
    constant = gs.Constant(output.name, np.asarray(value))
    for user in list(output.outputs):
        user.inputs = [constant if t is output else t for t in user.inputs]


def _explicit(node: gs.Node) -> None:
    """Write out what the node's attributes leave to defaults, so that rules read one spelling."""
    settle = _EXPLICIT.get(node.op)
    if settle is not None and not node.domain:
        settle(node)


def _explicit_window(node: gs.Node) -> None:
    rank = len(dims(node.inputs[0])) - 2
    if len(dims(node.outputs[0])) != rank + 2:
        raise ModelError(
            f"{node.op} makes {node.outputs[0].name!r} of {list(dims(node.outputs[0]))} from "
            f"{list(dims(node.inputs[0]))}; expected as many axes. Export it again."
        )
    if any(size < 1 for size in dims(node.outputs[0])):
        size, made = dims(node.inputs[0])[2:], node.outputs[0].name
        raise ModelError(f"{node.op} finds no window for {made!r} in {size}; expected a larger image. Scale it up.")
    if "kernel_shape" not in node.attrs:
        node.attrs["kernel_shape"] = list(dims(node.inputs[1])[2:])
    for name, default in (("strides", [1] * rank), ("dilations", [1] * rank), ("pads", [0] * 2 * rank)):
        node.attrs.setdefault(name, default)
    if node.op in ("Conv", "ConvInteger", "ConvTranspose"):
        node.attrs.setdefault("group", 1)
    for name, length in (("kernel_shape", rank), ("strides", rank), ("dilations", rank), ("pads", 2 * rank)):
        if len(node.attrs[name]) != length:
            raise ModelError(
                f"{node.op} for {node.outputs[0].name!r} has {name} {node.attrs[name]}; expected {length} numbers. "
                "Export it again."
            )
    if prod(node.attrs["kernel_shape"]) > LARGEST_WINDOW or min(*node.attrs["strides"], *node.attrs["dilations"]) < 1:
        raise ModelError(
            f"{node.op} for {node.outputs[0].name!r} has kernel_shape {node.attrs['kernel_shape']}, strides "
            f"{node.attrs['strides']} and dilations {node.attrs['dilations']}; expected a window of at most "
            f"{LARGEST_WINDOW:,} numbers, and steps above 0. Export it again."
        )
    mode = node.attrs.pop("auto_pad", "NOTSET")
    if node.op == "ConvTranspose" and (mode != "NOTSET" or "output_shape" in node.attrs):
        node.attrs["pads"] = _pads_of_transpose(node, upper=mode == "SAME_UPPER")
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        node.attrs["pads"] = _same_pads(node, lower=mode == "SAME_LOWER")
    elif mode == "VALID":
        node.attrs["pads"] = [0] * 2 * rank


def _same_pads(node: gs.Node, lower: bool) -> list[int]:
    """Pads that make ceil(size / stride) outputs, the odd one at the end, or at the begin when `lower`."""
    begins: list[int] = []
    ends: list[int] = []
    settings = zip(
        dims(node.inputs[0])[2:],
        node.attrs["kernel_shape"],
        node.attrs["strides"],
        node.attrs["dilations"],
        strict=True,
    )
    for size, kernel, stride, dilation in settings:
        total = max(0, (ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
        less, more = total // 2, total - total // 2
        begins.append(more if lower else less)
        ends.append(less if lower else more)
    return begins + ends


def _pads_of_transpose(node: gs.Node, upper: bool) -> list[int]:
    """Pads that cut the output to the size it has; the odd one at the end when `upper`."""
    names = ("strides", "kernel_shape", "dilations")
    rest = node.attrs.get("output_padding", [0] * len(node.attrs["strides"]))
    sizes = zip(dims(node.inputs[0])[2:], dims(node.outputs[0])[2:], rest, *(node.attrs[n] for n in names), strict=True)
    totals = [
        max(0, (size - 1) * stride + extra + (kernel - 1) * dilation + 1 - out)
        for size, out, extra, stride, kernel, dilation in sizes
    ]
    begins = [total // 2 if upper else total - total // 2 for total in totals]
    return begins + [total - begin for total, begin in zip(totals, begins, strict=True)]


def _explicit_perm(node: gs.Node) -> None:
    node.attrs.setdefault("perm", list(reversed(range(len(dims(node.inputs[0]))))))


def _explicit_resize(node: gs.Node) -> None:
    """Leave out inputs that are empty, and say in today's words how TensorFlow places the nearest neighbours."""
    node.inputs = [gs.Variable.empty() if isinstance(t, gs.Constant) and not t.values.size else t for t in node.inputs]
    if node.attrs.get("coordinate_transformation_mode") == "tf_half_pixel_for_nn":
        node.attrs["coordinate_transformation_mode"] = "half_pixel"
        node.attrs["nearest_mode"] = "round_prefer_ceil"


_EXPLICIT: dict[str, Callable[[gs.Node], Any]] = {
    "Conv": _explicit_window,
    "ConvInteger": _explicit_window,
    "ConvTranspose": _explicit_window,
    "MaxPool": _explicit_window,
    "AveragePool": _explicit_window,
    "LpPool": _explicit_window,
    "Transpose": _explicit_perm,
    "Resize": _explicit_resize,
}

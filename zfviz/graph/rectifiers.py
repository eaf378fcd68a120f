"""Rectifiers: activations, of one node or of several, that the methods tell apart (paper, section 2.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from zfviz.graph.reach import QUANTISED, dims, is_real

# fmt: off
ELEMENTWISE = frozenset((
    "Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Softplus", "Softsign", "Gelu", "HardSwish",
    "Mish", "Clip", "Sigmoid", "HardSigmoid", "Tanh", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Neg", "Abs", "Sign",
    "Pow", "Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean", "Where", "Greater", "Less", "GreaterOrEqual",
    "LessOrEqual",
))
# fmt: on
"""Ops whose outputs depend on one element of each input; from these, activations are spelled."""

UNCHANGED = frozenset(("Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear"))
"""Ops that count as identity between the nodes of an activation."""

MOVED = frozenset(("Squeeze", "Unsqueeze", "Reshape", "Pad", "Transpose", *UNCHANGED))
"""Ops that move values and leave them what they are."""

BOUNDS = frozenset(("Relu", "Clip", "Min", "Max"))
"""Ops that one after the other make one activation: Relu, then Min."""

LONGEST = 16
"""Nodes; no known activation is spelled with more than ten."""

FAR = np.array([100.0, 200.0, 400.0])
"""Where an activation is as good as linear, and the exponential of it still a double."""

NEAR = 1e-4
"""Where one that is bounded is not yet bent but by a kink at 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Rectifier:
    """An activation f from `entry` to the output of the last of its `nodes`.

    Far from 0 it is `above` times a positive x and `below` times a negative one: r(x), which `deconvnet` applies to the
    signal. One that is bounded, such as Clip(0, 6), is so near 0: a strong unit is saturated, and shall not be dark for
    that. Each is an array that broadcasts with x. Where they are the same, the nodes as a whole bend no signal,
    whatever rectifiers they are made of; `passed_over` says that `deconvnet` leaves out the gradient too, as the paper
    does with contrast normalisation.
    """

    entry: gs.Tensor
    nodes: tuple[gs.Node, ...]
    above: np.ndarray
    below: np.ndarray
    passed_over: bool = False

    @property
    def bends(self) -> bool:
        """Whether it treats positive values otherwise than negative ones."""
        return not np.array_equal(self.above, self.below)

    @property
    def told_apart_by(self) -> tuple[str, ...]:
        """The methods that do something of their own at it."""
        return ("deconvnet",) if self.passed_over else ("deconvnet", "guided")


def find_rectifiers(nodes: Sequence[gs.Node], live: frozenset[str]) -> dict[str, Rectifier]:
    """The rectifiers among nodes in the order in which they run, by the name of their output; `live` are the tensors
    that descend from the image.
    """
    places = {id(node): place for place, node in enumerate(nodes)}
    found: dict[str, Rectifier] = {}
    for node in nodes:
        if node.op == "QuantizeLinear" and (saturating := _as_saturating(node)):
            found[node.outputs[0].name] = saturating
        elif region := _region(node, live, places):
            chained = _with_bound_below(*region, live, places)
            rectifier = (chained and _as_rectifier(*chained)) or _as_rectifier(*region)
            if rectifier:
                found[node.outputs[0].name] = rectifier
        elif normalised := _contrast_normalised(node, live):
            found[node.outputs[0].name] = Rectifier(normalised, (node,), np.ones(1), np.ones(1), passed_over=True)
    return found


def _contrast_normalised(node: gs.Node, live: frozenset[str]) -> gs.Tensor | None:
    """What a Div divides by a power of the mean of its squares over channels: LRN, as torch spells it."""
    if node.op != "Div" or len(node.inputs) < 2:
        return None
    ops: list[str] = []
    x, tensor = node.inputs
    while tensor.name != x.name and tensor.inputs and len(ops) < LONGEST:
        maker = tensor.inputs[0]
        below = {t.name: t for t in maker.inputs if t.name in live}
        if len(below) != 1:
            return None
        ops += [maker.op] if maker.op not in MOVED else []
        (tensor,) = below.values()
    squared = ops[4:] in (["Mul"], ["Pow"]) and tensor.name == x.name
    return x if squared and ops[:4] == ["Pow", "Add", "Mul", "AveragePool"] else None


def _as_saturating(node: gs.Node) -> Rectifier | None:
    """The Relu that a quantiser of one scale is where 0 is its smallest integer: what is negative saturates there."""
    found = constant_scale(node)
    if found is None or found[1] != np.iinfo(node.outputs[0].dtype).min:
        return None
    return Rectifier(node.inputs[0], (node,), np.array(1 / found[0]), np.array(0.0))


def constant_scale(node: gs.Node) -> tuple[float, int] | None:
    """Scale and zero point of a quantiser that has one of each, at hand, and makes plain integers."""
    if node.outputs[0].dtype not in QUANTISED:
        return None
    constants = [t.values for t in node.inputs[1:] if isinstance(t, gs.Constant) and t.values.size == 1]
    if len(constants) < 2:
        return None
    return constants[0].item(), constants[1].item()


def _with_bound_below(
    entry: gs.Tensor, nodes: list[gs.Node], live: frozenset[str], places: dict[int, int]
) -> tuple[gs.Tensor, list[gs.Node]] | None:
    """A bound together with the bound below it, such as Relu, then Min."""
    if len(nodes) > 1 or len(entry.outputs) > 1 or not entry.inputs:
        return None  # where others read it too, signals meet between the two
    if not {nodes[0].op, entry.inputs[0].op} <= BOUNDS:
        return None
    below = _region(entry.inputs[0], live, places)
    return below and (below[0], [*below[1], *nodes])


def _region(node: gs.Node, live: frozenset[str], places: dict[int, int]) -> tuple[gs.Tensor, list[gs.Node]] | None:
    """The fewest elementwise nodes that make `node`'s output from one tensor and constants: that tensor, and them."""
    if node.op not in ELEMENTWISE or not is_real(node.outputs[0]):
        return None
    taken: dict[int, gs.Node] = {}
    open_tensors: dict[str, gs.Tensor] = {}
    latest = node
    while len(taken) < LONGEST:
        if not _is_elementwise(latest, live):
            return None
        taken[id(latest)] = latest
        open_tensors |= {t.name: t for t in latest.inputs if t.name in live}
        # a logarithm may take back an exponential below it, as in softplus
        taken_back = node.op != "Log" or any(n.op == "Exp" for n in taken.values())
        if len(open_tensors) == 1 and taken_back:
            (entry,) = open_tensors.values()
            return entry, sorted(taken.values(), key=lambda n: places[id(n)])
        makers = [t.inputs[0] for t in open_tensors.values() if t.inputs]
        if not makers:
            return None
        latest = max(makers, key=lambda n: places.get(id(n), -1))
        for output in latest.outputs:
            open_tensors.pop(output.name, None)
    return None


def _is_elementwise(node: gs.Node, live: frozenset[str]) -> bool:
    return not node.domain and (
        node.op in UNCHANGED
        or (
            node.op in ELEMENTWISE
            and all(isinstance(t, gs.Constant) or t.is_empty() or t.name in live for t in node.inputs)
        )
    )


def _as_rectifier(entry: gs.Tensor, nodes: Sequence[gs.Node]) -> Rectifier | None:
    """The activation that the nodes make of `entry`, where it bends a signal: |below| < above."""
    values = _evaluate(entry, nodes, np.concatenate([FAR, -FAR, [0, NEAR, -NEAR]]))
    if values is None:
        return None
    up, down, (origin, right, left) = values[:3], values[3:6], values[6:]
    above, above_further = (up[1] - up[0]) / 100, (up[2] - up[1]) / 200
    below, below_further = (down[0] - down[1]) / 100, (down[1] - down[2]) / 200
    settled = np.allclose([above, below], [above_further, below_further], rtol=1e-3, atol=1e-4)
    if settled and np.all(np.abs(above) < 1e-3):
        above, below = (right - origin) / NEAR, (origin - left) / NEAR
    below = np.where(np.abs(below) < 1e-6, 0, below)
    if not settled:
        return None
    if np.all(above > 1e-3) and np.all(np.abs(below) < above * (1 - 1e-3)):
        return Rectifier(entry, tuple(nodes), above, below)
    return Rectifier(entry, tuple(nodes), np.ones(1), np.ones(1)) if len(nodes) > 1 else None


def _evaluate(entry: gs.Tensor, nodes: Sequence[gs.Node], points: np.ndarray) -> np.ndarray | None:
    """What the nodes make of a tensor filled with each of the points: [points, ...]; None where they cannot run so."""
    constants = {t.name: t.values for n in nodes for t in n.inputs if isinstance(t, gs.Constant)}
    if any(value.ndim > max(1, len(dims(entry)) - 1) and len(value) != 1 for value in constants.values()):
        return None
    rank = max(1, len(dims(entry)))
    graph = GraphProto(
        name="activation",
        node=[_spelled(node) for node in nodes],
        input=[helper.make_tensor_value_info(entry.name, TensorProto.DOUBLE, [len(points), *[1] * (rank - 1)])],
        output=[helper.make_tensor_value_info(nodes[-1].outputs[0].name, TensorProto.DOUBLE, None)],
        initializer=[numpy_helper.from_array(_widened(value), name) for name, value in constants.items()],
    )
    model = ModelProto(ir_version=8, opset_import=[helper.make_opsetid("", 21)], graph=graph)
    with np.errstate(all="ignore"):
        try:
            reference: Any = ReferenceEvaluator(model)
            (values,) = reference.run(None, {entry.name: points.reshape(-1, *[1] * (rank - 1))})
        except Exception:  # the reference has no such op, or not for doubles
            return None
    return np.asarray(values) if np.isfinite(values).all() else None


def _spelled(node: gs.Node) -> NodeProto:
    if node.op in UNCHANGED:
        return helper.make_node("Identity", [node.inputs[0].name], [node.outputs[0].name])
    return helper.make_node(node.op, [t.name for t in node.inputs], [node.outputs[0].name], **node.attrs)


def _widened(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if value.dtype.kind == "f" else value

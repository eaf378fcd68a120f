"""Verification: each layer alone, its rule against central differences of the op itself, on real values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan, prod

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto, TensorProto, helper, numpy_helper

from zfviz.errors import VerificationError
from zfviz.graph.canonical import Canonical, canonicalize
from zfviz.graph.companion import IR_VERSION, PIXELS, SIGNAL, build_companion, layer_name
from zfviz.graph.exposure import expose
from zfviz.graph.opsets import OPSET
from zfviz.graph.reach import dims, is_real
from zfviz.graph.rules import find_rule
from zfviz.graph.updating import widen
from zfviz.runtime.loading import Model, evaluator
from zfviz.runtime.session import open_session
from zfviz.tolerances import SINGLE_OP

STEP = 2.0**-6
"""Step of the differences, relative to the size of the values: their own error grows with its fourth power."""


UNEVEN = 0.004
"""By how much of it slopes over one step and two may differ, where no kink lies between; less for smaller steps."""

SMALLEST, LARGEST = 2.0**-126, 2.0**118
"""The slopes that float32 holds, with some room for sums of them."""

CLOSER = ({"step": STEP}, {"drift": 1.0}, {"step": STEP / 16}, {"step": STEP / 256})
"""The ways to take the differences of a curve: norms of nearly equal values bend within a step."""

BESIDE = ({"step": STEP}, {"drift": 1.0}, {"beside": 2.0**-4})
"""The ways to take the differences of what is linear but for kinks. Some kinks do not show among equal values: the
middle one of three is another one ahead than behind, and changes as much.
"""


@dataclass(frozen=True, slots=True)
class Residual:
    """How far the rule of a layer is from central differences of it: |<Jd, y> - <d, JT y>| / (|Jd| |y|)."""

    layer: str
    op: str
    value: float


def verify_layers(model: Model, image: np.ndarray, tensors: Sequence[str]) -> list[Residual]:
    """The residual of every layer on the way from `tensors` down to the image, on the values of one image.

    Raises VerificationError that names the worst layer where one is above tolerance.
    """
    residuals = find_residuals(model, image, tensors)
    worst = max(residuals, key=lambda r: r.value, default=None)
    if worst and not worst.value <= SINGLE_OP:
        raise VerificationError(
            f"layer {worst.layer!r} ({worst.op}) fails: its rule is {worst.value:.1e} from central differences; "
            f"expected at most {SINGLE_OP:.0e}. The projections are wrong; please report this model."
        )
    return residuals


def find_residuals(model: Model, image: np.ndarray, tensors: Sequence[str], kinds: bool = False) -> list[Residual]:
    """The residual of every layer on the way from `tensors` down to the image, on the values of one image; with
    `kinds`, of one layer only of those that have the same op and attributes. Layers of which nothing can be
    told there are left out: they give NaN or infinity, or only values that float32 rounds too much.
    """
    nodes = _nodes_below(model.canonical, tensors)
    chosen = _one_of_each_kind(nodes) if kinds else nodes
    values = _canonical_values(model, nodes, chosen, image)
    found = (
        Residual(layer_name(node), node.op, _least_residual(proto, value, name, node.outputs[0].name, _is_curved(node)))
        for node in chosen
        if is_real(node.outputs[0])
        for proto, name, value in _alone(model, node, values)
    )
    return [residual for residual in found if not isnan(residual.value)]


def _one_of_each_kind(nodes: Sequence[gs.Node]) -> list[gs.Node]:
    """The nodes with the fewest inputs, then the smallest outputs, among those that differ in nothing else."""
    found: dict[tuple[str, ...], gs.Node] = {}
    for node in sorted(nodes, key=lambda node: (len(node.inputs), prod(dims(node.outputs[0])))):
        found.setdefault((node.domain or "", node.op, *sorted(map(repr, node.attrs.items()))), node)
    return [node for node in nodes if any(node is one for one in found.values())]


def _least_residual(proto: ModelProto, x: np.ndarray, name: str, output: str, curved: bool) -> float:
    """The residual, taken in further ways where the first one shows more than a right rule should.

    The mean of a large map hardly changes along a direction of mean 0: what is rounded off shows instead. A wrong rule
    is wrong in every way. NaN where none can tell, infinity where the gradient is not finite.
    """
    least = nan
    for way in CLOSER if curved else BESIDE:
        found = residual(proto, x, name, output, **way)
        if found == inf:
            return inf
        least = found if isnan(least) else min(least, found)
        if least <= SINGLE_OP / 10:
            break
    return least


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is told
def residual(
    proto: ModelProto,
    x: np.ndarray,
    name: str,
    output: str,
    drift: float = 0,
    step: float = STEP,
    beside: float = 0,
) -> float:
    """The residual of a model's gradient at `x`, its input `name`, for one of its outputs; places with a kink are
    left out, and those where float32 cannot tell the slope.

    The differences are taken along one random direction, whose mean is `drift`, and at a random place that lies
    `beside` x; that and `step` are relative to the size of x. NaN where the output is not finite, no place is left, or
    rounding explains more than a right rule may show; infinity where the output is finite, and the gradient is not.
    """
    value = helper.make_tensor_value_info(name, TensorProto.FLOAT, list(x.shape))
    canonical = canonicalize(proto, value, evaluator(name, x.shape, None))
    companion = build_companion(canonical, output, "gradient")
    exposed = [output, *(name for name in companion.values if name not in companion.switches)]
    forward = open_session(expose(canonical, exposed, companion.switches), device="cpu")
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(x.shape, dtype=np.float32) + np.float32(drift)
    size = float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) or 1.0
    x = x + np.float32(beside * size) * np.random.default_rng(1).standard_normal(x.shape, dtype=np.float32)
    stride = np.float32(step * size)
    ahead2, ahead, here, behind, behind2 = (
        forward.run({name: x + steps * stride * direction}, [output])[output].astype(np.float64)
        for steps in (2, 1, 0, -1, -2)
    )
    if not all(np.isfinite(output).all() for output in (ahead2, ahead, here, behind, behind2)):
        return nan
    near, far = (ahead - behind) / (2 * float(stride)), (ahead2 - behind2) / (4 * float(stride))
    slope = (4 * near - far) / 3
    # what is added to far larger values is rounded off, and float32 does not hold every slope
    spacing = np.spacing(np.abs(here).astype(np.float32)).astype(np.float64)
    told = spacing <= 2.0**-18 * size * np.maximum(1, np.abs(slope))
    told &= (slope == 0) | ((np.abs(slope) > SMALLEST) & (np.abs(slope) < LARGEST))
    bend = np.maximum(np.abs(ahead2 + behind2 - 2 * here), np.abs(ahead + behind - 2 * here))
    slope, here = np.where(told, slope, 0), np.where(told, here, 0)
    if any(map(_is_curved, canonical.graph.nodes)):
        # a curve bends everywhere, by the step's square; its slopes over two distances agree but at a kink
        kinks = (bend > 0.1 * np.abs(ahead2 - behind2)) | (
            np.abs(near - far) > UNEVEN * step / STEP * (np.abs(slope) + np.abs(slope).mean())
        )
    else:
        kinks = bend > 2.0**-18 * (np.abs(here) + np.abs(here).mean())
    judged = told & ~kinks
    slope = np.where(judged, slope, 0)
    y = np.where(judged, slope / (np.sqrt(np.mean(slope**2)) or 1.0) + rng.standard_normal(slope.shape), 0)
    values = forward.run({name: x}, companion.values) if companion.values else {}
    signal = y.astype(np.float32)
    back: np.ndarray = open_session(companion.proto, device="cpu").run({**values, SIGNAL: signal}, [PIXELS])[PIXELS]
    expected = float(np.vdot(slope, signal))
    found = float(np.vdot(direction.astype(np.float64), back.astype(np.float64)))
    scale = float(np.linalg.norm(slope) * np.linalg.norm(signal)) or 1.0
    error = abs(expected - found) / scale
    if not isfinite(error):
        return inf
    # an op's value may be off by some units in its last place
    unsure = float(np.linalg.norm(4 * spacing / float(stride) * signal)) / scale
    return nan if not judged.any() or max(error, SINGLE_OP) < unsure else error


def _is_curved(node: gs.Node) -> bool:
    return getattr(find_rule(node, "gradient"), "curved", False)


def _nodes_below(canonical: Canonical, tensors: Iterable[str]) -> list[gs.Node]:
    wanted = set(tensors)
    nodes: list[gs.Node] = []
    for node in reversed(canonical.graph.nodes):
        if any(t.name in wanted for t in node.outputs):
            nodes.append(node)
            wanted |= {t.name for t in node.inputs if t.name in canonical.live}
    return nodes[::-1]


def _canonical_values(
    model: Model, nodes: Sequence[gs.Node], chosen: Sequence[gs.Node], image: np.ndarray
) -> dict[str, np.ndarray]:
    """What goes into the chosen ones of nodes, for one image: all tensors that descend from it."""
    canonical = model.canonical
    inputs = {t.name: t for node in chosen for t in node.inputs if t.name in canonical.live}
    live = {name: tensor for name, tensor in inputs.items() if tensor is not canonical.image}
    # a model of fixed batch takes copies of it
    image = np.repeat(image, dims(canonical.image)[0] // len(image), axis=0).astype(canonical.image.dtype)
    values = {canonical.image.name: image}
    if live:
        proto = _export(canonical, nodes, [canonical.image], list(live.values()))
        session = open_session(proto, model.source.folder, device="cpu")
        values |= session.run({canonical.image.name: image}, list(live))
    # a scalar comes as a number
    return {name: np.asarray(value) for name, value in values.items()}


def _alone(
    model: Model, node: gs.Node, values: Mapping[str, np.ndarray]
) -> Iterator[tuple[ModelProto, str, np.ndarray]]:
    """For each differentiable input of a node, a model of that node alone in float32, its weights inside and its other
    inputs bound, and the input's value.
    """
    inputs = {t.name: t for t in node.inputs if t.name in model.canonical.live}
    for name, tensor in inputs.items():
        if not is_real(tensor) or not dims(tensor):
            continue  # a number by itself is a scale that was found on the way
        proto = _export(model.canonical, [node], [tensor], node.outputs[:1])
        proto.graph.initializer.extend(
            numpy_helper.from_array(values[other], other) for other in inputs if other != name
        )
        if model.source.folder is not None:
            onnx.load_external_data_for_model(proto, str(model.source.folder))
        widen(proto.graph, TensorProto.FLOAT16)
        yield proto, name, values[name].astype(np.float32)


def _export(
    canonical: Canonical, nodes: Sequence[gs.Node], inputs: Sequence[gs.Tensor], outputs: Sequence[gs.Tensor]
) -> ModelProto:
    """A part of the canonical graph as a model, with what it computes from constants."""
    given = {*canonical.live, *canonical.weights}
    ordered: dict[int, gs.Node] = {}

    def add(node: gs.Node) -> None:
        for tensor in node.inputs:
            if tensor.inputs and tensor.name not in given and id(tensor.inputs[0]) not in ordered:
                add(tensor.inputs[0])
        ordered[id(node)] = node

    for node in nodes:
        add(node)
    graph = gs.Graph(nodes=list(ordered.values()), inputs=inputs, outputs=outputs, opset=OPSET)
    proto = gs.export_onnx(graph, do_type_check=False)
    proto.ir_version = IR_VERSION
    used = {t.name for node in ordered.values() for t in node.inputs}
    present = {tensor.name for tensor in proto.graph.initializer}
    proto.graph.initializer.extend(w for name, w in canonical.weights.items() if name in used - present)
    return proto

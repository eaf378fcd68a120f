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
"""By how much of it slopes over one step and two may differ, where no kink lies between."""


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
    `kinds`, of one layer only of those that have the same op and attributes. Layers that give NaN or infinity there are
    left out.
    """
    nodes = _nodes_below(model.canonical, tensors)
    chosen = _one_of_each_kind(nodes) if kinds else nodes
    values = _canonical_values(model, nodes, chosen, image)
    found = (
        Residual(layer_name(node), node.op, _least_residual(proto, value, name, node.outputs[0].name))
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


def _least_residual(proto: ModelProto, x: np.ndarray, name: str, output: str) -> float:
    """The residual, along a second direction too where the first one shows more than a right rule should.

    The mean of a large map hardly changes along a direction of mean 0: what is rounded off shows instead. A wrong rule
    is wrong along both.
    """
    first = residual(proto, x, name, output)
    return first if first <= SINGLE_OP / 10 else min(first, residual(proto, x, name, output, drift=1))


def residual(proto: ModelProto, x: np.ndarray, name: str, output: str, drift: float = 0) -> float:
    """The residual of a model's gradient at `x`, its input `name`, for one of its outputs; places with a kink are
    left out.

    The differences are taken along one random direction, whose mean is `drift`. NaN where the output is not finite,
    infinity where it is, and the gradient is not.
    """
    value = helper.make_tensor_value_info(name, TensorProto.FLOAT, list(x.shape))
    canonical = canonicalize(proto, value, evaluator(name, x.shape, None))
    companion = build_companion(canonical, output, "gradient")
    exposed = [output, *(name for name in companion.values if name not in companion.switches)]
    forward = open_session(expose(canonical, exposed, companion.switches), device="cpu")
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(x.shape, dtype=np.float32) + np.float32(drift)
    size = float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) or 1.0
    step = np.float32(STEP * size)
    ahead2, ahead, here, behind, behind2 = (
        forward.run({name: x + steps * step * direction}, [output])[output].astype(np.float64)
        for steps in (2, 1, 0, -1, -2)
    )
    if not all(np.isfinite(output).all() for output in (ahead2, ahead, here, behind, behind2)):
        return nan
    near, far = (ahead - behind) / (2 * float(step)), (ahead2 - behind2) / (4 * float(step))
    slope = (4 * near - far) / 3
    bend = np.abs(ahead2 + behind2 - 2 * here)
    if any(getattr(find_rule(node, "gradient"), "curved", False) for node in canonical.graph.nodes):
        # a curve bends everywhere, by the step's square; its slopes over two distances agree but at a kink
        kinks = (bend > 0.1 * np.abs(ahead2 - behind2)) | (
            np.abs(near - far) > UNEVEN * (np.abs(slope) + np.abs(slope).mean())
        )
    else:
        kinks = bend > 2.0**-18 * (np.abs(here) + np.abs(here).mean())
    slope = np.where(kinks, 0, slope)
    y = np.where(kinks, 0, slope / (np.sqrt(np.mean(slope**2)) or 1.0) + rng.standard_normal(slope.shape))
    values = forward.run({name: x}, companion.values) if companion.values else {}
    signal = y.astype(np.float32)
    back: np.ndarray = open_session(companion.proto, device="cpu").run({**values, SIGNAL: signal}, [PIXELS])[PIXELS]
    expected = float(np.vdot(slope, signal))
    found = float(np.vdot(direction.astype(np.float64), back.astype(np.float64)))
    scale = float(np.linalg.norm(slope) * np.linalg.norm(signal))
    error = abs(expected - found) / scale if scale else abs(found)
    return error if isfinite(error) else inf


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

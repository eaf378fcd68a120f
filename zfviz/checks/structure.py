"""Checks of the graph: whether it can be projected, what of it CUDA runs, what it carries in vain. Nothing is run."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod

from onnx import TensorProto, helper

from zfviz.checks.checking import Measurement, check
from zfviz.checks.cuda_kernels import RUNTIME, find_lacking
from zfviz.checks.evidence import listed, numbered
from zfviz.checks.subject import Subject
from zfviz.errors import UnsupportedError
from zfviz.graph.companion import Companion, build_companion
from zfviz.graph.layers import Layer
from zfviz.graph.protos import opset_of, read_by


@check(
    "ZF401",
    "unprojectable-ops",
    "Can the signal of a class, or of the last map, be projected to pixels?",
    group="graph",
    unit="ops",
    source="Zeiler & Fergus 2013, section 2.1",
    severity="warning",
    limit=0.0,
)
def unprojectable_ops(subject: Subject) -> Iterator[Measurement]:
    """Each op that stops the signal on its way from the class scores, or from the last map, to the image."""
    if (projected := _project(subject)) is None:
        return
    layer, outcome = projected
    if isinstance(outcome, Companion):
        yield Measurement("", 0.0, f"the signal of {layer.name!r} comes to the pixels")
    elif outcome.refused:
        yield from (Measurement(name, 1.0, why) for name, why in reversed(outcome.refused.items()))
    else:
        yield Measurement(layer.name, 1.0, str(outcome).rstrip("."))


@check(
    "ZF402",
    "inexact-ops",
    "Are there ops whose projection is not exact?",
    group="graph",
    unit="ops",
    source="Zeiler & Fergus 2013, section 2.1",
    drift=0.0,
)
def inexact_ops(subject: Subject) -> Iterator[Measurement]:
    """How many ops below the class scores, or the last map, pass a signal otherwise than the method prescribes."""
    if (projected := _project(subject)) is None:
        return
    layer, outcome = projected
    if isinstance(outcome, Companion):
        said = "; ".join(outcome.inexact) or f"every op below {layer.name!r} is projected exactly"
        yield Measurement("", float(len(outcome.inexact)), said)


@check(
    "ZF403",
    "no-cuda-kernel",
    "Are there nodes that onnxruntime cannot run on a GPU?",
    group="graph",
    unit="nodes",
    source="the kernel registry of onnxruntime-gpu",
    drift=0.0,
)
def no_cuda_kernel(subject: Subject) -> Iterator[Measurement]:
    """How many nodes that work on the image have no CUDA kernel for their op, opset and types."""
    nodes, lacking = find_lacking(subject.model)
    said = f"{RUNTIME} has CUDA kernels for all of {numbered(nodes, 'node')}"
    if lacking:
        ops = _count(node.label for node in lacking)
        said = f"{RUNTIME} has no CUDA kernel for {len(lacking)} of {numbered(nodes, 'node')}: {ops}"
    yield Measurement("", float(len(lacking)), said)


@check(
    "ZF404",
    "opset-too-new-for-cuda",
    "Is the model's opset newer than the GPU's kernels?",
    group="graph",
    unit="nodes",
    source="the kernel registry of onnxruntime-gpu",
    drift=0.0,
)
def opset_too_new_for_cuda(subject: Subject) -> Iterator[Measurement]:
    """How many nodes have a CUDA kernel at an older opset, but none at the model's."""
    _, lacking = find_lacking(subject.model)
    opset = opset_of(subject.model.source.proto)
    late = [node for node in lacking if node.reach]
    said = f"no node would have a CUDA kernel at an opset older than {opset}"
    if late:
        said = (
            f"{numbered(len(late), 'node')} would have CUDA kernels at opset {min(node.reach for node in late)}, but "
            f"at {opset} run on the CPU, their maps copied to and fro: {_count(node.label for node in late)}"
        )
    yield Measurement("", float(len(late)), said)


@check(
    "ZF405",
    "several-inputs",
    "Does the model take more than an image?",
    group="graph",
    unit="inputs",
    source="the ONNX IR specification",
    drift=0.0,
)
def several_inputs(subject: Subject) -> Iterator[Measurement]:
    """How many inputs besides the image have no value of their own, so that one was given."""
    others = [name for name, _ in subject.model.source.bound]
    said = "the image is all that has to be given"
    if others:
        said = f"{numbered(len(others), 'input')} besides the image had to be given: {listed(others)}"
    yield Measurement("", float(len(others)), said)


@check(
    "ZF406",
    "fixed-batch",
    "Does the model take any number of images at once?",
    group="graph",
    unit="images",
    source="the ONNX IR specification",
    drift=0.0,
)
def fixed_batch(subject: Subject) -> Iterator[Measurement]:
    """How many images each run has to have, 0 where any number goes."""
    batch = subject.model.image.batch or 0
    said = (
        f"each run takes {numbered(batch, 'image')}, no more and no less" if batch else "any number of images goes in"
    )
    yield Measurement("", float(batch), said)


@check(
    "ZF408",
    "unused-weights",
    "Is every stored weight used?",
    group="graph",
    unit="share of bytes",
    source="the ONNX IR specification",
    drift=0.01,
)
def unused_weights(subject: Subject) -> Iterator[Measurement]:
    """Which share of the weights' bytes nothing reads that leads to an output."""
    graph = subject.model.source.proto.graph
    needed = {output.name for output in graph.output}
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            needed |= read_by(node)
    unused = [weight for weight in graph.initializer if weight.name not in needed]
    lost, whole = (sum(map(_bytes, weights)) for weights in (unused, graph.initializer))
    said = f"each of {numbered(len(graph.initializer), 'weight')} is used"
    if unused:
        names = listed([weight.name for weight in unused])
        said = (
            f"{len(unused)} of {numbered(len(graph.initializer), 'weight')} lead to no output, "
            f"{lost:,} of {whole:,} bytes: {names}"
        )
    yield Measurement("", lost / whole if whole else 0.0, said)


def _project(subject: Subject) -> tuple[Layer, Companion | UnsupportedError] | None:
    """The class scores, or the last map where there are none, and the graph that projects them, or why there is none;
    None for a model without layers.
    """
    layers = subject.model.layers
    # by its axes: where an op without a rule lies below, nothing else tells a map
    maps = [layer for layer in layers if len(layer.stored) == 4]
    layer = subject.scores or next(reversed(maps or layers), None)
    if layer is None:
        return None
    # no weight's values are asked for, and large ones take time to copy
    canonical = subject.model.canonical
    hollow = replace(canonical, weights=dict.fromkeys(canonical.weights, TensorProto()))
    try:
        return layer, build_companion(hollow, layer.tensor)
    except UnsupportedError as error:
        return layer, error


def _bytes(tensor: TensorProto) -> int:
    return prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _count(labels: Iterable[str]) -> str:
    return listed([label if count == 1 else f"{label} ({count})" for label, count in Counter(labels).items()])

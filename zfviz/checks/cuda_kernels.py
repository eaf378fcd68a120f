"""What of a model onnxruntime's CUDA provider has kernels for, told from a list of them.

The list is `cuda_kernels.csv`, the CUDA kernels in the registry of the onnxruntime-gpu that its first line names.
`python tests/checks/cuda_registry.py > zfviz/checks/cuda_kernels.csv` renews it from the one that is installed.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper
from onnx.defs import OpSchema

from zfviz.graph.protos import STANDARD, opset_of, read_by
from zfviz.runtime.loading import Model

RUNTIME = "onnxruntime-gpu 1.31.1"
"""Whose kernels are listed."""

FIRST_OPSET = 7
"""The first that onnxruntime runs."""

TAKEN_OUT = ("Constant", "Identity", "Dropout")
"""Ops that onnxruntime takes out of a graph before it chooses who runs what."""

# fmt: off
SPELLED_OUT = (
    "Bernoulli", "CastLike", "CausalConvWithState", "CenterCropPad", "GroupNormalization", "HardSwish",
    "LinearAttention", "Mish", "NegativeLogLikelihoodLoss", "SequenceMap", "SoftmaxCrossEntropyLoss", "SwiGLU", "Swish",
)
# fmt: on
"""Ops that ONNX defines by others and the CPU has no kernel for, so that onnxruntime runs those others."""


@dataclass(frozen=True, slots=True)
class CudaKernel:
    """A kernel of the CUDA provider: from which version of its op to which, None where that is open, and the types that
    it takes for each of the op's type parameters.
    """

    since: int
    last: int | None
    types: Mapping[str, frozenset[str]]

    def serves(self, version: int) -> bool:
        """Whether it runs this version of the op."""
        # one without an end was written before newer versions were, and is not taken for them
        return version == self.since or (self.last is not None and self.since <= version <= self.last)

    def takes(self, kinds: Mapping[str, str]) -> bool:
        """Whether it runs with these types of the type parameters."""
        return all(kind in self.types.get(parameter, (kind,)) for parameter, kind in kinds.items())


@dataclass(frozen=True, slots=True)
class Lacking:
    """A node without a CUDA kernel: its op, and what of the node has none where the op has one. `reach` is the newest
    opset below the model's at which it would have one, 0 where there is none.
    """

    label: str
    reach: int


def find_lacking(model: Model) -> tuple[int, list[Lacking]]:
    """How many nodes of the user's graph work on the image, and those of them that have no CUDA kernel."""
    proto = model.source.proto
    opset, kinds = opset_of(proto), _kinds(model)
    nodes = list(_working(proto.graph.node, {model.image.name}))
    return len(nodes), [lacking for node in nodes if (lacking := judge(node, opset, kinds))]


def judge(node: NodeProto, opset: int, kinds: Mapping[str, str]) -> Lacking | None:
    """What a node lacks at an opset, where it lacks a CUDA kernel; `kinds` are the types of tensors, by name."""
    if _is_served(node, opset, kinds):
        refused = _refused_attribute(node)
        return Lacking(f"{node.op_type} with {refused}", 0) if refused else None
    kind = kinds.get(node.input[0], "") if node.input else ""
    label = f"{node.op_type} of {kind}" if kind and _is_served(node, opset, {}) else node.op_type
    older = range(opset - 1, FIRST_OPSET - 1, -1) if node.domain in STANDARD else ()
    return Lacking(label, next((version for version in older if _is_served(node, version, kinds)), 0))


def _working(nodes: Iterable[NodeProto], live: set[str]) -> Iterator[NodeProto]:
    """The nodes that work on what became of `live` tensors, not on their shape only; those of bodies too."""
    for node in nodes:
        if node.op_type in ("Shape", "Size") or live.isdisjoint(read_by(node)):
            continue
        live.update(filter(None, node.output))
        if node.op_type not in TAKEN_OUT:
            yield node
        for body in (attribute.g for attribute in node.attribute if attribute.HasField("g")):
            yield from _working(body.node, live | {value.name for value in body.input})


def _is_served(node: NodeProto, opset: int, kinds: Mapping[str, str]) -> bool:
    """Whether CUDA runs a node's op at an opset, as one kernel or as what the op is defined by."""
    found = cuda_kernels().get((node.domain or STANDARD[1], node.op_type), ())
    schema = _schema(node.op_type, opset) if node.domain in STANDARD else None
    if schema is None:
        return bool(found)  # onnxruntime's own op, which has one version
    parameters = _parameters(node, schema, kinds)
    served = any(kernel.serves(schema.since_version) and kernel.takes(parameters) for kernel in found)
    return served or node.op_type in SPELLED_OUT


def _refused_attribute(node: NodeProto) -> str:
    """What the CUDA provider turns a node away for though it has a kernel, or nothing."""
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "ConvTranspose":
        pads = list(given.get("pads", ()))
        half = len(pads) // 2
        if pads[:half] != pads[half:] or given.get("auto_pad") in (b"SAME_UPPER", b"SAME_LOWER"):
            return "uneven pads"
    if node.op_type in ("ArgMax", "ArgMin") and given.get("select_last_index"):
        return "select_last_index"
    return ""


@cache
def cuda_kernels() -> Mapping[tuple[str, str], Sequence[CudaKernel]]:
    """The kernels listed, by domain and op."""
    with (files("zfviz.checks") / "cuda_kernels.csv").open(encoding="utf-8") as file:
        file.readline()
        rows = list(csv.DictReader(file))
    kernels: dict[tuple[str, str], list[CudaKernel]] = {}
    for row in rows:
        pairs = (part.split("=") for part in row["types"].split("; ") if part)
        types = {parameter: frozenset(kinds.split("|")) for parameter, kinds in pairs}
        kernel = CudaKernel(int(row["since"]), int(row["last"]) if row["last"] else None, types)
        kernels.setdefault((row["domain"], row["op"]), []).append(kernel)
    return kernels


@cache
def _schema(op: str, opset: int) -> OpSchema | None:
    try:
        return onnx.defs.get_schema(op, opset)
    except onnx.defs.SchemaError:
        return None


def _parameters(node: NodeProto, schema: OpSchema, kinds: Mapping[str, str]) -> dict[str, str]:
    """The types of an op's type parameters at a node, as far as `kinds` tells those of its tensors."""
    found: dict[str, str] = {}
    for formals, names in ((schema.inputs, node.input), (schema.outputs, node.output)):
        for index, name in enumerate(names):
            if formals and name in kinds:
                found[formals[min(index, len(formals) - 1)].type_str] = kinds[name]
    return found


def _kinds(model: Model) -> dict[str, str]:
    """The types of the tensors of the user's graph that are in the canonical form, by name."""
    tensors = (t for node in model.canonical.graph.nodes for t in (*node.inputs, *node.outputs))
    kinds = {t.name: t.dtype for t in tensors if t.dtype is not None}
    # types that numpy lacks are numbers of ONNX already
    numbers = {n: k if isinstance(k, int) else helper.np_dtype_to_tensor_dtype(np.dtype(k)) for n, k in kinds.items()}
    return {name: TensorProto.DataType.Name(number).lower() for name, number in numbers.items()}

"""Cases for the tests that every rule gets for free: node models of the onnx wheel, and how our own are made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper, parser
from onnx.backend.test.case.node import collect_testcases

from zfviz.errors import UnsupportedError
from zfviz.graph.canonical import Canonical, canonicalize
from zfviz.graph.companion import PIXELS, SIGNAL, Companion, build_companion
from zfviz.graph.exposure import expose
from zfviz.graph.net import Unpool
from zfviz.graph.opsets import OPSET, relabel
from zfviz.graph.protos import opset_of
from zfviz.graph.rules import Method
from zfviz.runtime.loading import evaluator
from zfviz.runtime.session import Session, open_session

IMAGE, SHAPE = "the case's image", "the case's shape"

Bound = tuple[int, ...] | list[int] | np.ndarray
"""What else goes in: a shape to fill with noise, numbers for an int64 tensor, or an array as it is."""

Row = tuple[str, int, tuple[int, ...], str, dict[str, Bound]]
"""Name (its first word is the op that is tested), opset, shape of x, nodes that make y from x, what else they read."""


@dataclass(frozen=True)
class NodeCase:
    """A model of one op with all inputs but one bound: that one's name, its value, and the output to differentiate."""

    name: str
    op: str
    proto: ModelProto
    input: str
    value: np.ndarray
    output: str


@cache
def wheel_cases() -> tuple[NodeCase, ...]:
    """The node models of the onnx wheel whose op has float inputs, one case for each such input."""
    with np.errstate(all="ignore"):  # some cases are about what overflows
        tests = collect_testcases(None)
    return tuple(case for test in tests for case in _cases_of(test))


def _cases_of(test) -> Iterator[NodeCase]:
    proto = test.model
    if len(proto.graph.node) != 1 or proto.graph.node[0].domain not in ("", "ai.onnx") or not test.data_sets:
        return
    node, (inputs, outputs) = proto.graph.node[0], test.data_sets[0]
    arrays = [_array(value) for value in inputs]
    if any(array is None for array in arrays) or not _is_float(_array(outputs[0])):
        return
    names = [value.name for value in proto.graph.input]
    for index, (name, array) in enumerate(zip(names, arrays, strict=True)):
        if _is_float(array):
            bound = _bind(proto, {n: a for n, a in zip(names, arrays, strict=True) if n != name})
            _put_batch_before(bound, name, array.shape)
            yield NodeCase(f"{test.name}-{index}", node.op_type, bound, IMAGE, array[None], node.output[0])


def _bind(proto: ModelProto, others: dict[str, np.ndarray]) -> ModelProto:
    """The model with the `others` as initializers."""
    bound = ModelProto()
    bound.CopyFrom(proto)
    del bound.graph.input[:]
    bound.graph.initializer.extend(numpy_helper.from_array(array, other) for other, array in others.items())
    bound.ir_version = 8
    if opset_of(bound) <= OPSET:
        return bound
    try:
        return relabel(bound, OPSET)  # onnxruntime lacks the wheel's newest opset
    except UnsupportedError:
        return bound


def _put_batch_before(proto: ModelProto, name: str, shape: tuple[int, ...]) -> None:
    """Make `name` the one row of a batch: what the wheel has on axis 0 is often none, and rules refuse to mix one."""
    proto.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), SHAPE))
    proto.graph.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [1, *shape]))
    proto.graph.node.insert(0, helper.make_node("Reshape", [IMAGE, SHAPE], [name]))


def _array(value: object) -> np.ndarray | None:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def _is_float(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype == np.float32 and array.ndim > 0 and array.size > 0


def make_case(
    name: str, opset: int, shape: tuple[int, ...], body: str, bound: Mapping[str, Bound] = MappingProxyType({})
) -> NodeCase:
    """The case of one row; weights and x are noise that only the name decides."""
    rng = np.random.default_rng(sum(map(ord, name)))
    op = name.split(maxsplit=1)[0]
    if op == "BatchNormalization":
        bound = {key: rng.uniform(0.5, 2, shape[1]).astype(np.float32) for key in "abcd"}
    head = f'<ir_version: 8, opset_import: ["" : {opset}]> {op} (float{list(shape)} x) => (float y)'
    proto = parser.parse_model(f"{head} {{ {body} }}")
    proto.graph.output[0].CopyFrom(ValueInfoProto(name="y"))
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    if "taken" in body:
        proto.graph.output.append(helper.make_tensor_value_info("taken", TensorProto.INT64, None))
    for key, given in bound.items():
        array = rng.standard_normal(given, np.float32) if isinstance(given, tuple) else np.asarray(given)
        proto.graph.initializer.append(numpy_helper.from_array(array, key))
    value = rng.standard_normal(shape, np.float32)
    return NodeCase(name, op, proto, "x", value, "y")


def canonical_of(case: NodeCase) -> Canonical:
    """The canonical form of a case's model."""
    shape = list(case.value.shape)
    image = helper.make_tensor_value_info(case.input, TensorProto.FLOAT, shape)
    return canonicalize(case.proto, image, evaluator(case.input, shape, None))


@dataclass(frozen=True)
class Alone:
    """One case ready to run backwards: its companion, and the forward values that it takes."""

    companion: Companion
    values: dict[str, np.ndarray]
    y: np.ndarray
    _session: Session

    @classmethod
    def of(cls, case: NodeCase, method: Method, unpool: Unpool = "scatter") -> "Alone":
        canonical = canonical_of(case)
        companion = build_companion(canonical, case.output, method, unpool)
        exposed = [case.output, *(name for name in companion.values if name not in companion.switches)]
        forward = open_session(expose(canonical, exposed, companion.switches), device="cpu")
        values = forward.run({case.input: case.value}, [*companion.values, case.output])
        y = values[case.output]
        return cls(
            companion, {name: values[name] for name in companion.values}, y, open_session(companion.proto, device="cpu")
        )

    def back(self, signal: np.ndarray) -> np.ndarray:
        """The signal at the input of the op."""
        return self._session.run({**self.values, SIGNAL: signal}, [PIXELS])[PIXELS]

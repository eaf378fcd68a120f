"""Cases for the tests that every rule gets for free: node models of the onnx wheel, and our own."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import ModelProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from zfviz.errors import UnsupportedError
from zfviz.graph.canonical import OPSET, relabel


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
    return tuple(case for test in collect_testcases(None) for case in _cases_of(test))


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
            others = {n: a for n, a in zip(names, arrays, strict=True) if n != name}
            bound = bind(proto, name, others)
            yield NodeCase(f"{test.name}-{index}", node.op_type, bound, name, array, node.output[0])


def bind(proto: ModelProto, name: str, others: dict[str, np.ndarray]) -> ModelProto:
    """The model with `name` as its only input, the `others` as initializers."""
    bound = ModelProto()
    bound.CopyFrom(proto)
    del bound.graph.input[:]
    bound.graph.input.extend(value for value in proto.graph.input if value.name == name)
    bound.graph.initializer.extend(numpy_helper.from_array(array, other) for other, array in others.items())
    bound.ir_version = 8
    try:
        return relabel(bound, OPSET)
    except UnsupportedError:
        return bound


def _array(value: object) -> np.ndarray | None:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


def _is_float(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype == np.float32 and array.ndim > 0 and array.size > 0

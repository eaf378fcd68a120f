"""The part of onnx-graphsurgeon that zfviz uses; the package ships no types of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

class Tensor:
    name: str
    inputs: list[Node]
    outputs: list[Node]
    shape: Sequence[int | str | None] | None
    dtype: Any
    def is_empty(self) -> bool: ...

class Variable(Tensor):
    def __init__(self, name: str, dtype: Any = None, shape: Sequence[int | str | None] | None = None) -> None: ...
    @staticmethod
    def empty() -> Variable: ...

class Constant(Tensor):
    values: np.ndarray[Any, Any]
    def __init__(self, name: str, values: np.ndarray[Any, Any]) -> None: ...

class Node:
    op: str
    name: str
    domain: str | None
    attrs: dict[str, Any]
    inputs: list[Tensor]
    outputs: list[Tensor]
    def __init__(
        self,
        op: str,
        name: str | None = None,
        attrs: dict[str, Any] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        domain: str | None = None,
    ) -> None: ...

class Graph:
    nodes: list[Node]
    inputs: list[Tensor]
    outputs: list[Tensor]
    opset: int
    name: str
    def __init__(
        self,
        nodes: Sequence[Node] | None = None,
        inputs: Sequence[Tensor] | None = None,
        outputs: Sequence[Tensor] | None = None,
        name: str | None = None,
        opset: int | None = None,
    ) -> None: ...
    def cleanup(self, *, remove_unused_graph_inputs: bool = False) -> Graph: ...
    def toposort(self) -> Graph: ...
    def tensors(self) -> dict[str, Tensor]: ...

def import_onnx(model: onnx.ModelProto) -> Graph: ...
def export_onnx(graph: Graph, do_type_check: bool = True, **kwargs: Any) -> onnx.ModelProto: ...

"""Building: nodes of a new graph, each tensor named as none of the user's is."""

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

OPSET = 18
"""The newest opset that every kernel of the companion has had on CUDA since onnxruntime 1.23."""


class Builder:
    """A graph under construction, of real numbers in one dtype; no name in it is one of those `taken`."""

    def __init__(self, name: str, dtype: np.dtype, *taken: Container[str]) -> None:
        self.graph = gs.Graph(name=name, opset=OPSET)
        self.dtype = dtype
        self._taken = taken
        self._constants: dict[tuple[object, ...], gs.Constant] = {}
        self._count = 0

    def emit(self, op: str, *inputs: gs.Tensor, outputs: int = 1, **attrs: Any) -> Any:
        """The output of a new node, or a tuple of them when `outputs` is above one."""
        made = tuple(gs.Variable(self.fresh(op)) for _ in range(outputs))
        node = gs.Node(op, name=made[0].name, attrs=attrs, inputs=list(inputs), outputs=list(made))
        self.graph.nodes.append(node)
        return made if outputs > 1 else made[0]

    def constant(self, values: Any, dtype: Any = None) -> gs.Constant:
        """A constant tensor, of the signals' precision unless a dtype is given; equal ones are one."""
        array = np.asarray(values, dtype or self.dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = gs.Constant(self.fresh("constant"), array)
        return self._constants[key]

    def ints(self, values: Sequence[int] | int) -> gs.Constant:
        """A constant of int64: shapes, axes, pads."""
        return self.constant(values, np.int64)

    def slice(
        self,
        tensor: gs.Tensor,
        starts: Sequence[int],
        ends: Sequence[int],
        axes: Sequence[int],
        steps: Sequence[int] = (),
    ) -> gs.Tensor:
        """The part [start, end) along each of the `axes`."""
        steps = steps or [1] * len(axes)
        return self.emit("Slice", tensor, *(self.ints(list(v)) for v in (starts, ends, axes, steps)))

    def fresh(self, stem: str) -> str:
        """A name that no tensor of the user's graph has."""
        while True:
            self._count += 1
            name = f"{stem}_{self._count}"
            if not any(name in names for names in self._taken):
                return name

"""One node of a graph: how its attributes are read, and how a method changes the way back through it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

Method = Literal["deconvnet", "guided", "gradient"]
Map = Callable[[Tensor], Tensor]
Op = Callable[..., Tensor | tuple[Tensor | None, ...]]

WIDENED = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}
WIDENED |= {"int4": "int8", "int2": "int8", "uint4": "uint8", "uint2": "uint8"}

DOMAINS = ("", "ai.onnx")

OPS: dict[str, Op] = {}
"""What computes each op, by its type; where onnxruntime means something else, by domain and type."""


def op(*names: str) -> Callable[[Op], Op]:
    """Register a function of a Layer and its inputs as what computes the ops."""

    def register(function: Op) -> Op:
        OPS.update(dict.fromkeys(names, function))
        return function

    return register


@dataclass(frozen=True)
class Layer:
    """One node, with the opset that says how to read it and the method that says how to walk back through it."""

    proto: onnx.NodeProto
    opset: int
    method: Method

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an attribute, tensors as torch tensors."""
        for attribute in self.proto.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                if isinstance(value, onnx.TensorProto):
                    return as_tensor(numpy_helper.to_array(value))
                return value.decode() if isinstance(value, bytes) else value
        return default

    def run(self, inputs: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """The outputs of the node."""
        name, domain = self.proto.op_type, self.proto.domain
        function = OPS.get(f"{domain}.{name}") or (OPS.get(name) if domain in (*DOMAINS, "com.microsoft") else None)
        if function is None:
            raise NotImplementedError(f"the oracle has no {name}")
        result = function(self, *inputs)
        return result if isinstance(result, tuple) else (result,)

    def part(self, op_type: str, *inputs: Tensor, opset: int | None = None, **attributes: Any) -> Tensor:
        """What another op, one that this one contains, makes of the inputs."""
        proto = helper.make_node(op_type, [""] * len(inputs), [""], **attributes)
        result = Layer(proto, opset or self.opset, self.method).run(inputs)[0]
        assert result is not None
        return result


def as_tensor(array: np.ndarray) -> Tensor:
    """The array in torch: float64 from floats of any width, integers in a type that torch reckons with."""
    name = array.dtype.name
    if name.startswith(("float", "bfloat")):
        return torch.from_numpy(np.array(array, np.float64))
    if array.dtype.kind not in "biu" and name not in WIDENED:
        raise NotImplementedError(f"the oracle has no tensors of {name}")
    return torch.from_numpy(np.array(array, WIDENED.get(name, array.dtype)))


def ints(given: Tensor | list[int] | None) -> list[int] | None:
    """A list of integers that an op takes as an input or as an attribute."""
    return given.tolist() if isinstance(given, Tensor) else given


class Detour(torch.autograd.Function):
    """Forward f(x); backward `back` of the signal, whatever f's derivative is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, f: Map, back: Map) -> Tensor:
        ctx.back = back
        return f(x)

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(signals[0]), None, None


def rectify(layer: Layer, x: Tensor, f: Map, limit: Map = functional.relu, gain: Tensor | float = 1.0) -> Tensor:
    """f(x); on the way back `limit`, which f is like far from 0, takes the place of f' or comes before it.

    gain: the slope of `limit` upwards; where f' comes too, it is in f' already, and not taken twice.
    """
    if layer.method == "deconvnet":
        return Detour.apply(x, f, limit)
    if layer.method == "guided":
        return Detour.apply(f(x), torch.clone, lambda signal: limit(signal) / gain)
    return f(x)

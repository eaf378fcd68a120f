"""Fused operators of onnxruntime (its docs/ContribOperators.md), spelled out in those of ONNX."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from zfviz.errors import UnsupportedError
from zfviz.graph.unfolding import STANDARD, is_known, with_nodes

APART = "onnxruntime"
"""A domain for operators that onnxruntime runs as if they were ONNX's."""


def set_apart(proto: ModelProto, version: int) -> ModelProto:
    """The model with what ONNX does not know in its own domain moved to another, so that its tools let it pass."""
    if all(node.domain not in STANDARD or is_known(node.op_type, version) for node in proto.graph.node):
        return proto
    nodes: list[NodeProto] = []
    for node in proto.graph.node:
        moved = NodeProto()
        moved.CopyFrom(node)
        if node.domain in STANDARD and not is_known(node.op_type, version):
            moved.domain = APART
        nodes.append(moved)
    changed = with_nodes(proto, nodes)
    changed.opset_import.append(helper.make_opsetid(APART, 1))
    return changed


def unfold(proto: ModelProto) -> ModelProto:
    """A model of the canonical opset with fused operators of onnxruntime replaced by what they fuse."""
    if not any((node.domain, node.op_type) in _SPELLINGS for node in proto.graph.node):
        return proto
    return with_nodes(proto, [made for node in proto.graph.node for made in _unfolded(node)])


def _unfolded(node: NodeProto) -> Iterator[NodeProto]:
    spell = _SPELLINGS.get((node.domain, node.op_type))
    if spell is None:
        yield node
        return
    fused = Fused(node)
    made = spell(fused)
    results = made if isinstance(made, tuple) else (made,)
    yield from fused.nodes
    for result, output in zip(results, node.output, strict=False):
        if output:
            yield helper.make_node("Identity", [result], [output])


class Fused:
    """A fused node while it is spelled out: its inputs and attributes, and the nodes that take its place."""

    def __init__(self, node: NodeProto) -> None:
        self.nodes: list[NodeProto] = []
        self._node = node
        self._attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def __getitem__(self, index: int) -> str:
        """The name of an input, empty where it is left out."""
        return self._node.input[index] if index < len(self._node.input) else ""

    def __len__(self) -> int:
        return len(self._node.input)

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, text as str."""
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def attributes(self, *without: str) -> dict[str, Any]:
        """All attributes but some."""
        return {name: value for name, value in self._attributes.items() if name not in without}

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node more: the name of its output, or a tuple of them when `outputs` is above one."""
        names = [f"{self._node.output[0]}/{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        kept = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op, inputs, names, **kept))
        return tuple(names) if outputs > 1 else names[0]

    def number(self, value: float) -> str:
        """A constant."""
        return self.add("Constant", value=numpy_helper.from_array(np.array(value, np.float32)))

    def ints(self, values: list[int]) -> str:
        """A constant of int64."""
        return self.add("Constant", value=numpy_helper.from_array(np.array(values, np.int64)))

    def plus(self, value: str, *addends: str) -> str:
        """The sum of a value and of those addends that are there."""
        for addend in filter(None, addends):
            value = self.add("Add", value, addend)
        return value


Spelling = Callable[[Fused], str | tuple[str, ...]]
_SPELLINGS: dict[tuple[str, str], Spelling] = {}


def spelling(op: str, domain: str = "com.microsoft") -> Callable[[Spelling], Spelling]:
    """Register how a fused operator is spelled out."""

    def register(function: Spelling) -> Spelling:
        _SPELLINGS[domain, op] = function
        return function

    return register


def _activated(fused: Fused, value: str) -> str:
    """A value after the activation that was fused, with its parameters in the order of the activation's attributes."""
    activation = fused.attribute("activation")
    if not activation:
        return value
    given = fused.attribute("activation_params") or [
        fused.attribute(f"activation_{name}") for name in ("alpha", "beta", "gamma")
    ]
    names = {"LeakyRelu": ("alpha",), "Elu": ("alpha",), "ThresholdedRelu": ("alpha",), "Clip": (), "Relu": ()}
    if activation == "Clip":
        return fused.add("Clip", value, *(fused.number(bound) for bound in given[:2]))
    taken = names.get(activation, ("alpha", "beta"))
    return fused.add(activation, value, **{n: v for n, v in zip(taken, given, strict=False) if v is not None})


@spelling("FusedConv")
def fused_conv(fused: Fused) -> str:
    """Conv, an addend, an activation."""
    made = fused.add("Conv", fused[0], fused[1], fused[2], **fused.attributes("activation", "activation_params"))
    return _activated(fused, fused.plus(made, fused[3]))


@spelling("FusedGemm")
def fused_gemm(fused: Fused) -> str:
    """Gemm and an activation."""
    own = ("activation", "activation_alpha", "activation_beta", "activation_gamma")
    return _activated(fused, fused.add("Gemm", fused[0], fused[1], fused[2], **fused.attributes(*own)))


@spelling("Gelu")
def gelu(fused: Fused) -> str:
    """ONNX's own."""
    return fused.add("Gelu", fused[0])


@spelling("BiasGelu")
def bias_gelu(fused: Fused) -> str:
    """Gelu of a sum."""
    return fused.add("Gelu", fused.plus(fused[0], fused[1]))


@spelling("FastGelu")
def fast_gelu(fused: Fused) -> str:
    """Gelu by tanh, of a sum if there is a bias."""
    return fused.add("Gelu", fused.plus(fused[0], fused[1]), approximate="tanh")


@spelling("QuickGelu")
def quick_gelu(fused: Fused) -> str:
    """x sigmoid(alpha x)."""
    scaled = fused.add("Mul", fused[0], fused.number(fused.attribute("alpha", 1.702)))
    return fused.add("Mul", fused[0], fused.add("Sigmoid", scaled))


@spelling("BiasAdd")
def bias_add(fused: Fused) -> str:
    """A sum of three."""
    return fused.plus(*(fused[i] for i in range(3)))


@spelling("LayerNormalization", APART)
def layer_normalization(fused: Fused) -> tuple[str, ...]:
    """ONNX's own, before ONNX had it."""
    return fused.add("LayerNormalization", *(fused[i] for i in range(3)), outputs=3, **fused.attributes())


@spelling("SimplifiedLayerNormalization", APART)
def simplified_layer_normalization(fused: Fused) -> str:
    """x over its root mean square, times the scale; along the last axis."""
    if fused.attribute("axis", -1) != -1:
        raise UnsupportedError("SimplifiedLayerNormalization along other axes than the last is not known")
    squares = fused.add("ReduceMean", fused.add("Mul", fused[0], fused[0]), fused.ints([-1]))
    root = fused.add("Sqrt", fused.add("Add", squares, fused.number(fused.attribute("epsilon", 1e-5))))
    return fused.add("Mul", fused.add("Div", fused[0], root), fused[1])

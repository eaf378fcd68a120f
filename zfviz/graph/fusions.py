"""Fused operators of onnxruntime (its docs/ContribOperators.md), spelled out in those of ONNX."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from zfviz.errors import UnsupportedError
from zfviz.graph.protos import STANDARD, with_nodes


def unfold(proto: ModelProto, kinds: Mapping[str, tuple[int, int]]) -> ModelProto:
    """A model of the canonical opset with fused operators of onnxruntime replaced by what they fuse.

    `kinds` are the numbers of axes and the types of its tensors.
    """
    if all(node.domain in STANDARD and ("", node.op_type) not in _SPELLINGS for node in proto.graph.node):
        return proto
    return with_nodes(proto, [made for node in proto.graph.node for made in _unfolded(node, kinds)])


def _unfolded(node: NodeProto, kinds: Mapping[str, tuple[int, int]]) -> Iterator[NodeProto]:
    spell = _SPELLINGS.get((node.domain, node.op_type))
    if node.domain == "com.microsoft.nchwc":
        raise UnsupportedError(
            f"{node.op_type} at {node.output[0]!r} is in the layout of the CPU for which onnxruntime optimised the "
            "model; expected NCHW. Save it at ORT_ENABLE_EXTENDED, or take the model from before."
        )
    if spell is None:
        yield node
        return
    fused = Fused(node, kinds)
    made = spell(fused)
    results = made if isinstance(made, tuple) else (made,)
    names = {result: output for result, output in zip(results, node.output, strict=False) if result and output}
    for inner in fused.nodes:
        inner.output[:] = [names.get(name, name) for name in inner.output]
        inner.input[:] = [names.get(name, name) for name in inner.input]
        yield inner


class Fused:
    """A fused node while it is spelled out: its inputs and attributes, and the nodes that take its place."""

    def __init__(self, node: NodeProto, kinds: Mapping[str, tuple[int, int]]) -> None:
        self.nodes: list[NodeProto] = []
        self._node = node
        self._kinds = kinds
        self._attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}

    def __getitem__(self, index: int) -> str:
        """The name of an input, empty where it is left out."""
        return self._node.input[index] if index < len(self._node.input) else ""

    def __len__(self) -> int:
        return len(self._node.input)

    def rank(self, index: int) -> int:
        """How many axes an input has."""
        return self._kinds[self[index]][0]

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

    @property
    def kind(self) -> int:
        """The type of the first input where that is a float, else float32."""
        kind = self._kinds.get(self[0], (0, TensorProto.FLOAT))[1]
        return kind if kind in (TensorProto.FLOAT16, TensorProto.DOUBLE) else TensorProto.FLOAT

    def number(self, value: float) -> str:
        """A constant of the type of the first input."""
        array = np.array(value, helper.tensor_dtype_to_np_dtype(self.kind))
        return self.add("Constant", value=numpy_helper.from_array(array))

    def ints(self, values: list[int]) -> str:
        """A constant of int64."""
        return self.add("Constant", value=numpy_helper.from_array(np.array(values, np.int64)))

    def plus(self, value: str, *addends: str) -> str:
        """The sum of a value and of those addends that are there."""
        for addend in filter(None, addends):
            value = self.add("Add", value, addend)
        return value


def known_fusions() -> list[str]:
    """The operators that are spelled out, with their domains."""
    return sorted(f"{domain or 'ai.onnx'}::{op}" for domain, op in _SPELLINGS)


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


@spelling("ImageScaler", "")
def image_scaler(fused: Fused) -> str:
    """A scale for all, then a bias for each channel."""
    bias = np.array(fused.attribute("bias"), np.float32).reshape(1, -1, 1, 1)
    scaled = fused.add("Mul", fused[0], fused.number(fused.attribute("scale", 1.0)))
    return fused.add("Add", scaled, fused.add("Constant", value=numpy_helper.from_array(bias)))


@spelling("SimplifiedLayerNormalization", "")
def simplified_layer_normalization(fused: Fused) -> str:
    """x over its root mean square, times the scale; along the last axis."""
    if fused.attribute("axis", -1) != -1:
        raise UnsupportedError("SimplifiedLayerNormalization along other axes than the last is not known")
    squares = fused.add("ReduceMean", fused.add("Mul", fused[0], fused[0]), fused.ints([-1]))
    root = fused.add("Sqrt", fused.add("Add", squares, fused.number(fused.attribute("epsilon", 1e-5))))
    return fused.add("Mul", fused.add("Div", fused[0], root), fused[1])


@spelling("FusedMatMul")
def fused_matmul(fused: Fused) -> str:
    """MatMul of factors that may be transposed, times alpha."""
    if fused.attribute("transBatchA", 0) or fused.attribute("transBatchB", 0):
        raise UnsupportedError("FusedMatMul that moves the batch is not known")
    a, b = (_turned(fused, i) if fused.attribute(f"trans{side}", 0) else fused[i] for i, side in enumerate("AB"))
    product, alpha = fused.add("MatMul", a, b), fused.attribute("alpha", 1.0)
    return product if alpha == 1 else fused.add("Mul", product, fused.number(alpha))


def _turned(fused: Fused, index: int) -> str:
    rank = fused.rank(index)
    return fused.add("Transpose", fused[index], perm=[*range(rank - 2), rank - 1, rank - 2])


@spelling("SkipLayerNormalization")
def skip_layer_normalization(fused: Fused) -> tuple[str, ...]:
    """LayerNormalization of a sum, which may be an output too."""
    total = fused.plus(fused[0], fused[1], fused[4])
    normal = fused.add("LayerNormalization", total, fused[2], fused[3], epsilon=fused.attribute("epsilon", 1e-12))
    return normal, "", "", total


@spelling("BiasSoftmax")
def bias_softmax(fused: Fused) -> str:
    """Softmax of a sum, along all axes from one on taken as one."""
    rank, axis = fused.rank(0), fused.attribute("axis", 1)
    if axis % rank != rank - 1:
        raise UnsupportedError("BiasSoftmax along more than the last axis is not known")
    return fused.add("Softmax", fused.plus(fused[0], fused[1]), axis=-1)


@spelling("NhwcMaxPool")
def nhwc_max_pool(fused: Fused) -> str:
    """MaxPool of channels that come last."""
    first = fused.add("Transpose", fused[0], perm=[0, 3, 1, 2])
    return fused.add("Transpose", fused.add("MaxPool", first, **fused.attributes()), perm=[0, 2, 3, 1])


@spelling("Attention")
def attention(fused: Fused) -> str:
    """Queries, keys and values by one product, and what they make of each other, head by head."""
    return _attend(fused, fused.plus(fused.add("MatMul", fused[0], fused[1]), fused[2]), 3)


def _attend(fused: Fused, together: str, first_mask: int) -> str:
    """The attention of queries, keys and values that lie side by side."""
    if any(fused[i] for i in range(first_mask, len(fused))) or fused.attribute("unidirectional", 0):
        raise UnsupportedError("Attention with a mask or a past is not known")
    if fused.attribute("qkv_hidden_sizes"):
        raise UnsupportedError("Attention with sizes of its own for keys and values is not known")
    heads = fused.ints([0, 0, fused.attribute("num_heads"), -1])
    parts = fused.add("Split", together, outputs=3, axis=-1, num_outputs=3)
    q, k, v = (fused.add("Reshape", part, heads) for part in parts)
    q, v = (fused.add("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
    products = fused.add("MatMul", q, fused.add("Transpose", k, perm=[0, 2, 3, 1]))
    scale = fused.attribute("scale", 0.0)
    if not scale:
        width = fused.add("Cast", fused.add("Shape", q, start=3, end=4), to=fused.kind)
        products = fused.add("Div", products, fused.add("Sqrt", width))
    else:
        products = fused.add("Mul", products, fused.number(scale))
    mixed = fused.add("MatMul", fused.add("Softmax", products, axis=-1), v)
    return fused.add("Reshape", fused.add("Transpose", mixed, perm=[0, 2, 1, 3]), fused.ints([0, 0, -1]))


# quantised: real numbers in, the operator, integers out


def _real(fused: Fused, value: int, scale: int, zero: int, axis: int | None = None) -> str:
    """An input as real numbers."""
    return fused.add("DequantizeLinear", fused[value], fused[scale], fused[zero], axis=axis)


def _integers(fused: Fused, value: str, scale: int, zero: int) -> str:
    """A value as the integers of the output."""
    return fused.add("QuantizeLinear", value, fused[scale], fused[zero])


@spelling("QLinearConv", "")
@spelling("QLinearConv")
def qlinear_conv(fused: Fused) -> str:
    """Conv, of channels that may come last; the bias is in units of both scales."""
    weight = _real(fused, 3, 4, 5, axis=0)
    units = fused.add("Mul", fused[1], fused[4])
    bias = fused[8] and fused.add("Mul", fused.add("Cast", fused[8], to=TensorProto.FLOAT), units)
    return _integers(fused, _channels_first(fused, "Conv", _real(fused, 0, 1, 2), weight, bias), 6, 7)


def _channels_first(fused: Fused, op: str, value: str, *others: str) -> str:
    """The operator on a value whose channels may come last."""
    rank, last = fused.rank(0), fused.attribute("channels_last", 0)
    value = fused.add("Transpose", value, perm=[0, rank - 1, *range(1, rank - 1)]) if last else value
    value = fused.add(op, value, *others, **fused.attributes("channels_last"))
    return fused.add("Transpose", value, perm=[0, *range(2, rank), 1]) if last else value


@spelling("QLinearMatMul", "")
def qlinear_matmul(fused: Fused) -> str:
    """MatMul."""
    return _integers(fused, fused.add("MatMul", _real(fused, 0, 1, 2), _real(fused, 3, 4, 5, axis=1)), 6, 7)


@spelling("QGemm")
def qgemm(fused: Fused) -> str:
    """alpha (A B + C); C counts in units of both scales. Real numbers where the output has no scale."""
    axis = 0 if fused.attribute("transB", 0) else 1
    units = fused.add("Mul", fused[1], fused[4])
    bias = fused[6] and fused.add("Mul", fused.add("Cast", fused[6], to=TensorProto.FLOAT), units)
    alpha = fused.attribute("alpha", 1.0)
    factors = _real(fused, 0, 1, 2), _real(fused, 3, 4, 5, axis=axis)
    made = fused.add("Gemm", *factors, bias, **fused.attributes(), beta=alpha if bias else None)
    return _integers(fused, made, 7, 8) if fused[7] else made


@spelling("QLinearSoftmax")
def qlinear_softmax(fused: Fused) -> str:
    """Softmax, along all axes from one on before opset 13."""
    rank, axis = fused.rank(0), fused.attribute("axis", -1)
    if fused.attribute("opset", 13) < 13 and axis % rank != rank - 1:
        raise UnsupportedError("QLinearSoftmax along more than the last axis is not known")
    return _integers(fused, fused.add("Softmax", _real(fused, 0, 1, 2), axis=axis), 3, 4)


def _quantised(op: str, operands: int = 1, **fixed: Any) -> Spelling:
    """An operator of `operands` inputs of three: integers, scale, zero point."""

    def spell(fused: Fused) -> str:
        values = [_real(fused, 3 * i, 3 * i + 1, 3 * i + 2) for i in range(operands)]
        return _integers(fused, fused.add(op, *values, **fused.attributes(), **fixed), 3 * operands, 3 * operands + 1)

    return spell


for _op, _operands in {"Add": 2, "Mul": 2, "Sigmoid": 1, "LeakyRelu": 1}.items():
    spelling(f"QLinear{_op}")(_quantised(_op, _operands))


@spelling("QLinearConcat")
def qlinear_concat(fused: Fused) -> str:
    """Concat; the scale and zero point of the output come first."""
    values = [_real(fused, i, i + 1, i + 2) for i in range(2, len(fused), 3)]
    return _integers(fused, fused.add("Concat", *values, **fused.attributes()), 0, 1)


for _op in ("AveragePool", "GlobalAveragePool"):
    spelling(f"QLinear{_op}")(
        lambda fused, op=_op: _integers(fused, _channels_first(fused, op, _real(fused, 0, 1, 2)), 3, 4)
    )


@spelling("QLinearReduceMean")
def qlinear_reduce_mean(fused: Fused) -> str:
    """ReduceMean."""
    axes = fused.ints(fused.attribute("axes"))
    made = fused.add("ReduceMean", _real(fused, 0, 1, 2), axes, keepdims=fused.attribute("keepdims", 1))
    return _integers(fused, made, 3, 4)


@spelling("QLinearWhere")
def qlinear_where(fused: Fused) -> str:
    """Where."""
    return _integers(fused, fused.add("Where", fused[0], _real(fused, 1, 2, 3), _real(fused, 4, 5, 6)), 7, 8)


@spelling("MatMulIntegerToFloat")
def matmul_integer_to_float(fused: Fused) -> str:
    """MatMul of integers, as real numbers."""
    product = fused.add("MatMul", _real(fused, 0, 2, 4), _real(fused, 1, 3, 5, axis=1))
    return fused.plus(product, fused[6])


@spelling("DynamicQuantizeMatMul")
def dynamic_quantize_matmul(fused: Fused) -> str:
    """MatMul of a factor that is quantised on the way."""
    integers, scale, zero = fused.add("DynamicQuantizeLinear", fused[0], outputs=3)
    factor = fused.add("DequantizeLinear", integers, scale, zero)
    return fused.plus(fused.add("MatMul", factor, _real(fused, 1, 2, 3, axis=1)), fused[4])


for _op in ("QuantizeLinear", "DequantizeLinear"):
    # onnxruntime's own, for types and opsets that ONNX did not have
    spelling(_op)(lambda fused, op=_op: fused.add(op, *(fused[i] for i in range(3)), **fused.attributes()))

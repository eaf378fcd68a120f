"""Matrix products: fully connected layers and attention."""

from string import ascii_letters

import numpy as np
from onnx_graphsurgeon import Node, Tensor

from zfviz.errors import UnsupportedError
from zfviz.graph.net import Net
from zfviz.graph.reach import Tap, dims
from zfviz.graph.rules import Signals, rule
from zfviz.graph.rules.quantize import without_zero


def _rows_alone(node: Node, index: int, axis: int) -> Tap | None:
    """A row of the product depends on that row of the first factor; axes before the last two stay."""
    sizes, rank = dims(node.inputs[index]), len(dims(node.outputs[0]))
    same = axis - (rank - len(sizes))
    if index > 1 or same < 0 or axis >= rank - 1 - index:
        return None
    return Tap(same) if sizes[same] == dims(node.outputs[0])[axis] > 1 else None


@rule("Gemm", curved=True)
def multiply_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the transposed matrix, for each factor; the addend takes the signal as it is."""
    alpha, beta = layer.attrs.get("alpha", 1.0), layer.attrs.get("beta", 1.0)
    turned_a, turned_b = layer.attrs.get("transA", 0), layer.attrs.get("transB", 0)
    a, b = (net.forward(t) for t in layer.inputs[:2])
    signals: dict[int, Tensor | None] = {}
    if turned_a:
        signals[0] = net.emit("Gemm", b, signal, transA=turned_b, transB=1, alpha=alpha)
    else:
        signals[0] = net.emit("Gemm", signal, b, transB=1 - turned_b, alpha=alpha)
    if turned_b:
        signals[1] = net.emit("Gemm", signal, a, transA=1, transB=turned_a, alpha=alpha)
    else:
        signals[1] = net.emit("Gemm", a, signal, transA=1 - turned_a, alpha=alpha)
    if len(layer.inputs) > 2 and net.wants(layer.inputs[2]):
        scaled = net.emit("Mul", signal, net.constant(beta))
        signals[2] = net.unbroadcast(scaled, layer, layer.inputs[2])
    return signals


@rule("MatMul", reach=_rows_alone, curved=True)
def matmul_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the transposed matrix, for each factor."""
    a, b = layer.inputs
    if min(len(dims(a)), len(dims(b))) < 2:
        raise UnsupportedError("a factor is a vector; reshape it to a matrix")
    signals: dict[int, Tensor | None] = {}
    if net.wants(a):
        signals[0] = net.unbroadcast(net.emit("MatMul", signal, _turned(b, net)), layer, a)
    if net.wants(b):
        signals[1] = net.unbroadcast(net.emit("MatMul", _turned(a, net), signal), layer, b)
    return signals


@rule("MatMulInteger", reach=_rows_alone)
def matmul_integers_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """The signal times the transposed matrix, less its zero point, for the first factor."""
    a, b = layer.inputs[:2]
    if net.wants(b):
        raise UnsupportedError("both its factors descend from the image")
    matrix = net.emit("Transpose", without_zero(layer, 1, 3, net, axis=-1), perm=_last_two_swapped(len(dims(b))))
    return {0: net.unbroadcast(net.emit("MatMul", signal, matrix), layer, a), 2: None}


@rule("Einsum", curved=True)
def einsum_back(layer: Node, signal: Tensor, net: Net) -> Signals:
    """For each factor, the signal times the other factors, summed over what the factor lacks."""
    terms, result = _labels(layer)
    signals: dict[int, Tensor | None] = {}
    for index, tensor in enumerate(layer.inputs):
        if not net.wants(tensor):
            continue
        if len(set(terms[index])) < len(terms[index]):
            raise UnsupportedError("it takes a diagonal")
        others = [i for i in range(len(terms)) if i != index]
        sizes = dict(zip(terms[index], dims(tensor), strict=True))
        known = set(result).union(*(terms[i] for i in others))
        factors = [(result, signal), *((terms[i], net.forward(layer.inputs[i])) for i in others)]
        if alone := "".join(label for label in terms[index] if label not in known):
            # what only this factor has was summed: repeat the signal along it
            factors.append((alone, net.constant(np.ones([sizes[label] for label in alone]))))
        equation = f"{','.join(labels for labels, _ in factors)}->{terms[index]}"
        signals[index] = net.emit("Einsum", *(factor for _, factor in factors), equation=equation)
    return signals


def _turned(factor: Tensor, net: Net) -> Tensor:
    """The forward value of a factor with its last two axes swapped."""
    return net.emit("Transpose", net.forward(factor), perm=_last_two_swapped(len(dims(factor))))


def _last_two_swapped(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


def _labels(layer: Node) -> tuple[list[str], str]:
    """The axes of each factor of an Einsum and of its result, a letter each, with ellipses spelled out."""
    equation = layer.attrs["equation"].replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    free = [letter for letter in ascii_letters if letter not in equation]
    hidden = [len(dims(t)) - len(term.replace("...", "")) for t, term in zip(layer.inputs, terms, strict=True)]
    ellipsis = "".join(free[: max((n for n, term in zip(hidden, terms, strict=True) if "..." in term), default=0)])
    spelled = [
        term.replace("...", ellipsis[len(ellipsis) - n :] if n else "") for n, term in zip(hidden, terms, strict=True)
    ]
    if not arrow:
        result = ("..." if ellipsis else "") + "".join(
            c for c in sorted(set(left)) if c.isalpha() and left.count(c) == 1
        )
    return spelled, result.replace("...", ellipsis)

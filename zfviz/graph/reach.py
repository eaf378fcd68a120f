"""How far an op reaches: which positions of an input one position of an output depends on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import prod
from typing import cast

import numpy as np
from onnx_graphsurgeon import Node, Tensor


@dataclass(frozen=True, slots=True)
class Tap:
    """Position p of an output axis depends on `extent` positions of input axis `axis`, the first of them at
    stride * p + offset, rounded down; an `extent` of None says all of them, though the axes are one and the same.
    """

    axis: int
    stride: int | Fraction = 1
    offset: int | Fraction = 0
    extent: int | None = 1


@dataclass(frozen=True, slots=True)
class Span:
    """Where along `axis` of a tensor a unit's signal can be: `size` positions from `start + jump * p` on, where p is
    the unit's y (`side` 0) or x (`side` 1). They may stick out of the axis, which is `extent` long.
    """

    axis: int
    side: int
    extent: int
    size: int = 1
    start: int = 0
    jump: int = 1


Frame = tuple[Span, ...]
"""The part of a tensor that a unit's signal can touch: a span of each axis named, all of the others."""

WHOLE: Frame = ()

OWN = "zfviz"
"""The domain of ops that no model has, which lie between windows."""

Reach = Callable[[Node, int, int], Tap | None]
"""(node, index of the input, axis of the output) -> the tap on that input, or None: no single axis answers."""


def dims(tensor: Tensor) -> tuple[int, ...]:
    """The sizes of a tensor of the canonical form, where every shape is known."""
    return cast("tuple[int, ...]", tuple(tensor.shape or ()))


def is_real(tensor: Tensor) -> bool:
    """Whether a tensor holds real numbers."""
    # types that numpy lacks, such as float8, are numbers of ONNX
    return not isinstance(tensor.dtype, int | None) and np.issubdtype(tensor.dtype, np.floating)


QUANTISED = tuple(map(np.dtype, ("int8", "uint8", "int16", "uint16", "int32")))
"""Integers that stand for real numbers in quantised models; 64 bits are places and sizes."""


def is_carrier(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers that a signal can pass: real ones, or such as stand for real ones."""
    return is_real(tensor) or tensor.dtype in QUANTISED


def whole_map(node: Node, index: int, axis: int) -> Tap | None:
    """Every position depends on the whole of the input."""
    del node, index, axis
    return None


def across(*mixed: int) -> Reach:
    """A reach along `mixed` axes, negative ones from behind: each position depends on all of them, else on itself."""

    def reach(node: Node, index: int, axis: int) -> Tap | None:
        rank = len(dims(node.inputs[0]))
        return Tap(axis, extent=None if axis in {a % rank for a in mixed} else 1) if index == 0 else None

    return reach


def across_axis(node: Node, index: int, axis: int) -> Tap | None:
    """As `across` the axis that an attribute of the node names."""
    return across(node.attrs.get("axis", -1))(node, index, axis)


def across_map(node: Node, index: int, axis: int) -> Tap | None:
    """As `across` all axes of the map."""
    return across(*range(2, len(dims(node.inputs[0]))))(node, index, axis)


def pointwise(node: Node, index: int, axis: int) -> Tap | None:
    """Each position depends on the same position of every input, after broadcasting."""
    ins, outs = dims(node.inputs[index]), dims(node.outputs[0])
    same = axis - (len(outs) - len(ins))
    return Tap(same) if same >= 0 and ins[same] == outs[axis] else None


def window(node: Node, index: int, axis: int) -> Tap | None:
    """Each position depends on a window: kernel, stride, dilation and pads as the canonical form holds them."""
    spatial = axis - 2
    if index != 0 or spatial < 0:
        return Tap(0) if axis == 0 else None
    kernel, dilation = node.attrs["kernel_shape"][spatial], node.attrs["dilations"][spatial]
    return Tap(axis, node.attrs["strides"][spatial], -node.attrs["pads"][spatial], (kernel - 1) * dilation + 1)


def window_ends(node: Node) -> list[int]:
    """How far the last window ends behind the beginning of the first one, along each axis of the map."""
    names = ("strides", "kernel_shape", "dilations")
    made, strides, kernel, dilations = dims(node.outputs[0])[2:], *(node.attrs[name] for name in names)
    return [(out - 1) * s + (k - 1) * d + 1 for out, s, k, d in zip(made, strides, kernel, dilations, strict=True)]


def permuted(node: Node, index: int, axis: int) -> Tap | None:
    """Transpose: each axis is another one of the input."""
    del index
    return Tap(node.attrs["perm"][axis])


def regrouped(node: Node, index: int, axis: int) -> Tap | None:
    """Reshape and its kin: an axis that is neither split nor merged stays what it was."""
    ins, outs = dims(node.inputs[index]), dims(node.outputs[0])
    before = prod(outs[:axis])
    for same, start in enumerate(_starts(ins)):
        if start == before and ins[same] == outs[axis] > 1:
            return Tap(same)
    return None


def _starts(sizes: Sequence[int]) -> list[int]:
    """For each axis the product of the sizes before it."""
    return list(accumulate(sizes, lambda product, size: product * size, initial=1))[: len(sizes)]


def joined(node: Node, index: int, axis: int) -> Tap | None:
    """Concat: along the joined axis an input holds only its own part."""
    rank = len(dims(node.outputs[0]))
    if axis == node.attrs["axis"] % rank:
        return Tap(axis, offset=-sum(dims(t)[axis] for t in node.inputs[:index]))
    return Tap(axis)

"""Receptive fields: which rectangle of the image each position of each tensor sees, and which axes are y and x."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, lcm

from onnx_graphsurgeon import Graph, Node, Tensor

from zfviz.errors import UnsupportedError
from zfviz.graph.reach import Reach, dims, regrouped
from zfviz.graph.rules import find_reach

FAR = 12
"""Nodes; no exported norm has more between the reshapes around it."""


@dataclass(frozen=True, slots=True)
class Field:
    """What the positions of a tensor see along one image axis (y or x).

    Position p along `axis` sees the pixels from `start + jump * p` on, `size` of them; `size` None means all of them.
    Fractions of a pixel count as whole. `axis` is None where the tensor has no axis that follows the image's.
    """

    axis: int | None
    start: int | Fraction
    jump: int | Fraction
    size: int | Fraction | None

    def span(self, position: int | None, extent: int) -> tuple[int, int]:
        """The pixels [begin, end) that `position` sees of an image axis `extent` pixels long; may stick out."""
        if self.size is None or position is None or self.axis is None:
            return 0, extent
        begin = self.start + self.jump * position
        return floor(begin), ceil(begin + self.size)


Fields = tuple[Field, Field]
"""The fields along y and x."""


def trace_fields(graph: Graph, image: Tensor, image_axes: tuple[int, int]) -> dict[str, Fields]:
    """The fields of every tensor that a signal can leave towards the image, by tensor name."""
    y, x = (Field(axis, 0, 1, 1) for axis in image_axes)
    fields: dict[str, Fields] = {image.name: (y, x)}
    for node in graph.nodes:
        reach = find_reach(node)
        seen = [(i, fields[t.name]) for i, t in enumerate(node.inputs) if t.name in fields]
        if not seen:
            continue
        for output in node.outputs:
            if len(node.outputs) > 1 and not dims(output):
                continue  # the scale of a quantiser, which passes no signal
            through = [tuple(_through(node, i, output, field, reach) for field in pair) for i, pair in seen]
            fields[output.name] = (_union([pair[0] for pair in through]), _union([pair[1] for pair in through]))
            lost = any(field.axis is None for field in fields[output.name])
            if lost and reach is regrouped and (before := _before_regrouping(node)) in fields:
                y, x = fields[before]
                fields[output.name] = replace(y, size=None), replace(x, size=None)
    return fields


def _before_regrouping(node: Node) -> str | None:
    """The tensor whose axes a Reshape restores that another one had merged: groups are normalised between the two."""
    tensor = node.inputs[0]
    for _ in range(FAR):
        if not tensor.inputs:
            return None
        maker = tensor.inputs[0]
        if find_reach(maker) is regrouped:
            merged = dims(maker.inputs[0]) == dims(node.outputs[0]) != dims(tensor)
            return maker.inputs[0].name if merged else None
        same = [t for t in maker.inputs if dims(t) == dims(tensor)]
        if not same:
            return None
        tensor = same[0]
    return None


def _through(node: Node, index: int, output: Tensor, field: Field, reach: Reach) -> Field:
    """The field of `output` along one image axis, as seen through one input of its node."""
    if field.axis is None:
        return field
    for axis in range(len(dims(output))):
        try:
            tap = reach(node, index, axis)
        except UnsupportedError:
            break  # where it reaches is computed while the model runs
        if tap is not None and tap.axis == field.axis:
            # by as much may rounding down have moved the first position
            parts = lcm(Fraction(tap.stride).denominator, Fraction(tap.offset).denominator)
            slack = field.jump * (1 - Fraction(1, parts))
            if field.size is None or tap.extent is None:
                return Field(axis, field.start, field.jump * tap.stride, None)
            size = field.size + (tap.extent - 1) * field.jump + slack
            return Field(axis, field.start + field.jump * tap.offset - slack, field.jump * tap.stride, size)
    return Field(None, 0, field.jump, None)


def _union(fields: list[Field]) -> Field:
    """The smallest field that holds all of the `fields`."""
    followed = [f for f in fields if f.axis is not None]
    if not followed:
        return Field(None, 0, max(f.jump for f in fields), None)
    first = followed[0]
    if any(f.axis != first.axis for f in followed):
        return Field(None, 0, first.jump, None)
    if len(followed) < len(fields) or any(f.size is None or f.jump != first.jump for f in followed):
        return replace(first, size=None)
    start = min(f.start for f in followed)
    end = max(f.start + (f.size or 0) for f in followed)
    return replace(first, start=start, size=end - start)

"""Frames: the window of each tensor that the signal of one unit can touch, and a canonical form made of such windows.

Rules read sizes from the graph that they are given. In one whose tensors are windows, whose convolutions and pools have
no padding, they transpose windows, and do not know it. Two ops come in between, each with a rule of its own:
`zfviz::Extend` continues a window beyond the map by zeros, as padding does, and `zfviz::Window` cuts a window out of
a whole map.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import count
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from zfviz.errors import UnsupportedError
from zfviz.graph.canonical import Canonical
from zfviz.graph.reach import OWN, WHOLE, Frame, Span, Tap, dims, pointwise
from zfviz.graph.rectifiers import Rectifier
from zfviz.graph.rules import find_reach
from zfviz.graph.rules.pool import window_counts

SLIDING = ("Conv", "ConvInteger", "MaxPool", "AveragePool")
"""Ops whose windows slide over two axes; in a frame they need no padding."""

MOVING = ("Pad", "Slice")
"""Ops that may do nothing but move what is there."""


def window_form(canonical: Canonical, layer: str, start: Frame) -> Canonical:
    """The canonical form below the tensor `layer`, of the windows that a signal within `start` can touch.

    Where an op needs the whole map, frames are whole from there down, and so they are where a window would be as large.
    """
    trace = _Trace(canonical)
    trace.down_from(layer, start)
    return _Windows(canonical, trace).form()


@dataclass(slots=True)
class _Trace:
    """The frame of each tensor, and the part of each input that a node reads, by the node's id."""

    canonical: Canonical
    frames: dict[str, Frame] = field(default_factory=dict[str, Frame])
    reads: dict[int, list[Frame]] = field(default_factory=dict[int, list[Frame]])

    def down_from(self, layer: str, start: Frame) -> None:
        """Follow a signal from `layer` to the image."""
        self.frames[layer] = _bounded(start)
        for node in reversed(self.canonical.graph.nodes):
            reached = [self.frames[t.name] for t in node.outputs if t.name in self.frames]
            if not reached:
                continue
            frame = reduce(_union, reached)
            rectifier = self.canonical.rectifiers.get(node.outputs[0].name)
            alike = rectifier.nodes if rectifier else (node,)
            if any(self._below(inner, frame) is None for inner in alike):
                frame = WHOLE
            self.frames |= {t.name: frame for t in node.outputs if not t.is_empty()}
            self.reads[id(node)] = self._below(node, frame) or [WHOLE] * len(node.inputs)
            for tensor, part in zip(node.inputs, self.reads[id(node)], strict=True):
                if tensor.name in self.canonical.live:
                    self.frames[tensor.name] = _union(self.frames.get(tensor.name, part), part)

    def _below(self, node: gs.Node, frame: Frame) -> list[Frame] | None:
        """What a node reads of each input to make `frame`; None where it makes no sense of a window."""
        if frame == WHOLE:
            return [WHOLE] * len(node.inputs)
        parts: list[Frame] = []
        for index, tensor in enumerate(node.inputs):
            try:
                taps = [find_reach(node)(node, index, span.axis) for span in frame]
            except UnsupportedError:
                return None
            live = tensor.name in self.canonical.live
            if not live and any(taps):
                return None  # constants that differ from place to place
            if live and not self._is_framed(node, frame, taps):
                return None
            sizes = dims(tensor)
            parts.append(
                tuple(_through(span, tap, sizes) for span, tap in zip(frame, taps, strict=True) if tap is not None)
            )
        return parts

    def _is_framed(self, node: gs.Node, frame: Frame, taps: Sequence[Tap | None]) -> bool:
        """Whether the node makes a window of a window just as it makes a map of a map, but for the padding."""
        plain = [tap for tap in taps if tap is not None]
        if len(plain) < len(taps) and find_reach(node) is not pointwise:
            return False
        if node.op in SLIDING and not node.domain:
            both = len(frame) == 2 and len(plain) == 2 and len(node.attrs["kernel_shape"]) == 2
            return (
                both and (node.op != "MaxPool" or self._is_own(node)) and (node.op != "AveragePool" or _is_even(node))
            )
        still = all((tap.stride, tap.extent) == (1, 1) for tap in plain)
        if _moves(node, frame):
            return still and node.attrs.get("mode", "constant") == "constant" and _keeps_others(node, frame)
        return still and all(tap.offset == 0 for tap in plain)

    def _is_own(self, pool: gs.Node) -> bool:
        """Whether a max-pool is the user's; one that is made again would take what lies beyond the map for real."""
        maker = self.canonical.made_by.get(pool.outputs[0].name)
        return maker is not None and maker.op_type == "MaxPool"


def _is_even(pool: gs.Node) -> bool:
    """Whether an AveragePool divides by as many everywhere."""
    return bool((window_counts(pool) == prod(pool.attrs["kernel_shape"])).all())


def _moves(node: gs.Node, frame: Frame) -> bool:
    """Whether a node moves what is there along an axis of `frame`."""
    if node.op not in MOVING or node.domain:
        return False
    sizes, made, reach = dims(node.inputs[0]), dims(node.outputs[0]), find_reach(node)
    return any(sizes[s.axis] != made[s.axis] or reach(node, 0, s.axis) != Tap(s.axis) for s in frame)


def _keeps_others(node: gs.Node, frame: Frame) -> bool:
    """Whether a node leaves the axes beside those of `frame` as they are."""
    reach, moved = find_reach(node), {span.axis for span in frame}
    others = [axis for axis in range(len(dims(node.outputs[0]))) if axis not in moved]
    same = [dims(node.inputs[0])[axis] == dims(node.outputs[0])[axis] for axis in others]
    return all(same) and all(reach(node, 0, axis) == Tap(axis) for axis in others)


def _through(span: Span, tap: Tap, sizes: Sequence[int]) -> Span:
    """The positions of an input that those of `span` depend on."""
    stride, offset = int(tap.stride), int(tap.offset)
    return Span(
        axis=tap.axis,
        side=span.side,
        extent=sizes[tap.axis],
        size=(span.size - 1) * stride + (tap.extent or 0),
        start=span.start * stride + offset,
        jump=span.jump * stride,
    )


def _union(one: Frame, other: Frame) -> Frame:
    """The smallest frame that holds both."""
    if [(a.axis, a.side, a.jump) for a in one] != [(b.axis, b.side, b.jump) for b in other]:
        return WHOLE
    joined: list[Span] = []
    for a, b in zip(one, other, strict=True):
        start = min(a.start, b.start)
        joined.append(replace(a, start=start, size=max(a.start + a.size, b.start + b.size) - start))
    return _bounded(tuple(joined))


def _bounded(frame: Frame) -> Frame:
    """The frame, or the whole map where that is no larger."""
    return WHOLE if prod(span.size for span in frame) >= prod(span.extent for span in frame) else frame


class _Windows:
    """The graph of windows, in the making."""

    def __init__(self, canonical: Canonical, trace: _Trace) -> None:
        self._canonical = canonical
        self._trace = trace
        self._frames = dict(trace.frames)
        self._nodes: list[gs.Node] = []
        self._makers: dict[int, int] = {}
        """By the id of a new node, that of the old node whose output it makes or cuts."""
        self._copies: dict[int, gs.Node] = {}
        self._made: dict[str, gs.Tensor] = {}
        self._cuts: dict[tuple[str, Frame, bool], gs.Tensor] = {}
        self._constants: dict[str, gs.Tensor] = {}
        self._entries: dict[str, gs.Tensor] = {}

    def form(self) -> Canonical:
        """The canonical form of windows."""
        canonical = self._canonical
        image = self._window(canonical.image, self._frames[canonical.image.name])
        self._made[canonical.image.name] = image
        for node in canonical.graph.nodes:
            if id(node) in self._trace.reads:
                self._copy(node)
        rectifiers = {n: self._rectifier(canonical.rectifiers[n], entry) for n, entry in self._entries.items()}
        graph = gs.Graph(nodes=self._nodes, opset=canonical.graph.opset)
        live = canonical.live | self._frames.keys()
        return replace(canonical, graph=graph, image=image, live=live, rectifiers=rectifiers, frames=dict(self._frames))

    def _window(self, tensor: gs.Tensor, frame: Frame, name: str = "") -> gs.Tensor:
        sizes = [*dims(tensor)]
        for span in frame:
            if span.axis < len(sizes):  # else a second output, such as the scale of a quantiser
                sizes[span.axis] = span.size
        return gs.Variable(name or tensor.name, tensor.dtype, sizes)

    def _copy(self, node: gs.Node) -> None:
        """The node, from windows to windows."""
        frame = self._frames[node.outputs[0].name]
        attrs, op, inputs = dict(node.attrs), node.op, list(node.inputs)
        extended = False
        if frame and op in SLIDING and not node.domain:
            extended = op != "MaxPool" and any(attrs["pads"])
            attrs |= {"pads": [0] * len(attrs["pads"])}
            attrs.pop("ceil_mode", None)
        elif _moves(node, frame):
            extended, op, inputs = op == "Pad", "Identity", inputs[:1]
        reads = self._trace.reads[id(node)]
        parts = [self._cut(t, part, extended) for t, part in zip(inputs, reads, strict=False)]
        if (rectifier := self._canonical.rectifiers.get(node.outputs[0].name)) is not None:
            # what leaves out the nodes between comes with the frame of the last one
            self._entries[node.outputs[0].name] = self._cut(rectifier.entry, frame, extended=False)
        outputs = [self._window(t, frame) for t in node.outputs]
        self._made |= {t.name: t for t in outputs}
        copy = gs.Node(op, node.name, attrs, parts, outputs, node.domain)
        self._copies[id(node)] = copy
        self._add(copy, id(node))

    def _add(self, node: gs.Node, maker: int) -> None:
        self._nodes.append(node)
        self._makers[id(node)] = maker

    def _cut(self, tensor: gs.Tensor, part: Frame, extended: bool) -> gs.Tensor:
        """The part of a tensor that a node reads, `extended` beyond the map by zeros."""
        if tensor.name not in self._made:
            return self._apart(tensor)
        held = self._frames[tensor.name]
        key = (tensor.name, part, extended)
        if key in self._cuts or (held == part and not extended):
            return self._cuts.get(key, self._made[tensor.name])
        source = self._cut(tensor, part, extended=False) if extended else self._made[tensor.name]
        cut = self._window(tensor, part, self._fresh(f"{tensor.name}/{'extended' if extended else 'window'}"))
        if extended:
            node = gs.Node("Extend", cut.name, {}, [source], [cut], OWN)
        elif held == WHOLE:
            node = gs.Node("Window", cut.name, {}, [source], [cut], OWN)
        else:
            starts = [span.start - outer.start for span, outer in zip(part, held, strict=True)]
            ends = [start + span.size for start, span in zip(starts, part, strict=True)]
            bounds = [np.array(v, np.int64) for v in (starts, ends, [span.axis for span in part])]
            inputs = [gs.Constant(f"{cut.name}/{n}", values) for n, values in enumerate(bounds)]
            node = gs.Node("Slice", cut.name, {}, [source, *inputs], [cut])
        self._frames[cut.name] = part
        self._cuts[key] = cut
        self._add(node, id(tensor.inputs[0]) if tensor.inputs else 0)
        return cut

    def _fresh(self, stem: str) -> str:
        """A name that no tensor has."""
        known = (self._canonical.made_by, self._canonical.weights, self._frames)
        names = (f"{stem}{number}" for number in count())
        return next(name for name in names if not any(name in taken for taken in known))

    def _apart(self, tensor: gs.Tensor) -> gs.Tensor:
        """A weight or another constant, with what computes it, apart from the graph that it is of."""
        if tensor.is_empty():
            return gs.Variable.empty()
        if isinstance(tensor, gs.Constant):
            return gs.Constant(tensor.name, tensor.values)
        if tensor.name not in self._constants:
            made = tensor.inputs[0].outputs if tensor.inputs else [tensor]
            self._constants |= {t.name: gs.Variable(t.name, t.dtype, t.shape) for t in made}
            for node in tensor.inputs:
                inputs, outputs = [self._apart(t) for t in node.inputs], [self._constants[t.name] for t in made]
                gs.Node(node.op, node.name, dict(node.attrs), inputs, outputs, node.domain)
        return self._constants[tensor.name]

    def _rectifier(self, rectifier: Rectifier, entry: gs.Tensor) -> Rectifier:
        """The same rectifier, of the copies of its nodes and what is cut between them."""
        inner = {id(node) for node in rectifier.nodes}
        nodes = tuple(node for node in self._nodes if self._makers[id(node)] in inner)
        return replace(rectifier, nodes=nodes, entry=entry)

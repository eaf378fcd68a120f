"""The companion graph: signal and forward values in, pixels out; built by one reverse walk over the canonical form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto

from zfviz.errors import UnsupportedError
from zfviz.graph.canonical import Canonical
from zfviz.graph.net import BatchError, FrameError, Net, Precision, Unpool
from zfviz.graph.protos import opset_of
from zfviz.graph.reach import dims
from zfviz.graph.rectifiers import Rectifier
from zfviz.graph.rules import Method, find_rule, op_key

IR_VERSION = 8
FEW = 6
SIGNAL, PIXELS = "signal", "pixels"


@dataclass(frozen=True, slots=True, eq=False)
class Companion:
    """A companion graph with what it asks of the forward graph.

    `values` are the forward values it takes, by input name; `switches` those of them that are switches, with the tensor
    that their MaxPool gives; `inexact` names every op on the way that is not the exact adjoint of what the method
    prescribes. A companion that is not `batched` takes one signal and the forward values of one image, whole.
    """

    proto: ModelProto
    batched: bool
    dtype: np.dtype
    values: tuple[str, ...]
    switches: Mapping[str, str]
    inexact: tuple[str, ...]


def build_companion(
    canonical: Canonical,
    layer: str,
    method: Method = "deconvnet",
    unpool: Unpool = "scatter",
    precision: Precision = "float32",
) -> Companion:
    """The companion graph of the layer whose output tensor is `layer`.

    Its inputs are `signal` [K, ...] (the shape of the layer's output) and forward values of batch K or 1; its output is
    `pixels` [K, ...] (the shape of the image input); signal and pixels are floats of `precision`. Where the model takes
    its batch for something else on the way (windows, tokens), all shapes are those of one image instead. Raises
    UnsupportedError with every op that stops the signal.
    """
    try:
        return build(Net(canonical, unpool, True, precision), layer, method)
    except BatchError:
        return build(Net(canonical, unpool, False, precision), layer, method)


def build(net: Net, layer: str, method: Method) -> Companion:
    """The companion graph of the layer whose output tensor is `layer`, of the form that `net` is about."""
    canonical = net.canonical
    target = next(t for node in canonical.graph.nodes for t in node.outputs if t.name == layer)
    signal = gs.Variable(SIGNAL, net.dtype, _open_rows(net, target))
    walk = _Walk(net, target.name)
    reached = walk.to_image(signal, method)
    pixels = net.emit("Identity", reached)
    pixels.name, pixels.dtype, pixels.shape = PIXELS, net.dtype, _open_rows(net, canonical.image)
    facts = {"layer": layer, "method": method, "unpool": net.unpool}
    return _finish(net, signal, pixels, tuple(sorted(walk.inexact)), facts)


def _open_rows(net: Net, tensor: gs.Tensor) -> list[int | str]:
    return ["K" if size is None else size for size in net.rows(tensor)]


def _finish(
    net: Net, signal: gs.Tensor, pixels: gs.Tensor, inexact: tuple[str, ...], facts: Mapping[str, str]
) -> Companion:
    graph = net.graph
    graph.inputs, graph.outputs = [signal, *net.values.values()], [pixels]
    graph.cleanup().toposort()
    used = {t.name for node in graph.nodes for t in node.inputs}
    graph.inputs = [t for t in graph.inputs if t is signal or t.name in used]
    proto = gs.export_onnx(graph, do_type_check=False)
    proto.ir_version = IR_VERSION
    proto.producer_name = "zfviz"
    weights = net.canonical.weights
    proto.graph.initializer.extend(weights[name] for name in net.weights if name in used)
    onnx.helper.set_model_props(proto, {f"zfviz.{k}": v for k, v in {**facts, "inexact": "; ".join(inexact)}.items()})
    values = tuple(t.name for t in graph.inputs[1:])
    switches = {n: net.pooled[n] for n in values if n in net.pooled}
    return Companion(proto, net.batched, net.dtype, values, switches, inexact)


class _Walk:
    """One reverse walk: what was passed inexactly, and what refused."""

    def __init__(self, net: Net, start: str) -> None:
        self.inexact: set[str] = set()
        self._net = net
        self._start = start
        self._refused: list[str] = []
        self._reasons: dict[str, str] = {}
        self._senders: dict[str, gs.Node] = {}

    def to_image(self, signal: gs.Tensor, method: Method) -> gs.Tensor:
        """The signal at the image, from one at the start."""
        canonical = self._net.canonical
        arrived = {self._start: [signal]}
        self._run(canonical.graph.nodes, arrived, method)
        if self._refused:
            raise UnsupportedError(
                f"{self._start!r} cannot be projected: {'; '.join(dict.fromkeys(self._refused))}. "
                "Choose a layer below, or add a rule (CONTRIBUTING.md).",
                self._reasons,
            )
        if canonical.image.name not in arrived:
            raise UnsupportedError(
                f"no signal from {self._start!r} reaches the image; expected a layer that depends on it."
            )
        return self._net.total(arrived[canonical.image.name])

    def _run(self, nodes: Sequence[gs.Node], arrived: dict[str, list[gs.Tensor]], method: Method) -> None:
        """Walk back over `nodes`, from the signals that have arrived, to those that arrive."""
        for node in reversed(nodes):
            coming = tuple(self._net.total(arrived.pop(t.name)) if t.name in arrived else None for t in node.outputs)
            if not any(coming):
                continue
            for tensor, back in self._through(node, coming, method):
                self._senders.setdefault(tensor.name, node)
                arrived.setdefault(tensor.name, []).append(back)

    def _through(
        self, node: gs.Node, coming: tuple[gs.Tensor | None, ...], method: Method
    ) -> list[tuple[gs.Tensor, gs.Tensor]]:
        """The tensors below a node that a signal goes on to, each with it."""
        net = self._net
        wanted = [(index, tensor) for index, tensor in enumerate(node.inputs) if net.wants(tensor)]
        try:
            rule = find_rule(node, method)
            if rule is None:
                return self._refuse(node, f"no rule for {op_key(node)} (opset {opset_of(net.canonical.proto)})", wanted)
            if any(0 in dims(tensor) for tensor in (*(t for _, t in wanted), node.outputs[0])):
                raise UnsupportedError("what it reads or makes is empty for an image of zeros")
            self._check_batch(node)
            rectifier = net.canonical.rectifiers.get(node.outputs[0].name)
            if rule.inexact:
                self.inexact.add(f"{op_key(node)}: {rule.inexact}")
            if rectifier is not None and rule.method is None and method in rectifier.told_apart_by:
                return self._bend(node, rectifier, _only_first(coming), method)
            signals = rule.transpose(node, coming if rule.every_output else _only_first(coming), net)
            if missing := [index for index, _ in wanted if index not in signals]:
                raise UnsupportedError(f"it takes input {missing[0]} from the image")
        except (BatchError, FrameError):
            raise
        except UnsupportedError as error:
            return self._refuse(node, f"{op_key(node)}: {error},", wanted)
        return [(tensor, back) for index, tensor in wanted if (back := signals[index]) is not None]

    def _refuse(
        self, node: gs.Node, why: str, wanted: Sequence[tuple[int, gs.Tensor]]
    ) -> list[tuple[gs.Tensor, gs.Tensor]]:
        """Note a refusal, and go on with something in place of the signal, to find all that refuses below."""
        self._refused.append(f"{why} at layer {layer_name(node)!r}{self._above(node)}")
        self._reasons.setdefault(layer_name(node), why.rstrip(","))
        return [(tensor, gs.Variable(f"beyond {tensor.name}")) for _, tensor in wanted]

    def _check_batch(self, node: gs.Node) -> None:
        """BatchError where an output of the node does not have the batch first."""
        live = self._net.canonical.live
        rows = dims(self._net.canonical.image)[:1]
        if self._net.batched and any(dims(t)[:1] != rows for t in node.outputs if t.name in live):
            raise BatchError("its first axis is not the batch")

    def _bend(
        self, node: gs.Node, rectifier: Rectifier, signal: gs.Tensor, method: Method
    ) -> list[tuple[gs.Tensor, gs.Tensor]]:
        """Past an activation, of as many nodes as it has: `deconvnet` sends r(signal); `guided` f' times that, where
        f' has the gain of r already.
        """
        if method == "deconvnet" and (rectifier.bends or rectifier.passed_over):
            return [(rectifier.entry, self._net.rectify(signal, rectifier, gain=True))]
        arrived = {node.outputs[0].name: [self._net.rectify(signal, rectifier, gain=False)]}
        self._run(rectifier.nodes, arrived, "gradient")
        # what is left is at the entry, or at several parts of it
        read = {tensor.name: tensor for inner in rectifier.nodes for tensor in inner.inputs}
        return [(read[name], back) for name, signals in arrived.items() for back in signals]

    def _above(self, node: gs.Node) -> str:
        """The ops that a signal has passed before it comes to a node, nearest first, for messages."""
        ops: list[str] = []
        name = node.outputs[0].name
        while name != self._start and (sender := self._senders.get(name)) is not None and len(ops) < FEW:
            ops.append(sender.op)
            name = sender.outputs[0].name
        dots = " ..." if name != self._start else ""
        return f" (below {', '.join(ops)}{dots})" if ops else ""


def _only_first(coming: tuple[gs.Tensor | None, ...]) -> gs.Tensor:
    """The signal at the first output, for ops whose other outputs carry none."""
    first, *others = coming
    if first is None or any(others):
        raise UnsupportedError("a signal comes to an output that carries none")
    return first


def layer_name(node: gs.Node) -> str:
    """How the user's file calls the layer: by its node's name, or by its first output where the node has none."""
    return node.name or node.outputs[0].name

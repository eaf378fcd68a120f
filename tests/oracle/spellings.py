"""Activations that an exporter spelled with several nodes, such as x * sigmoid(x), and LRN from an average pool."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from oracle.growth import GROWTHS, Series, WildError
from oracle.layer import DOMAINS, Layer

Makers = Mapping[str, onnx.NodeProto]
"""The node that made each tensor, in the order in which they ran."""

ENDS = ("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min", "Where", "Log")
"""What the last node of a spelling is: all ways come together there, or the exponential is taken back, in softplus. Any
other node of one way is an activation of its own.
"""

LONGEST = 16

NEAR = 1e-4

BOUNDS = ("Relu", "Clip", "Min", "Max")
"""What makes one function with another of them below it: Relu, then Min."""


@dataclass(frozen=True)
class Spelling:
    """A function f of one number, the tensor `entry`, that `nodes` compute.

    Far from 0 it is `above` times a positive x, and `below` times a negative one.
    """

    entry: str
    nodes: tuple[onnx.NodeProto, ...]
    above: Tensor
    below: Tensor
    opset: int

    @property
    def rectifies(self) -> bool:
        """Whether f is neither 0, nor a scale, nor a size, far from 0."""
        return bool((self.above > 0).all()) and not torch.equal(*torch.broadcast_tensors(self.above, self.below.abs()))

    def limit(self, signal: Tensor) -> Tensor:
        """What f is like far from 0."""
        return self.above * functional.relu(signal) - self.below * functional.relu(-signal)

    def compute(self, x: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
        """f(x), with its own derivative."""
        known = {self.entry: x}
        for node in self.nodes:
            inputs = [known.get(name, tensors.get(name)) for name in node.input]
            results = Layer(node, self.opset, "gradient").run(inputs)
            known.update((key, value) for key, value in zip(node.output, results, strict=False) if value is not None)
        return known[self.nodes[-1].output[0]]


class Spellings:
    """The functions of one number in a graph whose nodes run one after the other."""

    def __init__(self, tensors: Mapping[str, Tensor], makers: Makers, opset: int) -> None:
        self._tensors, self._makers, self._opset = tensors, makers, opset
        self._live: dict[str, bool] = {}

    def find(self, last: onnx.NodeProto) -> Spelling | None:
        """The function that ends with the node `last`: a rectifier, or another that is more than this node."""
        entry, nodes = self._region(last)
        maker = self._makers.get(entry)
        if len(nodes) == 1 and maker is not None and {last.op_type, maker.op_type} <= set(BOUNDS):
            below, more = self._region(maker)
            both = self._read(below, (*more, *nodes))
            if both is not None and both.rectifies:
                return both
        found = self._read(entry, nodes)
        return found if found is not None and (found.rectifies or len(found.nodes) > 1) else None

    def _region(self, last: onnx.NodeProto) -> tuple[str, tuple[onnx.NodeProto, ...]]:
        """The fewest nodes that make the output of `last` from one tensor and constants: the tensor, and the nodes in
        order; no nodes where there are none.
        """
        ways: dict[str, int] = {}
        nodes: list[onnx.NodeProto] = []
        places = {name: place for place, name in enumerate(self._makers)}
        node = last
        while node.op_type in GROWTHS and node.domain in (*DOMAINS, "com.microsoft") and len(nodes) < LONGEST:
            nodes.insert(0, node)
            ways |= {name: places.get(name, -1) for name in node.input if self._depends(name)}
            latest = max(ways, key=ways.__getitem__, default="")
            if len(ways) == 1 and (last.op_type != "Log" or node.op_type == "Exp"):
                return latest, tuple(nodes)
            if latest not in self._makers:
                break
            node = self._makers[latest]
            for name in node.output:
                ways.pop(name, None)
        return "", ()

    def _depends(self, name: str) -> bool:
        """Whether a tensor comes from the image; what was compared has no gradient, but may come from it."""
        if name and name not in self._live:
            maker = self._makers.get(name)
            derived = maker is not None and maker.op_type in GROWTHS and any(map(self._depends, maker.input))
            self._live[name] = self._tensors[name].requires_grad or derived
        return bool(name) and self._live[name]

    def _read(self, entry: str, nodes: tuple[onnx.NodeProto, ...]) -> Spelling | None:
        """What the nodes are like far from 0, where they are linear there."""
        if not nodes:
            return None
        try:
            above, below = (torch.tensor(self._grow(entry, sign, nodes).slope() * sign) for sign in (1, -1))
        except WildError:
            return None
        found = Spelling(entry, nodes, above, below, self._opset)
        return found if above.any() else self._near_zero(found)

    def _near_zero(self, bounded: Spelling) -> Spelling:
        """What a function that is bounded upwards is like near 0, where it does not end yet: Relu, then Min."""
        points = torch.tensor([0.0, NEAR, -NEAR], dtype=torch.float64).reshape(-1, *[1] * self._rank(bounded))
        origin, right, left = bounded.compute(points, self._tensors)
        return replace(bounded, above=(right - origin) / NEAR, below=(origin - left) / NEAR)

    def _rank(self, found: Spelling) -> int:
        return max(0, self._tensors[found.entry].ndim - 1)

    def _grow(self, entry: str, sign: int, nodes: Iterable[onnx.NodeProto]) -> Series:
        """The output of the nodes, as the entry grows without end to that side."""
        series = {entry: Series({(0.0, 1.0): float(sign)})}
        output = ""
        for node in nodes:
            layer = Layer(node, self._opset, "gradient")
            given = [series[name] if name in series else self._constant(name) if name else None for name in node.input]
            output = node.output[0]
            series[output] = GROWTHS[node.op_type](layer, *given)
        return series[output]

    def _constant(self, name: str) -> Series:
        return Series.of(self._tensors[name].detach().double().numpy())


MOVES = ("Squeeze", "Unsqueeze", "Reshape", "Pad", "Transpose", "Identity", "Cast")


def local_norm(last: onnx.NodeProto, tensors: Mapping[str, Tensor], makers: Makers) -> str:
    """The tensor that `last` divides by a power of its squares' average over channels, as torch spells LRN; or ''."""
    pairs = {"Div": [last.input], "Mul": [last.input, last.input[::-1]]}.get(last.op_type, [])
    for x, divisor in pairs:
        way = _way_between(x, divisor, tensors, makers)
        steps = [node for node in way if node.op_type not in MOVES]
        ops = [node.op_type for node in steps]
        if ops[:4] == ["Pow", "Add", "Mul", "AveragePool"] and ops[4:] in (["Mul"], ["Pow"]):
            exponent, window = tensors[steps[0].input[1]], Layer(steps[3], 1, "gradient")["kernel_shape"]
            if (exponent < 0).all() == (last.op_type == "Mul") and sum(size > 1 for size in window) == 1:
                return x
    return ""


def _way_between(x: str, name: str, tensors: Mapping[str, Tensor], makers: Makers) -> Iterator[onnx.NodeProto]:
    """The nodes from the maker of a tensor back to the readers of x, where each reads one tensor and constants."""
    while name != x and name in makers:
        yield makers[name]
        read = {key for key in makers[name].input if key and tensors[key].requires_grad}
        name = read.pop() if len(read) == 1 else ""

"""Verification has nothing to say against a right rule, whatever the values, and finds a wrong one among the same."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graph.nets import network, noise
from onnx_graphsurgeon import Node

import zfviz
from zfviz.errors import VerificationError
from zfviz.graph import rules
from zfviz.graph.net import Net
from zfviz.graph.rules import Signals
from zfviz.runtime.verify import verify_layers

F = np.float32
PLAIN = np.full((1, 3, 6, 6), [[[[1.2]], [[-0.5]], [[-1.4]]]], F)
KERNEL = (4, 3, 3, 3)
HALF_PLAIN = noise(4, 4) * F([[0], [1], [0], [1]])

NETS: dict[str, tuple[str, dict[str, Any]]] = {
    # at what y does, verification once failed on a picture of one colour
    "a term that swallows others": ("c = Conv(x, w) y = Add(c, b)", {"w": KERNEL, "b": F([3e38, 1, 0, -1e38])}),
    "a bias that swallows a map": ("y = Conv(x, w, b)", {"w": KERNEL, "b": F([-5e37, 0, 1, 2])}),
    "a divisor that leaves nothing": ("d = Add(x, b) y = Div(x, d)", {"b": F(3e38)}),
    "a factor beyond float32": ("d = Mul(x, a) y = Mul(d, b)", {"a": F(1e-38), "b": F(3e38)}),
    "ties of three": ("a = Mul(x, b) y, i = TopK<axis = 1>(a, k)", {"b": F([0, 0, 0, 1, 0, 0]), "k": [2]}),
    "rows of one value": (
        "c = Conv(x, w) a = Add(c, b) y = LayerNormalization(a, s)",
        {"w": KERNEL, "b": HALF_PLAIN, "s": (4,)},
    ),
    "maps of one value": ("y = InstanceNormalization<epsilon = 0.01>(x, s, s)", {"s": F([1, -1, 0.5])}),
    "zeros, where the slope bends": ("a = Mul(x, b) y = Elu(a)", {"b": F([0, 0, 0, 1, 0, 0])}),
    "zeros, where it bends more": ("a = Mul(x, b) y = Softsign(a)", {"b": F([0, 0, 0, 1, 1, 2])}),
    "saturation": ("m = Abs(x) a = Add(m, b) y = Tanh(a)", {"b": F(6)}),
}
UNTOLD = ("a divisor that leaves nothing", "a factor beyond float32", "saturation")
"""Where float32 cannot tell a thousandth of the slope."""


def verify(name: str) -> None:
    body, weights = NETS[name]
    verify_layers(zfviz.load(network(body, "1, 3, 6, 6", 18, weights)), PLAIN, ["y"])


def replant(monkeypatch: pytest.MonkeyPatch, op: str, wrong: Callable[..., Signals]) -> None:
    monkeypatch.setitem(rules._RULES, (op, None), replace(rules._RULES[op, None], transpose=wrong))


@pytest.mark.parametrize("name", NETS)
def test_a_right_rule_passes(name: str) -> None:
    verify(name)


@pytest.mark.parametrize("name", sorted(NETS.keys() - set(UNTOLD)))
def test_a_rule_off_by_a_thousandth_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op = find_op(name)
    right = rules._RULES[op, None].transpose

    def wrong(layer: Node, signal: Any, net: Net) -> Signals:
        return {i: s and net.emit("Mul", s, net.constant(1.001)) for i, s in right(layer, signal, net).items()}

    replant(monkeypatch, op, wrong)
    with pytest.raises(VerificationError, match=rf"'y\S*' \({op}\)"):
        verify(name)


def find_op(name: str) -> str:
    return network(NETS[name][0], "1", 18, {}).graph.node[-1].op_type


def test_a_rule_that_knows_no_saturation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    replant(monkeypatch, "Tanh", lambda layer, signal, net: {0: signal})
    with pytest.raises(VerificationError, match=r"'y' \(Tanh\)"):
        verify("saturation")

"""A rule that is wrong must be seen: planted faults that show in the cases of its op."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from node_cases import NodeCase
from onnx_graphsurgeon import Node
from rule_cases import KEPT, OPS, matches, miss

from zfviz.errors import ZfvizError
from zfviz.graph import rules
from zfviz.graph.net import Net
from zfviz.graph.reach import dims
from zfviz.graph.rules import Signals
from zfviz.tolerances import SINGLE_OP


def replant(monkeypatch: pytest.MonkeyPatch, op: str, wrong: Callable[..., Signals]) -> None:
    monkeypatch.setitem(rules._RULES, (op, None), replace(rules._RULES[op, None], transpose=wrong))


BLIND = {
    # cases under which a thousandth more of nothing is nothing
    "Sub of one tensor twice": "x - x has no slope",
    "test_clip_min_greater_than_max-0": "the output is one constant",
    "test_maxpool_3d_dilations-0": "every window holds its maximum more than once: kinks are left out",
    "test_maxpool_3d_dilations_use_ref_impl-0": "every window holds its maximum more than once: kinks are left out",
    "test_softmax_large_number-0": "float32 knows no slope there",
    "test_logsoftmax_large_number-0": "float32 knows no slope there",
    "test_reduce_l2_default_axes_keepdims_example-0": "its one output bends along the direction tried",
    "test_reduce_sum_square_default_axes_keepdims_example-0": "its one output bends along the direction tried",
    "test_reduce_min_default_axes_keepdims_example-0": "its one output has two minima, a kink",
    "ReduceMean of SimplifiedLayerNormalization": "the mean carries little of the signal",
}


@pytest.mark.parametrize("op", sorted(OPS))
def test_a_rule_off_by_a_thousandth_is_seen_in_every_case(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = rules._RULES[op, None].transpose

    def wrong(layer: Node, signal: Any, net: Net) -> Signals:
        signals = right(layer, signal, net)
        return {i: s and net.emit("Mul", s, net.constant(1.001)) for i, s in signals.items()}

    replant(monkeypatch, op, wrong)
    passed = {case.name for case in KEPT.values() if case.op == op and miss(case) <= SINGLE_OP}
    assert passed == {case.name for case in KEPT.values() if case.op == op and matches(case, BLIND)}


def kernel_turned(layer: Node, signal: Any, net: Net) -> Signals:
    weight = layer.inputs[1]
    rank = len(dims(weight))
    ends = [-(2**31)] * (rank - 2)
    turned = net.slice(net.forward(weight), [-1] * (rank - 2), ends, range(2, rank), [-1] * (rank - 2))
    return {0: net.filter(layer, signal, turned, layer.inputs[0], layer.attrs["group"])}


def window_counts_forgotten(layer: Node, signal: Any, net: Net) -> Signals:
    kernel = layer.attrs["kernel_shape"]
    planes = net.emit("Reshape", signal, net.ints([-1, 1, *dims(layer.outputs[0])[2:]]))
    weight = net.constant(np.full([1, 1, *kernel], 1 / np.prod(kernel)))
    return {0: net.reshape_like(net.filter(layer, planes, weight, layer.inputs[0], 1), layer.inputs[0])}


def overlap_dropped(layer: Node, signal: Any, net: Net) -> Signals:
    signals = rules.pool.unpool(layer, signal, net)
    (scatter,) = (node for node in net.graph.nodes if node.op == "ScatterElements")
    scatter.attrs["reduction"] = "none"
    return signals


def repeats_not_summed(layer: Node, signal: Any, net: Net) -> Signals:
    signals = rules.merge.times_other(layer, signal, net)
    for node in net.graph.nodes:
        node.op = "ReduceMax" if node.op == "ReduceSum" else node.op
    return signals


def parts_from_the_front(layer: Node, signal: Any, net: Net) -> Signals:
    signals = rules.merge.take_apart(layer, signal, net)
    for part in (node for node in net.graph.nodes if node.op == "Slice"):
        start, end = (part.inputs[i].values for i in (1, 2))
        part.inputs[1], part.inputs[2] = net.ints([0]), net.ints(end - start)
    return signals


def ends_swapped(layer: Node, signal: Any, net: Net) -> Signals:
    signals = rules.shape.pad_back(layer, signal, net)
    for pad in (node for node in net.graph.nodes if node.op == "Pad"):
        before, after = np.split(pad.inputs[1].values, 2)
        pad.inputs[1] = net.ints([*after, *before])
    return signals


FAULTS: dict[str, tuple[str, Callable[..., Signals]]] = {
    "kernel turned by 180 degrees": ("Conv", kernel_turned),
    "padding counted in averages": ("AveragePool", window_counts_forgotten),
    "overlap of windows dropped": ("MaxPool", overlap_dropped),
    "sum over repeats missing": ("Mul", repeats_not_summed),
    "every part taken from the front": ("Concat", parts_from_the_front),
    "pads before and after swapped": ("Slice", ends_swapped),
    "mask of the signal, not of the value": ("Relu", lambda layer, signal, net: {0: net.emit("Relu", signal)}),
    "permutation not inverted": (
        "Transpose",
        lambda layer, signal, net: {0: net.emit("Transpose", signal, perm=layer.attrs["perm"])},
    ),
    "contrast normalisation skipped": ("LRN", lambda layer, signal, net: {0: signal}),
    "epsilon forgotten": (
        "BatchNormalization",
        lambda layer, signal, net: rules.norm.scale(
            Node(layer.op, attrs={"epsilon": 0.0}, inputs=layer.inputs), signal, net
        ),
    ),
    "shared sum of the softmax missing": (
        "Softmax",
        lambda layer, signal, net: {0: net.emit("Mul", signal, net.forward(layer.outputs[0]))},
    ),
    "alpha forgotten": (
        "Gemm",
        lambda layer, signal, net: rules.dense.multiply_back(
            Node(layer.op, attrs={**layer.attrs, "alpha": 1.0}, inputs=layer.inputs, outputs=layer.outputs), signal, net
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, wrong = FAULTS[fault]

    def noticed(case: NodeCase) -> bool:
        try:
            return miss(case) > SINGLE_OP
        except (ZfvizError, ValueError):
            return False  # a shape that does not fit shows nothing about values

    replant(monkeypatch, op, wrong)
    assert any(noticed(case) for case in KEPT.values() if case.op == op)

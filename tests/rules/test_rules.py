"""What every rule gets for free: each case of its op against differences of the op, and planted faults that show."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pytest
from node_cases import Alone, NodeCase, wheel_cases
from onnx_graphsurgeon import Node, Variable
from own_cases import make_case, own_cases

from zfviz.errors import UnsupportedError, ZfvizError
from zfviz.graph import rules
from zfviz.graph.net import Net
from zfviz.graph.reach import dims
from zfviz.graph.rules import Signals, registered_rules
from zfviz.runtime.verify import residual
from zfviz.tolerances import SAME_GRAPH, SINGLE_OP

STOPS = {"Shape", "Size", "ArgMax", "ArgMin"}
OPS = {rule.op for rule in registered_rules()} - STOPS
CASES = {case.name: case for case in (*wheel_cases(), *own_cases()) if case.op in OPS}

SKIPS = {
    # name pattern: why. A pattern must match, and zfviz must refuse all that it matches.
    "*conv_with*-1": "a kernel that descends from the image (dynamic convolution) has no rule",
    "test_basic_conv*-1": "a kernel that descends from the image (dynamic convolution) has no rule",
    "test_batchnorm_*_training_mode-?": "training mode computes statistics of the batch",
    "test_batchnorm_example-[1-4]": "only the normalised tensor descends from the image in a network",
    "test_batchnorm_epsilon-[1-4]": "only the normalised tensor descends from the image in a network",
    "test_training_dropout*": "training mode drops at random",
    "test_*_bcast-1": "what broadcasts along axis 0 would be shared by the batch",
    "test_gemm_default_zero_bias-2": "what broadcasts along axis 0 would be shared by the batch",
    "test_gemm_default_*vector_bias-2": "what broadcasts along axis 0 would be shared by the batch",
    "test_gemm_transpose?-2": "what broadcasts along axis 0 would be shared by the batch",
    "test_gemm_alpha-2": "what broadcasts along axis 0 would be shared by the batch",
    "test_gemm_beta-2": "what broadcasts along axis 0 would be shared by the batch",
    "test_gemm_all_attributes-2": "what broadcasts along axis 0 would be shared by the batch",
    "test_matmul_1d_3d-?": "a product with a vector",
    "test_matmul_4d_1d-?": "a product with a vector",
}


def matches(case: NodeCase, patterns: Iterable[str]) -> bool:
    return any(fnmatch(case.name, pattern) for pattern in patterns)


def miss(case: NodeCase) -> float:
    return residual(case.proto, case.value, case.input, case.output)


KEPT = {name: case for name, case in CASES.items() if not matches(case, SKIPS)}


@pytest.mark.parametrize("name", KEPT)
def test_rule_agrees_with_differences(name: str) -> None:
    assert miss(CASES[name]) <= SINGLE_OP


@pytest.mark.parametrize("pattern", SKIPS)
def test_skipped_cases_are_refused(pattern: str) -> None:
    matched = [case for case in CASES.values() if fnmatch(case.name, pattern)]
    assert matched
    for case in matched:
        with pytest.raises(UnsupportedError):
            miss(case)


def test_every_rule_has_a_case() -> None:
    assert {case.op for case in KEPT.values()} == OPS
    assert {case.op for case in own_cases()} == OPS


@pytest.mark.parametrize("op", sorted(STOPS))
def test_a_stop_gives_nothing_back(op: str) -> None:
    (rule,) = (rule for rule in registered_rules() if rule.op == op)
    assert rule.transpose(Node(op, inputs=[Variable("x")]), None, None) == {0: None}  # type: ignore[arg-type]


# a rule that is wrong must be seen


def replant(monkeypatch: pytest.MonkeyPatch, op: str, wrong: Callable[..., Signals]) -> None:
    monkeypatch.setitem(rules._RULES, (op, None), replace(rules._RULES[op, None], transpose=wrong))


BLIND = {
    # cases under which a thousandth more of nothing is nothing
    "Sub of one tensor twice": "x - x has no slope",
    "test_clip_min_greater_than_max-0": "the output is one constant",
    "test_maxpool_3d_dilations-0": "every window holds its maximum more than once: kinks are left out",
    "test_maxpool_3d_dilations_use_ref_impl-0": "every window holds its maximum more than once: kinks are left out",
    "test_softmax_large_number-0": "float32 knows no slope there",
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


# signals of one image, and rows of several


@pytest.mark.parametrize("name", [case.name for case in own_cases()])
def test_signals_do_not_mix(name: str) -> None:
    case = CASES[name]
    alone = Alone.of(case, "gradient")
    if alone.y.shape[0] != 1:
        pytest.skip("its axis 0 is no batch any more: a signal fills it alone")
    signals = np.random.default_rng(0).standard_normal((3, *alone.y.shape[1:]), np.float32)
    expected = np.concatenate([alone.back(signal[None]) for signal in signals])
    atol = SAME_GRAPH * np.abs(expected).max()
    np.testing.assert_allclose(alone.back(signals), expected, atol=atol, rtol=0)
    if case.op == "MaxPool":
        np.testing.assert_allclose(Alone.of(case, "gradient", "maxunpool").back(signals), expected, atol=atol, rtol=0)


ALONG_BATCH = {
    "Concat": "y = Concat<axis = 0>(x, x)",
    "Split": "y, b = Split<axis = 0, num_outputs = 2>(x)",
    "Slice": "y = Slice(x, one, two)",
    "Gather": "y = Gather(x, one)",
    "Pad": "y = Pad(x, one, , zero)",
    "Softmax": "y = Softmax<axis = 0>(x)",
    "Transpose": "y = Transpose(x)",
}


@pytest.mark.parametrize("op", ALONG_BATCH)
def test_mixing_the_batch_is_refused(op: str) -> None:
    numbers = {"zero": [0], "one": [1], "two": [2]}
    if op == "Pad":
        numbers["one"] = [1, 0]
    case = make_case(op, 18, (2, 3), ALONG_BATCH[op], numbers)
    with pytest.raises(UnsupportedError, match="along the batch"):
        Alone.of(case, "gradient")


# where the methods differ, in numpy


def positive(signal: np.ndarray) -> np.ndarray:
    return np.maximum(signal, 0)


def leaky(signal: np.ndarray) -> np.ndarray:
    return np.where(signal < 0, np.float32(0.3) * signal, signal)


def same(x: np.ndarray, signal: np.ndarray) -> np.ndarray:
    del x
    return signal


Prescription = Callable[[np.ndarray, np.ndarray], np.ndarray]
PRESCRIBED: tuple[tuple[str, str, int, Prescription, Prescription], ...] = (
    # the op, and what deconvnet and guided make of a signal where x went forward
    ("Relu", "y = Relu(x)", 13, lambda _, g: positive(g), lambda x, g: positive(g) * (x > 0)),
    (
        "LeakyRelu",
        "y = LeakyRelu<alpha = 0.3>(x)",
        7,
        lambda _, g: leaky(g),
        lambda x, g: leaky(g) * np.where(x < 0, np.float32(0.3), 1),
    ),
    (
        "Clip",
        "y = Clip<min = 0.0, max = 0.7>(x)",
        7,
        lambda x, g: positive(g) * (x < 0.7),
        lambda x, g: positive(g) * (x > 0) * (x < 0.7),
    ),
    ("Clip", "y = Clip(x, zero)", 13, lambda _, g: positive(g), lambda x, g: positive(g) * (x > 0)),
    # no rectifier: it bends no signal
    (
        "Clip",
        "y = Clip<min = -0.4, max = 0.7>(x)",
        9,
        lambda x, g: g * (x > -0.4) * (x < 0.7),
        lambda x, g: g * (x > -0.4) * (x < 0.7),
    ),
)


@pytest.mark.parametrize(("op", "body", "opset", "deconvnet", "guided"), PRESCRIBED)
def test_a_rectifier_does_what_the_method_prescribes(
    op: str, body: str, opset: int, deconvnet: Prescription, guided: Prescription
) -> None:
    case = make_case(op, opset, (1, 4, 5, 6), body, {"zero": np.float32(0)})
    signal = np.random.default_rng(7).standard_normal(case.value.shape, np.float32)
    np.testing.assert_array_equal(Alone.of(case, "deconvnet").back(signal), deconvnet(case.value, signal))
    np.testing.assert_array_equal(Alone.of(case, "guided").back(signal), guided(case.value, signal))


def test_contrast_normalisation_is_skipped_in_deconvnet_only() -> None:
    case = make_case("LRN", 13, (1, 5, 3, 3), "y = LRN<size = 3, alpha = 0.8>(x)")
    signal = np.random.default_rng(7).standard_normal(case.value.shape, np.float32)
    skipped, guided, gradient = (Alone.of(case, m).back(signal) for m in rules.METHODS)
    np.testing.assert_array_equal(skipped, signal)
    np.testing.assert_array_equal(guided, gradient)
    assert np.abs(gradient - signal).max() > 0.1


def test_every_overlay_is_held_to_its_method() -> None:
    overlays = {(rule.op, rule.method) for rule in registered_rules() if rule.method}
    assert overlays == {(row[0], m) for row in PRESCRIBED for m in ("deconvnet", "guided")} | {("LRN", "deconvnet")}

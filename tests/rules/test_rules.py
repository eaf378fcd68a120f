"""What every rule gets for free: each case of its op against differences of the op, and planted faults that show."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pytest
from node_cases import Alone, NodeCase, canonical_of, wheel_cases
from onnx_graphsurgeon import Node, Variable
from own_cases import make_case, own_cases

from zfviz.errors import ZfvizError
from zfviz.graph import rules
from zfviz.graph.net import Net
from zfviz.graph.reach import dims
from zfviz.graph.rules import Signals, registered_rules
from zfviz.runtime.verify import residual
from zfviz.tolerances import SAME_GRAPH, SINGLE_OP

QUANTISED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
STOPS = {"Shape", "Size", "ArgMax", "ArgMin", "NonZero", "OneHot", "Floor", "Ceil", "Round", "Sign"}
OPS = {rule.op for rule in registered_rules()} - STOPS - QUANTISED
CASES = {case.name: case for case in (*wheel_cases(), *own_cases()) if case.op in OPS}

SKIPS = {
    # name pattern: why. A pattern must match, and zfviz must refuse all that it matches.
    "*conv_with*-1": "a kernel that descends from the image (dynamic convolution) has no rule",
    "test_basic_conv*-1": "a kernel that descends from the image (dynamic convolution) has no rule",
    "test_batchnorm_*_training_mode-?": "training mode computes statistics of the batch",
    "test_batchnorm_example-[1-4]": "only the normalised tensor descends from the image in a network",
    "test_batchnorm_epsilon-[1-4]": "only the normalised tensor descends from the image in a network",
    "test_training_dropout*": "training mode drops at random",
    "test_matmul_1d_3d-?": "a product with a vector",
    "test_matmul_4d_1d-?": "a product with a vector",
    "test_convtranspose*-1": "a kernel that descends from the image (dynamic convolution) has no rule",
    "test_group_normalization_*-[12]": "only the normalised tensor descends from the image in a network",
    "test_instancenorm_*-[12]": "only the normalised tensor descends from the image in a network",
    "test_layer_normalization_*-[12]": "only the normalised tensor descends from the image in a network",
    "test_pow*-1": "an exponent takes no signal",
    "test_prelu_*-1": "a slope takes no signal",
    "test_resize*-1": "a scale or region takes no signal",
    "test_roialign*-1": "a region takes no signal",
    "test_roialign_mode_max-0": "which sample was largest is not known",
    "test_resize_downsample_sizes_nearest_not_smaller-0": "its scale is none of its sizes",
    "test_scatter_elements_with_duplicate_indices-?": "writing with a reduction has no rule",
    "test_scatter_elements_with_reduction_*": "writing with a reduction has no rule",
    "test_scatternd_add-?": "writing with a reduction has no rule",
    "test_scatternd_multiply-?": "writing with a reduction has no rule",
    "test_scatternd_max*": "writing with a reduction has no rule",
    "test_scatternd_min*": "writing with a reduction has no rule",
    "test_spacetodepth_*_mode_example-0": "onnxruntime does not know the opset, 28",
    "test_pow_types_float32_uint*": "onnxruntime does not know the type",
}

UNEVEN = {
    # cases that lie where the op has no slope, or none that differences can see
    "test_l2normalization_axis_0-0": "a norm has no slope at 0",
    "test_l1normalization_axis_last-0": "a value near 0, where |x| bends",
    "test_softsign_example-0": "a value of 0, where the slope bends",
    "test_pow-0": "roots of negative numbers",
}


def matches(case: NodeCase, patterns: Iterable[str]) -> bool:
    return any(fnmatch(case.name, pattern) for pattern in patterns)


def miss(case: NodeCase) -> float:
    return residual(case.proto, case.value, case.input, case.output)


KEPT = {name: case for name, case in CASES.items() if not matches(case, (*SKIPS, *UNEVEN))}


@pytest.mark.parametrize("name", KEPT)
def test_rule_agrees_with_differences(name: str) -> None:
    assert miss(CASES[name]) <= SINGLE_OP


@pytest.mark.parametrize("pattern", SKIPS)
def test_skipped_cases_are_refused(pattern: str) -> None:
    matched = [case for case in CASES.values() if fnmatch(case.name, pattern)]
    assert matched
    for case in matched:
        with pytest.raises(ZfvizError):
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


# signals of one image, and rows of several


@pytest.mark.parametrize("name", [case.name for case in own_cases()])
def test_signals_do_not_mix(name: str) -> None:
    case = CASES[name]
    alone = Alone.of(case, "gradient")
    if not alone.companion.batched:
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
def test_what_mixes_the_batch_takes_it_whole(op: str) -> None:
    numbers = {"zero": [0], "one": [1], "two": [2]}
    if op == "Pad":
        numbers["one"] = [1, 0]
    case = make_case(op, 18, (2, 3), ALONG_BATCH[op], numbers)
    assert not Alone.of(case, "gradient").companion.batched
    assert miss(case) <= SINGLE_OP


# where the methods differ, in numpy


Map = Callable[[np.ndarray], np.ndarray]
erf = np.vectorize(math.erf)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def exponential(alpha: float, gamma: float = 1.0, width: float = 1.0) -> Map:
    return lambda x: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / width))


def leaky(slope: float) -> Map:
    return lambda x: np.where(x > 0, x, slope * x)


def normal(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2


def normal_by_tanh(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def hard(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x / 6 + 0.5, 0, 1)


relu = leaky(0)
SCALE, RATE = 1.0507010, 1.6732632
NUMBERS = {"three": 3, "six": 6, "sixth": 1 / 6, "half": 0.5, "one": 1, "two": 2, "root": np.sqrt(2), "tenth": 0.1}
NUMBERS |= {"cube": 0.044715, "rate": np.sqrt(2 / np.pi), "zero": 0, "minus": -0.3, "steep": 1.702, "power": 3}

RECTIFIERS: tuple[tuple[str, str, int, Map, Map], ...] = (
    # the op, or how exporters spell it; what it does; and what deconvnet makes of a signal
    ("Relu", "y = Relu(x)", 13, relu, relu),
    ("LeakyRelu", "y = LeakyRelu<alpha = 0.3>(x)", 7, leaky(0.3), leaky(0.3)),
    ("PRelu", "y = PRelu(x, w)", 9, leaky(0.25), leaky(0.25)),
    ("Elu", "y = Elu<alpha = 0.7>(x)", 7, exponential(0.7), relu),
    ("Selu", "y = Selu(x)", 7, exponential(RATE, SCALE), lambda g: SCALE * relu(g)),
    ("Celu", "y = Celu<alpha = 0.7>(x)", 12, exponential(0.7, width=0.7), relu),
    ("ThresholdedRelu", "y = ThresholdedRelu<alpha = 0.3>(x)", 10, lambda x: x * (x > 0.3), relu),
    ("Softplus", "y = Softplus(x)", 7, softplus, relu),
    ("Mish", "y = Mish(x)", 18, lambda x: x * np.tanh(softplus(x)), relu),
    ("Gelu", "y = Gelu(x)", 20, normal, relu),
    ("Gelu", 'y = Gelu<approximate = "tanh">(x)', 20, normal_by_tanh, relu),
    ("HardSwish", "y = HardSwish(x)", 14, hard, relu),
    ("Clip", "y = Clip(x, zero)", 13, relu, relu),
    ("Clip", "y = Clip<min = 0.0, max = 0.5>(x)", 7, lambda x: np.clip(x, 0, 0.5), relu),
    ("Relu6", "r = Relu(x) y = Min(r, half)", 8, lambda x: np.clip(x, 0, 0.5), relu),
    ("Relu6", "m = Min(x, half) y = Max(m, zero)", 8, lambda x: np.clip(x, 0, 0.5), relu),
    (
        "Leaky Relu6",
        "c = Clip(x, zero, half) n = Neg(x) r = Relu(n) m = Mul(r, tenth) y = Sub(c, m)",
        11,
        lambda x: np.clip(x, 0, 0.5) + 0.1 * np.minimum(x, 0),
        leaky(0.1),
    ),
    (
        "Softplus",
        "p = Softplus(x) g = Greater(x, two) y = Where(g, x, p)",
        9,
        lambda x: np.where(x > 2, x, softplus(x)),
        relu,
    ),
    ("SiLU", "s = Sigmoid(x) y = Mul(x, s)", 11, lambda x: x * sigmoid(x), relu),
    ("Swish 24", "y = Swish(x)", 24, lambda x: x * sigmoid(x), relu),
    ("QuickGelu", "a = Mul(x, steep) s = Sigmoid(a) y = Mul(s, x)", 13, lambda x: x * sigmoid(1.702 * x), relu),
    ("Mish", "p = Softplus(x) t = Tanh(p) y = Mul(x, t)", 11, lambda x: x * np.tanh(softplus(x)), relu),
    ("HardSwish", "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)", 11, hard, relu),
    ("HardSwish", "h = HardSigmoid<alpha = 0.16666667>(x) y = Mul(x, h)", 11, hard, relu),
    ("HardSwish", "a = Add(x, three) c = Clip(a, zero, six) h = Mul(c, sixth) y = Mul(h, x)", 11, hard, relu),
    ("Gelu", "d = Div(x, root) e = Erf(d) a = Add(e, one) m = Mul(x, a) y = Mul(m, half)", 9, normal, relu),
    ("Gelu", "h = Mul(x, half) d = Div(x, root) e = Erf(d) a = Add(e, one) y = Mul(h, a)", 13, normal, relu),
    (
        "Gelu by tanh",
        "c = Pow(x, power) k = Mul(c, cube) s = Add(x, k) r = Mul(s, rate) t = Tanh(r) a = Add(t, one) "
        "h = Mul(x, half) y = Mul(h, a)",
        13,
        normal_by_tanh,
        relu,
    ),
    ("Relu", "y = Max(x, zero)", 8, relu, relu),
    ("LeakyRelu", "m = Mul(x, tenth) y = Max(x, m)", 8, leaky(0.1), leaky(0.1)),
    ("PRelu", "p = Relu(x) n = Neg(x) q = Relu(n) m = Mul(q, tenth) y = Sub(p, m)", 13, leaky(0.1), leaky(0.1)),
    ("PRelu", "p = Relu(x) n = Neg(x) q = Relu(n) m = Mul(q, w) y = Sub(p, m)", 13, leaky(0.25), leaky(0.25)),
)


def slope(f: Map, x: np.ndarray) -> np.ndarray:
    step = 1e-5
    return (f(x + step) - f(x - step)) / (2 * step)


@pytest.mark.parametrize(("op", "body", "opset", "f", "limit"), RECTIFIERS)
def test_a_rectifier_does_what_the_method_prescribes(op: str, body: str, opset: int, f: Map, limit: Map) -> None:
    numbers = {name: np.float32(value) for name, value in NUMBERS.items()} | {"w": np.float32([[[0.25]]] * 4)}
    case = make_case(op, opset, (1, 4, 5, 6), body, {key: value for key, value in numbers.items() if key in body})
    signal = np.random.default_rng(7).standard_normal(case.value.shape, np.float32)
    x = case.value.astype(np.float64)
    # f' has the gain of r already
    guided = limit(signal) / limit(np.ones(1)) * slope(f, x)
    np.testing.assert_allclose(Alone.of(case, "deconvnet").back(signal), limit(signal), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(Alone.of(case, "guided").back(signal), guided, rtol=1e-4, atol=1e-5)


def test_every_rectifier_is_held_to_its_method() -> None:
    alone = [case for case in own_cases() if case.op in OPS and len(case.proto.graph.node) == 1]
    bent = {case.op for case in alone if any(r.bends for r in canonical_of(case).rectifiers.values())}
    assert bent - {op for op, *_ in RECTIFIERS} == set()
    assert {rule.op for rule in registered_rules() if rule.method} == {"PRelu", "LRN"}


NO_RECTIFIERS = (
    "y = Abs(x)",
    "y = Neg(x)",
    "y = Sigmoid(x)",
    "y = Tanh(x)",
    "y = Softsign(x)",
    "y = Mul(x, x)",
    "y = Min(x, zero)",
    "y = Clip(x, minus, tenth)",
    "m = Mul(x, half) y = Add(x, m)",
    "s = Sigmoid(x) r = Relu(s) y = Mul(w, s)",
    "p = Relu(x) n = Neg(x) q = Relu(n) y = Sub(p, q)",
    "a = Sub(x, half) p = Relu(a) n = Neg(x) b = Sub(n, half) q = Relu(b) y = Sub(p, q)",
    "g = GlobalAveragePool(x) s = Sigmoid(g) y = Mul(x, s)",
)


@pytest.mark.parametrize("body", NO_RECTIFIERS)
def test_what_bends_no_signal_is_the_same_in_every_method(body: str) -> None:
    numbers = {name: np.float32(value) for name, value in NUMBERS.items()} | {"w": np.float32([[[0.25]]] * 4)}
    case = make_case("Add", 13, (1, 4, 5, 6), body, {key: value for key, value in numbers.items() if key in body})
    signal = np.random.default_rng(7).standard_normal(Alone.of(case, "gradient").y.shape, np.float32)
    deconvnet, guided, gradient = (Alone.of(case, method).back(signal) for method in rules.METHODS)
    np.testing.assert_array_equal(deconvnet, gradient)
    np.testing.assert_array_equal(guided, gradient)


def test_a_bound_is_not_one_with_a_relu_that_others_read_too() -> None:
    body = "r = Relu(x) m = Min(r, half) y = Concat<axis = 1>(r, m)"
    case = make_case("Concat", 13, (1, 4, 5, 6), body, {"half": np.float32(0.5)})
    signal = np.random.default_rng(7).standard_normal((1, 8, 5, 6), np.float32)
    # what comes by both ways meets before it is rectified
    met = signal[:, :4] + signal[:, 4:] * (relu(case.value) < 0.5)
    np.testing.assert_allclose(Alone.of(case, "deconvnet").back(signal), relu(met), rtol=1e-6)


SPELLED_LRN = (
    "m = Mul(x, x) u = Unsqueeze(m, one) p = Pad(u, pads) "
    "a = AveragePool<kernel_shape = [3, 1, 1], strides = [1, 1, 1]>(p) v = Squeeze(a, one) "
    "k = Mul(v, steep) b = Add(k, root) q = Pow(b, tenth) y = Div(x, q)"
)


@pytest.mark.parametrize("body", ["y = LRN<size = 3, alpha = 0.8>(x)", SPELLED_LRN])
def test_contrast_normalisation_is_skipped_in_deconvnet_only(body: str) -> None:
    numbers = {key: np.float32(NUMBERS[key]) for key in ("steep", "root", "tenth") if key in body}
    if "pads" in body:
        numbers |= {"one": np.array([1]), "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 0])}
    case = make_case("LRN", 13, (1, 5, 3, 3), body, numbers)
    signal = np.random.default_rng(7).standard_normal(case.value.shape, np.float32)
    skipped, guided, gradient = (Alone.of(case, m).back(signal) for m in rules.METHODS)
    np.testing.assert_array_equal(skipped, signal)
    np.testing.assert_array_equal(guided, gradient)
    assert miss(case) <= SINGLE_OP
    assert np.abs(gradient - signal).max() > 0.01

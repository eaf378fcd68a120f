"""Where the methods differ, in numpy: what rectifies a signal, however it is spelled, and what does not."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from node_cases import Alone, canonical_of, make_case
from own_cases import own_cases
from rule_cases import OPS, miss

from zfviz.graph import rules
from zfviz.graph.rules import registered_rules
from zfviz.tolerances import SINGLE_OP

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

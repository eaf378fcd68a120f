"""Quantised ops of the oracle: forward against onnxruntime, and the way back straight through the rounding."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the oracle needs torch: pip install zfviz[oracle]")

from oracle import OPS, Oracle
from test_oracle import build, noise
from test_oracle_nodes import QUANTIZED as ELSEWHERE
from test_oracle_nodes import onnxruntime_runs

F = np.float32
RNG = np.random.default_rng(0)
IN, OUT = "s, z", "t, v"
Q, P = "q = QuantizeLinear(x, s, z)", "y = DequantizeLinear(p, t, v)"
SCALES = {"s": F(0.02), "z": np.uint8(120), "t": F(0.03), "v": np.uint8(100)}
POOL = "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 0]"


def bytes_of(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype(np.uint8)


W = {"w": bytes_of(4, 3, 3, 3), "u": F([0.01, 0.02, 0.015, 0.005]), "k": np.uint8([128] * 4)}
B = {"w": bytes_of(5, 4), "u": F(0.01), "k": np.uint8(128)}

# the op; the shape of x; nodes that make p of q, which is x quantised by (s, z), to be read by (t, v); what they read
CASES = {
    "QLinearConv": (
        (1, 3, 6, 6),
        f"p = QLinearConv<pads = [1, 1, 0, 0]>(q, {IN}, w, u, k, {OUT}, b)",
        W | {"b": np.int32([3, -999, 500, 9])},
    ),
    "QLinearMatMul": ((2, 5), f"p = QLinearMatMul(q, {IN}, w, u, k, {OUT})", B),
    "QGemm": (
        (2, 4),
        f"p = com.microsoft.QGemm<transB = 1>(q, {IN}, w, u, k, b, {OUT})",
        B | {"b": np.int32([3, -999, 500, 9, 0])},
    ),
    "QGemm alpha": (
        (2, 5),
        f"p = com.microsoft.QGemm<alpha = 0.5>(q, {IN}, w, u, k, b, {OUT})",
        B | {"b": np.int32([3, -999, 500, 9])},
    ),
    "QLinearAdd": ((2, 4), f"p = com.microsoft.QLinearAdd(q, {IN}, w, u, k, {OUT})", B | {"w": bytes_of(2, 4)}),
    "QLinearMul": ((2, 4), f"p = com.microsoft.QLinearMul(q, {IN}, w, u, k, {OUT})", B | {"w": bytes_of(2, 4)}),
    "QLinearConcat": ((2, 4), f"p = com.microsoft.QLinearConcat<axis = 0>({OUT}, q, {IN}, w, u, k)", B),
    "QLinearWhere": (
        (2, 4),
        f"p = com.microsoft.QLinearWhere(c, q, {IN}, w, u, k, {OUT})",
        B | {"w": bytes_of(2, 4), "c": np.array([True, False, False, True])},
    ),
    "QLinearSigmoid": (
        (2, 9),
        f"p = com.microsoft.QLinearSigmoid(q, {IN}, {OUT})",
        {"t": F(1 / 256), "v": np.uint8(0)},
    ),
    "QLinearLeakyRelu": ((2, 9), f"p = com.microsoft.QLinearLeakyRelu<alpha = 0.3>(q, {IN}, {OUT})", {}),
    "QLinearSoftmax": (
        (2, 9),
        f"p = com.microsoft.QLinearSoftmax<axis = -1, opset = 13>(q, {IN}, {OUT})",
        {"t": F(1 / 256), "v": np.uint8(0)},
    ),
    "QLinearAveragePool": ((1, 2, 6, 7), f"p = com.microsoft.QLinearAveragePool<{POOL}>(q, {IN}, {OUT})", {}),
    "QLinearAveragePool last": (
        (1, 6, 7, 2),
        f"p = com.microsoft.QLinearAveragePool<{POOL}, channels_last = 1>(q, {IN}, {OUT})",
        {},
    ),
    "QLinearGlobalAveragePool": (
        (1, 2, 4, 4),
        f"p = com.microsoft.QLinearGlobalAveragePool<channels_last = 0>(q, {IN}, {OUT})",
        {},
    ),
    "NhwcMaxPool": ((1, 6, 7, 2), f"p = com.microsoft.NhwcMaxPool<{POOL}>(q)", {"t": F(0.02), "v": np.uint8(120)}),
    "MaxPool": ((1, 2, 6, 7), f"p = MaxPool<{POOL}>(q)", {"t": F(0.02), "v": np.uint8(120)}),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_agrees_with_onnxruntime_within_one_step(name: str) -> None:
    size, body, more = CASES[name]
    weights = SCALES | more
    model = build(f"{Q} {body} {P}", size, 17, **{key: np.asarray(value) for key, value in weights.items()})
    image = noise(*size, seed=1)
    (expected,) = onnxruntime_runs(model, {"x": image})
    net = Oracle(model, image, "gradient")
    steps = np.abs(net.values["y"] - expected) / weights["t"]
    assert np.ptp(expected) > 0
    assert steps.max() < 1.01
    assert np.mean(steps > 0.5) < 0.1


def test_every_quantized_op_has_a_case() -> None:
    quantized = {op for op in OPS if op.startswith(ELSEWHERE)}
    assert quantized <= {name.split()[0] for name in CASES}


SIGNAL = np.array([[3.0, -2.0, 5.0]])


def back(body: str, image: np.ndarray, seed: np.ndarray, method: str = "gradient", **weights: np.ndarray) -> np.ndarray:
    return Oracle(build(body, image.shape, 17, **weights), image, method).project("y", seed)


@pytest.mark.parametrize("method", ["gradient", "deconvnet", "guided"])
def test_signals_pass_straight_through(method: str) -> None:
    image = np.array([[0.013, -50.0, 50.0]])  # the last two saturate
    scale, zero = F(0.5), np.uint8(3)
    body = "q = QuantizeLinear(x, s, z)"
    np.testing.assert_allclose(back(f"{body} y = Identity(q)", image, SIGNAL, method, s=scale, z=zero), SIGNAL / 0.5)
    found = back(f"{body} y = DequantizeLinear(q, s, z)", image, SIGNAL, method, s=scale, z=zero)
    np.testing.assert_allclose(found, SIGNAL)


def test_scales_by_channel_and_block() -> None:
    image = noise(2, 4)
    rows = {"s": F([0.5, 0.25]), "z": np.int8([0, 0])}
    body = "q = QuantizeLinear<axis = 0>(x, s, z) y = Identity(q)"
    np.testing.assert_allclose(back(body, image, np.ones((2, 4)), **rows), np.repeat([[2.0], [4.0]], 4, 1))
    model = build(
        "y = QuantizeLinear<axis = 1, block_size = 2>(x, s, z)",
        (2, 4),
        21,
        s=F([[1, 2], [4, 8]]),
        z=np.zeros((2, 2), np.int8),
    )
    found = Oracle(model, image, "gradient").project("y", np.ones((2, 4)))
    np.testing.assert_allclose(found, [[1, 1, 0.5, 0.5], [0.25, 0.25, 0.125, 0.125]])


def test_dynamic_scales_take_no_gradient() -> None:
    image = np.array([[1.0, -2.0, 3.1]])
    body = "q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z)"
    np.testing.assert_allclose(back(body, image, SIGNAL), SIGNAL)
    whole = F([[1, 2], [3, 4], [5, 6]]).astype(np.int8)
    body = "y = com.microsoft.DynamicQuantizeMatMul(x, w, t)"
    found = back(body, image, np.array([[1.0, 10.0]]), w=whole, t=F(0.5))
    np.testing.assert_allclose(found, [[10.5, 21.5, 32.5]])


def test_integer_products_carry_the_signal() -> None:
    image, whole = np.array([[1.0, -2.0, 3.1]]), np.int8([[1, 2], [3, 4], [5, 6]])
    body = "q = QuantizeLinear(x, s, z) i = MatMulInteger(q, w, z, k) y = Cast<to = 1>(i)"
    weights = {"s": F(0.1), "z": np.uint8(99), "w": whole, "k": np.int8(1)}
    np.testing.assert_allclose(back(body, image, np.array([[1.0, 10.0]]), **weights), [[100, 320, 540]])


def test_a_quantized_leaky_relu_is_a_rectifier() -> None:
    image = np.array([[1.0, -2.0, 3.0]])
    body = f"{Q} p = com.microsoft.QLinearLeakyRelu<alpha = 0.5>(q, s, z, s, z) y = DequantizeLinear(p, s, z)"
    weights = {"s": F(0.1), "z": np.uint8(99)}
    np.testing.assert_allclose(back(body, image, SIGNAL, **weights), [[3, -1, 5]])
    np.testing.assert_allclose(back(body, image, SIGNAL, "deconvnet", **weights), [[3, -1, 5]])
    np.testing.assert_allclose(back(body, image, SIGNAL, "guided", **weights), [[3, -0.5, 5]])
    np.testing.assert_allclose(back(body, image, -SIGNAL, "deconvnet", **weights), [[-1.5, 2, -2.5]])

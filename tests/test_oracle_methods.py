"""What the methods make of activations and LRN in the oracle, of one node or of several, by hand-computed signals."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

pytest.importorskip("torch", reason="the oracle needs torch: pip install zfviz[oracle]")

from oracle import Oracle
from test_oracle import build, noise

F = np.float32
IMAGE = np.array([[[[-3.0, -0.7, -0.2, 0.3, 1.1, 4.0]]]])
SIGNAL = np.array([[[[2.0, -3.0, 5.0, -7.0, 11.0, -13.0]]]])

NUMBERS = {
    "zero": F(0),
    "sixth": F(1 / 6),
    "half": F(0.5),
    "one": F(1),
    "two": F(2),
    "three": F(3),
    "four": F(4),
    "six": F(6),
}
NUMBERS |= {"root": F(2**0.5), "inverse": F(0.5**0.5)}  # of gelu
NUMBERS |= {"power": F(3), "cube": F(0.044715), "pi": F((2 / np.pi) ** 0.5)}  # of gelu by tanh
NUMBERS |= {"slopes": F([0.1, 0.2, -0.3, 0.4, 0.5, 1.5]), "shift": np.zeros(6, F)}

SELU = 1.0507009873554805
RELU, LEAKY = (1.0, 0.0), (1.0, 0.25)

# nodes that make y from x; the limits of f(tx) / t for x = 1 and x = -1, the latter with its sign changed
RECTIFIERS = {
    "y = Relu(x)": RELU,
    "y = LeakyRelu<alpha = 0.25>(x)": LEAKY,
    "y = PRelu(x, slopes)": (1.0, NUMBERS["slopes"]),
    "y = Elu<alpha = 0.3>(x)": RELU,
    "y = Selu(x)": (SELU, 0.0),
    "y = Celu<alpha = 2.0>(x)": RELU,
    "y = Softplus(x)": RELU,
    "y = ThresholdedRelu<alpha = 0.5>(x)": RELU,
    "y = Gelu(x)": RELU,
    'y = Gelu<approximate = "tanh">(x)': RELU,
    "y = HardSwish(x)": RELU,
    "y = Mish(x)": RELU,
    "y = com.microsoft.QuickGelu(x)": RELU,
    "y = com.microsoft.Gelu(x)": RELU,
    "y = com.microsoft.FastGelu(x)": RELU,
    "y = com.microsoft.BiasGelu(x, shift)": RELU,
    "y = Clip(x, half)": RELU,
    # swish
    "s = Sigmoid(x) y = Mul(x, s)": RELU,
    "b = Mul(x, three) s = Sigmoid(b) y = Mul(s, x)": RELU,
    "n = Neg(x) e = Exp(n) d = Add(one, e) y = Div(x, d)": RELU,
    "q = QuantizeLinear(x, one) d = DequantizeLinear(q, one) s = Sigmoid(d) y = Mul(d, s)": RELU,
    # hard swish
    "p = Add(x, three) c = Clip(p, zero, six) m = Mul(x, c) y = Div(m, six)": RELU,
    "p = Add(three, x) c = Clip(p, zero, six) d = Div(c, six) y = Mul(d, x)": RELU,
    "p = Add(x, three) l = Relu(p) c = Min(l, six) d = Mul(c, sixth) y = Mul(x, d)": RELU,
    "h = HardSigmoid<alpha = 0.1666, beta = 0.5>(x) y = Mul(x, h)": RELU,
    # gelu
    "d = Div(x, root) e = Erf(d) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)": RELU,
    "d = Mul(x, inverse) e = Erf(d) p = Add(one, e) g = Mul(half, x) y = Mul(g, p)": RELU,
    "d = Mul(x, inverse) e = Erf(d) g = Mul(half, e) p = Add(g, half) y = Mul(p, x)": RELU,
    "q = Pow(x, power) k = Mul(cube, q) s = Add(x, k) u = Mul(pi, s) h = Tanh(u) p = Add(one, h) "
    "m = Mul(x, p) y = Mul(half, m)": RELU,
    "q = Mul(x, x) k = Mul(q, cube) s = Add(one, k) w = Mul(x, s) u = Mul(w, pi) h = Tanh(u) p = Add(h, one) "
    "g = Mul(x, half) y = Mul(g, p)": RELU,
    # mish
    "s = Softplus(x) v = Tanh(s) y = Mul(x, v)": RELU,
    "e = Exp(x) p = Add(e, one) l = Log(p) v = Tanh(l) y = Mul(x, v)": RELU,
    "e = Exp(x) p = Add(e, two) m = Mul(e, p) w = Add(m, two) d = Div(m, w) y = Mul(x, d)": RELU,
    # softplus, elu, selu, thresholded relu
    "e = Exp(x) p = Add(e, one) y = Log(p)": RELU,
    "e = Exp(x) m = Sub(e, one) g = Less(x, zero) y = Where(g, m, x)": RELU,
    "g = Less(x, half) y = Where(g, zero, x)": RELU,
    "q = Mul(x, x) p = Add(q, one) s = Sqrt(p) w = Add(x, s) y = Mul(half, w)": RELU,
    # relu and leaky relu
    "y = Max(x, zero)": RELU,
    "y = Max(zero, x)": RELU,
    "m = Abs(x) s = Add(x, m) y = Mul(s, half)": RELU,
    "g = Greater(x, zero) y = Where(g, x, zero)": RELU,
    "g = Greater(x, zero) k = Cast<to = 1>(g) y = Mul(x, k)": RELU,
    "f = Div(x, four) y = Max(f, x)": LEAKY,
    "g = Less(x, zero) f = Div(x, four) y = Where(g, f, x)": LEAKY,
    "p = Relu(x) n = Neg(x) l = Relu(n) m = Div(l, four) y = Sub(p, m)": LEAKY,
    "p = Relu(x) n = Neg(x) l = Relu(n) k = Neg(l) m = Mul(slopes, k) y = Add(p, m)": (1.0, NUMBERS["slopes"]),
    "p = Relu(x) b = Abs(x) d = Sub(x, b) m = Mul(d, slopes) k = Mul(m, half) y = Add(p, k)": (1.0, NUMBERS["slopes"]),
    "p = Max(x, zero) l = Min(x, zero) m = Mul(l, slopes) y = Add(m, p)": (1.0, NUMBERS["slopes"]),
}

EXACT = (
    "y = Sigmoid(x)",
    "y = Tanh(x)",
    "y = HardSigmoid(x)",
    "y = Softsign(x)",
    "y = Softmax(x)",
    "y = Abs(x)",
    "y = Exp(x)",
    "y = Erf(x)",
    "y = Shrink(x)",
    "y = Min(x, half)",
    "y = Mul(x, x)",
    "h = Tanh(x) y = Mul(x, h)",
    "m = ReduceMean<axes = [3]>(x) s = Sigmoid(m) y = Mul(x, s)",
    "m = ReduceMax<axes = [3]>(x) y = Max(x, m)",
    "n = Neg(x) y = Max(x, n)",
    "y = Add(x, x)",
    "b = Mul(x, slopes) s = Sigmoid(b) y = Mul(x, s)",
    # soft shrinking, the absolute and a hard tanh: of rectifiers, but none as a whole
    "g = Greater(x, half) u = Sub(x, half) p = Where(g, u, zero) n = Neg(x) h = Greater(n, half) v = Add(x, half) "
    "q = Where(h, v, zero) y = Add(p, q)",
    "p = Relu(x) n = Neg(x) q = Relu(n) y = Add(p, q)",
    "p = Add(x, one) l = Relu(p) q = Sub(x, one) m = Relu(q) y = Sub(l, m)",
)


def net_of(body: str, method: str, image: np.ndarray = IMAGE, opset: int = 17) -> Oracle:
    opset = {"Gelu": 20, "Mish": 18}.get(body.removeprefix("y = ").split("<")[0].split("(")[0], opset)
    used = {name: NUMBERS[name] for name in set(re.findall(r"\w+", body)) & NUMBERS.keys()}
    return Oracle(build(body, image.shape, opset, **used), image, method)


@pytest.mark.parametrize("body", RECTIFIERS)
def test_rectifiers(body: str) -> None:
    above, below = RECTIFIERS[body]
    rectified = above * np.maximum(SIGNAL, 0) - below * np.maximum(-SIGNAL, 0)
    np.testing.assert_allclose(net_of(body, "deconvnet").project("y", SIGNAL), rectified, rtol=1e-6)
    slopes = net_of(body, "gradient").project("y", np.ones_like(SIGNAL))
    guided = slopes * rectified / above  # the slope upwards is in both, and counts once
    np.testing.assert_allclose(net_of(body, "guided").project("y", SIGNAL), guided, rtol=1e-6, atol=1e-12)
    values = [net_of(body, method).values["y"] for method in ("gradient", "deconvnet", "guided")]
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])


@pytest.mark.parametrize("body", RECTIFIERS)
def test_limits_of_rectifiers_by_far_numbers(body: str) -> None:
    above, below = RECTIFIERS[body]
    step = 1e-6 if "Exp" not in body else 0.01  # beyond e^700 are no doubles
    for side, slope in ((1, above), (-1, below)):
        if "Quantize" in body:
            continue
        near, far = (net_of(body, "gradient", np.full_like(IMAGE, side * x / step)).values["y"] for x in (1, 2))
        np.testing.assert_allclose((far - near) * step * side, np.broadcast_to(slope, IMAGE.shape), atol=2e-2)


@pytest.mark.parametrize("method", ["deconvnet", "guided"])
@pytest.mark.parametrize("body", EXACT)
def test_what_no_method_changes(body: str, method: str) -> None:
    expected = net_of(body, "gradient").project("y", SIGNAL)
    np.testing.assert_allclose(net_of(body, method).project("y", SIGNAL), expected, atol=1e-12)


def test_a_tensor_inside_an_activation_is_walked_by_its_own_rules() -> None:
    net = net_of("p = Relu(x) n = Neg(x) l = Relu(n) m = Div(l, four) y = Sub(p, m)", "deconvnet")
    np.testing.assert_allclose(net.project("m", SIGNAL), -np.maximum(SIGNAL, 0) / 4)


def test_clip_from_0_is_relu_whose_bound_darkens_no_signal_in_deconvnet() -> None:
    image = np.array([[[[-1.0, 2.0, 7.0, -1.0, 2.0, 7.0]]]])
    signal = np.array([[[[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]]]])
    for body in ("y = Clip(x, zero, six)", "l = Max(x, zero) y = Min(l, six)", "l = Min(x, six) y = Max(l, zero)"):
        np.testing.assert_allclose(net_of(body, "deconvnet", image).project("y", signal), [[[[1, 1, 1, 0, 0, 0]]]])
        np.testing.assert_allclose(net_of(body, "guided", image).project("y", signal), [[[[0, 1, 0, 0, 0, 0]]]])


LOCAL_NORM = """
    m = Mul(x, x)
    u = Unsqueeze(m, one)
    p = Pad(u, pads)
    a = AveragePool<kernel_shape = [3, 1, 1], strides = [1, 1, 1]>(p)
    s = Squeeze(a, one)
    b = Mul(s, alpha)
    c = Add(b, bias)
    d = Pow(c, beta)
    y = Div(x, d)
"""


def test_lrn_of_several_nodes() -> None:
    image, signal = noise(1, 5, 3, 3), noise(1, 5, 3, 3, seed=2).astype(np.float64)
    weights = {"one": np.int64([1]), "pads": np.int64([0, 0, 1, 0, 0, 0, 0, 1, 0, 0])}
    weights |= {"alpha": F(0.8), "bias": F(2), "beta": F(0.75)}
    spelled = {m: Oracle(build(LOCAL_NORM, image.shape, 17, **weights), image, m) for m in ("gradient", "deconvnet")}
    whole = Oracle(build("y = LRN<size = 3, alpha = 0.8, bias = 2.0>(x)", image.shape, 17), image, "gradient")
    np.testing.assert_allclose(spelled["gradient"].values["y"], whole.values["y"], atol=1e-6)
    np.testing.assert_allclose(spelled["gradient"].project("y", signal), whole.project("y", signal), atol=1e-6)
    np.testing.assert_array_equal(spelled["deconvnet"].project("y", signal), signal)


@pytest.mark.parametrize("taken", [True, False])
def test_if_reads_tensors_outside(taken: bool) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> net (float[1, 1, 1, 6] x, bool k) => (float[1, 1, 1, 6] y) {
        a = Relu(x)
        y = If(k) <
            then_branch = g1 () => (float[1, 1, 1, 6] t) { b = Relu(a) t = Mul(b, x) },
            else_branch = g2 () => (float[1, 1, 1, 6] e) { e = Neg(a) }
        >
    }"""
    net = Oracle(parser.parse_model(text), IMAGE, "gradient", {"k": np.array(taken)})
    above = (IMAGE > 0).astype(float)
    np.testing.assert_allclose(net.project("y", SIGNAL), SIGNAL * (2 * IMAGE * above if taken else -above))


def test_local_functions_are_inlined() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]> net (float[1, 1, 1, 6] x) => (float[1, 1, 1, 6] y) {
        y = own.Silu(x)
    }
    <domain: "own", opset_import: ["" : 17]> Silu (u) => (v) { s = Sigmoid(u) v = Mul(u, s) }"""
    net = Oracle(parser.parse_model(text), IMAGE, "deconvnet")
    np.testing.assert_allclose(net.project("y", SIGNAL), np.maximum(SIGNAL, 0))


def test_bytes_for_an_image_and_halves_for_weights() -> None:
    nodes = [helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT16), helper.make_node("Mul", ["f", "w"], ["y"])]
    ports = [helper.make_tensor_value_info("x", TensorProto.UINT8, [3])], [onnx.ValueInfoProto(name="y")]
    graph = helper.make_graph(nodes, "g", *ports, [numpy_helper.from_array(np.float16([2, 3, 4]), "w")])
    net = Oracle(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), np.uint8([1, 2, 255]), "gradient"
    )
    np.testing.assert_array_equal(net.values["y"], [2, 6, 1020])
    np.testing.assert_array_equal(net.project("y", np.ones(3)), [2, 3, 4])


def test_old_attributes() -> None:
    image = noise(2, 3, 4)
    model = build("y = Add<broadcast = 1, axis = 1>(x, w)", image.shape, 6, w=F([1, 2, 3]))
    expected = image + np.array([[1], [2], [3]])
    np.testing.assert_allclose(Oracle(model, image, "gradient").values["y"], expected)
    model = build("y = Mul<broadcast = 1>(x, w)", image.shape, 6, w=F([1, 2, 3, 4]))
    np.testing.assert_allclose(Oracle(model, image, "gradient").values["y"], image * [1, 2, 3, 4])
    model = build("y = PRelu(x, w)", image.shape, 6, w=F([0.1, 0.2, 0.3]))
    expected = np.where(image < 0, image * [[0.1], [0.2], [0.3]], image)
    np.testing.assert_allclose(Oracle(model, image, "gradient").values["y"], expected, rtol=1e-6)
    statistics = {"s": noise(3, 4), "b": noise(3, 4), "m": noise(3, 4), "v": noise(3, 4) ** 2}
    model = build("y = BatchNormalization<spatial = 0>(x, s, b, m, v)", image.shape, 7, **statistics)
    s, b, m, v = (array.astype(np.float64) for array in statistics.values())
    expected = (image - m) / np.sqrt(v + 1e-5) * s + b
    np.testing.assert_allclose(Oracle(model, image, "gradient").values["y"], expected)


def test_other_domains_are_refused() -> None:
    model = build("y = Relu(x)", IMAGE.shape)
    model.graph.node[0].domain = "com.ms.internal.nhwc"
    with pytest.raises(NotImplementedError, match="Relu"):
        Oracle(model, IMAGE, "gradient")

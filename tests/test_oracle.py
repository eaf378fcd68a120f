"""The oracle on whole nets, held against three others: onnxruntime, finite differences and captum."""

from collections.abc import Callable, Iterator

import numpy as np
import onnx
import onnxruntime
import pytest
from corpus import LIGHT, light_model, photo
from onnx import TensorProto, numpy_helper, parser

torch = pytest.importorskip("torch", reason="the oracle needs torch: pip install zfviz[oracle]")

import oracle as subject  # noqa: E402 (after the skip: it imports torch)
from oracle import OPS, Oracle  # noqa: E402

HEAVY = {"vgg19", "zfnet512"}


def build(body: str, size: tuple[int, ...], opset: int = 18, **weights: np.ndarray) -> onnx.ModelProto:
    """A model with input x of that size and output y."""
    opsets = f'["" : {opset}, "com.microsoft" : 1]'
    head = f"<ir_version: 8, opset_import: {opsets}> net (float{list(size)} x) => (float y)"
    model = parser.parse_model(f"{head} {{ {body} }}")
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def run(model: onnx.ModelProto, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor that onnxruntime computes for the model."""
    # what a Dropout that drops nothing gives for its mask differs between opsets and runtimes
    names = [k for node in model.graph.node for k in (node.output[:1] if node.op_type == "Dropout" else node.output)]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=key) for key in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return zip(names, session.run(None, {model.graph.input[0].name: image}), strict=True)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in HEAVY)) for n in LIGHT])
def test_forward_agrees_with_onnxruntime(name: str) -> None:
    model, image = light_model(name), photo()
    onnx.checker.check_model(model, full_check=True)
    values = Oracle(model, image, "gradient").values
    for key, expected in run(model, image):
        np.testing.assert_allclose(values[key], expected, atol=1e-3 * np.abs(expected).max(), rtol=0, err_msg=key)

    assert len(model.graph.input) == 1
    assert all(np.ptp(values[t.name]) > 0 for t in model.graph.initializer if t.data_type == TensorProto.FLOAT)
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "Relu")]
    assert [node.name for node in layers if not 1e-2 < values[node.output[0]].std() < 1e3] == []
    if model.graph.node[-1].op_type == "Softmax":
        assert 1e-3 < values[model.graph.node[-1].output[0]].max() < 0.9


def test_noise_is_seeded() -> None:
    first, again, other = (light_model("squeezenet", seed).SerializeToString() for seed in (0, 0, 1))
    assert first == again != other


POOLS = (
    "kernel_shape=[3, 3], strides=[2, 2]",
    "kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1",
    "kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]",
    "kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]",
    "kernel_shape=[3, 2], strides=[1, 2], pads=[2, 0, 1, 1]",
    "kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]",
    "kernel_shape=[2, 2], strides=[3, 3], pads=[0, 1, 1, 0], ceil_mode=1",
    "kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1",
    "kernel_shape=[2, 2], strides=[3, 2], pads=[1, 1, 1, 1], ceil_mode=1",
    'kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"',
    'kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_LOWER"',
    'kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID"',
)


@pytest.mark.parametrize(
    "attributes", [*POOLS, "kernel_shape=[2, 3], dilations=[2, 3]", f"{POOLS[3]}, storage_order=1"]
)
@pytest.mark.parametrize("sizes", [(11, 14), (10, 13)])
def test_switches_are_onnx_indices(attributes: str, sizes: tuple[int, int]) -> None:
    image = noise(2, 3, *sizes)
    model = build(f"y, indices = MaxPool<{attributes}>(x)", image.shape)
    net = Oracle(model, image, "gradient")
    expected = dict(run(model, image))
    np.testing.assert_array_equal(net.switches["y"], expected["indices"])
    np.testing.assert_array_equal(net.values["y"], expected["y"])


@pytest.mark.parametrize("counting", [0, 1])
@pytest.mark.parametrize("attributes", POOLS)
@pytest.mark.parametrize("sizes", [(11, 14), (10, 13)])
def test_averages_agree_with_onnxruntime(attributes: str, counting: int, sizes: tuple[int, int]) -> None:
    image = noise(2, 3, *sizes)
    model = build(f"y = AveragePool<{attributes}, count_include_pad={counting}>(x)", image.shape, opset=19)
    np.testing.assert_allclose(
        Oracle(model, image, "gradient").values["y"], dict(run(model, image))["y"], rtol=1e-4, atol=1e-6
    )


def tall() -> onnx.ModelProto:
    """A small ZFNet: overlapping pools, LRN, grouped and dilated filters, dense layers."""
    body = """
        a = Conv<pads=[1, 0, 2, 1], strides=[2, 1]>(x, w1, b1)
        b = Relu(a)
        c = LRN<size=4, alpha=0.5, beta=0.75, bias=1.5>(b)
        d = MaxPool<kernel_shape=[3, 3], strides=[1, 2], pads=[1, 0, 0, 1]>(c)
        e = Conv<group=2, dilations=[1, 2]>(d, w2)
        f = BatchNormalization(e, scale, bias, mean, variance)
        g = LeakyRelu<alpha=0.2>(f)
        h = AveragePool<kernel_shape=[2, 2], pads=[1, 1, 0, 0]>(g)
        i = Flatten(h)
        j = Gemm<transB=1, alpha=0.7>(i, w3)
        y = Softmax(j)
    """
    vectors = {"scale": noise(6, seed=3), "bias": noise(6, seed=4), "mean": noise(6), "variance": noise(6) ** 2 + 0.5}
    return build(
        body,
        (1, 2, 11, 9),
        b1=noise(4),
        w1=noise(4, 2, 3, 3),
        w2=noise(6, 2, 2, 2),
        w3=noise(5, 6 * 4 * 2, seed=1) / 5,
        **vectors,
    )


def wide() -> onnx.ModelProto:
    """Branches, gates and everything that moves values about, at an opset with attributes for axes."""
    body = """
        a = Pad<pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.3>(x)
        b, c = Split<axis=1, split=[1, 3]>(a)
        d = Slice<starts=[1, -5], ends=[100, -1], axes=[2, 3]>(c)
        e = Clip<min=0.0, max=0.8>(d)
        f = Sigmoid(d)
        g = Mul(e, f)
        h = Transpose<perm=[0, 2, 1, 3]>(g)
        i = Concat<axis=3>(h, h)
        j = Tanh(i)
        k = MaxPool<kernel_shape=[2, 3], strides=[1, 2], ceil_mode=1>(j)
        l = GlobalMaxPool(k)
        m = Sub(k, l)
        n = Div(m, two)
        o = Squeeze<axes=[0]>(n)
        p = Unsqueeze<axes=[0]>(o)
        q = Sum(p, k, two)
        r, mask = Dropout(q)
        s = Gather<axis=1>(r, places)
        t = Reshape(s, shape)
        u = MatMul(t, w)
        y = Add(u, b1)
    """
    weights = {"two": np.float32([2]), "b1": noise(3), "w": noise(32, 3) / 5}
    numbers = {"places": np.array([[2, 0], [1, -1]]), "shape": np.array([0, -1])}
    return build(body, (1, 4, 4, 6), 10, **weights, **numbers)


def slopes(model: onnx.ModelProto, image: np.ndarray, seed: np.ndarray, ways: np.ndarray) -> list[float]:
    """How fast seed . y grows along each way through image space, from forward runs alone."""
    step, start = 1e-6, image.astype(np.float64)
    heights = [
        [np.vdot(seed, Oracle(model, start + side * way, "gradient").values["y"]) for side in (-step, step)]
        for way in ways
    ]
    return [(more - less) / (2 * step) for less, more in heights]


@pytest.mark.parametrize("make", [tall, wide])
def test_gradient_agrees_with_finite_differences(make: Callable[[], onnx.ModelProto]) -> None:
    model = make()
    image = noise(*(size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim), seed=5)
    net = Oracle(model, image, "gradient")
    seed, ways = noise(*net.values["y"].shape, seed=6), noise(30, *image.shape, seed=7)
    found = net.project("y", seed)
    assert np.abs(found).max() > 1e-2
    np.testing.assert_allclose(np.tensordot(ways, found, 4), slopes(model, image, seed, ways), atol=1e-6, rtol=1e-5)
    np.testing.assert_array_equal(found, net.project("y", seed))  # a second walk back gives the same


def test_overlapping_windows_add_up() -> None:
    image = np.zeros((1, 1, 5, 5), np.float32)
    image[0, 0, 2, 2] = 1
    model = build("y = MaxPool<kernel_shape=[3, 3], strides=[2, 2]>(x)", image.shape)
    net = Oracle(model, image, "deconvnet")
    np.testing.assert_array_equal(net.switches["y"], np.full((1, 1, 2, 2), 12))
    np.testing.assert_array_equal(net.project("y", np.array([[[[1.0, 2], [3, 4]]]])), image * 10)


RECTIFIERS = {
    # x, then signal, then what deconvnet and guided make of it
    "Relu": ([-1, 2, -1, 2], [3, 3, -3, -3], [3, 3, 0, 0], [0, 3, 0, 0]),
    "LeakyRelu<alpha=0.5>": ([-1, 2, -1, 2], [3, 3, -3, -3], [3, 3, -1.5, -1.5], [1.5, 3, -0.75, -1.5]),
    "Clip<min=0.0, max=1.0>": ([-1, 0.5, 0.5, 2], [3, 3, -3, 3], [3, 3, 0, 3], [0, 3, 0, 0]),
    "Clip<min=-1.0, max=1.0>": ([-2, 0.5, 0.5, 2], [3, 3, -3, 3], [0, 3, -3, 0], [0, 3, -3, 0]),
    "Sigmoid": ([0, 0, 0, 0], [4, 8, -4, -8], [1, 2, -1, -2], [1, 2, -1, -2]),
    "LRN<size=1, alpha=1.0, beta=1.0, bias=1.0>": ([0, 0, 1, 1], [1, -1, 5, -5], [1, -1, 5, -5], [1, -1, 0, 0]),
}


@pytest.mark.parametrize("op", RECTIFIERS)
def test_methods_at_one_layer(op: str) -> None:
    x, signal, deconvnet, guided = (np.reshape(row, (1, 1, 1, 4)).astype(np.float64) for row in RECTIFIERS[op])
    name, _, attributes = op.partition("<")
    model = build(f"y = {name}{'<' * bool(attributes)}{attributes}(x)", x.shape, 9)
    np.testing.assert_allclose(Oracle(model, x, "deconvnet").project("y", signal), deconvnet, atol=1e-12)
    np.testing.assert_allclose(Oracle(model, x, "guided").project("y", signal), guided, atol=1e-12)


def compare_with_captum(method: str, layer: str, rule: str) -> None:
    """One unit of a small net, the oracle's way by `method` and captum's by its class `rule`."""
    attribution = pytest.importorskip("captum.attr", reason="captum is missing: pip install zfviz[oracle]")
    modules = {
        "a": torch.nn.Conv2d(3, 8, 3, padding=1),
        "b": torch.nn.ReLU(),
        "c": torch.nn.MaxPool2d(3, 2),
        "d": torch.nn.Conv2d(8, 6, 3),
        "y": torch.nn.ReLU(),
    }
    weights = {"w1": noise(8, 3, 3, 3), "b1": noise(8) - 6, "w2": noise(6, 8, 3, 3), "b2": noise(6)}
    twin = torch.nn.Sequential()
    for name, module in modules.items():
        twin.add_module(name, module.double())
    for parameter, array in zip(twin.parameters(), weights.values(), strict=True):
        parameter.data.copy_(torch.from_numpy(array))
    body = """
        a = Conv<pads=[1, 1, 1, 1]>(x, w1, b1)
        b = Relu(a)
        c = MaxPool<kernel_shape=[3, 3], strides=[2, 2]>(b)
        d = Conv(c, w2, b2)
        y = Relu(d)
    """
    image = noise(1, 3, 13, 13, seed=7).astype(np.float64)
    net = Oracle(build(body, image.shape, **weights), image, method)
    unit = np.unravel_index(net.values[layer].argmax(), net.values[layer].shape)
    seed = np.zeros_like(net.values[layer])
    seed[unit] = 1
    explain = getattr(attribution, rule)(twin, modules[layer])
    expected = explain.attribute(torch.from_numpy(image).requires_grad_(), tuple(map(int, unit[1:])))
    np.testing.assert_allclose(net.project(layer, seed), expected.detach().numpy(), atol=1e-12)


CAPTUM = {"deconvnet": "NeuronDeconvolution", "guided": "NeuronGuidedBackprop", "gradient": "NeuronGradient"}


@pytest.mark.parametrize("layer", ["b", "c", "d", "y"])
@pytest.mark.parametrize("method", CAPTUM)
@pytest.mark.filterwarnings("ignore:Setting (forward|backward)")
def test_projection_agrees_with_captum(method: str, layer: str) -> None:
    compare_with_captum(method, layer, CAPTUM[method])


@pytest.mark.parametrize(("method", "other"), [(m, o) for m in CAPTUM for o in CAPTUM if m != o])
@pytest.mark.filterwarnings("ignore:Setting (forward|backward)")
def test_other_method_is_noticed(method: str, other: str) -> None:
    with pytest.raises(AssertionError):
        compare_with_captum(method, "d", CAPTUM[other])


@pytest.mark.filterwarnings("ignore:Setting (forward|backward)")
def test_wrong_rectifier_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, "Relu", lambda layer, x: subject.rectify(layer, x, torch.relu, torch.abs))
    with pytest.raises(AssertionError):
        compare_with_captum("deconvnet", "d", CAPTUM["deconvnet"])


def test_wrong_gradient_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OPS, "Relu", lambda layer, x: subject.Detour.apply(x, torch.relu, torch.relu))
    with pytest.raises(AssertionError):
        test_gradient_agrees_with_finite_differences(tall)


def test_unknown_op_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="Det"):
        Oracle(build("y = Det(x)", (1, 1, 2, 2)), noise(1, 1, 2, 2), "gradient")

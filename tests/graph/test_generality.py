"""Whole small networks of every make: their pixels against an independent float64 autograd with the same masks."""

from dataclasses import dataclass

import numpy as np
import pytest
from nets import Pair, Weights, distance, network, noise, tensors
from onnx import ModelProto, helper

from zfviz.errors import ModelError
from zfviz.graph.net import Unpool
from zfviz.graph.rules import METHODS, Method
from zfviz.runtime.session import open_session
from zfviz.tolerances import SAME_GRAPH, WHOLE_NET

WHY_TORCH = "the independent autograd is torch; install zfviz[oracle]"


@dataclass(frozen=True)
class Net:
    """One network: what it is written in, and the image it is shown."""

    body: str
    weights: Weights
    sizes: str = "N, 3, 12, 14"
    opset: int = 13
    image: tuple[int, ...] = (1, 3, 12, 14)
    ir_version: int = 8

    def proto(self) -> ModelProto:
        return network(self.body, self.sizes, self.opset, self.weights, self.ir_version)


HEAD = "c = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(c) p = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(r) "
KERNEL: Weights = {"w": (4, 3, 3, 3)}
PLAIN = """
    c = Conv<pads = [1, 1, 1, 1]>(x, w, b)
    n = BatchNormalization(c, scale, bias, mean, variance)
    r = Relu(n)
    l = LRN<size = 3, alpha = 0.5>(r)
    p = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(l)
    d, mask = Dropout(p)
    e = LeakyRelu<alpha = 0.2>(d)
    j = Concat<axis = 1>(e, d)
    k = Conv(j, v)
    a = AveragePool<kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]>(k)
    g = GlobalAveragePool(a)
    f = Flatten(g)
    s = Gemm<transB = 1>(f, m, o)
    y = Softmax(s)
"""
PLAIN_WEIGHTS: Weights = {
    "w": (4, 3, 3, 3),
    "b": (4,),
    "v": (5, 8, 2, 2),
    "m": noise(6, 5) * 3,
    "o": (6,),
    "scale": (4,),
    "bias": (4,),
    "mean": (4,),
    "variance": np.linspace(0.5, 2, 4, dtype=np.float32),
}
FROM_SHAPE = "zero = Constant<value_int = 0>() end = Constant<value_ints = [-1]>() axis = Constant<value_ints = [0]>() "

NETS = {
    "a tensor used twice": Net(HEAD + "q = Conv(p, v) y = Mul(q, p)", KERNEL | {"v": (4, 4, 1, 1)}),
    "a layer used twice": Net(
        "a = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(a) b = Conv<pads = [1, 1, 1, 1]>(r, w) y = Relu(b)",
        {"w": (3, 3, 3, 3)},
    ),
    "branches that join": Net(
        HEAD + "a = Conv(p, u) b = Conv(p, v) s = Add(a, b) t = Sub(s, p) j = Concat<axis = 1>(t, a, p) y = Relu(j)",
        KERNEL | {"u": (4, 4, 1, 1), "v": (4, 4, 1, 1)},
    ),
    "a gate": Net(
        HEAD + "g = GlobalAveragePool(p) h = Conv(g, u) i = Relu(h) j = Conv(i, v) k = Sigmoid(j) y = Mul(p, k)",
        KERNEL | {"u": (2, 4, 1, 1), "v": (4, 2, 1, 1)},
    ),
    "groups, dilations, odd pads, ceil": Net(
        """
        c = Conv<group = 3, strides = [2, 1], pads = [0, 2, 1, 0]>(x, w) r = Relu(c)
        d = Conv<dilations = [2, 1], pads = [2, 0, 1, 1]>(r, v) e = Clip(d, low, high)
        p = MaxPool<kernel_shape = [3, 2], strides = [2, 3], pads = [1, 0, 0, 1], ceil_mode = 1>(e)
        y = AveragePool<kernel_shape = [2, 2], ceil_mode = 1, strides = [2, 2]>(p)
        """,
        {"w": (6, 1, 3, 3), "v": (4, 6, 2, 3), "low": np.float32(0), "high": np.float32(0.8)},
    ),
    "height and width open": Net(HEAD + "y = Conv(p, v)", KERNEL | {"v": (2, 4, 3, 3)}, "N, 3, H, W"),
    "everything open but channels": Net(HEAD + "f = Flatten(p) y = Gemm(f, v)", KERNEL | {"v": (120, 5)}, "N, 3, H, W"),
    "batch 1 baked in": Net(
        HEAD + "f = Reshape(p, to) y = MatMul(f, v)", KERNEL | {"to": [1, -1], "v": (120, 5)}, "1, 3, 12, 14"
    ),
    "batch 4 baked in": Net(
        HEAD + "f = Reshape(p, to) t = Reshape(f, back) g = GlobalMaxPool(t) h = Reshape(g, to) y = MatMul(h, v)",
        KERNEL | {"to": [4, -1], "back": [4, 2, 10, 6], "v": (2, 5)},
        "4, 3, 12, 14",
        image=(4, 3, 12, 14),
    ),
    "one channel": Net(HEAD + "y = Softmax<axis = 1>(p)", {"w": (4, 1, 3, 3)}, "N, 1, 12, 14", 13, (1, 1, 12, 14)),
    "softmax over maps, before 13": Net(
        HEAD + "q = Softmax<axis = 1>(p) y = Conv(q, v)", KERNEL | {"v": noise(2, 4, 2, 2) * 50}, opset=11
    ),
    "channels last": Net(
        "t = Transpose<perm = [0, 3, 1, 2]>(x) " + HEAD.replace("(x", "(t") + "y = Transpose<perm = [0, 2, 3, 1]>(p)",
        KERNEL,
        "N, 12, 14, 3",
        image=(1, 12, 14, 3),
    ),
    "channels shuffled": Net(
        HEAD + "a = Reshape(p, split) b = Transpose<perm = [0, 2, 1, 3, 4]>(a) e = Reshape(b, join) "
        "y = Conv<group = 2>(e, v)",
        KERNEL | {"split": [0, 2, 2, 5, 6], "join": [0, 4, 5, 6], "v": (4, 2, 1, 1)},
    ),
    "values moved about": Net(
        HEAD
        + """
        a, b = Split<axis = 1>(p, parts) q = Pad(b, pads) s = Slice(q, from, to, axes, steps)
        g = Gather<axis = 3>(s, places) z = Squeeze(g, lone) u = Unsqueeze(z, lone) y = Tanh(u)
        """,
        KERNEL
        | {"parts": [3, 1], "pads": [0, 0, 1, 2, 0, 0, 0, -1], "from": [5, 1], "to": [0, 6], "axes": [2, -1]}
        | {"steps": [-2, 2], "places": [2, 0, 0, -1], "lone": [1]},
    ),
    "shape from Shape, Gather, Unsqueeze, Concat": Net(
        HEAD
        + FROM_SHAPE
        + "s = Shape(p) n = Gather<axis = 0>(s, zero) u = Unsqueeze(n, axis) q = Concat<axis = 0>(u, end) "
        "f = Reshape(p, q) y = MatMul(f, v)",
        KERNEL | {"v": (120, 5)},
        "N, 3, H, W",
    ),
    "shape from Shape, Gather, Unsqueeze, Concat, before 13": Net(
        HEAD
        + FROM_SHAPE
        + "s = Shape(p) n = Gather<axis = 0>(s, zero) u = Unsqueeze<axes = [0]>(n) q = Concat<axis = 0>(u, end) "
        "f = Reshape(p, q) y = MatMul(f, v)",
        KERNEL | {"v": (120, 5)},
        opset=12,
    ),
    "shape from Shape, Slice, Concat": Net(
        HEAD + "s = Shape(p) n = Slice(s, from, to) q = Concat<axis = 0>(n, flat) f = Reshape(p, q) y = MatMul(f, v)",
        KERNEL | {"from": [0], "to": [1], "flat": [120], "v": (120, 5)},
    ),
    "weights are inputs too": Net(PLAIN, PLAIN_WEIGHTS, opset=8, ir_version=3),
    "weights are computed": Net(
        """
        w4 = Unsqueeze(w, axes) t = Transpose<perm = [3, 2, 0, 1]>(v)
        one = ConstantOfShape<value: tensor = float[1] {0.5}>(wide)
        c = Conv(x, w4) d = Mul(c, one) r = Relu(d) e = Conv(r, t) m3 = Reshape(m, to) f = Flatten(e) y = MatMul(f, m3)
        """,
        {"w": (4, 3), "axes": [2, 3], "v": (2, 2, 4, 5), "wide": [4, 1, 1], "m": (100, 9), "to": [-1, 3]},
        image=(1, 3, 6, 13),
        sizes="N, 3, H, W",
    ),
    "a mask of Dropout at 7": Net(HEAD + "y, mask = Dropout<ratio = 0.3>(p)", KERNEL, opset=7),
    "no ops but a pool": Net("y = MaxPool<kernel_shape = [2, 2]>(x)", {}),
}
NETS |= {f"opset {opset}": Net(PLAIN, PLAIN_WEIGHTS, opset=opset) for opset in (7, 9, 11, 13, 17, 21, 22)}


def with_constants(proto: ModelProto) -> ModelProto:
    """The same with every weight in a Constant node."""
    nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in proto.graph.initializer]
    kept = list(proto.graph.node)
    del proto.graph.node[:], proto.graph.initializer[:]
    proto.graph.node.extend([*nodes, *kept])
    return proto


def agree(proto: ModelProto, image: np.ndarray, method: Method) -> None:
    """The forward graph gives what torch gives, and so does the companion, from torch's masks and switches."""
    pytest.importorskip("torch", reason=WHY_TORCH)
    from oracle import Oracle

    oracle = Oracle(proto, image, method)
    pair = Pair.of(proto, image, "y", method)
    values: dict[str, np.ndarray] = {}
    for name, found in pair.values.items():
        if name in pair.companion.switches:
            values[name] = oracle.switches[pair.companion.switches[name]]
            assert np.mean(values[name] != found) < 0.01
        else:
            values[name] = oracle.values[name].astype(found.dtype)
            assert distance(found, values[name]) < WHOLE_NET
    signal = noise(*pair.y.shape, seed=9)
    assert distance(pair.back(signal, values), oracle.project("y", signal)) < WHOLE_NET


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETS)
def test_pixels_equal_float64_autograd(name: str, method: Method) -> None:
    net = NETS[name]
    agree(net.proto(), noise(*net.image), method)


@pytest.mark.parametrize("method", METHODS)
def test_weights_in_constant_nodes(method: Method) -> None:
    agree(with_constants(NETS["opset 13"].proto()), noise(1, 3, 12, 14), method)


def newest_opset() -> int:
    """The newest opset whose Relu onnxruntime runs."""

    def runs(opset: int) -> bool:
        try:
            open_session(network("y = Relu(x)", "1, 3, 2, 2", opset, {}), device="cpu")
        except ModelError:
            return False
        return True

    return next(opset for opset in range(40, 21, -1) if runs(opset))


@pytest.mark.parametrize("method", METHODS)
def test_newest_opset_that_runs(method: Method) -> None:
    agree(network(PLAIN, "N, 3, 12, 14", newest_opset(), PLAIN_WEIGHTS), noise(1, 3, 12, 14), method)


# signals in one run


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("opset 17", "s"),  # not its softmax: what cancels there shows the order of sums
        ("a gate", "y"),
        ("branches that join", "y"),
        ("channels shuffled", "y"),
        ("channels last", "y"),
        ("values moved about", "y"),
        ("softmax over maps, before 13", "y"),
        ("shape from Shape, Slice, Concat", "y"),
    ],
)
@pytest.mark.parametrize("unpool", ["scatter", "maxunpool"])
def test_many_signals_are_as_many_runs(name: str, layer: str, unpool: Unpool) -> None:
    net = NETS[name]
    pair = Pair.of(net.proto(), noise(2, *net.image[1:]), layer, "guided", unpool)
    signals = noise(4, *pair.y.shape[1:], seed=3)
    rows = [0, 1, 1, 0]
    single = [
        pair.back(signal[None], {v: value[row : row + 1] for v, value in pair.values.items()})
        for row, signal in zip(rows, signals, strict=True)
    ]
    gathered = pair.back(signals, {v: value[rows] for v, value in pair.values.items()})
    assert distance(gathered, np.concatenate(single)) < SAME_GRAPH
    of_one = pair.back(signals[[0, 3]], {v: value[:1] for v, value in pair.values.items()})
    assert distance(of_one, np.concatenate([single[0], single[3]])) < SAME_GRAPH


def test_a_batch_baked_in_takes_any_number_of_signals() -> None:
    net = NETS["batch 4 baked in"]
    pair = Pair.of(net.proto(), noise(*net.image), "y", "deconvnet")
    signals = noise(3, *pair.y.shape[1:], seed=3)
    values = {v: value[2:3] for v, value in pair.values.items()}
    single = [pair.back(signal[None], values) for signal in signals]
    assert distance(pair.back(signals, values), np.concatenate(single)) < SAME_GRAPH


POOLS = {
    "overlap": "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(x)",
    "stride 1": "y = MaxPool<kernel_shape = [3, 2], pads = [1, 1, 1, 0]>(x)",
    "ceil": "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)",
    "pads differ": "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [0, 2, 1, 1]>(x)",
    "dilations": "y = MaxPool<kernel_shape = [2, 3], dilations = [3, 2]>(x)",
    "1d": "r = Reshape(x, rows) y = MaxPool<kernel_shape = [4], strides = [3], pads = [1, 2]>(r)",
    "3d": "r = Unsqueeze(x,i) y = MaxPool<kernel_shape = [3, 3, 2], strides = [1, 2, 2], pads = [2, 0, 0, 0, 1, 1]>(r)",
    "two": "a = MaxPool<kernel_shape = [3, 3]>(x) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(a)",
}


@pytest.mark.parametrize("name", POOLS)
def test_both_ways_to_unpool_give_the_same_pixels(name: str) -> None:
    proto = network(POOLS[name], "N, 3, 11, 12", 13, {"rows": [0, 3, -1], "i": [1]})
    image = noise(2, 3, 11, 12)
    scatter, maxunpool = (Pair.of(proto, image, "y", "deconvnet", unpool) for unpool in ("scatter", "maxunpool"))
    assert "MaxUnpool" in {node.op_type for node in maxunpool.companion.proto.graph.node}
    signal = noise(*scatter.y.shape, seed=4)
    assert distance(maxunpool.back(signal), scatter.back(signal)) < SAME_GRAPH


def test_a_negative_unit_keeps_its_sign() -> None:
    pair = Pair.of(
        network("y = Conv(x, w)", "N, 3, 4, 4", 13, {"w": (2, 3, 3, 3)}), noise(1, 3, 4, 4), "y", "deconvnet"
    )
    unit = np.zeros_like(pair.y)
    where = np.unravel_index(pair.y.argmin(), pair.y.shape)
    unit[where] = pair.y[where]
    assert pair.y[where] < 0
    np.testing.assert_allclose(pair.back(unit), -pair.back(-unit))
    (weight,) = tensors({"w": (2, 3, 3, 3)})
    kernel = np.frombuffer(weight.raw_data, np.float32).reshape(2, 3, 3, 3)[where[1]]
    _, _, top, left = where
    expected = pair.y[where] * kernel
    np.testing.assert_allclose(pair.back(unit)[0, :, top : top + 3, left : left + 3], expected, rtol=1e-6)

"""Windows: as large as a unit's signal reaches, and the same pixels as whole maps give."""

from collections.abc import Callable

import numpy as np
import pytest
from nets import Weights, network, noise
from onnx import ModelProto, helper
from windows import difference

import zfviz
from zfviz.errors import UnsupportedError
from zfviz.graph.net import RESERVED
from zfviz.graph.reach import WHOLE
from zfviz.graph.rules import METHODS, Method
from zfviz.graph.windowed import Windowed, build_windowed
from zfviz.runtime.loading import Model, load
from zfviz.runtime.running import Signal, portions
from zfviz.tolerances import SAME_GRAPH

CONV: Weights = {"w": (8, 3, 3, 3), "v": (8, 8, 3, 3)}
CHANNELS = CONV | {"from": [0], "to": [4], "along": [1], "h": (4, 4, 3, 3)}
PADDED = "<pads = [1, 1, 1, 1]>"
WINDOWED: dict[str, tuple[str, Weights]] = {
    "one convolution": (f"y = Conv{PADDED}(x, w)", CONV),
    "strides, dilations, uneven pads": (
        "c = Conv<strides = [2, 1], pads = [1, 2, 0, 1], dilations = [1, 2]>(x, w) "
        "y = Conv<strides = [1, 2], pads = [0, 1, 2, 0], dilations = [2, 1]>(c, v)",
        CONV,
    ),
    "a pool that overlaps and sticks out": (
        f"c = Conv{PADDED}(x, w) r = Relu(c) "
        "p = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 0, 0, 1], ceil_mode = 1>(r) "
        f"d = Conv{PADDED}(p, v) y = Relu(d)",
        CONV,
    ),
    "a dilated pool": (
        "c = Conv(x, w) y = MaxPool<kernel_shape = [2, 3], dilations = [2, 1], strides = [3, 2]>(c)",
        CONV,
    ),
    "a pool of whole numbers": (
        "c = Conv(x, w) q = QuantizeLinear(c, step, zero) p = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(q) "
        "y = DequantizeLinear(p, step, zero)",
        CONV | {"step": np.float32(0.5), "zero": np.uint8(9)},
    ),
    "averages": (
        "c = Conv(x, w) a = AveragePool<kernel_shape = [3, 2], strides = [2, 2]>(c) r = Relu(a) "
        "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(r)",
        CONV,
    ),
    "a shortcut": (f"c = Conv{PADDED}(x, w) r = Relu(c) d = Conv{PADDED}(r, v) s = Add(d, r) y = Relu(s)", CONV),
    "branches of different reach": (
        f"c = Conv{PADDED}(x, w) r = Relu(c) d = Conv{PADDED}(r, v) e = Conv<pads = [2, 2, 2, 2], dilations = [2, 2]>"
        "(r, v) j = Concat<axis = 1>(r, d, e) y = Conv(j, k)",
        CONV | {"k": (4, 24, 3, 3)},
    ),
    "halves": (
        "c = Conv(x, w) a, b = Split<axis = 1, num_outputs = 2>(c) g = Sigmoid(b) m = Mul(a, g) y = Conv(m, h)",
        CONV | {"h": (4, 4, 3, 3)},
    ),
    "an activation of two nodes, read twice": (
        f"c = Conv{PADDED}(x, w) g = Sigmoid(c) m = Mul(c, g) d = Conv{PADDED}(m, v) y = Add(d, c)",
        CONV,
    ),
    "norms": (
        "c = Conv(x, w) n = LRN<size = 5>(c) b = BatchNormalization(n, s, o, o, q) r = Relu(b) y = Conv(r, v)",
        CONV | {"s": (8,), "o": (8,), "q": np.full(8, 2, np.float32)},
    ),
    "padding of its own": (
        'p = Pad<mode = "constant">(x, before) c = Conv(p, w) r = Relu(c) q = Pad(r, after) y = Conv(q, v)',
        CONV | {"before": [0, 0, 2, 1, 0, 0, 1, 3], "after": [0, 0, -1, 1, 0, 0, 2, -2]},
    ),
    "a part of the map": (
        f"c = Conv{PADDED}(x, w) r = Relu(c) s = Slice(r, from, to, along) y = Conv{PADDED}(s, v)",
        CONV | {"from": [2, 5], "to": [20, 22], "along": [2, 3]},
    ),
    "axes turned before a pool": (
        "t = Transpose<perm = [0, 1, 3, 2]>(x) c = Conv(t, w) r = Relu(c) "
        "p = MaxPool<kernel_shape = [3, 2], strides = [2, 1], pads = [0, 1, 1, 0]>(r) y = Conv(p, v)",
        CONV,
    ),
    "an activation whose gate is read elsewhere": (
        f"c = Conv{PADDED}(x, w) g = Sigmoid(c) m = Mul(c, g) e = Conv<pads = [2, 2, 2, 2]>(g, k) y = Add(m, e)",
        CONV | {"k": (8, 8, 5, 5)},
    ),
    "an activation whose gate is read elsewhere, below a convolution": (
        f"c = Conv{PADDED}(x, w) g = Sigmoid(c) m = Mul(c, g) e = Conv<pads = [2, 2, 2, 2]>(g, k) "
        f"d = Conv{PADDED}(m, v) y = Add(d, e)",
        CONV | {"k": (8, 8, 5, 5)},
    ),
    "some of the channels": ("c = Conv(x, w) r = Relu(c) s = Slice(r, from, to, along) y = Conv(s, h)", CHANNELS),
    "more channels": (
        "c = Conv(x, w) r = Relu(c) q = Pad(r, beside) y = Conv(q, k)",
        CONV | {"beside": [0, 1, 0, 0, 0, 2, 0, 0], "k": (4, 11, 3, 3)},
    ),
    "dense layers on the channels": (
        "c = Conv(x, w) t = Transpose<perm = [0, 2, 3, 1]>(c) d = MatMul(t, m) r = Relu(d) e = MatMul(r, n) "
        "b = Transpose<perm = [0, 3, 1, 2]>(e) y = Conv(b, v)",
        CONV | {"m": (8, 5), "n": (5, 8)},
    ),
    "channels last": (
        "c = Conv(x, w) r = Relu(c) t = Transpose<perm = [0, 2, 3, 1]>(r) n = LayerNormalization(t, s) "
        "b = Transpose<perm = [0, 3, 1, 2]>(n) y = Conv(b, v)",
        CONV | {"s": (8,)},
    ),
    "shuffled channels": (
        "c = Conv(x, w) g = Reshape(c, apart) t = Transpose<perm = [0, 2, 1, 3, 4]>(g) s = Reshape(t, together) "
        "y = Conv(s, v)",
        CONV | {"apart": [0, 2, 4, 31, 27], "together": [0, 8, 31, 27]},
    ),
}
"""Nets through which windows go all the way."""

PASTED: dict[str, tuple[str, Weights]] = {
    "a gate of the whole map": (
        f"c = Conv{PADDED}(x, w) r = Relu(c) p = GlobalAveragePool(r) e = Conv(p, k) g = Sigmoid(e) m = Mul(r, g) "
        f"d = Conv{PADDED}(m, v) y = Relu(d)",
        CONV | {"k": (8, 8, 1, 1)},
    ),
    "a gate of each row": (
        f"c = Conv{PADDED}(x, w) p = ReduceMean<keepdims = 1>(c, last) g = Sigmoid(p) m = Mul(c, g) y = Conv{PADDED}"
        "(m, v)",
        CONV | {"last": [3]},
    ),
    "a norm of the whole map": (
        f"c = Conv{PADDED}(x, w) n = InstanceNormalization(c, s, o) r = Relu(n) y = Conv{PADDED}(r, v)",
        CONV | {"s": (8,), "o": (8,)},
    ),
    "averages of fewer at the ends": (
        f"c = Conv{PADDED}(x, w) a = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(c) y = Conv{PADDED}(a, v)",
        CONV,
    ),
    "padding with copies": (
        'c = Conv(x, w) p = Pad<mode = "reflect">(c, around) y = Conv(p, v)',
        CONV | {"around": [0, 0, 1, 1, 0, 0, 1, 1]},
    ),
    "twice as large": (
        "c = Conv(x, w) l = Resize(c, none, larger) r = Relu(l) y = Conv(r, v)",
        CONV | {"none": np.zeros(0, np.float32), "larger": np.array([1, 1, 2, 2], np.float32)},
    ),
    "the way back up": (
        "c = Conv<strides = [2, 2]>(x, w) r = Relu(c) u = ConvTranspose<strides = [2, 2]>(r, v) y = Conv(u, v)",
        CONV,
    ),
    "slopes of each place": (
        "c = Conv(x, w) r = PRelu(c, slopes) y = Conv(r, v)",
        CONV | {"slopes": np.abs(noise(8, 31, 27))},
    ),
    "slopes of each place, in two nodes": (
        "c = Conv(x, w) m = Mul(c, slopes) r = Max(c, m) y = Conv(r, v)",
        CONV | {"slopes": 0.1 + 0.5 * np.random.default_rng(0).random((8, 31, 27), np.float32)},
    ),
    "a dense layer of each place": (
        "c = Conv(x, w) t = Transpose<perm = [0, 2, 3, 1]>(c) u = Unsqueeze(t, third) z = MatMul(u, l) "
        "s = Squeeze(z, third) b = Transpose<perm = [0, 3, 1, 2]>(s) y = Conv(b, h)",
        CONV | {"third": [3], "l": (31, 27, 8, 4), "h": (8, 4, 3, 3)},
    ),
    "a map beside a smaller one": (
        f"c = Conv{PADDED}(x, w) d = Conv<strides = [2, 2], pads = [1, 1, 0, 0]>(c, v) r = Relu(d) "
        f"l = Resize(r, none, larger) e = Conv{PADDED}(c, v) s = Mul(l, e) y = Conv{PADDED}(s, v)",
        CONV | {"none": np.zeros(0, np.float32), "larger": np.array([1, 1, 2, 2], np.float32)},
    ),
    "a choice": (
        "c = Conv(x, w) n = Neg(c) b = Greater(c, zero) o = Where(b, c, n) y = Conv(o, v)",
        CONV | {"zero": np.float32(0)},
    ),
}
"""Nets in which something needs the whole map."""

SIZES = {"a map beside a smaller one": "2, 3, 32, 28"}


def model_of(name: str) -> Model:
    body, weights = (WINDOWED | PASTED)[name]
    return load(network(body, SIZES.get(name, "2, 3, 33, 29"), 18, weights), preprocessing="unit")


def windowed(model: Model, layer: str, method: Method = "deconvnet") -> Windowed:
    return build_windowed(model.canonical, model.layer(layer).tensor, model.layer(layer).start, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [*WINDOWED, *PASTED])
def test_windows_give_what_whole_maps_give(name: str, method: Method) -> None:
    model = model_of(name)
    images = noise(*model.image.shape)
    assert difference(model, model.layer("y"), method, images) < 10 * SAME_GRAPH


@pytest.mark.parametrize("name", WINDOWED)
def test_windows_go_all_the_way(name: str) -> None:
    model = model_of(name)
    found = windowed(model, "y")
    assert tuple(span.size for span in found.signal) == (1, 1)
    assert tuple(span.size for span in found.pixels) == model.layer("y").receptive_field
    assert not [asked for asked in (*found.values.values(), *found.pools.values()) if not asked.frame]


@pytest.mark.parametrize("name", PASTED)
def test_what_needs_the_whole_map_gets_it(name: str) -> None:
    model = model_of(name)
    found = windowed(model, "y", "gradient")
    assert found.pixels == WHOLE
    assert [span.size for span in found.signal] == [1, 1]
    assert any(node.op_type == "Einsum" for node in found.proto.graph.node)


@pytest.mark.parametrize(("name", "fields"), [("alexnet", [11, 51, 99, 131, 163]), ("zfnet", [7, 27, 75, 107, 139])])
def test_windows_are_the_fields_of_the_paper(name: str, fields: list[int]) -> None:
    model = zfviz.load(name)
    frames = [windowed(model, f"relu{i}").pixels for i in range(1, 6)]
    assert [[span.size for span in frame] for frame in frames] == [[f, f] for f in fields]
    assert windowed(model, "fc8").pixels == WHOLE


def test_a_window_as_large_as_the_map_is_the_whole_map() -> None:
    model = load(network("y = Conv<pads = [4, 4, 4, 4]>(x, w)", "1, 3, 9, 9", 18, {"w": (2, 3, 9, 9)}))
    assert windowed(model, "y").pixels == WHOLE
    assert difference(model, model.layer("y"), "deconvnet", noise(1, 3, 9, 9)) < 10 * SAME_GRAPH


def test_what_lies_beyond_the_map_spoils_nothing() -> None:
    """A division there would be by 0, were it not for the last values of the map, which go on."""
    body = f"c = Conv{PADDED}(x, w) e = Exp(c) d = Div(c, e) l = Log(e) s = Add(d, l) y = Conv{PADDED}(s, v)"
    model = load(network(body, "1, 3, 33, 29", 18, CONV), preprocessing="unit")
    assert difference(model, model.layer("y"), "gradient", noise(1, 3, 33, 29)) < 10 * SAME_GRAPH


ROWS = {
    "a norm over rows, as if they were channels": ("c = Mul(x, x) l = LRN<size = 5, alpha = 0.5>(c) y = Relu(l)", {}),
    "a scale for each row": (
        "b = BatchNormalization(x, s, o, o, q) y = Relu(b)",
        {"s": np.linspace(1, 5, 33, dtype=np.float32), "o": (33,), "q": np.full(33, 2, np.float32)},
    ),
    "whole numbers of another scale in each row": (
        "q = QuantizeLinear<axis = 1>(x, s, z) d = DequantizeLinear<axis = 1>(q, t, z) y = Relu(d)",
        {
            "s": np.linspace(0.1, 0.5, 33, dtype=np.float32),
            "t": np.linspace(0.5, 0.1, 33, dtype=np.float32),
            "z": np.full(33, 100, np.uint8),
        },
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ROWS)
def test_what_works_along_axis_1_where_that_is_no_channel(name: str, method: Method) -> None:
    body, weights = ROWS[name]
    model = load(network(body, "1, 33, 29, 3", 18, weights), preprocessing="unit")
    assert difference(model, model.layer("y"), method, noise(1, 33, 29, 3)) < 10 * SAME_GRAPH


def fused() -> ModelProto:
    """As onnxruntime writes a network with ReLU6: what lies between convolution and Clip is in no tensor of its own."""
    fused = (
        'c = com.microsoft.FusedConv<pads = [1, 1, 1, 1], activation = "Clip", activation_params = [0.0, 6.0]>(x, w)'
    )
    proto = network(f"{fused} y = Conv{PADDED}(c, v)", "1, 3, 33, 29", 18, CONV)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


def branching() -> ModelProto:
    """An If of known condition; what is in its branch is no tensor of the user's graph."""
    return branching_to("n = InstanceNormalization(ic, s, s) io = LeakyRelu(n)")


def pooling_in_a_branch() -> ModelProto:
    """What its windows see beyond the map is less than any number, also where they are computed again."""
    return branching_to("n = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(ic) io = Tanh(n)")


def branching_to(nodes: str) -> ModelProto:
    branch = f"then_branch = taken () => (float io) {{ ic = Conv<pads = [1, 1, 1, 1]>(x, w) {nodes} }}"
    other = "else_branch = other () => (float o) { o = Conv<pads = [1, 1, 1, 1]>(x, w) }"
    body = f"c = If<{branch}, {other}>(yes) y = Conv{PADDED}(c, v)"
    return network(body, "1, 3, 33, 29", 18, CONV | {"s": np.full(8, 2, np.float32), "yes": np.bool_(True)})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [fused, branching, pooling_in_a_branch])
def test_what_is_no_tensor_of_the_users_graph(make: Callable[[], ModelProto], method: Method) -> None:
    model = load(make(), preprocessing="unit")
    assert difference(model, model.layer("y"), method, noise(1, 3, 33, 29)) < 10 * SAME_GRAPH


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layer", ["q", "r", "y"])
def test_pools_of_many_parts_of_one_image(layer: str, method: Method) -> None:
    body = (
        "a = Reshape(x, apart) q = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a) r = Relu(q) "
        "y = Reshape(r, together)"
    )
    proto = network(body, "1, 3, 8, 8", 18, {"apart": [4, 3, 4, 4], "together": [1, 3, 4, 4]})
    model = load(proto, preprocessing="unit")
    assert difference(model, model.layer(layer), method, noise(1, 3, 8, 8)) < 10 * SAME_GRAPH


def test_names_of_the_user_are_left_to_the_user() -> None:
    body = f"C = Conv{PADDED}(x, w) D = Conv{PADDED}(C, v) y = Conv{PADDED}(D, v)"
    proto = renamed(network(body, "1, 3, 33, 29", 18, CONV), "C", "x/extended0")
    model = load(renamed(proto, "D", "x/extended1"), preprocessing="unit")
    assert difference(model, model.layer("y"), "gradient", noise(1, 3, 33, 29)) < 10 * SAME_GRAPH


def renamed(proto: ModelProto, name: str, new: str) -> ModelProto:
    for node in proto.graph.node:
        for field in (node.input, node.output):
            field[:] = [new if one == name else one for one in field]
    for value in proto.graph.input:
        value.name = new if value.name == name else value.name
    return proto


@pytest.mark.parametrize("name", RESERVED)
def test_a_companion_that_cuts_refuses_a_map_of_a_reserved_name(name: str) -> None:
    body = (
        f"r = Conv{PADDED}(x, w) p = GlobalAveragePool(r) e = Conv(p, k) g = Sigmoid(e) m = Mul(r, g) "
        f"d = Conv{PADDED}(m, v) y = Relu(d)"
    )
    proto = network(body, "1, 3, 33, 29", 18, CONV | {"k": (8, 8, 1, 1)})
    model = load(renamed(proto, "r", name), preprocessing="unit")
    layer = model.layer("y")
    with pytest.raises(UnsupportedError, match=f"'{name}', a reserved name"):
        build_windowed(model.canonical, layer.tensor, layer.start, "gradient", cutting=True)


def test_an_image_may_be_called_as_a_node_of_ours_would_be() -> None:
    body = f"s = Mul(x, x) y = Conv{PADDED}(s, w)"
    proto = renamed(network(body, "1, 3, 33, 29", 18, CONV), "x", "constant_1")
    model = load(proto, preprocessing="unit")
    assert difference(model, model.layer("y"), "gradient", noise(1, 3, 33, 29)) < 10 * SAME_GRAPH


def test_building_leaves_the_model_as_it_is() -> None:
    body = (
        "q = QuantizeLinear(x, s, z) c = QLinearConv(q, s, z, k, s, z, s, z) d = DequantizeLinear(c, s, z) y = Relu(d)"
    )
    weights: Weights = {"s": np.float32(0.1), "z": np.uint8(0), "k": np.full((8, 3, 3, 3), 2, np.uint8)}
    model = load(network(body, "1, 3, 33, 29", 18, weights), preprocessing="unit")

    def readers() -> int:
        return sum(len(tensor.outputs) for tensor in model.canonical.graph.tensors().values())

    before = readers()
    for method in METHODS:
        windowed(model, "y", method)
    assert readers() == before


def test_from_one_place_to_one_kernel_goes_a_product_of_matrices() -> None:
    """It reads the weights once for all signals."""
    ops = [node.op_type for node in windowed(model_of("one convolution"), "y").proto.graph.node]
    assert ("MatMul" in ops, "ConvTranspose" in ops) == (True, False)


def test_images_that_share_no_whole_map_do_not_go_together() -> None:
    model = model_of("a gate of the whole map")
    images = noise(*model.image.shape)
    assert difference(model, model.layer("y"), "guided", images) < 10 * SAME_GRAPH
    found = windowed(model, "y", "guided")
    signals = [Signal(image, (0, 3, 3), (3, 3), 1.0) for image in (0, 0, 0, 1, 1)]
    assert [len(portion) for portion in portions(signals, found)] == [3, 2]
    of_windows = windowed(model_of("a shortcut"), "y", "guided")
    assert [len(portion) for portion in portions(signals, of_windows)] == [4, 1]
    assert [len(portion) for portion in portions(signals, of_windows, runs=2)] == [3, 2]

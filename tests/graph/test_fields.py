"""Receptive fields: what the paper says of its networks, and what the pixels of a unit's gradient say of others."""

from collections.abc import Sequence

import numpy as np
import pytest
from nets import Pair, Weights, network, noise

from zfviz.runtime.loading import Model, load

SIZE = (17, 19)


def stack(kernels: Sequence[tuple[str, int, int, int]], size: int) -> Model:
    """Convolutions and max-pools one upon the other, one channel wide."""
    lines, weights, below = [], {}, "x"
    for name, kernel, stride, pad in kernels:
        attributes = (
            f"kernel_shape = [{kernel}, {kernel}], strides = [{stride}, {stride}], pads = [{', '.join([str(pad)] * 4)}]"
        )
        op, more = ("Conv", f", w_{name}") if name.startswith("conv") else ("MaxPool", "")
        lines.append(f"{name} = {op}<{attributes}>({below}{more})")
        weights |= {f"w_{name}": (1, 1, kernel, kernel)} if more else {}
        below = name
    return load(network(" ".join([*lines, f"y = Relu({below})"]), f"N, 1, {size}, {size}", 13, weights))


ALEXNET = [
    ("conv1", 11, 4, 0),
    ("pool1", 3, 2, 0),
    ("conv2", 5, 1, 2),
    ("pool2", 3, 2, 0),
    ("conv3", 3, 1, 1),
    ("conv4", 3, 1, 1),
    ("conv5", 3, 1, 1),
]
ZFNET = [
    ("conv1", 7, 2, 1),
    ("pool1", 3, 2, 1),
    ("conv2", 5, 2, 0),
    ("pool2", 3, 2, 1),
    ("conv3", 3, 1, 1),
    ("conv4", 3, 1, 1),
    ("conv5", 3, 1, 1),
]
PUBLISHED = {
    # layers, input size, fields and jumps of conv1 to conv5
    "AlexNet": (ALEXNET, 227, [11, 51, 99, 131, 163], [4, 8, 16, 16, 16]),
    "ZFNet": (ZFNET, 224, [7, 27, 75, 107, 139], [2, 8, 16, 16, 16]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_fields_are_those_of_the_paper(name: str) -> None:
    kernels, size, fields, jumps = PUBLISHED[name]
    layers = [stack(kernels, size).layer(f"conv{i}") for i in range(1, 6)]
    assert [layer.receptive_field for layer in layers] == [(field, field) for field in fields]
    assert [layer.jump for layer in layers] == [(jump, jump) for jump in jumps]


CONV: Weights = {"w": (4, 3, 3, 3)}
GRIDS: dict[str, tuple[str, Weights]] = {
    "one layer": ("y = Conv(x, w)", CONV),
    "stride": ("y = Conv<strides = [2, 3]>(x, w)", CONV),
    "pads": ("y = Conv<pads = [2, 0, 1, 1]>(x, w)", CONV),
    "dilations": ("y = Conv<dilations = [3, 2], pads = [1, 1, 1, 1]>(x, w)", CONV),
    "SAME_UPPER": ('y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w)', {"w": (4, 3, 4, 2)}),
    "all of it, twice": (
        "c = Conv<strides = [2, 1], pads = [1, 2, 0, 1], dilations = [1, 2]>(x, w) "
        "y = Conv<strides = [1, 2], pads = [0, 1, 2, 0], dilations = [2, 1]>(c, v)",
        CONV | {"v": (2, 4, 2, 3)},
    ),
    "average pool": (
        "c = Conv(x, w) y = AveragePool<kernel_shape = [3, 2], strides = [2, 2], pads = [1, 0, 0, 1]>(c)",
        CONV,
    ),
    "ceil": ("y = AveragePool<kernel_shape = [3, 3], strides = [3, 2], ceil_mode = 1>(x)", {}),
    "sum of branches": (
        "a = Conv<pads = [1, 1, 1, 1]>(x, w) b = Conv<pads = [0, 2, 0, 2]>(x, v) y = Add(a, b)",
        CONV | {"v": (4, 3, 1, 5)},
    ),
    "branches side by side": (
        "a = Conv(x, u) b = Conv<pads = [1, 1, 1, 1]>(x, w) j = Concat<axis = 1>(a, b) y = Conv(j, v)",
        CONV | {"u": (2, 3, 1, 1), "v": (2, 6, 1, 1)},
    ),
    "channels shuffled": (
        "c = Conv(x, w) a = Reshape(c, split) b = Transpose<perm = [0, 2, 1, 3, 4]>(a) d = Reshape(b, join) "
        "y = Conv<group = 2>(d, v)",
        CONV | {"split": [0, 2, 2, 15, 17], "join": [0, 4, 15, 17], "v": (4, 2, 3, 3)},
    ),
    "turned": ("t = Transpose<perm = [0, 3, 1, 2]>(x) y = Relu(t)", {}),
    "turned and turned back": (
        "c = Conv<strides = [2, 1]>(x, w) t = Transpose<perm = [0, 2, 3, 1]>(c) s = Add(t, b) "
        "y = Transpose<perm = [0, 3, 1, 2]>(s)",
        CONV | {"b": (4,)},
    ),
    "cut and padded": (
        "c = Conv(x, w) s = Slice(c, from, to, axes, steps) y = Pad(s, pads)",
        CONV | {"from": [1, 4], "to": [14, 17], "axes": [2, 3], "steps": [2, 1], "pads": [0, 0, 1, 0, 0, 0, 0, 2]},
    ),
    "scaled and activated": (
        "c = Conv(x, w) n = BatchNormalization(c, b, b, b, a) m = Mul(n, n) y = Sigmoid(m)",
        CONV | {"a": np.float32([1, 2, 1, 2]), "b": np.float32([1, 2, 3, 4])},
    ),
    "a gate sees all": (
        "c = Conv(x, w) g = GlobalAveragePool(c) s = Sigmoid(g) y = Mul(c, s)",
        CONV,
    ),
    "a dense layer sees all": ("c = Conv(x, w) f = Flatten(c) y = MatMul(f, v)", CONV | {"v": (4 * 15 * 17, 5)}),
}
# at their edges a box holds places that a hole of the kernel or the padding between layers leaves out
LOOSE_AT_EDGES = {"dilations", "all of it, twice"}
NHWC = {
    "channels last": ("t = Transpose<perm = [0, 3, 1, 2]>(x) y = Conv<strides = [2, 1]>(t, w)", CONV),
    "channels last to the end": (
        "t = Transpose<perm = [0, 3, 1, 2]>(x) c = Conv<pads = [2, 0, 0, 1]>(t, w) "
        "y = Transpose<perm = [0, 2, 3, 1]>(c)",
        CONV,
    ),
}


def extent(row: np.ndarray) -> tuple[int, int]:
    """The first and the last but one place of a row of truths."""
    (places,) = np.nonzero(row)
    return (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)


def clipped(box: tuple[int, int, int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the part of a box that lies in the image."""
    top, left, bottom, right = box
    return (max(top, 0), min(bottom, SIZE[0])), (max(left, 0), min(right, SIZE[1]))


def seen_by_units(pair: Pair) -> tuple[list[tuple[int, int] | tuple[None, None]], np.ndarray]:
    """Every place of the map of `y`, and which pixels [place, H, W] the first channel's unit there depends on."""
    layer, image = pair.model.layer("y"), pair.model.image
    grid = layer.shape[1:]
    places = list(np.ndindex(grid)) if grid else [(None, None)]
    signals = np.zeros((len(places), *layer.stored[1:]), np.float32)
    for signal, place in zip(signals, places, strict=True):
        signal[layer.index_of((0, *place) if grid else (0,))] = 1
    pixels = pair.back(signals).transpose(image.axes)
    return places, np.abs(pixels).sum(axis=1) > 0


@pytest.mark.parametrize("name", [*GRIDS, *NHWC])
def test_a_units_pixels_fill_its_box(name: str) -> None:
    last = name in NHWC
    body, weights = NHWC[name] if last else GRIDS[name]
    shape = (1, *SIZE, 3) if last else (1, 3, *SIZE)
    pair = Pair.of(network(body, ", ".join(map(str, shape)), 13, weights), noise(*shape), "y")
    layer = pair.model.layer("y")
    assert layer.followed
    places, seen = seen_by_units(pair)
    middle = tuple(size // 2 for size in layer.shape[1:])
    for (y, x), pixels in zip(places, seen, strict=True):
        if not pixels.any():
            continue  # only padding feeds it
        box = clipped(layer.box(y, x, SIZE))
        found = extent(pixels.any(axis=1)), extent(pixels.any(axis=0))
        if name not in LOOSE_AT_EDGES or (y, x) == middle:
            assert found == box
        for (begin, end), (least, most) in zip(found, box, strict=True):
            assert least <= begin < end <= most


def test_a_box_may_stick_out() -> None:
    pair = Pair.of(network("y = Conv<pads = [2, 0, 1, 1]>(x, w)", "N, 3, 17, 19", 13, CONV), noise(1, 3, *SIZE), "y")
    assert pair.model.layer("y").box(0, 0, SIZE) == (-2, 0, 1, 3)


def test_a_max_pool_stays_inside_its_box() -> None:
    body = "c = Conv(x, w) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 0, 0]>(c)"
    pair = Pair.of(network(body, "N, 3, 17, 19", 13, CONV), noise(1, 3, *SIZE), "y")
    layer = pair.model.layer("y")
    for (y, x), pixels in zip(*seen_by_units(pair), strict=True):
        (top, bottom), (left, right) = clipped(layer.box(y, x, SIZE))
        outside = pixels.copy()
        outside[top:bottom, left:right] = False
        assert pixels.any()
        assert not outside.any()


def test_a_layer_that_sees_all_says_so() -> None:
    model = load(network(GRIDS["a gate sees all"][0], "N, 3, 17, 19", 13, CONV))
    assert model.layer("y").receptive_field == SIZE
    assert model.layer("c").receptive_field == (3, 3)


UP, DOWN = np.float32([1, 1, 2, 3]), np.float32([1, 1, 0.5, 0.4])
STRETCHED: dict[str, tuple[str, Weights]] = {
    # places that lie between those of the map below, or on several of them
    "nearest": ("c = Conv(x, w) y = Resize(c, , up)", CONV | {"up": UP}),
    "nearest of old": (
        'c = Conv(x, w) y = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(c, , up)',
        CONV | {"up": UP},
    ),
    "linear": ('c = Conv(x, w) y = Resize<mode = "linear">(c, , up)', CONV | {"up": UP}),
    "linear, corners": (
        'c = Conv(x, w) y = Resize<mode = "linear", coordinate_transformation_mode = "align_corners">(c, , up)',
        CONV | {"up": UP},
    ),
    "cubic": ('c = Conv(x, w) y = Resize<mode = "cubic">(c, , up)', CONV | {"up": UP}),
    "linear, smaller": ('c = Conv(x, w) y = Resize<mode = "linear">(c, , down)', CONV | {"down": DOWN}),
    "linear, smaller, smooth": (
        'c = Conv(x, w) y = Resize<mode = "linear", antialias = 1>(c, , down)',
        CONV | {"down": DOWN},
    ),
    "transposed": ("y = ConvTranspose<strides = [2, 3], pads = [1, 0, 2, 1]>(x, v)", {"v": (3, 4, 4, 5)}),
    "transposed, dilated": ("y = ConvTranspose<strides = [3, 2], dilations = [2, 1]>(x, v)", {"v": (3, 4, 3, 3)}),
    "down and up": (
        "c = Conv<strides = [2, 2]>(x, w) y = ConvTranspose<strides = [2, 2]>(c, v)",
        CONV | {"v": (4, 3, 2, 2)},
    ),
    "depth to space": ("c = Conv(x, w) y = DepthToSpace<blocksize = 2>(c)", CONV),
    "space to depth": (
        "c = Conv(x, w) p = Pad(c, pads) y = SpaceToDepth<blocksize = 2>(p)",
        CONV | {"pads": [0, 0, 1, 1, 0, 0, 0, 0]},
    ),
    "channels normed": ("c = Conv(x, w) y = LpNormalization<axis = 1>(c)", CONV),
    "odds of channels": ("c = Conv(x, w) y = Softmax<axis = 1>(c)", CONV),
    "channels taken": ("c = Conv(x, w) y = Gather<axis = 1>(c, i)", CONV | {"i": [2, 0]}),
}


@pytest.mark.parametrize("name", STRETCHED)
def test_a_units_pixels_lie_in_its_box_which_is_little_larger(name: str) -> None:
    body, weights = STRETCHED[name]
    pair = Pair.of(network(body, "1, 3, 17, 19", 18, weights), noise(1, 3, *SIZE), "y")
    layer = pair.model.layer("y")
    assert layer.followed
    spare = [4 * max(1, jump) for jump in layer.jump]
    middle = tuple(size // 2 for size in layer.shape[1:])
    for (y, x), pixels in zip(*seen_by_units(pair), strict=True):
        if not pixels.any():
            continue
        found = extent(pixels.any(axis=1)), extent(pixels.any(axis=0))
        for (begin, end), (least, most), room in zip(found, clipped(layer.box(y, x, SIZE)), spare, strict=True):
            assert least <= begin < end <= most
            if (y, x) == middle:  # elsewhere the padding leaves places out
                assert most - least <= end - begin + room


EVERYWHERE: dict[str, tuple[str, Weights]] = {
    "instances": ("c = Conv(x, w) y = InstanceNormalization(c, b, b)", CONV | {"b": (4,)}),
    "groups": ("c = Conv(x, w) y = GroupNormalization<num_groups = 2>(c, b, b)", CONV | {"b": (4,)}),
    "groups by reshapes": (
        "c = Conv(x, w) g = Reshape(c, groups) n = InstanceNormalization(g, b, b) s = Shape(c) y = Reshape(n, s)",
        CONV | {"groups": [0, 2, -1], "b": (2,)},
    ),
    "odds of rows": ("c = Conv(x, w) y = Softmax<axis = 2>(c)", CONV),
    "layer": ("c = Conv(x, w) y = LayerNormalization<axis = 1>(c, v)", CONV | {"v": (4, 15, 17)}),
    "mean and variance": ("c = Conv(x, w) y = MeanVarianceNormalization<axes = [2, 3]>(c)", CONV),
}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_norm_of_the_map_keeps_its_axes_and_sees_all(name: str) -> None:
    body, weights = EVERYWHERE[name]
    layer = load(network(body, "1, 3, 17, 19", 21, weights)).layer("y")
    assert (layer.followed, layer.shape) == (True, (4, 15, 17))
    assert layer.receptive_field == (SIZE if name != "odds of rows" else (SIZE[0], 3))


def test_a_cut_that_is_found_on_the_way_does_not_keep_a_model_from_loading() -> None:
    body = (
        "c = Conv(x, w) m = ArgMax<axis = 1>(c) k = ReduceMax<keepdims = 0>(m) e = Add(k, one) s = Unsqueeze(k, zero) "
    )
    body += "t = Unsqueeze(e, zero) p = Slice(c, s, t, one2) y = ReduceSum(p)"
    model = load(network(body, "1, 3, 17, 19", 18, CONV | {"one": np.array(1), "zero": [0], "one2": [1]}))
    assert not model.layer("p").followed

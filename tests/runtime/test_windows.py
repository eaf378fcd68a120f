"""Switches that are found for windows, against those of onnxruntime's MaxPool, above all where values are equal."""

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from zfviz.graph.building import Builder
from zfviz.graph.companion import IR_VERSION
from zfviz.graph.cutting import find_switches
from zfviz.graph.reach import WHOLE, Span
from zfviz.graph.windowed import Pool
from zfviz.runtime.running import MEMORY, at_once
from zfviz.runtime.session import open_session
from zfviz.runtime.windows import Switches

KINDS = {
    "overlapping": {"kernel_shape": [3, 3], "strides": [2, 2]},
    "side by side": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "uneven, dilated, padded": {
        "kernel_shape": [3, 2],
        "strides": [2, 1],
        "dilations": [1, 3],
        "pads": [1, 0, 2, 1],
    },
    "sticking out": {"kernel_shape": [3, 3], "strides": [2, 3], "ceil_mode": 1, "pads": [0, 1, 1, 0]},
    "along one axis": {"kernel_shape": [4], "strides": [3], "pads": [1, 2]},
    "one of many": {"kernel_shape": [1, 1], "strides": [2, 3]},
    "through a volume": {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], "pads": [0, 1, 0, 1, 1, 0]},
}
SHAPES = {1: (2, 3, 23), 2: (2, 3, 14, 17), 3: (2, 3, 6, 9, 8)}


def onnxruntimes(x: np.ndarray, attributes: dict[str, int | list[int]]) -> np.ndarray:
    """Places in each plane."""
    node = helper.make_node("MaxPool", ["x"], ["y", "places"], **attributes)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    inputs = [helper.make_tensor_value_info("x", kind, x.shape)]
    outputs = [helper.make_tensor_value_info("places", TensorProto.INT64, None)]
    model = helper.make_model(
        helper.make_graph([node], "pool", inputs, outputs), opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["places"], {"x": x})[0] % np.prod(x.shape[2:])


def pool_of(x: np.ndarray, attributes: dict[str, int | list[int]], made: tuple[int, ...]) -> Pool:
    rank = x.ndim - 2
    sizes = {"strides": [1] * rank, "dilations": [1] * rank, "pads": [0] * 2 * rank} | attributes
    kernel, strides, dilations, pads = (tuple(sizes[n]) for n in ("kernel_shape", "strides", "dilations", "pads"))
    return Pool("x", kernel, strides, dilations, pads, made, WHOLE, x.shape[2:], pads[:rank])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
@pytest.mark.parametrize("kind", KINDS)
def test_of_equal_values_the_first_in_reading_order_counts(kind: str, dtype: type) -> None:
    attributes = KINDS[kind]
    x = np.random.default_rng(0).integers(0, 3, SHAPES[len(attributes["kernel_shape"])]).astype(dtype)
    expected = onnxruntimes(x.astype(np.float32), attributes)
    pool = pool_of(x, attributes, expected.shape[2:])
    places = np.zeros((2, 2), np.int64)
    np.testing.assert_array_equal(Switches(pool, x, [0, 1], places).cut([0, 1], places), expected)
    np.testing.assert_array_equal(Switches(pool, x, [1, 0], places).cut([1, 1], places), expected[[1]])
    if x.dtype.kind == "f":
        np.testing.assert_array_equal(found_in_graph(x, pool), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_window_of_minus_infinity_the_first_place_counts_that_is_no_padding(kind: str) -> None:
    attributes = KINDS[kind]
    x = np.full(SHAPES[len(attributes["kernel_shape"])], -np.inf, np.float32)
    expected = onnxruntimes(x, attributes)
    np.testing.assert_array_equal(found_in_graph(x, pool_of(x, attributes, expected.shape[2:])), expected)


def found_in_graph(x: np.ndarray, pool: Pool) -> np.ndarray:
    """What the nodes find that a companion has for it."""
    graph = Builder("switches", x.dtype)
    values = gs.Variable("x", x.dtype, x.shape)
    names, sizes = (
        ("kernel_shape", "strides", "dilations", "pads"),
        (pool.kernel, pool.strides, pool.dilations, pool.pads),
    )
    attributes = {name: list(size) for name, size in zip(names, sizes, strict=True)}
    made = gs.Variable("y", x.dtype, [*x.shape[:2], *pool.made])
    node = gs.Node("MaxPool", "pool", attributes, [values], [made])
    found = find_switches(graph, node, values, graph.constant(-np.inf))
    found.dtype, graph.graph.inputs, graph.graph.outputs = np.dtype(np.int64), [values], [found]
    proto = gs.export_onnx(graph.graph)
    proto.ir_version = IR_VERSION
    return open_session(proto, device="cpu").run({"x": x}, [found.name])[found.name]


def test_switches_of_a_window_are_places_in_its_part_of_the_input() -> None:
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 14, 17)).astype(np.float32)
    expected = onnxruntimes(x, {"kernel_shape": [3, 3], "strides": [2, 2]})
    frame = (Span(2, 0, 6, size=2, start=-1), Span(3, 1, 8, size=3, start=0))
    pool = Pool("x", (3, 3), (2, 2), (1, 1), (0, 0, 0, 0), (6, 8), frame, (5, 7), (0, 0))
    images, places = [1, 0, 1], np.array([[3, 2], [5, 5], [1, 0]])
    switches = Switches(pool, x, images, places)
    together, apart = (
        switches.cut(images, places),
        [switches.cut(images[k : k + 1], places[k : k + 1]) for k in range(3)],
    )
    np.testing.assert_array_equal(together, np.concatenate(apart))
    for found, image, (y, x_) in zip(together, images, places, strict=True):
        top, left = 2 * (y - 1), 2 * x_
        rows, columns = np.divmod(found, 7)
        whole = (rows + top) * 17 + columns + left
        np.testing.assert_array_equal(whole, expected[image][:, y - 1 : y + 1, x_ : x_ + 3])


@pytest.mark.parametrize("place", [0, 12])
def test_switches_of_a_window_beside_the_map_are_places_all_the_same(place: int) -> None:
    """No signal goes there, but onnxruntime refuses a place that is none."""
    x = np.random.default_rng(0).standard_normal((1, 3, 14, 17), dtype=np.float32)
    frame = (Span(2, 0, 6, size=2, start=-4), Span(3, 1, 8, size=3, start=0))
    pool = Pool("x", (3, 3), (2, 2), (1, 1), (0, 0, 0, 0), (6, 8), frame, (5, 7), (0, 0))
    places = np.array([[place, 2]])
    found = Switches(pool, x, [0], places).cut([0], places)
    assert found.min() >= 0
    assert found.max() < 35


def test_fewer_go_together_where_each_is_large() -> None:
    assert [at_once(8, size) for size in (1, MEMORY // 8, MEMORY // 8 + 1, MEMORY // 2, MEMORY + 1)] == [8, 8, 7, 2, 1]

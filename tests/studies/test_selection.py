"""Which layers a sheet shows by itself: the paper's rows for the paper's networks."""

from pathlib import Path

import onnx
import pytest
from conftest import tiny_network
from onnx import TensorProto, helper

import zfviz
from zfviz.studies.selection import class_layer, default_layers

LIGHT = Path(onnx.__path__[0]) / "backend" / "test" / "data" / "light"


@pytest.mark.parametrize(
    ("name", "fields", "jumps"),
    [
        ("bvlc_alexnet", [11, 51, 99, 131, 163], [4, 8, 16, 16, 16]),
        ("zfnet512", [7, 27, 75, 107, 139], [2, 8, 16, 16, 16]),
    ],
)
def test_default_rows_of_the_papers_networks_are_conv1_to_conv5(name: str, fields: list[int], jumps: list[int]) -> None:
    rows = default_layers(zfviz.load(LIGHT / f"light_{name}.onnx"))
    assert [row.op for row in rows] == ["Relu"] * 5
    assert [row.receptive_field for row in rows] == [(f, f) for f in fields]
    assert [row.jump for row in rows] == [(j, j) for j in jumps]


def test_class_scores_are_what_goes_into_the_softmax() -> None:
    scores = class_layer(zfviz.load(tiny_network()))
    assert scores is not None
    assert scores.name == "fc"
    # before opset 13 the canonical form has nodes of its own around the softmax
    older = class_layer(zfviz.load(LIGHT / "light_squeezenet.onnx"))
    assert older is not None
    assert (older.op, older.shape) == ("GlobalAveragePool", (1000,))


@pytest.mark.parametrize(("op", "attributes"), [("ArgMax", {"axis": 1}), ("Shape", {})])
def test_a_model_whose_first_output_is_whole_numbers_is_no_classifier(op: str, attributes: dict[str, int]) -> None:
    model = tiny_network()
    model.graph.node.append(helper.make_node(op, ["prob"], ["number"], **attributes))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("number", TensorProto.INT64, None))
    assert class_layer(zfviz.load(model)) is None

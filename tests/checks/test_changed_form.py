"""What a record alone tells: pictures that are prepared otherwise, windows that slide otherwise."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from onnx import ModelProto, NodeProto, helper
from planting import network

import zfviz
from zfviz.checks.comparison import changed_preprocessing, changed_windows
from zfviz.checks.reading import read_record
from zfviz.checks.records import Baseline
from zfviz.checks.subject import Subject

CONV = "dilations 1 1, groups 1"


@pytest.fixture(scope="module")
def before() -> Baseline:
    """What is remembered of ZFNet, once it was written and read again."""
    return read_record(Baseline.of(Subject(zfviz.load(network("zfnet"))), []).to_json().encode(), "it")


def trunk(layer: str, change: Callable[[NodeProto], object]) -> ModelProto:
    """ZFNet up to pool5, whose maps may have any size, with a layer that was changed."""
    proto = ModelProto()
    proto.CopyFrom(network("zfnet"))
    (node,) = (node for node in proto.graph.node if node.name == layer)
    change(node)
    del proto.graph.node[[n.op_type for n in proto.graph.node].index("Flatten") :]
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("pool5", 1, None))
    del proto.graph.value_info[:]
    return proto


def with_numbers(attribute: str, numbers: list[int]) -> Callable[[NodeProto], object]:
    def change(node: NodeProto) -> None:
        (held,) = (a for a in node.attribute if a.name == attribute)
        held.CopyFrom(helper.make_attribute(attribute, numbers))

    return change


def to_identity(node: NodeProto) -> None:
    node.CopyFrom(helper.make_node("Identity", node.input, node.output, node.name))


def test_another_mean_is_found(before: Baseline) -> None:
    model = zfviz.load(network("zfnet"))
    right = model.preprocessing
    wrong = replace(model, preprocessing=replace(right, mean=right.mean[::-1]))
    (found,) = changed_preprocessing(Subject(wrong, (), before))
    assert (found.value, found.said) == (1, "mean was 119 117 109.5 and is 109.5 117 119")
    (same,) = changed_preprocessing(Subject(replace(model, preprocessing=replace(right, size=(224, 224))), (), before))
    assert same.value == 0


@pytest.mark.parametrize(
    ("layer", "change", "said"),
    [
        ("conv5", with_numbers("strides", [2, 2]), f"is Conv 3x3, strides 2 2, pads 1 1 1 1, {CONV}"),
        ("conv3", with_numbers("pads", [2, 2, 0, 0]), f"is Conv 3x3, strides 1 1, pads 2 2 0 0, {CONV}"),
        (
            "pool1",
            with_numbers("kernel_shape", [2, 2]),
            f"was MaxPool 3x3, strides 2 2, pads 0 0 0 0, {CONV} and is Max",
        ),
        ("pool5", to_identity, f"pool5 (MaxPool 3x3, strides 2 2, pads 0 0 0 0, {CONV}) is gone"),
    ],
)
def test_windows_that_slide_otherwise_are_found(
    layer: str, change: Callable[[NodeProto], object], said: str, before: Baseline
) -> None:
    (found,) = changed_windows(Subject(zfviz.load(trunk(layer, change)), (), before))
    assert found.value == 1
    assert said in found.said
    (same,) = changed_windows(Subject(zfviz.load(trunk(layer, lambda node: None)), (), before))
    assert (same.value, same.said) == (0, "the windows of 8 layers slide as they did")

"""What the table of layers says of each layer."""

import pytest
from onnx import ModelProto

from zfviz.runtime.loading import load
from zfviz.studies.layers import describe_layers


@pytest.mark.parametrize(
    ("method", "said"),
    [("deconvnet", "rectify"), ("guided", "rectify, mask by forward"), ("gradient", "mask by forward")],
)
def test_a_rectifier_is_told_by_what_the_method_does(tiny: ModelProto, method: str, said: str) -> None:
    told = {row.name: row.projection for row in describe_layers(load(tiny), method)}
    assert told["relu1"] == said
    assert told["conv1"] == "filter back"
    assert told["pool1"] == "unpool"

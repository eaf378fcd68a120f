"""Which layers a sheet shows by itself: the paper's rows for the paper's networks."""

from pathlib import Path

import onnx
import pytest

import zfviz
from zfviz.studies.selection import default_layers

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

"""What the converters have in common: class names, how far two arrays are apart, messages and exit codes."""

import sys
from pathlib import Path

import click
import converting
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from zfviz.errors import ImageError, ModelError, VerificationError
from zfviz.images.labels import find_labels
from zfviz.images.preprocessing import PRESETS, find_preprocessing


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n01440764 tench\r\nn01443537 goldfish\n\nray\n", {0: "tench", 1: "goldfish", 3: "ray"}),
        ('{"0": "cat", "4": "dog"}', {0: "cat", 4: "dog"}),
        ('\ufeff["cat", "dog"]', {0: "cat", 1: "dog"}),
        ("[unknown]\ncat\n", {0: "[unknown]", 1: "cat"}),
    ],
)
def test_labels_are_one_a_line_or_json(text: str, expected: dict[int, str], tmp_path: Path) -> None:
    (path := tmp_path / "names").write_text(text, newline="")
    labels = converting.read_labels(path)
    assert labels == expected
    assert find_labels(converting.describe(None, labels), None, None) == expected


def test_labels_must_be_there(tmp_path: Path) -> None:
    assert converting.read_labels(None) == {}
    (tmp_path / "none.txt").write_text("\n\n")
    with pytest.raises(ModelError, match=r"none\.txt holds no class names; expected"):
        converting.read_labels(tmp_path / "none.txt")
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(ModelError, match=r"cannot be read \(.*; expected"):
            converting.read_labels(path)


def test_preprocessing_is_a_preset_a_file_or_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path := tmp_path / "mine.json").write_text('{"colour": "BGR"}')
    for preprocessing in ("caffe", str(path), PRESETS["caffe"]):
        assert find_preprocessing(None, converting.describe(preprocessing, {}), None).colour == "BGR"
        assert "preprocessing: BGR" in capsys.readouterr().err
    with pytest.raises(ImageError, match="neither a preset nor a file"):
        converting.describe("cafe", {})
    assert converting.describe(None, {}) == {}


@pytest.mark.parametrize(
    ("found", "expected", "distance"),
    [
        ([1, 2, 4], [1, 2, 4], 0),
        ([1, 2, 3], [1, 2, 4], 0.25),
        ([1, np.nan], [1, 2], np.inf),
        ([1, 2], [1, np.nan], np.inf),
        ([-np.inf, 3], [-np.inf, 4], 0.25),
        ([np.inf, 1], [-np.inf, 1], np.inf),
        ([np.inf, 1], [np.nan, 1], np.inf),
        ([np.nan, 1], [np.inf, 1], np.inf),
        ([np.nan, 1], [np.nan, 1], 0),
        ([np.nan, np.nan], [np.nan, np.nan], np.inf),  # nothing was compared
        ([1, 1], [1], np.inf),
        ([], [], 0),
        ([0, 0], [0, 0], 0),
        ([1], [0], 1e30),
    ],
)
def test_distance_is_a_share_of_the_largest_value(found: list[float], expected: list[float], distance: float) -> None:
    arrays = np.array(found, np.float32), np.array(expected, np.float32)
    assert converting.distance(*arrays) == pytest.approx(distance)


def test_truth_values_are_compared_too() -> None:
    assert converting.distance(np.array([True, False]), np.array([True, True])) == 1


def doubling() -> ModelProto:
    sizes = ["N", 2]
    image, *outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name in ("image", "a", "b"))
    nodes = [helper.make_node("Add", ["image", "image"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    graph = helper.make_graph(nodes, "doubling", [image], outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_the_output_that_is_farthest_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.array([[1, 2]], np.float32)
    converting.compare(doubling(), {"image": x}, [2 * x, -2 * x], "Caffe")
    told = "largest difference from Caffe: 0 of the largest value, in 'a' (tolerance 0.0001; 2 compared)\n"
    assert capsys.readouterr() == ("", told)
    wrong = [2 * x, np.array([[-2, -5]], np.float32)]
    told = r"from Caffe: 0\.2 of the largest value, in 'b'; expected 0\.0001 at most\. Nothing is written\."
    with pytest.raises(VerificationError, match=told):
        converting.compare(doubling(), {"image": x}, wrong, "Caffe")
    converting.compare(doubling(), {"image": x}, wrong, "Caffe", tolerance=0.3)


def test_as_many_tensors_are_compared_as_there_are() -> None:
    x = np.array([[1, 2]], np.float32)
    with pytest.raises(ModelError, match="Caffe gives 1 tensors, the ONNX model 2; expected as many"):
        converting.compare(doubling(), {"image": x}, [2 * x], "Caffe")


def with_outputs(*shapes: tuple[int | str, ...] | None) -> ModelProto:
    outputs = [helper.make_tensor_value_info(f"y{n}", TensorProto.FLOAT, shape) for n, shape in enumerate(shapes)]
    return helper.make_model(helper.make_graph([], "any", [], outputs))


@pytest.mark.parametrize(
    ("shapes", "fit"),
    [
        ([("N", 80)], True),
        ([("N", 81)], False),
        ([("N", 79)], False),
        ([("N", 1000), ("N", 80)], True),
        ([("N", 80, 1, 1)], True),
        ([("N", 80, 32, 48)], True),
        ([("N", 32, 48, 80)], True),
        ([("N", 21, 32, 48)], False),
        ([("N", 84)], False),
        ([("N", 84, 8400)], True),  # a box and the classes
        ([("N", 25200, 85)], True),  # and whether there is a thing in it
        ([("N", 255, 13, 13)], True),  # three boxes
        ([("N", 100, 4), ("N", 100, 81)], False),
        ([("N", 100, 4), ("N", 100, 80)], True),
        ([("N", 100, 4), ("N",)], True),  # numbers of classes, not scores
        ([("N", "classes")], True),
        ([None], True),
        ([("N", 21, "y", "x")], False),
    ],
)
def test_labels_are_refused_where_they_fit_no_output(shapes: list[tuple[int | str, ...] | None], fit: bool) -> None:
    proto = with_outputs(*shapes)
    entries = converting.describe(None, {number: f"class {number}" for number in range(80)})
    if fit:
        converting.attach(proto, entries)
        assert len(find_labels({entry.key: entry.value for entry in proto.metadata_props}, None, None)) == 80
    else:
        with pytest.raises(
            ModelError, match=r"the labels name 80 classes; expected as many as an output has: y0 \['\?'"
        ):
            converting.attach(proto, entries)
        assert not proto.metadata_props
    converting.attach(proto, converting.describe("caffe", {}))
    assert find_preprocessing(None, {entry.key: entry.value for entry in proto.metadata_props}, None).colour == "BGR"


def test_images_are_of_the_whole_range_of_what_zfviz_puts_in() -> None:
    whole = converting.random_images((2, 3, 32, 32), "uint8")
    assert (whole.dtype, whole.min(), whole.max()) == (np.uint8, 0, 255)
    for name in ("float16", "float32", "float64"):
        some = converting.random_images((2, 3, 32, 32), name)
        assert (some.dtype.name, some.shape) == (name, (2, 3, 32, 32))
        assert 0 <= some.min() < 0.1
        assert 0.9 < some.max() <= 1
    for name in ("int64", "bfloat16", "string", "bool"):
        with pytest.raises(ModelError, match=f"images of {name}; expected float32"):
            converting.random_images((1,), name)


def test_the_reason_is_what_is_at_the_root_in_one_line() -> None:
    error = RuntimeError("something failed")
    error.__cause__ = ValueError("a\n  b: " + 400 * "c")
    assert converting.reason(error) == "ValueError: a b: " + 295 * "c"
    assert converting.reason(error, after="b: ", longest=3) == "ValueError: ccc"
    assert converting.reason(KeyError()) == "KeyError"


@pytest.mark.parametrize(("error", "code"), [(ModelError("bad"), 2), (VerificationError("far"), 1)])
def test_errors_are_told_in_one_line_with_the_scripts_name(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["converters/from_nothing.py"])
    with pytest.raises(SystemExit) as ended:
        converting.run_script(fail)
    assert ended.value.code == code
    assert capsys.readouterr() == ("", f"from_nothing: {error}\n")

"""Records: what is in them is what was found; what a stranger wrote is looked at before it is used."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import tiny_network
from crops import crops
from onnx import ModelProto

import zfviz
from zfviz.checks import auditing, reading, records
from zfviz.checks.auditing import Audit, Result
from zfviz.checks.checking import Check, Measurement
from zfviz.checks.kernels import Kernels, find_kernels
from zfviz.checks.reading import read_baseline, read_record
from zfviz.checks.records import FORMAT, Baseline, Filters, Shown, Strongest, Window
from zfviz.checks.responses import LayerResponses
from zfviz.checks.subject import Subject
from zfviz.errors import CheckError, ModelError
from zfviz.images.preprocessing import Preprocessing


def count_filters(subject: Subject) -> Iterator[Measurement]:
    """How many filters a layer has; one that has no number; two of one layer."""
    for kernels in subject.kernels:
        yield Measurement(kernels.layer, float(len(kernels.values)), "filters")
    yield Measurement("nothing", float("nan"), "no number")
    yield from (Measurement("twice", value, "more than one") for value in (1.0, 3.0, 2.0))


CHECK = Check("ZX1", "filters", "?", "weights", "filters", "us", "note", None, "above", None, (), count_filters)


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Audit]:
    """An audit by that check alone."""
    monkeypatch.setattr(auditing, "all_checks", lambda: (CHECK,))
    return lambda model, images=None, **options: zfviz.audit(model, images, config={}, **options)


def same(one: Baseline, other: Baseline) -> bool:
    """Whether two records hold the same, bit by bit."""
    return one.to_json() == other.to_json()


def test_a_record_is_read_as_it_was_written(audited, tiny: ModelProto, tmp_path: Path) -> None:
    audit = audited(tiny, crops(tmp_path))
    record = audit.record()
    read = read_record(record.to_json().encode(), "it")
    assert same(read, record)
    assert read.name == audit.model.name
    assert read.sha256 == audit.model.source.sha256
    assert [(one.name, one.shape) for one in read.filters] == [
        ("conv1", (8, 3, 7, 7)),
        ("conv2", (12, 8, 3, 3)),
        ("fc", (3, 12)),
    ]
    assert read.preprocessing.mean == audit.model.preprocessing.mean
    assert read.preprocessing.size == (32, 32)
    kernels = next(find_kernels(audit.model)).values
    np.testing.assert_allclose(read.filters[0].rms, np.sqrt((kernels**2).mean(axis=(1, 2, 3))), rtol=1e-5)
    np.testing.assert_allclose(read.filters[0].norms, np.sqrt((kernels**2).sum(axis=(1, 2, 3))), rtol=1e-5)
    assert read.shown is not None
    assert read.shown.pictures == audit.subject.responses.pictures
    assert len(set(read.shown.pictures)) == 24
    assert read.shown.top1 == tuple(audit.subject.responses.top1)
    relu1 = audit.subject.responses.layers[0]
    assert read.shown.layers[0].name == relu1.layer.name == "relu1"
    assert [row[0] for row in read.shown.layers[0].pictures] == relu1.peaks.argmax(axis=0).tolist()


def test_the_same_audit_leaves_the_same_record(audited, tiny: ModelProto, tmp_path: Path) -> None:
    paths = crops(tmp_path, 3)
    assert audited(tiny, paths).record().to_json() == audited(tiny, paths).record().to_json()
    assert audited(tiny).record().shown is None


def test_the_numbers_of_a_check_are_kept_the_worst_of_a_layer(audited, tiny: ModelProto) -> None:
    record = read_record(audited(tiny).record().to_json().encode(), "it")
    assert record.value("ZX1", "conv2") == 12
    assert record.value("ZX1", "twice") == 3
    assert record.value("ZX1", "nothing") is None
    assert record.value("ZX1", "conv9") is None
    assert record.value("ZX2", "conv2") is None
    below = replace(CHECK, worse="below")
    audit = audited(tiny)
    result = Result(below, tuple(count_filters(audit.subject)), ())
    assert Baseline.of(audit.subject, [result]).value("ZX1", "twice") == 1


def made_of(values: np.ndarray) -> Kernels:
    """A layer of these kernels."""
    return replace(next(find_kernels(zfviz.load(tiny_network()))), values=values.astype(np.float32))


def test_sketches_lie_as_far_apart_as_filters() -> None:
    rng = np.random.default_rng(1)
    before, moves = rng.standard_normal((2, 400, 32, 3, 3))
    moves *= 0.5 * np.linalg.norm(before.reshape(400, -1), axis=1)[:, None, None, None] / 17
    after = before + moves
    one, other = Filters.of(made_of(before)), Filters.of(made_of(after))
    told = np.linalg.norm(one.sketches - other.sketches, axis=1)
    ratios = told / np.linalg.norm(moves.reshape(400, -1), axis=1)
    assert (ratios**2).mean() == pytest.approx(1, abs=0.06)
    assert ratios.std() == pytest.approx(0.18, abs=0.03)
    assert one.sketches.shape == (400, records.SKETCH)
    # six digits are enough, and keep records small
    assert all(float(f"{number:.6g}") == number for number in (*one.sketches.ravel(), *one.rms))


def test_sketches_are_the_same_for_ever() -> None:
    # a record that was written with other signs could not be compared
    sketch = Filters.of(made_of(np.arange(1, 13).reshape(1, 3, 2, 2))).sketches[0]
    assert (sketch * 4).astype(int).tolist() == SKETCH_OF_COUNTING


SKETCH_OF_COUNTING = [-2, -2, -34, 6, 10, 8, 4, -2, -28, 2, 4, 4, -6, 22, -6, 16]


def test_filters_that_are_not_finite_are_written_as_null(audited, tiny: ModelProto) -> None:
    weights = onnx.numpy_helper.to_array(tiny.graph.initializer[0]).copy()
    weights[3, 0, 0, 0] = np.nan
    weights[4, 0, 0, 0] = np.inf
    tiny.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "w1"))
    text = audited(tiny).record().to_json()
    rms = json.loads(text)["filters"][0]["rms"]
    assert [index for index, value in enumerate(rms) if value is None] == [3, 4]
    assert np.isnan(read_record(text.encode(), "it").filters[0].rms).tolist() == [False] * 3 + [True] * 2 + [False] * 3


def seen(peaks: list[list[float]]) -> LayerResponses:
    """A layer with these peaks, images by channels."""
    layer = zfviz.load(tiny_network()).layer("relu1")
    values = np.array(peaks, np.float32)
    return LayerResponses(layer, values, values > 0, values[0], values > 0, values[:, 0].astype(int))


def test_the_strongest_pictures_are_in_order_and_those_of_a_channel_that_fired() -> None:
    peaks = [[1, 0, 3], [2, 0, 3], [3, 0, 0], [4, 0, 3], [5, 0, -1], [6, 0, 3], [7, 0, 9]]
    assert Strongest.of(seen(peaks)).pictures == ((6, 5, 4, 3, 2), (), (6, 0, 1, 3, 5))
    assert Strongest.of(seen(peaks), [4, 0, 1]).pictures == ((4, 1, 0), (), (0, 1))


def test_a_model_as_the_baseline_is_all_that_its_record_is(audited, tiny_path: Path, tmp_path: Path) -> None:
    paths = crops(tmp_path, 3)
    before = read_baseline(tiny_path, paths, "cpu", None)
    assert before.model is not None
    assert before.model.name == "tiny.onnx"
    assert same(before, audited(tiny_path, paths).record())


def test_a_model_takes_what_it_does_not_say_from_the_one_that_is_audited(audited) -> None:
    told = zfviz.load(tiny_network(size="S"), [1, 3, 48, 48], "caffe")
    silent = tiny_network(size="S")
    before = read_baseline(silent, [], "cpu", None, told).model
    assert before is not None
    assert before.preprocessing == told.preprocessing
    assert before.image.size == (48, 48)
    says = tiny_network(size=32, metadata={"zfviz.preprocessing": '{"colour": "BGR"}'})
    before = read_baseline(says, [], "cpu", None, told).model
    assert before is not None
    assert before.preprocessing.mean == (0.0,)
    assert before.image.size == (32, 32)
    alone = read_baseline(silent, [], "cpu", None).model
    assert alone is not None
    assert alone.image.size == (224, 224)
    assert audited(told, baseline=silent).subject.baseline.model.image.size == (48, 48)


def test_a_record_is_known_by_its_name_or_its_first_byte(audited, tiny: ModelProto, tmp_path: Path) -> None:
    record = audited(tiny).record()
    text = record.to_json()
    for name in ("a.json", "a.JSON", "record"):
        (tmp_path / name).write_text(text)
        assert same(read_baseline(str(tmp_path / name), [], "cpu", None), record)
    assert same(read_baseline(text.encode(), [], "cpu", None), record)
    for name in ("b.json", "b.JSON"):
        with pytest.raises(CheckError, match="no file at"):
            read_baseline(tmp_path / name, [], "cpu", None)
    with pytest.raises(CheckError, match="no file at"):
        read_baseline(tmp_path / ("b" * 300 + ".json"), [], "cpu", None)
    with pytest.raises(ModelError, match="no file at"):
        read_baseline(tmp_path / "b.onnx", [], "cpu", None)


WINDOWS = (Window("pool1", "p1", (2, 4, 4), "MaxPool 3x3"),)


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A record with a change."""
    filters = Filters("conv1", "w1", (2, 3), np.ones(2), np.ones((2, 16)))
    shown = Shown(("a", "b"), (0, 1), (Strongest("relu1", "r1", (2, 4, 4), ((0, 1), ())),))
    content = json.loads(
        Baseline({"ZX1": {"conv1": 1.0}}, "m", "0", Preprocessing(), (filters,), WINDOWS, shown).to_json()
    )
    change(content)
    return json.dumps(content).encode()


def test_what_is_changed_below_is_sound() -> None:
    assert read_record(edited(lambda r: None), "it").value("ZX1", "conv1") == 1.0
    unknown = read_record(edited(lambda r: r["shown"].update(top1=None)), "it").shown
    assert unknown is not None
    assert unknown.top1 is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(format="zfviz-audit-baseline-2"), 'expected JSON with "format"'),
        (lambda r: r.pop("shown"), "expected the keys format, model, preprocessing, checks, filters, windows, shown"),
        (lambda r: r.update(more=1), "expected the keys"),
        (lambda r: r.update(model=[]), "model: found .*; expected a table"),
        (lambda r: r["model"].update(name=3), "expected a text"),
        (lambda r: r["model"].update(name="\ud800"), "expected a text"),
        (lambda r: r.update(preprocessing=3), "preprocessing: found 3; expected a table"),
        (lambda r: r["preprocessing"].update(mean=[]), "preprocessing: mean is .*; expected a list of numbers"),
        (lambda r: r["preprocessing"].update(nonsense=1), "preprocessing: unknown key 'nonsense'"),
        (lambda r: r.update(windows={}), "windows: found {}; expected a list"),
        (lambda r: r["windows"][0].update(slides=3), "the slides of a window: found 3; expected a text"),
        (lambda r: r["windows"][0].update(shape=[]), "the shape of pool1: found .*; expected 1 to 8 numbers"),
        (lambda r: r["windows"][0].pop("name"), "windows: found .*; expected the keys name, tensor, shape, slides"),
        (lambda r: r.update(checks=[1]), "checks: found .*; expected a table"),
        (lambda r: r["checks"].update(ZX1=[1]), "checks ZX1: found .*; expected a table"),
        (lambda r: r["checks"].update(ZX1={"conv1": "much"}), "checks ZX1: found 'much'; expected a number"),
        (lambda r: r["checks"].update(ZX1={"conv1": True}), "expected a number"),
        (lambda r: r["checks"].update(ZX1={"conv1": float("nan")}), "expected a number"),
        (lambda r: r["checks"].update(ZX1={"conv1": float("inf")}), "expected a number"),
        (lambda r: r["checks"].update(ZX1={"conv1": 10**400}), "expected a number"),
        (lambda r: r.update(filters={}), "filters: found .*; expected a list"),
        (lambda r: r["filters"].append(3), "filters: found 3; expected a table"),
        (lambda r: r["filters"][0].update(shape=[]), "expected 1 to 8 numbers"),
        (lambda r: r["filters"][0].update(shape=[2] * 9), "expected 1 to 8 numbers"),
        (lambda r: r["filters"][0].update(shape=[2, -3]), "the shape of conv1: found -3; expected a whole number"),
        (lambda r: r["filters"][0].update(shape=[2, 1.5]), "expected a whole number"),
        (lambda r: r["filters"][0].update(shape=[3, 3]), "rms of conv1: found '2 items'; expected 3"),
        (lambda r: r["filters"][0]["rms"].append(1), "rms of conv1: found '3 items'; expected 2"),
        (lambda r: r["filters"][0].update(rms=[1, "1"]), "rms of conv1: found '1'; expected a number"),
        (lambda r: r["filters"][0]["sketches"].pop(), "sketches of conv1: found '1 items'; expected 2"),
        (lambda r: r["filters"][0]["sketches"][1].pop(), "sketches of conv1: found '15 items'; expected 16"),
        (lambda r: r["filters"][0].update(sketches=[[1e200] * 16] * 2), "expected a number"),
        (lambda r: r.update(shown=[]), "shown: found .*; expected a table"),
        (lambda r: r["shown"].update(pictures=[1, 2]), "pictures: found 1; expected a text"),
        (lambda r: r["shown"].update(top1=[1]), "top1: found '1 items'; expected 2"),
        (lambda r: r["shown"].update(top1=[1, -1]), "top1: found -1; expected a whole number"),
        (lambda r: r["shown"]["layers"][0].update(pictures=[[0]]), "pictures of relu1: found '1 items'; expected 2"),
        (lambda r: r["shown"]["layers"][0].update(pictures=[[2], []]), "found 2; expected a whole number from 0"),
        (lambda r: r["shown"]["layers"][0].update(pictures=[[0, 0], []]), "or one twice"),
        (lambda r: r["shown"]["layers"][0].update(pictures=[[True], []]), "found True; expected a whole number"),
        (lambda r: r["shown"]["layers"][0].update(shape=[0, 1]), "expected 0"),
        (lambda r: r["shown"]["layers"][0].pop("tensor"), "expected the keys name, tensor, shape, pictures"),
    ],
)
def test_what_is_wrong_in_a_record_is_said(change: Callable[[dict[str, Any]], object], said: str) -> None:
    with pytest.raises(CheckError, match=f"^it.*{said}"):
        read_record(edited(change), "it")


def test_more_than_five_pictures_of_a_channel_are_too_many() -> None:
    def change(record: dict[str, Any]) -> None:
        record["shown"].update(pictures=[*"abcdef"], top1=None)
        record["shown"]["layers"][0].update(pictures=[[*range(6)], []])

    with pytest.raises(CheckError, match="more than 5 of a channel"):
        read_record(edited(change), "it")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe", b"{}", b'{"a": ' + b"9" * 5000 + b"}"])
def test_what_is_no_record_is_said(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(CheckError, match=r"expected the record of an audit|expected JSON with"):
        read_baseline(path, [], "cpu", None)


def test_records_have_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = edited(lambda r: None)
    monkeypatch.setattr(reading, "MAX_BYTES", len(text) - 1)
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with pytest.raises(CheckError, match=r"has more than .* bytes"):
        read_baseline(path, [], "cpu", None)
    monkeypatch.setattr(reading, "MAX_BYTES", len(text))
    record = read_baseline(path, [], "cpu", None)
    monkeypatch.setattr(records, "MAX_BYTES", 100)
    with pytest.raises(CheckError, match="Give the model itself"):
        record.to_json()


def test_a_record_says_what_it_is() -> None:
    assert json.loads(Baseline({}).to_json())["format"] == FORMAT == "zfviz-audit-baseline-1"

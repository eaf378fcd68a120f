"""What is prepared once and used for many images: one after the other, some units at a time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_project import batch, close

import zfviz
from zfviz.errors import DeviceError, ImageError, LayerError, ModelError, OutputError
from zfviz.runtime import running
from zfviz.runtime.running import SIGNALS_AT_ONCE
from zfviz.runtime.session import Session


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Ten pictures, more than go together."""
    rng = np.random.default_rng(0)
    names = [tmp_path / f"{number}.png" for number in range(10)]
    for path in names:
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return names


def test_each_image_comes_by_itself_and_as_alone(tiny, paths) -> None:
    prepared = zfviz.prepare(tiny, layer=["relu1", "relu2"], top=3)
    found = [*prepared.each(path for path in paths)]
    assert [p.batch.names for p in found] == [(path.name,) for path in paths]
    for path, one in zip(paths, found, strict=True):
        alone = prepared.project(path)
        assert one.units == alone.units
        assert close(one.pixels, alone.pixels)
        assert one.record() == alone.record()


def test_each_takes_all_that_is_an_image(tiny, paths) -> None:
    prepared = zfviz.prepare(tiny, layer="relu2", top=1)
    pictures = [Image.open(path) for path in paths]
    names = [p.batch.names[0] for p in prepared.each(pictures)]
    assert names == [f"image{number}" for number in range(10)]
    assert [p.batch.names[0] for p in prepared.each(batch(9))] == [f"array{number}" for number in range(9)]
    for one in (paths[0], str(paths[0]), pictures[0], batch(1)[0]):
        assert len([*prepared.each(one)]) == 1
    assert len(prepared.project(path for path in paths[:2]).batch.names) == 2


@pytest.mark.parametrize(
    ("given", "says"), [([batch(1)], "found a ndarray"), (5, "found a int"), ([], "no image"), (iter([]), "no image")]
)
def test_what_is_no_image_is_told(tiny, given: Any, says: str) -> None:
    prepared = zfviz.prepare(tiny, layer="relu2", top=1)
    for use in (
        prepared.project,
        lambda given: next(prepared.each(given)),
        lambda given: next(prepared.portions(given)),
    ):
        with pytest.raises(ImageError, match=says):
            use(given)


def test_fewer_images_go_together_where_they_have_many_units(tiny, monkeypatch) -> None:
    ran: list[int] = []
    run = Session.run

    def counted(session: Session, feeds: Any, *rest: Any) -> Any:
        ran.extend(len(value) for name, value in feeds.items() if name == "image")
        return run(session, feeds, *rest)

    monkeypatch.setattr(Session, "run", counted)
    of_projections = 4 * 3 * 32 * 32
    for top, together in ((1, [8, 1]), (12, [3, 3, 3])):
        ran.clear()
        prepared = zfviz.prepare(tiny, layer="relu2", top=top)
        monkeypatch.setattr(running, "MEMORY", 12 * 3 * of_projections)
        assert len([*prepared.each(batch(9))]) == 9
        assert ran == together


def test_the_first_image_is_verified_and_no_other_record_says_so(tiny) -> None:
    prepared = zfviz.prepare(tiny, layer="relu2", top=1)
    found = [p.record()["verification"] for p in prepared.each(batch(9), verify=True)]
    together = prepared.project(batch(3), verify=True)
    for records in (found, [together.record(image)["verification"] for image in range(3)]):
        assert records[0]["residual"] < 1e-4
        assert not any(records[1:])


def test_portions_are_saved_beside_each_other(tiny, paths, tmp_path) -> None:
    prepared = zfviz.prepare(tiny, layer="relu2", top=5)
    out = tmp_path / "out"
    written = [path for p in prepared.portions(paths[:2], units=2) for path in p.save(out, save=["pixels", "arrays"])]
    assert len(set(written)) == len(written) == len([*out.iterdir()])
    for picture in ("0", "1"):
        records = [json.loads(path.read_text()) for path in sorted(out.glob(f"{picture}__*.json"))]
        assert [len(record["units"]) for record in records] == [2, 2, 1]
        assert {record["image"] for record in records} == {f"{picture}.png"}
        units = [(unit["channel"], unit["y"], unit["x"]) for record in records for unit in record["units"]]
        whole = prepared.project(paths[int(picture)])
        assert units == [(unit.channel, unit.y, unit.x) for unit in whole.units]
        ranks = sorted(path.name.split(".")[1] for path in out.glob(f"{picture}__*.relu2.*.png"))
        assert ranks == ["0000", "0001", "0002", "0003", "0004"]


def test_units_may_be_numbers_of_numpy_or_units_that_were_found(tiny) -> None:
    image = batch(1)
    maps = zfviz.activations(tiny, image, ["relu2"])["relu2"][0]
    strongest = np.argsort(-maps.max((1, 2)))[:3]
    found = zfviz.project(tiny, image, "relu2", units=strongest)
    assert found.units == zfviz.project(tiny, image, "relu2", top=3).units
    rows = np.array([(u.channel, u.y, u.x) for u in found.units])
    for units in (found.units, rows, [*map(tuple, rows)]):
        again = zfviz.project(tiny, image, "relu2", units=units)
        assert again.units == found.units
        assert json.dumps(again.record()) == json.dumps(found.record())
    assert zfviz.project(tiny, image, classes=[np.int64(1)]).units[0].channel == 1


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"units": [999]}, LayerError, "no unit 999 in layer 'relu2'"),
        ({"units": [-1]}, LayerError, "no unit -1"),
        ({"units": [(1, 2)]}, LayerError, "unit 1,2 for layer 'relu2'"),
        ({"units": [1.5]}, LayerError, r"units is \[1.5\]"),
        ({"units": 5}, LayerError, "units is 5"),
        ({"top": 2.5}, LayerError, "top is 2.5"),
        ({"threads": 0}, DeviceError, "threads is 0"),
        ({"layer": []}, LayerError, "layer is an empty list"),
    ],
)
def test_what_cannot_be_asked_is_told_before_an_image_is_read(
    tiny, asked: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        zfviz.prepare(tiny, **({"layer": "relu2"} | asked))


def test_no_layers_have_no_activations(tiny) -> None:
    with pytest.raises(LayerError, match="empty list"):
        zfviz.activations(tiny, batch(1), [])


def test_nothing_unknown_is_saved(tiny, tmp_path) -> None:
    with pytest.raises(OutputError, match="save is 'foo'; expected pixels or arrays"):
        zfviz.project(tiny, batch(1), "relu2", top=1).save(tmp_path, save=["pixels", "foo"])
    assert not [*tmp_path.iterdir()]


def test_portions_are_what_project_gives_some_units_at_a_time(tiny) -> None:
    images = batch(2)
    prepared = zfviz.prepare(tiny, layer=["relu1", "relu2"], top=8)
    whole, portions = prepared.project(images), list(prepared.portions(images, units=5))
    assert [len(p.units) for p in portions] == [5, 5, 5, 1, 5, 5, 5, 1]
    assert [u for p in portions for u in p.units] == list(whole.units)
    assert [p.batch.names for p in portions] == 4 * [("array0",)] + 4 * [("array1",)]
    assert [p.first for p in portions] == 2 * [0, 5, 10, 15]
    assert close(np.concatenate([p.pixels for p in portions]), whole.pixels)
    assert portions[-1].record()["top1"] == whole.record(1)["top1"]


def test_without_scores_the_model_runs_no_deeper_than_the_layer(tiny) -> None:
    asked, spared = (zfviz.prepare(tiny, layer="relu1", top=1, scores=scores) for scores in (True, False))
    assert asked.scores is not None
    assert {*asked.tensors} - {*spared.tensors} == {asked.scores.tensor}
    assert asked.project(batch(1)).record()["top1"] is not None
    assert spared.project(batch(1)).record()["top1"] is None


def test_portions_make_no_more_than_is_asked_for(tiny, monkeypatch) -> None:
    ran: list[int] = []
    units = [(c, y, x) for c in range(12) for y in range(4) for x in range(4)]
    prepared = zfviz.prepare(tiny, layer="relu2", units=units, threads=1)
    run = Session.run

    def counted(session: Session, feeds: Any, outputs: Any, *kept: Any) -> Any:
        ran.append(len(feeds.get("signal", ())))
        return run(session, feeds, outputs, *kept)

    monkeypatch.setattr(Session, "run", counted)
    portions = prepared.portions(batch(1), units=SIGNALS_AT_ONCE["cpu"])
    next(portions)
    next(portions)
    assert ran == [0, SIGNALS_AT_ONCE["cpu"], SIGNALS_AT_ONCE["cpu"]]


def test_runs_side_by_side_give_what_one_run_after_another_gives(tiny) -> None:
    found, expected = (zfviz.project(tiny, batch(3), ["relu1", "relu2"], top=7, threads=n) for n in (3, 1))
    assert found.units == expected.units
    assert close(found.pixels, expected.pixels)


def test_a_failed_run_among_several_is_an_error(tiny, monkeypatch) -> None:
    prepared, run = zfviz.prepare(tiny, layer="relu2", top=9, threads=3), Session.run

    def failing(session: Session, feeds: Any, outputs: Any, *kept: Any) -> Any:
        if "signal" in feeds:
            raise ModelError("no memory")
        return run(session, feeds, outputs, *kept)

    monkeypatch.setattr(Session, "run", failing)
    with pytest.raises(ModelError, match="no memory"):
        prepared.project(batch(1))

"""What projections leave behind: sheets, records, files."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTO, tiny_network
from PIL import Image

import zfviz
from zfviz.errors import OutputError


@pytest.fixture
def two(tiny) -> zfviz.Projections:
    return zfviz.project(tiny, [PHOTO, PHOTO], top=2)


def test_save_writes_a_sheet_and_a_record_an_image(two: zfviz.Projections, tmp_path: Path) -> None:
    paths = two.save(tmp_path / "new" / "folder")
    assert [p.suffix for p in paths] == [".png", ".json"] * 2
    assert len(set(paths)) == 4
    assert sorted(tmp_path.rglob("*.*")) == sorted(paths)
    record = json.loads(paths[1].read_text())
    assert record["image"] == "chelsea.jpg"
    assert record["model"]["sha256"]
    assert set(record["versions"]) == {"zfviz", "onnx", "onnxruntime", "numpy"}
    assert [u["layer"] for u in record["units"]] == ["relu1", "relu1", "relu2", "relu2"]
    with Image.open(paths[0]) as sheet:
        assert np.array_equal(np.asarray(sheet), np.asarray(two.sheet(0)))


def test_save_pixels_and_arrays(two: zfviz.Projections, tmp_path: Path) -> None:
    paths = two.save(tmp_path, save=("pixels", "arrays"))
    assert len([p for p in paths if p.suffix == ".png"]) == 2 * (1 + 4)
    stored = np.load(next(p for p in paths if p.suffix == ".npz"))
    assert np.array_equal(stored["pixels"], two.pixels[:4])
    assert stored["unit"].tolist() == [[u.channel, u.y, u.x] for u in two.units[:4]]
    picture = next(p for p in paths if "relu2" in p.name)
    with Image.open(picture) as image:
        assert image.size == (32, 32)


def test_same_input_gives_the_same_bytes(two: zfviz.Projections, tiny, tmp_path: Path) -> None:
    again = zfviz.project(tiny, [PHOTO, PHOTO], top=2)
    for one, other in zip(two.save(tmp_path / "a"), again.save(tmp_path / "b"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_receptive_field_of_a_record_holds_the_projection(two: zfviz.Projections) -> None:
    for unit, pixels in zip(two.record(0)["units"], two.pixels, strict=False):
        top, left, bottom, right = unit["receptive_field"]
        inside = np.zeros((32, 32), bool)
        inside[max(top, 0) : bottom, max(left, 0) : right] = True
        assert not pixels[:, ~inside].any()
        assert pixels.any()


def test_hostile_layer_names_stay_in_the_folder(tmp_path: Path) -> None:
    model = tiny_network()
    for node in model.graph.node:
        if node.name == "relu2":
            node.name = "../../a:b/\x00c"
    paths = zfviz.project(model, PHOTO, layer="../../a:b/\x00c", top=1).save(tmp_path, save=("pixels",))
    assert {p.parent for p in paths} == {tmp_path}


def test_nothing_is_left_where_the_folder_cannot_be_written(two: zfviz.Projections, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError):
        two.save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_assumed_preprocessing_is_said(two: zfviz.Projections) -> None:
    assert any("is assumed" in w and "--preprocess" in w for w in two.warnings())
    stated = zfviz.project(zfviz.load(tiny_network(), preprocessing="caffe"), PHOTO, top=1)
    assert not any("assumed" in w for w in stated.warnings())
    assert "BGR" in stated.record()["preprocessing"].values()

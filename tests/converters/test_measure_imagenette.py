"""Error rates on Imagenette: of a network that tells greys apart, on an archive with what else archives hold."""

import csv
import io
import tarfile
from pathlib import Path

import measure_imagenette
import numpy as np
import onnx
import pytest
from commands import shell
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import zfviz

WNIDS = [
    "n01440764",
    "n02102040",
    "n02979186",
    "n03000684",
    "n03028079",
    "n03394916",
    "n03417042",
]
STEP = 40  # the grey of class k is k times this


def grey_network() -> onnx.ModelProto:
    """The score of class k is highest for its grey g, and less for others by their distance: 2 g x - g^2."""
    greys = STEP * np.arange(len(WNIDS), dtype=np.float32)
    weights = [
        numpy_helper.from_array(2 * greys[:, None] * np.full((1, 3), 1 / 3, np.float32), "w"),
        numpy_helper.from_array(-(greys**2), "b"),
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"], "mean"),
        helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "w", "b"], ["scores"], "scores", transB=1),
        helper.make_node("Softmax", ["scores"], ["prob"], "prob"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 16, 16])
    output = helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["N", len(WNIDS)])
    graph = helper.make_graph(nodes, "greys", [image], [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"zfviz.preprocessing": '{"scale": 1, "mean": [0], "std": [1]}'})
    return model


def jpeg(grey: int, size: tuple[int, int] = (20, 18)) -> bytes:
    Image.new("RGB", size, (grey, grey, grey)).save(file := io.BytesIO(), "JPEG")
    return file.getvalue()


def write_archive(path: Path, pictures: dict[str, bytes]) -> Path:
    """The pictures, by their place, and all that is none: a table, what a Mac leaves, a link, folders, other files."""
    table = io.StringIO()
    csv.writer(table).writerow(["path", "noisy_labels_0"])
    others = {
        "noise_imagenette.csv": table.getvalue().encode(),
        f"val/{WNIDS[0]}/.DS_Store": b"\0\0\0\1Bud1",
        "val/.DS_Store": b"\0\0\0\1Bud1",
        "test/n01440764/other.JPEG": jpeg(0),
    }
    with tarfile.open(path, "w:gz") as tar:
        for split in ("train", "val"):
            for wnid in WNIDS:
                folder = tarfile.TarInfo(f"imagenette2-320/{split}/{wnid}")
                folder.type = tarfile.DIRTYPE
                tar.addfile(folder)
        for name, data in (others | pictures).items():
            member = tarfile.TarInfo(f"imagenette2-320/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            if name in pictures:
                link = tarfile.TarInfo(f"imagenette2-320/{Path(name).parent}/link.JPEG")
                link.type, link.linkname = tarfile.SYMTYPE, Path(name).name
                tar.addfile(link)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """For each class one picture of its own grey, and three that are another's: at the places 1, 3 and 6."""
    pictures = {f"val/{wnid}/own.JPEG": jpeg(STEP * number) for number, wnid in enumerate(WNIDS)}
    pictures[f"val/{WNIDS[1]}/one.JPEG"] = jpeg(5)  # greys 0, 40, 80 ... are that far: 40 is second
    pictures[f"val/{WNIDS[3]}/two.JPEG"] = jpeg(0)  # 120 is fourth
    pictures[f"val/{WNIDS[6]}/three.JPEG"] = jpeg(0)  # 240 is last
    pictures[f"train/{WNIDS[0]}/one.JPEG"] = jpeg(240)
    return write_archive(tmp_path / "tiny.tgz", pictures)


def test_error_rates_are_those_by_hand(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(grey_network(), tmp_path / "greys.onnx")
    for at_once in (32, 3):  # all at once, and in portions of which the last is smaller
        monkeypatch.setattr(measure_imagenette, "AT_ONCE", at_once)
        measured = measure_imagenette.measure(zfviz.load(tmp_path / "greys.onnx"), archive)
        assert measured == (pytest.approx(3 / 10), pytest.approx(1 / 10), 10)
    done = shell(measure_imagenette, tmp_path, "greys.onnx", "--data", archive)
    assert done.stdout == "top-1 error 30.00 %, top-5 error 10.00 %, 10 pictures\n", done.stderr


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.tgz", Path(__file__)):
        with pytest.raises(SystemExit, match=r"is no archive; expected one as https://"):
            next(measure_imagenette.read_pictures(path))


def test_only_pictures_of_the_validation_are_read(archive: Path) -> None:
    found = [folder for _, folder in measure_imagenette.read_pictures(archive)]
    assert sorted(found) == sorted([*WNIDS, WNIDS[1], WNIDS[3], WNIDS[6]])


def test_training_reads_the_pictures_of_both_parts(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="it trains with torch; install zfviz[oracle,exporters]")
    pytest.importorskip("torchvision", reason="it reads pictures with torchvision; install zfviz[exporters]")
    import train_imagenette

    pictures = {
        f"train/{WNIDS[2]}/high.JPEG": jpeg(200, (224, 448)),
        f"train/{WNIDS[6]}/wide.JPEG": jpeg(100, (448, 336)),
        f"val/{WNIDS[4]}/small.JPEG": jpeg(50, (112, 112)),
        "val/n00000000/unknown.JPEG": jpeg(0),
    }
    found = train_imagenette.read_pictures(write_archive(tmp_path / "tiny.tgz", pictures))
    shapes = {part: [(tuple(picture.shape), label) for picture, label in of_part] for part, of_part in found.items()}
    assert shapes == {"train": [((3, 448, 224), 2), ((3, 224, 298), 6)], "val": [((3, 224, 224), 4)]}
    greys = [float(picture.float().mean()) for of_part in found.values() for picture, _ in of_part]
    assert greys == pytest.approx([200, 100, 50], abs=1)
    del pictures[f"val/{WNIDS[4]}/small.JPEG"]
    with pytest.raises(SystemExit, match="found no train/WNID"):
        train_imagenette.read_pictures(write_archive(tmp_path / "none.tgz", pictures))

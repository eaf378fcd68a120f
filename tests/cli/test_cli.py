"""The command line as a shell sees it: what is printed where, what is written, and the exit code."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from conftest import PHOTO, tiny_network
from PIL import Image

from zfviz.cli.main import main


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def zfviz(capfd: pytest.CaptureFixture[str]):
    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as exit_:
            main([str(a) for a in arguments])
        return Result(exit_.value.code, *capfd.readouterr())

    return run


def test_project_prints_the_paths_it_wrote(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    result = zfviz("project", tiny_path, PHOTO, "--out", tmp_path / "out", "--top", 2)
    assert result.code == 0
    written = [Path(line) for line in result.out.splitlines()]
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    assert [p.suffix for p in written] == [".png", ".json"]
    assert "preprocessing" in result.err
    assert "ran on cpu" in result.err or "ran on cuda" in result.err


def test_project_json_prints_the_record(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    result = zfviz(
        "project",
        tiny_path,
        PHOTO,
        "--out",
        tmp_path,
        "--layer",
        "relu2",
        "--unit",
        "3",
        "--unit",
        "4,1,2",
        "--json",
        "--verify",
    )
    record = json.loads(result.out)
    assert [(u["channel"], u["layer"]) for u in record["units"]] == [(3, "relu2"), (4, "relu2")]
    assert (record["units"][1]["y"], record["units"][1]["x"]) == (1, 2)
    assert record["verification"]["residual"] < 1e-4
    many = zfviz("project", tiny_path, PHOTO, PHOTO, "--out", tmp_path, "--class", "dog", "--json")
    assert [r["units"][0]["channel"] for r in json.loads(many.out)] == [1, 1]


def test_layers_lists_what_can_be_named(zfviz, tiny_path: Path) -> None:
    lines = zfviz("layers", tiny_path).out.splitlines()
    names = ["conv1", "relu1", "pool1", "conv2", "relu2", "gap", "flatten", "fc", "softmax"]
    assert [line.split()[0] for line in lines[1:]] == names
    assert lines[2].split()[1:5] == ["Relu", "8x16x16", "7x7", "2x2"]
    rows = json.loads(zfviz("layers", tiny_path, "--json", "--method", "gradient").out)
    assert {r["name"]: r["projection"] for r in rows}["relu1"] == "mask by forward"


def test_expose_and_companion_write_graphs_that_chain(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    forward, back = tmp_path / "forward.onnx", tmp_path / "companion.onnx"
    assert zfviz("expose", tiny_path, "-o", forward, "--layer", "relu2").out.split() == [str(forward)]
    assert zfviz("companion", tiny_path, "--layer", "relu2", "-o", back).out.split() == [str(back)]
    outputs = {o.name for o in onnx.load(forward).graph.output}
    assert {i.name for i in onnx.load(back).graph.input} - {"signal"} <= outputs


@pytest.mark.parametrize("command", ["export", "expose", "companion", "layers"])
def test_a_size_that_is_assumed_is_said(zfviz, command: str, tmp_path: Path) -> None:
    path = tmp_path / "open.onnx"
    onnx.save(tiny_network(size="S"), path)
    layer = () if command == "layers" else ("--layer", "relu2", "-o", tmp_path / "made.onnx")
    done = zfviz(command, path, *layer)
    assert done.code == 0
    assert done.err == "zfviz: the model leaves its input size open; 224x224 is assumed.\n"
    if command == "export":
        again = zfviz("project", tmp_path / "made.onnx", "photo.jpg")
        assert again.code == 2
        assert "made.onnx holds what zfviz made of a model, the projections of 'r2'" in again.err


def test_export_writes_a_model_that_explains_itself(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "explain.onnx"
    assert zfviz("export", tiny_path, "--layer", "relu2", "--top", 2, "-o", path).out.split() == [str(path)]
    outputs = {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim] for o in onnx.load(path).graph.output}
    assert list(outputs) == ["prob", "units", "activations", "pixels"]
    assert outputs["units"] == [2, 3]
    failed = zfviz("export", tiny_path, "--layer", "relu2", "--top", 99, "-o", tmp_path / "not.onnx")
    assert (failed.code, "expected 1 to" in failed.err) == (2, True)
    assert not (tmp_path / "not.onnx").exists()


def test_shared_weights_need_a_forward_graph(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    result = zfviz("companion", tiny_path, "--layer", "relu2", "-o", tmp_path / "c.onnx", "--shared-weights")
    assert result.code == 2
    assert "--forward" in result.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["project", "{model}"], "IMAGE"),
        (["project", "{model}", "{photo}", "--unit", "a"], "whole numbers"),
        (["project", "{model}", "{photo}", "--unit", "1,2"], "CHANNEL,Y,X"),
        (["project", "{model}", "{photo}", "--save", "movies"], "pixels, arrays"),
        (["project", "{model}", "{photo}", "--layer", "relu"], "nearest: "),
        (["project", "{model}", "{photo}", "--class", "dgo"], "nearest: dog"),
        (["project", "{model}", "nothing.jpg"], "nothing.jpg"),
        (["project", "{model}", "{model}"], "is no picture"),
        (["project", "{photo}", "{photo}"], "ONNX"),
        (["project", "nothing.onnx", "{photo}"], "nothing.onnx"),
        (["project", "{model}", "{photo}", "--preprocess", "imagnet"], "imagenet"),
        (["layers", "{model}", "--input-shape", "1,3,8"], "input_shape"),
        (["companion", "{model}", "--layer", "nope", "-o", "c.onnx"], "nope"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_use_and_bad_input_exit_2_with_one_line(
    zfviz, tiny_path: Path, tmp_path: Path, arguments, says, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    result = zfviz(*(a.format(model=tiny_path, photo=PHOTO) for a in arguments))
    assert result.code == 2
    assert says in result.err
    assert "Traceback" not in result.err
    assert not result.out
    assert sorted(tmp_path.iterdir()) == before


def test_failed_verification_exits_1(zfviz, tiny_path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("zfviz.runtime.verify.residual", lambda *_, **__: 1.0)
    result = zfviz("project", tiny_path, PHOTO, "--verify", "--out", tmp_path / "out")
    assert result.code == 1
    assert not (tmp_path / "out").exists()


def test_a_bug_exits_70_with_its_trace(zfviz, tiny_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("zfviz.studies.layers.describe_layers", lambda *_: 1 / 0)
    result = zfviz("layers", tiny_path)
    assert result.code == 70
    assert "ZeroDivisionError" in result.err
    assert "report" in result.err


def test_cuda_that_is_missing_says_what_is_missing(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    if zfviz("project", tiny_path, PHOTO, "--out", tmp_path, "--device", "auto").err.count("ran on cuda"):
        pytest.skip("this machine has a usable GPU")
    result = zfviz("project", tiny_path, PHOTO, "--out", tmp_path, "--device", "cuda")
    assert result.code == 2
    assert "expected" in result.err
    assert "--device cpu" in result.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert zfviz("project", tiny_path, PHOTO, "--out", folder).code == 2


def test_output_that_nobody_reads_is_no_error(tiny_path: Path) -> None:
    command = f"{sys.executable} -m zfviz.cli layers {tiny_path} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not done.stderr


def test_help_needs_neither_onnx_nor_onnxruntime() -> None:
    heavy = ("onnx", "onnxruntime", "numpy", "PIL")
    code = f"import sys; from zfviz.cli.main import cli; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize("command", ["project", "layers", "expose", "companion", "export"])
def test_every_help_page_has_an_example_and_its_options_are_in_the_readme(zfviz, command: str) -> None:
    page = zfviz(command, "--help").out
    assert re.search("Examples?:", page)
    assert f"zfviz {command}" in page
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    options = {word.strip(",") for word in page.split() if word.startswith("--") and word != "--help"}
    assert not {option for option in options if option not in readme}


def test_grey_palette_and_alpha_pictures_work(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    picture = Image.open(PHOTO)
    for i, mode in enumerate(["L", "P", "RGBA", "I;16"]):
        path = tmp_path / f"{i}.png"
        (picture.convert("L").convert("I").convert("I;16") if mode == "I;16" else picture.convert(mode)).save(path)
        assert zfviz("project", tiny_path, path, "--out", tmp_path / "out", "--top", 1).code == 0


def test_grey_picture_for_a_colour_model_and_back(zfviz, tmp_path: Path) -> None:
    onnx.save(tiny_network(batch=1, size=48), tmp_path / "m.onnx")
    assert zfviz("project", tmp_path / "m.onnx", PHOTO, "--out", tmp_path, "--save", "pixels,arrays").code == 0
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_many_images_each_get_files_of_their_own(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    picture = Image.open(PHOTO).resize((60, 40))
    images = [tmp_path / str(i) / ("same.png" if i % 2 else f"{i}.png") for i in range(19)]
    for image in images:
        image.parent.mkdir()
        picture.save(image)
    lines = zfviz("project", tiny_path, *images, "--out", tmp_path / "out", "--top", 1).out.splitlines()
    assert len(set(lines)) == len(list((tmp_path / "out").iterdir())) == 2 * 19


def test_what_is_made_of_a_model_never_replaces_it(zfviz, tiny_path: Path, tmp_path: Path) -> None:
    before = tiny_path.read_bytes()
    beside = tiny_path.parent / "." / tiny_path.name
    for command in ("expose", "companion", "export"):
        result = zfviz(command, tiny_path, "--layer", "relu2", "-o", beside)
        assert (result.code, "is of the model itself" in result.err) == (2, True)
    both = tmp_path / "both.onnx"
    assert zfviz("companion", tiny_path, "--layer", "relu2", "-o", both, "--forward", both).code == 2
    assert not both.exists()
    assert tiny_path.read_bytes() == before

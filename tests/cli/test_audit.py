"""`zfviz audit` as a shell sees it: exit codes, several reports of one run, baselines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import PHOTO, tiny_network
from onnx import ModelProto, numpy_helper
from PIL import Image

REPORTS = ("text", "json", "sarif", "junit", "markdown", "html")


class Done:
    def __init__(self, folder: Path, *arguments: object, **variables: str) -> None:
        command = [sys.executable, "-m", "zfviz.cli", "audit", *map(str, arguments)]
        env = os.environ | variables
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False, env=env)
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, one that is broken, and pictures."""
    onnx.save(tiny_network(), tmp_path / "tiny.onnx")
    onnx.save(with_nan(tiny_network()), tmp_path / "broken.onnx")
    photos = tmp_path / "photos"
    photos.mkdir()
    with Image.open(PHOTO) as photo:
        for number in range(4):
            photo.crop((40 * number, 20, 40 * number + 160, 180)).save(photos / f"{number}.png")
    return tmp_path


def with_nan(proto: ModelProto) -> ModelProto:
    """The model with one weight that is no number."""
    values = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    values.flat[5] = np.nan
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, proto.graph.initializer[0].name))
    return proto


def test_a_sound_model_passes(folder: Path) -> None:
    done = Done(folder, "tiny.onnx")
    assert done.code == 0, done.out + done.err
    assert "ZF101" in done.out


def test_a_broken_model_fails_and_the_check_that_should_find_it_does(folder: Path) -> None:
    done = Done(folder, "broken.onnx", "--format", "json")
    assert done.code == 1
    found = json.loads(done.out)
    failed = [check["code"] for check in found["checks"] if check["status"] == "failed"]
    assert "ZF101" in failed
    assert Done(folder, "broken.onnx", "--fail-on", "never").code == 0


def test_one_run_writes_several_reports_also_when_it_fails(folder: Path) -> None:
    wanted = [part for kind in REPORTS for part in ("--report", f"{kind}=out.{kind}")]
    done = Done(folder, "broken.onnx", *wanted, "-o", "main.txt")
    assert done.code == 1
    assert all((folder / f"out.{kind}").stat().st_size for kind in REPORTS)
    assert (folder / "main.txt").read_text() == (folder / "out.text").read_text()
    assert done.out == "broken.onnx: failed (1 error)\n"
    uri = json.loads((folder / "out.sarif").read_text())["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert uri["artifactLocation"]["uri"] == "broken.onnx"


def test_the_same_audit_gives_the_same_bytes(folder: Path) -> None:
    for kind in REPORTS:
        runs = [Done(folder, "tiny.onnx", "--images", "photos", "--format", kind).out for _ in range(2)]
        assert runs[0] == runs[1]


def test_a_baseline_is_written_and_compared_with(folder: Path) -> None:
    options = ("--images", "photos", "--baseline", "known.json")
    missing = Done(folder, "tiny.onnx", *options)
    assert (missing.code, "known.json" in missing.err) == (2, True)
    assert Done(folder, "tiny.onnx", *options, "--update-baseline").code == 0
    same = Done(folder, "tiny.onnx", *options, "--fail-on", "warning", "--format", "json")
    assert same.code == 0, same.out
    compared = [c for c in json.loads(same.out)["checks"] if c["group"] == "baseline" and c["status"] != "skipped"]
    assert compared
    model = Done(folder, "tiny.onnx", "--images", "photos", "--baseline", "tiny.onnx", "--fail-on", "warning")
    assert model.code == 0, model.out


def test_several_models_are_audited_one_after_the_other(folder: Path) -> None:
    assert Done(folder, "tiny.onnx", "tiny.onnx").code == 0
    assert Done(folder, "broken.onnx", "tiny.onnx").code == 1
    (folder / "no.onnx").write_text("no model")
    mixed = Done(folder, "no.onnx", "broken.onnx")
    assert (mixed.code, "no.onnx" in mixed.err, "ZF101" in mixed.out) == (2, True, True)
    refused = Done(folder, "tiny.onnx", "broken.onnx", "-o", "x.txt")
    assert (refused.code, "--output is for one model; found 2" in refused.err) == (2, True)
    joined = Done(folder, "tiny.onnx", "broken.onnx", "--format", "json")
    assert (joined.code, "--format json is for one model; found 2" in joined.err) == (2, True)


def test_a_hostile_name_paints_no_terminal(folder: Path) -> None:
    evil = "a\x1b[2Jb.onnx"
    (folder / evil).write_text("no model")
    for names in ([evil], [evil, evil]):
        done = Done(folder, *names)
        assert done.code == 2
        assert "\x1b" not in done.out + done.err
        assert r"a\x1b[2Jb.onnx" in done.err


def test_the_verdict_holds_though_nobody_reads_it(folder: Path) -> None:
    for name, code in (("broken.onnx", 1), ("tiny.onnx", 0)):
        command = [sys.executable, "-m", "zfviz.cli", "audit", name]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as unread:
            assert unread.stdout
            assert unread.stderr
            unread.stdout.close()
            assert unread.stderr.read() == b""
        assert unread.returncode == code
        # warnings go the same way as the report
        command += ["--images", "photos"]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as unread:
            assert unread.stdout
            unread.stdout.close()
        assert unread.returncode == code


def test_reports_are_utf8_on_any_console(folder: Path) -> None:
    proto = onnx.load(folder / "tiny.onnx")
    proto.graph.node[0].name = "größe/Δx"
    onnx.save(proto, folder / "letters.onnx")
    for kind in REPORTS:
        plain = Done(folder, "letters.onnx", "--format", kind)
        assert plain.code == 0, plain.err
        assert Done(folder, "letters.onnx", "--format", kind, PYTHONIOENCODING="cp1252").out == plain.out
    assert "Δx" in plain.out


def test_a_console_that_lacks_a_letter_is_no_bug(folder: Path) -> None:
    proto = onnx.load(folder / "tiny.onnx")
    proto.graph.node[0].name = "größe/Δx"
    onnx.save(proto, folder / "letters.onnx")
    command = [sys.executable, "-m", "zfviz.cli", "layers", "letters.onnx"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, check=False, env=os.environ | {"PYTHONIOENCODING": "cp1252"}
    )
    assert done.returncode == 0, done.stderr
    assert "größe/\\u0394x" in done.stdout.decode("cp1252")


def test_a_report_that_cannot_be_written_is_said_before_anything_is_done(folder: Path) -> None:
    done = Done(folder, "broken.onnx", "--report", "json=a.json", "--report", "html=none/a.html")
    assert (done.code, done.out) == (2, "")
    assert "none/a.html: there is no such folder" in done.err
    assert not (folder / "a.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--report", "pdf=x.pdf"], "expected FORMAT=FILE"),
        (["--report", "sarif"], "expected FORMAT=FILE"),
        (["--report", "json=x", "--report", "text=x"], "two reports go to one file"),
        (["--update-baseline"], "needs --baseline FILE.json"),
        (["--update-baseline", "--baseline", "tiny.onnx"], "needs --baseline FILE.json"),
        (["--images", "none"], "is no folder"),
        (["--config", "none.toml"], "cannot be read"),
        (["--baseline", "photos/0.png"], "0.png"),
    ],
)
def test_bad_use_is_said_and_exits_2(options: list[str], said: str, folder: Path) -> None:
    done = Done(folder, "tiny.onnx", *options)
    assert done.code == 2, done.out + done.err
    assert said in done.err
    assert "Traceback" not in done.err


def test_what_is_assumed_is_said(folder: Path) -> None:
    done = Done(folder, "tiny.onnx", "--images", "photos")
    assert "preprocessing was not found in the model and is assumed: RGB, centre crop" in done.err
    assert not Done(folder, "tiny.onnx").err
    assert not Done(folder, "tiny.onnx", "--images", "photos", "--preprocess", "unit").err


def test_the_configuration_of_the_folder_counts(folder: Path) -> None:
    (folder / "zfviz.toml").write_text('[[audit.ignore]]\ncheck = "ZF101"\nreason = "as we know"\n')
    done = Done(folder, "broken.onnx", "--format", "json")
    assert "as we know" in done.out
    (result,) = [c for c in json.loads(done.out)["checks"] if c["code"] == "ZF101"]
    assert result["status"] == "passed"


def test_all_checks_are_listed(folder: Path) -> None:
    done = Done(folder, "--checks")
    assert done.code == 0
    assert "ZF101  non-finite-weights  (error, at most 0)" in done.out

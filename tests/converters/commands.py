"""What the tests of all converters do: run a model, and run a script as its users do."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime as ort
from onnx import ModelProto

import zfviz


def images(count: int, shape: Sequence[int]) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, *shape), np.float32)


def run(proto: ModelProto, x: np.ndarray, *names: str) -> list[np.ndarray]:
    """The outputs for the only input, or the tensors of these names."""
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(names) or None, {session.get_inputs()[0].name: x})


def shell(script: ModuleType, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The script as a program of its own, in a folder."""
    command = [sys.executable, str(script.__file__), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != "__pycache__")


def write_one_file_or_none(
    script: ModuleType, folder: Path, good: Sequence[object], told: Sequence[str], bad: Sequence[Sequence[object]]
) -> zfviz.Model:
    """The model that the script writes for the `good` arguments; none for those that are `bad`, and where it cannot."""
    done = shell(script, folder, *good, "-o", "toy.onnx")
    assert (done.returncode, done.stdout) == (0, "toy.onnx\n"), done.stderr
    assert not [text for text in told if text not in done.stderr], done.stderr
    before = files(folder)
    for arguments in bad:
        failed = shell(script, folder, *arguments, "-o", "bad.onnx")
        assert (failed.returncode, failed.stdout) == (2, ""), failed.stderr
        assert "Traceback" not in failed.stderr
    failed = shell(script, folder, *good, "-o", "nowhere/bad.onnx")
    assert failed.returncode == 2
    assert "no such folder" in failed.stderr
    assert files(folder) == before
    return zfviz.load(folder / "toy.onnx")

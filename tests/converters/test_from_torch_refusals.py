"""What converters/from_torch.py refuses: other weights, pickles, what cannot be made or written, wrong results."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import write_one_file_or_none
from onnx import ModelProto, numpy_helper

from zfviz.errors import ModelError, VerificationError

pytest.importorskip("torch", reason="it needs torch, onnxscript and safetensors")
pytest.importorskip("onnxscript", reason="it needs torch, onnxscript and safetensors")
pytest.importorskip("safetensors", reason="it needs torch, onnxscript and safetensors")

import from_torch
import torch
import toynets

SHAPE = (3, 24, 32)


@pytest.fixture(scope="module")
def toy() -> torch.nn.Module:
    return toynets.make_toy()


@pytest.fixture(scope="module")
def weights(toy: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "toy.pth"
    torch.save(toy.state_dict(), path)
    return path


def test_weights_of_another_network_are_told_by_their_nearest_names(toy: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    state = {name.replace("conv1", "convA"): value for name, value in toy.state_dict().items()}
    torch.save(state, path)
    with pytest.raises(
        ModelError, match=r"lacks 'layer1\.0\.conv1\.weight' \(nearest: layer1\.0\.convA\.weight"
    ) as told:
        from_torch.convert("toynets:Toy", path, shape=SHAPE)
    assert "8 of 21 tensors" in str(told.value)
    torch.save(toy.state_dict() | {"layer1.0.conv3.bias": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"it has 'layer1\.0\.conv3\.bias', which the module lacks \(nearest: layer1"):
        from_torch.convert("toynets:Toy", path, shape=SHAPE)
    torch.save(toy.state_dict(), path)
    with pytest.raises(ModelError, match=r"size mismatch for fc\.weight.*Expected .* --arguments"):
        from_torch.convert("toynets:Toy", path, {"classes": 7}, shape=SHAPE)


class Touch:
    """A pickle that makes a file."""

    def __init__(self, path: Path) -> None:
        self.command = f"touch '{path}'"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_pickle_that_runs_a_program_is_not_run(toy: torch.nn.Module, tmp_path: Path) -> None:
    touched, path = tmp_path / "touched", tmp_path / "evil.pth"
    for save in (torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))):
        save({"state_dict": {**toy.state_dict(), "evil": Touch(touched)}}, path)
        with pytest.raises(ModelError) as told:
            from_torch.convert("toynets:Toy", path, shape=SHAPE)
        assert not touched.exists()
        assert "weights_only" not in str(told.value), "no advice to run it"
    torch.save(toy, path)
    with pytest.raises(ModelError, match=r"asks for toynets\.Toy: .* Save model\.state_dict\(\)"):
        from_torch.convert("toynets:Toy", path, shape=SHAPE)


def test_files_that_hold_no_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.pth").write_bytes(weights.read_bytes()[:2000])
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"state_dict": {0: torch.ones(1), 1: torch.ones(1)}}, tmp_path / "numbered.pth")
    torch.save({"epoch": 1, "optimizer": {}}, tmp_path / "checkpoint.pth")
    expected = {
        "cut.pth": "cannot be read",
        "cut.safetensors": "cannot be read",
        "missing.pth": "cannot be read",
        "list.pth": "holds list",
        "numbered.pth": "holds 0, 1",
        "checkpoint.pth": "holds 'epoch', 'optimizer'",
    }
    for name, text in expected.items():
        with pytest.raises(ModelError, match=f"{name} {text}.*; expected a state_dict"):
            from_torch.read_weights(tmp_path / name)


def test_pickles_in_an_exported_program_are_not_run(toy: torch.nn.Module, tmp_path: Path) -> None:
    path, touched = tmp_path / "toy.pt2", tmp_path / "touched"
    torch.export.save(torch.export.export(toy, (torch.rand(2, *SHAPE),)), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    torch.save(Touch(touched), tmp_path / "evil")
    config = next(name for name in parts if name.endswith("model_weights_config.json"))
    entries = json.loads(parts[config])
    weight = entries["config"]["stem.weight"]
    weight["use_pickle"], weight["tensor_meta"] = True, None
    stored = next(name for name in parts if name.endswith(f"/{weight['path_name']}"))

    def write(changed: dict[str, bytes]) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in (parts | changed).items():
                archive.writestr(name, data)

    write({config: json.dumps(entries).encode(), stored: (tmp_path / "evil").read_bytes()})
    with pytest.raises(ModelError, match=r"toy\.pt2 cannot be read"):
        from_torch.convert(str(path))
    write({f"{Path(stored).parents[1]}/constants/opaque_obj_0": pickle.dumps(Touch(touched))})
    with pytest.raises(ModelError, match="an object that can run any program"):
        from_torch.convert(str(path))
    assert not touched.exists()
    path.write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"cannot be read by torch .* Export it again"):
        from_torch.convert(str(path))


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("nowhere.nets:make", "No module named 'nowhere'"),
        ("toynets:Toi", "has no attribute 'Toi'"),
        ("toynets:number", "'int' object is not callable"),
        ("toynets", "'module' object is not callable"),
        ("toynets:text", "makes a str; expected an nn.Module"),
        ("toynets:broken", "the disk is gone"),
        ("weights.pth", "Weights go to --weights"),
        ("toynets:Svd", "No ONNX function found for .*_linalg_svd"),
        ("toynets:Branch", "expected no branch on values"),
        ("toynets:OneBatch", "no fixed batch"),
        ("toynets:weightless", "Toy cannot be brought to the CPU .*expected a module that has its weights"),
        ("toynets:Nothing", "torch gives 0 tensors, the ONNX model 0; expected as many, from one"),
    ],
)
def test_what_cannot_be_made_or_written_is_named(source: str, text: str) -> None:
    with pytest.raises(ModelError, match=text):
        from_torch.convert(source, shape=SHAPE)


def test_programs_that_do_not_run_on_images_on_the_cpu_are_refused(toy: torch.nn.Module, tmp_path: Path) -> None:
    def save(name: str, module: torch.nn.Module, *inputs: Any, **options: Any) -> str:
        torch.export.save(torch.export.export(module, inputs, **options), tmp_path / name)
        return str(tmp_path / name)

    four = save("four.pt2", toy, torch.rand(4, *SHAPE), dynamic_shapes=({0: torch.export.Dim("batch", min=4)},))
    with pytest.raises(
        ModelError, match=r"cannot run it on float32 images of \(3, 3, 24, 32\) on the CPU.*Mend --shape"
    ):
        from_torch.convert(four)
    away = save("away.pt2", toynets.weightless().eval(), torch.rand(2, *SHAPE, device="meta"))
    with pytest.raises(ModelError, match=r"cannot be read by torch .*no data!.* Export it again, on the CPU"):
        from_torch.convert(away)
    two = save("two.pt2", toynets.Scaled(), torch.rand(2, *SHAPE), 3)
    with pytest.raises(ModelError, match=r"the program takes \[\(2, 3, 24, 32\), 3\]; expected one tensor of images"):
        from_torch.convert(two)


def test_labels_are_as_many_as_the_classes(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "four.txt").write_text("a\nb\nc\nd\n")
    with pytest.raises(ModelError, match=r"name 4 classes; expected as many as an output has: fc \['\?', 5\]"):
        from_torch.convert("toynets:Toy", weights, shape=SHAPE, labels=tmp_path / "four.txt")


def test_arguments_and_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(ModelError, match=r"unexpected keyword argument 'clases'.*--arguments"):
        from_torch.convert("toynets:Toy", arguments={"clases": 5}, shape=SHAPE)
    with pytest.raises(ModelError, match=r"\(1, 24, 32\).*3 channels.*--shape"):
        from_torch.convert("toynets:Toy", shape=(1, 24, 32))


def test_more_than_one_file_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_torch, "MAX_INLINE_BYTES", 1000)
    with pytest.raises(ModelError, match=r"weights take .* GiB; expected less than 2"):
        from_torch.convert("toynets:Toy", shape=SHAPE)


def test_a_model_that_computes_something_else_is_not_given(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = from_torch.write

    def wrong(program: Any) -> ModelProto:
        proto = write(program)
        tensor = next(t for t in proto.graph.initializer if t.name == "fc.bias")
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.01), tensor.name))
        return proto

    monkeypatch.setattr(from_torch, "write", wrong)
    with pytest.raises(VerificationError, match=r"largest difference from torch.*in 'fc'; expected 0\.0001"):
        from_torch.convert("toynets:Toy", weights, shape=SHAPE)


@pytest.mark.slow
def test_the_command_writes_one_file_or_none(toy, weights: Path, tmp_path: Path) -> None:
    shutil.copy(toynets.__file__, tmp_path)
    size = ",".join(map(str, SHAPE))
    good = ("toynets:Toy", "--weights", weights, "--shape", size)
    bad = [
        ("toynets:Toy", "--weights", weights, "--arguments", '{"classes": 3}', "--shape", size),
        ("toynets:Toi",),
        ("toynets:Toy", "--weights", "missing.pth"),
        ("toynets:Toy", "--arguments", "{"),
        ("toynets:Toy", "--shape", "three"),
    ]
    told = ["preset imagenet", "largest difference from torch"]
    model = write_one_file_or_none(from_torch, tmp_path, good, told, bad)
    assert model.preprocessing.mean == (0.485, 0.456, 0.406)

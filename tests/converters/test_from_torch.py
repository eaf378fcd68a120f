"""A toy network of torch goes through converters/from_torch.py: its values, its names, its weights in every form."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from commands import images, run
from onnx import ModelProto

import zfviz
from zfviz.errors import ImageError, ModelError, VerificationError

pytest.importorskip("torch", reason="it needs torch, onnxscript and safetensors")
pytest.importorskip("onnxscript", reason="it needs torch, onnxscript and safetensors")
pytest.importorskip("safetensors", reason="it needs torch, onnxscript and safetensors")

import from_torch
import safetensors.torch
import torch
import toynets
from torch._subclasses.fake_tensor import FakeTensorMode

SHAPE = (3, 24, 32)


@pytest.fixture(scope="module")
def toy() -> torch.nn.Module:
    return toynets.make_toy()


@pytest.fixture(scope="module")
def weights(toy: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "toy.pth"
    torch.save(toy.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def proto(weights: Path) -> ModelProto:
    return from_torch.convert("toynets:Toy", weights, shape=SHAPE)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_values_are_those_of_torch_for_any_number_of_images(proto: ModelProto, toy, count: int) -> None:
    onnx.checker.check_model(proto, full_check=True)
    x = images(count, SHAPE)
    with torch.no_grad():
        expected = toy(torch.from_numpy(x)).numpy()
    (found,) = run(proto, x)
    assert found.shape == (count, 5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_tensors_and_nodes_bear_the_names_of_modules(proto: ModelProto) -> None:
    ops = {node.output[0]: node.op_type for node in proto.graph.node}
    assert ops == ops | {
        "stem": "Conv",
        "relu": "Relu",
        "pool": "MaxPool",
        "layer1.0.conv1": "Conv",
        "layer1.0.bn1": "BatchNormalization",
        "layer1.0.relu": "Relu",
        "layer1.0.conv2": "Conv",
        "layer1.0.add": "Add",
        "layer1.0.relu_1": "Relu",
        "layer1.1.relu_1": "Relu",
        "gate": "HardSwish",
        "mean": "ReduceMean",
        "fc": "Gemm",
    }
    assert not {"Expand", "CastLike", "Identity"} & set(ops.values()), "what can be computed beforehand is"
    assert all(node.name == node.output[0] for node in proto.graph.node if node.output[0] in ("stem", "layer1.1.add"))
    assert [output.name for output in proto.graph.output] == ["fc"]
    assert "layer1.1.conv2.weight" in {tensor.name for tensor in proto.graph.initializer}
    assert not [entry for node in proto.graph.node for entry in node.metadata_props], "stack traces name folders"


def test_a_module_keeps_its_name_whatever_else_would_take_it() -> None:
    torch.manual_seed(0)
    proto = from_torch.convert("toynets:Clash", shape=SHAPE)
    made = {node.output[0]: node for node in proto.graph.node}
    assert {"conv", "relu", "relu_1", "image_1"} <= made.keys(), "the model's input is called image"
    assert "sub" in {tensor.name for tensor in proto.graph.initializer}
    assert made["relu_1"].input[0] == "sub_2", "the module relu_1, not the second call of relu"
    assert [output.name for output in proto.graph.output] == ["relu_1", "relu_4"]


def test_zfviz_finds_preprocessing_labels_and_layers(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("n01440764 tench\nn01443537 goldfish\nshark\nray\ncock\n")
    (tmp_path / "mine.json").write_text(json.dumps({"colour": "BGR", "scale": 1, "mean": [1, 2, 3]}))
    options = {"preprocessing": str(tmp_path / "mine.json"), "labels": tmp_path / "names.txt"}
    model = zfviz.load(from_torch.convert("toynets:Toy", weights, shape=SHAPE, **options))
    assert (model.preprocessing.colour, model.preprocessing.mean) == ("BGR", (1, 2, 3))
    assert "zfviz.preprocessing" in model.preprocessing.source
    assert model.labels == {0: "tench", 1: "goldfish", 2: "shark", 3: "ray", 4: "cock"}
    assert model.image.shape[1:] == SHAPE
    projections = zfviz.project(model, images(2, SHAPE), layer="layer1.0.relu", top=3)
    assert {unit.layer for unit in projections.units} == {"layer1.0.relu"}
    assert np.abs(projections.pixels).max() > 0


def test_an_unknown_preset_and_labels_of_nothing_are_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n\n")
    with pytest.raises(ModelError, match=r"none\.txt holds no class names"):
        from_torch.convert("toynets:Toy", weights, shape=SHAPE, labels=tmp_path / "none.txt")
    with pytest.raises(ImageError, match="neither a preset nor a file"):
        from_torch.convert("toynets:Toy", weights, shape=SHAPE, preprocessing="imagenett")


@pytest.mark.parametrize(
    "form",
    ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "state_dict", "model", "safetensors", "half"],
)
def test_weights_are_read_from_what_training_leaves(toy: torch.nn.Module, tmp_path: Path, form: str) -> None:
    state, path = toy.state_dict(), tmp_path / "weights.pth"
    if form == "safetensors":
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file(state, path)
    elif form in ("state_dict", "model"):
        torch.save({"epoch": 3, form: {f"module.{name}": value for name, value in state.items()}}, path)
    elif form == "half":
        torch.save({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, path)
    else:
        torch.save({form + name: value for name, value in state.items()}, path)
    module = from_torch.make_module("toynets:Toy", {})
    from_torch.load_weights(module, path)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=1e-3 if form == "half" else 0)


@pytest.mark.parametrize("batch", [None, 2])
def test_an_exported_program_keeps_names_values_and_its_batch(
    toy: torch.nn.Module, tmp_path: Path, batch: int | None
) -> None:
    x = torch.rand(2, *SHAPE)
    free = None if batch else ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(toy, (x,), dynamic_shapes=free), tmp_path / "toy.pt2")
    proto = from_torch.convert(str(tmp_path / "toy.pt2"))
    assert {"layer1.0.relu_1", "gate", "fc"} <= {node.output[0] for node in proto.graph.node}
    x = images(batch or 3, SHAPE)
    with torch.no_grad():
        np.testing.assert_allclose(run(proto, x)[0], toy(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-5)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == (batch or 0)
    with pytest.raises(ModelError, match="expected neither weights nor arguments"):
        from_torch.convert(str(tmp_path / "toy.pt2"), "toy.pth")


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_child_that_is_called_as_a_wrapper_keeps_its_name(tmp_path: Path, prefix: str) -> None:
    whole = torch.nn.ModuleDict({"module": torch.nn.Linear(2, 2)})
    torch.save({prefix + name: value + 1 for name, value in whole.state_dict().items()}, tmp_path / "weights.pth")
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    from_torch.load_weights(whole, tmp_path / "weights.pth")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, before[name] + 1)


def test_a_module_on_another_device_is_brought_to_the_cpu(toy: torch.nn.Module) -> None:
    x = images(2, SHAPE)
    (found,) = run(from_torch.convert("toynets:Away", shape=SHAPE), x)
    with torch.no_grad():
        np.testing.assert_allclose(found, toy(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-5)


def test_a_program_for_a_gpu_is_brought_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program of a GPU, without one: traced without numbers, which come after."""
    torch.manual_seed(0)
    grid, batch = toynets.Grid(), torch.export.Dim("batch", max=99)
    with FakeTensorMode(), torch.device("cuda"):
        program = torch.export.export(toynets.Grid(), (torch.rand(2, *SHAPE),), dynamic_shapes=({0: batch},))
    program.state_dict.update(grid.state_dict(keep_vars=True))
    zipfile.ZipFile(tmp_path / "grid.pt2", "w").close()
    monkeypatch.setattr(torch.export, "load", lambda path: program)
    x = images(2, SHAPE)
    (found,) = run(from_torch.convert(str(tmp_path / "grid.pt2"), shape=SHAPE), x)
    with torch.no_grad():
        np.testing.assert_allclose(found, grid(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-5)


def save_bytes(path: Path, dtype: torch.dtype) -> torch.nn.Module:
    module = toynets.Bytes().eval()
    free = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(module, (torch.ones(2, *SHAPE).to(dtype),), dynamic_shapes=free), path)
    return module


def test_a_program_that_takes_bytes_is_checked_on_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = save_bytes(tmp_path / "bytes.pt2", torch.uint8)
    proto = from_torch.convert(str(tmp_path / "bytes.pt2"))
    x = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
    with torch.no_grad():
        np.testing.assert_allclose(run(proto, x)[0], module(torch.from_numpy(x)).numpy(), rtol=0, atol=1e-5)
    assert zfviz.load(proto).preprocessing.scale == 1, "it scales pixels itself"
    write = from_torch.write

    def wrong(program: torch.export.ExportedProgram) -> ModelProto:
        proto = write(program)
        matrix = next(tensor for tensor in proto.graph.initializer if tensor.name == "matrix")
        matrix.CopyFrom(onnx.numpy_helper.from_array(2 * np.eye(3, dtype=np.float32), "matrix"))
        return proto

    monkeypatch.setattr(from_torch, "write", wrong)
    with pytest.raises(VerificationError, match="largest difference from torch"):
        from_torch.convert(str(tmp_path / "bytes.pt2"))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16])
def test_a_program_that_takes_what_zfviz_does_not_give_is_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    save_bytes(tmp_path / "other.pt2", dtype)
    with pytest.raises(ModelError, match=rf"images of {str(dtype)[6:]}; expected float32, .*uint8\. Save it"):
        from_torch.convert(str(tmp_path / "other.pt2"))

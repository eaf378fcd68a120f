"""Graphs of TensorFlow go through converters/from_tensorflow.py: their values and names; what is bad is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, numpy_helper

import zfviz
from zfviz.errors import ModelError, UnsupportedError, VerificationError

sys.path.append(str(Path(__file__).parents[2] / "converters"))
from_tensorflow = pytest.importorskip("from_tensorflow", reason="it needs tensorflow and tf2onnx")
tf = pytest.importorskip("tensorflow")

SHAPE = (24, 32, 3)


class Toy(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.kernel = tf.Variable(rng.standard_normal((3, 3, 3, 8), np.float32))
        self.matrix = tf.Variable(rng.standard_normal((8, 5), np.float32))

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="picture")])
    def __call__(self, picture: Any) -> dict[str, Any]:
        x = tf.nn.relu(tf.nn.conv2d(picture, self.kernel, 2, "SAME", name="conv1"), name="relu1")
        x = tf.reduce_mean(tf.nn.max_pool2d(x, 2, 2, "VALID", name="pool1"), [1, 2], name="mean")
        return {"scores": tf.nn.softmax(tf.matmul(x, self.matrix, name="dense"), name="prob")}


@pytest.fixture(scope="module")
def toy() -> Toy:
    return Toy()


@pytest.fixture(scope="module")
def saved(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorflow") / "toy"
    tf.saved_model.save(toy, str(folder))
    return folder


@pytest.fixture(scope="module")
def proto(saved: Path) -> ModelProto:
    return from_tensorflow.convert(saved)


def write_graph(path: Path, *outputs: str, size: int | None = None) -> Path:
    """A frozen graph: a convolution, Relu and mean, and Betainc beside it; only what `outputs` need."""
    graph = tf.Graph()
    with graph.as_default():
        image = tf.compat.v1.placeholder(tf.float32, (None, size, size, 3), name="input")
        kernel = np.random.default_rng(0).standard_normal((3, 3, 3, 4), np.float32)
        relu = tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "SAME", name="conv"), name="relu")
        tf.reduce_mean(relu, [1, 2], name="mean")
        tf.raw_ops.Betainc(a=relu, b=relu, x=relu, name="beta")
    frozen = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), list(outputs))
    path.write_bytes(frozen.SerializeToString())
    return path


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).random((count, *SHAPE), np.float32)


def run(proto: ModelProto, images: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})


@pytest.mark.parametrize("count", [1, 2, 5])
def test_values_are_those_of_tensorflow_for_any_number_of_images(proto: ModelProto, toy: Toy, count: int) -> None:
    onnx.checker.check_model(proto, full_check=True)
    expected = toy(tf.constant(images(count)))["scores"].numpy()
    np.testing.assert_allclose(run(proto, images(count))[0], expected, rtol=0, atol=1e-6)


def test_nodes_keep_their_names(proto: ModelProto) -> None:
    ops = {node.name: node.op_type for node in proto.graph.node}
    assert ops == ops | {"conv1": "Conv", "relu1": "Relu", "pool1": "MaxPool", "prob": "Softmax"}


def test_zfviz_finds_preprocessing_labels_and_layers(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    model = zfviz.load(from_tensorflow.convert(saved / "saved_model.pb", labels=tmp_path / "names.txt"))
    assert (model.preprocessing.scale, model.preprocessing.mean) == (1 / 255, (0.0,))
    assert model.labels[4] == "e"
    projections = zfviz.project(model, images(2), layer="relu1", top=2)
    assert {unit.layer for unit in projections.units} == {"relu1"}
    assert np.abs(projections.pixels).max() > 0


def test_names_lose_the_calls_around_them_unless_two_would_be_one(tmp_path: Path) -> None:
    class Nested(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Toy()

        @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="picture")])
        def __call__(self, picture: Any) -> Any:
            return tf.identity(tf.nn.relu(self.inner(picture)["scores"], name="relu1"))

    nested = Nested()
    tf.saved_model.save(nested, str(tmp_path / "nested"))
    names = {node.name for node in from_tensorflow.convert(tmp_path / "nested").graph.node}
    call = "StatefulPartitionedCall/"
    assert {"conv1", "pool1", f"{call}relu1", f"{call}{call}relu1"} <= names


def test_a_frozen_graph_and_its_ends(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "frozen.pb", "mean")
    proto = from_tensorflow.convert(path, shape=(8, 10, 3))
    assert [output.name for output in proto.graph.output] == ["mean"]
    assert {"conv", "relu"} <= {node.name for node in proto.graph.node}
    path = write_graph(tmp_path / "frozen.pb", "mean", "beta")
    proto = from_tensorflow.convert(path, "input:0", ["relu", "mean"], shape=(8, 10, 3))
    assert [output.name for output in proto.graph.output] == ["relu", "mean"]
    assert run(proto, images(2))[0].shape == (2, 24, 32, 4)
    with pytest.raises(UnsupportedError, match=r"ONNX has nothing for Betainc \(beta\)"):
        from_tensorflow.convert(path, shape=(8, 10, 3))
    with pytest.raises(ModelError, match=r"no tensor 'rely' in frozen\.pb; nearest: relu"):
        from_tensorflow.convert(path, results=["rely"])


def test_what_holds_no_graph_of_images_is_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.pb").write_bytes(b"junkjunk")
    (tmp_path / "empty.pb").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name in ("junk.pb", "missing.pb"):
        with pytest.raises(ModelError, match=rf"{name} cannot be read.*a frozen GraphDef"):
            from_tensorflow.convert(tmp_path / name)
    with pytest.raises(ModelError, match=r"takes \[\] and gives \[\]; expected one image"):
        from_tensorflow.convert(tmp_path / "empty.pb")
    with pytest.raises(ModelError, match=r"folder cannot be read by TensorFlow .*Save it again"):
        from_tensorflow.convert(tmp_path / "folder")
    with pytest.raises(ModelError, match=r"expected one tensor of images"):
        from_tensorflow.convert(saved, shape=(24, 32))


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32)] * 2)
        def __call__(self, one: Any, other: Any) -> Any:
            return one + other

    tf.saved_model.save(Two(), str(tmp_path / "two"))
    with pytest.raises(ModelError, match=r"takes .*; expected one tensor of images"):
        from_tensorflow.convert(tmp_path / "two")


def test_too_large_and_wrong_models_are_not_given(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_tensorflow, "MAX_INLINE_BYTES", 500)
    with pytest.raises(ModelError, match=r"holds .* GiB; expected less than 2"):
        from_tensorflow.convert(saved)
    monkeypatch.undo()
    write = from_tensorflow.write

    def wrong(function: Any) -> ModelProto:
        proto = write(function)
        tensor = next(t for t in proto.graph.initializer if list(t.dims) == [8, 5])
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))
        return proto

    monkeypatch.setattr(from_tensorflow, "write", wrong)
    with pytest.raises(VerificationError, match="largest difference from TensorFlow"):
        from_tensorflow.convert(saved)


@pytest.mark.slow
def test_the_command_writes_one_file_or_none(saved: Path, tmp_path: Path) -> None:
    def shell(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, from_tensorflow.__file__, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = shell(saved, "-o", "toy.onnx", "--preprocessing", "inception")
    assert (done.returncode, done.stdout) == (0, "toy.onnx\n"), done.stderr
    assert "preset inception" in done.stderr
    assert "largest difference from TensorFlow" in done.stderr
    assert zfviz.load(tmp_path / "toy.onnx").preprocessing.mean == (0.5,)
    (tmp_path / "junk.pb").write_bytes(b"junkjunk")
    before = sorted(tmp_path.iterdir())
    for arguments in [("junk.pb",), ("missing.pb",), (saved, "--shape", "x"), (saved, "--preprocessing", "nothing")]:
        failed = shell(*arguments, "-o", "bad.onnx")
        assert (failed.returncode, failed.stdout) == (2, ""), failed.stderr
        assert "Traceback" not in failed.stderr
    assert sorted(tmp_path.iterdir()) == before

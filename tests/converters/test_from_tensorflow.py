"""Graphs of TensorFlow go through converters/from_tensorflow.py: their values and names; what is bad is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import images, run, write_one_file_or_none
from onnx import ModelProto, numpy_helper

import zfviz
from zfviz.errors import ModelError, UnsupportedError, VerificationError

pytest.importorskip("tensorflow", reason="it needs tensorflow and tf2onnx")
pytest.importorskip("tf2onnx", reason="it needs tensorflow and tf2onnx")

import from_tensorflow
import tensorflow as tf

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
        tf.raw_ops.Assert(condition=True, data=[relu], name="assert")
        other = tf.compat.v1.placeholder(tf.float32, (), name="other")
        tf.multiply(relu, other, name="both")
    frozen = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), list(outputs))
    path.write_bytes(frozen.SerializeToString())
    return path


@pytest.mark.parametrize("count", [1, 2, 5])
def test_values_are_those_of_tensorflow_for_any_number_of_images(proto: ModelProto, toy: Toy, count: int) -> None:
    onnx.checker.check_model(proto, full_check=True)
    expected = toy(tf.constant(images(count, SHAPE)))["scores"].numpy()
    np.testing.assert_allclose(run(proto, images(count, SHAPE))[0], expected, rtol=0, atol=1e-6)


def test_nodes_keep_their_names(proto: ModelProto) -> None:
    ops = {node.name: node.op_type for node in proto.graph.node}
    assert ops == ops | {"conv1": "Conv", "relu1": "Relu", "pool1": "MaxPool", "prob": "Softmax"}


def test_zfviz_finds_preprocessing_labels_and_layers(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    model = zfviz.load(from_tensorflow.convert(saved / "saved_model.pb", labels=tmp_path / "names.txt"))
    assert (model.preprocessing.scale, model.preprocessing.mean) == (1 / 255, (0.0,))
    assert model.labels[4] == "e"
    projections = zfviz.project(model, images(2, SHAPE), layer="relu1", top=2)
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
    assert run(proto, images(2, SHAPE))[0].shape == (2, 24, 32, 4)
    with pytest.raises(UnsupportedError, match=r"ONNX has nothing for Betainc \(beta\)"):
        from_tensorflow.convert(path, shape=(8, 10, 3))
    with pytest.raises(ModelError, match=r"no tensor 'rely' in frozen\.pb; nearest: relu"):
        from_tensorflow.convert(path, results=["rely"])


def test_results_that_are_no_tensors_are_refused_or_passed_over(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "frozen.pb", "mean", "assert")
    proto = from_tensorflow.convert(path, shape=(8, 10, 3))
    assert [output.name for output in proto.graph.output] == ["mean"]
    for result, gives in {
        "relu:7": "relu gives relu:0",
        "relu:x": "relu gives relu:0",
        "relu:0:1": "relu gives relu:0",
        "assert": r"assert gives nothing\. Choose another node",
        "assert:0": "assert gives nothing",
    }.items():
        with pytest.raises(ModelError, match=rf"no tensor '{result}' in frozen\.pb; {gives}"):
            from_tensorflow.convert(path, results=[result])
    with pytest.raises(ModelError, match=r"no tensor 'input:1' in frozen\.pb; input gives input:0"):
        from_tensorflow.convert(path, "input:1")
    path = write_graph(tmp_path / "frozen.pb", "both")
    with pytest.raises(ModelError, match=r"does not make \['both'\] of input .*other.*Mend --image and --result"):
        from_tensorflow.convert(path, "input", ["both"])


def save_model(folder: Path, dtype: Any, of: Any, sizes: tuple[int | None, ...] = (None, *SHAPE)) -> Path:
    class Made(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(sizes, dtype, name="picture")])
        def __call__(self, picture: Any) -> Any:
            return of(picture)

    tf.saved_model.save(Made(), str(folder))
    return folder


def test_bytes_go_in_where_they_are_asked_for(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "bytes", tf.uint8, lambda x: tf.reduce_mean(tf.cast(x, tf.float32) / 255, [1, 2]))
    proto = from_tensorflow.convert(folder)
    x = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), np.uint8)
    np.testing.assert_allclose(run(proto, x)[0], x.mean((1, 2)) / 255, rtol=0, atol=1e-6)
    preprocessing = next(entry.value for entry in proto.metadata_props if entry.key == "zfviz.preprocessing")
    assert json.loads(preprocessing)["scale"] == 1
    folder = save_model(tmp_path / "files", tf.string, tf.strings.length, (None,))
    with pytest.raises(ModelError, match="expected one tensor of images"):
        from_tensorflow.convert(folder)
    folder = save_model(tmp_path / "wide", tf.int32, lambda x: tf.cast(x, tf.float32))
    with pytest.raises(ModelError, match=r"images of int32; expected float32, .*uint8\. Save it"):
        from_tensorflow.convert(folder)


def test_a_graph_that_does_not_run_on_the_shape_is_refused(tmp_path: Path) -> None:
    def dense(picture: Any) -> Any:
        return tf.matmul(tf.reshape(picture, (tf.shape(picture)[0], -1)), tf.ones((192, 2)))

    folder = save_model(tmp_path / "dense", tf.float32, dense, (None, None, None, 3))
    assert from_tensorflow.convert(folder, shape=(8, 8, 3))
    with pytest.raises(ModelError, match=r"cannot run it on float32 images of \(3, 9, 9, 3\).*Mend --shape"):
        from_tensorflow.convert(folder, shape=(9, 9, 3))


def test_labels_are_as_many_as_the_classes(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "four.txt").write_text("a\nb\nc\nd\n")
    with pytest.raises(ModelError, match=r"name 4 classes; expected .* 5\]\. Name each .*the background first"):
        from_tensorflow.convert(saved, labels=tmp_path / "four.txt")


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
    (tmp_path / "junk.pb").write_bytes(b"junkjunk")
    bad = [("junk.pb",), ("missing.pb",), (saved, "--shape", "x"), (saved, "--preprocessing", "nothing")]
    told = ["preset inception", "largest difference from TensorFlow"]
    model = write_one_file_or_none(from_tensorflow, tmp_path, (saved, "--preprocessing", "inception"), told, bad)
    assert model.preprocessing.mean == (0.5,)

"""Keras models go through converters/from_keras.py: the values and names of their layers; what is bad is refused."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from commands import images, run, write_one_file_or_none
from onnx import ModelProto
from PIL import Image

import zfviz
from zfviz.errors import ModelError, VerificationError
from zfviz.images.preprocessing import PRESETS

os.environ["KERAS_BACKEND"] = "torch"  # read when keras is imported
pytest.importorskip("torch", reason="it needs keras, torch and onnxscript")
pytest.importorskip("onnxscript", reason="it needs keras, torch and onnxscript")
pytest.importorskip("keras", reason="it needs keras, torch and onnxscript")

import from_keras
import keras
from keras import layers

SHAPE = (24, 32, 3)


def toy() -> Any:
    """A functional model around a Sequential one, with a layer called twice, and one that passes its input on."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(8, 5, strides=2, padding="same", activation="relu", name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.BatchNormalization(name="norm1", moving_mean_initializer="random_normal"),
        ],
        name="backbone",
    )
    image = keras.Input(SHAPE, name="image")
    x = layers.Dropout(0.5, name="dropout")(backbone(image))
    twice = layers.Conv2D(8, 3, padding="same", name="twice")
    x = layers.ReLU(name="relu")(layers.Add(name="sum")([twice(layers.ReLU(name="between")(twice(x))), x]))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(5, activation="softmax", name="predictions")(x), name="toy")


@pytest.fixture(scope="module")
def model() -> Any:
    return toy()


@pytest.fixture(scope="module")
def saved(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "toy.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def proto(saved: Path) -> ModelProto:
    return from_keras.convert(str(saved))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_values_are_those_of_keras_for_any_number_of_images(proto: ModelProto, model: Any, count: int) -> None:
    onnx.checker.check_model(proto, full_check=True)
    (found,) = run(proto, images(count, SHAPE))
    assert found.shape == (count, 5)
    np.testing.assert_allclose(found, model.predict(images(count, SHAPE), verbose=0), rtol=0, atol=1e-6)


def test_tensors_and_nodes_bear_the_names_of_layers(proto: ModelProto) -> None:
    ops = {node.output[0]: node.op_type for node in proto.graph.node}
    assert ops == ops | {
        "conv1": "Relu",
        "twice": "Add",
        "twice_1": "Add",
        "sum": "Add",
        "relu": "Relu",
        "between": "Relu",
    }
    assert {"pool1", "norm1", "mean", "predictions"} <= ops.keys()
    assert not {"dropout", "backbone", "toy"} & ops.keys(), "what passes on the tensor of another layer"
    assert all(node.name == node.output[0] for node in proto.graph.node)
    assert [output.name for output in proto.graph.output] == ["predictions"]
    (conv,) = [node for node in proto.graph.node if node.op_type == "Conv" and node.name.startswith("conv1/")]
    assert conv.input[1].startswith("conv1/"), "a weight bears the name of its layer"
    assert not [entry for node in proto.graph.node for entry in node.metadata_props], "stack traces name folders"


def test_each_layer_has_the_values_of_keras(proto: ModelProto, model: Any) -> None:
    inner = keras.Model(model.input, [model.get_layer(name).output for name in ("sum", "relu", "mean")])
    maps = zfviz.activations(zfviz.load(proto), images(2, SHAPE), layers=["sum", "relu", "mean"])
    for found, values in zip(maps.values(), inner.predict(images(2, SHAPE), verbose=0), strict=True):
        expected = np.moveaxis(values, -1, 1)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_zfviz_finds_preprocessing_labels_and_layers(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    proto = from_keras.convert(str(saved), preprocessing="caffe", labels=tmp_path / "names.txt")
    model = zfviz.load(proto)
    assert model.preprocessing.colour == "BGR"
    assert model.labels[4] == "e"
    assert model.image.shape[1:] == SHAPE
    projections = zfviz.project(model, images(2, SHAPE), layer="conv1", top=2)
    assert {unit.layer for unit in projections.units} == {"conv1"}
    assert np.abs(projections.pixels).max() > 0
    (tmp_path / "four.txt").write_text("a\nb\nc\nd\n")
    with pytest.raises(ModelError, match=r"name 4 classes; expected .* predictions \['\?', 5\]"):
        from_keras.convert(str(saved), labels=tmp_path / "four.txt")
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(ModelError, match="holds no class names"):
        from_keras.convert(str(saved), labels=tmp_path / "none.txt")


def test_h5_and_open_sizes(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "toy.h5")
    proto = from_keras.convert(str(tmp_path / "toy.h5"))
    x = images(2, SHAPE)
    np.testing.assert_allclose(run(proto, x)[0], model.predict(x, verbose=0), rtol=0, atol=1e-6)
    image = keras.Input((None, None, 3))
    keras.Model(image, layers.Conv2D(2, 3, name="conv")(layers.Rescaling(1 / 255)(image))).save(tmp_path / "open.keras")
    loaded = zfviz.load(from_keras.convert(str(tmp_path / "open.keras"), shape=SHAPE))
    assert loaded.image.shape[1:] == SHAPE
    assert loaded.preprocessing.scale == 1, "it scales pixels itself"
    assert loaded.layer("conv").shape == (2, 22, 30)


@pytest.mark.parametrize("scaling", [layers.Rescaling(1 / 255), layers.Normalization(mean=0.5, variance=4.0)])
@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: keras.Sequential([layer])])
def test_models_within_the_model_may_scale_pixels(scaling: Any, wrap: Any, tmp_path: Path) -> None:
    image = keras.Input(SHAPE)
    inner = keras.Sequential([keras.Input(SHAPE), wrap(scaling), layers.Conv2D(2, 3, name="conv")])
    keras.Model(image, inner(image)).save(tmp_path / "nested.keras")
    assert zfviz.load(from_keras.convert(str(tmp_path / "nested.keras"))).preprocessing.scale == 1


def test_bytes_go_in_where_they_are_asked_for(tmp_path: Path) -> None:
    image = keras.Input(SHAPE, dtype="uint8")
    model = keras.Model(image, layers.Conv2D(2, 3, name="conv")(keras.ops.cast(image, "float32") / 255))
    model.save(tmp_path / "bytes.keras")
    proto = from_keras.convert(str(tmp_path / "bytes.keras"))
    x = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), np.uint8)
    np.testing.assert_allclose(run(proto, x)[0], model.predict(x, verbose=0), rtol=0, atol=1e-5)
    assert zfviz.load(proto).preprocessing.scale == 1


@pytest.mark.parametrize("family", sorted(from_keras.FAMILIES))
def test_preprocessing_is_that_of_the_family(family: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    expected = getattr(keras.applications, family).preprocess_input(pixels[None].astype(np.float32))[0]
    found = PRESETS[from_keras.FAMILIES[family]].array(Image.fromarray(pixels), 3)
    np.testing.assert_allclose(found.transpose(1, 2, 0), expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_every_application_has_a_family() -> None:
    networks = [network for network in vars(keras.applications).values() if callable(network)]
    assert len(networks) > 30
    assert {network.__module__.rpartition(".")[2] for network in networks} == from_keras.FAMILIES.keys()


@pytest.mark.slow
def test_an_application_by_name() -> None:
    arguments = {"alpha": 0.25, "input_shape": [32, 32, 3], "classes": 7}
    proto = from_keras.convert("MobileNet", "none", arguments)
    model = zfviz.load(proto)
    assert (model.preprocessing.mean, model.preprocessing.std) == ((0.5,), (0.5,))
    assert model.layer("conv_dw_3_relu").rectified
    x = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    assert run(proto, x)[0].shape == (2, 7)
    assert np.abs(zfviz.project(model, x, layer="conv_pw_2_relu", top=1).pixels).max() > 0


def test_applications_that_cannot_be_made_are_told() -> None:
    with pytest.raises(ModelError, match="nearest: MobileNet"):
        from_keras.convert("MobilNet")
    with pytest.raises(ModelError, match=r"MobileNet cannot be made .*'alfa'.*--arguments"):
        from_keras.convert("MobileNet", "none", {"alfa": 1})
    with pytest.raises(ModelError, match=r"MobileNet cannot be made .*none, or a file"):
        from_keras.convert("MobileNet", "nowhere.h5")
    with pytest.raises(ModelError, match="say how by --preprocessing"):
        from_keras.convert("MobileNetV3Small", "none", {"include_preprocessing": False, "input_shape": (32, 32, 3)})


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_is_refused_and_not_run(tmp_path: Path, suffix: str) -> None:
    marker, image = str(tmp_path / "ran"), keras.Input((8, 8, 3))
    ran = layers.Lambda(lambda x: x + __import__("pathlib").Path(marker).write_text("x"), output_shape=(8, 8, 3))
    path = tmp_path / f"lambda{suffix}"
    keras.Model(image, ran(image)).save(path)
    keras.saving.load_model(path, safe_mode=False)(np.zeros((1, 8, 8, 3)))
    assert Path(marker).exists(), "it runs where it is let"
    Path(marker).unlink()
    with pytest.raises(ModelError, match=r"Lambda.*expected a whole model .*without Lambda") as told:
        from_keras.convert(str(path))
    assert "safe_mode" not in str(told.value), "no advice to run it"
    assert not Path(marker).exists()


def test_files_that_hold_no_model_are_refused(model: Any, saved: Path, tmp_path: Path) -> None:
    class Unknown(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    image = keras.Input((8, 8, 3))
    keras.Model(image, Unknown()(image)).save(tmp_path / "custom.keras")
    model.save_weights(tmp_path / "only.weights.h5")
    (tmp_path / "cut.keras").write_bytes(saved.read_bytes()[:500])
    expected = {
        "custom.keras": "Could not locate class 'Unknown'",
        "only.weights.h5": "No model config found",
        "cut.keras": "",
        "missing.keras": "not found",
    }
    for name, text in expected.items():
        with pytest.raises(ModelError, match=f"{name} cannot be read by Keras.*{text}.*expected a whole model"):
            from_keras.convert(str(tmp_path / name))
    with pytest.raises(ModelError, match="expected neither weights nor arguments"):
        from_keras.convert(str(saved), "imagenet")


def test_models_that_take_no_single_image_are_refused(tmp_path: Path) -> None:
    two = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    keras.Model(two, layers.Add()(two)).save(tmp_path / "two.keras")
    keras.Sequential([keras.Input((5,)), layers.Dense(2)]).save(tmp_path / "vector.keras")
    for name in ("two", "vector"):
        with pytest.raises(ModelError, match="expected one tensor of images"):
            from_keras.convert(str(tmp_path / f"{name}.keras"))


def test_what_cannot_be_written_or_is_too_large_is_told(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_keras, "MAX_INLINE_BYTES", 1000)
    with pytest.raises(ModelError, match=r"weights take .* GiB; expected less than 2"):
        from_keras.convert(str(saved))
    monkeypatch.undo()

    def fail(*args: Any, **options: Any) -> None:
        raise RuntimeError("no function for aten.strange")

    monkeypatch.setattr(from_keras.torch.onnx, "export", fail)
    with pytest.raises(ModelError, match=r"toy cannot be written in ONNX.*aten\.strange"):
        from_keras.convert(str(saved))


def test_a_layer_that_computes_something_else_is_not_given(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = from_keras.rename

    def wrong(model: Any, names: list[str]) -> None:
        rename(model, names)
        relu = next(node for node in model.graph if node.name == "between")
        relu.op_type = "Elu"

    monkeypatch.setattr(from_keras, "rename", wrong)
    with pytest.raises(VerificationError, match=r"largest difference from Keras.*in '(between|twice_1)'"):
        from_keras.convert(str(saved))


@pytest.mark.slow
def test_the_command_writes_one_file_or_none(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.keras").write_bytes(saved.read_bytes()[:500])
    bad = [("cut.keras",), ("MobilNet",), ("MobileNet", "--arguments", "[1]"), (saved, "--shape", "x")]
    told = ["preset unit", "largest difference from Keras"]
    model = write_one_file_or_none(from_keras, tmp_path, (saved, "--preprocessing", "unit"), told, bad)
    assert model.preprocessing.scale == 1 / 255

"""Whole networks of Caffe: what OpenCV computes, what zfviz sees, and what is refused."""

import re
import sys
from pathlib import Path

import from_caffe
import numpy as np
import onnx
import pytest
from caffe_nets import ALEXNET, NETS, Weights, blob, caffemodel, draw, opencv, write_net
from commands import run, shell
from onnx import ModelProto

import zfviz
from zfviz.errors import ModelError
from zfviz.images.labels import find_labels
from zfviz.images.preprocessing import find_preprocessing

FIRST = "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }"


@pytest.fixture
def alexnet(tmp_path: Path) -> tuple[Path, Path]:
    return write_net(tmp_path, "alexnet")


def image(model: ModelProto, batch: int = 2) -> np.ndarray:
    sizes = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return np.random.default_rng(5).normal(0, 50, (batch, *sizes)).astype(np.float32)


@pytest.mark.parametrize("name", [name for name in NETS if "2013" not in name])  # OpenCV does not read those
def test_net_is_opencvs_in_every_layer(name, tmp_path, capsys):
    opencv()
    files = write_net(tmp_path, name)
    model = from_caffe.convert(*files)
    x = image(model)
    layers = [name for node in model.graph.node for name in node.output]
    expected = from_caffe.run_opencv(*files, {"data": x}, layers)
    assert len(expected) > 9
    probe = ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in expected if name != "prob")
    for layer, found in zip(expected, run(probe, x, *expected), strict=True):
        np.testing.assert_allclose(found, expected[layer], rtol=0, atol=1e-5 * np.abs(expected[layer]).max())
    from_caffe.check(model, *files)
    assert "largest difference from OpenCV" in capsys.readouterr().err


def test_weights_of_every_age_are_the_same(tmp_path):
    text, shapes, _ = NETS["alexnet"]
    (prototxt := tmp_path / "net.prototxt").write_text(text)
    found = []
    for place, options in enumerate(({}, {"version": 1}, {"version": 0}, {"double": True})):
        (weights := tmp_path / f"{place}.caffemodel").write_bytes(caffemodel(draw(shapes), **options))
        model = from_caffe.convert(prototxt, weights)
        found.append(run(model, image(model))[0])
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_names_are_those_of_the_layers(alexnet):
    model = from_caffe.convert(*alexnet)
    layers = ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2", "fc6", "relu6", "fc7", "prob"]
    assert [node.name for node in model.graph.node if "/" not in node.name] == layers
    assert all(list(node.output) == [node.name] for node in model.graph.node)
    assert [value.name for value in model.graph.input] == ["data"]
    assert [value.name for value in model.graph.output] == ["prob"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert {"conv1/weight", "conv1/bias"} <= {value.name for value in model.graph.initializer}


def test_a_name_that_comes_again_gets_a_number(tmp_path):
    layer = "layer { name: 'data' type: 'Power' bottom: 'data' top: 'data' power_param { scale: 2 } } "
    model = convert_text(tmp_path, f"{FIRST} {layer * 2}")
    assert [node.name for node in model.graph.node] == ["data_2", "data_3"]
    x = image(model)
    np.testing.assert_array_equal(run(model, x)[0], 4 * x)


def convert_text(folder: Path, text: str, weights: Weights | None = None, **options) -> ModelProto:
    prototxt, file = folder / "deploy.prototxt", folder / "net.caffemodel"
    prototxt.write_text(text)
    file.write_bytes(caffemodel(weights or {"none": [np.ones(1)]}))
    return from_caffe.convert(prototxt, file, **options)


def test_messages_may_come_in_a_list(tmp_path):
    first = "input: ['data', 'more'] input_shape: [ { dim: [1, 3, 8, 8] }, < dim: 1 dim: 3 dim: 8 dim: 8 > ]"
    both = """layer: [
        # one comment, with a } in it
        { name: 'scale' type: 'Power' bottom: 'data' top: 'scale' power_param # and another
          { scale: 2 }, param: [ { lr_mult: 1 }, { lr_mult: 2 } ] },
        { name: 'sum' type: 'Eltwise' bottom: ['scale', "more"] top: 'sum' eltwise_param < coeff: [1, -1] > } ]"""
    model = convert_text(tmp_path, first + both)
    assert [value.name for value in model.graph.input] == ["data", "more"]
    assert [node.name for node in model.graph.node if "/" not in node.name] == ["scale", "sum"]


RULES = {
    "include { phase: TEST }": True,
    "include { phase: TRAIN }": False,
    "exclude { phase: TEST }": False,
    "exclude { phase: TRAIN }": True,
    "include { stage: 'deploy' }": True,
    "include { stage: 'other' }": False,
    "include { not_stage: 'deploy' }": False,
    "include { phase: TRAIN } include { min_level: 2 max_level: 2 }": True,
    "include { min_level: 3 }": False,
    "include { max_level: 1 }": False,
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_say_which_layers_are_deployed(rule, tmp_path):
    layers = f"layer {{ name: 'abs' type: 'AbsVal' bottom: 'data' top: 'data' {rule} }}"
    layers += "layer { name: 'neg' type: 'Power' bottom: 'data' top: 'neg' power_param { scale: -1 } }"
    model = convert_text(tmp_path, f"state {{ level: 2 stage: 'deploy' }} {FIRST} {layers}")
    assert [node.name for node in model.graph.node] == (["abs"] if RULES[rule] else []) + ["neg"]


def test_what_is_for_training_is_left_out(tmp_path):
    data = "layer { name: 'train' type: 'Data' top: 'data' top: 'label' transform_param { scale: 0.5 mean_value: 8 } }"
    layers = """layer { name: 'abs' type: 'AbsVal' bottom: 'data' top: 'abs' }
        layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'abs' bottom: 'label' top: 'loss' }
        layer { name: 'accuracy' type: 'Accuracy' bottom: 'abs' bottom: 'label' top: 'accuracy' }"""
    model = convert_text(tmp_path, f"{FIRST} {data} {layers}")
    assert [node.name for node in model.graph.node] == ["abs"]
    found = find_preprocessing(None, metadata(model), None)
    assert (found.scale, found.mean) == (0.5, (4.0,))  # Caffe subtracts first, zfviz scales first


def metadata(model: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def test_preprocessing_is_caffes(alexnet):
    found = find_preprocessing(None, metadata(from_caffe.convert(*alexnet, mean=[104, 117, 123])), None)
    assert (found.colour, found.scale, found.mean, found.size) == ("BGR", 1.0, (104.0, 117.0, 123.0), (39, 39))


def test_another_preprocessing_may_be_stated_in_place_of_a_mean(alexnet):
    found = find_preprocessing(None, metadata(from_caffe.convert(*alexnet, preprocessing="inception")), None)
    assert (found.colour, found.mean, found.std) == ("RGB", (0.5,), (0.5,))
    with pytest.raises(ModelError, match="both a preprocessing and a mean"):
        from_caffe.convert(*alexnet, preprocessing="inception", mean=[104, 117, 123])


def test_mean_picture_is_averaged_for_each_channel(alexnet, tmp_path, capsys):
    picture = np.arange(24, dtype=np.float32).reshape(1, 3, 2, 4)
    (path := tmp_path / "mean.binaryproto").write_bytes(blob(picture, old=True))
    found = find_preprocessing(None, metadata(from_caffe.convert(*alexnet, mean=path)), None)
    assert found.mean == (3.5, 11.5, 19.5)
    assert "average" in capsys.readouterr().err


def test_labels_are_what_zfviz_reads(alexnet, tmp_path):
    (path := tmp_path / "synset.txt").write_text("n01440764 tench, Tinca tinca\ncat\n" + "dog\n" * 4 + 'it\'s "x"\n')
    found = metadata(from_caffe.convert(*alexnet, labels=path))
    labels = find_labels(found, None, None)
    assert (labels[0], labels[6]) == ("tench, Tinca tinca", 'it\'s "x"')


@pytest.mark.parametrize("name", NETS)
def test_zfviz_projects(name, tmp_path):
    model = from_caffe.convert(*write_net(tmp_path, name), mean=[104, 117, 123])
    x = image(model, 1)
    layer = {"googlenet": "a/output", "resnet": "res2_relu"}.get(name, "relu2")
    found = zfviz.project(model, x, layer=layer, top=2)
    assert found.pixels.shape == (2, *x.shape[1:])
    assert np.isfinite(found.pixels).all()
    assert np.abs(found.pixels).max() > 0


def test_script_writes_the_file_and_says_how_far_opencv_is(alexnet, tmp_path):
    done = shell(from_caffe, tmp_path, *alexnet, "-o", tmp_path / "net.onnx", "--mean", "104,117,123")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'net.onnx'}\n"
    assert "preprocessing: BGR" in done.stderr
    if "not checked" not in done.stderr:
        assert re.search(r"largest difference from OpenCV: .* \(tolerance 0\.001; 12 compared\)", done.stderr)
    onnx.checker.check_model(onnx.load(tmp_path / "net.onnx"), full_check=True)


def test_script_refuses_what_differs_from_opencv_unless_it_is_told(tmp_path):
    """By a layer where OpenCV is wrong."""
    opencv()
    layer = "layer { name: 'log' type: 'Log' bottom: 'data' top: 'log' log_param { shift: 999 } }"
    convert_text(tmp_path, f"{FIRST} {layer}")
    files = tmp_path / "deploy.prototxt", tmp_path / "net.caffemodel"
    done = shell(from_caffe, tmp_path, *files, "-o", tmp_path / "net.onnx")
    assert done.returncode == 1
    assert re.search(r"^from_caffe: largest difference from OpenCV: .*; --no-check writes it\.", done.stderr, re.M)
    assert not (tmp_path / "net.onnx").exists()
    assert shell(from_caffe, tmp_path, *files, "-o", tmp_path / "net.onnx", "--no-check").returncode == 0
    assert (tmp_path / "net.onnx").exists()


def test_check_knows_that_opencv_reads_no_k(tmp_path, capsys):
    opencv()
    text = ALEXNET.replace("beta: 0.5", "beta: 0.5 k: 2")
    from_caffe.check(convert_text(tmp_path, text, draw(NETS["alexnet"][1])), *sorted(tmp_path.iterdir()))
    assert "12 compared" in capsys.readouterr().err


def test_script_without_opencv_says_so(alexnet, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cv2", None)
    from_caffe.check(from_caffe.convert(*alexnet), *alexnet)
    assert "not checked" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["-o", "net.onnx"], ["gone.prototxt", "gone.caffemodel", "-o", "net.onnx"]])
def test_script_exits_with_2_for_bad_use_and_bad_files(arguments, tmp_path):
    done = shell(from_caffe, tmp_path, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())

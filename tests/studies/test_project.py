"""Projecting as a user does: pictures and arrays in, units and pixels out."""

from typing import Any

import numpy as np
import onnx
import pytest
from conftest import PHOTO, tiny_network
from onnx import helper, numpy_helper
from onnx_graphsurgeon import Node
from PIL import Image

import zfviz
from zfviz.errors import ImageError, LayerError, ModelError, UnsupportedError, VerificationError
from zfviz.graph import rules
from zfviz.tolerances import SAME_GRAPH


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() <= 10 * SAME_GRAPH * np.abs(expected).max())


def batch(count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, 32, 32), dtype=np.float32)


def test_strongest_channels_of_a_layer_each_at_its_strongest_place(tiny) -> None:
    image = batch(1)
    p = zfviz.project(tiny, image, layer="relu2", top=4)
    maps = zfviz.activations(tiny, image, ["relu2"])["relu2"][0]
    peaks = maps.reshape(12, -1).max(axis=1)
    assert [u.channel for u in p.units] == np.argsort(-peaks, kind="stable")[:4].tolist()
    assert all(maps[u.channel, u.y, u.x] == a == peaks[u.channel] for u, a in zip(p.units, p.activations, strict=True))
    assert p.pixels.shape == (4, 3, 32, 32)
    assert p.pixels.dtype == p.activations.dtype == np.float32


def test_default_layers_are_the_last_rectified_maps(tiny) -> None:
    p = zfviz.project(tiny, batch(1), top=2)
    assert [u.layer for u in p.units] == ["relu1", "relu1", "relu2", "relu2"]


def test_units_are_taken_as_asked(tiny) -> None:
    p = zfviz.project(tiny, batch(1), layer="relu2", units=[(5, 2, 3), (7,)])
    first, second = p.units
    assert (first.channel, first.y, first.x) == (5, 2, 3)
    assert second.channel == 7
    assert second.y is not None


def test_several_images_give_what_each_gives_alone(tiny) -> None:
    images = batch(11)
    together = zfviz.project(tiny, images, top=2)
    assert together.image_index.tolist() == np.repeat(np.arange(11), 4).tolist()
    for i in (0, 7, 8, 10):
        alone = zfviz.project(tiny, images[i : i + 1], top=2)
        mine = together.image_index == i
        assert [u for u, m in zip(together.units, mine, strict=True) if m] == list(alone.units)
        assert close(together.pixels[mine], alone.pixels)


def test_more_units_than_one_run_takes(tiny) -> None:
    many = zfviz.project(tiny, batch(1), layer="relu1", units=[(c, y, y) for c in range(8) for y in range(3, 6)])
    one = zfviz.project(tiny, batch(1), layer="relu1", units=[(7, 5, 5)])
    assert close(many.pixels[-1:], one.pixels)


@pytest.mark.parametrize("size", [2, 4])
def test_fixed_batch_gives_what_a_free_one_gives(size: int) -> None:
    images = batch(3)
    assert close(
        zfviz.project(tiny_network(batch=size), images, top=2).pixels,
        zfviz.project(tiny_network(), images, top=2).pixels,
    )


def test_nhwc_model_gives_what_its_nchw_twin_gives(photo_path) -> None:
    turned, straight = (zfviz.project(tiny_network(nhwc=n), photo_path, top=3) for n in (True, False))
    assert turned.units == straight.units
    assert close(turned.pixels, straight.pixels)


def test_arrays_go_in_as_they_are_in_the_models_layout(tiny) -> None:
    image = batch(1)
    nhwc = zfviz.project(tiny_network(nhwc=True), image.transpose(0, 2, 3, 1), layer="relu2")
    assert close(nhwc.pixels, zfviz.project(tiny, image[0], layer="relu2").pixels)
    with pytest.raises(ImageError, match=r"\[N, 3, 32, 32\]"):
        zfviz.project(tiny, image.transpose(0, 2, 3, 1))
    with pytest.raises(ImageError, match="int64"):
        zfviz.project(tiny, image.astype(np.int64))


def test_pictures_may_be_paths_images_or_lists(tiny) -> None:
    picture = Image.open(PHOTO)
    p = zfviz.project(tiny, [PHOTO, picture, str(PHOTO)], layer="relu2", top=1)
    assert p.image_index.tolist() == [0, 1, 2]
    assert p.batch.names == ("chelsea.jpg", "image1", "chelsea.jpg")
    assert np.array_equal(p.pixels[0], p.pixels[1])
    with pytest.raises(ImageError, match="no image"):
        zfviz.project(tiny, [])


def test_open_size_is_assumed_and_said(photo_path) -> None:
    p = zfviz.project(tiny_network(size="S"), photo_path, layer="relu2", top=1)
    assert p.pixels.shape[2:] == (224, 224)
    assert any("224x224 is assumed" in w for w in p.warnings())
    fixed = zfviz.project(zfviz.load(tiny_network(size="S"), (1, 3, 64, 48)), photo_path, layer="relu2", top=1)
    assert fixed.pixels.shape[2:] == (64, 48)


@pytest.mark.parametrize("method", rules.METHODS)
def test_seed_one_is_the_projection_without_the_activation(tiny, method: str) -> None:
    one, seeded = (zfviz.project(tiny, batch(1), layer="relu2", method=method, seed=s) for s in ("one", "activation"))
    assert close(one.pixels * one.activations[:, None, None, None], seeded.pixels)


def test_negative_activation_seeds_with_its_sign(tiny) -> None:
    maps = zfviz.activations(tiny, batch(1), ["conv2"])["conv2"][0]
    lowest = tuple(int(i) for i in np.unravel_index(maps.argmin(), maps.shape))
    p = zfviz.project(tiny, batch(1), layer="conv2", units=[lowest], method="gradient")
    one = zfviz.project(tiny, batch(1), layer="conv2", units=[lowest], method="gradient", seed="one")
    assert p.activations[0] < 0
    assert close(p.pixels, one.pixels * p.activations[0])


def test_gradient_agrees_with_finite_differences(tiny) -> None:
    image = batch(1)
    p = zfviz.project(tiny, image, classes=["dog"], method="gradient", seed="one")
    ascent = 0.01 * p.pixels[0] / np.abs(p.pixels[0]).max()
    ahead, behind = (zfviz.activations(tiny, image + sign * ascent, ["scores"])["scores"][0, 1] for sign in (1, -1))
    assert ahead - behind == pytest.approx(2 * float(np.vdot(p.pixels[0], ascent)), rel=0.02)


def test_classes_by_name_part_and_index(tiny) -> None:
    p = zfviz.project(tiny, batch(1), classes=["night bird", 0, "DOG"])
    assert [(u.layer, u.channel, u.y) for u in p.units] == [("fc", 2, None), ("fc", 0, None), ("fc", 1, None)]
    with pytest.raises(LayerError, match="nearest: cat"):
        zfviz.project(tiny, batch(1), classes=["cta"])
    with pytest.raises(LayerError, match="0 to 2"):
        zfviz.project(tiny, batch(1), classes=[3])
    with pytest.raises(LayerError, match="no class names"):
        zfviz.project(tiny_network(metadata={"a": "b"}), batch(1), classes=["cat"])


def test_top1_is_the_softmax_of_the_scores(tiny) -> None:
    image = batch(1)
    top = zfviz.project(tiny, image, top=1).record()["top1"]
    odds = zfviz.activations(tiny, image, ["prob"])["prob"][0]
    assert top["class"] == int(odds.argmax())
    assert top["probability"] == pytest.approx(float(odds.max()), rel=1e-5)
    assert top["label"] == ["cat", "dog", "owl, night bird"][top["class"]]


def test_activations_bear_the_names_asked(tiny) -> None:
    found = zfviz.activations(tiny, batch(2), ["r1", "relu1", "fc"])
    assert set(found) == {"r1", "relu1", "fc"}
    assert np.array_equal(found["r1"], found["relu1"])
    assert found["r1"].shape == (2, 8, 16, 16)
    assert found["fc"].shape == (2, 3)


def test_bad_wishes_say_what_to_do(tiny) -> None:
    for wish, says in [
        ({"layer": "relu3"}, "nearest: .*relu1"),
        ({"layer": "relu2", "units": [(12,)]}, "0 to 11"),
        ({"layer": "relu2", "units": [(1, 2)]}, "CHANNEL,Y,X"),
        ({"layer": "fc", "units": [(1, 0, 0)]}, "no map"),
        ({"top": 0}, "1 or more"),
        ({"method": "lrp"}, "deconvnet"),
        ({"seed": "two"}, "activation, one"),
    ]:
        with pytest.raises(LayerError, match=says):
            zfviz.project(tiny, batch(1), **wish)


def test_nan_activations_are_refused_by_layer(tiny) -> None:
    weight = next(t for t in tiny.graph.initializer if t.name == "w2")
    values = numpy_helper.to_array(weight).copy()
    values[3] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, "w2"))
    with pytest.raises(ModelError, match="'r2' are NaN"):
        zfviz.project(tiny, batch(1), layer="relu2")


def test_dead_unit_says_so_and_projects_nothing(tiny) -> None:
    maps = zfviz.activations(tiny, batch(1), ["relu2"])["relu2"][0]
    p = zfviz.project(tiny, batch(1), layer="relu2", units=[np.argwhere(maps == 0)[0].tolist()])
    assert not p.pixels.any()
    assert p.record()["units"][0]["dead"]
    assert any("1 of 1 units are dead" in w for w in p.warnings())


def test_unsupported_op_is_refused_by_name_opset_and_layer(tiny) -> None:
    tiny.graph.node.insert(5, helper.make_node("Cosh", ["r2"], ["odd"], "strange"))
    next(n for n in tiny.graph.node if n.name == "gap").input[0] = "odd"
    with pytest.raises(UnsupportedError, match=r"Cosh \(opset 13\) at layer 'strange'"):
        zfviz.project(tiny, batch(1), classes=[0])
    assert zfviz.project(tiny, batch(1), layer="relu2").pixels.any()


def test_verify_records_the_worst_residual(tiny) -> None:
    record = zfviz.project(tiny, batch(1), top=1, classes=[1], verify=True).record()
    assert 0 < record["verification"]["residual"] < 1e-4


def test_verify_refuses_a_wrong_rule_and_names_the_layer(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    right = rules.find_rule(Node("Conv"), "gradient")
    assert right is not None

    def off_by_a_thousandth(layer, signal, net):
        return {0: net.emit("Mul", right.transpose(layer, signal, net)[0], net.constant(1.001))}

    wrong = rules.Rule("Conv", None, off_by_a_thousandth, right.reach, "", curved=False, every_output=False)
    monkeypatch.setitem(rules._RULES, ("Conv", None), wrong)
    with pytest.raises(VerificationError, match=r"'conv\d' \(Conv\)"):
        zfviz.project(tiny, batch(1), top=1, verify=True)


def test_inexact_rules_are_named_in_the_record(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    right = rules.find_rule(Node("Relu"), "deconvnet")
    assert right is not None
    said = rules.Rule("Relu", "deconvnet", right.transpose, right.reach, "half of it", curved=False, every_output=False)
    monkeypatch.setitem(rules._RULES, ("Relu", "deconvnet"), said)
    p = zfviz.project(tiny, batch(1), top=1)
    assert p.inexact == ("Relu: half of it",)
    assert p.record()["inexact"] == ["Relu: half of it"]


def test_model_may_be_path_bytes_or_proto(tiny, tiny_path) -> None:
    image = batch(1)
    expected = zfviz.project(tiny, image, top=1).pixels
    for model in (tiny_path, str(tiny_path), tiny_path.read_bytes(), zfviz.load(tiny_path)):
        assert np.array_equal(zfviz.project(model, image, top=1).pixels, expected)
    assert isinstance(zfviz.expose(tiny_path), onnx.ModelProto)


def test_a_batch_folded_into_another_axis_projects_as_if_it_were_not() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((2, 1, 3, 3), dtype=np.float32)
    folded = [
        helper.make_node("Reshape", ["image", "apart"], ["r"], "fold"),
        helper.make_node("Conv", ["r", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["d"], "relu"),
        helper.make_node("Reshape", ["d", "together"], ["y"], "last"),
    ]
    grouped = [
        helper.make_node("Conv", ["image", "w"], ["c"], "conv", group=3),
        helper.make_node("Relu", ["c"], ["y"], "last"),
    ]
    shapes = [
        numpy_helper.from_array(np.array([-1, 1, 8, 9]), "apart"),
        numpy_helper.from_array(np.array([-1, 6, 6, 7]), "together"),
    ]
    pictures = rng.standard_normal((2, 3, 8, 9), dtype=np.float32)
    found: dict[str, list[Any]] = {method: [] for method in ("deconvnet", "guided", "gradient")}
    for nodes, weights in ((folded, [*shapes, kernel]), (grouped, [np.tile(kernel, (3, 1, 1, 1))])):
        stored = [w if isinstance(w, onnx.TensorProto) else numpy_helper.from_array(w, "w") for w in weights]
        image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["N", 3, 8, 9])
        output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 6, 6, 7])
        graph = helper.make_graph(nodes, "net", [image], [output], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        for method, results in found.items():
            results.append(zfviz.project(model, pictures, layer="last", method=method))
    for one, other in found.values():
        assert one.units == other.units
        np.testing.assert_allclose(one.pixels, other.pixels, atol=1e-5)
    alone = zfviz.activations(model, pictures, ["last"])["last"]
    assert zfviz.project(model, pictures, layer="last").activations[0] == alone[0].max()


def test_one_unit_and_one_class_need_no_list(tiny) -> None:
    image = batch(1)
    assert zfviz.project(tiny, image, layer="relu2", units=[7]).units[0].channel == 7
    one, several = (zfviz.project(tiny, image, classes=c).units for c in (2, [2]))
    assert one == several
    assert list(zfviz.activations(tiny, image, "relu2")) == ["relu2"]


def test_a_result_says_in_a_line_what_it_is(tiny) -> None:
    model = zfviz.load(tiny)
    assert len(repr(model)) < 120
    assert "layers" in repr(model)
    p = zfviz.project(model, batch(2), layer="relu2", top=2)
    assert repr(p) == f"<zfviz.Projections deconvnet of {model.name}: 4 units, 2 images>"


def test_all_public_names_are_listed() -> None:
    assert set(zfviz.__all__) == set(dir(zfviz))


def test_the_record_tells_apart_what_went_in(tiny) -> None:
    images = batch(2)
    p = zfviz.project(tiny, images, layer="relu2", precision="float16")
    first, second = (p.record(i) for i in range(2))
    assert first["image_sha256"] != second["image_sha256"]
    assert first["image_sha256"] == zfviz.project(tiny, images[:1]).record()["image_sha256"]
    assert first["precision"] == "float16"
    assert first["input"] == {"name": "image", "shape": [3, 32, 32], "dtype": "float32"}
    assert first["other_inputs"] == {}


def test_files_of_one_layer_bear_its_name(tiny, tmp_path) -> None:
    image = batch(1)
    names = [p.name for p in zfviz.project(tiny, image, layer="relu2", top=1).save(tmp_path)]
    names += [p.name for p in zfviz.project(tiny, image, top=1).save(tmp_path)]
    model = zfviz.load(tiny).name
    assert names[0] == f"array0__{model}__relu2__deconvnet.png"
    assert names[2] == f"array0__{model}__deconvnet.png"


def test_a_grey_model_is_shown_what_it_sees(photo_path) -> None:
    grey = tiny_network()
    weight = next(t for t in grey.graph.initializer if t.name == "w1")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight)[:, :1], "w1"))
    grey.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    p = zfviz.project(grey, photo_path, top=1)
    assert p.batch.views[0].mode == "L"
    assert "assumed: grey, centre crop of 87.5 %, (x/255 - [0.449]) / [0.226]." in p.warnings()[0]

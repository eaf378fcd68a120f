"""Checks of behaviour: planted faults are found, and the pictures that they show a model are what they say."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_network
from crops import crops
from onnx import ModelProto
from onnx_graphsurgeon import Node
from PIL import Image
from showing import PLAIN, biased, is_finding, measured, pictures, spelled

import zfviz
from zfviz.checks.auditing import audit
from zfviz.checks.behaviour import SEED, differing_bits, margin, shifted, spearman
from zfviz.checks.subject import spread
from zfviz.errors import SkipError, UnsupportedError
from zfviz.graph import rules
from zfviz.runtime.verify import find_residuals
from zfviz.studies.project import Projector
from zfviz.studies.projections import Projections


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return crops(tmp_path_factory.mktemp("crops"), 6)


def test_a_sound_network_gives_the_same_bits(tiny: ModelProto, shown: list[Path]) -> None:
    for paths in ([], shown):
        (found,) = measured("ZF301", tiny, paths).values()
        assert found.said == "0 of 3 numbers differ when one picture is looked at twice"
        assert not is_finding("ZF301", found)


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_a_network_with_chance_in_it_is_found(batch: object, shown: list[Path]) -> None:
    proto = spelled("n = RandomUniformLike(x)  a = Add(x, n)  y = Relu(a)", size=f"{batch}, 3, 16, 16")
    (found,) = measured("ZF301", zfviz.load(proto, preprocessing=PLAIN), shown).values()
    size = 3 * 16 * 16 * (batch if isinstance(batch, int) else 1)
    assert 0.9 * size < found.value <= size
    assert found.said.endswith("first in 'y'")
    assert is_finding("ZF301", found)


def test_bits_are_compared_not_values() -> None:
    values = np.array([[1, 0, np.nan, np.inf]], np.float32)
    assert differing_bits(values, values.copy()) == 0
    assert differing_bits(values, np.array([[1, -0.0, np.nan, np.inf]], np.float32)) == 1
    assert differing_bits(values, np.nextafter(values, 2)) == 3
    assert differing_bits(values, values[:, :3]) == 4
    assert differing_bits(np.float32(1).reshape(()), np.float32(2).reshape(())) == 1
    assert differing_bits(np.zeros((0, 4)), np.zeros((0, 4))) == 0
    assert differing_bits(np.array(["a", "b"], object), np.array(["a", "c"], object)) == 1


@pytest.mark.parametrize("nhwc", [False, True])
def test_shifted_pictures_are_crops_of_one(nhwc: bool, shown: list[Path]) -> None:
    model = zfviz.load(tiny_network(nhwc=nhwc))
    assert margin(model) == 4
    arrays, views = shifted(model, shown[:2], np.array([[[0, 0], [3, 1]], [[2, 2], [2, 2]]]))
    assert arrays.shape == (4, *model.image.shape[1:])
    assert [view.size for view in views] == [(32, 32)] * 4
    first, second, third, fourth = (np.asarray(view) for view in views)
    assert np.array_equal(first[3:, 1:], second[:-3, :-1])
    assert not np.array_equal(first, second)
    assert np.array_equal(third, fourth)
    for array, view in zip(arrays, views, strict=True):
        turned = array.transpose(2, 0, 1) if nhwc else array
        assert np.allclose(turned, model.preprocessing.array(view, 3))


def test_a_shifted_picture_is_as_large_as_before_where_there_is_a_margin(shown: list[Path]) -> None:
    plain = zfviz.load(tiny_network(size=224))
    assert margin(plain) == 32
    picture = Image.open(shown[0]).resize((256, 256))
    picture.save(shown[0].parent / "large.png")
    _, (middle,) = shifted(plain, [shown[0].parent / "large.png"], np.array([[[16, 16]]]))
    view = plain.preprocessing.view(picture, 224, 224)
    near = np.abs(np.asarray(middle, float) - np.asarray(view, float)).mean()
    aside = np.abs(np.roll(np.asarray(middle, float), 4, axis=0) - np.asarray(view, float)).mean()
    assert near < 0.3 * aside


def test_a_network_that_tells_odd_columns_from_even_ones_changes_its_mind(tmp_path: Path) -> None:
    # one pixel of every second column decides; the picture has black and white columns
    body = "a = Conv<strides = [2, 2]>(x, w)  p = GlobalAveragePool(a)  f = Flatten(p)  y = Gemm<transB = 1>(f, v)"
    weights = {"w": np.ones((1, 3, 1, 1)), "v": np.array([[1.0], [-1.0]])}
    model = zfviz.load(spelled(body, weights, "N, 3, 32, 32"), preprocessing={**PLAIN, "mean": [0.5]})
    columns = np.zeros((35, 35, 3))
    columns[:, ::2] = 255
    paths = pictures(tmp_path, [columns] * 40)
    (found,) = measured("ZF302", model, paths).values()
    left = np.random.default_rng(SEED).integers(0, 4, (32, 2, 2))[:, :, 1]
    stays = left[:, 0] % 2 == left[:, 1] % 2
    assert 0 < stays.mean() < 1
    assert found.value == stays.mean()
    assert found.said == f"{stays.sum()} of 32 pictures stay in their class when they are shifted"
    assert found.image == paths[int(np.argmin(stays))].name
    assert found.picture is not None
    sheet = np.asarray(found.picture())
    assert sheet.shape == (32, 72, 3)
    assert not np.array_equal(sheet[:, :32], sheet[:, 40:])


def test_a_network_of_one_class_stays_in_it(shown: list[Path]) -> None:
    (found,) = measured("ZF302", biased(spelled_classifier(), "conv", 0, 100), shown).values()
    assert (found.value, found.picture, found.image) == (1, None, "")


def spelled_classifier() -> ModelProto:
    body = "a = Conv(x, w)  p = GlobalAveragePool(a)  y = Flatten(p)"
    proto = spelled(body, {"w": (3, 3, 3, 3)})
    proto.graph.node[0].name = "conv"
    return proto


def test_without_classes_nothing_is_shifted(shown: list[Path]) -> None:
    found = audit(spelled("a = Conv(x, w)  y = Relu(a)", {"w": (3, 3, 3, 3)}), shown[:1], device="cpu")
    (skipped,) = (result for result in found.results if result.check.code == "ZF302")
    assert skipped.skipped == "the model is no classifier"


def misled(change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Projections]:
    """`Projector.project`, but with other pixels."""
    project = Projector.project

    def wrong(self: Projector, image: object) -> Projections:
        projections = project(self, image)
        return replace(projections, pixels=change(projections.pixels))

    return wrong


def shuffled(pixels: np.ndarray) -> np.ndarray:
    places = np.random.default_rng(0).permutation(pixels[0, 0].size)
    return pixels.reshape(*pixels.shape[:2], -1)[..., places].reshape(pixels.shape)


def test_projections_tell_what_a_unit_needs_unless_they_are_shuffled(
    shown: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    zfnet = zfviz.load("zfnet")
    (right,) = measured("ZF303", zfnet, shown).values()
    assert right.layer == "relu5"
    assert right.value > 0.4
    assert right.said.startswith(f"projections and occlusions correlate by {right.value:.2f} in the mean, by ")
    assert right.picture is not None
    assert right.picture().size == (3 * 224 + 2 * 8, 224)
    monkeypatch.setattr(Projector, "project", misled(shuffled))
    (wrong,) = measured("ZF303", zfnet, shown).values()
    assert abs(wrong.value) < 0.25


def test_a_unit_that_sees_one_pixel_falls_where_that_is_hidden(tmp_path: Path) -> None:
    # the one bright pixel is the strongest unit; a map of 3 x 3 windows sees no more than 3 x 3 pixels
    array = np.full((16, 16, 3), 10)
    array[4, 9] = 250
    weight = np.ones((1, 3, 3, 3))
    weight[..., 1, 1] = 5
    model = zfviz.load(spelled("a = Conv(x, w)  y = Relu(a)", {"w": weight}), preprocessing=PLAIN)
    (found,) = measured("ZF303", model, pictures(tmp_path, [array])).values()
    assert found.layer == "y"
    assert found.picture is not None
    drops = np.asarray(found.picture())[:, 2 * (16 + 8) :, 0]
    fields = np.argwhere(drops > 128)
    assert fields.min(axis=0).tolist() == fields.max(axis=0).tolist() == [4, 9]


def test_where_no_unit_falls_nothing_is_said(tiny: ModelProto, shown: list[Path]) -> None:
    silent = spelled("a = Conv(x, w)  y = Relu(a)", {"w": np.zeros((2, 3, 3, 3))})
    with pytest.raises(SkipError, match="no unit of 'y' falls"):
        measured("ZF303", silent, shown[:1])
    with pytest.raises(SkipError, match="no unit of 'relu2' falls"):
        measured("ZF303", biased(tiny, "conv1", 2, float("nan")), shown[:1])


def test_rules_hold_for_a_sound_network_one_of_each_kind(tiny: ModelProto) -> None:
    (found,) = measured("ZF304", tiny).values()
    assert 0 < found.value < 1e-5
    assert not is_finding("ZF304", found)
    model = zfviz.load(tiny)
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)
    every = find_residuals(model, image, ["r2"])
    kinds = find_residuals(model, image, ["r2"], kinds=True)
    assert [one.layer for one in every] == ["conv1", "relu1", "pool1", "conv2", "relu2"]
    assert [one.layer for one in kinds] == ["conv1", "pool1", "conv2", "relu2"]
    assert found.said.startswith("of 4 rules")


@pytest.mark.parametrize("form", [{"batch": 4}, {"nhwc": True}])
def test_rules_hold_for_a_network_of_another_form(form: dict[str, object]) -> None:
    (found,) = measured("ZF304", tiny_network(**form)).values()
    assert 0 < found.value < 1e-5


def test_a_wrong_rule_is_found(tiny: ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    right = rules.find_rule(Node("MaxPool"), "gradient")
    assert right is not None

    def off_by_a_thousandth(layer, signal, net):
        return {0: net.emit("Mul", right.transpose(layer, signal, net)[0], net.constant(1.001))}

    wrong = replace(right, transpose=off_by_a_thousandth)
    monkeypatch.setitem(rules._RULES, ("MaxPool", None), wrong)
    (found,) = measured("ZF304", tiny).values()
    assert found.layer == "pool1"
    assert found.said == "of 4 rules the one of MaxPool is farthest from central differences"
    assert is_finding("ZF304", found)


def test_a_rule_that_makes_no_number_is_found(tiny: ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    right = rules.find_rule(Node("MaxPool"), "gradient")
    assert right is not None

    def off(layer, signal, net):
        return {0: net.emit("Mul", right.transpose(layer, signal, net)[0], net.constant(float("nan")))}

    monkeypatch.setitem(rules._RULES, ("MaxPool", None), replace(right, transpose=off))
    (found,) = measured("ZF304", tiny).values()
    assert found.layer == "pool1"
    assert is_finding("ZF304", found)


def test_values_that_are_not_finite_do_not_count_against_a_rule(tiny: ModelProto) -> None:
    (found,) = measured("ZF304", biased(tiny, "conv2", 2, float("nan"))).values()
    assert found.layer in ("conv1", "pool1")
    assert not is_finding("ZF304", found)
    with pytest.raises(SkipError, match="no layer below 'relu2' gives values that can be judged"):
        measured("ZF304", biased(tiny, "conv1", 2, float("nan")))


def test_a_model_that_cannot_be_projected_is_still_audited(
    tiny: ModelProto, shown: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = rules.find_rule(Node("MaxPool"), "gradient")
    assert right is not None

    def refuse(layer, signal, net):
        raise UnsupportedError("it is strange")

    monkeypatch.setitem(rules._RULES, ("MaxPool", None), replace(right, transpose=refuse))
    found = audit(tiny, shown[:2], device="cpu")
    why = {result.check.code: result.skipped for result in found.results}
    assert "MaxPool: it is strange" in why["ZF303"]
    assert "MaxPool: it is strange" in why["ZF304"]
    assert not why["ZF204"]


def test_a_model_without_a_map_is_still_audited(shown: list[Path]) -> None:
    proto = spelled("f = Flatten(x)  y = Gemm<transB = 1>(f, v)", {"v": (3, 768)})
    found = audit(proto, shown[:2], device="cpu")
    why = {result.check.code: result.skipped for result in found.results}
    assert "no feature map" in why["ZF303"]
    assert "no feature map" in why["ZF304"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 25, 90], 1),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1),
        ([1, 2, 2, 3], [1, 3, 2, 4], 3 / np.sqrt(10)),
        ([5, 1, 1, 1], [1, 1, 1, 5], -1 / 3),
        ([1, 1, 1], [1, 2, 3], np.nan),
    ],
)
def test_rank_correlation(first: Sequence[float], second: Sequence[float], expected: float) -> None:
    assert spearman(np.array(first), np.array(second)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("count", "most", "expected"), [(3, 8, [0, 1, 2]), (8, 8, [*range(8)]), (10, 4, [0, 2, 5, 7])])
def test_some_pictures_are_of_the_whole_folder(count: int, most: int, expected: list[int]) -> None:
    assert spread(range(count), most) == expected
    assert spread([], most) == []

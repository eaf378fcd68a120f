"""Checks of activations: planted faults are found where they are, and healthy networks show none."""

from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTO
from crops import crops
from onnx import ModelProto
from PIL import Image
from showing import PLAIN, biased, check, greys, is_finding, measured, pictures, spelled, subject

import zfviz
from zfviz.checks.auditing import audit
from zfviz.errors import SkipError


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """As many pictures as it takes to say that a channel never fires."""
    return crops(tmp_path_factory.mktemp("crops"), 50)


def test_the_bundled_network_is_sound(shown: list[Path]) -> None:
    (finite,) = measured("ZF201", "zfnet", shown[:6]).values()
    assert (finite.layer, finite.value, finite.said) == ("", 0, "all activations are finite in every image")
    assert not is_finding("ZF201", finite)
    zeros = measured("ZF206", "zfnet", shown[:6])
    assert list(zeros) == ["relu1", "relu2", "relu3", "relu4", "relu5"]
    assert all(0.4 < one.value < 0.7 for one in zeros.values())
    assert not measured("ZF205", "zfnet", shown[:6])


def test_numbers_that_are_not_finite_are_said_of_the_layer_where_they_begin(tmp_path: Path) -> None:
    # 1 / x is infinite for black, 1 / (1 - x) for white
    body = "a = Reciprocal(x)  r = Relu(a)  b = Sub(one, x)  c = Div(r, b)  s = Relu(c)  y = Sub(s, s)"
    model = zfviz.load(spelled(body, {"one": np.float32(1)}), preprocessing=PLAIN)
    paths = greys(tmp_path, {1: 0, 3: 255})
    first, second = measured("ZF201", model, paths).values()
    assert (first.value, first.image) == (3, "1.png")
    assert (second.value, second.image) == (3, "3.png")
    assert first.said == "3 activations are NaN or infinite, in 1 of 5 images"
    assert is_finding("ZF201", first)
    assert first.layer == "r"
    assert second.layer == "s"
    assert first.picture is not None
    assert np.asarray(first.picture())[3, 5].tolist() == [0, 0, 0]


def test_an_output_that_is_not_finite_is_found_where_no_rectifier_is(tmp_path: Path) -> None:
    model = zfviz.load(spelled("a = Conv(x, w)  y = Log(a)", {"w": -np.ones((2, 3, 3, 3))}), preprocessing=PLAIN)
    (found,) = measured("ZF201", model, greys(tmp_path, {})).values()
    assert (found.layer, found.value) == ("y", 5 * 2 * 14 * 14)


def test_an_audit_of_a_model_full_of_nan_ends(tiny: ModelProto, tmp_path: Path) -> None:
    paths = greys(tmp_path, {})
    found = audit(biased(tiny, "conv1", 2, float("nan")), paths, config={"fail-on": "error"}, device="cpu")
    (nan,) = (result for result in found.results if result.check.code == "ZF201")
    assert [f.layer for f in nan.findings] == ["relu1"]
    assert not found.ok


@pytest.mark.parametrize(("layer", "channel"), [("conv1", 3), ("conv2", 11)])
def test_a_channel_that_never_fires_is_found(layer: str, channel: int, tiny: ModelProto, shown: list[Path]) -> None:
    rectifier = layer.replace("conv", "relu")
    before, after = (measured("ZF202", model, shown) for model in (tiny, biased(tiny, layer, channel, -1000)))
    assert all(one.value == 0 for one in before.values())
    assert [name for name, one in after.items() if is_finding("ZF202", one)] == [rectifier]
    channels = len(zfviz.activations(tiny, shown[0], rectifier)[rectifier][0])
    found = after[rectifier]
    assert found.channels == (channel,)
    assert found.value == 1 / channels
    assert found.said == f"1 of {channels} channels is zero everywhere in every image: {channel}"


def test_few_images_say_nothing_of_a_channel_that_never_fires(tiny: ModelProto, shown: list[Path]) -> None:
    with pytest.raises(SkipError, match="too few images to tell: 49"):
        measured("ZF202", biased(tiny, "conv1", 3, -1000), shown[:49])
    found = audit(biased(tiny, "conv1", 3, -1000), shown[:2], device="cpu")
    (skipped,) = (result for result in found.results if result.check.code == "ZF202")
    assert skipped.status == "skipped"
    assert skipped.skipped == "too few images to tell: 2; expected 50 or more"


def test_a_channel_below_zero_of_an_activation_that_says_more_there_is_not_dead(shown: list[Path]) -> None:
    bias = {"w": 0.01 * np.ones((2, 3, 3, 3)), "b": np.array([-3.0, -1000])}
    (silu,) = measured("ZF202", spelled("a = Conv(x, w, b)  s = Sigmoid(a)  y = Mul(a, s)", bias), shown).values()
    assert silu.channels == (1,)
    (relu,) = measured("ZF202", spelled("a = Conv(x, w, b)  y = Relu(a)", bias), shown).values()
    assert relu.channels == (0, 1)


def test_a_channel_that_one_picture_of_many_makes_fire_is_rare(tmp_path: Path) -> None:
    # channel 1 fires for what is nearly white: one pixel of one picture
    body, weights = "a = Mul(x, c)  b = Add(a, d)  y = Relu(b)", {"c": np.ones((1, 3, 1, 1))}
    proto = spelled(body, {**weights, "d": np.array([0, -0.9, 0.1]).reshape(1, 3, 1, 1)})
    paths = greys(tmp_path, {17: 255}, 101)
    (found,) = measured("ZF203", zfviz.load(proto, preprocessing=PLAIN), paths).values()
    assert found.channels == (1,)
    assert found.value == pytest.approx(1 / 3)
    assert found.said == "1 of 3 channels is above zero in less than 1% of images: 1"
    assert found.image == paths[17].name
    assert found.picture
    assert np.asarray(found.picture()).max() == 255
    (none,) = measured(
        "ZF203", zfviz.load(proto, preprocessing=PLAIN), [p for p in paths if p != paths[17]] * 2
    ).values()
    assert none.value == 0
    with pytest.raises(SkipError, match="too few images to tell: 100"):
        measured("ZF203", zfviz.load(proto, preprocessing=PLAIN), paths[:100])


def test_a_channel_that_is_always_above_zero_is_found(tiny: ModelProto, shown: list[Path]) -> None:
    before, after = (measured("ZF204", model, shown[:6]) for model in (tiny, biased(tiny, "conv2", 5, 1000)))
    assert before["relu2"].value == 0
    assert after["relu2"].channels == (5,)
    assert after["relu2"].value == 1 / 12
    assert after["relu1"].value == 0
    assert check("ZF204").limit is None


def test_saturated_gates_are_counted(shown: list[Path]) -> None:
    body = "r = Conv(x, w)  p = GlobalAveragePool(r)  h = Conv(p, v, b)  g = Sigmoid(h)  y = Mul(r, g)"
    weights = {"w": (4, 3, 3, 3), "v": np.zeros((4, 4, 1, 1)), "b": np.array([-20.0, 0, 1, 20])}
    (found,) = measured("ZF205", spelled(body, weights), shown[:3]).values()
    assert (found.layer, found.value, found.channels) == ("g", 0.5, (0, 3))
    assert found.said == "50.0% of outputs are at 0 or 1, those of 2 of 4 channels always: 0, 3"
    assert found.image == shown[0].name
    weights["b"] = np.array([-1.0, 0, 1, 2])
    (found,) = measured("ZF205", spelled(body, weights), shown[:3]).values()
    assert found.said == "0.0% of outputs are at 0 or 1"


def test_the_share_of_zeros_is_the_mean_of_channels_and_names_those_far_above(tmp_path: Path) -> None:
    # half the picture is dark: channel 1 is zero there, channel 3 everywhere
    halves = np.full((16, 16, 3), 20)
    halves[8:] = 200
    weights = {
        "c": np.array([1.0, 1, 1, -1, 1, 1]).reshape(1, 6, 1, 1),
        "d": np.array([0, -0.5, 0, 0, 0, 0]).reshape(1, 6, 1, 1),
    }
    proto = spelled("g = Concat<axis = 1>(x, x)  a = Mul(g, c)  b = Add(a, d)  y = Relu(b)", weights)
    (found,) = measured("ZF206", zfviz.load(proto, preprocessing=PLAIN), pictures(tmp_path, [halves])).values()
    assert found.value == pytest.approx(1.5 / 6)
    assert found.channels == (3,)
    assert found.said == "1 of 6 channels is above the mean by more than the deviation of 38.2%: 3"
    both = pictures(tmp_path, [halves, np.full((16, 16, 3), 20)])
    (darker,) = measured("ZF206", zfviz.load(proto, preprocessing=PLAIN), both).values()
    assert darker.image == both[1].name
    assert darker.picture


@pytest.mark.parametrize("code", ["ZF202", "ZF203", "ZF204", "ZF206"])
def test_of_a_layer_with_nan_no_other_check_speaks(code: str, tiny: ModelProto, shown: list[Path]) -> None:
    spoiled = biased(tiny, "conv2", 5, float("nan"))
    assert [*measured(code, tiny, shown * 3)] == ["relu1", "relu2"]
    assert [*measured(code, spoiled, shown * 3)] == ["relu1"]
    assert [*measured("ZF201", spoiled, shown)] == ["relu2"]


def test_without_images_nothing_is_seen(tiny: ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("nothing was given to see")

    monkeypatch.setattr("zfviz.checks.subject.see", refuse)
    found = audit(tiny, device="cpu")
    skipped = [result.check.code for result in found.results if result.status == "skipped"]
    assert {"ZF201", "ZF202", "ZF203", "ZF204", "ZF205", "ZF206", "ZF302", "ZF303"} <= {*skipped}
    assert not {"ZF301", "ZF304"} & {*skipped}


def test_pictures_are_looked_at_once(tiny: ModelProto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    Image.open(PHOTO).resize((40, 40)).save(path)
    one = subject(tiny, [path])
    calls: list[int] = []
    see = zfviz.checks.subject.see
    monkeypatch.setattr("zfviz.checks.subject.see", lambda *args: calls.append(1) or see(*args))
    for code in ("ZF201", "ZF204", "ZF205", "ZF206"):
        list(check(code).measure(one))
    assert calls == [1]

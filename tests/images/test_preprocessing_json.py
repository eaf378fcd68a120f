"""How a preprocessing is written down, in JSON and in words, and what malformed descriptions come to."""

import json
from dataclasses import replace
from typing import Any

import pytest

from zfviz.errors import ImageError
from zfviz.images import preprocessing
from zfviz.images.preprocessing import PRESETS, Preprocessing


@pytest.mark.parametrize(
    "given",
    [
        *PRESETS.values(),
        Preprocessing("letterbox", 0.5, "BGR", 2.0, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (10, 20)),
        Preprocessing(size=(preprocessing.MAX_SIDE, 1)),
    ],
)
def test_json_round_trip(given: Preprocessing) -> None:
    written = json.loads(json.dumps(given.to_json()))
    assert Preprocessing.from_json(written, "here") == replace(given, source="here")


def test_json_may_leave_keys_out() -> None:
    assert Preprocessing.from_json({}, "here") == Preprocessing(source="here")
    assert Preprocessing.from_json({"mean": [1]}, "here") == Preprocessing(mean=(1,), source="here")


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("fit", ["pad", "", None, 1, ["crop"], {"crop": 1}, True]),
        ("crop", [0, -0.5, 1.01, "0.875", None, True, [0.5], float("nan"), float("inf"), 10**400]),
        ("colour", ["rgb", "GBR", None, 3, ["RGB"]]),
        ("scale", [0, -1, "1", None, True, [1], float("nan"), float("inf"), 10**400, 1e300, 1e-300]),
        ("mean", [0.5, [], None, "0.5", ["a"], [None], [True], [1] * 5, [float("nan")], [-(10**400)], [1e300], {}]),
        ("std", [1.0, [], None, [0], [1, 0, 1], [0.0], ["1"], [True], [1] * 5, [float("inf")], [1e-300], [10**400]]),
        ("size", [224, [224], [1, 2, 3], [0, 5], [-1, 5], [5.0, 5], ["5", 5], [True, 5], [16_385, 1], [10**400, 1]]),
    ],
)
def test_bad_value_names_its_key(key: str, bad: list[object]) -> None:
    assert key in Preprocessing().to_json()
    for value in bad:
        with pytest.raises(ImageError, match=rf"^here: {key} is .*; expected "):
            Preprocessing.from_json({key: value}, "here")


def test_every_key_is_checked() -> None:
    for key in Preprocessing().to_json():
        with pytest.raises(ImageError, match=rf"^here: {key} is "):
            Preprocessing.from_json({key: object()}, "here")


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ImageError, match=r"here: unknown key 'color'; nearest: colour"):
        Preprocessing.from_json({"color": "RGB"}, "here")
    with pytest.raises(ImageError, match=r"here: unknown key 'source'"):
        Preprocessing.from_json({"source": "me"}, "here")
    untyped: dict[Any, Any] = {1: 2}
    with pytest.raises(ImageError, match=r"here: unknown key 1; known: fit, crop"):
        Preprocessing.from_json(untyped, "here")


@pytest.mark.parametrize("bad", [{"fit": "x" * 100_000}, {"x" * 100_000: 1}, {"mean": ["y" * 100_000] * 1000}])
def test_messages_stay_short(bad: dict[str, Any]) -> None:
    with pytest.raises(ImageError) as caught:
        Preprocessing.from_json(bad, "here")
    assert len(str(caught.value)) < 400


def test_messages_hold_no_control_characters() -> None:
    for bad in ({"\x1b[31m": 1}, {"fit": "\x1b[31m"}):
        with pytest.raises(ImageError) as caught:
            Preprocessing.from_json(bad, "here")
        assert "\x1b" not in str(caught.value)


# --- describe


def test_descriptions_of_the_presets() -> None:
    assert {name: preset.describe() for name, preset in PRESETS.items()} == {
        "imagenet": "RGB, centre crop of 87.5 %, (x/255 - [0.485 0.456 0.406]) / [0.229 0.224 0.225]",
        "caffe": "BGR, stretched, x - [103.9 116.8 123.7]",
        "inception": "RGB, centre crop of 87.5 %, (x/255 - [0.5]) / [0.5]",
        "unit": "RGB, centre crop of 87.5 %, x/255",
        "raw": "RGB, centre crop of 87.5 %, x",
        "yolo": "RGB, letterboxed, x/255",
    }


def test_description_of_other_numbers() -> None:
    assert Preprocessing(scale=2, std=(4,)).describe() == "RGB, centre crop of 87.5 %, (x/0.5) / [4]"


# --- changes


def test_what_is_only_written_otherwise_is_no_change() -> None:
    imagenet = PRESETS["imagenet"]
    pixels = Preprocessing(scale=1, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    assert imagenet.changes(pixels) == []
    turned = Preprocessing(colour="BGR", scale=1, mean=pixels.mean[::-1], std=pixels.std[::-1])
    assert imagenet.changes(turned) == ["colour was RGB and is BGR"]
    assert Preprocessing(mean=(0.5,)).changes(Preprocessing(mean=(0.5, 0.5, 0.5))) == []
    assert Preprocessing("stretch", 0.5).changes(Preprocessing("stretch", 1)) == []


def test_changes_are_told_in_pixels() -> None:
    wrong = Preprocessing("crop", 0.5, "BGR", mean=(0.2, 0.4, 0.6), std=(0.5,), size=(32, 48))
    assert Preprocessing("letterbox").changes(wrong) == [
        "fit was letterbox and is crop of 50 %",
        "colour was RGB and is BGR",
        "mean was 0 0 0 and is 153 102 51",
        "std was 255 255 255 and is 127.5 127.5 127.5",
        "size was any and is 32 x 48",
    ]

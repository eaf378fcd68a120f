"""How a picture becomes an array, where that is written down, and what malformed or hostile descriptions come to."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zfviz.errors import ImageError
from zfviz.images import preprocessing
from zfviz.images.preprocessing import PRESETS, Preprocessing, find_preprocessing

COLOUR = (200, 100, 50)
LUMA = 124  # 0.299 R + 0.587 G + 0.114 B, as Pillow rounds it
WHITE = (255, 255, 255)


def pixel(mode: str = "RGB", colour: Any = COLOUR) -> Image.Image:
    return Image.new(mode, (1, 1), colour)


def values(given: Preprocessing, picture: Image.Image, channels: int) -> list[float]:
    found = given.array(picture, channels)
    assert found.dtype == np.float32
    assert found.shape == (channels, 1, 1)
    return found.ravel().tolist()


def marked(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    """Black with one white box."""
    picture = Image.new("RGB", (width, height))
    picture.paste(WHITE, box)
    return picture


def marker_box(view: Image.Image) -> tuple[int, int, int, int]:
    """Where more than half of white is left, as (left, top, right, bottom)."""
    box = view.convert("L").point([0] * 128 + [255] * 128).getbbox()
    assert box is not None
    return box


def read(config: object, folder: Path) -> Preprocessing:
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    return find_preprocessing(None, {}, folder)


# --- array


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Preprocessing(scale=1), [200, 100, 50]),
        (Preprocessing(), [200 / 255, 100 / 255, 50 / 255]),
        (Preprocessing(scale=1, colour="BGR"), [50, 100, 200]),
        (Preprocessing(scale=1, mean=(1, 2, 3)), [199, 98, 47]),
        (Preprocessing(scale=1, mean=(1, 2, 3), colour="BGR"), [49, 98, 197]),
        (Preprocessing(scale=1, std=(2, 4, 5)), [100, 25, 10]),
        (Preprocessing(scale=1, std=(2, 4, 5), colour="BGR"), [25, 25, 40]),
        (Preprocessing(scale=0.5, mean=(10,), std=(2,)), [45, 20, 7.5]),
        (Preprocessing(scale=0.5, mean=(10, 20, 30), std=(2, 4, -1)), [45, 7.5, 5]),
    ],
)
def test_array_of_colour(given: Preprocessing, expected: list[float]) -> None:
    assert values(given, pixel(), 3) == pytest.approx(expected, rel=1e-6)


def test_presets_give_the_numbers_that_their_frameworks_give() -> None:
    expected = {
        "imagenet": [(200 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (50 / 255 - 0.406) / 0.225],
        "caffe": [50 - 103.939, 100 - 116.779, 200 - 123.68],
        "inception": [200 / 127.5 - 1, 100 / 127.5 - 1, 50 / 127.5 - 1],
        "unit": [200 / 255, 100 / 255, 50 / 255],
        "raw": [200, 100, 50],
        "yolo": [200 / 255, 100 / 255, 50 / 255],
    }
    assert expected.keys() == PRESETS.keys()
    for name, numbers in expected.items():
        assert values(PRESETS[name], pixel(), 3) == pytest.approx(numbers, rel=1e-5)


def test_array_repeats_grey_for_three_channels() -> None:
    assert values(Preprocessing(scale=1, mean=(1, 2, 3)), pixel("L", 77), 3) == [76, 75, 74]


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_array_mixes_colour_to_luma_for_one_channel(colour: Any) -> None:
    assert values(Preprocessing(scale=1, colour=colour), pixel(), 1) == [LUMA]
    assert values(Preprocessing(scale=1, colour=colour), pixel("L", 77), 1) == [77]


def test_array_averages_three_numbers_for_one_channel() -> None:
    assert values(Preprocessing(scale=1, mean=(1, 2, 6), std=(1, 2, 3)), pixel("L", 77), 1) == [37]


@pytest.mark.parametrize("channels", [0, 2, 4, 12])
def test_array_refuses_other_channels(channels: int) -> None:
    with pytest.raises(ImageError, match=rf"takes {channels} channels; a picture has 1 or 3"):
        Preprocessing().array(pixel(), channels)


@pytest.mark.parametrize("given", [Preprocessing(mean=(1, 2)), Preprocessing(std=(1, 2, 3, 4))])
def test_array_refuses_numbers_that_fit_no_channel(given: Preprocessing) -> None:
    with pytest.raises(ImageError, match=r"mean or std has (2|4) numbers; expected 1 or 3"):
        given.array(pixel(), 3)


def test_array_keeps_rows_and_columns() -> None:
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    found = Preprocessing(scale=1).array(picture, 3)
    assert found.flags.c_contiguous
    assert np.array_equal(found, np.arange(24).reshape(2, 4, 3).transpose(2, 0, 1))


# --- view


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("source", [(640, 480), (480, 640), (224, 224), (1, 1), (1000, 1), (1, 1000), (3, 7)])
@pytest.mark.parametrize("size", [(224, 224), (32, 100), (299, 151), (1, 1)])
@pytest.mark.parametrize(
    "given",
    [
        Preprocessing(),
        Preprocessing(crop=1),
        Preprocessing(crop=0.9999999999999999),
        Preprocessing(crop=1e-12),
        Preprocessing("stretch"),
        Preprocessing("letterbox"),
    ],
)
def test_view_has_exactly_the_size_and_mode(
    given: Preprocessing, size: tuple[int, int], source: tuple[int, int], mode: str
) -> None:
    view = given.view(Image.new(mode, source), *size)
    assert view.size == (size[1], size[0])
    assert view.mode == mode


def test_view_leaves_the_picture_alone() -> None:
    picture = marked(40, 20, (10, 5, 20, 10))
    before = picture.tobytes()
    for fit in ("crop", "stretch", "letterbox"):
        Preprocessing(fit).view(picture, 8, 8)
    assert picture.tobytes() == before


def test_stretch_fills_the_view_with_the_whole_picture() -> None:
    view = Preprocessing("stretch").view(marked(400, 200, (100, 50, 200, 150)), 100, 100)
    assert marker_box(view) == (25, 25, 50, 75)


@pytest.mark.parametrize(
    ("source", "box", "expected"),
    [
        # the middle 200x200 of each, halved
        ((400, 200), (160, 40, 240, 120), (30, 20, 70, 60)),
        ((200, 400), (40, 160, 120, 240), (20, 30, 60, 70)),
        ((400, 200), (100, 0, 300, 200), (0, 0, 100, 100)),
        ((200, 200), (20, 40, 60, 120), (10, 20, 30, 60)),
    ],
)
def test_whole_crop_is_centred_and_keeps_proportions(
    source: tuple[int, int], box: tuple[int, int, int, int], expected: tuple[int, int, int, int]
) -> None:
    assert marker_box(Preprocessing(crop=1).view(marked(*source, box), 100, 100)) == expected


def test_crop_takes_the_proportions_of_the_view() -> None:
    # of 400x400 a view of twice the width takes the middle 400x200
    view = Preprocessing(crop=1).view(marked(400, 400, (100, 120, 200, 200)), 100, 200)
    assert marker_box(view) == (50, 10, 100, 50)


def test_half_crop_shows_the_middle_half() -> None:
    view = Preprocessing(crop=0.5).view(marked(400, 200, (150, 50, 250, 150)), 100, 100)
    assert view.convert("L").getextrema()[1] == 255
    assert marker_box(view) == (0, 0, 100, 100)
    view = Preprocessing(crop=0.5).view(marked(400, 200, (170, 70, 190, 110)), 100, 100)
    assert marker_box(view) == (20, 20, 40, 60)


@pytest.mark.parametrize("source", [(450, 300), (300, 450), (256, 256), (512, 640)])
def test_default_crop_is_resize_to_256_then_centre_crop_of_224(photo_path: Path, source: tuple[int, int]) -> None:
    with Image.open(photo_path) as photo:
        picture = photo.convert("RGB").resize(source)
    # sources that scale to even sides: otherwise the usual crop lies half a pixel beside the centre
    factor = 256 / min(source)
    resized = picture.resize((round(source[0] * factor), round(source[1] * factor)), Image.Resampling.BICUBIC)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    usual = np.asarray(resized.crop((left, top, left + 224, top + 224)), float)
    found = np.asarray(Preprocessing().view(picture, 224, 224), float)
    # one way rounds between scaling and cropping, the other does not
    assert np.abs(found - usual).max() <= 2


def test_letterbox_centres_the_whole_picture_between_grey_bars() -> None:
    view = Preprocessing("letterbox").view(Image.new("RGB", (400, 200), WHITE), 100, 100)
    assert marker_box(view) == (0, 25, 100, 75)
    assert view.getpixel((0, 24)) == (114, 114, 114)
    assert view.getpixel((99, 75)) == (114, 114, 114)
    assert view.getpixel((0, 25)) == WHITE
    view = Preprocessing("letterbox").view(Image.new("L", (200, 400), 255), 100, 100)
    assert marker_box(view) == (25, 0, 75, 100)
    assert view.getpixel((24, 0)) == 114


def test_letterbox_keeps_proportions() -> None:
    view = Preprocessing("letterbox").view(marked(400, 200, (100, 40, 180, 120)), 100, 100)
    assert marker_box(view) == (25, 35, 45, 55)


def test_letterbox_of_the_same_proportions_has_no_bars() -> None:
    view = Preprocessing("letterbox").view(Image.new("RGB", (400, 200), WHITE), 50, 100)
    assert view.getcolors() == [(5000, WHITE)]


# --- JSON


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


# --- where it is found


def test_order_of_sources(tmp_path: Path) -> None:
    metadata = {"zfviz.preprocessing": '{"crop": 0.25}'}
    config = tmp_path / "preprocessor_config.json"
    config.write_text('{"do_normalize": false, "crop_pct": 0.75}')
    option = find_preprocessing({"crop": 0.5}, metadata, tmp_path)
    assert (option.crop, option.source) == (0.5, "options")
    found = find_preprocessing(None, metadata, tmp_path)
    assert (found.crop, found.source) == (0.25, "metadata zfviz.preprocessing")
    found = find_preprocessing(None, {"names": "[]"}, tmp_path)
    assert (found.crop, found.source) == (0.75, "preprocessor_config.json")
    config.unlink()
    assert find_preprocessing(None, {}, tmp_path) == replace(PRESETS["imagenet"], source="assumed")
    assert find_preprocessing(None, {}, None) == replace(PRESETS["imagenet"], source="assumed")


def test_a_folder_named_as_the_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").mkdir()
    assert find_preprocessing(None, {}, tmp_path).source == "assumed"


def test_a_preprocessing_is_taken_as_it_is() -> None:
    given = Preprocessing(crop=0.5, source="mine")
    assert find_preprocessing(given, {"zfviz.preprocessing": "broken"}, None) is given


@pytest.mark.parametrize("name", PRESETS)
def test_preset_by_name(name: str) -> None:
    assert find_preprocessing(name, {}, None) == replace(PRESETS[name], source=f"preset {name}")


def test_file_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('\ufeff{"fit": "stretch"}', encoding="utf-8")
    for option in (path, str(path)):
        assert find_preprocessing(option, {}, None) == Preprocessing("stretch", source="mine.json")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imagnet", "'imagnet' is neither a preset nor a file; nearest: imagenet"),
        ("yolov", "nearest: yolo"),
        ("nowhere.json", "known: imagenet, caffe, inception, unit, raw, yolo"),
        ("", "known: imagenet"),
        ("a\0b", "neither a preset nor a file"),
        ("x" * 5000, "neither a preset nor a file"),
    ],
)
def test_misspelt_preset_names_the_nearest(name: str, expected: str) -> None:
    with pytest.raises(ImageError, match=expected) as caught:
        find_preprocessing(name, {}, None)
    assert len(str(caught.value)) < 400


def test_folder_as_option(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="neither a preset nor a file"):
        find_preprocessing(tmp_path, {}, None)


def test_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.json"
    path.write_text("{}")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"mine\.json cannot be read \(Permission denied\)"):
        find_preprocessing(path, {}, None)


MALFORMED = ["", "{", "[]", "3", "null", '"text"', "[" * 100_000, '{"mean": ' * 100_000, "{'fit': 'crop'}", "\0"]


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_json_object(tmp_path: Path, text: str) -> None:
    with pytest.raises(ImageError, match=r"zfviz\.preprocessing is no JSON object"):
        find_preprocessing(None, {"zfviz.preprocessing": text}, None)
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ImageError, match=r"preprocessor_config\.json is no JSON object"):
        find_preprocessing(None, {}, tmp_path)
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ImageError, match=r"mine\.json is no JSON object"):
        find_preprocessing(tmp_path / "mine.json", {}, None)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_bytes(b'{"fit": "\xff\xfe"}')
    with pytest.raises(ImageError, match="is no JSON object"):
        find_preprocessing(None, {}, tmp_path)
    with pytest.raises(ImageError, match="fit is"):
        find_preprocessing(None, {"zfviz.preprocessing": '{"fit": "\ud800"}'}, None)


def test_nesting_that_json_still_reads_is_one_error_too() -> None:
    # between what the parser takes and what repr takes there must be no depth that escapes
    for depth in (10, 300, *range(850, 1000, 3)):
        text = '{"mean": ' + "[" * depth + "]" * depth + "}"
        with pytest.raises(ImageError):
            find_preprocessing(None, {"zfviz.preprocessing": text}, None)


def test_json_above_one_megabyte(tmp_path: Path) -> None:
    text = '{"crop": 0.5}'
    exactly = text + " " * (1_000_000 - len(text))
    path = tmp_path / "preprocessor_config.json"
    path.write_text(exactly)
    assert find_preprocessing(None, {}, tmp_path).crop == 0.5
    assert find_preprocessing(None, {"zfviz.preprocessing": exactly}, None).crop == 0.5
    path.write_text(exactly + " ")
    with pytest.raises(ImageError, match=r"preprocessor_config\.json has more than 1,000,000 bytes"):
        find_preprocessing(None, {}, tmp_path)
    with pytest.raises(ImageError, match=r"zfviz\.preprocessing has more than 1,000,000 bytes"):
        find_preprocessing(None, {"zfviz.preprocessing": exactly + " "}, None)


# --- Hugging Face


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            # ResNet, CLIP
            {
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
                "do_normalize": True,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
                "rescale_factor": 0.5,
            },
            Preprocessing("crop", 0.875, "RGB", 0.5, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224)),
        ),
        (
            # ViT
            {"size": {"height": 224, "width": 192}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3},
            Preprocessing("stretch", 1, mean=(0.5,) * 3, std=(0.25,) * 3, size=(224, 192)),
        ),
        ({"do_resize": True, "size": 224}, Preprocessing("stretch", 1, size=(224, 224))),
        ({"do_resize": True, "size": [224, 192]}, Preprocessing("stretch", 1, size=(224, 192))),
        (
            {"do_resize": True, "size": 256, "do_center_crop": True, "crop_size": 192},
            Preprocessing("crop", 0.75, size=(192, 192)),
        ),
        ({"do_resize": True, "size": 256, "crop_size": 192}, Preprocessing("stretch", 1, size=(256, 256))),
        ({"do_resize": True, "do_center_crop": True, "crop_size": 192}, Preprocessing("crop", 1, size=(192, 192))),
        ({"do_resize": True, "size": 192, "do_center_crop": True}, Preprocessing("stretch", 1, size=(192, 192))),
        (
            {"do_resize": True, "size": 192, "do_center_crop": True, "crop_size": 256},
            Preprocessing("crop", 1, size=(256, 256)),
        ),
        ({"do_resize": True, "size": {"shortest_edge": 256}}, Preprocessing("crop", 1, size=(256, 256))),
        (
            {"do_resize": True, "size": {"shortest_edge": 224}, "crop_pct": 0.95},
            Preprocessing("crop", 0.95, size=(224, 224)),
        ),
        ({"do_resize": True, "size": 224, "crop_pct": 0.9}, Preprocessing("crop", 0.9, size=(224, 224))),
        ({"do_resize": True, "crop_pct": None}, Preprocessing("stretch", 1)),
        ({"do_resize": True, "size": {"longest_edge": 224}}, Preprocessing("stretch", 1)),
        ({"do_rescale": False}, Preprocessing("stretch", 1, scale=1.0)),
        ({"do_rescale": False, "rescale_factor": 0.5}, Preprocessing("stretch", 1, scale=1.0)),
        ({"do_rescale": True}, Preprocessing("stretch", 1, scale=1 / 255)),
        ({"do_normalize": False, "image_mean": [0.5], "image_std": [0.5]}, Preprocessing("stretch", 1)),
        ({"do_normalize": False, "image_mean": None, "image_std": None}, Preprocessing("stretch", 1)),
        ({"image_processor_type": "ViTImageProcessor", "resample": 3}, Preprocessing("stretch", 1)),
    ],
)
def test_hugging_face(tmp_path: Path, config: dict[str, Any], expected: Preprocessing) -> None:
    assert read(config, tmp_path) == replace(expected, source="preprocessor_config.json")
    assert find_preprocessing(config, {}, None) == expected


@pytest.mark.parametrize("key", ["size", "crop_size"])
@pytest.mark.parametrize(
    "bad",
    [
        "224",
        0,
        -1,
        2.5,
        True,
        10**400,
        [],
        [224],
        ["a", "b"],
        {"height": "a", "width": "b"},
        {"height": None, "width": 224},
        {"height": 0, "width": 0},
        {"height": [1], "width": {}},
        {"shortest_edge": "224"},
        {"shortest_edge": 0},
        {"shortest_edge": None},
        {"shortest_edge": [256]},
    ],
)
def test_hugging_face_sizes_that_are_malformed(tmp_path: Path, key: str, bad: object) -> None:
    config = {"do_resize": True, "do_center_crop": True, "size": 256, "crop_size": 224, key: bad}
    with pytest.raises(ImageError, match=rf"preprocessor_config\.json: {key} is .*expected \[height, width\]"):
        read(config, tmp_path)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"do_resize": True, "image_mean": "0.5"}, "mean"),
        ({"do_resize": True, "image_mean": {"r": 1}}, "mean"),
        ({"do_resize": True, "image_mean": [[0.5]]}, "mean"),
        ({"do_resize": True, "image_std": [0, 0, 0]}, "std"),
        ({"do_resize": True, "image_std": 1}, "std"),
        ({"do_resize": True, "rescale_factor": "1/255"}, "scale"),
        ({"do_resize": True, "rescale_factor": None}, "scale"),
        ({"do_resize": True, "rescale_factor": 0}, "scale"),
        ({"do_resize": True, "crop_pct": "0.9"}, "crop"),
        ({"do_resize": True, "crop_pct": 2}, "crop"),
        ({"do_resize": True, "crop_pct": [0.9]}, "crop"),
    ],
)
def test_hugging_face_values_that_are_malformed(tmp_path: Path, config: dict[str, Any], key: str) -> None:
    with pytest.raises(ImageError, match=rf"preprocessor_config\.json: {key} is "):
        read(config, tmp_path)


def test_the_file_of_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"preprocessor_config\.json: unknown key 'sampling_rate'"):
        read({"sampling_rate": 16_000}, tmp_path)


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


@pytest.mark.parametrize("key", ["rescale_offset", "include_top"])
def test_hugging_face_keys_that_change_the_numbers_are_refused_not_ignored(key: str) -> None:
    with pytest.raises(ImageError, match=key):
        find_preprocessing({"do_normalize": True, "size": 224, key: True}, {}, None)


def test_hugging_face_channel_flip_is_bgr() -> None:
    assert find_preprocessing({"do_normalize": False, "do_flip_channel_order": True}, {}, None).colour == "BGR"


def test_convnext_crops_small_sizes_only() -> None:
    small, large = (
        find_preprocessing({"do_normalize": True, "crop_pct": 0.875, "size": {"shortest_edge": s}}, {}, None)
        for s in (224, 384)
    )
    assert (small.crop, large.crop) == (0.875, 1.0)

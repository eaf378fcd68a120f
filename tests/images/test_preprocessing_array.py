"""How a picture becomes an array: cut or fitted to a size, in the numbers that a network takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zfviz.errors import ImageError
from zfviz.images.preprocessing import PRESETS, Preprocessing

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

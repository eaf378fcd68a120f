"""Every kind of picture as a person sees it."""

from pathlib import Path

import numpy as np
import pytest
from pictures import BLUE, GREEN, RED, pixels, quarters
from PIL import Image

from zfviz.errors import ImageError
from zfviz.images.decoding import decode


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    # what a camera stores so that the viewer, who undoes it, sees `quarters`
    stored_by = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    seen = quarters()
    stored = seen.transpose(stored_by[orientation]) if orientation in stored_by else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("p.png", "p.jpg", "p.tiff"):
        stored.save(tmp_path / name, exif=exif, **({"quality": 100, "subsampling": 0} if name == "p.jpg" else {}))
        found = decode(tmp_path / name)
        assert found.size == seen.size
        assert found.mode == "RGB"
        assert np.abs(np.asarray(found, int) - np.asarray(seen, int)).max() <= (4 if name == "p.jpg" else 0)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0no TIFF at all",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x05\0\0\0\x09\0\0\0",
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_malformed_exif_is_passed_over(tmp_path: Path, exif: bytes) -> None:
    path = tmp_path / "p.jpg"
    quarters().save(path, exif=exif)
    assert decode(path).size == (32, 16)


def test_a_string_path_is_read_too(tmp_path: Path) -> None:
    quarters().save(tmp_path / "p.png")
    assert pixels(decode(str(tmp_path / "p.png"))) == pixels(quarters())


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    quarters().save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert pixels(decode(path)) == pixels(quarters())


def test_palette_becomes_its_colours(tmp_path: Path) -> None:
    quarters().convert("P", palette=Image.Palette.ADAPTIVE, colors=4).save(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as opened:
        assert opened.mode == "P"
    found = decode(tmp_path / "p.png")
    assert found.mode == "RGB"
    assert pixels(found) == pixels(quarters())


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([*RED, *BLUE])
    picture.putdata([0, 1])
    for suffix in ("png", "gif"):
        picture.save(tmp_path / f"p.{suffix}", transparency=0)
        found = decode(tmp_path / f"p.{suffix}")
        assert found.mode == "RGB"
        assert pixels(found) == [[[255, 255, 255], [0, 0, 255]]]


def test_half_transparent_palette_entry_is_mixed_with_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([*RED, *BLUE])
    picture.putdata([0, 1])
    picture.save(tmp_path / "p.png", transparency=bytes([51, 255]))
    assert pixels(decode(tmp_path / "p.png")) == [[[255, 204, 204], [0, 0, 255]]]


def test_colour_marked_as_transparent_is_white(tmp_path: Path) -> None:
    quarters().save(tmp_path / "p.png", transparency=GREEN)
    found = decode(tmp_path / "p.png")
    assert found.getpixel((31, 0)) == (255, 255, 255)
    assert found.getpixel((0, 0)) == RED


def test_rgba_is_laid_on_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (3, 1))
    picture.putdata([(255, 0, 0, 0), (0, 0, 0, 51), (10, 20, 30, 255)])
    picture.save(tmp_path / "p.png")
    found = decode(tmp_path / "p.png")
    assert found.mode == "RGB"
    assert pixels(found) == [[[255, 255, 255], [204, 204, 204], [10, 20, 30]]]


def test_transparent_grey_is_laid_on_white_and_stays_grey(tmp_path: Path) -> None:
    picture = Image.new("LA", (3, 1))
    picture.putdata([(7, 0), (0, 51), (77, 255)])
    picture.save(tmp_path / "p.png")
    found = decode(tmp_path / "p.png")
    assert found.mode == "L"
    assert pixels(found) == [[255, 204, 77]]


def test_grey_marked_as_transparent_is_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[7, 77]], np.uint8)).save(tmp_path / "p.png", transparency=7)
    found = decode(tmp_path / "p.png")
    assert found.mode == "L"
    assert pixels(found) == [[255, 77]]


def test_grey_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 7, 255]], np.uint8)).save(tmp_path / "p.png")
    found = decode(tmp_path / "p.png")
    assert found.mode == "L"
    assert pixels(found) == [[0, 7, 255]]


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False, True]])).save(tmp_path / "p.png")
    found = decode(tmp_path / "p.png")
    assert found.mode == "L"
    assert pixels(found) == [[255, 0, 255]]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    inks = {"C": (255, 0, 0, 0), "paper": (0, 0, 0, 0), "K": (0, 0, 0, 255)}
    picture = Image.new("CMYK", (24, 8))
    for place, ink in enumerate(inks.values()):
        picture.paste(ink, (8 * place, 0, 8 * place + 8, 8))
    for suffix, options in (("tiff", {}), ("jpg", {"quality": 100, "subsampling": 0})):
        picture.save(tmp_path / f"p.{suffix}", **options)
        found = decode(tmp_path / f"p.{suffix}")
        assert found.mode == "RGB"
        for place, colour in enumerate([(0, 255, 255), (255, 255, 255), (0, 0, 0)]):
            assert np.abs(np.subtract(found.getpixel((8 * place + 4, 4)), colour)).max() <= 2


def test_sixteen_bit_grey_is_scaled_exactly(tmp_path: Path) -> None:
    # white has to stay 255: a shift by 8 bits, or a division by 256, would round these otherwise
    values = np.array([[0, 128, 129, 256, 257, 385, 386, 32_768, 65_406, 65_407, 65_535]], np.uint16)
    expected = [[0, 0, 1, 1, 1, 1, 2, 128, 254, 255, 255]]
    for suffix in ("png", "tiff"):
        Image.fromarray(values).save(tmp_path / f"p.{suffix}")
        with Image.open(tmp_path / f"p.{suffix}") as opened:
            assert opened.mode in ("I;16", "I")  # older Pillows read such a PNG as "I"
        found = decode(tmp_path / f"p.{suffix}")
        assert found.mode == "L"
        assert pixels(found) == expected
    big_endian = Image.frombytes("I;16B", (11, 1), values.astype(">u2").tobytes())
    assert pixels(decode(big_endian)) == expected


def test_sixteen_bit_grey_is_turned_by_its_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.array([[0, 65_535]], np.uint16)).save(tmp_path / "p.png", exif=exif)
    assert pixels(decode(tmp_path / "p.png")) == [[0], [255]]


def test_thirty_two_bit_integers_are_taken_as_sixteen(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65_535]], np.int32)).save(tmp_path / "p.tiff")
    with Image.open(tmp_path / "p.tiff") as opened:
        assert opened.mode == "I"
    found = decode(tmp_path / "p.tiff")
    assert found.mode == "L"
    assert pixels(found) == [[0, 100, 255]]


@pytest.mark.parametrize("value", [-1, 65_536])
def test_integers_beyond_sixteen_bits_are_refused(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.array([[7, value]], np.int32)).save(tmp_path / "p.tiff")
    with pytest.raises(ImageError, match=rf"p\.tiff holds grey values .*{value}.*; expected 0\.\.65535"):
        decode(tmp_path / "p.tiff")


def test_sixteen_bit_grey_marked_as_transparent_is_white() -> None:
    picture = Image.fromarray(np.array([[257, 514]], np.uint16))
    picture.info["transparency"] = 257
    assert pixels(decode(picture)) == [[255, 2]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.2, 1.0], [0, 51, 255]), ([0.0, 51.0, 254.6], [0, 51, 255]), ([0.0, 1.5, 1.4], [0, 2, 1])],
)
def test_floats_are_taken_as_0_to_1_or_as_0_to_255(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "p.tiff")
    found = decode(tmp_path / "p.tiff")
    assert found.mode == "L"
    assert pixels(found) == [expected]


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 256.0])
def test_floats_outside_those_ranges_are_refused(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.array([[0.0, value]], np.float32)).save(tmp_path / "p.tiff")
    with pytest.raises(ImageError, match=r"p\.tiff holds grey values .*; expected 0\.\.1 or 0\.\.255"):
        decode(tmp_path / "p.tiff")


@pytest.mark.parametrize("suffix", ["gif", "png", "tiff", "webp"])
def test_of_several_frames_the_first_is_taken(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 4), colour) for colour in (RED, GREEN, BLUE)]
    path = tmp_path / f"p.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], **({"lossless": True} if suffix == "webp" else {}))
    with Image.open(path) as opened:
        assert getattr(opened, "n_frames", 1) == 3
    found = decode(path)
    assert found.mode == "RGB"
    assert found.getcolors() == [(32, RED)]


def test_a_picture_passed_directly_is_decoded_and_left_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    quarters().save(tmp_path / "p.png", exif=exif)
    with Image.open(tmp_path / "p.png") as given:
        found = decode(given)
        assert pixels(found) == pixels(quarters().transpose(Image.Transpose.ROTATE_180))
        assert pixels(given) == pixels(quarters())
        assert given.getexif()[0x0112] == 3


def test_a_picture_passed_directly_is_copied() -> None:
    given = quarters()
    found = decode(given)
    found.paste((1, 2, 3), (0, 0, 32, 16))
    assert pixels(given) == pixels(quarters())


def test_a_picture_of_several_frames_gives_the_one_it_stands_at(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 4), colour) for colour in (RED, GREEN)]
    frames[0].save(tmp_path / "p.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "p.gif") as given:
        given.seek(1)
        assert decode(given).getcolors() == [(32, GREEN)]


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "RGBX", "La", "LA", "PA", "P", "1", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_every_mode_of_pillow(mode: str) -> None:
    assert decode(Image.new(mode, (3, 2))).mode == ("L" if mode in ("La", "LA", "1", "I", "F") else "RGB")


def test_the_jpeg_of_many_phones_holds_several_pictures(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 8), colour) for colour in (RED, GREEN)]
    frames[0].save(tmp_path / "p.jpg", "MPO", save_all=True, append_images=frames[1:], quality=100)
    with Image.open(tmp_path / "p.jpg") as opened:
        assert opened.format == "MPO"
    assert np.abs(np.asarray(decode(tmp_path / "p.jpg"), int) - RED).max() <= 2

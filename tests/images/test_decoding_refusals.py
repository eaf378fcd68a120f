"""Every broken, hostile or huge file as one error."""

import io
import struct
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import quarters
from PIL import Image

from zfviz.errors import ImageError
from zfviz.images import decoding
from zfviz.images.decoding import decode


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kept", [0.5, 0.9])
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tiff", "webp"])
def test_truncated_file(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"p.{suffix}"
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(ImageError, match=rf"p\.{suffix} "):
        decode(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tiff", "webp", "ppm"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_file_is_a_picture_or_one_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    quarters().save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(2)
    refused = 0
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 200), 3):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            assert decode(path).mode in ("RGB", "L")
        except ImageError:
            refused += 1
    assert refused


def test_truncated_picture_that_was_opened_by_the_caller(tmp_path: Path) -> None:
    data = io.BytesIO()
    quarters(256, 256).save(data, "JPEG")
    opened = Image.open(io.BytesIO(data.getvalue()[:-200]))
    with pytest.raises(ImageError, match="the picture cannot be decoded"):
        decode(opened)


@pytest.mark.parametrize("data", [b"", b"only text\n" * 100, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_picture(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"p\.png is no picture that can be read; expected one of PNG, JPEG"):
        decode(path)


def test_formats_that_start_another_program_are_not_opened(tmp_path: Path) -> None:
    # Pillow hands PostScript to Ghostscript
    path = tmp_path / "p.png"
    quarters().save(path, "EPS")
    with Image.open(path) as opened:
        assert opened.format == "EPS"
    with pytest.raises(ImageError, match="is no picture that can be read"):
        decode(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist; .* check the path"):
        decode(tmp_path / "nowhere.png")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder; expected a picture"):
        decode(tmp_path)


def test_path_with_a_null_character() -> None:
    with pytest.raises(ImageError, match="does not exist"):
        decode("a\0b.png")


@pytest.mark.parametrize(("side", "found"), [(10_000, "10000x10000"), (20_000, "400000000 pixels")])
def test_a_huge_claim_is_refused_before_it_is_decoded(tmp_path: Path, side: int, found: str) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(png_header(side, side))
    tracemalloc.start()
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=rf"p\.png is too large .*{found}.*expected at most 89,478,485 pixels"):
            decode(path)
    assert time.perf_counter() - started < 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_huge_claim_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Pillow allocates pixels outside what tracemalloc sees
    def load(_: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    (tmp_path / "p.png").write_bytes(png_header(10_000, 10_000))
    with pytest.raises(ImageError, match="too large"):
        decode(tmp_path / "p.png")


def test_the_limit_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 32 * 16)
    quarters().save(tmp_path / "p.png")
    assert decode(tmp_path / "p.png").size == (32, 16)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 32 * 16 - 1)
    with pytest.raises(ImageError, match=r"is too large \(32x16\)"):
        decode(tmp_path / "p.png")
    with pytest.raises(ImageError, match=r"the picture is too large \(32x16\)"):
        decode(quarters())


def test_a_picture_without_pixels() -> None:
    with pytest.raises(ImageError, match=r"the picture is empty \(0x5\); expected at least one pixel"):
        decode(Image.new("RGB", (0, 5)))

"""Picture files, whatever their kind, as plain 8-bit pictures."""

import os
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zfviz.errors import ImageError

MAX_PIXELS = 89_478_485
"""Pictures above this are refused: Pillow's own limit, a quarter of a GiB in RGB."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""What is opened, as Pillow names it: nothing that starts a program (EPS) or is a container of other things.
"JPEG" also opens MPO, the JPEG of many phones; WEBP and AVIF only where Pillow was built with them."""

_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", "F", *_SIXTEEN_BIT)


def decode(image: str | os.PathLike[str] | Image.Image) -> Image.Image:
    """Return `image`, a file or a picture, as a new upright 8-bit picture of mode "RGB", or "L" if its source is grey.

    EXIF orientation is applied; an orientation that cannot be read is ignored. Whatever is transparent is laid on
    white. 16-bit grey (modes "I;16" and "I") is divided by 257. Float grey ("F") is taken as 0..1 if nothing in it is
    above 1, else as 0..255. Colour profiles are ignored, as training pipelines do. Of several frames a file gives its
    first, a picture the one it stands at.

    Raises:
        ImageError: no such file, not a picture of one of `FORMATS`, damaged, empty, above `MAX_PIXELS` (known from
            the header, before anything is decoded), or grey values outside the ranges above.
    """
    if isinstance(image, Image.Image):
        return _upright_8bit(image, "the picture")
    path = Path(image)
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
        remedy = f"name the pictures in it, such as {path}/*.jpg" if path.is_dir() else "check the path"
        raise ImageError(f"{path} {found}; expected a picture file; {remedy}")
    with _open(path) as picture:
        return _upright_8bit(picture, str(path))


def find_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder and of the folders in it, by their file names, in the order of their paths.

    Raises ImageError for a folder that is not there or holds none.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is no folder; expected one with pictures in it; check the path")
    Image.init()
    suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if not found:
        raise ImageError(f"{folder} holds no picture; expected files that end in {', '.join(sorted(suffixes))}")
    return found


def _open(path: Path) -> Image.Image:
    Image.init()  # older Pillows fail with KeyError on a format that they were built without
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_check_size` refuses those
            return Image.open(path, formats=formats)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} is too large ({error}); expected at most {MAX_PIXELS:,} pixels; scale it down first"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is no picture that can be read; expected one of {', '.join(formats)}; convert it to PNG first"
        ) from error
    except Exception as error:
        raise _damaged(str(path), error) from error


def _upright_8bit(picture: Image.Image, name: str) -> Image.Image:
    _check_size(picture, name)
    # Pillow's decoders meet hostile files with almost any exception: OSError, ValueError, struct.error, zlib.error ...
    try:
        picture.load()
        plain = _plain(_grey8(picture, name) if picture.mode in ("F", *_SIXTEEN_BIT) else picture)
    except ImageError:
        raise
    except Exception as error:
        raise _damaged(name, error) from error
    with suppress(Exception):
        plain.info = {key: picture.info[key] for key in ("exif", "xmp", "XML:com.adobe.xmp") if key in picture.info}
        plain = ImageOps.exif_transpose(plain)
    plain.info = {}
    return plain


def _check_size(picture: Image.Image, name: str) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise ImageError(f"{name} is empty ({width}x{height}); expected at least one pixel; export it again")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} is too large ({width}x{height}); expected at most {MAX_PIXELS:,} pixels; scale it down first"
        )


def _damaged(name: str, error: Exception) -> ImageError:
    reason = str(error) or type(error).__name__
    return ImageError(f"{name} cannot be decoded ({reason}); expected a complete picture; export or download it again")


def _plain(picture: Image.Image) -> Image.Image:
    """Return an 8-bit picture of any mode as "L" or "RGB", laid on white if it is transparent."""
    mode = "L" if picture.mode in _GREY else "RGB"
    if not picture.has_transparency_data:
        return picture.convert(mode)
    if picture.mode == "La":
        picture = picture.convert("LA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA")).convert(mode)


def _grey8(picture: Image.Image, name: str) -> Image.Image:
    """Return 16-bit or float grey as "L"."""
    values = np.asarray(picture, dtype=np.float32)  # exact up to 2^24
    low, high = float(values.min()), float(values.max())
    limit = 255 if picture.mode == "F" else 65535
    if not (low >= 0 and high <= limit):  # also refuses NaN
        expected = "0..1 or 0..255" if picture.mode == "F" else "0..65535"
        raise ImageError(
            f"{name} holds grey values {low:g}..{high:g}; expected {expected}; scale them, or save it with 8 bits"
        )
    if picture.mode == "F":
        values = values * (255 if high <= 1 else 1)
    else:
        key = picture.info.get("transparency")  # the 16-bit value that a PNG declares transparent
        values = np.where(values == key, np.float32(65535), values) / 257 if isinstance(key, int) else values / 257
    return Image.fromarray(np.rint(values).astype(np.uint8))

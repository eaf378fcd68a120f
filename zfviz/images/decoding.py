"""Decoding: from a picture file, or a PIL image, to 8-bit RGB or grey as a person sees it."""

import os
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zfviz.errors import ImageError

MAX_PIXELS = 89_478_485
"""Pillow's own limit against decompression bombs; a larger picture is refused before it is decoded."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""What is opened: still pictures that Pillow decodes itself, without starting another program."""


def decode(image: str | os.PathLike[str] | Image.Image) -> Image.Image:
    """An 8-bit picture of mode "RGB", or "L" where the source is grey.

    The EXIF orientation is applied, transparency is laid on white, 16-bit and floating-point greys are scaled to 8 bit
    (floats from their own minimum and maximum), and of several frames the first is taken.
    Raises ImageError: no such file, not a picture, truncated, or above MAX_PIXELS.
    """
    if isinstance(image, Image.Image):
        return _flatten(image, "the image")
    name = os.fspath(image)
    with warnings.catch_warnings():
        # Pillow only warns between its limit and twice as much; the size is checked below
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(name, formats=[f for f in FORMATS if f in _known_formats()]) as opened:
                _check_size(opened, name)
                return _flatten(opened, name)
        except Image.DecompressionBombError:
            raise ImageError(_too_large(name, "")) from None
        except FileNotFoundError:
            raise ImageError(f"no file at {name}; expected a picture. Check the path.") from None
        except UnidentifiedImageError:
            raise ImageError(f"{name} is no picture; expected one of {', '.join(FORMATS)}.") from None
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise ImageError(
                f"{name} cannot be read as a picture ({error}); expected a whole file. Is it truncated? Copy it again."
            ) from None


def _known_formats() -> set[str]:
    Image.init()
    return set(Image.OPEN)


def _check_size(picture: Image.Image, name: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(name, f" of {width}x{height}"))


def _too_large(name: str, size: str) -> str:
    limit = MAX_PIXELS // 1_000_000
    return f"{name} is a picture{size} pixels, too large; expected at most {limit} megapixels. Scale it down first."


def _flatten(picture: Image.Image, name: str) -> Image.Image:
    _check_size(picture, name)
    if 0 in picture.size:
        raise ImageError(f"{name} has no pixels; expected at least one.")
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _eight_bit(picture, name)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("L" if picture.mode in ("L", "1") else "RGB")


def _eight_bit(picture: Image.Image, name: str) -> Image.Image:
    """A grey picture of more than 8 bits, scaled to 8: integers from 16 bits, floats from their own range."""
    values = np.asarray(picture, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ImageError(f"{name} has pixels that are NaN or infinite; expected finite numbers.")
    if picture.mode == "F":
        low, span = values.min(), values.max() - values.min()
        values = (values - low) * (255 / span) if span else np.zeros_like(values)
    else:
        values = values / 257
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))

"""Arrays to pictures: one place decides how a projection looks."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zfviz.errors import ImageError

Colour = Literal["RGB", "BGR"]
GREY = 128  # what zero looks like


def display_scale(pixels: NDArray[np.floating[Any]]) -> float:
    """The magnitude that is drawn as full black or white: the 99th percentile of |pixels|, 0.0 where all is zero.

    So few pixels are non-zero in some projections that the percentile is 0: then it is the maximum.
    Raises ValueError where a value is not finite.
    """
    magnitude = np.abs(_finite(pixels))
    if magnitude.size == 0:
        return 0.0
    return float(np.percentile(magnitude, 99)) or float(magnitude.max())


def render(pixels: NDArray[np.floating[Any]], scale: float, colour: Colour = "RGB") -> Image.Image:
    """An RGB picture of a projection [C, H, W]: zero is grey 128, +scale is 255, -scale is 1, and beyond is clipped.

    Three channels are taken in the order `colour`; any other number is shown as the grey of their mean.
    Raises ValueError where a value is not finite, or scale is negative or not finite.
    """
    if not (np.isfinite(scale) and scale >= 0):
        raise ValueError(f"scale is {scale}; expected a finite number, 0 or above")
    signed = _channels(_finite(pixels), colour)
    # clipped before the division: a tiny scale would overflow
    signed = np.clip(signed, -scale, scale) / scale if scale > 0 else np.zeros_like(signed)
    return _picture(GREY + (255 - GREY) * signed)


def picture_of(array: NDArray[Any], colour: Colour = "RGB") -> Image.Image:
    """An RGB picture of an input array [C, H, W], any number type: its minimum is black, its maximum is white.

    For inputs that came as numbers and have no picture; a constant array is grey.
    Raises ImageError where a value is not finite.
    """
    try:
        finite = _finite(array)
    except ValueError as error:
        raise ImageError(f"the input array cannot be drawn: {error}; pass finite numbers") from None
    values = _channels(finite, colour)
    low, high = values.min(), values.max()
    return _picture(255 * (values - low) / (high - low) if high > low else np.full_like(values, GREY))


def _finite(array: NDArray[Any]) -> NDArray[np.float64]:
    """The same values as float64; raises ValueError where one is not finite."""
    values = np.asarray(array, dtype=np.float64)
    wrong = values.size - int(np.isfinite(values).sum())
    if wrong:
        raise ValueError(f"{wrong} of {values.size} values are NaN or infinite")
    return values


def _channels(array: NDArray[np.float64], colour: Colour) -> NDArray[np.float64]:
    """What is drawn red, green and blue [3, H, W] of an array [C, H, W]."""
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"the array has shape {list(array.shape)}; expected [C, H, W], none of them 0")
    if len(array) != 3:
        return np.repeat(array.mean(axis=0, keepdims=True), 3, axis=0)
    return array[::-1] if colour == "BGR" else array


def _picture(levels: NDArray[np.float64]) -> Image.Image:
    """The RGB picture of levels [3, H, W], 0 to 255."""
    return Image.fromarray(np.ascontiguousarray(np.rint(levels).astype(np.uint8).transpose(1, 2, 0)))

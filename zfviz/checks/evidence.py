"""Evidence: what a check is about, counted and listed in a sentence; filters, drawn."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from zfviz.checks.kernels import Kernels, spectra_of
from zfviz.report.lettering import font, shorten
from zfviz.report.pixels import Colour, display_scale, picture_of, render

LISTED = 8
"""How many channels a sentence names, and a picture shows."""

_CELL, _GAP, _SMALL = 96, 10, 13
_INK, _KEPT = "#1a1a1a", "#d62728"
_SPECTRUM = 32  # frequencies along each axis; filters are padded to so many


def listed(things: Sequence[object]) -> str:
    """ "4, 17, 80", the first few, and how many more there are."""
    rest = len(things) - LISTED
    return ", ".join(map(str, things[:LISTED])) + (f" and {rest} more" if rest > 0 else "")


def counted(number: int, things: int, noun: str) -> str:
    """ "3 of 96 filters are", "1 of 96 filters is"."""
    return f"{number} of {things} {noun} {'is' if number == 1 else 'are'}"


def numbered(count: int, noun: str) -> str:
    """ "1 filter", "1,200 filters"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def pictured(
    kernels: Kernels,
    channels: Sequence[int],
    captions: Sequence[str],
    colour: Colour = "RGB",
    together: bool = True,
    stride: tuple[int, ...] | None = None,
) -> partial[Image.Image] | None:
    """What draws the first few of these filters, or None where they are no pictures: dense, or single pixels."""
    if not (kernels.is_map and max(kernels.values.shape[2:]) > 1 and channels):
        return None
    shown = tuple(channels[:LISTED])
    return partial(draw_filters, kernels, shown, tuple(captions[:LISTED]), colour, together, stride)


def draw_filters(
    kernels: Kernels,
    channels: Sequence[int],
    captions: Sequence[str],
    colour: Colour = "RGB",
    together: bool = True,
    stride: tuple[int, ...] | None = None,
) -> Image.Image:
    """Filters side by side, an RGB picture: grey is zero; of other than three channels, the strongest is shown.

    `together` scales them by the layer's largest weight, so that a weak one looks weak, else each to its own. With a
    `stride`, each has its spectrum below, zero in the middle, and a frame around what a map of that stride can hold.
    """
    filters = kernels.values[list(channels)].astype(np.float64)
    size = max(filters.shape[2:])
    height, width = (max(1, round(_CELL * side / size)) for side in filters.shape[2:])
    rows = height + (_GAP + _CELL) * (stride is not None)
    columns = _CELL + _GAP
    sheet = Image.new("RGB", (_GAP + len(channels) * columns, rows + _SMALL + 3 * _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    magnitudes = np.abs(kernels.values)
    largest = float(magnitudes.max(initial=0.0, where=np.isfinite(magnitudes)))
    for place, (pixels, caption) in enumerate(zip(filters, captions, strict=True)):
        x = _GAP + place * columns
        planes = pixels if len(pixels) == 3 else pixels[[(pixels**2).sum(axis=(1, 2)).argmax()]]
        tile = render(planes, largest if together else display_scale(planes), colour)
        sheet.paste(tile.resize((width, height), Image.Resampling.NEAREST), (x, _GAP))
        if stride is not None:
            y = 2 * _GAP + height
            sheet.paste(_spectrum(pixels, kernels.dilations), (x, y))
            up, left = (round(_CELL / 2 * (1 - 1 / step)) for step in stride)
            if max(stride) > 1:
                pen.rectangle((x + left, y + up, x + _CELL - 1 - left, y + _CELL - 1 - up), outline=_KEPT)
        pen.text(
            (x, rows + 2 * _GAP + _SMALL - 2),
            shorten(caption, _SMALL, _CELL),
            fill=_INK,
            font=font(_SMALL),
            anchor="ls",
        )
    return sheet


def _spectrum(pixels: np.ndarray, dilations: tuple[int, ...]) -> Image.Image:
    """The amplitudes of a filter's frequencies, black to white, as a square cell."""
    side = max(_SPECTRUM, *pixels.shape[1:])
    power = (np.abs(spectra_of(pixels, dilations, side)) ** 2).sum(axis=0)
    amplitude = np.fft.fftshift(np.sqrt(power))[None]
    return picture_of(amplitude).resize((_CELL, _CELL), Image.Resampling.NEAREST)

"""The contact sheet: an image, and what its strongest units saw in it, set like a figure of the paper."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zfviz.errors import OutputError
from zfviz.report.fields import TAG_HEIGHT, Box, Mark, busiest, fitted, inside, outline, place, tag, view_of
from zfviz.report.lettering import font, length, shorten, wrap
from zfviz.report.pixels import GREY, Colour, display_scale, render

COLUMNS = 9  # cells on a line; a row with more goes on below
LARGEST = 200_000_000  # pixels of a whole sheet
SHARE = 0.98  # of a projection's energy, where the field is the whole image

_MARGIN, _GAP, _GUTTER, _SEAM, _FRAME = 40, 14, 30, 5, 2
_CELL = 140
_ORIGINAL = 2 * _CELL + _SEAM  # as tall as a projection and the patch below it
_NARROWEST = 3  # columns: a title needs room, even over a single cell
_LARGE, _MEDIUM, _SMALL = 24, 18, 15
_INK, _SOFT, _RULE, _WARNING = "#1a1a1a", "#6b6b6b", "#d9d9d9", "#a01515"
_ZERO, _OUTSIDE = f"#{GREY:02x}{GREY:02x}{GREY:02x}", "#efefef"  # a projection is zero outside the image
# told apart from each other and from the grey of zero; white numbers are legible on all of them
_COLOURS = ("#d62728", "#1f5fd0", "#2a8f2a", "#e87500", "#8e5fc0", "#0f9aa8", "#d84fa5", "#101010", "#94920c")
_NOTE = (
    "Top: projection, scaled to the 99th percentile of its own magnitudes, grey is zero. "
    "Bottom: the same field in the image. Below: channel (y, x), activation. Left: where the fields lie. "
    f"Where a field holds the whole image, what is shown and outlined holds {SHARE:.0%} of the projection's energy."
)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One unit's projection and what is said of it.

    `pixels` is float [C, H, W], as large as the image. `box` is the receptive field in image pixels (top, left,
    bottom, right); it may stick out over the border, and None is the whole image. Where it holds the whole image, a
    `local` unit is shown where its projection lies. `dead`: the activation is 0, so there is nothing to project.
    """

    pixels: NDArray[np.floating[Any]]
    box: Box | None
    caption: tuple[str, ...]
    dead: bool = False
    local: bool = False

    def shown(self) -> Box | None:
        """What is cut out of projection and image, and outlined."""
        height, width = self.pixels.shape[1:]
        whole = view_of(self.box, height, width) == (0, 0, height, width)
        return busiest(self.pixels, SHARE) if self.local and whole and self.pixels.any() else self.box


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One layer: its title (the name, two spaces, the rest) and its units, strongest first."""

    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class _Strip:
    """A full-width part of the sheet: how many pixels it is high, and how to draw it from a given y downwards."""

    height: int
    draw: Callable[[Image.Image, int], None]


def draw_sheet(
    picture: Image.Image,
    rows: Sequence[Row],
    header: Sequence[str],
    warnings: Sequence[str] = (),
    colour: Colour = "RGB",
) -> Image.Image:
    """The contact sheet as an RGB picture, 843 to 1767 pixels wide.

    `picture` is the image as the net saw it; every cell's pixels have its height and width, channels in the order
    `colour`. Each projection is cut to its receptive field, and scaled to its own 99th percentile in there.
    Raises OutputError above 200 megapixels, ValueError where a cell does not fit the picture or is not finite.
    """
    columns = max(_NARROWEST, min(COLUMNS, max((len(row.cells) for row in rows), default=0)))
    width = 2 * _MARGIN + _ORIGINAL + _GUTTER + columns * (_CELL + _GAP) - _GAP
    room = width - 2 * _MARGIN
    strips = [_gap(_MARGIN - 6)]
    for i, text in enumerate(header):
        size, ink = (_SMALL, _SOFT) if i else (_LARGE, _INK)
        strips += [_text(line, size, ink) for line in wrap(text, size, room, 3)]
    if warnings:
        strips.append(_gap(6))
    for text in warnings:
        strips += [_text(line, _SMALL, _WARNING) for line in wrap(f"Warning: {text}", _SMALL, room, 4)]
    for row in rows:
        strips.append(_title(row.title, room))
        for first in range(0, len(row.cells), COLUMNS):
            strips.append(_line(picture, row.cells[first : first + COLUMNS], first + 1, colour))
    strips += [_rule(room), *(_text(line, _SMALL, _SOFT) for line in wrap(_NOTE, _SMALL, room, 3)), _gap(_MARGIN - 10)]
    return _stack(strips, width)


def _stack(strips: Sequence[_Strip], width: int) -> Image.Image:
    height = sum(strip.height for strip in strips)
    if width * height > LARGEST:
        raise OutputError(
            f"the sheet would have {width}x{height} pixels, {width * height // 10**6} megapixels; "
            f"at most {LARGEST // 10**6} are drawn: ask for fewer units or fewer layers"
        )
    sheet = Image.new("RGB", (width, height), "white")
    y = 0
    for strip in strips:
        strip.draw(sheet, y)
        y += strip.height
    return sheet


def _gap(height: int) -> _Strip:
    return _Strip(height, lambda sheet, y: None)


def _text(text: str, size: int, ink: str) -> _Strip:
    def draw(sheet: Image.Image, y: int) -> None:
        ImageDraw.Draw(sheet).text((_MARGIN, y + size), text, fill=ink, font=font(size), anchor="ls")

    return _Strip(round(size * 1.45), draw)


def _rule(room: int) -> _Strip:
    def draw(sheet: Image.Image, y: int) -> None:
        ImageDraw.Draw(sheet).line((_MARGIN - 1, y + 12, _MARGIN + room + _FRAME - 1, y + 12), fill=_RULE)

    return _Strip(24, draw)


def _title(title: str, room: int) -> _Strip:
    """The name of the row large, the rest soft beside it."""
    name, _, rest = title.partition("  ")
    rest = shorten(re.sub(r" {2,}", "  ·  ", rest.strip()), _SMALL, room // 2)
    name = shorten(name, _MEDIUM, room - length(rest, _SMALL) - 16)

    def draw(sheet: Image.Image, y: int) -> None:
        _rule(room).draw(sheet, y)
        pen, base = ImageDraw.Draw(sheet), y + 24 + _MEDIUM
        pen.text((_MARGIN, base), name, fill=_INK, font=font(_MEDIUM), anchor="ls")
        pen.text((_MARGIN + length(name, _MEDIUM) + 16, base), rest, fill=_SOFT, font=font(_SMALL), anchor="ls")

    return _Strip(24 + _MEDIUM + 10, draw)


def _line(picture: Image.Image, cells: Sequence[Cell], number: int, colour: Colour) -> _Strip:
    """Up to COLUMNS cells, numbered from `number`, beside the image with their fields; each column has its colour."""
    for cell in cells:
        if cell.pixels.ndim != 3 or cell.pixels.shape[1:] != (picture.height, picture.width):
            raise ValueError(
                f"a cell has pixels of shape {list(cell.pixels.shape)}; "
                f"expected [C, {picture.height}, {picture.width}], the size of the picture"
            )
    shown = [cell.shown() for cell in cells]
    marks = [Mark(number + i, _COLOURS[i], box) for i, box in enumerate(shown)]
    views = [view_of(box, picture.height, picture.width) for box in shown]
    sizes = [fitted(bottom - top, right - left, _CELL) for top, left, bottom, right in views]
    tallest = max(height for _, height in sizes)
    captions = [[line for text in cell.caption for line in wrap(text, _SMALL, _CELL, 2)] for cell in cells]
    below = 2 * tallest + _SEAM + 8
    height = max(fitted(picture.height, picture.width, _ORIGINAL)[1], below + 20 * max(map(len, captions)))

    def draw(sheet: Image.Image, y: int) -> None:
        y += TAG_HEIGHT + _FRAME
        pen = ImageDraw.Draw(sheet)
        original = outline(picture, marks, _ORIGINAL)
        sheet.paste(original, (_MARGIN, y))
        pen.rectangle((_MARGIN - 1, y - 1, _MARGIN + original.width, y + original.height), outline=_RULE)
        for i, (cell, mark, view, size) in enumerate(zip(cells, marks, views, sizes, strict=True)):
            x = _MARGIN + _ORIGINAL + _GUTTER + i * (_CELL + _GAP)
            edge = (x - _FRAME, y - _FRAME, x + size[0] + _FRAME - 1, y + 2 * size[1] + _SEAM + _FRAME - 1)
            pen.rectangle(edge, outline=mark.colour, width=_FRAME, fill="white")
            tag(pen, (edge[0], edge[1] - TAG_HEIGHT), mark.number, mark.colour)
            sheet.paste(_projection(cell, view, size, colour), (x, y))
            sheet.paste(_patch(picture, view, size), (x, y + size[1] + _SEAM))
            for j, text in enumerate(captions[i]):
                spot = (x - _FRAME, y + below + 20 * j + _SMALL)
                pen.text(spot, text, fill=_SOFT if j else _INK, font=font(_SMALL), anchor="ls")

    return _Strip(TAG_HEIGHT + _FRAME + height + 10, draw)


def _projection(cell: Cell, view: Box, size: tuple[int, int], colour: Colour) -> Image.Image:
    """The cell's projection in the view, at `size` (width, height); grey where it is dead or outside the image."""
    box = inside(view, *cell.pixels.shape[1:])
    if cell.dead or box is None:
        tile = Image.new("RGB", size, _ZERO)
        if cell.dead:
            spot = (size[0] / 2, size[1] / 2)
            ImageDraw.Draw(tile).text(spot, "dead", fill="white", font=font(_SMALL), anchor="mm")
        return tile
    top, left, bottom, right = box
    pixels = cell.pixels[:, top:bottom, left:right]
    return place(render(pixels, display_scale(pixels), colour), box, view, size, _ZERO)


def _patch(picture: Image.Image, view: Box, size: tuple[int, int]) -> Image.Image:
    """The picture in the view, at `size` (width, height); all but white outside the image."""
    box = inside(view, picture.height, picture.width)
    if box is None:
        return Image.new("RGB", size, _OUTSIDE)
    top, left, bottom, right = box
    return place(picture.crop((left, top, right, bottom)), box, view, size, _OUTSIDE)

"""Receptive fields on a picture: cut out, and outlined with a numbered tag."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zfviz.report.lettering import font, length

Box = tuple[int, int, int, int]  # top, left, bottom, right in image pixels; may stick out over the border
_Rect = tuple[int, int, int, int]  # left, top, right, bottom on the canvas, right and bottom not included

TAG_HEIGHT = 17
_TAG_TEXT = 12
_SMALLEST = 6  # a smaller outline would be a dot


@dataclass(frozen=True, slots=True)
class Mark:
    """One unit's receptive field, and the number and the colour (#rrggbb) by which it is found again."""

    number: int
    colour: str
    box: Box | None


def view_of(box: Box | None, height: int, width: int) -> Box:
    """The part of the plane to draw for a field: the box itself, or the whole image for None.

    Along an axis where the field covers the whole image, what sticks out is left away: deep layers see far more
    than the image, and would show little but border. Raises ValueError where the box is empty.
    """
    top, left, bottom, right = box or (0, 0, height, width)
    if top >= bottom or left >= right:
        raise ValueError(f"box {box} is empty; expected top < bottom and left < right")
    if top <= 0 and bottom >= height:
        top, bottom = 0, height
    if left <= 0 and right >= width:
        left, right = 0, width
    return top, left, bottom, right


def busiest(pixels: NDArray[np.floating[Any]], share: float) -> Box:
    """Where `share` of the energy of a projection [C, H, W] lies: half of the rest on either side, along each axis."""
    energy = np.square(pixels.astype(np.float64)).sum(axis=0)
    (top, bottom), (left, right) = (_middle(energy.sum(axis=axis).cumsum(), share) for axis in (1, 0))
    return top, left, bottom, right


def _middle(below: NDArray[np.float64], share: float) -> tuple[int, int]:
    begin, end = np.searchsorted(below, [below[-1] * (1 - share) / 2, below[-1] * (1 + share) / 2])
    return int(begin), min(int(end) + 1, len(below))


def inside(box: Box, height: int, width: int) -> Box | None:
    """The part of the box that lies in the image; None where nothing does."""
    top, left, bottom, right = box
    cut = max(top, 0), max(left, 0), min(bottom, height), min(right, width)
    return cut if cut[0] < cut[2] and cut[1] < cut[3] else None


def fitted(height: int, width: int, side: int) -> tuple[int, int]:
    """The size (width, height) of the largest picture of that shape in a square of `side` pixels."""
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def place(part: Image.Image, box: Box, view: Box, size: tuple[int, int], colour: str) -> Image.Image:
    """The view at `size` (width, height): `part`, which fills `box`, at its place, and `colour` around it."""
    top, left, bottom, right = view
    across, down = size[0] / (right - left), size[1] / (bottom - top)
    x0, x1 = (round((x - left) * across) for x in (box[1], box[3]))
    y0, y1 = (round((y - top) * down) for y in (box[0], box[2]))
    canvas = Image.new("RGB", size, colour)
    canvas.paste(resized(part, (max(1, x1 - x0), max(1, y1 - y0))), (x0, y0))
    return canvas


def resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at `size` (width, height), smooth as in the paper's figures; a patch and its projection alike."""
    return picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def outline(picture: Image.Image, marks: Sequence[Mark], side: int) -> Image.Image:
    """The picture, fitted to a square of `side` pixels, with the outline and the tag of every mark.

    A field that covers the whole picture, or nothing of it, has no outline.
    """
    canvas = resized(picture, fitted(picture.height, picture.width, side))
    draw = ImageDraw.Draw(canvas)
    rects: list[tuple[Mark, _Rect]] = []
    for mark in marks:
        box = mark.box and inside(mark.box, picture.height, picture.width)
        if box and box != (0, 0, picture.height, picture.width):
            rects.append((mark, _on_canvas(box, picture.size, canvas.size)))
    taken: set[_Rect] = set()
    for mark, rect in sorted(rects, key=lambda pair: -_area(pair[1])):
        ring = rect
        while ring in taken and min(ring[2] - ring[0], ring[3] - ring[1]) >= _SMALLEST + 8:
            ring = _grown(ring, -4)  # units of several channels at one place: rings inside each other
        taken.add(ring)
        _frame(draw, _grown(ring, 1), "white", 1)  # the halo shows the outline on ground of its own colour
        _frame(draw, ring, mark.colour, 3)
    # outlines as small as a tag must not vanish under one
    obstacles = [rect for _, rect in rects if _area(rect) < 4 * TAG_HEIGHT**2]
    for mark, rect in rects:
        spot = _free_spot(rect, tag_width(mark.number), canvas.size, obstacles)
        obstacles.append(_grown(spot, 1))
        draw.rectangle(_frame_of(_grown(spot, 1)), fill="white")
        tag(draw, spot[:2], mark.number, mark.colour)
    return canvas


def tag_width(number: int) -> int:
    """How many pixels wide the tag of that number is."""
    return max(TAG_HEIGHT, length(str(number), _TAG_TEXT) + 8)


def tag(draw: ImageDraw.ImageDraw, corner: tuple[int, int], number: int, colour: str) -> None:
    """Draw the number on a patch of its colour, whose top left corner is `corner` (x, y)."""
    x, y = corner
    width = tag_width(number)
    draw.rectangle((x, y, x + width - 1, y + TAG_HEIGHT - 1), fill=colour)
    draw.text((x + width / 2, y + TAG_HEIGHT - 4), str(number), fill="white", font=font(_TAG_TEXT), anchor="ms")


def _on_canvas(box: Box, source: tuple[int, int], target: tuple[int, int]) -> _Rect:
    """The box of a picture of size `source`, on a canvas of size `target` and never smaller than can be seen."""
    top, left, bottom, right = box
    x0, x1 = _stretched(left, right, target[0] / source[0], target[0])
    y0, y1 = _stretched(top, bottom, target[1] / source[1], target[1])
    return x0, y0, x1, y1


def _stretched(low: int, high: int, scale: float, end: int) -> tuple[int, int]:
    start, stop = round(low * scale), round(high * scale)
    grow = max(0, _SMALLEST - (stop - start))
    start = max(0, min(start - grow // 2, end - _SMALLEST))
    return start, min(end, max(stop + grow - grow // 2, start + _SMALLEST))


def _free_spot(rect: _Rect, width: int, size: tuple[int, int], obstacles: Sequence[_Rect]) -> _Rect:
    """Where along the rect's edge a tag hides least: a tab on its top left corner, if that is free."""
    corners: list[tuple[int, int]] = []
    for ring in range(4):  # further out where many units share one small field
        x0, y0, x1, y1 = _grown(rect, ring * (TAG_HEIGHT + 2))
        xs = [x0, x1 - width, *range(x0 + width + 2, x1 - width, width + 2)]
        ys = [y0, y1 - TAG_HEIGHT, *range(y0 + TAG_HEIGHT + 2, y1 - TAG_HEIGHT, TAG_HEIGHT + 2)]
        corners += [(x, y) for y in (y0 - TAG_HEIGHT, y0, y1, y1 - TAG_HEIGHT) for x in xs]
        corners += [(x, y) for x in (x0 - width, x0, x1, x1 - width) for y in ys]
    inner = [(max(0, min(x, size[0] - width)), max(0, min(y, size[1] - TAG_HEIGHT))) for x, y in corners]
    spots = [(x, y, x + width, y + TAG_HEIGHT) for x, y in inner]
    return min(spots, key=lambda spot: sum(_shared(spot, other) for other in obstacles))


def _shared(one: _Rect, other: _Rect) -> int:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(across, 0) * max(down, 0)


def _area(rect: _Rect) -> int:
    return (rect[2] - rect[0]) * (rect[3] - rect[1])


def _grown(rect: _Rect, by: int) -> _Rect:
    return rect[0] - by, rect[1] - by, rect[2] + by, rect[3] + by


def _frame_of(rect: _Rect) -> _Rect:
    """The rect as Pillow draws it: right and bottom included."""
    return rect[0], rect[1], rect[2] - 1, rect[3] - 1


def _frame(draw: ImageDraw.ImageDraw, rect: _Rect, colour: str, width: int) -> None:
    draw.rectangle(_frame_of(rect), outline=colour, width=width)

"""Pictures of what a channel saw in the baseline, and of what it sees now."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw

from zfviz.checks.subject import Subject
from zfviz.errors import ZfvizError
from zfviz.report.fields import fitted, inside, place, view_of
from zfviz.report.lettering import font, shorten
from zfviz.report.pixels import GREY, display_scale, render
from zfviz.report.sheet import Cell
from zfviz.runtime.loading import Model
from zfviz.runtime.session import Device
from zfviz.studies.project import project

PICTURED = 4
"""Channels that are drawn."""

_CELL, _GAP, _SMALL, _LEFT = 140, 12, 13, 60
_INK, _ZERO = "#1a1a1a", f"#{GREY:02x}{GREY:02x}{GREY:02x}"


def before_and_after(subject: Subject, before: str, now: str, images: Mapping[int, int]) -> partial[Image.Image] | None:
    """What draws the first few of these channels, each for its image; None where there is no model or no image."""
    model = subject.baseline and subject.baseline.model
    if model is None or not (images and subject.paths):
        return None
    shown = [(channel, subject.paths[image]) for channel, image in images.items()][:PICTURED]
    whose = [("before", model, before), ("after", subject.model, now)]
    return partial(_draw, whose, shown, subject.device, subject.threads)


def _draw(
    whose: Sequence[tuple[str, Model, str]], shown: Sequence[tuple[int, Path]], device: Device, threads: int | None
) -> Image.Image:
    """The projections of channels' strongest units, a row for each model's layer, a column for each channel and its
    picture. An RGB picture; each projection is scaled to itself, and grey is zero.
    """
    step = _CELL + _GAP
    sheet = Image.new("RGB", (_LEFT + len(shown) * step, len(whose) * step + 2 * _GAP + _SMALL), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (when, model, layer) in enumerate(whose):
        pen.text((_GAP, _GAP + row * step + _CELL // 2), when, fill=_INK, font=font(_SMALL), anchor="lm")
        for column, (channel, picture) in enumerate(shown):
            tile = _projection(model, layer, channel, picture, device, threads)
            sheet.paste(tile, (_LEFT + column * step, _GAP + row * step))
    for column, (channel, picture) in enumerate(shown):
        caption = shorten(f"{channel}: {picture.name}", _SMALL, _CELL)
        base = len(whose) * step + _GAP + _SMALL
        pen.text((_LEFT + column * step, base), caption, fill=_INK, font=font(_SMALL), anchor="ls")
    return sheet


def _projection(
    model: Model, layer: str, channel: int, picture: Path, device: Device, threads: int | None
) -> Image.Image:
    """The projection of the channel's strongest unit, cut to its field; a word where there is none."""
    try:
        found = project(model, picture, layer, [channel], device=device, threads=threads, scores=False)
        pixels, unit, whose = found.pixels[0], found.units[0], model.layer(layer)
        if found.activations[0] and pixels.any():
            field = whose.box(unit.y, unit.x, model.image.size) if whose.has_map and whose.followed else None
            view = view_of(Cell(pixels, field, (), local=whose.has_map).shown(), *model.image.size)
            if box := inside(view, *model.image.size):
                top, left, bottom, right = box
                part = pixels[:, top:bottom, left:right]
                tile = render(part, display_scale(part), model.preprocessing.colour)
                return place(tile, box, view, fitted(view[2] - view[0], view[3] - view[1], _CELL), _ZERO)
        word = "silent" if not found.activations[0] else "dark"
    except (ZfvizError, ValueError):
        word = "no projection"
    tile = Image.new("RGB", (_CELL, _CELL), _ZERO)
    ImageDraw.Draw(tile).text((_CELL / 2, _CELL / 2), word, fill="white", font=font(_SMALL), anchor="mm")
    return tile

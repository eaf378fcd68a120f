"""Text on a picture: any string, made drawable and made to fit.

The font is the one inside Pillow, so that a sheet looks the same everywhere; it knows little beyond ASCII.
"""

import re
import unicodedata
from functools import cache

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_LONGEST = 2000  # characters of one string that are looked at: names come from files of strangers
_STAND_INS = {"×": "x", "–": "-", "—": "-", "−": "-", "→": "->", "•": "·", "≥": ">=", "≤": "<=", "ß": "ss"}
_WORD = re.compile(r"\(\d+, \d+\)|\S+")  # a place such as (3, 7) is not torn apart


@cache
def font(size: int) -> Font:
    """Pillow's own font at `size` pixels."""
    return ImageFont.load_default(size)


def printable(text: str) -> str:
    """The text on one line, in characters that the font has; what cannot be spelled otherwise becomes '?'."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"
    return "".join(map(_spell, unicodedata.normalize("NFC", text)))


def shorten(text: str, size: int, width: int) -> str:
    """The text, printable, with as much of its middle taken out as it takes to be at most `width` pixels long."""
    text = printable(text)
    if _fits(text, size, width):
        return text
    kept, too_many = 0, len(text)
    while too_many - kept > 1:
        middle = (kept + too_many) // 2
        kept, too_many = (middle, too_many) if _fits(_without_middle(text, middle), size, width) else (kept, middle)
    return _without_middle(text, kept)


def wrap(text: str, size: int, width: int, most: int) -> list[str]:
    """The text, printable, as at most `most` lines of at most `width` pixels; what is left over is shortened."""
    words: list[str] = _WORD.findall(printable(text))
    lines: list[str] = []
    while words and len(lines) < most - 1:
        line = words.pop(0)
        while words and _fits(f"{line} {words[0]}", size, width):
            line = f"{line} {words.pop(0)}"
        lines.append(shorten(line, size, width))
    return [*lines, shorten(" ".join(words), size, width)] if words else lines


def length(text: str, size: int) -> int:
    """How many pixels wide the printable text is drawn."""
    return round(font(size).getlength(text))


def _fits(text: str, size: int, width: int) -> bool:
    return font(size).getlength(text) <= width


def _without_middle(text: str, kept: int) -> str:
    return f"{text[: (kept + 1) // 2].rstrip()}…{text[len(text) - kept // 2 :].lstrip()}"


@cache
def _spell(char: str) -> str:
    """The character as the font can draw it."""
    kind = unicodedata.category(char)
    if kind[0] == "Z" or char in "\t\n\r":
        return " "
    if kind[0] == "C":
        return "?"
    if _has_glyph(char):
        return char
    if kind[0] == "M":
        return ""  # an accent without its letter
    return _STAND_INS.get(char) or "".join(filter(_has_glyph, unicodedata.normalize("NFKD", char))) or "?"


def _has_glyph(char: str) -> bool:
    # Pillow does not tell: a missing glyph is drawn as the box that an unassigned character gets
    return _drawn(char) != _drawn("\U0010fffd")


@cache
def _drawn(char: str) -> bytes:
    canvas = Image.new("L", (32, 32))
    ImageDraw.Draw(canvas).text((4, 4), char, fill=255, font=font(16))
    return canvas.tobytes()

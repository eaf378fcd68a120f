import numpy as np
import pytest
from PIL import Image, ImageDraw

from zfviz.report import lettering
from zfviz.report.lettering import font, length, printable, shorten, wrap


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("conv1 (3, 7)", "conv1 (3, 7)"),
        ("a\nb\tc\r\u2028d\u00a0e", "a b c  d e"),
        ("\x1b[31m\x00\u202e\ud800", "?[31m???"),
        ("256×13×13 – −1 → ≥2", "256x13x13 - -1 -> >=2"),
        ("é ñ e\u0301 Å Ａ", "e n e A A"),
        ("日本 \U0001f600", "?? ?"),
        ("x\u0301\u0489", "x"),
    ],
)
def test_text_is_spelled_in_what_the_font_has(text, drawn):
    assert printable(text) == drawn


def test_control_characters_are_replaced_even_if_a_font_can_draw_them(monkeypatch):
    lettering._spell.cache_clear()
    monkeypatch.setattr(lettering, "_has_glyph", lambda char: True)
    assert printable("a\u202eb\x07\n日") == "a?b? 日"
    lettering._spell.cache_clear()


def test_what_is_printable_has_no_missing_glyph():
    def ink(char: str) -> bytes:
        canvas = Image.new("L", (40, 40))
        ImageDraw.Draw(canvas).text((5, 5), char, fill=255, font=font(20))
        return canvas.tobytes()

    everything = "".join(map(chr, range(32, 0x2600)))
    shown = set("".join(printable(everything[i : i + 1000]) for i in range(0, len(everything), 1000)))
    assert len(shown) > 95
    assert [char for char in shown if ink(char) == ink("\U0010fffd")] == []


def test_a_giant_string_keeps_both_its_ends():
    drawn = printable("start" + "x" * 10**6 + "end")
    assert len(drawn) < 2100
    assert drawn.startswith("start")
    assert drawn.endswith("end")


def test_a_text_that_fits_stays_and_a_long_one_loses_its_middle():
    assert shorten("short", 15, 100) == "short"
    text = shorten("/backbone/" + "layer/" * 40 + "Relu_12", 15, 200)
    assert text.startswith("/backbone")
    assert text.endswith("Relu_12")
    assert "…" in text
    assert 180 < length(text, 15) <= 200
    assert shorten("wide", 15, 1) == "…"


def test_wrapped_lines_fit_and_lose_no_word():
    text = "the quick brown fox jumps over the lazy dog " * 3
    lines = wrap(text, 15, 160, 50)
    assert " ".join(lines).split() == text.split()
    assert all(length(line, 15) <= 160 for line in lines)
    assert np.mean([length(line, 15) for line in lines]) > 100


def test_lines_beyond_the_most_are_shortened_into_the_last():
    lines = wrap("word " * 100 + "end", 15, 160, 3)
    assert len(lines) == 3
    assert "…" in lines[-1]
    assert lines[-1].endswith("end")
    assert wrap("one two", 15, 500, 1) == ["one two"]
    assert wrap(" \n ", 15, 160, 3) == []


def test_a_word_wider_than_the_line_is_shortened_and_a_place_is_not_torn():
    assert all(length(line, 15) <= 100 for line in wrap("a " + "x" * 500 + " b", 15, 100, 5))
    assert wrap("channel 12345 (11, 12)", 15, 135, 2) == ["channel 12345", "(11, 12)"]

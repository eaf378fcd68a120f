import numpy as np
import pytest
from PIL import Image

from zfviz.report.fields import Mark, fitted, inside, outline, place, tag_width, view_of

RED, BLUE = (214, 39, 40), (31, 119, 180)


def mark(number: int, box, colour=RED) -> Mark:
    return Mark(number, "#{:02x}{:02x}{:02x}".format(*colour), box)


def where(picture: Image.Image, colour) -> np.ndarray:
    return np.argwhere((np.asarray(picture) == colour).all(axis=-1))


def test_the_view_of_none_is_the_whole_image():
    assert view_of(None, 20, 30) == (0, 0, 20, 30)


def test_the_view_of_a_box_sticks_out_on_one_side_but_not_on_both():
    assert view_of((-3, 5, 4, 12), 20, 30) == (-3, 5, 4, 12)
    assert view_of((-3, 25, 24, 40), 20, 30) == (0, 25, 20, 40)
    assert view_of((2, -9, 9, 99), 20, 30) == (2, 0, 9, 30)


@pytest.mark.parametrize("box", [(5, 0, 5, 9), (0, 9, 5, 4)])
def test_an_empty_box_is_refused(box):
    with pytest.raises(ValueError, match="is empty"):
        view_of(box, 20, 30)


def test_inside_is_what_lies_in_the_image():
    assert inside((-3, 25, 4, 40), 20, 30) == (0, 25, 4, 30)
    assert inside((20, 0, 25, 5), 20, 30) is None
    assert inside((0, -5, 5, 0), 20, 30) is None


def test_a_picture_keeps_its_shape_when_fitted():
    assert fitted(512, 1024, 280) == (280, 140)
    assert fitted(1024, 512, 280) == (140, 280)
    assert fitted(1, 9999, 280) == (280, 1)


def test_a_part_stands_at_its_place_in_the_view():
    part = Image.new("RGB", (2, 3), "red")
    tile = place(part, (0, 0, 3, 2), (-1, -2, 3, 2), (40, 40), "#808080")
    red = where(tile, (255, 0, 0))
    assert (red.min(0).tolist(), red.max(0).tolist()) == ([10, 20], [39, 39])
    assert len(where(tile, (128, 128, 128))) == 40 * 40 - 30 * 20


@pytest.mark.parametrize("ground", ["white", "black", "#d62728"])
def test_an_outline_lies_on_the_field_and_shows_on_any_ground(ground):
    drawn = outline(Image.new("RGB", (100, 100), ground), [mark(1, (20, 30, 60, 80))], 200)
    assert drawn.size == (200, 200)
    ring = np.asarray(drawn)[41:119, 61:159]
    assert (ring[0, 30:] == RED).all()
    assert (ring[-2, 1:-1] == RED).all()
    assert np.asarray(drawn)[119, 62:158].tolist() == [list(RED)] * 96
    assert np.asarray(drawn)[120, 62:158].tolist() == [[255] * 3] * 96  # the halo
    assert (np.asarray(drawn)[50:110, 70:150] == np.asarray(Image.new("RGB", (1, 1), ground))[0, 0]).all()


def test_an_outline_is_clipped_to_the_image():
    drawn = outline(Image.new("RGB", (100, 100), "black"), [mark(1, (-50, 40, 60, 140))], 100)
    red = where(drawn, RED)
    assert red.min(0).tolist() == [0, 40]
    assert red.max(0).tolist() == [59, 99]
    assert (np.asarray(drawn)[20:58, 97:] == RED).all()
    assert (np.asarray(drawn)[:3, 60:] == RED).all()


@pytest.mark.parametrize("box", [None, (-9, -9, 109, 109), (0, 0, 100, 100), (100, 0, 120, 20)])
def test_a_field_that_covers_all_or_nothing_has_no_outline(box):
    drawn = outline(Image.new("RGB", (100, 100), "black"), [mark(1, box)], 100)
    assert not np.asarray(drawn).any()


def test_a_tiny_field_in_a_large_picture_is_still_seen_beside_its_tag():
    drawn = outline(Image.new("RGB", (2000, 1000), "black"), [mark(1, (500, 900, 501, 901))], 200)
    y, x = 50, 90
    assert (np.asarray(drawn)[y - 3 : y + 3, x - 3 : x + 3] == RED).all(axis=-1).sum() >= 30


def test_units_at_one_place_have_rings_inside_each_other():
    drawn = outline(
        Image.new("RGB", (200, 200), "black"), [mark(1, (50, 50, 150, 150)), mark(2, (50, 50, 150, 150), BLUE)], 200
    )
    line = np.asarray(drawn)[100]
    assert line[50].tolist() == list(RED)
    assert line[54].tolist() == list(BLUE)


def test_a_tag_sits_on_the_top_left_corner_where_that_is_free():
    drawn = outline(Image.new("RGB", (200, 200)), [mark(1, (90, 60, 97, 67)), mark(2, (120, 100, 180, 160), BLUE)], 200)
    assert where(drawn, RED).min(0).tolist() == [90 - 17, 60]
    assert where(drawn, BLUE).min(0).tolist() == [120 - 17, 100]


def test_tags_do_not_cover_each_other_nor_leave_the_picture():
    for box in [(90, 90, 97, 97), (40, 40, 140, 140), (0, 0, 7, 7), (-70, -70, 69, 69)]:
        colours = [(10 + 20 * i, 0, 250) for i in range(9)]
        alone = [outline(Image.new("RGB", (200, 200)), [mark(8, box, colours[0])], 200)]
        tag_size = tag_width(8) * 17
        assert len(where(alone[0], colours[0])) > tag_size * 0.6
        drawn = outline(Image.new("RGB", (200, 200)), [mark(i + 1, box, c) for i, c in enumerate(colours)], 200)
        for colour in colours:
            assert len(where(drawn, colour)) > tag_size * 0.6


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1), (1, 1)])
def test_pictures_of_extreme_shape_are_outlined(size):
    assert max(outline(Image.new("RGB", size), [mark(64, (0, 0, 1, 1)), mark(2, (0, 0, 500, 1))], 280).size) == 280

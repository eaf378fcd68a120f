import numpy as np
import pytest
from PIL import Image, ImageDraw

from zfviz.errors import OutputError
from zfviz.report import sheet as sheets
from zfviz.report.sheet import Cell, Row, draw_sheet

GREEN = (0, 200, 0)
COLOURS = [tuple(bytes.fromhex(colour[1:])) for colour in sheets._COLOURS]


def cell(value=0.0, box=(4, 4, 11, 11), caption=("channel 1 (0, 0)", "activation 1.5"), dead=False, shape=(3, 40, 40)):
    return Cell(np.full(shape, value, np.float32), box, caption, dead)


def draw(*rows: Row, size=(40, 40), header=("header",), **options) -> np.ndarray:
    return np.asarray(draw_sheet(Image.new("RGB", size, GREEN), rows, header, **options))


def row(*cells: Cell, title="conv1  Relu  96x55x55  field 7 px") -> Row:
    return Row(title, cells)


def frames(drawn: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Where the frames of the first line's cells lie: top, left, bottom, right, inclusive."""
    cells = drawn[:, sheets._MARGIN + sheets._ORIGINAL + 10 :]
    found = []
    for colour in COLOURS:
        ys, xs = np.nonzero((cells == colour).all(axis=-1))
        # a tag is no frame: take the long runs only
        columns = [int(x) for x in set(xs) if (xs == x).sum() > 60]
        lines = [int(y) for y in set(ys) if (ys == y).sum() > 60]
        if columns and lines:
            found.append((min(lines), min(columns), max(lines), max(columns)))
    return found


def tile(drawn: np.ndarray, below: int = 0) -> np.ndarray:
    """The first cell's projection, or the patch below it."""
    x = sheets._MARGIN + sheets._ORIGINAL + sheets._GUTTER
    original = drawn[:, sheets._MARGIN : sheets._MARGIN + sheets._ORIGINAL]
    top = int(np.nonzero((original == GREEN).all(axis=-1).any(axis=1))[0][0]) + below * (sheets._CELL + sheets._SEAM)
    return drawn[top : top + sheets._CELL, x : x + sheets._CELL]


def test_nine_cells_and_five_rows_fit_a_page():
    drawn = draw(*[row(*[cell(box=(4, 4, 11, 11))] * 9)] * 5, header=("chelsea.jpg - tabby 62.1 %", "alexnet.onnx"))
    height, width, _ = drawn.shape
    assert 1400 <= width <= 1800
    assert height <= 2400


def test_nothing_touches_the_margins():
    long = "word " * 300
    drawn = draw(
        row(*[cell(caption=(long, "x" * 500))] * 12, title="/very/long" * 100 + "  " + long),
        row(cell(box=None, dead=True)),
        header=(long, "x" * 5000, "a\nb"),
        warnings=(long, "y" * 900),
    )
    for edge in (drawn[:20], drawn[-20:], drawn[:, :38], drawn[:, -37:]):
        assert (edge == 255).all()


def test_the_cells_have_equal_frames_in_a_colour_each():
    found = frames(draw(row(*[cell()] * 9)))
    assert len(found) == 9
    assert len({(top, bottom) for top, _, bottom, _ in found}) == 1
    lefts = [left for _, left, _, _ in found]
    assert set(np.diff(lefts)) == {sheets._CELL + sheets._GAP}
    assert all(right - left == sheets._CELL + 3 for _, left, _, right in found)


def test_the_colours_differ_and_are_no_grey_of_zero():
    distances = [sum(abs(a - b) for a, b in zip(x, y, strict=True)) for x in COLOURS for y in COLOURS if x != y]
    assert min(distances) > 100
    assert len(set(COLOURS)) == sheets.COLUMNS


def test_a_cell_shows_its_field_and_bears_the_colour_of_its_outline():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[20:30, 10:20] = (250, 250, 0)
    drawn = np.asarray(draw_sheet(Image.fromarray(picture), [row(cell(box=(20, 10, 30, 20)))], []))
    (top, left, bottom, right), *_ = frames(drawn)
    offset = sheets._MARGIN + sheets._ORIGINAL + 10
    patch = drawn[bottom - sheets._CELL - 1 : bottom - 1, offset + left + 2 : offset + right - 1]
    assert (patch == (250, 250, 0)).all()
    original = drawn[top + 2 : top + 2 + sheets._ORIGINAL, sheets._MARGIN : sheets._MARGIN + sheets._ORIGINAL]
    ys, xs = np.nonzero((original == COLOURS[0]).all(axis=-1))
    step = sheets._ORIGINAL / 40
    assert abs(ys.max() + 1 - 30 * step) <= 1
    assert abs(xs.min() - 10 * step) <= 1
    assert abs(xs.max() + 1 - 20 * step) <= 1


def test_a_projection_is_cut_to_its_field_and_scaled_to_what_is_in_there():
    pixels = np.full((3, 40, 40), 1000, np.float32)
    pixels[:, 10:20, 10:20] = -0.5
    assert (tile(draw(row(Cell(pixels, (10, 10, 20, 20), ())))) == 1).all()


def test_a_projection_of_zero_is_grey():
    assert (tile(draw(row(cell(0.0)))) == 128).all()


def test_the_channels_of_a_bgr_model_are_swapped():
    pixels = np.zeros((3, 40, 40), np.float32)
    pixels[0] = 1
    assert (tile(draw(row(Cell(pixels, None, ())))) == (255, 128, 128)).all()
    assert (tile(draw(row(Cell(pixels, None, ())), colour="BGR")) == (128, 128, 255)).all()


def test_outside_the_image_a_projection_is_grey_and_the_patch_pale():
    drawn = draw(row(cell(1.0, box=(-10, 0, 10, 20))))
    projection, patch = tile(drawn), tile(drawn, below=1)
    assert (projection[:70] == 128).all()
    assert (projection[70:] == 255).all()
    assert (patch[:70] == 0xEF).all()
    assert (patch[70:] == GREEN).all()


def test_a_field_beside_the_image_is_blank():
    drawn = draw(row(cell(1.0, box=(40, 40, 50, 50))))
    assert (tile(drawn) == 128).all()
    assert (tile(drawn, below=1) == 0xEF).all()


def test_a_dead_cell_is_grey_and_says_so():
    dead = tile(draw(row(cell(1.0, dead=True))))
    assert (dead[:50] == 128).all()
    assert (dead[90:] == 128).all()
    assert (dead[50:90] == 255).all(axis=-1).any()


def test_a_field_of_the_whole_image_is_cut_to_where_the_projection_lies():
    pixels = np.zeros((3, 40, 40), np.float32)
    pixels[1, 5:12, 20:26] = 1
    pixels[0, 30, 3] = 0.1
    speck = Cell(pixels, (-3, -9, 50, 44), (), local=True)
    assert speck.shown() == (5, 20, 12, 26)
    assert Cell(pixels, (-3, -9, 50, 44), ()).shown() == (-3, -9, 50, 44)
    assert Cell(pixels, (0, 0, 20, 20), (), local=True).shown() == (0, 0, 20, 20)
    assert Cell(np.zeros_like(pixels), None, (), local=True).shown() is None


def test_a_whole_image_of_another_shape_keeps_its_shape():
    found = frames(draw(row(*[cell(box=None, shape=(1, 64, 128))] * 2), size=(128, 64)))
    top, left, bottom, right = found[0]
    assert right - left == sheets._CELL + 3
    assert bottom - top == 2 * (sheets._CELL // 2) + sheets._SEAM + 3


def test_a_longer_row_goes_on_below_with_the_image_beside_it():
    nine, ten = draw(row(*[cell()] * 9)), draw(row(*[cell()] * 10))
    assert nine.shape[1] == ten.shape[1]
    assert ten.shape[0] - nine.shape[0] > sheets._ORIGINAL
    greens = [(part == GREEN).all(axis=-1)[:, : sheets._MARGIN + sheets._ORIGINAL].sum() for part in (nine, ten)]
    assert greens[1] > 1.8 * greens[0]
    assert draw(row(*[cell()] * 64)).shape[0] < 8.5 * nine.shape[0]


def test_warnings_are_dark_red_and_header_lines_are_not():
    def red(drawn: np.ndarray) -> int:
        return int((drawn == (0xA0, 0x15, 0x15)).all(axis=-1).sum())

    assert red(draw(row(cell()))) == 0
    assert red(draw(row(cell()), warnings=("inexact: LRN",))) > 20
    assert draw(row(cell()), warnings=("a", "b")).shape[0] > draw(row(cell()), warnings=("a",)).shape[0]


def test_header_lines_and_captions_take_their_room():
    one = draw(row(cell()))
    assert draw(row(cell()), header=("header", "second")).shape[0] > one.shape[0]
    assert draw(row(cell(caption=("a", "b", "c")))).shape[0] == one.shape[0] + 20


def words_of(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> list[str]:
    """Every text that is written on a sheet of these rows, in order."""
    words: list[str] = []

    def write(pen, spot, text, **options):
        words.append(text)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", write)
    draw(*rows, warnings=("careful\nnow",))
    return words


def test_all_that_is_said_is_written(monkeypatch):
    words = words_of(monkeypatch, row(cell(), cell(dead=True), title="conv1  Relu  96x55x55"))
    captions = ["channel 1 (0, 0)", "activation 1.5"]
    assert words[:4] == ["header", "Warning: careful now", "conv1", "Relu  ·  96x55x55"]
    assert words[4:13] == ["1", "2", "1", *captions, "2", "dead", *captions]
    assert "99th percentile" in words[13]


def test_cells_are_numbered_through_a_row(monkeypatch):
    words = words_of(monkeypatch, row(*[cell(caption=())] * 11))
    assert [word for word in words if word in ("10", "11")] == ["10", "11", "10", "11"]


def test_no_rows_and_empty_rows_are_drawn():
    assert draw().shape[1] == draw(row(cell())).shape[1]
    assert (draw(row()) == GREEN).all(axis=-1).sum() == 0


def test_grey_palette_and_transparent_pictures_are_drawn():
    for mode in ("L", "P", "RGBA"):
        picture = Image.new("RGB", (40, 40), "white").convert(mode)
        assert draw_sheet(picture, [row(cell(shape=(1, 40, 40)))], []).mode == "RGB"


def test_the_same_input_gives_the_same_sheet():
    cells = [cell(float(i), box=(i, i, i + 9, i + 9)) for i in range(9)]
    assert (draw(row(*cells)) == draw(row(*cells))).all()


def test_a_sheet_too_large_is_refused_before_it_is_drawn(monkeypatch):
    monkeypatch.setattr(sheets, "LARGEST", 500_000)
    monkeypatch.setattr(sheets, "outline", lambda *_: pytest.fail("drawn"))
    with pytest.raises(OutputError, match="ask for fewer units"):
        draw(row(*[cell()] * 9))


@pytest.mark.parametrize("shape", [(3, 39, 40), (3, 40, 39), (40, 40), (1, 3, 40, 40)])
def test_pixels_that_do_not_fit_the_picture_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \[C, 40, 40\]"):
        draw(row(cell(shape=shape)))

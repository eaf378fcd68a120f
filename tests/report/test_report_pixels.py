import numpy as np
import pytest
from PIL import Image

from zfviz.errors import ImageError
from zfviz.report.pixels import display_scale, picture_of, render


def row_of(picture: Image.Image) -> list[list[int]]:
    return np.asarray(picture)[0].tolist()


def test_the_scale_is_the_99th_percentile_of_the_magnitudes():
    pixels = -np.arange(101, dtype=np.float32).reshape(1, 1, 101)
    assert display_scale(pixels) == 99


def test_the_scale_of_a_sparse_projection_is_its_maximum():
    pixels = np.zeros((3, 50, 50), np.float32)
    pixels[1, 2, 3] = -7
    assert display_scale(pixels) == 7


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 0, 4)])
def test_nothing_has_scale_zero(shape):
    assert display_scale(np.zeros(shape, np.float32)) == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_everywhere(bad):
    pixels = np.zeros((3, 2, 2), np.float32)
    pixels[0, 0, 0] = bad
    with pytest.raises(ValueError, match="1 of 12 values are NaN or infinite"):
        display_scale(pixels)
    with pytest.raises(ValueError, match="1 of 12 values"):
        render(pixels, 1.0)
    with pytest.raises(ImageError, match="1 of 12 values"):
        picture_of(pixels)


def test_zero_is_128_and_the_scale_is_full_black_and_white():
    levels = np.array([0, 2, -2, 9, -9, 1], np.float32).reshape(1, 1, 6)
    assert row_of(render(levels, 2.0)) == [[v] * 3 for v in (128, 255, 1, 255, 1, 192)]


@pytest.mark.parametrize("scale", [0.0, 1e-300])
def test_zero_is_128_at_any_scale(scale):
    assert row_of(render(np.zeros((3, 1, 1), np.float32), scale)) == [[128, 128, 128]]


def test_a_tiny_scale_clips_without_a_warning(recwarn):
    assert row_of(render(np.full((1, 1, 1), 1e30, np.float32), 1e-300)) == [[255, 255, 255]]
    assert not recwarn.list


def test_the_channels_of_a_bgr_model_are_swapped():
    pixels = np.array([1, 0, -1], np.float32).reshape(3, 1, 1)
    assert row_of(render(pixels, 1.0)) == [[255, 128, 1]]
    assert row_of(render(pixels, 1.0, "BGR")) == [[1, 128, 255]]


def test_other_channel_counts_are_the_grey_of_their_mean():
    pixels = np.array([1, 1, -1, -1, 1], np.float32).reshape(5, 1, 1)
    assert row_of(render(pixels, 0.2)) == [[255, 255, 255]]
    assert row_of(render(pixels[:4], 0.2)) == [[128, 128, 128]]


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(ValueError, match="expected a finite number"):
        render(np.zeros((3, 1, 1), np.float32), scale)


@pytest.mark.parametrize("shape", [(4, 4), (3, 0, 4), (1, 3, 4, 4)])
def test_a_shape_that_is_no_picture_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected \[C, H, W\]"):
        render(np.zeros(shape, np.float32), 1.0)


def test_an_array_is_drawn_from_its_minimum_to_its_maximum():
    array = np.array([[-3, 7], [2, 2], [-3, -3]], np.float32).reshape(3, 1, 2)
    assert row_of(picture_of(array)) == [[0, 128, 0], [255, 128, 0]]
    assert row_of(picture_of(array, "BGR")) == [[0, 128, 0], [0, 128, 255]]


def test_integers_are_drawn_and_a_constant_array_is_grey():
    assert row_of(picture_of(np.array([[[10, 20]]], np.int64))) == [[0] * 3, [255] * 3]
    assert row_of(picture_of(np.full((2, 1, 1), 5.0))) == [[128] * 3]

"""Checks of spectra: known frequencies, known strides, known ranks; and what the paper says of two networks."""

import json
import re
from collections.abc import Sequence

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper
from planting import everything, findings, measured, noise, one_layer, planted, trunk, window_layer

import zfviz


def waves(size: int, *frequencies: tuple[float, float]) -> np.ndarray:
    """A filter of three channels for each frequency (y, x), in cycles per pixel."""
    y, x = np.mgrid[:size, :size]
    window = np.hanning(size + 2)[1:-1]
    maps = [np.outer(window, window) * np.cos(2 * np.pi * (fy * y + fx * x)) for fy, fx in frequencies]
    return np.repeat(np.stack(maps)[:, None], 3, axis=1).astype(np.float32)


# the story of the paper: AlexNet's 11x11 with stride 4, and ZFNet's 7x7 with stride 2


def test_alexnet_aliases_more_and_sees_less_of_the_middle_than_zfnet() -> None:
    alexnet, zfnet = everything("alexnet"), everything("zfnet")
    assert alexnet["ZF107", "conv1"].value == pytest.approx(0.289, abs=0.001)
    assert zfnet["ZF107", "conv1"].value == pytest.approx(0.120, abs=0.001)
    extreme = {code: (alexnet[code, "conv1"].value, zfnet[code, "conv1"].value) for code in ("ZF103", "ZF106")}
    assert extreme["ZF103"] == (0, 0)
    assert extreme["ZF106"] == (pytest.approx(75 / 96), pytest.approx(55 / 96))
    assert alexnet["ZF108", "conv1"].value == pytest.approx(2.25)
    assert zfnet["ZF108", "conv1"].value == pytest.approx(16 / 9)


def spread(weight: np.ndarray, dilations: Sequence[int]) -> np.ndarray:
    """Filters as they lie on the map, with zeros between their weights."""
    down, across = dilations
    height, width = ((side - 1) * step + 1 for side, step in zip(weight.shape[2:], dilations, strict=True))
    out = np.zeros((*weight.shape[:2], height, width), weight.dtype)
    out[:, :, ::down, ::across] = weight
    return out


def with_stride(stride: int) -> ModelProto:
    """The first layers of ZFNet, with another stride in its first convolution."""
    model = planted(trunk(4), {})
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "strides":
            attribute.CopyFrom(helper.make_attribute("strides", [stride, stride]))
    return model


def test_a_stride_of_four_in_place_of_two_is_found_against_the_baseline() -> None:
    before = everything(with_stride(2))
    assert findings(with_stride(2), before) == []
    assert set(findings(with_stride(4), before)) == {("ZF107", "conv1"), ("ZF108", "conv1")}


# frequencies


def test_bands_are_those_of_known_waves() -> None:
    weight = waves(16, (0, 0), (0.05, 0.05), (0.18, 0), (0, 0.2), (0.15, 0.1), (0.4, 0), (0.3, 0.3), (0.5, 0.5))
    found = measured(one_layer("Conv", weight), "ZF106")["layer"]
    assert found.channels == (0, 1, 5, 6, 7)
    assert found.value == 5 / 8
    assert found.said.startswith("2 of 8 filters see mostly low frequencies and 3 mostly high ones")


def test_the_bands_are_shares_of_the_whole_spectrum() -> None:
    weight = next(t for t in trunk(4).graph.initializer if t.name == "conv1/weight")
    power = (np.abs(np.fft.fft2(numpy_helper.to_array(weight), (64, 64))) ** 2).sum(axis=1)
    power /= power.sum(axis=(1, 2), keepdims=True)
    radius = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
    low, high = (power[:, band].sum(axis=1).mean() for band in (radius < 1 / 8, radius > 1 / 4))
    said = measured(trunk(4), "ZF106")["conv1"].said
    assert f"is {low:.0%} low, {1 - low - high:.0%} middle, {high:.0%} high" in said


@pytest.mark.parametrize("dilations", [(2, 2), (3, 1)])
def test_a_dilated_filter_has_the_bands_of_what_lies_on_the_map(dilations: tuple[int, int]) -> None:
    weight = waves(7, (0, 0), (0.1, 0.1), (0.4, 0.2)) + 0.1 * noise(3, 3, 7, 7)
    dilated = measured(one_layer("Conv", weight, dilations=dilations), "ZF106")["layer"]
    plain = measured(one_layer("Conv", spread(weight, dilations)), "ZF106")["layer"]
    assert (dilated.value, dilated.said, dilated.channels) == (plain.value, plain.said, plain.channels)


def test_noise_has_the_bands_that_are_said_of_it() -> None:
    said = measured(one_layer("Conv", noise(400, 3, 9, 9)), "ZF106")["layer"].said
    found, expected = said.partition("their energy is ")[2].split(", where white noise is ")
    numbers = [[int(n) for n in re.findall(r"(\d+)%", text)] for text in (found, expected)]
    assert len(numbers[0]) == 3
    assert numbers[0] == pytest.approx(numbers[1], abs=1)


def test_only_layers_that_read_the_image_are_asked_for_frequencies() -> None:
    assert list(measured("zfnet", "ZF106")) == ["conv1"]
    assert measured(one_layer("Conv", noise(8, 3, 1, 1)), "ZF106") == {}


@pytest.mark.parametrize("dilations", [(1, 1), (2, 2), (1, 3)])
@pytest.mark.parametrize("strides", [(2, 2), (4, 4), (2, 3), (1, 2)])
def test_aliased_energy_is_that_of_the_spectrum(strides: tuple[int, int], dilations: tuple[int, int]) -> None:
    weight = waves(9, (0, 0), (0.1, 0.3), (0.3, 0.1), (0.2, 0.2)) + 0.2 * noise(4, 3, 9, 9)
    size = 1200
    power = (np.abs(np.fft.fft2(spread(weight, dilations), (size, size))) ** 2).sum(axis=1)
    y, x = (np.abs(np.fft.fftfreq(size)) for _ in range(2))
    # what lies on the edge belongs to both sides
    inside_y, inside_x = (
        np.where(np.isclose(f, 1 / (2 * s)), 0.5, f < 1 / (2 * s)) if s > 1 else np.ones(size)
        for f, s in zip((y, x), strides, strict=True)
    )
    kept = np.einsum("nyx,y,x->n", power, inside_y, inside_x) / power.sum(axis=(1, 2))
    found = measured(one_layer("Conv", weight, strides=strides, dilations=dilations), "ZF107")["layer"]
    assert found.value == pytest.approx(1 - kept.mean(), abs=1e-4)
    assert len(found.channels) == 4
    assert np.diff(kept[list(found.channels)]).min() > -1e-4


def test_weights_that_lie_a_stride_apart_alias_as_single_pixels_do() -> None:
    ones = np.ones((4, 3, 3, 3), np.float32)
    found = [
        measured(one_layer("Conv", ones, strides=[2, 2], dilations=[d, d]), "ZF107")["layer"].value for d in (1, 2)
    ]
    assert found == pytest.approx([0.145, 0.75], abs=1e-3)


@pytest.mark.parametrize(("stride", "share"), [(2, 0.75), (4, 0.9375)])
def test_single_pixels_alias_as_white_noise_does(stride: int, share: float) -> None:
    found = measured(one_layer("Conv", noise(8, 3, 1, 1), strides=[stride, stride]), "ZF107")["layer"]
    assert found.value == pytest.approx(share)
    assert f"of white noise {share:.0%}" in found.said
    assert found.picture is None
    large = measured(one_layer("Conv", noise(500, 3, 5, 5), strides=[stride, stride]), "ZF107")["layer"]
    assert large.value == pytest.approx(share, abs=0.01)


def test_only_strided_convolutions_alias() -> None:
    assert measured(one_layer("Conv", noise(8, 3, 5, 5)), "ZF107") == {}
    assert measured(one_layer("ConvTranspose", noise(3, 8, 5, 5), inputs=3, strides=[2, 2]), "ZF107") == {}


@pytest.mark.parametrize(("stride", "side"), [(2, 48), (4, 24)])
def test_spectra_are_drawn_below_their_filters(stride: int, side: int) -> None:
    found = measured(one_layer("Conv", waves(8, (0, 0), (0.3, 0.3)), strides=[stride] * 2), "ZF107")["layer"]
    assert found.channels == (1, 0)
    assert found.picture is not None
    pixels = np.asarray(found.picture()).astype(int)
    frame = (pixels[..., 0] > 180) & (pixels[..., 1] < 60)
    rows, columns = frame.any(axis=1), frame.any(axis=0)
    assert np.ptp(np.flatnonzero(rows)) == side - 1  # of a cell of 96
    assert np.ptp(np.flatnonzero(columns)) == side - 1 + 106
    top, bottom = np.flatnonzero(rows)[[0, -1]]
    left = np.flatnonzero(columns)[0]
    high, low = (pixels[top + 1 : bottom, x + 1 : x + side - 1, 1].mean() for x in (left, left + 106))
    assert low > 40
    assert high < low / 4


def test_the_spectrum_of_a_dilated_filter_is_drawn_as_it_is_on_the_map() -> None:
    weight = waves(5, (0, 0), (0.1, 0.3))
    drawn: list[np.ndarray] = []
    for filters, dilations in ((weight, (2, 2)), (spread(weight, (2, 2)), (1, 1))):
        found = measured(one_layer("Conv", filters, strides=[3, 3], dilations=dilations), "ZF107")["layer"]
        assert found.picture is not None
        drawn.append(np.asarray(found.picture()).astype(int)[116:212])
    assert np.abs(drawn[0] - drawn[1]).max() <= 1


# windows


def counted(kernel: int, stride: int, dilation: int) -> Sequence[int]:
    """How many windows lie on each place along an axis, far from its ends."""
    places = np.zeros(400, int)
    for start in range(0, 300, stride):
        places[start : start + kernel * dilation : dilation] += 1
    return places[100:200].tolist()


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 6, 7, 11])
def test_overlap_is_what_counting_gives(kernel: int, stride: int, dilation: int) -> None:
    places = counted(kernel, stride, dilation)
    expected = (max(places) / min(places)) ** 2 if min(places) else np.inf
    found = measured(window_layer("MaxPool", kernel, stride, dilation, 64), "ZF108")
    if min(places) or kernel >= stride:
        assert found["layer"].value == expected
    else:
        assert found == {}
    weight = noise(3, 1, kernel, kernel)
    sizes = {"strides": [stride] * 2, "dilations": [dilation] * 2}
    assert measured(one_layer("ConvTranspose", weight, inputs=3, **sizes), "ZF108")["layer"].value == expected


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_pools_of_three_with_stride_two_are_uneven(op: str) -> None:
    found = measured(window_layer(op, 3, 2), "ZF108")["layer"]
    assert found.value == 4
    assert found.said == "windows of 3 with stride 2 cover some places 4 times, others once"


def test_a_transposed_convolution_overlaps_as_well() -> None:
    def overlap(kernel: int, size: int = 32) -> float:
        weight = noise(3, 4, kernel, kernel)
        return measured(one_layer("ConvTranspose", weight, inputs=3, size=size, strides=[2, 2]), "ZF108")["layer"].value

    assert overlap(3) == 4
    assert overlap(4) == 1
    assert overlap(3, size=1) == 1  # a single window


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "said"),
    [
        ((2, 2), (3, 3), (1, 1), "windows of 2 with stride 3 cover some places once, others never"),
        ((1, 1), (2, 2), (1, 1), "windows of 1 with stride 2 cover some places once, others never"),
        ((2, 2), (4, 4), (1, 1), "windows of 2 with stride 4 cover some places once, others never"),
        ((1, 3), (2, 2), (1, 1), "windows of 1x3 with stride 2 cover some places 2 times, others never"),
        ((4, 4), (2, 2), (2, 2), "windows of 4 with stride 2 and dilation 2 cover some places 16 times, others never"),
    ],
)
def test_holes_that_a_transposed_convolution_leaves_are_the_most_uneven(
    kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], said: str
) -> None:
    weight = np.ones((3, 1, *kernel), np.float32)
    model = one_layer("ConvTranspose", weight, inputs=3, size=12, strides=stride, dilations=dilation)
    holes = zfviz.activations(model, np.ones((1, 3, 12, 12), np.float32), "layer")["layer"][0, 0] == 0
    assert holes[8:-8, 8:-8].any()
    found = measured(model, "ZF108")["layer"]
    assert (found.value, found.said) == (np.inf, said)


def test_places_that_a_stride_skips_are_no_overlap_but_those_that_a_dilation_skips_are() -> None:
    def overlap(kernel: tuple[int, int], dilations: tuple[int, int]) -> list[float]:
        model = one_layer("Conv", noise(4, 3, *kernel), strides=[2, 2], dilations=dilations)
        return [m.value for m in measured(model, "ZF108").values()]

    assert overlap((1, 1), (1, 1)) == overlap((1, 1), (2, 2)) == overlap((1, 3), (1, 1)) == []
    assert overlap((3, 3), (2, 2)) == overlap((1, 3), (2, 2)) == overlap((3, 3), (1, 2)) == [np.inf]


def test_holes_are_told_in_every_format_and_found_against_a_baseline() -> None:
    before, after = (
        one_layer("ConvTranspose", noise(3, 4, kernel, kernel), inputs=3, strides=[2, 2]) for kernel in (2, 1)
    )
    alone = zfviz.audit(after)
    assert alone.ok
    baseline = zfviz.audit(before).record()
    audit = zfviz.audit(after, baseline=baseline)
    (finding,) = (finding for finding in audit.findings if finding.check.code == "ZF108")
    assert finding.severity == "warning"
    for rendered in (audit.to_text(), audit.to_markdown(), audit.to_junit(), audit.to_sarif(), audit.to_html()):
        assert "others never" in rendered
        assert "windows on a place: inf" in rendered
    (check,) = (check for check in json.loads(audit.to_json())["checks"] if check["code"] == "ZF108")
    told = check["measurements"][0]
    assert (told["value"], told["value_text"]) == (None, "inf")
    # a record has no number for it, and nothing is worse
    again = zfviz.audit(after, baseline=alone.record().to_json().encode())
    assert not [finding for finding in again.findings if finding.check.code == "ZF108"]


def test_one_window_overlaps_nothing() -> None:
    assert measured(window_layer("AveragePool", 13, 2, size=14), "ZF108")["layer"].value == 1


# ranks


def rotated(shares: Sequence[float], size: int = 64, seed: int = 1) -> np.ndarray:
    """Orthogonal rows, mixed so that the singular values are as given."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((n, len(shares))))[0] for n in (len(shares), size))
    return (left * np.array(shares)) @ right.T


def test_filters_at_right_angles_are_orthogonal_and_of_full_rank() -> None:
    model = one_layer("Conv", (rotated([1.0] * 16) * 5).reshape(16, 16, 2, 2).astype(np.float32))
    assert measured(model, "ZF109")["layer"].value == pytest.approx(1, abs=1e-5)
    assert measured(model, "ZF110")["layer"].value == pytest.approx(1, abs=1e-5)


def test_filters_that_are_the_same_have_rank_one() -> None:
    model = one_layer("Conv", np.outer([1, -2, 3, 4], noise(48)).reshape(4, 3, 4, 4).astype(np.float32))
    assert measured(model, "ZF109")["layer"].value == pytest.approx(0, abs=1e-5)
    assert measured(model, "ZF110")["layer"].value == pytest.approx(0.25, abs=1e-2)


def test_the_effective_rank_is_that_of_the_singular_values() -> None:
    weight = noise(20, 8, 3, 3)
    weight[10:] += 3 * weight[:10]
    rows = weight.reshape(20, -1).astype(float)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shares = np.linalg.svd(rows, compute_uv=False)
    shares /= shares.sum()
    expected = np.exp(-(shares * np.log(shares)).sum()) / 20
    for scale in (1, np.linspace(0.5, 3, 20)[:, None, None, None]):
        model = one_layer("Conv", (weight * scale).astype(np.float32))
        assert measured(model, "ZF110")["layer"].value == pytest.approx(expected, abs=1e-4)


def test_groups_are_matrices_of_their_own() -> None:
    each = noise(6, 4, 3, 3)
    alone = one_layer("Conv", each, inputs=4)
    both = one_layer("Conv", np.concatenate([each, each]), inputs=8, group=2)
    for code in ("ZF109", "ZF110"):
        assert measured(both, code)["layer"].value == pytest.approx(measured(alone, code)["layer"].value, abs=1e-5)
    depthwise = one_layer("Conv", noise(8, 1, 3, 3), inputs=8, group=8)
    assert measured(depthwise, "ZF109") == measured(depthwise, "ZF110") == {}


def test_of_many_filters_some_are_looked_at_and_it_is_said() -> None:
    found = measured(one_layer("Conv", noise(300, 64, 1, 1), size=4), "ZF110")["layer"]
    assert "among 128 of 300 filters" in found.said
    assert found.value > 0.9


@pytest.mark.parametrize(("filters", "size"), [(512, 64), (64, 512), (2048, 2048)])
def test_what_a_rank_costs_is_bounded(monkeypatch: pytest.MonkeyPatch, filters: int, size: int) -> None:
    solve, sides = np.linalg.eigvalsh, list[int]()

    def watch(matrix: np.ndarray) -> np.ndarray:
        sides.append(len(matrix))
        return solve(matrix)

    monkeypatch.setattr(np.linalg, "eigvalsh", watch)
    measured(one_layer("Conv", noise(filters, size, 1, 1), size=4), "ZF110")
    assert sides == [min(filters, size, 128)]


def test_a_collapse_is_found_against_the_baseline() -> None:
    before = everything(trunk(8))

    def collapse(filters: np.ndarray) -> None:
        filters += 0.1 * filters.std() * filters[0] / filters[0].std() * 8

    found = findings(planted(trunk(8), {"conv2/weight": collapse}), before)
    assert ("ZF109", "conv2") in found
    assert ("ZF110", "conv2") in found
    assert {layer for _, layer in found} == {"conv2"}


def test_models_without_kernels_have_nothing_to_measure() -> None:
    assert {code for code, _ in everything(zfviz.load(window_layer("MaxPool", 2, 2)))} == {"ZF101", "ZF108"}

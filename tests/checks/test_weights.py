"""Checks of weights: planted faults are found by the check that is for them, and by no other."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import PHOTO, tiny_network
from onnx import ModelProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from planting import Change, everything, findings, measured, network, noise, one_layer, planted, small_network, trunk

import zfviz
from zfviz.checks.checking import Measurement

Before = dict[tuple[str, str], Measurement]


@pytest.fixture(scope="module")
def before() -> Before:
    return everything(trunk(8))


@pytest.mark.parametrize("name", ["zfnet", "alexnet"])
def test_the_bundled_networks_are_sound(name: str) -> None:
    assert findings(name) == []


def zero(filters: np.ndarray) -> None:
    filters[17] = 0


def fade(filters: np.ndarray) -> None:
    filters[17] *= 0.001


def spoil(filters: np.ndarray) -> None:
    filters[17, 2, 1, 1] = np.nan


def overflow(filters: np.ndarray) -> None:
    filters[17, 2, 1, 1] = np.inf


def repeat(filters: np.ndarray) -> None:
    filters[17] = 2 * filters[5]


def strengthen(filters: np.ndarray) -> None:
    filters[17] *= 100


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (zero, "ZF103"),
        (fade, "ZF103"),
        (spoil, "ZF101"),
        (overflow, "ZF101"),
        (repeat, "ZF105"),
        (strengthen, "ZF104"),
    ],
)
def test_a_fault_is_found_by_its_check_alone(before: Before, layer: str, change: Change, code: str) -> None:
    model = planted(trunk(8), {f"{layer}/weight": change})
    assert set(findings(model, before)) == {(code, layer)}
    found = measured(model, code)[layer]
    assert found.channels == (17,)
    assert "17" in found.said


def test_the_same_weights_give_the_same_numbers(before: Before) -> None:
    again = everything(trunk(8))
    assert {key: (m.value, m.said, m.channels) for key, m in before.items()} == {
        key: (m.value, m.said, m.channels) for key, m in again.items()
    }


class Calibration(CalibrationDataReader):
    """The example, once."""

    def __init__(self) -> None:
        self.feeds = iter([{"image": zfviz.project(tiny_network(), PHOTO, top=1).batch.array}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_the_weights_of_a_quantised_model_are_those_of_its_parent(tmp_path: Path, form: str) -> None:
    parent = planted(tiny_network(), {"w1": lambda w: w.__setitem__(3, 0), "w2": lambda w: w.__setitem__(7, w[2])})
    onnx.save(parent, tmp_path / "parent.onnx")
    options = {"quant_format": QuantFormat[form], "per_channel": True}
    quantize_static(tmp_path / "parent.onnx", tmp_path / "net.onnx", Calibration(), **options)
    wanted, found = everything(parent), everything(zfviz.load(tmp_path / "net.onnx"))
    for code in ("ZF103", "ZF104", "ZF105", "ZF106", "ZF107", "ZF109", "ZF110"):
        # operators of integers are spelled out, and named after their outputs
        before, after = ([m for (other, _), m in all_of.items() if other == code] for all_of in (wanted, found))
        assert [m.value for m in after] == pytest.approx([m.value for m in before], abs=0.02)
        if code in ("ZF103", "ZF105"):
            assert [m.channels for m in after] == [m.channels for m in before]
            assert any(m.channels for m in after)


# numbers that are none


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bias_that_is_no_number_is_found(value: float) -> None:
    def spoil(bias: np.ndarray) -> None:
        bias[[3, 80]] = value

    found = measured(planted(trunk(8), {"conv1/bias": spoil}), "ZF101")["conv1"]
    assert (found.value, found.channels) == (2, (3, 80))
    assert "'conv1/bias'" in found.said


def normed(*, scale: np.ndarray, mask: np.ndarray) -> ModelProto:
    """A batch norm, and an addition of a constant."""
    ones = np.ones_like(scale)
    tensors = {"scale": scale, "shift": 0 * ones, "mean": 0 * ones, "var": ones, "mask": mask}
    nodes = [
        helper.make_node("BatchNormalization", ["image", "scale", "shift", "mean", "var"], ["normed"], "norm"),
        helper.make_node("Add", ["normed", "mask"], ["out"], "masked"),
    ]
    return small_network(nodes, {name: array.astype(np.float32) for name, array in tensors.items()}, len(scale), 8)


def test_the_constants_of_norms_are_looked_at() -> None:
    model = normed(scale=np.array([1, np.inf, 1, 1]), mask=np.zeros(8))
    assert findings(model) == [("ZF101", "norm")]


def test_an_infinity_that_masks_is_meant_but_nan_never_is() -> None:
    masks = np.array([0, -np.inf, 0, 0, 0, 0, 0, 0])
    assert findings(normed(scale=np.ones(4), mask=masks)) == []
    assert findings(normed(scale=np.ones(4), mask=np.nan * masks)) == [("ZF101", "masked")]


def test_denormal_numbers_are_counted_in_the_type_in_which_they_are_stored() -> None:
    weight = noise(8, 4, 4, 4)
    weight[2:4] = 1e-39
    assert measured(one_layer("Conv", weight), "ZF102")["layer"].value == 0.25
    weight[2:4] = 1e-6
    assert measured(one_layer("Conv", weight), "ZF102")["layer"].value == 0
    weight[4:] = 0
    half = one_layer("Conv", weight.astype(np.float16))
    # noise has a few small numbers of its own
    assert measured(half, "ZF102")["layer"].value == pytest.approx(0.25, abs=0.01)


# dead, dominating


@pytest.mark.parametrize(
    ("strengths", "dead"),
    [
        ((1, 1e-3), (1,)),
        ((1e-3, -1, 1e-3), (0, 2)),
        ((1, 1e-3, 0, 0, 0), (1, 2, 3, 4)),
        ((1, -0.9, 1e-3, 1e-3), (2, 3)),
        ((10, 10.2, 0.11, -0.101, 100, 12), (2, 3)),
        ((29, 1, 1, 0.2, 1), (3,)),
        # the strongest is an outlier
        ((31, 1, 1, 0.2, 1), ()),
        ((100, -2, 0.021, -0.019, 0), (3, 4)),
        ((1000, 1, 1, 1), ()),
    ],
)
def test_a_filter_is_dead_below_one_percent_of_the_strongest_weight_or_of_the_second_beside_an_outlier(
    strengths: tuple[float, ...], dead: tuple[int, ...]
) -> None:
    weight = np.zeros((len(strengths), 4, 3, 3), np.float32)
    weight[:, 1, 1, 1] = strengths
    found = measured(one_layer("Conv", weight), "ZF103")["layer"]
    assert found.channels == dead
    assert found.value == len(dead) / len(strengths)


@pytest.mark.parametrize("filters", [4, 5, 16])
def test_one_filter_that_outweighs_weak_ones_is_dominating_where_those_are_not_dead(filters: int) -> None:
    weight = noise(filters, 4, 3, 3)
    weight[1:] *= 1e-3
    assert findings(one_layer("Conv", weight)) == [("ZF104", "layer")]


def test_dead_filters_are_listed() -> None:
    weight = noise(5, 4, 3, 3)
    weight[3:] *= 1e-3
    assert measured(one_layer("Conv", weight), "ZF103")["layer"].said == "2 of 5 filters are dead: 3, 4"


@pytest.mark.parametrize("strengths", [(0,), (0, 0, 0), (1, 0)])
def test_a_filter_of_zeros_is_dead_beside_whatever(strengths: tuple[float, ...]) -> None:
    weight = noise(len(strengths), 3, 5, 5) * np.array(strengths, np.float32)[:, None, None, None]
    model = one_layer("Conv", weight, strides=[2, 2])
    assert findings(model) == [("ZF103", "layer")]
    assert measured(model, "ZF103")["layer"].value == strengths.count(0) / len(strengths)


def test_a_weak_depthwise_filter_is_not_dead() -> None:
    weight = noise(16, 1, 3, 3)
    weight[3] *= 1e-4
    weight[5] *= 1e-8
    weight[7] = 0
    weight[9] *= 1e3
    model = one_layer("Conv", weight, inputs=16, group=16)
    assert measured(model, "ZF103")["layer"].channels == (5, 7)
    assert measured(model, "ZF104") == {}


def test_the_median_is_that_of_live_filters() -> None:
    weight = noise(16, 4, 3, 3)
    weight[:10] *= 1e-5
    assert measured(one_layer("Conv", weight), "ZF104")["layer"].value < 2


def test_a_layer_of_the_weakest_filters_is_measured_all_the_same() -> None:
    for factor in (1e-30, 1e30):
        model = one_layer("Conv", noise(16, 4, 3, 3) * np.float32(factor), strides=[2, 2])
        assert findings(model) == []
        assert measured(model, "ZF104")["layer"].value < 2


def test_the_strongest_filter_of_a_known_input_is_said_in_the_scale_of_the_paper() -> None:
    def spread(filters: np.ndarray) -> None:
        filters[17] = 0.25

    proto = planted(trunk(8), {"conv1/weight": spread})
    assert "an RMS of 0.25 for inputs of +-128" in measured(proto, "ZF104")["conv1"].said
    scaled = zfviz.load(proto, preprocessing={"scale": 1 / 255, "std": [0.5]})
    assert f"an RMS of {0.25 * 2 / 255:.2g} for" in measured(scaled, "ZF104")["conv1"].said
    assert "RMS" not in measured(proto, "ZF104")["conv2"].said
    assert "RMS" not in measured(one_layer("Conv", noise(4, 3, 7, 7)), "ZF104")["layer"].said


def test_channels_of_a_transposed_convolution_are_those_of_its_output() -> None:
    weight = noise(6, 4, 4, 4)  # inputs, outputs of a group, height, width
    weight[3:, 1] = 0
    model = one_layer("ConvTranspose", weight, inputs=6, group=2, strides=[2, 2])
    assert measured(model, "ZF103")["layer"].channels == (5,)


# repeated


def test_scaled_copies_repeat_and_negated_ones_do_not() -> None:
    weight = noise(12, 4, 3, 3)
    weight[7], weight[9], weight[11] = 0.1 * weight[2], -weight[2], weight[2]
    found = measured(one_layer("Conv", weight), "ZF105")["layer"]
    assert found.channels == (7, 11)
    assert found.said.startswith("2 filters repeat an earlier one: 7 is 2, 11 is ")


def test_filters_that_read_different_channels_do_not_repeat() -> None:
    weight = noise(12, 4, 3, 3)
    weight[6] = weight[5]
    weight[8] = weight[7]
    assert measured(one_layer("Conv", weight, inputs=8, group=2), "ZF105")["layer"].channels == (8,)
    blur = np.ones((8, 1, 5, 5), np.float32)
    assert measured(one_layer("Conv", blur, inputs=8, group=8), "ZF105") == {}


def test_short_filters_repeat_where_they_are_the_same_bit_for_bit() -> None:
    weight = noise(12, 1, 3, 3)
    weight[0, 0, 0], weight[3] = 0, weight[0]
    weight[3, 0, 0] *= -1  # zeros of another sign are zeros
    weight[4], weight[7], weight[9], weight[11] = weight[2], -weight[2], 2 * weight[2], weight[2]
    weight[8] = np.nextafter(weight[5], np.float32(9))
    model = one_layer("Conv", weight, inputs=1)
    assert findings(model) == [("ZF105", "layer")]
    found = measured(model, "ZF105")["layer"]
    assert found.channels == (3, 4, 11)
    assert found.said == "3 filters repeat an earlier one bit for bit: 3 is 0, 4 is 2, 11 is 2"


def test_short_filters_of_other_groups_and_constant_or_dead_ones_do_not_repeat() -> None:
    weight = noise(12, 4, 1, 1)
    weight[6], weight[8] = weight[5], weight[7]
    assert measured(one_layer("Conv", weight, inputs=8, group=2), "ZF105")["layer"].channels == (8,)
    means = np.ones((8, 3, 1, 1), np.float32)
    means[4:] = 0
    assert measured(one_layer("Conv", means), "ZF105")["layer"].value == 0
    assert measured(one_layer("Conv", 0 * means), "ZF105")["layer"].value == 0


def test_the_limit_is_the_cosine() -> None:
    rng = np.random.default_rng(4)
    bases = rng.standard_normal((200, 256))
    others = rng.standard_normal((200, 256))
    bases /= np.linalg.norm(bases, axis=1, keepdims=True)
    others -= (others * bases).sum(axis=1, keepdims=True) * bases
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    for cosine, expected in ((0.9992, 200), (0.9988, 0)):
        turned = cosine * bases + np.sqrt(1 - cosine**2) * others
        weight = np.concatenate([bases, turned]).astype(np.float32).reshape(400, 256, 1, 1)
        assert measured(one_layer("Conv", weight, size=8), "ZF105")["layer"].value == expected


def test_filters_that_are_all_the_same_are_counted_once_each() -> None:
    model = one_layer("Conv", np.ones((2500, 32, 1, 1), np.float32), size=4)
    assert measured(model, "ZF105")["layer"].value == 2499


# batch norms, pictures


def test_small_scales_of_a_batch_norm_are_counted() -> None:
    found = measured(normed(scale=np.array([2, -0.03, 0.019, 0]), mask=np.zeros(8)), "ZF111")["norm"]
    assert (found.value, found.channels) == (0.5, (2, 3))
    faint = measured(normed(scale=np.array([1e-2, 2e-3, -9e-4, 9e-4]), mask=np.zeros(8)), "ZF111")["norm"]
    assert faint.channels == (2, 3)


@pytest.mark.parametrize(("change", "code"), [(zero, "ZF103"), (repeat, "ZF105"), (strengthen, "ZF104")])
def test_the_evidence_is_drawn(change: Change, code: str) -> None:
    found = measured(planted(trunk(8), {"conv2/weight": change}), code)["conv2"]
    assert found.picture is not None
    drawn = found.picture()
    assert drawn.mode == "RGB"
    assert drawn.size[0] < 1000
    assert np.asarray(drawn).std() > 1


def cell(measurement: Measurement, place: int) -> np.ndarray:
    """What is drawn of the filter at a place."""
    assert measurement.picture is not None
    return np.asarray(measurement.picture())[10:106, 10 + 106 * place :][:, :96].astype(int)


def test_dead_filters_are_grey_beside_the_strongest() -> None:
    dead = cell(measured(planted(trunk(8), {"conv1/weight": fade}), "ZF103")["conv1"], 0)
    assert np.abs(dead - 128).max() <= 1
    strongest = measured(planted(trunk(8), {"conv1/weight": strengthen}), "ZF104")["conv1"]
    assert np.abs(cell(strongest, 0) - 128).max() == 127
    assert np.abs(cell(strongest, 1) - 128).max() < 30


def test_filters_that_repeat_look_the_same() -> None:
    found = measured(planted(trunk(8), {"conv1/weight": repeat}), "ZF105")["conv1"]
    assert (cell(found, 0) == cell(found, 1)).all()
    assert cell(found, 0).std() > 10


def test_of_many_channels_the_strongest_is_drawn() -> None:
    weight = noise(8, 4, 5, 5)
    weight[:, [0, 1, 3]] *= 1e-3
    drawn = cell(measured(one_layer("Conv", weight), "ZF104")["layer"], 0)
    assert np.abs(drawn - 128).max() > 100


def test_dense_layers_and_single_pixels_have_no_picture() -> None:
    def silence(rows: np.ndarray) -> None:
        rows[4] = 0

    found = measured(planted(network("zfnet"), {"fc7/weight": silence}), "ZF103")["fc7"]
    assert (found.channels, found.picture) == ((4,), None)
    weight = noise(8, 4, 1, 1)
    weight[4] = 0
    found = measured(one_layer("Conv", weight), "ZF103")["layer"]
    assert (found.channels, found.picture) == ((4,), None)

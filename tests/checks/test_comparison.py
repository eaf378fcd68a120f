"""Comparison with a baseline: what was planted is found, what is the same is said to be."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import tiny_network
from crops import crops
from onnx import ModelProto, numpy_helper
from PIL import Image

import zfviz
from zfviz.checks import auditing, before_after, comparison
from zfviz.checks.auditing import Audit
from zfviz.checks.checking import Measurement, all_checks
from zfviz.checks.reading import read_baseline
from zfviz.checks.records import Baseline
from zfviz.errors import UnsupportedError

CHECKS = tuple(check for check in all_checks() if check.group == "baseline")
PERFECT = {
    "ZF501": 0,
    "ZF502": 0,
    "ZF503": 1,
    "ZF504": comparison.CEILING,
    "ZF505": 0,
    "ZF506": 0,
    "ZF507": 0,
    "ZF508": 0,
}

Compare = Callable[..., Audit]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    crops(folder)
    return folder


@pytest.fixture(scope="module")
def zfnet(pictures: Path) -> Baseline:
    """ZFNet as the baseline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditing, "all_checks", lambda: CHECKS)
        return read_baseline("zfnet", sorted(pictures.iterdir()), "cpu", 1)


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Compare:
    """An audit by the checks of comparison only."""
    monkeypatch.setattr(auditing, "all_checks", lambda: CHECKS)
    return lambda model, baseline, images=None: zfviz.audit(model, images, baseline, config={}, device="cpu", threads=1)


def told(audit: Audit, code: str) -> dict[str, Measurement]:
    """What a check said, by layer."""
    (result,) = (result for result in audit.results if result.check.code == code)
    assert not result.skipped, result.skipped
    return {measurement.layer: measurement for measurement in result.measurements}


def skipped(audit: Audit, code: str) -> str:
    """Why a check was not run."""
    (result,) = (result for result in audit.results if result.check.code == code)
    return result.skipped


def found(audit: Audit) -> set[str]:
    """The codes of the findings."""
    return {finding.check.code for finding in audit.findings}


def with_weights(change: Callable[[dict[str, np.ndarray]], object], **options: object) -> ModelProto:
    """The small network with other weights w1, w2 and w3."""
    proto = tiny_network(**options)
    weights = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in proto.graph.initializer}
    change(weights)
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return proto


@pytest.mark.parametrize("kind", ["model", "record", "written record"])
def test_the_same_model_is_the_same(kind: str, tiny: ModelProto, pictures: Path, tmp_path: Path, compare) -> None:
    before: object = tiny
    if kind != "model":
        before = compare(tiny, None, pictures).record()
    if isinstance(before, Baseline) and kind == "written record":
        before, record = tmp_path / "tiny.json", before
        before.write_text(record.to_json())
    audit = compare(tiny, before, pictures)
    assert not audit.findings
    for result in audit.results:
        if result.skipped:
            assert (kind != "model", result.check.code) == (True, "ZF504")
            assert result.skipped == "the baseline is a record, which has no activations; expected a model"
        else:
            assert {measurement.value for measurement in result.measurements} == {PERFECT[result.check.code]}
    assert told(audit, "ZF501").keys() == {"conv1", "conv2", "fc"}
    assert told(audit, "ZF502").keys() == told(audit, "ZF505").keys() == {"relu1", "relu2"}


def test_a_filter_that_was_tuned_has_moved(tiny: ModelProto, compare) -> None:
    def tune(weights: dict[str, np.ndarray], by: float) -> None:
        filter_ = weights["w2"][5]
        noise = np.random.default_rng(3).standard_normal(filter_.shape)
        weights["w2"][5] += by * np.linalg.norm(filter_) * noise / np.linalg.norm(noise)

    audit = compare(with_weights(lambda w: tune(w, 0.5)), tiny)
    moved = told(audit, "ZF501")
    assert moved["conv2"].channels == (5,)
    assert moved["conv2"].value == 1 / 12
    assert moved["conv2"].said == "1 of 12 filters moved by more than 10% of their norm, farthest first: 5"
    assert not moved["conv1"].channels
    assert not moved["fc"].channels
    assert "ZF501" not in found(audit)
    slightly = compare(with_weights(lambda w: tune(w, 0.05)), tiny)
    assert not told(slightly, "ZF501")["conv2"].channels


def test_filters_that_moved_come_farthest_first_and_those_that_are_no_numbers_too(tiny: ModelProto, compare) -> None:
    def tune(weights: dict[str, np.ndarray]) -> None:
        weights["w1"][2] *= 1.5
        weights["w1"][6] *= -1
        weights["w3"][1, 3] = np.nan

    audit = compare(with_weights(tune), compare(tiny, None).record())
    assert told(audit, "ZF501")["conv1"].channels == (6, 2)
    assert told(audit, "ZF501")["fc"].channels == (1,)


def test_layers_that_are_gone_new_or_of_another_shape_are_counted(tiny: ModelProto, pictures: Path, compare) -> None:
    def narrow(weights: dict[str, np.ndarray]) -> None:
        weights.update(w2=weights["w2"][:10], w3=weights["w3"][:, :10])

    narrower = with_weights(narrow)
    audit = compare(narrower, tiny, pictures)
    (change,) = told(audit, "ZF506").values()
    assert change.value == 2
    assert change.said == "conv2 was 12x8x3x3 and is 10x8x3x3, fc was 3x12 and is 3x10"
    assert found(audit) >= {"ZF506"}
    assert told(audit, "ZF501").keys() == {"conv1"}
    assert told(audit, "ZF502").keys() == told(audit, "ZF505").keys() == {"relu1"}
    assert told(audit, "ZF504").keys() == {"relu1", "fc"}

    renamed = tiny_network()
    renamed.graph.node[0].name = "first"
    assert told(compare(renamed, tiny), "ZF506")[""].value == 0
    assert told(compare(renamed, tiny), "ZF501")["first"].value == 0
    renamed = with_weights(narrow)
    renamed.graph.node[3].name = "second"
    renamed.graph.node[3].input[1] = renamed.graph.initializer[1].name = "w9"
    assert told(compare(renamed, tiny), "ZF506")[""].said == (
        "fc was 3x12 and is 3x10, conv2 (12x8x3x3) is gone, second (10x8x3x3) is new"
    )


def test_a_channel_that_was_killed_is_dead(tiny: ModelProto, pictures: Path, compare) -> None:
    def kill(weights: dict[str, np.ndarray]) -> None:
        weights["w1"][2] = 0

    killed = with_weights(kill)
    audit = compare(killed, tiny, pictures)
    dead = told(audit, "ZF505")["relu1"]
    assert dead.channels == (2,)
    assert dead.value == 1 / 8
    assert dead.said == "1 of 8 channels fell silent for the 24 pictures that both saw: 2"
    assert told(audit, "ZF502")["relu1"].channels == (2,)
    assert "ZF505" in found(audit)
    assert not told(compare(killed, killed, pictures), "ZF505")["relu1"].channels
    assert not told(compare(tiny, killed, pictures), "ZF505")["relu1"].channels


@pytest.mark.parametrize("fault", ["colours", "scale", "mean"])
def test_a_wrong_preprocessing_is_found(fault: str, zfnet: Baseline, pictures: Path, compare) -> None:
    model = zfnet.model
    assert model is not None
    right = model.preprocessing
    wrong = {
        "colours": replace(right, colour="BGR"),
        "scale": replace(right, scale=1 / 255),
        "mean": replace(right, mean=(0.0,)),
    }[fault]
    audit = compare(replace(model, preprocessing=wrong), zfnet, pictures)
    assert found(audit) >= {"ZF503", "ZF504", "ZF507"}
    assert all(one.value < 10 for one in told(audit, "ZF504").values())
    assert told(audit, "ZF501")["conv1"].value == 0
    if fault != "mean":
        assert "ZF502" in found(audit)
    changed = told(audit, "ZF503")[""]
    flipped = round((1 - changed.value) * 24)
    assert changed.said.startswith(f"{flipped} of the 24 pictures that both saw changed their class: {changed.image}")
    if fault == "colours":
        check_picture_of(told(audit, "ZF502")["relu3"])


def check_picture_of(measurement: Measurement) -> None:
    """The evidence: before in the upper row, after in the lower one, four channels."""
    assert measurement.picture is not None
    drawn = np.asarray(measurement.picture(), int)
    assert drawn.shape == (341, 668, 3)
    before, after = drawn[12:152, 60:], drawn[164:304, 60:]
    assert np.abs(before - after).mean() > 5
    # neither is empty
    assert before[:, :140].std() > 5
    assert after[:, :140].std() > 5


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_integers_of_eight_bits_are_close(form: str, tiny: ModelProto, pictures: Path, tmp_path: Path, compare) -> None:
    path = quantised(tiny, sorted(pictures.iterdir()), form, tmp_path)
    audit = compare(path, tiny, pictures)
    assert not audit.findings
    assert len(told(audit, "ZF504")) == 3
    assert all(20 < one.value < 60 for one in told(audit, "ZF504").values())
    assert [one.value for one in told(audit, "ZF501").values()] == [0, 0, 0]
    assert len(told(audit, "ZF502")) == len(told(audit, "ZF505")) == 2
    assert told(audit, "ZF506")[""].value == 0


def test_integers_of_a_range_too_small_are_not(tiny: ModelProto, pictures: Path, tmp_path: Path, compare) -> None:
    # what an image of one dark grey gives is no range for pictures
    grey = tmp_path / "grey.png"
    Image.new("RGB", (32, 32), (120, 115, 104)).save(grey)
    audit = compare(quantised(tiny, [grey], "QDQ", tmp_path), tiny, pictures)
    assert "ZF504" in found(audit)


def quantised(model: ModelProto, paths: list[Path], form: str, folder: Path) -> Path:
    """The model with integers of 8 bits, their ranges those that these pictures give."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    loaded = zfviz.load(model)
    images = zfviz.studies.inputs.read_batch(loaded, paths).array

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {"image": image[None]}

    onnx.save(model, folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "int8.onnx", Images(), quant_format=QuantFormat[form])
    return folder / "int8.onnx"


@pytest.mark.parametrize(("by", "decibels"), [(1.1, 20), (0.99, 40), (2, 0), (-1, -6.0206)])
def test_signal_over_noise_is_in_decibels(
    by: float, decibels: float, tiny: ModelProto, pictures: Path, compare
) -> None:
    def scale(weights: dict[str, np.ndarray]) -> None:
        weights["w3"] *= by

    scaled = with_weights(scale)
    for images in (None, pictures):
        audit = compare(scaled, tiny, images)
        assert told(audit, "ZF504")["fc"].value == pytest.approx(decibels, abs=0.01)
        assert told(audit, "ZF504")["relu2"].value == comparison.CEILING
        assert ("ZF504" in found(audit)) == (decibels < 10)
    assert told(compare(scaled, tiny), "ZF504")["fc"].said.startswith("signal over noise for an image of noise")


def test_the_noise_is_said_to_be_of_the_channels_with_most_of_it(tiny: ModelProto, pictures: Path, compare) -> None:
    def scale(weights: dict[str, np.ndarray]) -> None:
        weights["w1"][5] *= 2
        weights["w1"][3] *= 40
        weights["w1"][1] *= 1.01

    noisy = told(compare(with_weights(scale), tiny, pictures), "ZF504")["relu1"]
    assert noisy.channels == (3, 5)
    assert noisy.said == "signal over noise for 8 pictures, the noise is mostly of 3, 5"


def test_activations_that_are_no_numbers_are_a_finding(tiny: ModelProto, compare) -> None:
    def spoil(weights: dict[str, np.ndarray]) -> None:
        weights["w3"][0, 0] = np.nan

    audit = compare(with_weights(spoil), tiny)
    assert np.isnan(told(audit, "ZF504")["fc"].value)
    assert "ZF504" in found(audit)


def test_nothing_is_no_noise(tiny: ModelProto, compare) -> None:
    def silence(weights: dict[str, np.ndarray]) -> None:
        weights["w1"][:] = 0

    silent = with_weights(silence)
    assert told(compare(silent, silent), "ZF504")["relu1"].value == comparison.CEILING
    assert told(compare(tiny, silent), "ZF504")["relu1"].value == -comparison.CEILING


def test_noise_of_another_size_is_not_compared(tiny: ModelProto, pictures: Path, compare) -> None:
    larger = tiny_network(size=48)
    assert skipped(compare(larger, tiny), "ZF504").startswith("the models take images of different size")
    assert told(compare(larger, tiny, pictures), "ZF504").keys() == {"fc"}


def test_pictures_are_known_by_what_is_in_them(tiny: ModelProto, pictures: Path, tmp_path: Path, compare) -> None:
    before = compare(tiny, None, pictures).record()
    others = tmp_path / "others"
    others.mkdir()
    crops(others, 4)
    for index, path in enumerate(sorted(pictures.iterdir(), reverse=True)):
        (others / f"x{index:02}.png").write_bytes(path.read_bytes())
    # of the 28 files, four are there twice
    audit = compare(tiny, before, others)
    assert not audit.findings
    assert told(audit, "ZF503")[""].said == "0 of the 24 pictures that both saw changed their class"
    assert told(audit, "ZF502")["relu2"].said.endswith(" channels respond to others of the 24 pictures that both saw")

    alone = tmp_path / "alone"
    alone.mkdir()
    crops(alone, 3)
    (alone / "02.png").write_bytes((others / "x00.png").read_bytes() + b"another file")
    few = compare(tiny, before, alone)
    for code in ("ZF502", "ZF503", "ZF505"):
        assert skipped(few, code) == "too few pictures that the baseline saw too: 2; expected 20 or more"
    assert skipped(compare(tiny, compare(tiny, None).record(), pictures), "ZF503").startswith("the baseline has no cl")


def test_pictures_are_drawn_when_they_are_asked_for(
    tiny: ModelProto, pictures: Path, monkeypatch: pytest.MonkeyPatch, compare
) -> None:
    def kill(weights: dict[str, np.ndarray]) -> None:
        weights["w1"][2] = 0

    calls: list[Any] = []
    real = before_after.project
    monkeypatch.setattr(before_after, "project", lambda *args, **options: calls.append(args) or real(*args, **options))
    audit = compare(with_weights(kill), tiny, pictures)
    assert not calls
    dead = told(audit, "ZF505")["relu1"]
    assert dead.picture is not None
    drawn = np.asarray(dead.picture(), int)
    assert [(args[2], args[3]) for args in calls] == [("relu1", [2])] * 2
    assert calls[0][1].name == dead.image
    assert [args[0] for args in calls] == [audit.subject.baseline.model, audit.model]
    before, after = drawn[12:152, 60:200], drawn[164:304, 60:200]
    assert before.std() > 5
    # grey, and a word on it
    assert np.median(after) == 128
    assert (after == 128).mean() > 0.9

    def refuse(*args: object, **options: object) -> None:
        raise UnsupportedError("no rule")

    monkeypatch.setattr(before_after, "project", refuse)
    assert (np.asarray(dead.picture(), int)[12:152, 60:200] == 128).mean() > 0.8
    assert (
        told(compare(with_weights(kill), compare(tiny, None, pictures).record(), pictures), "ZF505")["relu1"].picture
        is None
    )


def test_healthy_layers_have_no_picture(tiny: ModelProto, pictures: Path, compare) -> None:
    audit = compare(tiny, tiny, pictures)
    assert all(m.picture is None and not m.image and not m.channels for r in audit.results for m in r.measurements)

"""What is remembered of one pass over pictures: the numbers are those of the activations, whatever the model's form."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_network
from crops import crops
from onnx import ModelProto
from showing import PLAIN, greys, spelled

import zfviz
from zfviz.checks import responses
from zfviz.checks.responses import Responses, see
from zfviz.errors import ImageError, ModelError
from zfviz.runtime.running import IMAGES_AT_ONCE


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """More pictures than go together."""
    return crops(tmp_path_factory.mktemp("crops"), 11)


def seen(model: ModelProto | zfviz.Model, paths: Sequence[Path]) -> Responses:
    return see(zfviz.load(model), paths, "cpu", None)


def test_the_numbers_are_those_of_the_activations(tiny: ModelProto, shown: list[Path]) -> None:
    found = seen(tiny, shown)
    assert len(shown) > IMAGES_AT_ONCE
    assert [one.layer.name for one in found.layers] == ["relu1", "relu2"]
    for one in found.layers:
        maps = zfviz.activations(tiny, shown, one.layer.name)[one.layer.name]
        flat = maps.reshape(*maps.shape[:2], -1)
        assert 0.1 < one.zeros.mean() < 0.9
        assert one.peaks.dtype == np.float32
        assert np.array_equal(one.peaks, flat.max(axis=2))
        assert np.array_equal(one.fired, (flat > 0).any(axis=2))
        assert np.array_equal(one.never_zero, (flat > 0).all(axis=2))
        assert np.allclose(one.zeros, (flat == 0).mean(axis=2))
        assert one.not_finite.tolist() == [0] * len(shown)
    scores = zfviz.activations(tiny, shown, "fc")["fc"]
    assert found.top1 is not None
    assert found.top1.tolist() == scores.argmax(axis=1).tolist()
    assert {name: counts.tolist() for name, counts in found.outputs.items()} == {"softmax": [0] * len(shown)}


def test_images_are_known_by_name_and_by_file(tiny: ModelProto, shown: list[Path]) -> None:
    found = seen(tiny, shown)
    other = seen(zfviz.load(tiny, preprocessing="caffe"), shown)
    assert list(found.names) == [path.name for path in shown]
    assert list(found.pictures) == [sha256(path.read_bytes()).hexdigest() for path in shown]
    assert found.pictures == other.pictures


@pytest.mark.parametrize("form", [{"batch": 1}, {"batch": 4}, {"nhwc": True}])
def test_a_model_of_another_form_gives_the_same(form: dict[str, object], shown: list[Path]) -> None:
    found, plain = seen(tiny_network(**form), shown), seen(tiny_network(), shown)
    for one, other in zip(found.layers, plain.layers, strict=True):
        assert np.allclose(one.peaks, other.peaks, atol=1e-5)
        assert np.allclose(one.zeros, other.zeros, atol=1e-3)
        assert one.layer.shape == other.layer.shape
    assert found.top1 is not None
    assert plain.top1 is not None
    assert found.top1.tolist() == plain.top1.tolist()


def test_a_model_that_leaves_its_batch_open_but_takes_one_image_is_seen_too(shown: list[Path]) -> None:
    proto = spelled(
        "a = Conv(x, w)  r = Relu(a)  f = Reshape(r, one)  y = Relu(f)",
        {"w": (4, 3, 3, 3), "one": np.array([1, 4, 14, 14])},
    )
    with pytest.raises(ModelError):
        zfviz.activations(proto, shown, "y")
    first, last = seen(proto, shown).layers
    assert first.peaks.shape == (len(shown), 4)
    assert np.array_equal(first.peaks, last.peaks)


def test_memory_does_not_grow_with_the_number_of_pictures(
    tiny: ModelProto, shown: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []
    run = responses.run_forward

    def counted(session: object, image: object, batch: np.ndarray, *args: object, **options: object) -> object:
        together.append(len(batch))
        return run(session, image, batch, *args, **options)

    monkeypatch.setattr(responses, "run_forward", counted)
    seen(tiny, shown)
    assert together == [8, 3]
    together.clear()
    numbers = 8 * 16 * 16 + 12 * 8 * 8 + 3 + 3
    monkeypatch.setattr("zfviz.runtime.running.MEMORY", 3 * 4 * numbers)
    seen(tiny, shown)
    assert together == [3, 3, 3, 2]


def test_what_is_not_finite_is_counted_and_peaks_are_of_the_rest(tmp_path: Path) -> None:
    paths = greys(tmp_path, {2: 0})
    found = seen(zfviz.load(spelled("a = Reciprocal(x)  y = Relu(a)"), preprocessing=PLAIN), paths)
    (one,) = found.layers
    assert one.not_finite.tolist() == [0, 0, 3, 0, 0]
    assert found.outputs["y"].tolist() == [0, 0, 3, 0, 0]
    assert np.allclose(one.peaks, 255 / np.arange(40, 45)[:, None], rtol=1e-4)
    assert one.never_zero.all()


def test_a_channel_without_a_finite_value_has_a_peak_of_zero(tmp_path: Path) -> None:
    proto = spelled("a = Mul(x, c)  y = Relu(a)", {"c": np.array([1, np.nan, 1]).reshape(1, 3, 1, 1)})
    (one,) = seen(zfviz.load(proto, preprocessing=PLAIN), greys(tmp_path, {}, 2)).layers
    assert one.not_finite.tolist() == [256, 256]
    assert one.peaks[:, 1].tolist() == [0, 0]
    assert one.fired.tolist() == [[True, False, True]] * 2


def test_inner_nodes_of_an_activation_are_no_rectifiers_of_their_own(shown: list[Path]) -> None:
    body = "a = Conv(x, w)  b = Add(a, three)  c = Clip(b, zero, six)  y = Mul(a, c)"
    numbers = {"zero": np.float32(0), "three": np.float32(3), "six": np.float32(6)}
    found = seen(spelled(body, {"w": (4, 3, 3, 3), **numbers}), shown)
    assert [one.layer.name for one in found.layers] == ["y"]
    assert not found.gates


def test_without_rectifiers_the_outputs_of_conv_serve(shown: list[Path]) -> None:
    found = seen(spelled("a = Conv(x, w)  y = Tanh(a)", {"w": (4, 3, 3, 3)}), shown)
    assert [one.layer.name for one in found.layers] == ["a"]
    assert found.top1 is None


SQUEEZED = "r = Conv(x, w)  p = GlobalAveragePool(r)  h = Conv(p, v, b)"
GATED = {"w": (4, 3, 3, 3), "v": np.zeros((4, 4, 1, 1)), "b": np.array([-20.0, 0, 1, 20])}


@pytest.mark.parametrize("gate", ["Sigmoid", "HardSigmoid"])
def test_gates_are_what_others_are_multiplied_by(gate: str, shown: list[Path]) -> None:
    proto = spelled(f"{SQUEEZED}  g = {gate}(h)  y = Mul(r, g)", GATED)
    (one,) = seen(proto, shown).gates
    assert (one.layer.name, one.bounds) == ("g", (0, 1))
    assert one.saturated.tolist() == [[1, 0, 0, 1]] * len(shown)


def test_a_gate_that_is_turned_on_its_way_is_one(shown: list[Path]) -> None:
    proto = spelled(f"{SQUEEZED}  g = Sigmoid(h)  i = Identity(g)  y = Mul(i, r)", GATED)
    assert [one.layer.name for one in seen(proto, shown).gates] == ["g"]


@pytest.mark.parametrize(
    "rest",
    ["y = Sigmoid(h)", "s = Sigmoid(h)  y = Mul(h, s)", "s = Sigmoid(h)  y = Mul(s, two)"],
    ids=["a probability", "a part of SiLU", "a scaled output"],
)
def test_other_sigmoids_are_no_gates(rest: str, shown: list[Path]) -> None:
    found = seen(spelled(f"{SQUEEZED} {rest}", {**GATED, "two": np.float32(2)}), shown)
    assert not found.gates


@pytest.mark.parametrize("rest", ["y = Clip(h, zero, six)", "r = Relu(h)  y = Min(r, six)"])
def test_a_rectifier_with_a_bound_saturates_there(rest: str, shown: list[Path]) -> None:
    bias = {"w": np.zeros((4, 3, 3, 3)), "b": np.array([-20.0, 0, 1, 20])}
    numbers = {"zero": np.float32(0), "six": np.float32(6)}
    (one,) = seen(spelled(f"h = Conv(x, w, b)  {rest}", {**bias, **numbers}), shown).gates
    assert (one.layer.name, one.bounds) == ("y", (6,))
    assert one.saturated.tolist() == [[0, 0, 0, 1]] * len(shown)


def test_what_is_not_finite_changes_no_gate(tmp_path: Path) -> None:
    body = "a = Div(x, x)  b = Mul(a, c)  y = Clip(b, zero, six)"
    numbers = {"c": np.array([1.0, 6, 7]).reshape(1, 3, 1, 1), "zero": np.float32(0), "six": np.float32(6)}
    found = see(zfviz.load(spelled(body, numbers), preprocessing=PLAIN), greys(tmp_path, {2: 0}), "cpu", None)
    (gate,) = found.gates
    assert np.allclose(gate.saturated.mean(axis=0), [0, 1 - 1 / 5 / 256, 1 - 1 / 5 / 256])


def test_what_is_no_picture_is_refused(tiny: ModelProto, shown: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"text\.png"):
        seen(tiny, [*shown, tmp_path / "text.png"])

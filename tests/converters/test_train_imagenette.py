"""The training program, on noise: a run that stops goes on as if it had not, and what it writes is what it trained."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import zfviz
from zfviz.models.networks import Norm

pytest.importorskip("torch", reason="it trains with torch; install zfviz[oracle,exporters]")
pytest.importorskip("torchvision", reason="it reads pictures with torchvision; install zfviz[exporters]")

import torch
import train_imagenette as training

RECIPE = training.Recipe(stages=((1, 112, 8), (1, 128, 8)), width=8)


@pytest.fixture(scope="module")
def pictures() -> dict[str, list[tuple[torch.Tensor, int]]]:
    noise = torch.Generator().manual_seed(0)
    return {
        split: [
            (torch.randint(0, 255, (3, 224, 250), dtype=torch.uint8, generator=noise), n % 10) for n in range(count)
        ]
        for split, count in (("train", 16), ("val", 10))
    }


@pytest.mark.slow
def test_a_run_that_stops_goes_on_as_if_it_had_not(pictures, tmp_path: Path) -> None:
    training.train("alexnet", pictures, RECIPE, tmp_path / "whole")
    (tmp_path / "stopped").mkdir()
    run = training.Run("alexnet", RECIPE, tmp_path / "stopped")
    run.train_epoch(pictures["train"])
    run.save()
    training.train("alexnet", pictures, RECIPE, tmp_path / "stopped")
    whole, stopped = (dict(np.load(tmp_path / name / "weights.npz")) for name in ("whole", "stopped"))
    for name, weight in whole.items():
        np.testing.assert_array_equal(weight, stopped[name], name)
    assert len((tmp_path / "whole" / "curve.csv").read_text().splitlines()) == 3
    with pytest.raises(SystemExit, match="found a run of alexnet"):
        training.Run("alexnet", training.Recipe(), tmp_path / "whole")


@pytest.mark.parametrize("name", ["alexnet", "zfnet"])
def test_what_is_written_is_what_was_trained(name: str, tmp_path: Path) -> None:
    run = training.Run(name, RECIPE, tmp_path)
    noise = torch.Generator().manual_seed(1)
    for module in run.net:
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                values.data.uniform_(0.2, 1, generator=noise)
    images = training.ready(torch.randint(0, 255, (2, 3, 224, 224), dtype=torch.uint8, generator=noise))
    with torch.no_grad():
        expected = run.net.eval()(images).numpy()
    training.write_model(tmp_path / "net.onnx", name, run.layers, training.folded(run.net, run.layers))
    model = zfviz.load(tmp_path / "net.onnx")
    found = zfviz.activations(model, images.contiguous().numpy(), "fc8")["fc8"]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert model.preprocessing.to_json() == training.PREPROCESSING.to_json()
    assert list(model.labels.values()) == list(training.CLASSES.values())


def test_contrast_normalisation_is_that_of_onnx_on_maps_64_times_as_large() -> None:
    layer = Norm("norm")
    values = torch.randn(1, 12, 4, 5, generator=torch.Generator().manual_seed(2))
    node = onnx.helper.make_node(
        "LRN", ["x"], ["y"], size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.bias
    )
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 12, 4, 5]) for n in "xy")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y]), ir_version=8)
    model.opset_import[0].version = 17
    large = training.CONTRAST * values
    found = ort.InferenceSession(model.SerializeToString()).run(None, {"x": large.numpy()})[0]
    ours = training.ContrastNorm(layer, 12)(values).numpy()
    np.testing.assert_allclose(found / training.CONTRAST, ours, rtol=1e-5, atol=1e-6)


def test_a_run_that_diverges_ends_and_keeps_the_epoch_before(pictures, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(training.Run, "train_epoch", lambda run, _: float("nan"))
    with pytest.raises(SystemExit, match="the loss is nan; expected a number"):
        training.train("zfnet", pictures, RECIPE, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_of_another_network_is_not_gone_on_with(tmp_path: Path) -> None:
    training.Run("zfnet", RECIPE, tmp_path).save()
    with pytest.raises(SystemExit, match=r"found a run of zfnet .*; expected alexnet "):
        training.Run("alexnet", RECIPE, tmp_path)


def test_filters_stay_within_the_radius(tmp_path: Path) -> None:
    run = training.Run("zfnet", RECIPE, tmp_path)
    conv = run.net.conv2
    with torch.no_grad():
        conv.weight[:3] *= 1000
    small = conv.weight[3:].clone()
    run.keep_within_radius()
    sizes = conv.weight.square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(sizes[:3], torch.full((3,), training.RADIUS))
    torch.testing.assert_close(conv.weight[3:], small)


def test_a_file_that_is_not_imagenette_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "imagenette2-320.tgz"
    archive.write_bytes(b"other")
    with pytest.raises(SystemExit, match="found SHA-256"):
        training.fetch(archive)
    with pytest.raises(SystemExit, match="is no archive; expected one as https://"):
        training.read_pictures(archive)

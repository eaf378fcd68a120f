"""The contract that anyone can use: two ONNX files that plain onnxruntime chains, with the pixels of `project`."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import tiny_network
from onnx.external_data_helper import ExternalDataInfo

import zfviz
from zfviz.errors import ModelError, OutputError
from zfviz.studies.graphs import write_graph, write_pair
from zfviz.tolerances import SAME_GRAPH

LAYER = "relu2"
IMAGE = np.random.default_rng(5).standard_normal((1, 3, 32, 32), dtype=np.float32)


def chained(forward: str | bytes, companion: str | bytes) -> np.ndarray:
    """The pixels of the strongest unit of LAYER, as the README computes them."""
    ahead, back = ort.InferenceSession(forward), ort.InferenceSession(companion)
    names = [o.name for o in ahead.get_outputs()]
    values = dict(zip(names, ahead.run(names, {"image": IMAGE}), strict=True))
    maps = values["r2"]
    signal = np.where(maps == maps.max(), maps, 0)
    asked = {i.name: values[i.name] for i in back.get_inputs() if i.name != "signal"}
    return back.run(["pixels"], {"signal": signal, **asked})[0]


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() <= 10 * SAME_GRAPH * np.abs(expected).max())


@pytest.fixture
def expected(tiny) -> np.ndarray:
    return zfviz.project(tiny, IMAGE, layer=LAYER, top=1).pixels


@pytest.mark.parametrize("unpool", ["scatter", "maxunpool"])
@pytest.mark.parametrize("method", ["deconvnet", "guided", "gradient"])
def test_graphs_chain_to_the_pixels_of_project(tiny, method: str, unpool: str) -> None:
    forward, back = zfviz.expose(tiny, [LAYER], method), zfviz.companion(tiny, LAYER, method, unpool)
    expected = zfviz.project(tiny, IMAGE, layer=LAYER, top=1, method=method).pixels
    assert same(chained(forward.SerializeToString(), back.SerializeToString()), expected)
    ops = {node.op_type for node in back.graph.node}
    assert ("MaxUnpool" in ops, "ScatterElements" in ops) == (unpool == "maxunpool", unpool == "scatter")


def test_shared_weights_lie_in_one_file_once(tiny, expected: np.ndarray, tmp_path: Path) -> None:
    for tensor in tiny.graph.initializer:
        assert tensor.ByteSize() > 100
    paths = write_pair(
        zfviz.expose(tiny, [LAYER]),
        tmp_path / "f.onnx",
        zfviz.companion(tiny, LAYER),
        tmp_path / "c.onnx",
        zfviz.load(tiny).source,
    )
    assert {p.name for p in paths} == {"f.onnx", "c.onnx", "f.onnx.data"}
    assert same(chained(str(tmp_path / "f.onnx"), str(tmp_path / "c.onnx")), expected)
    places = []
    for name in ("f.onnx", "c.onnx"):
        graph = onnx.load(tmp_path / name, load_external_data=False).graph
        infos = {t.name: ExternalDataInfo(t) for t in graph.initializer if t.external_data}
        places.append({n: (i.location, i.offset, i.length) for n, i in infos.items()})
    assert {"w1", "w2"} <= places[0].keys() & places[1].keys()
    assert all(places[0][n] == places[1][n] for n in places[0].keys() & places[1].keys())


def test_shared_weights_need_one_folder_and_two_names(tiny, tmp_path: Path) -> None:
    forward, back = zfviz.expose(tiny, [LAYER]), zfviz.companion(tiny, LAYER)
    (tmp_path / "sub").mkdir()
    for other in (tmp_path / "f.onnx", tmp_path / "sub" / "c.onnx"):
        with pytest.raises(OutputError, match="two files in one folder"):
            write_pair(forward, tmp_path / "f.onnx", back, other, zfviz.load(tiny).source)
    assert not list(tmp_path.glob("*.onnx"))


def test_weights_beyond_what_a_file_holds_go_beside_it(tiny, expected: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "c.onnx").write_bytes(zfviz.companion(tiny, LAYER).SerializeToString())
    paths = write_graph(zfviz.expose(tiny, [LAYER]), tmp_path / "f.onnx", zfviz.load(tiny).source, inline_bytes=100)
    assert [p.name for p in paths] == ["f.onnx.data", "f.onnx"]
    assert same(chained(str(tmp_path / "f.onnx"), str(tmp_path / "c.onnx")), expected)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """The model with its weights in a file beside it."""
    path = tmp_path / "model" / "outside.onnx"
    path.parent.mkdir()
    onnx.save(tiny_network(), path, save_as_external_data=True, location="weights.bin", size_threshold=100)
    return path


def test_weights_outside_the_model_are_read_and_written(outside: Path, expected: np.ndarray, tmp_path: Path) -> None:
    assert same(zfviz.project(outside, IMAGE, layer=LAYER, top=1).pixels, expected)
    model = zfviz.load(outside)
    write_graph(zfviz.expose(model, [LAYER]), tmp_path / "f.onnx", model.source)
    write_graph(zfviz.companion(model, LAYER), tmp_path / "c.onnx", model.source)
    assert same(chained(str(tmp_path / "f.onnx"), str(tmp_path / "c.onnx")), expected)


def test_weights_that_are_missing_are_named(outside: Path) -> None:
    (outside.parent / "weights.bin").rename(outside.parent / "elsewhere.bin")
    with pytest.raises(ModelError, match=r"'w1' lies in 'weights.bin'"):
        zfviz.load(outside)


def test_companion_states_what_it_is(tiny) -> None:
    back = zfviz.companion(tiny, LAYER, "guided")
    facts = {entry.key: entry.value for entry in back.metadata_props}
    assert (facts["zfviz.layer"], facts["zfviz.method"]) == ("r2", "guided")
    assert back.graph.output[0].name == "pixels"
    assert "signal" in {i.name for i in back.graph.input}


def test_the_weights_beside_a_model_are_never_replaced(tiny, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(tiny, path, save_as_external_data=True, location="f.onnx.data", size_threshold=100)
    before = (tmp_path / "f.onnx.data").read_bytes()
    model = zfviz.load(path)
    forward, back = zfviz.expose(model, [LAYER]), zfviz.companion(model, LAYER)
    with pytest.raises(OutputError, match=r"f\.onnx\.data is of the model itself"):
        write_pair(forward, tmp_path / "f.onnx", back, tmp_path / "c.onnx", model.source)
    with pytest.raises(OutputError, match=r"f\.onnx\.data is of the model itself"):
        write_graph(forward, tmp_path / "f.onnx", model.source, inline_bytes=100)
    assert (tmp_path / "f.onnx.data").read_bytes() == before

"""A small part of the fuzzing, what ever failed in it, and the attacks that everybody knows, each planted by hand."""

import io
import struct
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest
from fuzz import file_mutations, seeds
from fuzz.cases import Case
from fuzz.model_mutations import mutate_bytes
from fuzz.run import judge, run
from fuzz.words import JSONS
from graph.nets import network
from onnx import ModelProto, TensorProto, helper, numpy_helper
from PIL import Image

import zfviz
from zfviz.cli.main import main
from zfviz.errors import ImageError, ModelError
from zfviz.images.decoding import decode
from zfviz.images.labels import find_labels

FAILED = sorted((Path(__file__).parent / "failed").glob("*.json"))
WEIGHTS = {"w": (4, 3, 3, 3)}
SECRET = np.full((4, 3, 3, 3), 0.25, np.float32)


def test_four_hundred_cases(tmp_path: Path) -> None:
    """In a process of their own, so that one that dies is told."""
    found = run(2013, 0, 400, 1, tmp_path)
    assert found.findings == {}
    assert sum(found.outcomes.values()) == 400
    assert sum(count for (_, outcome), count in found.outcomes.items() if outcome == "result") > 60


def test_a_run_tells_what_hangs_and_what_dies(tmp_path: Path) -> None:
    found = run(2013, 0, 5, 1, tmp_path, seconds=4, memory=2**29 + 2**28, plant=True)
    assert [where.split(":")[0] for where in found.findings] == ["KeyError", "crash by SIGABRT", "hang", "memory"]
    assert sum(found.outcomes.values()) == 5
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("path", FAILED, ids=lambda path: path.stem)
def test_what_once_failed(path: Path) -> None:
    outcome, where, trace = judge(Case.from_json(path.read_text()))
    assert not where, f"{outcome} {where}\n{trace}"


def test_a_case_is_the_same_after_it_was_saved() -> None:
    case = Case("model", {"model.onnx": bytes(range(256))}, {"pick": 3})
    assert Case.from_json(case.to_json()) == case


# weights outside


def outside(tensor: TensorProto, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value=location)


def plain() -> ModelProto:
    return network("y = Conv(x, w)", "1, 3, 6, 6", 17, WEIGHTS)


def in_a_branch() -> ModelProto:
    proto = network(
        "c = Relu(x) s = Size(c) b = Cast<to = 9>(s) y = If(b) <then_branch = t () => (u) { u = Conv(c, v) }, "
        "else_branch = e () => (r) { r = Neg(c) }>",
        "1, 3, 6, 6",
        17,
        {},
    )
    proto.graph.node[-1].attribute[0].g.initializer.append(numpy_helper.from_array(SECRET, "v"))
    return proto


def in_a_constant() -> ModelProto:
    proto = network("y = Conv(x, w)", "1, 3, 6, 6", 17, {})
    weight = numpy_helper.from_array(SECRET, "w")
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    return proto


def among_few() -> ModelProto:
    return seeds.sparse(Random(0))


PLACES: dict[str, tuple[Callable[[], ModelProto], Callable[[ModelProto], TensorProto]]] = {
    "a weight": (plain, lambda proto: proto.graph.initializer[0]),
    "a weight of a branch": (in_a_branch, lambda proto: proto.graph.node[-1].attribute[0].g.initializer[0]),
    "a constant": (in_a_constant, lambda proto: proto.graph.node[0].attribute[0].t),
    "the values of a sparse weight": (among_few, lambda proto: proto.graph.sparse_initializer[0].values),
    "the places of a sparse weight": (among_few, lambda proto: proto.graph.sparse_initializer[0].indices),
}


@pytest.mark.parametrize("way", ["../secret.bin", "link.bin", "linked/secret.bin", "absolute", "sub/../../secret.bin"])
@pytest.mark.parametrize("place", PLACES)
def test_no_weight_is_read_beyond_the_folder(
    tmp_path: Path, place: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, folder = tmp_path / "secret.bin", tmp_path / "model"
    secret.write_bytes(SECRET.tobytes())
    (folder / "sub").mkdir(parents=True)
    (folder / "link.bin").symlink_to(secret)
    (folder / "linked").symlink_to(tmp_path)
    monkeypatch.chdir(folder)
    make, find = PLACES[place]
    proto = make()
    outside(find(proto), str(secret) if way == "absolute" else way)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="outside the model's folder"):
        zfviz.load(folder / "model.onnx")
    with pytest.raises(ModelError, match="without a folder"):
        zfviz.load(proto.SerializeToString())


@pytest.mark.parametrize(
    ("key", "value"),
    [("offset", "-4"), ("length", str(10**15)), ("offset", "9" * 5000), ("length", "4"), ("offset", "one")],
)
def test_a_wrong_place_in_a_file_is_refused(tmp_path: Path, key: str, value: str) -> None:
    proto = plain()
    outside(proto.graph.initializer[0], "weights.bin")
    proto.graph.initializer[0].external_data.add(key=key, value=value)
    (tmp_path / "weights.bin").write_bytes(SECRET.tobytes())
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="weight 'w'"):
        zfviz.load(tmp_path / "model.onnx")


def test_a_weight_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    proto = plain()
    outside(proto.graph.initializer[0], "endless")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="outside"):
        zfviz.load(tmp_path / "model.onnx")


# few bytes that ask for much

LARGE = {
    "ConstantOfShape": "c = ConstantOfShape(big) m = ReduceMax<keepdims = 0>(c) r = Relu(x) y = Add(r, m)",
    "ConstantOfShape of a shape that is computed": "s = Shape(x) t = Mul(s, many) c = ConstantOfShape(t) "
    "m = ReduceMax<keepdims = 0>(c) r = Relu(x) y = Add(r, m)",
    "Expand": "c = Expand(one, big) m = ReduceMax<keepdims = 0>(c) r = Relu(x) y = Add(r, m)",
    "Tile": "c = Tile(x, many) r = Relu(c) y = ReduceMax(r)",
    "Range": "c = Range(none, endless, step) f = Cast<to = 1>(c) m = ReduceMax<keepdims = 0>(f) y = Add(x, m)",
    "Resize": "c = Resize(x, , , wide) y = Relu(c)",
    "Pad": "c = Pad(x, pads) y = Relu(c)",
    "Conv": "c = Conv<pads = [90000, 90000, 90000, 90000]>(x, w) y = Relu(c)",
    "ConvTranspose": "c = ConvTranspose<strides = [99999, 99999]>(x, w3) y = Relu(c)",
    "a chain": " ".join(f"{b} = Tile({a}, twice)" for a, b in ["xa", "ab", "bc", "cd", "de", "ef", "fy"]),
    "a loop that doubles": "y = Loop(turns, yes, x) <body = lo (int64 i, bool c, float[n, p, q, r] v) => "
    "(bool d, float[s, t, u, o] k) { d = Identity(c) k = Concat<axis = 0>(v, v) }>",
}
NUMBERS = {
    "big": [60_000, 60_000],
    "one": np.ones((1, 1), np.float32),
    "many": [1, 1, 60_000, 60_000],
    "none": np.array(0),
    "endless": np.array(10**12),
    "step": np.array(1),
    "wide": [1, 3, 60_000, 60_000],
    "pads": [0, 0, 0, 0, 0, 0, 10**5, 10**5],
    "w": (4, 3, 3, 3),
    "w3": (3, 4, 3, 3),
    "twice": [1, 1, 8, 8],
    "turns": np.array(100),
    "yes": np.array(True),
}


@pytest.mark.parametrize("what", LARGE)
def test_what_asks_for_all_memory_is_refused_at_once(what: str) -> None:
    body = LARGE[what]
    used = {name: given for name, given in NUMBERS.items() if name in body.replace(",", " ").replace(")", " ").split()}
    used |= {name: given for name, given in NUMBERS.items() if f"({name}" in body or f" {name})" in body}
    began = time.process_time()
    with pytest.raises(ModelError, match=r"expected at most|onnxruntime"):
        zfviz.load(network(body, "1, 3, 6, 6", 17, used))
    assert time.process_time() - began < 5


def test_an_input_that_is_too_large_is_refused() -> None:
    with pytest.raises(ModelError, match="expected at most"):
        zfviz.load(network("y = Relu(x)", "1, 3, 60000, 60000", 17, {}))
    with pytest.raises(ModelError, match="expected at most"):
        zfviz.load(network("y = Relu(x)", "2000000000, 3, 6, 6", 17, {}))
    with pytest.raises(ModelError, match="expected at most"):
        zfviz.load(network("y = Relu(x)", "1, 3, H, W", 17, {}), (1, 3, 10**6, 10**6))


LOOP = (
    "y = Loop({turns}, yes, x) <body = lo (int64 i, bool c, float[1, 3, 6, 6] v) => "
    "(bool d, float[1, 3, 6, 6] w) {{ d = {condition} w = Neg(v) }}>"
)


@pytest.mark.parametrize("turns", ["turns", ""])
def test_a_loop_without_end_is_refused(turns: str) -> None:
    weights = {"yes": np.array(True), "turns": np.array(2**62)}
    with pytest.raises(ModelError, match="the loop that makes 'y' turns"):
        zfviz.load(network(LOOP.format(turns=turns, condition="Identity(c)"), "1, 3, 6, 6", 17, weights))


def test_a_loop_that_looks_at_what_it_made_is_taken() -> None:
    weights = {"yes": np.array(True), "turns": np.array(2**62), "ten": np.array(10)}
    proto = network(LOOP.format(turns="turns", condition="Less(i, ten)"), "1, 3, 6, 6", 17, weights)
    proto.graph.node.insert(0, helper.make_node("Relu", ["x"], ["r"]))
    assert zfviz.load(proto).layers[0].name == "r"


def calls(count: int, cyclic: bool) -> ModelProto:
    """Functions of which each calls the next one twice."""
    proto = network("y = Relu(x)", "1, 3, 6, 6", 17, {})
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for index in range(count):
        following = f"f{(index + 1) % count}" if cyclic or index + 1 < count else ""
        call = [
            helper.make_node(following or "Relu", [a], [b], domain="own" if following else "") for a, b in ("vu", "uw")
        ]
        proto.functions.append(helper.make_function("own", f"f{index}", ["v"], ["w"], call, imports))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.graph.node.append(helper.make_node("f0", ["x"], ["z"], domain="own"))
    return proto


@pytest.mark.parametrize(
    ("count", "cyclic", "said"), [(1, True, "recursive"), (3, True, "recursive"), (60, False, "nodes")]
)
def test_functions_that_call_without_end_are_refused(count: int, cyclic: bool, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        zfviz.load(calls(count, cyclic))


def test_functions_that_call_each_other_are_taken() -> None:
    assert zfviz.load(calls(4, cyclic=False)).layers


# files that promise too much


def test_a_header_that_promises_a_trillion_numbers_is_refused(tmp_path: Path) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    path = tmp_path / "value.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(16))
    proto = network("y = Mul(x, more)", "1, 3, 6, 6", 17, {})
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N"]))
    with pytest.raises(ModelError, match=r"cannot be read from .*expected a .npy file"):
        zfviz.load(proto, inputs={"more": path})
    np.save(path, np.float32([2]))
    assert zfviz.load(proto, inputs={"more": path}).source.bound


def test_a_file_with_objects_is_not_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    np.save(tmp_path / "value.npy", np.array([Evil()], object), allow_pickle=True)
    proto = network("y = Mul(x, more)", "1, 3, 6, 6", 17, {})
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N"]))
    with pytest.raises(ModelError, match="cannot be read"):
        zfviz.load(proto, inputs={"more": tmp_path / "value.npy"})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("size", [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (89_478_486, 1)])
def test_a_picture_that_expands_too_far_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    chunk = file_mutations.png_chunk
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(ImageError, match="too large"):
        decode(path)


def test_a_cut_picture_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(buffer, "PNG")
    path = tmp_path / "cut.png"
    path.write_bytes(buffer.getvalue()[:2000])
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode(path)


@pytest.mark.parametrize("text", JSONS, ids=lambda text: repr(text[:12]))
def test_labels_hide_and_paint_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    for found in (find_labels({"names": text}, None, None), find_labels({}, tmp_path, "model")):
        assert all(label.isprintable() and len(label) <= 80 for label in found.values())


# names

NAMES = ("<script>alert(1)</script>", "\x1b[2J\x1b]0;owned\x07", "a\nb\u202e", '"><img src=x onerror=alert(1)>')


def named() -> ModelProto:
    proto = ModelProto()
    body = " ".join(f"{b} = Relu({a})" for a, b in ["xa", "ab", "bc", "cy"])
    proto.CopyFrom(network(body, "1, 3, 6, 6", 17, {}))
    for node, name in zip(proto.graph.node, NAMES, strict=True):
        node.name = name
    return proto


def test_names_do_nothing_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(named(), path)
    wrong = tmp_path / "wrong.onnx"
    proto = named()
    proto.graph.node[2].input[0] = "\x1b[31mnothing\u202e"
    onnx.save(proto, wrong)
    for arguments in (["layers", str(path)], ["layers", str(wrong)], ["layers", str(path), "--json"]):
        with pytest.raises(SystemExit):
            main(arguments)
        said = capfd.readouterr()
        told = said.out + said.err
        assert "\\x1b" in told or "\\u001b" in told
        assert all(line.isprintable() for line in told.splitlines())


def test_names_do_nothing_to_reports() -> None:
    formats = pytest.importorskip("zfviz.checks.formats")
    found = zfviz.audit(zfviz.load(named(), preprocessing="unit"))
    for kind in formats.FORMATS:
        text = formats.render(found, kind)
        assert "\x1b" not in text
        assert "\x07" not in text
        if kind in ("html", "markdown"):
            assert "<script" not in text
            assert "<img src=x" not in text


def test_bytes_are_damaged_the_same_way_each_time() -> None:
    data = bytes(range(256)) * 4
    assert mutate_bytes(Random(5), data) == mutate_bytes(Random(5), data) != data

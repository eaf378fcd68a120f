"""What a user may hand in that is no good, and what is good though it looks odd: refused by name, or read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from nets import distance, network, noise
from onnx import ModelProto, TensorProto, helper, numpy_helper

from zfviz.errors import LayerError, ModelError, UnsupportedError
from zfviz.graph.companion import PIXELS, SIGNAL, build_companion
from zfviz.graph.exposure import expose
from zfviz.graph.source import read_source
from zfviz.runtime.loading import load
from zfviz.runtime.session import open_session
from zfviz.studies.project import project

SIZES = "N, 3, 8, 9"
BODY = "c = Conv(x, w) y = Relu(c)"


def small(body: str = BODY, sizes: str = SIZES, opset: int = 13) -> ModelProto:
    return network(body, sizes, opset, {"w": (4, 3, 3, 3)} if "w)" in body else {})


# files that are no models

WHOLE = small().SerializeToString()
NO_MODELS = {
    "empty": b"",
    "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 244\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "zeros": bytes(64),
    "half of one": WHOLE[: len(WHOLE) // 2],
    "one without its last byte": WHOLE[:-1],
    "without a graph": ModelProto(ir_version=8).SerializeToString(),
    "without nodes": ModelProto(ir_version=8, graph=onnx.GraphProto(name="g")).SerializeToString(),
}


@pytest.mark.parametrize("what", NO_MODELS)
def test_a_file_that_is_no_model_is_refused_by_name(what: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(NO_MODELS[what])
    with pytest.raises(ModelError, match=r"model\.onnx"):
        read_source(path)
    with pytest.raises(ModelError):
        read_source(NO_MODELS[what])


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="directory"):
        read_source(tmp_path)
    with pytest.raises(ModelError, match=r"no file at .*other\.onnx"):
        read_source(tmp_path / "other.onnx")


def recursive() -> ModelProto:
    proto = small()
    own = helper.make_node("Again", ["a"], ["b"], domain="own")
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
    proto.functions.append(helper.make_function("own", "Again", ["a"], ["b"], [own], imports))
    proto.opset_import.append(imports[1])
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Again", "own"
    return proto


BROKEN: dict[str, tuple[Callable[[], ModelProto], str]] = {
    # what, the model, what the message must say
    "a cycle": (lambda: small("c = Conv(x, w) a = Add(c, b) b = Relu(a) y = Relu(b)"), "wait for each other"),
    "a node that reads itself": (lambda: small("c = Conv(x, w) a = Add(c, a) y = Relu(a)"), "wait for each other"),
    "a tensor from nowhere": (lambda: small("c = Conv(x, w) y = Add(c, nowhere)"), "Add .* 'nowhere'"),
    "two tensors of a name": (lambda: small("c = Conv(x, w) c = Relu(c) y = Relu(c)"), "'c' twice"),
    "a function that calls itself": (recursive, "recursive"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_graph_is_refused(what: str) -> None:
    make, said = BROKEN[what]
    with pytest.raises(ModelError, match=said):
        load(make())


def test_nodes_out_of_order_are_put_in_order() -> None:
    model = load(small("y = Relu(b) b = Neg(c) c = Conv(x, w)"))
    assert [node.op for node in model.canonical.graph.nodes] == ["Conv", "Neg", "Relu"]
    assert project(model, noise(1, 3, 8, 9), layer="y").pixels.any()


def test_functions_are_read() -> None:
    proto = small()
    body = [helper.make_node("Neg", ["a"], ["m"]), helper.make_node("Relu", ["m"], ["b"])]
    proto.functions.append(helper.make_function("own", "Flip", ["a"], ["b"], body[1:], [helper.make_opsetid("", 13)]))
    proto.functions[0].node[0].input[0] = "a"
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Flip", "own"
    assert [layer.op for layer in load(proto).layers] == ["Conv", "Relu"]


# weights beside the model


def beside(folder: Path, location: str = "weights.bin") -> Path:
    """A model in `folder` whose weights lie in a file; `location` is what the model says of it."""
    path = folder / "model.onnx"
    onnx.save(small(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    proto = onnx.load(path, load_external_data=False)
    (entry,) = (e for e in proto.graph.initializer[0].external_data if e.key == "location")
    entry.value = location
    path.write_bytes(proto.SerializeToString())
    return path


def test_weights_beside_the_model_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zfviz.graph.source.SMALL", 10)
    model = load(beside(tmp_path))
    companion = build_companion(model.canonical, "y", "gradient")
    forward = expose(model.canonical, companion.values, companion.switches)
    assert len(forward.SerializeToString()) < 1000
    (weight,) = (tensor for tensor in companion.proto.graph.initializer if tensor.name == "w")
    assert weight.data_location == TensorProto.EXTERNAL
    image, signal = noise(1, 3, 8, 9), noise(1, 4, 6, 7)
    found: list[np.ndarray] = []
    for folder, graphs in ((tmp_path, (forward, companion.proto)), (None, inline())):
        values = open_session(graphs[0], folder, device="cpu").run({"x": image}, companion.values)
        session = open_session(graphs[1], folder, device="cpu")
        found.append(session.run({**values, SIGNAL: signal}, [PIXELS])[PIXELS])
    assert distance(found[0], found[1]) == 0


def inline() -> tuple[ModelProto, ModelProto]:
    """Both graphs of the same model with its weights inside."""
    model = load(small())
    companion = build_companion(model.canonical, "y", "gradient")
    return expose(model.canonical, companion.values, companion.switches), companion.proto


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "sub/../../weights.bin", "link.bin", ""])
def test_weights_outside_the_models_folder_are_refused(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(432))
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match=r"'w' points at .*outside the model's folder"):
        load(beside(folder, location))


def test_weights_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    path = beside(tmp_path)
    data = tmp_path / "weights.bin"
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(ModelError, match=r"'w' .*'weights\.bin'.*truncated"):
        load(path)
    data.unlink()
    with pytest.raises(ModelError, match=r"'w' .*'weights\.bin', which is not in"):
        load(path)
    with pytest.raises(ModelError, match="came without a folder"):
        load(path.read_bytes())


def test_weights_of_constant_nodes_are_checked_too(tmp_path: Path) -> None:
    proto = onnx.load(beside(tmp_path, "../weights.bin"), load_external_data=False)
    weight = proto.graph.initializer.pop()
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=weight))
    path = tmp_path / "constant.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(path)


def test_a_bound_beside_the_model_is_never_taken_for_another(tmp_path: Path) -> None:
    proto = small("c = Conv(x, w) y = Clip(c, low)")
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(0), "low"))
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert build_companion(load(path).canonical, "y", "deconvnet").values == ()  # as a Relu
    (tmp_path / "weights.bin").write_bytes(b"\x00\x00\xa0\xc1" + (tmp_path / "weights.bin").read_bytes()[4:])
    assert build_companion(load(path).canonical, "y", "gradient").values == ("c",)


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("a.pt", "torch"),
        ("a.safetensors", "torch"),
        ("a.keras", "keras"),
        ("a.caffemodel", "caffe"),
        ("a.PB", "tensorflow"),
    ],
)
def test_a_file_of_another_framework_is_told_its_converter(tmp_path: Path, name: str, script: str) -> None:
    for data in (b"PK\x03\x04 or so", b""):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match=rf"converters/from_{script}\.py"):
            load(tmp_path / name)
    (tmp_path / name).write_bytes(small().SerializeToString())
    assert load(tmp_path / name).layers  # whatever it is called, it is ONNX
    assert (Path(__file__).parents[2] / "converters" / f"from_{script}.py").exists()


def test_a_saved_model_is_told_its_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    for path in ("saved", tmp_path / "saved"):
        with pytest.raises(ModelError, match=r"converters/from_tensorflow\.py"):
            load(path)


# models that take no picture


@pytest.mark.parametrize("sizes", ["N, 5, 8, 9", "N, C, H, W"])
def test_an_input_of_other_channels_is_refused(sizes: str) -> None:
    with pytest.raises(ModelError, match=rf"float \[{sizes}\]; expected an image") as error:
        load(small("y = Relu(x)", sizes))
    assert ("--input-shape" in str(error.value)) == ("C" in sizes)


@pytest.mark.parametrize("sizes", ["N, 3", "N, 3, 8", "N, 3, 2, 8, 9"])
def test_an_input_that_is_no_image_is_refused(sizes: str) -> None:
    with pytest.raises(ModelError, match=rf"takes no image: .* x float \[{sizes}\]; expected"):
        load(small("y = Relu(x)", sizes))


def test_an_image_of_whole_numbers_is_refused() -> None:
    proto = small("y = Relu(x)")
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with pytest.raises(ModelError, match="uint8"):
        load(proto)


@pytest.mark.parametrize("names", [[], ["x", "mask"]])
def test_one_input_is_expected(names: list[str]) -> None:
    proto = small("y = Constant<value_float = 1.0>()") if not names else small()
    del proto.graph.input[:]
    proto.graph.input.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 8, 9]) for n in names)
    with pytest.raises(ModelError, match=rf"has {len(names)} inputs.*expected one"):
        load(proto)


@pytest.mark.parametrize("shape", [(1, 3, 8), (1, 3, 8, 10), (1, 1, 8, 9), (0, 3, 8, 9), (1, 3, -8, 9), (1, 8, 9, 3)])
def test_an_input_shape_that_contradicts_the_model_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="does not fit the input x"):
        load(small(), input_shape=shape)


@pytest.mark.parametrize("side", [1, 2])
def test_an_image_too_small_for_the_model_is_refused(side: int) -> None:
    with pytest.raises(ModelError, match=r"Conv finds no window for 'c' in .*; expected a larger image"):
        load(small(sizes="N, 3, H, W"), input_shape=(1, 3, side, side))


def test_an_input_shape_fills_what_is_open() -> None:
    assert load(small("y = Relu(x)", "N, C, H, W"), input_shape=(2, 1, 8, 9)).image.shape == (2, 1, 8, 9)
    assert load(small("y = Relu(x)", "N, H, W, 3"), input_shape=(1, 8, 9, 3)).image.axes == (0, 3, 1, 2)


# ops without a rule


def with_op(op: str, domain: str = "") -> ModelProto:
    proto = small("c = Conv(x, w) e = Relu(c) y = Relu(e)", opset=12)
    proto.graph.node[1].op_type, proto.graph.node[1].domain, proto.graph.node[1].name = op, domain, "block/odd"
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    return proto


@pytest.mark.parametrize(
    ("op", "domain", "said"),
    [("Cosh", "", r"Cosh \(opset 12\)"), ("Binarizer", "ai.onnx.ml", r"ai\.onnx\.ml::Binarizer")],
)
def test_an_op_without_a_rule_is_refused_where_a_signal_meets_it(op: str, domain: str, said: str) -> None:
    model = load(with_op(op, domain))
    with pytest.raises(UnsupportedError, match=rf"no rule for {said}.* at layer 'block/odd'"):
        build_companion(model.canonical, "y")
    assert build_companion(model.canonical, "c").values == ()


def test_every_op_without_a_rule_is_named_at_once() -> None:
    model = load(small("c = Conv(x, w) e = Cosh(c) t = Relu(e) s = Sinh(t) y = Add(s, c)"))
    with pytest.raises(UnsupportedError, match=r"Sinh .*Cosh .*below Relu, Sinh, Add"):
        build_companion(model.canonical, "y")


def test_an_op_that_nothing_runs_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="Odd"):
        load(with_op("Odd", "of.my.own"))


def test_places_carry_no_signal() -> None:
    model = load(small("c = Conv(x, w) n = NonZero(c) f = Cast<to = 1>(n) y = Relu(f)"))
    with pytest.raises(UnsupportedError, match="Relu: what it reads or makes is empty for an image of zeros"):
        build_companion(model.canonical, "y")
    model = load(small("c = Conv(x, w) r = ReduceMax(c) n = Shape(c) y = Relu(c)"))
    assert build_companion(model.canonical, "y", "deconvnet").values == ()


# names


def named(**names: str) -> ModelProto:
    """c1 -> r1 -> c2 -> y, with these node names."""
    proto = small("c1 = Conv(x, w) r1 = Relu(c1) c2 = Sigmoid(r1) y = Relu(c2)")
    for node in proto.graph.node:
        node.name = names.get(node.output[0], "")
    return proto


def test_a_name_that_two_nodes_share_is_refused_with_both() -> None:
    model = load(named(r1="relu", y="relu"))
    with pytest.raises(LayerError, match=r"2 nodes are named 'relu'.*'r1', 'y'"):
        model.layer("relu")
    assert model.layer("r1").tensor == "r1"


def test_a_tensor_wins_over_a_node_of_its_name() -> None:
    assert load(named(c1="y", r1="c2")).layer("y").tensor == "y"
    assert load(named(c1="y", r1="c2")).layer("c2").op == "Sigmoid"


def test_a_node_without_a_name_is_called_by_its_tensor() -> None:
    assert [layer.name for layer in load(named(r1="relu")).layers] == ["c1", "relu", "c2", "y"]


def test_an_unknown_layer_is_refused_with_the_nearest() -> None:
    with pytest.raises(LayerError, match="relu_first"):
        load(named(r1="relu_first")).layer("relu_frist")


def test_a_tensor_named_as_switches_is_refused() -> None:
    model = load(small('p = MaxPool<kernel_shape = [2, 2]>(x) "p/switches" = Relu(p) y = Neg(p)'))
    with pytest.raises(UnsupportedError, match="'p/switches'"):
        build_companion(model.canonical, "p/switches")


@pytest.mark.parametrize("name", ["signal", "pixels"])
def test_a_reserved_name_is_refused_where_its_value_is_asked_for(name: str) -> None:
    model = load(small(f"{name} = Conv(x, w) y = Relu({name})"))
    companion = build_companion(model.canonical, "y", "gradient")
    assert companion.values == ("y",)
    model = load(small(f"c = Conv(x, w) {name} = Sigmoid(c) y = Relu({name})"))
    with pytest.raises(UnsupportedError, match=f"'{name}', a reserved name"):
        build_companion(model.canonical, "y", "gradient")
    weight = network(f"y = Conv(x, {name})", SIZES, 13, {name: (4, 3, 3, 3)})
    with pytest.raises(UnsupportedError, match=f"'{name}', a reserved name"):
        build_companion(load(weight).canonical, "y")

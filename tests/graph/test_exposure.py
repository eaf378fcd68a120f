"""The forward graph is the user's model and nothing less; the companion takes what it gives, name for name."""

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from corpus import light_model, photo
from nets import Pair, distance, network, noise
from onnx import ModelProto, TensorProto, helper

from zfviz.graph.companion import PIXELS, SIGNAL, Companion, build_companion
from zfviz.graph.exposure import expose, watch
from zfviz.graph.protos import opset_of
from zfviz.runtime.loading import Model, load
from zfviz.runtime.session import open_session
from zfviz.tolerances import SAME_GRAPH

BODY = """
    "/features/0/out" = Conv<pads = [1, 1, 1, 1]>(x, "features.0.weight", "features.0.bias")
    "/features/1/out" = Relu("/features/0/out")
    "/features/2/out" = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>("/features/1/out")
    "/features/3/out" = Conv("/features/2/out", "features.3.weight")
    y = LeakyRelu("/features/3/out")
"""
WEIGHTS = {"features.0.weight": (4, 3, 3, 3), "features.0.bias": (4,), "features.3.weight": (5, 4, 2, 2)}
SWITCHES = "/features/2/out/switches"


def slashed(opset: int = 13) -> ModelProto:
    """A network as torch names it, with all that a file can say beside its graph."""
    proto = network(BODY, "N, 3, 12, 14", opset, WEIGHTS)
    for node in proto.graph.node:
        node.name = f"{node.output[0]}/{node.op_type}"
        node.doc_string = f"about {node.name}"
    proto.doc_string, proto.graph.doc_string = "about the model", "about the graph"
    proto.producer_name, proto.model_version = "someone", 7
    proto.graph.value_info.append(helper.make_tensor_value_info("/features/1/out", TensorProto.FLOAT, ["N", 4, 12, 14]))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5, 4, 5], "the output"))
    helper.set_model_props(proto, {"author": "someone", "zfviz.preprocessing": '{"size": [12, 14]}'})
    return proto


@cache
def exposed(name: str) -> tuple[Model, ModelProto, Companion]:
    """Both graphs of the last layer of a light network, or of the one above."""
    proto, shape = (slashed(), (1, 3, 12, 14)) if name == "slashed" else (light_model(name), None)
    model = load(proto, input_shape=shape)
    companion = build_companion(model.canonical, model.layers[-1].tensor, "gradient")
    asked = [model.layers[-1].tensor, *(v for v in companion.values if v not in companion.switches)]
    return model, expose(model.canonical, asked, companion.switches), companion


MODELS = ["slashed", "squeezenet", "shufflenet", pytest.param("bvlc_alexnet", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", MODELS)
def test_the_models_own_outputs_stay_as_they_are(name: str) -> None:
    model, forward, _ = exposed(name)
    image = noise(1, 3, 12, 14) if name == "slashed" else photo()
    outputs = [output.name for output in model.source.proto.graph.output]

    def run(proto: ModelProto, optimize: bool) -> dict[str, np.ndarray]:
        return open_session(proto, device="cpu", optimize=optimize).run({model.image.name: image}, outputs)

    plain, fused = ((run(model.source.proto, how), run(forward, how)) for how in (False, True))
    for output in outputs:
        np.testing.assert_array_equal(plain[1][output], plain[0][output])
        assert distance(fused[1][output], fused[0][output]) <= SAME_GRAPH


@pytest.mark.parametrize("name", MODELS)
def test_the_forward_graph_is_the_users_own_and_more(name: str) -> None:
    model, forward, companion = exposed(name)
    stripped = ModelProto()
    stripped.CopyFrom(forward)
    added = {output for node in forward.graph.node for output in node.output if output in companion.switches}
    assert added == set(companion.switches)
    own = [node for node in forward.graph.node if not added & set(node.output)]
    outputs = list(forward.graph.output)[: len(model.source.proto.graph.output)]
    for field, content in ((stripped.graph.node, own), (stripped.graph.output, outputs)):
        del field[:]
        field.extend(content)
    assert stripped == model.source.proto


@pytest.mark.parametrize("name", MODELS)
def test_both_graphs_are_valid_onnx(name: str) -> None:
    _, forward, companion = exposed(name)
    onnx.checker.check_model(forward, full_check=True)
    onnx.checker.check_model(companion.proto, full_check=True)
    assert opset_of(companion.proto) == 18
    assert companion.proto.ir_version == 8


@pytest.mark.parametrize("name", MODELS)
def test_every_input_of_the_companion_is_an_output_of_the_forward_graph(name: str) -> None:
    _, forward, companion = exposed(name)
    outputs = {output.name: output.type.tensor_type for output in forward.graph.output}
    signal, *values = companion.proto.graph.input
    assert signal.name == SIGNAL
    assert [output.name for output in companion.proto.graph.output] == [PIXELS]
    assert tuple(value.name for value in values) == companion.values
    for value in values:
        given, taken = outputs[value.name], value.type.tensor_type
        assert given.elem_type == taken.elem_type
        assert [d.dim_value for d in given.shape.dim][1:] == [d.dim_value for d in taken.shape.dim][1:]


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_the_models_own(name: str) -> None:
    model, _, companion = exposed(name)
    own = {tensor.name: tensor for tensor in model.source.proto.graph.initializer}
    read = {key for node in companion.proto.graph.node for key in node.input}
    shared = [tensor for tensor in companion.proto.graph.initializer if tensor.name in own]
    assert all(tensor == own[tensor.name] for tensor in shared)
    weights = {n.input[1] for n in model.source.proto.graph.node if n.op_type in ("Conv", "Gemm")}
    assert weights & own.keys() <= {tensor.name for tensor in shared} <= read


def test_a_file_says_all_that_it_said() -> None:
    _, forward, _ = exposed("slashed")
    assert {p.key: p.value for p in forward.metadata_props} == {
        "author": "someone",
        "zfviz.preprocessing": '{"size": [12, 14]}',
    }
    assert [node.doc_string for node in forward.graph.node][:5] == [f"about {n.name}" for n in forward.graph.node][:5]
    assert [value.name for value in forward.graph.value_info] == ["/features/1/out"]


@pytest.mark.parametrize(
    ("opset", "with_switches", "without"),
    [(7, 8, 7), (8, 8, 8), (9, 9, 9), (13, 13, 13), (21, 21, 21), (22, 21, 21), (23, 21, 21)],
)
def test_the_forward_graph_keeps_its_opset(opset: int, with_switches: int, without: int) -> None:
    for layer, expected in (("y", with_switches), ("/features/1/out", without)):
        pair = Pair.of(slashed(opset), noise(1, 3, 12, 14), layer)
        assert opset_of(pair.forward) == expected
        onnx.checker.check_model(pair.forward, full_check=True)


def test_names_with_slashes_and_dots_are_names_like_any_other() -> None:
    model, forward, companion = exposed("slashed")
    assert model.layer("/features/3/out/Conv") == model.layer("/features/3/out")
    assert companion.switches == {SWITCHES: "/features/2/out"}
    assert SWITCHES in [output.name for output in forward.graph.output]
    assert np.abs(Pair.of(slashed(), noise(1, 3, 12, 14), "/features/3/out").back(noise(1, 5, 4, 5))).max() > 0


def test_an_output_is_exposed_once() -> None:
    model = load(slashed(), input_shape=(1, 3, 12, 14))
    forward = expose(model.canonical, ["y", "/features/1/out", "y", "/features/1/out"], {})
    assert [output.name for output in forward.graph.output] == ["y", "/features/1/out"]


def test_open_sizes_stay_open() -> None:
    proto = network("c = Conv(x, w) y = MaxPool<kernel_shape = [2, 2]>(c)", "N, 3, H, W", 13, {"w": (2, 3, 3, 3)})
    model = load(proto, input_shape=(1, 3, 12, 14))
    forward = expose(model.canonical, ["c"], {"y/switches": "y"})
    session = open_session(forward, device="cpu")
    for shape in ((1, 3, 12, 14), (2, 3, 9, 20)):
        values = session.run({"x": noise(*shape)}, ["c", "y/switches"])
        assert values["c"].shape == (shape[0], 2, shape[2] - 2, shape[3] - 2)
    assert [d.dim_value for d in forward.graph.output[1].type.tensor_type.shape.dim] == [0, 2, 0, 0]


@pytest.mark.parametrize("opset", [10, 13, 18])
def test_a_watched_output_tells_whether_it_is_finite(opset: int) -> None:
    body = "r = Relu(x) p = Softplus(r) q = QuantizeLinear(p, s, z) y = Exp(x)"
    names = ["r", "p", "q"]
    proto = network(body, "N, 3, 4, 5", opset, {"s": np.float32(1), "z": np.uint8(0)})
    del proto.graph.output[0]
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.UINT8)
    proto.graph.output.extend(helper.make_tensor_value_info(n, k, None) for n, k in zip(names, kinds, strict=True))
    proto.graph.node[3].output[0] = "r/sum0"
    watches = watch(proto, names)
    assert list(watches) == names
    assert watches["q"] == ""
    session = open_session(proto, device="cpu")
    for number, finite in ((1.0, True), (np.nan, False), (np.inf, False)):
        x = noise(2, 3, 4, 5)
        x[1, 2, 3, 4] = number
        found = session.run({"x": x}, [watches["r"], watches["p"]])
        assert [bool(np.isfinite(value)) for value in found.values()] == [finite, finite]


def test_onnxruntime_does_not_merge_the_two_pools(tmp_path: Path) -> None:
    """Merged, the user's own pool would give indices, in another layout and with other last bits."""
    forward = exposed("slashed")[1]
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(forward.SerializeToString(), options, ["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert ops.count("MaxPool") == 2

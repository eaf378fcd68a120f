"""Checks of the graph: what they count, on graphs with one fault each, and on what onnxruntime itself says."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import tiny_network
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, parser
from onnx.backend.test.case.node import collect_testcases

sys.path.append(str(Path(__file__).parents[1] / "placement"))
from cuda_registry import CPU, as_csv, read_registry
from placing import CUDA, Placer
from stubs import build_stubs, why_not

from zfviz.checks import auditing, cuda_kernels, structure
from zfviz.checks.checking import Measure, Measurement, all_checks
from zfviz.checks.cuda_kernels import RUNTIME, SPELLED_OUT
from zfviz.checks.records import Baseline
from zfviz.checks.subject import Subject
from zfviz.errors import ModelError
from zfviz.runtime.loading import load

LISTED = Path(cuda_kernels.__file__).with_suffix(".csv")
GRAPH = ("ZF401", "ZF402", "ZF403", "ZF404", "ZF405", "ZF406", "ZF408")


def network(body: str, opset: int = 17, kind: str = "float", domains: str = "", **weights: np.ndarray) -> ModelProto:
    """A model from the image x [N, 3, 8, 8] to y; `w`, unless given, is a 4x3x3x3 weight of its type."""
    made = "int64" if "Arg" in body else kind
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}{domains}]> net ({kind}[N, 3, 8, 8] x) => ({made} y) {{ {body} }}'
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    dtype = helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type)
    given = {"w": np.ones((4, 3, 3, 3), dtype), **weights}
    read = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in given.items() if name in read)
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}{number}"
    return proto


def measure(check: Measure, proto: ModelProto | str | Path) -> list[Measurement]:
    return list(check(Subject(load(proto))))


def measure_one(check: Measure, proto: ModelProto | str | Path) -> Measurement:
    (only,) = measure(check, proto)
    assert only.layer == ""
    return only


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := why_not():
        pytest.skip(reason)
    if f"onnxruntime-gpu {ort.__version__}" != RUNTIME:
        pytest.skip(f"the kernels listed are of {RUNTIME}; renew cuda_kernels.csv for {ort.__version__}")
    folder = tmp_path_factory.mktemp("stubs")
    build_stubs(folder)
    return folder


@pytest.fixture(scope="session")
def placer(stubs: Path) -> Iterator[Placer]:
    with Placer(stubs) as ready:
        yield ready


# what projects


@pytest.mark.parametrize("model", ["zfnet", "alexnet"])
def test_a_trained_classifier_has_nothing_to_say(model: str) -> None:
    found = [c for c in all_checks() if c.group == "graph"]
    assert [c.code for c in found] == list(GRAPH)
    for check in found:
        assert measure_one(check.measure, model).value == 0


def test_each_op_that_stops_the_signal_is_named_from_the_image_upwards() -> None:
    body = "a = Conv(x, w) b = Hardmax(a) c = Relu(b) d = Atan(c) e = GlobalAveragePool(d) y = Flatten(e)"
    found = measure(structure.unprojectable_ops, network(body))
    assert [(m.layer, m.value) for m in found] == [("Hardmax1", 1), ("Atan3", 1)]
    assert "no rule for Hardmax (opset" in found[0].said


def test_an_op_above_the_class_scores_stops_nothing(tiny: ModelProto) -> None:
    tiny.graph.node.append(helper.make_node("Atan", ["scores"], ["angle"], "above"))
    tiny.graph.output.append(helper.make_tensor_value_info("angle", TensorProto.FLOAT, None))
    assert measure_one(structure.unprojectable_ops, tiny).said == "the signal of 'fc' comes to the pixels"


def test_without_classes_the_last_map_is_projected() -> None:
    body = "a = Conv(x, w) b = Atan(a) y = Relu(b)"
    assert [m.layer for m in measure(structure.unprojectable_ops, network(body))] == ["Atan1"]
    body = "a = Conv(x, w) b = ReduceMax <axes = [2]> (a) c = Squeeze(b, axis) y = Atan(c)"
    found = measure_one(structure.unprojectable_ops, network(body, axis=np.array([2])))
    assert found.said == "the signal of 'ReduceMax1' comes to the pixels"


def test_a_signal_that_stops_at_an_op_with_a_rule_is_said_of_its_layer() -> None:
    body = "a = Conv(x, w) b = Ceil(a) c = GlobalAveragePool(b) y = Flatten(c)"
    (found,) = measure(structure.unprojectable_ops, network(body))
    assert (found.layer, found.value) == ("Flatten3", 1)
    assert found.said.startswith("no signal from 'y' reaches the image")


def test_a_model_without_layers_has_nothing_to_project() -> None:
    proto = network("y = ArgMax <axis = 1> (x)")
    assert not load(proto).layers
    assert not measure(structure.unprojectable_ops, proto)
    assert not measure(structure.inexact_ops, proto)


def test_what_is_not_projected_exactly_is_counted() -> None:
    scale, zero = np.float32(0.1), np.uint8(3)
    body = "a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z) c = Conv(b, w) y = Relu(c)"
    found = measure_one(structure.inexact_ops, network(body, s=np.array(scale), z=np.array(zero)))
    assert found.value == 1
    assert found.said.startswith("QuantizeLinear: ")


# what CUDA runs

UP_LOW = "a = ConvTranspose <{}> (x, v) y = Relu(a)"
PLACED: list[tuple[str, int, str, str, int]] = [
    ("y = Conv(x, w)", 17, "float", "", 0),
    ("y = Conv(x, w)", 22, "float", "", 0),
    ("y = Conv(x, w)", 17, "double", "", 0),
    ("y = Conv(x, w)", 17, "float16", "", 0),
    ("y = MaxPool <kernel_shape = [2, 2]> (x)", 21, "float", "", 0),
    ("y = MaxPool <kernel_shape = [2, 2]> (x)", 22, "float", "MaxPool", 21),
    ("a = MaxPool <kernel_shape = [2, 2]> (x) b = Elu(a) y = Elu(b)", 22, "float", "MaxPool, Elu (2)", 21),
    ("a = Elu(x) y = Celu(a)", 22, "float", "Elu, Celu", 21),
    ("y = AveragePool <kernel_shape = [2, 2]> (x)", 22, "float", "", 0),
    ("y = Elu(x)", 21, "float", "", 0),
    ("y = Celu(x)", 17, "float", "Celu", 0),
    ("y = LpPool <kernel_shape = [2, 2]> (x)", 18, "float", "LpPool", 0),
    ("y = Mish(x)", 18, "float", "", 0),
    ("y = HardSwish(x)", 14, "float", "", 0),
    ("y = HardSwish(x)", 22, "float", "", 0),
    ("y = LpNormalization(x)", 17, "float", "", 0),
    ("y = LpNormalization(x)", 17, "double", "LpNormalization of double", 0),
    ("y = SpaceToDepth <blocksize = 2> (x)", 17, "uint8", "SpaceToDepth of uint8", 0),
    ("a = Dropout(x) b = Identity(a) y = Relu(b)", 22, "float", "", 0),
    (UP_LOW.format("pads = [1, 1, 1, 1]"), 17, "float", "", 0),
    (UP_LOW.format('auto_pad = "VALID"'), 17, "float", "", 0),
    (UP_LOW.format("pads = [0, 0, 1, 1]"), 17, "float", "ConvTranspose with uneven pads", 0),
    (UP_LOW.format('auto_pad = "SAME_UPPER"'), 17, "float", "ConvTranspose with uneven pads", 0),
    (UP_LOW.format('auto_pad = "SAME_LOWER"'), 17, "float", "ConvTranspose with uneven pads", 0),
    ("y = ArgMax <select_last_index = 0> (x)", 13, "float", "", 0),
    ("y = ArgMax <select_last_index = 1> (x)", 13, "float", "ArgMax with select_last_index", 0),
    ("y = com.microsoft.Gelu(x)", 17, "float", "", 0),
    ("y = com.microsoft.BiasGelu(x, bias)", 17, "float", "", 0),
    ("y = com.microsoft.QuickGelu(x)", 17, "float", "", 0),
]
"""Nodes, opset, type of the image, what has no CUDA kernel, and the newest opset at which what can have one has it."""


def placed_network(body: str, opset: int, kind: str) -> ModelProto:
    dtype = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind.upper()))
    weights = {"v": np.ones((3, 4, 3, 3), dtype), "bias": np.ones(8, dtype)}
    return network(body, opset, kind, ', "com.microsoft" : 1' if "com.microsoft" in body else "", **weights)


@pytest.mark.parametrize(("body", "opset", "kind", "lacking", "reach"), PLACED)
def test_what_has_no_cuda_kernel_is_counted(body: str, opset: int, kind: str, lacking: str, reach: int) -> None:
    proto = placed_network(body, opset, kind)
    count = 0 if not lacking else sum(int(op.partition("(")[2].rstrip(")") or 1) for op in lacking.split(", "))
    found, late = (measure_one(c, proto) for c in (structure.no_cuda_kernel, structure.opset_too_new_for_cuda))
    assert found.value == count
    assert found.said.partition(" nodes: ")[2] == lacking or found.said.partition(" node: ")[2] == lacking
    assert found.said.startswith(f"{RUNTIME} has {'no CUDA kernel' if lacking else 'CUDA kernels'} for ")
    assert (f"would have CUDA kernels at opset {reach}, but at {opset} run on the CPU" in late.said) == bool(reach)
    assert late.value == (count - lacking.count("Celu") if reach else 0)


@pytest.mark.parametrize(("body", "opset", "kind", "lacking", "reach"), PLACED)
def test_onnxruntime_places_nodes_as_counted(
    body: str, opset: int, kind: str, lacking: str, reach: int, placer: Placer, tmp_path: Path
) -> None:
    for version, left in ((opset, lacking), *([(reach, "Celu" if "Celu" in lacking else "")] if reach else [])):
        (tmp_path / "placed.onnx").write_bytes(placed_network(body, version, kind).SerializeToString())
        found = placer.place(tmp_path / "placed.onnx")
        assert found
        expected = {op.split(" ")[0] for op in left.split(", ")} - {""}
        assert {node.op for node in found if node.provider != CUDA} == expected


def test_the_opset_that_is_named_has_kernels_for_all(tiny: ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = [cuda_kernels.Lacking(op, reach) for op, reach in (("A", 21), ("B", 19), ("C", 20), ("D", 0))]
    monkeypatch.setattr(structure, "find_lacking", lambda model: (9, lacking))
    found = measure_one(structure.opset_too_new_for_cuda, tiny)
    assert found.said.startswith("3 nodes would have CUDA kernels at opset 19, but at 13 run on the CPU")
    assert found.said.endswith(": A, B, C")


@pytest.mark.slow
def test_onnxruntime_places_every_node_of_the_onnx_wheel_as_counted(placer: Placer, tmp_path: Path) -> None:
    # what is spelled out computes shapes too, and whether GRU and LSTM run on CUDA depends on which inputs they have
    apart = {*SPELLED_OUT, *cuda_kernels.TAKEN_OUT, "Shape", "Size", "If", "Loop", "Scan", "GRU", "LSTM"}
    path, wrong, seen = tmp_path / "case.onnx", list[str](), 0
    with np.errstate(all="ignore"):  # some cases are about what overflows
        cases = collect_testcases()
    for case in cases:
        graph = case.model.graph
        if len(graph.node) != 1 or graph.node[0].op_type in apart or graph.node[0].domain:
            continue
        path.write_bytes(case.model.SerializeToString())
        try:
            found = placer.place(path)
        except RuntimeError:
            continue  # newer than onnxruntime, or asks the CPU for what it does not have
        seen += 1
        if all(node.provider == CUDA for node in found) != runs_on_cuda(graph.node[0], case.model):
            wrong.append(case.name)
    assert seen > 900
    assert not wrong


def runs_on_cuda(node: NodeProto, proto: ModelProto) -> bool:
    values = [v for v in (*proto.graph.input, *proto.graph.output) if v.type.HasField("tensor_type")]
    kinds = {v.name: TensorProto.DataType.Name(v.type.tensor_type.elem_type).lower() for v in values}
    return cuda_kernels.judge(node, proto.opset_import[0].version, kinds) is None


def test_the_list_of_kernels_says_of_which_onnxruntime_it_is() -> None:
    assert LISTED.read_text(encoding="utf-8").startswith(f"# The CUDA kernels in the registry of {RUNTIME};")


def test_the_kernels_listed_are_those_of_the_installed_onnxruntime(stubs: Path) -> None:
    registry = read_registry(stubs)
    assert LISTED.read_text(encoding="utf-8") == as_csv(registry), "renew cuda_kernels.csv with cuda_registry.py"
    whole = {kernel.op for kernel in registry if kernel.provider == CPU and kernel.domain == "ai.onnx"}
    schemas = [schema for schema in onnx.defs.get_all_schemas() if not schema.domain]
    functions = {s.name for s in schemas if s.has_function or s.has_context_dependent_function}
    assert set(SPELLED_OUT) == functions - whole


def test_nodes_that_compute_shapes_or_constants_do_not_count() -> None:
    # none of these has a CUDA kernel for its type, but the CPU does them on the side
    body = "s = Shape(x) f = Cast <to = 11> (s) g = Celu(w) a = Conv(x, g) y = Relu(a)"
    assert measure_one(structure.no_cuda_kernel, network(body)).said == f"{RUNTIME} has CUDA kernels for all of 2 nodes"


def test_nodes_of_bodies_count() -> None:
    branches = [
        helper.make_graph([helper.make_node(op, ["x"], [op])], op, [], [helper.make_tensor_value_info(op, 1, None)])
        for op in ("Celu", "Relu")
    ]
    proto = network(
        "t = ReduceSum <keepdims = 0> (x) b = Greater(t, zero) y = Identity(x)", zero=np.array(np.float32(0))
    )
    proto.graph.node[2].CopyFrom(
        helper.make_node("If", ["b"], ["y"], "if", then_branch=branches[0], else_branch=branches[1])
    )
    assert measure_one(structure.no_cuda_kernel, proto).said.endswith("for 1 of 5 nodes: Celu")


# what goes in, what lies around


def test_inputs_that_need_a_value_are_counted() -> None:
    proto = network("a = Mul(x, k) b = Add(a, o) y = Relu(b)")
    shape = helper.make_tensor_value_info
    proto.graph.input.extend([shape("k", TensorProto.FLOAT, [1]), shape("o", TensorProto.FLOAT, [1])])
    one = np.ones(1, np.float32)
    given = Subject(load(proto, inputs={"k": one, "o": one}))
    (found,) = structure.several_inputs(given)
    assert (found.value, found.said) == (2, "2 inputs besides the image had to be given: k, o")
    proto.graph.initializer.extend(numpy_helper.from_array(one, name) for name in "ko")
    assert measure_one(structure.several_inputs, proto).value == 0


@pytest.mark.parametrize(
    ("batch", "value", "said"),
    [
        ("N", 0, "any number of images goes in"),
        (1, 1, "each run takes 1 image, no more and no less"),
        (16, 16, "each run takes 16 images, no more and no less"),
    ],
)
def test_a_fixed_batch_is_its_size(batch: int | str, value: int, said: str) -> None:
    found = measure_one(structure.fixed_batch, tiny_network(batch=batch))
    assert (found.value, found.said) == (value, said)


def test_weights_that_lead_to_no_output_are_weighed(tiny: ModelProto) -> None:
    assert measure_one(structure.unused_weights, tiny).said == "each of 3 weights is used"
    used = sum(4 * int(np.prod(t.dims)) for t in tiny.graph.initializer)
    tiny.graph.initializer.append(numpy_helper.from_array(np.zeros(100, np.float32), "left over"))
    tiny.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 12), np.float16), "old head"))
    tiny.graph.node.append(helper.make_node("Cast", ["old head"], ["cast"], to=TensorProto.FLOAT))
    tiny.graph.node.append(helper.make_node("Gemm", ["f", "cast"], ["nobody reads"], "old", transB=1))
    found = measure_one(structure.unused_weights, tiny)
    assert found.said == f"2 of 5 weights lead to no output, 448 of {used + 448:,} bytes: left over, old head"
    assert found.value == pytest.approx(448 / (used + 448))


def test_weights_that_bodies_or_outputs_read_are_used() -> None:
    body = helper.make_graph(
        [helper.make_node("Mul", ["x", "k"], ["m"])], "body", [], [helper.make_tensor_value_info("m", 1, None)]
    )
    proto = network("y = Relu(x)", k=np.ones(1, np.float32))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "k"))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "made"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "b"))
    proto.graph.output.append(helper.make_tensor_value_info("made", TensorProto.FLOAT, [1]))
    assert measure_one(structure.unused_weights, proto).said.endswith(": k, b")
    proto.graph.node[0].CopyFrom(helper.make_node("If", ["b"], ["y"], "if", then_branch=body, else_branch=body))
    assert measure_one(structure.unused_weights, proto).value == 0


def test_a_sentence_lists_eight_names(tiny: ModelProto) -> None:
    tiny.graph.initializer.extend(numpy_helper.from_array(np.zeros(1, np.float32), f"u{n}") for n in range(10))
    assert measure_one(structure.unused_weights, tiny).said.endswith(": u0, u1, u2, u3, u4, u5, u6, u7 and 2 more")


# all together


def test_nothing_is_run(tiny: ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(load(tiny))
    monkeypatch.setattr(ort, "InferenceSession", None)
    for check in all_checks():
        if check.group == "graph":
            assert list(check.measure(subject))


def test_what_grew_worse_since_the_baseline_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = tuple(c for c in all_checks() if c.group == "graph")
    monkeypatch.setattr(auditing, "all_checks", lambda: checks)
    proto = network("a = MaxPool <kernel_shape = [2, 2]> (x) y = Celu(a)", 22)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros(9, np.float32), "left over"))
    assert not auditing.audit(proto).findings
    before = Baseline(values={code: {"": 0.0} for code in GRAPH})
    assert [f.check.code for f in auditing.audit(proto, baseline=before).findings] == [
        "ZF403",
        "ZF404",
        "ZF406",
        "ZF408",
    ]


@pytest.mark.parametrize("location", ["../weights.bin", "{folder}/weights.bin", "link.bin", "sub/weights.bin"])
@pytest.mark.parametrize("in_branch", [False, True])
def test_a_model_whose_data_lies_outside_its_folder_is_not_audited(
    in_branch: bool, location: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    proto = network("y = Conv(x, w)")
    (tmp_path / "weights.bin").write_bytes(proto.graph.initializer[0].raw_data)
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    (folder / "sub").symlink_to(tmp_path)
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location.format(folder=tmp_path))
    if in_branch:
        output = helper.make_tensor_value_info("made", TensorProto.FLOAT, None)
        conv = helper.make_node("Conv", ["x", "w"], ["made"])
        branch = helper.make_graph([conv], "branch", [], [output], [proto.graph.initializer.pop()])
        choice = helper.make_node("If", ["b"], ["y"], "if", then_branch=branch, else_branch=branch)
        proto.graph.node[0].CopyFrom(choice)
        proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "b"))
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"'w' points at .*, outside the model's folder"):
        auditing.audit(folder / "model.onnx")

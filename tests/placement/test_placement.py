"""On a GPU nothing is left to the CPU: every node of every companion graph, and every node that exposure adds.

Told by onnxruntime's own CUDA provider, which needs no GPU for that.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from corpus import LIGHT, light_model
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser
from placing import CPU, CUDA, Placed, Placer
from stubs import build_stubs, why_not

from zfviz.errors import ModelError
from zfviz.graph.canonical import Canonical, canonicalize
from zfviz.graph.companion import build_companion
from zfviz.graph.exposure import expose
from zfviz.graph.reach import WHOLE, Span, dims
from zfviz.graph.rules import METHODS, Method, registered_rules
from zfviz.graph.rules.arithmetic import stop_at_steps
from zfviz.graph.rules.shape import stop
from zfviz.graph.windowed import build_windowed
from zfviz.runtime.loading import evaluator, load
from zfviz.studies.selection import class_layer, default_layers

sys.path.append(str(Path(__file__).parents[1] / "rules"))
from node_cases import NodeCase, wheel_cases
from own_cases import own_cases

QUANTISED = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}
CASES = (*own_cases(), *wheel_cases())
OPS = sorted({rule.op for rule in registered_rules() if rule.transpose not in (stop, stop_at_steps)} - QUANTISED)
WEIGHTS = "weights"
POOLING = "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(x)"


@pytest.fixture(scope="session")
def placer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placer]:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("stubs")
    build_stubs(folder)
    with Placer(folder) as ready:
        yield ready


def place(placer: Placer, proto: ModelProto, folder: Path) -> list[Placed]:
    path = folder / "placed.onnx"
    path.write_bytes(proto.SerializeToString())
    return placer.place(path)


def off_cuda(nodes: Iterable[Placed]) -> list[Placed]:
    return [node for node in nodes if node.provider != CUDA]


def of_one_op(opset: int, body: str) -> ModelProto:
    inputs = "float[N, 2, 9, 9] x, int64[N, 2, 9, 9] i"
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> one ({inputs}) => (float y) {{ {body} }}')


def canonical_of(proto: ModelProto, name: str, shape: Iterable[int]) -> Canonical:
    sizes = list(shape)
    image = helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
    return canonicalize(proto, image, evaluator(name, sizes, None))


# every rule


def companion_of(case: NodeCase, method: Method) -> ModelProto | None:
    """The companion of a case, or None where zfviz refuses the case."""
    try:
        return build_companion(canonical_of(case.proto, case.input, case.value.shape), case.output, method).proto
    except ModelError:
        return None


@pytest.mark.parametrize("op", OPS)
def test_what_a_rule_emits_runs_on_cuda(op: str, placer: Placer, tmp_path: Path) -> None:
    protos = {
        (case.name, method): proto
        for case in CASES
        for method in METHODS
        if case.op == op and (proto := companion_of(case, method)) is not None
    }
    assert protos
    left = {key: off_cuda(place(placer, proto, tmp_path)) for key, proto in protos.items()}
    assert not {key: nodes for key, nodes in left.items() if nodes}


WINDOWED = (
    "p = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 0, 0]>(x) "
    "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(p)",
    "a = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(x) "
    "g = GlobalAveragePool(a) m = Mul(a, g) "
    "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(m)",
)
"""A window from end to end, and one that is pasted into the whole map."""


@pytest.mark.parametrize("body", WINDOWED)
def test_what_lies_between_windows_runs_on_cuda(body: str, placer: Placer, tmp_path: Path) -> None:
    proto = of_one_op(18, body)
    del proto.graph.input[1]
    canonical = canonical_of(proto, "x", (1, 2, 9, 9))
    side = dims(canonical.graph.nodes[-1].outputs[0])[2]
    start = (Span(2, 0, side), Span(3, 1, side))
    for method, cutting in product(METHODS, (False, True)):
        windowed = build_windowed(canonical, "y", start, method, cutting=cutting)
        assert windowed.unit_inputs
        nodes = place(placer, windowed.proto, tmp_path)
        assert nodes
        assert not off_cuda(nodes)


INTEGERS = (
    "q = QuantizeLinear(x, scale, zero) y = DequantizeLinear(q, scale, zero)",
    "q, s, z = DynamicQuantizeLinear(x) c = ConvInteger(q, kernel, z) f = Cast<to = 1>(c) y = Mul(f, s)",
    "q, s, z = DynamicQuantizeLinear(x) c = MatMulInteger(q, matrix, z) f = Cast<to = 1>(c) y = Mul(f, s)",
    "q = QuantizeLinear(x, scale, zero) p = MaxPool<kernel_shape = [2, 2]>(q) y = DequantizeLinear(p, scale, zero)",
)


@pytest.mark.parametrize("body", INTEGERS)
def test_what_quantised_models_need_runs_on_cuda(body: str, placer: Placer, tmp_path: Path) -> None:
    numbers = {"scale": np.float32(0.1), "zero": np.uint8(3), "kernel": np.ones((4, 2, 3, 3), np.uint8)}
    numbers["matrix"] = np.ones((9, 5), np.uint8)
    proto = of_one_op(13, body)
    del proto.graph.input[1]
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in numbers.items() if n in body)
    for method in METHODS:
        canonical = canonical_of(proto, "x", (1, 2, 9, 9))
        cutting = build_windowed(canonical, "y", WHOLE, method, cutting=True)
        for made in (build_companion(canonical, "y", method), cutting):
            assert not off_cuda(place(placer, made.proto, tmp_path))


# the corpus


def hollow(proto: ModelProto, folder: Path) -> ModelProto:
    """The model with its large weights in one file of zeros in `folder` that takes no room on the disk.

    Placement depends on shapes alone.
    """
    large = [tensor for tensor in proto.graph.initializer if tensor.ByteSize() > 1 << 16]
    with (folder / WEIGHTS).open("wb") as file:
        file.truncate(max(len(tensor.raw_data) for tensor in large))
    for tensor in large:
        size = len(tensor.raw_data)
        onnx.external_data_helper.set_external_data(tensor, WEIGHTS, offset=0, length=size)
        tensor.ClearField("raw_data")
    return proto


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_the_corpus_runs_on_cuda(name: str, placer: Placer, tmp_path: Path) -> None:
    onnx.save(hollow(light_model(name), tmp_path), tmp_path / "light.onnx")
    model = load(tmp_path / "light.onnx", preprocessing="imagenet")
    scores = class_layer(model)
    assert scores is not None
    switches: dict[str, str] = {}
    values: dict[str, None] = {}
    for layer in (default_layers(model)[-1], scores):
        for method in METHODS:
            companion = build_companion(model.canonical, layer.tensor, method)
            cutting = build_windowed(model.canonical, layer.tensor, layer.start, method, cutting=True)
            for proto in (companion.proto, cutting.proto):
                nodes = place(placer, proto, tmp_path)
                assert nodes
                assert not off_cuda(nodes), (layer.name, method)
            switches |= companion.switches
            values |= dict.fromkeys(companion.values)

    forward = expose(model.canonical, [scores.tensor, *(values.keys() - switches.keys())], switches)
    nodes = place(placer, forward, tmp_path)
    # the user's own nodes are not ours to choose: what stays behind is told, and fails nothing
    print("forward nodes on the CPU:", off_cuda(nodes))
    assert switches
    assert {node.name: node.provider for node in nodes if node.name in switches} == dict.fromkeys(switches, CUDA)


# exposure


def test_switches_of_a_newer_opset_run_on_cuda(placer: Placer, tmp_path: Path) -> None:
    canonical = canonical_of(of_one_op(22, POOLING), "x", [1, 2, 9, 9])
    forward = expose(canonical, ["y"], build_companion(canonical, "y").switches)
    assert [(node.op, node.provider) for node in place(placer, forward, tmp_path)] == [("MaxPool", CUDA)] * 2


# a node that CUDA does not take must be seen


@pytest.mark.parametrize(
    "body", ["y = LpPool<kernel_shape = [2, 2]>(x)", "y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(x, i)"]
)
def test_an_op_that_cuda_lacks_is_seen(body: str, placer: Placer, tmp_path: Path) -> None:
    (node,) = off_cuda(place(placer, of_one_op(18, f"half = Relu(x) {body.replace('(x', '(half')}"), tmp_path))
    assert node.provider == CPU
    assert node.op in body


def test_a_companion_with_max_unpool_is_seen(placer: Placer, tmp_path: Path) -> None:
    canonical = canonical_of(of_one_op(18, POOLING), "x", [1, 2, 9, 9])
    proto = build_companion(canonical, "y", unpool="maxunpool").proto
    assert "MaxUnpool" in {node.op for node in off_cuda(place(placer, proto, tmp_path))}

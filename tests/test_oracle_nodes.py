"""Every op of the oracle alone: held against onnxruntime on the node cases of the onnx wheel, and on our own."""

import functools

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from oracle_cases import OWN

pytest.importorskip("torch", reason="the oracle needs torch: pip install zfviz[oracle]")

from oracle import OPS, Oracle
from test_oracle import build, noise

EXACT, HALF = 1e-5, 1e-2
"""Tolerances, of float32 and of float16 and bfloat16, relative to the largest number."""

LEFT_OUT = {
    "test_training_dropout": "random",
    "test_equal_string": "strings",
    "test_maxunpool_export_with_output_shape": "onnxruntime, and switches, are flat over the output",
    "test_bitwise_not_3d": "uint16 is held in int32",
    "test_quantizelinear_e": "float8",
    "test_quantizelinear_float4": "float4",
    "test_quantizelinear_int4": "what the type of the zero point bounds; int4 is held in int8",
    "test_quantizelinear_uint2": "the same",
    "test_quantizelinear_int2": "the same",
}
"""Beginnings of the names of cases that are not run, and why."""

QUANTIZED = ("QLinear", "QGemm", "NhwcMaxPool")
"""Beginnings of the ops whose cases are in test_oracle_quantized.py."""

NARROW = ("FLOAT8", "FLOAT4", "INT4", "INT2", "E8M0", "e8m0")


def array_of(value: object) -> np.ndarray | None:
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None


@functools.cache
def wheel_cases() -> dict[str, list]:
    """The node cases of the wheel whose ops the oracle has, by op; those of several nodes by ''."""
    from onnx.backend.test.case.node import collect_testcases

    cases: dict[str, list] = {}
    with np.errstate(all="ignore"):
        collected = collect_testcases()
    for case in collected:
        ops = {node.op_type for node in case.model.graph.node}
        casts = any(op.startswith("Cast") for op in ops) and any(word in case.name for word in NARROW)
        if ops <= {*OPS, "If"} and not casts and not case.name.startswith(tuple(LEFT_OUT)):
            cases.setdefault(min(ops) if len(ops) == 1 else "", []).append(case)
    return cases


def onnxruntime_runs(model: ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def run_oracle(model: ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs; the first float input is the image, or where there is none one that nothing reads."""
    model = ModelProto.FromString(model.SerializeToString())
    image = next((name for name, array in feeds.items() if array.dtype.kind == "f"), "image")
    if image not in feeds:
        model.graph.input.append(helper.make_tensor_value_info(image, TensorProto.FLOAT, [1]))
    others = {name: array for name, array in feeds.items() if name != image}
    values = Oracle(model, feeds.get(image, noise(1)), "gradient", others).values
    return [values[output.name] for output in model.graph.output]


def agree(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float, name: str) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape, name
        wide = theirs.astype(np.float64)
        size = np.abs(wide[np.isfinite(wide)]).max(initial=0)
        np.testing.assert_allclose(ours, wide, rtol=tolerance, atol=tolerance * size, err_msg=name)


def run_case(case) -> bool:
    """Whether the oracle takes the case; it gives the right outputs then."""
    ((inputs, outputs),) = case.data_sets
    values = [array_of(value) for value in (*inputs, *outputs)]
    if any(value is None or value.dtype.kind == "O" for value in values):
        return False  # a sequence, or strings
    feeds = {port.name: array for port, array in zip(case.model.graph.input, values, strict=False)}
    try:
        found = run_oracle(case.model, feeds)
    except NotImplementedError:
        return False
    try:
        expected, tolerance = onnxruntime_runs(case.model, feeds), EXACT
    except Exception:  # it has no such opset, or no kernel for the type: ONNX's own answer, where some are rounded
        expected, tolerance = values[len(feeds) :], 1e-3
    wide = all(array.dtype.name not in ("float16", "bfloat16") for array in values)
    agree(found, expected, tolerance if wide else HALF, case.name)
    return True


@pytest.mark.filterwarnings("ignore::RuntimeWarning:onnx")
@pytest.mark.parametrize("op", ["", *sorted(OPS)])
def test_node_cases_of_the_wheel(op: str) -> None:
    cases = wheel_cases().get(op, [])
    assert cases or op.rsplit(".", maxsplit=1)[-1] in {case[0].split()[0] for case in OWN} or op.startswith(QUANTIZED)
    ran = [case for case in cases if run_case(case)]
    assert len(ran) >= len(cases) / 3


@pytest.mark.parametrize("case", OWN, ids=lambda case: case[0])
def test_own_cases(case: tuple) -> None:
    _, opset, size, body, weights = case
    bound = {
        name: noise(*value, seed=3) if isinstance(value, tuple) else np.asarray(value)
        for name, value in weights.items()
    }
    model = build(body, size, opset, **bound)
    feeds = {"x": noise(*size, seed=1)}
    agree(run_oracle(model, feeds), onnxruntime_runs(model, feeds), 1e-5, body)

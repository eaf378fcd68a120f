"""Random small graphs of all kinds of ops: gradients against differences in float64, methods against the oracle."""

import re

import numpy as np
import pytest
from onnx import ModelProto, parser

pytest.importorskip("torch", reason="the oracle needs torch: pip install zfviz[oracle]")
pytest.importorskip("hypothesis", reason="hypothesis draws the graphs: pip install zfviz[test]")

import hypothesis
from exporters.judging import run_back
from hypothesis import strategies as st
from oracle import Oracle
from steps import STEPS, with_constants, written
from windows import difference

from zfviz.graph.companion import build_companion
from zfviz.graph.rules import METHODS, registered_rules
from zfviz.runtime.loading import load
from zfviz.tolerances import WHOLE_NET

IMAGE, SHAPE = (1, 3, 6, 6), (1, 4, 6, 6)
STEP = 1e-6


@st.composite
def graphs(draw: st.DrawFn) -> str:
    """The nodes of a graph from x to y: each step reads what earlier ones made, and y all that is left."""
    made, unread = ["t"], ["t"]
    lines = ["t = Conv<pads = [1, 1, 1, 1]>(x, entry)"]
    for index in range(draw(st.integers(2, 6))):
        step = draw(st.sampled_from(STEPS))
        a, b = draw(st.sampled_from(unread)), draw(st.sampled_from(made))
        out = f"t{index}"
        lines.append(written(step, out, a, b))
        made.append(out)
        unread = [*(name for name in unread if name != a and not (name == b and "B" in step)), out]
    lines.append(f"y = Sum({', '.join(unread)})")
    return "\n".join(lines)


def model_of(body: str) -> ModelProto:
    proto = parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float{list(IMAGE)} x) => (float{list(SHAPE)} y) {{ {body} }}'
    )
    return with_constants(proto)


def hold(body: str, seed: int) -> None:
    """Every method does as the oracle, and the gradient as differences."""
    proto = model_of(body)
    rng = np.random.default_rng(seed)
    image, direction = rng.standard_normal(IMAGE, np.float32), rng.standard_normal(IMAGE)
    model = load(proto, preprocessing="unit")
    for method in METHODS:
        oracle = Oracle(proto, image, method)
        signal = rng.standard_normal(oracle.values["y"].shape)
        companion = build_companion(model.canonical, "y", method)
        pixels = run_back(companion, oracle.values, oracle.switches, signal, model)
        expected = oracle.project("y", signal)
        # where no signal arrives, there is no size to compare with
        size = max(np.abs(expected).max(), 1e-6)
        assert np.abs(pixels - expected).max() < 10 * WHOLE_NET * size, method
        assert difference(model, model.layer("y"), method, image) < 10 * WHOLE_NET, method
        if method == "gradient" and "Quantize" not in body:
            ahead, behind = (Oracle(proto, image + s * STEP * direction, method).values["y"] for s in (1, -1))
            slope = np.vdot(signal, ahead - behind) / (2 * STEP)
            scale = max(np.linalg.norm(expected), 1e-6) * np.linalg.norm(direction)
            assert abs(np.vdot(pixels, direction) - slope) < 1e-3 * scale


def test_the_steps_draw_every_op_that_has_a_rule() -> None:
    drawn = set(re.findall(r"= (\w+)[<(]", " ".join((*STEPS, "y = Sum(A)"))))
    assert {rule.op for rule in registered_rules()} - drawn == set()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_each_step_alone(step: str) -> None:
    body = written(step, "o", "t", "t")
    hold(f"t = Conv<pads = [1, 1, 1, 1]>(x, entry) {body} y = Sum(o)", 2013)


@pytest.mark.slow
@hypothesis.settings(max_examples=200, deadline=None, derandomize=True, print_blob=True)
@hypothesis.given(graphs(), st.integers(0, 2**16))
def test_a_random_graph_is_projected_right(body: str, seed: int) -> None:
    hold(body, seed)

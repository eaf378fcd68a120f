"""What every rule gets for free: each case of its op against differences of the op, and signals of one image alone."""

from fnmatch import fnmatch

import numpy as np
import pytest
from node_cases import Alone, make_case
from onnx_graphsurgeon import Node, Variable
from own_cases import own_cases
from rule_cases import CASES, KEPT, OPS, SKIPS, STOPS, miss

from zfviz.errors import ZfvizError
from zfviz.graph.rules import registered_rules
from zfviz.tolerances import SAME_GRAPH, SINGLE_OP


@pytest.mark.parametrize("name", KEPT)
def test_rule_agrees_with_differences(name: str) -> None:
    assert miss(CASES[name]) <= SINGLE_OP


@pytest.mark.parametrize("pattern", SKIPS)
def test_skipped_cases_are_refused(pattern: str) -> None:
    matched = [case for case in CASES.values() if fnmatch(case.name, pattern)]
    assert matched
    for case in matched:
        with pytest.raises(ZfvizError):
            miss(case)


def test_every_rule_has_a_case() -> None:
    assert {case.op for case in KEPT.values()} == OPS
    assert {case.op for case in own_cases()} == OPS


@pytest.mark.parametrize("op", sorted(STOPS))
def test_a_stop_gives_nothing_back(op: str) -> None:
    (rule,) = (rule for rule in registered_rules() if rule.op == op)
    assert rule.transpose(Node(op, inputs=[Variable("x")]), None, None) == {0: None}


# signals of one image, and rows of several


@pytest.mark.parametrize("name", [case.name for case in own_cases()])
def test_signals_do_not_mix(name: str) -> None:
    case = CASES[name]
    alone = Alone.of(case, "gradient")
    if not alone.companion.batched:
        pytest.skip("its axis 0 is no batch any more: a signal fills it alone")
    signals = np.random.default_rng(0).standard_normal((3, *alone.y.shape[1:]), np.float32)
    expected = np.concatenate([alone.back(signal[None]) for signal in signals])
    atol = SAME_GRAPH * np.abs(expected).max()
    np.testing.assert_allclose(alone.back(signals), expected, atol=atol, rtol=0)
    if case.op == "MaxPool":
        np.testing.assert_allclose(Alone.of(case, "gradient", "maxunpool").back(signals), expected, atol=atol, rtol=0)


ALONG_BATCH = {
    "Concat": "y = Concat<axis = 0>(x, x)",
    "Split": "y, b = Split<axis = 0, num_outputs = 2>(x)",
    "Slice": "y = Slice(x, one, two)",
    "Gather": "y = Gather(x, one)",
    "Pad": "y = Pad(x, one, , zero)",
    "Softmax": "y = Softmax<axis = 0>(x)",
    "Transpose": "y = Transpose(x)",
}


@pytest.mark.parametrize("op", ALONG_BATCH)
def test_what_mixes_the_batch_takes_it_whole(op: str) -> None:
    numbers = {"zero": [0], "one": [1], "two": [2]}
    if op == "Pad":
        numbers["one"] = [1, 0]
    case = make_case(op, 18, (2, 3), ALONG_BATCH[op], numbers)
    assert not Alone.of(case, "gradient").companion.batched
    assert miss(case) <= SINGLE_OP

"""The page docs/coverage.md, which a test holds to the rules and to the corpus."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from exporters.collected import UNJUDGED, refusal, specimens
from node_cases import canonical_of
from own_cases import own_cases

from zfviz.graph.fusions import known_fusions
from zfviz.graph.protos import opset_of
from zfviz.graph.rules import Rule, registered_rules

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"

HEAD = """# What zfviz projects

Written by `PYTHONPATH=tests:tests/rules python -m exporters.page` and held by the tests: it says what they check.

## Models

*Right*: for a layer low in the model, one high, and an output, by all three methods, the projection is within 1e-4
(1e-2 where forward values are float16) of float64 autograd in torch, which reads the same file by code of its own and
uses the same masks and switches. Of models with integers inside, the gradient is compared so: fused operators hide from
the oracle which activations they are made of. *Refused*: with a message that says why; the tests check that too.

`pytest -m exhaustive tests/exporters` judges what CI leaves out (14 of 15 models of torch and Keras); it needs
`pip install -e '.[test,oracle,exporters]'`.
"""


def page() -> str:
    """The text of the page."""
    return "\n".join([HEAD, *_models(), "", *_ops(), "", *_fusions(), ""])


def _models() -> Iterator[str]:
    tried = Counter(s.exporter for s in specimens())
    right = Counter(s.exporter for s in specimens() if not refusal(s) and s.name not in UNJUDGED)
    yield "| exporter | right / tried |"
    yield "|---|---|"
    yield from (f"| {exporter} | {right[exporter]} / {count} |" for exporter, count in tried.items())
    yield f"| all | {right.total()} / {tried.total()} |"
    yield ""
    yield "| refused, or not judged | because |"
    yield "|---|---|"
    for specimen in specimens():
        if said := refusal(specimen) or UNJUDGED.get(specimen.name):
            yield f"| {specimen.exporter}: {specimen.name} | {said} |"


def _ops() -> Iterator[str]:
    yield "## Operators"
    yield ""
    yield "Opsets are those of the cases that the tests run; the canonical form in between is opset 21. Where methods"
    yield "differ, the last column says what `deconvnet` does; `guided` rectifies so too, and multiplies by the slope."
    yield ""
    yield "| op | opsets | how the signal passes | exact | deconvnet |"
    yield "|---|---|---|---|---|"
    opsets: dict[str, set[int]] = {}
    bends: set[str] = set()
    for case in own_cases():
        opsets.setdefault(case.op, set()).add(opset_of(case.proto))
        if len(case.proto.graph.node) == 1 and any(r.bends for r in canonical_of(case).rectifiers.values()):
            bends.add(case.op)
    rules = {rule.op: rule for rule in registered_rules() if rule.method is None}
    own = {rule.op: rule for rule in registered_rules() if rule.method == "deconvnet"}
    for op in sorted(rules):
        seen = ", ".join(map(str, sorted(opsets.get(op, ())))) or "by the models above"
        said = own[op].verb if op in own else "the limit of the activation far from 0" if op in bends else ""
        yield f"| {op} | {seen} | {rules[op].verb} | {_exact(rules[op])} | {said} |"


def _exact(rule: Rule) -> str:
    return f"no: {rule.inexact}" if rule.inexact else "yes"


def _fusions() -> Iterator[str]:
    yield "## Fused operators of onnxruntime"
    yield ""
    yield "Read as what they fuse: " + ", ".join(known_fusions()) + "."


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")

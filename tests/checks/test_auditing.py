"""Audits: what is run, how numbers are judged, what fails."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from crops import crops
from onnx import ModelProto

import zfviz
from zfviz.checks import auditing, checking
from zfviz.checks.checking import Check, Measurement, Severity, all_checks, check
from zfviz.checks.records import Baseline
from zfviz.errors import CheckError, ImageError

PHOTO = Path(__file__).parents[2] / "examples" / "chelsea.jpg"


def made(
    code: str,
    *values: float,
    severity: Severity = "error",
    limit: float | None = None,
    worse: Any = "above",
    drift: float | None = None,
    needs: Any = (),
) -> Check:
    """A check that gives these numbers, one for each of layers a, b, c ..."""

    def measure(subject: object) -> Iterator[Measurement]:
        del subject
        yield from (Measurement(layer, value, "found so") for layer, value in zip("abcdef", values, strict=False))

    return Check(code, f"check-{code}", "?", "weights", "share", "us", severity, limit, worse, drift, needs, measure)


@pytest.fixture
def audited(tiny: ModelProto, monkeypatch: pytest.MonkeyPatch) -> Callable[..., zfviz.Audit]:
    """An audit by these checks only."""

    def run(*checks: Check, **options: Any) -> zfviz.Audit:
        monkeypatch.setattr(auditing, "all_checks", lambda: checks)
        return zfviz.audit(tiny, **options)

    return run


def test_a_number_beyond_its_limit_is_a_finding(audited) -> None:
    audit = audited(made("ZX1", 0.5, 0.6, limit=0.5), made("ZX2", 0.5, 0.4, limit=0.5, worse="below"))
    assert [(f.check.code, f.layer) for f in audit.findings] == [("ZX1", "b"), ("ZX2", "b")]
    assert audit.findings[0].message == "b: found so; share: 0.6, expected at most 0.5."
    assert audit.findings[1].message == "b: found so; share: 0.4, expected at least 0.5."
    assert not audit.ok


def test_what_is_no_number_is_beyond_every_limit(audited) -> None:
    assert [f.layer for f in audited(made("ZX1", float("nan"), limit=0.5)).findings] == ["a"]
    assert [f.layer for f in audited(made("ZX1", float("nan"), limit=0.5, worse="below")).findings] == ["a"]
    assert audited(made("ZX1", 1.0, float("nan"))).results[0].worst.layer == "b"


@pytest.mark.parametrize(
    ("severity", "passes"),
    [("error", {"never"}), ("warning", {"never", "error"}), ("note", {"never", "error", "warning"})],
)
def test_what_fails_an_audit_is_chosen(severity: Severity, passes: set[str], audited) -> None:
    audit = audited(made("ZX1", 1.0, severity=severity, limit=0.0))
    for fail_on in ("error", "warning", "never"):
        assert replace(audit, fail_on=fail_on).ok == (fail_on in passes)
        assert audited(made("ZX1", 1.0, severity=severity, limit=0.0), config={"fail-on": fail_on}).ok == (
            fail_on in passes
        )


def test_findings_come_with_errors_first(audited) -> None:
    checks = made("ZX1", 1.0, severity="warning", limit=0.0), made("ZX2", 1.0, limit=0.0)
    assert [f.check.code for f in audited(*checks).findings] == ["ZX2", "ZX1"]


def test_a_number_without_a_limit_informs_or_is_held_against_the_baseline(audited) -> None:
    above = made("ZX1", 0.3, 0.3, severity="note", drift=0.1)
    assert audited(above).results[0].status == "informed"
    before = Baseline(values={"ZX1": {"a": 0.25, "b": 0.1}})
    (finding,) = audited(above, baseline=before).findings
    assert (finding.layer, finding.severity, finding.against) == ("b", "warning", "baseline")
    assert finding.message == "b: found so; share: 0.3, expected at most 0.2 as in the baseline."
    below = made("ZX1", 0.3, 0.3, severity="note", drift=0.1, worse="below")
    assert not audited(below, baseline=before).findings
    assert audited(below, baseline=Baseline(values={"ZX1": {"a": 0.5}})).findings


def test_how_far_a_number_may_drift_and_how_severe_that_is_can_be_set(audited) -> None:
    check = made("ZX1", 0.3, severity="note", drift=0.1)
    before = Baseline(values={"ZX1": {"a": 0.1}})

    def told(**setting: object) -> list[tuple[str, float]]:
        audit = audited(check, baseline=before, config={"checks": {"check-ZX1": setting}})
        return [(f.severity, round(f.limit, 6)) for f in audit.findings]

    assert told() == told(drift=0.1) == [("warning", 0.2)]
    assert told(drift=0.15) == [("warning", 0.25)]
    assert told(drift=0.25) == []
    assert told(severity="note") == [("note", 0.2)]
    assert told(severity="error") == [("error", 0.2)]


def test_numbers_over_other_pictures_are_not_compared(audited, tmp_path: Path) -> None:
    pictures = crops(tmp_path, 4)
    over, without = made("ZX1", 0.3, drift=0.1, needs=["images"]), made("ZX2", 0.3, drift=0.1)
    before = audited(over, without, images=pictures).record()
    worse = [replace(c, measure=lambda subject: [Measurement("a", 0.9, "found so")]) for c in (over, without)]
    assert [f.check.code for f in audited(*worse, images=pictures, baseline=before).findings] == ["ZX1", "ZX2"]
    other = audited(*worse, images=pictures[1:], baseline=before)
    assert [f.check.code for f in other.findings] == ["ZX2"]
    said = other.results[0].measurements[0].said
    assert said == "found so (not compared: the baseline saw other pictures)"


def test_an_ignored_finding_is_kept_but_does_not_count(audited) -> None:
    ignore = [{"check": "check-ZX1", "layer": "a", "reason": "known since May"}]
    audit = audited(made("ZX1", 1.0, limit=0.0), config={"ignore": ignore})
    assert audit.ok
    assert not audit.findings
    assert audit.results[0].status == "passed"
    assert [f.ignored for f in audit.results[0].findings] == ["known since May"]


def test_a_check_that_is_off_is_no_result(audited) -> None:
    audit = audited(made("ZX1", 1.0, limit=0.0), made("ZX2"), config={"checks": {"ZX1": {"severity": "off"}}})
    assert [r.check.code for r in audit.results] == ["ZX2"]


def test_what_needs_images_or_a_baseline_says_so(audited) -> None:
    checks = made("ZX1", 1.0, needs=["images"]), made("ZX2", 1.0, needs=["images", "baseline"])
    first, second = audited(*checks).results
    assert first.status == second.status == "skipped"
    assert first.skipped == "no images were given (--images)"
    assert second.skipped == "no images were given (--images); no baseline was given (--baseline)"
    given = audited(*checks, images=[PHOTO])
    assert [r.status for r in given.results] == ["informed", "skipped"]
    assert given.images == 1


def test_a_folder_without_pictures_is_no_folder_of_images(audited, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(ImageError, match="holds no picture"):
        audited(made("ZX1", 1.0), images=tmp_path)
    with pytest.raises(ImageError, match="is no folder"):
        audited(made("ZX1", 1.0), images=tmp_path / "none")


def test_checks_of_others_are_found_by_their_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    all_checks()  # those of zfviz are imported once, and not into what is undone
    monkeypatch.setattr(checking, "_CHECKS", dict(checking._CHECKS))

    def load(self: EntryPoint) -> object:
        del self

        @check("MY1", "my-check", "Is it mine?", group="weights", unit="1", source="me")
        def mine(subject: zfviz.Subject) -> Iterator[Measurement]:
            yield Measurement("", float(len(subject.kernels)), "kernels")

        return mine

    monkeypatch.setattr(EntryPoint, "load", load)
    found = [EntryPoint("mine", "my.checks", "zfviz.checks")]
    monkeypatch.setattr(checking, "entry_points", lambda group: found if group == "zfviz.checks" else [])
    assert "MY1" in [c.code for c in all_checks()]
    with pytest.raises(CheckError, match="called MY1 or 'my-check' already"):
        all_checks()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"group": "acme"}, "group is 'acme'; expected one of weights"),
        ({"severity": "warn"}, "severity is 'warn'; expected one of error"),
        ({"worse": "over"}, "worse is 'over'; expected one of above, below"),
        ({"needs": "images"}, "needs is 'images'; expected a list of images"),
        ({"needs": ["image"]}, r"needs is \['image'\]; expected a list of images"),
    ],
)
def test_a_check_of_others_that_cannot_be_judged_is_said(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(CheckError, match=f"check ACME1: {said}"):
        check("ACME1", "acme", "?", **{"group": "weights", "unit": "filters", "source": "us", **wrong})


def test_checks_that_cannot_be_imported_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = SimpleNamespace(name="mine", value="my.checks", load=lambda: 1 / 0)
    monkeypatch.setattr(checking, "entry_points", lambda group: [broken])
    with pytest.raises(CheckError, match=r"'mine' \(my.checks\) cannot be imported: ZeroDivisionError"):
        all_checks()


def test_a_check_of_others_that_fails_is_named_and_one_of_ours_is_a_bug(audited) -> None:
    def broken(subject: zfviz.Subject) -> list[Measurement]:
        return [subject.nothing]

    broken.__module__ = "acme.checks"
    with pytest.raises(CheckError, match=r"check ZX1 of acme\.checks failed: AttributeError"):
        audited(replace(made("ZX1"), measure=broken))
    broken.__module__ = "zfviz.checks.weights"
    with pytest.raises(AttributeError):
        audited(replace(made("ZX1"), measure=broken))


def test_a_finding_prints_as_one_line(audited) -> None:
    (finding,) = audited(made("ZX1", 1.0, limit=0.5)).findings
    assert repr(finding) == "<zfviz.Finding ZX1 error: a: found so; share: 1, expected at most 0.5.>"


def test_a_check_that_gives_something_else_is_said(audited) -> None:
    wrong = replace(made("ZX1"), measure=lambda subject: [1.0])
    with pytest.raises(CheckError, match="expected measurements"):
        audited(wrong)


def test_every_check_asks_in_one_line_and_says_where_it_is_from() -> None:
    for one in all_checks():
        assert one.question.endswith("?")
        assert "\n" not in one.question
        assert one.source
        assert one.measure.__doc__
        if one.severity != "note":
            assert one.limit is not None

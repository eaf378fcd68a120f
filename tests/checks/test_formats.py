"""The formats of an audit for programs and terminals: valid, stable, and safe for names of strangers."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from audits import AUDITS, HOSTILE, INF, MODEL, audited, hostile, judged, made, many, ordinary
from jsonschema import Draft4Validator, Draft202012Validator

import zfviz
from zfviz.checks import formats
from zfviz.checks.auditing import Audit, audit
from zfviz.checks.checking import Measurement
from zfviz.checks.formats import FORMATS, render, sarif, text
from zfviz.checks.formats.wording import printable
from zfviz.cli import audit as command
from zfviz.errors import CheckError

OWN_SCHEMA = json.loads((Path(formats.__file__).parent / "audit.schema.json").read_text())
SARIF_SCHEMA = json.loads((Path(__file__).parent / "sarif-schema-2.1.0.json").read_text())


@pytest.fixture(scope="module")
def real() -> Audit:
    return audit("zfnet", config={})


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("named", AUDITS)
def test_the_same_audit_gives_the_same_text(named: str, format_: str) -> None:
    first, second = (render(AUDITS[named](), format_) for _ in range(2))
    assert first == second
    assert first.endswith("\n")
    first.encode()


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_tells_of_a_real_audit(format_: str, real: Audit) -> None:
    told = render(real, format_)
    assert getattr(real, f"to_{format_}")() == told
    assert real.results
    assert all(result.check.code in told for result in real.results)


def test_an_unknown_format_is_said_and_the_command_knows_all() -> None:
    with pytest.raises(CheckError, match="no format 'sarff' of an audit; nearest: sarif"):
        render(ordinary(), "sarff")
    assert tuple(FORMATS) == command.FORMATS


def test_printable_text_is_short_and_on_one_line() -> None:
    assert printable("a\nb\x1b\ud800\u202e é") == r"a\nb\x1b\ud800\u202e é"
    assert printable("abcdefghij" * 10, 21) == "abcdefgh ... cdefghij"
    assert all(len(printable(evil)) <= 500 and printable(evil).isprintable() for evil in HOSTILE)


# text


def test_text_lists_findings_by_severity_and_all_checks() -> None:
    lines = ordinary().to_text().splitlines()
    assert lines[0] == "models/tiny.onnx: failed (2 errors, 2 warnings, 1 note, 1 ignored)"
    assert lines[1] == "8 checks: 4 with findings, 2 passed, 1 informed, 1 skipped; 3 images"
    assert lines[2] == (
        "input image [1, 3, 32, 32]; preprocessing RGB, centre crop of 87.5 %, (x/255 - [0.485 0.456 0.406]) / "
        "[0.229 0.224 0.225] (assumed); baseline none"
    )
    assert lines[4:7] == [
        "errors",
        "  ZX1 check-ZX1  conv1: 7 of 10 are; share: 0.7, expected at most 0.5.",
        "  ZX1 check-ZX1  conv2: no number; share: nan, expected at most 0.5.",
    ]
    assert lines[lines.index("notes") + 1] == "  ZX4 check-ZX4  the model is so; share: 0.6, expected at most 0.5."
    ignored = lines[lines.index("ignored") + 1]
    assert ignored == "  ZX3 check-ZX3  conv2: too many; share: 0.8, expected at most 0.5. Ignored: known since May"
    table = [line.split() for line in lines[lines.index("ignored") + 3 :]]
    assert table[0] == ["CODE", "CHECK", "STATUS", "WORST", "EXPECTED", "COUNTS", "LAYER"]
    assert table[1] == ["ZX1", "check-ZX1", "found", "nan", "at", "most", "0.5", "share", "conv2"]
    assert table[7] == ["ZX8", "check-ZX8", "passed", "0.25", "at", "least", "0.1", "share", "conv1"]
    assert lines[-1] == "skipped, no images were given (--images): ZX7"


def test_text_holds_no_control_characters_and_a_line_for_each_finding() -> None:
    told = hostile().to_text()
    assert all(line.isprintable() for line in told.split("\n"))
    found = len(HOSTILE) ** 2
    assert len(told.splitlines()) == 3 + found + 2 * 2 + 2 + len(HOSTILE) + 2
    told = many().to_text()
    assert f"and {10_000 - text.MOST:,} more" in told
    assert len(told.splitlines()) == 3 + 3 + 2 + text.MOST + 1 + 2 + 2


# JSON


def test_json_is_what_its_schema_says(real: Audit) -> None:
    Draft202012Validator.check_schema(OWN_SCHEMA)
    for each in (real, ordinary(), hostile(), audited()):
        content = json.loads(each.to_json(), parse_constant=pytest.fail)
        Draft202012Validator(OWN_SCHEMA).validate(content)
        assert content["schema"] == OWN_SCHEMA["$id"]
        # halves of characters are JSON to Python, and to few others
        json.dumps(content, ensure_ascii=False).encode()


def test_json_holds_everything() -> None:
    content = json.loads(ordinary().to_json())
    assert content["model"]["sha256"] == MODEL.source.sha256
    assert content["versions"]["zfviz"] == zfviz.__version__
    assert (content["ok"], content["images"], content["fail_on"]) == (False, 3, "error")
    assert content["model"]["preprocessing"]["source"] == "assumed"
    assert content["baseline"] is None
    (warning,) = content["warnings"]
    assert warning.startswith("preprocessing was not found in the model and is assumed: RGB, centre crop")
    assert content["counts"] == {"error": 2, "warning": 2, "note": 1, "ignored": 1}
    first, second, third, *_, skipped, last = content["checks"]
    assert first["findings"][0]["message"] == "conv1: 7 of 10 are; share: 0.7, expected at most 0.5."
    assert first["measurements"][0]["channels"] == [1, 2]
    assert (first["findings"][1]["value"], first["findings"][1]["value_text"]) == (None, "nan")
    assert (second["measurements"][1]["value"], second["measurements"][1]["value_text"]) == (None, "inf")
    assert third["findings"][0]["ignored"] == "known since May"
    assert (skipped["status"], skipped["skipped"]) == ("skipped", "no images were given (--images)")
    assert (last["measurements"][0]["value"], last["measurements"][0]["channels"]) == (0.25, [3])
    names = [m["layer"] for m in json.loads(hostile().to_json())["checks"][0]["measurements"]]
    assert [n for n in names if "half" not in n] == [evil for evil in HOSTILE if "half" not in evil]


def test_the_schema_sees_what_is_wrong() -> None:
    valid = Draft202012Validator(OWN_SCHEMA).is_valid

    def broken(key: str, value: object, *path: str | int) -> bool:
        content = json.loads(ordinary().to_json())
        place = content
        for step in path:
            place = place[step]
        assert valid(content)
        place[key] = value
        return not valid(content)

    assert broken("ok", "yes")
    assert broken("sha256", "abc", "model")
    assert broken("status", "fine", "checks", 0)
    assert broken("skipped", "", "checks", 6)
    assert broken("value", None, "checks", 0, "measurements", 0)
    assert broken("value_text", "nan", "checks", 0, "measurements", 0)
    assert broken("limit", None, "checks", 0, "findings", 0)
    assert broken("value", "0.5", "checks", 0, "findings", 0)


def test_a_limit_that_is_not_finite_is_told_too() -> None:
    each = audited(judged(made("ZX1", limit=-INF, drift=INF), Measurement("a", 0.0, "so")))
    content = json.loads(each.to_json(), parse_constant=pytest.fail)
    Draft202012Validator(OWN_SCHEMA).validate(content)
    assert (content["checks"][0]["limit_text"], content["checks"][0]["drift_text"]) == ("-inf", "inf")
    assert all(render(each, format_) for format_ in FORMATS)


# SARIF


def run_of(each: Audit) -> dict[str, Any]:
    """The run in an audit's SARIF, after what GitHub asks of it: its schema, places, fingerprints, short texts."""
    told = each.to_sarif()
    assert told.isascii()
    assert len(told) <= 10_000_000
    assert "base64" not in told
    log = json.loads(told, parse_constant=pytest.fail)
    (run,) = log["runs"]
    few = {**log, "runs": [{**run, "results": run["results"][:200]}]}
    Draft4Validator(SARIF_SCHEMA).validate(few)
    assert len(run["results"]) <= 5000
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        assert re.fullmatch(r"(?!/)(?!.*\.\./)[A-Za-z0-9._~%/-]+", place["artifactLocation"]["uri"])
        assert place["region"]["startLine"] == 1
        assert re.fullmatch(r"[0-9a-f]{16}:1", result["partialFingerprints"]["primaryLocationLineHash"])
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        # what is no argument is doubled (SARIF 2.1.0, section 3.11.5)
        once = result["message"]["text"].replace("{{", "").replace("}}", "")
        assert len(once) <= 1000
        assert not {"{", "}"} & {*once}
        assert result["message"]["text"].isprintable()
        assert "](" not in result["message"]["text"]
    for rule in rules:
        assert len(rule["properties"]["tags"]) <= 10
        assert rule["help"]["text"]
        assert all(0 < len(rule[key]["text"]) <= 1024 for key in ("shortDescription", "fullDescription"))
    return run


def test_sarif_is_what_its_schema_and_github_want(real: Audit) -> None:
    for each in (real, ordinary(), hostile(), audited()):
        run_of(each)


def test_the_schema_of_sarif_sees_what_is_wrong() -> None:
    log = json.loads(ordinary().to_sarif())
    log["runs"][0]["results"][0]["level"] = "informed"
    assert not Draft4Validator(SARIF_SCHEMA).is_valid(log)


def test_sarif_has_a_result_for_each_check_and_layer_with_findings() -> None:
    run = run_of(ordinary())
    told = [(r["ruleId"], r["level"], len(r["suppressions"])) for r in run["results"]]
    assert told == [
        ("ZX1", "error", 0), ("ZX1", "error", 0), ("ZX2", "warning", 0), ("ZX6", "warning", 0), ("ZX4", "note", 0),
        ("ZX3", "warning", 1),
    ]  # fmt: skip
    assert run["results"][-1]["suppressions"] == [{"kind": "external", "justification": "known since May"}]
    assert run["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "conv1"
    assert [rule["defaultConfiguration"]["level"] for rule in run["tool"]["driver"]["rules"]][:2] == [
        "error",
        "warning",
    ]
    assert run["invocations"][0]["executionSuccessful"] is True
    (skipped,) = run["invocations"][0]["toolExecutionNotifications"]
    assert skipped["message"]["text"] == "ZX7 did not run: no images were given (--images)."
    assert run["automationDetails"]["id"] == "zfviz/models/tiny.onnx/"
    one = audited(judged(made("ZX1"), *(Measurement("a", 1.0, f"no. {n}") for n in range(9))))
    (result,) = run_of(one)["results"]
    assert "no. 4" in result["message"]["text"]
    assert result["message"]["text"].endswith("And 4 findings more in this layer.")


def test_fingerprints_stay_when_all_else_changes_and_differ_between_layers() -> None:
    def prints(each: Audit) -> list[str]:
        return [r["partialFingerprints"]["primaryLocationLineHash"] for r in run_of(each)["results"]]

    before = prints(audited(judged(made("ZX1"), Measurement("a", 1.0, "one"), Measurement("b", 1.0, "two"))))
    changed = judged(made("ZX1", limit=0.1, severity="error"), Measurement("b", 9.0, "x"), Measurement("a", 2.0, "y"))
    after = prints(audited(judged(made("ZX0"), Measurement("a", 1.0, "new")), changed, path="other.onnx"))
    assert set(before) < set(after)
    assert len(set(after)) == 3


def test_a_model_s_place_is_relative(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert sarif.relative_uri("zfnet") == "zfnet"
    assert sarif.relative_uri("a b/./c:d/é#.onnx") == "a%20b/c%3Ad/%C3%A9%23.onnx"
    assert sarif.relative_uri(str(tmp_path / "in" / "m.onnx")) == "in/m.onnx"
    assert sarif.relative_uri("../../out/m.onnx") == sarif.relative_uri("/out/m.onnx") == "m.onnx"
    assert sarif.relative_uri("/") == "model"
    assert sarif.relative_uri("\udc80.onnx") == "%80.onnx"


def test_sarif_says_what_it_leaves_out() -> None:
    run = run_of(many(6000))
    assert len(run["results"]) == sarif.MAX_RESULTS
    assert run["results"][0]["level"] == "error"
    told = run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    assert told.startswith("1,001 results left out")
    wide = [Measurement(f"{n}" + "\U0001f600" * 400, 1.0, "\U0001f600" * 400) for n in range(2000)]
    run = run_of(audited(judged(made("ZX1"), *wide)))
    assert 200 < len(run["results"]) < 2000
    assert run["invocations"][0]["toolExecutionNotifications"]


# JUnit


def test_junit_has_a_case_for_each_check() -> None:
    suite = ElementTree.fromstring(ordinary().to_junit())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("8", "3", "1")
    cases = suite.findall("testcase")
    assert cases[0].get("classname") == "zfviz.graph"
    assert cases[0].get("name") == "ZX1 check-ZX1: Is it?"
    inside = [{child.tag for child in case} for case in cases]
    assert inside == [{"failure"}, {"failure"}, {"system-out"}, {"system-out"}, set(), {"failure"}, {"skipped"}, set()]
    failure = cases[0].find("failure")
    assert failure.get("type") == "error"
    assert len(failure.text.splitlines()) == 2
    assert cases[2].findtext("system-out").startswith("ignored (known since May): conv2: too many")
    assert cases[6].find("skipped").get("message") == "no images were given (--images)"
    assert len(ElementTree.fromstring(many().to_junit()).find(".//testcase[2]/failure").text) < 100_000


def test_junit_is_xml_whatever_the_names_are() -> None:
    root = ElementTree.fromstring(hostile().to_junit())
    texts = [text for node in root.iter() for text in (*node.attrib.values(), *(node.text or "").splitlines())]
    assert all(text.isprintable() for text in texts)
    assert any(HOSTILE[0] in text for text in texts)

"""An audit for programs: everything, as JSON; `audit.schema.json` beside this file says what stands where."""

import json
from math import isfinite
from typing import Any

from zfviz.checks.auditing import Audit, Finding, Result
from zfviz.checks.checking import SEVERITIES, Measurement
from zfviz.checks.formats.wording import ignored
from zfviz.runtime.session import versions

SCHEMA = "urn:zfviz:audit:1"
"""The $id of the schema; it changes when a reader of the old one could not read the new."""


def write(audit: Audit) -> str:
    """All of an audit, in ASCII. A number that JSON cannot hold is null, and its text stands beside it."""
    model, before, severities = audit.model, audit.subject.baseline, [finding.severity for finding in audit.findings]
    content = {
        "schema": SCHEMA,
        "versions": versions(),
        "model": {
            "path": _text(audit.path),
            "name": _text(model.name),
            "sha256": model.source.sha256,
            "input": {"name": _text(model.image.name), "shape": [int(size) for size in model.image.shape]},
            "preprocessing": model.preprocessing.to_json() | {"source": _text(model.preprocessing.source)},
        },
        "baseline": before and {"name": _text(before.name), "sha256": _text(before.sha256)},
        "warnings": list(audit.warnings),
        "images": audit.images,
        "fail_on": audit.fail_on,
        "ok": audit.ok,
        "counts": {s: severities.count(s) for s in SEVERITIES} | {"ignored": len(ignored(audit))},
        "checks": [_check(result) for result in audit.results],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _check(result: Result) -> dict[str, Any]:
    check = result.check
    return {
        "code": _text(check.code),
        "name": _text(check.name),
        "question": _text(check.question),
        "group": check.group,
        "unit": _text(check.unit),
        "source": _text(check.source),
        "severity": check.severity,
        **_number("limit", check.limit),
        "worse": check.worse,
        **_number("drift", check.drift),
        "needs": list(check.needs),
        "status": result.status,
        "skipped": _text(result.skipped),
        "measurements": [_measurement(measurement) for measurement in result.measurements],
        "findings": [_finding(finding) for finding in result.findings],
    }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    return {
        "layer": _text(measurement.layer),
        **_number("value", measurement.value),
        "said": _text(measurement.said),
        "channels": [int(channel) for channel in measurement.channels],
        "image": _text(measurement.image),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity,
        "against": finding.against,
        **_number("limit", finding.limit),
        "ignored": _text(finding.ignored),
        "message": _text(finding.message),
        **_measurement(finding.measurement),
    }


def _number(key: str, value: float | None) -> dict[str, float | str | None]:
    """A number under its key; `float` also takes those of numpy."""
    if value is None or isfinite(value):
        return {key: None if value is None else float(value)}
    return {key: None, f"{key}_text": str(float(value))}


def _text(text: str) -> str:
    """The text as it is, but for halves of characters, which file names may hold and UTF-8 may not."""
    return text.encode("utf-8", "backslashreplace").decode()

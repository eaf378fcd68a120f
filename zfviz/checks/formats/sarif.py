"""An audit for code scanning: SARIF 2.1.0, within what GitHub takes.

GitHub wants a place in a file for each result: it is line 1 of the model. It tells alerts of two uploads apart by
`primaryLocationLineHash`, so that is made of the check and the layer, and not of bytes that every training changes. It
does not heed suppressions: filter out results that have some before the upload, or their alerts are to be dismissed.
"""

import json
import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from zfviz.checks.auditing import Audit, Finding, Result
from zfviz.checks.checking import Check
from zfviz.checks.evidence import numbered
from zfviz.checks.formats.markdown import escaped
from zfviz.checks.formats.wording import about, expected, printable, sentence, worst
from zfviz.version import __version__

MAX_RESULTS = 5000  # GitHub shows no more
MAX_BYTES = 9_500_000  # GitHub takes 10 MB, compressed; others count what is not

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_TOGETHER = 5  # findings of one layer that a message spells out
_PROBLEM = {"error": "error", "warning": "warning", "note": "recommendation"}


def write(audit: Audit) -> str:
    """A result for each check and layer with findings, the most severe first, in ASCII; where there are too many, a
    notification says how many are left out.
    """
    results = _results(audit)
    kept = results[:MAX_RESULTS]
    text = _log(audit, kept, len(results) - len(kept))
    while len(text) > MAX_BYTES and kept:
        kept = kept[: len(kept) // 2]
        text = _log(audit, kept, len(results) - len(kept))
    return text


def relative_uri(path: str) -> str:
    """A model's path, relative to the working folder and percent-encoded; of one that lies elsewhere only its name."""
    full, here = Path(os.path.abspath(path)), Path.cwd()  # noqa: PTH100, links are kept as they are named
    inside = full.is_relative_to(here) and full != here
    return quote(os.fsencode(full.relative_to(here).as_posix() if inside else full.name or "model"))


def _log(audit: Audit, results: Sequence[dict[str, Any]], left: int) -> str:
    uri = relative_uri(audit.path)
    artifact: dict[str, Any] = {"location": {"uri": uri}, "roles": ["analysisTarget"]}
    if audit.model.source.sha256:
        artifact["hashes"] = {"sha-256": audit.model.source.sha256}
    run = {
        "tool": {
            "driver": {
                "name": "zfviz",
                "version": __version__,
                "rules": [_rule(result.check) for result in audit.results],
            }
        },
        "automationDetails": {"id": f"zfviz/{uri}/"},
        "invocations": [
            {"executionSuccessful": True, "toolExecutionNotifications": list(_notifications(audit.results, left))}
        ],
        "artifacts": [artifact],
        "columnKind": "utf16CodeUnits",
        "results": list(results),
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, allow_nan=False) + "\n"


def _rule(check: Check) -> dict[str, Any]:
    facts = {"Unit": check.unit, "Expected": expected(check), "Source": check.source}
    lines = [about(check), *(f"{name}: {printable(text)}." for name, text in facts.items() if text)]
    return {
        "id": printable(check.code),
        "name": printable(check.name, 255),
        "shortDescription": {"text": printable(check.question)},
        "fullDescription": {"text": about(check) or printable(check.question)},
        "help": {
            "text": "\n".join([printable(check.question), *filter(None, lines)]),
            "markdown": "\n\n".join([f"**{escaped(check.question)}**", *(escaped(line) for line in lines if line)]),
        },
        "defaultConfiguration": {"level": check.severity},
        "properties": {"tags": ["model", check.group], "problem.severity": _PROBLEM[check.severity]},
    }


def _results(audit: Audit) -> list[dict[str, Any]]:
    uri = relative_uri(audit.path)
    groups: dict[tuple[int, str], list[Finding]] = {}
    for index, result in enumerate(audit.results):
        for finding in result.findings:
            groups.setdefault((index, finding.layer), []).append(finding)
    # what is ignored comes last, so that it is left out first
    ordered = sorted(groups.items(), key=lambda item: (bool(item[1][0].ignored), min(map(worst, item[1]))))
    return [_result(index, layer, findings, uri) for (index, layer), findings in ordered]


def _result(index: int, layer: str, findings: Sequence[Finding], uri: str) -> dict[str, Any]:
    first = min(findings, key=worst)
    code = first.check.code
    fingerprint = sha256(f"{code}\0{layer}".encode("utf-8", "backslashreplace")).hexdigest()
    place: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": uri, "index": 0},
            "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1},
        }
    }
    if layer:
        place["logicalLocations"] = [{"fullyQualifiedName": printable(layer), "kind": "layer"}]
    return {
        "ruleId": printable(code),
        "ruleIndex": index,
        "level": first.severity,
        "message": {"text": _message([first, *(f for f in findings if f is not first)])},
        "locations": [place],
        "partialFingerprints": {"primaryLocationLineHash": f"{fingerprint[:16]}:1", "checkAndLayer/v1": fingerprint},
        "suppressions": _suppressions(first),
    }


def _message(findings: Sequence[Finding]) -> str:
    said = [sentence(finding) for finding in findings[:_TOGETHER]]
    if len(findings) > _TOGETHER:
        said.append(f"And {numbered(len(findings) - _TOGETHER, 'finding')} more in this layer.")
    return _plain(printable(" ".join(said), 1000))


def _plain(text: str) -> str:
    """The text as a message: in one, [text](target) is a link and {0} an argument (SARIF 2.1.0, section 3.11.5)."""
    return text.replace("](", "] (").replace("{", "{{").replace("}", "}}")


def _suppressions(finding: Finding) -> list[dict[str, str]]:
    return [{"kind": "external", "justification": printable(finding.ignored)}] if finding.ignored else []


def _notifications(results: Iterable[Result], left: int) -> Iterable[dict[str, Any]]:
    if left:
        text = f"{numbered(left, 'result')} left out, the least severe; the format json has all findings."
        yield {"level": "warning", "message": {"text": text}}
    for index, result in enumerate(results):
        if result.skipped:
            text = f"{printable(result.check.code)} did not run: {printable(result.skipped)}."
            rule = {"id": printable(result.check.code), "index": index}
            yield {"level": "note", "message": {"text": _plain(text)}, "associatedRule": rule}

"""An audit for a comment on a pull request: Markdown as GitHub reads it, short enough for a comment."""

import re
from collections.abc import Iterable

from zfviz.checks.auditing import Audit, Finding, Result
from zfviz.checks.evidence import numbered
from zfviz.checks.formats.wording import (
    expected,
    facts,
    fit,
    ignored,
    number,
    overview,
    printable,
    sentence,
    tally,
    tone,
    verdict,
    worst,
)
from zfviz.runtime.session import versions

LONGEST = 60_000
"""Characters of a comment; GitHub takes 65,536."""

_FOR_FINDINGS, _FOR_IGNORED, _FOR_CHECKS = 34_000, 6_000, 15_000
_CELL = 240  # characters of a cell, before they are escaped
_SIGNS = {"error": "❌", "warning": "⚠️", "note": "ℹ️", "passed": "✅", "failed": "❌", "informed": "ℹ️", "skipped": "➖"}
# but for a colon at a word's end; the last is the dot of www., which makes a link
_SPECIAL = re.compile(r"[^\w\s%()+,./;=?'\":-]|_|:(?!\s)|(?<=[wW])\.")


def write(audit: Audit) -> str:
    """The verdict, a table of findings, and a table of all checks to unfold."""
    told = " · ".join(f"{name} {text}" for name, text in [*facts(audit).items(), *versions().items()])
    lines = [
        f"### {_SIGNS[tone(audit)]} zfviz audit of {code(audit.path)}: {verdict(audit)}",
        "",
        f"{tally(audit)}; {overview(audit)}.",
        *_findings(audit),
        *_ignored(audit),
        *_checks(audit),
        "",
        f"<sub>{escaped(told, LONGEST)} · SHA-256 {code(audit.model.source.sha256 or 'unknown')}</sub>",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str, longest: int = _CELL) -> str:
    """The text as Markdown that shows it as it is: no markup, no cell's end, no link, and nobody is mentioned."""
    return _SPECIAL.sub(_entity, printable(text, longest))


def code(text: str, longest: int = 120) -> str:
    """A name as Markdown that shows it as code."""
    return f"<code>{escaped(text, longest)}</code>"


def _entity(match: re.Match[str]) -> str:
    # the comment tears apart what would call a person or an issue: those are looked for after entities are read
    return f"&#{ord(match[0])};" + "<!-- -->" * (match[0] in "@#")


def _findings(audit: Audit) -> list[str]:
    rows = (_cells(f"{_SIGNS[f.severity]} {f.severity}", *_told(f)) for f in audit.findings)
    return _table(("", "check", "layer", "found"), rows, _FOR_FINDINGS, "finding")


def _ignored(audit: Audit) -> list[str]:
    rows = (_cells(*_told(finding), escaped(finding.ignored)) for finding in ignored(audit))
    table = _table(("check", "layer", "found", "ignored because"), rows, _FOR_IGNORED, "finding")
    return _folded(f"{numbered(len(ignored(audit)), 'finding')} ignored", table)


def _told(finding: Finding) -> tuple[str, str, str]:
    """The check, the layer, and what was found in it, as cells."""
    found = sentence(finding).removeprefix(f"{printable(finding.layer)}: " if finding.layer else "")
    layer = code(finding.layer) if finding.layer else "the model"
    return f"{escaped(finding.check.code)} {escaped(finding.check.name)}", layer, escaped(found)


def _checks(audit: Audit) -> list[str]:
    titles = ("", "check", "question", "worst", "expected")
    table = _table(titles, map(_check_row, audit.results), _FOR_CHECKS, "check")
    return _folded(f"All {numbered(len(audit.results), 'check')}", table)


def _check_row(result: Result) -> str:
    found = result.worst
    where = f" in {code(found.layer, 60)}" if found and found.layer else ""
    return _cells(
        _SIGNS[min(result.counted, key=worst).severity if result.counted else result.status],
        f"{escaped(result.check.code)} {escaped(result.check.name)}",
        escaped(result.check.question),
        escaped(number(found.value)) + where if found else escaped(result.skipped),
        escaped(expected(result.check)),
    )


def _table(titles: tuple[str, ...], rows: Iterable[str], room: int, noun: str) -> list[str]:
    kept, left = fit(rows, room)
    if not kept:
        return []
    more = ["", f"And {numbered(left, noun)} more, for which there is no room here."] if left else []
    return ["", _cells(*titles), "|" + "---|" * len(titles), *kept, *more]


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _folded(title: str, lines: list[str]) -> list[str]:
    return ["", f"<details><summary>{title}</summary>", *lines, "", "</details>"] if lines else []

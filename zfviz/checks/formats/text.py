"""An audit for a terminal."""

from collections.abc import Iterable, Sequence

from zfviz.checks.auditing import Audit, Finding, Result
from zfviz.checks.checking import SEVERITIES
from zfviz.checks.formats.wording import expected, facts, ignored, number, overview, printable, sentence, tally, verdict

MOST = 1000
"""How many findings of one severity are listed."""

_NAME = 40  # characters of a name in the table


def write(audit: Audit) -> str:
    """One line a finding, by severity, then a table of the checks. It holds no control character but the newline."""
    told = [f"{name.lower()} {text}" for name, text in facts(audit).items()]
    lines = [f"{printable(audit.path)}: {verdict(audit)} ({tally(audit)})", overview(audit), "; ".join(told)]
    for severity in SEVERITIES:
        found = [finding for finding in audit.findings if finding.severity == severity]
        lines += _listed(f"{severity}s", found)
    lines += _listed("ignored", ignored(audit))
    ran = [result for result in audit.results if not result.skipped]
    if ran:
        rows = [("CODE", "CHECK", "STATUS", "WORST", "EXPECTED", "COUNTS", "LAYER"), *map(_row, ran)]
        lines += ["", *_aligned(rows)]
    reasons: dict[str, list[str]] = {}
    for result in audit.results:
        if result.skipped:
            reasons.setdefault(result.skipped, []).append(printable(result.check.code, _NAME))
    lines += [""] * bool(reasons)
    lines += [f"skipped, {printable(reason)}: {', '.join(codes)}" for reason, codes in reasons.items()]
    return "\n".join(lines) + "\n"


def _listed(title: str, findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    lines = [f"  {printable(f'{f.check.code} {f.check.name}')}  {sentence(f)}{_reason(f)}" for f in findings[:MOST]]
    left = len(findings) - MOST
    return ["", title, *lines, *([f"  and {left:,} more; the format json has all"] if left > 0 else [])]


def _reason(finding: Finding) -> str:
    return f" Ignored: {printable(finding.ignored)}" if finding.ignored else ""


def _row(result: Result) -> tuple[str, ...]:
    check, worst = result.check, result.worst
    return (
        printable(check.code, _NAME),
        printable(check.name, _NAME),
        "found" if result.status == "failed" else result.status,
        number(worst.value) if worst else "",
        expected(check),
        printable(check.unit, _NAME),
        printable(worst.layer if worst else "", 2 * _NAME),
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)

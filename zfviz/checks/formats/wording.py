"""What all formats say alike: names that are safe to show, numbers, limits, the verdict.

Names come from files of strangers: each format escapes what is special to it, and this what is special everywhere.
"""

from collections.abc import Iterable

from zfviz.checks.auditing import Audit, Finding
from zfviz.checks.checking import SEVERITIES, Check
from zfviz.checks.evidence import numbered
from zfviz.report.terminal import visible

LONGEST = 500
"""How many characters of one text are shown."""

_GAP = " ... "


def printable(text: str, longest: int = LONGEST) -> str:
    """The text on one line, at most `longest` characters of it: the middle of a longer one is left out, and what cannot
    be printed stands as its escape, such as \\x1b.
    """
    # cut before as well as after: a megabyte of control characters is not spelled out first
    return _shorten(visible(_shorten(text, longest)), longest)


def number(value: float) -> str:
    """A number in four digits."""
    return f"{value:.4g}"


def expected(check: Check) -> str:
    """The limit of a check, such as "at most 0.1"; empty where it has none."""
    return "" if check.limit is None else check.expected(check.limit)


def about(check: Check) -> str:
    """What the number of a check is: the words of the function that measures it."""
    return printable(" ".join((check.measure.__doc__ or "").split()))


def sentence(finding: Finding) -> str:
    """What was found and what was expected."""
    return printable(finding.message)


def worst(finding: Finding) -> int:
    """What sorts findings with errors first."""
    return SEVERITIES.index(finding.severity)


def ignored(audit: Audit) -> tuple[Finding, ...]:
    """The findings that do not count, in the order of checks and layers."""
    return tuple(finding for result in audit.results for finding in result.findings if finding.ignored)


def verdict(audit: Audit) -> str:
    """ "passed" or "failed"."""
    return "passed" if audit.ok else "failed"


def tone(audit: Audit) -> str:
    """ "passed", "failed", or "warning" for what passed but has findings that are more than notes."""
    return "warning" if audit.ok and any(f.severity != "note" for f in audit.findings) else verdict(audit)


def facts(audit: Audit) -> dict[str, str]:
    """What an audit is of, by name: the model's input, how pictures became that, what it is compared with."""
    before, preprocessing = audit.subject.baseline, audit.model.preprocessing
    how = f"{preprocessing.describe(audit.model.image.channels)} ({preprocessing.source})"
    named = f"{before.name or 'unnamed'} {before.sha256[:12]}".strip() if before else "none"
    return {"Input": input_of(audit), "Preprocessing": printable(how), "Baseline": printable(named)}


def tally(audit: Audit) -> str:
    """How many findings there are, such as "1 error, 2 warnings, 3 ignored"."""
    severities = [finding.severity for finding in audit.findings]
    parts = [numbered(severities.count(s), s) for s in SEVERITIES if s in severities] or ["no findings"]
    return ", ".join([*parts, *([f"{len(ignored(audit))} ignored"] if ignored(audit) else [])])


def overview(audit: Audit) -> str:
    """What was checked, such as "31 checks: 2 with findings, 20 passed, 9 skipped; 60 images"."""
    statuses = [result.status for result in audit.results]
    words = {"failed": "with findings", "passed": "passed", "informed": "informed", "skipped": "skipped"}
    parts = [f"{n} {word}" for status, word in words.items() if (n := statuses.count(status))]
    checks = ": ".join([numbered(len(statuses), "check"), *([", ".join(parts)] if parts else [])])
    return f"{checks}; {numbered(audit.images, 'image')}"


def input_of(audit: Audit) -> str:
    """The image input of the model, such as "image [1, 3, 224, 224]"."""
    return printable(f"{audit.model.image.name} [{', '.join(map(str, audit.model.image.shape))}]")


def fit(rows: Iterable[str], room: int) -> tuple[list[str], int]:
    """As many rows as have room, in characters with a newline each, and how many are left over."""
    rows = list(rows)
    for index, row in enumerate(rows):
        room -= len(row) + 1
        if room < 0:
            return rows[:index], len(rows) - index
    return rows, 0


def _shorten(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    kept = longest - len(_GAP)
    return text[: (kept + 1) // 2] + _GAP + text[len(text) - kept // 2 :]

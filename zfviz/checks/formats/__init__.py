"""The formats of an audit: for people, for programs, for CI."""

from collections.abc import Callable, Mapping

from zfviz.checks.auditing import Audit
from zfviz.checks.formats import as_json, junit, markdown, page, sarif, text
from zfviz.errors import CheckError, nearest

FORMATS: Mapping[str, Callable[[Audit], str]] = {
    "text": text.write,
    "json": as_json.write,
    "sarif": sarif.write,
    "junit": junit.write,
    "markdown": markdown.write,
    "html": page.write,
}
"""What writes an audit, by the name of the format. The same audit gives the same text, which ends with a newline."""


def render(audit: Audit, format: str) -> str:
    """The audit in this format. Raises CheckError for a format that is not known."""
    if format not in FORMATS:
        raise CheckError(f"no format {format!r} of an audit; {nearest(format, FORMATS)}.")
    return FORMATS[format](audit)

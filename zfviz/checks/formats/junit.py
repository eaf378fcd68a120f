"""An audit for what shows tests: JUnit's XML, a test case for each check."""

from collections.abc import Iterable
from xml.etree import ElementTree

from zfviz.checks.auditing import Audit, Finding, Result
from zfviz.checks.formats.wording import facts, printable, sentence, worst
from zfviz.runtime.session import versions

MOST = 200
"""How many findings of one check are listed."""


def write(audit: Audit) -> str:
    """A suite with a case for each check: errors and warnings that count are its failure, notes and what is ignored its
    output.
    """
    name = f"zfviz audit of {printable(audit.path)}"
    failed, skipped = (sum(map(test, audit.results)) for test in (_fails, _is_skipped))
    counts = {"tests": str(len(audit.results)), "failures": str(failed), "errors": "0", "skipped": str(skipped)}
    root = ElementTree.Element("testsuites", {"name": "zfviz audit", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    properties = ElementTree.SubElement(suite, "properties")
    told = {"sha256": audit.model.source.sha256, "images": str(audit.images), "fail-on": audit.fail_on}
    told |= {name.lower(): text for name, text in facts(audit).items()} | versions()
    for key, value in told.items():
        ElementTree.SubElement(properties, "property", {"name": key, "value": value})
    for result in audit.results:
        _add_case(suite, result)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _failures(result: Result) -> list[Finding]:
    return sorted((f for f in result.counted if f.severity != "note"), key=worst)


def _fails(result: Result) -> bool:
    return bool(_failures(result))


def _is_skipped(result: Result) -> bool:
    return result.status == "skipped"


def _add_case(suite: ElementTree.Element, result: Result) -> None:
    check, failures = result.check, _failures(result)
    name = printable(f"{check.code} {check.name}: {check.question}")
    case = ElementTree.SubElement(suite, "testcase", {"classname": f"zfviz.{check.group}", "name": name})
    if _is_skipped(result):
        ElementTree.SubElement(case, "skipped", {"message": printable(result.skipped)})
    if failures:
        told = {"type": failures[0].severity, "message": sentence(failures[0])}
        ElementTree.SubElement(case, "failure", told).text = _lines(f"{f.severity}: {sentence(f)}" for f in failures)
    rest = [f for f in result.findings if f.ignored or f.severity == "note"]
    if rest:
        output = ElementTree.SubElement(case, "system-out")
        output.text = _lines(
            f"ignored ({printable(f.ignored)}): {sentence(f)}" if f.ignored else f"note: {sentence(f)}" for f in rest
        )


def _lines(lines: Iterable[str]) -> str:
    lines = list(lines)
    left = len(lines) - MOST
    return "\n".join([*lines[:MOST], *([f"and {left:,} more; the format json has all"] if left > 0 else [])])

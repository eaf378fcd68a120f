"""docs/audit.md tells every check as it is."""

from pathlib import Path

import pytest

from zfviz.checks.checking import Check, all_checks

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.code)
def test_the_page_tells_the_check_as_it_is(check: Check) -> None:
    limit = "" if check.limit is None else check.expected(check.limit)
    drift = "" if check.drift is None else f"{check.drift:.4g}"
    cells = (check.code, check.name, check.question, check.unit, limit, drift, check.severity, check.source)
    assert f"| {' | '.join(cells)} |" in PAGE

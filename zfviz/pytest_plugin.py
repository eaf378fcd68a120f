"""A fixture for pytest: it audits a model, and fails the test with the report where the audit fails.

def test_the_model(zfviz_audit):
    zfviz_audit("model.onnx", images="photos", baseline="model.json")
"""

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Protocol

import pytest

# pytest imports this file wherever zfviz is installed: what is heavy waits for a test that asks for the fixture
if TYPE_CHECKING:
    from zfviz.checks.auditing import Audit
    from zfviz.checks.configuring import ConfigLike, FailOn
    from zfviz.checks.records import Baseline
    from zfviz.runtime.loading import ModelLike


class AuditModel(Protocol):
    """What the fixture gives: `zfviz.audit`, which fails the test where a finding is as severe as `fail_on`; None says
    as configured, else "error".
    """

    def __call__(
        self,
        model: "ModelLike",
        images: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
        baseline: "ModelLike | Baseline | None" = None,
        config: "ConfigLike" = None,
        fail_on: "FailOn | None" = None,
    ) -> "Audit":
        """The audit, where it passes."""
        ...


@pytest.fixture(scope="session")
def zfviz_audit() -> AuditModel:
    """Audit a model, and fail the test with the text report where the audit fails."""
    from zfviz.checks.auditing import audit  # noqa: PLC0415
    from zfviz.checks.configuring import FAIL_ON  # noqa: PLC0415
    from zfviz.checks.formats import render  # noqa: PLC0415

    def run(
        model: "ModelLike",
        images: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
        baseline: "ModelLike | Baseline | None" = None,
        config: "ConfigLike" = None,
        fail_on: "FailOn | None" = None,
    ) -> "Audit":
        if fail_on not in (None, *FAIL_ON):
            raise ValueError(f"fail_on is {fail_on!r}; expected one of {', '.join(FAIL_ON)}, or None.")
        found = audit(model, images, baseline, config)
        found = replace(found, fail_on=fail_on or found.fail_on)
        if not found.ok:
            pytest.fail(render(found, "text"), pytrace=False)
        return found

    return run

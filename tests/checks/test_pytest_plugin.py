"""The fixture for pytest: whose tests fail, and with what."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PLUGIN = "zfviz.pytest_plugin"
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"

CHECKS = """
    import pytest
    from zfviz.checks import auditing, checking

    def always(subject):
        yield checking.Measurement("conv1", 0.5, "half of it is odd")

    @pytest.fixture(autouse=True)
    def one_check(monkeypatch):
        check = checking.Check(
            "ZX1", "odd", "Is it odd?", "weights", "share", "us", "warning", 0.25, "above", None, (), always
        )
        monkeypatch.setattr(auditing, "all_checks", lambda: (check,))
"""


@pytest.fixture
def outcome(pytester: pytest.Pytester, tiny_path: Path) -> Callable[[str], pytest.RunResult]:
    """What comes of a test with this body, where the only check warns."""
    pytester.makeconftest(CHECKS)
    # the plugin is there already where this zfviz is installed
    there = any(entry.value == PLUGIN for entry in entry_points(group="pytest11"))

    def run(body: str) -> pytest.RunResult:
        pytester.makepyfile(f"""
            MODEL = {str(tiny_path)!r}

            def test_model(zfviz_audit):
                {body}
        """)
        return pytester.runpytest("-p", "no:cacheprovider", *([] if there else ["-p", PLUGIN]))

    return run


def test_a_model_that_passes_is_handed_to_the_test(outcome) -> None:
    outcome("assert [f.message for f in zfviz_audit(MODEL).findings]").assert_outcomes(passed=1)
    outcome("assert zfviz_audit(MODEL).path == MODEL").assert_outcomes(passed=1)


def test_a_model_that_fails_fails_the_test_with_the_report(outcome) -> None:
    result = outcome("zfviz_audit(MODEL, fail_on='warning')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ZX1*half of it is odd*expected at most 0.25*"])
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_the_configuration_says_what_fails_unless_the_test_does(outcome) -> None:
    outcome("zfviz_audit(MODEL, config={'fail-on': 'warning'})").assert_outcomes(failed=1)
    outcome("zfviz_audit(MODEL, config={'fail-on': 'warning'}, fail_on='never')").assert_outcomes(passed=1)
    outcome("zfviz_audit(MODEL, config={'fail-on': 'warning', 'checks': {'odd': {'limit': 1}}})").assert_outcomes(
        passed=1
    )


def test_bad_use_is_an_error_that_says_what_is_wrong(outcome) -> None:
    result = outcome("zfviz_audit(MODEL, fail_on='warnings')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*fail_on is 'warnings'; expected one of error, warning, never*"])
    result = outcome("zfviz_audit(MODEL + 'x')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ModelError: no file at *"])


def test_images_and_baseline_reach_the_audit(outcome, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = outcome(f"zfviz_audit(MODEL, images={str(tmp_path / 'empty')!r})")
    result.stdout.fnmatch_lines(["*ImageError*holds no picture*"])
    result = outcome(f"zfviz_audit(MODEL, baseline={str(tmp_path / 'none.json')!r})")
    result.stdout.fnmatch_lines(["*CheckError*none.json*"])


def test_pytest_finds_the_fixture_in_what_is_installed() -> None:
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["pytest11"]
    assert declared == {"zfviz": PLUGIN}


def test_the_plugin_costs_other_tests_nothing() -> None:
    heavy = "{'onnx', 'onnxruntime', 'numpy', 'PIL'} & set(sys.modules)"
    command = f"import sys, {PLUGIN}; sys.exit(str({heavy}) if {heavy} else 0)"
    subprocess.run([sys.executable, "-c", command], check=True)

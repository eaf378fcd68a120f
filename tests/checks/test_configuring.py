"""Configurations: what they change, where they are found, what is wrong in them is said."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from zfviz.checks.checking import Check, Measurement
from zfviz.checks.configuring import Config, Ignore, Setting, read_config
from zfviz.checks.subject import Subject
from zfviz.errors import CheckError


def nothing(subject: Subject) -> Iterator[Measurement]:
    """No measurements."""
    del subject
    yield from ()


LIMITED = Check("ZX1", "limited", "?", "weights", "x", "", "error", 0.5, "above", None, (), nothing)
INFORMING = Check("ZX2", "informing", "?", "weights", "x", "", "note", None, "below", None, (), nothing)
CHECKS = (LIMITED, INFORMING)


def test_a_setting_goes_by_code_or_by_name() -> None:
    for key in ("ZX1", "limited"):
        applied = Config(settings={key: Setting(limit=0.9)}).applied(LIMITED)
        assert applied is not None
        assert (applied.limit, applied.severity) == (0.9, "error")


def test_a_check_that_only_informs_warns_where_it_is_given_a_limit() -> None:
    applied = Config(settings={"ZX2": Setting(limit=1.0)}).applied(INFORMING)
    assert applied is not None
    assert applied.severity == "warning"
    told = Config(settings={"ZX2": Setting(limit=1.0, severity="note")}).applied(INFORMING)
    assert told is not None
    assert told.severity == "note"


def test_a_check_that_is_off_is_left_out_and_others_are_as_they_are() -> None:
    config = Config(settings={"ZX1": Setting(severity="off")})
    assert config.applied(LIMITED) is None
    assert config.applied(INFORMING) is INFORMING


def test_what_is_ignored_goes_by_check_and_layer() -> None:
    config = Config(ignores=(Ignore("limited", "conv*", "known"),))
    assert config.reason(LIMITED, "conv1") == "known"
    assert not config.reason(LIMITED, "fc1")
    assert not config.reason(INFORMING, "conv1")


TABLE = """
[{0}audit]
fail-on = "warning"
[{0}audit.checks.ZX1]
limit = 0.25
[[{0}audit.ignore]]
check = "ZX2"
reason = "it is meant so"
"""


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    for name, prefix in (("zfviz.toml", ""), ("pyproject.toml", "tool.zfviz."), ("zfviz.toml", "tool.zfviz.")):
        path = tmp_path / name
        path.write_text(TABLE.format(prefix))
        config = read_config(path, CHECKS)
        assert config.fail_on == "warning"
        assert config.settings == {"ZX1": Setting(0.25, None, None)}
        assert config.ignores == (Ignore("ZX2", "*", "it is meant so"),)


def test_the_working_folder_is_looked_at_and_zfviz_toml_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_config(None, CHECKS) == Config(settings={})
    Path("pyproject.toml").write_text(TABLE.format("tool.zfviz."))
    assert read_config(None, CHECKS).fail_on == "warning"
    Path("zfviz.toml").write_text('[audit]\nfail-on = "never"')
    assert read_config(None, CHECKS).fail_on == "never"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[audit", "cannot be read"),
        ("audit = 3", "expected a table"),
        ("", "configures no audit"),
        ("[audits]\nfail-on = 'error'", "no key 'audits'; nearest: audit"),
        ("[audit]\nfail-on = 'never'\n[tool.zfviz.audit]\nfail-on = 'error'", "no key 'audit'"),
        ("fail-on = 'error'", "no key 'fail-on'"),
        ("[tool.zfviz.audits]\nfail-on = 'error'", "no key 'audits'"),
        ("[audit.checks.ZX1]\ndrift = -1", "expected 0 or more"),
        ("[audit.checks.ZX1]\ndrift = 'much'", "drift is 'much'; expected a number"),
        ("[audit]\nfail_on = 'error'", "no key 'fail_on'; nearest: fail-on"),
        ("[audit]\nfail-on = 'always'", "expected one of error, warning, never"),
        ("[audit.checks.ZX9]\nlimit = 1", "no check 'ZX9'; nearest: ZX"),
        ("[audit.checks.ZX1]\nlimit = 'much'", "expected a number"),
        ("[audit.checks.ZX1]\nlimit = true", "expected a number"),
        (f"[audit.checks.ZX1]\nlimit = 1{'0' * 400}", "fits a float64"),
        ("[audit.checks.ZX1]\nlimit = nan", "fits a float64"),
        ("[audit.checks.ZX1]\nlimit = -inf", "fits a float64"),
        ("[audit.checks.ZX1]\nseverity = 'fatal'", "expected one of error, warning, note, off"),
        ("[audit.checks]\nZX1 = 0.5", "expected a table"),
        ("[audit]\nchecks = 5", "expected a table"),
        ("[audit]\nignore = 5", "is no list"),
        ("[[audit.ignore]]\ncheck = 'ZX1'", "expected check, reason"),
        ("[[audit.ignore]]\ncheck = 'ZX1'\nreason = ''", "expected check, reason"),
        ("[[audit.ignore]]\ncheck = 'other'\nreason = 'x'", "no check 'other'"),
    ],
)
def test_what_is_wrong_is_said(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "zfviz.toml"
    path.write_text(content)
    with pytest.raises(CheckError, match=said):
        read_config(path, CHECKS)


def test_a_file_that_is_not_there_or_endless_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckError, match="cannot be read"):
        read_config(tmp_path / "none.toml", CHECKS)
    long = tmp_path / "long.toml"
    long.write_text("#" * 2**21)
    with pytest.raises(CheckError, match="larger than"):
        read_config(long, CHECKS)

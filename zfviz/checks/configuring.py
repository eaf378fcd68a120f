"""What a project sets of its audits: thresholds, severities, what is ignored and why."""

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast, get_args

from zfviz.checks.checking import SEVERITIES, Check, Severity
from zfviz.errors import CheckError, nearest

FailOn = Literal["error", "warning", "never"]
FAIL_ON: tuple[FailOn, ...] = get_args(FailOn)
MAX_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Setting:
    """What is changed of one check, by its code or name; "off" as severity leaves it out."""

    limit: float | None = None
    drift: float | None = None
    severity: Severity | Literal["off"] | None = None


@dataclass(frozen=True, slots=True)
class Ignore:
    """Findings of a check, by code or name, in layers whose names match the pattern `layer`, for a `reason`."""

    check: str
    layer: str
    reason: str

    def covers(self, check: Check, layer: str) -> bool:
        """Whether a finding of this check in this layer is ignored."""
        return self.check in (check.code, check.name) and fnmatchcase(layer, self.layer)


@dataclass(frozen=True, slots=True)
class Config:
    """How an audit is judged."""

    fail_on: FailOn = "error"
    settings: Mapping[str, Setting] | None = None
    ignores: tuple[Ignore, ...] = ()

    def applied(self, check: Check) -> Check | None:
        """The check as it is set here, or None where it is off."""
        for key in (check.code, check.name):
            setting = (self.settings or {}).get(key)
            if setting is None:
                continue
            if setting.severity == "off":
                return None
            drift = check.drift if setting.drift is None else setting.drift
            limit, severity = setting.limit, setting.severity or check.severity
            if limit is None:
                return replace(check, drift=drift, severity=severity)
            # a limit that somebody sets is meant: a check that only informs warns from then on
            warns = setting.severity is None and check.severity == "note"
            return replace(check, limit=limit, drift=drift, severity="warning" if warns else severity)
        return check

    def severity_of_drift(self, check: Check) -> Severity:
        """How severe it is to be worse than the baseline: a check that only informs warns, if not set to inform."""
        settings = (self.settings or {}).get(check.code), (self.settings or {}).get(check.name)
        meant = any(setting is not None and setting.severity for setting in settings)
        return "warning" if check.severity == "note" and not meant else check.severity

    def reason(self, check: Check, layer: str) -> str:
        """Why a finding is ignored; empty where it is not."""
        return next((ignore.reason for ignore in self.ignores if ignore.covers(check, layer)), "")


ConfigLike = Config | Mapping[str, Any] | str | PathLike[str] | None


def read_config(config: ConfigLike, checks: tuple[Check, ...]) -> Config:
    """The configuration in a TOML file or a mapping of its table; None looks for `zfviz.toml`, then for a
    `[tool.zfviz.audit]` in `pyproject.toml`, in the working folder.

    Raises CheckError for what is no TOML, an unknown key, check or severity, and an ignore without a reason.
    """
    if isinstance(config, Config):
        _check_names(config, checks, "the configuration")
        return config
    table: Mapping[str, Any]
    if isinstance(config, Mapping):
        table, where = config, "the configuration"
    elif config is not None:
        table, where = _table(Path(config)), str(config)
        if not table:
            raise CheckError(
                f"{where} configures no audit; expected a table [audit], in pyproject.toml [tool.zfviz.audit]."
            )
    else:
        table, where = dict[str, Any](), ""
        for path in (Path("zfviz.toml"), Path("pyproject.toml")):
            if path.is_file() and (found := _table(path)):
                table, where = found, str(path)
                break
    read = _read(table, where)
    _check_names(read, checks, where)
    return read


def _table(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any]
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise CheckError(f"{path} is larger than {MAX_BYTES} bytes; expected a short TOML file.")
        content = tomllib.loads(data.decode())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckError(f"{path} cannot be read: {error}; expected a TOML file.") from None
    if path.name == "pyproject.toml" or "tool" in content:
        if path.name != "pyproject.toml":
            _known_keys(content, ("tool",), str(path))  # both spellings at once: one would be passed over
        for key in ("tool", "zfviz"):
            content = _mapping(content.get(key, {}), f"{path}: {key}")
    _known_keys(content, ("audit",), str(path))
    return _mapping(content.get("audit", {}), f"{path}: audit")


def _read(table: Mapping[str, Any], where: str) -> Config:
    _known_keys(table, ("fail-on", "checks", "ignore"), where)
    fail_on = table.get("fail-on", "error")
    if fail_on not in FAIL_ON:
        raise CheckError(f"{where}: fail-on is {fail_on!r}; expected one of {', '.join(FAIL_ON)}.")
    settings = {
        key: _setting(value, f"{where}: {key}") for key, value in _mapping(table.get("checks", {}), where).items()
    }
    ignores: object = table.get("ignore", [])
    if not isinstance(ignores, list):
        raise CheckError(f"{where}: 'ignore' is no list; expected [[ignore]] tables.")
    listed = cast("list[object]", ignores)
    return Config(fail_on, settings, tuple(_ignore(one, f"{where}: ignore {n}") for n, one in enumerate(listed, 1)))


def _setting(value: object, where: str) -> Setting:
    table = _mapping(value, where)
    _known_keys(table, ("limit", "drift", "severity"), where)
    limit, drift = (_number(table, key, where) for key in ("limit", "drift"))
    severity = table.get("severity")
    if drift is not None and drift < 0:
        raise CheckError(f"{where}: drift is {drift}; expected 0 or more.")
    if severity is not None and severity not in (*SEVERITIES, "off"):
        raise CheckError(f"{where}: severity is {severity!r}; expected one of {', '.join(SEVERITIES)}, off.")
    return Setting(limit, drift, severity)


def _number(table: Mapping[str, Any], key: str, where: str) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckError(f"{where}: {key} is {value!r}; expected a number.")
    if not abs(value) <= sys.float_info.max:
        raise CheckError(f"{where}: {key} is infinite or no number; expected one that fits a float64.")
    return float(value)


def _ignore(value: object, where: str) -> Ignore:
    table = _mapping(value, where)
    _known_keys(table, ("check", "layer", "reason"), where)
    parts = [table.get(key, default) for key, default in (("check", ""), ("layer", "*"), ("reason", ""))]
    if not all(isinstance(part, str) and part for part in parts):
        raise CheckError(f"{where}: found {dict(table)!r}; expected check, reason, and a layer if not all, as texts.")
    return Ignore(*parts)


def _mapping(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CheckError(f"{where}: found {value!r}; expected a table.")
    return cast("Mapping[str, Any]", value)


def _known_keys(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise CheckError(f"{where}: no key {key!r}; {nearest(str(key), known)}.")


def _check_names(config: Config, checks: tuple[Check, ...], where: str) -> None:
    known = [name for check in checks for name in (check.code, check.name)]
    for named in (*(config.settings or {}), *(ignore.check for ignore in config.ignores)):
        if named not in known:
            raise CheckError(f"{where}: no check {named!r}; {nearest(named, known)}. `zfviz audit --checks` lists all.")

"""The audit: every check run on a model, judged, and ready to be reported."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Literal, cast

from zfviz.checks.checking import Check, Measurement, Severity, all_checks
from zfviz.checks.configuring import Config, ConfigLike, FailOn, read_config
from zfviz.checks.reading import read_baseline
from zfviz.checks.records import Baseline
from zfviz.checks.subject import Subject
from zfviz.errors import CheckError, SkipError, UnsupportedError, ZfvizError
from zfviz.images.decoding import find_pictures
from zfviz.runtime.loading import Model, ModelLike, load
from zfviz.runtime.session import Device
from zfviz.studies.inputs import assumptions

Status = Literal["passed", "failed", "informed", "skipped"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Finding:
    """A number that is worse than its limit, or than the baseline's.

    `ignored` is the reason why it does not count, empty where it does; the other fields are as in `Check` and
    `Measurement`.
    """

    check: Check
    severity: Severity
    measurement: Measurement
    limit: float
    against: Literal["limit", "baseline"]
    ignored: str

    def __repr__(self) -> str:
        return f"<zfviz.Finding {self.check.code} {self.severity}: {self.message}>"

    @property
    def layer(self) -> str:
        """The layer, empty for the model as a whole."""
        return self.measurement.layer

    @property
    def message(self) -> str:
        """What was found and what was expected, in one sentence."""
        than = self.check.expected(self.limit) + " as in the baseline" * (self.against == "baseline")
        where = f"{self.layer}: " if self.layer else ""
        return f"{where}{self.measurement.said}; {self.check.unit}: {self.measurement.value:.4g}, expected {than}."


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What became of one check: its measurements, and the findings among them; `skipped` says why it did not run."""

    check: Check
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...]
    skipped: str = ""

    @property
    def counted(self) -> tuple[Finding, ...]:
        """The findings that are not ignored."""
        return tuple(finding for finding in self.findings if not finding.ignored)

    @property
    def status(self) -> Status:
        """ "failed" where a finding counts; "informed" where no number could be too much."""
        if self.skipped:
            return "skipped"
        if self.counted:
            return "failed"
        return "passed" if self.check.limit is not None else "informed"

    @property
    def worst(self) -> Measurement | None:
        """The measurement with the worst number."""
        if not self.measurements:
            return None
        sign = 1 if self.check.worse == "above" else -1
        return max(self.measurements, key=lambda m: sign * m.value if m.value == m.value else float("inf"))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Audit:
    """An audit of a model. `path` is the model as it was named, `images` how many pictures it was shown."""

    path: str
    model: Model
    results: tuple[Result, ...]
    images: int
    fail_on: FailOn
    subject: Subject

    def __repr__(self) -> str:
        return f"<zfviz.Audit {self.model.name}: {'passed' if self.ok else 'failed'}, {len(self.findings)} findings>"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings that count, errors first, then in the order of checks and layers."""
        found = [finding for result in self.results for finding in result.counted]
        return tuple(sorted(found, key=lambda finding: _RANK[finding.severity]))

    @property
    def ok(self) -> bool:
        """Whether no finding is as severe as `fail_on` says."""
        return self.passes(self.fail_on)

    def passes(self, fail_on: FailOn) -> bool:
        """Whether no finding is as severe as that."""
        return fail_on == "never" or not any(_RANK[f.severity] <= _RANK[fail_on] for f in self.findings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was assumed of the model's input, and not found in the model; a sentence each."""
        return tuple(assumptions(self.model, self.images > 0))

    def record(self) -> Baseline:
        """What a later audit compares with."""
        return Baseline.of(self.subject, self.results)

    def to_text(self) -> str:
        """The audit for a terminal."""
        return self._render("text")

    def to_json(self) -> str:
        """All of the audit as JSON; `zfviz/checks/formats/audit.schema.json` says what stands where."""
        return self._render("json")

    def to_sarif(self) -> str:
        """The findings as SARIF 2.1.0, for code scanning."""
        return self._render("sarif")

    def to_junit(self) -> str:
        """The checks as JUnit's XML, for what shows tests."""
        return self._render("junit")

    def to_markdown(self) -> str:
        """The audit for a comment on a pull request."""
        return self._render("markdown")

    def to_html(self) -> str:
        """The audit as one page with the evidence in it."""
        return self._render("html")

    def _render(self, format: str) -> str:
        # here, since formats import what an audit is
        from zfviz.checks.formats import render  # noqa: PLC0415

        return render(self, format)


_RANK: dict[str, int] = {"error": 0, "warning": 1, "note": 2}


def audit(
    model: ModelLike,
    images: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    baseline: ModelLike | Baseline | None = None,
    config: ConfigLike = None,
    device: Device = "auto",
    threads: int | None = None,
) -> Audit:
    """Every check on a model, judged.

    `images` is a folder of pictures or a list of files; without, checks that need pictures are skipped, and say so.
    `baseline` is the record of an earlier audit (a .json file), or another model. `config` is a TOML file, a mapping of
    its table, or None for `zfviz.toml` or `pyproject.toml` in the working folder. Same input, same findings.

    Raises CheckError for a configuration, a baseline or a check that cannot be used, ModelError, ImageError.
    """
    checks = all_checks()
    settings = read_config(config, checks)
    loaded = load(model)
    paths = _paths(images)
    before = None
    if baseline is not None:
        before = baseline if isinstance(baseline, Baseline) else read_baseline(baseline, paths, device, threads, loaded)
    subject = Subject(loaded, paths, before, device, threads)
    applied = [chosen for check in checks if (chosen := settings.applied(check)) is not None]
    results = tuple(_run(check, subject, settings) for check in applied)
    named = str(model) if isinstance(model, str | PathLike) else loaded.name
    return Audit(named, loaded, results, len(paths), settings.fail_on, subject)


def _paths(images: str | PathLike[str] | Sequence[str | PathLike[str]] | None) -> tuple[Path, ...]:
    if images is None:
        return ()
    if isinstance(images, str | PathLike):
        return tuple(find_pictures(Path(images)))
    return tuple(map(Path, images))


def _run(check: Check, subject: Subject, config: Config) -> Result:
    there = {
        "images": (bool(subject.paths), "no images were given (--images)"),
        "baseline": (subject.baseline is not None, "no baseline was given (--baseline)"),
        "classes": (subject.scores is not None, "the model is no classifier"),
    }
    reasons = [reason for held, reason in map(there.__getitem__, check.needs) if not held]
    if reasons:
        return Result(check, (), (), "; ".join(reasons))
    try:
        measurements = tuple(check.measure(subject))
    except (SkipError, UnsupportedError) as error:
        return Result(check, (), (), str(error))
    except Exception as error:
        if isinstance(error, ZfvizError) or check.module.startswith("zfviz."):
            raise
        raise CheckError(
            f"check {check.code} of {check.module} failed: {error!r}. Mend or remove that package, "
            f"or set the check's severity to off."
        ) from error
    # others write checks too
    if any(not isinstance(m, Measurement) for m in cast("tuple[object, ...]", measurements)):
        raise CheckError(f"check {check.code} gave {measurements!r}; expected measurements.")
    before = subject.baseline
    if (
        before
        and check.drift is not None
        and "images" in check.needs
        and not before.has_seen(subject.responses.pictures)
    ):
        measurements = tuple(
            replace(m, said=f"{m.said} (not compared: the baseline saw other pictures)") for m in measurements
        )
        before = None
    return Result(check, measurements, tuple(_judged(check, measurements, before, config)))


def _judged(
    check: Check, measurements: Iterable[Measurement], baseline: Baseline | None, config: Config
) -> Iterable[Finding]:
    for measurement in measurements:
        ignored = config.reason(check, measurement.layer)
        if check.limit is not None and check.is_beyond(measurement.value, check.limit):
            yield Finding(check, check.severity, measurement, check.limit, "limit", ignored)
            continue
        before = baseline.value(check.code, measurement.layer) if baseline else None
        if before is None or check.drift is None:
            continue
        limit = before + check.drift if check.worse == "above" else before - check.drift
        if check.is_beyond(measurement.value, limit):
            yield Finding(check, config.severity_of_drift(check), measurement, limit, "baseline", ignored)

"""Audits made by hand for the tests of formats: one of everything, hostile names, ten thousand findings."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from conftest import tiny_network
from PIL import Image

import zfviz
from zfviz.checks.auditing import Audit, Finding, Result
from zfviz.checks.checking import Check, Measurement
from zfviz.checks.subject import Subject

NAN, INF = float("nan"), float("inf")
HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m\x9b2J",
    "a|b`c`\n## d\r\n- [x] e",
    "\x00\x07\ufffe\u202eabc\u2028",
    "@octocat #1 https://evil.example www.evil.example _a_ *b* ~~c~~",
    '"><img src=x onerror=alert(1)>',
    "]]>&amp;<!-- --> -->",
    "[click](https://evil.example) {0} %s %n",
    "half \ud800 a character",
    "größe/Δx",
    "x" * 100_000 + "\n" * 100_000,
)


def made(code: str, **changes: Any) -> Check:
    """A check that is called so, with a limit of 0.5."""

    def measure(subject: object) -> Iterable[Measurement]:
        """What is wrong, as a share."""
        return ()

    plain = Check(
        code, f"check-{code}", "Is it?", "weights", "share", "us 2025", "warning", 0.5, "above", None, (), measure
    )
    return replace(plain, **changes)


def judged(check: Check, *measurements: Measurement, ignored: str = "", skipped: str = "") -> Result:
    """The result of a check, with a finding for each number beyond its limit."""
    found = [
        Finding(check, check.severity, m, check.limit, "limit", ignored)
        for m in measurements
        if check.limit is not None and check.is_beyond(m.value, check.limit)
    ]
    return Result(check, measurements, tuple(found), skipped)


def picture(width: int = 30, height: int = 20, mode: str = "RGB") -> Any:
    return lambda: Image.new(mode, (width, height))


MODEL = zfviz.load(tiny_network())


def audited(*results: Result, path: str = "models/tiny.onnx", model: zfviz.Model = MODEL) -> Audit:
    return Audit(path, model, results, 3, "error", Subject(model))


def ordinary() -> Audit:
    """One of everything."""
    error, note = made("ZX1", severity="error", group="graph"), made("ZX4", severity="note")
    baseline = made("ZX6", severity="note", limit=None, drift=0.1)
    drifted = Measurement("conv1", 0.9, "it drifted")
    return audited(
        judged(error, Measurement("conv1", 0.7, "7 of 10 are", (1, 2)), Measurement("conv2", NAN, "no number")),
        judged(made("ZX2"), Measurement("conv1", 0.2, "few are"), Measurement("conv2", INF, "many", picture=picture())),
        judged(made("ZX3"), Measurement("conv2", 0.8, "too many"), ignored="known since May"),
        judged(note, Measurement("", 0.6, "the model is so")),
        judged(made("ZX5", limit=None), Measurement("conv1", -2.5, "told", (), "a.jpg", picture())),
        Result(baseline, (drifted,), (Finding(baseline, "warning", drifted, 0.5, "baseline", ""),)),
        judged(made("ZX7", needs=("images",), group="activations"), skipped="no images were given (--images)"),
        judged(made("ZX8", worse="below", limit=0.1), Measurement("conv1", np.float32(0.25), "enough", (np.int64(3),))),
    )


def hostile() -> Audit:
    """Names and sentences that try to be something else, wherever a stranger's file may put them."""
    source = replace(MODEL.source, name=HOSTILE[0])
    model = replace(MODEL, source=source, image=replace(MODEL.image, name=HOSTILE[2]))
    found = [Measurement(evil, 1.0, evil, (), evil, picture()) for evil in HOSTILE]
    checks = [made(f"ZX{n}", name=evil, question=evil, unit=evil, source=evil) for n, evil in enumerate(HOSTILE)]
    results = [judged(check, *found, ignored=check.name if n % 3 == 2 else "") for n, check in enumerate(checks)]
    results.append(judged(made("ZX99"), skipped=HOSTILE[1]))
    return audited(*results, path=f"/elsewhere/{HOSTILE[1]}/{HOSTILE[8]}{HOSTILE[4]}.onnx", model=model)


def many(count: int = 10_000) -> Audit:
    """So many findings, in so many layers."""
    found = [Measurement(f"layer{n}", 1.0, f"found {n}", picture=picture(2, 2)) for n in range(count)]
    return audited(judged(made("ZX1", severity="error"), found[0]), judged(made("ZX2"), *found))


AUDITS = {"ordinary": ordinary, "hostile": hostile, "many": many, "empty": audited}

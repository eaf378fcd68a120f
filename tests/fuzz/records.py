"""Records of audits that were changed, and audits that compare with them."""

import json
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

from fuzz import seeds
from fuzz.model_mutations import mutate_bytes
from fuzz.words import FLOATS, NAMES, SIZES
from PIL import Image

import zfviz
from zfviz.checks.checking import all_checks
from zfviz.checks.formats import FORMATS, render

COMPARED = {c.code: {"severity": "off"} for c in all_checks() if c.group != "baseline" and c.code != "ZF103"}


@cache
def pictures() -> tuple[Path, ...]:
    """As many pictures as comparisons ask for."""
    folder = Path(mkdtemp(prefix="fuzz-pictures-"))
    for number in range(20):
        Image.new("RGB", (9, 8), (12 * number, 255 - 12 * number, 100)).save(folder / f"{number:02}.png")
    return tuple(sorted(folder.iterdir()))


@cache
def _model() -> zfviz.Model:
    return zfviz.load(seeds.classifier(Random(3)), preprocessing="unit")


def _audit(baseline: Path | None, shown: bool) -> zfviz.Audit:
    images = pictures() if shown else None
    return zfviz.audit(_model(), images, baseline, {"checks": COMPARED}, device="cpu", threads=1)


@cache
def _record() -> str:
    return _audit(None, True).record().to_json()


def record(rng: Random) -> bytes:
    """A record in which some values are others, or some bytes."""
    content = json.loads(_record())
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        _change(rng, content)
    data = json.dumps(content).encode()
    return mutate_bytes(rng, data) if rng.random() < 0.3 else data


def _change(rng: Random, content: Any) -> None:
    """Put something else in one place of the content."""
    while True:
        keys = [*content] if isinstance(content, dict) else [*range(len(content))]
        if not keys:
            return
        key = rng.choice(keys)
        if not isinstance(content[key], dict | list) or rng.random() < 0.2:
            break
        content = content[key]
    match rng.randrange(6):
        case 0:
            del content[key]
        case 1:
            content[key] = [content[key]] * rng.choice([0, 1, 2, 1000])
        case 2 if isinstance(content, dict):
            content[rng.choice(NAMES)] = content[key]
        case 3:
            content[key] = rng.choice([*SIZES, *FLOATS, *NAMES, None, True, {}, [], 10**400, -1.5])
        case _ if isinstance(content[key], str):
            content[key] = rng.choice(NAMES)
        case _:
            content[key] = rng.choice([*range(9), 0.25, 1e9, -3.5, 1e150, 1e-300])


def compare_with(path: Path, options: dict[str, Any]) -> None:
    """Audit the small network against the record, and report it in every format."""
    audit = _audit(path, options["shown"])
    for kind in FORMATS:
        told = render(audit, kind)
        if "\x1b" in told or ("<script" in told and kind in ("html", "markdown", "junit")):
            raise AssertionError(f"a name got through to {kind}")
    audit.record().to_json()

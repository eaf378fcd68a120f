"""Labels: the names of a model's classes, from its metadata or from files beside it."""

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

MAX_BYTES = 4_000_000
MAX_LABELS = 100_000
MAX_LENGTH = 80
SYNSET = re.compile(r"^n\d{8}\s+")
"""The WordNet id that stands before each name in ImageNet's own list."""
CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e007f]+"
)
"""What could hide or reorder text in a terminal or a report, and surrogates, which no file can hold."""


def find_labels(metadata: Mapping[str, str], folder: Path | None, stem: str | None) -> dict[int, str]:
    """The names of classes by index, empty where there are none.

    They are looked for in the metadata (`zfviz.labels` as JSON, `names` as Ultralytics writes it), then beside the
    model (STEM.labels.txt, labels.txt, labels.json, synset.txt: one label a line, or JSON), then under `id2label` in
    preprocessor_config.json and config.json. What is malformed is passed over: a model is projected without names too.
    """
    for key in ("zfviz.labels", "names"):
        if labels := _parse(metadata.get(key, "")):
            return labels
    if folder is None:
        return {}
    own = [f"{stem}.labels.txt"] if stem else []
    for name in (*own, "labels.txt", "labels.json", "synset.txt"):
        text = _read(folder / name)
        value = _literal(text)
        if value is None and not name.endswith(".json"):
            # not splitlines: it breaks at more characters than a new line, which would shift the classes that follow
            value = [SYNSET.sub("", line) for line in text.split("\n")]
        if labels := _settle(value):
            return labels
    for name in ("preprocessor_config.json", "config.json"):
        config = _literal(_read(folder / name))
        if isinstance(config, dict) and (labels := _settle(cast("dict[str, Any]", config).get("id2label"))):
            return labels
    return {}


def _read(path: Path) -> str:
    if not path.is_file():  # a pipe of that name would be waited for
        return ""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return ""
    return data.decode("utf-8-sig", "replace") if len(data) <= MAX_BYTES else ""


def _parse(text: str) -> dict[int, str]:
    return _settle(_literal(text))


def _literal(text: str) -> object:
    """JSON, or a Python literal as Ultralytics writes it; None for anything else."""
    if not text.lstrip().startswith(("{", "[")) or len(text) > MAX_BYTES:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None


def _settle(value: object) -> dict[int, str]:
    if isinstance(value, list):
        return _clean(dict(enumerate(cast("list[object]", value))))
    return _clean(cast("dict[object, object]", value)) if isinstance(value, dict) else {}


def _clean(labels: Mapping[Any, object]) -> dict[int, str]:
    """Whole indices and printable names only."""
    if len(labels) > MAX_LABELS:
        return {}
    kept = {
        int(str(index)): CONTROL.sub(" ", label).strip()[:MAX_LENGTH]
        for index, label in labels.items()
        if isinstance(label, str) and re.fullmatch(r"\d{1,6}", str(index))
    }
    return {index: label for index, label in kept.items() if label}

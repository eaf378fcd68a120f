"""Reading a baseline: another model, or a record that may be a stranger's, looked at before it is used."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from math import nan
from os import PathLike
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NoReturn, cast

import numpy as np

from zfviz.checks.records import (
    FORMAT,
    LARGEST,
    MAX_BYTES,
    SKETCH,
    STRONGEST,
    Baseline,
    Filters,
    Shown,
    Strongest,
    Window,
)
from zfviz.errors import CheckError, ImageError
from zfviz.images.preprocessing import Preprocessing
from zfviz.runtime.loading import Model, ModelLike, load
from zfviz.runtime.session import Device

AXES = 8


def read_baseline(
    baseline: ModelLike, paths: Sequence[Path], device: Device, threads: int | None, like: Model | None = None
) -> Baseline:
    """The baseline in a record (a .json file), or of another model, shown the same images. What such a model does not
    say of its input is taken to be as it is in the model `like`.

    Raises CheckError for what is no record, ModelError, ImageError.
    """
    if isinstance(baseline, bytes) and baseline.startswith(b"{"):
        return read_record(baseline, "the baseline")
    if isinstance(baseline, str | PathLike) and _is_record(Path(baseline)):
        return _read_file(Path(baseline))
    from zfviz.checks.auditing import audit  # noqa: PLC0415 - an audit reads baselines, a baseline is an audit

    found = audit(_like(baseline, like), paths, config={}, device=device, threads=threads)
    return replace(found.record(), model=found.model)


def _like(baseline: ModelLike, like: Model | None) -> Model:
    """The model, with the size and the preprocessing of another one where it leaves them open."""
    model = load(baseline)
    if like is None:
        return model
    if model.image.assumed_size and model.image.size != like.image.size and not isinstance(baseline, Model):
        shape = list(model.image.shape)
        for axis, extent in zip(model.image.axes[2:], like.image.size, strict=True):
            shape[axis] = extent
        model = load(baseline, shape)
    assumed = model.preprocessing.source == "assumed"
    return replace(model, preprocessing=like.preprocessing) if assumed else model


def _is_record(path: Path) -> bool:
    if path.suffix.lower() == ".json":
        return True
    # unlike Path.is_file, this takes names that are too long for the system
    if not os.path.isfile(path):  # noqa: PTH113
        return False
    try:
        with path.open("rb") as file:
            return file.read(1) == b"{"
    except OSError:
        return False  # what reads models says why


def _read_file(path: Path) -> Baseline:
    if not os.path.isfile(path):  # noqa: PTH113
        raise CheckError(f"no file at {path}; expected the record of an audit. Write it with --update-baseline.")
    try:
        with path.open("rb") as file:
            return read_record(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise CheckError(f"{path} cannot be read ({error.strerror}); expected the record of an audit.") from None


def read_record(text: bytes, where: str) -> Baseline:
    """The record that `to_json` wrote. Raises CheckError that names what is wrong in it."""
    if len(text) > MAX_BYTES:
        raise CheckError(f"{where} has more than {MAX_BYTES:,} bytes; expected the record of an audit.")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckError(f"{where} is no JSON ({error}); expected the record of an audit.") from None
    if not isinstance(content, dict) or cast("dict[str, Any]", content).get("format") != FORMAT:
        raise CheckError(f'{where} is no record of an audit; expected JSON with "format": "{FORMAT}".')
    try:
        return _read(cast("dict[str, Any]", content))
    except _WrongError as error:
        raise CheckError(f"{where}: {error} Write it again with --update-baseline.") from None


class _WrongError(Exception):
    """What is wrong in a record."""


def _read(content: object) -> Baseline:
    keys = ("format", "model", "preprocessing", "checks", "filters", "windows", "shown")
    table = _table(content, keys, "the record")
    model = _table(table["model"], ("name", "sha256"), "model")
    checks = {code: _entries(told, f"checks {code}") for code, told in _entries(table["checks"], "checks").items()}
    values = {
        code: {layer: _number(value, f"checks {code}") for layer, value in told.items() if value is not None}
        for code, told in checks.items()
    }
    filters = tuple(map(_read_filters, _items(table["filters"], "filters")))
    shown = None if table["shown"] is None else _read_shown(table["shown"])
    name, sha256 = (_text(model[key], "model") for key in ("name", "sha256"))
    windows = tuple(map(_read_window, _items(table["windows"], "windows")))
    return Baseline(values, name, sha256, _preprocessing(table["preprocessing"]), filters, windows, shown)


def _preprocessing(content: object) -> Preprocessing:
    try:
        return Preprocessing.from_json(_entries(content, "preprocessing"), "preprocessing")
    except ImageError as error:
        raise _WrongError(str(error)) from None


def _read_filters(content: object) -> Filters:
    table = _table(content, ("name", "tensor", "shape", "rms", "sketches"), "filters")
    name = _text(table["name"], "the name of filters")
    shape = _shape(table["shape"], name)
    rms = _numbers(table["rms"], shape[0], f"rms of {name}")
    rows = _items(table["sketches"], f"sketches of {name}", shape[0])
    sketches = [_numbers(row, SKETCH, f"sketches of {name}") for row in rows]
    return Filters(name, _text(table["tensor"], name), shape, np.array(rms), np.array(sketches))


def _read_window(content: object) -> Window:
    table = _table(content, ("name", "tensor", "shape", "slides"), "windows")
    name, tensor, slides = (_text(table[key], f"the {key} of a window") for key in ("name", "tensor", "slides"))
    return Window(name, tensor, _shape(table["shape"], name), slides)


def _read_shown(content: object) -> Shown:
    table = _table(content, ("pictures", "top1", "layers"), "shown")
    pictures = tuple(_text(each, "pictures") for each in _items(table["pictures"], "pictures"))
    top1 = None
    if table["top1"] is not None:
        top1 = tuple(_whole(each, 2**31, "top1") for each in _items(table["top1"], "top1", len(pictures)))
    layers = _items(table["layers"], "layers")
    return Shown(pictures, top1, tuple(_read_strongest(layer, len(pictures)) for layer in layers))


def _read_strongest(content: object, count: int) -> Strongest:
    table = _table(content, ("name", "tensor", "shape", "pictures"), "layers")
    name = _text(table["name"], "the name of a layer")
    shape = _shape(table["shape"], name)
    where = f"pictures of {name}"
    pictures = [
        tuple(_whole(each, count, where) for each in _items(row, where))
        for row in _items(table["pictures"], where, shape[0])
    ]
    if any(len(row) > STRONGEST or len(set(row)) < len(row) for row in pictures):
        raise _WrongError(f"{where} are more than {STRONGEST} of a channel, or one twice.")
    return Strongest(name, _text(table["tensor"], name), shape, tuple(pictures))


def _table(value: object, keys: Sequence[str], where: str) -> dict[str, Any]:
    table = _entries(value, where)
    if set(table) != set(keys):
        _fail(where, sorted(table), f"the keys {', '.join(keys)}")
    return table


def _entries(value: object, where: str) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else _fail(where, value, "a table")


def _items(value: object, where: str, length: int | None = None) -> list[Any]:
    items = cast("list[Any]", value) if isinstance(value, list) else _fail(where, value, "a list")
    return items if length in (None, len(items)) else _fail(where, f"{len(items)} items", f"{length}")


def _text(value: object, where: str) -> str:
    # half of a surrogate pair could not be printed
    if isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value):
        return value
    return _fail(where, value, "a text")


def _number(value: object, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    return _fail(where, value, "a number")


def _numbers(value: object, length: int, where: str) -> list[float]:
    return [nan if each is None else _number(each, where) for each in _items(value, where, length)]


def _whole(value: object, end: int, where: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end:
        return value
    return _fail(where, value, f"a whole number from 0, below {end}")


def _shape(value: object, where: str) -> tuple[int, ...]:
    shape = tuple(_whole(each, 2**31, f"the shape of {where}") for each in _items(value, f"the shape of {where}"))
    return shape if 0 < len(shape) <= AXES else _fail(f"the shape of {where}", value, f"1 to {AXES} numbers")


def _fail(where: str, found: object, expected: str) -> NoReturn:
    raise _WrongError(f"{where}: found {shortened(found)}; expected {expected}.")

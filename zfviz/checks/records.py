"""What an audit leaves behind for the next one: numbers, a sketch of each filter, what each channel responded to."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import shake_256
from math import isfinite, nan, prod
from os import PathLike
from pathlib import Path
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from zfviz.errors import CheckError, ImageError
from zfviz.images.preprocessing import Preprocessing
from zfviz.runtime.loading import Model, ModelLike, load
from zfviz.runtime.session import Device

if TYPE_CHECKING:
    from zfviz.checks.auditing import Result
    from zfviz.checks.kernels import Kernels
    from zfviz.checks.responses import LayerResponses, Responses
    from zfviz.checks.subject import Subject

FORMAT = "zfviz-audit-baseline-1"
MAX_BYTES = 2**26
"""Of a record; 300,000 filters take as much."""
SKETCH = 16
"""Numbers of a filter's sketch: they tell how far two filters lie apart to within 18 %, 1 / sqrt(2 * 16)."""
STRONGEST = 5
"""The pictures that are remembered of a channel."""
LARGEST = 1e150
"""Numbers of a record are below it, so that their squares are numbers too."""
AXES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Filters:
    """What is remembered of a layer's filters: `shape` is that of the weights, [out, in, ...], `tensor` their name;
    `rms` float [out] is how strong each is, and `sketches`, float [out, 16], lie about as far apart as the filters do.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    rms: np.ndarray
    sketches: np.ndarray

    @property
    def norms(self) -> np.ndarray:
        """The length of each filter, float [out]."""
        return self.rms * prod(self.shape[1:]) ** 0.5

    @classmethod
    def of(cls, kernels: "Kernels") -> "Filters":
        """What is remembered of these kernels (Achlioptas 2003: distances through random signs)."""
        flat = kernels.values.reshape(len(kernels.values), -1)
        # bits of a hash: a generator's may change with its library
        bits = np.frombuffer(shake_256(FORMAT.encode()).digest(flat.shape[1] * SKETCH // 8), np.uint8)
        signs = np.unpackbits(bits).reshape(-1, SKETCH).astype(np.float32) * 2 - 1
        rms, sketches = np.sqrt(np.square(flat).mean(axis=1)), flat @ signs / SKETCH**0.5
        return cls(kernels.layer, kernels.tensor, kernels.values.shape, _rounded(rms), _rounded(sketches))


@dataclass(frozen=True, slots=True, eq=False)
class Strongest:
    """For each channel of a layer the pictures that it fired for most, by index, strongest first; at most five, and
    none where it never fired. `shape` is that of the layer, `tensor` the name of its output.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    pictures: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, seen: "LayerResponses", among: Sequence[int] | None = None) -> "Strongest":
        """What a layer fired for most, among these pictures where they are given; ties go by their order."""
        chosen = np.arange(len(seen.peaks)) if among is None else np.array(among, np.int64)
        peaks = seen.peaks[chosen]
        order = np.argsort(-peaks, axis=0, kind="stable")[:STRONGEST]
        fired = np.take_along_axis(peaks, order, axis=0) > 0
        pictures = (tuple(row[on].tolist()) for row, on in zip(chosen[order].T, fired.T, strict=True))
        return cls(seen.layer.name, seen.layer.tensor, seen.layer.shape, tuple(pictures))


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What a model did for pictures: `pictures` are the SHA-256 of their files, `top1` the class of each, None where
    the model is no classifier, `layers` what the channels fired for.
    """

    pictures: tuple[str, ...]
    top1: tuple[int, ...] | None
    layers: tuple[Strongest, ...]

    @classmethod
    def of(cls, responses: "Responses") -> "Shown":
        """What is remembered of these responses."""
        top1 = None if responses.top1 is None else tuple(responses.top1.tolist())
        return cls(responses.pictures, top1, tuple(map(Strongest.of, responses.layers)))


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """What is known of an earlier model.

    `values` are the numbers of each check, by code, then layer; `name` and `sha256` are those of the model,
    `preprocessing` is how pictures became what it took, with the size of that; `filters` is what is remembered of its
    weights, `shown` of the pictures that it was shown, None where it was shown none. `model` is the model itself, None
    where there is but a record.
    """

    values: Mapping[str, Mapping[str, float]]
    name: str = ""
    sha256: str = ""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    filters: tuple[Filters, ...] = ()
    shown: Shown | None = None
    model: Model | None = field(default=None, repr=False)

    def value(self, code: str, layer: str) -> float | None:
        """The number that a check gave for a layer, None where it gave none."""
        return self.values.get(code, {}).get(layer)

    def has_seen(self, pictures: Sequence[str]) -> bool:
        """Whether these are the pictures that it was shown, in the same order; numbers over others differ by them."""
        return self.shown is not None and self.shown.pictures == tuple(pictures)

    @classmethod
    def of(cls, subject: "Subject", results: "Iterable[Result]") -> "Baseline":
        """The record of an audit."""
        values: dict[str, dict[str, float]] = {}
        for result in results:
            told = values.setdefault(result.check.code, {})
            for found in result.measurements:
                if not isfinite(found.value):
                    continue  # nothing is worse than that
                # of several numbers of a layer the worst is kept: none of the next ones may be worse
                if found.layer not in told or result.check.is_beyond(found.value, told[found.layer]):
                    told[found.layer] = float(found.value)
        return cls(
            values,
            subject.model.name,
            subject.model.source.sha256,
            subject.preprocessing,
            tuple(map(Filters.of, subject.kernels)),
            Shown.of(subject.responses) if subject.paths else None,
        )

    def to_json(self) -> str:
        """The record as text, the same for the same audit. Raises CheckError for one too large to be read again."""
        shown = self.shown
        parts: dict[str, Any] = {
            "format": FORMAT,
            "model": {"name": self.name, "sha256": self.sha256},
            "preprocessing": self.preprocessing.to_json(),
            "checks": {code: _plain(told) for code, told in self.values.items()},
            "filters": [
                {
                    "name": layer.name,
                    "tensor": layer.tensor,
                    "shape": layer.shape,
                    "rms": _plain(layer.rms.tolist()),
                    "sketches": _plain(layer.sketches.tolist()),
                }
                for layer in self.filters
            ],
            "shown": shown
            and {
                "pictures": shown.pictures,
                "top1": shown.top1,
                "layers": [
                    {"name": one.name, "tensor": one.tensor, "shape": one.shape, "pictures": one.pictures}
                    for one in shown.layers
                ],
            },
        }
        # a part a line
        lines = [f"{json.dumps(key)}: {json.dumps(part, separators=(',', ':'))}" for key, part in parts.items()]
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        if len(text) > MAX_BYTES:
            raise CheckError(
                f"the record of {self.name} has {len(text):,} bytes; expected at most {MAX_BYTES:,}. "
                "Give the model itself as the baseline."
            )
        return text


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
    table = _table(content, ("format", "model", "preprocessing", "checks", "filters", "shown"), "the record")
    model = _table(table["model"], ("name", "sha256"), "model")
    checks = {code: _entries(told, f"checks {code}") for code, told in _entries(table["checks"], "checks").items()}
    values = {
        code: {layer: _number(value, f"checks {code}") for layer, value in told.items() if value is not None}
        for code, told in checks.items()
    }
    filters = tuple(map(_read_filters, _items(table["filters"], "filters")))
    shown = None if table["shown"] is None else _read_shown(table["shown"])
    name, sha256 = (_text(model[key], "model") for key in ("name", "sha256"))
    return Baseline(values, name, sha256, _preprocessing(table["preprocessing"]), filters, shown)


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


def _rounded(values: np.ndarray) -> np.ndarray:
    """The values with six digits: as they are when they were written and read again."""
    digits = [float(f"{value:.6g}") for value in values.ravel().tolist()]
    return np.array(digits).reshape(values.shape)


def _plain(value: Any) -> Any:
    """Numbers, and None for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(each) for each in cast("list[Any]", value)]
    return value if isfinite(value) else None

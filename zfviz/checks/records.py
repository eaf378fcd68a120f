"""What an audit leaves behind for the next one: numbers, a sketch of each filter, what each channel responded to."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import shake_256
from math import isfinite, prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from zfviz.errors import CheckError
from zfviz.graph.companion import layer_name
from zfviz.graph.reach import dims
from zfviz.images.preprocessing import Preprocessing
from zfviz.runtime.loading import Model

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


@dataclass(frozen=True, slots=True)
class Window:
    """How the windows of a layer slide, in words; `tensor` is the name of its output, `shape` that of an image's."""

    name: str
    tensor: str
    shape: tuple[int, ...]
    slides: str

    @classmethod
    def of(cls, model: Model) -> "Iterator[Window]":
        """Those of every layer that has some."""
        for node in model.canonical.graph.nodes:
            if "strides" in node.attrs and node.outputs[0].name in model.canonical.live:
                told = {name: " ".join(map(str, node.attrs.get(name, ()))) for name in ("strides", "pads", "dilations")}
                size = "x".join(map(str, node.attrs["kernel_shape"]))
                words = [f"{node.op} {size}", *(f"{name} {numbers}" for name, numbers in told.items())]
                words.append(f"groups {node.attrs.get('group', 1)}")
                output = node.outputs[0]
                yield cls(layer_name(node), output.name, dims(output)[1:], ", ".join(words))


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
    weights, `windows` of how its layers slide, `shown` of the pictures that it was shown, None where it was shown none.
    `model` is the model itself, None where there is but a record.
    """

    values: Mapping[str, Mapping[str, float]]
    name: str = ""
    sha256: str = ""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    filters: tuple[Filters, ...] = ()
    windows: tuple[Window, ...] = ()
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
            tuple(Window.of(subject.model)),
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
            "windows": [
                {"name": one.name, "tensor": one.tensor, "shape": one.shape, "slides": one.slides}
                for one in self.windows
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

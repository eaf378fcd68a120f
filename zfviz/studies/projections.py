"""The result of a projection: numbers, sheets, files and the record of all that made them."""

import io
import json
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from zfviz.errors import OutputError
from zfviz.graph.layers import Layer
from zfviz.report.files import file_stem, make_folder, write_atomically
from zfviz.report.pixels import Colour, display_scale, render
from zfviz.report.sheet import Cell, Row, draw_sheet
from zfviz.runtime.loading import Model
from zfviz.runtime.session import versions
from zfviz.runtime.verify import Residual
from zfviz.studies.inputs import Batch, assumptions
from zfviz.studies.selection import Unit

Extra = Literal["pixels", "arrays"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Projections:
    """Projections of units to pixels.

    `pixels` is float32 [K, C, H, W], in input space, signed and not scaled; `units`, `activations` (float32 [K]) and
    `image_index` (int [K], which image of the batch) say what each is of. `inexact` names the ops on the way down that
    are not exact adjoints of what the method prescribes; `residual` is the worst of a verification, which is of the
    first image, or None. `first` is how many units came before these where a portion of them is here, else None.
    """

    pixels: np.ndarray
    units: tuple[Unit, ...]
    activations: np.ndarray
    image_index: np.ndarray
    inexact: tuple[str, ...]
    model: Model
    batch: Batch
    method: str
    seed: str
    precision: str
    device: str
    class_scores: tuple[np.ndarray, ...]
    residual: Residual | None
    first: int | None = None

    def __repr__(self) -> str:
        units, images = len(self.units), len(self.batch.names)
        return f"<zfviz.Projections {self.method} of {self.model.name}: {units} units, {images} images>"

    def sheet(self, image: int = 0) -> Image.Image:
        """The sheet of one image of the batch: its units by layer, each with its projection and its patch."""
        members = self._members(image)
        layers = dict.fromkeys(self.units[k].layer for k in members)
        rows = [
            Row(_title(self.model.layer(name)), tuple(self._cell(k) for k in members if self.units[k].layer == name))
            for name in layers
        ]
        return draw_sheet(self.batch.views[image], rows, self._header(image), self.warnings(), self._colour())

    def record(self, image: int = 0) -> dict[str, Any]:
        """All that made the projections of one image, ready for JSON."""
        return {
            "image": self.batch.names[image],
            "image_sha256": sha256(self.batch.array[image].tobytes()).hexdigest(),
            "model": {"name": self.model.name, "sha256": self.model.source.sha256},
            "input": {
                "name": self.model.image.name,
                "shape": list(self.model.image.shape[1:]),
                "dtype": self.model.image.dtype.name,
            },
            "other_inputs": dict(self.model.source.bound),
            "top1": self._top1(image),
            "method": self.method,
            "seed": self.seed,
            "precision": self.precision,
            "inexact": list(self.inexact),
            "device": self.device,
            "preprocessing": self.model.preprocessing.to_json() if self.batch.preprocessed else None,
            "resampling": "bicubic, box centred without rounding" if self.batch.preprocessed else None,
            "preprocessing_source": self.model.preprocessing.source if self.batch.preprocessed else "array",
            "warnings": self.warnings(),
            "verification": self._verification() if image == 0 else None,
            "units": [self._unit_record(k) for k in self._members(image)],
            "versions": versions(),
        }

    def save(self, directory: str | Path, save: Collection[Extra] = ()) -> tuple[Path, ...]:
        """The paths written: a sheet and a record for each image; with `save`, also a picture of each projection
        ("pixels") and the raw arrays ("arrays"). They are named after the image, the model, the layer where all units
        are of one, the method, and the number of the first unit where a portion is here; and written whole or not at
        all. Raises OutputError."""
        if unknown := {*save} - {*get_args(Extra)}:
            raise OutputError(f"save is {min(unknown)!r}; expected {' or '.join(get_args(Extra))}, in a list.")
        files: dict[str, bytes] = {}
        portion = () if self.first is None else (f"{self.first:04}",)
        layers = {unit.layer for unit in self.units}
        shown = layers if len(layers) == 1 else ()
        for image, picture in enumerate(self.batch.stems):
            stem = file_stem(picture, Path(self.model.name).stem, *shown, self.method, *portion)
            members = self._members(image)
            record = json.dumps(self.record(image), indent=2, ensure_ascii=False) + "\n"
            files |= {f"{stem}.png": _png(self.sheet(image)), f"{stem}.json": record.encode()}
            if "pixels" in save:
                files |= {
                    f"{stem}.{self._pixels_name(rank, k)}": self._pixels_png(k)
                    for rank, k in enumerate(members, self.first or 0)
                }
            if "arrays" in save:
                files[f"{stem}.npz"] = self._arrays(members)
        folder = make_folder(Path(directory))
        return tuple(write_atomically(folder / name, data) for name, data in files.items())

    def _verification(self) -> dict[str, Any] | None:
        worst = self.residual
        return worst and {"worst_layer": worst.layer, "op": worst.op, "residual": worst.value}

    def _members(self, image: int) -> list[int]:
        return np.flatnonzero(self.image_index == image).tolist()

    def _cell(self, k: int) -> Cell:
        unit, layer = self.units[k], self.model.layer(self.units[k].layer)
        box = layer.box(unit.y, unit.x, self.model.image.size) if layer.followed and layer.has_map else None
        place = f" ({unit.y}, {unit.x})" if layer.has_map else ""
        label = f"{self.model.labels[unit.channel]}: " if self._is_class(unit) else ""
        caption = (f"{label}{unit.channel}{place}", f"{self.activations[k]:.4g}")
        return Cell(self.pixels[k], box, caption, dead=not self.activations[k], local=layer.has_map)

    def _is_class(self, unit: Unit) -> bool:
        return unit.y is None and unit.channel in self.model.labels

    def _unit_record(self, k: int) -> dict[str, Any]:
        unit, layer = self.units[k], self.model.layer(self.units[k].layer)
        return {
            "layer": unit.layer,
            "channel": unit.channel,
            "y": unit.y,
            "x": unit.x,
            "activation": float(self.activations[k]),
            "dead": not self.activations[k],
            "receptive_field": list(layer.box(unit.y, unit.x, self.model.image.size)),
            "display_scale": display_scale(self.pixels[k]),
        }

    def _header(self, image: int) -> list[str]:
        top = self._top1(image)
        best = f": {top['label']} {100 * top['probability']:.1f} %" if top else ""
        prepared = self.model.preprocessing.describe(self.model.image.channels)
        how = prepared if self.batch.preprocessed else "array as given"
        exact = f", inexact: {', '.join(self.inexact)}" if self.inexact else ""
        start = "" if self.seed == "activation" else ", seed 1"
        return [f"{self.batch.names[image]}{best}", f"{self.model.name}, {self.method}{start}{exact}", how]

    def warnings(self) -> list[str]:
        """What was assumed and not found in the model, and what the sheet cannot show as it is; a sentence each."""
        warnings = assumptions(self.model, self.batch.preprocessed)
        stored = sorted({u.layer for u in self.units if not self.model.layer(u.layer).followed})
        if stored:
            warnings.append(f"the layout of {', '.join(stored)} could not be followed; it is reported as it is stored.")
        warnings += self.model.source.notes
        dark = sum(bool(a) and not p.any() for a, p in zip(self.activations, self.pixels, strict=True))
        if dark:
            warnings.append(
                f"{dark} of {len(self.units)} projections are zero everywhere: what lies below the units is masked or "
                "saturated."
            )
        dead = sum(not a for a in self.activations)
        if dead:
            warnings.append(f"{dead} of {len(self.units)} units are dead: their activation is 0, nothing is projected.")
        return warnings

    def _top1(self, image: int) -> dict[str, Any] | None:
        if not self.class_scores:
            return None
        scores = self.class_scores[image].astype(np.float64)
        odds = np.exp(scores - scores.max())
        best = int(scores.argmax())
        return {
            "class": best,
            "label": self.model.labels.get(best, f"class {best}"),
            "probability": float(odds[best] / odds.sum()),
        }

    def _colour(self) -> Colour:
        return self.model.preprocessing.colour if self.batch.preprocessed else "RGB"

    def _pixels_name(self, rank: int, k: int) -> str:
        unit = self.units[k]
        place = "" if unit.y is None else f".{unit.y}.{unit.x}"
        return f"{rank:04}.{file_stem(unit.layer)}.{unit.channel}{place}.png"

    def _pixels_png(self, k: int) -> bytes:
        return _png(render(self.pixels[k], display_scale(self.pixels[k]), self._colour()))

    def _arrays(self, members: list[int]) -> bytes:
        chosen = [self.units[k] for k in members]
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            pixels=self.pixels[members],
            activations=self.activations[members],
            layer=np.array([u.layer for u in chosen]),
            # a place that a unit does not have is -1
            unit=np.array([[u.channel, -1 if u.y is None else u.y, -1 if u.x is None else u.x] for u in chosen]),
        )
        return buffer.getvalue()


def _title(layer: Layer) -> str:
    shape = "x".join(map(str, layer.shape))
    height, width = layer.receptive_field
    return f"{layer.name}  {layer.op}, {shape}, receptive field {height}x{width} px"


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()

"""Networks with planted faults, pictures to show them, and what a check says then."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, numpy_helper, parser
from PIL import Image

import zfviz
from zfviz.checks.checking import Check, Measurement, all_checks
from zfviz.checks.subject import Subject

SIDE = 16
PLAIN = {"fit": "stretch", "scale": 1 / 255}
"""A preprocessing that leaves a pixel what it is, between 0 and 1."""


def spelled(body: str, weights: Mapping[str, Any] | None = None, size: str = "N, 3, 16, 16") -> ModelProto:
    """A network of ONNX text from x to y; a weight is an array, or a shape to fill with noise."""
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> net (float[{size}] x) => (float y) {{ {body} }}'
    )
    proto.graph.output[0].CopyFrom(ValueInfoProto(name="y"))
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    rng = np.random.default_rng(0)
    for name, given in (weights or {}).items():
        array = rng.standard_normal(given) if isinstance(given, tuple) else np.asarray(given)
        kept = array.dtype.kind == "i"
        proto.graph.initializer.append(numpy_helper.from_array(array if kept else array.astype(np.float32), name))
    return proto


def biased(proto: ModelProto, node: str, channel: int, bias: float) -> ModelProto:
    """The same network, with a bias in one channel of a convolution that has none."""
    changed = ModelProto()
    changed.CopyFrom(proto)
    (conv,) = (n for n in changed.graph.node if n.name == node)
    (weight,) = (t for t in changed.graph.initializer if t.name == conv.input[1])
    values = np.zeros(weight.dims[0], np.float32)
    values[channel] = bias
    changed.graph.initializer.append(numpy_helper.from_array(values, f"{node}/bias"))
    conv.input.append(f"{node}/bias")
    return changed


def pictures(folder: Path, arrays: Sequence[np.ndarray]) -> list[Path]:
    """Files of pictures [H, W, 3], in their order."""
    paths = [folder / f"{number}.png" for number in range(len(arrays))]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(np.asarray(array, np.uint8)).save(path)
    return paths


def greys(folder: Path, spots: Mapping[int, int], count: int = 5) -> list[Path]:
    """Grey pictures of 16 x 16, of which some have a pixel of another brightness, by their number."""
    arrays = [np.full((SIDE, SIDE, 3), 40 + number) for number in range(count)]
    for number, level in spots.items():
        arrays[number][3, 5] = level
    return pictures(folder, arrays)


def check(code: str) -> Check:
    """The check of that code."""
    return next(one for one in all_checks() if one.code == code)


def subject(model: zfviz.Model | ModelProto | str, paths: Sequence[Path] = ()) -> Subject:
    """A model and the pictures that it is shown, on the CPU."""
    return Subject(zfviz.load(model), paths, device="cpu")


def measured(code: str, model: zfviz.Model | ModelProto | str, paths: Sequence[Path] = ()) -> dict[str, Measurement]:
    """What a check measures, by layer."""
    return {one.layer: one for one in check(code).measure(subject(model, paths))}


def is_finding(code: str, measurement: Measurement) -> bool:
    """Whether the number is beyond the check's limit."""
    limit = check(code).limit
    return limit is not None and check(code).is_beyond(measurement.value, limit)

"""What every converter does: write metadata, compare what comes out with onnxruntime, tell errors in one line."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from onnx import ModelProto, ValueInfoProto, helper

from zfviz.errors import ModelError, VerificationError, ZfvizError
from zfviz.graph.image_input import TYPES
from zfviz.images.labels import SYNSET, find_labels
from zfviz.images.preprocessing import METADATA_KEY, PRESETS, Preprocessing, find_preprocessing
from zfviz.runtime.session import open_session

TOLERANCE = 1e-4  # of an output's largest value; the same sums in another order differ by 1e-6 to 1e-5 in deep networks
LABELS_KEY = "zfviz.labels"
BOX = (4, 5)  # what a detector gives beside its classes: the sides of a box, and whether there is anything in it
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PREPROCESSING = f"{', '.join(PRESETS)}, or a JSON file."

output_option = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The ONNX file."
)
labels_option = click.option("--labels", type=FILE, help="Class names, one a line or JSON.")


def describe(preprocessing: str | Preprocessing | None, labels: Mapping[int, str]) -> dict[str, str]:
    """The entries of the metadata in which zfviz finds the preprocessing, which is printed, and the class names."""
    entries: dict[str, str] = {}
    if preprocessing is not None:
        found = find_preprocessing(preprocessing, {}, None)
        click.echo(f"preprocessing: {found.describe()} ({found.source})", err=True)
        entries[METADATA_KEY] = json.dumps(found.to_json())
    if labels:
        entries[LABELS_KEY] = json.dumps(labels)
    return entries


def read_labels(path: str | Path | None) -> dict[int, str]:
    """The class names in a file, by index; none without a file, ModelError for a file of none."""
    if not path:
        return {}
    try:
        text = Path(path).read_text("utf-8-sig", "replace")
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); expected class names.") from error
    lines = json.dumps([SYNSET.sub("", line) for line in text.split("\n")])
    labels = find_labels({LABELS_KEY: text}, None, None) or find_labels({LABELS_KEY: lines}, None, None)
    if not labels:
        raise ModelError(f"{path} holds no class names; expected one a line, or JSON.")
    return labels


def attach(proto: ModelProto, entries: Mapping[str, str]) -> None:
    """Put the entries into the metadata. Raises ModelError where the class names among them fit no output."""
    labels = find_labels({LABELS_KEY: entries.get(LABELS_KEY, "")}, None, None)
    count = max(labels, default=-1) + 1
    outputs = {output.name: sizes(output) for output in proto.graph.output}
    if labels and not any(fits(count, found) for found in outputs.values()):
        shown = "; ".join(f"{name} {[size or '?' for size in found]}" for name, found in outputs.items())
        raise ModelError(
            f"the labels name {count} classes; expected as many as an output has: {shown}. Name each class in its "
            "place; some networks, TensorFlow's above all, have one for the background first."
        )
    helper.set_model_props(proto, dict(entries))


def sizes(value: ValueInfoProto) -> list[int | None]:
    """The sizes of a tensor, None for one that is left open; none at all where nothing is known."""
    return [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]


def fits(count: int, found: Sequence[int | None]) -> bool:
    """Whether a tensor may hold so many classes, along the axis after the batch or the last one.

    So may a tensor whose sizes are open, and one of three axes or more that has boxes in it: [N, 84, 8400] for 80.
    """
    known = {size for size in (*found[1:2], *found[1:][-1:]) if size}
    boxes = {count + more for more in BOX if len(found) > 2}
    return not known or count in known or any(size % box == 0 for size in known for box in boxes)


def random_images(shape: Sequence[int], dtype: str) -> np.ndarray:
    """The same images each time: whole numbers over the range of the type, else 0 to 1.

    Raises ModelError for a type that zfviz does not put images into.
    """
    known = {kind.name: kind for kind in TYPES}
    if dtype not in known:
        raise ModelError(f"the model takes images of {dtype}; expected {', '.join(known)}. Save it with one of these.")
    rng = np.random.default_rng(0)
    if known[dtype].kind == "u":
        return rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    return rng.random(shape).astype(dtype)


def compare(
    proto: ModelProto,
    feeds: Mapping[str, np.ndarray],
    expected: Sequence[np.ndarray],
    framework: str,
    tolerance: float = TOLERANCE,
    remedy: str = "Nothing is written.",
) -> None:
    """Print how far onnxruntime is from what the framework gives for the outputs; VerificationError where too far."""
    names = [output.name for output in proto.graph.output]
    if not names or len(names) != len(expected):
        raise ModelError(
            f"{framework} gives {len(expected)} tensors, the ONNX model {len(names)}; expected as many, from one. Give "
            "each of them once, and nothing but tensors."
        )
    found = open_session(proto, device="cpu").run(feeds, names)
    distances = {name: distance(found[name], theirs) for name, theirs in zip(names, expected, strict=True)}
    name, largest = max(distances.items(), key=lambda item: item[1])
    told = f"largest difference from {framework}: {largest:.2g} of the largest value, in {name!r}"
    if largest > tolerance:
        raise VerificationError(f"{told}; expected {tolerance:g} at most. {remedy}")
    click.echo(f"{told} (tolerance {tolerance:g}; {len(names)} compared)", err=True)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference as a share of the largest value.

    Infinite where the shapes differ, or anything that is not finite, or where nothing is finite.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        return math.inf
    finite = np.isfinite(expected)
    same = np.array_equal(found[~finite], expected[~finite], equal_nan=True)
    if not same or not np.isfinite(found[finite]).all() or (expected.size and not finite.any()):
        return math.inf
    largest = float(np.abs(expected[finite]).max(initial=1e-30))
    return float(np.abs(found[finite] - expected[finite]).max(initial=0)) / largest


def reason(error: BaseException, after: str | None = None, longest: int = 300) -> str:
    """What is at the root of an error, in one line; of its message, only what comes `after` a text."""
    while error.__cause__:
        error = error.__cause__
    told = str(error).rpartition(after)[2] if after else str(error)
    return f"{type(error).__name__}: {' '.join(told.split())[:longest]}".rstrip(".: ")


def run_script(command: click.Command) -> None:
    """Run the command of a script; the exit code is 2 for what is bad in its input, 1 where a check failed."""
    try:
        command()
    except ZfvizError as error:
        click.echo(f"{Path(sys.argv[0]).stem}: {error}", err=True)
        sys.exit(error.exit_code)

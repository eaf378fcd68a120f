"""What every converter does: write metadata, compare what comes out with onnxruntime, tell errors in one line."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from onnx import ModelProto

from zfviz.errors import ModelError, VerificationError, ZfvizError
from zfviz.images.labels import SYNSET, find_labels
from zfviz.images.preprocessing import METADATA_KEY, PRESETS, Preprocessing, find_preprocessing
from zfviz.runtime.session import open_session

TOLERANCE = 1e-4  # of an output's largest value; the same sums in another order differ by 1e-6 to 1e-5 in deep networks
LABELS_KEY = "zfviz.labels"
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
    found = open_session(proto, device="cpu").run(feeds, names)
    distances = {name: distance(found[name], theirs) for name, theirs in zip(names, expected, strict=True)}
    name, largest = max(distances.items(), key=lambda item: item[1])
    told = f"largest difference from {framework}: {largest:.2g} of the largest value, in {name!r}"
    if largest > tolerance:
        raise VerificationError(f"{told}; expected {tolerance:g} at most. {remedy}")
    click.echo(f"{told} (tolerance {tolerance:g}; {len(names)} compared)", err=True)


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference as a share of the largest value.

    Infinite where the shapes differ, or what is finite in them, or where nothing is.
    """
    expected = np.asarray(expected, np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(found)) or (expected.size and not finite.any()):
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

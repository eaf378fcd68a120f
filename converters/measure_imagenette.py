# /// script
# requires-python = ">=3.11"
# dependencies = ["zfviz"]
#
# [tool.uv.sources]
# zfviz = { path = "..", editable = true }
# ///
"""Error rates of a network on the validation pictures of Imagenette, prepared and run as `zfviz project` does it.

    python converters/measure_imagenette.py alexnet --data imagenette2-320.tgz

MODEL is a bundled name or a file whose labels are the ten classes, in the order of their WordNet ids.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from imagenette import ADDRESS, read_jpegs
from PIL import Image

import zfviz
from zfviz.studies.selection import class_layer

AT_ONCE = 32


def read_pictures(archive: Path) -> Iterator[tuple[Image.Image, str]]:
    """The validation pictures, each with the WordNet id of its class."""
    for _, folder, jpeg in read_jpegs(archive, "val"):
        yield Image.open(io.BytesIO(jpeg)), folder


def measure(model: zfviz.Model, archive: Path) -> tuple[float, float, int]:
    """Top-1 and top-5 error, from 0 to 1, and the number of pictures."""
    scores = class_layer(model)
    if scores is None:
        raise SystemExit(f"{model.name} is no classifier")
    pictures = list(read_pictures(archive))
    classes = sorted({folder for _, folder in pictures})
    ranks: list[int] = []
    for start in range(0, len(pictures), AT_ONCE):
        portion = pictures[start : start + AT_ONCE]
        found = zfviz.activations(model, [picture for picture, _ in portion], scores.name)[scores.name]
        order = np.argsort(-found, axis=1, kind="stable")
        ranks += [list(row).index(classes.index(folder)) for row, (_, folder) in zip(order, portion, strict=True)]
    return float(np.mean(np.array(ranks) >= 1)), float(np.mean(np.array(ranks) >= 5)), len(ranks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Error rates on the validation pictures of Imagenette.")
    parser.add_argument("model", help="a bundled name or an ONNX file")
    parser.add_argument("--data", type=Path, required=True, help=f"an archive of val/WNID/*.JPEG, as {ADDRESS}")
    options = parser.parse_args()
    top1, top5, count = measure(zfviz.load(options.model), options.data)
    print(f"top-1 error {100 * top1:.2f} %, top-5 error {100 * top5:.2f} %, {count} pictures")

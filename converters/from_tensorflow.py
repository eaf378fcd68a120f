# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorflow>=2.21", "tf2onnx>=1.17", "zfviz"]
# ///
"""A SavedModel or a frozen graph of TensorFlow as ONNX, by tf2onnx; nodes keep the names that TensorFlow gives them.

    python converters/from_tensorflow.py saved_model_folder -o mine.onnx
    python converters/from_tensorflow.py frozen.pb --image input --result softmax --preprocessing inception -o old.onnx

Both are programs, which can read and write files: convert those that you trust. For .keras and .h5 take from_keras.py.
"""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, helper

from zfviz.cli.options import numbers
from zfviz.errors import ModelError, UnsupportedError, VerificationError, ZfvizError, nearest
from zfviz.graph.source import MAX_INLINE_BYTES
from zfviz.images.labels import SYNSET, find_labels
from zfviz.images.preprocessing import METADATA_KEY, PRESETS, find_preprocessing
from zfviz.report.files import write_atomically
from zfviz.runtime.session import open_session

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when tensorflow is imported
import tensorflow as tf
import tf2onnx
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

TOLERANCE = 1e-4  # of an output's largest value; the same sums in another order differ by 1e-6 to 1e-5 in deep networks


def convert(
    source: str | Path,
    image: str | None = None,
    results: Sequence[str] = (),
    shape: Sequence[int] = (224, 224, 3),
    preprocessing: str = "unit",
    labels: str | Path | None = None,
) -> ModelProto:
    """The ONNX model of `source`, the folder of a SavedModel or the file of a frozen graph.

    Images go into the tensor `image` of a frozen graph, and `results` come out; by default its only placeholder, and
    what nothing reads. `shape`, [H, W, C], is for what the graph leaves open when it is checked. `preprocessing` is a
    preset or a JSON file (TensorFlow Hub's models take 0 to 1, "unit"), `labels` a file of class names; both go into
    the metadata. Raises ModelError for what cannot be read, UnsupportedError for ops that ONNX has not, and
    VerificationError where onnxruntime computes something else.
    """
    metadata = describe(preprocessing, labels)
    path = Path(source)
    path = path.parent if path.name == "saved_model.pb" else path
    with tf.device("/cpu:0"):
        function = read_saved_model(path) if path.is_dir() else read_frozen(path, image, results)
        proto = write(function)
        check(proto, function, shape)
    helper.set_model_props(proto, metadata)
    return proto


def read_saved_model(folder: Path) -> Any:
    """The signature that serves, as a function without variables."""
    try:
        loaded = tf.saved_model.load(str(folder))  # held, since it owns the variables
        function = loaded.signatures.get("serving_default") or next(iter(loaded.signatures.values()))
        size = sum(variable.shape.num_elements() * variable.dtype.size for variable in function.variables)
        frozen = None if size > MAX_INLINE_BYTES else convert_variables_to_constants_v2(function)
    except Exception as error:
        raise ModelError(
            f"{folder} cannot be read by TensorFlow {tf.__version__} ({reason(error)}); expected the folder of a "
            "SavedModel with a signature, as tf.saved_model.save and Keras' model.export write it. Save it again."
        ) from error
    if frozen is None:
        raise ModelError(f"{folder} holds {size / 2**30:.2f} GiB; expected less than 2, all that an ONNX file holds.")
    return frozen


def read_frozen(path: Path, image: str | None, results: Sequence[str]) -> Any:
    """A frozen graph as a function from the tensor `image` to `results`."""
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
        imported = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    except (OSError, DecodeError, ValueError, tf.errors.OpError) as error:
        raise ModelError(
            f"{path} cannot be read ({reason(error)}); expected the folder of a SavedModel, or a frozen GraphDef (.pb)."
        ) from error
    read = {name.lstrip("^").split(":")[0] for node in graph.node for name in node.input}
    inputs = [image] if image else [node.name for node in graph.node if node.op == "Placeholder"]
    ends = list(results) or [
        node.name for node in graph.node if node.name not in {*read, *inputs} and node.op != "NoOp"
    ]
    known = {node.name for node in graph.node}
    for name in (*inputs, *ends):
        if name.split(":")[0] not in known:
            raise ModelError(f"no tensor {name!r} in {path.name}; {nearest(name, known)}.")
    if len(inputs) != 1 or not ends:
        raise ModelError(f"{path.name} takes {inputs} and gives {ends}; expected one image. Say --image and --result.")
    tensors = [imported.graph.get_tensor_by_name(name if ":" in name else f"{name}:0") for name in (*inputs, *ends)]
    return imported.prune(tensors[0], tensors[1:])


def write(function: Any) -> ModelProto:
    """The function in ONNX."""
    if len(function.inputs) != 1:
        names = [tensor.name for tensor in function.inputs]
        raise ModelError(f"the model takes {names}; expected one tensor of images [N, H, W, C].")
    inputs, outputs = ([tensor.name for tensor in tensors] for tensors in (function.inputs, function.outputs))
    try:
        proto, _ = tf2onnx.convert.from_graph_def(
            function.graph.as_graph_def(),
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename={name: name.removesuffix(":0") for name in (*inputs, *outputs)},
        )
    except Exception as error:
        raise UnsupportedError(f"tf2onnx cannot write the model: {reason(error)}. Replace that op.") from error
    nodes = proto.graph.node
    if unknown := {f"{node.op_type} ({node.name})" for node in nodes if not onnx.defs.has(node.op_type, node.domain)}:
        raise UnsupportedError(f"ONNX has nothing for {', '.join(sorted(unknown))}. Replace them by other ops.")
    # Keras' export wraps calls around the names of its layers
    short = {node.name: re.sub("^(StatefulPartitionedCall/)+", "", node.name) for node in nodes}
    counts = Counter(short.values())
    for node in nodes:
        node.name = short[node.name] if counts[short[node.name]] == 1 else node.name
    return proto


def check(proto: ModelProto, function: Any, shape: Sequence[int]) -> None:
    """Print how far onnxruntime is from TensorFlow on random images; VerificationError beyond TOLERANCE."""
    wanted = function.inputs[0].shape
    if wanted.rank not in (None, 1 + len(shape)):
        raise ModelError(f"the model takes {wanted}; expected one tensor of images [N, H, W, C].")
    open_sizes = wanted if wanted.rank else [None] * 4
    sizes = [given if size is None else size for size, given in zip(open_sizes, (3, *shape), strict=True)]
    images = np.random.default_rng(0).random(sizes, np.float32)
    expected = [value.numpy().astype(float) for value in function(tf.constant(images))]
    names = [output.name for output in proto.graph.output]
    found = open_session(proto, device="cpu").run({proto.graph.input[0].name: images}, names)
    differences = {
        name: np.nan_to_num(np.abs(found[name] - ours).max() / max(np.abs(ours).max(), 1e-30), nan=np.inf)
        for name, ours in zip(names, expected, strict=True)
    }
    name, difference = max(differences.items(), key=lambda item: item[1])
    told = f"largest difference from TensorFlow: {difference:.2g} of the largest value, in {name!r}"
    if difference > TOLERANCE:
        raise VerificationError(f"{told}; expected {TOLERANCE:g} at most. Nothing is written.")
    click.echo(f"{told} (tolerance {TOLERANCE:g}; {len(names)} compared)", err=True)


def describe(preprocessing: str, labels: str | Path | None) -> dict[str, str]:
    """The entries of the metadata in which zfviz finds the preprocessing and the class names."""
    found = find_preprocessing(preprocessing, {}, None)
    click.echo(f"preprocessing: {found.describe()} ({found.source})", err=True)
    entries = {METADATA_KEY: json.dumps(found.to_json())}
    if labels:
        text = Path(labels).read_text("utf-8-sig", "replace")
        lines = json.dumps([SYNSET.sub("", line) for line in text.split("\n")])
        names = find_labels({"zfviz.labels": text}, None, None) or find_labels({"zfviz.labels": lines}, None, None)
        if not names:
            raise ModelError(f"{labels} holds no class names; expected one a line, or JSON.")
        entries["zfviz.labels"] = json.dumps(names)
    return entries


def reason(error: BaseException) -> str:
    """What is at the root of an error, in one line."""
    while error.__cause__:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(".: ")


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The ONNX file.")
@click.option("--image", metavar="NAME", help="The tensor of a frozen graph that takes images.")
@click.option("--result", "results", multiple=True, metavar="NAME", help="What comes out of it; may be given again.")
@click.option("--shape", callback=numbers, default="224,224,3", show_default=True, help="H,W,C, where left open.")
@click.option("--preprocessing", default="unit", show_default=True, help=f"{', '.join(PRESETS)}, or a JSON file.")
@click.option("--labels", type=FILE, help="Class names, one a line or JSON.")
def main(source: Path, output: Path, **options: Any) -> None:
    """Write a SavedModel or a frozen graph of TensorFlow as ONNX for zfviz, checked with onnxruntime."""
    click.echo(write_atomically(output, convert(source, **options).SerializeToString()))


if __name__ == "__main__":
    try:
        main()
    except ZfvizError as error:
        click.echo(f"from_tensorflow: {error}", err=True)
        sys.exit(error.exit_code)

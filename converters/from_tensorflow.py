# /// script
# requires-python = ">=3.11"
# dependencies = ["tensorflow>=2.21", "tf2onnx>=1.17", "zfviz"]
#
# [tool.uv.sources]
# zfviz = { path = "..", editable = true }
# ///
"""A SavedModel or a frozen graph of TensorFlow as ONNX, by tf2onnx; nodes keep the names that TensorFlow gives them.

    python converters/from_tensorflow.py saved_model_folder -o mine.onnx
    python converters/from_tensorflow.py frozen.pb --image input --result softmax --preprocessing inception -o old.onnx

Both are programs, which can read and write files: convert those that you trust. For .keras and .h5 take from_keras.py.
converting.py must lie beside this.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from converting import (
    PREPROCESSING,
    attach,
    compare,
    describe,
    labels_option,
    output_option,
    random_images,
    read_labels,
    reason,
    run_script,
)
from google.protobuf.message import DecodeError
from onnx import ModelProto

from zfviz.cli.options import numbers
from zfviz.errors import ModelError, UnsupportedError, nearest
from zfviz.graph.source import MAX_INLINE_BYTES
from zfviz.report.files import write_atomically

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when tensorflow is imported
import tensorflow as tf
import tf2onnx
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def convert(
    source: str | Path,
    image: str | None = None,
    results: Sequence[str] = (),
    shape: Sequence[int] = (224, 224, 3),
    preprocessing: str | None = None,
    labels: str | Path | None = None,
) -> ModelProto:
    """The ONNX model of `source`, the folder of a SavedModel or the file of a frozen graph.

    Images go into the tensor `image` of a frozen graph, and `results` come out; by default its only placeholder, and
    what nothing reads. `shape`, [H, W, C], is for what the graph leaves open when it is checked. `preprocessing` is a
    preset or a JSON file, by default what TensorFlow Hub's models take: 0 to 1, "unit", or "raw" for uint8; `labels` is
    a file of class names; both go into the metadata. Raises ModelError for what cannot be read or run, UnsupportedError
    for ops that ONNX has not, and VerificationError where onnxruntime computes something else.
    """
    names = read_labels(labels)
    path = Path(source)
    path = path.parent if path.name == "saved_model.pb" else path
    with tf.device("/cpu:0"):
        function = read_saved_model(path) if path.is_dir() else read_frozen(path, image, results)
        images = example(function, shape)
        metadata = describe(preprocessing or ("raw" if images.dtype == np.uint8 else "unit"), names)
        proto = write(function)
        check(proto, function, images)
    attach(proto, metadata)
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
    known = {node.name: len(imported.graph.get_operation_by_name(node.name).outputs) for node in graph.node}
    ends = list(results) or [name for name, count in known.items() if count and name not in {*read, *inputs}]
    for name in (*inputs, *ends):
        node, _, place = name.partition(":")
        if node not in known:
            raise ModelError(f"no tensor {name!r} in {path.name}; {nearest(name, known)}.")
        if place not in ("", *map(str, range(known[node]))) or not known[node]:
            gives = ", ".join(f"{node}:{number}" for number in range(known[node])) or "nothing. Choose another node"
            raise ModelError(f"no tensor {name!r} in {path.name}; {node} gives {gives}.")
    if len(inputs) != 1 or not ends:
        raise ModelError(f"{path.name} takes {inputs} and gives {ends}; expected one image. Say --image and --result.")
    full = (f"{node}:{place or 0}" for node, _, place in (name.partition(":") for name in (*inputs, *ends)))
    tensors = [imported.graph.get_tensor_by_name(name) for name in full]
    try:
        return imported.prune(tensors[0], tensors[1:])
    except Exception as error:
        raise ModelError(
            f"{path.name} does not make {ends} of {inputs[0]} ({reason(error)}); expected results that need nothing "
            "else. Mend --image and --result."
        ) from error


def write(function: Any) -> ModelProto:
    """The function in ONNX."""
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


def example(function: Any, shape: Sequence[int]) -> np.ndarray:
    """Random images for the function: three where their number is open, of `shape` in what else is open."""
    takes = [(tensor.name, tensor.shape) for tensor in function.inputs]
    if len(takes) != 1 or takes[0][1].rank not in (None, 1 + len(shape)):
        found = ", ".join(f"{name} {sizes}" for name, sizes in takes) or "nothing"
        raise ModelError(f"the model takes {found}; expected one tensor of images [N, H, W, C].")
    open_sizes = takes[0][1] if takes[0][1].rank else [None] * (1 + len(shape))
    sizes = [given if size is None else size for size, given in zip(open_sizes, (3, *shape), strict=True)]
    return random_images(sizes, function.inputs[0].dtype.name)


def check(proto: ModelProto, function: Any, images: np.ndarray) -> None:
    """Print how far onnxruntime is from TensorFlow on these images; VerificationError where it is too far."""
    try:
        expected = [value.numpy() for value in function(tf.constant(images))]
    except Exception as error:
        raise ModelError(
            f"TensorFlow cannot run it on {images.dtype} images of {images.shape} ({reason(error)}); expected a graph "
            "for them. Mend --shape."
        ) from error
    compare(proto, {proto.graph.input[0].name: images}, expected, "TensorFlow")


@click.command()
@click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path))
@output_option
@click.option("--image", metavar="NAME", help="The tensor of a frozen graph that takes images.")
@click.option("--result", "results", multiple=True, metavar="NAME", help="What comes out of it; may be given again.")
@click.option("--shape", callback=numbers, default="224,224,3", show_default=True, help="H,W,C, where left open.")
@click.option("--preprocessing", help=f"{PREPROCESSING} [default: unit, or raw for uint8]")
@labels_option
def main(source: Path, output: Path, **options: Any) -> None:
    """Write a SavedModel or a frozen graph of TensorFlow as ONNX for zfviz, checked with onnxruntime."""
    click.echo(write_atomically(output, convert(source, **options).SerializeToString()))


if __name__ == "__main__":
    run_script(main)

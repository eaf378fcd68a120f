# /// script
# requires-python = ">=3.11"
# dependencies = ["keras>=3.15", "torch>=2.14", "onnxscript>=0.7", "zfviz"]
#
# [tool.uv.sources]
# zfviz = { path = "..", editable = true }
# ///
"""A Keras model as ONNX whose tensors bear the names of its layers: `block1_conv1`.

    python converters/from_keras.py MobileNetV2 -o mobilenet.onnx
    python converters/from_keras.py ResNet50 --weights none --arguments '{"input_shape": [64, 64, 3]}' -o small.onnx
    python converters/from_keras.py mine.keras --preprocessing unit -o mine.onnx

IN is a file that model.save wrote (.keras or .h5), or a name of keras.applications. Keras runs on torch, in safe mode:
a Lambda layer is a program, and is refused. converting.py must lie beside this.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import click
import converting
import numpy as np
import onnx_ir
import torch
from converting import (
    PREPROCESSING,
    attach,
    compare,
    describe,
    labels_option,
    output_option,
    random_images,
    read_labels,
    run_script,
)
from onnx import ModelProto
from onnxscript import optimizer
from torch import nn

from zfviz.cli.options import numbers
from zfviz.errors import ModelError, nearest
from zfviz.graph.source import MAX_INLINE_BYTES
from zfviz.report.files import write_atomically

os.environ["KERAS_BACKEND"] = "torch"  # read when keras is imported
import keras

FAMILIES = {
    "convnext": "raw",
    "densenet": "imagenet",
    "efficientnet": "raw",
    "efficientnet_v2": "raw",
    "inception_resnet_v2": "inception",
    "inception_v3": "inception",
    "mobilenet": "inception",
    "mobilenet_v2": "inception",
    "mobilenet_v3": "raw",
    "nasnet": "inception",
    "resnet": "caffe",
    "resnet_v2": "inception",
    "vgg16": "caffe",
    "vgg19": "caffe",
    "xception": "inception",
}
"""Preprocessing by the module of keras.applications; those that take raw pixels prepare them in the model."""


def convert(
    source: str,
    weights: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    shape: Sequence[int] = (224, 224, 3),
    preprocessing: str | None = None,
    labels: str | Path | None = None,
) -> ModelProto:
    """The ONNX model of `source`, a file of model.save or a name of keras.applications, for float32 [N, H, W, C].

    N is left open, and `shape` is for what else the model leaves open. A named network is made with `weights`
    ("imagenet" by default, "none" for random ones, or a file) and `arguments`. `preprocessing` is a preset or a JSON
    file, `labels` a file of class names; both go into the metadata. Raises ModelError for what cannot be read, made or
    written in ONNX, and VerificationError where a layer gives something else in onnxruntime.
    """
    if keras.backend.backend() != "torch":
        raise ModelError(f"Keras runs on {keras.backend.backend()}; expected torch. Import this before keras.")
    with keras.device("cpu"):
        if Path(source).suffix in (".keras", ".h5", ".hdf5"):
            if weights or arguments:
                raise ModelError(f"{source} is a whole model; expected neither weights nor arguments. Leave them out.")
            model, preset = read_model(source)
        else:
            model, preset = make_application(source, weights, arguments or {})
        if not (preprocessing or preset):
            raise ModelError(f"{source} without its preprocessing takes prepared pixels; say how by --preprocessing.")
        metadata = describe(preprocessing or preset, read_labels(labels))
        proto = write(model, shape)
    attach(proto, metadata)
    return proto


def read_model(path: str) -> tuple[keras.Model, str]:
    """The model in a file, and the likely preprocessing: raw pixels for one that scales them or is 8-bit, else 0 to 1.

    What scales them may lie in a model within the model.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise ModelError(
            f"{path} cannot be read by Keras {keras.__version__} ({reason(error)}); expected a whole model of "
            "model.save, of known layers, without Lambda. Save it again, or register its classes and call convert()."
        ) from error
    scaling = keras.layers.Rescaling | keras.layers.Normalization
    raw = any(isinstance(layer, scaling) for layer in model._flatten_layers())  # `layers` has only the outermost
    raw = raw or any(tensor.dtype == "uint8" for tensor in getattr(model, "inputs", None) or [])
    return model, "raw" if raw else "unit"


def make_application(name: str, weights: str | None, arguments: Mapping[str, Any]) -> tuple[keras.Model, str]:
    """A network of keras.applications, and its preprocessing: "" where that was left out of the network."""
    known = {key: value for key, value in vars(keras.applications).items() if callable(value)}
    if name not in known:
        raise ModelError(f"{name!r} is no .keras or .h5 file, and no network; {nearest(name, known)}.")
    try:
        model = known[name](**{"weights": None if weights == "none" else weights or "imagenet", **arguments})
    except Exception as error:
        raise ModelError(
            f"{name} cannot be made ({reason(error)}); mend --arguments, or --weights: imagenet, which is downloaded, "
            "none, or a file."
        ) from error
    left_out = not arguments.get("include_preprocessing", True)
    return model, "" if left_out else FAMILIES[known[name].__module__.rpartition(".")[2]]


class Watched(nn.Module):
    """A model that gives what each of its layers gives, nested ones too; `names` are theirs."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model
        self.names: list[str] = []

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of the layers, in the order of `names`, then the outputs of the model."""
        made: dict[str, torch.Tensor] = {}
        call = keras.Layer.__call__

        def record(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
            output = call(layer, *args, **kwargs)
            # what passes its input on, such as Dropout, is no tensor of its own
            if isinstance(output, torch.Tensor) and not any(output is known for known in (images, *made.values())):
                numbered = (f"{layer.name}_{number}" for number in range(1, len(made) + 1))
                made[next(name for name in (layer.name, *numbered) if name not in made)] = output
            return output

        with mock.patch.object(keras.Layer, "__call__", record):
            outputs = keras.tree.flatten(self.model(images, training=False))
        self.names = list(made)
        return [*made.values(), *outputs]


def write(model: keras.Model, shape: Sequence[int]) -> ModelProto:
    """The model in ONNX, checked layer by layer.

    It is traced with the tensors of all layers for outputs, which keeps them apart and tells whose they are, and cut to
    its own outputs in the end. Keras' own export (model.export) fixes the batch or falls back to TorchScript, and knows
    no layer's name.
    """
    size = sum(variable.value.nbytes for variable in model.variables)
    if size > MAX_INLINE_BYTES:
        raise ModelError(f"the weights take {size / 2**30:.2f} GiB; expected less than 2, all that an ONNX file holds.")
    watched = Watched(model).eval()
    images = torch.from_numpy(example(model, shape))
    try:
        with torch.no_grad():
            expected = [value.numpy() for value in watched(images)]
            # an axis of one would be taken for a constant
            program = torch.export.export(watched, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        exported = torch.onnx.export(program, input_names=["image"], dynamo=True, optimize=False, verbose=False)
    except Exception as error:
        raise ModelError(
            f"{model.name} cannot be written in ONNX for images of {tuple(images.shape[1:])} ({reason(error)}); "
            "expected layers that torch can trace for any number of images. Mend --shape, or replace that layer."
        ) from error
    optimizer.fold_constants(exported.model)
    optimizer.remove_unused_nodes(exported.model)
    exported.model.graph.metadata_props.clear()
    rename(exported.model, watched.names)
    compare(exported.model_proto, {"image": images.numpy()}, expected, "Keras")
    del exported.model.graph.outputs[: len(watched.names)]
    return exported.model_proto


def example(model: keras.Model, shape: Sequence[int]) -> np.ndarray:
    """Three random images for the model, of `shape` in what it leaves open."""
    tensors = getattr(model, "inputs", None) or [keras.Input(shape)]
    inputs = [tuple(tensor.shape) for tensor in tensors]
    if len(inputs) != 1 or len(inputs[0]) != 1 + len(shape):
        raise ModelError(f"{model.name} takes {inputs}; expected one tensor of images [N, H, W, C].")
    sizes = [given if size is None else size for size, given in zip(inputs[0][1:], shape, strict=True)]
    return random_images((3, *sizes), keras.backend.standardize_dtype(tensors[0].dtype))


def rename(model: onnx_ir.Model, names: Sequence[str]) -> None:
    """Give the first outputs their names; all on the way to one, its weights too, is called LAYER/NAME."""
    layers = dict(zip((output.name for output in model.graph.outputs), names, strict=False))
    layer = "outputs"
    for node in reversed(model.graph):
        layer = next((layers[value.name] for value in node.outputs if value.name in layers), layer)
        weights = [value for value in node.inputs if value and value.is_initializer() and "/" not in value.name]
        for value in (*node.outputs, *weights):
            value.name = layers.get(value.name, f"{layer}/{value.name}")
        node.name = node.outputs[0].name
        node.metadata_props.clear()  # stack traces, which name the folders of this machine


def reason(error: BaseException) -> str:
    """What is at the root of an error, without the configurations that Keras prints before, and its advice after."""
    return converting.reason(error, after="Exception encountered: ", longest=190)


@click.command()
@click.argument("source", metavar="IN")
@output_option
@click.option("--weights", help="Of a named network: imagenet (the default), none, or a file.")
@click.option("--arguments", type=json.loads, default="{}", metavar="JSON", help="What a named network is made with.")
@click.option("--shape", callback=numbers, default="224,224,3", show_default=True, help="H,W,C, where left open.")
@click.option("--preprocessing", help=f"{PREPROCESSING} [default: the network's, or raw or unit]")
@labels_option
def main(source: str, output: Path, **options: Any) -> None:
    """Write a Keras model, a file or a name of keras.applications, as ONNX for zfviz, checked with onnxruntime."""
    click.echo(write_atomically(output, convert(source, **options).SerializeToString()))


if __name__ == "__main__":
    run_script(main)

# /// script
# requires-python = ">=3.11"
# dependencies = ["opencv-python-headless>=4.10,<5", "protobuf>=4.25", "zfviz"]
#
# [tool.uv.sources]
# zfviz = { path = "..", editable = true }
# ///
"""A Caffe network as ONNX, without Caffe.

    python converters/from_caffe.py deploy.prototxt weights.caffemodel -o network.onnx --mean 104,117,123

Nodes and their outputs bear the names of the Caffe layers; the batch is left open. How pictures are prepared and what
the classes are called is written into the metadata, where zfviz looks for it. Before the file is written, OpenCV runs
the network too (up to version 4 it reads Caffe, with no code in common with this), and all layers are compared.

Beside this must lie converting.py, caffe_files.py, which reads the files, and caffe_layers.py, which has a function for
each kind of layer.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from caffe_files import (
    Message,
    deployed_layers,
    input_shapes,
    new,
    read_mean,
    read_prototxt,
    read_weights,
)
from caffe_layers import LAYERS, OPSET, Network, kind, unsupported, wrong
from converting import (
    FILE,
    PREPROCESSING,
    attach,
    compare,
    describe,
    labels_option,
    output_option,
    read_labels,
    run_script,
)
from onnx import ModelProto, helper

from zfviz.errors import ModelError, nearest
from zfviz.images.preprocessing import PRESETS, Preprocessing
from zfviz.report.files import write_atomically

TOLERANCE = 1e-3  # of a layer's largest value


def convert(
    prototxt: Path | str,
    caffemodel: Path | str,
    *,
    mean: Path | str | Sequence[float] | None = None,
    preprocessing: str | Preprocessing | None = None,
    labels: Path | str | None = None,
) -> ModelProto:
    """The network as ONNX, opset 13, with its preprocessing and class names in the metadata.

    `mean` is what is subtracted from a pixel of 0 to 255: numbers in the order of the channels, which is BGR, or a
    binaryproto, which is averaged. `preprocessing`, a preset or a JSON file, takes the place of this and of what the
    prototxt states; `labels` is a file of class names. Raises ModelError and other ZfvizErrors for files that are
    damaged or do not belong together, UnsupportedError for a layer that cannot be converted.
    """
    if preprocessing is not None and mean is not None:
        raise ModelError("both a preprocessing and a mean are stated; expected one of them. Leave the other out.")
    described = read_prototxt(Path(prototxt))
    net = Network(read_weights(Path(caffemodel)))
    layers = deployed_layers(described)
    inputs = input_shapes(described, layers)
    for blob, shape in inputs.items():
        net.input(blob, shape)
    if not inputs:
        raise ModelError(f"{prototxt} states no input: it is for training; expected a deploy.prototxt")
    for layer in layers:
        if not all((layer.name, layer.type, *layer.bottom, *layer.top)):
            raise ModelError(
                f"{prototxt} has a layer of name {layer.name!r} and type {layer.type!r}; expected names for all. Files "
                "of 2013 state them elsewhere: upgrade_net_proto_text of Caffe mends that."
            )
        if layer.bottom:  # the others are inputs, or data for training
            append(net, layer)
    names = [name for name in dict.fromkeys(net.tensors.values()) if name not in net.used | inputs.keys()]
    if not names:
        raise ModelError(f"{prototxt} computes nothing from {[*inputs]}; expected layers that read them")
    outputs = [helper.make_value_info(name, net.types[name]) for name in names]
    made = helper.make_graph(net.nodes, described.name or "caffe", net.inputs, outputs, [*net.constants.values()])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="Caffe")
    image = next((shape for shape in inputs.values() if len(shape) == 4 and shape[1] in (1, 3)), None)
    if image and preprocessing is None:
        preprocessing = stated_preprocessing(image, layers, mean)
    attach(model, describe(preprocessing, read_labels(labels)))
    onnx.checker.check_model(model, full_check=True)
    return model


def append(net: Network, layer: Message) -> None:
    """Add a layer. Raises ModelError and UnsupportedError that name it."""
    convert = LAYERS.get(kind(layer))
    if convert is None:
        raise unsupported(layer, "cannot be converted; remove the layer, or cut the network before it")
    for blob in layer.bottom:
        if blob not in net.tensors:
            raise wrong(layer, f"reads {blob!r}, which is not made before; {nearest(blob, net.tensors)}")
    if len(set(layer.top)) < len(layer.top):
        raise wrong(layer, f"makes {[*layer.top]}; expected a name for each")
    inputs = [net.tensors[blob] for blob in layer.bottom]
    try:
        inspect.signature(convert).bind(net, layer, *inputs)
    except TypeError:
        raise wrong(layer, f"has {len(inputs)} bottoms, which is not a number that it takes") from None
    outputs = convert(net, layer, *inputs)
    outputs = [outputs] if isinstance(outputs, str) else outputs
    if len(outputs) != len(layer.top):
        raise unsupported(layer, f"has {len(layer.top)} tops; expected {len(outputs)}")
    net.used.update(inputs)
    net.tensors.update(zip(layer.top, outputs, strict=True))


def stated_preprocessing(
    image: Sequence[int], layers: Sequence[Message], mean: Path | str | Sequence[float] | None
) -> Preprocessing:
    """How an image of N, C, H, W is prepared: by Caffe as (pixel - mean) * scale, by zfviz as pixel * scale - mean."""
    transform = next((layer.transform_param for layer in layers if layer.HasField("transform_param")), new("Transform"))
    if isinstance(mean, str | Path):
        numbers, source = read_mean(Path(mean)), f"mean: the average of each channel of {mean}"
    elif mean or transform.mean_value:
        numbers, source = mean or transform.mean_value, "mean: as stated"
    else:
        numbers, source = [0.0], "no mean was stated: --mean has it subtracted"
    if len(numbers) not in (1, image[1]):
        raise ModelError(f"the mean has {len(numbers)} numbers; expected one, or one for each of {image[1]} channels")
    scaled = tuple(float(number) * transform.scale for number in numbers)
    found = replace(PRESETS["caffe"], scale=transform.scale, mean=scaled, size=(image[2], image[3]))
    checked = Preprocessing.from_json(found.to_json(), "transform_param or mean")
    return replace(checked, source=source)


def check(model: ModelProto, prototxt: Path, caffemodel: Path) -> None:
    """Print how far the layers are from OpenCV's on random input; VerificationError where one is beyond TOLERANCE."""
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
    sizes = {name: [dim.dim_value or 1 for dim in dims] for name, dims in shapes.items()}
    feeds = {name: np.random.default_rng(0).normal(0, 50, shape).astype(np.float32) for name, shape in sizes.items()}
    names = [name for node in model.graph.node for name in node.output]
    try:
        expected = run_opencv(prototxt, caffemodel, feeds, names)
    except (ImportError, ValueError) as error:
        click.echo(f"not checked with OpenCV 4: {error}", err=True)
        return
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in expected)
    for attribute in (attribute for node in probe.graph.node if node.op_type == "LRN" for attribute in node.attribute):
        if attribute.name == "bias":
            attribute.f = 1  # OpenCV passes over the k of a prototxt
    remedy = "Nothing is written; --no-check writes it."
    compare(probe, feeds, [*expected.values()], "OpenCV", TOLERANCE, remedy)


def run_opencv(
    prototxt: Path, caffemodel: Path, feeds: Mapping[str, np.ndarray], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """What OpenCV computes in the layers of these names. Raises ImportError without it, ValueError where it cannot."""
    import cv2  # noqa: PLC0415 (all but the check does without)

    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        raise ImportError(f"OpenCV {cv2.__version__} reads no Caffe")
    try:
        net = cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
        net.enableFusion(False)  # a fused layer has no output of its own
        for name, value in feeds.items():
            net.setInput(value, name)
        both = [name for name in net.getLayerNames() if name in names]
        if not both:
            raise ValueError("no layer has the same name in both")
        return dict(zip(both, net.forward(both), strict=True))
    except cv2.error as error:
        raise ValueError(f"it cannot read this network ({error.err})") from None


def parse_mean(_context: click.Context, _parameter: click.Parameter, text: str | None) -> str | list[float] | None:
    """Numbers with commas between, or a file."""
    try:
        return [float(part) for part in text.split(",")] if text else None
    except ValueError:
        return text


@click.command()
@click.argument("prototxt", type=FILE)
@click.argument("caffemodel", type=FILE)
@output_option
@click.option(
    "--mean", callback=parse_mean, metavar="B,G,R|FILE", help="What to subtract from pixels, or a binaryproto."
)
@click.option("--preprocessing", help=f"{PREPROCESSING} [default: the prototxt's, with --mean]")
@labels_option
@click.option("--no-check", is_flag=True, help="Do not compare with OpenCV.")
def main(prototxt: Path, caffemodel: Path, output: Path, no_check: bool, **options: Any) -> None:
    """Write a network of Caffe as ONNX for zfviz, checked with OpenCV."""
    model = convert(prototxt, caffemodel, **options)
    if not no_check:
        check(model, prototxt, caffemodel)
    click.echo(write_atomically(output, model.SerializeToString()))


if __name__ == "__main__":
    run_script(main)

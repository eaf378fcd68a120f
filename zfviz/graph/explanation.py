"""The graph that explains itself: a model that also gives its strongest units and their projections, in one run."""

from collections.abc import Iterable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from zfviz.errors import LayerError, UnsupportedError
from zfviz.graph.building import OPSET
from zfviz.graph.canonical import Canonical
from zfviz.graph.companion import PIXELS, SIGNAL, build_companion
from zfviz.graph.exposure import expose
from zfviz.graph.image_input import ImageInput
from zfviz.graph.layers import Layer
from zfviz.graph.opsets import convert, relabel
from zfviz.graph.protos import opset_of
from zfviz.graph.rules import Method

UNITS, ACTIVATIONS = "units", "activations"


def explain(canonical: Canonical, image: ImageInput, layer: Layer, top: int, method: Method) -> ModelProto:
    """The model for one image, with three outputs more: `units` int64 [K, 3] (channel, y, x), or [K, 1] in a layer
    without a map; `activations` float32 [K]; `pixels` float32 [K, ...], in the layout of the image.

    Raises LayerError where the layer has fewer than `top` channels, UnsupportedError where it cannot be projected, or
    where a tensor of the model bears the name of one that is added.
    """
    if not 1 <= top <= layer.shape[0]:
        raise LayerError(f"top is {top}; expected 1 to {layer.shape[0]}, the channels of {layer.name!r}.")
    if image.batch not in (None, 1):
        raise UnsupportedError(
            f"the model takes {image.batch} images at once; expected any number, or 1. Export it so."
        )
    companion = build_companion(canonical, layer.tensor, method)
    if not companion.batched:
        raise UnsupportedError(
            f"{layer.name!r} cannot be explained in one graph: the model takes its batch for something else on the way "
            "(windows, tokens). Choose a layer below, or use project."
        )
    values = [name for name in companion.values if name not in companion.switches]
    forward = expose(canonical, [layer.tensor, *values], companion.switches)
    _check_names(forward)
    opset = max(opset_of(forward), OPSET)
    model, back = convert(forward, opset), relabel(companion.proto, opset)
    nodes, constants = _strongest(layer, top)
    made = {name for node in model.graph.node for name in node.output} | {t.name for t in model.graph.initializer}
    model.graph.node.extend([*nodes, *back.graph.node])
    model.graph.initializer.extend(t for t in (*constants, *back.graph.initializer) if t.name not in made)
    own = {output.name for output in canonical.proto.graph.output}
    outputs = [output for output in model.graph.output if output.name in own]
    del model.graph.output[:]
    model.graph.output.extend([*outputs, *_outputs(layer, top, image)])
    for value in model.graph.input:
        if value.name == image.name:
            kind = helper.np_dtype_to_tensor_dtype(image.dtype)
            value.CopyFrom(helper.make_tensor_value_info(image.name, kind, [1, *image.shape[1:]]))
    facts = {entry.key: entry.value for entry in (*model.metadata_props, *back.metadata_props)}
    helper.set_model_props(model, facts)
    return model


def _check_names(proto: ModelProto) -> None:
    taken = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    own = (UNITS, ACTIVATIONS, SIGNAL, PIXELS)
    if clashing := {name for name in taken if name.partition("/")[0] in own}:
        raise UnsupportedError(f"the model has a tensor named {min(clashing)!r}, a reserved name; rename it")


def _outputs(layer: Layer, top: int, image: ImageInput) -> Iterable[ValueInfoProto]:
    yield helper.make_tensor_value_info(UNITS, TensorProto.INT64, [top, len(layer.shape)])
    yield helper.make_tensor_value_info(ACTIVATIONS, TensorProto.FLOAT, [top])
    yield helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, [top, *image.shape[1:]])


def _strongest(layer: Layer, top: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """The nodes that find the strongest channels of a layer, each at its strongest place, and make a signal of each."""
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []

    def constant(values: object, dtype: type[np.int64 | np.float32] = np.int64) -> str:
        name = f"{SIGNAL}/constant{len(constants)}"
        constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def emit(op: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: object) -> str:
        name = name or f"{SIGNAL}/{op}{len(nodes)}"
        names = [name, *(f"{name}/{n}" for n in range(1, outputs))]
        nodes.append(helper.make_node(op, inputs, names, name))
        nodes[-1].attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        return name

    channels, *size = layer.shape
    places = int(np.prod(size))
    turned = [layer.stored[axis] for axis in layer.order[1:]]
    real = emit("Cast", layer.tensor, to=TensorProto.FLOAT)
    if layer.scale != 1 or layer.zero:
        above = emit("Sub", real, constant(layer.zero, np.float32))
        real = emit("Mul", above, constant(layer.scale, np.float32))
    maps = emit("Reshape", emit("Transpose", real, perm=layer.order), constant([channels, places]))
    strongest = emit("ArgMax", maps, axis=1, keepdims=0)
    peaks = emit("ReduceMax", maps, constant([1]), keepdims=0)
    activations = emit("TopK", peaks, constant([top]), name=ACTIVATIONS, outputs=2)
    chosen = f"{activations}/1"
    place = emit("Gather", strongest, chosen)
    columns = [chosen]
    if size:
        columns += [emit(op, place, constant(size[1])) for op in ("Div", "Mod")]
    emit("Concat", *(emit("Unsqueeze", c, constant([1])) for c in columns), name=UNITS, axis=1)
    apart = [emit("Reshape", tensor, constant([-1, 1, 1])) for tensor in (chosen, place, activations)]
    here = emit(
        "And",
        emit("Equal", apart[0], constant(np.arange(channels)[:, None])),
        emit("Equal", apart[1], constant(np.arange(places))),
    )
    signal = emit("Mul", emit("Cast", here, to=TensorProto.FLOAT), apart[2])
    if layer.scale != 1:
        signal = emit("Mul", signal, constant(layer.scale, np.float32))
    rows = emit("Reshape", signal, constant([top, *turned]))
    emit("Transpose", rows, name=SIGNAL, perm=np.argsort(layer.order).tolist())
    return nodes, constants

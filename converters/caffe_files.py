"""The files of Caffe as Python objects: prototxt, caffemodel, mean picture. For `from_caffe.py`."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from caffe_layers import Message, Weights, kind
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from zfviz.errors import ModelError, UnsupportedError

MAX_BYTES = 2**31 - 1  # protobuf has no larger messages
MAX_TEXT_BYTES = 16_000_000

# What of Caffe's schema bears on a deployed network, as "name:type", with "*" where repeated, "=" and a default, and
# "@" and the field's number where the file is binary.
WINDOW = "kernel_size:uint32*, kernel_h:uint32, kernel_w:uint32, stride:uint32*, stride_h:uint32, stride_w:uint32, "
WINDOW += "pad:uint32*, pad_h:uint32, pad_w:uint32"
SCALED = "scale:float=1, shift:float=0"
OPTIONS = {
    "batch_norm_param": "use_global_stats:bool=true, eps:float=1e-5",
    "bias_param": "axis:int32=1, num_axes:int32=1",
    "concat_param": "axis:int32=1, concat_dim:int32=1",
    "convolution_param": f"num_output:uint32, bias_term:bool=true, group:uint32=1, axis:int32=1, {WINDOW}, "
    "dilation:uint32*",
    "crop_param": "axis:int32=2, offset:uint32*",
    "eltwise_param": "operation:PROD|SUM|MAX=SUM, coeff:float*",
    "elu_param": "alpha:float=1",
    "exp_param": f"base:float=-1, {SCALED}",
    "flatten_param": "axis:int32=1, end_axis:int32=-1",
    "inner_product_param": "num_output:uint32, bias_term:bool=true, axis:int32=1, transpose:bool",
    "input_param": "shape:Shape*",
    "log_param": f"base:float=-1, {SCALED}",
    "lrn_param": "local_size:uint32=5, alpha:float=1, beta:float=0.75, k:float=1, "
    "norm_region:ACROSS_CHANNELS|WITHIN_CHANNEL",
    "permute_param": "order:uint32*",
    # `ceil_mode` is what some forks call `round_mode`
    "pooling_param": "pool:MAX|AVE|STOCHASTIC, global_pooling:bool, round_mode:CEIL|FLOOR, ceil_mode:bool=true, "
    f"{WINDOW}",
    "power_param": f"power:float=1, {SCALED}",
    "prelu_param": "channel_shared:bool",
    "relu_param": "negative_slope:float=0",
    "reshape_param": "shape:Shape, axis:int32=0, num_axes:int32=-1",
    "scale_param": "axis:int32=1, num_axes:int32=1, bias_term:bool",
    "sigmoid_param": "",
    "slice_param": "axis:int32=1, slice_dim:int32=1, slice_point:uint32*",
    "softmax_param": "axis:int32=1",
    "tanh_param": "",
}
WITHOUT_EFFECT = {"engine", "filler", "weight_filler", "bias_filler", "moving_average_fraction", "stable_prod_grad"}
WITHOUT_EFFECT |= {"force_nd_im2col"}
MESSAGES = OPTIONS | {
    "Shape": "dim:int64*@1",
    "Rule": "phase:TRAIN|TEST, min_level:int32, max_level:int32, stage:string*, not_stage:string*",
    "State": "level:int32, stage:string*",
    "Transform": "scale:float=1, mean_value:float*",
    "Layer": "name:string, type:string, bottom:string*, top:string*, include:Rule*, exclude:Rule*, "
    "transform_param:Transform, " + ", ".join(f"{name}:{name}" for name in OPTIONS),
    "Net": "name:string, input:string*, input_dim:int64*, input_shape:Shape*, state:State, layers:Layer*, layer:Layer*",
    # packed numbers look like bytes, and numpy reads bytes without making an object of each number
    "Blob": "num:int32@1, channels:int32@2, height:int32@3, width:int32@4, data:bytes*@5, shape:Shape@7, "
    "double_data:bytes*@8",
    # the weights of a layer: as of today, of 2014 ("V1") and of 2013 ("V0")
    "TrainedLayer": "name:bytes@1, blobs:Blob*@7",
    "TrainedV0Layer": "name:bytes@1, blobs:Blob*@50",
    "TrainedV1Layer": "layer:TrainedV0Layer@1, name:bytes@4, blobs:Blob*@6",
    "TrainedNet": "layers:TrainedV1Layer*@2, layer:TrainedLayer*@100",
}
FIELD = re.compile(r"(\w+):([\w|]+)(\*?)(?:=([^,@]+))?(?:@(\d+))?")
SKIPPED = r"""\#.*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""  # comments and strings of a prototxt
KNOWN = {options: {name for name, *_ in FIELD.findall(fields)} for options, fields in OPTIONS.items()}
TOKEN = rf"{SKIPPED}|[\w.+-]++|[{{}}<>\[\]:]"
TEST = 1
TRAINING = {"accuracy", "silence", "hdf5output"}  # and every loss


def compile_schema(messages: Mapping[str, str]) -> Callable[[str], Message]:
    """A function that gives an empty message of a name."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe")
    for message, fields in messages.items():
        made = file.message_type.add(name=message)
        for place, (name, form, repeated, default, number) in enumerate(FIELD.findall(fields), 1):
            field = made.field.add(name=name, number=int(number or place))
            field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if default:
                field.default_value = default
            if "|" in form:
                enum = made.enum_type.add(name=f"{name}_values")
                for value, word in enumerate(form.split("|")):
                    enum.value.add(name=word, number=value)
                field.type, field.type_name = field.TYPE_ENUM, f".caffe.{message}.{enum.name}"
            elif form in messages:
                field.type, field.type_name = field.TYPE_MESSAGE, f".caffe.{form}"
            else:
                field.type = field.Type.Value(f"TYPE_{form.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))()


new = compile_schema(MESSAGES)


def read(path: Path, limit: int, expected: str) -> bytes:
    """All of a file. Raises ModelError where it cannot be read, or has more than `limit` bytes."""
    try:
        if not path.is_file():
            raise ModelError(f"{path} is not a file; expected {expected}")
        if (size := path.stat().st_size) > limit:
            raise ModelError(f"{path} has {size:,} bytes; expected {expected}, of at most {limit:,}")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); expected {expected}") from None


def read_prototxt(path: Path) -> Message:
    """The description of a network, of any age. Raises ModelError, and UnsupportedError for an unknown option."""
    text = read(path, MAX_TEXT_BYTES, "a deploy.prototxt").decode(errors="replace")
    # in files of 2014 types are no strings: INNER_PRODUCT for "InnerProduct"
    text = re.sub(rf"({SKIPPED})|\btype\s*:\s*(\w+)", lambda found: found[1] or f'type: "{found[2]}"', text)
    try:
        net = text_format.Parse(text, new("Net"), allow_unknown_field=True)
    except (text_format.ParseError, RecursionError) as error:
        reason = str(error).rpartition(": ")[2][:200]  # before it comes the line, which may be the whole file
        line = error.GetLine() if isinstance(error, text_format.ParseError) else "?"
        raise ModelError(f"{path} is no prototxt: {reason} (line {line}); expected what describes a network") from None
    for options, name in unknown_options(text):
        raise UnsupportedError(
            f"{path}: {options} has {name}, which is not understood; remove it if it changes nothing"
        )
    return net


def unknown_options(text: str) -> Iterator[tuple[str, str]]:
    """What text_format passed over within the options of a layer: (options, name), such as (relu_param, ceiling)."""
    inside: list[tuple[str, str]] = []  # the messages and lists that are open: the bracket, and whose they are
    name = before = ""
    for token in (found[0] for found in re.finditer(TOKEN, text) if not found[0].startswith("#")):
        bracket, owner = inside[-1] if inside else ("", "")
        if token in ("{", "<"):  # of a field, or a message in the list of one
            inside.append((token, owner if bracket == "[" else name))
        elif token == "[":
            inside.append((token, name if before == ":" else ""))  # else it is the name of an extension
        elif token in ("}", ">", "]"):
            inside = inside[:-1]
        elif token.isidentifier() and before != ":" and bracket != "[":
            name = token
            if owner in OPTIONS and name not in WITHOUT_EFFECT | KNOWN[owner]:
                yield owner, name
        before = token


def deployed_layers(net: Message) -> list[Message]:
    """The layers of the test phase, without those that only measure a loss."""

    def meets(rule: Message) -> bool:
        stages = set(net.state.stage)
        return (
            (not rule.HasField("phase") or rule.phase == TEST)
            and (not rule.HasField("min_level") or net.state.level >= rule.min_level)
            and (not rule.HasField("max_level") or net.state.level <= rule.max_level)
            and stages.issuperset(rule.stage)
            and stages.isdisjoint(rule.not_stage)
        )

    layers = [
        layer
        for layer in [*net.layers, *net.layer]
        if (not layer.include or any(map(meets, layer.include))) and not any(map(meets, layer.exclude))
    ]
    return [layer for layer in layers if kind(layer) not in TRAINING and not kind(layer).endswith("loss")]


def input_shapes(net: Message, layers: Sequence[Message]) -> dict[str, list[int]]:
    """The inputs of the network in each of the three ways that Caffe has had to state them."""
    fours = [list(net.input_dim[first : first + 4]) for first in range(0, len(net.input_dim) - 3, 4)]
    shapes = [list(shape.dim) for shape in net.input_shape] or fours
    stated = [(net.input, shapes)]
    for layer in layers:
        if kind(layer) == "input":
            shapes = [list(shape.dim) for shape in layer.input_param.shape]
            stated.append((layer.top, shapes * len(layer.top) if len(shapes) == 1 else shapes))
    for blobs, shapes in stated:
        if len(blobs) != len(shapes):
            raise ModelError(f"the inputs {[*blobs]} have {len(shapes)} shapes; expected one each: N, C, H and W")
    return {blob: shape for blobs, shapes in stated for blob, shape in zip(blobs, shapes, strict=True)}


def read_weights(path: Path) -> Weights:
    """What the layers have learned. Raises ModelError for anything but a whole caffemodel."""
    expected = "a whole caffemodel (HDF5 is not read)"
    net = new("TrainedNet")
    try:
        net.ParseFromString(read(path, MAX_BYTES, expected))
        layers = [*net.layer, *(layer.layer if layer.HasField("layer") else layer for layer in net.layers)]
        weights = {layer.name.decode(errors="replace"): [read_blob(blob) for blob in layer.blobs] for layer in layers}
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{path} is damaged or of another kind ({error}); expected {expected}") from None
    if not any(weights.values()):
        raise ModelError(f"{path} holds no weights; expected {expected}")
    return weights


def read_mean(path: Path) -> tuple[float, ...]:
    """One number a channel: the average of a mean picture, as `compute_image_mean` of Caffe writes it."""
    expected = "a mean picture (binaryproto) of C, H and W"
    blob = new("Blob")
    try:
        blob.ParseFromString(read(path, MAX_BYTES, expected))
        picture = read_blob(blob)
    except (DecodeError, ValueError) as error:
        raise ModelError(f"{path} is damaged or of another kind ({error}); expected {expected}") from None
    if picture.ndim < 3 or not picture.size or math.prod(picture.shape[:-3]) != 1:
        raise ModelError(f"{path} has shape {picture.shape}; expected {expected}")
    return tuple(picture.reshape(picture.shape[-3:]).mean((1, 2), np.float64).tolist())


def read_blob(blob: Message) -> np.ndarray:
    """The numbers in their shape, float32. Raises ValueError where the two do not fit."""
    shape = list(blob.shape.dim) if blob.HasField("shape") else [blob.num, blob.channels, blob.height, blob.width]
    data = np.frombuffer(b"".join(blob.data), "<f4")
    if blob.double_data:
        data = np.frombuffer(b"".join(blob.double_data), "<f8").astype(np.float32)
    if min(shape, default=0) < 0 or math.prod(shape) != data.size:
        raise ValueError(f"a blob of shape {shape} holds {data.size} numbers")
    return data.reshape(shape)

"""The layers of Caffe as nodes of ONNX, one function for each kind. For `from_caffe.py`."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, TypeProto, ValueInfoProto, helper, numpy_helper
from onnx.shape_inference import InferenceError, infer_node_outputs

from zfviz.errors import ModelError, UnsupportedError, nearest

OPSET = 13
MAX_NUMBERS = 2**26  # in a tensor for one picture: 256 MiB
NORM = ("scale", "bias", "mean", "variance")  # the inputs of BatchNormalization
WINDOW = (("kernel_size", 1), ("stride", 1), ("pad", 0))  # options and their least values

Message = Any  # a protobuf message, whose class is made at run time
Weights = Mapping[str, Sequence[np.ndarray]]
"""The blobs of each layer, float32, by the layer's name."""
Shape = Sequence[int]
Convert = Callable[..., Any]
LAYERS: dict[str, Convert] = {}


def converts(*types: str) -> Callable[[Convert], Convert]:
    """Register a function (network, layer, tensors that go in) -> the one that comes out, or a list of them."""

    def register(convert: Convert) -> Convert:
        LAYERS.update(dict.fromkeys((name.lower() for name in types), convert))
        return convert

    return register


def kind(layer: Message) -> str:
    """A layer's type, the same for files of any age: innerproduct."""
    return layer.type.replace("_", "").lower()


def wrong(layer: Message, text: str, error: type[ModelError] = ModelError) -> ModelError:
    """The error that says what is wrong with a layer."""
    return error(f"layer {layer.name!r} of type {layer.type} {text}")


unsupported = partial(wrong, error=UnsupportedError)


class Network:
    """The ONNX graph under construction; `tensors` says which tensor holds a Caffe blob by now."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.batch = 1
        self.inputs: list[ValueInfoProto] = []
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self.types: dict[str, TypeProto] = {}
        self.tensors: dict[str, str] = {}
        self.used: set[str] = set()

    def shape(self, tensor: str) -> list[int]:
        """Sizes of a tensor, with the batch of the prototxt."""
        sizes = self.types[tensor].tensor_type.shape.dim
        return [size.dim_value if size.HasField("dim_value") else self.batch for size in sizes]

    def axis(self, layer: Message, axis: int, x: str, first: int = 1) -> int:
        """The axis counted from the front. Raises UnsupportedError for the batch's, unless `first` is 0."""
        rank = len(self.shape(x))
        if not first <= (axis + rank if axis < 0 else axis) < rank:
            raise unsupported(layer, f"has axis {axis}; expected {first} to {rank - 1}, where 0 is the batch")
        return axis % rank

    def unique(self, name: str) -> str:
        """The name, or with a number behind it where a tensor is called so already."""
        names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        return next(free for free in names if free not in self.types)

    def input(self, blob: str, shape: Shape) -> None:
        """Add an input."""
        if not blob or not shape or min(shape) < 1 or math.prod(shape[1:]) > MAX_NUMBERS:
            raise ModelError(
                f"input {blob!r} has shape {shape}; expected sizes from 1, {MAX_NUMBERS:,} numbers at most"
            )
        self.batch = shape[0]
        self.inputs.append(helper.make_tensor_value_info(blob, TensorProto.FLOAT, ["N", *shape[1:]]))
        self.types[blob] = self.inputs[-1].type
        self.tensors[blob] = blob

    def constant(self, name: str, value: np.ndarray | list[int] | float) -> str:
        """Add numbers: int64 for a list, else float32."""
        array = np.asarray(value, np.int64 if isinstance(value, list) else np.float32)
        name = self.unique(name)
        self.constants[name] = numpy_helper.from_array(array, name)
        self.types[name] = helper.make_tensor_type_proto(self.constants[name].data_type, array.shape)
        return name

    def blobs(self, layer: Message, *shapes: Shape) -> list[np.ndarray]:
        """What a layer has learned. Raises ModelError where that is not of the shapes."""
        found = self.weights.get(layer.name, [])
        if [bare(blob.shape) for blob in found] != [bare(shape) for shape in shapes]:
            shown = f"{[[*blob.shape] for blob in found]} in the caffemodel, expected {[[*shape] for shape in shapes]}"
            raise wrong(
                layer, f"has blobs {shown}; take both files from one network. {nearest(layer.name, self.weights)}"
            )
        return [blob.reshape(shape) for blob, shape in zip(found, shapes, strict=True)]

    def add(self, name: str, op: str, *inputs: str, tops: Sequence[str] = (), **attributes: Any) -> Any:
        """Add a node; gives its output, which has its name, or its outputs where `tops` names those."""
        outputs = [self.unique(top) for top in tops or [name]]
        node = helper.make_node(op, inputs, outputs, name if tops else outputs[0], **attributes)
        sizes = {x: self.constants[x] for x in inputs if self.types[x].tensor_type.elem_type == TensorProto.INT64}
        try:
            schema = onnx.defs.get_schema(op, OPSET, "")
            self.types |= infer_node_outputs(schema, node, {x: self.types[x] for x in inputs}, sizes)
        except InferenceError as error:
            raise ModelError(f"layer {name!r} does not fit its input: {error}") from None
        for shape in map(self.shape, outputs):
            if min(shape, default=1) < 1 or math.prod(shape[1:]) > MAX_NUMBERS:
                raise ModelError(
                    f"layer {name!r} gives {shape}; expected sizes from 1, {MAX_NUMBERS:,} numbers at most"
                )
        self.nodes.append(node)
        return outputs if tops else outputs[0]

    def chain(self, name: str, x: str, *steps: tuple[Any, ...]) -> str:
        """Add nodes one after the other, each (op, what else goes in: a tensor or numbers); the last has the name."""
        for place, (op, *others) in enumerate(steps, 1):
            part = name if place == len(steps) else f"{name}/{op.lower()}"
            tensors = [other if isinstance(other, str) else self.constant(f"{part}/value", other) for other in others]
            x = self.add(part, op, x, *tensors)
        return x

    def reshape(self, layer: Message, name: str, x: str, shape: list[int]) -> str:
        """Add a Reshape. Raises UnsupportedError where pictures of a batch would mix."""
        before = self.shape(x)
        if shape[:1] != before[:1] or math.prod(shape) != math.prod(before):
            raise unsupported(layer, f"makes {shape} of {before}; expected as many numbers for each picture")
        return self.add(name, "Reshape", x, self.constant(f"{name}/shape", [0, *shape[1:]]))


def bare(shape: Shape) -> list[int]:
    """A shape without the ones in front: files of 2014 store four sizes."""
    return list(itertools.dropwhile(lambda size: size == 1, shape))


def pair(layer: Message, options: Message, name: str, least: int = 1) -> list[int]:
    """[y, x] of kernel_size, stride, pad or dilation: one number, one each, or NAME_h and NAME_w."""
    stem = name.removesuffix("_size")
    found = list(getattr(options, name)) or [0 if name == "kernel_size" else least]
    if name != "dilation" and (options.HasField(f"{stem}_h") or options.HasField(f"{stem}_w")):
        found = [getattr(options, f"{stem}_h"), getattr(options, f"{stem}_w")]
    if len(found) > 2 or min(found) < least:
        raise wrong(layer, f"has {name} {found}; expected one number or two, from {least}")
    return [found[0], found[-1]]


@converts("Convolution", "Deconvolution")
def convolve(net: Network, layer: Message, x: str) -> str:
    """Caffe rounds sizes down here, as ONNX does, and stores kernels in the same order."""
    options, shape = layer.convolution_param, net.shape(x)
    if options.axis != 1 or len(shape) != 4:
        raise unsupported(layer, f"has axis {options.axis} and input {shape}; expected axis 1 of N, C, H, W")
    maps, groups = [options.num_output, shape[1]], options.group
    if not groups or maps[0] % groups or maps[1] % groups:
        raise wrong(layer, f"has {groups} groups; expected a divisor of {maps[1]} channels and of {maps[0]} outputs")
    op = {"convolution": "Conv", "deconvolution": "ConvTranspose"}[kind(layer)]
    first, second = maps if op == "Conv" else maps[::-1]
    kernel = pair(layer, options, "kernel_size")
    shapes = [[first, second // groups, *kernel], *([[options.num_output]] if options.bias_term else [])]
    names = [f"{layer.name}/weight", f"{layer.name}/bias"]
    blobs = [net.constant(name, blob) for name, blob in zip(names, net.blobs(layer, *shapes), strict=False)]
    windows = {"kernel_shape": kernel, "strides": pair(layer, options, "stride")}
    windows |= {"pads": pair(layer, options, "pad", 0) * 2, "dilations": pair(layer, options, "dilation")}
    return net.add(layer.name, op, x, *blobs, group=groups, **windows)


@converts("Pooling")
def pool(net: Network, layer: Message, x: str) -> str:
    """Caffe rounds sizes up; what the last window needs beyond the padding is padded, and counts in no average."""
    options, sizes = layer.pooling_param, net.shape(x)[2:]
    op = {0: "MaxPool", 1: "AveragePool"}.get(options.pool)
    if op is None or len(sizes) != 2:
        raise unsupported(layer, f"pools {net.shape(x)}, or is STOCHASTIC; expected MAX or AVE of N, C, H, W")
    if options.global_pooling:
        return net.add(layer.name, f"Global{op}", x)
    kernel, strides, pads = (pair(layer, options, name, least) for name, least in WINDOW)
    rounded = math.floor if options.round_mode or not options.ceil_mode else math.ceil
    beyond = [0, 0]
    for place, (size, window, stride, pad) in enumerate(zip(sizes, kernel, strides, pads, strict=True)):
        count = rounded((size + 2 * pad - window) / stride) + 1
        if any(pads) and (count - 1) * stride >= size + pad:
            count -= 1  # the last window starts within the map
        if count < 1 or pad >= window or (count - 1) * stride >= size + pad:
            raise wrong(layer, f"has a window of {window}, stride {stride}, pad {pad} outside of {size} pixels")
        beyond[place] = max(0, (count - 1) * stride + window - size - 2 * pad)
    if op == "AveragePool" and any(pads) and any(beyond):
        # no AveragePool counts the padding but not what is beyond: make the padding a part of the map
        x = net.add(f"{layer.name}/pad", "Pad", x, net.constant(f"{layer.name}/pads", [0, 0, *pads] * 2))
        pads = [0, 0]
    ends = [pad + more for pad, more in zip(pads, beyond, strict=True)]
    counted = {"count_include_pad": int(any(pads))} if op == "AveragePool" else {}
    return net.add(layer.name, op, x, kernel_shape=kernel, strides=strides, pads=[*pads, *ends], **counted)


@converts("InnerProduct")
def multiply(net: Network, layer: Message, x: str) -> str:
    """The axes from one on are one; where that is the first after the batch it is a Gemm."""
    options, shape = layer.inner_product_param, net.shape(x)
    axis = net.axis(layer, options.axis, x)
    sizes = [options.num_output, math.prod(shape[axis:])]
    shapes = [sizes[::-1] if options.transpose else sizes, *([sizes[:1]] if options.bias_term else [])]
    weight, *bias = net.blobs(layer, *shapes)
    bias = [net.constant(f"{layer.name}/bias", blob) for blob in bias]
    if axis < len(shape) - 1:
        x = net.reshape(layer, f"{layer.name}/flatten", x, [*shape[:axis], sizes[1]])
    if axis == 1:
        matrix = net.constant(f"{layer.name}/weight", weight)
        return net.add(layer.name, "Gemm", x, matrix, *bias, transB=int(not options.transpose))
    matrix = net.constant(f"{layer.name}/weight", weight if options.transpose else weight.T)
    return net.chain(layer.name, x, ("MatMul", matrix), *(("Add", blob) for blob in bias))


@converts("BatchNorm")
def normalise(net: Network, layer: Message, x: str) -> str:
    """Caffe stores sums of means and of variances, and third what to divide both by."""
    options, channels = layer.batch_norm_param, net.shape(x)[1]
    if not options.use_global_stats:
        raise unsupported(layer, "takes its mean from the batch; expected use_global_stats: true")
    mean, variance, count = net.blobs(layer, [channels], [channels], [1])
    share = 1 / count[0] if count[0] else 0
    values = (np.ones(channels), np.zeros(channels), mean * share, variance * share)
    inputs = [net.constant(f"{layer.name}/{key}", value) for key, value in zip(NORM, values, strict=True)]
    return net.add(layer.name, "BatchNormalization", x, *inputs, epsilon=options.eps)


@converts("Scale", "Bias")
def scale(net: Network, layer: Message, x: str, other: str = "") -> str:
    """x times, or plus, what is learned or a second input, which lies along the axes of x from one on."""
    scales, shape = kind(layer) == "scale", net.shape(x)
    options = layer.scale_param if scales else layer.bias_param
    axis = net.axis(layer, options.axis, x, first=0 if other else 1)
    count = len(net.shape(other)) if other else options.num_axes
    end = len(shape) if count < 0 else axis + count
    behind = range(end - axis, len(shape) - axis)
    ops = ["Mul" if scales else "Add", *(["Add"] if scales and options.bias_term else [])]
    blobs = net.blobs(layer, *[shape[axis:end]] * (len(ops) - bool(other)))
    operands: list[Any] = [np.expand_dims(blob, tuple(behind)) for blob in blobs]
    if other and behind:
        other = net.add(f"{layer.name}/unsqueeze", "Unsqueeze", other, net.constant(f"{layer.name}/axes", [*behind]))
    return net.chain(layer.name, x, *zip(ops, [other, *operands] if other else operands, strict=True))


@converts("ReLU", "ELU", "Sigmoid", "TanH", "AbsVal", "BNLL")
def activate(net: Network, layer: Message, x: str) -> str:
    """A function of each number alone."""
    if kind(layer) == "elu":
        return net.add(layer.name, "Elu", x, alpha=layer.elu_param.alpha)
    if slope := layer.relu_param.negative_slope:
        return net.add(layer.name, "LeakyRelu", x, alpha=slope)
    ops = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "absval": "Abs", "bnll": "Softplus"}
    return net.add(layer.name, ops[kind(layer)], x)


@converts("PReLU")
def rectify_by_channel(net: Network, layer: Message, x: str) -> str:
    """One slope a channel, or one for all."""
    channels, *maps = net.shape(x)[1:]
    (slopes,) = net.blobs(layer, [1 if layer.prelu_param.channel_shared else channels])
    slopes = slopes.reshape([-1, *[1] * len(maps)])
    return net.add(layer.name, "PRelu", x, net.constant(f"{layer.name}/slope", slopes))


@converts("Power", "Exp", "Log")
def curve(net: Network, layer: Message, x: str) -> str:
    """shift + scale x to a power; a base to the power of it; its logarithm to a base, where -1 stands for e."""
    options = getattr(layer, f"{kind(layer)}_param")
    base = getattr(options, "base", -1)
    if base != -1 and (base <= 0 or base == 1):
        raise wrong(layer, f"has base {base}; expected a positive one besides 1, or -1 for e")
    factor = 1.0 if base == -1 else math.log(base)
    inner, outer = (factor, 1.0) if kind(layer) == "exp" else (1.0, factor)
    last = {"power": ("Pow", getattr(options, "power", 1)), "exp": ("Exp",), "log": ("Log",)}[kind(layer)]
    steps = [("Mul", options.scale * inner), ("Add", options.shift * inner), last, ("Mul", 1 / outer)]
    return net.chain(layer.name, x, *(step for step in steps if step not in {("Mul", 1), ("Add", 0), ("Pow", 1)}))


@converts("LRN")
def normalise_contrast(net: Network, layer: Message, x: str) -> str:
    """ONNX divides alpha by the size, as Caffe does; within channels, k does not count."""
    lrn, name = layer.lrn_param, layer.name
    size, side = lrn.local_size, lrn.local_size // 2
    if not size % 2:
        raise wrong(layer, f"has local_size {size}; expected an odd number")
    if not lrn.norm_region:  # across channels
        return net.add(name, "LRN", x, size=size, alpha=lrn.alpha, beta=lrn.beta, bias=lrn.k)
    window = {"kernel_shape": [size] * 2, "pads": [side] * 4, "count_include_pad": 1}
    mean = net.add(f"{name}/mean", "AveragePool", net.add(f"{name}/square", "Mul", x, x), **window)
    return net.add(name, "Mul", x, net.chain(f"{name}/gain", mean, ("Mul", lrn.alpha), ("Add", 1), ("Pow", -lrn.beta)))


@converts("Softmax")
def softmax(net: Network, layer: Message, x: str) -> str:
    """Along one axis."""
    return net.add(layer.name, "Softmax", x, axis=net.axis(layer, layer.softmax_param.axis, x))


@converts("Eltwise")
def merge(net: Network, layer: Message, *xs: str) -> str:
    """Their sum, with coefficients or without, their product or their maximum."""
    options, shapes = layer.eltwise_param, [net.shape(x) for x in xs]
    op = ("Mul", "Add", "Max")[options.operation]
    factors = [*options.coeff] or [1] * len(xs)
    if shapes.count(shapes[0]) != len(xs) or len(factors) != len(xs) or (options.coeff and op != "Add"):
        raise wrong(
            layer, f"merges {shapes}, coefficients {[*options.coeff]}; expected one shape, and in a SUM one each"
        )
    pairs = zip(xs, factors, strict=True)
    first, *others = (x if factor == 1 else net.chain(f"{layer.name}/part", x, ("Mul", factor)) for x, factor in pairs)
    return net.chain(layer.name, first, *((op, x) for x in others))


@converts("Concat")
def concatenate(net: Network, layer: Message, x: str, *others: str) -> str:
    """One behind the other along an axis."""
    options = layer.concat_param
    axis = options.concat_dim if options.HasField("concat_dim") else options.axis
    return net.add(layer.name, "Concat", x, *others, axis=net.axis(layer, axis, x))


@converts("Slice")
def part(net: Network, layer: Message, x: str) -> list[str]:
    """Parts that end at the slice points, or of one size."""
    options, count = layer.slice_param, len(layer.top)
    axis = net.axis(layer, options.slice_dim if options.HasField("slice_dim") else options.axis, x)
    size = net.shape(x)[axis]
    points = [0, *options.slice_point, size] if options.slice_point else range(0, size + 1, max(1, size // count))
    sizes = [end - start for start, end in itertools.pairwise(points)]
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != size:
        raise wrong(layer, f"parts {size} into {sizes} for {count} tops; expected sizes above 0, one a top")
    return net.add(layer.name, "Split", x, net.constant(f"{layer.name}/sizes", sizes), tops=layer.top, axis=axis)


@converts("Split", "Dropout")
def pass_on(net: Network, layer: Message, x: str) -> list[str]:
    """The same tensor, under each name: once trained, a Dropout does nothing."""
    return [x] * len(layer.top)


@converts("Flatten")
def flatten(net: Network, layer: Message, x: str) -> str:
    """The axes from one to another are one."""
    options, shape = layer.flatten_param, net.shape(x)
    first, last = net.axis(layer, options.axis, x), net.axis(layer, options.end_axis, x)
    return net.reshape(layer, layer.name, x, [*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]])


@converts("Reshape")
def reshape(net: Network, layer: Message, x: str) -> str:
    """Other sizes in place of some axes: 0 stands for the one before, -1 for what is left."""
    options, shape = layer.reshape_param, net.shape(x)
    first = options.axis if options.axis >= 0 else len(shape) + 1 + options.axis
    end = len(shape) if options.num_axes < 0 else first + options.num_axes
    if not 0 <= first <= end <= len(shape):
        raise wrong(layer, f"has axis {options.axis}, num_axes {options.num_axes}; expected some of {shape}")
    pairs = itertools.zip_longest(options.shape.dim, shape[first : first + len(options.shape.dim)], fillvalue=0)
    sizes = [*shape[:first], *(size or before for size, before in pairs), *shape[end:]]
    if sizes.count(-1) == 1 and 0 not in sizes:
        sizes[sizes.index(-1)] = math.prod(shape) // -math.prod(sizes)
    return net.reshape(layer, layer.name, x, sizes)


@converts("Permute")
def permute(net: Network, layer: Message, x: str) -> str:
    """The axes in another order; those that are not named follow."""
    order, rank = [*layer.permute_param.order], len(net.shape(x))
    order += [axis for axis in range(rank) if axis not in order]
    if sorted(order) != [*range(rank)] or order[0] != 0:
        raise unsupported(layer, f"has the order {order}; expected each axis of {rank} once, the batch first")
    return net.add(layer.name, "Transpose", x, perm=order)


@converts("Crop")
def crop(net: Network, layer: Message, x: str, like: str) -> str:
    """What lies at an offset and is as large as the second input, from an axis on."""
    options, axis = layer.crop_param, net.axis(layer, layer.crop_param.axis, x)
    sizes, wanted = net.shape(x)[axis:], net.shape(like)[axis:]
    starts = [*options.offset] * (len(sizes) if len(options.offset) == 1 else 1) or [0] * len(sizes)
    ends = [start + size for start, size in zip(starts, wanted, strict=False)]
    if not len(sizes) == len(wanted) == len(starts) or any(map(int.__gt__, ends, sizes)):
        raise wrong(layer, f"crops {sizes} to {wanted} at {starts}; expected a part of it")
    bounds = {"starts": starts, "ends": ends, "axes": [*range(axis, axis + len(sizes))]}
    constants = [net.constant(f"{layer.name}/{key}", value) for key, value in bounds.items()]
    return net.add(layer.name, "Slice", x, *constants)

"""Small float nets, the same with their weights in every place that ONNX knows, and nets of old opsets.

A derived specimen's name begins with that of its float parent, which `float_parent` builds.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
from corpus import LIGHT, light_model
from exporters.specimen import Specimen
from onnx import ModelProto, TensorProto, helper, numpy_helper

_FLOOR = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}

Operand = str | np.ndarray | Sequence[int] | float


class Net:
    """Collects nodes; operands that are no names become initializers, numbers of theirs float32 or int64."""

    def __init__(self, opset: int, seed: int = 0, prefix: str = "") -> None:
        self.opset = opset
        self.prefix = prefix
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def const(self, value: Operand, name: str = "") -> str:
        array = np.asarray(np.float32(value) if isinstance(value, float) else value)
        name = name or f"{self.prefix}weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def ops(self, kind: str, *operands: Operand, outputs: int = 1, **attributes: object) -> list[str]:
        names = [operand if isinstance(operand, str) else self.const(operand) for operand in operands]
        scope = f"{self.prefix}{kind}_{len(self.nodes)}"
        results = [scope, *(f"{scope}:{place}" for place in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, names, results, name=scope, **attributes))
        return results

    def op(self, kind: str, *operands: Operand, **attributes: object) -> str:
        return self.ops(kind, *operands, **attributes)[0]

    def noise(self, *shape: int, mean: float = 0.0, spread: float = 0.1) -> np.ndarray:
        return self.rng.normal(mean, spread, shape).astype(np.float32)

    def kernel(self, *shape: int) -> np.ndarray:
        """Noise under which a convolution or a product keeps the variance of what a Relu left."""
        return self.noise(*shape, spread=math.sqrt(2 / math.prod(shape[1:])))

    def conv(self, x: str, channels: int, filters: int, size: int = 3, stride: int = 1, **attributes: object) -> str:
        weight = self.kernel(filters, channels // attributes.get("group", 1), size, size)
        attributes = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [size // 2] * 4} | attributes
        return self.op("Conv", x, weight, self.noise(filters), **attributes)

    def norm(self, x: str, channels: int, scale: float = 1.0) -> str:
        means = self.noise(channels, mean=scale), self.noise(channels), self.noise(channels)
        return self.op("BatchNormalization", x, *means, 1 + abs(self.noise(channels)), epsilon=1e-3)

    def model(self, results: Iterable[str], shape: Sequence[int | str], kind: int = TensorProto.FLOAT) -> ModelProto:
        image = helper.make_tensor_value_info("image", kind, shape)
        outputs = [helper.make_tensor_value_info(result, kind, None) for result in results]
        graph = helper.make_graph(self.nodes, "net", [image], outputs, self.weights)
        ir = helper.find_min_ir_version_for([helper.make_opsetid("", self.opset)], ignore_unknown=True)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=max(ir, 4))
        return onnx.shape_inference.infer_shapes(model)


def resnet() -> ModelProto:
    """Two stages of residual blocks with their batch norms still there, as opset 17 writes them."""
    net = Net(17, seed=1)

    def block(x: str, channels: int, filters: int, stride: int) -> str:
        inner = net.op("Relu", net.norm(net.conv(x, channels, filters, stride=stride), filters))
        inner = net.norm(net.conv(inner, filters, filters), filters, scale=0.5)
        if stride > 1:
            x = net.norm(net.conv(x, channels, filters, 1, stride), filters)
        return net.op("Relu", net.op("Add", inner, x))

    x = net.op("Relu", net.norm(net.conv("image", 3, 16, 7, 2), 16))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for channels, filters, stride in ((16, 16, 1), (16, 32, 2), (32, 32, 1)):
        x = block(x, channels, filters, stride)
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model([net.op("Gemm", x, net.kernel(10, 32), net.noise(10), transB=1)], ["N", 3, 64, 64])


def mobilenet() -> ModelProto:
    """MobileNetV3's blocks: depthwise convolutions, HardSwish, squeeze and excite; a block of V2 with its Clip."""
    net = Net(17, seed=2)

    def excite(x: str, channels: int) -> str:
        gate = net.conv(net.op("GlobalAveragePool", x), channels, channels // 4, 1)
        gate = net.conv(net.op("Relu", gate), channels // 4, channels, 1)
        return net.op("Mul", x, net.op("HardSigmoid", gate, alpha=1 / 6))

    def block(x: str, channels: int, wide: int, stride: int, act: Callable[[str], str], squeeze: bool = True) -> str:
        inner = act(net.norm(net.conv(x, channels, wide, 1), wide))
        inner = act(net.norm(net.conv(inner, wide, wide, 5, stride, group=wide), wide))
        inner = excite(inner, wide) if squeeze else inner
        inner = net.norm(net.conv(inner, wide, channels, 1), channels)
        return inner if stride > 1 else net.op("Add", inner, x)

    def hard_swish(x: str) -> str:
        return net.op("HardSwish", x)

    def relu6(x: str) -> str:
        return net.op("Clip", x, 0.0, 6.0)

    x = hard_swish(net.norm(net.conv("image", 3, 16, stride=2), 16))
    x = block(x, 16, 32, 1, lambda x: net.op("Relu", x))
    x = block(x, 16, 48, 2, relu6, squeeze=False)
    x = block(x, 16, 48, 1, hard_swish)
    x = hard_swish(net.norm(net.conv(x, 16, 64, 1), 64))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    x = hard_swish(net.op("Gemm", x, net.kernel(32, 64), net.noise(32), transB=1))
    return net.model([net.op("Gemm", x, net.kernel(10, 32), net.noise(10), transB=1)], ["N", 3, 64, 64])


def vit(opset: int = 17) -> ModelProto:
    """A convolutional stem and two transformer blocks; what the opset has no operator for is spelled out."""
    net = Net(opset, seed=3)
    tokens, width, heads = 64, 32, 4

    def gelu(x: str) -> str:
        if opset >= 20:
            return net.op("Gelu", x, approximate="tanh")
        bell = net.op("Add", net.op("Erf", net.op("Div", x, math.sqrt(2))), 1.0)
        return net.op("Mul", net.op("Mul", x, bell), 0.5)

    def silu(x: str) -> str:
        return net.op("Mul", x, net.op("Sigmoid", x))

    def dense(x: str, channels: int, filters: int) -> str:
        return net.op("Add", net.noise(filters), net.op("MatMul", x, net.kernel(filters, channels).T.copy()))

    def norm(x: str) -> str:
        scale, shift = net.noise(width, mean=1.0), net.noise(width)
        if opset >= 17:
            return net.op("LayerNormalization", x, scale, shift, epsilon=1e-6)
        centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
        variance = net.op("ReduceMean", net.op("Pow", centred, 2.0), axes=[-1])
        unit = net.op("Div", centred, net.op("Sqrt", net.op("Add", variance, 1e-6)))
        return net.op("Add", net.op("Mul", unit, scale), shift)

    def attention(x: str) -> str:
        split = [net.op("Reshape", dense(x, width, width), [0, 0, heads, width // heads]) for _ in range(3)]
        query, value = (net.op("Transpose", split[place], perm=[0, 2, 1, 3]) for place in (0, 2))
        key = net.op("Transpose", split[1], perm=[0, 2, 3, 1])
        if opset >= 20:
            key = net.op("Transpose", net.op("Transpose", split[1], perm=[0, 2, 1, 3]), perm=[0, 1, 3, 2])
        scores = net.op("Div", net.op("MatMul", query, key), math.sqrt(width / heads))
        scores = net.op("Softmax", scores, axis=-1)
        joined = net.op("Transpose", net.op("MatMul", scores, value), perm=[0, 2, 1, 3])
        return dense(net.op("Reshape", joined, [0, 0, width]), width, width)

    x = net.op("Relu", net.conv("image", 3, 16, stride=2))
    x = net.conv(x, 16, width, 4, 4, pads=[0] * 4)
    x = net.op("Transpose", net.op("Reshape", x, [0, width, tokens]), perm=[0, 2, 1])
    x = net.op("Add", x, net.noise(1, tokens, width))
    for act in (gelu, silu):
        x = net.op("Add", x, attention(norm(x)))
        x = net.op("Add", x, dense(act(dense(norm(x), width, 2 * width)), 2 * width, width))
    x = net.op(
        "ReduceMean", norm(x), *([[1]] if opset >= 18 else []), **({} if opset >= 18 else {"axes": [1]}), keepdims=0
    )
    return net.model([net.op("Gemm", x, net.kernel(10, width), net.noise(10), transB=1)], ["N", 3, 64, 64])


def unet() -> ModelProto:
    """An encoder and a decoder, between them a non-local block; activations right after their layer; two heads."""
    net = Net(17, seed=4)

    def act(kind: str, x: str, **attributes: float) -> str:
        return net.op(kind, x, **attributes)

    def non_local(x: str, channels: int) -> str:
        query, key, value = (
            net.op("Reshape", net.conv(x, channels, filters, 1), [0, filters, -1]) for filters in (8, 8, channels)
        )
        weights = net.op("Softmax", net.op("MatMul", net.op("Transpose", query, perm=[0, 2, 1]), key), axis=-1)
        seen = net.op("MatMul", value, net.op("Transpose", weights, perm=[0, 2, 1]))
        return net.op("Add", x, net.op("Reshape", seen, net.op("Shape", x)))

    first = act("LeakyRelu", net.conv("image", 3, 16), alpha=0.1)
    x = net.op("AveragePool", first, kernel_shape=[2, 2], strides=[2, 2])
    x = act("Tanh", net.conv(x, 16, 32))
    x = act("Relu", net.op("Add", net.conv(x, 32, 32), net.conv(x, 32, 32, 1)))
    second = net.op("Clip", net.conv(x, 32, 32), 0.0, 6.0)
    x = net.op("MaxPool", second, kernel_shape=[3, 3], strides=[2, 2], pads=[0] * 4, ceil_mode=1)
    x = act("Elu", net.conv(x, 32, 32), alpha=0.5)
    x = act("HardSigmoid", net.conv(x, 32, 32), alpha=0.2, beta=0.4)
    x = act("HardSwish", net.conv(x, 32, 48))
    inner = net.op("PRelu", x, net.noise(48, 1, 1, mean=0.2))
    inner = net.conv(non_local(inner, 48), 48, 32)
    x = net.op("Resize", inner, "", np.float32([1, 1, 2, 2]), mode="nearest", **_FLOOR)
    x = net.op("Concat", x, second, axis=1)
    x = act("Sigmoid", net.conv(x, 64, 32))
    x = net.op("ConvTranspose", x, net.kernel(32, 16, 4, 4), net.noise(16), strides=[2, 2], pads=[1] * 4)
    x = net.op("Pad", net.op("Add", act("LeakyRelu", x, alpha=0.2), first), [0, 0, 1, 1, 0, 0, 1, 1], 0.0)
    mask = net.conv(x, 16, 1)
    x = net.op("Flatten", net.op("GlobalMaxPool", inner))
    for activation, options in {"LeakyRelu": {"alpha": 0.3}, "Elu": {"alpha": 0.7}, "Softplus": {}, "Relu": {}}.items():
        x = act(activation, net.op("Gemm", x, net.kernel(32, 32), net.noise(32), transB=1, alpha=0.9), **options)
    scores = net.op("Gemm", x, net.kernel(10, 32), net.noise(10), transB=1)
    return net.model([act("Sigmoid", mask), scores], [1, 3, 64, 64])


def _light(name: str) -> ModelProto:
    return onnx.version_converter.convert_version(light_model(name), 13)


PARENTS: Mapping[str, Callable[[], ModelProto]] = {
    "resnet": resnet,
    "mobilenet": mobilenet,
    "vit": vit,
    "vit13": partial(vit, 13),
    "vit20": partial(vit, 20),
    "unet": unet,
} | {name: partial(_light, name) for name in LIGHT}


@cache
def _built(parent: str) -> bytes:
    return PARENTS[parent]().SerializeToString()


def float_parent(name: str) -> ModelProto:
    """The float model that a specimen of this name is derived from."""
    return ModelProto.FromString(_built(name.split(maxsplit=1)[0]))


def save(model: ModelProto, folder: Path, name: str, **options: object) -> Path:
    path = folder / f"{name}.onnx"
    onnx.save(model, path, **options)
    return path


Derive = Callable[[ModelProto], ModelProto]


def derived(exporter: str, parent: str, how: str, derive: Derive) -> Specimen:
    """A specimen whose model is made from its parent alone."""
    name = f"{parent} {how}"
    return Specimen(exporter, name, lambda folder: save(derive(float_parent(name)), folder, name))


# weights in other places, and computed ones


def _as_constants(model: ModelProto) -> ModelProto:
    nodes = [helper.make_node("Constant", [], [t.name], f"Constant_{t.name}", value=t) for t in model.graph.initializer]
    return _with(model, [*nodes, *model.graph.node], [])


def _with(model: ModelProto, nodes: Iterable[onnx.NodeProto], weights: Iterable[TensorProto]) -> ModelProto:
    nodes, weights = list(nodes), list(weights)
    for field, content in ((model.graph.node, nodes), (model.graph.initializer, weights)):
        del field[:]
        field.extend(content)
    return model


def _as_inputs(model: ModelProto) -> ModelProto:
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return model


def _as_numbers(model: ModelProto) -> ModelProto:
    """In the typed fields that helper.make_tensor fills, not in raw bytes."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).ravel().tolist()
        tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, tensor.dims, values))
    return model


def _as_sparse(model: ModelProto) -> ModelProto:
    dense = []
    for tensor in model.graph.initializer:
        if len(tensor.dims) < 4:
            dense.append(tensor)
            continue
        array = numpy_helper.to_array(tensor).ravel()
        places = np.flatnonzero(array)
        values, indices = numpy_helper.from_array(array[places], tensor.name), numpy_helper.from_array(places)
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, tensor.dims))
    return _with(model, model.graph.node, dense)


Compute = Callable[[Net, np.ndarray], str]


def _computed(model: ModelProto, compute: Compute, ranks: tuple[int, ...] = (2, 4)) -> ModelProto:
    """Each weight of these ranks is the output of nodes that read constants only."""
    net = Net(model.opset_import[0].version, prefix="computed_")
    kept = []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.ndim not in ranks:
            kept.append(tensor)
            continue
        compute(net, array)
        net.nodes[-1].output[0] = tensor.name
    return _with(model, [*net.nodes, *model.graph.node], [*kept, *net.weights])


def _cast(net: Net, weight: np.ndarray, kind: int) -> str:
    return net.op("Cast", weight.astype(helper.tensor_dtype_to_np_dtype(kind)), to=TensorProto.FLOAT)


def _bytes(net: Net, weight: np.ndarray) -> str:
    scale = float(abs(weight).max() / 127)
    whole = net.op("Cast", np.round(weight / scale + 128).astype(np.uint8), to=TensorProto.FLOAT)
    return net.op("Mul", net.op("Sub", whole, 128.0), scale)


def _weight_norm(net: Net, weight: np.ndarray) -> str:
    """As torch's weight_norm is exported: a direction over its length, times a gain."""
    axes = list(range(1, weight.ndim))
    length = np.sqrt((weight**2).sum(tuple(axes), keepdims=True))
    direction = net.const(3 * weight)
    return net.op("Mul", net.op("Div", direction, net.op("ReduceL2", direction, axes=axes, keepdims=1)), length)


def _standardised(net: Net, weight: np.ndarray) -> str:
    """As ResNets of Big Transfer are: zero mean and unit deviation by filter, then a gain."""
    axes = list(range(1, weight.ndim))
    stored = net.const(weight)
    centred = net.op("Sub", stored, net.op("ReduceMean", stored, axes=axes, keepdims=1))
    variance = net.op("ReduceMean", net.op("Mul", centred, centred), axes=axes, keepdims=1)
    unit = net.op("Div", centred, net.op("Sqrt", net.op("Add", variance, 1e-5)))
    return net.op("Mul", unit, 1 / math.sqrt(math.prod(weight.shape[1:])))


def _assembled(net: Net, weight: np.ndarray) -> str:
    """Turned, cut, joined and shaped, with a shape that is computed too."""
    half = len(weight) // 2
    turned = net.op("Transpose", weight[:half].T.copy())
    longer = np.concatenate([weight[half:], weight[:1]])
    rest = net.op("Slice", longer, [0], net.op("Sub", net.op("Shape", longer, start=0, end=1), [1]), [0])
    joined = net.op("Concat", net.op("Identity", turned), rest, axis=0)
    shape = net.op("Concat", [len(weight)], np.int64(weight.shape[1:]), axis=0)
    zeros = net.op("ConstantOfShape", shape, value=helper.make_tensor("", TensorProto.FLOAT, [1], [0.0]))
    return net.op("Add", net.op("Reshape", net.op("Flatten", joined), shape), net.op("Expand", zeros, shape))


def _stored(folder: Path, name: str, together: bool) -> Path:
    """Weights in one file beside the model, or each in its own below it."""
    model = float_parent(name)
    if not together:
        (folder / f"{name} weights").mkdir(exist_ok=True)
        for tensor in model.graph.initializer:
            file = f"{tensor.name.replace('/', '_')}.bin"
            onnx.external_data_helper.set_external_data(tensor, f"{name} weights/{file}")
        return save(model, folder, name)
    path = folder / f"{name}.onnx.data"
    path.unlink(missing_ok=True)  # onnx appends to what is there
    return save(model, folder, name, save_as_external_data=True, location=path.name, size_threshold=0)


def _huge(folder: Path, name: str) -> Path:
    """Above 2 GiB: one row of a table of zeros is added to the scores; the weights lie behind the table in its file.

    The file has a hole, so it takes no room.
    """
    model, path = float_parent(name), folder / f"{name}.onnx.data"
    rows, columns = 220_000, 2_560
    table = TensorProto(name="table", data_type=TensorProto.FLOAT, dims=[rows, columns])
    end = 4 * rows * columns
    _point(table, path, 0, end)
    with path.open("wb") as file:
        for tensor in model.graph.initializer:
            end = file.seek(-(-end // 4096) * 4096)
            _point(tensor, path, end, len(tensor.raw_data))
            end += file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
    net, scores = Net(17, prefix="table_"), model.graph.output[0]
    row = net.op("MatMul", net.op("Gather", "table", [rows - 1]), net.noise(columns, 10))
    scores.name = net.op("Add", scores.name, row)
    weights = [*model.graph.initializer, table, *net.weights]
    return save(_with(model, [*model.graph.node, *net.nodes], weights), folder, name)


def _point(tensor: TensorProto, path: Path, offset: int, length: int) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": path.name, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))


# graphs in other shapes


def _functions(model: ModelProto) -> ModelProto:
    """Each Conv with its batch norm is a call of one local function, which calls another."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv")
    for key, kind in {"strides": 7, "pads": 7}.items():
        conv.attribute.append(onnx.AttributeProto(name=key, type=kind, ref_attr_name=key))
    bn = helper.make_node("BatchNormalization", ["c", "s", "o", "m", "v"], ["y"], "norm", epsilon=1e-3)
    weights = ["w", "b", "s", "o", "m", "v"]
    inner = helper.make_function("local", "Normalise", ["c", *weights[2:]], ["y"], [bn], opsets[:1])
    call = helper.make_node("Normalise", ["c", *weights[2:]], ["y"], "normalise", domain="local")
    outer = helper.make_function("local", "ConvNorm", ["x", *weights], ["y"], [conv, call], opsets, ["strides", "pads"])
    model.functions.extend([inner, outer])
    model.opset_import.append(opsets[1])
    norms = {node.input[0]: node for node in model.graph.node if node.op_type == "BatchNormalization"}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            norm = norms[node.output[0]]
            options = {a.name: a.ints for a in node.attribute if a.name in ("strides", "pads")}
            names = [*node.input, *norm.input[1:]], norm.output, f"{node.name}_call"
            nodes.append(helper.make_node("ConvNorm", *names, domain="local", **options))
        elif node.op_type != "BatchNormalization":
            nodes.append(node)
    del model.graph.value_info[:]
    return _with(model, nodes, model.graph.initializer)


def _branches(model: ModelProto) -> ModelProto:
    """Flatten stands in an If on a constant, the last Gemm in one on a shape, as torch writes squeeze."""
    net = Net(17, prefix="chosen_")

    def branch(name: str, node: onnx.NodeProto) -> onnx.GraphProto:
        inner = onnx.NodeProto()
        inner.CopyFrom(node)
        inner.name, inner.output[0] = f"{node.name}_{name}", f"{node.output[0]}_{name}"
        return helper.make_graph(
            [inner], name, [], [helper.make_tensor_value_info(inner.output[0], TensorProto.FLOAT, None)]
        )

    nodes = []
    for node in model.graph.node:
        if node.op_type not in ("Flatten", "Gemm"):
            nodes.append(node)
            continue
        start = len(net.nodes)
        if node.op_type == "Flatten":
            condition = net.const(np.array(True), "condition")
            other = helper.make_node("Identity", [node.input[0]], ["same"], "same")
        else:
            axis = net.op("Gather", net.op("Shape", node.input[0]), net.const(np.int64(1), "one"), axis=0)
            condition = net.op("Equal", axis, net.const(np.int64(32), "width"))
            other = helper.make_node("Gemm", node.input, ["other"], "other", transB=1, alpha=-1.0)
        net.ops("If", condition, then_branch=branch("then", node), else_branch=branch("else", other))
        net.nodes[-1].output[0] = node.output[0]
        nodes.extend(net.nodes[start:])
    return _with(model, nodes, [*model.graph.initializer, *net.weights])


def _nameless(model: ModelProto) -> ModelProto:
    for node in model.graph.node:
        node.name = ""
    return model


WEIGHTS: Mapping[str, Derive] = {
    "constants": _as_constants,
    "inputs": _as_inputs,
    "numbers": _as_numbers,
    "sparse": _as_sparse,
    **{
        f"from {how}": partial(_computed, compute=compute)
        for how, compute in {
            "float16": partial(_cast, kind=TensorProto.FLOAT16),
            "bfloat16": partial(_cast, kind=TensorProto.BFLOAT16),
            "float64": partial(_cast, kind=TensorProto.DOUBLE),
            "bytes": _bytes,
            "weight norm": _weight_norm,
            "pieces": _assembled,
        }.items()
    },
    "standardised": partial(_computed, compute=_standardised, ranks=(4,)),
}

# opsets 1 to 9, as Caffe2, Caffe, CNTK and Windows ML wrote them


class _Old(Net):
    """Spells each op as its opset did; weights are inputs too."""

    def broadcast(self, kind: str, x: str, vector: np.ndarray) -> str:
        """A sum or a product with one number per channel."""
        if self.opset < 7:
            return self.op(kind, x, vector, broadcast=1, axis=1)
        return self.op(kind, x, self.op("Unsqueeze", vector, axes=[1, 2]))

    def act(self, kind: str, x: str, **attributes: object) -> str:
        return self.op(kind, x, **attributes, **({"consumed_inputs": [0]} if self.opset < 6 else {}))

    def norm(self, x: str, channels: int, scale: float = 1.0) -> str:
        old = {"is_test": 1} if self.opset < 7 else {}
        old |= {"consumed_inputs": [0, 0, 0, 1, 1]} if self.opset < 6 else {}
        old |= {"spatial": 1} if self.opset < 9 else {}
        means = self.noise(channels, mean=scale), self.noise(channels), self.noise(channels)
        variance = 1 + abs(self.noise(channels))
        return self.op("BatchNormalization", x, *means, variance, epsilon=1e-5, momentum=0.9, **old)

    def dropout(self, x: str) -> str:
        old = {"is_test": 1} if self.opset < 7 else {}
        return self.ops(
            "Dropout", x, outputs=2, ratio=0.5, **old | ({"consumed_inputs": [0]} if self.opset < 6 else {})
        )[0]

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        if self.opset < 5:
            return self.act("Reshape", x, shape=shape)
        return self.op("Reshape", x, np.int64(shape))

    def gemm(self, x: str, channels: int, filters: int) -> str:
        old = {"broadcast": 1} if self.opset < 7 else {}
        return self.op("Gemm", x, self.kernel(filters, channels), self.noise(filters), transB=1, **old)

    def pad(self, x: str, *pads: int, **attributes: object) -> str:
        return self.op("Pad", x, **{"paddings" if self.opset < 2 else "pads": pads}, **attributes)

    def concat(self, *parts: str) -> str:
        return self.op("Concat", *parts, **({} if self.opset < 4 else {"axis": 1}))

    def enlarge(self, x: str, mode: str) -> str:
        if self.opset < 7:
            return self.op("Upsample", x, height_scale=2.0, width_scale=2.0, mode=mode)
        if self.opset < 9:
            return self.op("Upsample", x, scales=[1.0, 1.0, 2.0, 2.0], mode=mode)
        return self.op("Upsample", x, np.float32([1, 1, 2, 2]), mode=mode)

    def pool(self, kind: str, x: str, size: int, stride: int, **attributes: object) -> str:
        return self.op(kind, x, kernel_shape=[size] * 2, strides=[stride] * 2, **attributes)


def _alexnet(net: _Old) -> str:
    x = net.act("Relu", net.conv("image", 3, 16, 11, 4, pads=[0] * 4))
    x = net.op("LRN", x, size=5, alpha=1e-2, beta=0.75, bias=1.0)
    x = net.act("Relu", net.conv(net.pool("MaxPool", x, 3, 2), 16, 32, group=2))
    x = net.pool("MaxPool", net.op("LRN", x, size=5, alpha=1e-2, beta=0.75), 3, 2, pads=[0, 0, 1, 1])
    x = net.act("Relu", net.gemm(net.reshape(x, [1, 32 * 9]), 32 * 9, 48))
    return net.op("Softmax", net.gemm(net.dropout(x), 48, 10), axis=1)


def _squeezenet(net: _Old) -> str:
    x = net.pool("MaxPool", net.act("Relu", net.conv("image", 3, 16, stride=2, pads=[0] * 4)), 3, 2)
    for channels, filters in ((16, 8), (32, 12)):
        x = net.act("Relu", net.conv(x, channels, filters, 1))
        x = net.concat(*(net.act("Relu", net.conv(x, filters, channels, size)) for size in (1, 3)))
    x = net.conv(x if net.opset == 6 else net.dropout(x), 64, 10, 1)  # of opset 6, Dropout alone is not in onnxruntime
    return net.op("Softmax", net.op("GlobalAveragePool", x), axis=1)


def _resnet(net: _Old) -> str:
    """Caffe's: each batch norm is followed by a scale and a shift of its own."""

    def unit(x: str, channels: int, filters: int, size: int, stride: int = 1, scale: float = 1.0) -> str:
        x = net.norm(net.conv(x, channels, filters, size, stride), filters)
        x = net.broadcast("Mul", x, net.noise(filters, mean=scale))
        return net.broadcast("Add", x, net.noise(filters))

    x = net.pool("MaxPool", net.act("Relu", unit("image", 3, 16, 7, 2)), 3, 2, pads=[0, 0, 1, 1])
    for channels, filters, stride in ((16, 16, 1), (16, 24, 2)):
        inner = unit(net.act("Relu", unit(x, channels, filters, 3, stride)), filters, filters, 3, scale=0.5)
        x = inner if stride == 1 else net.op("Sum", inner, unit(x, channels, filters, 1, stride))
        x = net.act("Relu", x)
    x = net.pool("AveragePool", x, 4, 4)
    return net.op("Softmax", net.gemm(net.op("Flatten", x), 24 * 4, 10))


def _yolo(net: _Old) -> str:
    """Windows ML's: an ImageScaler before the first layer, paddings left to auto_pad."""
    x = net.op("ImageScaler", "image", scale=0.5, bias=[0.1, -0.2, 0.3])
    channels = 3
    for filters, stride in ((16, 2), (24, 2), (32, 1)):
        x = net.op("Conv", x, net.kernel(filters, channels, 3, 3), kernel_shape=[3, 3], auto_pad="SAME_UPPER")
        x = net.act("LeakyRelu", net.norm(x, filters), alpha=0.1)
        x, channels = net.pool("MaxPool", x, 2, stride, auto_pad="SAME_UPPER"), filters
    return net.conv(x, channels, 20, 1)


def _segmenter(net: _Old) -> str:
    """Attributes where later opsets have inputs: pads, slices, splits, axes, bounds, scales."""
    slope = net.noise(16, mean=0.2)
    x = net.conv(net.pad("image", 0, 0, 1, 1, 0, 0, 1, 1, mode="reflect"), 3, 16, pads=[0] * 4)
    x = first = net.op("PRelu", x, slope if net.opset < 7 else slope[:, None, None])
    x = net.act("Elu", net.conv(x, 16, 24, stride=2), alpha=0.7)
    left, right = net.ops("Split", x, outputs=2, axis=1, split=[8, 16])
    old = {"consumed_inputs": [0]} if net.opset < 6 else {}
    right = net.op("Clip", right, min=-0.5, max=6.0, **old)
    right = net.op("InstanceNormalization", right, net.noise(16, mean=1.0), net.noise(16), epsilon=1e-3, **old)
    x = net.concat(right, net.op("Slice", left, axes=[1], starts=[0], ends=[-2]))
    x = net.enlarge(net.conv(x, 22, 16), "nearest")
    x = net.concat(net.pad(x, 0, 0, 0, 0, 0, 0, 0, 0, mode="constant", value=0.0), first)
    kind: object = "FLOAT" if net.opset < 6 else TensorProto.FLOAT
    x = net.op("Cast", net.op("Squeeze", net.op("Unsqueeze", net.conv(x, 32, 16), axes=[0]), axes=[0]), to=kind)
    x = net.op("ConvTranspose", x, net.kernel(16, 8, 2, 2), strides=[2, 2], kernel_shape=[2, 2])
    x = net.enlarge(x, "bilinear" if net.opset < 7 else "linear")
    return net.act("Sigmoid", net.conv(x, 8, 2, 1))


def _rarities(net: _Old) -> str:
    """Operators that are experimental, or that no framework writes any more."""
    x = net.op("Affine", net.op("Crop", "image", border=[2, 2, 2, 2]), alpha=0.9, beta=0.1)
    x = net.op("MeanVarianceNormalization", x, **({"across_channels": 0} if net.opset < 9 else {"axes": [2, 3]}))
    x = net.op("ScaledTanh", net.conv(x, 3, 16), alpha=1.7, beta=0.6)
    x = net.op("LpPool", x, kernel_shape=[2, 2], strides=[2, 2], p=2)
    x = net.op("ParametricSoftplus", net.conv(x, 16, 16), alpha=0.8, beta=1.1)
    x = net.op("ThresholdedRelu", net.conv(x, 16, 16), alpha=0.3)
    x = net.op("LpNormalization", net.act("Selu", net.conv(x, 16, 16)), axis=1, p=2)
    x = net.op("Softsign", net.conv(x, 16, 16))
    x = net.op("Flatten", net.op("GlobalLpPool", x, p=2))
    return net.op("LogSoftmax", net.gemm(net.dropout(x), 16, 10), axis=1)


def _old(name: str, build: Callable[[_Old], str], opset: int, shape: Sequence[int], folder: Path) -> Path:
    net = _Old(opset, seed=5)
    result = build(net)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])
    inputs = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in net.weights]
    inputs = [image, *inputs] if opset % 2 else [*inputs, image]  # both are found in the wild
    output = helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)
    graph = helper.make_graph(net.nodes, "net", inputs, [output], net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)
    return save(model, folder, name)


def _olds(name: str, build: Callable[[_Old], str], shape: Sequence[int], *opsets: int) -> Iterable[Specimen]:
    """One net in several opsets, always with the same weights."""
    for opset in opsets:
        title = f"{name} of opset {opset}"
        runs = opset > 6 or title == "Caffe2 SqueezeNet of opset 6"
        exporter = "old opsets" if runs else "old opsets (onnxruntime cannot run)"
        yield Specimen(exporter, title, partial(_old, title, build, opset, shape))


SPECIMENS: tuple[Specimen, ...] = (
    *(
        derived("weights elsewhere", parent, how, derive)
        for parent in ("resnet", "vit")
        for how, derive in WEIGHTS.items()
    ),
    *(
        Specimen("weights elsewhere", f"{parent} {how}", partial(_stored, name=f"{parent} {how}", together=together))
        for parent in ("resnet", "squeezenet")
        for how, together in (("one file", True), ("many files", False))
    ),
    Specimen("weights elsewhere", "resnet above 2 GiB", partial(_huge, name="resnet above 2 GiB")),
    derived("functions and branches", "resnet", "functions", _functions),
    derived("functions and branches", "resnet", "branches", _branches),
    derived("functions and branches", "resnet", "nameless", _nameless),
    *_olds("Caffe2 AlexNet", _alexnet, [1, 10], 3, 4, 5, 6, 7, 8, 9),
    *_olds("Caffe2 SqueezeNet", _squeezenet, [1, 10, 1, 1], 3, 6, 8),
    *_olds("Caffe ResNet", _resnet, [1, 10], 1, 5, 6, 7, 8, 9),
    *_olds("Windows ML YOLO", _yolo, [1, 20, 16, 16], 1, 6, 7, 9),
    *_olds("Caffe2 segmenter", _segmenter, [1, 2, 256, 256], 1, 2, 4, 6, 7, 8, 9),
    *_olds("Windows ML rarities", _rarities, [1, 10], 6, 7, 9),
)

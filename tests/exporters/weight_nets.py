"""Float nets with their weights in every place that ONNX knows, or computed from constants."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from exporters.float_nets import Derive, derived, float_parent
from exporters.nodes import Net, save, with_nodes
from exporters.specimen import Specimen
from onnx import ModelProto, TensorProto, helper, numpy_helper


def _as_constants(model: ModelProto) -> ModelProto:
    nodes = [helper.make_node("Constant", [], [t.name], f"Constant_{t.name}", value=t) for t in model.graph.initializer]
    return with_nodes(model, [*nodes, *model.graph.node], [])


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
    return with_nodes(model, model.graph.node, dense)


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
    return with_nodes(model, [*net.nodes, *model.graph.node], [*kept, *net.weights])


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
    return save(with_nodes(model, [*model.graph.node, *net.nodes], weights), folder, name)


def _point(tensor: TensorProto, path: Path, offset: int, length: int) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": path.name, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))


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
)

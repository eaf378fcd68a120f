"""The forward graph and the companion as models of their own, for any program that runs ONNX."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from onnx import ModelProto, TensorProto, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, set_external_data

from zfviz.errors import OutputError
from zfviz.graph.companion import build_companion
from zfviz.graph.explanation import explain
from zfviz.graph.exposure import expose as expose_tensors
from zfviz.graph.net import Precision, Unpool
from zfviz.graph.rules import Method
from zfviz.graph.source import MAX_INLINE_BYTES, Source, outside_tensors
from zfviz.report.files import write_atomically
from zfviz.runtime.loading import ModelLike, load
from zfviz.studies.selection import default_layers

SMALLEST_OUTSIDE = 1024
"""Bytes; smaller weights stay in the model."""
MARGIN = 2**20
"""Bytes, for all of a model that is no weight."""
ALIGNMENT = 4096
"""Bytes; what a memory map of any system can start at."""


def expose(model: ModelLike, layers: Sequence[str] | None = None, method: Method = "deconvnet") -> ModelProto:
    """The forward graph: the user's own model, which also gives the activations of `layers` and all that their
    companions take.

    None takes the default rows of `project`. Weights outside the model stay where they are, relative to its folder.
    Raises LayerError for an unknown layer, UnsupportedError where a layer cannot be projected.
    """
    model = load(model)
    chosen = default_layers(model) if layers is None else [model.layer(name) for name in layers]
    companions = [build_companion(model.canonical, layer.tensor, method) for layer in chosen]
    switches = {name: pooled for c in companions for name, pooled in c.switches.items()}
    values = [name for c in companions for name in c.values if name not in c.switches]
    return expose_tensors(model.canonical, [*(layer.tensor for layer in chosen), *values], switches)


def companion(
    model: ModelLike,
    layer: str,
    method: Method = "deconvnet",
    unpool: Unpool = "scatter",
    precision: Precision = "float32",
) -> ModelProto:
    """The companion graph of a layer, opset 18: `signal` [K, ...] and forward values go in, `pixels` [K, ...] come out.

    Every input other than `signal` bears the name of an output of `expose(model, [layer], method)`; forward values
    have K rows, row k belonging to signal k, or one row for all. `unpool` "maxunpool" emits MaxUnpool nodes in place
    of ScatterElements; both give the same pixels. `signal` and `pixels` are of `precision`. Where the model takes its
    batch for something else on the way (windows, tokens), K is the model's own batch. Raises LayerError for an unknown
    layer, UnsupportedError where it cannot be projected.
    """
    model = load(model)
    return build_companion(model.canonical, model.layer(layer).tensor, method, unpool, precision).proto


def export(model: ModelLike, layer: str, top: int = 9, method: Method = "deconvnet") -> ModelProto:
    """The model for one image, which explains itself: it also gives the `top` strongest channels of a layer, each at
    its strongest place, their activations and their projections, as `project` finds them.

    Added are the outputs `units` int64 [K, 3] (channel, y, x; or [K, 1] where the layer has no map), `activations`
    float32 [K] and `pixels` float32 [K, ...], in the image's own layout. Every weight is there once. Raises LayerError
    for an unknown layer or one of fewer channels, UnsupportedError where it cannot be projected so.
    """
    model = load(model)
    return explain(model.canonical, model.image, model.layer(layer), top, method)


def write_graph(
    proto: ModelProto, path: Path, source: Source, inline_bytes: int = MAX_INLINE_BYTES
) -> tuple[Path, ...]:
    """The paths written: a graph of the source's, and beside it a `.data` file where its weights exceed `inline_bytes`.

    Raises OutputError, also where the path is that of the source itself.
    """
    data_path = path.with_name(f"{path.name}.data")
    _keep(source, path, data_path)
    whole = _with_data(proto, source.folder)
    if sum(map(_size, whole.graph.initializer)) + MARGIN <= inline_bytes:
        return (write_atomically(path, whole.SerializeToString()),)
    return _write_outside([(whole, path)], data_path)


def write_pair(
    forward: ModelProto, forward_path: Path, back: ModelProto, back_path: Path, source: Source
) -> tuple[Path, ...]:
    """The paths written: both graphs, and one data file from which both read their weights.

    Raises OutputError, also where a path is that of the source itself.
    """
    data_path = forward_path.with_name(f"{forward_path.name}.data")
    _keep(source, forward_path, back_path, data_path)
    if forward_path.resolve().parent != back_path.resolve().parent or forward_path.name == back_path.name:
        raise OutputError(
            f"{forward_path} and {back_path} cannot share weights; expected two files in one folder, since ONNX reads "
            "data from beside the model. Give both the same folder."
        )
    graphs = [(_with_data(forward, source.folder), forward_path), (_with_data(back, source.folder), back_path)]
    return _write_outside(graphs, data_path)


def _keep(source: Source, *paths: Path) -> None:
    """Refuse to write over the user's own model, or the weights beside it."""
    if source.folder is None:
        return
    beside = [ExternalDataInfo(tensor).location for tensor in outside_tensors(source.proto)]
    own = {(source.folder / name).resolve() for name in (source.name, *beside)}
    for path in paths:
        if path.resolve() in own:
            raise OutputError(f"{path} is of the model itself; expected another file for what is made of it.")


def _with_data(proto: ModelProto, folder: Path | None) -> ModelProto:
    """The model with all weights inside."""
    whole = ModelProto()
    whole.CopyFrom(proto)
    if folder is not None:
        load_external_data_for_model(whole, str(folder))
    return whole


def _size(tensor: TensorProto) -> int:
    """Bytes; protobuf cannot say the size of a message that is too large to be written."""
    return len(tensor.raw_data) or tensor.ByteSize()


def _write_outside(graphs: Sequence[tuple[ModelProto, Path]], data_path: Path) -> tuple[Path, ...]:
    """Write models whose weights lie in one data file, each weight once."""
    places: dict[str, tuple[int, int]] = {}

    def write_data(file: BinaryIO) -> None:
        for proto, _ in graphs:
            for tensor in proto.graph.initializer:
                if tensor.name not in places and _size(tensor) >= SMALLEST_OUTSIDE:
                    data = numpy_helper.to_array(tensor).tobytes()
                    file.seek(-(-file.tell() // ALIGNMENT) * ALIGNMENT)
                    places[tensor.name] = file.tell(), file.write(data)

    paths = [write_atomically(data_path, write_data)]
    for proto, path in graphs:
        for tensor in proto.graph.initializer:
            if tensor.name in places:
                offset, length = places[tensor.name]
                tensor.CopyFrom(
                    TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims, raw_data=b"")
                )
                set_external_data(tensor, data_path.name, offset, length)
                tensor.ClearField("raw_data")
        paths.append(write_atomically(path, proto.SerializeToString()))
    return tuple(paths)

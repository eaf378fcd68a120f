"""The user's model as it came: read from a path or bytes, checked, never trusted."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from math import prod
from os import PathLike
from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto
from onnx.checker import ValidationError
from onnx.external_data_helper import load_external_data_for_tensor
from onnx.inliner import inline_local_functions

from zfviz.errors import ModelError
from zfviz.graph.limits import check_functions, check_loops, check_pads
from zfviz.graph.opsets import first_line
from zfviz.graph.protos import opset_of, read_by, with_nodes
from zfviz.graph.soundness import check_nodes, check_tensors, check_texts, size_of, stored_tensors
from zfviz.graph.updating import update

SMALL = 1024
"""Constants of at most this many elements are at hand; larger ones are weights, and stay where they are."""
MAX_INLINE_BYTES = 2**31 - 1  # protobuf's own limit for one message


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A model as the user has it: the proto (large weights in outside files are left there), where it lies, its
    SHA-256; `notes` are sentences on what had to be changed for onnxruntime to run it; `bound` are the inputs that
    were given a value, each with the value's SHA-256.
    """

    proto: ModelProto
    name: str
    folder: Path | None
    sha256: str
    notes: tuple[str, ...] = ()
    bound: tuple[tuple[str, str], ...] = ()


def read_source(model: str | PathLike[str] | bytes | ModelProto) -> Source:
    """The model behind a path, bytes or a ModelProto.

    Raises ModelError: no such file, not ONNX, truncated, no graph, tensors that nothing makes, or outside data missing
    or beyond the model's folder.
    """
    folder = None
    if isinstance(model, ModelProto):
        proto, name = model, model.graph.name or "model"
        sha256 = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest() if _fits(proto) else ""
    else:
        if isinstance(model, bytes):
            data, name = model, "model"
        else:
            path = Path(model)
            data, name, folder = _read_file(path), path.name, path.resolve().parent
        proto = _parse(data, name)
        sha256 = hashlib.sha256(data).hexdigest()
    if not proto.graph.node or not proto.graph.output:
        missing = "outputs" if proto.graph.node else "nodes"
        raise ModelError(f"{name} holds no {missing}; expected an ONNX model with a graph. Export it again.")
    check_texts(proto, name)
    check_tensors(proto)
    check_functions(proto, name)
    if proto.functions:
        try:
            proto = inline_local_functions(proto)
        except (ValidationError, RuntimeError) as error:
            raise ModelError(f"the functions of {name} cannot be read: {first_line(error)}. Export it again.") from None
        check_tensors(proto)
    check_nodes(proto)
    proto = _in_order(proto, name)
    source = Source(proto, name, folder, sha256)
    for tensor in outside_tensors(proto):
        _check_outside(tensor, source)
        if prod(tensor.dims) <= SMALL:
            _take_in(tensor, source)
    check_loops(proto.graph)
    check_pads(proto.graph)
    updated, notes = update(proto, opset_of(proto), folder)
    return replace(source, proto=updated, notes=notes)


def outside_tensors(proto: ModelProto) -> Iterator[TensorProto]:
    """The tensors whose data lies in files beside the model."""
    return (tensor for tensor in stored_tensors(proto.graph) if tensor.data_location == TensorProto.EXTERNAL)


def _fits(proto: ModelProto) -> bool:
    return proto.ByteSize() <= MAX_INLINE_BYTES


def _read_file(path: Path) -> bytes:
    # unlike Path.is_file, this takes names that are too long for the system
    if os.path.isfile(path / "saved_model.pb"):  # noqa: PTH113
        raise ModelError(
            f"{path} is a SavedModel of TensorFlow; expected an .onnx file. Make one of it with "
            "converters/from_tensorflow.py."
        )
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"no file at {path}; expected an .onnx file. Check the path.") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); expected an .onnx file.") from None


CONVERTERS = {
    **dict.fromkeys([".pt", ".pth", ".pt2", ".safetensors", ".ckpt"], "from_torch.py"),
    **dict.fromkeys([".keras", ".h5", ".hdf5"], "from_keras.py"),
    **dict.fromkeys([".caffemodel", ".prototxt"], "from_caffe.py"),
    ".pb": "from_tensorflow.py",
}
"""By the suffix of a file: the script in `converters` that makes ONNX of it."""


def _parse(data: bytes, name: str) -> ModelProto:
    proto = ModelProto()
    script = CONVERTERS.get(Path(name).suffix.lower())
    remedy = f"Make one of it with converters/{script}." if script else "Download or export it again."
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise ModelError(
            f"{name} ({len(data):,} bytes) is no ONNX file, or a truncated one; expected a serialized ModelProto. "
            + remedy
        ) from None
    if not proto.ir_version or not proto.HasField("graph"):
        raise ModelError(f"{name} ({len(data):,} bytes) is no ONNX model; expected a serialized ModelProto. {remedy}")
    return proto


def _in_order(proto: ModelProto, name: str) -> ModelProto:
    """The model with its nodes in the order in which they run; every tensor is made, and once."""
    graph = proto.graph
    given = {"", *(t.name for t in graph.initializer), *(t.values.name for t in graph.sparse_initializer)}
    given |= {value.name for value in graph.input}
    makers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for tensor in filter(None, node.output):
            if tensor in given or tensor in makers:
                raise ModelError(f"{name} makes {tensor!r} twice; expected one tensor of a name. Export it again.")
            makers[tensor] = index
    outputs = [value.name for value in graph.output]
    if len(set(outputs)) < len(outputs):
        raise ModelError(
            f"{name} names an output twice ({', '.join(outputs[:8])}); expected each once. Export it again."
        )
    for node in graph.node:
        for tensor in node.input:
            if tensor not in given and tensor not in makers:
                raise ModelError(f"{node.op_type} in {name} reads {tensor!r}, which nothing makes. Export it again.")
    below = [{makers[t] for t in read_by(node) if t in makers} for node in graph.node]
    if all(index < place for place, indices in enumerate(below) for index in indices):
        return proto
    try:
        order = list(TopologicalSorter(dict(enumerate(below))).static_order())
    except CycleError:
        raise ModelError(f"the nodes of {name} wait for each other; expected none to. Export it again.") from None
    return with_nodes(proto, [graph.node[index] for index in order])


def _take_in(tensor: TensorProto, source: Source) -> None:
    """Put a tensor's data from the file beside the model into the model."""
    load_external_data_for_tensor(tensor, str(source.folder))
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _check_outside(tensor: TensorProto, source: Source) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if source.folder is None:
        raise ModelError(
            f"weight {tensor.name!r} lies in the file {location!r}, but the model came without a folder; "
            "expected a path. Load it by path."
        )
    path = source.folder / location
    try:
        path = path.resolve()
        inside, exists = path.is_relative_to(source.folder), path.is_file()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or links that go round
        inside, exists = True, False
    if not location or not inside:
        raise ModelError(
            f"weight {tensor.name!r} points at {location!r}, outside the model's folder {source.folder}; "
            "expected a file beside the model. Do not trust this model."
        )
    if not exists:
        raise ModelError(
            f"weight {tensor.name!r} lies in {location!r}, which is not in {source.folder}; "
            "expected the file beside the model. Copy it there."
        )
    size, asked = path.stat().st_size, size_of(tensor)
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size - offset))
    except ValueError:
        raise ModelError(f"weight {tensor.name!r} has an offset or length that is no number.") from None
    if offset < 0 or offset + length > size:
        raise ModelError(
            f"weight {tensor.name!r} should be bytes {offset} to {offset + length} of {location!r}, "
            f"which has {size}; the file is truncated. Copy it again."
        )
    if length != asked or tensor.data_type == TensorProto.STRING:
        raise ModelError(
            f"weight {tensor.name!r} of sizes {list(tensor.dims)} is {length} bytes of {location!r}; "
            f"expected {asked}. Export the model again."
        )

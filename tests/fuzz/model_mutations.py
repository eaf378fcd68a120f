"""Mutations of models: bytes that are damaged, and protos that say what no exporter would."""

from collections.abc import Callable, Iterator
from random import Random

from fuzz.bombs import endless, functions, huge, nested
from fuzz.words import ATTRIBUTES, DOMAINS, FLOATS, JSONS, NAMES, OPS, OPSETS, SIZES
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper


def mutate_bytes(rng: Random, data: bytes) -> bytes:
    """Some of flips, deletions, insertions, repeats and a cut."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        if not out:
            break
        at, size = rng.randrange(len(out)), rng.choice([1, 1, 2, 8, 64, 512])
        match rng.randrange(7):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            case 2:
                del out[at : at + size]
            case 3:
                out[at:at] = rng.randbytes(size)
            case 4:
                out[at:at] = out[(start := rng.randrange(len(out))) : start + size]
            case 5:
                out[at:at] = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
            case _:
                if rng.random() < 0.2:
                    del out[at:]
    return bytes(out)


def mutate_model(rng: Random, proto: ModelProto) -> None:
    """One to four mutations, in place."""
    for _ in range(rng.choice([1, 1, 1, 1, 1, 2, 3])):
        mutation = rng.choice(MUTATIONS)
        try:
            mutation(rng, proto)
        except (IndexError, ValueError, TypeError, AttributeError, DecodeError):
            continue  # nothing left of that kind, or protobuf takes no such value


def every_graph(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and the bodies in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from every_graph(attribute.g)


def every_tensor(proto: ModelProto) -> Iterator[TensorProto]:
    """Every tensor that a model stores, wherever."""
    for graph in every_graph(proto.graph):
        yield from graph.initializer
        for stored in graph.sparse_initializer:
            yield from (stored.values, stored.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from ([attribute.t] if attribute.HasField("t") else [])
                yield from attribute.tensors


def _graph(rng: Random, proto: ModelProto) -> GraphProto:
    return rng.choice(list(every_graph(proto.graph))) if rng.random() < 0.3 else proto.graph


def _node(rng: Random, proto: ModelProto) -> NodeProto:
    return rng.choice(_graph(rng, proto).node)


def _known_names(proto: ModelProto) -> list[str]:
    graph = proto.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    return [*names, *(t.name for t in graph.initializer), *(v.name for v in graph.input)]


def input_sizes(rng: Random, proto: ModelProto) -> None:
    """An input of other sizes: absurd, missing, named."""
    dims = rng.choice(proto.graph.input).type.tensor_type.shape.dim
    match rng.randrange(5):
        case 0 | 1:
            rng.choice(dims).dim_value = rng.choice(SIZES)
        case 2:
            rng.choice(dims).dim_param = rng.choice(NAMES)
        case 3:
            del dims[rng.randrange(len(dims))]
        case _:
            dims.add().dim_value = rng.choice(SIZES)


def value_type(rng: Random, proto: ModelProto) -> None:
    """An input or output of another type, or of none."""
    value = rng.choice([*proto.graph.input, *proto.graph.output])
    match rng.randrange(4):
        case 0 | 1:
            value.type.tensor_type.elem_type = rng.choice([*range(25), 99, -1])
        case 2:
            value.ClearField("type")
        case _:
            value.type.sequence_type.elem_type.tensor_type.elem_type = 1


def weight_dims(rng: Random, proto: ModelProto) -> None:
    """A weight whose sizes are not those of its data."""
    tensor = rng.choice(_graph(rng, proto).initializer)
    match rng.randrange(4):
        case 0 | 1:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
        case 2:
            tensor.dims.append(rng.choice(SIZES))
        case _:
            del tensor.dims[rng.randrange(len(tensor.dims))]


def weight_data(rng: Random, proto: ModelProto) -> None:
    """A weight with too much or too little data, in the wrong field, or of other numbers."""
    tensor = rng.choice(_graph(rng, proto).initializer)
    data = tensor.raw_data
    match rng.randrange(6):
        case 0:
            tensor.raw_data = data[: rng.randrange(len(data) + 1)]
        case 1:
            tensor.raw_data = data + rng.randbytes(rng.choice([1, 4, 100]))
        case 2:
            tensor.raw_data = mutate_bytes(rng, data)
        case 3:
            tensor.ClearField("raw_data")
        case 4:
            tensor.float_data.extend([rng.choice(FLOATS)] * rng.choice([1, 7]))
        case _:
            tensor.int64_data.extend([rng.choice(SIZES)] * rng.choice([1, 7]))


def weight_type(rng: Random, proto: ModelProto) -> None:
    """A weight of another type."""
    rng.choice(_graph(rng, proto).initializer).data_type = rng.choice([*range(25), 99, -1])


def weight_numbers(rng: Random, proto: ModelProto) -> None:
    """Shapes, axes, pads and scales of other numbers."""
    tensors = [t for t in proto.graph.initializer if len(t.raw_data) <= 64]
    tensor = rng.choice(tensors)
    count = max(1, len(tensor.raw_data) // 8)
    if tensor.data_type == TensorProto.INT64:
        numbers = [rng.choice(SIZES) for _ in range(count)]
        tensor.raw_data = b"".join(n.to_bytes(8, "little", signed=True) for n in numbers)
    else:
        values = [rng.choice(FLOATS) for _ in range(max(1, len(tensor.raw_data) // 4))]
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.FLOAT, list(tensor.dims), values))


def rename(rng: Random, proto: ModelProto) -> None:
    """A tensor, a node or the graph of a hostile name, kept consistent or not."""
    new = rng.choice(NAMES) if rng.random() < 0.7 else rng.choice(_known_names(proto))
    if rng.random() < 0.3:
        target = rng.choice([*proto.graph.node, proto.graph, *proto.graph.input, *proto.graph.output])
        target.name = new
        return
    old = rng.choice(_known_names(proto))
    for graph in every_graph(proto.graph):
        for node in graph.node:
            for field in (node.input, node.output):
                for index, name in enumerate(field):
                    if name == old:
                        field[index] = new
        for thing in (*graph.initializer, *graph.input, *graph.output):
            if thing.name == old:
                thing.name = new


def rewire(rng: Random, proto: ModelProto) -> None:
    """A node that reads or makes something else: dangling names, cycles, loops to itself, twice the same."""
    node = _node(rng, proto)
    names = [*_known_names(proto), "nothing", "", node.output[0]]
    field = node.input if rng.random() < 0.7 and node.input else node.output
    field[rng.randrange(len(field))] = rng.choice(names)


def arity(rng: Random, proto: ModelProto) -> None:
    """Inputs or outputs more or fewer."""
    node = _node(rng, proto)
    field = node.input if rng.random() < 0.6 else node.output
    match rng.randrange(4):
        case 0:
            del field[rng.randrange(len(field))]
        case 1:
            del field[:]
        case 2:
            field.append(rng.choice([*_known_names(proto), "", "nothing"]))
        case _:
            field.extend([rng.choice(["", "many"])] * rng.choice([2, 50]))


def operator(rng: Random, proto: ModelProto) -> None:
    """Another operator or domain."""
    node = _node(rng, proto)
    if rng.random() < 0.7:
        node.op_type = rng.choice(OPS)
    else:
        node.domain = rng.choice(DOMAINS)


def nodes(rng: Random, proto: ModelProto) -> None:
    """Nodes dropped, doubled or shuffled."""
    graph = _graph(rng, proto)
    match rng.randrange(4):
        case 0:
            del graph.node[rng.randrange(len(graph.node))]
        case 1:
            graph.node.add().CopyFrom(rng.choice(graph.node))
        case 2:
            shuffled = [NodeProto.FromString(n.SerializeToString()) for n in graph.node]
            rng.shuffle(shuffled)
            del graph.node[:]
            graph.node.extend(shuffled)
        case _:
            del graph.node[:]


def attribute_value(rng: Random, proto: ModelProto) -> None:
    """An attribute of other numbers: huge, zero, negative, too many, too few."""
    attribute = rng.choice([a for g in every_graph(proto.graph) for n in g.node for a in n.attribute])
    if attribute.type == AttributeProto.INTS:
        match rng.randrange(5):
            case 0 | 1:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(SIZES)
            case 2:
                attribute.ints[:] = [rng.choice(SIZES)] * len(attribute.ints)
            case 3:
                attribute.ints.append(rng.choice(SIZES))
            case _:
                del attribute.ints[rng.randrange(len(attribute.ints)) :]
    elif attribute.type == AttributeProto.INT:
        attribute.i = rng.choice(SIZES)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = rng.choice(FLOATS)
    elif attribute.type == AttributeProto.STRING:
        words = (b"", b"\xff\xfe", b"VALID", b"SAME_LOWER", b"linear", b"cubic", b"reflect", b"a" * 1000, b"bhw,w->")
        attribute.s = rng.choice(words)
    elif attribute.type == AttributeProto.TENSOR:
        attribute.t.dims[:] = [rng.choice(SIZES) for _ in range(rng.randrange(4))]


def attribute_presence(rng: Random, proto: ModelProto) -> None:
    """An attribute dropped, doubled, of another name or type, or made up."""
    node = _node(rng, proto)
    match rng.randrange(6):
        case 0:
            del node.attribute[rng.randrange(len(node.attribute))]
        case 1:
            node.attribute.add().CopyFrom(rng.choice(node.attribute))
        case 2:
            rng.choice(node.attribute).type = rng.randrange(16)
        case 3:
            rng.choice(node.attribute).name = rng.choice(ATTRIBUTES)
        case 4:
            numbers = [rng.choice(SIZES) for _ in range(rng.randrange(1, 6))]
            node.attribute.append(helper.make_attribute(rng.choice(ATTRIBUTES), numbers))
        case _:
            value = rng.choice([rng.choice(SIZES), 0.5, "text", b"\xff", ["a", "b"], [1.5]])
            node.attribute.append(helper.make_attribute(rng.choice(ATTRIBUTES), value))


def opset(rng: Random, proto: ModelProto) -> None:
    """Another opset, none, or the same domain twice; another IR version."""
    match rng.randrange(6):
        case 0 | 1 | 2:
            rng.choice(proto.opset_import).version = rng.choice(OPSETS)
        case 3:
            proto.opset_import.append(helper.make_opsetid(rng.choice(DOMAINS), rng.choice(OPSETS)))
        case 4:
            del proto.opset_import[rng.randrange(len(proto.opset_import))]
        case _:
            proto.ir_version = rng.choice([0, 1, 2, 3, 4, 8, 10, 11, 12, 13, 99, 2**63 - 1, -1])


def metadata(rng: Random, proto: ModelProto) -> None:
    """Preprocessing, labels or names that are no such thing."""
    key = rng.choice(["zfviz.preprocessing", "zfviz.labels", "names", "zfviz.card", "", "k" * 1000])
    properties = [p for p in proto.metadata_props if p.key == key] or [proto.metadata_props.add(key=key)]
    value = properties[0].value or rng.choice(JSONS)
    properties[0].value = mutate_text(rng, value) if rng.random() < 0.5 else rng.choice(JSONS)


def mutate_text(rng: Random, text: str) -> str:
    """The text with some of its characters changed."""
    data = mutate_bytes(rng, text.encode(errors="replace"))
    return data.decode(errors="replace")


def outputs(rng: Random, proto: ModelProto) -> None:
    """Outputs that are not there, doubled, inputs, or none."""
    field = proto.graph.output
    match rng.randrange(4):
        case 0:
            del field[:]
        case 1:
            field.add().CopyFrom(rng.choice(field))
        case 2:
            field.add().name = rng.choice([*_known_names(proto), "nothing"])
        case _:
            rng.choice(field).name = rng.choice([*_known_names(proto), "nothing"])


def inputs(rng: Random, proto: ModelProto) -> None:
    """Inputs doubled, dropped, more, or of the name of a weight."""
    field = proto.graph.input
    match rng.randrange(4):
        case 0:
            del field[rng.randrange(len(field))]
        case 1:
            field.add().CopyFrom(rng.choice(field))
        case 2:
            field.add().name = rng.choice([*_known_names(proto), "more"])
        case _:
            field.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [rng.choice(SIZES)]))


def initializers(rng: Random, proto: ModelProto) -> None:
    """Weights dropped, doubled, or of another's name."""
    field = _graph(rng, proto).initializer
    match rng.randrange(3):
        case 0:
            del field[rng.randrange(len(field))]
        case 1:
            field.add().CopyFrom(rng.choice(field))
        case _:
            rng.choice(field).name = rng.choice([*_known_names(proto), ""])


def sparse(rng: Random, proto: ModelProto) -> None:
    """A sparse weight with sizes or places that it cannot have."""
    if not proto.graph.sparse_initializer:
        tensor = rng.choice(proto.graph.initializer)
        values = helper.make_tensor(tensor.name, TensorProto.FLOAT, [2], [1.0, 2.0])
        places = helper.make_tensor("places", TensorProto.INT64, [2], [0, 1])
        proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, list(tensor.dims)))
        proto.graph.initializer.remove(tensor)
    one = rng.choice(proto.graph.sparse_initializer)
    match rng.randrange(4):
        case 0:
            one.dims[:] = [rng.choice(SIZES) for _ in range(rng.randrange(5))]
        case 1:
            one.indices.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [2], [rng.choice(SIZES) for _ in range(2)]))
        case 2:
            one.indices.CopyFrom(helper.make_tensor("i", TensorProto.FLOAT, [2], [0.5, 1.5]))
        case _:
            one.values.dims[:] = [rng.choice(SIZES)]


def value_info(rng: Random, proto: ModelProto) -> None:
    """Shapes that are told of tensors and are wrong."""
    sizes = [rng.choice(SIZES) for _ in range(rng.randrange(5))]
    name = rng.choice([*_known_names(proto), "nothing"])
    proto.graph.value_info.append(helper.make_tensor_value_info(name, rng.randrange(1, 17), sizes))


MUTATIONS: tuple[Callable[[Random, ModelProto], None], ...] = (
    *[input_sizes, attribute_value, attribute_value, attribute_presence, weight_dims, weight_data, weight_numbers] * 2,
    *[rename, rewire, arity, operator, nodes] * 2,
    *[value_type, weight_type, opset, huge, metadata, outputs, inputs, initializers, sparse, value_info, functions],
    *[nested, endless],
)

"""Mutations of models by which few bytes ask for much: memory, depth, time."""

from random import Random

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper


def huge(rng: Random, proto: ModelProto) -> None:
    """A few bytes of model that ask for a gigantic tensor, put before a reader of the image."""
    graph = proto.graph
    image = graph.input[0].name
    big = rng.choice([[2**31], [2**20, 2**20], [10**12], [2**62, 4], [60_000, 60_000], [2**15, 2**15, 4], [-1, 2**40]])
    kind = rng.randrange(9)
    size = helper.make_tensor("huge/size", TensorProto.INT64, [len(big)], big)
    one = helper.make_tensor("huge/one", TensorProto.FLOAT, [1] * len(big), [1.0])
    numbers = helper.make_tensor(
        "huge/sizes", TensorProto.INT64, [4], rng.choice([[1, 1, 9**6, 9**6], [1, 9**9, 1, 9]])
    )
    scales = helper.make_tensor("huge/scales", TensorProto.FLOAT, [4], [1, 1, *[rng.choice([3e4, 1e9, 1e38])] * 2])
    span = helper.make_tensor(
        "huge/pads", TensorProto.INT64, [8], [0, 0, 0, 0, 0, 0, *[rng.choice([10**5, 10**9])] * 2]
    )
    limits = [
        helper.make_tensor(f"huge/{n}", TensorProto.INT64, [], [v]) for n, v in (("0", 0), ("n", 10**11), ("1", 1))
    ]
    make = helper.make_node
    made: list[NodeProto] = [
        [make("ConstantOfShape", ["huge/size"], ["huge"])],
        [make("Expand", ["huge/one", "huge/size"], ["huge"])],
        [make("Tile", ["huge/one", "huge/size"], ["huge"])],
        [make("Range", ["huge/0", "huge/n", "huge/1"], ["huge"])],
        [make("Resize", [image, "", "", "huge/sizes"], ["huge"])],
        [make("Resize", [image, "", "huge/scales"], ["huge"])],
        [make("Pad", [image, "huge/pads"], ["huge"])],
        [make("Tile", [image, "huge/sizes"], ["huge"])],
        [
            make("Shape", [image], ["s"]),
            make("Mul", ["s", "huge/sizes"], ["m"]),
            make("ConstantOfShape", ["m"], ["huge"]),
        ],
    ][kind]
    ends = [make("ReduceMax", ["huge"], ["huge/max"], keepdims=0), make("Cast", ["huge/max"], ["huge/f"], to=1)]
    reader = rng.choice([node for node in graph.node if node.output])
    taken = reader.output[0]
    reader.output[0] = "huge/taken"
    joined = [make("Add", ["huge/taken", "huge/f"], [taken])]
    fields = [*made, *ends, *graph.node, *joined]
    kept = [NodeProto.FromString(n.SerializeToString()) for n in fields]
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend([size, one, numbers, scales, span, *limits])


def nested(rng: Random, proto: ModelProto) -> None:
    """Branches in branches, very deep."""
    depth = rng.choice([3, 9, 20, 29])
    graph = helper.make_graph([helper.make_node("Relu", [proto.graph.input[0].name], ["deep/0"])], "b", [], [])
    graph.output.append(helper.make_tensor_value_info("deep/0", TensorProto.FLOAT, None))
    for level in range(1, depth):
        node = helper.make_node(
            "If", ["deep/yes"], [f"deep/{level}"], then_branch=graph, else_branch=_leaf(proto, level)
        )
        graph = helper.make_graph([node], "b", [], [])
        graph.output.append(helper.make_tensor_value_info(f"deep/{level}", TensorProto.FLOAT, None))
    proto.graph.node.add().CopyFrom(graph.node[0])
    if rng.random() < 0.5:
        proto.graph.initializer.append(helper.make_tensor("deep/yes", TensorProto.BOOL, [], [rng.random() < 0.5]))
    else:
        size = helper.make_node("Size", [proto.graph.input[0].name], ["deep/size"])
        proto.graph.node.insert(0, size)
        proto.graph.node.insert(1, helper.make_node("Cast", ["deep/size"], ["deep/yes"], to=TensorProto.BOOL))
    proto.graph.output.append(helper.make_tensor_value_info(f"deep/{depth - 1}", TensorProto.FLOAT, None))


def _leaf(proto: ModelProto, level: int) -> GraphProto:
    node = helper.make_node("Neg", [proto.graph.input[0].name], [f"leaf/{level}"])
    graph = helper.make_graph([node], "l", [], [])
    graph.output.append(helper.make_tensor_value_info(f"leaf/{level}", TensorProto.FLOAT, None))
    return graph


def endless(rng: Random, proto: ModelProto) -> None:
    """A loop that turns for longer than anybody waits."""
    trips = rng.choice([10**5, 10**9, 2**63 - 1])
    typed = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node(rng.choice(["Relu", "Neg"]), ["v"], ["w"])],
        "turn",
        [typed("i", TensorProto.INT64, []), typed("c", TensorProto.BOOL, []), typed("v", TensorProto.FLOAT, None)],
        [typed("d", TensorProto.BOOL, []), typed("w", TensorProto.FLOAT, None)],
    )
    if rng.random() < 0.3:
        body.output.append(typed("w", TensorProto.FLOAT, None))
    reader = rng.choice([node for node in proto.graph.node if node.output])
    taken = reader.output[0]
    reader.output[0] = "turned"
    outputs = [taken, "all"] if len(body.output) > 2 else [taken]
    bound = rng.choice(["loop/trips", "loop/trips", ""])
    proto.graph.node.append(helper.make_node("Loop", [bound, "loop/yes", "turned"], outputs, body=body))
    proto.graph.initializer.append(helper.make_tensor("loop/trips", TensorProto.INT64, [], [trips]))
    proto.graph.initializer.append(helper.make_tensor("loop/yes", TensorProto.BOOL, [], [True]))


def functions(rng: Random, proto: ModelProto) -> None:
    """Functions that call themselves or each other, or fan out without end."""
    names = ["f", "g"] if rng.random() < 0.5 else [f"f{i}" for i in range(rng.choice([3, 10, 16, 18]))]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    cyclic = rng.random() < 0.5
    for index, name in enumerate(names):
        if not cyclic and index + 1 == len(names):
            body = [helper.make_node("Relu", ["v"], ["w"])]
        else:
            following = names[(index + 1) % len(names)]
            body = [
                helper.make_node(following, ["v"], ["u"], domain="own"),
                helper.make_node(following, ["u"], ["w"], domain="own"),
            ]
        proto.functions.append(helper.make_function("own", name, ["v"], ["w"], body, imports))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.graph.node.append(helper.make_node(names[0], [proto.graph.input[0].name], ["called"], domain="own"))

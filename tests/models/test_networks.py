"""AlexNet and ZFNet, layer by layer, as the papers draw them."""

from math import prod

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from zfviz.models.networks import alexnet, build, weight_shapes, zfnet

MAPS = {
    "alexnet": {
        **dict.fromkeys(["conv1", "relu1", "norm1"], (96, 55, 55)),
        "pool1": (96, 27, 27),
        **dict.fromkeys(["conv2", "relu2", "norm2"], (256, 27, 27)),
        "pool2": (256, 13, 13),
        **dict.fromkeys(["conv3", "relu3", "conv4", "relu4"], (384, 13, 13)),
        **dict.fromkeys(["conv5", "relu5"], (256, 13, 13)),
        "pool5": (256, 6, 6),
    },
    "zfnet": {
        **dict.fromkeys(["conv1", "relu1"], (96, 110, 110)),
        **dict.fromkeys(["pool1", "norm1"], (96, 55, 55)),
        **dict.fromkeys(["conv2", "relu2"], (256, 26, 26)),
        **dict.fromkeys(["pool2", "norm2"], (256, 13, 13)),
        **dict.fromkeys(["conv3", "relu3", "conv4", "relu4"], (384, 13, 13)),
        **dict.fromkeys(["conv5", "relu5"], (256, 13, 13)),
        "pool5": (256, 6, 6),
    },
}
NETWORKS = {"alexnet": alexnet, "zfnet": zfnet}


def small(name: str) -> onnx.ModelProto:
    layers = NETWORKS[name](width=16, classes=10)
    rng = np.random.default_rng(3)
    return build(name, layers, {n: rng.standard_normal(s, np.float32) for n, s in weight_shapes(layers).items()})


@pytest.mark.parametrize("name", NETWORKS)
def test_every_map_has_the_size_that_the_paper_gives(name: str) -> None:
    model = small(name)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    sizes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)[1:] for v in inferred.value_info}
    expected = MAPS[name] | {"flat": (9216,), "fc8": (10,)}
    expected |= dict.fromkeys(["fc6", "relu6", "fc7", "relu7"], (16,))
    assert {n: s for n, s in sizes.items() if n in expected} == expected
    assert [n.name for n in model.graph.node] == [n.output[0] for n in model.graph.node]


# ZFNet: the number of the specification; AlexNet: Krizhevsky's 60 million
@pytest.mark.parametrize(("network", "count"), [(zfnet, 62_357_608), (alexnet, 60_965_224)])
def test_parameters_are_as_many_as_the_paper_has(network, count: int) -> None:
    assert sum(map(prod, weight_shapes(network()).values())) == count


@pytest.mark.parametrize("width", [2048, 8192])
def test_the_width_of_layers_6_and_7_varies_as_in_table_3(width: int) -> None:
    shapes = weight_shapes(zfnet(width))
    assert shapes["fc6/weight"] == (width, 9216)
    assert shapes["fc7/weight"] == (width, width)


def test_norm_comes_after_the_pool_in_zfnet_and_before_it_in_alexnet() -> None:
    orders = [[n.op_type for n in small(name).graph.node][:4] for name in NETWORKS]
    assert orders == [["Conv", "Relu", "LRN", "MaxPool"], ["Conv", "Relu", "MaxPool", "LRN"]]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_layers_are_those_of_the_papers(name: str) -> None:
    """Filters, strides and groups: Krizhevsky 2012, section 3.5; Zeiler & Fergus 2013, figure 3."""
    found = {
        node.name: {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        for node in small(name).graph.node
    }
    convs = [(v["kernel_shape"][0], v["strides"][0], v["group"]) for n, v in found.items() if n.startswith("conv")]
    first, second = {"alexnet": ((11, 4, 1), (5, 1, 2)), "zfnet": ((7, 2, 1), (5, 2, 1))}[name]
    groups = {"alexnet": (1, 2, 2), "zfnet": (1, 1, 1)}[name]
    assert convs == [first, second, *((3, 1, g) for g in groups)]
    pools = [v for n, v in found.items() if n.startswith("pool")]
    assert [(v["kernel_shape"], v["strides"], v["ceil_mode"]) for v in pools] == [([3, 3], [2, 2], 1)] * 3


def test_contrast_is_normalised_as_krizhevsky_writes_it() -> None:
    """Section 3.3: by (k + alpha * sum of squares)^beta over five maps; k = 2, alpha = 1e-4, beta = 0.75."""
    node = next(n for n in small("alexnet").graph.node if n.op_type == "LRN")
    values = 100 * np.random.default_rng(4).standard_normal((1, 12, 3, 4)).astype(np.float32)
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, values.shape) for n in (node.input[0], "y"))
    node.output[0] = "y"
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [x], [y]), ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    found = ort.InferenceSession(model.SerializeToString()).run(None, {node.input[0]: values})[0]
    padded = np.pad(values.astype(float) ** 2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    sums = sum(padded[:, n : n + 12] for n in range(5))
    np.testing.assert_allclose(found, values / (2 + 1e-4 * sums) ** 0.75, rtol=1e-5)


def test_a_weight_of_another_shape_is_refused() -> None:
    layers = zfnet(16, 10)
    weights = {n: np.zeros(s, np.float32) for n, s in weight_shapes(layers).items()}
    weights["conv2/weight"] = weights["conv2/weight"][:, :-1]
    with pytest.raises(ValueError, match=r"conv2/weight has shape \(256, 95, 5, 5\); expected \(256, 96, 5, 5\)"):
        build("zfnet", layers, weights)

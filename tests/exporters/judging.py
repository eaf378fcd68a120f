"""Whether zfviz projects a model right: against torch in float64, with the same masks and switches on both sides."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from exporters.specimen import Specimen
from onnx import helper
from windows import difference

from zfviz.errors import LayerError, ZfvizError
from zfviz.graph.companion import PIXELS, SIGNAL, Companion, build_companion
from zfviz.graph.layers import Layer
from zfviz.graph.rules import METHODS
from zfviz.runtime.loading import Model, load
from zfviz.runtime.session import open_session
from zfviz.studies.selection import default_layers
from zfviz.tolerances import WHOLE_NET

HALF_NET = 1e-2
"""A whole projection from forward values of float16, which have 11 bits each, relative to the largest value."""
OPEN_SIZE = {"size": [64, 96]}


@dataclass(frozen=True)
class Verdict:
    """`worst` is the largest relative difference of a projection; `refused` says why there is none."""

    exporter: str
    name: str
    worst: float
    refused: str = ""
    bar: float = WHOLE_NET

    @property
    def right(self) -> bool:
        """Whether every projection is right."""
        return not self.refused and self.worst < self.bar


def judge(specimen: Specimen, folder: Path) -> Verdict:
    """The verdict on one model: three methods, for a layer low, one high, and an output; whole maps and windows."""
    try:
        model = load(specimen.make(folder), preprocessing=OPEN_SIZE, inputs=specimen.inputs)
        worst = max(_differences(model, specimen.inputs))
    except ZfvizError as error:
        return Verdict(specimen.exporter, specimen.name, np.inf, str(error))
    return Verdict(specimen.exporter, specimen.name, worst, bar=HALF_NET if has_halves(model) else WHOLE_NET)


def _differences(model: Model, inputs: Mapping[str, np.ndarray]) -> Iterator[float]:
    from oracle import Oracle

    proto = onnx.ModelProto()
    proto.CopyFrom(model.source.proto)
    if model.source.folder is not None:
        onnx.load_external_data_for_model(proto, str(model.source.folder))
    for index in reversed([i for i, tensor in enumerate(proto.graph.initializer) if tensor.name in inputs]):
        del proto.graph.initializer[index]
    image = picture(model)
    rng = np.random.default_rng(0)
    # the oracle does not look into fused operators for activations of several nodes; their gradient it knows
    methods = ("gradient",) if quantised(model) else METHODS
    companions = {m: [(p, build_companion(model.canonical, p.tensor, m)) for p in probed(model)] for m in methods}
    for method in methods:
        oracle = Oracle(proto, image, method, dict(inputs))
        for layer, companion in companions[method]:
            maps = oracle.values[layer.tensor]
            signal = np.zeros(maps.size)
            alive = np.flatnonzero(maps)
            signal[int(maps.argmax())] = 1
            signal[int(rng.choice(alive)) if len(alive) else 0] -= 0.7  # not as much: a softmax would cancel it
            signal = signal.reshape(maps.shape)
            expected = oracle.project(layer.tensor, signal)
            found = run_back(companion, oracle.values, oracle.switches, signal, model)
            yield float(np.abs(found - expected).max() / (np.abs(expected).max() or 1))
    # of float16, onnxruntime's MaxPool sees more digits than come out: other values are equal there than here
    for layer in () if has_halves(model) else probed(model)[:2][-1:]:
        # what the runtime computes over windows is what the exported companion does over whole maps
        yield difference(model, layer, methods[0] if quantised(model) else "guided", image)


def has_halves(model: Model) -> bool:
    """Whether some of its numbers are float16."""
    return any(tensor.dtype == np.float16 for tensor in model.canonical.graph.tensors().values())


def quantised(model: Model) -> bool:
    """Whether integers stand for real numbers somewhere on the way up."""
    return any(layer.scale != 1 or layer.zero for layer in model.layers)


def picture(model: Model) -> np.ndarray:
    """One seeded image that is neither flat nor noise, in the model's layout and type."""
    rng = np.random.default_rng(0)
    _, channels, *size = (model.image.shape[axis] for axis in model.image.axes)
    blocks = np.kron(rng.standard_normal((channels, size[0] // 8 + 1, size[1] // 8 + 1)), np.ones((8, 8)))
    image = blocks[:, : size[0], : size[1]] + 0.3 * rng.standard_normal((channels, *size))
    if model.image.dtype.kind == "u":
        image = np.clip(128 + 50 * image, 0, 255)
    batch = np.repeat(image[None], model.image.shape[0], axis=0)
    return np.ascontiguousarray(batch.transpose(np.argsort(model.image.axes)).astype(model.image.dtype))


def probed(model: Model) -> list[Layer]:
    """A layer low, one high, and the first output that holds real numbers."""
    try:
        rows = default_layers(model)
    except LayerError:
        rows = ()
    outputs = {value.name for value in model.source.proto.graph.output}
    ends = [layer for layer in model.layers if layer.tensor in outputs]
    return list(dict.fromkeys([*rows[:1], *rows[-1:], *ends[:1]]))


def run_back(
    companion: Companion,
    values: Mapping[str, np.ndarray],
    switches: Mapping[str, np.ndarray],
    signal: np.ndarray,
    model: Model,
) -> np.ndarray:
    """The pixels that the companion makes of a signal, with these forward values."""
    types = {value.name: value.type.tensor_type.elem_type for value in companion.proto.graph.input}
    feeds = {SIGNAL: signal.astype(np.float32)}
    for name in companion.values:
        value = switches[companion.switches[name]] if name in companion.switches else values[name]
        feeds[name] = value.astype(helper.tensor_dtype_to_np_dtype(types[name]))
    return open_session(companion.proto, model.source.folder, device="cpu").run(feeds, [PIXELS])[PIXELS]

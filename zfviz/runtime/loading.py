"""Loading: from a file to a model that can be projected."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, ValueInfoProto

from zfviz.graph.exposure import cut
from zfviz.graph.model import ImageInput, Model, build_model, find_image_input
from zfviz.graph.source import Source, read_source
from zfviz.runtime.session import open_session


def load(model: str | Path | bytes | ModelProto | Model, input_shape: Sequence[int] | None = None) -> Model:
    """The model behind a path, bytes or a ModelProto, ready to be projected.

    `input_shape` is in the model's own layout and fixes the sizes that the model leaves open (224 otherwise).
    Raises ModelError: not an ONNX model, weights missing, no single image input, shapes that contradict each other.
    """
    if isinstance(model, Model):
        return model
    source = read_source(model)
    image = find_image_input(source, input_shape)

    def evaluate(proto: ModelProto, names: Sequence[str]) -> dict[str, np.ndarray]:
        return _run_on_zeros(proto, names, source, image)

    return build_model(source, image, evaluate)


def _run_on_zeros(
    proto: ModelProto, names: Sequence[str], source: Source, image: ImageInput
) -> dict[str, np.ndarray]:
    part = cut(proto, [ValueInfoProto(name=name) for name in names])
    session = open_session(part, source.folder, device="cpu")
    feeds = {image.name: np.zeros(image.shape, np.float32)} if any(i.name == image.name for i in part.graph.input) else {}
    return session.run(feeds, names)

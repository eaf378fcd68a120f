"""Loading: from a file to a model that can be projected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from onnx import ModelProto, ValueInfoProto, helper

from zfviz.errors import LayerError, ModelError, nearest
from zfviz.graph.canonical import Canonical, Evaluate, canonicalize
from zfviz.graph.exposure import cut
from zfviz.graph.image_input import ImageInput, bind_inputs, find_image_input
from zfviz.graph.layers import Layer, list_layers
from zfviz.graph.source import Source, read_source
from zfviz.images.labels import find_labels
from zfviz.images.preprocessing import PRESETS, Preprocessing, find_preprocessing
from zfviz.models.names import find_model
from zfviz.runtime.session import open_session


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Model:
    """A loaded model: the user's own graph, its canonical form, its image input and its layers; `load` makes it.

    `preprocessing` is how a picture becomes the image input, `labels` the names of the classes, by index.
    """

    source: Source
    image: ImageInput
    canonical: Canonical
    layers: tuple[Layer, ...]
    preprocessing: Preprocessing
    labels: Mapping[int, str]

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.image.shape))
        return f"<zfviz.Model {self.name}: {self.image.name} [{shape}], {len(self.layers)} layers>"

    @property
    def name(self) -> str:
        """The name of the model's file, or of its graph."""
        return self.source.name

    def layer(self, name: str) -> Layer:
        """The layer addressed by its output tensor or its node's name; the tensor wins where a name is both.

        Raises LayerError for an unknown name, with the nearest ones, and for a name that two nodes share.
        """
        for layer in self.layers:
            if layer.tensor == name:
                return layer
        named = [layer for layer in self.layers if layer.node == name]
        if len(named) == 1:
            return named[0]
        if named:
            tensors = ", ".join(repr(layer.tensor) for layer in named)
            raise LayerError(
                f"{len(named)} nodes are named {name!r}; expected one. Choose by output tensor: {tensors}."
            )
        known = dict.fromkeys(n for layer in self.layers for n in (layer.name, layer.tensor))
        raise LayerError(f"no layer {name!r} in {self.name}; {nearest(name, known)}. `zfviz layers` lists all.")


FLOAT = np.dtype(np.float32)

ModelLike = Model | str | PathLike[str] | bytes | ModelProto
"""What is taken wherever a model is asked for."""


def load(
    model: ModelLike,
    input_shape: Sequence[int] | None = None,
    preprocessing: str | PathLike[str] | Mapping[str, object] | Preprocessing | None = None,
    inputs: Mapping[str, np.ndarray | str | PathLike[str]] | None = None,
) -> Model:
    """The model behind a path, the name of a bundled or pulled one, bytes or a ModelProto, ready to be projected; a
    Model as it is.

    `input_shape` is in the model's own layout and fixes the sizes that the model leaves open. `preprocessing` is the
    name of a preset, a JSON file or its content; by default it is looked for in the model's metadata and beside its
    file. `inputs` are values for the model's other inputs, by name: arrays, or .npy files. Raises ModelError: not an
    ONNX model, weights missing, no single image input, inputs without a value, shapes that contradict each other, a
    file that zfviz made.
    """
    if isinstance(model, Model):
        return model
    source = read_source(find_model(model))
    if inputs:
        source = bind_inputs(source, {name: _read_value(name, value) for name, value in inputs.items()})
    metadata = {entry.key: entry.value for entry in source.proto.metadata_props}
    if "zfviz.layer" in metadata:
        raise ModelError(
            f"{source.name} holds what zfviz made of a model, the projections of {metadata['zfviz.layer']!r}; expected "
            "a model as it was exported. Give the one that this was made of."
        )
    found = find_preprocessing(preprocessing, metadata, source.folder)
    image = find_image_input(source, input_shape, found.size or (224, 224))

    if found.source == "assumed" and image.dtype == np.uint8:
        found = replace(PRESETS["raw"], source="assumed")
    kind = helper.np_dtype_to_tensor_dtype(image.dtype)
    shaped = helper.make_tensor_value_info(image.name, kind, list(image.shape))
    canonical = canonicalize(source.proto, shaped, evaluator(image.name, image.shape, source.folder, image.dtype))
    labels = find_labels(metadata, source.folder, Path(source.name).stem)
    return Model(source, image, canonical, list_layers(canonical, image), found, labels)


def _read_value(name: str, value: np.ndarray | str | PathLike[str]) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    # numpy meets hostile files with almost any exception: OSError, ValueError, EOFError, SyntaxError, TokenError ...
    try:
        # as a map of the file, so that nothing is taken for numbers that a header only promises
        found: np.ndarray | NpzFile = np.load(value, mmap_mode="r", allow_pickle=False)
        if isinstance(found, NpzFile):
            found.close()
            raise ValueError("it holds several arrays")
        return np.array(found)
    except Exception as error:
        raise ModelError(
            f"the value for input {name!r} cannot be read from {value} ({error}); expected a .npy file of plain "
            "numbers, as numpy.save writes it."
        ) from None


def evaluator(name: str, shape: Sequence[int], folder: Path | None, dtype: np.dtype = FLOAT) -> Evaluate:
    """What runs a model on zeros of `shape` in the input `name`, for `canonicalize`."""

    def evaluate(proto: ModelProto, names: Sequence[str]) -> dict[str, np.ndarray]:
        part = cut(proto, [ValueInfoProto(name=wanted) for wanted in names])
        feeds = {name: np.zeros(shape, dtype)} if any(i.name == name for i in part.graph.input) else {}
        return open_session(part, folder, device="cpu", bounded=True).run(feeds, names)

    return evaluate

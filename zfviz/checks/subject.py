"""What is audited: a model, and with it images and a baseline where there are any."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from zfviz.checks.kernels import Kernels, find_kernels
from zfviz.checks.records import Baseline
from zfviz.checks.responses import Responses, see
from zfviz.graph.layers import Layer
from zfviz.images.preprocessing import Preprocessing
from zfviz.runtime.loading import Model
from zfviz.runtime.session import Device, Session
from zfviz.studies.inputs import Batch, read_batch
from zfviz.studies.project import open_forward
from zfviz.studies.selection import class_layer

Item = TypeVar("Item")

SHOWN = 8
"""How many of the images the checks look at that run the model many times for each."""


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many, evenly over all: names often begin with a class, and the first ones are all of one."""
    count = min(most, len(items))
    return [items[place * len(items) // count] for place in range(count)]


class Subject:
    """A model under audit. What several checks need is computed once, when the first of them asks for it.

    `paths` are the images, sorted by name; none where none were given. `baseline` is what an earlier audit recorded, or
    another model's, or None.
    """

    def __init__(
        self,
        model: Model,
        paths: Sequence[Path] = (),
        baseline: Baseline | None = None,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        self.model = model
        self.paths = tuple(paths)
        self.baseline = baseline
        self.device: Device = device
        self.threads = threads

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become what the model takes, with the size of that."""
        return replace(self.model.preprocessing, size=self.model.image.size)

    @cached_property
    def kernels(self) -> tuple[Kernels, ...]:
        """The kernels of every layer that filters."""
        return tuple(find_kernels(self.model))

    @cached_property
    def scores(self) -> Layer | None:
        """The layer of class scores, where the model is a classifier."""
        return class_layer(self.model)

    @property
    def outputs(self) -> list[str]:
        """The names of the model's outputs, those that are tensors."""
        values = self.model.canonical.proto.graph.output
        return [value.name for value in values if value.type.HasField("tensor_type")]

    @cached_property
    def session(self) -> Session:
        """The model, ready to give its outputs and the class scores."""
        scores = [self.scores.tensor] if self.scores else []
        return open_forward(self.model, [*self.outputs, *scores], self.device, self.threads)

    @cached_property
    def responses(self) -> Responses:
        """What every channel of every rectified layer did for all images, from one pass over them."""
        return see(self.model, self.paths, self.device, self.threads)

    @cached_property
    def some(self) -> Batch:
        """A few of the images, from the first name to the last, ready for the model."""
        return read_batch(self.model, spread(self.paths, SHOWN))

    def image(self) -> np.ndarray:
        """One image as the model takes it, [1, ...]: the first, or seeded noise of the size of a picture's values."""
        if self.paths:
            return self.some.array[:1]
        noise = np.random.default_rng(2013).uniform(0, 255, (*self.model.image.size, 3)).astype(np.uint8)
        return read_batch(self.model, Image.fromarray(noise)).array

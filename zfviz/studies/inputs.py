"""What goes in: pictures or arrays, made ready for a model."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zfviz.errors import ImageError
from zfviz.images.decoding import decode
from zfviz.report.pixels import picture_of
from zfviz.runtime.loading import Model

OnePicture = str | PathLike[str] | Image.Image
Pictures = Sequence[OnePicture] | Iterator[OnePicture]
ImageLike = OnePicture | Pictures | np.ndarray[Any, Any]
"""A picture (path or PIL image), several, or a float array that goes into the model as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images ready for a model: `array` float32 [N, ...] in the model's layout, and each as the model sees it.

    `stems` are file names for what is made of each, no two alike. `preprocessed` is whether pictures went through the
    model's preprocessing, or came as arrays.
    """

    array: np.ndarray
    views: tuple[Image.Image, ...]
    names: tuple[str, ...]
    stems: tuple[str, ...]
    preprocessed: bool

    def part(self, images: slice) -> "Batch":
        """Some of its images."""
        return replace(
            self,
            array=self.array[images],
            views=self.views[images],
            names=self.names[images],
            stems=self.stems[images],
        )


def read_batch(model: Model, image: ImageLike, named: Sequence[tuple[str, str]] | None = None) -> Batch:
    """The images, ready for the model; `named` are their names as by `name_pictures`, which are found by default.

    Raises ImageError: not an image, or an array that does not fit the input."""
    if isinstance(image, np.ndarray):
        return _array_batch(model, image)
    pictures = list_pictures(image)
    height, width = model.image.size
    views = tuple(model.preprocessing.view(decode(picture), height, width) for picture in pictures)
    if model.image.channels == 1:
        views = tuple(view.convert("L") for view in views)
    arrays = [model.preprocessing.array(view, model.image.channels) for view in views]
    array = np.stack(arrays).transpose(np.argsort(model.image.axes))
    names, stems = zip(*(named or name_pictures(pictures)), strict=True)
    return Batch(np.ascontiguousarray(array), views, names, stems, preprocessed=True)


def list_pictures(image: OnePicture | Pictures) -> list[OnePicture]:
    """The pictures, one or several. Raises ImageError where there is none, or something else."""
    try:
        pictures: list[Any] = [image] if isinstance(image, str | PathLike | Image.Image) else [*image]
    except TypeError:
        pictures = [image]
    if not pictures:
        raise ImageError("no image given; expected at least one.")
    for picture in pictures:
        if not isinstance(picture, str | PathLike | Image.Image):
            raise ImageError(
                f"found a {type(picture).__name__} as an image; expected a path or a PIL image. "
                "Give arrays as one of [N, ...] in the model's layout."
            )
    return pictures


def assumptions(model: Model, pictures: bool) -> list[str]:
    """What was assumed of the model's input, and not found in the model, a sentence each; `pictures` is whether some
    were prepared for it.
    """
    said: list[str] = []
    if pictures and model.preprocessing.source == "assumed":
        how = model.preprocessing.describe(model.image.channels)
        said.append(f"preprocessing was not found in the model and is assumed: {how}. State it with --preprocess.")
    if model.image.assumed_size:
        height, width = model.image.size
        said.append(f"the model leaves its input size open; {height}x{width} is assumed.")
    return said


def name_pictures(pictures: Sequence[OnePicture]) -> list[tuple[str, str]]:
    """The name of each picture, and a file name without suffix: its own, numbered where two share one."""
    names = [
        f"image{index}" if isinstance(picture, Image.Image) else Path(picture).name
        for index, picture in enumerate(pictures)
    ]
    stems = [Path(name).stem for name in names]
    counts = Counter(stems)
    distinct = [stem if counts[stem] == 1 else f"{stem}.{index:04}" for index, stem in enumerate(stems)]
    return [*zip(names, distinct, strict=True)]


def as_nchw(model: Model, values: np.ndarray) -> np.ndarray:
    """Values in the layout of the model's input, turned to [N, C, H, W]."""
    return np.ascontiguousarray(values.transpose(model.image.axes))


def _array_batch(model: Model, array: np.ndarray) -> Batch:
    rows = array[None] if array.ndim == len(model.image.shape) - 1 else array
    wanted = ", ".join(map(str, model.image.shape[1:]))
    if rows.shape[1:] != model.image.shape[1:] or not len(rows) or not np.issubdtype(array.dtype, np.floating):
        raise ImageError(
            f"the array is {array.dtype} {array.shape}; expected floats of [N, {wanted}]. "
            "Preprocess it so, give pictures instead, or load the model with another input_shape."
        )
    views = tuple(picture_of(values) for values in as_nchw(model, rows))
    names = tuple(f"array{i}" for i in range(len(rows)))
    return Batch(rows.astype(np.float32), views, names, names, preprocessed=False)

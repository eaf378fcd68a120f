"""Preprocessing: how a picture becomes the array that a model was trained on. Data, not code."""

import json
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from PIL import Image

from zfviz.errors import ImageError, nearest

Fit = Literal["crop", "stretch", "letterbox"]
Colour = Literal["RGB", "BGR"]

METADATA_KEY = "zfviz.preprocessing"
HUGGING_FACE_FILE = "preprocessor_config.json"
MAX_JSON_BYTES = 1_000_000
MAX_SIDE = 16_384
LETTERBOX_GREY = 114  # what Ultralytics pads with
RESAMPLE = Image.Resampling.BICUBIC


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes an array: value = (pixel * scale - mean) / std, pixel from 0 to 255.

    `size` is the (height, width) it was trained at, None for whatever the model takes. `fit` "crop" scales the picture
    so that the centre crop is `crop` of its shorter side, "stretch" ignores its proportions, "letterbox" keeps them
    and pads with grey. `mean` and `std` have one number for each channel in the order `colour`, or one for all.
    `source` says where it was found.
    """

    fit: Fit = "crop"
    crop: float = 0.875
    colour: Colour = "RGB"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: tuple[int, int] | None = None
    source: str = "options"

    def view(self, picture: Image.Image, height: int, width: int) -> Image.Image:
        """The picture as the model sees it: height x width, in its own mode ("RGB" or "L")."""
        size = (width, height)
        if self.fit == "stretch":
            return picture.resize(size, RESAMPLE)
        if self.fit == "letterbox":
            return _letterbox(picture, size)
        # the crop is taken from the source before scaling, so that nothing larger than the view is ever made
        return picture.resize(size, RESAMPLE, box=_centre_box(picture.size, size, self.crop))

    def array(self, view: Image.Image, channels: int) -> np.ndarray:
        """The view as float32 [channels, H, W]: grey is repeated for three channels, colour mixed to luma for one.

        A mean or std of three numbers is averaged for one channel. Raises ImageError for any other number of channels.
        """
        if channels not in (1, 3):
            raise ImageError(f"the model takes {channels} channels; a picture has 1 or 3. Give an array instead.")
        pixels = np.asarray(view.convert("L" if channels == 1 else "RGB")).reshape(*view.size[::-1], channels)
        if self.colour == "BGR":
            pixels = pixels[..., ::-1]
        mean, std = (_for_channels(numbers, channels)[:, None, None] for numbers in (self.mean, self.std))
        values = pixels.transpose(2, 0, 1).astype(np.float32, order="C")
        # in place: memory that is asked for takes longer than the arithmetic
        values *= np.float32(self.scale)
        values -= mean
        values /= std
        return values

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "fit": self.fit,
            "crop": self.crop,
            "colour": self.colour,
            "scale": self.scale,
            "mean": list(self.mean),
            "std": list(self.std),
            "size": list(self.size) if self.size else None,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], source: str) -> "Preprocessing":
        """The preprocessing written by `to_json`; keys may be missing. Raises ImageError that names a bad key."""
        for key, value in values.items():
            if key not in _CHECKS:
                raise ImageError(f"{source}: unknown key {reprlib.repr(key)}; {nearest(str(key)[:80], _CHECKS)}.")
            expected, holds = _CHECKS[key]
            if not holds(value):
                raise ImageError(f"{source}: {key} is {reprlib.repr(value)}; expected {expected}.")
        settled: dict[str, Any] = {}
        for key, value in values.items():
            settled[key] = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
        return cls(**settled, source=source)

    def changes(self, to: "Preprocessing") -> list[str]:
        """What another preprocessing does otherwise, such as "mean was 1 2 3 and is 3 2 1": numbers are pixels of 0 to
        255, in the order RGB, so that what is only written otherwise is no change.
        """
        was, now = self._settled(), to._settled()
        return [f"{word} was {was[word]} and is {now[word]}" for word in was if was[word] != now[word]]

    def _settled(self) -> dict[str, str]:
        def in_pixels(numbers: Sequence[float]) -> str:
            three = np.resize(numbers, 3) if len(numbers) == 1 else numbers
            return " ".join(f"{number / self.scale:.4g}" for number in three[:: -1 if self.colour == "BGR" else 1])

        return {
            "fit": f"crop of {100 * self.crop:.4g} %" if self.fit == "crop" else self.fit,
            "colour": self.colour,
            "mean": in_pixels(self.mean),
            "std": in_pixels(self.std),
            "size": " x ".join(map(str, self.size or ())) or "any",
        }

    def describe(self, channels: int = 3) -> str:
        """One line for people, for a model of so many channels."""
        fits = {"crop": f"centre crop of {100 * self.crop:.4g} %", "stretch": "stretched", "letterbox": "letterboxed"}
        per = 1 / self.scale
        pixel = "x" if self.scale == 1 else f"x/{per:.4g}"
        means, stds = (np.unique(_for_channels(n, 1)) if channels == 1 else n for n in (self.mean, self.std))
        mean, std = (" ".join(f"{n:.4g}" for n in numbers) for numbers in (means, stds))
        value = f"{pixel} - [{mean}]" if any(self.mean) else pixel
        value = f"({value}) / [{std}]" if set(self.std) != {1.0} else value
        return f"{self.colour if channels > 1 else 'grey'}, {fits[self.fit]}, {value}"


PRESETS: Mapping[str, Preprocessing] = {
    "imagenet": Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "caffe": Preprocessing("stretch", 1, "BGR", 1.0, (103.939, 116.779, 123.68)),
    "inception": Preprocessing(mean=(0.5,), std=(0.5,)),
    "unit": Preprocessing(),
    "raw": Preprocessing(scale=1.0),
    "yolo": Preprocessing("letterbox", 1),
}
"""By name: torchvision, Caffe and the ONNX zoo, Keras "tf" mode (-1 to 1), 0 to 1, 0 to 255, Ultralytics."""

DEFAULT = "imagenet"

Option = str | os.PathLike[str] | Mapping[str, Any] | Preprocessing | None


def find_preprocessing(option: Option, metadata: Mapping[str, str], folder: Path | None) -> Preprocessing:
    """The preprocessing of a model: the option (a preset's name, a JSON file or its content), else the model's metadata
    (`zfviz.preprocessing`), else preprocessor_config.json beside it, else the preset "imagenet" with source "assumed".

    Raises ImageError for a bad option, and for metadata or a file that holds no preprocessing.
    """
    if isinstance(option, Preprocessing):
        return option
    if isinstance(option, Mapping):
        return _from_any(option, "options")
    if option is not None:
        return _from_option(option)
    if METADATA_KEY in metadata:
        text = metadata[METADATA_KEY].encode(errors="surrogatepass")
        return _from_any(_parse(text, METADATA_KEY), f"metadata {METADATA_KEY}")
    beside = folder / HUGGING_FACE_FILE if folder else None
    if beside and beside.is_file():
        return _from_any(_read(beside), HUGGING_FACE_FILE)
    return replace(PRESETS[DEFAULT], source="assumed")


def _from_option(option: str | os.PathLike[str]) -> Preprocessing:
    name = os.fspath(option)
    if name in PRESETS:
        return replace(PRESETS[name], source=f"preset {name}")
    path = Path(name)
    try:
        exists = path.is_file()
    except OSError:  # a name too long for the system, or a folder that may not be entered
        exists = False
    if not exists:
        shown = reprlib.repr(name)
        raise ImageError(f"preprocessing {shown} is neither a preset nor a file; {nearest(name[:80], PRESETS)}.")
    return _from_any(_read(path), path.name)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            return _parse(file.read(MAX_JSON_BYTES + 1), path.name)
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); expected a JSON file.") from None


def _parse(text: bytes, name: str) -> Mapping[str, Any]:
    if len(text) > MAX_JSON_BYTES:
        raise ImageError(f"{name} has more than {MAX_JSON_BYTES:,} bytes; expected the JSON of a preprocessing.")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise ImageError(f"{name} is no JSON object; expected the preprocessing of a model.")
    return cast("dict[str, Any]", values)


def _from_any(values: Mapping[str, Any], source: str) -> Preprocessing:
    """Our own JSON, or a Hugging Face preprocessor_config.json."""
    hugging_face = {"do_normalize", "do_resize", "do_rescale", "image_mean", "image_processor_type"}
    if hugging_face & values.keys():
        return Preprocessing.from_json(_from_hugging_face(values, source), source)
    return Preprocessing.from_json(values, source)


def _from_hugging_face(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    for key in ("rescale_offset", "include_top"):
        if config.get(key):
            raise ImageError(
                f"{source}: {key} is set, which is not understood; expected plain scale, mean and std. "
                "State the preprocessing in our own keys (README)."
            )
    resized, cropped = (_side_lengths(config, key, source) for key in ("size", "crop_size"))
    crops = bool(config.get("do_center_crop", False)) and cropped is not None
    settled: dict[str, Any] = {
        "fit": "crop" if crops or "shortest_edge" in _mapping(config.get("size")) else "stretch",
        "scale": config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0,
        "size": cropped if crops else resized,
        "crop": 1.0,
    }
    if crops and cropped and resized:
        settled["crop"] = min(1.0, min(cropped) / min(resized))
    if config.get("do_flip_channel_order"):
        settled["colour"] = "BGR"
    # ConvNeXt's processor crops small sizes only
    if config.get("crop_pct") and (resized is None or min(resized) < 384):
        settled["fit"], settled["crop"] = "crop", config["crop_pct"]
    if config.get("do_normalize", True):
        settled |= {"mean": config.get("image_mean", [0.0]), "std": config.get("image_std", [1.0])}
    return settled


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _side_lengths(config: Mapping[str, Any], key: str, source: str) -> list[int] | None:
    """[height, width], or None where the sides are left open or written in a way that only other models use."""
    value = config.get(key)
    sides = _mapping(value)
    if "height" in sides and "width" in sides:
        found = [sides["height"], sides["width"]]
    elif isinstance(value, dict):
        found = [sides["shortest_edge"]] * 2 if "shortest_edge" in sides else None
    elif isinstance(value, list):
        found = cast("list[Any]", value)
    else:
        found = None if value is None else [value] * 2
    if found is not None and not _is_size(found):
        raise ImageError(f"{source}: {key} is {reprlib.repr(config[key])}; expected {_CHECKS['size'][0]}.")
    return found


def _letterbox(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    factor = min(size[0] / picture.width, size[1] / picture.height)
    # not ImageOps.pad: older Pillows fail where a side rounds to nothing
    inner = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    grey = LETTERBOX_GREY if picture.mode == "L" else (LETTERBOX_GREY,) * 3
    whole = Image.new(picture.mode, size, grey)
    whole.paste(picture.resize(inner, RESAMPLE), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return whole


def _centre_box(source: tuple[int, int], target: tuple[int, int], crop: float) -> tuple[float, float, float, float]:
    """The middle of a picture in the proportions of `target`, `crop` of the largest such box."""
    factor = min(source[0] / target[0], source[1] / target[1]) * crop
    width, height = target[0] * factor, target[1] * factor
    left, top = (source[0] - width) / 2, (source[1] - height) / 2
    # rounding may lay the box a hair outside, which Pillow refuses
    return max(left, 0), max(top, 0), min(left + width, source[0]), min(top + height, source[1])


def _for_channels(numbers: Sequence[float], channels: int) -> np.ndarray:
    if len(numbers) not in (1, channels) and channels != 1:
        raise ImageError(f"mean or std has {len(numbers)} numbers; expected 1 or {channels}, one a channel.")
    values = np.array(numbers, np.float32)
    return values.mean(keepdims=True) if channels == 1 else values


def _is_number(value: Any) -> bool:
    # the arithmetic is float32: what it cannot hold would turn the array into infinities; NaN compares false
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e30


def _are_numbers(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and 0 < len(cast("Any", value)) <= 4
        and all(map(_is_number, cast("Any", value)))
    )


def _is_size(value: Any) -> bool:
    return _are_numbers(value) and len(value) == 2 and all(isinstance(n, int) and 0 < n <= MAX_SIDE for n in value)


_CHECKS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "fit": ("crop, stretch or letterbox", lambda v: v in ("crop", "stretch", "letterbox")),
    "crop": ("a number above 0, at most 1", lambda v: _is_number(v) and 0 < v <= 1),
    "colour": ("RGB or BGR", lambda v: v in ("RGB", "BGR")),
    "scale": ("a number above 0", lambda v: _is_number(v) and bool(np.float32(v) > 0)),
    "mean": ("a list of numbers, one a channel", _are_numbers),
    "std": ("a list of numbers other than 0, one a channel", lambda v: _are_numbers(v) and all(map(np.float32, v))),
    "size": (f"[height, width], 1 to {MAX_SIDE}", lambda v: v is None or _is_size(v)),
}

"""Names of models: a bundled or a pulled one is known by its name wherever a path is taken."""

import os
from os import PathLike, fspath
from pathlib import Path

from onnx import ModelProto

from zfviz.errors import ModelError, nearest
from zfviz.models.bundled import NETWORKS, bundled
from zfviz.models.zoo import MODELS, cache_path


def find_model(model: str | PathLike[str] | bytes | ModelProto) -> PathLike[str] | bytes | ModelProto:
    """The bundled network or the pulled file behind a name; paths, bytes and protos as they are.

    A file of that name is meant, where there is one. Raises ModelError for a name that was not pulled yet, and for
    what is neither a name nor could be a path.
    """
    if isinstance(model, bytes | ModelProto):
        return model
    name, path = fspath(model), Path(model)
    # unlike those of Path, functions of os.path take names that are too long for the system
    if os.path.isfile(name):  # noqa: PTH113
        return path
    if name in NETWORKS:
        return bundled(name)
    if name in MODELS:
        return _pulled(name)
    if path.name == name and not path.suffix and not os.path.exists(name):  # noqa: PTH110
        raise ModelError(f"no file and no model is named {name!r}; {nearest(name, [*NETWORKS, *MODELS])}.")
    return path


def read_named(name: str) -> bytes:
    """The ONNX file of a bundled or a pulled network. Raises ModelError for any other name."""
    if name in NETWORKS:
        return bundled(name).SerializeToString()
    if name in MODELS:
        return _pulled(name).read_bytes()
    raise ModelError(f"no model is named {name!r}; {nearest(name, [*NETWORKS, *MODELS])}.")


def _pulled(name: str) -> Path:
    if not cache_path(name).is_file():
        raise ModelError(f"{name} was not pulled yet; expected it at {cache_path(name)}. zfviz models pull {name}")
    return cache_path(name)

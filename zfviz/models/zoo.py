"""Networks that others trained on ImageNet: files of the ONNX model zoo, fetched once, checked, and kept in the user's
cache.
"""

import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from onnx import ModelProto, StringStringEntryProto
from platformdirs import user_cache_path

from zfviz.errors import DownloadError, nearest
from zfviz.images.preprocessing import METADATA_KEY, PRESETS
from zfviz.report.files import make_folder, refused

ZOO = "https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/validated/vision/classification"
CHUNK = 2**20
TIMEOUT = 30.0
"""Seconds without a byte."""


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A file of the zoo: its folder and name there, its size in bytes and its SHA-256; `about` is a sentence."""

    folder: str
    file: str
    size: int
    sha256: str
    about: str


MODELS: Mapping[str, ZooModel] = {
    "bvlcalexnet": ZooModel(
        "alexnet",
        "bvlcalexnet-12.onnx",
        243863787,
        "6b0da9510f27f234ee96a85dc3809dd210150fdefad87f6850f9788513216945",
        "AlexNet as Caffe's authors trained it on ImageNet; top-1 error 45.2 %",
    ),
    "caffenet": ZooModel(
        "caffenet",
        "caffenet-12.onnx",
        243863798,
        "ea563e5c47d1f58e1717cf1a2d8bf288b8adc07af0ad228b622096cd243aeecb",
        "AlexNet with pooling before normalisation, on ImageNet; top-1 error 43.7 %",
    ),
    "zfnet512": ZooModel(
        "zfnet-512",
        "zfnet512-12.onnx",
        349005501,
        "c975ca6a24c0a2e1584c6f82667e0ac9c06084fc7769d267f71b4a154d1f1c72",
        "a wider relative of ZFNet (512 maps in layers 3 to 5), on ImageNet; top-1 error 44.0 %",
    ),
}


def cache_path(name: str) -> Path:
    """Where the file of a zoo model lies once it was pulled."""
    return user_cache_path("zfviz") / "models" / MODELS[name].file


def pull(name: str, mirror: str | None = None, report: Callable[[int], object] = lambda received: None) -> Path:
    """The path of a zoo model in the cache, downloaded if it is not there whole, with its preprocessing as metadata.

    `mirror` is the address of another folder that holds the file; a query in it is kept. `report` is called with the
    number of bytes that are here. What arrived of an interrupted download is kept, and the next call goes on from
    there. Raises DownloadError: unknown name, no connection, refused, not the expected file, another pull at work;
    OutputError where it cannot be written.
    """
    if name not in MODELS:
        raise DownloadError(f"no model {name!r} to pull; {nearest(name, MODELS)}.")
    model, path = MODELS[name], cache_path(name)
    address = _address(model, mirror)
    part = make_folder(path.parent) / f"{model.file}.part"
    try:
        if path.is_file() and _digest(path, model.size) == model.sha256:
            return path
        with FileLock(f"{part}.lock", blocking=False):
            _fetch(address, part, model, report)
            with part.open("ab") as file:
                # appended to a message of protobuf, another one is merged into it
                properties = StringStringEntryProto(key=METADATA_KEY, value=json.dumps(PRESETS["caffe"].to_json()))
                file.write(ModelProto(metadata_props=[properties]).SerializeToString())
            part.replace(path)
    except Timeout:
        raise DownloadError(f"another pull of {name} is at work; wait until it is done.") from None
    except OSError as error:
        raise refused("write", part, error) from error
    return path


def _address(model: ZooModel, mirror: str | None) -> str:
    """Where the file is fetched from. Raises DownloadError for a mirror that is no address."""
    folder = mirror or f"{ZOO}/{model.folder}/model"
    try:
        parts = urlsplit(folder)
        address = parts._replace(path=f"{parts.path.rstrip('/')}/{model.file}").geturl()
        valid = parts.scheme in ("http", "https") and parts.hostname and not parts.username and parts.port != 0
    except ValueError:
        address, valid = folder, False
    if not valid or not re.fullmatch(r"[!-~]+", address):
        raise DownloadError(
            f"found mirror {folder!r}; expected an address that begins with https:// or http://, without a password, "
            "all in ASCII without spaces."
        )
    return address


def _fetch(address: str, part: Path, model: ZooModel, report: Callable[[int], object]) -> None:
    """Fetch what the part lacks, over as many connections as it takes while each brings some; then check it."""
    resumed = _size(part) > 0
    if _size(part) > model.size:
        os.truncate(part, model.size)  # a pull ended between the metadata and the new name
    while (held := _size(part)) < model.size:
        _receive(address, part, model.size, report)
        if _size(part) <= held:
            raise DownloadError(f"{address} sent nothing after {held:,} of {model.size:,} bytes; try again.")
    if (found := _digest(part, model.size)) == model.sha256:
        return
    part.unlink()
    if not resumed:
        raise DownloadError(
            f"{address} is not the file that was published: found SHA-256 {found}, expected {model.sha256}. "
            "What arrived was deleted; try again, or give another --mirror."
        )
    _fetch(address, part, model, report)  # what was here came from elsewhere: this server is to send all


def _receive(address: str, part: Path, size: int, report: Callable[[int], object]) -> None:
    """Append to the part what the server sends of the rest, until it has `size` bytes or the connection ends."""
    held = _size(part)
    request = urllib.request.Request(address, headers={"Range": f"bytes={held}-", "User-Agent": "zfviz"})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)  # that server's file ends before ours does
        raise DownloadError(
            f"{address} answered {error.code} {error.reason}; expected the file. Give another --mirror."
        ) from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(
            f"cannot reach {address} ({reason}); check the connection, or give a --mirror that can be reached."
        ) from None
    with response:
        goes_on = response.status == HTTPStatus.PARTIAL_CONTENT
        held = held if goes_on else 0
        header = "Content-Range" if goes_on else "Content-Length"
        expected = f"bytes {held}-{size - 1}/{size}" if goes_on else str(size)
        found = response.headers[header] or expected
        if found.replace("/*", f"/{size}") != expected:
            # nothing is opened before: what is here would be lost to a page that says something else
            raise DownloadError(f"{address} says {header}: {found}; expected {expected}. Give another --mirror.")
        with part.open("ab" if goes_on else "wb") as file:
            while held < size and (data := _read(response, min(CHUNK, size - held))):
                file.write(data)
                held += len(data)
                report(held)


def _read(response: http.client.HTTPResponse, size: int) -> bytes:
    """What has arrived, at most `size` bytes; nothing where the connection was cut."""
    try:
        return response.read1(size)
    except (OSError, http.client.HTTPException):
        return b""


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _digest(path: Path, size: int) -> str:
    """The SHA-256 of the first `size` bytes of a file; the metadata comes after them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size and (data := file.read(min(CHUNK, size))):
            digest.update(data)
            size -= len(data)
    return digest.hexdigest()

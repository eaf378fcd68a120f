"""Names and files for results: names that stay in their folder, files that are whole or not there."""

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from zfviz.errors import OutputError

_LONGEST = 120  # characters of a stem; file systems take 255 bytes, and a suffix and a number must still fit
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # Windows opens the device instead
_REASONS = {
    errno.ENOENT: ("there is no such folder", "create it first"),
    errno.EACCES: ("it is not writable", "choose another place or mend its permissions"),
    errno.EPERM: ("it is not writable", "choose another place or mend its permissions"),
    errno.EROFS: ("the file system is read-only", "choose another place"),
    errno.ENOSPC: ("the disk is full", "free some space or choose another place"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another place"),
    errno.ENOTDIR: ("a part of the path is a file, expected a folder", "choose another place"),
    errno.EEXIST: ("a file of that name is in the way, expected a folder", "choose another place"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
}


def file_stem(*parts: str) -> str:
    """The parts, joined by '__', as a file name without suffix that stays inside its folder on every system.

    It holds only A-Z a-z 0-9 . _ - and at most 120 characters, and starts with neither dot nor dash. Where
    anything had to be changed, a hash of all parts follows, so that different parts never give the same stem
    (but for upper and lower case, on file systems that do not tell them apart).
    """
    cleaned = [re.sub(r"[^A-Za-z0-9._-]+", "_", part).strip("_") for part in parts]
    stem = re.sub(r"^[.-]+", "_", "__".join(cleaned)).rstrip(".")
    if _RESERVED.match(stem):
        stem = f"_{stem}"
    untouched = stem == "__".join(parts) and all(part and "__" not in part for part in parts)
    if untouched and 0 < len(stem) <= _LONGEST:
        return stem
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
    room = _LONGEST - len(digest) - 1
    if len(stem) > room:
        # both ends tell names apart: the layer comes first, the unit last
        stem = f"{stem[: room // 2]}_{stem[len(stem) - room + room // 2 + 1 :]}"
    return f"{stem or '_'}-{digest}"


def write_atomically(path: Path, data: bytes | Callable[[BinaryIO], object]) -> Path:
    """The path, which now holds all of `data`: bytes, or whatever the function writes to the file that it is given.

    Where anything fails, what was there before is still there, unchanged. Raises OutputError where the file cannot
    be written; what else the function raises is passed on.
    """
    writable(path)
    # beside the file, since only within one file system is a rename atomic; not by tempfile, which makes files private
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
        beside.replace(path)
    except OSError as error:
        raise refused("write", path, error) from error
    finally:
        with suppress(OSError):  # it is only there where something failed, and that is what is told
            beside.unlink()
    return path


def writable(path: Path) -> None:
    """Raise OutputError where it is plain that no file can be written there."""
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder, expected a file; choose another name")
    if path.exists() and not path.is_file():
        # replacing /dev/null would be the end of it
        raise OutputError(f"cannot write {path}: it is a device or a pipe, expected a file; choose another name")
    if not path.parent.exists():
        raise refused("write", path, FileNotFoundError(errno.ENOENT, ""))


def make_folder(path: Path) -> Path:
    """The path, which is now a folder that can be written to; raises OutputError where it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused("create folder", path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise refused("write to folder", path, PermissionError(errno.EACCES, ""))
    return path


def refused(verb: str, path: Path, error: OSError) -> OutputError:
    """The error that says why a file cannot be written, and what to do."""
    found, remedy = _REASONS.get(error.errno or 0, (error.strerror or str(error), "choose another place"))
    return OutputError(f"cannot {verb} {path}: {found}; {remedy}")

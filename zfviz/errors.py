"""Every error that zfviz raises on purpose: each says what was found, what was expected, and what to do."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class ZfvizError(Exception):
    """Base of all errors that a user can mend; `exit_code` is what the command line exits with."""

    exit_code = 2


class ModelError(ZfvizError):
    """The model cannot be read or used."""


class UnsupportedError(ModelError):
    """The model holds an op that zfviz cannot project through; `refused` says why, by the name of the layer."""

    def __init__(self, message: str, refused: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.refused = dict(refused or {})


class LayerError(ZfvizError):
    """No such layer, unit or class in the model."""


class ImageError(ZfvizError):
    """The image cannot be read, or does not fit the model's input."""


class DeviceError(ZfvizError):
    """The device asked for cannot be used."""


class DownloadError(ZfvizError):
    """A model cannot be fetched."""


class OutputError(ZfvizError):
    """A result cannot be written."""


class VerificationError(ZfvizError):
    """A check of the result failed: the result is not to be trusted."""

    exit_code = 1


class CheckError(ZfvizError):
    """A check, a configuration of checks or a baseline cannot be used."""


class SkipError(CheckError):
    """A check has too little to go by: an audit skips it, and says why."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of the `known` names come nearest to `name`, as the end of an error message."""
    known = list(known)
    close = get_close_matches(name, known, n=5, cutoff=0.5)
    if close:
        return f"nearest: {', '.join(close)}"
    return f"known: {', '.join(known[:12])}" + (" and more" if len(known) > 12 else "")

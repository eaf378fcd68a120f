"""Running: a batch of images through the forward graph, a batch of signals through the companion."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from zfviz.errors import ModelError, UnsupportedError
from zfviz.graph.companion import PIXELS, SIGNAL, Companion
from zfviz.graph.image_input import ImageInput
from zfviz.runtime.session import Session

IMAGES_AT_ONCE = 8
SIGNALS_AT_ONCE = 16


def run_forward(
    session: Session, image: ImageInput, batch: np.ndarray, outputs: Sequence[str], whole: bool = False
) -> dict[str, np.ndarray]:
    """The named outputs for a batch of images [N, ...] in the model's layout, N rows each; as they come when `whole`,
    which takes one image.

    A model of fixed batch gets its images in portions, the last one filled up. Raises ModelError for values that are
    not finite, UnsupportedError for an output whose rows are not the images.
    """
    if image.dtype.kind == "u":
        batch = np.rint(batch).clip(0, np.iinfo(image.dtype).max)
    batch = batch.astype(image.dtype, copy=False)
    if image.batch is None:
        return _checked(session.run({image.name: batch}, outputs), None if whole else len(batch))
    portions: list[dict[str, np.ndarray]] = []
    for start in range(0, len(batch), image.batch):
        rows = batch[start : start + image.batch]
        filled = np.concatenate([rows, np.repeat(rows[-1:], image.batch - len(rows), axis=0)])
        values = _checked(session.run({image.name: filled}, outputs), None if whole else len(filled))
        if whole:
            return values
        portions.append({name: value[: len(rows)] for name, value in values.items()})
    return {name: np.concatenate([p[name] for p in portions]) for name in outputs}


def run_companion(
    session: Session,
    companion: Companion,
    signals: Sequence[np.ndarray],
    rows: Sequence[int],
    values: Mapping[str, np.ndarray],
) -> Iterator[np.ndarray]:
    """The pixels of each signal; `rows` says to which row of the forward `values` each signal belongs. A companion that
    is not batched takes the values of one image, whole.
    """
    if not companion.batched:
        for signal in signals:
            yield session.run({**values, SIGNAL: _first_of(companion, signal)}, [PIXELS])[PIXELS][0]
        return
    for start in range(0, len(signals), SIGNALS_AT_ONCE):
        chosen = list(rows[start : start + SIGNALS_AT_ONCE])
        # one row serves all signals of one image
        taken = slice(chosen[0], chosen[0] + 1) if len(set(chosen)) == 1 else chosen
        feeds = {name: value[taken] for name, value in values.items()}
        signal = np.stack(signals[start : start + SIGNALS_AT_ONCE]).astype(companion.dtype, copy=False)
        yield from session.run({**feeds, SIGNAL: signal}, [PIXELS])[PIXELS]


def _first_of(companion: Companion, signal: np.ndarray) -> np.ndarray:
    """The signal as the first of all that the model takes at once, zeros for the others."""
    whole = np.zeros([d.dim_value for d in companion.proto.graph.input[0].type.tensor_type.shape.dim], companion.dtype)
    whole.reshape(-1)[: signal.size] = signal.reshape(-1)
    return whole


def _checked(values: dict[str, np.ndarray], rows: int | None) -> dict[str, np.ndarray]:
    for name, value in values.items():
        if rows is not None and (value.ndim == 0 or len(value) != rows):
            raise UnsupportedError(
                f"{name!r} has shape {list(value.shape)} for {rows} image{'s' * (rows > 1)}; expected a row for each. "
                "The model folds its batch into another axis; choose a layer below that."
            )
        if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
            bad = int(np.size(value) - np.isfinite(value).sum())
            raise ModelError(
                f"{bad} of {np.size(value)} activations of {name!r} are NaN or infinite; expected finite numbers. "
                "Check the weights below this layer and the preprocessing."
            )
    return values

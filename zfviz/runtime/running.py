"""Running: a batch of images through the forward graph, a batch of signals through the companion."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from zfviz.errors import ModelError, UnsupportedError
from zfviz.graph.companion import PIXELS, SIGNAL
from zfviz.graph.image_input import ImageInput
from zfviz.runtime.session import Session

IMAGES_AT_ONCE = 8
SIGNALS_AT_ONCE = 16


def run_forward(
    session: Session, image: ImageInput, batch: np.ndarray, outputs: Sequence[str]
) -> dict[str, np.ndarray]:
    """The named outputs for a batch of images [N, ...] in the model's layout, N rows each.

    A model of fixed batch gets its images in portions, the last one filled up. Raises ModelError for values that are
    not finite, UnsupportedError for an output whose rows are not the images.
    """
    if image.batch is None:
        return _checked(session.run({image.name: batch}, outputs), len(batch))
    portions: list[dict[str, np.ndarray]] = []
    for start in range(0, len(batch), image.batch):
        rows = batch[start : start + image.batch]
        filled = np.concatenate([rows, np.repeat(rows[-1:], image.batch - len(rows), axis=0)])
        values = _checked(session.run({image.name: filled}, outputs), len(filled))
        portions.append({name: value[: len(rows)] for name, value in values.items()})
    return {name: np.concatenate([p[name] for p in portions]) for name in outputs}


def run_companion(
    session: Session,
    signals: Sequence[np.ndarray],
    rows: Sequence[int],
    values: Mapping[str, np.ndarray],
) -> Iterator[np.ndarray]:
    """The pixels of each signal; `rows` says to which row of the forward `values` each signal belongs."""
    for start in range(0, len(signals), SIGNALS_AT_ONCE):
        chosen = list(rows[start : start + SIGNALS_AT_ONCE])
        # one row serves all signals of one image
        taken = slice(chosen[0], chosen[0] + 1) if len(set(chosen)) == 1 else chosen
        feeds = {name: value[taken] for name, value in values.items()}
        signal = np.stack(signals[start : start + SIGNALS_AT_ONCE])
        yield from session.run({**feeds, SIGNAL: signal}, [PIXELS])[PIXELS]


def _checked(values: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    for name, value in values.items():
        if value.ndim == 0 or len(value) != rows:
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

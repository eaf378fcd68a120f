"""The model that a command is about."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from zfviz.report.terminal import visible

if TYPE_CHECKING:
    from zfviz.runtime.loading import Model


def load_and_tell(model: str, input_shape: Sequence[int] | None, inputs: Mapping[str, str]) -> "Model":
    """The model; what is assumed of its input is said on stderr."""
    from zfviz.runtime.loading import load
    from zfviz.studies.inputs import assumptions

    loaded = load(model, input_shape, inputs=inputs)
    for line in assumptions(loaded, pictures=False):
        click.echo(f"zfviz: {visible(line)}", err=True)
    return loaded

"""Options that several commands share."""

from collections.abc import Sequence
from typing import Any

import click


def numbers(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Parse whole numbers with commas between."""
    return _numbers(text) if text else None


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r}; expected whole numbers with commas between.") from None


METHODS = click.Choice(["deconvnet", "guided", "gradient"])

model_argument = click.argument("model", metavar="MODEL")
method_option = click.option(
    "--method", type=METHODS, default="deconvnet", show_default=True, help="How rectifiers treat the signal."
)
preprocess_option = click.option(
    "--preprocess",
    metavar="NAME|FILE",
    help="A preset (imagenet, caffe, unit ...) or a JSON file. [default: as the model says]",
)
input_shape_option = click.option(
    "--input-shape",
    callback=numbers,
    metavar="N,C,H,W",
    help="Sizes for what the model leaves open, in its own layout.",
)


def named_files(context: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
    """Parse NAME=FILE, as often as it is given."""
    del context, parameter
    pairs = [text.partition("=") for text in texts]
    for text, (name, _, file) in zip(texts, pairs, strict=True):
        if not name or not file:
            raise click.BadParameter(f"{text!r}; expected NAME=FILE.npy, such as scale=scale.npy.")
    return {name: file for name, _, file in pairs}


input_option = click.option(
    "--input",
    "inputs",
    multiple=True,
    callback=named_files,
    metavar="NAME=FILE.npy",
    help="A value for an input besides the image; may be given again.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="What the companion computes in, whatever the model's own type.",
)


def unit(_context: click.Context, _parameter: click.Parameter, texts: Sequence[str]) -> Any:
    """Parse CHANNEL or CHANNEL,Y,X."""
    units = [_numbers(text) for text in texts]
    for text, numbers in zip(texts, units, strict=True):
        if len(numbers) not in (1, 3):
            raise click.BadParameter(f"{text!r}; expected CHANNEL or CHANNEL,Y,X, such as 12 or 12,3,7.")
    return units or None


def parts(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    """Parse a list of `pixels` and `arrays`."""
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in chosen:
        if part not in ("pixels", "arrays"):
            raise click.BadParameter(f"{part!r}; expected pixels, arrays or both, with a comma between.")
    return chosen

"""`zfviz layers`: what a model consists of, and how each layer is projected."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from zfviz.cli.loading import load_and_tell
from zfviz.cli.options import input_option, input_shape_option, method_option, model_argument
from zfviz.report.terminal import visible


@click.command()
@model_argument
@method_option
@input_shape_option
@input_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def layers(model: str, method: Any, input_shape: tuple[int, ...] | None, inputs: dict[str, str], as_json: bool) -> None:
    """List the layers of MODEL: name, op, shape, receptive field, stride, how a signal passes it on the way down.

    \b
    Examples:
      zfviz layers model.onnx
      zfviz layers model.onnx --json | jq '.[].name'
    """
    from zfviz.studies.layers import describe_layers

    rows = describe_layers(load_and_tell(model, input_shape, inputs), method)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    table = [("LAYER", "OP", "SHAPE", "FIELD", "STRIDE", "PROJECTED BY")]
    table += [(r.name, r.op, _times(r.shape), _times(r.receptive_field), _times(r.jump), r.projection) for r in rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        click.echo(visible("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))


def _times(sizes: Sequence[float]) -> str:
    return "x".join(f"{size:g}" for size in sizes)

"""`zfviz export`: the model that explains itself, as a file."""

from pathlib import Path
from typing import Any

import click

from zfviz.cli.loading import load_and_tell
from zfviz.cli.options import input_option, input_shape_option, method_option, model_argument


@click.command()
@model_argument
@click.option("--layer", required=True, metavar="NAME", help="The layer whose units are projected.")
@click.option("--top", type=click.IntRange(min=1), default=9, show_default=True, help="Its strongest channels.")
@click.option("-o", "--output", required=True, metavar="FILE", help="The ONNX file to write.")
@method_option
@input_shape_option
@input_option
def export(
    model: str,
    layer: str,
    top: int,
    output: str,
    method: Any,
    input_shape: tuple[int, ...] | None,
    inputs: dict[str, str],
) -> None:
    """Write MODEL as a graph that explains itself: one image in; its outputs, the strongest units of a layer, their
    activations and their projections out.

    Any onnxruntime runs it in one call, in any language. The outputs that are added are `units` (channel, y, x),
    `activations` and `pixels`.

    \b
    Example:
      zfviz export zfnet --layer conv5 --top 4 -o explain.onnx
    """
    from zfviz.studies.graphs import export as build
    from zfviz.studies.graphs import write_graph

    loaded = load_and_tell(model, input_shape, inputs)
    for path in write_graph(build(loaded, layer, top, method), Path(output), loaded.source):
        click.echo(path)

"""`zfviz expose`: the forward graph as a file."""

from pathlib import Path
from typing import Any

import click

from zfviz.cli.loading import load_and_tell
from zfviz.cli.options import input_option, input_shape_option, method_option, model_argument


@click.command()
@model_argument
@click.option("-o", "--output", required=True, metavar="FILE", help="The forward graph.")
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME", help="A layer; may be given again. [default: up to five rows]"
)
@method_option
@input_shape_option
@input_option
def expose(
    model: str,
    output: str,
    layers: tuple[str, ...],
    method: Any,
    input_shape: tuple[int, ...] | None,
    inputs: dict[str, str],
) -> None:
    """Write MODEL with the activations of its layers as outputs, and all that the companions of those layers take.

    \b
    Examples:
      zfviz expose model.onnx -o forward.onnx
      zfviz expose model.onnx -o forward.onnx --layer conv5 --method guided
    """
    from zfviz.studies.graphs import expose as build
    from zfviz.studies.graphs import write_graph

    loaded = load_and_tell(model, input_shape, inputs)
    for path in write_graph(build(loaded, layers or None, method), Path(output), loaded.source):
        click.echo(path)

"""`zfviz companion`: the companion graph of a layer as a file."""

from pathlib import Path
from typing import Any

import click

from zfviz.cli.loading import load_and_tell
from zfviz.cli.options import input_option, input_shape_option, method_option, model_argument, precision_option


@click.command()
@model_argument
@click.option("--layer", required=True, metavar="NAME", help="The layer whose signals the companion takes.")
@click.option("-o", "--output", required=True, metavar="FILE", help="The companion graph.")
@method_option
@click.option(
    "--unpool",
    type=click.Choice(["scatter", "maxunpool"]),
    default="scatter",
    show_default=True,
    help="Which ops unpool; the pixels are the same.",
)
@precision_option
@click.option("--forward", metavar="FILE", help="Also write the forward graph that feeds it.")
@click.option("--shared-weights", is_flag=True, help="Store the weights once, in a data file that both graphs read.")
@input_shape_option
@input_option
def companion(
    model: str,
    layer: str,
    output: str,
    method: Any,
    unpool: Any,
    precision: Any,
    forward: str | None,
    shared_weights: bool,
    input_shape: tuple[int, ...] | None,
    inputs: dict[str, str],
) -> None:
    """Write the graph that projects signals of one layer of MODEL to pixels.

    Its inputs are `signal` and forward values that `zfviz expose` gives by the same names; its output is `pixels`.

    \b
    Examples:
      zfviz companion model.onnx --layer conv5 -o companion.onnx
      zfviz companion model.onnx --layer conv5 -o companion.onnx --forward forward.onnx --shared-weights
    """
    from zfviz.studies.graphs import companion as build
    from zfviz.studies.graphs import expose, write_graph, write_pair

    if shared_weights and not forward:
        raise click.UsageError("--shared-weights shares them with the forward graph; give --forward FILE too.")
    loaded = load_and_tell(model, input_shape, inputs)
    back = build(loaded, layer, method, unpool, precision)
    if forward is None:
        paths = write_graph(back, Path(output), loaded.source)
    elif Path(forward).resolve() == Path(output).resolve():
        raise click.UsageError(f"--forward and --output are both {output}; give two files.")
    elif shared_weights:
        paths = write_pair(expose(loaded, [layer], method), Path(forward), back, Path(output), loaded.source)
    else:
        paths = write_graph(expose(loaded, [layer], method), Path(forward), loaded.source)
        paths += write_graph(back, Path(output), loaded.source)
    for path in paths:
        click.echo(path)

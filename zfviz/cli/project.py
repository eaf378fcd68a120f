"""`zfviz project`: the main job."""

import json
from pathlib import Path
from typing import Any

import click

from zfviz.cli.options import (
    input_option,
    input_shape_option,
    method_option,
    model_argument,
    parts,
    precision_option,
    preprocess_option,
    unit,
)
from zfviz.report.terminal import visible


@click.command()
@model_argument
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--layer", "layers", multiple=True, metavar="NAME", help="A layer; may be given again. [default: up to five rows]"
)
@click.option("--top", default=9, show_default=True, type=click.IntRange(1), help="How many of the strongest channels.")
@click.option(
    "--unit", "units", multiple=True, callback=unit, metavar="CHANNEL[,Y,X]", help="A unit; may be given again."
)
@click.option("--class", "classes", multiple=True, metavar="NAME|ID", help="The logit of a class; may be given again.")
@method_option
@click.option(
    "--seed",
    type=click.Choice(["activation", "one"]),
    default="activation",
    show_default=True,
    help="What a projection starts from.",
)
@preprocess_option
@input_shape_option
@input_option
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to run."
)
@precision_option
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: all cores]")
@click.option("--out", default=".", show_default=True, metavar="DIR", help="Where the files go.")
@click.option(
    "--save", default="", callback=parts, metavar="pixels,arrays", help="Also a PNG of each projection, the raw arrays."
)
@click.option(
    "--verify", is_flag=True, help="Check each layer on the way down by finite differences, on the first IMAGE."
)
@click.option("--json", "as_json", is_flag=True, help="Print the record in place of the paths.")
def project(
    images: tuple[str, ...],
    model: str,
    layers: tuple[str, ...],
    input_shape: tuple[int, ...] | None,
    inputs: dict[str, str],
    preprocess: str | None,
    verify: bool,
    out: str,
    save: Any,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what in each IMAGE drove the strongest units of MODEL: one sheet and one record an image.

    \b
    Examples:
      zfviz project model.onnx photo.jpg
      zfviz project model.onnx photo.jpg --layer conv5 --unit 12 --unit 40,3,7
      zfviz project model.onnx *.jpg --method guided --out sheets --save pixels
      zfviz project model.onnx photo.jpg --class tabby --verify
    """
    from zfviz import load
    from zfviz.cli.progress import progress
    from zfviz.studies.project import prepare

    said: dict[str, None] = {}
    paths: list[Path] = []
    records: list[dict[str, Any]] = []
    try:
        with progress(Path(model).name, len(images)) as advance:
            projector = prepare(load(model, input_shape, preprocess, inputs), layers or None, **options)
            for projections in projector.each(images, verify):
                said |= dict.fromkeys((*projections.warnings(), f"ran on {projections.device}"))
                if worst := projections.residual:
                    (name,) = projections.batch.names
                    said[f"verified on {name}: at most {worst.value:.1e} off, at {worst.layer!r} ({worst.op})"] = None
                paths += projections.save(out, save)
                records.append(projections.record())
                advance(1)
    finally:
        # also when a later image fails: what was written is there
        for line in said:
            click.echo(f"zfviz: {visible(line)}", err=True)
        if not as_json:
            click.echo("".join(f"{path}\n" for path in paths), nl=False)
    if as_json:
        click.echo(json.dumps(records[0] if len(images) == 1 else records, indent=2, ensure_ascii=False))

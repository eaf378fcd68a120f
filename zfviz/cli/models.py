"""`zfviz models`: the networks that are known by name."""

from pathlib import Path

import click


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """List, write or fetch the networks that are known by name, wherever a MODEL is asked for.

    \b
    Examples:
      zfviz models
      zfviz project zfnet photo.jpg
      zfviz models pull zfnet512 && zfviz project zfnet512 photo.jpg
    """
    if context.invoked_subcommand is None:
        context.invoke(list_models)


@models.command("list")
def list_models() -> None:
    """Print each name, where its file is, and what it is."""
    from zfviz.models.bundled import NETWORKS, card
    from zfviz.models.zoo import MODELS, cache_path

    rows = [(name, "bundled", card(name)["about"]) for name in NETWORKS]
    for name, model in MODELS.items():
        place = str(cache_path(name)) if cache_path(name).is_file() else f"to pull, {model.size // 10**6} MB"
        rows.append((name, place, model.about))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, place, about in rows:
        click.echo(f"{name:{widths[0]}}  {place:{widths[1]}}  {about}")


@models.command()
@click.argument("name", metavar="NAME")
@click.option("-o", "--output", required=True, metavar="FILE", help="The ONNX file to write.")
def export(name: str, output: str) -> None:
    """Write the network NAME as an ONNX file, with its preprocessing and what else is known of it as metadata.

    \b
    Example:
      zfviz models export zfnet -o zfnet.onnx
    """
    from zfviz.models.names import read_named
    from zfviz.report.files import write_atomically

    click.echo(write_atomically(Path(output), read_named(name)))


@models.command()
@click.argument("name", metavar="NAME")
@click.option("--mirror", metavar="URL", help="Another folder that holds the file.")
def pull(name: str, mirror: str | None) -> None:
    """Download the network NAME of the ONNX model zoo into the user's cache; its SHA-256 is checked.

    A download that was cut off goes on where it stopped.

    \b
    Examples:
      zfviz models pull zfnet512
      zfviz models pull caffenet --mirror https://files.example.org/onnx
    """
    from zfviz.cli.progress import progress
    from zfviz.models.zoo import MODELS, pull

    size = MODELS[name].size if name in MODELS else 0
    with progress(f"pulling {name}", size) as advance:
        here = 0

        def report(received: int) -> None:
            nonlocal here
            advance(received - here)
            here = received

        click.echo(pull(name, mirror, report))

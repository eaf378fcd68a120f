"""`zfviz audit`: checks of a model, for people and for CI."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from zfviz.cli.options import input_option, input_shape_option, preprocess_option
from zfviz.cli.output import unread, write
from zfviz.errors import ZfvizError
from zfviz.report.terminal import visible

FORMATS = ("text", "json", "sarif", "junit", "markdown", "html")
FAILED = 1


def report_files(context: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> list[tuple[str, Path]]:
    """Parse FORMAT=FILE, as often as it is given."""
    del context, parameter
    pairs = [text.partition("=") for text in texts]
    for text, (format_, _, file) in zip(texts, pairs, strict=True):
        if format_ not in FORMATS or not file:
            raise click.BadParameter(f"{text!r}; expected FORMAT=FILE with one of {', '.join(FORMATS)}.")
    return [(format_, Path(file)) for format_, _, file in pairs]


def list_checks(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Print every check, and be done."""
    del parameter
    if not wanted:
        return
    from zfviz.checks.checking import all_checks

    for check in all_checks():
        limit = "" if check.limit is None else f", {check.expected(check.limit)}"
        click.echo(f"{check.code}  {check.name}  ({check.severity}{limit})\n       {check.question}")
    context.exit()


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.option("--images", metavar="DIR", help="A folder of pictures; without it, checks that need some are skipped.")
@click.option("--baseline", metavar="FILE", help="The record of an earlier audit, or another model, to compare with.")
@click.option(
    "--config", metavar="FILE", help="A TOML file. [default: zfviz.toml or pyproject.toml, where there is one]"
)
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default="text", show_default=True, help="How to report."
)
@click.option("-o", "--output", metavar="FILE", help="Where the report goes. [default: the terminal]")
@click.option(
    "--report", "reports", multiple=True, callback=report_files, metavar="FORMAT=FILE", help="One more report."
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    help="What makes the audit fail. [default: as configured, else error]",
)
@click.option("--update-baseline", is_flag=True, help="Write this audit's record to --baseline; nothing is compared.")
@preprocess_option
@input_shape_option
@input_option
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to run."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: all cores]")
@click.option(
    "--checks", is_flag=True, is_eager=True, expose_value=False, callback=list_checks, help="List all checks."
)
def audit(
    models: Sequence[str],
    images: str | None,
    baseline: str | None,
    config: str | None,
    format_: str,
    output: str | None,
    reports: list[tuple[str, Path]],
    fail_on: Any,
    update_baseline: bool,
    preprocess: str | None,
    input_shape: tuple[int, ...] | None,
    inputs: dict[str, str],
    device: Any,
    threads: int | None,
) -> None:
    """Check MODEL: its weights, its graph; with --images what its channels do; with --baseline what changed.

    Exits 1 where the audit fails. Several models are audited one after the other.

    \b
    Examples:
      zfviz audit model.onnx
      zfviz audit model.onnx --images photos --report html=audit.html
      zfviz audit model.onnx --images photos --baseline model.json --update-baseline
      zfviz audit model.onnx --images photos --baseline model.json --fail-on warning --format sarif -o audit.sarif
      zfviz audit int8.onnx --images photos --baseline float.onnx
    """
    from zfviz import load
    from zfviz.checks.auditing import audit as run
    from zfviz.checks.formats import render
    from zfviz.report.files import writable, write_atomically

    one_only = {"--output": output, "--report": reports, "--update-baseline": update_baseline}
    if len(models) > 1 and (given := [name for name, value in one_only.items() if value]):
        raise click.UsageError(f"{given[0]} is for one model; found {len(models)}.")
    if len(models) > 1 and format_ not in ("text", "markdown"):
        raise click.UsageError(f"--format {format_} is for one model; found {len(models)}. Audit them one by one.")
    if update_baseline and (baseline is None or not baseline.endswith(".json")):
        raise click.UsageError("--update-baseline needs --baseline FILE.json, the file to write.")

    files = [*reports, *([(format_, Path(output))] if output else [])]
    for _, file in files:
        # not after all the work
        writable(file)
    if len({file.absolute() for _, file in files}) < len(files):
        raise click.UsageError("two reports go to one file; expected a file for each.")

    def one(model: str) -> bool:
        loaded = load(model, input_shape, preprocess, inputs)
        found = run(loaded, images, None if update_baseline else baseline, config, device, threads)
        found = replace(found, path=model, fail_on=fail_on or found.fail_on)
        for kind, file in files:
            write_atomically(file, render(found, kind).encode())
        if update_baseline and baseline:
            write_atomically(Path(baseline), found.record().to_json().encode())
        with unread():
            for warning in found.warnings:
                click.echo(f"zfviz: {visible(warning)}", err=True)
            # where the report is in a file, its first line alone
            write(render(found, "text").partition("\n")[0] + "\n" if output else render(found, format_))
        return found.ok

    # one alone says what is wrong in the way of all commands
    code = max(_code(one, model) for model in models) if len(models) > 1 else (0 if one(models[0]) else FAILED)
    if code:
        raise click.exceptions.Exit(code)


def _code(audit_one: Callable[[str], bool], model: str) -> int:
    """The exit code for one of several models: one that cannot be audited is said, and the others go on."""
    try:
        return 0 if audit_one(model) else FAILED
    except ZfvizError as error:
        click.echo(f"zfviz: {visible(f'{model}: ' + ' '.join(str(error).split()))}", err=True)
        return error.exit_code

"""The command line: one file a command; parse, call one function of the API, print paths or a table."""

import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from zfviz.cli.audit import audit
from zfviz.cli.companion import companion
from zfviz.cli.export import export
from zfviz.cli.expose import expose
from zfviz.cli.layers import layers
from zfviz.cli.models import models
from zfviz.cli.output import unread
from zfviz.cli.project import project
from zfviz.errors import ZfvizError
from zfviz.report.terminal import visible
from zfviz.version import __version__

BAD_USE, BUG, INTERRUPTED = 2, 70, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="zfviz")
def cli() -> None:
    """See what any ONNX CNN sees: project units of its layers down to the pixels that drove them.

    \b
    Examples:
      zfviz layers model.onnx
      zfviz project model.onnx photo.jpg
      zfviz project model.onnx photo.jpg --layer conv5 --top 4 --method guided
      zfviz audit model.onnx --images photos

    Exit codes: 0 done, 1 a check failed, 2 bad use or bad input, 70 a bug of zfviz.
    """


for command in (project, audit, layers, expose, companion, export, models):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    console: Any = sys.stdout
    console.reconfigure(errors="backslashreplace")  # one that lacks a letter is no bug
    try:
        # not click's own main: that exits 1 when nobody reads the output, and 1 means a failed check
        with unread(), cli.make_context("zfviz", list(sys.argv[1:] if arguments is None else arguments)) as context:
            cli.invoke(context)
            sys.stdout.flush()
        code = 0
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        error.show()
        code = BAD_USE
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except ZfvizError as error:
        click.echo(f"zfviz: {visible(' '.join(str(error).split()))}", err=True)
        code = error.exit_code
    except Exception:
        traceback.print_exc()
        click.echo("zfviz: this is a bug of zfviz, not of your model; please report it with the lines above.", err=True)
        code = BUG
    sys.exit(code)

"""Progress on stderr, where a person is looking."""

from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: int) -> Generator[Callable[[int], None]]:
    """Show how much of `total` is done; gives the function to say that so many more are. Silent where stderr is no
    terminal.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    # results on stdout are not to be drawn into the display
    bar = Progress(
        console=console, transient=True, disable=not console.is_terminal, redirect_stdout=False, redirect_stderr=False
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)

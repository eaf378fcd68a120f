"""Progress on stderr, where a person is looking and it takes a while."""

from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def working(what: str) -> Generator[None]:
    """Show that `what` is going on; nothing where stderr is no terminal."""
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield

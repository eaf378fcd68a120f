"""What is printed: whole bytes, and a reader that has had enough is no failure."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def unread() -> Generator[None]:
    """Let nothing depend on whether what is printed here is read."""
    try:
        yield
    except BrokenPipeError:
        # Python must not try to flush once more
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())


def write(text: str) -> None:
    """Write a report as UTF-8, whatever the console's own encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()

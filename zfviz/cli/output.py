"""Standard output: whole bytes, and a reader that has had enough is no failure."""

import os
import sys


def write(text: str) -> None:
    """Write a report as UTF-8, whatever the console's own encoding; where nobody reads it, that is no failure."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        close()


def close() -> None:
    """Give up standard output, so that Python does not try to flush it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

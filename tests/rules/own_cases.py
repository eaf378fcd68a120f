"""Node cases of our own: older spellings, and corners that the wheel leaves out; x is always a batch of one.

A new one goes into the table of its family: `window_cases`, `shape_cases` or `arithmetic_cases`.
"""

from functools import cache

from arithmetic_cases import ARITHMETIC
from node_cases import NodeCase, make_case
from shape_cases import SHAPES
from window_cases import WINDOWS


@cache
def own_cases() -> tuple[NodeCase, ...]:
    """The cases of the tables."""
    return tuple(make_case(*row) for row in (*WINDOWS, *SHAPES, *ARITHMETIC))

"""How far float32 results may lie from exact ones, in one place, with the reasons."""

SINGLE_OP = 1e-4
"""One op against central differences of itself in float32, relative to the size of both sides.

Rounding gives about 6e-8 / step, the step's own error is step^4; with a step of 2^-6 of the values' size both stay
below 6e-5, while a rule that is off by 0.1 % shows 5e-4.
"""

WHOLE_NET = 1e-4
"""A whole projection in float32 against an independent float64 one, relative to the largest value, when both use the
same masks and switches. Two separate forward passes would differ by 1e-2: a few masks flip where values are near
zero."""

SAME_GRAPH = 1e-6
"""The same sums in float32 by two kernels or in another order, relative to the largest value."""

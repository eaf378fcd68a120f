"""How compositions of elementary functions grow: series in x^k e^(dx), as x goes to infinity.

By algebra, not by trying numbers: x sigmoid(x) is x / (1 + e^-x), which is x - x e^-x + ... upwards, and -x e^-x
downwards; so far from 0 it is like Relu.
"""

import math
from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
import torch

from oracle.activations import ENDLESS, SELU_ALPHA, SELU_GAMMA
from oracle.layer import Layer

Power = tuple[float, float]
"""(d, k) of x^k e^(dx): the greater outgrows the less."""

TERMS = 6
ROUNDING = 1e-6  # what cancels but for the rounding of float32 constants is 0


class WildError(Exception):
    """There is no such series, or it differs in kind from one channel to another."""


class Series:
    """A sum of terms: the coefficient, a number or an array of one for each channel, of each power."""

    def __init__(self, terms: Mapping[Power, np.ndarray | float]) -> None:
        arrays = {power: np.asarray(c, np.float64) for power, c in terms.items()}
        kept = sorted((power for power, c in arrays.items() if c.any()), reverse=True)[:TERMS]
        self.terms = {power: arrays[power] for power in kept}

    @classmethod
    def of(cls, number: np.ndarray | float) -> "Series":
        return cls({(0.0, 0.0): number})

    def __add__(self, other: "Series") -> "Series":
        terms = dict(self.terms)
        for power, c in other.terms.items():
            total = terms.get(power, 0.0) + c
            size = np.maximum(np.abs(terms.get(power, 0.0)), np.abs(c))
            terms[power] = np.where(np.abs(total) <= ROUNDING * size, 0.0, total)
        return Series(terms)

    def __mul__(self, other: "Series") -> "Series":
        products = (
            Series({(d + e, k + m): c * b}) for (d, k), c in self.terms.items() for (e, m), b in other.terms.items()
        )
        return reduce(Series.__add__, products, Series({}))

    def __neg__(self) -> "Series":
        return Series({power: -c for power, c in self.terms.items()})

    def __sub__(self, other: "Series") -> "Series":
        return self + -other

    def lead(self) -> tuple[Power, np.ndarray, "Series"]:
        """The greatest power, its coefficient, and what is left of the series when it is divided by that term and 1
        is taken away.
        """
        if not self.terms:
            raise WildError
        (d, k), c = next(iter(self.terms.items()))
        if not c.all():
            raise WildError
        rest = {(e - d, m - k): b / c for (e, m), b in self.terms.items() if (e, m) != (d, k)}
        return (d, k), c, Series(rest)

    def sign(self) -> int:
        """Of the series far out: -1, 0 or 1."""
        if not self.terms:
            return 0
        signs = np.unique(np.sign(next(iter(self.terms.values()))))
        if len(signs) != 1:
            raise WildError
        return int(signs[0])

    def direction(self) -> int:
        """-1 or 1 where the series grows without end, else 0."""
        return self.sign() if self.terms and next(iter(self.terms)) > (0.0, 0.0) else 0

    def constant(self) -> np.ndarray | None:
        """The number that the series is, where it is one."""
        if not self.terms:
            return np.zeros(())
        return self.terms.get((0.0, 0.0)) if len(self.terms) == 1 else None

    def slope(self) -> np.ndarray:
        """The limit of the series over x."""
        if any(power > (0.0, 1.0) for power in self.terms):
            raise WildError
        return self.terms.get((0.0, 1.0), np.zeros(()))


Growth = Callable[..., Series]
"""What an op makes of series: of its Layer and a Series for each input."""

ZERO, ONE = Series({}), Series.of(1.0)


def compose(rest: Series, coefficients: Callable[[int], float]) -> Series:
    """The sum of coefficients(n) rest^n."""
    total, power = ZERO, ONE
    for n in range(TERMS):
        total = total + power * Series.of(coefficients(n))
        power = power * rest
    return total


def raised(u: Series, exponent: float) -> Series:
    if exponent == int(exponent) and 0 <= exponent <= 8:
        return reduce(Series.__mul__, [u] * int(exponent), ONE)
    (d, k), c, rest = u.lead()
    if exponent != int(exponent) and not (c > 0).all():
        raise WildError
    lead = Series({(d * exponent, k * exponent): c**exponent})
    binomials = [1.0]
    for n in range(TERMS):
        binomials.append(binomials[-1] * (exponent - n) / (n + 1))
    return lead * compose(rest, binomials.__getitem__)


def exponential(u: Series) -> Series:
    grows = {power: c for power, c in u.terms.items() if power > (0.0, 0.0)}
    if grows.keys() - {(0.0, 1.0)}:
        if u.sign() > 0:
            raise WildError
        return ZERO
    rate = grows.get((0.0, 1.0), np.zeros(()))
    if rate.size != 1:
        raise WildError
    scale = np.exp(u.terms.get((0.0, 0.0), np.zeros(())))
    shrinks = Series({power: c for power, c in u.terms.items() if power < (0.0, 0.0)})
    return Series({(float(rate.item()), 0.0): scale}) * compose(shrinks, lambda n: 1 / math.factorial(n))


def logarithm(u: Series) -> Series:
    (d, k), c, rest = u.lead()
    if k or not (c > 0).all():
        raise WildError
    return Series({(0.0, 1.0): d, (0.0, 0.0): np.log(c)}) + compose(rest, lambda n: -((-1) ** n) / n if n else 0.0)


def saturating(low: float, high: float) -> Growth:
    """A function between two levels, which it comes so near to that nothing of the difference is kept."""
    return lambda layer, u: (
        Series.of({1: high, -1: low}[direction]) if (direction := u.direction()) else bounded(layer, u)
    )


def bending(layer: Layer, u: Series) -> Series:
    """A rectifier: like Relu far from 0, but for the number that some come to downwards."""
    if not (direction := u.direction()):
        return bounded(layer, u)
    if layer.proto.op_type == "Selu":
        gamma, floor = layer.get("gamma", SELU_GAMMA), layer.get("alpha", SELU_ALPHA)
    else:
        gamma, floor = 1.0, layer.get("alpha", 1.0) if layer.proto.op_type in ("Elu", "Celu") else 0.0
    return u * Series.of(gamma) if direction > 0 else Series.of(-gamma * floor)


def bounded(layer: Layer, u: Series) -> Series:
    """A function where u comes to a number: its value there, and its slope times what is left of u."""
    number = torch.tensor(u.terms.get((0.0, 0.0), np.zeros(())), requires_grad=True)
    (value,) = layer.run([number])
    (slope,) = torch.autograd.grad(value.sum(), number)
    rest = Series({power: c for power, c in u.terms.items() if power < (0.0, 0.0)})
    return Series.of(value.detach().numpy()) + rest * Series.of(slope.numpy())


def greater(u: Series, v: Series) -> Series:
    return u if (u - v).sign() >= 0 else v


def lesser(u: Series, v: Series) -> Series:
    return v if (u - v).sign() >= 0 else u


def clipped(layer: Layer, u: Series, low: Series | None = None, high: Series | None = None) -> Series:
    least = Series.of(layer.get("min", -ENDLESS)) if low is None else low
    most = Series.of(layer.get("max", ENDLESS)) if high is None else high
    return lesser(greater(u, least), most)


def chosen(layer: Layer, condition: Series, u: Series, v: Series) -> Series:
    truths = condition.constant()
    if truths is None or truths.any() != truths.all():
        raise WildError
    return u if truths.all() else v


def raised_to(layer: Layer, u: Series, v: Series) -> Series:
    exponent = v.constant()
    if exponent is None or exponent.size != 1:
        raise WildError
    return raised(u, exponent.item())


def leaked(layer: Layer, u: Series, slope: Series | None = None) -> Series:
    if not u.terms:
        return u
    by = Series.of(layer.get("alpha", 0.01)) if slope is None else slope
    return u if u.sign() > 0 else u * by


def truth(condition: bool) -> Series:
    return ONE if condition else ZERO


GROWTHS: dict[str, Growth] = {
    **dict.fromkeys(
        ("Identity", "Dropout", "Cast", "CastLike", "QuantizeLinear", "DequantizeLinear"), lambda layer, u, *_: u
    ),
    "Neg": lambda layer, u: -u,
    "Add": lambda layer, u, v: u + v,
    "Sub": lambda layer, u, v: u - v,
    "Mul": lambda layer, u, v: u * v,
    "Div": lambda layer, u, v: u * raised(v, -1),
    "Sum": lambda layer, *parts: reduce(Series.__add__, parts),
    "Mean": lambda layer, *parts: reduce(Series.__add__, parts) * Series.of(1 / len(parts)),
    "Max": lambda layer, *parts: reduce(greater, parts),
    "Min": lambda layer, *parts: reduce(lesser, parts),
    "Pow": raised_to,
    "Sqrt": lambda layer, u: raised(u, 0.5),
    "Reciprocal": lambda layer, u: raised(u, -1),
    "Exp": lambda layer, u: exponential(u),
    "Log": lambda layer, u: logarithm(u),
    "Abs": lambda layer, u: u if u.sign() >= 0 else -u,
    "Where": chosen,
    "Less": lambda layer, u, v: truth((u - v).sign() < 0),
    "LessOrEqual": lambda layer, u, v: truth((u - v).sign() <= 0),
    "Greater": lambda layer, u, v: truth((u - v).sign() > 0),
    "GreaterOrEqual": lambda layer, u, v: truth((u - v).sign() >= 0),
    "Not": lambda layer, u: truth(not u.terms),
    "Clip": clipped,
    **dict.fromkeys(("Sigmoid", "HardSigmoid"), saturating(0, 1)),
    **dict.fromkeys(("Sign", "Tanh", "Erf", "Softsign"), saturating(-1, 1)),
    "Relu": lambda layer, u: greater(u, ZERO),
    "LeakyRelu": leaked,
    "PRelu": leaked,
    **dict.fromkeys(
        ("Elu", "Selu", "Celu", "Softplus", "Gelu", "HardSwish", "Mish", "Swish", "ThresholdedRelu"), bending
    ),
}
"""What each op makes of series."""

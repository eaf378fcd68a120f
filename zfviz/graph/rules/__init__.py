"""Rules: one function an op, the transpose of that op; registered by a decorator, found by op and method."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal

from onnx_graphsurgeon import Node, Tensor

from zfviz.graph.reach import OWN, Reach, whole_map

if TYPE_CHECKING:
    from zfviz.graph.net import Net

Method = Literal["deconvnet", "guided", "gradient"]
METHODS: tuple[Method, ...] = ("deconvnet", "guided", "gradient")

Signals = Mapping[int, Tensor | None]
"""A signal per input that is differentiable, by index; None where no signal goes there."""

Transpose = Callable[[Node, Any, "Net"], Signals]
"""(layer, signal, net) -> signals. `signal` has the shape of the layer's first output; a rule of every output gets a
tuple of them, None where nothing came."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How signals pass one op backwards.

    `curved` says that the op's slope changes smoothly with its input; by default an op is linear, or linear but for
    kinks. `inexact` says in what it is not the exact adjoint of what the method prescribes, or is empty.
    """

    op: str
    method: Method | None
    transpose: Transpose
    reach: Reach
    inexact: str
    curved: bool
    every_output: bool

    @property
    def verb(self) -> str:
        """What the rule does, in a word or two, for tables."""
        return self.transpose.__name__.replace("_", " ")


_RULES: dict[tuple[str, Method | None], Rule] = {}


def rule(
    op: str,
    *,
    method: Method | None = None,
    reach: Reach = whole_map,
    inexact: str = "",
    curved: bool = False,
    every_output: bool = False,
) -> Callable[[Transpose], Transpose]:
    """Register a function as the rule of `op` (`domain::op` outside the standard domain), for one method or for all."""

    def register(function: Transpose) -> Transpose:
        _RULES[op, method] = Rule(op, method, function, reach, inexact, curved, every_output)
        return function

    return register


def op_key(node: Node) -> str:
    """The name under which rules of the node's op are registered."""
    return f"{node.domain}::{node.op}" if node.domain not in (None, "", "ai.onnx") else node.op


def find_rule(node: Node, method: Method) -> Rule | None:
    """The rule of the node's op for this method, else its rule for all methods, else None."""
    key = op_key(node)
    return _RULES.get((key, method)) or _RULES.get((key, None))


def find_reach(node: Node) -> Reach:
    """How far the node's op reaches; the whole map for an op without a rule."""
    found = _RULES.get((op_key(node), None))
    return found.reach if found else whole_map


def is_rectifier(node: Node) -> bool:
    """Whether the op is an activation that the methods tell apart."""
    return (op_key(node), "guided") in _RULES


def registered_rules() -> tuple[Rule, ...]:
    """Every rule of an op that models may have, in the order of registration."""
    return tuple(rule for rule in _RULES.values() if not rule.op.startswith(f"{OWN}::"))


for _family in iter_modules(__path__):
    import_module(f"{__name__}.{_family.name}")

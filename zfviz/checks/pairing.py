"""Which layer of one model is which of another: an earlier one, or the same in other numbers."""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar

QUANTISED = re.compile(r"(_QuantizeLinear|_DequantizeLinear|_quantized)(_Output)?$")
"""What onnxruntime adds to the names of tensors that it quantises."""


class Named(Protocol):
    """What stands for a layer."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def tensor(self) -> str:
        """The name of its weights, or of its output."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of these."""
        ...


Before = TypeVar("Before", bound=Named)
Now = TypeVar("Now", bound=Named)


def paired(before: Sequence[Before], now: Sequence[Now]) -> list[tuple[Before, Now]]:
    """The layers of two models that are the same one, in the order of `now`: those of one name; of the others those of
    one tensor, quantised or not; of the others those of one shape, by their order where both models have as many.
    """
    found: dict[int, Before] = {}
    taken: set[int] = set()
    keys: tuple[Callable[[Named], Hashable], ...] = (
        lambda layer: layer.name,
        lambda layer: QUANTISED.sub("", layer.tensor),
        lambda layer: layer.shape,
    )
    for key in keys:
        old: dict[Hashable, list[Before]] = defaultdict(list)
        new: dict[Hashable, list[int]] = defaultdict(list)
        for layer in before:
            if id(layer) not in taken:
                old[key(layer)].append(layer)
        for index, layer in enumerate(now):
            if index not in found:
                new[key(layer)].append(index)
        for shared, indices in new.items():
            if len(old[shared]) == len(indices):
                found |= zip(indices, old[shared], strict=True)
                taken |= set(map(id, old[shared]))
    return [(found[index], layer) for index, layer in enumerate(now) if index in found]

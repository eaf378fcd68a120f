"""Which layer is which: by name, by tensor, by order."""

from collections.abc import Mapping

import numpy as np

from zfviz.checks.pairing import paired
from zfviz.checks.records import Filters


def layers(**shapes: tuple[int, ...]) -> list[Filters]:
    """Layers of these names and shapes, their tensors named likewise."""
    return [Filters(name, name, shape, np.zeros(0), np.zeros(0)) for name, shape in shapes.items()]


def pairs(before: list[Filters], now: list[Filters]) -> Mapping[str, str]:
    return {two.name: one.name for one, two in paired(before, now)}


def test_layers_go_by_name_then_by_tensor_then_by_order_of_a_shape() -> None:
    a, b = (2, 3), (4, 5)
    assert pairs(layers(x=a, y=a), layers(y=a, x=b)) == {"y": "y", "x": "x"}
    quantised_ = layers(p_QuantizeLinear_Output=a, q_quantized=a, r_DequantizeLinear_Output=b)
    assert pairs(layers(q=a, p=a, r=b), quantised_) == dict(zip((one.name for one in quantised_), "pqr", strict=True))
    assert pairs(layers(p=a, q=b, r=a), layers(s=a, t=a, u=b)) == {"s": "p", "t": "r", "u": "q"}
    assert pairs(layers(p=a, q=a), layers(s=a, t=b)) == {}
    assert pairs(layers(p=a, q=a), layers(q=a, s=a)) == {"q": "q", "s": "p"}

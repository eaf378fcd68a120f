"""What an exporter's own corpus is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Specimen:
    """One model that one exporter writes; `inputs` holds what it needs besides the image."""

    exporter: str
    name: str
    make: Callable[[Path], Path]
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)

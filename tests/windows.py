"""The companions of windows, both that are given them and that cut them, against that of whole maps: the same signal of
one unit through all.
"""

from collections.abc import Iterator

import numpy as np

from zfviz.graph.companion import PIXELS, SIGNAL, build_companion
from zfviz.graph.exposure import expose
from zfviz.graph.layers import Layer
from zfviz.graph.rules import Method
from zfviz.graph.windowed import build_windowed
from zfviz.runtime.loading import Model
from zfviz.runtime.running import Signal, run_companion, run_forward
from zfviz.runtime.session import open_session
from zfviz.runtime.windows import paste


def places(layer: Layer) -> list[tuple[int, ...]]:
    """Units at the corners of a map, at its edges and inside, each of another channel."""
    rng = np.random.default_rng(0)
    channels, *size = layer.shape
    if not layer.has_map:
        return [(int(c),) for c in rng.integers(channels, size=2)]
    ends = [(0, 0), (0, -1), (-1, 0), (-1, -1)]
    halves = [(0, size[1] // 2), (size[0] // 2, -1), (size[0] // 2, size[1] // 2)]
    inside = [tuple(int(rng.integers(extent)) for extent in size) for _ in range(2)]
    return [(int(rng.integers(channels)), y % size[0], x % size[1]) for y, x in (*ends, *halves, *inside)]


def difference(model: Model, layer: Layer, method: Method, images: np.ndarray) -> float:
    """The largest difference of the pixels of units of the layer, of both images where there are two, relative to the
    largest value of each, which counts as 1e-6 at least; NaN where there is one.
    """
    return float(np.max(list(_differences(model, layer, method, images))))


def _differences(model: Model, layer: Layer, method: Method, images: np.ndarray) -> Iterator[float]:
    whole = build_companion(model.canonical, layer.tensor, method)
    both = [build_windowed(model.canonical, layer.tensor, layer.start, method, cutting=c) for c in (False, True)]
    asked = [*dict.fromkeys([layer.tensor, *(name for c in both for name in c.tensors), *whole.values])]
    proto = expose(model.canonical, [name for name in asked if name not in whole.switches], whole.switches)
    forward = open_session(proto, model.source.folder, device="cpu")
    values = run_forward(forward, model.image, images, asked, whole=not whole.batched)
    back, *sessions = (open_session(c.proto, model.source.folder, device="cpu") for c in (whole, *both))
    signals = [
        Signal(k % len(images), layer.index_of(place), (*place[1:], 0, 0)[:2], 1.0)
        for k, place in enumerate(places(layer))
    ]
    pixels = [
        paste([*run_companion(session, companion, signals, values)], model.image.shape[1:])
        for session, companion in zip(sessions, both, strict=True)
    ]
    for signal, *found in zip(signals, *pixels, strict=True):
        start = np.zeros([1 if whole.batched else layer.stored[0], *layer.stored[1:]], np.float32)
        start[0, *signal.index] = 1
        row = slice(signal.image, signal.image + 1)
        feeds = {name: values[name][row] if whole.batched else values[name] for name in whole.values}
        feeds[SIGNAL] = start[0] if layer.folded else start
        (expected,) = back.run(feeds, [PIXELS])[PIXELS][:1]
        assert np.shape(found)[1:] == expected.shape
        yield float(np.abs(np.subtract(found, expected)).max() / max(np.abs(expected).max(), 1e-6))

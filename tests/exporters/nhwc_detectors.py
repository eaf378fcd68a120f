"""Detectors as tf2onnx writes them."""

import itertools

import numpy as np
from exporters.nhwc_graph import END, Graph, specimen
from exporters.specimen import Specimen
from onnx import TensorProto


def _ssd(g: Graph, image: str) -> list[str]:
    """Boxes over anchors and their scores; every reshape asks tf.shape for the batch."""

    def flat(x: str, *rest: int) -> str:
        return g.reshape(g.nhwc(x), g.op("Gather", g.op("Shape", x), [0, 2, 3, 1]), *rest)

    x = g.relu6(g.conv(g.nchw(image), 3, 16, stride=2))
    boxes, scores = [], []
    for channels, filters in ((16, 24), (24, 32), (32, 32)):
        x = g.relu6(g.conv(g.relu6(g.depthwise(x, channels, stride=2)), channels, filters, 1))
        boxes.append(flat(g.conv(x, filters, 3 * 4), -1, 1, 4))
        scores.append(flat(g.conv(x, filters, 3 * 6), -1, 6))
    count = 3 * (16 * 12 + 8 * 6 + 4 * 3)
    offsets = g.squeeze(g.op("Concat", *boxes, axis=1), [2])
    y, x, height, width = g.ops("Split", offsets, axis=-1, outputs=4)
    tall, wide = (
        g.op("Mul", g.op("Exp", g.op("Mul", t, 0.2)), g.noise(count, 1, mean=0.2, spread=0.03)) for t in (height, width)
    )
    tall, wide = g.op("Mul", tall, 0.5), g.op("Mul", wide, 0.5)
    y, x = (g.op("Add", g.op("Mul", t, 0.1), g.noise(count, 1, mean=0.5, spread=0.2)) for t in (y, x))
    corners = [g.op(kind, centre, half) for kind in ("Sub", "Add") for centre, half in ((y, tall), (x, wide))]
    known = g.op("Sigmoid", g.op("Concat", *scores, axis=1))
    return [
        g.op("Concat", *corners, axis=2),
        g.slice(known, 1, END, axis=2),
        g.op("Gather", known, np.int32([1, 3]), axis=-1),
    ]


def _yolo(g: Graph, image: str) -> list[str]:
    """LeakyRelu as Max(x, 0.1 x), a reorg through SpaceToDepth, and cells decoded in the graph."""

    def leaky(x: str) -> str:
        return g.op("Max", g.op("Mul", x, 0.1), x)

    x = g.pool("MaxPool", leaky(g.conv(g.nchw(image), 3, 16)), 2, 2)
    early = g.pool("MaxPool", leaky(g.conv(x, 16, 16)), 2, 2)
    x = leaky(g.conv(g.pool("MaxPool", leaky(g.conv(early, 16, 32)), 2, 2), 32, 32))
    x = leaky(g.conv(g.op("Concat", g.op("SpaceToDepth", early, blocksize=2), x, axis=1), 96, 48, 1))
    cells = g.op("Reshape", g.nhwc(g.conv(x, 48, 2 * 9, 1)), [-1, 6, 8, 2, 9])
    starts = (0, 2, 4, 5, 9)
    centre, size, sure, kinds = (g.slice(cells, a, b, axis=4) for a, b in itertools.pairwise(starts))
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(6)), -1).astype(np.float32)[None, :, :, None]
    centre = g.op("Mul", g.op("Add", g.op("Sigmoid", centre), grid), np.float32([1 / 8, 1 / 6]))
    size = g.op("Mul", g.op("Exp", g.clip(size, -4.0, 4.0)), np.float32([[0.2, 0.3], [0.5, 0.4]]))
    sure = g.op("Mul", g.op("Sigmoid", sure), g.op("Softmax", kinds, axis=-1))
    merged = g.op("Concat", centre, size, sure, axis=4)
    return [g.reshape(merged, g.op("Shape", image), 6 * 8 * 2, 8)]


def _retinanet(g: Graph, image: str) -> list[str]:
    """A pyramid through Upsample, and heads whose kernels all levels share."""
    same = "SAME_UPPER"
    x = g.op("Relu", g.conv(g.nchw(image), 3, 16, stride=2, padding=same))
    levels = [x := g.op("Relu", g.conv(x, 16, 16, stride=2, padding=same)) for _ in range(3)]
    tops = [g.conv(levels[2], 16, 16, 1)]
    for level in levels[1::-1]:
        wanted, had = (g.slice(g.op("Shape", g.nhwc(t)), 1, 3) for t in (level, tops[-1]))
        factors = g.op("Div", *(g.op("Cast", t, to=TensorProto.FLOAT) for t in (wanted, had)))
        up = g.op("Upsample", tops[-1], g.op("Concat", np.float32([1, 1]), factors, axis=0), mode="nearest")
        tops.append(g.op("Add", g.conv(level, 16, 16, 1), up))
    tower, head = g.const(g.kernel(16, 16, 3, 3)), g.const(g.kernel(3 * 5, 16, 3, 3))
    heads = []
    for top in tops:
        x = g.op("Relu", g.conv(top, 16, 16, weight=tower, padding=same))
        x = g.nhwc(g.conv(x, 16, 15, weight=head, padding=same))
        heads.append(g.reshape(x, g.op("Shape", x), -1, 5))
    return [g.op("Sigmoid", g.op("Concat", *heads, axis=1))]


SPECIMENS: tuple[Specimen, ...] = (
    specimen("SSD", _ssd, 13, "unk__1", 64, 48, 3),
    specimen("YOLO", _yolo, 15, "unk__1", 48, 64, 3),
    specimen("RetinaNet", _retinanet, 9, "unk__1", 64, 64, 3),
)

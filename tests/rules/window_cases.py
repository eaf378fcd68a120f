"""Cases of convolutions, pools, regions and resizing."""

from collections.abc import Iterator

import numpy as np
from node_cases import Row

PADDED = "kernel_shape = [3, 3], strides = [3, 3], pads = [1, 1, 1, 1]"
POOL = "kernel_shape = [3, 3], strides = [2, 2]"

UP = np.float32([1, 1, 2, 1.5])
DOWN = np.float32([1, 1, 0.6, 0.5])


def _resizes() -> Iterator[Row]:
    """Every mode with every way to place coordinates, up and down; and the older spellings."""
    for mode in ("nearest", "linear", "cubic"):
        for place in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"):
            for name, scales in (("up", UP), ("down", DOWN)):
                body = f'y = Resize<mode = "{mode}", coordinate_transformation_mode = "{place}">(x, , scales)'
                yield (f"Resize {mode} {place} {name}", 19, (1, 2, 6, 7), body, {"scales": scales})
    for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
        body = f'y = Resize<nearest_mode = "{rounding}">(x, , , sizes)'
        yield (f"Resize {rounding}", 13, (1, 2, 6, 7), body, {"sizes": [1, 2, 9, 4]})
    for policy in ("not_larger", "not_smaller"):
        body = f'y = Resize<mode = "linear", axes = [2, 3], keep_aspect_ratio_policy = "{policy}">(x, , , sizes)'
        yield (f"Resize {policy}", 18, (1, 2, 6, 6), body, {"sizes": [9, 9]})
    for mode in ("linear", "cubic"):
        body = f'y = Resize<mode = "{mode}", antialias = 1>(x, , scales)'
        yield (f"Resize {mode} antialias", 18, (1, 2, 8, 9), body, {"scales": DOWN})
    body = 'y = Resize<mode = "cubic", cubic_coeff_a = -0.5, exclude_outside = 1>(x, , scales)'
    yield ("Resize cubic inside", 13, (1, 2, 6, 7), body, {"scales": UP})
    body = 'y = Resize<mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize">(x, roi, , sizes)'
    roi = np.float32([0, 0, 0.1, 0.2, 1, 1, 0.8, 1.1])
    yield ("Resize cut out", 13, (1, 2, 6, 7), body, {"roi": roi, "sizes": [1, 2, 4, 5]})
    body = 'y = Resize<mode = "linear", coordinate_transformation_mode = "align_corners">(x, , , sizes)'
    yield ("Resize volume", 13, (1, 2, 3, 4, 5), body, {"sizes": [1, 2, 5, 6, 8]})
    body = 'y = Resize<mode = "linear">(x, , scales)'
    yield ("Resize columns last", 13, (1, 6, 7, 2), body, {"scales": np.float32([1, 2, 2, 1])})
    yield ("Resize 10", 10, (1, 2, 4, 5), 'y = Resize<mode = "linear">(x, scales)', {"scales": UP})
    yield ("Resize of Upsample 9", 9, (1, 2, 4, 5), "y = Upsample(x, scales)", {"scales": UP})
    yield (
        "Resize of Upsample 7",
        7,
        (1, 2, 4, 5),
        'y = Upsample<mode = "linear", scales = [1.0, 1.0, 2.0, 2.0]>(x)',
        {},
    )


WINDOWS: tuple[Row, ...] = (
    ("Conv 1d", 11, (1, 3, 9), "y = Conv<strides = [2]>(x, w)", {"w": (4, 3, 3)}),
    ("Conv 3d", 13, (1, 2, 5, 4, 6), "y = Conv<pads = [1, 0, 1, 0, 1, 0]>(x, w)", {"w": (3, 2, 2, 3, 3)}),
    ("Conv bias", 7, (1, 3, 6, 5), "y = Conv(x, w, b)", {"w": (4, 3, 3, 2), "b": (4,)}),
    ("Conv groups", 9, (1, 6, 5, 5), "y = Conv<group = 3>(x, w)", {"w": (9, 2, 3, 3)}),
    ("Conv depthwise", 22, (1, 4, 5, 5), "y = Conv<group = 4, pads = [1, 1, 1, 1]>(x, w)", {"w": (8, 1, 3, 3)}),
    ("Conv dilations", 11, (1, 2, 9, 9), "y = Conv<dilations = [2, 3]>(x, w)", {"w": (3, 2, 3, 3)}),
    (
        "Conv stride leaves a rest",
        17,
        (1, 2, 10, 11),
        "y = Conv<strides = [3, 4], pads = [1, 1, 1, 1]>(x, w)",
        {"w": (3, 2, 3, 3)},
    ),
    (
        "Conv kernel below stride",
        21,
        (1, 2, 8, 8),
        "y = Conv<strides = [3, 3]>(x, w)",
        {"w": (3, 2, 1, 2)},
    ),
    (
        "Conv pads differ",
        13,
        (1, 2, 7, 8),
        "y = Conv<strides = [2, 3], pads = [0, 2, 1, 0], dilations = [2, 1]>(x, w)",
        {"w": (3, 2, 3, 3)},
    ),
    (
        "Conv pads beyond need",
        13,
        (1, 2, 6, 6),
        "y = Conv<strides = [4, 4], pads = [0, 1, 3, 0]>(x, w)",
        {"w": (3, 2, 3, 3)},
    ),
    (
        "Conv SAME_UPPER",
        11,
        (1, 2, 7, 8),
        'y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w)',
        {"w": (3, 2, 4, 3)},
    ),
    (
        "Conv SAME_LOWER",
        8,
        (1, 2, 7, 8),
        'y = Conv<auto_pad = "SAME_LOWER", strides = [2, 3]>(x, w)',
        {"w": (3, 2, 4, 2)},
    ),
    ("Conv VALID", 11, (1, 2, 7, 8), 'y = Conv<auto_pad = "VALID", strides = [2, 2]>(x, w)', {"w": (3, 2, 3, 3)}),
    ("MaxPool 1d", 8, (1, 3, 10), "y = MaxPool<kernel_shape = [3], strides = [2], pads = [1, 0]>(x)", {}),
    ("MaxPool 3d", 12, (1, 2, 5, 6, 5), "y = MaxPool<kernel_shape = [2, 3, 3], strides = [1, 2, 2]>(x)", {}),
    ("MaxPool overlap", 7, (1, 3, 9, 9), f"y = MaxPool<{POOL}>(x)", {}),
    ("MaxPool stride 1", 12, (1, 2, 6, 6), "y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)", {}),
    ("MaxPool pads differ", 12, (1, 2, 8, 7), f"y = MaxPool<{POOL}, pads = [0, 2, 1, 1]>(x)", {}),
    ("MaxPool ceil", 10, (1, 2, 8, 7), f"y = MaxPool<{POOL}, ceil_mode = 1, pads = [1, 0, 0, 0]>(x)", {}),
    ("MaxPool ceil drops a window", 13, (1, 2, 2, 5), f"y = MaxPool<{PADDED}, ceil_mode = 1>(x)", {}),
    ("MaxPool dilations", 10, (1, 2, 9, 9), f"y = MaxPool<{POOL}, dilations = [2, 3]>(x)", {}),
    ("MaxPool SAME_UPPER", 11, (1, 2, 7, 8), f'y = MaxPool<{POOL}, auto_pad = "SAME_UPPER">(x)', {}),
    ("MaxPool SAME_LOWER", 12, (1, 2, 7, 8), f'y = MaxPool<{POOL}, auto_pad = "SAME_LOWER">(x)', {}),
    ("MaxPool columns first", 12, (1, 2, 7, 8), f"y, taken = MaxPool<{POOL}, storage_order = 1>(x)", {}),
    ("MaxPool indices unread", 22, (1, 2, 7, 8), f"y, unread = MaxPool<{POOL}>(x)", {}),
    ("MaxPool indices taken", 9, (1, 2, 7, 8), f"y, taken = MaxPool<{POOL}>(x)", {}),
    ("AveragePool 1d", 7, (1, 3, 10), "y = AveragePool<kernel_shape = [3], strides = [2], pads = [1, 1]>(x)", {}),
    ("AveragePool 3d", 11, (1, 2, 5, 6, 5), "y = AveragePool<kernel_shape = [2, 3, 3], strides = [1, 2, 2]>(x)", {}),
    ("AveragePool pads", 7, (1, 2, 8, 7), f"y = AveragePool<{POOL}, pads = [1, 1, 1, 1]>(x)", {}),
    (
        "AveragePool pads count",
        10,
        (1, 2, 8, 7),
        f"y = AveragePool<{POOL}, pads = [1, 1, 1, 1], count_include_pad = 1>(x)",
        {},
    ),
    ("AveragePool pads differ", 11, (1, 2, 8, 7), f"y = AveragePool<{POOL}, pads = [0, 2, 1, 1]>(x)", {}),
    (
        "AveragePool pads that differ count",
        22,
        (1, 2, 8, 7),
        f"y = AveragePool<{POOL}, pads = [0, 2, 1, 1], count_include_pad = 1>(x)",
        {},
    ),
    ("AveragePool ceil", 10, (1, 2, 8, 6), f"y = AveragePool<{POOL}, ceil_mode = 1>(x)", {}),
    (
        "AveragePool ceil pads count",
        19,
        (1, 2, 8, 7),
        f"y = AveragePool<{POOL}, ceil_mode = 1, pads = [1, 0, 0, 1], count_include_pad = 1>(x)",
        {},
    ),
    ("AveragePool ceil drops a window", 11, (1, 2, 2, 5), f"y = AveragePool<{PADDED}, ceil_mode = 1>(x)", {}),
    (
        "AveragePool dilations",
        19,
        (1, 2, 9, 9),
        f"y = AveragePool<{POOL}, dilations = [2, 3], pads = [1, 1, 1, 1]>(x)",
        {},
    ),
    ("AveragePool SAME_LOWER", 11, (1, 2, 7, 8), f'y = AveragePool<{POOL}, auto_pad = "SAME_LOWER">(x)', {}),
    ("AveragePool gaps", 13, (1, 2, 7, 8), "y = AveragePool<kernel_shape = [2, 1], strides = [3, 2]>(x)", {}),
    ("GlobalAveragePool 1d", 7, (1, 3, 7), "y = GlobalAveragePool(x)", {}),
    ("GlobalAveragePool 3d", 22, (1, 3, 2, 3, 4), "y = GlobalAveragePool(x)", {}),
    ("GlobalMaxPool 1d", 7, (1, 3, 7), "y = GlobalMaxPool(x)", {}),
    ("GlobalMaxPool 3d", 22, (1, 3, 2, 3, 4), "y = GlobalMaxPool(x)", {}),
    ("ConvTranspose", 7, (1, 4, 5, 5), "y = ConvTranspose(x, w, b)", {"w": (4, 3, 3, 2), "b": (3,)}),
    ("ConvTranspose 1d", 11, (1, 4, 5), "y = ConvTranspose<strides = [2]>(x, w)", {"w": (4, 3, 3)}),
    ("ConvTranspose 3d", 11, (1, 2, 3, 4, 3), "y = ConvTranspose<strides = [1, 2, 1]>(x, w)", {"w": (2, 3, 2, 2, 2)}),
    (
        "ConvTranspose groups",
        11,
        (1, 4, 5, 5),
        "y = ConvTranspose<group = 2, strides = [3, 2], output_padding = [1, 1]>(x, w)",
        {"w": (4, 3, 3, 3)},
    ),
    (
        "ConvTranspose pads differ",
        11,
        (1, 4, 5, 5),
        "y = ConvTranspose<strides = [2, 2], pads = [0, 1, 2, 1], dilations = [2, 1]>(x, w)",
        {"w": (4, 3, 3, 3)},
    ),
    (
        "ConvTranspose SAME_UPPER",
        11,
        (1, 4, 5, 5),
        'y = ConvTranspose<strides = [2, 2], auto_pad = "SAME_UPPER">(x, w)',
        {"w": (4, 3, 3, 3)},
    ),
    (
        "ConvTranspose SAME_LOWER",
        11,
        (1, 4, 5, 5),
        'y = ConvTranspose<strides = [2, 2], auto_pad = "SAME_LOWER">(x, w)',
        {"w": (4, 3, 3, 3)},
    ),
    (
        "ConvTranspose shape given",
        11,
        (1, 4, 5, 5),
        "y = ConvTranspose<strides = [2, 2], output_shape = [10, 10]>(x, w)",
        {"w": (4, 3, 3, 3)},
    ),
    ("LpPool 1", 11, (1, 2, 7, 8), f"y = LpPool<{POOL}, p = 1>(x)", {}),
    ("LpPool 2", 18, (1, 2, 7, 8), f"y = LpPool<{POOL}, pads = [1, 1, 1, 1]>(x)", {}),
    ("LpPool 3 ceil", 22, (1, 2, 8, 7), f"y = LpPool<{POOL}, ceil_mode = 1, p = 3>(x)", {}),
    ("GlobalLpPool 2", 7, (1, 2, 4, 5), "y = GlobalLpPool(x)", {}),
    ("GlobalLpPool 3", 7, (1, 2, 4, 5), "y = GlobalLpPool<p = 3>(x)", {}),
    (
        "MaxUnpool",
        11,
        (1, 2, 6, 6),
        "m, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) s = Mul(m, w) "
        "y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(s, i)",
        {"w": (2, 1, 1)},
    ),
    (
        "RoiAlign",
        16,
        (2, 3, 8, 9),
        "y = RoiAlign<output_height = 3, output_width = 2, sampling_ratio = 2, spatial_scale = 0.5>(x, rois, rows)",
        {"rois": np.float32([[1, 2, 9, 11], [0, 0, 17, 15], [-3, 4, 22, 7]]), "rows": [1, 0, 1]},
    ),
    (
        "RoiAlign before 16",
        10,
        (1, 3, 8, 9),
        "y = RoiAlign<output_height = 3, output_width = 2, sampling_ratio = 3>(x, rois, rows)",
        {"rois": np.float32([[1, 2, 6.5, 7], [3, 3, 3.2, 3.1]]), "rows": [0, 0]},
    ),
    *_resizes(),
)

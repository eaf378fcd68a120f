"""Nodes for the oracle that read between places: resampling, regions, deformed windows; and attention."""

import numpy as np

F = np.float32
PLACES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
WAYS = {
    "nearest": [f', nearest_mode = "{mode}"' for mode in ROUNDINGS],
    "linear": ["", ", antialias = 1"],
    "cubic": ["", ", cubic_coeff_a = -0.5", ", exclude_outside = 1", ", antialias = 1"],
}
REGIONS = F([[0, 0, 19, 17], [3, 2.5, 9, 11.2], [-4, 8, 6, 30]])
BINS = "spatial_scale = 0.5, output_height = 3, output_width = 2"
DEFORMED = "group = 2, offset_group = 2, strides = [2, 1], pads = [1, 0, 1, 2], dilations = [1, 2]"
BOXES = np.sort(np.random.default_rng(2).uniform(0, 4, (1, 9, 4)).astype(F), -1)[..., [0, 1, 3, 2]]

SAMPLING: tuple[tuple[str, int, tuple[int, ...], str, dict], ...] = (
    ("Upsample 7", 7, (1, 2, 3, 4), 'y = Upsample<scales = [1.0, 1.0, 2.0, 1.5], mode = "linear">(x)', {}),
    ("Upsample 9", 9, (1, 2, 3, 4), "y = Upsample(x, s)", {"s": F([1, 1, 2, 1.5])}),
    ("Resize 10 nearest", 10, (1, 2, 6, 7), "y = Resize(x, s)", {"s": F([1, 1, 0.4, 1.7])}),
    ("Resize 10 linear", 10, (1, 2, 6, 7), 'y = Resize<mode = "linear">(x, s)', {"s": F([1, 1, 0.4, 1.7])}),
    *(
        (
            f"Resize {mode} {place} {way}",
            19,
            (1, 2, 6, 5),
            f'y = Resize<mode = "{mode}", coordinate_transformation_mode = "{place}"{way}>(x, r, s)',
            {"s": F([1, 1, 0.7, 2.3]), "r": F([0, 0, -0.1, 0.2, 1, 1, 0.8, 1.1])},
        )
        for mode, ways in WAYS.items()
        for place in PLACES
        for way in ways
        if "antialias" not in way or place != "tf_crop_and_resize"
    ),
    (
        "Resize tf_half_pixel_for_nn",
        11,
        (1, 2, 6, 5),
        'y = Resize<coordinate_transformation_mode = "tf_half_pixel_for_nn", nearest_mode = "floor">(x, r, s)',
        {"s": F([1, 1, 0.7, 2.3]), "r": F([])},
    ),
    (
        "Resize not_larger",
        18,
        (1, 2, 6, 5),
        'y = Resize<mode = "linear", axes = [3, 2], keep_aspect_ratio_policy = "not_larger">(x, , , s)',
        {"s": np.int64([7, 9])},
    ),
    (
        "Resize not_smaller",
        18,
        (1, 2, 6, 5),
        'y = Resize<axes = [2, 3], keep_aspect_ratio_policy = "not_smaller">(x, , , s)',
        {"s": np.int64([7, 9])},
    ),
    *(
        (
            f"GridSample {mode} {padding} {corners}",
            16,
            (2, 3, 5, 6),
            f'y = GridSample<mode = "{mode}", padding_mode = "{padding}", align_corners = {corners}>(x, g)',
            {"g": (2, 4, 3, 2)},
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    ),
    *(
        (
            f"RoiAlign {opset} {mode} {ratio}",
            opset,
            (2, 3, 9, 10),
            f'y = RoiAlign<mode = "{mode}", sampling_ratio = {ratio}, {BINS}>(x, r, i)',
            {"r": REGIONS, "i": np.int64([1, 0, 1])},
        )
        for opset in (10, 16)
        for mode in ("avg", "max")
        for ratio in (0, 2)
    ),
    ("GridSample 3d", 20, (1, 2, 4, 5, 6), "y = GridSample<align_corners = 1>(x, g)", {"g": (1, 3, 2, 4, 3)}),
    (
        "DeformConv",
        19,
        (2, 4, 6, 7),
        f"y = DeformConv<{DEFORMED}>(x, w, o, b, m)",
        {"w": (6, 2, 3, 2), "o": (2, 24, 3, 7), "b": (6,), "m": (2, 12, 3, 7)},
    ),
    (
        "Col2Im",
        18,
        (1, 18, 6),
        "y = Col2Im<strides = [2, 1], pads = [1, 0, 1, 0], dilations = [1, 2]>(x, s, b)",
        {"s": np.int64([5, 6]), "b": np.int64([3, 3])},
    ),
    (
        "NonMaxSuppression",
        11,
        (1, 2, 9),
        "i = NonMaxSuppression(b, x, n, o, l) y = Cast<to = 1>(i)",
        {"b": BOXES, "n": np.int64([4]), "o": F([0.3]), "l": F([-0.5])},
    ),
    (
        "NonMaxSuppression centres",
        10,
        (1, 2, 9),
        "i = NonMaxSuppression<center_point_box = 1>(b, x, n, o) y = Cast<to = 1>(i)",
        {"b": abs(BOXES), "n": np.int64([4]), "o": F([0.1])},
    ),
    (
        "Attention mask",
        23,
        (2, 4, 5, 6),
        "y = Attention<softcap = 2.0, is_causal = 1>(x, k, v, m)",
        {"k": (2, 2, 7, 6), "v": (2, 2, 7, 3), "m": (5, 7)},
    ),
    (
        "MultiHeadAttention",
        17,
        (2, 5, 6),
        "y = com.microsoft.MultiHeadAttention<num_heads = 2>(x, k, v, b)",
        {"k": (2, 7, 6), "v": (2, 7, 6), "b": (18,)},
    ),
    (
        "Attention microsoft",
        17,
        (2, 5, 6),
        "y = com.microsoft.Attention<num_heads = 2>(x, w, b)",
        {"w": (6, 18), "b": (18,)},
    ),
)

"""The preprocessor_config.json of Hugging Face, well formed and malformed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zfviz.errors import ImageError
from zfviz.images.preprocessing import Preprocessing, find_preprocessing


def read(config: object, folder: Path) -> Preprocessing:
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    return find_preprocessing(None, {}, folder)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            # ResNet, CLIP
            {
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
                "do_normalize": True,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
                "rescale_factor": 0.5,
            },
            Preprocessing("crop", 0.875, "RGB", 0.5, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224)),
        ),
        (
            # ViT
            {"size": {"height": 224, "width": 192}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3},
            Preprocessing("stretch", 1, mean=(0.5,) * 3, std=(0.25,) * 3, size=(224, 192)),
        ),
        ({"do_resize": True, "size": 224}, Preprocessing("stretch", 1, size=(224, 224))),
        ({"do_resize": True, "size": [224, 192]}, Preprocessing("stretch", 1, size=(224, 192))),
        (
            {"do_resize": True, "size": 256, "do_center_crop": True, "crop_size": 192},
            Preprocessing("crop", 0.75, size=(192, 192)),
        ),
        ({"do_resize": True, "size": 256, "crop_size": 192}, Preprocessing("stretch", 1, size=(256, 256))),
        ({"do_resize": True, "do_center_crop": True, "crop_size": 192}, Preprocessing("crop", 1, size=(192, 192))),
        ({"do_resize": True, "size": 192, "do_center_crop": True}, Preprocessing("stretch", 1, size=(192, 192))),
        (
            {"do_resize": True, "size": 192, "do_center_crop": True, "crop_size": 256},
            Preprocessing("crop", 1, size=(256, 256)),
        ),
        ({"do_resize": True, "size": {"shortest_edge": 256}}, Preprocessing("crop", 1, size=(256, 256))),
        (
            {"do_resize": True, "size": {"shortest_edge": 224}, "crop_pct": 0.95},
            Preprocessing("crop", 0.95, size=(224, 224)),
        ),
        ({"do_resize": True, "size": 224, "crop_pct": 0.9}, Preprocessing("crop", 0.9, size=(224, 224))),
        ({"do_resize": True, "crop_pct": None}, Preprocessing("stretch", 1)),
        ({"do_resize": True, "size": {"longest_edge": 224}}, Preprocessing("stretch", 1)),
        ({"do_rescale": False}, Preprocessing("stretch", 1, scale=1.0)),
        ({"do_rescale": False, "rescale_factor": 0.5}, Preprocessing("stretch", 1, scale=1.0)),
        ({"do_rescale": True}, Preprocessing("stretch", 1, scale=1 / 255)),
        ({"do_normalize": False, "image_mean": [0.5], "image_std": [0.5]}, Preprocessing("stretch", 1)),
        ({"do_normalize": False, "image_mean": None, "image_std": None}, Preprocessing("stretch", 1)),
        ({"image_processor_type": "ViTImageProcessor", "resample": 3}, Preprocessing("stretch", 1)),
    ],
)
def test_hugging_face(tmp_path: Path, config: dict[str, Any], expected: Preprocessing) -> None:
    assert read(config, tmp_path) == replace(expected, source="preprocessor_config.json")
    assert find_preprocessing(config, {}, None) == expected


@pytest.mark.parametrize("key", ["size", "crop_size"])
@pytest.mark.parametrize(
    "bad",
    [
        "224",
        0,
        -1,
        2.5,
        True,
        10**400,
        [],
        [224],
        ["a", "b"],
        {"height": "a", "width": "b"},
        {"height": None, "width": 224},
        {"height": 0, "width": 0},
        {"height": [1], "width": {}},
        {"shortest_edge": "224"},
        {"shortest_edge": 0},
        {"shortest_edge": None},
        {"shortest_edge": [256]},
    ],
)
def test_hugging_face_sizes_that_are_malformed(tmp_path: Path, key: str, bad: object) -> None:
    config = {"do_resize": True, "do_center_crop": True, "size": 256, "crop_size": 224, key: bad}
    with pytest.raises(ImageError, match=rf"preprocessor_config\.json: {key} is .*expected \[height, width\]"):
        read(config, tmp_path)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"do_resize": True, "image_mean": "0.5"}, "mean"),
        ({"do_resize": True, "image_mean": {"r": 1}}, "mean"),
        ({"do_resize": True, "image_mean": [[0.5]]}, "mean"),
        ({"do_resize": True, "image_std": [0, 0, 0]}, "std"),
        ({"do_resize": True, "image_std": 1}, "std"),
        ({"do_resize": True, "rescale_factor": "1/255"}, "scale"),
        ({"do_resize": True, "rescale_factor": None}, "scale"),
        ({"do_resize": True, "rescale_factor": 0}, "scale"),
        ({"do_resize": True, "crop_pct": "0.9"}, "crop"),
        ({"do_resize": True, "crop_pct": 2}, "crop"),
        ({"do_resize": True, "crop_pct": [0.9]}, "crop"),
    ],
)
def test_hugging_face_values_that_are_malformed(tmp_path: Path, config: dict[str, Any], key: str) -> None:
    with pytest.raises(ImageError, match=rf"preprocessor_config\.json: {key} is "):
        read(config, tmp_path)


def test_the_file_of_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"preprocessor_config\.json: unknown key 'sampling_rate'"):
        read({"sampling_rate": 16_000}, tmp_path)


@pytest.mark.parametrize("key", ["rescale_offset", "include_top"])
def test_hugging_face_keys_that_change_the_numbers_are_refused_not_ignored(key: str) -> None:
    with pytest.raises(ImageError, match=key):
        find_preprocessing({"do_normalize": True, "size": 224, key: True}, {}, None)


def test_hugging_face_channel_flip_is_bgr() -> None:
    assert find_preprocessing({"do_normalize": False, "do_flip_channel_order": True}, {}, None).colour == "BGR"


def test_convnext_crops_small_sizes_only() -> None:
    small, large = (
        find_preprocessing({"do_normalize": True, "crop_pct": 0.875, "size": {"shortest_edge": s}}, {}, None)
        for s in (224, 384)
    )
    assert (small.crop, large.crop) == (0.875, 1.0)

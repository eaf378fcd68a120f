"""Where a preprocessing is found: options, metadata, files and presets, and what hostile ones come to."""

from dataclasses import replace
from pathlib import Path

import pytest

from zfviz.errors import ImageError
from zfviz.images.preprocessing import PRESETS, Preprocessing, find_preprocessing


def test_order_of_sources(tmp_path: Path) -> None:
    metadata = {"zfviz.preprocessing": '{"crop": 0.25}'}
    config = tmp_path / "preprocessor_config.json"
    config.write_text('{"do_normalize": false, "crop_pct": 0.75}')
    option = find_preprocessing({"crop": 0.5}, metadata, tmp_path)
    assert (option.crop, option.source) == (0.5, "options")
    found = find_preprocessing(None, metadata, tmp_path)
    assert (found.crop, found.source) == (0.25, "metadata zfviz.preprocessing")
    found = find_preprocessing(None, {"names": "[]"}, tmp_path)
    assert (found.crop, found.source) == (0.75, "preprocessor_config.json")
    config.unlink()
    assert find_preprocessing(None, {}, tmp_path) == replace(PRESETS["imagenet"], source="assumed")
    assert find_preprocessing(None, {}, None) == replace(PRESETS["imagenet"], source="assumed")


def test_a_folder_named_as_the_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").mkdir()
    assert find_preprocessing(None, {}, tmp_path).source == "assumed"


def test_a_preprocessing_is_taken_as_it_is() -> None:
    given = Preprocessing(crop=0.5, source="mine")
    assert find_preprocessing(given, {"zfviz.preprocessing": "broken"}, None) is given


@pytest.mark.parametrize("name", PRESETS)
def test_preset_by_name(name: str) -> None:
    assert find_preprocessing(name, {}, None) == replace(PRESETS[name], source=f"preset {name}")


def test_file_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('\ufeff{"fit": "stretch"}', encoding="utf-8")
    for option in (path, str(path)):
        assert find_preprocessing(option, {}, None) == Preprocessing("stretch", source="mine.json")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imagnet", "'imagnet' is neither a preset nor a file; nearest: imagenet"),
        ("yolov", "nearest: yolo"),
        ("nowhere.json", "known: imagenet, caffe, inception, unit, raw, yolo"),
        ("", "known: imagenet"),
        ("a\0b", "neither a preset nor a file"),
        ("x" * 5000, "neither a preset nor a file"),
    ],
)
def test_misspelt_preset_names_the_nearest(name: str, expected: str) -> None:
    with pytest.raises(ImageError, match=expected) as caught:
        find_preprocessing(name, {}, None)
    assert len(str(caught.value)) < 400


def test_folder_as_option(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="neither a preset nor a file"):
        find_preprocessing(tmp_path, {}, None)


def test_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.json"
    path.write_text("{}")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"mine\.json cannot be read \(Permission denied\)"):
        find_preprocessing(path, {}, None)


MALFORMED = ["", "{", "[]", "3", "null", '"text"', "[" * 100_000, '{"mean": ' * 100_000, "{'fit': 'crop'}", "\0"]


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_json_object(tmp_path: Path, text: str) -> None:
    with pytest.raises(ImageError, match=r"zfviz\.preprocessing is no JSON object"):
        find_preprocessing(None, {"zfviz.preprocessing": text}, None)
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(ImageError, match=r"preprocessor_config\.json is no JSON object"):
        find_preprocessing(None, {}, tmp_path)
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ImageError, match=r"mine\.json is no JSON object"):
        find_preprocessing(tmp_path / "mine.json", {}, None)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_bytes(b'{"fit": "\xff\xfe"}')
    with pytest.raises(ImageError, match="is no JSON object"):
        find_preprocessing(None, {}, tmp_path)
    with pytest.raises(ImageError, match="fit is"):
        find_preprocessing(None, {"zfviz.preprocessing": '{"fit": "\ud800"}'}, None)


def test_nesting_that_json_still_reads_is_one_error_too() -> None:
    # between what the parser takes and what repr takes there must be no depth that escapes
    for depth in (10, 300, *range(850, 1000, 3)):
        text = '{"mean": ' + "[" * depth + "]" * depth + "}"
        with pytest.raises(ImageError):
            find_preprocessing(None, {"zfviz.preprocessing": text}, None)


def test_json_above_one_megabyte(tmp_path: Path) -> None:
    text = '{"crop": 0.5}'
    exactly = text + " " * (1_000_000 - len(text))
    path = tmp_path / "preprocessor_config.json"
    path.write_text(exactly)
    assert find_preprocessing(None, {}, tmp_path).crop == 0.5
    assert find_preprocessing(None, {"zfviz.preprocessing": exactly}, None).crop == 0.5
    path.write_text(exactly + " ")
    with pytest.raises(ImageError, match=r"preprocessor_config\.json has more than 1,000,000 bytes"):
        find_preprocessing(None, {}, tmp_path)
    with pytest.raises(ImageError, match=r"zfviz\.preprocessing has more than 1,000,000 bytes"):
        find_preprocessing(None, {"zfviz.preprocessing": exactly + " "}, None)

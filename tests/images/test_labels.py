"""Where class names come from, in which order, and what of a hostile file is kept."""

import json
import os
from pathlib import Path

import pytest

from zfviz.images import labels
from zfviz.images.labels import find_labels


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"zfviz.labels": '["cat", "dog"]'}, {0: "cat", 1: "dog"}),
        ({"zfviz.labels": '{"3": "cat"}'}, {3: "cat"}),
        ({"names": "{0: 'cat', 1: \"dog's\"}"}, {0: "cat", 1: "dog's"}),
        ({"names": "['cat', 'dog']"}, {0: "cat", 1: "dog"}),
        ({"zfviz.labels": '["ours"]', "names": "['theirs']"}, {0: "ours"}),
        ({"zfviz.labels": "[broken", "names": "['theirs']"}, {0: "theirs"}),
        ({}, {}),
    ],
)
def test_metadata(metadata: dict[str, str], expected: dict[int, str]) -> None:
    assert find_labels(metadata, None, None) == expected


def test_each_source_gives_way_to_the_one_before(tmp_path: Path) -> None:
    sources = [
        ("net.labels.txt", "stem"),
        ("labels.txt", "plain"),
        ("labels.json", '["json"]'),
        ("synset.txt", "synset"),
        ("preprocessor_config.json", '{"id2label": {"0": "preprocessor"}}'),
        ("config.json", '{"id2label": {"0": "config"}}'),
    ]
    for name, text in sources:
        (tmp_path / name).write_text(text)
    assert find_labels({"names": "['metadata']"}, tmp_path, "net") == {0: "metadata"}
    for (name, _), expected in zip(sources, ["stem", "plain", "json", "synset", "preprocessor", "config"], strict=True):
        assert find_labels({}, tmp_path, "net") == {0: expected}
        (tmp_path / name).unlink()
    assert find_labels({}, tmp_path, "net") == {}


def test_another_models_labels_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "other.labels.txt").write_text("cat")
    assert find_labels({}, tmp_path, "net") == {}


def test_no_stem_looks_for_no_file_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "None.labels.txt").write_text("cat")
    assert find_labels({}, tmp_path, None) == {}


def test_an_empty_line_keeps_the_indices_that_follow(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\n\n  owl, night bird \n")
    assert find_labels({}, tmp_path, "net") == {0: "cat", 2: "owl, night bird"}


@pytest.mark.parametrize("data", [b"cat\r\ndog\r\n", b"\xef\xbb\xbfcat\ndog", b'\xef\xbb\xbf["cat", "dog"]'])
def test_files_written_on_windows(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "labels.txt").write_bytes(data)
    assert find_labels({}, tmp_path, "net") == {0: "cat", 1: "dog"}


def test_only_a_new_line_ends_a_label(tmp_path: Path) -> None:
    # str.splitlines would break at these too, and shift every class that follows
    (tmp_path / "labels.txt").write_text("c\x0ba\x1ct\x85s\u2028\ndog", encoding="utf-8")
    assert find_labels({}, tmp_path, "net") == {0: "c a t s", 1: "dog"}


def test_bytes_that_are_no_utf8_spoil_only_their_own_label(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"caf\xe9\ndog")
    assert find_labels({}, tmp_path, "net") == {0: "caf\ufffd", 1: "dog"}


def test_a_label_in_brackets_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("[background]\ncat")
    assert find_labels({}, tmp_path, "net") == {0: "[background]", 1: "cat"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"0": "cat",\n"1": "dog"',
        '{"labels": "cat"}',
        '"cat"',
        "null",
        "[1, 2, null]",
        "[" * 100_000,
        "{1: " * 100_000,
        "{[]: 'cat'}",
        "[__import__('os')]",
        '["\0',
        "[" + "9" * 5000 + "]",
    ],
)
def test_malformed_json_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    (tmp_path / "preprocessor_config.json").write_text(text)
    (tmp_path / "config.json").write_text('{"id2label": {"0": "kept"}}')
    metadata = {"zfviz.labels": text, "names": text}
    assert find_labels(metadata, None, None) == {}
    assert find_labels(metadata, tmp_path, "net") == {0: "kept"}


@pytest.mark.parametrize("value", ["null", "3", '"cat"', '{"0": 3}', "[]"])
def test_malformed_id2label_is_passed_over(tmp_path: Path, value: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"id2label": ' + value + "}")
    (tmp_path / "config.json").write_text('{"id2label": ["kept"]}')
    assert find_labels({}, tmp_path, "net") == {0: "kept"}


def test_a_folder_in_place_of_a_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").mkdir()
    (tmp_path / "synset.txt").write_text("kept")
    assert find_labels({}, tmp_path, "net") == {0: "kept"}


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b",
        "\x00",
        "\x7f",
        "\x9b",
        "\r\n",
        "\u202e",
        "\u2066",
        "\u200b",
        "\u2028",
        "\ufeff",
        "\ud800",
        "\u061c",
        "\U000e0041",
    ],
)
def test_control_characters_become_a_space(hostile: str) -> None:
    found = find_labels({"zfviz.labels": json.dumps([f"{hostile}a{hostile}b"])}, None, None)
    assert found == {0: "a b"}
    # a lone surrogate could not be written to any report
    found[0].encode()


def test_a_label_of_control_characters_only_is_none() -> None:
    assert find_labels({"zfviz.labels": json.dumps(["\x1b\x07", " ", "cat"])}, None, None) == {2: "cat"}


def test_length_is_capped() -> None:
    found = find_labels({"zfviz.labels": json.dumps(["x" * 1000, "y" * labels.MAX_LENGTH])}, None, None)
    assert found == {0: "x" * labels.MAX_LENGTH, 1: "y" * labels.MAX_LENGTH}


def test_indices_that_no_class_has_are_ignored() -> None:
    hostile = {"-1": "a", "1000000": "b", "9" * 5000: "c", "1.0": "d", "": "e", "x": "f", "True": "g", "999999": "kept"}
    assert find_labels({"zfviz.labels": json.dumps(hostile)}, None, None) == {999_999: "kept"}
    assert find_labels({"names": "{-1: 'a', 1.5: 'b', True: 'c', None: 'd', (1,): 'e', 2: 'kept'}"}, None, None) == {
        2: "kept"
    }


def test_names_that_are_no_text_are_ignored() -> None:
    assert find_labels({"zfviz.labels": '[1, null, ["a"], {"b": 1}, "cat"]'}, None, None) == {4: "cat"}


def test_too_many_labels_are_no_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("x\n" * (labels.MAX_LABELS + 1))
    assert find_labels({}, tmp_path, "net") == {}
    (tmp_path / "labels.txt").write_text("\n".join("x" * labels.MAX_LABELS))
    assert len(find_labels({}, tmp_path, "net")) == labels.MAX_LABELS


def test_too_large_a_text_is_not_read(tmp_path: Path) -> None:
    text = '["cat"]'
    exactly = text + " " * (labels.MAX_BYTES - len(text))
    for name in ("labels.txt", "config.json"):
        (tmp_path / name).write_text(exactly + " ")
    assert find_labels({"names": exactly + " "}, tmp_path, "net") == {}
    (tmp_path / "labels.txt").write_text(exactly)
    assert find_labels({}, tmp_path, "net") == {0: "cat"}
    assert find_labels({"names": exactly}, None, None) == {0: "cat"}


def test_wordnet_ids_are_left_out_of_synset_names(tmp_path: Path) -> None:
    (tmp_path / "synset.txt").write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n")
    assert find_labels({}, tmp_path, "m") == {0: "tench, Tinca tinca", 1: "goldfish"}


def test_a_pipe_named_like_labels_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.txt")
    assert find_labels({}, tmp_path, "m") == {}

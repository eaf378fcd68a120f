import errno
import os
import re
import stat
from pathlib import Path

import pytest

from zfviz.errors import OutputError
from zfviz.report.files import file_stem, make_folder, write_atomically

NASTY = [
    ("/layer1/layer1.0/Relu",),
    ("..",),
    (".",),
    ("",),
    (),
    ("", ""),
    ("a\0b",),
    ("C:\\x",),
    ("层1",),
    ("\ud800",),
    ("x" * 300,),
    ("x" * 300 + "y",),
    ("y" * 300, "0012"),
    ("CON",),
    ("nul.tar",),
    ("Com1", "3"),
    ("-rf",),
    (".hidden",),
    ("trailing.",),
    ("a b",),
    ("a_b", " "),
    ("a", "b__c"),
    ("a__b", "c"),
    ("_a",),
    ("a_",),
    ("a/b",),
    ("a\\b",),
]


def test_plain_parts_are_joined_and_left_alone():
    assert file_stem("chelsea", "conv5_1.relu", "c0012", "y03-x07") == "chelsea__conv5_1.relu__c0012__y03-x07"


@pytest.mark.parametrize("parts", NASTY)
def test_a_stem_is_safe_everywhere(parts):
    stem = file_stem(*parts)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", stem)
    assert len(stem) <= 120
    assert not stem.endswith(".")
    assert stem.split(".")[0].split("-")[0].lower() not in {"con", "nul", "com1"}
    assert stem == file_stem(*parts)


def test_different_parts_have_different_stems():
    stems = [file_stem(*parts) for parts in [*NASTY, ("a", "b", "c"), ("a_b",), ("_",), ("layer1_layer1.0_Relu",)]]
    assert len(set(stems)) == len(stems)


def test_a_changed_name_is_still_known_and_sorts_by_unit():
    stems = [file_stem("/features/" + "x" * 200 + "/Relu", f"{i:04}") for i in range(12)]
    assert stems == sorted(stems)
    assert all("features" in stem and f"__{i:04}-" in stem for i, stem in enumerate(stems))


def test_bytes_are_written(tmp_path: Path):
    path = tmp_path / "a.bin"
    assert write_atomically(path, b"one") == path
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_function_writes_into_the_file(tmp_path: Path):
    path = write_atomically(tmp_path / "a.bin", lambda file: file.write(b"three"))
    assert path.read_bytes() == b"three"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path):
    (tmp_path / "plain").touch()
    written = write_atomically(tmp_path / "ours", b"")
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EACCES, "it is not writable; choose another place"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "some trouble; choose another place"),
    ],
)
def test_a_failure_of_the_disk_keeps_what_was_there(tmp_path: Path, code: int, said: str):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")

    def fail(file):
        file.write(b"half")
        raise OSError(code, "some trouble")

    with pytest.raises(OutputError, match=said) as caught:
        write_atomically(path, fail)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_without_a_number_is_told_in_its_own_words(tmp_path: Path):
    def fail(file):
        raise OSError("encoder error -2")

    with pytest.raises(OutputError, match="encoder error -2"):
        write_atomically(tmp_path / "a.png", fail)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_else_a_function_raises_is_passed_on_and_nothing_is_left(tmp_path: Path, error):
    def fail(file):
        file.write(b"half")
        raise error

    with pytest.raises(error):
        write_atomically(tmp_path / "a.bin", fail)
    assert list(tmp_path.iterdir()) == []


def test_no_folder_a_folder_and_a_file_for_a_folder_are_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="there is no such folder; create it first"):
        write_atomically(tmp_path / "none" / "a.bin", b"")
    with pytest.raises(OutputError, match="it is a folder, expected a file"):
        write_atomically(tmp_path, b"")
    with pytest.raises(OutputError, match=r"a part of the path is a file|there is no such folder"):
        write_atomically(tmp_path / "file" / "a.bin", b"")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="a device or a pipe"):
        write_atomically(pipe, b"")
    assert pipe.is_fifo()


def test_a_folder_is_made_with_its_parents_once(tmp_path: Path):
    path = tmp_path / "a" / "b"
    assert make_folder(path) == path
    assert make_folder(path).is_dir()


def test_a_file_in_the_way_of_a_folder_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file of that name is in the way"):
        make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot create folder"):
        make_folder(tmp_path / "file" / "below")


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match=r"cannot write to folder .* not writable"):
        make_folder(tmp_path)

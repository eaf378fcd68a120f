"""Pulling: from a real HTTP server on this machine, whole, cut off, wrong, missing, and onto a full disk."""

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import onnx
import pytest
from conftest import tiny_network

import zfviz
from zfviz.cli.main import main
from zfviz.errors import DownloadError, ModelError, OutputError
from zfviz.images.preprocessing import PRESETS
from zfviz.models import zoo
from zfviz.models.bundled import NETWORKS
from zfviz.models.names import find_model, read_named

NAME = "zfnet512"
DATA = tiny_network().SerializeToString()


@dataclass
class Shop:
    """What the server has, and how it behaves; `asked` are the Range headers that came."""

    address: str
    data: bytes = DATA
    status: int = 200
    cut_after: int | None = None  # bytes of each answer
    ranges: bool = True
    offset: int = 0  # by which the server misses what was asked for
    reset: bool = False  # whether a cut connection is reset, not closed
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shop]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            shop.asked.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and shop.ranges else 0
            if shop.status != 200 or self.path.partition("?")[0] != f"/{zoo.MODELS[NAME].file}":
                self.send_error(404 if shop.status == 200 else shop.status)
                return
            if start >= len(shop.data):
                self.send_error(416)
                return
            partial = asked and shop.ranges
            start += shop.offset
            self.send_response(206 if partial else 200)
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{len(shop.data) - 1}/{len(shop.data)}")
            self.send_header("Content-Length", str(len(shop.data) - start))
            self.end_headers()
            body = shop.data[start:]
            self.wfile.write(body if shop.cut_after is None else body[: shop.cut_after])
            if shop.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                time.sleep(0.2)  # what was sent is to arrive before
                self.connection.close()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    shop = Shop(f"http://127.0.0.1:{server.server_port}")
    known = replace(zoo.MODELS[NAME], size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
    monkeypatch.setattr(zoo, "MODELS", {**zoo.MODELS, NAME: known})
    monkeypatch.setattr(zoo, "user_cache_path", lambda _: tmp_path / "cache")
    yield shop
    server.shutdown()
    server.server_close()


def part() -> Path:
    return zoo.cache_path(NAME).with_name(f"{zoo.MODELS[NAME].file}.part")


def test_a_pulled_model_is_the_published_one_with_its_preprocessing(shop: Shop) -> None:
    received: list[int] = []
    path = zoo.pull(NAME, shop.address, received.append)
    assert received[-1] == len(DATA)
    assert not part().exists()
    proto = onnx.load(path)
    published = onnx.load_from_string(DATA)
    assert proto.graph == published.graph
    found = zfviz.load(find_model(NAME)).preprocessing
    assert found.to_json() == PRESETS["caffe"].to_json()
    assert found.source == "metadata zfviz.preprocessing"


def test_what_is_here_is_not_fetched_again(shop: Shop) -> None:
    assert zoo.pull(NAME, shop.address) == zoo.pull(NAME, shop.address)
    assert len(shop.asked) == 1


def test_a_connection_that_is_cut_goes_on_where_it_stopped(shop: Shop) -> None:
    shop.cut_after = len(DATA) // 3
    path = zoo.pull(NAME, shop.address)
    assert shop.asked[:3] == [f"bytes={n * (len(DATA) // 3)}-" for n in range(3)]
    assert path.read_bytes().startswith(DATA)


def test_what_came_before_a_reset_is_kept(shop: Shop) -> None:
    shop.cut_after, shop.reset = 1000, True
    shop.data = DATA[:1500]
    with pytest.raises(DownloadError, match=r"Content-Range: bytes 0-1499/1500; expected"):
        zoo.pull(NAME, shop.address)
    shop.data = DATA
    zoo.pull(NAME, shop.address)
    assert shop.asked[2] == "bytes=1000-"


def test_an_interrupted_download_goes_on_in_the_next_call(shop: Shop) -> None:
    def stop(received: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zoo.pull(NAME, shop.address, stop)
    held = part().stat().st_size
    assert held > 0
    assert not zoo.cache_path(NAME).exists()
    part().write_bytes(DATA[:1000])
    zoo.pull(NAME, shop.address)
    assert shop.asked[-1] == "bytes=1000-"


def test_a_server_that_cannot_go_on_starts_anew(shop: Shop) -> None:
    part().parent.mkdir(parents=True)
    part().write_bytes(b"something else")
    shop.ranges = False
    assert zoo.pull(NAME, shop.address).read_bytes().startswith(DATA)


def test_a_server_that_sends_no_more_is_not_asked_for_ever(shop: Shop) -> None:
    shop.cut_after = 0
    with pytest.raises(DownloadError, match=rf"sent nothing after 0 of {len(DATA):,} bytes"):
        zoo.pull(NAME, shop.address)
    assert len(shop.asked) == 1


@pytest.mark.parametrize("data", [bytes(len(DATA)), DATA[:-1] + b"!"])
def test_another_file_is_refused_and_deleted(shop: Shop, data: bytes) -> None:
    shop.data = data
    with pytest.raises(DownloadError, match=f"found SHA-256 [0-9a-f]{{64}}, expected {zoo.MODELS[NAME].sha256}"):
        zoo.pull(NAME, shop.address)
    assert not part().exists()
    assert not zoo.cache_path(NAME).exists()


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("data", [b"<html>Please log in</html>", DATA + bytes(10**7)])
def test_a_file_of_another_size_is_refused_before_it_is_read(shop: Shop, ranges: bool, data: bytes) -> None:
    part().parent.mkdir(parents=True)
    part().write_bytes(DATA[:20])
    shop.data, shop.ranges = data, ranges
    with pytest.raises(DownloadError, match=rf"Content-(Range: bytes|Length:) .*; expected .*{len(DATA)}\."):
        zoo.pull(NAME, shop.address)
    assert part().read_bytes() == DATA[:20]


def test_another_range_than_the_one_asked_for_is_refused(shop: Shop) -> None:
    part().parent.mkdir(parents=True)
    part().write_bytes(DATA[:20])
    shop.offset = 1
    with pytest.raises(DownloadError, match="Content-Range: bytes 21-"):
        zoo.pull(NAME, shop.address)
    assert part().read_bytes() == DATA[:20]


def test_a_part_that_came_from_elsewhere_is_fetched_anew(shop: Shop) -> None:
    part().parent.mkdir(parents=True)
    part().write_bytes(bytes(1000))
    assert zoo.pull(NAME, shop.address).read_bytes().startswith(DATA)
    assert shop.asked == ["bytes=1000-", "bytes=0-"]


def test_a_part_that_lacked_its_new_name_alone_is_not_fetched_again(shop: Shop) -> None:
    part().parent.mkdir(parents=True)
    part().write_bytes(DATA + b"some metadata")
    assert onnx.load(zoo.pull(NAME, shop.address)).graph == onnx.load_from_string(DATA).graph
    assert not shop.asked


def test_a_cached_file_that_was_damaged_is_fetched_anew(shop: Shop) -> None:
    path = zoo.pull(NAME, shop.address)
    whole = path.read_bytes()
    path.write_bytes(whole[:500])
    assert zoo.pull(NAME, shop.address).read_bytes() == whole
    assert len(shop.asked) == 2


def test_a_second_pull_at_once_is_refused(shop: Shop) -> None:
    def second(received: int) -> None:
        with pytest.raises(DownloadError, match="another pull of zfnet512 is at work"):
            zoo.pull(NAME, shop.address)

    zoo.pull(NAME, shop.address, second)
    assert len(shop.asked) == 1


def test_a_mirror_keeps_its_query(shop: Shop) -> None:
    assert zoo.pull(NAME, f"{shop.address}/?token=a/b").exists()


def test_a_file_that_ends_before_what_is_here_is_not_tried_for_ever(shop: Shop) -> None:
    part().parent.mkdir(parents=True)
    part().write_bytes(DATA[:-5])
    shop.data = DATA[:-10]
    with pytest.raises(DownloadError, match="answered 416"):
        zoo.pull(NAME, shop.address)
    assert not part().exists()


def test_a_server_that_has_nothing_is_told(shop: Shop) -> None:
    shop.data = b""
    with pytest.raises(DownloadError, match="answered 416"):
        zoo.pull(NAME, shop.address)


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_refusal_is_told(shop: Shop, status: int) -> None:
    shop.status = status
    with pytest.raises(DownloadError, match=rf"answered {status} .*--mirror"):
        zoo.pull(NAME, shop.address)
    assert not part().exists()


def test_a_server_that_is_not_there_is_told(shop: Shop) -> None:
    with pytest.raises(DownloadError, match="cannot reach"):
        zoo.pull(NAME, "http://127.0.0.1:1")


@pytest.mark.parametrize(
    "mirror",
    [
        *("file:///etc", "ftp://example.org", "/tmp", "https://", "http://[::1", "http://localhost:abc"),
        *("http://localhost/modèles", "http://localhost/my files", "http://me:secret@localhost"),
    ],
)
def test_a_mirror_that_is_no_address_is_refused(mirror: str) -> None:
    with pytest.raises(DownloadError, match="expected an address that begins with https://"):
        zoo.pull(NAME, mirror)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_is_told_and_leaves_no_model(shop: Shop) -> None:
    part().parent.mkdir(parents=True)
    part().symlink_to("/dev/full")
    with pytest.raises(OutputError, match="the disk is full"):
        zoo.pull(NAME, shop.address)
    assert not zoo.cache_path(NAME).exists()


def test_an_unknown_name_says_which_are_known() -> None:
    with pytest.raises(DownloadError, match="nearest: zfnet512"):
        zoo.pull("zfnet51")


def test_the_command_pulls_lists_and_exports(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.onnx"
    for arguments in (["pull", NAME, "--mirror", shop.address], [], ["export", NAME, "-o", str(copy)]):
        with pytest.raises(SystemExit) as stop:
            main(["models", *arguments])
        assert stop.value.code == 0
    pulled, *listed, exported = capsys.readouterr().out.splitlines()
    assert pulled == str(zoo.cache_path(NAME))
    assert [line.split()[0] for line in listed] == [*NETWORKS, *zoo.MODELS]
    assert pulled in listed[-1]
    assert exported == str(copy)
    assert onnx.load(copy) == onnx.load(pulled)


def test_a_name_that_was_not_pulled_says_how(shop: Shop) -> None:
    with pytest.raises(ModelError, match=f"zfviz models pull {NAME}"):
        zfviz.load(NAME)


def test_a_file_of_that_name_is_meant_where_there_is_one(shop: Shop, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(NAME).write_bytes(DATA)
    assert zfviz.load(NAME).source.folder == tmp_path


def test_a_folder_of_that_name_is_not_meant(shop: Shop, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    zoo.pull(NAME, shop.address)
    assert zfviz.load(NAME).source.folder == zoo.cache_path(NAME).parent


def test_a_name_that_no_system_takes_is_no_bug() -> None:
    with pytest.raises(ModelError, match="no model is named"):
        find_model("a" * 5000)


def test_only_named_models_are_exported() -> None:
    with pytest.raises(ModelError, match=r"no model is named 'net\.onnx'"):
        read_named("net.onnx")


def test_the_published_files_are_those_of_the_manifest() -> None:
    for model in zoo.MODELS.values():
        assert len(model.sha256) == 64
        assert model.size > 2e8

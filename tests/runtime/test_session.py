"""Devices and sessions: what is missing is said, what onnxruntime refuses is told in our words."""

import ctypes
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest
from onnx import parser

from zfviz.errors import DeviceError, ModelError
from zfviz.runtime import session as sessions


class Driver:
    """A driver library that counts this many GPUs."""

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return flags

    def cuDeviceGetCount(self, count) -> int:  # noqa: N802
        count._obj.value = self.gpus
        return 0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def make(providers: list[str], driver: str | None, gpus: int = 0) -> None:
        monkeypatch.setattr(ort, "get_available_providers", lambda: providers)
        monkeypatch.setattr(sessions, "find_library", lambda name: driver if name == "cuda" else None)
        monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(gpus))
        monkeypatch.setattr(ort, "preload_dlls", lambda: None)
        monkeypatch.setattr(sessions, "_loads_cuda", sessions._loads_cuda.__wrapped__)

    return make


@pytest.mark.parametrize(
    ("providers", "driver", "gpus", "says"),
    [
        ([sessions.CPU], "libcuda.so.1", 1, "onnxruntime-gpu"),
        ([sessions.CUDA, sessions.CPU], None, 0, "NVIDIA driver"),
        ([sessions.CUDA, sessions.CPU], "libcuda.so.1", 0, "nvidia-smi"),
    ],
)
def test_cuda_says_what_is_missing_and_auto_takes_the_cpu(machine, providers, driver, gpus, says) -> None:
    machine(providers, driver, gpus)
    with pytest.raises(DeviceError, match=says):
        sessions.choose_device("cuda")
    assert sessions.choose_device("auto") == "cpu"


def test_a_usable_gpu_is_taken(machine, monkeypatch) -> None:
    machine([sessions.CUDA, sessions.CPU], "libcuda.so.1", 2)
    on_gpu = SimpleNamespace(get_providers=lambda: [sessions.CUDA, sessions.CPU])
    monkeypatch.setattr(ort, "InferenceSession", lambda *_, **__: on_gpu)
    assert sessions.choose_device("auto") == sessions.choose_device("cuda") == "cuda"
    assert sessions.choose_device("cpu") == "cpu"


def test_a_gpu_without_its_libraries_is_told_and_auto_runs_on_the_cpu(machine, monkeypatch, tiny) -> None:
    machine([sessions.CUDA, sessions.CPU], "libcuda.so.1", 1)
    on_cpu = SimpleNamespace(get_providers=lambda: [sessions.CPU])
    monkeypatch.setattr(ort, "InferenceSession", lambda *_, **__: on_cpu)
    assert sessions.open_session(tiny, device="auto").device == "cpu"
    with pytest.raises(DeviceError, match=r"zfviz\[cuda\]"):
        sessions.open_session(tiny, device="cuda")


def test_a_gpu_that_does_not_start_is_told_and_auto_runs_on_the_cpu(machine, monkeypatch) -> None:
    def full(*_, **__):
        raise RuntimeError("/cuda_call.cc:154 CUDA failure 2: out of memory ; GPU=0 ; line=355")

    machine([sessions.CUDA, sessions.CPU], "libcuda.so.1", 1)
    monkeypatch.setattr(ort, "InferenceSession", full)
    assert sessions.choose_device("auto") == "cpu"
    with pytest.raises(DeviceError, match="start: CUDA failure 2: out of memory; expected"):
        sessions.choose_device("cuda")


def test_what_onnxruntime_refuses_is_a_model_error(tiny) -> None:
    ready = sessions.open_session(tiny, device="cpu", threads=1)
    with pytest.raises(ModelError, match="could not run"):
        ready.run({"image": np.zeros((1, 3, 5, 5), np.float32)}, ["prob"])
    tiny.graph.node[1].op_type = "NoSuchOp"
    with pytest.raises(ModelError, match="NoSuchOp"):
        sessions.open_session(tiny, device="cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the threads of the process from /proc")
def test_threads_bound_the_sessions_own_threads(tiny) -> None:
    from pathlib import Path

    before = len(list(Path("/proc/self/task").iterdir()))
    sessions.open_session(tiny, device="cpu", threads=1)
    assert len(list(Path("/proc/self/task").iterdir())) == before


def test_a_loop_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    turning = parser.parse_model("""<ir_version: 8, opset_import: ["" : 16]>
        g (float[1,3,8,8] x) => (float[1,3,8,8] y) {
            start = Constant <value = bool {1}> ()
            most = Constant <value = int64 {9223372036854775807}> ()
            y = Loop <body = b (int64 i, bool c, float[1,3,8,8] v) => (bool on, float[1,3,8,8] w) {
                w = Relu(v)
                sum = ReduceSum <keepdims = 0> (w)
                on = Equal(sum, sum)
            }> (most, start, x)
        }""")
    monkeypatch.setattr(sessions, "LONGEST_LOOPS", 0.2)
    session = sessions.open_session(turning, device="cpu")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"the loops of the model did not end in"):
            session.run({"x": np.zeros((1, 3, 8, 8), np.float32)}, ["y"])
    # NaN is not equal to itself: this one ends
    session.run({"x": np.full((1, 3, 8, 8), np.nan, np.float32)}, ["y"])
    assert capfd.readouterr().err == ""

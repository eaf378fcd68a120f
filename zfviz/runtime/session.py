"""Sessions: where onnxruntime runs a graph, on which device, with how many threads."""

import ctypes
import os
import re
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Timer
from typing import Any, Literal, cast, get_args

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto
from onnx.parser import parse_model

from zfviz.errors import DeviceError, ModelError
from zfviz.graph.limits import has_loops
from zfviz.version import __version__

Device = Literal["auto", "cpu", "cuda"]
Value = np.ndarray | ort.OrtValue
"""An array, or a tensor that lies on the device."""
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
# full float32 products, so that the GPU gives what the CPU gives
CUDA_OPTIONS = {"use_tf32": "0"}
SILENT = 4
MEMORY = 2**31
"""Bytes that bounded sessions take, all together."""
LONGEST_LOOPS = 8.0
"""Seconds for a run of a graph with loops, of which nobody can say before whether they end."""


@dataclass(frozen=True, slots=True)
class Session:
    """A graph that is ready to run; `device` is where it runs, `runs` how many runs go side by side."""

    device: str
    _session: ort.InferenceSession
    runs: int = 1
    _bounded: bool = False
    _loops: bool = False

    def run(self, feeds: Mapping[str, Value], outputs: Sequence[str], kept: Collection[str] = ()) -> dict[str, Any]:
        """The named outputs for these inputs: arrays, but those that are `kept` stay on the device, for `feeds` of
        another session there. ModelError when onnxruntime fails.
        """
        options: Any = ort.RunOptions()
        if self._bounded:
            # memory is given back when the run is done
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        try:
            with _ending(options, LONGEST_LOOPS) if self._loops else nullcontext():
                values = self._run(feeds, outputs, kept, options)
        except Exception as error:
            if options.terminate:
                raise ModelError(
                    f"the loops of the model did not end in {LONGEST_LOOPS:.0f} s; expected a run to take less. "
                    "Export the model without loops."
                ) from None
            raise ModelError(f"onnxruntime could not run the model: {_first_line(error)}") from error
        for name, value in zip(outputs, values, strict=True):
            if not isinstance(value, np.ndarray | np.generic | ort.OrtValue):
                raise ModelError(
                    f"{name!r} is a {type(value).__name__}; expected a tensor. Export the model without it."
                )
        return dict(zip(outputs, values, strict=True))

    def _run(
        self, feeds: Mapping[str, Value], outputs: Sequence[str], kept: Collection[str], options: ort.RunOptions
    ) -> list[Any]:
        if not kept and all(isinstance(value, np.ndarray) for value in feeds.values()):
            return self._session.run(list(outputs), cast("dict[str, np.ndarray]", feeds), options)
        binding = self._session.io_binding()
        held: dict[str, ort.OrtValue] = {}
        for name, value in feeds.items():
            if isinstance(value, ort.OrtValue):
                binding.bind_ortvalue_input(name, value)
            elif name in kept:
                # what goes in and comes out lies where it was, so that somebody has to hold it
                held[name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), self.device)
                binding.bind_ortvalue_input(name, held[name])
            else:
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name in outputs:
            binding.bind_output(name, self.device if name in kept else "cpu")
        self._session.run_with_iobinding(binding, options)
        found = zip(outputs, binding.get_outputs(), strict=True)
        return [held.get(name, value) if name in kept else value.numpy() for name, value in found]


def open_session(
    proto: ModelProto,
    folder: Path | None = None,
    device: Device = "auto",
    threads: int | None = None,
    optimize: bool = True,
    side_by_side: bool = False,
    bounded: bool = False,
) -> Session:
    """A session of the graph; weights outside it are read from `folder`. On the CPU, `threads` share the work of one
    run, or each has a run of its own, `side_by_side`. One that is `bounded`, as all with loops are, fails where it
    wants more than `MEMORY` for all that it makes, before it takes them.

    Raises DeviceError when CUDA is asked for and missing, or no thread; ModelError when onnxruntime refuses the graph.
    """
    if threads is not None and threads < 1:
        raise DeviceError(f"threads is {threads}; expected 1 or more.")
    loops = has_loops(proto.graph)
    bounded = bounded or loops
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    # threads that wait for work would take the processor from the other session
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if bounded:
        _share_bounded_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    chosen = choose_device(device)
    runs = (threads or _cores()) if side_by_side and chosen == "cpu" else 1
    if runs > 1:
        options.intra_op_num_threads = 1
    elif threads is not None:
        options.intra_op_num_threads = threads
    providers: list[str | tuple[str, dict[str, Any]]] = [(CUDA, CUDA_OPTIONS), CPU] if chosen == "cuda" else [CPU]
    try:
        session = ort.InferenceSession(proto.SerializeToString(), options, providers, enable_fallback=0)
    except Exception as error:
        raise ModelError(f"onnxruntime refuses the model: {_first_line(error)}") from error
    return Session(chosen, session, runs, bounded, loops)


def choose_device(device: Device) -> Literal["cpu", "cuda"]:
    """Where to run: `auto` takes CUDA where it can be used. Raises DeviceError that says what is missing."""
    if device not in get_args(Device):
        raise DeviceError(f"no device {device!r}; expected one of {', '.join(get_args(Device))}.")
    if device == "cpu":
        return "cpu"
    missing = _missing_for_cuda()
    if not missing:
        return "cuda"
    if device == "auto":
        return "cpu"
    raise DeviceError(f"--device cuda: {missing} Or use --device cpu.")


def versions() -> dict[str, str]:
    """The versions of all that decides a result."""
    return {"zfviz": __version__} | {package.__name__: package.__version__ for package in (onnx, ort, np)}


def _missing_for_cuda() -> str:
    """What stands between this machine and CUDA, or nothing."""
    if CUDA not in ort.get_available_providers():
        return "this onnxruntime has no CUDA; expected onnxruntime-gpu. Install it in place of onnxruntime."
    # onnxruntime names CUDA also where there is no GPU, and says so only by printing: ask the driver
    driver = find_library("cuda") or find_library("nvcuda")
    if driver is None:
        return "no NVIDIA driver (libcuda) on this machine; expected a GPU and its driver. Install the driver."
    count = ctypes.c_int()
    library = ctypes.CDLL(driver)
    if library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "the NVIDIA driver finds no GPU; expected one. Check nvidia-smi."
    try:
        loaded = _loads_cuda()
    except Exception as error:
        failure = re.search("CUDA failure [^;]*", str(error))
        why = failure[0].strip() if failure else _first_line(error)
        return (
            f"CUDA does not start: {why}; expected a driver for CUDA 13 and free memory on the GPU. Check nvidia-smi."
        )
    if not loaded:
        return (
            "onnxruntime found a GPU but could not load CUDA; expected CUDA 13 and cuDNN 9. "
            "Install them with `pip install 'zfviz[cuda]'`."
        )
    return ""


@cache
def _loads_cuda() -> bool:
    """Whether a session comes up on CUDA."""
    ort.preload_dlls()
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    trial = parse_model('<ir_version: 8, opset_import: ["" : 18]> trial (float[N] x) => (float[N] y) { y = Neg(x) }')
    session = ort.InferenceSession(trial.SerializeToString(), options, [CUDA, CPU], enable_fallback=0)
    return CUDA in session.get_providers()


@contextmanager
def _ending(options: Any, seconds: float) -> Generator[None]:
    """End the run that has these options when the time is over."""
    timer = Timer(seconds, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@cache
def _share_bounded_memory() -> None:
    """Set up the memory that all bounded sessions take theirs from."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    # 1: as much as is asked for, not the next power of two
    settings = ort.OrtArenaCfg({"max_mem": MEMORY, "arena_extend_strategy": 1})
    ort.create_and_register_allocator(memory, settings)


def _cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]

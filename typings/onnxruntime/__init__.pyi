"""The part of onnxruntime that zfviz uses; the package ships no types of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__version__: str

class GraphOptimizationLevel:
    ORT_DISABLE_ALL: GraphOptimizationLevel
    ORT_ENABLE_ALL: GraphOptimizationLevel

class SessionOptions:
    intra_op_num_threads: int
    inter_op_num_threads: int
    log_severity_level: int
    graph_optimization_level: GraphOptimizationLevel
    def add_session_config_entry(self, key: str, value: str) -> None: ...

class RunOptions:
    def add_run_config_entry(self, key: str, value: str) -> None: ...

class OrtAllocatorType:
    ORT_ARENA_ALLOCATOR: OrtAllocatorType

class OrtMemType:
    DEFAULT: OrtMemType

class OrtMemoryInfo:
    def __init__(self, name: str, type: OrtAllocatorType, id: int, mem_type: OrtMemType) -> None: ...

class OrtArenaCfg:
    def __init__(self, settings: Mapping[str, int]) -> None: ...

def create_and_register_allocator(mem_info: OrtMemoryInfo, arena_cfg: OrtArenaCfg) -> None: ...

class NodeArg:
    name: str
    shape: list[int | str | None]
    type: str

class OrtValue:
    @classmethod
    def ortvalue_from_numpy(cls, numpy_obj: np.ndarray[Any, Any], /, device_type: str = "cpu") -> OrtValue: ...
    def shape(self) -> list[int]: ...
    def numpy(self) -> np.ndarray[Any, Any]: ...

class IOBinding:
    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray[Any, Any]) -> None: ...
    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None: ...
    def bind_output(self, name: str, device_type: str = "cpu") -> None: ...
    def get_outputs(self) -> list[OrtValue]: ...

class InferenceSession:
    def __init__(
        self,
        path_or_bytes: str | bytes,
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, dict[str, Any]]] | None = None,
        enable_fallback: int = 1,
    ) -> None: ...
    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, np.ndarray[Any, Any]],
        run_options: RunOptions | None = None,
    ) -> list[Any]: ...
    def io_binding(self) -> IOBinding: ...
    def run_with_iobinding(self, iobinding: IOBinding, run_options: RunOptions | None = None) -> None: ...
    def get_inputs(self) -> list[NodeArg]: ...
    def get_outputs(self) -> list[NodeArg]: ...
    def get_providers(self) -> list[str]: ...

def get_available_providers() -> list[str]: ...
def preload_dlls() -> None: ...

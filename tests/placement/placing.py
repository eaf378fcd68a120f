"""Where onnxruntime would run each node of a model on a GPU: a process of its own that opens sessions on stubs.

The libraries of a process are chosen before it starts, hence the process; one serves all tests, since to start it costs
more than to place a model.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Placed:
    """A node as the session holds it, after optimisation, and the provider that takes it."""

    op: str
    name: str
    provider: str


class Placer:
    """Tells where the nodes of models are placed, with the libraries of the folder `stubs`."""

    def __init__(self, stubs: Path) -> None:
        paths = [str(stubs), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(paths)},
        )

    def __enter__(self) -> "Placer":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def place(self, model: Path) -> list[Placed]:
        """Every node of the model file; RuntimeError with onnxruntime's words where it refuses the model."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(model, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the placing process ended ({self._process.wait()}) on {model}")
        content = json.loads(answer)
        if isinstance(content, str):
            raise RuntimeError(content)
        return [Placed(*row) for row in content]


def _rows(path: str) -> list[tuple[str, str, str]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(path, options, [CUDA, CPU], enable_fallback=0)
    if CUDA not in session.get_providers():
        raise RuntimeError("the CUDA provider did not load; do the stubs lack a function of this onnxruntime?")
    parts = session.get_provider_graph_assignment_info()
    return [(node.op_type, node.name, part.ep_name) for part in parts for node in part.get_nodes()]


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            content: list[tuple[str, str, str]] | str = _rows(line.rstrip("\n"))
        except Exception as error:
            content = str(error)
        print(json.dumps(content), flush=True)

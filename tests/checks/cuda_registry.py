"""The kernels that the installed onnxruntime-gpu registers; run as a script, those of CUDA as `zfviz` carries them:

    python tests/checks/cuda_registry.py > zfviz/checks/cuda_kernels.csv

No GPU is needed: libraries that do nothing stand in for NVIDIA's, those of TensorRT too, for onnxruntime crashes where
it is asked for its kernels and cannot load one of its providers.
"""

import csv
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort

sys.path.append(str(Path(__file__).parents[1] / "placement"))
from stubs import PROVIDER, build_stubs, why_not

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
TENSORRT = PROVIDER.with_name("libonnxruntime_providers_tensorrt.so")
OPEN = 2**31 - 1
DOMAINS = ("ai.onnx", "ai.onnx.ml", "com.microsoft")
"""The domains that models name; others are of onnxruntime's own making."""

# An object as C++ lays it out: its first field points to the table of its methods.
IDLE = f"""
static void *nothing(void) {{ return 0; }}
static void *methods[] = {{ {", ".join(["nothing"] * 64)} }}, **object = methods;
"""


@dataclass(frozen=True, slots=True)
class Registered:
    """A kernel as onnxruntime lists it: for one type of each type parameter."""

    provider: str
    domain: str
    op: str
    since: int
    last: int
    types: dict[str, list[str]]


def read_registry(folder: Path) -> list[Registered]:
    """Every kernel of every provider, by a process that runs on stubs built in `folder`."""
    build_stubs(folder)
    if TENSORRT.exists():
        _build_tensorrt_stubs(folder)
    paths = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    listed = subprocess.run(
        [sys.executable, __file__, "list"],
        env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Registered(*row) for row in json.loads(listed.stdout)]


def as_csv(registry: list[Registered]) -> str:
    """The CUDA kernels, one line for all that differ in their types only."""
    merged: dict[tuple[str, str, int, int], dict[str, set[str]]] = {}
    for kernel in registry:
        if kernel.provider == CUDA and kernel.domain in DOMAINS:
            types = merged.setdefault((kernel.domain, kernel.op, kernel.since, kernel.last), {})
            for parameter, kinds in kernel.types.items():
                types.setdefault(parameter, set()).update(kinds)
    text = StringIO()
    text.write(f"# The CUDA kernels in the registry of onnxruntime-gpu {ort.__version__}; see cuda_kernels.py\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["domain", "op", "since", "last", "types"])
    for (domain, op, since, last), types in sorted(merged.items()):
        kinds = "; ".join(f"{parameter}={'|'.join(sorted(types[parameter]))}" for parameter in sorted(types))
        writer.writerow([domain, op, since, "" if last == OPEN else last, kinds])
    return text.getvalue()


def _build_tensorrt_stubs(folder: Path) -> None:
    """Add a library for each of TensorRT's, whose functions give objects with methods that do nothing."""
    linked = re.findall(r"NEEDED.*\[(libnv[^\]]+)\]", _run("readelf", "--dynamic", "--wide", TENSORRT))
    functions = re.findall(r" U ((?:create|get)[A-Z]\w+)$", _run("nm", "--dynamic", "--undefined-only", TENSORRT), re.M)
    source = folder / "tensorrt.c"
    source.write_text(IDLE + "".join(f"void *{name}(void) {{ return &object; }}\n" for name in functions))
    for library in linked:
        _run("gcc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", "-o", folder / library, source)


def _run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _list() -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

    rows = [
        (
            kernel.provider,
            kernel.domain or "ai.onnx",
            kernel.op_name,
            *kernel.version_range,
            {
                parameter: [re.sub(r"^tensor\((\w+)\)$", r"\1", kind) for kind in kinds]
                for parameter, kinds in kernel.type_constraints.items()
            },
        )
        for kernel in get_all_opkernel_def()
    ]
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    if sys.argv[1:] == ["list"]:
        _list()
    elif reason := why_not():
        sys.exit(reason)
    else:
        with TemporaryDirectory() as name:
            print(as_csv(read_registry(Path(name))), end="")

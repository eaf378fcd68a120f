"""Libraries that stand in for NVIDIA's, so that onnxruntime's own CUDA provider loads where there is no GPU.

The provider decides which nodes it takes from its registered kernels and their constructors, which need no GPU. With
these libraries on LD_LIBRARY_PATH it opens sessions; to run one is undefined, for nothing is computed.
"""

import mmap
import platform
import re
import subprocess
from pathlib import Path
from shutil import which

import onnxruntime as ort

PROVIDER = Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
CUDNN = "libcudnn.so.9"
TOOLS = ("gcc", "readelf", "nm")

# The leading fields of cudaDeviceProp as CUDA 11 to 13 lay them out; `rest` is cleared so that features read as absent.
HEADER = """
#include <stdlib.h>
#include <string.h>
struct device {
    char name[256], ids[32];
    size_t memory, shared_memory;
    int registers, warp;
    size_t pitch;
    int threads, block[3], grid[3], clock;
    size_t constants;
    int major, minor;
    size_t alignments[2];
    int processors[2];
    char rest[328];
};
static const struct device DEVICE = {
    .name = "stub", .memory = 16ul << 30, .shared_memory = 48 << 10, .registers = 1 << 16, .warp = 32,
    .threads = 1024, .block = {1024, 1024, 64}, .grid = {2147483647, 65535, 65535},
    .major = 8, .minor = 6, .processors = {80, 80},
};
"""

# Which functions (first match counts) have to answer more than success, and how. Copies do nothing: nobody reads what
# lies on the device, and large weights then cost no memory.
ANSWERS = (
    ("cudaGetDeviceProperties.*", "int {name}(struct device *device) {{ *device = DEVICE; return 0; }}"),
    ("cudaGetDeviceCount", "int {name}(int *count) {{ *count = 1; return 0; }}"),
    ("cudaGetDevice", "int {name}(int *device) {{ *device = 0; return 0; }}"),
    ("cuda(Driver|Runtime)GetVersion", "int {name}(int *version) {{ *version = {cuda}; return 0; }}"),
    ("cudnnGetVersion", "size_t {name}(void) {{ return 92800; }}"),
    ("cudnnGetCudartVersion", "size_t {name}(void) {{ return {cuda}; }}"),
    ("cudaMemGetInfo", "int {name}(size_t *free, size_t *all) {{ *free = *all = DEVICE.memory; return 0; }}"),
    (
        "cudaDeviceGetAttribute",
        "int {name}(int *value, int attribute) {{ switch (attribute) {{"
        " case 16: *value = DEVICE.processors[0]; break;"
        " case 75: *value = DEVICE.major; break;"
        " case 76: *value = DEVICE.minor; break;"
        " case 97: *value = 100 << 10; break;"
        " default: *value = 0; }} return 0; }}",
    ),
    (
        "cudaMalloc.*|cudaHostAlloc",
        "int {name}(void **memory, size_t size) {{ *memory = aligned_alloc(256, size / 256 * 256 + 256); return 0; }}",
    ),
    ("cudaFree|cudaFreeHost", "int {name}(void *memory) {{ free(memory); return 0; }}"),
    ("cudnnBackendCreateDescriptor", "int {name}(int kind, void **made) {{ *made = calloc(1, 64); return 0; }}"),
    (
        "cudnnCreate.*|cublasCreate_v2|cublasLtCreate|cuda(Stream|Event)Create.*",
        "int {name}(void **made) {{ *made = calloc(1, 64); return 0; }}",
    ),
    ("cudaPointerGetAttributes", "int {name}(void *attributes) {{ memset(attributes, 0, 24); return 0; }}"),
    ("cudaFuncGetAttributes", "int {name}(void *attributes) {{ memset(attributes, 0, 128); return 0; }}"),
    ("cudaStreamIsCapturing", "int {name}(void *stream, int *capturing) {{ *capturing = 0; return 0; }}"),
    (".*(Error|Status)(String|Name)", 'const char *{name}(void) {{ return "no error"; }}'),
    (".*", "long {name}(void) {{ return 0; }}"),
)


def why_not() -> str:
    """What keeps this machine from placing nodes with stubs, or nothing."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "the CUDA provider is read on Linux x86_64 only"
    if not PROVIDER.exists():
        return "this onnxruntime has no CUDA provider; install onnxruntime-gpu"
    if not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        return f"onnxruntime {ort.__version__} does not tell where it places nodes; 1.24 does"
    absent = [tool for tool in TOOLS if which(tool) is None]
    return f"the stubs are built with {', '.join(absent)}" if absent else ""


def build_stubs(folder: Path) -> None:
    """Fill `folder` with a library for every one of NVIDIA's that the installed CUDA provider asks for."""
    dynamic = _run("readelf", "--dynamic", "--wide", PROVIDER)
    linked = re.findall(r"NEEDED.*\[(libcu[^\]]+)\]", dynamic)
    cuda = next(int(name.rpartition(".")[2]) for name in linked if name.startswith("libcudart")) * 1000
    source, compiled = folder / "stubs.c", folder / "stubs.o"
    source.write_text(HEADER + "\n".join(_answer(name, cuda) for name in sorted(_functions())))
    _run("gcc", "-c", "-fPIC", "-w", "-fno-builtin", "-o", compiled, source)
    versions = folder / "versions"
    for library in (*linked, CUDNN):
        # the provider asks for symbols of the version that bears the library's name; a library may hold others besides
        versions.write_text(f"{library} {{ global: *; }};\n")
        options = [f"-Wl,-soname,{library}", f"-Wl,--version-script={versions}"]
        _run("gcc", "-shared", *options, "-o", folder / library, compiled)


def _functions() -> set[str]:
    """The functions that the provider takes from NVIDIA's libraries."""
    symbols = _run("nm", "--dynamic", "--undefined-only", PROVIDER)
    names = set(re.findall(r" U ((?:cu|__cuda)\w+)", symbols))
    # cuDNN is opened at run time: its functions are no symbols, but strings
    with PROVIDER.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return names | {found.decode() for found in re.findall(rb"\0(cudnn[A-Z]\w+)(?=\0)", content)}


def _answer(name: str, cuda: int) -> str:
    return next(body for pattern, body in ANSWERS if re.fullmatch(pattern, name)).format(name=name, cuda=cuda)


def _run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

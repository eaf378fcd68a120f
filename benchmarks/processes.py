"""Whole processes, start, imports, files and all: what zfviz's command takes, and a script that does the same."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from networks import Pair, plain
from timing import commands_in_turns, peak_memory

CAPTUM_SCRIPT = """
import sys
import numpy as np, torch
from captum.attr import NeuronDeconvolution
from PIL import Image
net, photo, folder, threads, *layers = sys.argv[1:]
torch.set_num_threads(int(threads))
net = torch.load(net, weights_only=False)
picture = Image.open(photo).convert("RGB").resize((224, 224))
x = torch.from_numpy(np.asarray(picture, np.float32).transpose(2, 0, 1)[None] - 117).requires_grad_()
for layer in layers:
    maps = {}
    handle = net.get_submodule(layer).register_forward_hook(lambda _, __, output: maps.update(y=output[0].detach()))
    net(x)
    handle.remove()
    peaks = maps["y"].flatten(1).max(1)
    places = [(int(c), *divmod(int(peaks.indices[c]), maps["y"].shape[2])) for c in peaks.values.topk(9).indices]
    deconvolution = NeuronDeconvolution(net, net.get_submodule(layer))
    for place in places:
        pixels = deconvolution.attribute(x, place)[0].detach().numpy().transpose(1, 2, 0)
        scaled = np.clip(128 + 127 * pixels / np.abs(pixels).max(), 0, 255).astype(np.uint8)
        Image.fromarray(scaled).save(f"{folder}/{layer}-{place[0]}.png")
"""


ZFVIZ_SCRIPT = """
from zfviz.cli.main import main
try:
    main()
except SystemExit as done:
    assert not done.code
"""


def processes(name: str, pair: Pair, photo: Path, threads: int, runs: int) -> dict[str, dict[str, Any]]:
    """Times and peak memory of `zfviz project`, of the same with Captum, and of `zfviz --help`."""
    layers = [part for layer in pair.layers for part in ("--layer", layer)]
    with TemporaryDirectory() as folder:
        net = Path(folder, "net.pt")
        torch.save(plain(pair.net), net)
        chosen = ["--device", "cpu", "--threads", str(threads)]
        scripts: dict[str, tuple[str, Sequence[str]]] = {
            f"`zfviz project {name}`": (
                ZFVIZ_SCRIPT,
                ["project", name, str(photo), *layers, "--out", folder, *chosen],
            ),
            "the same with Captum": (CAPTUM_SCRIPT, [str(net), str(photo), folder, str(threads), *pair.layers]),
            "`zfviz --help`": (ZFVIZ_SCRIPT, ["--help"]),
        }
        times = commands_in_turns({n: [sys.executable, "-c", code, *args] for n, (code, args) in scripts.items()}, runs)
        return {n: asdict(times[n]) | {"peak_memory": peak_memory(code, *args)} for n, (code, args) in scripts.items()}

"""How fast zfviz projects, beside Captum, torch's autograd and a plain forward pass, on this machine's CPU.

    python benchmarks/speed.py -o docs/speed.json --page docs/speed.md
    python benchmarks/speed.py -o docs/speed.json --page docs/speed.md --networks zfnet --threads 2

Outputs are compared before any time is printed. Needs `pip install -e '.[oracle,exporters]'`.
"""

import argparse
import json
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper

try:
    import captum
    import torch
    from networks import PAIRS, Pair
    from rivals import autograds, captums, same_maps
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is missing, which zfviz is compared with; pip install -e '.[oracle,exporters]'")

from page import page
from processes import processes
from timing import in_turns, peak_memory

import zfviz
from zfviz.graph.exposure import cut
from zfviz.graph.layers import Layer
from zfviz.graph.rules import Method
from zfviz.runtime.running import run_forward
from zfviz.runtime.session import Session, open_session
from zfviz.runtime.windows import paste
from zfviz.studies.inputs import read_batch
from zfviz.studies.project import Projector, open_forward, prepare
from zfviz.studies.selection import Unit, strongest_units

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "chelsea.jpg"
SAME = 1e-4
"""The largest difference of two programs' projections, relative to the largest value."""
UNITS = (1, 16, 256)
STAR = "zfnet"
RECTIFIED = ("relu1", "relu3", "relu5")
RIVALS_UNITS = 16
"""The others take units one at a time; what more of them take is reckoned from one and from this many."""


def compare(
    pair: Pair, layer: str, method: Method, counts: Sequence[int], threads: int, runs: int
) -> Iterator[dict[str, Any]]:
    """A row for each number of units of a layer: by zfviz, by another program, and a plain forward pass to it."""
    model = zfviz.load(pair.proto)
    array = read_batch(model, PHOTO).array
    places = _strongest(zfviz.activations(model, array, layer, "cpu", threads)[layer][0], max(*counts, RIVALS_UNITS))
    forward = open_forward(model, [model.layer(layer).tensor], "cpu", threads)
    batch = read_batch(model, array)
    rival = autograds(pair.net, layer, array) if method == "gradient" else captums(pair.net, layer, method, array)
    pair.passed_over(method == "deconvnet")
    few = places[:RIVALS_UNITS]
    contenders = {
        "forward": lambda: run_forward(forward, model.image, array, [model.layer(layer).tensor]),
        "other": lambda: rival(few),
        "other, one unit": lambda: rival(few[:1]),
    }
    for count in counts:
        projector = prepare(
            model, layer, places[:count], method=method, device="cpu", threads=threads, seed="one", scores=False
        )
        contenders[f"zfviz, {count}"] = partial(projector.project, batch)
        values = run_forward(projector.forward, model.image, array, projector.tensors)
        contenders[f"projections, {count}"] = partial(_project, projector, values)
    with same_maps(pair.net, _rectified_maps(pair, array)):
        both = few[: counts[-1]]
        ours, theirs = projector.project(batch).pixels[: len(both)], rival(both)
    difference = float((np.abs(ours - theirs).max((1, 2, 3)) / np.abs(theirs).max((1, 2, 3))).max())
    if not difference < SAME:
        raise SystemExit(f"{layer}, {method}: projections differ by {difference:.1e}; expected less than {SAME:.0e}.")
    found = in_turns(contenders, runs)
    one, of_few = found["other, one unit"].wall, found["other"].wall
    each = (of_few - one) / (len(few) - 1)
    for count in counts:
        whole, projections = found[f"zfviz, {count}"], found[f"projections, {count}"]
        yield {
            "layer": layer,
            "method": method,
            "units": count,
            "threads": threads,
            "difference": difference,
            "zfviz": asdict(whole),
            "projections": asdict(projections),
            "forward": asdict(found["forward"]),
            "other": asdict(found["other"]),
            "times_faster": (one + each * (count - 1)) / whole.wall,
            "projection_in_forward_passes": projections.wall / count / found["forward"].wall,
        }


def _rectified_maps(pair: Pair, array: np.ndarray) -> list[np.ndarray]:
    """The maps of all rectifiers, from the image upwards."""
    layers = [node.output[0] for node in pair.proto.graph.node if node.op_type == "Relu"]
    return [*zfviz.activations(pair.proto, array, layers, "cpu").values()]


def _strongest(activations: np.ndarray, count: int) -> list[tuple[int, ...]]:
    """The places (channel, y, x) of the strongest units, of as many channels as there are, then of any."""
    flat = activations.reshape(len(activations), -1)
    best = flat.argmax(1)
    order = np.argsort(-flat[np.arange(len(flat)), best])
    places = [(int(c), *map(int, np.unravel_index(best[c], activations.shape[1:]))) for c in order[:count]]
    for place in np.argsort(-activations.reshape(-1))[: count + len(places)]:
        unit = tuple(int(p) for p in np.unravel_index(place, activations.shape))
        if len(places) < count and unit not in places:
            places.append(unit)
    return places


def rows(name: str, units: Sequence[int], threads: int, runs: int) -> Iterator[dict[str, Any]]:
    """Every layer, method and number of units of a network."""
    pair = PAIRS[name]()
    for layer in pair.layers:
        for method in ("deconvnet", "guided", "gradient"):
            for found in compare(pair, layer, method, units, threads, runs):
                row = {"network": name} | found
                print(_line(row), file=sys.stderr, flush=True)
                yield row


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['network']} {row['layer']} {row['method']} K={row['units']}, threads {row['threads']}: "
        f"{1e3 * row['zfviz']['wall']:.1f} ms, {row['times_faster']:.1f} times as fast; "
        f"a projection is {row['projection_in_forward_passes']:.2f} forward passes"
    )


def ranking(threads: int, runs: int) -> Iterator[dict[str, Any]]:
    """What it costs to rank the units of a layer, beside the network as onnxruntime runs it."""
    pair = PAIRS[STAR]()
    model = zfviz.load(pair.proto)
    image = read_batch(model, PHOTO).array
    whole = open_session(pair.proto, device="cpu", threads=threads)
    outputs = [output.name for output in pair.proto.graph.output]
    for name in RECTIFIED:
        layer = model.layer(name)
        forward = open_forward(model, [layer.tensor, *outputs], "cpu", threads)

        def rank(layer: Layer = layer, forward: Session = forward) -> list[Unit]:
            values = run_forward(forward, model.image, image, [layer.tensor, *outputs])
            return strongest_units(layer, values[layer.tensor][0], 9)

        found = in_turns({"rank": rank, "plain": lambda: whole.run({model.image.name: image}, outputs)}, 4 * runs)
        row = {"layer": name, "plain": asdict(found["plain"]), "ranked": asdict(found["rank"])}
        print(name, found["rank"].wall / found["plain"].wall, file=sys.stderr, flush=True)
        yield row


def growth(threads: int, runs: int) -> Iterator[dict[str, Any]]:
    """What a projection from conv5 costs with more units, and in larger images: its time without the forward pass."""
    trunk = trunk_of(PAIRS[STAR]().proto)
    cases = [(count, 224) for count in (1, 16, 64, 256, 1024)] + [(16, 448), (16, 896)]
    for count, side in cases:
        model = zfviz.load(trunk, input_shape=(1, 3, side, side))
        batch = read_batch(model, PHOTO)
        places = _strongest(zfviz.activations(model, batch.array, "conv5", "cpu", threads)["conv5"][0], count)
        projector = prepare(model, "conv5", places, device="cpu", threads=threads, scores=False)
        values = run_forward(projector.forward, model.image, batch.array, projector.tensors)
        once = in_turns({"zfviz": partial(_project, projector, values)}, runs)["zfviz"].wall / count
        row = {"units": count, "side": side, "milliseconds": 1e3 * once}
        print(row, file=sys.stderr, flush=True)
        yield row


def _project(projector: Projector, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """What `projector.project` does after the forward pass."""
    (wish,) = projector.wishes
    return paste([p.patch for p in wish.each(values, 1, "activation")], projector.model.image.shape[1:])


def trunk_of(proto: ModelProto) -> ModelProto:
    """The network up to pool5, for images of any size."""
    trunk = cut(proto, [helper.make_tensor_value_info("pool5", TensorProto.FLOAT, None)])
    for dim in trunk.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.Clear()
    return trunk


MANY_UNITS = """
import sys, zfviz
name, photo, count = sys.argv[1:]
units = [(c, y, x) for c in range(256) for y in (4, 8) for x in (4, 8)][: int(count)]
prepared = zfviz.prepare(name, "conv5", units, device="cpu", threads=1)
print(sum(len(portion.units) for portion in prepared.portions(photo)))
"""


def processor() -> str:
    """What the system calls the processor."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main() -> None:
    """Measure all, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="a JSON file; rows that are not measured again stay in it"
    )
    parser.add_argument("--networks", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--units", nargs="+", type=int, default=list(UNITS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--page", type=Path, help="the same as a page of Markdown")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="captum|torch")
    torch.set_num_threads(options.threads)
    found = json.loads(options.output.read_text()) if options.output.exists() else {}
    kept = [
        row
        for row in found.get("projections", ())
        if row["network"] not in options.networks or row["threads"] != options.threads
    ]
    found |= {
        "processor": processor(),
        "versions": {m.__name__: m.__version__ for m in (zfviz, onnxruntime, torch, captum, np)},
    }
    for name in options.networks:
        kept += rows(name, options.units, options.threads, options.runs)
        found["projections"] = sorted(kept, key=lambda row: (list(PAIRS).index(row["network"]), row["threads"]))
        if name == STAR and options.threads == 1:
            found |= {
                "growth": list(growth(1, options.runs)),
                "memory": {str(count): peak_memory(MANY_UNITS, STAR, str(PHOTO), str(count)) for count in (64, 1024)},
                "ranking": list(ranking(1, options.runs)),
                "processes": processes(STAR, PAIRS[STAR](), PHOTO, 1, options.runs),
            }
        options.output.write_text(json.dumps(found, indent=1) + "\n")
        if options.page and "growth" in found:
            options.page.write_text(page(found, RIVALS_UNITS))


if __name__ == "__main__":
    main()

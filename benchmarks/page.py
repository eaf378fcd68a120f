"""The page of what was measured, in Markdown."""

from collections.abc import Iterator
from typing import Any

HEAD = """# How fast it is

Sixteen units of a layer, `deconvnet`, one thread; *times as fast* as Captum, and what a projection costs in forward
passes to that layer:

| network | layer | whole call, ms | Captum, ms | times as fast | a projection |
|---|---|---|---|---|---|
{short}

What windows save is what a unit does not see: of 224 pixels a side, one of ZFNet's conv5 sees 139, one of VGG-16's last
convolution 196, one of ResNet-50's last all. All rows are [below](#all-rows).

Measured by `python benchmarks/speed.py -o docs/speed.json --page docs/speed.md` (`pip install -e '.[oracle,exporters]'`
first; it takes an hour; `--networks zfnet --units 1 --runs 1` takes a minute): each row in one run, the contenders in
turns, medians of {runs} runs or more, on {processor}; {versions}; one thread each where no other number is given.
Before a time is taken, the projections of both programs are compared, for the same rectified maps, since a rounding
there moves switches; the largest difference, relative to the largest value, was {difference:.0e}.

*whole call* is `Projector.project` with sessions open: the forward pass, switches and all projections. *the
other* is Captum's NeuronDeconvolution or NeuronGuidedBackprop, or `torch.autograd.grad` with the forward pass kept
(`gradient`), on the same weights, units and threads; it takes units one at a time, and what more than {few} take is
reckoned from one and from {few}. *a projection* is the whole call but for its forward pass, for one unit, in plain
forward passes to that layer by onnxruntime; *a pass* is how many projections take as long as one of those.
Seconds of the processor are in docs/speed.json.

## All rows

| network | layer | method | units | threads | whole call, ms | the other, ms | times as fast | a projection | a pass |
|---|---|---|---|---|---|---|---|---|---|
"""


def page(found: dict[str, Any], few: int) -> str:
    """All tables."""
    rows = found["projections"]
    head = HEAD.format(
        runs=min(row["zfviz"]["runs"] for row in rows),
        processor=found["processor"],
        versions=", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        difference=max(row["difference"] for row in rows),
        few=few,
        short="\n".join(_short(row) for row in rows if _is_short(row, few)),
    )
    tables = [
        *_growth(found["growth"]),
        *_memory(found["memory"]),
        *_ranking(found["ranking"]),
        *_processes(found["processes"]),
    ]
    return "\n".join([head.rstrip("\n"), *map(_row, rows), *tables]) + "\n"


def _is_short(row: dict[str, Any], few: int) -> bool:
    return (row["method"], row["units"], row["threads"]) == ("deconvnet", few, 1)


def _short(row: dict[str, Any]) -> str:
    whole, faster, portion = 1e3 * row["zfviz"]["wall"], row["times_faster"], row["projection_in_forward_passes"]
    return f"| {row['network']} | {row['layer']} | {whole:.1f} | {whole * faster:.0f} | {faster:.1f} | {portion:.2f} |"


def _row(row: dict[str, Any]) -> str:
    whole = row["zfviz"]["wall"]
    cells = [
        *(row["network"], row["layer"], row["method"], row["units"], row["threads"]),
        *(f"{1e3 * whole:.1f}", f"{1e3 * whole * row['times_faster']:.0f}", f"{row['times_faster']:.1f}"),
        f"{row['projection_in_forward_passes']:.2f}",
        f"{1 / row['projection_in_forward_passes']:.1f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _growth(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "\n## With more units, and in larger images\n\nOf ZFNet's conv5, one projection without the forward pass:\n"
    yield "| units | image, pixels wide | ms |\n|---|---|---|"
    for row in rows:
        yield f"| {row['units']} | {row['side']} | {row['milliseconds']:.2f} |"


def _memory(peaks: dict[str, int]) -> Iterator[str]:
    told = ", ".join(f"{count} units {peak / 2**20:.0f} MiB" for count, peak in peaks.items())
    yield f"\nPeak memory of a process that takes `Projector.portions` of conv5: {told}."


def _ranking(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "\n## Ranking\n"
    yield "ZFNet as onnxruntime runs it, and with the nine strongest channels of a layer found beside:\n"
    yield "| layer | plain, ms | ranked, ms | more, % |\n|---|---|---|---|"
    for row in rows:
        plain, ranked = 1e3 * row["plain"]["wall"], 1e3 * row["ranked"]["wall"]
        yield f"| {row['layer']} | {plain:.1f} | {ranked:.1f} | {100 * (ranked / plain - 1):.1f} |"


def _processes(found: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "\n## Whole processes\n\nNine units of three layers of one photograph, start, imports, files and all."
    yield "The Captum script writes 27 plain pictures where zfviz draws a sheet and writes a record; it takes the"
    yield "gradient of contrast normalisation, which zfviz passes over as the paper does.\n"
    yield "| command | seconds | processor seconds | peak memory, MiB |\n|---|---|---|---|"
    for name, one in found.items():
        yield f"| {name} | {one['wall']:.2f} | {one['processor']:.2f} | {one['peak_memory'] / 2**20:.0f} |"

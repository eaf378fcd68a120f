"""Cases: hostile files and what is done with them. Each comes from a seed and a number alone, and can be repeated."""

import base64
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzz import file_mutations, model_mutations, records, seeds
from fuzz.words import NAMES
from onnx import ModelProto, helper
from PIL import Image

import zfviz
from zfviz.checks.checking import Check
from zfviz.checks.configuring import read_config
from zfviz.errors import ZfvizError
from zfviz.images.decoding import decode
from zfviz.images.preprocessing import find_preprocessing
from zfviz.studies.graphs import write_graph
from zfviz.studies.layers import describe_layers

SECRET = b"s3cr3t, beyond the folder; " * 400
MODEL = "model.onnx"


@dataclass(frozen=True)
class Case:
    """Files by name, and what is done with them: `kind` is the function, `options` what it is told, ready for JSON."""

    kind: str
    files: dict[str, bytes]
    options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        files = {name: base64.b85encode(zlib.compress(data, 9)).decode() for name, data in self.files.items()}
        return json.dumps({"kind": self.kind, "options": self.options, "files": files}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Case":
        values = json.loads(text)
        files = {name: zlib.decompress(base64.b85decode(data)) for name, data in values["files"].items()}
        return cls(values["kind"], files, values["options"])


def make_case(seed: int, number: int) -> Case:
    """The case of that number."""
    rng = Random(f"{seed}/{number}")
    return MAKERS[number % len(MAKERS)](rng)


def run_case(case: Case, folder: Path) -> str:
    """ "result", or the name of the ZfvizError that ended it; anything else that is raised is a finding.

    `folder` is empty; the files go into a folder in it, so that there is something outside of that.
    """
    (folder / "secret.bin").write_bytes(SECRET)
    inner = folder / "case"
    inner.mkdir()
    for name, data in case.files.items():
        (inner / name).write_bytes(data)
    if case.kind == "outside":
        (inner / "link.bin").symlink_to("../secret.bin")
        (inner / "linked").symlink_to("..")
        (inner / "sub").mkdir()
        (inner / "sub" / "up").symlink_to("../..")
        (inner / "loop.bin").symlink_to("loop.bin")
        os.mkfifo(inner / "fifo")
    try:
        RUNNERS[case.kind](inner, case.options)
    except ZfvizError as error:
        if not str(error).strip():
            raise AssertionError("the error says nothing") from error
        return type(error).__name__
    return "result"


def _options(rng: Random) -> dict[str, Any]:
    """What is done with a model after it was loaded."""
    return {
        "pick": rng.randrange(2**16),
        "method": rng.choice(["deconvnet", "deconvnet", "guided", "gradient"]),
        "precision": rng.choice(["float32"] * 9 + ["float16"]),
        "what": rng.choice(["sheet"] * 3 + ["project"] * 9 + ["classes", "units", "verify", "save"]),
        "graphs": rng.choice([None] * 8 + ["companion", "maxunpool", "export", "expose"]),
        "shape": rng.choice(
            [None] * 12 + [[1, 3, 8, 8], [2, 3, 16, 16], [1, 3, 1, 1], [0, 3, 8, 8], [1, 3, 10**6, 10**6]]
        ),
        "size": rng.choice([[9, 7], [1, 1], [40, 3]]),
    }


def _seed_model(rng: Random) -> ModelProto:
    return rng.choice(seeds.MODELS)(rng)


def damaged_bytes(rng: Random) -> Case:
    """A model whose bytes were damaged."""
    data = _seed_model(rng).SerializeToString(deterministic=True)
    return Case("model", {MODEL: model_mutations.mutate_bytes(rng, data)}, _options(rng))


def damaged_model(rng: Random) -> Case:
    """A model that says what no exporter would."""
    proto = _seed_model(rng)
    model_mutations.mutate_model(rng, proto)
    return Case("model", {MODEL: proto.SerializeToString(deterministic=True)}, _options(rng))


def damaged_node(rng: Random) -> Case:
    """A node model of the onnx wheel, as it is or damaged."""
    proto = ModelProto.FromString(rng.choice(seeds.node_models()))
    if rng.random() < 0.9:
        model_mutations.mutate_model(rng, proto)
    return Case("model", {MODEL: proto.SerializeToString(deterministic=True)}, _options(rng))


def outside_data(rng: Random) -> Case:
    """A model whose weights lie, or should lie, somewhere else."""
    proto = _seed_model(rng)
    data = file_mutations.put_outside(rng, proto)
    if rng.random() < 0.2:
        model_mutations.mutate_model(rng, proto)
    return Case("outside", {MODEL: proto.SerializeToString(deterministic=True), "weights.bin": data}, _options(rng))


def damaged_picture(rng: Random) -> Case:
    """A picture that is none, or worse."""
    suffix, data = file_mutations.hostile_picture(rng)
    preset = rng.choice(["imagenet", "yolo", "raw"])
    return Case("picture", {f"picture.{suffix}": data}, {"preset": preset, "project": rng.random() < 0.1})


def damaged_config(rng: Random) -> Case:
    """A configuration of audits."""
    name = rng.choice(["zfviz.toml", "pyproject.toml"])
    return Case("config", {name: file_mutations.config(rng)})


def config_mapping(rng: Random) -> Case:
    """A configuration given as a mapping."""
    return Case("config", {}, {"draw": rng.randrange(2**32)})


def damaged_preprocessing(rng: Random) -> Case:
    """A preprocessing, as a file, beside the model, or as a mapping."""
    name = rng.choice(["own.json", "preprocessor_config.json"])
    options = {"draw": rng.randrange(2**32)} if rng.random() < 0.3 else {}
    return Case("preprocessing", {name: file_mutations.preprocessing(rng)}, options)


def damaged_labels(rng: Random) -> Case:
    """Labels beside a model."""
    name, data = file_mutations.labels(rng)
    return Case("labels", {name: data, MODEL: seeds.classifier(rng).SerializeToString(deterministic=True)})


def damaged_array(rng: Random) -> Case:
    """A value for another input of a model."""
    return Case("array", {"value.npy": file_mutations.npy(rng)})


def damaged_record(rng: Random) -> Case:
    """A record that an audit is to compare with."""
    return Case("record", {"record.json": records.record(rng)}, {"shown": rng.random() < 0.5})


MAKERS: tuple[Callable[[Random], Case], ...] = (
    *[damaged_model] * 9,
    *[damaged_bytes] * 3,
    *[damaged_picture] * 3,
    damaged_node,
    outside_data,
    *[damaged_config, config_mapping, damaged_preprocessing],
    *[damaged_labels, damaged_array, damaged_record],
)
"""By the last digits of a case's number: which kind it is of."""


def _largest(model: zfviz.Model) -> int:
    """The numbers of the largest layer, for as many images as the model takes at once."""
    return model.image.shape[0] * max(int(np.prod(layer.shape)) for layer in model.layers)


def _run_model(folder: Path, options: dict[str, Any]) -> None:
    path = folder / MODEL
    model = zfviz.load(path if options["pick"] % 3 else str(path), options["shape"])
    if SECRET[:16] in model.source.proto.SerializeToString():
        raise AssertionError("data from beyond the folder was read")
    describe_layers(model, options["method"])
    if not model.layers:
        return
    layer = model.layers[options["pick"] % len(model.layers)].name
    _project(model, layer, folder, options)
    _write(model, layer, folder, options)


def _project(model: zfviz.Model, layer: str, folder: Path, options: dict[str, Any]) -> None:
    wishes: dict[str, dict[str, Any]] = {
        "classes": {"classes": [0, 1], "layer": ()},
        "units": {"units": [[0], [options["pick"] % 7, 0, 0]]},
        # a verification computes each layer a dozen times: only where that takes no time
        "verify": {"verify": _largest(model) < 10_000},
        "save": {"layer": None},
    }
    asked = {name: options[name] for name in ("method", "precision")} | {"layer": layer, "top": 2}
    picture = Image.new("RGB", options["size"], (200, 90, 20))
    what = options["what"]
    found = zfviz.project(model, picture, device="cpu", threads=1, **asked | wishes.get(what, {}))
    if not np.isfinite(found.pixels).all():
        raise AssertionError("a projection is not finite")
    json.dumps(found.record(), allow_nan=False)
    if what == "sheet":
        found.sheet()
    if what == "save":
        before = set(folder.parent.iterdir())
        for written in found.save(folder / "out", save=("pixels", "arrays")):
            if not written.resolve().is_relative_to(folder / "out"):
                raise AssertionError(f"{written} was written outside of its folder")
        if set(folder.parent.iterdir()) != before:
            raise AssertionError("something was written outside of the folder")


def _write(model: zfviz.Model, layer: str, folder: Path, options: dict[str, Any]) -> None:
    method, precision = options["method"], options["precision"]
    graphs: dict[str, Callable[[], ModelProto]] = {
        "companion": lambda: zfviz.companion(model, layer, method, precision=precision),
        "maxunpool": lambda: zfviz.companion(model, layer, method, unpool="maxunpool"),
        "export": lambda: zfviz.export(model, layer, 1, method),
        "expose": lambda: zfviz.expose(model, [layer], method),
    }
    if options["graphs"]:
        write_graph(graphs[options["graphs"]](), folder / "written.onnx", model.source)


@cache
def _small_model() -> zfviz.Model:
    return zfviz.load(seeds.channels_last(Random(3)), preprocessing="unit")


def _run_picture(folder: Path, options: dict[str, Any]) -> None:
    (path,) = folder.iterdir()
    decoded = decode(path)
    if decoded.mode not in ("L", "RGB") or min(decoded.size) < 1:
        raise AssertionError(f"decoded to {decoded.mode} {decoded.size}")
    seen = find_preprocessing(options["preset"], {}, None)
    array = seen.array(seen.view(decoded, 8, 8), 3)
    if not np.isfinite(array).all():
        raise AssertionError("the array is not finite")
    if options["project"]:
        zfviz.project(_small_model(), path, top=1, device="cpu", threads=1).sheet()


def _check(code: str, name: str, limit: float | None) -> Check:
    about = ("?", "weights", "share", "us", "note" if limit is None else "warning")
    return Check(code, name, *about, limit, "above", None, (), lambda subject: ())


CHECKS = (_check("ZF103", "dead-filters", 0.0), _check("ZF201", "quiet", None))


def _run_config(folder: Path, options: dict[str, Any]) -> None:
    if "draw" in options:
        given = file_mutations.config_table(Random(options["draw"]))
        found = read_config(given if isinstance(given, dict) else {"checks": given}, CHECKS)
    else:
        (path,) = folder.iterdir()
        found = read_config(path, CHECKS)
    for check in CHECKS:
        found.applied(check)
        for layer in ("conv1", "a" * 200, *NAMES):
            found.reason(check, layer)


def _run_preprocessing(folder: Path, options: dict[str, Any]) -> None:
    (path,) = folder.iterdir()
    if "draw" in options:
        found = find_preprocessing(file_mutations.preprocessing_table(Random(options["draw"])), {}, None)
    elif path.name == "preprocessor_config.json":
        found = find_preprocessing(None, {}, folder)
    else:
        found = find_preprocessing(path, {}, None)
    found.describe()
    json.dumps(found.to_json())
    picture = Image.new("RGB", (20, 10), (1, 2, 3))
    for channels in (1, 3):
        array = found.array(found.view(picture, 8, 9), channels)
        if array.shape != (channels, 8, 9) or array.dtype != np.float32:
            raise AssertionError(f"made {array.dtype} {array.shape}")


def _run_labels(folder: Path, options: dict[str, Any]) -> None:
    del options
    model = zfviz.load(folder / MODEL, preprocessing="unit")
    if any(not name.isprintable() for name in model.labels.values()):
        raise AssertionError("a label could reorder or hide text")
    if len(model.labels) > 100_000:
        raise AssertionError("there are too many labels")


@cache
def _model_of_two() -> bytes:
    proto = seeds.channels_last(Random(3))
    proto.graph.input.append(helper.make_tensor_value_info("more", 1, ["N"]))
    proto.graph.node.append(helper.make_node("Add", ["y", "more"], ["z"]))
    return proto.SerializeToString()


def _run_array(folder: Path, options: dict[str, Any]) -> None:
    del options
    zfviz.load(_model_of_two(), inputs={"more": folder / "value.npy"}, preprocessing="unit")


def _run_record(folder: Path, options: dict[str, Any]) -> None:
    records.compare_with(folder / "record.json", options)


RUNNERS: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    "model": _run_model,
    "outside": _run_model,
    "picture": _run_picture,
    "config": _run_config,
    "preprocessing": _run_preprocessing,
    "labels": _run_labels,
    "array": _run_array,
    "record": _run_record,
}

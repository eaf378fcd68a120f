# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.14", "onnxscript>=0.7", "safetensors>=0.4", "zfviz"]
#
# [tool.uv.sources]
# zfviz = { path = "..", editable = true }
# ///
"""A network of torch as ONNX whose tensors bear the names of its modules: `layer1.0.relu`.

    python converters/from_torch.py torchvision.models:alexnet --weights alexnet.pth -o alexnet.onnx
    python converters/from_torch.py mynets:make --arguments '{"num_classes": 10}' --shape 3,64,64 -o mine.onnx
    python converters/from_torch.py exported.pt2 -o exported.onnx

IN is module:function (a class, or whatever else makes an nn.Module when it is called) or a program that
torch.export.save wrote. Both are programs: convert those that you trust. Weights are read as tensors and nothing else.
converting.py must lie beside this.
"""

import json
import os
import pkgutil
import re
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
import onnx_ir
import safetensors.torch
import torch
from converting import (
    FILE,
    PREPROCESSING,
    attach,
    compare,
    describe,
    labels_option,
    output_option,
    random_images,
    read_labels,
    reason,
    run_script,
)
from onnx import ModelProto
from onnxscript import optimizer
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.utils._pytree import tree_leaves

from zfviz.cli.options import numbers
from zfviz.errors import ModelError, nearest
from zfviz.graph.source import MAX_INLINE_BYTES
from zfviz.report.files import write_atomically

NESTS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights in their checkpoints
WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before each name
PICKLES = re.compile(r"opaque_obj_|custom_obj_|/aotinductor/")  # what torch would unpickle, or run, in a .pt2


def convert(
    source: str,
    weights: str | Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    shape: Sequence[int] = (3, 224, 224),
    preprocessing: str | None = None,
    labels: str | Path | None = None,
) -> ModelProto:
    """The ONNX model of `source`, "module:function" or a .pt2 file, for images float32 [N, *shape], N left open.

    The function is called with `arguments`, and the file `weights` loaded into what it makes. `preprocessing` is a
    preset or a JSON file, by default imagenet, or raw for a program that takes uint8; `labels` is a file of class
    names; both go into the metadata. Raises ModelError for what cannot be read, loaded, traced, run or written in ONNX,
    and VerificationError where onnxruntime computes something else.
    """
    names = read_labels(labels)
    if source.endswith(".pt2"):
        if weights or arguments:
            raise ModelError(f"{source} has its weights; expected neither weights nor arguments. Leave them out.")
        program = read_program(source)
        run = program.module()
    else:
        run = make_module(source, arguments or {})
        if weights:
            load_weights(run, Path(weights))
        program = trace(on_cpu(run), shape)
    images = example(program, shape)
    metadata = describe(preprocessing or ("raw" if images.dtype == np.uint8 else "imagenet"), names)
    proto = write(program)
    check(proto, run, images)
    attach(proto, metadata)
    return proto


def make_module(source: str, arguments: Mapping[str, Any]) -> nn.Module:
    """What `source`, "module:function", gives when it is called with the arguments."""
    try:
        found = pkgutil.resolve_name(source)
        made = found if isinstance(found, nn.Module) else found(**arguments)
    except Exception as error:  # it is somebody's program
        raise ModelError(
            f"{source!r} makes no module ({reason(error)}); expected module:function, such as mynets:make, or a .pt2 "
            "file. Weights go to --weights, what the function takes to --arguments."
        ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(f"{source!r} makes a {type(made).__name__}; expected an nn.Module. Choose another function.")
    return made


def load_weights(module: nn.Module, path: Path) -> None:
    """Put a state_dict from a file into the module; ModelError names what is missing, too much, or of another shape."""
    state, own = read_weights(path), module.state_dict()
    while not state.keys() & own.keys():  # a network may have a child that is called as a wrapper is
        prefix = next((prefix for prefix in WRAPPERS if any(name.startswith(prefix) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
        problems = [f"it lacks {name!r} ({nearest(name, state)})" for name in missing]
        problems += [f"it has {name!r}, which the module lacks ({nearest(name, own)})" for name in unexpected]
    except RuntimeError as error:
        problems = [reason(error)]
    if problems:
        raise ModelError(
            f"{path.name} does not fit {type(module).__name__} in {len(problems)} of {len(own)} tensors: "
            f"{'; '.join(problems[:4])}. Expected the weights of this very network: mend the function or --arguments."
        )


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The state_dict in a file of torch.save or safetensors, also where it is nested in a checkpoint."""
    remedy = (
        "expected a state_dict, names and their tensors, of torch.save or safetensors. Save model.state_dict() where "
        "the file comes from."
    )
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # not torch's own words, which tell how to run the pickle all the same
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        found = f"asks for {asked[1]}: a pickle can run any program, so it was not read" if asked else "cannot be read"
        raise ModelError(f"{path} {found}; {remedy}") from None
    for key in NESTS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        found = ", ".join(map(repr, state)) if isinstance(state, dict) else type(state).__name__
        raise ModelError(f"{path} holds {found[:200]}; {remedy}")
    return state


def read_program(path: str) -> ExportedProgram:
    """The program in a file of torch.export.save, without running any pickle that is in it."""
    remedy = "expected tensors and a program, as torch.export.save writes them. Export it again, on the CPU."
    try:
        with zipfile.ZipFile(path) as archive:
            objects = [name for name in archive.namelist() if PICKLES.search(name)]
        # torch.export.load falls back to unrestricted pickles, unless it is told not to
        with mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD="1"):
            program = None if objects else torch.export.load(path)
        values = [node.meta.get("val") for node in program.graph.nodes] if program else []
        if program and any(isinstance(value, torch.Tensor) and value.device.type != "cpu" for value in values):
            program = move_to_device_pass(program, "cpu")
    except Exception as error:
        raise ModelError(f"{path} cannot be read by torch {torch.__version__} ({reason(error)}); {remedy}") from error
    if program is None:
        raise ModelError(f"{path} holds an object that can run any program, {objects[0]}: it was not read; {remedy}")
    return program


def on_cpu(module: nn.Module) -> nn.Module:
    """The module as it is run here: on the CPU, in float32, not in training."""
    try:
        return module.float().cpu().eval()
    except Exception as error:  # it is somebody's program
        raise ModelError(
            f"the {type(module).__name__} cannot be brought to the CPU ({reason(error)}); expected a module that has "
            "its weights. Have the function make it on the CPU."
        ) from error


def trace(module: nn.Module, shape: Sequence[int]) -> ExportedProgram:
    """The module as a program that takes any number of images."""
    try:
        images = torch.rand(2, *shape)  # an axis of one would be taken for a constant
        with torch.no_grad():
            return torch.export.export(module, (images,), dynamic_shapes=({0: Dim("batch")},))
    except Exception as error:
        raise ModelError(
            f"torch.export cannot trace the module on images of {tuple(shape)} ({reason(error)}); expected no branch "
            "on values, no fixed batch and no other device. Mend --shape or forward, or torch.export it for one batch "
            "yourself."
        ) from error


def write(program: ExportedProgram) -> ModelProto:
    """The program in ONNX, as torch.export has it: no norm is folded into a convolution, and each tensor is named."""
    values = (*program.state_dict.values(), *program.constants.values())
    size = sum(value.nbytes for value in values if isinstance(value, torch.Tensor))
    if size > MAX_INLINE_BYTES:
        raise ModelError(
            f"the weights take {size / 2**30:.2f} GiB; expected less than 2, all that one ONNX file holds. Use "
            "torch.onnx.export(external_data=True), which puts them beside the model: zfviz reads that too."
        )
    # The exporter by torch.export (dynamo=True) takes .pt2 too and calls tensors as the program does, which knows their
    # modules. TorchScript's (False) is deprecated, takes no .pt2, and writes /layer1/layer1.0/relu_1/Relu_output_0.
    # The optimiser folds norms into convolutions: of it, only the folding of constants is called.
    try:
        exported = torch.onnx.export(program, input_names=["image"], dynamo=True, optimize=False, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        raise ModelError(f"torch cannot write this in ONNX: {reason(error)}. Rewrite it with other ops.") from error
    optimizer.fold_constants(exported.model)
    optimizer.remove_unused_nodes(exported.model)
    exported.model.graph.metadata_props.clear()
    rename(exported.model, tensor_names(exported.exported_program))
    return exported.model_proto


def tensor_names(program: ExportedProgram) -> dict[str, str]:
    """What each tensor is to be called, by its name in the program; modules come first, and names may repeat.

    What an innermost module gives bears its name, `layer1.0.relu`; all else its function's after the name of the
    module where it is called, `layer1.0.add`. So does torchvision.models.feature_extraction.
    """
    stacks = {
        node.name: [(call, path) for call, (path, _) in node.meta["nn_module_stack"].items()]
        for node in program.graph.nodes
        if isinstance(node.meta.get("val"), torch.Tensor) and node.meta.get("nn_module_stack")
    }
    outer = {path for stack in stacks.values() for _, path in stack[:-1]} | {""}
    last = {stack[-1]: name for name, stack in stacks.items() if stack[-1][1] not in outer}
    # a later call of a module is marked by @, and must not take the name of another module
    modules = {last[call]: call[1] for call in sorted(last, key=lambda call: "@" in call[0])}
    functions = {name: f"{stack[-1][1]}.{re.sub('_[0-9]+$', '', name)}".lstrip(".") for name, stack in stacks.items()}
    return modules | {name: function for name, function in functions.items() if name not in modules}


def rename(model: onnx_ir.Model, names: Mapping[str, str]) -> None:
    """Give tensors, and the nodes that make them, their new names, with _1, _2 ... where a name comes again."""
    made = {output.name for node in model.graph for output in node.outputs}
    taken = {value.name for value in model.graph.inputs} | model.graph.initializers.keys() | (made - names.keys())
    unique: dict[str, str] = {}
    for old in (name for name in names if name in made):
        new = names[old]
        unique[old] = next(n for n in (new, *(f"{new}_{i}" for i in range(1, len(names) + 1))) if n not in taken)
        taken.add(unique[old])
    for node in model.graph:
        node.metadata_props.clear()  # stack traces, which name the folders of this machine
        for output in node.outputs:
            if output.name in unique:
                node.name = output.name = unique[output.name]


def example(program: ExportedProgram, shape: Sequence[int]) -> np.ndarray:
    """Random images for the program: three where their number is open, of `shape` in what else is open."""
    placeholders = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    values = [placeholders.get(wanted, wanted) for wanted in program.graph_signature.user_inputs]  # or a constant
    found = [tuple(value.shape) if isinstance(value, torch.Tensor) else value for value in values]
    if len(found) != 1 or not isinstance(found[0], tuple) or len(found[0]) != 1 + len(shape):
        raise ModelError(f"the program takes {found or 'nothing'}; expected one tensor of images [N, C, H, W].")
    sizes = [given if isinstance(size, torch.SymInt) else size for size, given in zip(*found, (3, *shape), strict=True)]
    if isinstance(found[0][0], int):
        click.echo(f"batch: always {sizes[0]}, since the program was exported so", err=True)
    return random_images(sizes, str(values[0].dtype).removeprefix("torch."))


def check(proto: ModelProto, run: Callable[[torch.Tensor], Any], images: np.ndarray) -> None:
    """Print how far onnxruntime is from torch on these images; VerificationError where it is too far."""
    try:
        with torch.no_grad():
            values = [value for value in tree_leaves(run(torch.from_numpy(images))) if isinstance(value, torch.Tensor)]
            expected = [value.double().cpu().numpy() for value in values]
    except Exception as error:  # it is somebody's program
        raise ModelError(
            f"torch cannot run it on {images.dtype} images of {images.shape} on the CPU ({reason(error)}); expected a "
            "program for them. Mend --shape, or export it on the CPU, for any number of images from 2."
        ) from error
    compare(proto, {"image": images}, expected, "torch")


@click.command()
@click.argument("source", metavar="IN")
@output_option
@click.option("--weights", type=FILE, help="A state_dict: of torch.save, or .safetensors.")
@click.option("--arguments", type=json.loads, default="{}", metavar="JSON", help="Keyword arguments of the function.")
@click.option("--shape", callback=numbers, default="3,224,224", show_default=True, help="One image: C,H,W.")
@click.option("--preprocessing", help=f"{PREPROCESSING} [default: imagenet, or raw for uint8]")
@labels_option
def main(source: str, output: Path, **options: Any) -> None:
    """Write a network of torch, module:function or a .pt2 file, as ONNX for zfviz, checked with onnxruntime."""
    sys.path.insert(0, "")  # packages of the folder that one is in, as `python -m` finds them
    click.echo(write_atomically(output, convert(source, **options).SerializeToString()))


if __name__ == "__main__":
    run_script(main)

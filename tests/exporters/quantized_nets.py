"""Float models as tools rewrite them: halved, fused, slimmed and quantised.

A specimen's name begins with that of its float parent, which `float_parent` of float_nets builds.
"""

import tempfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from corpus import photo
from exporters.float_nets import derived, float_parent
from exporters.nodes import save
from exporters.specimen import Specimen
from onnx import ModelProto, TensorProto, helper, numpy_helper
from PIL import Image

# half precision


def _float16(model: ModelProto, **options: object) -> ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, **options)


def _bfloat16(model: ModelProto, image: int = TensorProto.BFLOAT16) -> ModelProto:
    """No tool writes this from float; torch does from its own nets, and this is what they look like."""
    model = onnx.version_converter.convert_version(model, 22)  # the first at which a Conv may be bfloat16
    graph = onnx.shape_inference.infer_shapes(model).graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    scales = {node.input[2] for node in graph.node if node.op_type == "Resize"}
    constants = [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute]
    for tensor in (*graph.initializer, *constants):
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in scales:
            array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    if image != TensorProto.BFLOAT16:
        graph.input[0].type.tensor_type.elem_type = image
        reads = graph.input[0].name
        for node in graph.node:
            node.input[:] = ["narrow" if name == reads else name for name in node.input]
        graph.node.insert(0, helper.make_node("Cast", [reads], ["narrow"], "Cast_narrow", to=TensorProto.BFLOAT16))
    model.graph.CopyFrom(graph)
    return model


# onnxruntime's optimisers, and onnxslim


def optimised(path: Path, folder: Path, name: str, level: str) -> Path:
    """What onnxruntime makes of a file for its CPU provider, saved."""
    import onnxruntime

    target = folder / f"{name}.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return target


def _optimised(parent: str, level: str) -> Specimen:
    name = f"{parent} at {level}"

    def make(folder: Path) -> Path:
        with tempfile.TemporaryDirectory() as scratch:
            return optimised(save(float_parent(name), Path(scratch), "float"), folder, name, level)

    return Specimen("onnxruntime optimised", name, make)


def _fused(model: ModelProto, kind: str = "vit", approximate: bool = False) -> ModelProto:
    """What onnxruntime's own optimiser of transformers makes of a model."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions(kind)
    options.enable_gelu_approximation = approximate
    with tempfile.TemporaryDirectory() as scratch:
        path = save(model, Path(scratch), "float")
        fused = optimize_model(str(path), kind, num_heads=4, hidden_size=32, optimization_options=options, opt_level=0)
        fused.save_model_to_file(str(path))
        return onnx.load(path)


def _slimmed(model: ModelProto) -> ModelProto:
    import onnxslim

    return onnxslim.slim(model)


# quantisation

_CROPS = 4


def _images(height: int, width: int) -> Iterator[np.ndarray]:
    """The photo, crops of it and a noised copy, at one size."""
    rng = np.random.default_rng(0)
    whole = photo()
    for place in range(_CROPS):
        crop = whole[..., 16 * place :, : 224 - 24 * place]
        planes = [np.asarray(Image.fromarray(plane).resize((width, height))) for plane in crop[0]]
        yield np.stack(planes)[None]
    yield (np.stack(planes)[None] + rng.normal(0, 0.2, (1, 3, height, width))).astype(np.float32)


class _Calibration:
    """The pictures from which ranges of activations are taken."""

    def __init__(self, model: ModelProto) -> None:
        image = model.graph.input[0]
        height, width = (axis.dim_value for axis in image.type.tensor_type.shape.dim[2:])
        self._feeds = ({image.name: picture} for picture in _images(height, width))

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._feeds, None)


def _quantise(source: Path, target: Path, **options: object) -> None:
    from onnxruntime import quantization

    enums = {
        "activation_type": quantization.QuantType,
        "weight_type": quantization.QuantType,
        "calibrate_method": quantization.CalibrationMethod,
    }
    options = {key: enums[key][value] if key in enums else deepcopy(value) for key, value in options.items()}
    model = onnx.load(source)
    without = options.pop("without", ())
    options["nodes_to_exclude"] = [node.name for node in model.graph.node if node.op_type in without]
    if options.pop("dynamic", False):
        quantization.quantize_dynamic(source, target, **options)
        return
    form = quantization.QuantFormat[options.pop("form")]
    quantization.quantize_static(source, target, _Calibration(model), quant_format=form, **options)


def _prepared(model: ModelProto, folder: Path, fuse: bool) -> Path:
    """Batch norms are folded before quantising, or transformers fused, as onnxruntime's guide has it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if fuse:
        return save(_fused(model), folder, "prepared")
    path = folder / "prepared.onnx"
    quant_pre_process(save(model, folder, "float"), path, skip_symbolic_shape=True)
    return path


def _write(folder: Path, name: str, options: Mapping[str, object], level: str = "", fuse: bool = False) -> Path:
    with tempfile.TemporaryDirectory() as scratch:
        source = _prepared(float_parent(name), Path(scratch), fuse)
        target = Path(scratch) / "quantised.onnx" if level else folder / f"{name}.onnx"
        _quantise(source, target, **options)
        return optimised(target, folder, name, level) if level else target


_KINDS: Mapping[str, Mapping[str, object]] = {
    "uint8": {"activation_type": "QUInt8", "weight_type": "QUInt8"},
    "uint8 int8": {"activation_type": "QUInt8", "weight_type": "QInt8"},
    "int8 by channel": {"activation_type": "QInt8", "weight_type": "QInt8", "per_channel": True},
    "uint8 int8 by channel": {"activation_type": "QUInt8", "weight_type": "QInt8", "per_channel": True},
    "int16": {"activation_type": "QInt16", "weight_type": "QInt8"},
    "uint16 int16 by channel": {"activation_type": "QUInt16", "weight_type": "QInt16", "per_channel": True},
    "float8": {
        "activation_type": "QFLOAT8E4M3FN",
        "weight_type": "QFLOAT8E4M3FN",
        "calibrate_method": "Distribution",
    },
    "int4": {"activation_type": "QUInt8", "weight_type": "QInt4", "op_types_to_quantize": ["Conv", "Gemm", "MatMul"]},
}
# Ways of writing QDQ pairs: weights held as float and quantised in the graph, as TensorRT and torch have it; scales
# about zero; weights with a zero point; biases left alone
_WAYS: Mapping[str, Mapping[str, object]] = {
    "pairs": {"AddQDQPairToWeight": True, "ActivationSymmetric": True, "QuantizeBias": False},
    "skewed": {"WeightSymmetric": False, "DedicatedQDQPair": True, "QDQKeepRemovableActivations": True},
    "microsoft": {"UseQDQContribOps": True},
}


def _static(parent: str, form: str, kind: str, way: str = "", level: str = "", **more: object) -> Specimen:
    name = " ".join(filter(None, (parent, form, kind, way, level and f"at {level}")))
    options = {"form": form, "extra_options": dict(_WAYS.get(way, {})), **_KINDS[kind], **more}
    exporter = f"onnxruntime quantization ({form})"
    return Specimen(exporter, name, partial(_write, name=name, options=options, level=level))


def _dynamic(parent: str, kind: str = "QUInt8", level: str = "", fuse: bool = False, **more: object) -> Specimen:
    name = " ".join(filter(None, (parent, fuse and "fused", "dynamic", kind[1:].lower(), level and f"at {level}")))
    options = {"dynamic": True, "weight_type": kind, **more}
    write = partial(_write, name=name, options=options, level=level, fuse=fuse)
    return Specimen("onnxruntime quantization (dynamic)", name, write)


def _weights_only(model: ModelProto) -> ModelProto:
    """Weights are integers behind a DequantizeLinear each, and nothing else is quantised."""
    graph = model.graph
    weights = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) in (2, 4)]
    for tensor in weights:
        array = numpy_helper.to_array(tensor)
        axis = 0 if array.ndim == 4 else array.ndim - 1
        scale = abs(array).max(tuple(a for a in range(array.ndim) if a != axis), keepdims=True) / 127
        whole = np.round(array / scale).astype(np.int8)
        parts = {"int": whole, "scale": scale.ravel(), "zero": np.zeros(scale.size, np.int8)}
        graph.initializer.extend(numpy_helper.from_array(part, f"{tensor.name}_{key}") for key, part in parts.items())
        names = [f"{tensor.name}_{key}" for key in parts]
        node = helper.make_node("DequantizeLinear", names, [tensor.name], f"{tensor.name}_real", axis=axis)
        graph.node.insert(0, node)
        graph.initializer.remove(tensor)
    return model


def _blocks(model: ModelProto, form: str) -> ModelProto:
    """MatMul weights in blocks of four bits: MatMulNBits, or a DequantizeLinear with blocks."""
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantiser = MatMulNBitsQuantizer(model, block_size=16, quant_format=QuantFormat[form])
    quantiser.process()
    return quantiser.model.model


_LIGHT = {"without": ["Softmax"]}  # 1,000 near-equal classes are all zero in eight bits

SPECIMENS: tuple[Specimen, ...] = (
    *(
        _static(parent, form, kind)
        for parent in ("resnet", "mobilenet", "vit", "unet")
        for form in ("QDQ", "QOperator")
        for kind in ("uint8", "int8 by channel")
    ),
    _static("squeezenet", "QDQ", "int8 by channel", **_LIGHT),
    _static("squeezenet", "QOperator", "uint8", **_LIGHT),
    _static("inception_v1", "QDQ", "uint8 int8 by channel", **_LIGHT),
    _static("inception_v1", "QOperator", "uint8", **_LIGHT),
    _static("resnet50", "QDQ", "uint8 int8", **_LIGHT),
    _static("resnet50", "QOperator", "uint8 int8 by channel", **_LIGHT),
    _static("shufflenet", "QDQ", "uint8", **_LIGHT),
    _static("shufflenet", "QOperator", "uint8", **_LIGHT),
    *(_static(parent, "QDQ", kind) for parent in ("resnet", "vit") for kind in ("int16", "uint16 int16 by channel")),
    replace(_static("resnet", "QDQ", "float8"), exporter="onnxruntime quantization (float8, runs unoptimised only)"),
    *(_static(parent, "QDQ", "int4") for parent in ("resnet", "vit")),
    *(_static(parent, "QDQ", "int8 by channel", "pairs") for parent in ("resnet", "mobilenet", "vit", "unet")),
    *(_static(parent, form, "uint8 int8", "skewed") for parent in ("resnet", "unet") for form in ("QDQ", "QOperator")),
    _static("mobilenet", "QDQ", "uint8", "microsoft"),
    *(
        _static(parent, "QDQ", "uint8", "", level)
        for parent in ("resnet", "mobilenet", "vit", "unet")
        for level in ("EXTENDED", "ALL")
    ),
    *(_static("inception_v1", "QDQ", "uint8 int8", "", level, **_LIGHT) for level in ("EXTENDED", "ALL")),
    *(_dynamic(parent) for parent in ("resnet", "mobilenet", "vit", "unet", "squeezenet")),
    _dynamic("vit", "QInt8", op_types_to_quantize=["MatMul", "Gemm"], per_channel=True),
    _dynamic("resnet", "QInt8"),
    _dynamic("vit", fuse=True),
    *(_dynamic("vit", "QUInt8", level) for level in ("EXTENDED", "ALL")),
    *(derived("weights as integers", parent, "weights of 8 bits", _weights_only) for parent in ("resnet", "vit")),
    derived("weights as integers", "vit", "blocks", partial(_blocks, form="QOperator")),
    derived("weights as integers", "vit20", "QDQ blocks", partial(_blocks, form="QDQ")),
    *(
        derived("float16", parent, how, partial(_float16, keep_io_types=keep))
        for parent in ("squeezenet", "resnet", "mobilenet", "vit", "vit20", "unet")
        for how, keep in (("float16", False), ("float16 inside", True))
    ),
    *(
        derived("bfloat16", parent, "bfloat16", _bfloat16)
        for parent in ("squeezenet", "resnet", "mobilenet", "vit", "unet")
    ),
    derived("bfloat16", "resnet", "bfloat16 inside", partial(_bfloat16, image=TensorProto.FLOAT)),
    *(
        _optimised(parent, level)
        for parent in ("resnet", "mobilenet", "vit", "vit13", "vit20", "unet", "squeezenet")
        for level in ("BASIC", "EXTENDED", "ALL")
    ),
    *(
        _optimised(parent, level)
        for parent in ("inception_v1", "inception_v2", "shufflenet")
        for level in ("EXTENDED", "ALL")
    ),
    *(derived("onnxruntime transformers", parent, "fused", _fused) for parent in ("vit", "vit13", "vit20")),
    derived("onnxruntime transformers", "vit", "fused and approximate", partial(_fused, approximate=True)),
    derived("onnxruntime transformers (CUDA only)", "vit", "fused for CUDA", partial(_fused, kind="unet")),
    derived("onnxruntime transformers", "vit", "fused float16", lambda model: _float16(_fused(model))),
    *(
        derived("onnxslim", parent, "slim", _slimmed)
        for parent in ("resnet", "mobilenet", "vit", "vit20", "unet", "squeezenet", "inception_v2", "densenet121")
    ),
)

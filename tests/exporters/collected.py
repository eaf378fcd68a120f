"""Every specimen, and those that zfviz refuses, with the words it must say."""

from functools import cache
from importlib import import_module

from exporters.specimen import Specimen

MODULES = (
    # the order of docs/coverage.md, and that by which CI takes every fifteenth of the large corpora
    *("torchvision_nets", "timm_nets", "torch_nets", "keras_nets"),
    *("nhwc_classifiers", "nhwc_detectors", "nhwc_pictures"),
    *("weight_nets", "function_nets", "old_nets", "quantized_nets"),
)

NCHWC = "layout of the CPU for which onnxruntime optimised"
NO_KERNEL = "onnxruntime refuses the model"
TOO_OLD = "does not convert to 8"

REFUSED = {
    # the specimen, and what the message says
    "torch CRNN LSTM": "no rule for LSTM",
    "torch CRNN LSTM dynamo": "no rule for LSTM",
    "torch CRNN GRU": "no rule for GRU",
    "torch deformable dynamo": "no rule for DeformConv",
    "torch spectral dynamo": "no rule for DFT",
    "torch patches": "no rule for Col2Im",
    "torch patches dynamo": "no rule for Col2Im",
    "torch arithmetic": "no rule for Mod",
    "torch arithmetic dynamo": "no rule for Mod",
    "timm nf_seresnet26": "does not convert to 21",
    "timm volo_d1_224 dynamo": "no rule for Col2Im",
    "timm sequencer2d_s": "no rule for LSTM",
    "timm sequencer2d_s dynamo": "no rule for LSTM",
    "torch spatial transformer": "no rule for GridSample",
    "torch spatial transformer dynamo": "no rule for GridSample",
    "torch spatial transformer einsum": "no rule for GridSample",
    "torch spatial transformer einsum dynamo": "no rule for GridSample",
    "Caffe ResNet of opset 1": NO_KERNEL,
    "Caffe ResNet of opset 5": NO_KERNEL,
    "Caffe ResNet of opset 6": NO_KERNEL,
    "Caffe2 segmenter of opset 1": TOO_OLD,
    "Caffe2 segmenter of opset 2": TOO_OLD,
    "Caffe2 segmenter of opset 4": TOO_OLD,
    "Caffe2 segmenter of opset 6": TOO_OLD,
    "Windows ML rarities of opset 6": TOO_OLD,
    "Windows ML rarities of opset 7": "MeanVarianceNormalization",
    "Windows ML rarities of opset 9": "no rule for ParametricSoftplus",
    "resnet QDQ float8": "no signal",
    "vit fused dynamic uint8": "no rule for com.microsoft::QAttention",
    "vit blocks": "no rule for com.microsoft::MatMulNBits",
    "vit fused for CUDA": NO_KERNEL,
}

UNJUDGED = {"torchvision fasterrcnn": "the oracle does not run it"}


@cache
def specimens() -> tuple[Specimen, ...]:
    """All specimens, exporter by exporter."""
    return tuple(s for name in MODULES for s in import_module(f"exporters.{name}").SPECIMENS)


def refusal(specimen: Specimen) -> str:
    """What zfviz says of a specimen that it refuses, or nothing."""
    if specimen.exporter == "onnxruntime optimised" and specimen.name.endswith("at ALL"):
        return NCHWC
    return REFUSED.get(specimen.name, "")

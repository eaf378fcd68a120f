"""Networks written by hand, by both exporters of torch."""

from functools import partial

import numpy as np
from exporters import torch_detectors as detectors
from exporters import torch_hybrids as hybrids
from exporters import torch_layers as layers
from exporters import torch_pictures as pictures
from exporters.specimen import Specimen
from exporters.torch_export import exported
from torch import nn

_CONDITION = {"condition": np.linspace(-1, 1, 7, dtype=np.float32)[None]}
_LABEL = {"label": np.array([3])}


SPECIMENS: tuple[Specimen, ...] = (
    *exported("torch ESPCN", pictures.espcn, (32, 48), opset=11),
    *exported("torch EDSR", pictures.Edsr, (32, 48), dynamo=18),
    *exported("torch U-Net transposed", partial(pictures.UNet, "transposed"), dynamo=18),
    *exported("torch U-Net nearest", partial(pictures.UNet, "nearest"), opset=11, fixed_batch=True),
    *exported("torch U-Net bilinear", partial(pictures.UNet, "bilinear"), opset=13, dynamo=20),
    *exported("torch U-Net aligned corners", partial(pictures.UNet, "aligned"), fixed_batch=True),
    *exported(
        "torch U-Net to size, deeply supervised", partial(pictures.UNet, "to size", deep=True), (60, 84), dynamo=18
    ),
    *exported("torch U-Net open size", partial(pictures.UNet, "to size"), (64, 96), dynamo=18, open_size=True),
    *exported("torch YOLOv5", partial(detectors.Yolo, 5), opset=13, dynamo=18),
    *exported("torch YOLOv8", partial(detectors.Yolo, 8), dynamo=18, fixed_batch=True),
    *exported("torch CycleGAN generator", pictures.generator, (48, 64), dynamo=18),
    *exported(
        "torch CycleGAN generator GroupNorm",
        partial(pictures.generator, partial(nn.GroupNorm, 4)),
        (48, 64),
        fixed_batch=True,
    ),
    *exported("torch smooth activations", layers.smooth, dynamo=20),
    *exported("torch piecewise activations", layers.piecewise, dynamo=18, fixed_batch=True),
    *exported("torch exponential activations", layers.exponential, opset=13),
    *exported("torch norms", layers.norms, dynamo=18),
    *exported("torch norms channels last", layers.norms_last, dynamo=18, fixed_batch=True),
    *exported("torch norms channels last RMS", lambda: layers.norms_last(nn.RMSNorm(16)), opset=None, dynamo=23),
    *exported("torch weight norm", partial(layers.reparametrised, "weight_norm"), dynamo=18),
    *exported(
        "torch spectral norm", partial(layers.reparametrised, "spectral_norm"), opset=None, dynamo=18, fixed_batch=True
    ),
    *exported("torch pools", layers.Pools, opset=13, dynamo=18),
    *exported("torch pools 7x7", partial(layers.Pools, (7, 7)), (28, 42), fixed_batch=True),
    *exported("torch pools uneven", partial(layers.Pools, (7, 7)), opset=None, dynamo=18),
    *exported("torch SegNet", pictures.SegNet, opset=None, dynamo=18, fixed_batch=True),
    *exported("torch spatial transformer", hybrids.SpatialTransformer, opset=20, dynamo=20, fixed_batch=True),
    *exported(
        "torch spatial transformer einsum", partial(hybrids.SpatialTransformer, affine=False), opset=16, dynamo=20
    ),
    *exported("torch attention einsum", lambda: layers.attended(layers.NonLocal("einsum")), dynamo=18),
    *exported("torch attention bmm", lambda: layers.attended(layers.NonLocal("bmm")), opset=11, fixed_batch=True),
    *exported("torch attention fused", lambda: layers.attended(layers.NonLocal("fused")), opset=14, dynamo=23),
    *exported("torch gates", lambda: layers.attended(layers.Gates()), dynamo=18),
    *exported("torch CRNN LSTM", hybrids.Recurrent, (32, 64), dynamo=18),
    *exported("torch CRNN GRU", partial(hybrids.Recurrent, nn.GRU), (32, 64), fixed_batch=True),
    *exported("torch FiLM", hybrids.Film, inputs=_CONDITION, dynamo=18),
    *exported("torch projection discriminator", hybrids.Projected, inputs=_LABEL, fixed_batch=True),
    *exported("torch autoencoder", pictures.Autoencoder, dynamo=18),
    *exported("torch shapes", layers.Shapes, dynamo=18),
    *exported("torch patches", layers.Patches, opset=18, dynamo=18, fixed_batch=True),
    *exported("torch arithmetic", layers.Arithmetic, dynamo=18),
    *exported(
        "torch preprocessing inside", lambda: hybrids.Preprocessed(layers.normed(nn.BatchNorm2d(16))), fixed_batch=True
    ),
    *exported("torch float16", lambda: hybrids.Half(layers.normed(nn.BatchNorm2d(16))), dynamo=18),
    *exported("torch fake-quantised", hybrids.Rounded, opset=13, dynamo=18, fixed_batch=True),
    *exported("torch deformable", layers.Deformable, opset=None, dynamo=19),
    *exported("torch spectral", layers.Spectral, opset=None, dynamo=20, fixed_batch=True),
)

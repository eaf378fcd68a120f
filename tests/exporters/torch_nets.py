"""Networks of torch, torchvision and timm, exported by both exporters of torch, with seeded noise for weights."""

import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from exporters import torch_hybrids as own
from exporters.specimen import Specimen
from exporters.torch_hybrids import CLASSES
from torch import Tensor, nn

_NORM = ("weight", "bias", "running_mean", "running_var")  # parameters, or buffers where the norm is frozen

Build = Callable[[], nn.Module]


def _torchvision(name: str, thin: int = 1, **options: Any) -> nn.Module:
    """A network of torchvision without its weights, every layer `thin` times narrower."""
    import torchvision

    return _thin(torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options), thin)


def _resnext() -> nn.Module:
    from torchvision.models.resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, [1, 1, 1, 1], num_classes=CLASSES, groups=8, width_per_group=4)


def _densenet() -> nn.Module:
    from torchvision.models import DenseNet

    return DenseNet(growth_rate=8, block_config=(2, 3, 4, 3), num_init_features=16, num_classes=CLASSES)


def _convnext() -> nn.Module:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    widths = (16, 32, 48, 64)
    blocks = [CNBlockConfig(a, b, 2) for a, b in zip(widths, [*widths[1:], None], strict=True)]
    return ConvNeXt(blocks, num_classes=CLASSES)


def _swin(version: int) -> nn.Module:
    from torchvision.models import swin_transformer as swin

    parts: dict[str, Any] = {}
    if version == 2:
        parts = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2}
    return swin.SwinTransformer([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=CLASSES, **parts)


def _vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(64, 16, 2, 4, 64, 128, num_classes=CLASSES)


def _maxvit() -> nn.Module:
    from torchvision.models import MaxVit

    return MaxVit((64, 64), 16, 4, [16, 32], [1, 2], head_dim=8, stochastic_depth_prob=0.0, num_classes=CLASSES)


def _timm(name: str, thin: int = 1, **options: Any) -> nn.Module:
    """A network of timm without its weights, every layer `thin` times narrower; `options` prevail over its own."""
    import timm

    module = sys.modules[timm.model_entrypoint(name).__module__]
    build = module.build_model_with_cfg
    with mock.patch.object(module, "build_model_with_cfg", lambda *args, **own: build(*args, **own | options)):
        return _thin(timm.create_model(name, num_classes=CLASSES), thin)


def _thin(model: nn.Module, by: int) -> nn.Module:
    """The same convolutional network with `by` times fewer channels: the first of each layer are kept."""

    def keep(channels: int) -> int:
        return channels if channels in (3, CLASSES) else channels // by

    def cut(*tensors: Tensor | None, sizes: tuple[int, ...]) -> None:
        for tensor in tensors:
            if tensor is not None:
                tensor.data = tensor.data[tuple(map(slice, sizes))].clone()

    for module in model.modules() if by > 1 else ():
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels
            module.in_channels, module.out_channels = keep(module.in_channels), keep(module.out_channels)
            module.groups = module.in_channels if depthwise else module.groups
            cut(module.weight, sizes=(module.out_channels, module.in_channels // module.groups))
            cut(module.bias, sizes=(module.out_channels,))
        elif isinstance(module, nn.Linear):
            module.in_features, module.out_features = keep(module.in_features), keep(module.out_features)
            cut(module.weight, sizes=(module.out_features, module.in_features))
            cut(module.bias, sizes=(module.out_features,))
        elif hasattr(module, "running_mean"):
            held = [getattr(module, name) for name in _NORM]
            cut(*held, sizes=(keep(len(held[0])),))
    return model


def _season(model: nn.Module, args: tuple[Tensor, ...]) -> nn.Module:
    """Weights, scales, shifts and statistics as training leaves them: signals keep their size, norms do work."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.ConvTranspose2d):
            inputs = module.weight[:, 0].numel() / math.prod(module.stride)
            nn.init.normal_(module.weight, std=math.sqrt(2 / inputs))
        tensors = dict(module.named_parameters(recurse=False))
        tensors |= {name: tensor for name, tensor in module.named_buffers(recurse=False) if name in _NORM}
        for name, tensor in tensors.items():
            if name in ("bias", "running_mean"):
                nn.init.uniform_(tensor, -0.2, 0.2)
            elif tensor.numel() > 0 and (tensor == tensor.flatten()[0]).all():
                start = tensor.flatten()[0].item()  # residual branches often start at nothing
                nn.init.uniform_(tensor, *(0.1, 0.4) if abs(start) < 1e-2 else sorted((0.5 * start, 1.5 * start)))

    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # one pass then sets the statistics
    with torch.no_grad():
        model(*args)
    return model.eval()


def _images(size: tuple[int, int], count: int = 16) -> Tensor:
    """Images of every brightness, contrast and grain: norms set on images alike would blow up all others."""
    height, width = size
    blocks = torch.randn(count, 3, height // 8 + 1, width // 8 + 1)
    blocks = blocks.repeat_interleave(8, 2).repeat_interleave(8, 3)[:, :, :height, :width]
    grain, contrast, light = torch.rand(3, count, 1, 1, 1)
    return 2 * light - 1 + 2 * contrast * (grain * torch.randn(count, 3, height, width) + (1 - grain) * blocks)


def _export(
    folder: Path,
    name: str,
    build: Build,
    size: tuple[int, int],
    free: Mapping[int, str],
    inputs: Mapping[str, np.ndarray],
    options: Mapping[str, Any],
) -> Path:
    def rows(array: np.ndarray, count: int) -> Tensor:
        return torch.from_numpy(array).expand(count, *array.shape[1:]).clone()

    path = folder / f"{name}.onnx"
    with torch.random.fork_rng(), warnings.catch_warnings(action="ignore"):
        torch.manual_seed(0)
        images = _images(size)
        model = _season(build().eval(), (images, *(rows(array, len(images)) for array in inputs.values())))
        count = 2 if 0 in free else 1  # torch.export takes an axis of one for a constant
        args = (images[:count], *(rows(array, count) for array in inputs.values()))
        axes = [free, *({0: free[0]} if free else {} for _ in inputs)]
        if options["dynamo"]:
            dynamic = {"dynamic_shapes": tuple(dict.fromkeys(axis, torch.export.Dim.DYNAMIC) for axis in axes)}
        else:
            dynamic = {"dynamic_axes": dict(zip(("image", *inputs), axes, strict=True))}
        torch.onnx.export(model, args, path, input_names=["image", *inputs], verbose=False, **dynamic, **options)
    return path


def _specimens(
    name: str,
    build: Build,
    size: tuple[int, int] = (64, 80),
    opset: int | None = 17,
    dynamo: int | None = None,
    fixed_batch: bool = False,
    open_size: bool = False,
    inputs: Mapping[str, np.ndarray] | None = None,
    export: Mapping[str, Any] | None = None,
) -> Iterator[Specimen]:
    """One network by TorchScript at `opset` and by torch.export at the opset `dynamo`; None leaves one out."""
    free = {} if fixed_batch else {0: "batch"}
    free |= {2: "height", 3: "width"} if open_size else {}
    for exporter, title, version in (("TorchScript", name, opset), ("dynamo", f"{name} dynamo", dynamo)):
        if version:
            options = {"dynamo": exporter == "dynamo", "opset_version": version, **(export or {})}
            make = partial(_export, name=title, build=build, size=size, free=free, inputs=inputs or {}, options=options)
            yield Specimen(f"torch ({exporter})", title, make, inputs or {})


def _zoo(
    name: str,
    size: tuple[int, int] = (64, 96),
    opset: int | None = 17,
    dynamo: int | None = None,
    fixed_batch: bool = False,
    open_size: bool = False,
    export: Mapping[str, Any] | None = None,
    **net: Any,
) -> Iterator[Specimen]:
    """A network of torchvision or timm; `net` says in what it differs from theirs."""
    library, family, *_ = name.split()
    build = partial({"torchvision": _torchvision, "timm": _timm}[library], family, **net)
    return _specimens(name, build, size, opset, dynamo, fixed_batch, open_size, export=export)


def _pyramid() -> nn.Module:
    """A backbone of detectors, which gives a map of each scale; its norms are frozen."""
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    return _thin(resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5), 2)


def _ssd(wrap: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return wrap(_torchvision("ssdlite320_mobilenet_v3_large", **_BARE))


def _rcnn() -> nn.Module:
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

    detector = _torchvision("fasterrcnn_mobilenet_v3_large_320_fpn", **_BARE)
    detector.roi_heads.box_head = TwoMLPHead(256 * 7**2, 64)
    detector.roi_heads.box_predictor = FastRCNNPredictor(64, CLASSES)
    return own.Boxes(detector)


_CONDITION = {"condition": np.linspace(-1, 1, 7, dtype=np.float32)[None]}
_LABEL = {"label": np.array([3])}
_UNFUSED = torch.onnx.TrainingMode.PRESERVE  # in mode EVAL the exporter folds each BatchNormalization into its Conv
_BARE = {"weights_backbone": None}

_TORCHVISION = (
    *_zoo("torchvision alexnet", (224, 224), opset=11, thin=4),
    *_zoo("torchvision vgg11_bn", (224, 224), opset=13, fixed_batch=True, thin=4),
    *_zoo("torchvision resnet18", dynamo=18, thin=4),
    *_specimens("torchvision resnext50", _resnext, (64, 96), fixed_batch=True),
    *_specimens("torchvision densenet121", _densenet, (64, 96), dynamo=18),
    *_zoo("torchvision squeezenet1_1", dynamo=20, fixed_batch=True),
    *_zoo("torchvision googlenet", aux_logits=False, init_weights=False, transform_input=True, thin=2),
    *_zoo("torchvision inception_v3", (96, 80), fixed_batch=True, aux_logits=False, init_weights=False, thin=4),
    *_zoo("torchvision mobilenet_v2", dynamo=18),
    *_zoo("torchvision mobilenet_v3_small", dynamo=18, fixed_batch=True),
    *_zoo("torchvision mnasnet0_5", opset=16),
    *_zoo("torchvision shufflenet_v2_x0_5", dynamo=18),
    *_zoo("torchvision efficientnet_b0", dynamo=18, fixed_batch=True),
    *_zoo("torchvision efficientnet_v2_s", fixed_batch=True, thin=4),
    *_zoo("torchvision regnet_y_400mf"),
    *_zoo("torchvision regnet_x_400mf", opset=13),
    *_specimens("torchvision convnext_tiny", _convnext, (64, 96), dynamo=18),
    *_specimens("torchvision swin_t", partial(_swin, 1), (64, 96), fixed_batch=True),
    *_specimens("torchvision swin_v2_t", partial(_swin, 2), (64, 96), dynamo=18, fixed_batch=True),
    *_specimens("torchvision vit_b_16", _vit, (64, 64), dynamo=18),
    *_specimens("torchvision maxvit_t", _maxvit, (64, 64)),
    *_zoo("torchvision fcn_resnet50", thin=8, **_BARE),
    *_zoo("torchvision deeplabv3_mobilenet_v3_large", dynamo=18, fixed_batch=True, **_BARE),
    *_zoo("torchvision lraspp_mobilenet_v3_large", **_BARE),
    *_specimens("torchvision resnet18 FPN", _pyramid, (64, 96), dynamo=18),
    *_specimens("torchvision ssdlite320 heads", partial(_ssd, own.RawBoxes), (320, 320), fixed_batch=True),
    *_specimens("torchvision ssdlite320", partial(_ssd, own.Boxes), (320, 320), fixed_batch=True),
    *_specimens("torchvision fasterrcnn", _rcnn, (320, 320), fixed_batch=True),
    *_zoo("torchvision resnet18 open size", opset=16, dynamo=20, open_size=True, thin=4),
    *_zoo("torchvision resnet18 opset 9", opset=9, export={"keep_initializers_as_inputs": True}, thin=4),
    *_zoo("torchvision resnet18 norms unfused", opset=11, export={"training": _UNFUSED}, thin=4),
    *_zoo("torchvision mobilenet_v2 unfolded", opset=13, export={"do_constant_folding": False}, thin=2),
    *_zoo("torchvision mobilenet_v2 unoptimised", opset=None, dynamo=18, export={"optimize": False}, thin=2),
    *_zoo("torchvision alexnet uneven", opset=None, dynamo=18, thin=4),
)

_TIMM = (
    *_zoo("timm mobilevit_xxs", dynamo=18),
    *_zoo("timm mobilevitv2_050", opset=13, fixed_batch=True),
    *_zoo("timm efficientformer_l1", (224, 224), depths=(1, 1, 2, 2), embed_dims=(16, 24, 32, 48)),
    *_zoo("timm efficientformerv2_s0", (224, 224), fixed_batch=True, depths=(1, 1, 2, 2), embed_dims=(16, 24, 32, 48)),
    *_zoo("timm mobileone_s0", thin=2),
    *_zoo("timm repvgg_a0", opset=11, fixed_batch=True, thin=4),
    *_zoo("timm ghostnet_050"),
    *_zoo("timm ghostnetv2_100", fixed_batch=True, width=0.5),
    *_zoo("timm dm_nfnet_f0", dynamo=18, channels=(32, 64, 96, 96), depths=(1, 1, 2, 1), group_size=16),
    *_zoo("timm eca_nfnet_l0", fixed_batch=True, channels=(64, 64, 96, 96), depths=(1, 1, 2, 1), group_size=16),
    *_zoo("timm nf_seresnet26", opset=13, channels=(32, 64, 96, 96), depths=(1, 1, 2, 1)),
    *_zoo("timm botnet26t_256", (64, 64), fixed_batch=True, img_size=64, width_factor=0.25),
    *_zoo("timm halonet26t", (256, 256), opset=None, dynamo=18, fixed_batch=True, width_factor=0.25),
    *_zoo("timm lambda_resnet26t", (64, 64), img_size=64, width_factor=0.25),
    *_zoo(
        "timm coatnet_pico_rw_224", (64, 64), dynamo=18, img_size=64, embed_dim=(32, 32, 64, 96), depths=(1, 1, 2, 1)
    ),
    *_zoo(
        "timm levit_128s",
        (64, 64),
        dynamo=18,
        fixed_batch=True,
        img_size=64,
        depth=(1, 1, 1),
        embed_dim=(32, 48, 64),
        num_heads=(2, 3, 4),
        key_dim=8,
    ),
    *_zoo("timm poolformer_s12", depths=(1, 1, 2, 1), dims=(16, 24, 32, 48)),
    *_zoo("timm poolformerv2_s12", fixed_batch=True, depths=(1, 1, 2, 1), dims=(16, 24, 32, 48)),
    *_zoo("timm caformer_s18", depths=(1, 1, 1, 1), dims=(32, 32, 64, 64)),
    *_zoo("timm xcit_nano_12_p16_224", dynamo=18, fixed_batch=True, depth=2),
    *_zoo("timm mixer_s32_224", (64, 64), img_size=64, embed_dim=64, num_blocks=2),
    *_zoo("timm resmlp_12_224", (64, 64), fixed_batch=True, img_size=64, embed_dim=64, num_blocks=3),
    *_zoo("timm gmlp_ti16_224", (64, 64), opset=16, img_size=64, num_blocks=3),
    *_zoo("timm hrnet_w18_small", dynamo=18, fixed_batch=True, thin=2),
    *_zoo("timm dla34", thin=4),
    *_zoo("timm res2net50_14w_8s", layers=(1, 1, 1, 1), base_width=8, channels=(16, 32, 32, 48)),
    *_zoo("timm skresnet18", fixed_batch=True, layers=(1, 1, 1, 1), channels=(16, 32, 32, 48)),
    *_zoo("timm resnest14d", channels=(16, 32, 32, 48)),
    *_zoo("timm ecaresnet26t", fixed_batch=True, thin=4),
    *_zoo("timm cs3darknet_focus_s"),
    *_zoo("timm ese_vovnet19b_slim", opset=11, fixed_batch=True, thin=2),
    *_zoo("timm vovnet39a", thin=4),
    *_zoo("timm inception_resnet_v2", (96, 80), fixed_batch=True, thin=4),
    *_zoo("timm inception_v4", (96, 80), thin=8),
    *_zoo("timm xception41", thin=4),
    *_zoo("timm nasnetalarge", (96, 80), fixed_batch=True, thin=6),
    *_zoo("timm pnasnet5large", thin=6),
    *_zoo("timm tresnet_m", width_factor=0.25, layers=(1, 1, 2, 1)),
    *_zoo("timm fastvit_sa12", (64, 64), dynamo=18, fixed_batch=True, layers=(1, 1, 1, 1), embed_dims=(16, 32, 32, 64)),
    *_zoo("timm edgenext_xx_small", dynamo=18),
    *_zoo("timm convnextv2_atto", dynamo=18, fixed_batch=True, depths=(1, 1, 2, 1), dims=(16, 24, 32, 48)),
    *_zoo("timm convnext_zepto_rms", depths=(1, 1, 2, 1), dims=(16, 24, 32, 48)),
    *_zoo("timm inception_next_atto", fixed_batch=True, depths=(1, 1, 2, 1), dims=(16, 24, 32, 48)),
    *_zoo("timm hgnetv2_b0", fixed_batch=True, thin=2),
    *_zoo("timm rexnet_100"),
    *_zoo("timm lcnet_035", opset=13),
    *_zoo("timm tinynet_e", fixed_batch=True),
    *_zoo(
        "timm volo_d1_224",
        (64, 64),
        opset=None,
        dynamo=18,
        fixed_batch=True,
        img_size=64,
        layers=(1, 1, 1, 1),
        embed_dims=(32, 64, 64, 64),
        num_heads=(1, 2, 2, 2),
    ),
    *_zoo("timm cait_xxs24_224", (64, 64), img_size=64, depth=2, embed_dim=64),
    *_zoo("timm pvt_v2_b0", depths=(1, 1, 2, 1), embed_dims=(16, 32, 32, 48), num_heads=(1, 2, 2, 4)),
    *_zoo(
        "timm twins_svt_small",
        (64, 64),
        fixed_batch=True,
        img_size=64,
        depths=(1, 1, 2, 1),
        embed_dims=(16, 32, 32, 64),
        num_heads=(1, 2, 2, 4),
    ),
    *_zoo("timm crossvit_9_240", (240, 240), fixed_batch=True, embed_dim=(32, 64), depth=((1, 2, 0), (1, 2, 0))),
    *_zoo("timm visformer_tiny", (64, 64), img_size=64, embed_dim=64, depth=(2, 1, 1)),
    *_zoo(
        "timm gcvit_xxtiny",
        (64, 64),
        fixed_batch=True,
        img_size=64,
        depths=(1, 1, 1, 1),
        embed_dim=32,
        num_heads=(1, 2, 4, 8),
        window_size=(2, 2, 4, 2),
    ),
    *_zoo("timm davit_tiny", depths=(1, 1, 1, 1), embed_dims=(16, 32, 32, 64), num_heads=(1, 2, 2, 4)),
    *_zoo("timm focalnet_tiny_srf", fixed_batch=True, depths=(1, 1, 1, 1), embed_dim=24),
    *_zoo("timm nest_tiny_jx", (64, 64), img_size=64, embed_dims=(16, 32, 32), depths=(1, 1, 2), num_heads=(1, 2, 2)),
    *_zoo("timm pit_ti_224", (64, 64), img_size=64, base_dims=(8, 8, 8)),
    *_zoo("timm convit_tiny", (64, 64), fixed_batch=True, img_size=64, depth=11, embed_dim=16),
    *_zoo("timm convmixer_768_32", dim=64, depth=3),
    *_zoo("timm coat_lite_tiny", (64, 64), fixed_batch=True, img_size=64, embed_dims=(16, 32, 48, 64)),
    *_zoo(
        "timm tiny_vit_5m_224",
        (64, 64),
        depths=(1, 1, 2, 1),
        embed_dims=(16, 32, 32, 64),
        num_heads=(1, 2, 2, 4),
        window_sizes=(4, 4, 4, 2),
    ),
    *_zoo("timm hiera_tiny_224", (64, 64), fixed_batch=True, img_size=(64, 64), stages=(1, 1, 1, 1), embed_dim=32),
    *_zoo("timm efficientvit_b0", dynamo=18),
    *_zoo("timm efficientvit_m0", (224, 224), depth=(1, 1, 1), embed_dim=(32, 48, 64), num_heads=(2, 3, 4)),
    *_zoo("timm iformer_t", (224, 224), fixed_batch=True),
    *_zoo("timm mambaout_femto", depths=(1, 1, 1, 1), dims=(16, 32, 48, 64)),
    *_zoo("timm repghostnet_050"),
    *_zoo("timm repvit_m0_9", fixed_batch=True, embed_dim=(24, 32, 48, 64), depth=(1, 1, 3, 1)),
    *_zoo("timm selecsls42b", opset=13, thin=4),
    *_zoo(
        "timm sequencer2d_s",
        (64, 64),
        dynamo=18,
        img_size=64,
        layers=(1, 1, 1, 1),
        embed_dims=(24, 32, 32, 32),
        hidden_sizes=(6, 8, 8, 8),
    ),
    *_zoo("timm shvit_s1", embed_dim=(32, 48, 64), depth=(1, 1, 1), partial_dim=(16, 24, 32)),
    *_zoo("timm starnet_s050", fixed_batch=True),
    *_zoo("timm swiftformer_xs", embed_dims=(16, 24, 32, 48)),
    *_zoo(
        "timm tnt_s_patch16_224",
        (64, 64),
        fixed_batch=True,
        img_size=64,
        depth=2,
        embed_dim=96,
        inner_dim=12,
        num_heads_outer=3,
    ),
    *_zoo("timm dpn68", k_sec=(1, 1, 1, 1)),
    *_zoo("timm resnetv2_50x1_bit", fixed_batch=True, layers=(1, 1, 1, 1), channels=(128, 128, 256, 256)),
    *_zoo("timm resnetv2_50d_frn", layers=(1, 1, 1, 1), channels=(32, 64, 96, 128)),
    *_zoo("timm densenetblur121d", growth_rate=8, block_config=(2, 2, 2, 2)),
    *_zoo("timm mixnet_s", dynamo=18, fixed_batch=True),
    *_zoo("timm fasternet_t0", depths=(1, 1, 2, 1)),
    *_zoo("timm tf_efficientnet_lite0", dynamo=18, thin=2),
    *_zoo("timm mobilenetv4_hybrid_medium_075", (64, 64), fixed_batch=True),
    *_zoo("timm vit_relpos_small_patch16_224", (64, 64), img_size=64, depth=2, embed_dim=64, num_heads=2),
    *_zoo("timm samvit_base_patch16", (64, 64), fixed_batch=True, img_size=64, depth=2, embed_dim=64, num_heads=2),
    *_zoo("timm beit_base_patch16_224", (64, 64), opset=14, img_size=64, depth=2, embed_dim=64, num_heads=2),
    *_zoo("timm eva02_tiny_patch14_224", (56, 56), opset=None, dynamo=18, fixed_batch=True, img_size=56, depth=2),
    *_zoo("timm csatv2", (64, 64), opset=None, dynamo=18, fixed_batch=True, dims=(8, 16, 24, 32)),
    *_zoo("timm regnetv_040", w0=16, depth=8),
)

_OWN = (
    *_specimens("torch ESPCN", own.espcn, (32, 48), opset=11),
    *_specimens("torch EDSR", own.Edsr, (32, 48), dynamo=18),
    *_specimens("torch U-Net transposed", partial(own.UNet, "transposed"), dynamo=18),
    *_specimens("torch U-Net nearest", partial(own.UNet, "nearest"), opset=11, fixed_batch=True),
    *_specimens("torch U-Net bilinear", partial(own.UNet, "bilinear"), opset=13, dynamo=20),
    *_specimens("torch U-Net aligned corners", partial(own.UNet, "aligned"), fixed_batch=True),
    *_specimens("torch U-Net to size, deeply supervised", partial(own.UNet, "to size", deep=True), (60, 84), dynamo=18),
    *_specimens("torch U-Net open size", partial(own.UNet, "to size"), (64, 96), dynamo=18, open_size=True),
    *_specimens("torch YOLOv5", partial(own.Yolo, 5), opset=13, dynamo=18),
    *_specimens("torch YOLOv8", partial(own.Yolo, 8), dynamo=18, fixed_batch=True),
    *_specimens("torch CycleGAN generator", own.generator, (48, 64), dynamo=18),
    *_specimens(
        "torch CycleGAN generator GroupNorm",
        partial(own.generator, partial(nn.GroupNorm, 4)),
        (48, 64),
        fixed_batch=True,
    ),
    *_specimens("torch smooth activations", own.smooth, dynamo=20),
    *_specimens("torch piecewise activations", own.piecewise, dynamo=18, fixed_batch=True),
    *_specimens("torch exponential activations", own.exponential, opset=13),
    *_specimens("torch norms", own.norms, dynamo=18),
    *_specimens("torch norms channels last", own.norms_last, dynamo=18, fixed_batch=True),
    *_specimens("torch norms channels last RMS", lambda: own.norms_last(nn.RMSNorm(16)), opset=None, dynamo=23),
    *_specimens("torch weight norm", partial(own.reparametrised, "weight_norm"), dynamo=18),
    *_specimens(
        "torch spectral norm", partial(own.reparametrised, "spectral_norm"), opset=None, dynamo=18, fixed_batch=True
    ),
    *_specimens("torch pools", own.Pools, opset=13, dynamo=18),
    *_specimens("torch pools 7x7", partial(own.Pools, (7, 7)), (28, 42), fixed_batch=True),
    *_specimens("torch pools uneven", partial(own.Pools, (7, 7)), opset=None, dynamo=18),
    *_specimens("torch SegNet", own.SegNet, opset=None, dynamo=18, fixed_batch=True),
    *_specimens("torch spatial transformer", own.SpatialTransformer, opset=20, dynamo=20, fixed_batch=True),
    *_specimens("torch spatial transformer einsum", partial(own.SpatialTransformer, affine=False), opset=16, dynamo=20),
    *_specimens("torch attention einsum", lambda: own.attended(own.NonLocal("einsum")), dynamo=18),
    *_specimens("torch attention bmm", lambda: own.attended(own.NonLocal("bmm")), opset=11, fixed_batch=True),
    *_specimens("torch attention fused", lambda: own.attended(own.NonLocal("fused")), opset=14, dynamo=23),
    *_specimens("torch gates", lambda: own.attended(own.Gates()), dynamo=18),
    *_specimens("torch CRNN LSTM", own.Recurrent, (32, 64), dynamo=18),
    *_specimens("torch CRNN GRU", partial(own.Recurrent, nn.GRU), (32, 64), fixed_batch=True),
    *_specimens("torch FiLM", own.Film, inputs=_CONDITION, dynamo=18),
    *_specimens("torch projection discriminator", own.Projected, inputs=_LABEL, fixed_batch=True),
    *_specimens("torch autoencoder", own.Autoencoder, dynamo=18),
    *_specimens("torch shapes", own.Shapes, dynamo=18),
    *_specimens("torch patches", own.Patches, opset=18, dynamo=18, fixed_batch=True),
    *_specimens("torch arithmetic", own.Arithmetic, dynamo=18),
    *_specimens(
        "torch preprocessing inside", lambda: own.Preprocessed(own.normed(nn.BatchNorm2d(16))), fixed_batch=True
    ),
    *_specimens("torch float16", lambda: own.Half(own.normed(nn.BatchNorm2d(16))), dynamo=18),
    *_specimens("torch fake-quantised", own.Rounded, opset=13, dynamo=18, fixed_batch=True),
    *_specimens("torch deformable", own.Deformable, opset=None, dynamo=19),
    *_specimens("torch spectral", own.Spectral, opset=None, dynamo=20, fixed_batch=True),
)

SPECIMENS: tuple[Specimen, ...] = (*_TORCHVISION, *_TIMM, *_OWN)

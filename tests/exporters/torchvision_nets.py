"""Networks of torchvision, by both exporters of torch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from exporters.specimen import Specimen
from exporters.torch_blocks import CLASSES
from exporters.torch_detectors import Boxes, RawBoxes
from exporters.torch_export import exported, narrowed, zoo
from torch import nn

_UNFUSED = torch.onnx.TrainingMode.PRESERVE  # in mode EVAL the exporter folds each BatchNormalization into its Conv
_BARE = {"weights_backbone": None}


def _torchvision(name: str, thin: int = 1, **options: Any) -> nn.Module:
    """A network of torchvision without its weights, every layer `thin` times narrower."""
    import torchvision

    return narrowed(torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **options), thin)


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


def _pyramid() -> nn.Module:
    """A backbone of detectors, which gives a map of each scale; its norms are frozen."""
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    return narrowed(resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5), 2)


def _ssd(wrap: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return wrap(_torchvision("ssdlite320_mobilenet_v3_large", **_BARE))


def _rcnn() -> nn.Module:
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

    detector = _torchvision("fasterrcnn_mobilenet_v3_large_320_fpn", **_BARE)
    detector.roi_heads.box_head = TwoMLPHead(256 * 7**2, 64)
    detector.roi_heads.box_predictor = FastRCNNPredictor(64, CLASSES)
    return Boxes(detector)


_zoo = partial(zoo, _torchvision)

SPECIMENS: tuple[Specimen, ...] = (
    *_zoo("torchvision alexnet", (224, 224), opset=11, thin=4),
    *_zoo("torchvision vgg11_bn", (224, 224), opset=13, fixed_batch=True, thin=4),
    *_zoo("torchvision resnet18", dynamo=18, thin=4),
    *exported("torchvision resnext50", _resnext, (64, 96), fixed_batch=True),
    *exported("torchvision densenet121", _densenet, (64, 96), dynamo=18),
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
    *exported("torchvision convnext_tiny", _convnext, (64, 96), dynamo=18),
    *exported("torchvision swin_t", partial(_swin, 1), (64, 96), fixed_batch=True),
    *exported("torchvision swin_v2_t", partial(_swin, 2), (64, 96), dynamo=18, fixed_batch=True),
    *exported("torchvision vit_b_16", _vit, (64, 64), dynamo=18),
    *exported("torchvision maxvit_t", _maxvit, (64, 64)),
    *_zoo("torchvision fcn_resnet50", thin=8, **_BARE),
    *_zoo("torchvision deeplabv3_mobilenet_v3_large", dynamo=18, fixed_batch=True, **_BARE),
    *_zoo("torchvision lraspp_mobilenet_v3_large", **_BARE),
    *exported("torchvision resnet18 FPN", _pyramid, (64, 96), dynamo=18),
    *exported("torchvision ssdlite320 heads", partial(_ssd, RawBoxes), (320, 320), fixed_batch=True),
    *exported("torchvision ssdlite320", partial(_ssd, Boxes), (320, 320), fixed_batch=True),
    *exported("torchvision fasterrcnn", _rcnn, (320, 320), fixed_batch=True),
    *_zoo("torchvision resnet18 open size", opset=16, dynamo=20, open_size=True, thin=4),
    *_zoo("torchvision resnet18 opset 9", opset=9, export={"keep_initializers_as_inputs": True}, thin=4),
    *_zoo("torchvision resnet18 norms unfused", opset=11, export={"training": _UNFUSED}, thin=4),
    *_zoo("torchvision mobilenet_v2 unfolded", opset=13, export={"do_constant_folding": False}, thin=2),
    *_zoo("torchvision mobilenet_v2 unoptimised", opset=None, dynamo=18, export={"optimize": False}, thin=2),
    *_zoo("torchvision alexnet uneven", opset=None, dynamo=18, thin=4),
)

"""Networks of timm, by both exporters of torch."""

import sys
from functools import partial
from typing import Any
from unittest import mock

from exporters.specimen import Specimen
from exporters.torch_blocks import CLASSES
from exporters.torch_export import narrowed, zoo
from torch import nn


def _timm(name: str, thin: int = 1, **options: Any) -> nn.Module:
    """A network of timm without its weights, every layer `thin` times narrower; `options` prevail over its own."""
    import timm

    module = sys.modules[timm.model_entrypoint(name).__module__]
    build = module.build_model_with_cfg
    with mock.patch.object(module, "build_model_with_cfg", lambda *args, **own: build(*args, **own | options)):
        return narrowed(timm.create_model(name, num_classes=CLASSES), thin)


_zoo = partial(zoo, _timm)

SPECIMENS: tuple[Specimen, ...] = (
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

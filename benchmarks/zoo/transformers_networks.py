"""Transformers from small random configs, made without a network."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 7
Made = tuple[nn.Module, Tensor, dict[str, Any]]
_SMALL = {
    "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
    "initializer_range": 0.15,
}  # fmt: skip


def _images(*size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(2, 3, *(4 for _ in size), generator=generator)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return functional.interpolate(coarse, size=size, mode=mode)


def _classifier(name: str, inputs: Tensor, axes: str = "n c h w", **config: Any) -> Made:
    import transformers

    configuration = getattr(transformers, f"{name}Config")(num_labels=CLASSES, **config)
    model = getattr(transformers, f"{name}ForImageClassification")(configuration)
    return model, inputs, {"key": "pixel_values", "input_axes": axes}


def _made(config: str, model: str, inputs: Tensor, **rest: Any) -> Made:
    import transformers

    output, axes = rest.pop("output", None), rest.pop("axes", "n c h w")
    made = getattr(transformers, model)(getattr(transformers, config)(**rest))
    return made, inputs, {"key": "pixel_values", "input_axes": axes, "output": output}


def _video(config: str, model: str, output: str | None = None, **rest: Any) -> Made:
    clips = _images(8, 64, 64).transpose(1, 2).contiguous()
    if model.endswith("Classification"):
        rest["num_labels"] = CLASSES
    found = _made(config, model, clips, output=output, axes="n t c h w", **rest)
    if config == "VJEPA2Config":
        return found[0], found[1], found[2] | {"key": "pixel_values_videos"}
    return found


TRANSFORMERS: dict[str, Callable[[], Made]] = {
    "ViT": lambda: _classifier("ViT", _images(64, 64), image_size=64, patch_size=8, **_SMALL),
    "DeiT": lambda: _made(
        "DeiTConfig", "DeiTForImageClassification", _images(64, 64),
        image_size=64, patch_size=8, num_labels=CLASSES, **_SMALL),
    "Swin": lambda: _classifier(
        "Swin", _images(64, 64), image_size=64, patch_size=2, embed_dim=16, depths=[2, 2, 2],
        num_heads=[2, 4, 8], window_size=4),
    "Swinv2": lambda: _classifier(
        "Swinv2", _images(64, 64), image_size=64, patch_size=2, embed_dim=16, depths=[2, 2, 2],
        num_heads=[2, 4, 8], window_size=4),
    "ConvNext": lambda: _classifier(
        "ConvNext", _images(64, 96), hidden_sizes=[16, 32, 64, 96], depths=[1, 1, 2, 1]),
    "ConvNextV2": lambda: _classifier(
        "ConvNextV2", _images(64, 96), hidden_sizes=[16, 32, 64, 96], depths=[1, 1, 2, 1]),
    "Dinov2": lambda: _classifier(
        "Dinov2", _images(56, 84), image_size=56, patch_size=14, mlp_ratio=2,
        **{k: v for k, v in _SMALL.items() if k != "intermediate_size"}),
    "Dinov2WithRegisters": lambda: _classifier(
        "Dinov2WithRegisters", _images(56, 84), image_size=56, patch_size=14, mlp_ratio=2,
        num_register_tokens=4, **{k: v for k, v in _SMALL.items() if k != "intermediate_size"}),
    "DINOv3ViT": lambda: _made(
        "DINOv3ViTConfig", "DINOv3ViTModel", _images(64, 96), output="pooler_output",
        image_size=64, patch_size=8, num_register_tokens=4, **_SMALL),
    "CLIPVision": lambda: _made(
        "CLIPVisionConfig", "CLIPVisionModelWithProjection", _images(64, 64),
        output="image_embeds", image_size=64, patch_size=8, projection_dim=16, **_SMALL),
    "SigLIPVision": lambda: _made(
        "SiglipVisionConfig", "SiglipVisionModel", _images(64, 64), output="pooler_output",
        image_size=64, patch_size=8, **_SMALL),
    "SegFormer": lambda: _classifier(
        "Segformer", _images(128, 192), hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 4, 8], decoder_hidden_size=32),
    "SegFormerSegmentation": lambda: _made(
        "SegformerConfig", "SegformerForSemanticSegmentation", _images(128, 192),
        hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], num_labels=CLASSES,
        num_attention_heads=[1, 2, 4, 8], decoder_hidden_size=32),
    "BEiT": lambda: _classifier("Beit", _images(64, 64), image_size=64, patch_size=8, **_SMALL),
    "Data2VecVision": lambda: _classifier(
        "Data2VecVision", _images(64, 64), image_size=64, patch_size=8, **_SMALL),
    "PVTv2": lambda: _classifier(
        "PvtV2", _images(64, 64), image_size=64, hidden_sizes=[16, 32, 48, 64],
        depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 4, 8]),
    "ResNet": lambda: _classifier(
        "ResNet", _images(64, 96), embedding_size=16, hidden_sizes=[16, 32, 64, 96],
        depths=[1, 1, 1, 1], layer_type="basic"),
    "MobileViT": lambda: _classifier(
        "MobileViT", _images(64, 96), image_size=64, hidden_sizes=[24, 32, 48],
        neck_hidden_sizes=[8, 16, 24, 32, 48, 64, 96]),
    "PoolFormer": lambda: _classifier(
        "PoolFormer", _images(64, 96), hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1]),
    "LeViT": lambda: _classifier(
        "Levit", _images(256, 256), image_size=256, hidden_sizes=[32, 48, 64],
        num_attention_heads=[2, 3, 4], depths=[1, 1, 1], key_dim=[8, 8, 8]),
    "VideoMAE": lambda: _video(
        "VideoMAEConfig", "VideoMAEForVideoClassification", image_size=64, patch_size=16,
        num_frames=8, tubelet_size=2, **_SMALL),
    "TimeSformer": lambda: _video(
        "TimesformerConfig", "TimesformerForVideoClassification", image_size=64, patch_size=16,
        num_frames=8, **_SMALL),
    "ViViT": lambda: _video(
        "VivitConfig", "VivitForVideoClassification", image_size=64, tubelet_size=[2, 16, 16],
        num_frames=8, **_SMALL),
    "VJEPA2": lambda: _video(
        "VJEPA2Config", "VJEPA2ForVideoClassification", crop_size=64, patch_size=16,
        frames_per_clip=8, tubelet_size=2, hidden_size=48, num_hidden_layers=3,
        num_attention_heads=4, mlp_ratio=2, pred_hidden_size=24, pred_num_attention_heads=4,
        pred_num_hidden_layers=1, num_pooler_layers=1),
}  # fmt: skip


def transformer(name: str) -> Made:
    """A network by name, its inputs, and how it is called."""
    return TRANSFORMERS[name]()

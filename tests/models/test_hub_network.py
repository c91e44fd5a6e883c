"""Vision networks of transformers as backbones: tiny ones, at random, saved to a folder."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from caf_video.errors import CafVideoError, InputError
from caf_video.models.backbones import load_backbone
from caf_video.models.weights import WeightsError

transformers = pytest.importorskip(
    "transformers", reason="the extra caf_video[hf] is not installed"
)

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
MAKE = {
    "vit": lambda: transformers.ViTForImageClassification(
        transformers.ViTConfig(**TINY, intermediate_size=64, image_size=64, patch_size=16)
    ),
    "dinov2": lambda: transformers.Dinov2Model(
        transformers.Dinov2Config(**TINY, image_size=56, patch_size=14)
    ),
    "swin": lambda: transformers.SwinModel(
        transformers.SwinConfig(
            image_size=64,
            patch_size=4,
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 2],
            window_size=4,
        )
    ),
    "convnext": lambda: transformers.ConvNextModel(
        transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, image_size=64)
    ),
    "clip": lambda: transformers.CLIPVisionModel(
        transformers.CLIPVisionConfig(**TINY, intermediate_size=64, image_size=64, patch_size=16)
    ),
    "videomae": lambda: transformers.VideoMAEModel(
        transformers.VideoMAEConfig(**TINY, intermediate_size=64, image_size=64, num_frames=4)
    ),
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**TINY, intermediate_size=64)),
}


def saved(folder: Path, kind: str) -> str:
    """The backbone's name of a network at random, saved with its image processor."""
    torch.manual_seed(0)
    MAKE[kind]().save_pretrained(folder)
    transformers.ViTImageProcessor(
        size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.25] * 3, resample=3
    ).save_pretrained(folder)
    return f"hf/{folder}"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and nothing downloaded before."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize(
    ("kind", "stride", "prefix"),
    [("vit", 16, 1), ("dinov2", 14, 1), ("swin", 8, 0), ("convnext", 32, None), ("clip", 16, 1)],
)
def test_the_last_hidden_state_is_the_map(tmp_path, kind, stride, prefix, generator) -> None:
    backbone = load_backbone(saved(tmp_path, kind))
    assert (backbone.stride, backbone.channels) == (stride, 32)
    size = (4 * stride, 6 * stride) if stride > 8 else (64, 96)
    images = torch.randn(2, 3, *size, generator=generator)
    maps = backbone.features(images)
    h, w = backbone.grid(size)
    assert maps.shape == (2, 32, h, w) == (2, 32, size[0] // stride, size[1] // stride)
    net = transformers.AutoModel.from_pretrained(tmp_path, config=backbone.trunk[0].net.config)
    options = {"interpolate_pos_encoding": True} if kind in ("vit", "clip", "swin") else {}
    with torch.no_grad():
        hidden = net.eval()(images, **options).last_hidden_state
    for y, x in ((0, 0), (1, 2), (h - 1, w - 1)):
        cell = hidden[:, :, y, x] if prefix is None else hidden[:, prefix + y * w + x]
        torch.testing.assert_close(maps[:, :, y, x], cell, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="feature maps only"):
        backbone.require_head()


def test_the_image_processors_numbers_are_taken(tmp_path) -> None:
    backbone = load_backbone(saved(tmp_path, "vit"))
    assert str(backbone.normalization) == "bicubic, mean 0.5 0.5 0.5, std 0.25 0.25 0.25"
    assert backbone.own_size == (64, 64)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    frame = frame.repeat(16, 0).repeat(16, 1)
    wanted = processor(frame, return_tensors="pt")["pixel_values"]
    ours = backbone.preprocessing((64, 64))(frame[None])
    assert (ours - wanted).abs().max() < 1.5 / (255 * 0.25)  # one grey level


def test_the_same_weights_have_the_same_digest_however_they_come(tmp_path) -> None:
    # The classifier's file has no pooler, which AutoModel would make up anew at every loading.
    name = saved(tmp_path, "vit")
    file = tmp_path / "model.safetensors"
    assert any(key.startswith("vit.") for key in load_file(file))
    first, second = load_backbone(name), load_backbone(name)
    of_file = load_backbone(name, weights=str(file))
    assert first.weights_sha256 == second.weights_sha256 == of_file.weights_sha256
    random = load_backbone(name, weights="none")
    assert random.weights_sha256 != first.weights_sha256
    assert first.revision == random.revision != ""


def test_a_folder_is_found_again_from_elsewhere_and_another_network_is_another_revision(
    tmp_path, monkeypatch
) -> None:
    saved(tmp_path / "a", "vit")
    saved(tmp_path / "b", "dinov2")
    monkeypatch.chdir(tmp_path)
    backbone = load_backbone("hf/./a")
    monkeypatch.chdir("/")
    assert load_backbone(backbone.name).weights_sha256 == backbone.weights_sha256
    assert load_backbone(f"hf/{tmp_path / 'b'}").revision != backbone.revision


@pytest.mark.parametrize(
    ("kind", "words"),
    [("videomae", "takes clips, not single images"), ("bert", "takes input_ids, not images")],
)
def test_a_network_of_other_things_is_refused(tmp_path, kind, words) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load_backbone(saved(tmp_path, kind))
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    name = saved(tmp_path / "vit", "vit")
    saved(tmp_path / "convnext", "convnext")
    file = tmp_path / "convnext" / "model.safetensors"
    with pytest.raises(WeightsError, match="model.safetensors does not hold the weights of hf/"):
        load_backbone(name, weights=str(file))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf/nobody/no-such-network", "could not get hf/nobody/no-such-network .*hf/./FOLDER"),
        ("hf/./no_such_folder", "no folder ./no_such_folder"),
    ],
)
def test_what_is_not_there_is_one_line_with_advice(offline, name, words) -> None:
    with pytest.raises(CafVideoError, match=words) as caught:
        load_backbone(name)
    assert "\n" not in str(caught.value)


def test_without_an_image_processor_nothing_is_guessed(tmp_path, offline) -> None:
    name = saved(tmp_path, "vit")
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(CafVideoError, match="image processor"):
        load_backbone(name)


def test_without_transformers_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'caf_video\[hf\]'"):
        load_backbone("hf/facebook/dinov2-small")

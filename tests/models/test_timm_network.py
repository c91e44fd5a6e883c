"""Networks of timm as backbones, against timm itself."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from caf_video.errors import InputError
from caf_video.models.backbones import load_backbone
from caf_video.models.image_network import ImageNetwork, image_preprocessing
from caf_video.models.weights import WeightsError

timm = pytest.importorskip("timm", reason="the extra caf_video[timm] is not installed")

CNN, VIT = "timm/test_resnet", "timm/test_vit"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and nothing downloaded before."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def net_of(backbone) -> torch.nn.Module:
    return backbone.trunk[0].net


@pytest.mark.parametrize(
    ("name", "channels"),
    [("test_resnet", 96), ("test_convnext", 64), ("test_efficientnet", 256)],
)
def test_a_cnn_keeps_the_law_and_gives_what_timm_gives(name, channels, generator) -> None:
    torch.manual_seed(0)
    backbone = load_backbone(f"timm/{name}", weights="none")
    images = torch.randn(2, 3, 64, 96, generator=generator)
    net = timm.create_model(name).eval()
    net.load_state_dict(net_of(backbone).state_dict())
    with torch.no_grad():
        maps = backbone.features(images)
        torch.testing.assert_close(maps, net.forward_features(images), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(backbone.head(maps), net(images), rtol=1e-4, atol=1e-4)
    assert maps.shape == (2, channels, 2, 3) == (2, backbone.channels, *backbone.grid((64, 96)))
    assert backbone.output_count() == net.num_classes
    assert load_backbone(f"timm/{name}", weights="none", stride=32).stride == 32


def test_the_map_of_a_vision_transformer_is_its_patches_and_its_class_token_needs_a_head(
    generator,
) -> None:
    torch.manual_seed(0)
    backbone = load_backbone(VIT, weights="none")
    assert (backbone.stride, backbone.channels, backbone.own_size) == (16, 64, (160, 160))
    net = timm.create_model("test_vit").eval()  # of one size
    net.load_state_dict(net_of(backbone).state_dict())
    images = torch.randn(2, 3, 160, 160, generator=generator)
    with torch.no_grad():
        tokens = net.forward_features(images)  # a class token, then 10 rows of 10
        maps = backbone.features(images)
    assert maps.shape == (2, 64, 10, 10)
    for y, x in ((0, 0), (3, 7), (9, 1)):
        torch.testing.assert_close(
            maps[:, :, y, x], tokens[:, 1 + 10 * y + x], rtol=1e-4, atol=1e-4
        )
    assert backbone.features(images[:, :, :64, :96]).shape == (2, 64, 4, 6)  # another size
    for call in (backbone.require_head, lambda: backbone.head(maps), lambda: backbone(images)):
        with pytest.raises(InputError, match="1 class or register tokens.*caf-video extract"):
            call()
    with pytest.raises(InputError, match=r"multiples of 16, got \(64, 72\)"):
        backbone.grid((64, 72))


def test_a_transformer_that_averages_its_patches_has_a_head(generator) -> None:
    torch.manual_seed(0)
    backbone = load_backbone("timm/vit_wee_patch16_reg1_gap_256", weights="none")
    images = torch.randn(1, 3, 64, 96, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), net_of(backbone)(images), rtol=1e-3, atol=1e-4)
    assert net_of(backbone).num_prefix_tokens == 1
    backbone.require_head()


def test_channels_last_maps_are_turned(generator) -> None:
    torch.manual_seed(0)
    backbone = load_backbone("timm/swin_tiny_patch4_window7_224", weights="none")
    images = torch.randn(1, 3, 64, 96, generator=generator)
    with torch.no_grad():
        output = net_of(backbone).forward_features(images)
        assert output.shape == (1, 2, 3, 768)
        torch.testing.assert_close(backbone.features(images), output.permute(0, 3, 1, 2))
        torch.testing.assert_close(backbone(images), net_of(backbone)(images))


@pytest.mark.parametrize("name", ["resnet50.a1_in1k", "resnet50.tv_in1k", "vit_tiny_patch16_224"])
def test_frames_are_fed_as_timms_own_transform_does(name) -> None:
    config = timm.data.resolve_data_config(
        {}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict()
    )
    # timm crops; here the whole frame is shown, which is timm's transform with a crop of all.
    whole = timm.data.create_transform(**{**config, "crop_pct": 1.0})
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(40, 0).repeat(40, 1)
    backbone_preprocessing = image_preprocessing(f"timm/{name}", (224, 224))
    ours, wanted = backbone_preprocessing(frame[None])[0], whole(Image.fromarray(frame))
    assert (ours - wanted).abs().max() < 1.5 / (255 * min(config["std"]))  # one grey level


def test_a_file_of_weights_is_the_network_it_was_saved_from(tmp_path, generator) -> None:
    torch.manual_seed(0)
    net = timm.create_model("test_vit")
    for suffix in ("safetensors", "pth"):
        file = tmp_path / f"w.{suffix}"
        save_file(net.state_dict(), file) if suffix != "pth" else torch.save(net.state_dict(), file)
        backbone = load_backbone(VIT, weights=str(file))
        held = net_of(backbone).state_dict()
        assert all(torch.equal(held[key], value) for key, value in net.state_dict().items())
        assert backbone.weights == str(file.resolve())
        again = load_backbone(backbone.name, weights=backbone.weights, stride=backbone.stride)
        assert again.weights_sha256 == backbone.weights_sha256


def test_names_of_an_original_are_converted_as_timm_converts_them(tmp_path) -> None:
    torch.manual_seed(0)
    state = timm.create_model("convnext_atto").state_dict()
    old = {  # as the ConvNeXt authors' files have them
        key.replace("stages.0.blocks.", "stages.0.")
        .replace("stem.", "downsample_layers.0.")
        .replace("head.norm.", "norm.")
        .replace("head.fc.", "head."): value
        for key, value in state.items()
    }
    for stage in range(4):
        old = {
            key.replace(f"stages.{stage}.blocks.", f"stages.{stage}."): v for key, v in old.items()
        }
        old = {
            key.replace(f"stages.{stage}.downsample.", f"downsample_layers.{stage}."): v
            for key, v in old.items()
        }
    old = {
        key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv"): v for key, v in old.items()
    }
    assert old.keys() != state.keys()
    save_file(old, tmp_path / "convnext.safetensors")
    backbone = load_backbone("timm/convnext_atto", weights=str(tmp_path / "convnext.safetensors"))
    held = net_of(backbone).state_dict()
    assert all(torch.equal(held[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda state: state.pop("fc.bias"), r"it has no fc\.bias"),
        (lambda state: state.update(more=torch.ones(1)), "an unknown more"),
        (lambda state: state.update({"fc.bias": torch.ones(3)}), r"fc.bias has shape \(3,\)"),
        (lambda state: state["fc.bias"].fill_(float("nan")), "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_one_line_naming_the_file(tmp_path, damage, words) -> None:
    state = timm.create_model("test_resnet").state_dict()
    damage(state)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=words) as caught:
        load_backbone(CNN, weights=str(tmp_path / "w.safetensors"))
    assert "w.safetensors" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        (
            "timm/resnet18",
            WeightsError,
            "could not get the weights of timm/resnet18.*--weights FILE",
        ),
        ("timm/seresnet18", WeightsError, "No pretrained weights exist"),
        ("timm/resnet18.nonsense", InputError, "choose one of resnet18.a1_in1k"),
        ("timm/resnet19", InputError, "no network 'resnet19': did you mean resnet1"),
        ("timm/coat_tiny", InputError, r"returned a list of 3 .* not a map: give a module of your"),
    ],
)
def test_what_cannot_be_had_is_one_line_with_advice(offline, name, error, words) -> None:
    with pytest.raises(error, match=words) as caught:
        load_backbone(name, weights="none" if "coat" in name else "default")
    assert "\n" not in str(caught.value)


def test_without_timm_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'caf_video\[timm\]'"):
        load_backbone(CNN)


def test_a_network_of_one_size_says_so_and_frames_get_that_size(generator) -> None:
    backbone = load_backbone("timm/mixer_s32_224", weights="none")
    with pytest.raises(InputError, match="does not take images of 256x448.*trained on, 224x224"):
        backbone.grid((256, 448))
    assert backbone.size_for(540, 960) == (224, 224)
    assert load_backbone(CNN, weights="none").size_for(540, 960) == (256, 448)


@pytest.mark.parametrize("tuning", ["gap", "adl", "acol"])
@pytest.mark.parametrize("name", [CNN, VIT])
def test_it_is_trained_on_images_with_a_new_head(name, tuning, generator) -> None:
    torch.manual_seed(0)
    network = ImageNetwork(name, outputs=5, tuning=tuning, weights="none", erase_channels=4)
    images = torch.randn(2, 3, 64, 96, generator=generator)
    logits = network.training_logits(images, torch.tensor([0, 4]))
    assert all(one.shape == (2, 5) for one in logits)
    sum(one.sum() for one in logits).backward()
    without = {key for key, values in network.named_parameters() if values.grad is None}
    assert not without
    again = ImageNetwork(**network.hyperparameters, weights="none")
    again.load_state_dict(network.state_dict())
    network.eval(), again.eval()
    assert torch.equal(again(images), network(images))
    assert torch.equal(network(images), network.head(network.features(images)))


def test_the_shared_resnet50_is_the_same_under_its_timm_name(shared_data, generator) -> None:
    file = str(shared_data / "weights" / "resnet50_imagenet_fp16.safetensors")
    images = torch.randn(1, 3, 128, 224, generator=generator)
    frames = torch.randint(0, 256, (1, 300, 500, 3), generator=generator).to(torch.uint8).numpy()
    wanted, ours = (
        load_backbone("resnet50", weights=file),
        load_backbone("timm/resnet50.tv_in1k", weights=file),
    )
    assert ours.weights_sha256 == wanted.weights_sha256
    with torch.no_grad():
        maps = ours.features(images)
        torch.testing.assert_close(maps, wanted.features(images), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ours(images), wanted(images), rtol=1e-3, atol=1e-3)
    size = (128, 224)  # tv_in1k: torchvision's numbers; the default tag, a1_in1k, is fed bicubic
    assert torch.allclose(
        ours.preprocessing(size)(frames), wanted.preprocessing(size)(frames), atol=1e-5
    )
    assert image_preprocessing("timm/resnet50", size).normalization.interpolation == "bicubic"


def test_the_resnetv2_of_table_1_is_timms_by_its_own_name() -> None:
    torch.manual_seed(0)
    backbone = load_backbone("resnetv2_50", weights="none")
    assert backbone.name == "timm/resnetv2_50.a1h_in1k"  # with the tag of its weights
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = backbone.features(images)
        assert maps.shape == (1, 2048, 2, 2) and maps.min() == 0  # behind its last norm and ReLU
        assert backbone.head(maps).shape == (1, 1000)

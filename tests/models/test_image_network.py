"""Trainable image networks against the networks they are made of, and the laws they keep."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.models import get_model

import caf_video
from caf_video.errors import InputError
from caf_video.models.acol import ACoLHead
from caf_video.models.adl import AttentionDropout, adl_placement
from caf_video.models.backbones import load_backbone
from caf_video.models.image_network import IMAGE_BACKBONES, ImageNetwork
from caf_video.models.vgg_gap import VGGGap
from caf_video.models.weights import WeightsError

# Stride of the last map, and its channels.
MAPS = {
    "resnet18": (32, 512),
    "resnet34": (32, 512),
    "resnet50": (32, 2048),
    "resnet101": (32, 2048),
    "googlenet": (32, 1024),
    "densenet121": (32, 1024),
    "densenet161": (32, 2208),
    "vgg16": (32, 512),
    "efficientnet_lite0": (32, 1280),
    "vgg16_gap": (16, 1024),
    "resnet50_se": (16, 2048),
}
SOME = ("resnet18", "googlenet", "densenet121", "efficientnet_lite0", "vgg16_gap", "resnet50_se")
TUNED = [(name, "gap") for name in MAPS] + [(name, t) for name in SOME for t in ("acol", "adl")]


def small(backbone: str, tuning: str = "gap", **settings) -> ImageNetwork:
    """A network with random weights, the same each time."""
    torch.manual_seed(0)
    settings = {"outputs": 5, "weights": "none", "erase_channels": 16, **settings}
    return ImageNetwork(backbone, tuning=tuning, **settings)


@pytest.fixture(scope="module", params=TUNED, ids="-".join)
def network(request: pytest.FixtureRequest) -> Iterator[ImageNetwork]:
    """Each network in turn, in eval mode; a test leaves it as it found it.

    The attention of untrained maps is so even that a drop mask may leave none of them.
    """
    yield small(*request.param, drop_rate=0.0).eval()


@pytest.fixture
def images(generator: torch.Generator) -> torch.Tensor:
    """Two images whose sides are multiples of nothing."""
    return torch.randn(2, 3, 67, 93, generator=generator)


# --- laws, of all of them -----------------------------------------------------------------------


def test_every_backbone_is_tested_here() -> None:
    assert MAPS.keys() == IMAGE_BACKBONES.keys()


def test_head_of_features_is_the_model_at_any_input_size(network, images) -> None:
    name, tuning = (network.hyperparameters[key] for key in ("backbone", "tuning"))
    stride, channels = MAPS[name]
    if (name, tuning) == ("vgg16_gap", "acol"):
        channels = 512  # ACoL's own convolutions stand where the added one is
    with torch.no_grad():
        maps = network.features(images)
        before = maps.clone()
        outputs = network.head(maps)
        assert torch.equal(maps, before), "the head wrote into the map it was given"
        assert torch.equal(network(images), outputs)
        torch.testing.assert_close(network(images[1:]), outputs[1:], rtol=1e-4, atol=1e-4)
    assert outputs.shape == (2, 5)
    assert (network.stride, network.channels) == (stride, channels) == (stride, maps.shape[1])
    for cells, pixels in zip(maps.shape[2:], images.shape[2:], strict=True):
        assert pixels // stride <= cells <= -(-pixels // stride)


def test_a_gradient_reaches_every_parameter(network, images) -> None:
    targets = torch.tensor([1, 3])
    torch.manual_seed(3)
    network.train()
    try:
        logits = network.training_logits(images, targets)
        sum(cross_entropy(branch, targets) for branch in logits).backward()
        without = [
            name
            for name, values in network.named_parameters()
            if values.grad is None or not values.grad.abs().sum() > 0
        ]
    finally:
        network.zero_grad()
        network.eval()
    assert len(logits) == (2 if network.hyperparameters["tuning"] == "acol" else 1)
    assert without == []


def test_its_hyperparameters_are_plain_and_make_it_again(network, images) -> None:
    settings = json.loads(json.dumps(network.hyperparameters))
    assert settings == network.hyperparameters
    torch.manual_seed(1)
    again = ImageNetwork(**settings, weights="none").eval()
    assert again.hyperparameters == settings
    with torch.no_grad():
        assert not torch.equal(again(images), network(images))
        again.load_state_dict(network.state_dict())
        assert torch.equal(again(images), network(images))


def test_attention_knows_its_head_as_affine_unless_it_is_acols(network, images) -> None:
    found = caf_video.explain(network, images, layer="trunk")
    tuning = network.hyperparameters["tuning"]
    assert found.solver == ("spectral" if tuning == "acol" else "exact")
    assert found.endpoint == "fast"
    assert found.heatmaps.shape == (2, 67, 93)


def test_attention_dropout_finds_its_places_in_the_trunk(network) -> None:
    name, tuning = (network.hyperparameters[key] for key in ("backbone", "tuning"))
    placement = adl_placement(name, IMAGE_BACKBONES[name].stages)
    modules = dict(network.trunk.named_modules())
    layers = [name for name, module in modules.items() if isinstance(module, AttentionDropout)]
    assert set(placement.after) <= modules.keys()
    wanted = {f"{place}_adl" for place in placement.after} if tuning == "adl" else set()
    assert set(layers) == wanted
    assert all(modules[layer].threshold == placement.threshold for layer in layers)


# --- tunings ------------------------------------------------------------------------------------


def test_trained_with_attention_dropout_it_is_the_plain_network(images) -> None:
    dropped, plain = small("resnet18", "adl"), small("resnet18")
    plain.load_state_dict(dropped.state_dict())
    targets = torch.tensor([1, 3])
    with torch.no_grad():
        assert torch.equal(dropped.eval()(images), plain.eval()(images))
        dropped.train()
        outcomes = {dropped.training_logits(images, targets)[0].sum().item() for _ in range(12)}
    assert len(outcomes) > 2  # three layers, each hides or brings out


def test_settings_of_a_tuning_arrive() -> None:
    acol = small("resnet18", "acol", erase_threshold=0.7, erase_channels=24)
    assert isinstance(acol.tail, ACoLHead)
    assert (acol.tail.threshold, acol.tail.classifier_a[0].out_channels) == (0.7, 24)
    adl = small("resnet18", "adl", drop_rate=0.5, drop_threshold=0.6)
    layers = [module for module in adl.modules() if isinstance(module, AttentionDropout)]
    assert [(layer.drop_rate, layer.threshold) for layer in layers] == [(0.5, 0.6)] * 3


def test_both_of_acols_classifiers_are_trained_on_the_features_and_the_targets(images) -> None:
    network = small("efficientnet_lite0", "acol").eval()
    targets = torch.tensor([1, 3])
    with torch.no_grad():
        wanted = network.tail.branches(network.features(images), targets)
        found = network.training_logits(images, targets)
        assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
        assert torch.equal(network(images), found[0])
        with pytest.raises(InputError, match="training_logits"):
            network.train()(images)


def test_in_train_mode_batch_norm_lives_and_in_eval_mode_it_rests(images) -> None:
    network = small("resnet18")
    statistics = network.trunk.get_submodule("bn1").running_mean
    resting = statistics.clone()
    network.eval()(images)
    assert torch.equal(statistics, resting)
    network.train()(images)
    assert not torch.equal(statistics, resting)


def test_a_frozen_batch_norm_rests_in_train_mode_too_and_its_scale_still_learns(images) -> None:
    network = small("resnet18", frozen_batch_norm=True)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert network.training and len(norms) == 20
    resting = {name: values.clone() for name, values in network.named_buffers()}
    for mode in (None, True, False, True):
        if mode is not None:
            assert network.train(mode) is network
            assert network.training is mode
        assert not any(norm.training for norm in norms)
        trained, evaluated = network(images), network.eval()(images)
        assert torch.equal(trained, evaluated)
    trained.sum().backward()
    assert norms[0].weight.grad.abs().sum() > 0
    for name, values in network.named_buffers():
        assert torch.equal(values, resting[name])


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0"])
def test_running_statistics_are_nine_tenths_of_the_old_and_one_of_the_new(name, images) -> None:
    network = small(name)
    first = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    seen = []
    first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    before = first.running_mean.clone()
    network(images)
    torch.testing.assert_close(first.running_mean, 0.9 * before + 0.1 * seen[0].mean((0, 2, 3)))


def test_a_new_last_layer_starts_small_and_by_the_seed() -> None:
    one, same = (small("resnet18", outputs=128) for _ in range(2))
    last = one.tail.get_submodule("fc")
    assert last.weight.shape == (128, 512)
    assert last.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert last.bias.eq(0).all()
    for name, values in one.state_dict().items():
        assert torch.equal(values, same.state_dict()[name])
    torch.manual_seed(1)
    other = ImageNetwork("resnet18", outputs=128, weights="none")
    assert not torch.equal(other.tail.get_submodule("fc").weight, last.weight)


# --- weights ------------------------------------------------------------------------------------


# VGG-16's half a gigabyte is left to `test_vgg16s_weights_fill_vgg_gap_up_to_conv5_3`; two of the
# ResNets are laid out as their siblings are.
@pytest.mark.parametrize("name", sorted(MAPS.keys() - {"vgg16", "resnet34", "resnet101"}))
def test_weights_in_a_file_arrive_and_give_the_networks_own_logits(
    tmp_path: Path, name: str, images: torch.Tensor
) -> None:
    torch.manual_seed(0)
    original = IMAGE_BACKBONES[name].build()
    if name == "googlenet":
        original.transform_input = True  # as its published weights need it
    with torch.no_grad():
        original.train()(images)  # moves the statistics of the batch norms
        file = tmp_path / "weights.safetensors"
        save_file(original.state_dict(), file)
        model = ImageNetwork(name, outputs=1000, weights=str(file)).eval()
        wanted = original.eval()(images)
        error = (model(images) - wanted).abs().max() / wanted.abs().max()
    assert error < 1e-4
    assert model.fresh == ()
    assert model.weights == str(file)


def test_lite0s_weights_come_installed_and_the_frozen_backbone_gives_the_same(images) -> None:
    model = ImageNetwork("efficientnet_lite0", outputs=1000).eval()
    backbone = load_backbone("efficientnet_lite0")
    with torch.no_grad():
        torch.testing.assert_close(
            model.features(images), backbone.features(images), rtol=1e-3, atol=1e-3
        )
        torch.testing.assert_close(model(images), backbone(images), rtol=1e-3, atol=1e-3)
    assert model.weights == backbone.weights == "package"
    assert model.fresh == ()


def test_a_last_layer_is_kept_only_if_it_has_as_many_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    birds = get_model("resnet18", weights=None, num_classes=7).half()
    torch.save(birds.state_dict(), tmp_path / "birds.pth")
    weights = str(tmp_path / "birds.pth")
    kept = ImageNetwork("resnet18", outputs=7, weights=weights)
    assert kept.fresh == ()
    assert torch.equal(kept.tail.get_submodule("fc").weight, birds.fc.weight.float())
    for settings in ({"outputs": 8}, {"outputs": 7, "tuning": "acol", "erase_channels": 2}):
        made = ImageNetwork("resnet18", weights=weights, **settings)
        assert made.fresh == tuple(f"tail.{name}" for name, _ in made.tail.named_parameters())
        stem = made.trunk.get_submodule("conv1").weight
        assert torch.equal(stem, birds.conv1.weight.float())


def test_vgg16s_weights_fill_vgg_gap_up_to_conv5_3(tmp_path: Path, images: torch.Tensor) -> None:
    torch.manual_seed(0)
    net = VGGGap()
    state = {name: values for name, values in net.state_dict().items() if "features" in name}
    for layer in (0, 3, 6):  # VGG-16's, which are not looked at
        state |= {f"classifier.{layer}.{part}": torch.zeros(1) for part in ("weight", "bias")}
    save_file(state, tmp_path / "vgg16.safetensors")
    weights = str(tmp_path / "vgg16.safetensors")
    gap = ImageNetwork("vgg16_gap", outputs=5, weights=weights)
    added = ("trunk.conv6.weight", "trunk.conv6.bias")
    assert gap.fresh == (*added, "tail.fc.weight", "tail.fc.bias")
    with torch.no_grad():
        torch.testing.assert_close(gap.trunk[:30](images), net.features(images))
        assert gap.features(images).std() > 0.01 * net.features(images).std()  # He, not 0.01
    acol = ImageNetwork("vgg16_gap", outputs=5, tuning="acol", weights=weights, erase_channels=2)
    assert all(name.startswith("tail.") for name in acol.fresh)


def test_resnet50s_weights_fill_all_but_the_gates_which_do_nothing_at_first(
    tmp_path: Path, images: torch.Tensor
) -> None:
    torch.manual_seed(0)
    plain = get_model("resnet50", weights=None)
    with torch.no_grad():
        plain(images)
        save_file(plain.state_dict(), tmp_path / "resnet50.safetensors")
        plain.layer4[0].conv2.stride = plain.layer4[0].downsample[0].stride = (1, 1)
        model = ImageNetwork(
            "resnet50_se", outputs=1000, weights=str(tmp_path / "resnet50.safetensors")
        )
        torch.testing.assert_close(model.eval()(images), plain.eval()(images), rtol=1e-4, atol=1e-4)
    assert len(model.fresh) == 16 * 4
    assert all(".se.fc" in name for name in model.fresh)


def test_weights_that_do_not_fit_are_one_line_naming_the_file(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    plain = get_model("resnet18", weights=None).state_dict()
    deep = get_model("resnet50", weights=None).state_dict()
    one_gate = {"layer1.0.se.fc1.weight": torch.zeros(16, 256, 1, 1)}
    without_stem = {name: values for name, values in plain.items() if name != "conv1.weight"}
    endless = {"conv1.weight": torch.full_like(plain["conv1.weight"], torch.inf)}
    for name, held, complaint in (
        ("resnet50_se", deep | one_gate, r"no layer1\.0\.se\.fc1\.bias"),
        ("resnet50_se", plain, r"no layer1\.0\.conv3\.weight"),
        ("resnet18", plain | one_gate, r"an unknown layer1\.0\.se\.fc1\.weight"),
        ("resnet18", without_stem, r"no conv1\.weight"),
        ("resnet18", plain | {"conv1.weight": torch.ones(1)}, r"conv1\.weight has shape \(1,\)"),
        ("resnet18", plain | endless, r"conv1\.weight that are not finite"),
        ("vgg16_gap", plain, r"no features\.0\.weight"),
    ):
        save_file(held, file)
        with pytest.raises(WeightsError, match=complaint) as caught:
            ImageNetwork(name, outputs=5, weights=str(file))
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="neither a file nor one of default, none, IMAGENET1K"):
        ImageNetwork("vgg16_gap", outputs=5, weights=str(tmp_path / "absent"))


def test_the_shared_resnet50_goes_on_where_it_is(shared_data: Path, images: torch.Tensor) -> None:
    file = str(shared_data / "weights" / "resnet50_imagenet_fp16.safetensors")
    model = ImageNetwork("resnet50", outputs=1000, weights=file).eval()
    backbone = load_backbone("resnet50", weights=file)
    with torch.no_grad():
        torch.testing.assert_close(model(images), backbone(images), rtol=1e-3, atol=1e-3)
    assert model.fresh == ()


# --- wrong input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"backbone": "vgg"}, "no backbone 'vgg': choose one of resnet18.*resnet50_se"),
        ({"tuning": "cam"}, "no tuning 'cam': choose one of gap, acol, adl"),
        ({"outputs": 0}, "0 outputs: wanted 1 or more"),
        ({"tuning": "acol", "erase_threshold": 2.0}, "ACoL head with threshold 2.0"),
        ({"tuning": "adl", "drop_rate": 2.0}, "attention dropout with drop_rate 2.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, complaint) -> None:
    with pytest.raises(InputError, match=complaint):
        small(**{"backbone": "googlenet", **settings})


def test_images_are_preprocessed_as_the_backbone_was_trained() -> None:
    frames = torch.randint(0, 256, (2, 50, 70, 3), dtype=torch.uint8).numpy()
    for name in ("efficientnet_lite0", "resnet18"):
        ours = small(name).preprocessing((227, 45))(frames)
        backbone = load_backbone(name, weights="none")
        assert torch.equal(ours, backbone.preprocessing((227, 45))(frames))
        assert ours.shape == (2, 3, 227, 45)
    with pytest.raises(InputError, match="images must be preprocessed floats"):
        small("googlenet").features(torch.zeros(1, 32, 32, 3))
    with pytest.raises(InputError, match="wanted 32 pixels or more"):
        small("googlenet").preprocessing((16, 64))


def test_a_frozen_trunk_stays_frozen() -> None:
    network = small("googlenet")
    assert all(values.requires_grad for values in network.parameters())
    network.trunk.requires_grad_(False)
    network(torch.randn(2, 3, 64, 64)).sum().backward()
    with_gradient = {name for name, values in network.named_parameters() if values.grad is not None}
    assert with_gradient == {"tail.fc.weight", "tail.fc.bias"}
    assert not any(isinstance(module, nn.Dropout) for module in network.modules())

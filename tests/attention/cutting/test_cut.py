"""Cutting networks of every kind: what comes behind the layer, run alone, is the network."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from caf_video.attention import AttentionWarning, cut_network, explain
from caf_video.errors import InputError


class UNet(nn.Module):
    """Skip connections, addition and concatenation, functional code."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.middle = nn.Conv2d(16, 16, 3, padding=1)
        self.up1, self.up2 = nn.Conv2d(32, 8, 3, padding=1), nn.Conv2d(16, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        high = functional.relu(self.down1(x))
        low = functional.relu(self.down2(functional.max_pool2d(high, 2)))
        deep = functional.relu(self.middle(functional.max_pool2d(low, 2)))
        up = functional.interpolate(deep, scale_factor=2)
        up = functional.relu(self.up1(torch.cat([up, low], dim=1)))
        up = functional.interpolate(up, scale_factor=2)
        return self.up2(torch.cat([up, high], dim=1))


class Generator(nn.Module):
    """A vector becomes an image."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(20, 16 * 4 * 4)
        self.first = nn.Sequential(nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.second(self.first(self.start(z).view(-1, 16, 4, 4))).tanh()


class FoldedClips(nn.Module):
    """CNN + LSTM: the frames of (b, t, 3, h, w) go through the CNN as one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU(inplace=True))
        self.lstm = nn.LSTM(8, 12, batch_first=True)
        self.fc = nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        b, t = x.shape[:2]
        maps = self.cnn(x.flatten(0, 1)).mean(dim=(2, 3))
        return self.fc(self.lstm(3 * maps.view(b, t, -1))[0][:, -1])


def autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 3, 2, 1)),
        nn.Sequential(
            nn.ConvTranspose2d(4, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1)
        ),
    )


def one_dimensional() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 8, 5, stride=2), nn.ReLU(), nn.Conv1d(8, 16, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * 28, 5),
    )  # fmt: skip


def vit() -> nn.Module:
    model = torchvision.models.VisionTransformer(64, 16, 3, 4, 32, 64, num_classes=7)
    nn.init.normal_(model.heads.head.weight)  # torchvision leaves it zero
    return model


def vgg16() -> nn.Module:
    """With a narrower classifier: the true one is 120 million weights, all alike to a test."""
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    model = torchvision.models.VGG(layers, init_weights=False)
    model.classifier = nn.Sequential(
        nn.Linear(512 * 49, 128), nn.ReLU(True), nn.Dropout(), nn.Linear(128, 64),
        nn.ReLU(True), nn.Dropout(), nn.Linear(64, 10),
    )  # fmt: skip
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return model


MODELS = torchvision.models
IMAGE = (2, 3, 64, 64)
# name: network, shape of its input, a layer whose rest is affine or small, one further up
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str, str]] = {
    "resnet50": (MODELS.resnet50, IMAGE, "layer4", "layer4.0.conv2"),
    "googlenet": (
        lambda: MODELS.googlenet(init_weights=False, num_classes=20),
        IMAGE,
        "inception5b",
        "inception5a.branch2",
    ),
    "densenet161": (
        lambda: MODELS.densenet161(num_classes=20),
        IMAGE,
        "features",
        "features.denseblock4.denselayer20",
    ),
    "vgg16": (vgg16, IMAGE, "features.30", "features.29"),
    "r3d_18": (lambda: MODELS.video.r3d_18(num_classes=9), (1, 3, 8, 48, 48), "layer4", "layer4.0"),
    "vit": (
        vit,
        IMAGE,
        "encoder.layers.encoder_layer_1.ln_1",
        "encoder.layers.encoder_layer_2.mlp",
    ),
    "unet": (UNet, (2, 3, 32, 32), "middle", "down1"),
    "autoencoder": (autoencoder, (2, 3, 32, 32), "0", "0.0"),
    "generator": (Generator, (2, 20), "first", "first.0"),
    "folded clips": (FoldedClips, (2, 3, 3, 32, 32), "cnn", "cnn.0"),
    "one-dimensional": (one_dimensional, (2, 2, 64), "3", "1"),
}
SPACES = {"r3d_18": 3, "one-dimensional": 1}
FUNCTIONAL_RELU = {("densenet161", "features"), ("unet", "middle"), ("unet", "down1")}


@pytest.fixture(scope="module")
def network() -> Callable[[str], nn.Module]:
    built: dict[str, nn.Module] = {}

    def build(name: str) -> nn.Module:
        if name not in built:
            torch.manual_seed(7)
            built[name] = NETWORKS[name][0]().requires_grad_(False)
        return built[name]

    return build


def inputs_of(name: str) -> Tensor:
    return torch.randn(NETWORKS[name][1], generator=torch.Generator().manual_seed(5))


def multiplications(call: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_head_of_the_features_is_the_network_and_costs_only_the_rest(
    name, network, monkeypatch
) -> None:
    model, x = network(name).eval(), inputs_of(name)
    with torch.no_grad():
        expected = model(x)
    monkeypatch.setattr(torch.backends.mha, "_is_fastpath_enabled", False)  # whose cost is hidden
    whole = multiplications(lambda: model(x))
    for layer in NETWORKS[name][2:]:
        with warnings.catch_warnings(action="error"), cut_network(model, x, layer) as cut:
            assert cut.endpoint == "fast" and cut.separable
            with torch.no_grad():
                torch.testing.assert_close(cut.head(cut.feature_map), expected)
                rest = multiplications(lambda cut=cut: cut.head(cut.feature_map))
        captured = []
        hook = model.get_submodule(layer).register_forward_hook(
            lambda module, args, output, to=captured: to.append(output.clone())
        )
        model(x)
        hook.remove()
        if (name, layer) in FUNCTIONAL_RELU:  # the filter goes behind it
            captured = [captured[0].relu()]
        torch.testing.assert_close(cut.feature_map, captured[0])
        trunk = multiplications(lambda layer=layer: runs_to(model, layer, x))
        assert rest <= whole - trunk
        assert rest < whole


class Reached(Exception):
    pass


def runs_to(model: nn.Module, layer: str, x: Tensor) -> None:
    def stop(module: nn.Module, args: Any, output: Any) -> None:
        raise Reached

    hook = model.get_submodule(layer).register_forward_hook(stop)
    with pytest.raises(Reached):
        model(x)
    hook.remove()


@pytest.mark.parametrize("name", NETWORKS)
def test_fast_and_vanilla_find_the_same_filter(name, network) -> None:
    model, x, layer = network(name), inputs_of(name), NETWORKS[name][2]
    fast = explain(model, x, layer=layer)
    vanilla = explain(model, x, layer=layer, endpoint="vanilla")
    assert (fast.endpoint, vanilla.endpoint) == ("fast", "vanilla")
    assert fast.settled.all()
    torch.testing.assert_close(fast.filters, vanilla.filters, atol=2e-3, rtol=0)
    torch.testing.assert_close(fast.losses, vanilla.losses, rtol=1e-4, atol=1e-6)
    axes = SPACES.get(name, 2)
    rows = 2 if name == "folded clips" else 1
    assert fast.filters.dim() == rows + axes
    norms = fast.filters.flatten(-axes).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms), atol=1e-6, rtol=0)
    size = (16, 16) if name == "generator" else x.shape[-axes:]
    assert fast.heatmaps.shape[-axes:] == size


class Tail(nn.Module):
    """What can go wrong behind a layer, one thing at a time."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.layer = nn.Conv2d(6, 6, 3, padding=1)
        self.fc = nn.Linear(6, 4)

    def forward(
        self, x: Tensor, scale: Tensor | None = None, *, shift: Tensor | None = None
    ) -> Any:
        before = self.conv(x)
        identity = before * 2
        if self.kind == "trunk in place":
            before += 1
            before[:, 0] = 0.5
        out = self.layer(before)
        if self.kind == "in place":
            out.mul_(-0.7)
            out += identity
        elif self.kind == "relu in place":
            functional.relu_(out)  # what it returns goes unread
            out = out * 1.5
        elif self.kind == "skip in place":
            identity += out
            out = identity.relu_()
        elif self.kind == "residual":
            out = out + identity
        elif self.kind == "reads the input":
            out = out * x.mean(dim=1, keepdim=True)
        elif self.kind == "control flow":
            out = out + identity if before.mean() > -100 else out
        elif self.kind == "twice":
            out = self.layer(out)
        elif self.kind == "random":
            out = out + torch.randn_like(out)
        elif self.kind == "mixes samples":
            out = out + out.mean(dim=0, keepdim=True)
        if scale is not None:
            out = out * scale[:, None, None, None]
        if shift is not None:
            out = out + shift[:, None, None, None]
        logits = self.fc(out.relu().mean(dim=(2, 3)))
        if self.kind == "detached":
            logits = logits.detach()
        if self.kind == "tuple":
            return logits, out
        return {"logits": logits, "map": out} if self.kind == "dict" else logits


def tail(kind: str) -> Tail:
    torch.manual_seed(11)
    return Tail(kind).double()


def picture(generator: torch.Generator, count: int = 3) -> Tensor:
    return torch.randn(count, 3, 6, 8, generator=generator, dtype=torch.float64)


KINDS = [
    "plain", "in place", "skip in place", "residual", "reads the input", "control flow",
    "trunk in place", "relu in place",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", ["conv", "layer"])
def test_functional_code_behind_the_layer_is_the_networks_own(kind, layer, generator) -> None:
    model, x = tail(kind), picture(generator)
    f = torch.randn(3, 6, 8, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        expected = model(x)
        hook = model.get_submodule(layer).register_forward_hook(lambda m, a, out: out * f[:, None])
        filtered = model(x)
        hook.remove()
    with cut_network(model, x, layer, after_relu=False) as cut:
        assert cut.endpoint == "fast" and cut.separable
        for _ in range(2):  # a second run finds nothing spoilt by the first
            torch.testing.assert_close(cut.head(cut.feature_map), expected)
            torch.testing.assert_close(cut.filtered(f, cut.part()), filtered)
        rows = torch.tensor([2, 0, 0])
        torch.testing.assert_close(cut.filtered(f[rows], cut.part(rows)), filtered[rows])
    with cut_network(model, x, layer, endpoint="vanilla", after_relu=False) as cut:
        torch.testing.assert_close(cut.filtered(f[rows], cut.part(rows)), filtered[rows])


def test_gradients_through_the_head_are_those_through_the_network(generator) -> None:
    for kind in KINDS:
        model, x = tail(kind), picture(generator)
        f = torch.rand(3, 6, 8, generator=generator, dtype=torch.float64).requires_grad_()
        hook = model.layer.register_forward_hook(lambda m, a, out, f=f: out * f[:, None])
        (expected,) = torch.autograd.grad(model(x).square().sum(), f)
        hook.remove()
        for endpoint in ("fast", "vanilla"):
            with cut_network(model, x, "layer", endpoint=endpoint, after_relu=False) as cut:
                outputs = cut.filtered(f, cut.part())
                (found,) = torch.autograd.grad(outputs.square().sum(), f)
            torch.testing.assert_close(found, expected)


def test_several_inputs_by_position_and_by_name(generator) -> None:
    model, x = tail("residual"), picture(generator)
    scale, shift = torch.rand(2, 3, generator=generator, dtype=torch.float64)
    for inputs, expected in (
        ((x, scale), model(x, scale)),
        ({"x": x, "scale": scale, "shift": shift}, model(x, scale, shift=shift)),
    ):
        with cut_network(model, inputs, "layer") as cut:
            torch.testing.assert_close(cut.head(cut.feature_map), expected)
            rows = torch.tensor([1, 2])
            part = cut.part(rows)
            torch.testing.assert_close(cut.head(part.feature_map, part), expected[rows])


@pytest.mark.parametrize(
    ("kind", "output"), [("tuple", 0), ("dict", "logits"), ("tuple", lambda out: out[0])]
)
def test_an_output_is_picked_from_several(kind, output, generator) -> None:
    x = picture(generator)
    expected = explain(tail("plain"), x, layer="layer")
    found = explain(tail(kind), x, layer="layer", output=output)
    torch.testing.assert_close(found.filters, expected.filters)
    with pytest.raises(InputError, match="output="):
        explain(tail(kind), x, layer="layer")
    with pytest.raises(InputError, match="not in what the network returns"):
        explain(tail(kind), x, layer="layer", output="no such")


def test_a_layer_may_return_its_map_in_a_tuple(generator) -> None:
    class Wrapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)

        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"map": self.conv(x), "note": "as transformers do"}

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wrapping, self.fc = Wrapping(), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.wrapping(x)["map"].mean(dim=(2, 3)))

    model, x = Reading().double(), picture(generator)
    by_dict, by_tensor = (explain(model, x, layer=layer) for layer in ("wrapping", "wrapping.conv"))
    torch.testing.assert_close(by_dict.filters, by_tensor.filters)


def test_a_layer_called_by_a_module_it_is_no_part_of(generator) -> None:
    class Caller(nn.Module):
        def __init__(self, hidden: nn.Module) -> None:
            super().__init__()
            self.hidden = [hidden]  # not registered here

        def forward(self, x: Tensor) -> Tensor:
            return self.hidden[0](x).relu() + x.mean()

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3)
            self.caller = Caller(self.conv)
            self.fc = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.caller(x).mean(dim=(2, 3)))

    model, x = Holder().double(), picture(generator)
    with cut_network(model, x, "conv") as cut:
        assert cut.endpoint == "fast"
        torch.testing.assert_close(cut.head(cut.feature_map), model(x))


def test_a_skip_kept_on_the_module_is_found_or_the_whole_network_runs(generator) -> None:
    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.layer = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
            self.fc = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            self.kept = self.down(x)
            out = self.layer(self.kept)
            return self.fc((out * self.kept).mean(dim=(2, 3)))

    model, x = Keeping().double(), picture(generator)
    fast = explain(model, x, layer="layer", solver="spectral")
    vanilla = explain(model, x, layer="layer", solver="spectral", endpoint="vanilla")
    torch.testing.assert_close(fast.filters, vanilla.filters)


class Settling(Tail):
    """Comes to the same numbers on a longer path the first time."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        self.calls += 1
        before = self.conv(x) if self.calls > 1 else -self.conv(x).neg()
        return self.fc(self.layer(before).mean(dim=(2, 3)))


def test_what_cannot_be_run_alone_runs_whole_with_a_warning(generator) -> None:
    torch.manual_seed(11)
    model, x = Settling("other").double(), picture(generator)
    with pytest.warns(AttentionWarning, match="cannot be run alone"):
        found = explain(model, x, layer="layer", solver="spectral")
    assert found.endpoint == "vanilla"
    vanilla = explain(model, x, layer="layer", endpoint="vanilla", solver="spectral")
    torch.testing.assert_close(found.filters, vanilla.filters)


def test_the_filter_goes_behind_a_relu_that_has_no_name(generator) -> None:
    f = torch.randn(3, 6, 8, generator=generator, dtype=torch.float64)
    for kind in ("plain", "relu in place"):
        model, x = tail(kind), picture(generator)
        maps = model.layer(model.conv(x)).relu()
        filtered = maps * f[:, None]
        if kind == "relu in place":
            filtered = (1.5 * filtered).relu()
        expected = model.fc(filtered.mean(dim=(2, 3)))
        for endpoint in ("fast", "vanilla"):
            with cut_network(model, x, "layer", endpoint=endpoint) as cut:
                torch.testing.assert_close(cut.feature_map, maps)
                torch.testing.assert_close(cut.filtered(f, cut.part()), expected.detach())


def test_a_network_that_mixes_its_samples_runs_its_batch_whole(generator) -> None:
    model, x = tail("mixes samples"), picture(generator)
    with cut_network(model, x, "layer") as cut:
        assert cut.endpoint == "fast" and not cut.separable
    assert explain(model, x, layer="layer").settled.all()


def test_gradients_that_the_network_switches_off_are_followed_all_the_same(generator) -> None:
    class Frozen(Tail):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            with torch.no_grad():
                x = self.layer(self.conv(x)).relu()
            return self.fc(x.mean(dim=(2, 3)))

    torch.manual_seed(11)
    frozen, x = Frozen("plain").double(), picture(generator)
    expected = explain(tail("plain"), x, layer="layer", solver="spectral")
    found = explain(frozen, x, layer="layer", solver="spectral")
    torch.testing.assert_close(found.filters, expected.filters)


def state_of(model: nn.Module) -> list[Any]:
    return [
        [module.training for module in model.modules()],
        [sorted(module.__dict__) for module in model.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        {name: value.clone() for name, value in model.state_dict().items()},
    ]


class Trained(nn.Module):
    """Dropout and batch norm, before the layer and behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5))
        self.layer = nn.Conv2d(6, 6, 3)
        self.rest = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
        self.fc = nn.LazyLinear(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.rest(self.layer(self.trunk(x))))


def test_a_model_in_training_is_explained_as_it_answers_and_left_as_found(generator) -> None:
    torch.manual_seed(2)
    model, x = Trained(), picture(generator).float()
    model(x)
    model.eval()
    expected = explain(model, x, layer="layer")
    model.train()
    model.rest.eval()
    model.fc.weight.requires_grad_(False)
    model.layer.weight.grad = torch.ones_like(model.layer.weight)
    before = state_of(model)
    for endpoint in ("fast", "vanilla"):
        found = explain(model, x, layer="layer", endpoint=endpoint)
        torch.testing.assert_close(found.filters, expected.filters, atol=1e-5, rtol=0)
    assert repr(state_of(model)) == repr(before)
    x[1, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="sample 1"):
        explain(model, x, layer="layer")
    with pytest.raises(ZeroDivisionError), cut_network(model, x.nan_to_num(), "layer"):
        raise ZeroDivisionError
    model.fc.forward = lambda x: 1 / 0  # an error inside the network, in a forward of its own
    before = state_of(model)
    with pytest.raises(ZeroDivisionError):
        explain(model, x.nan_to_num(), layer="layer")
    assert repr(state_of(model)) == repr(before)
    assert model.fc.forward.__name__ == "<lambda>"


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_off(context, generator) -> None:
    model, x = tail("residual"), picture(generator)
    expected = explain(model, x, layer="layer")
    with context():
        found = explain(model.requires_grad_(False), x * 1, layer="layer")
    torch.testing.assert_close(found.filters, expected.filters)
    assert not found.filters.requires_grad


def test_autocast_does_not_round_the_answer(generator) -> None:
    model, x = tail("plain").float(), picture(generator).float()
    for solver in ("exact", "spectral"):
        expected = explain(model, x, layer="layer", solver=solver)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = explain(model, x, layer="layer", solver=solver)
        torch.testing.assert_close(found.filters, expected.filters)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_explained_in_single(dtype, generator) -> None:
    model, x = tail("residual"), picture(generator)
    expected = explain(model, x, layer="layer")
    found = explain(model.to(dtype), x.to(dtype), layer="layer")
    assert found.filters.dtype == torch.float32
    similarity = functional.cosine_similarity(found.filters.flatten(1), expected.filters.flatten(1))
    assert similarity.min() > 0.99


@pytest.mark.parametrize(
    ("kind", "layer", "message"),
    [
        ("plain", "layr", 'no layer "layr" in Tail; near it: layer'),
        ("plain", "zzzzzz", "it has: conv, layer, fc"),
        ("plain", "", "no layer"),
        ("plain", nn.ReLU(), "layer is a ReLU that is not part of the model"),
        ("plain", "fc", r'"fc" is not a feature map: \(3, 4\)'),
        ("twice", "layer", '"layer" runs 2 times'),
        ("random", "layer", "randomness"),
        ("detached", "layer", 'does not depend on layer "layer"'),
    ],
)
def test_a_wrong_layer_is_named(kind, layer, message, generator) -> None:
    model = tail(kind)
    before = repr(state_of(model))
    with pytest.raises(InputError, match=message):
        explain(model, picture(generator), layer=layer, solver="spectral")
    assert repr(state_of(model)) == before


def test_a_layer_that_never_runs_is_named(generator) -> None:
    model = tail("plain")
    model.unused = nn.Conv2d(3, 3, 1)
    with pytest.raises(InputError, match='"unused" did not run'):
        explain(model, picture(generator), layer="unused")
    with pytest.raises(InputError, match="endpoint"):
        explain(model, picture(generator), layer="layer", endpoint="slow")


def test_wrong_inputs_are_named(generator) -> None:
    model, x = tail("plain"), picture(generator)
    with pytest.raises(InputError, match="the input is on meta, the model on cpu"):
        explain(model, x.to("meta"), layer="layer")
    with pytest.raises(InputError, match='input "scale" of sample 2 is not finite'):
        scale = torch.tensor([1.0, 1.0, float("inf")]).double()
        explain(model, {"x": x, "scale": scale}, layer="layer")
    with pytest.raises(InputError, match="no tensor"):
        explain(model, "a picture", layer="layer")
    nn.init.constant_(model.conv.bias, float("nan"))
    with pytest.raises(InputError, match='the output of layer "layer" of sample 0 is not finite'):
        explain(model, x, layer="layer")

"""explain: the variants, the solvers, who picks which, and every wrong argument."""

import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch
import torchvision
from torch import Tensor, nn

from caf_video.attention import AttentionWarning, cam, explain, grad_cam, solve_affine
from caf_video.attention.solvers.descent import PRESETS
from caf_video.errors import InputError


class Classifier(nn.Module):
    """convolution → ReLU → global average pooling → one linear layer."""

    def __init__(self, classes: int = 7, *, squared: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, classes)
        self.squared = squared

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv(x)
        return self.fc(self.pool(a.square() if self.squared else a).flatten(1))


def classifier(**options) -> Classifier:
    torch.manual_seed(4)
    return Classifier(**options).double()


def images(generator: torch.Generator, count: int = 3) -> Tensor:
    return torch.randn(count, 3, 6, 7, generator=generator, dtype=torch.float64)


def map_matrix(model: Classifier, x: Tensor) -> Tensor:
    a = model.conv(x).detach()
    return torch.einsum("dc,bchw->bdhw", model.fc.weight.detach(), a) / a[0, 0].numel()


def test_class_oblivious_is_equation_1(generator) -> None:
    model, x = classifier(), images(generator)
    result = explain(model, x, layer="conv")
    exact = solve_affine(map_matrix(model, x))
    assert (result.solver, result.endpoint) == ("exact", "fast")
    torch.testing.assert_close(result.filters, exact.filters)
    filtered = model.fc((model.conv(x) * result.filters[:, None]).mean(dim=(2, 3)))
    torch.testing.assert_close(result.losses, (model(x) - filtered).square().sum(1).detach())
    assert result.heatmaps.shape == (3, 6, 7)
    assert explain(model, x, layer=model.conv, size=(12, 14)).heatmaps.shape == (3, 12, 14)


def test_class_specific_is_equation_2(generator) -> None:
    model, x = classifier(), images(generator)
    nn.init.constant_(model.fc.weight, 0.1)
    for c in range(3):
        nn.init.constant_(model.fc.weight[c], -1.0)
    targets = [0, 2, 1]
    with warnings.catch_warnings(action="ignore"):
        result = explain(model, x, layer="conv", target=targets)
        spectral = explain(model, x, layer="conv", target=targets, solver="spectral")
        one = explain(model, x, layer="conv", target=2)
    for i, c in enumerate(targets):
        logits = model.fc((model.conv(x[i : i + 1]) * result.filters[i]).mean(dim=(2, 3)))[0]
        loss = -logits[c] + sum(logits[k] for k in range(7) if k != c)
        torch.testing.assert_close(result.losses[i], loss.detach())
    assert result.solver == "exact"
    torch.testing.assert_close(result.filters, spectral.filters, atol=2e-3, rtol=0)
    torch.testing.assert_close(one.filters[1], result.filters[1])


def test_centred_logits_ignore_what_the_softmax_ignores(generator) -> None:
    model, x = classifier(), images(generator)
    shifted = classifier()
    with torch.no_grad():  # the same vector on every row: the softmax does not change, Eq. 2 does
        shifted.fc.weight += torch.linspace(1, 3, 8, dtype=torch.float64)
    centred = explain(model, x, layer="conv", target=1, center_logits=True)
    with warnings.catch_warnings(action="error"):
        same = explain(shifted, x, layer="conv", target=1, center_logits=True)
    torch.testing.assert_close(centred.filters, same.filters)
    with pytest.warns(AttentionWarning, match="rows 0, 1, 2 are more negative than positive"):
        faithful = explain(shifted, x, layer="conv", target=1)
    assert not faithful.filters.allclose(centred.filters, atol=0.1)


def test_a_pair_shows_what_makes_x_resemble_y(generator) -> None:
    model, x, y = classifier(), images(generator), images(generator)
    result = explain(model, x, layer="conv", reference=y)
    wanted = (model(y) - model.fc.bias).detach()
    exact = solve_affine(map_matrix(model, x), wanted=wanted)
    torch.testing.assert_close(result.losses, exact.losses)
    spectral = explain(model, x, layer="conv", reference=y, solver="spectral")
    assert (result.losses <= spectral.losses + 1e-9).all()
    for_all = explain(model, x, layer="conv", reference=y[:1])
    torch.testing.assert_close(for_all.losses[0], result.losses[0])
    itself = explain(model, x, layer="conv", reference=x)
    torch.testing.assert_close(itself.losses, explain(model, x, layer="conv").losses)


def test_auto_tells_affine_heads_from_others(generator) -> None:
    x = images(generator)
    assert explain(classifier(), x, layer="conv").solver == "exact"
    assert explain(classifier(squared=True), x, layer="conv").solver == "spectral"
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 5)).double()
    by_cells = explain(flat, x, layer="1")  # affine, of no structure that is known beforehand
    assert by_cells.solver == "exact"
    spectral = explain(flat, x, layer="1", solver="spectral")
    torch.testing.assert_close(by_cells.losses, spectral.losses, rtol=1e-5, atol=0)
    assert explain(flat, x, layer="0").solver == "spectral"  # the ReLU is behind it
    with pytest.raises(InputError, match="not affine"):
        explain(flat, x, layer="0", solver="exact")


def test_a_pooled_linear_head_is_known_however_it_is_written(generator) -> None:
    class Functional(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            pooled = self.conv(x).flatten(2).sum(dim=2) / 20
            return nn.functional.linear(pooled, weight=self.fc.weight, bias=self.fc.bias)

    model, x = Functional().double(), images(generator)
    model.load_state_dict(classifier().state_dict())
    found = explain(model, x, layer="conv", solver="exact")
    torch.testing.assert_close(found.filters, explain(classifier(), x, layer="conv").filters)
    assert cam(model, x, layer="conv", target=2).shape == (3, 6, 7)


def test_a_relu_head_is_not_taken_for_affine_though_it_is_for_positive_filters(generator) -> None:
    class Rectified(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.pool(nn.functional.relu(self.conv(x) * 1.0)).flatten(1))

    model = Rectified().double()
    model.load_state_dict(classifier().state_dict())
    assert explain(model, images(generator), layer="conv").solver == "spectral"


@pytest.mark.parametrize("solver", ["exact", "spectral", "descent"])
def test_a_batch_gives_what_separate_calls_give(solver, generator, monkeypatch) -> None:
    monkeypatch.setitem(PRESETS, "paper", replace(PRESETS["paper"], max_steps=60))
    model, x = classifier(), images(generator)
    together = explain(model, x, layer="conv", solver=solver)
    for i in range(3):
        alone = explain(model, x[i : i + 1], layer="conv", solver=solver)
        torch.testing.assert_close(alone.filters[0], together.filters[i])
        torch.testing.assert_close(alone.losses[0], together.losses[i])
    monkeypatch.setattr("caf_video.attention.cutting.response.EVALUATION_BYTES", 1)
    chunked = explain(model, x, layer="conv", solver=solver)
    torch.testing.assert_close(chunked.filters, together.filters)


def test_every_solver_comes_to_the_exact_loss(generator) -> None:
    model, x = classifier(), images(generator, 1)
    exact = explain(model, x, layer="conv").losses
    spectral = explain(model, x, layer="conv", solver="spectral")
    assert ((spectral.losses >= exact) & (spectral.losses <= exact * (1 + 1e-4))).all()
    for preset in ("paper", "tf", "pytorch"):
        loop = explain(model, x, layer="conv", solver="descent", preset=preset, seed=2)
        assert (loop.losses >= exact).all()
        assert loop.solver == "descent"


@pytest.mark.parametrize("constraint", ["softmax", "gaussian", "l1"])
def test_the_other_constraints_are_solved_by_descent(constraint, generator) -> None:
    model, x = classifier(), images(generator, 1)
    result = explain(model, x, layer="conv", constraint=constraint)
    assert result.solver == "descent"
    torch.testing.assert_close(result.filters.abs().sum(), torch.tensor(1.0).double())
    norms = result.heatmaps.flatten(1).norm(dim=1)
    assert norms.isfinite().all()
    with pytest.raises(InputError, match='needs "descent"'):
        explain(model, x, layer="conv", constraint=constraint, solver="spectral")


def test_traces_end_at_the_filters(generator, monkeypatch) -> None:
    monkeypatch.setitem(PRESETS, "paper", replace(PRESETS["paper"], max_steps=60))
    model, x = classifier(), images(generator)
    for solver in ("exact", "spectral", "descent"):
        result = explain(model, x, layer="conv", solver=solver, trace=True)
        assert len(result.trace) == 3
        for path, f in zip(result.trace, result.filters, strict=True):
            assert path.shape[1:] == f.shape
            assert (path - f).flatten(1).norm(dim=1).min() < 1e-9
    assert explain(model, x, layer="conv").trace is None


def test_frames_folded_into_the_batch_have_a_filter_each(generator) -> None:
    class Clips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
            self.gru = nn.GRU(8, 6, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.cnn(x.flatten(0, 1)).mean(dim=(2, 3))
            return self.gru(maps.unflatten(0, x.shape[:2]))[0][:, -1]

    torch.manual_seed(4)
    model = Clips().double()
    x = torch.randn(2, 3, 3, 6, 7, generator=generator, dtype=torch.float64)
    result = explain(model, x, layer="cnn")
    assert result.filters.shape == (2, 3, 4, 5) and result.heatmaps.shape == (2, 3, 6, 7)
    assert result.losses.shape == result.steps.shape == result.settled.shape == (2, 3)
    maps, answer = model.cnn(x.flatten(0, 1)).unflatten(0, (2, 3)), model(x)
    for clip in range(2):
        for frame in range(3):
            filtered = maps[clip].clone()
            filtered[frame] *= result.filters[clip, frame]
            out = model.gru(filtered.mean(dim=(2, 3))[None])[0][0, -1]
            loss = (answer[clip] - out).square().sum().detach()
            torch.testing.assert_close(result.losses[clip, frame], loss)
    alone = explain(model, x[1:], layer="cnn")
    torch.testing.assert_close(alone.filters[0], result.filters[1], atol=1e-5, rtol=0)
    x[1, 2] = float("nan")
    with pytest.raises(InputError, match="the input of sample 1"):
        explain(model, x, layer="cnn")


def test_the_class_token_of_a_transformer_is_left_alone(generator) -> None:
    torch.manual_seed(4)
    model = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)
    x = torch.randn(2, 3, 32, 32, generator=generator)
    layer = model.encoder.layers.encoder_layer_0.mlp
    result = explain(model, x, layer=layer)
    assert result.filters.shape == (2, 4, 4) and result.heatmaps.shape == (2, 32, 32)

    def filtered(module: nn.Module, args: object, out: Tensor) -> Tensor:
        weights = torch.cat([torch.ones(2, 1), result.filters.flatten(1)], dim=1)
        return out * weights[:, :, None]

    answer = model(x)
    hook = layer.register_forward_hook(filtered)
    expected = (answer - model(x)).square().sum(dim=1)
    hook.remove()
    torch.testing.assert_close(result.losses, expected.detach(), rtol=1e-3, atol=1e-6)


def test_channels_may_come_last(generator) -> None:
    class Last(nn.Module):
        def __init__(self, model: Classifier) -> None:
            super().__init__()
            self.model = model
            self.turn = Turn()

        def forward(self, x: Tensor) -> Tensor:
            a = self.turn(self.model.conv(x))
            return self.model.fc(a.mean(dim=(1, 2)))

    class Turn(nn.Module):
        def forward(self, a: Tensor) -> Tensor:
            return a.permute(0, 2, 3, 1)

    x = torch.randn(2, 3, 22, 18, generator=generator, dtype=torch.float64)
    expected = explain(classifier(), x, layer="conv")
    for axes in (None, "n h w c"):
        found = explain(Last(classifier()), x, layer="turn", axes=axes)
        torch.testing.assert_close(found.filters, expected.filters, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "best"}, 'solver is "best", wanted one of auto, exact, spectral, descent'),
        ({"constraint": "l3"}, "constraint"),
        ({"preset": "keras"}, "preset"),
        ({"axes": "n c (h w"}, "a bracket is not closed"),
        ({"target": 7}, "target of sample 0 is 7, the network has classes 0 to 6"),
        ({"target": [0, -1, 2]}, "target of sample 1 is -1"),
        ({"target": [0, 1]}, r"target has shape \(2,\), wanted one class a sample: \(3,\)"),
        ({"target": torch.tensor([0.0, 1.0, 2.0])}, "wanted class numbers"),
        ({"target": 0, "reference": torch.zeros(3, 3, 6, 7)}, "exclude each other"),
        ({"center_logits": True}, "needs a target"),
        ({"reference": torch.zeros(2, 3, 6, 7, dtype=torch.float64)}, "one reference for each"),
        ({"output": "logits"}, "not in what the network returns"),
    ],
)
def test_wrong_arguments_are_told_apart(arguments, message, generator) -> None:
    with pytest.raises(InputError, match=message):
        explain(classifier(), images(generator), layer="conv", **arguments)


def test_a_target_needs_logits(generator) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)).double()
    with pytest.raises(InputError, match="target needs logits"):
        explain(model, images(generator), layer="0", target=1)


def test_a_sample_whose_answer_is_not_finite_is_named(generator) -> None:
    class Log(Classifier):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + x.amin(dim=(1, 2, 3), keepdim=True)[:, 0, 0].log()

    x = images(generator).abs() + 1
    x[1] -= 1e9
    with pytest.raises(InputError, match="the output of sample 1 is not finite"):
        explain(Log().double(), x, layer="conv")


def test_a_batch_without_a_sample_is_named(generator) -> None:
    model, none = classifier(), images(generator)[:0]
    for ask in (partial(explain, layer="conv"), explain, partial(grad_cam, layer="conv", target=0)):
        with pytest.raises(InputError, match=r"the input holds no sample: \(0, "):
            ask(model, none)


@pytest.mark.parametrize("count", [1, 3])
def test_dead_maps_have_the_uniform_filter(count, generator) -> None:
    model, x = classifier(), images(generator, count)
    nn.init.zeros_(model.conv[0].bias)
    x[0] = 0
    for solver in ("exact", "spectral"):
        f = explain(model, x, layer="conv", solver=solver).filters[0]
        torch.testing.assert_close(f, torch.full((4, 5), 20**-0.5).double())


def test_single_precision_models_are_found_affine_too(generator) -> None:
    torch.manual_seed(4)
    for dtype in (torch.float32, torch.bfloat16):
        model = Classifier().to(dtype)
        result = explain(model, images(generator).to(dtype), layer="conv")
        assert result.solver == "exact" and result.filters.dtype == torch.float32

"""Per-frame filters: the batch against the paper's loop, and the laws of maths 1.4."""

import sys

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import explain_clip, frame_influence
from caf_video.attention.clip_responses import FramewiseResponse
from caf_video.attention.recurrent_tail import RecurrentTail
from caf_video.errors import InputError

MODULE = sys.modules["caf_video.attention.explain_clip"]  # the function has its name


class ClipNet(nn.Module):
    """Fig. 8 in small: 1x1 convolution → ReLU → *filter* → pool or flatten → LSTM or GRU → FC."""

    def __init__(
        self,
        pooling: str = "average",
        *,
        cell: type[nn.RNNBase] = nn.LSTM,
        layers: int = 1,
        channels: int = 6,
        grid: tuple[int, int] = (4, 5),
        bias: bool = True,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.convolution = nn.Conv2d(8, channels, 1)
        width = channels * (grid[0] * grid[1] if pooling == "flatten" else 1)
        self.lstm = cell(
            width, 24, layers, batch_first=True, bias=bias, bidirectional=bidirectional
        )
        self.projection = nn.Linear(48 if bidirectional else 24, 24, bias=bias)

    def features(self, feature_maps: Tensor) -> Tensor:
        return (
            self.convolution(feature_maps.flatten(0, 1)).relu().unflatten(0, feature_maps.shape[:2])
        )

    def head(self, maps: Tensor) -> Tensor:
        inputs = maps.mean(dim=(3, 4)) if self.pooling == "average" else maps.flatten(2)
        return self.projection(self.lstm(inputs)[0][:, -1])


class Opaque(nn.Module):
    """The same network with nothing to read but its two halves."""

    def __init__(self, model: ClipNet) -> None:
        super().__init__()
        self.model = model

    def features(self, feature_maps: Tensor) -> Tensor:
        return self.model.features(feature_maps)

    def head(self, maps: Tensor) -> Tensor:
        return self.model.head(maps)


def make(pooling: str = "average", dtype: torch.dtype = torch.float64, **options) -> ClipNet:
    torch.manual_seed(3)
    model = ClipNet(pooling, **options).to(dtype)
    with torch.no_grad():  # a trained LSTM's gates move; these should too
        for parameter in model.lstm.parameters():
            parameter.mul_(2)
    return model


def clips(generator: torch.Generator, count: int = 3, timesteps: int = 3, **options) -> Tensor:
    return torch.randn(
        count, timesteps, 8, 4, 5, generator=generator, dtype=torch.float64, **options
    )


def one_frame_at_a_time(model: ClipNet, feature_maps: Tensor) -> tuple[Tensor, Tensor]:
    """Sec. 4.3 as written: only f_t is optimised, the other frames are fed unfiltered."""
    with torch.no_grad():
        maps = model.features(feature_maps)
        embeddings = model.head(maps)
    filters, losses = torch.zeros_like(maps[:, :, 0]), torch.zeros_like(maps[:, :, 0, 0, 0])
    for clip in range(len(maps)):
        for frame in range(maps.shape[1]):
            raw = torch.ones_like(maps[0, 0, 0]).requires_grad_()
            optimizer = torch.optim.Adam([raw], lr=0.1)
            schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
            for _ in range(700):
                f = raw / raw.norm()
                filtered = torch.stack(
                    [a * f if t == frame else a for t, a in enumerate(maps[clip])]
                )
                loss = (embeddings[clip] - model.head(filtered[None])[0]).square().sum()
                (raw.grad,) = torch.autograd.grad(loss, raw)
                optimizer.step()
                schedule.step()
            filters[clip, frame], losses[clip, frame] = f.detach(), loss.detach()
    return filters, losses


def correlation(first: Tensor, second: Tensor) -> Tensor:
    first, second = (x.abs().flatten(2) - x.abs().flatten(2).mean(2, True) for x in (first, second))
    return nn.functional.cosine_similarity(first, second, dim=2)


@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_the_batch_finds_what_the_papers_loop_finds_one_frame_at_a_time(pooling, generator) -> None:
    model, feature_maps = make(pooling), clips(generator, count=1)
    filters, losses = one_frame_at_a_time(model, feature_maps)
    result = explain_clip(model, feature_maps)
    assert result.filters.shape == (1, 3, 4, 5)
    assert result.settled.all()
    assert (result.losses <= losses + 1e-5).all()
    assert correlation(result.filters, filters).min() > 0.9999


@pytest.mark.parametrize("pooling", ["average", "flatten"])
@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_the_tail_computes_what_the_head_computes(pooling, cell, layers, bias, generator) -> None:
    model = make(pooling, cell=cell, layers=layers, bias=bias)
    maps = model.features(clips(generator)).detach()
    tail, generic = RecurrentTail(model, maps), FramewiseResponse(model.head, maps)
    filters = torch.randn(9, 4, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(tail(filters), generic(filters))
    torch.testing.assert_close(tail.embeddings, model.head(maps))
    rows = torch.tensor([1, 3, 4, 8])
    torch.testing.assert_close(tail.select(rows)(filters[rows]), generic(filters)[rows])
    torch.testing.assert_close(generic.select(rows)(filters[rows]), generic(filters)[rows])


def test_wide_maps_go_to_the_gates_by_the_shorter_way(generator) -> None:
    model = make("average", channels=100)  # more channels than the 96 gates: P itself is smaller
    maps = model.features(clips(generator)).detach()
    filters = torch.randn(9, 4, 5, generator=generator, dtype=torch.float64)
    expected = FramewiseResponse(model.head, maps)(filters)
    torch.testing.assert_close(RecurrentTail(model, maps)(filters), expected)


@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_any_model_with_two_halves_gets_the_same_answer(pooling, generator) -> None:
    model, feature_maps = make(pooling), clips(generator)
    known, opaque = explain_clip(model, feature_maps), explain_clip(Opaque(model), feature_maps)
    torch.testing.assert_close(known.filters, opaque.filters)
    torch.testing.assert_close(known.losses, opaque.losses)
    assert known.steps.equal(opaque.steps)


def test_a_head_that_departs_from_its_declared_structure_is_solved_as_it_is(generator) -> None:
    class Rectified(
        ClipNet
    ):  # positively homogeneous: filters f >= 0 would not tell the difference
        def head(self, maps: Tensor) -> Tensor:
            return super().head(maps.relu())

    model = Rectified().double()
    model.load_state_dict(make().state_dict())
    feature_maps = clips(generator)
    result = explain_clip(model, feature_maps)
    opaque = explain_clip(Opaque(model), feature_maps)
    torch.testing.assert_close(result.filters, opaque.filters)
    bidirectional = make(bidirectional=True)
    assert explain_clip(bidirectional, feature_maps).settled.all()


def test_a_batch_gives_what_separate_calls_give(generator) -> None:
    model, feature_maps = make(), clips(generator, count=4)
    together = explain_clip(model, feature_maps)
    for clip in range(4):
        alone = explain_clip(model, feature_maps[clip : clip + 1])
        torch.testing.assert_close(alone.filters[0], together.filters[clip])
        torch.testing.assert_close(alone.losses[0], together.losses[clip])


def test_chunks_do_not_show_in_the_result(generator, monkeypatch) -> None:
    model, feature_maps = make(), clips(generator, count=5)
    whole = explain_clip(model, feature_maps)
    monkeypatch.setattr(MODULE, "FEATURE_CHUNK_BYTES", 3 * 8 * 8 * 20 * 3)
    monkeypatch.setattr(MODULE, "PROBLEM_CHUNK_BYTES", 1)
    torch.testing.assert_close(explain_clip(model, feature_maps).filters, whole.filters)


def test_filters_have_unit_norm_and_never_lose_to_the_uniform_filter(generator) -> None:
    model, feature_maps = make(dtype=torch.float32), clips(generator).float()
    result = explain_clip(model, feature_maps, size=(32, 40))
    norms = result.filters.flatten(2).norm(dim=2)
    torch.testing.assert_close(norms, torch.ones(3, 3), atol=1e-6, rtol=0)
    assert result.heatmaps.shape == (3, 3, 32, 40)
    assert (result.heatmaps >= 0).all()
    maps = model.features(feature_maps).detach()
    with torch.no_grad():
        uniform = FramewiseResponse(model.head, maps)(torch.full((9, 4, 5), 20**-0.5))
        worst = (uniform - model.head(maps).repeat(3, 1)).square().sum(dim=1).view(3, 3).T
    assert (result.losses <= worst + 1e-6).all()


def test_the_papers_loop_is_there_by_name(generator) -> None:
    model, feature_maps = make(), clips(generator, count=1, timesteps=1)
    loop = explain_clip(model, feature_maps, solver="descent", seed=1)
    assert loop.solver == "descent"
    assert (explain_clip(model, feature_maps).losses <= loop.losses + 1e-5).all()
    torch.testing.assert_close(
        loop.filters, explain_clip(model, feature_maps, solver="descent", seed=1).filters
    )


def test_the_model_is_left_as_found(generator) -> None:
    model, feature_maps = make(), clips(generator)
    model.train()
    model.lstm.eval()
    model.projection.weight.requires_grad_(False)
    model.convolution.weight.grad = torch.ones_like(model.convolution.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def look() -> tuple:
        return (
            [module.training for module in model.modules()],
            [(p.requires_grad, p.grad is None) for p in model.parameters()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        )

    found = look()
    explain_clip(model, feature_maps)
    frame_influence(model, feature_maps)
    feature_maps[1, 2, 0, 0, 0] = float("nan")
    with pytest.raises(InputError):
        explain_clip(model, feature_maps)
    assert look() == found
    assert model.convolution.weight.grad.eq(1).all()
    for name, value in model.state_dict().items():
        assert value.equal(before[name])


def test_it_works_under_no_grad_and_on_frozen_models(generator) -> None:
    model, feature_maps = make(), clips(generator)
    expected = explain_clip(model, feature_maps)
    model.requires_grad_(False)
    with torch.no_grad():
        result = explain_clip(model, feature_maps)
    torch.testing.assert_close(result.filters, expected.filters)
    assert not result.filters.requires_grad


def test_stored_half_precision_maps_are_read_in_the_models_precision(generator) -> None:
    model, feature_maps = make(dtype=torch.float32), clips(generator).half()
    result = explain_clip(model, feature_maps)
    torch.testing.assert_close(result.filters, explain_clip(model, feature_maps.float()).filters)


def test_a_bad_value_is_traced_to_its_clip_and_frame(generator) -> None:
    model, feature_maps = make(), clips(generator)
    feature_maps[1, 2, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="clip 1, frame 2"):
        explain_clip(model, feature_maps)
    with pytest.raises(InputError, match="clip 1, frame 2"):
        frame_influence(model, feature_maps)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (torch.zeros(2, 8, 4, 5), r"wanted floating \(clips, timesteps"),
        (torch.zeros(2, 3, 8, 4, 5, dtype=torch.int64), "floating"),
        (torch.zeros(0, 3, 8, 4, 5), "empty"),
        (torch.zeros(2, 3, 8, 4, 5, device="meta"), "on meta, the model on cpu"),
    ],
)
def test_wrong_maps_are_told_apart(maps, message) -> None:
    with pytest.raises(InputError, match=message):
        explain_clip(make(), maps)


def test_running_out_of_steps_is_data(generator, monkeypatch) -> None:
    solve = MODULE.solve_spectral
    monkeypatch.setattr(MODULE, "solve_spectral", lambda p, **how: solve(p, max_steps=2, **how))
    result = explain_clip(make("flatten"), clips(generator))
    assert not result.settled.all()
    assert result.steps.max() == 2


def test_influence_finds_the_only_frame_that_is_read(generator) -> None:
    class Last(ClipNet):
        def head(self, maps: Tensor) -> Tensor:
            return maps[:, 1].mean(dim=(2, 3))

    model = Last().double()
    shares = frame_influence(model, clips(generator))
    torch.testing.assert_close(shares, torch.tensor([[0.0, 1.0, 0.0]]).double().expand(3, 3))


def test_influence_sums_to_one_and_is_even_where_nothing_matters(generator) -> None:
    shares = frame_influence(make(), clips(generator))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3, dtype=shares.dtype))
    model = make()
    nn.init.zeros_(model.projection.weight)
    torch.testing.assert_close(
        frame_influence(model, clips(generator)), torch.full((3, 3), 1 / 3).double()
    )


def test_dead_maps_get_the_uniform_filter(generator) -> None:
    model, feature_maps = make(), clips(generator)
    nn.init.zeros_(model.convolution.bias)
    feature_maps[0, 1] = 0
    result = explain_clip(model, feature_maps)
    torch.testing.assert_close(result.filters[0, 1], torch.full((4, 5), 20**-0.5).double())
    assert result.losses[0, 1] < 1e-20

"""One filter for a clip (maths 1.6): against Adam over all frames at once, and its laws."""

import itertools
import sys

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import explain, explain_clip, frame_shares
from caf_video.attention.clip_responses import JointResponse
from caf_video.attention.recurrent_tail import JointTail
from caf_video.errors import InputError
from caf_video.models.recurrent import RecurrentEmbedder

MODULE = sys.modules["caf_video.attention.explain_clip"]  # the function has its name


class Opaque(nn.Module):
    """A network with nothing to read but its two halves."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def features(self, feature_maps: Tensor) -> Tensor:
        return self.model.features(feature_maps)

    def head(self, maps: Tensor) -> Tensor:
        return self.model.head(maps)


def make(pooling: str = "average", cell: str = "lstm", **options) -> RecurrentEmbedder:
    """1x1 convolution → ReLU → *filter* → pool or flatten → LSTM or GRU → FC, float64."""
    torch.manual_seed(3)
    sizes = {"in_channels": 8, "grid": (4, 5), "channels": 6, "hidden": 24, "embedding_dim": 24}
    plain = {"coordinates": False, "spatial_kernel": None}
    model = RecurrentEmbedder(**{**sizes, **plain, **options}, pooling=pooling, cell=cell).double()
    with torch.no_grad():  # a trained LSTM's gates move; these should too
        for parameter in model.lstm.parameters():
            parameter.mul_(2)
    return model.eval()


def clips(generator: torch.Generator, count: int = 3, timesteps: int = 3) -> Tensor:
    return torch.randn(count, timesteps, 8, 4, 5, generator=generator, dtype=torch.float64)


def by_adam(
    model: nn.Module, feature_maps: Tensor, raw: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """The paper's loop on one filter over (t, h, w), clip by clip: filters and losses."""
    with torch.no_grad():
        maps = model.features(feature_maps)
        embeddings = model.head(maps)
    filters, losses = [], []
    for clip, embedding in zip(maps, embeddings, strict=True):
        variable = raw.clone().requires_grad_()
        optimizer = torch.optim.Adam([variable], lr=0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.985)
        for _ in range(steps):
            f = variable / variable.norm()
            filtered = torch.stack([f[t] * frame for t, frame in enumerate(clip)])
            loss = (embedding - model.head(filtered[None])[0]).square().sum()
            (variable.grad,) = torch.autograd.grad(loss, variable)
            optimizer.step()
            schedule.step()
        filters.append(f.detach())
        losses.append(loss.detach())
    return torch.stack(filters), torch.stack(losses)


@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_no_start_of_the_papers_loop_ends_lower(pooling, generator) -> None:
    model, feature_maps = make(pooling), clips(generator, count=1)
    found = explain_clip(model, feature_maps, filters="joint")
    assert found.filters.shape == (1, 3, 4, 5) and found.losses.shape == (1,)
    assert found.settled.all() and found.kind == "joint"
    starts = [torch.ones(3, 4, 5).double()]
    starts += [torch.randn(3, 4, 5, generator=generator).double() for _ in range(2)]
    ends = [by_adam(model, feature_maps, start, 300) for start in starts]
    filters, loss = min(ends, key=lambda end: end[1].item())
    assert found.losses.item() <= loss.item() * (1 + 1e-5)
    same = nn.functional.cosine_similarity(found.filters.flatten(), filters.flatten(), dim=0)
    assert same > 0.9995


@pytest.mark.parametrize(
    ("pooling", "cell", "layers", "bias"),
    list(itertools.product(["average", "flatten"], ["lstm", "gru"], [1, 2], [True, False])),
)
def test_the_tail_computes_what_the_head_computes(pooling, cell, layers, bias, generator) -> None:
    model = make(pooling, cell)
    kind, width = type(model.lstm), model.lstm.input_size
    model.lstm = kind(width, 24, layers, batch_first=True, bias=bias).double()
    model.projection = nn.Linear(24, 24, bias=bias).double()
    maps = model.features(clips(generator)).detach()
    tail, generic = JointTail(model, maps), JointResponse(model.head, maps)
    filters = torch.randn(3, 3, 4, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(tail(filters), generic(filters))
    rows = torch.tensor([0, 2])
    torch.testing.assert_close(tail.select(rows)(filters[rows]), generic(filters)[rows])
    last = torch.tensor([1])
    twice = tail.select(rows).select(last)
    torch.testing.assert_close(twice(filters[2:]), generic(filters)[2:])
    assert len(tail) == 3 and len(tail.select(rows)) == 2


@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_any_model_with_two_halves_gets_the_same_answer(pooling, generator) -> None:
    model, feature_maps = make(pooling), clips(generator)
    known = explain_clip(model, feature_maps, filters="joint")
    opaque = explain_clip(Opaque(model), feature_maps, filters="joint")
    torch.testing.assert_close(known.filters, opaque.filters)
    assert known.steps.equal(opaque.steps)


def test_of_one_frame_it_is_the_per_frame_filter(generator) -> None:
    model, feature_maps = make("flatten"), clips(generator, timesteps=1)
    joint = explain_clip(model, feature_maps, filters="joint")
    torch.testing.assert_close(joint.filters, explain_clip(model, feature_maps).filters)
    torch.testing.assert_close(joint.frame_shares, torch.ones(3, 1).double())


def test_frame_shares_are_the_squares_of_each_frame_and_sum_to_one(generator) -> None:
    found = explain_clip(make(), clips(generator), filters="joint")
    for clip, frame in itertools.product(range(3), range(3)):
        expected = sum(value**2 for value in found.filters[clip, frame].flatten().tolist())
        assert found.frame_shares[clip, frame].item() == pytest.approx(expected)
    torch.testing.assert_close(found.frame_shares.sum(dim=1), torch.ones(3).double())


def test_per_frame_filters_have_no_shares(generator) -> None:
    found = explain_clip(make(), clips(generator))
    with pytest.raises(InputError, match='filters="joint" or frame_influence'):
        _ = found.frame_shares
    with pytest.raises(InputError, match="wanted"):
        frame_shares(found.filters[0])


@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_a_frame_of_zeros_has_no_share(pooling, generator) -> None:
    model, feature_maps = make(pooling), clips(generator)
    nn.init.zeros_(model.reduction.bias)
    feature_maps[0, 1] = 0
    found = explain_clip(model, feature_maps, filters="joint")
    assert found.frame_shares[0, 1] < 1e-5 < found.frame_shares[1, 1]


def test_a_clip_of_zeros_has_the_uniform_filter(generator) -> None:
    model, feature_maps = make(), clips(generator)
    nn.init.zeros_(model.reduction.bias)
    feature_maps[0] = 0
    found = explain_clip(model, feature_maps, filters="joint")
    torch.testing.assert_close(found.filters[0], torch.full((3, 4, 5), 60**-0.5).double())
    assert found.losses[0] < 1e-20


def test_the_only_frame_that_is_read_has_all(generator) -> None:
    class Second(Opaque):
        def head(self, maps: Tensor) -> Tensor:
            return maps[:, 1].mean(dim=(2, 3))

    found = explain_clip(Second(make()), clips(generator), filters="joint")
    assert (found.frame_shares[:, 1] > 1 - 1e-6).all()


def test_a_batch_gives_what_separate_calls_give_and_clips_in_another_order_the_same(
    generator, monkeypatch
) -> None:
    model, feature_maps = make(), clips(generator, count=4)
    together = explain_clip(model, feature_maps, filters="joint")
    for clip in range(4):
        alone = explain_clip(model, feature_maps[clip : clip + 1], filters="joint")
        torch.testing.assert_close(alone.filters[0], together.filters[clip])
        torch.testing.assert_close(alone.losses[0], together.losses[clip])
    order = [2, 0, 3, 1]
    moved = explain_clip(model, feature_maps[order], filters="joint")
    torch.testing.assert_close(moved.filters, together.filters[order])
    monkeypatch.setattr(MODULE, "FEATURE_CHUNK_BYTES", 3 * 8 * 8 * 20 * 3)
    monkeypatch.setattr(MODULE, "PROBLEM_CHUNK_BYTES", 1)
    chunked = explain_clip(model, feature_maps, filters="joint")
    torch.testing.assert_close(chunked.filters, together.filters)


def test_where_order_is_ignored_frames_in_another_order_have_the_same_filter(generator) -> None:
    class Orderless(Opaque):
        def head(self, maps: Tensor) -> Tensor:
            return maps.mean(dim=(3, 4)).tanh().sum(dim=1)

    model = Orderless(make())
    feature_maps, order = clips(generator), [2, 0, 1]
    found = explain_clip(model, feature_maps, filters="joint")
    moved = explain_clip(model, feature_maps[:, order], filters="joint")
    torch.testing.assert_close(moved.filters, found.filters[:, order])


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_an_embedding_on_another_scale_has_the_same_filters(scale, generator) -> None:
    model, feature_maps = make(), clips(generator)
    found = explain_clip(model, feature_maps, filters="joint")
    with torch.no_grad():
        model.projection.weight *= scale
        model.projection.bias *= scale
    scaled = explain_clip(model, feature_maps, filters="joint")
    torch.testing.assert_close(scaled.filters, found.filters)
    torch.testing.assert_close(scaled.losses / scale**2, found.losses)


def test_it_never_loses_to_the_uniform_filter_and_float32_agrees(generator) -> None:
    model, feature_maps = make("flatten"), clips(generator)
    found = explain_clip(model, feature_maps, filters="joint")
    maps = model.features(feature_maps).detach()
    with torch.no_grad():
        uniform = model.head(maps * 60**-0.5)
        worst = (uniform - model.head(maps)).square().sum(dim=1)
    assert (found.losses < worst).all()
    single = explain_clip(make("flatten").float(), feature_maps, filters="joint")
    torch.testing.assert_close(single.filters.double(), found.filters, atol=2e-3, rtol=0)
    norms = single.filters.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(3), atol=1e-6, rtol=0)


def test_heat_is_the_positive_side_resized_on_one_scale_a_clip(generator) -> None:
    model, feature_maps = make("flatten"), clips(generator)
    found = explain_clip(model, feature_maps, filters="joint")
    assert (found.filters < 0).any()
    torch.testing.assert_close(found.heatmaps, found.filters.clamp(min=0))
    large = explain_clip(model, feature_maps, filters="joint", size=(8, 10)).heatmaps
    expected = nn.functional.interpolate(found.heatmaps, size=(8, 10), mode="bilinear")
    torch.testing.assert_close(large, expected)


def test_the_papers_loop_is_there_by_name(generator) -> None:
    model, feature_maps = make(), clips(generator, count=1, timesteps=2)
    loop = explain_clip(model, feature_maps, filters="joint", solver="descent")
    found = explain_clip(model, feature_maps, filters="joint")
    assert loop.solver == "descent" and loop.filters.shape == (1, 2, 4, 5)
    assert (found.losses <= loop.losses + 1e-6).all()


def test_a_network_with_time_among_its_cells_has_such_filters_by_explain(generator) -> None:
    class Volume(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.projection = nn.Conv3d(3, 6, 1), nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.projection(self.convolution(x).relu().mean(dim=(2, 3, 4)))

    class AsClips(nn.Module):
        def __init__(self, volume: Volume) -> None:
            super().__init__()
            self.volume = volume

        def features(self, maps: Tensor) -> Tensor:
            return self.volume.convolution(maps.transpose(1, 2)).relu().transpose(1, 2)

        def head(self, maps: Tensor) -> Tensor:
            return self.volume.projection(maps.mean(dim=(1, 3, 4)))

    torch.manual_seed(1)
    volume = Volume().double()
    x = torch.randn(2, 3, 4, 3, 2, generator=generator, dtype=torch.float64)
    found = explain(volume, x, layer="convolution", axes="n c t h w")
    joint = explain_clip(AsClips(volume), x.transpose(1, 2), filters="joint")
    assert found.filters.shape == (2, 4, 3, 2)
    torch.testing.assert_close(joint.losses, found.losses, atol=0, rtol=1e-5)
    torch.testing.assert_close(joint.filters, found.filters, atol=2e-3, rtol=0)
    torch.testing.assert_close(frame_shares(found.filters).sum(dim=1), torch.ones(2).double())


def test_a_bad_clip_is_named(generator) -> None:
    model, feature_maps = make(), clips(generator)
    with pytest.raises(InputError, match='filters is "clip", wanted "per-frame" or "joint"'):
        explain_clip(model, feature_maps, filters="clip")
    feature_maps[1, 2, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="clip 1, frame 2"):
        explain_clip(model, feature_maps, filters="joint")

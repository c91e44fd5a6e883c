"""Path shares: their sum is the law, loops the truth; and the maps made with a joint filter."""

import pytest
import torch
from torch import Tensor, nn

from caf_video.attention import explain_clip, passed, path_shares, sharp
from caf_video.errors import InputError
from caf_video.models.recurrent import RecurrentEmbedder

SHAPE = (2, 3, 4, 2, 3)  # b, t, c, h, w


def make(**options) -> RecurrentEmbedder:
    torch.manual_seed(2)
    sizes = {"in_channels": 4, "grid": (2, 3), "channels": 5, "hidden": 6, "embedding_dim": 7}
    return RecurrentEmbedder(**{**sizes, **options}).double().eval()


def maps(generator: torch.Generator, channels: int = 4) -> Tensor:
    shape = (2, 3, channels, 2, 3)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("pooling", ["average", "flatten"])
def test_shares_sum_to_what_the_embedding_moved_along_the_direction(pooling, generator) -> None:
    model = make(pooling=pooling, channels=4)
    a, b = 3 * maps(generator), maps(generator)
    direction = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    for baseline in (None, b):
        start = torch.zeros_like(a) if baseline is None else baseline
        with torch.no_grad():
            moved = (direction * (model.head(a) - model.head(start))).sum(dim=1)
        shares = path_shares(model.head, a, direction, baseline=baseline)
        assert shares.shape == (2, 3, 2, 3)
        torch.testing.assert_close(shares.sum(dim=(1, 2, 3)), moved, atol=1e-4, rtol=1e-3)
        finer = path_shares(model.head, a, direction, baseline=baseline, midpoints=64)
        coarse = (shares.sum(dim=(1, 2, 3)) - moved).abs()
        assert ((finer.sum(dim=(1, 2, 3)) - moved).abs() < coarse / 8).all()


def test_shares_of_pooled_maps_are_those_of_the_pooled_input_by_loops(generator) -> None:
    """c_tp = <A_tp, mean over the way of d<d, e>/dx_t> / n, x_t the pooled map."""
    model, a = make(channels=4), maps(generator)
    direction = torch.randn(7, generator=generator, dtype=torch.float64)
    found = path_shares(model.head, a, direction)
    for clip in range(2):
        slopes = []
        for point in range(16):
            x = ((point + 0.5) / 16 * a[clip].mean(dim=(2, 3))).requires_grad_()
            e = model.projection(model.lstm(x[None])[0][:, -1])[0]
            slopes.append(torch.autograd.grad(e @ direction, x)[0])
        slope = torch.stack(slopes).mean(dim=0)
        for t in range(3):
            for i in range(2):
                for j in range(3):
                    share = sum(a[clip, t, k, i, j] * slope[t, k] for k in range(4)) / 6
                    torch.testing.assert_close(found[clip, t, i, j], share)


def test_of_a_linear_head_one_midpoint_is_exact_also_on_images(generator) -> None:
    weight = torch.randn(5, 4 * 6, generator=generator, dtype=torch.float64)
    a = maps(generator)[:, 0]
    direction = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    found = path_shares(lambda x: x.flatten(1) @ weight.T, a, direction, midpoints=1)
    expected = (a * (direction @ weight).view(2, 4, 2, 3)).sum(dim=1)
    torch.testing.assert_close(found, expected)


def test_where_nothing_moved_nothing_is_shared(generator) -> None:
    a = maps(generator)
    shares = path_shares(make(channels=4).head, a, torch.ones(7), baseline=a)
    assert shares.eq(0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": torch.zeros(2, 3)}, r"maps of shape \(2, 3\)"),
        ({"direction": torch.ones(6)}, r"the direction is \(6,\)"),
        ({"direction": torch.ones(3, 7)}, r"the direction is \(3, 7\)"),
        ({"baseline": torch.zeros(1)}, r"the baseline is \(1,\)"),
        ({"midpoints": 0}, "0 midpoints"),
        ({"direction": torch.full((7,), float("nan"))}, "the direction of sample 0 is not finite"),
    ],
)
def test_wrong_arguments_are_told_apart(change, message, generator) -> None:
    arguments = {"maps": maps(generator), "direction": torch.ones(7), **change}
    head = make(channels=4).head
    with pytest.raises(InputError, match=message):
        path_shares(head, arguments.pop("maps"), arguments.pop("direction"), **arguments)


def test_what_passes_is_the_positive_filter_times_the_norm(generator) -> None:
    a = maps(generator)
    f = torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    found = passed(f, a)
    for place in torch.cartesian_prod(*map(torch.arange, (2, 3, 2, 3))).tolist():
        clip, t, i, j = place
        norm = sum(a[clip, t, k, i, j].item() ** 2 for k in range(4)) ** 0.5
        assert found[clip, t, i, j].item() == pytest.approx(max(f[clip, t, i, j].item(), 0) * norm)


def test_filters_of_other_clips_are_not_spread_over_these(generator) -> None:
    a = maps(generator)
    for shape in ((1, 3, 2, 3), (3, 2, 3), (2, 3, 3, 2)):
        with pytest.raises(InputError, match="are not of maps"):
            passed(torch.rand(shape), a)


def neighbourhood_mean(shares: Tensor, i: int, j: int) -> float:
    height, width = shares.shape
    near = [
        max(shares[y, x].item(), 0.0)
        for y in range(max(i - 1, 0), min(i + 2, height))
        for x in range(max(j - 1, 0), min(j + 2, width))
    ]
    return sum(near) / len(near)


def test_sharp_is_what_passes_times_the_mean_share_of_the_cells_around(generator) -> None:
    model, feature_maps = make(), maps(generator)
    center = torch.randn(7, generator=generator, dtype=torch.float64) * 0.1
    f = explain_clip(model, feature_maps, filters="joint").filters
    found = sharp(model, feature_maps, f, center)

    with torch.no_grad():
        cellwise = model.cellwise_features(feature_maps)
        a = model.features(feature_maps)
        direction = model.head(a) - center
    shares = path_shares(lambda x: model.head(model.mix_cells(x)), cellwise, direction)
    let_pass = passed(f, a)
    for clip, t, i, j in torch.cartesian_prod(*map(torch.arange, (2, 3, 2, 3))).tolist():
        expected = let_pass[clip, t, i, j].item() * neighbourhood_mean(shares[clip, t], i, j)
        assert found[clip, t, i, j].item() == pytest.approx(expected, rel=1e-6)
    assert found.max() > 0


def test_sharp_of_a_network_in_one_stage_takes_the_shares_of_the_filtered_map(generator) -> None:
    class OneStage(nn.Module):
        def __init__(self, model: RecurrentEmbedder) -> None:
            super().__init__()
            self.model = model

        def features(self, feature_maps: Tensor) -> Tensor:
            return self.model.features(feature_maps)

        def head(self, a: Tensor) -> Tensor:
            return self.model.head(a)

    plain = make(spatial_kernel=None, coordinates=False)  # its cells never mix
    feature_maps, center = maps(generator), torch.zeros(7)
    f = torch.rand(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        sharp(OneStage(plain), feature_maps, f, center), sharp(plain, feature_maps, f, center)
    )
    mixing = make()
    one = sharp(OneStage(mixing), feature_maps, f, center)
    assert not torch.allclose(one, sharp(mixing, feature_maps, f, center))


def test_the_model_is_left_as_found(generator) -> None:
    model, feature_maps = make(), maps(generator)
    model.train()
    model.projection.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    f = torch.rand(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    found = sharp(model, feature_maps, f, torch.zeros(7))
    assert not found.requires_grad
    assert all(module.training for module in model.modules())
    assert not model.projection.weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())

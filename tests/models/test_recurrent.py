"""The recurrent embedder in its two halves, against the text of Fig. 8 written out slowly."""

import pytest
import torch
from torch import nn

from caf_video.errors import InputError
from caf_video.models.recurrent import RecurrentEmbedder

SHAPES = [
    {},
    {"spatial_kernel": None, "coordinates": False},
    {"coordinates": False},
    {"pooling": "flatten"},
    {"pooling": "flatten", "spatial_kernel": None, "coordinates": False, "channels": 20},
    {"spatial_kernel": 5, "embedding_dim": 4, "hidden": 3},
    {"cell": "gru", "dropout": 0.5},
]


def embedder(generator: torch.Generator, **changes) -> RecurrentEmbedder:
    settings = dict(channels=6, hidden=8, embedding_dim=5)
    model = RecurrentEmbedder(in_channels=7, grid=(3, 4), **{**settings, **changes}).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3
    mean, std = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    model.fit_standardization(mean, std.abs())
    return model.eval()


def clips(generator: torch.Generator, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 7, 3, 4, generator=generator, dtype=torch.float64)


def slowly(model: RecurrentEmbedder, feature_maps: torch.Tensor) -> torch.Tensor:
    """Fig. 8, a clip and a frame at a time, with textbook layers."""
    one_by_one = nn.Conv2d(7, model.hyperparameters["channels"], 1).double()
    one_by_one.weight.data = model.reduction.weight.data[:, :, None, None]
    one_by_one.bias.data = model.reduction.bias.data
    embeddings = []
    for clip in feature_maps:
        states = []
        for frame in clip:
            mean, std = model.channel_mean[:, None, None], model.channel_std[:, None, None]
            maps = one_by_one(((frame - mean) / std)[None])[0]
            maps = maps.relu()
            if model.hyperparameters["coordinates"]:
                x = torch.tensor([[-1, -1 / 3, 1 / 3, 1]] * 3, dtype=torch.float64)
                y = torch.tensor([[-1.0] * 4, [0.0] * 4, [1.0] * 4], dtype=torch.float64)
                maps = torch.cat([maps, x[None], y[None]])
            if model.spatial is not None:
                maps = model.spatial(maps[None])[0].relu()
            pooled = maps.mean(dim=(1, 2)) if model.pooling == "average" else maps.reshape(-1)
            states.append(pooled)
        outputs, _ = model.lstm(torch.stack(states)[None])
        embeddings.append(model.projection(outputs[0, -1]))
    return torch.stack(embeddings)


@pytest.mark.parametrize("changes", SHAPES)
def test_it_is_figure_8(generator, changes) -> None:
    model, maps = embedder(generator, **changes), clips(generator)
    torch.testing.assert_close(model(maps), slowly(model, maps))


@pytest.mark.parametrize("changes", SHAPES)
def test_the_model_is_its_head_after_its_features(generator, changes) -> None:
    model, maps = embedder(generator, **changes), clips(generator)
    filtered = model.features(maps)
    assert filtered.shape == (2, 3, model.hyperparameters["channels"], 3, 4)
    assert (filtered >= 0).all()
    assert torch.equal(model(maps), model.head(filtered))


@pytest.mark.parametrize("changes", SHAPES)
def test_its_hyperparameters_build_it_again(generator, changes) -> None:
    model, maps = embedder(generator, **changes), clips(generator)
    again = RecurrentEmbedder(**model.hyperparameters).double().eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(maps), model(maps))


def test_a_batch_gives_what_its_clips_give_one_by_one(generator) -> None:
    model, maps = embedder(generator), clips(generator, 4)
    alone = torch.cat([model(clip[None]) for clip in maps])
    torch.testing.assert_close(model(maps), alone)


def test_frames_do_not_touch_each_other_before_the_lstm(generator) -> None:
    model, maps = embedder(generator), clips(generator)
    changed = maps.clone()
    changed[:, 1] += 1
    before, after = model.features(maps), model.features(changed)
    torch.testing.assert_close(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.allclose(before[:, 1], after[:, 1])


def test_the_order_of_the_frames_counts(generator) -> None:
    model, maps = embedder(generator), clips(generator)
    assert not torch.allclose(model(maps), model(maps.flip(1)))


def test_the_place_of_the_evidence_counts_only_with_coordinates(generator) -> None:
    maps = clips(generator)
    maps[..., 0] = maps[..., -1] = maps[:, :, :, 0] = maps[:, :, :, -1] = 0  # clear of the border
    for coordinates in (False, True):
        model = embedder(generator, coordinates=coordinates, spatial_kernel=1)
        same = torch.allclose(model(maps), model(maps.roll(1, dims=4)))
        assert same is not coordinates


def test_half_precision_maps_in_any_memory_layout_are_taken(generator) -> None:
    model, maps = embedder(generator).float(), clips(generator)
    halves = maps.half()
    channels_last = halves.movedim(2, 4).contiguous().movedim(4, 2)
    torch.testing.assert_close(model(halves), model(maps.float()), atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(model(channels_last), model(halves))


def test_a_dead_channel_is_left_at_its_scale(generator) -> None:
    model = embedder(generator)
    std = torch.ones(7, dtype=torch.float64)
    std[2] = 0
    model.fit_standardization(torch.zeros(7), std)
    assert torch.equal(model.channel_std, torch.ones(7, dtype=torch.float64))


def test_the_standardisation_is_saved_and_the_places_are_not() -> None:
    names = RecurrentEmbedder(in_channels=7, grid=(3, 4)).state_dict().keys()
    assert {"channel_mean", "channel_std"} <= names
    assert "cell_coordinates" not in names


def test_dropout_drops_a_channel_from_all_frames_of_a_clip_while_training(generator) -> None:
    model = embedder(generator, dropout=0.5, spatial_kernel=None, coordinates=False)
    torch.manual_seed(0)
    maps = clips(generator, 8)
    whole = model.features(maps)
    dropped = model.train().features(maps)
    alive = whole.amax(dim=(1, 3, 4)) > 0  # (b, c)
    kept = dropped.amax(dim=(1, 3, 4)) > 0
    assert (kept & alive).any() and (~kept & alive).any()
    torch.testing.assert_close(dropped, whole * 2 * kept[:, None, :, None, None])


@pytest.mark.parametrize("shape", [(2, 3, 8, 3, 4), (2, 3, 7, 4, 3), (3, 7, 3, 4), (0, 3, 7, 3, 4)])
def test_maps_of_another_shape_are_refused(generator, shape) -> None:
    with pytest.raises(InputError, match="feature maps of shape") as refusal:
        embedder(generator)(torch.zeros(shape, dtype=torch.float64))
    assert "wanted (clips, timesteps, 7, 3, 4)" in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "max"}, "pooling is 'max'"),
        ({"spatial_kernel": 2}, "spatial_kernel is 2"),
        ({"spatial_kernel": None}, "set coordinates to false"),
        ({"channels": 0}, "channels is 0"),
        ({"grid": (0, 4)}, "grid is "),
        ({"cell": "rnn"}, "cell is 'rnn'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        RecurrentEmbedder(**{"in_channels": 7, "grid": (3, 4), **changes})


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (torch.zeros(6), torch.ones(7), "channel mean of shape (6,)"),
        (torch.zeros(7), torch.ones(8), "channel deviation of shape (8,)"),
        (torch.full((7,), torch.nan), torch.ones(7), "mean of channel 0 is nan"),
        (torch.zeros(7), -torch.ones(7), "deviation of channel 0 is -1.0"),
    ],
)
def test_a_standardisation_that_is_none_is_refused(mean, std, message) -> None:
    with pytest.raises(InputError) as refusal:
        RecurrentEmbedder(in_channels=7, grid=(3, 4)).fit_standardization(mean, std)
    assert message in str(refusal.value)

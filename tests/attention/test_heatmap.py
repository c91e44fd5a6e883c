"""Heatmaps: |f| / ||f||, resized and nothing else."""

import pytest
import torch

from caf_video.attention import feature_norm, filters_to_heatmaps, mostly_negative
from caf_video.attention.heatmap import resize_maps
from caf_video.errors import InputError


def test_the_sign_goes_and_the_norm_is_one_on_the_grid(generator) -> None:
    filters = 3 * torch.randn(2, 4, 5, generator=generator)
    heatmaps = filters_to_heatmaps(filters, (4, 5))
    expected = torch.stack([f.abs() / f.norm() for f in filters])
    torch.testing.assert_close(heatmaps, expected)


def test_bilinear_by_hand() -> None:
    filters = torch.tensor([[[3.0, -4.0]]])
    heatmap = filters_to_heatmaps(filters, (1, 4))[0, 0]
    torch.testing.assert_close(heatmap, torch.tensor([0.6, 0.65, 0.75, 0.8]))


def test_a_constant_filter_has_a_constant_picture_and_a_zero_one_is_black() -> None:
    filters = torch.stack([torch.full((7, 7), 1 / 7), torch.zeros(7, 7)])
    heatmaps = filters_to_heatmaps(filters, (224, 200))
    torch.testing.assert_close(heatmaps[0], torch.full((224, 200), 1 / 7))
    assert heatmaps[1].eq(0).all()


@pytest.mark.parametrize(
    ("grid", "size"), [((5,), (50,)), ((2, 3), (20, 30)), ((2, 3, 3), (4, 9, 9))]
)
def test_one_two_and_three_dimensions(grid, size, generator) -> None:
    heatmaps = filters_to_heatmaps(torch.randn(2, *grid, generator=generator), size)
    assert heatmaps.shape == (2, *size)
    with pytest.raises(InputError, match="cannot be resized"):
        resize_maps(torch.ones(2, *grid), (*size, 1))
    with pytest.raises(InputError, match="cannot be resized"):
        resize_maps(torch.ones(2, *grid), (0, *size[1:]))


def test_the_norm_of_a_feature_map_is_over_its_channels(generator) -> None:
    maps = torch.randn(2, 3, 4, 5, 6, generator=generator)  # clips, frames, channels, grid
    norms = feature_norm(maps)
    assert norms.shape == (2, 3, 5, 6)
    torch.testing.assert_close(norms[1, 2, 3, 4], maps[1, 2, :, 3, 4].norm())


def test_a_filter_is_mostly_negative_by_its_mass_and_not_by_its_cells() -> None:
    filters = torch.tensor([[[-1.0, -1.0, 1.5]], [[-1.0, -1.0, 2.5]], [[3.0, -1.0, -2.5]],
                            [[1.0, -1.0, 0.0]]])  # fmt: skip
    expected = []
    for cells in filters.flatten(1).tolist():
        against = sum(-cell for cell in cells if cell < 0)
        expected.append(against > sum(cell for cell in cells if cell > 0))
    assert mostly_negative(filters).tolist() == expected == [True, False, True, False]

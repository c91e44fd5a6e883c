"""Against what changed the embedding, for heads whose change is known on paper."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from caf_video.errors import InputError
from caf_video.evaluation import (
    as_sharp_as,
    causal_effect,
    correlation,
    cosine_of_maps,
    effective_cells,
)


def weighted(maps: Tensor) -> Tensor:
    """Frame t counts t + 1 times: (b, c)."""
    weights = torch.arange(1.0, maps.shape[1] + 1)
    return (maps.sum(dim=(3, 4)) * weights[None, :, None]).sum(dim=1)


def test_the_effect_of_a_frame_is_how_far_its_neutral_copy_moves_the_embedding() -> None:
    maps, neutral = torch.zeros(1, 3, 2, 1, 2), torch.zeros(1, 3, 2, 1, 2)
    maps[0, 0, :, 0, 0] = torch.tensor([3.0, 4.0])  # frame 0 alone has evidence, of length 5
    maps[0, 2, 0, 0, 1] = neutral[0, 2, 0, 0, 1] = 7.0  # what both have does not count
    neutral[0, 1, 0, 0, 1] = 1.0
    assert causal_effect(weighted, maps, neutral).tolist() == [[5.0, 2.0, 0.0]]


def test_the_cosine_of_a_map_with_the_truth_is_one_up_to_its_scale() -> None:
    truth = torch.tensor([[[[1.0, 2.0]]], [[[1.0, 0.0]]], [[[0.0, 0.0]]], [[[1.0, 1.0]]]])
    heat = torch.tensor([[[[3.0, 6.0]]], [[[0.0, 5.0]]], [[[1.0, 1.0]]], [[[0.0, 0.0]]]])
    found = cosine_of_maps(heat, truth)
    assert found[[0, 1, 3]].tolist() == [pytest.approx(1.0), 0.0, 0.0] and math.isnan(found[2])
    against = cosine_of_maps(torch.ones(1, 1, 1, 2), torch.tensor([[[[1.0, -0.5]]]]))
    assert float(against) == pytest.approx(0.5 / math.sqrt(2 * 1.25))


def test_the_correlation_over_frames_is_numpys(generator: torch.Generator) -> None:
    scores, truth = torch.rand(2, 5, 6, generator=generator).unbind(0)
    wanted = [np.corrcoef(scores[clip], truth[clip])[0, 1] for clip in range(5)]
    np.testing.assert_allclose(correlation(scores, truth), wanted, rtol=1e-5)
    assert correlation(torch.ones(1, 3), truth[:1, :3]).tolist() == [0.0]
    assert math.isnan(correlation(scores[:1], torch.zeros(1, 6)))


def test_a_map_spreads_over_as_many_cells_as_are_lit_alike() -> None:
    heat = torch.zeros(3, 2, 5)
    heat[0, :, :2] = 3.0
    heat[1, 1, 4] = 0.1
    assert effective_cells(heat).tolist() == [pytest.approx(4.0), pytest.approx(1.0), 10.0]


def test_the_norm_is_sharpened_until_it_is_as_sharp_as_the_map(generator: torch.Generator) -> None:
    norm = torch.rand(7, 4, 6, generator=generator)
    for wanted in (0.5, 2.0, 7.0):
        sharpened, power = as_sharp_as(norm, 3 * norm**wanted)
        spread = effective_cells(norm**wanted).mean()
        assert float(effective_cells(sharpened).mean()) == pytest.approx(float(spread), rel=1e-6)
        assert power == pytest.approx(wanted, rel=1e-3)
        assert torch.equal(sharpened.flatten(1).argmax(1), norm.flatten(1).argmax(1))
    with pytest.raises(InputError, match="nowhere negative"):
        as_sharp_as(norm - 0.5, norm)
    with pytest.raises(InputError, match="for heat"):
        as_sharp_as(norm, norm[:3])

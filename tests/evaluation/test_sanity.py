"""How alike maps are, against scipy and torchmetrics; and weights that come back."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from caf_video.attention import resize_maps
from caf_video.errors import InputError
from caf_video.evaluation import pearson, random_weights, spearman, structural_similarity


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    """Five maps and five others, of few values: ranks have ties."""
    generator = torch.Generator().manual_seed(1)
    ones = torch.randint(0, 6, (5, 4, 7), generator=generator).float()
    return ones, ones + torch.randint(0, 4, (5, 4, 7), generator=generator)


def test_correlations_are_those_of_scipy(maps) -> None:
    ones, others = maps
    for measure, peer in ((pearson, stats.pearsonr), (spearman, stats.spearmanr)):
        expected = [
            peer(a.ravel(), b.ravel()).statistic
            for a, b in zip(ones.double().numpy(), others.double().numpy(), strict=True)
        ]
        np.testing.assert_allclose(measure(ones, others), expected, atol=1e-12)


def test_the_known_ones(maps) -> None:
    ones, _ = maps
    for measure in (pearson, spearman):
        torch.testing.assert_close(measure(ones, ones), torch.ones(5).double())
        torch.testing.assert_close(measure(ones, 3 - 2 * ones), -torch.ones(5).double())
        flat = torch.full_like(ones, 0.3)
        assert measure(ones, flat).eq(0).all() and measure(flat, 2 * flat).eq(1).all()
    torch.testing.assert_close(structural_similarity(ones, 5 * ones), torch.ones(5).double())
    assert structural_similarity(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)).item() == 1


def test_structural_similarity_is_that_of_torchmetrics(maps) -> None:
    drawn = [resize_maps(one.double(), (64, 64)) for one in maps]
    scaled = [one / one.flatten(1).amax(dim=1)[:, None, None] for one in drawn]
    _, full = structural_similarity_index_measure(
        scaled[0][:, None], scaled[1][:, None], sigma=1.5, kernel_size=11, data_range=1.0,
        reduction="none", return_full_image=True,
    )  # fmt: skip
    expected = full[:, 0, 5:-5, 5:-5].flatten(1).mean(dim=1)  # where no window leaves the image
    torch.testing.assert_close(structural_similarity(*maps), expected, atol=1e-6, rtol=0)


def test_maps_of_different_shape_are_no_pair() -> None:
    with pytest.raises(InputError, match=r"maps of shapes \(1, 2, 2\) and \(1, 2, 3\)"):
        spearman(torch.zeros(1, 2, 2), torch.zeros(1, 2, 3))


def test_weights_are_random_inside_and_back_behind() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 200).requires_grad_(False)
    before = layer.weight.clone()
    with random_weights([layer.weight], seed=3):
        inside = layer.weight.clone()
        assert abs(torch.corrcoef(torch.stack([inside.ravel(), before.ravel()]))[0, 1]) < 0.02
        assert inside.std().item() == pytest.approx(before.std().item(), rel=0.02)
    assert layer.weight.equal(before)
    with random_weights([layer.weight], seed=3):
        assert layer.weight.equal(inside)
    with random_weights([layer.weight], seed=4):
        assert not layer.weight.equal(inside)
    with pytest.raises(RuntimeError), random_weights([layer.weight], seed=3):
        raise RuntimeError
    assert layer.weight.equal(before)

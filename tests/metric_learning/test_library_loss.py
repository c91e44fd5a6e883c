"""A loss from elsewhere: what it is given, and what it is called."""

import pytest
import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from torch.nn.functional import normalize

from caf_video.errors import InputError
from caf_video.metric_learning import LibraryLoss, loss_name

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def first_length(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return embeddings[0].norm()


@pytest.mark.parametrize(("normalizes", "length"), [(True, 1.0), (False, 5.0)])
def test_the_loss_is_given_embeddings_as_they_are_compared(normalizes, length) -> None:
    loss = LibraryLoss(first_length, normalize=normalizes)
    assert loss(torch.tensor([[3.0, 4.0]]), torch.tensor([0])).item() == pytest.approx(length)
    assert loss.normalize is normalizes


def test_the_loss_is_of_what_the_miner_chose(generator) -> None:
    embeddings = 3 * torch.randn(6, 4, generator=generator)
    units = normalize(embeddings)
    theirs, miner = TripletMarginLoss(margin=0.3), BatchHardMiner()
    mined = theirs(units, LABELS, miner(units, LABELS))
    everything = theirs(units, LABELS)
    assert mined != everything
    torch.testing.assert_close(LibraryLoss(theirs, miner=miner)(embeddings, LABELS), mined)
    torch.testing.assert_close(LibraryLoss(theirs)(embeddings, LABELS), everything)


def test_what_is_no_single_number_is_refused() -> None:
    def of_each(embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return embeddings.sum(dim=1)

    with pytest.raises(InputError, match=r"function gave \(6,\): wanted one number"):
        LibraryLoss(of_each)(torch.ones(6, 2), LABELS)
    with pytest.raises(InputError, match="function gave dict: wanted one number"):
        LibraryLoss(lambda embeddings, labels: {})(torch.ones(6, 2), LABELS)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="loss.normalize=sometimes"):
        LibraryLoss(first_length, normalize="sometimes")
    with pytest.raises(InputError, match="loss.learning_rate_factor=0"):
        LibraryLoss(first_length, learning_rate_factor=0)


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"_target_": "caf_video.metric_learning.TripletLoss"}, "triplet (semi-hard)"),
        ({"_target_": "caf_video.metric_learning.TripletLoss", "mining": "hard"}, "triplet (hard)"),
        ({"_target_": "caf_video.metric_learning.NPairLoss"}, "N-pair"),
        ({"_target_": "caf_video.metric_learning.ProxyAnchorLoss"}, "Proxy-Anchor"),
        ({"_target_": "caf_video.metric_learning.MultiSimilarityLoss"}, "Multi-Similarity"),
        ({"_target_": "mine.losses.Best", "miner": None}, "Best"),
        ({"_target_": "mine.Best", "miner": {"_target_": "mine.Hard"}}, "Best with Hard"),
        ({"_target_": "mine.Best", "mining": 3}, "Best"),
    ],
)
def test_a_loss_has_a_name_for_people(section, name) -> None:
    assert loss_name(section) == name


def test_embeddings_are_made_of_length_1_unless_that_is_refused() -> None:
    assert LibraryLoss(first_length).normalize is True

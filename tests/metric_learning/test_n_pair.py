"""The N-pair loss against a loop, hand-worked numbers and another library."""

import math

import pytest
import torch
from pytorch_metric_learning.losses import NPairsLoss

from caf_video.errors import InputError
from caf_video.metric_learning import NPairLoss, n_pair_loss


def random_pairs(generator: torch.Generator, classes: int = 5):
    labels = torch.arange(classes).repeat(2)
    labels = labels[torch.randperm(2 * classes, generator=generator)]
    return torch.randn(2 * classes, 4, generator=generator, dtype=torch.float64), labels


def n_pair_by_loops(embeddings, labels, negatives: str) -> float:
    """Section S2, a pair at a time."""
    seen: dict[int, int] = {}
    pairs = []
    for position, label in enumerate(labels.tolist()):
        if label in seen:
            pairs.append((seen[label], position))
        else:
            seen[label] = position
    losses = []
    for a, p in pairs:
        others = [n for pair in pairs if pair != (a, p) for n in pair]
        if negatives == "positives_only":
            others = [q for b, q in pairs if b != a]
        similarity = {n: float(embeddings[a] @ embeddings[n]) for n in (p, *others)}
        denominator = sum(math.exp(value) for value in similarity.values())
        losses.append(-math.log(math.exp(similarity[p]) / denominator))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("negatives", ["all", "positives_only"])
def test_it_is_the_rule_of_section_s2(generator, negatives) -> None:
    embeddings, labels = random_pairs(generator)
    loss = n_pair_loss(embeddings, labels, negatives=negatives)
    assert loss.item() == pytest.approx(n_pair_by_loops(embeddings, labels, negatives), abs=1e-12)


@pytest.mark.parametrize("negatives", ["all", "positives_only"])
def test_the_module_is_the_rule_with_the_settings_that_it_was_given(generator, negatives) -> None:
    embeddings, labels = random_pairs(generator)
    loss = NPairLoss(negatives, regularization=0.3)(embeddings, labels)
    lengths = sum(float(one @ one) for one in embeddings) / (len(labels) // 2)
    wanted = n_pair_by_loops(embeddings, labels, negatives) + 0.25 * 0.3 * lengths
    assert loss.item() == pytest.approx(wanted, abs=1e-12)


def test_two_classes_give_the_number_worked_out_on_paper() -> None:
    # Class 0: a = (1, 0), p = (2, 0); class 1: a = (0, 1), p = (0, 3).
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    labels = torch.tensor([0, 1, 0, 1])
    # Every similarity across classes is 0: two negatives (all) or one (positives_only).
    for negatives, count in (("all", 2), ("positives_only", 1)):
        wanted = (math.log1p(count * math.exp(-2)) + math.log1p(count * math.exp(-3))) / 2
        loss = n_pair_loss(embeddings, labels, negatives=negatives)
        assert loss.item() == pytest.approx(wanted)
    # mean ||a||^2 = 1, mean ||p||^2 = (4 + 9) / 2.
    extra = n_pair_loss(embeddings, labels, regularization=0.002) - n_pair_loss(embeddings, labels)
    assert extra.item() == pytest.approx(0.25 * 0.002 * 7.5, rel=1e-3)


def test_equal_embeddings_leave_it_to_chance() -> None:
    embeddings = torch.ones(8, 3)
    labels = torch.arange(4).repeat(2)
    assert n_pair_loss(embeddings, labels).item() == pytest.approx(math.log(7))  # b - 1 candidates
    assert n_pair_loss(embeddings, labels, negatives="positives_only").item() == pytest.approx(
        math.log(4)
    )


def test_positives_only_equals_pytorch_metric_learning(generator) -> None:
    embeddings, labels = random_pairs(generator)
    peer = NPairsLoss()
    peer.distance.normalize_embeddings = False  # which it does by default
    loss = n_pair_loss(embeddings, labels, negatives="positives_only")
    torch.testing.assert_close(loss, peer(embeddings, labels))


def test_large_embeddings_do_not_overflow(generator) -> None:
    embeddings, labels = random_pairs(generator)
    embeddings = (embeddings * 1e3).requires_grad_()
    loss = NPairLoss()(embeddings, labels)
    loss.backward()
    assert loss.isfinite() and embeddings.grad.isfinite().all()


@pytest.mark.parametrize("negatives", ["all", "positives_only"])
def test_the_gradient_is_that_of_the_loss(generator, negatives) -> None:
    embeddings, labels = random_pairs(generator, 3)
    embeddings.requires_grad_()
    loss = NPairLoss(negatives, regularization=0.1)
    assert torch.autograd.gradcheck(lambda e: loss(e, labels), embeddings)
    assert not loss.normalize


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 0, 0], "no negative"),
        ([0, 0, 0, 1], "label 0 has 3 samples"),
        ([0, 0, 1, 2], "label 1 has 1 samples"),
        ([0, 0, 1], "wanted (4,)"),
    ],
)
def test_a_batch_that_is_not_made_of_pairs_is_refused(labels, message) -> None:
    with pytest.raises(InputError) as refusal:
        NPairLoss()(torch.ones(4, 2), torch.tensor(labels))
    assert message in str(refusal.value)


def test_a_non_finite_embedding_is_named() -> None:
    embeddings = torch.ones(4, 2)
    embeddings[2, 1] = torch.nan
    with pytest.raises(InputError, match="sample 2 of 4"):
        NPairLoss()(embeddings, torch.tensor([0, 0, 1, 1]))


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="unknown negatives 'some'"):
        NPairLoss("some")
    with pytest.raises(InputError, match="regularization -1"):
        NPairLoss(regularization=-1)

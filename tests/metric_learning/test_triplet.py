"""The triplet losses against loops that state the rule, closed forms and another library."""

import math

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor
from torch.nn.functional import normalize

from caf_video.errors import InputError
from caf_video.metric_learning import (
    TripletLoss,
    batch_hard_triplet_loss,
    semi_hard_triplet_loss,
    unit_norm,
)


def random_batch(generator: torch.Generator, sizes: tuple[int, ...] = (4,) * 5):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    embeddings = torch.randn(len(labels), 6, generator=generator, dtype=torch.float64)
    return normalize(embeddings), labels


def distance(one: Tensor, other: Tensor, *, squared: bool) -> float:
    length = math.sqrt(sum(float(x - y) ** 2 for x, y in zip(one, other, strict=True)))
    return length**2 if squared else length


def semi_hard_by_loops(embeddings, labels, *, margin: float, squared: bool) -> float:
    """Section S1, a pair at a time."""
    losses = []
    batch = range(len(labels))
    for a in batch:
        for p in batch:
            if p == a or labels[p] != labels[a]:
                continue
            to_p = distance(embeddings[a], embeddings[p], squared=squared)
            to_n = [
                distance(embeddings[a], embeddings[n], squared=squared)
                for n in batch
                if labels[n] != labels[a]
            ]
            farther = [d for d in to_n if d > to_p]
            losses.append(max(0.0, to_p - (min(farther) if farther else max(to_n)) + margin))
    return sum(losses) / len(losses)


def hard_by_loops(embeddings, labels, *, margin: float, squared: bool, soft: bool) -> float:
    """Hermans et al., an anchor at a time."""
    losses = []
    batch = range(len(labels))
    for a in batch:
        to = [distance(embeddings[a], embeddings[o], squared=squared) for o in batch]
        to_p = [to[p] for p in batch if p != a and labels[p] == labels[a]]
        to_n = [to[n] for n in batch if labels[n] != labels[a]]
        if to_p:
            violation = max(to_p) - min(to_n)
            losses.append(math.log1p(math.exp(violation)) if soft else max(0.0, violation + margin))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("sizes", [(4,) * 5, (2, 2), (1, 3, 6)])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
def test_semi_hard_is_the_rule_of_section_s1(generator, sizes, squared, margin) -> None:
    embeddings, labels = random_batch(generator, sizes)
    loss = semi_hard_triplet_loss(embeddings, labels, margin=margin, squared=squared)
    wanted = semi_hard_by_loops(embeddings, labels, margin=margin, squared=squared)
    assert loss.item() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("sizes", [(4,) * 5, (2, 2), (1, 3, 6)])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_batch_hard_is_the_rule_of_hermans_et_al(generator, sizes, squared, soft) -> None:
    embeddings, labels = random_batch(generator, sizes)
    loss = batch_hard_triplet_loss(embeddings, labels, squared=squared, soft=soft)
    wanted = hard_by_loops(embeddings, labels, margin=0.2, squared=squared, soft=soft)
    assert loss.item() == pytest.approx(wanted, abs=1e-12)


def test_a_line_of_points_gives_the_number_worked_out_on_paper() -> None:
    # a at 0, its positive at 0.5; negatives at 0.4 (nearer than p), 0.6 (semi-hard) and 2.
    embeddings = torch.tensor([[0.0], [0.5], [0.4], [0.6], [2.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2, 3])
    # (0 -> 0.5): the nearest negative farther than 0.5 is at 0.6: 0.5 - 0.6 + 0.2 = 0.1.
    # (0.5 -> 0): distances to negatives 0.1, 0.1, 1.5; farther than 0.5: 1.5, so 0.
    assert semi_hard_triplet_loss(embeddings, labels).item() == pytest.approx(0.1 / 2)
    # hard: 0.5 - 0.4 + 0.2 = 0.3 and 0.5 - 0.1 + 0.2 = 0.6.
    assert batch_hard_triplet_loss(embeddings, labels).item() == pytest.approx(0.9 / 2)


def test_without_a_farther_negative_the_farthest_one_is_taken() -> None:
    embeddings = torch.tensor([[0.0], [1.0], [0.3], [0.4]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    # 0 -> 1: farthest 0.4: 1 - 0.4 + 0.2 = 0.8; 1 -> 0: farthest 0.7: 0.5;
    # 0.3 -> 0.4 and back: 0.1 against the nearest farther, 0.3 and 0.4: 0.
    assert semi_hard_triplet_loss(embeddings, labels).item() == pytest.approx((0.8 + 0.5) / 4)


def test_a_negative_as_far_as_the_positive_is_not_farther() -> None:
    embeddings = torch.tensor([[0.0], [1.0], [-1.0], [-3.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2])
    # 0 -> 1: of the negatives at 1 and 3 only the latter is farther: 1 - 3 + 0.2 < 0;
    # 1 -> 0: nearest farther 2: 1 - 2 + 0.2 < 0.
    assert semi_hard_triplet_loss(embeddings, labels).item() == 0.0


@pytest.mark.parametrize("mining", ["semi_hard", "hard"])
def test_collapsed_embeddings_cost_the_margin_and_have_a_finite_gradient(mining) -> None:
    embeddings = torch.ones(6, 4, requires_grad=True)
    loss = TripletLoss(mining)(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]))
    loss.backward()
    assert loss.item() == pytest.approx(0.2)
    assert embeddings.grad is not None and embeddings.grad.isfinite().all()


def test_a_zero_embedding_has_a_finite_gradient() -> None:
    embeddings = torch.zeros(4, 3)
    embeddings[1:] = torch.eye(3)
    embeddings.requires_grad_()
    TripletLoss(margin=2.0)(embeddings, torch.tensor([0, 0, 1, 1])).backward()
    assert embeddings.grad is not None and embeddings.grad.isfinite().all()
    assert unit_norm(torch.zeros(1, 3)).eq(0).all()


@pytest.mark.parametrize("mining", ["semi_hard", "hard"])
@pytest.mark.parametrize("squared", [False, True])
def test_the_gradient_is_that_of_the_loss(generator, mining, squared) -> None:
    embeddings, labels = random_batch(generator, (3, 3, 2))
    loss = TripletLoss(mining, margin=1.0, squared=squared)
    embeddings.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: loss(e, labels), embeddings)


@pytest.mark.parametrize("soft", [False, True])
def test_batch_hard_equals_pytorch_metric_learning(generator, soft) -> None:
    embeddings, labels = random_batch(generator)
    plain = LpDistance(normalize_embeddings=False)
    peer = TripletMarginLoss(
        margin=0.0 if soft else 0.2,  # its smooth loss keeps a margin, Hermans et al. have none
        smooth_loss=soft,
        distance=plain,
        reducer=MeanReducer(),  # its default leaves the zeros out of the mean
    )
    hardest = BatchHardMiner(distance=plain)(embeddings, labels)
    loss = batch_hard_triplet_loss(embeddings, labels, soft=soft)
    torch.testing.assert_close(loss, peer(embeddings, labels, hardest))


def test_the_module_measures_unit_norm_embeddings(generator) -> None:
    embeddings, labels = random_batch(generator)
    scales = torch.rand(len(labels), 1, generator=generator) * 10 + 0.1
    for loss in (TripletLoss(), TripletLoss("hard", soft=True)):
        torch.testing.assert_close(loss(embeddings * scales, labels), loss(embeddings, labels))
    assert TripletLoss.normalize


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("margin", [0.05, 0.7])
def test_the_module_is_the_rule_with_the_settings_that_it_was_given(
    generator, squared, margin
) -> None:
    embeddings, labels = random_batch(generator, (2, 3, 2))
    settings = {"margin": margin, "squared": squared}
    loss = TripletLoss(**settings)(5 * embeddings, labels)
    wanted = semi_hard_by_loops(embeddings, labels, **settings)
    assert loss.item() == pytest.approx(wanted, abs=1e-12)
    for soft in (False, True):
        loss = TripletLoss("hard", soft=soft, **settings)(5 * embeddings, labels)
        wanted = hard_by_loops(embeddings, labels, soft=soft, **settings)
        assert loss.item() == pytest.approx(wanted, abs=1e-12)


def test_the_order_of_the_batch_does_not_matter(generator) -> None:
    embeddings, labels = random_batch(generator)
    order = torch.randperm(len(labels), generator=generator)
    for loss in (TripletLoss(), TripletLoss("hard")):
        torch.testing.assert_close(loss(embeddings[order], labels[order]), loss(embeddings, labels))


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.eye(3), torch.tensor([0, 1, 2]), "no positive pair"),
        (torch.eye(3), torch.tensor([1, 1, 1]), "no negative"),
        (torch.eye(1), torch.tensor([0]), "no positive pair"),
        (torch.zeros(0, 2), torch.zeros(0), "no positive pair"),
        (torch.eye(3), torch.tensor([0, 1]), "wanted (3,)"),
        (torch.ones(3), torch.tensor([0, 0, 1]), "wanted (b, d)"),
        (torch.tensor([[1.0], [torch.nan], [2.0]]), torch.tensor([0, 0, 1]), "sample 1 of 3"),
        (torch.tensor([[1.0], [2.0], [torch.inf]]), torch.tensor([0, 0, 1]), "sample 2 of 3"),
    ],
)
@pytest.mark.parametrize("mining", ["semi_hard", "hard"])
def test_a_batch_without_a_triplet_is_refused(embeddings, labels, message, mining) -> None:
    with pytest.raises(InputError, match="^[^\n]*$") as refusal:
        TripletLoss(mining)(embeddings, labels)
    assert message in str(refusal.value)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="unknown mining 'easy'"):
        TripletLoss("easy")
    with pytest.raises(InputError, match="no soft variant"):
        TripletLoss(soft=True)
    with pytest.raises(InputError, match="margin -1"):
        TripletLoss(margin=-1)
    with pytest.raises(InputError, match="margin nan"):
        TripletLoss(margin=math.nan)

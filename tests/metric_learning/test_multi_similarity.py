"""The Multi-Similarity loss against its paper by loops, hand-worked numbers and another library."""

import math

import pytest
import torch
from pytorch_metric_learning.losses import MultiSimilarityLoss as Peer
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch.nn.functional import normalize

from caf_video.errors import InputError
from caf_video.metric_learning import MultiSimilarityLoss, multi_similarity_loss

PAPER = {"alpha": 2.0, "beta": 50.0, "base": 1.0, "epsilon": 0.1}
SETTINGS = [
    PAPER,
    {**PAPER, "base": 0.5},
    {"alpha": 3.0, "beta": 7.0, "base": -0.2, "epsilon": 0.0},
    {**PAPER, "epsilon": math.inf},
]


def random_batch(generator: torch.Generator, sizes: tuple[int, ...] = (3,) * 4, spread: float = 1):
    """Unit embeddings around the centre of their class, and their labels."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    centers = torch.randn(len(sizes), 6, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(labels), 6, generator=generator, dtype=torch.float64)
    return normalize(centers[labels] + spread * noise), labels


def by_loops(embeddings, labels, *, alpha, beta, base, epsilon) -> float:
    """Eq. 7, 8 and 12 of the paper, an anchor at a time."""
    total = 0.0
    batch = range(len(labels))
    for i in batch:
        similarity = [float(embeddings[i] @ embeddings[k]) for k in batch]
        positive = [similarity[k] for k in batch if k != i and labels[k] == labels[i]]
        negative = [similarity[k] for k in batch if labels[k] != labels[i]]
        if not positive or not negative:
            continue  # nothing to be harder than: no pair is chosen
        negatives_kept = [s for s in negative if s > min(positive) - epsilon]
        positives_kept = [s for s in positive if s < max(negative) + epsilon]
        total += math.log(1 + sum(math.exp(-alpha * (s - base)) for s in positives_kept)) / alpha
        total += math.log(1 + sum(math.exp(beta * (s - base)) for s in negatives_kept)) / beta
    return total / len(labels)


@pytest.mark.parametrize("sizes", [(3,) * 4, (2, 2), (1, 3, 6)])
@pytest.mark.parametrize("spread", [0.2, 1.0])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_is_the_papers_equations(generator, sizes, spread, settings) -> None:
    embeddings, labels = random_batch(generator, sizes, spread)
    loss = multi_similarity_loss(embeddings, labels, **settings)
    assert loss.item() == pytest.approx(by_loops(embeddings, labels, **settings), rel=1e-12)
    module = MultiSimilarityLoss(**settings)(5 * embeddings, labels)
    assert module.item() == pytest.approx(loss.item(), rel=1e-12)


def test_its_defaults_are_those_of_the_paper_with_the_authors_codes_base(generator) -> None:
    embeddings, labels = random_batch(generator)
    wanted = by_loops(embeddings, labels, **{**PAPER, "base": 0.5})
    assert multi_similarity_loss(embeddings, labels).item() == pytest.approx(wanted)
    assert MultiSimilarityLoss()(embeddings, labels).item() == pytest.approx(wanted)
    assert MultiSimilarityLoss.normalize


@pytest.mark.parametrize("sizes", [(3,) * 4, (2, 2), (1, 3, 6)])
@pytest.mark.parametrize("spread", [0.2, 1.0])
def test_it_equals_pytorch_metric_learning(generator, sizes, spread) -> None:
    embeddings, labels = random_batch(generator, sizes, spread)
    embeddings.requires_grad_()
    peer = Peer(alpha=2, beta=50, base=0.5)
    mined = MultiSimilarityMiner(epsilon=0.1)(embeddings, labels)
    ours, theirs = MultiSimilarityLoss()(embeddings, labels), peer(embeddings, labels, mined)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, embeddings)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_a_line_of_cosines_gives_the_number_worked_out_on_paper() -> None:
    # Angles in degrees. From 0: its positive at 60 (s 0.5), negatives at 90 (s 0) and 58 (s 0.53).
    angles = torch.tensor([0.0, 60.0, 90.0, 58.0], dtype=torch.float64).deg2rad()
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([0, 0, 1, 1])

    def cosine(degrees: float) -> float:
        return math.cos(math.radians(degrees))

    def term(scale: float, *exponents: float) -> float:
        return math.log(1 + sum(math.exp(e) for e in exponents)) / scale

    anchors = [
        # 0: the negative at 90 is below 0.5 - 0.1 and not chosen.
        term(2, -2 * (0.5 - 0.5)) + term(50, 50 * (cosine(58) - 0.5)),
        # 60: both negatives (30 and 2 degrees away) are nearer than its positive.
        term(2, 0.0) + term(50, 50 * (cosine(30) - 0.5), 50 * (cosine(2) - 0.5)),
        # 90: its positive is 32 away (0.848); negatives 90 (0) and 30 (0.866) away.
        term(2, -2 * (cosine(32) - 0.5)) + term(50, 50 * (cosine(30) - 0.5)),
        # 58: its positive is 32 away; negatives 58 (0.53) and 2 (0.999) away.
        term(2, -2 * (cosine(32) - 0.5)) + term(50, 50 * (cosine(2) - 0.5)),
    ]
    loss = multi_similarity_loss(embeddings, labels)
    assert loss.item() == pytest.approx(sum(anchors) / 4)


def test_well_separated_classes_cost_nothing() -> None:
    embeddings = torch.eye(2).repeat_interleave(3, dim=0).requires_grad_()
    loss = MultiSimilarityLoss()(embeddings, torch.tensor([0, 0, 0, 1, 1, 1]))
    loss.backward()
    assert loss.item() == 0 and embeddings.grad.eq(0).all()


def test_equal_embeddings_choose_all_and_have_a_finite_gradient() -> None:
    embeddings = torch.ones(6, 4, requires_grad=True)
    loss = MultiSimilarityLoss()(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]))
    loss.backward()
    # s = 1: one positive, four negatives of each.
    wanted = math.log(1 + math.exp(-1)) / 2 + math.log(1 + 4 * math.exp(25)) / 50
    assert loss.item() == pytest.approx(wanted)
    assert embeddings.grad.isfinite().all()


def test_large_exponents_and_zero_embeddings_have_a_finite_gradient(generator) -> None:
    embeddings, labels = random_batch(generator, (1, 3, 2))
    embeddings = embeddings.float()
    embeddings[0] = 0
    loss = MultiSimilarityLoss(alpha=1e4, beta=1e4)(embeddings.requires_grad_(), labels)
    loss.backward()
    assert loss.isfinite() and embeddings.grad.isfinite().all()


def test_the_gradient_is_that_of_the_loss(generator) -> None:
    embeddings, labels = random_batch(generator, (3, 3, 2))
    loss = MultiSimilarityLoss(beta=5.0)
    embeddings.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: loss(e, labels), embeddings)


def test_the_order_of_the_batch_does_not_matter(generator) -> None:
    embeddings, labels = random_batch(generator)
    order = torch.randperm(len(labels), generator=generator)
    loss = MultiSimilarityLoss()
    torch.testing.assert_close(loss(embeddings[order], labels[order]), loss(embeddings, labels))


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.eye(3), torch.tensor([0, 1, 2]), "no positive pair"),
        (torch.eye(3), torch.tensor([1, 1, 1]), "no negative"),
        (torch.zeros(0, 2), torch.zeros(0), "no positive pair"),
        (torch.eye(3), torch.tensor([0, 1]), "wanted (3,)"),
        (torch.tensor([[1.0], [torch.nan], [2.0]]), torch.tensor([0, 0, 1]), "sample 1 of 3"),
    ],
)
def test_a_batch_without_pairs_of_both_kinds_is_refused(embeddings, labels, message) -> None:
    with pytest.raises(InputError, match="^[^\n]*$") as refusal:
        MultiSimilarityLoss()(embeddings, labels)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0}, "alpha 0"),
        ({"beta": math.inf}, "beta inf"),
        ({"base": math.nan}, "base nan"),
        ({"epsilon": -0.1}, "epsilon -0.1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message) -> None:
    with pytest.raises(InputError, match=message):
        MultiSimilarityLoss(**settings)

"""The Proxy-Anchor loss against its paper by loops, hand-worked numbers and another library."""

import math

import pytest
import torch
from pytorch_metric_learning.losses import ProxyAnchorLoss as Peer
from torch.nn.functional import normalize

from caf_video.errors import InputError
from caf_video.metric_learning import ProxyAnchorLoss, proxy_anchor_loss


def random_batch(generator: torch.Generator, labels: list[int], *, classes: int = 5):
    """Unit embeddings, their labels and unit proxies."""
    embeddings = torch.randn(len(labels), 6, generator=generator, dtype=torch.float64)
    proxies = torch.randn(classes, 6, generator=generator, dtype=torch.float64)
    return normalize(embeddings), torch.tensor(labels), normalize(proxies)


def by_loops(embeddings, labels, proxies, *, alpha: float, margin: float) -> float:
    """Eq. 4 of the paper, a proxy at a time."""
    pull, push = [], []
    for number, proxy in enumerate(proxies):
        of_class, of_others = 0.0, 0.0
        for sample, label in zip(embeddings, labels.tolist(), strict=True):
            similarity = sum(float(x * y) for x, y in zip(sample, proxy, strict=True))
            if label == number:
                of_class += math.exp(-alpha * (similarity - margin))
            else:
                of_others += math.exp(alpha * (similarity + margin))
        if number in labels.tolist():
            pull.append(math.log(1 + of_class))
        push.append(math.log(1 + of_others))
    return sum(pull) / len(pull) + sum(push) / len(push)


BATCHES = {
    "some classes are missing": [0, 0, 0, 3, 3, 1],
    "all classes": [4, 0, 1, 2, 3, 3],
    "one class": [2, 2, 2],
    "one sample a class": [0, 2, 4],
    "one sample": [1],
}


@pytest.mark.parametrize("labels", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize(("alpha", "margin"), [(32.0, 0.1), (4.0, 0.5), (1.0, 0.0)])
def test_it_is_equation_4(generator, labels, alpha, margin) -> None:
    batch = random_batch(generator, labels)
    loss = proxy_anchor_loss(*batch, alpha=alpha, margin=margin)
    assert loss.item() == pytest.approx(by_loops(*batch, alpha=alpha, margin=margin), rel=1e-12)


def test_a_margin_of_nothing_is_one() -> None:
    assert ProxyAnchorLoss(3, 2, margin=0).margin == 0


def module_with(proxies: torch.Tensor, **settings) -> ProxyAnchorLoss:
    loss = ProxyAnchorLoss(*proxies.shape, **settings).to(proxies.dtype)
    with torch.no_grad():
        loss.proxies.copy_(proxies)
    return loss


def test_the_module_measures_unit_vectors_with_the_settings_that_it_was_given(generator) -> None:
    embeddings, labels, proxies = random_batch(generator, [0, 0, 1, 4])
    scales = torch.rand(len(proxies), 1, generator=generator) * 10 + 0.1
    for settings in ({"alpha": 32.0, "margin": 0.1}, {"alpha": 3.0, "margin": 0.4}):
        loss = module_with(scales * proxies, **settings)(7 * embeddings, labels)
        assert loss.item() == pytest.approx(by_loops(embeddings, labels, proxies, **settings))
    defaults = module_with(proxies)(embeddings, labels)
    wanted = by_loops(embeddings, labels, proxies, alpha=32.0, margin=0.1)
    assert defaults.item() == pytest.approx(wanted)
    assert ProxyAnchorLoss.normalize


@pytest.mark.parametrize("labels", BATCHES.values(), ids=BATCHES)
def test_it_equals_pytorch_metric_learning(generator, labels) -> None:
    embeddings, labels, proxies = random_batch(generator, labels)
    peer = Peer(num_classes=5, embedding_size=6, margin=0.1, alpha=32)
    with torch.no_grad():
        peer.proxies.copy_(proxies)
    ours = module_with(proxies)(embeddings.requires_grad_(), labels)
    theirs = peer(embeddings, labels)
    torch.testing.assert_close(ours, theirs, check_dtype=False, rtol=1e-6, atol=1e-6)
    # Their proxies are float32 when they are made.
    gradients = [torch.autograd.grad(loss, embeddings)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


def test_equal_embeddings_give_the_number_worked_out_on_paper() -> None:
    # Two classes of two equal samples on proxy 0; proxy 1 opposite. alpha 2, margin 0.5.
    embeddings = torch.tensor([[1.0, 0.0]] * 4, requires_grad=True)
    loss = module_with(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), alpha=2.0, margin=0.5)
    value = loss(embeddings, torch.tensor([0, 0, 1, 1]))
    pull = math.log(1 + 2 * math.exp(-1)) + math.log(1 + 2 * math.exp(3))
    push = math.log(1 + 2 * math.exp(3)) + math.log(1 + 2 * math.exp(-1))
    assert value.item() == pytest.approx(pull / 2 + push / 2)
    value.backward()
    assert embeddings.grad.isfinite().all() and loss.proxies.grad.isfinite().all()


@pytest.mark.parametrize("labels", BATCHES.values(), ids=BATCHES)
def test_large_exponents_and_zero_embeddings_have_a_finite_gradient(generator, labels) -> None:
    embeddings, labels, proxies = (values for values in random_batch(generator, labels))
    embeddings = embeddings.float()
    embeddings[0] = 0
    loss = module_with(proxies.float(), alpha=1e4)  # e^1e4 is beyond every float
    value = loss(embeddings.requires_grad_(), labels)
    value.backward()
    assert value.isfinite()
    assert embeddings.grad.isfinite().all() and loss.proxies.grad.isfinite().all()


def test_the_gradient_is_that_of_the_loss(generator) -> None:
    embeddings, labels, proxies = random_batch(generator, [0, 0, 1, 4])
    embeddings, proxies = embeddings.requires_grad_(), proxies.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda e, p: proxy_anchor_loss(e, labels, p, alpha=4.0), (embeddings, proxies)
    )


def test_the_proxies_are_drawn_by_the_seed_around_zero() -> None:
    def proxies(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return ProxyAnchorLoss(50, 200).proxies.detach()

    assert torch.equal(proxies(1), proxies(1)) and not torch.equal(proxies(1), proxies(2))
    assert proxies(1).mean().item() == pytest.approx(0, abs=0.01)
    # kaiming_normal_ with fan_out, as the authors' code has it: sqrt(2 / classes)
    assert proxies(1).std().item() == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.eye(3), torch.tensor([0, 1, 5]), "labels from 0 to 5 with 5 proxies: wanted 0 to 4"),
        (torch.eye(3), torch.tensor([0, 1, -1]), "labels from -1 to 1 with 5 proxies"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "empty batch"),
        (torch.eye(3), torch.tensor([0, 1]), "wanted (3,)"),
        (torch.eye(3) / torch.eye(3), torch.tensor([0, 1, 2]), "sample 0 of 3"),
    ],
)
def test_a_batch_that_it_is_not_defined_on_is_refused(embeddings, labels, message) -> None:
    with pytest.raises(InputError, match="^[^\n]*$") as refusal:
        ProxyAnchorLoss(5, 3)(embeddings, labels)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((0, 3), {}, "0 classes"),
        ((3, 0), {}, "0 numbers in an embedding"),
        ((3, 3), {"alpha": 0}, "alpha 0"),
        ((3, 3), {"margin": math.nan}, "margin nan"),
        ((3, 3), {"learning_rate_factor": 0}, "learning_rate_factor 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(arguments, settings, message) -> None:
    with pytest.raises(InputError, match=message):
        ProxyAnchorLoss(*arguments, **settings)

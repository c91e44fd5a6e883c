"""The Lightning modules, built by hand: their losses, R@1 and top-1."""

import math

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from caf_video.errors import InputError
from caf_video.metric_learning import NPairLoss, ProxyAnchorLoss, TripletLoss, unit_norm
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.retrieval import recall_at_k
from caf_video.training import Batch, ClassifierModule, EmbeddingModule, TrainingModule
from caf_video.training.optimizers import adam


@pytest.fixture
def model() -> RecurrentEmbedder:
    torch.manual_seed(0)
    return RecurrentEmbedder(in_channels=6, grid=(2, 3), channels=4, hidden=5, embedding_dim=3)


def module_of(model, loss=None) -> EmbeddingModule:
    return EmbeddingModule(
        model, loss or TripletLoss(), lambda network, steps: adam(network, steps, lr=1e-3)
    )


def batch_of(generator, count: int = 12) -> Batch:
    maps = torch.randn(count, 3, 6, 2, 3, generator=generator) * 3
    return Batch(maps, torch.arange(count) % 3, torch.arange(count))


def part(batch: Batch, rows) -> Batch:
    return Batch(*(values[rows] for values in batch))


def logged_by(module: TrainingModule) -> dict[str, float]:
    """What the module logs from now on, by name."""
    logged: dict[str, float] = {}

    def log(name: str, value: float | torch.Tensor, **settings) -> None:
        logged[name] = torch.as_tensor(value, dtype=torch.float64).item()

    module.log = log
    return logged


def validated(module: TrainingModule, batches) -> float:
    """The metric, as Lightning would log it after these validation batches."""
    logged = logged_by(module)
    trainer = pl.Trainer(
        logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False
    )
    module.trainer = trainer
    with torch.no_grad():
        for number, batch in enumerate(batches):
            module.validation_step(batch, number)
        module.on_validation_epoch_end()
    return logged[module.metric]


@pytest.mark.parametrize("loss", [TripletLoss(), NPairLoss()])
def test_recall_is_that_of_the_embeddings_as_the_loss_compares_them(generator, model, loss) -> None:
    batch = batch_of(generator, 30)
    embeddings = model(batch.inputs).detach()
    if loss.normalize:
        embeddings = unit_norm(embeddings)
    wanted = recall_at_k(embeddings, batch.labels.tolist(), ks=(1,)).recall[1]
    parts = [part(batch, slice(start, start + 8)) for start in range(0, 30, 8)]
    assert validated(module_of(model, loss), parts) == pytest.approx(wanted)


@pytest.mark.parametrize(("loss", "recall"), [(TripletLoss(), 1.0), (NPairLoss(), 0.0)])
def test_directions_and_lengths_give_the_numbers_worked_out_on_paper(loss, recall) -> None:
    # By direction each point is nearest to the one of its class, by distance to the other class's.
    points = torch.tensor([[1.0, 0.0], [10.0, 1.0], [1.0, 0.5], [10.0, 6.0]])
    batch = Batch(points, torch.tensor([0, 0, 1, 1]), torch.arange(4))
    assert validated(module_of(nn.Identity(), loss), [batch]) == recall


def test_a_clip_that_comes_twice_counts_once(generator, model) -> None:
    batch = batch_of(generator, 30)
    whole = validated(module_of(model), [batch])
    padded = [batch, part(batch, torch.tensor([3, 3, 0]))]
    assert validated(module_of(model), padded) == whole


def test_a_validation_leaves_nothing_behind(generator, model) -> None:
    module = module_of(model)
    first = validated(module, [batch_of(generator)])
    generator.manual_seed(20_201_123)
    assert validated(module, [batch_of(generator)]) == first


def test_the_training_step_is_the_loss_of_the_embeddings(generator, model) -> None:
    module, batch = module_of(model), batch_of(generator)
    logged = logged_by(module)
    wanted = TripletLoss()(model(batch.inputs), batch.labels)
    assert torch.equal(module.training_step(batch, 0), wanted)
    assert logged == {"loss": wanted.item()}


def test_a_loss_is_given_the_places_of_the_labels_among_the_training_classes(generator) -> None:
    loss = ProxyAnchorLoss(3, 2)
    module = EmbeddingModule(nn.Identity(), loss, lambda network, steps: {}, classes=[2, 5, 9])
    logged_by(module)
    points = torch.randn(4, 2, generator=generator)
    batch = Batch(points, torch.tensor([9, 2, 2, 5]), torch.arange(4))
    wanted = loss(points, torch.tensor([2, 0, 0, 1]))
    assert torch.equal(module.training_step(batch, 0), wanted)
    assert [*module.state_dict()] == ["loss.proxies"]  # the classes come from the data, each time


class Planned:
    estimated_stepping_batches = 7


def test_the_factory_is_given_a_loss_that_has_parameters_and_no_other(model) -> None:
    def factory(network, steps, loss=None):
        return network, steps, loss

    for loss, given in ((TripletLoss(), False), (ProxyAnchorLoss(3, 3), True)):
        module = EmbeddingModule(model, loss, factory)
        module.trainer = Planned()
        assert module.configure_optimizers() == (model, 7, loss if given else None)


def test_a_factory_that_would_leave_the_losss_parameters_untrained_is_refused(model) -> None:
    module = EmbeddingModule(model, ProxyAnchorLoss(3, 3), lambda network, steps: {})
    with pytest.raises(InputError, match="takes no loss"):
        module.configure_optimizers()


class AtStep:
    """What a module asks of its trainer at the start of a step."""

    def __init__(self, step: int, *rates: float) -> None:
        self.global_step = step
        self.optimizers = [self]
        self.param_groups = [{"lr": rate} for rate in rates]


def test_the_learning_rate_of_a_step_is_that_of_what_is_fresh(model) -> None:
    module = module_of(model)
    logged = logged_by(module)
    trainer = AtStep(7, 0.2, 0.02)  # fresh parameters are the first group
    module.trainer = trainer
    module.on_train_batch_start(None, 0)
    assert logged == {"learning_rate": 0.2}


def test_what_a_network_draws_depends_on_the_seed_and_the_step_alone(model) -> None:
    def drawn(seed: int, step: int) -> float:
        module = EmbeddingModule(model, TripletLoss(), lambda network, steps: {}, seed=seed)
        logged_by(module)
        trainer = AtStep(step, 0.1)
        module.trainer = trainer
        module.on_train_batch_start(None, 0)
        return torch.rand(()).item()

    pairs = [(seed, step) for seed in range(4) for step in range(5)]
    first = [drawn(*pair) for pair in pairs]
    assert len(set(first)) == len(pairs)
    assert [drawn(*pair) for pair in reversed(pairs)] == first[::-1]


# --- classifiers ----------------------------------------------------------------------------------


class TwoClassifiers(nn.Module):
    """Logits are the inputs; in training a second classifier gives them doubled."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs

    def training_logits(self, inputs, targets) -> tuple[torch.Tensor, ...]:
        return inputs, 2 * inputs


def test_a_classifiers_loss_is_summed_over_its_classifiers_and_averaged_over_samples() -> None:
    module = ClassifierModule(TwoClassifiers(), lambda network, steps: {})
    logged = logged_by(module)
    logits, labels = [[1.0, 0.0], [2.0, 2.0], [0.0, 5.0]], [0, 1, 0]
    batch = Batch(torch.tensor(logits), torch.tensor(labels), torch.arange(3))
    wanted = 0.0
    for factor in (1, 2):
        for row, label in zip(logits, labels, strict=True):
            share = math.exp(factor * row[label]) / sum(math.exp(factor * x) for x in row)
            wanted -= math.log(share) / 3
    assert module.training_step(batch, 0).item() == pytest.approx(wanted)
    assert logged == {"loss": pytest.approx(wanted)}


def test_top_1_is_the_share_of_images_whose_own_logit_is_the_largest() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 2.0], [0.0, 4.0]])
    batch = Batch(logits, torch.tensor([0, 1, 1, 1]), torch.arange(4))
    module = ClassifierModule(TwoClassifiers(), lambda network, steps: {})
    assert validated(module, [part(batch, slice(0, 3)), part(batch, slice(3, 4))]) == 0.75
    twice = part(batch, torch.tensor([2, 2, 2]))  # padding of another process
    assert validated(module, [batch, twice]) == 0.75

"""The Lightning module, built by hand: its loss, its R@1, its optimizers."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from caf_video.metric_learning import NPairLoss, TripletLoss, unit_norm
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.retrieval import recall_at_k
from caf_video.training import ClipBatch, RecurrentModule
from caf_video.training.optimizers import adam, adamw_one_cycle


@pytest.fixture
def model() -> RecurrentEmbedder:
    torch.manual_seed(0)
    return RecurrentEmbedder(in_channels=6, grid=(2, 3), channels=4, hidden=5, embedding_dim=3)


def module_of(model, loss=None) -> RecurrentModule:
    return RecurrentModule(
        model, loss or TripletLoss(), lambda parameters, steps: adam(parameters, steps, lr=1e-3)
    )


def batch_of(generator, count: int = 12) -> ClipBatch:
    maps = torch.randn(count, 3, 6, 2, 3, generator=generator) * 3
    return ClipBatch(maps, torch.arange(count) % 3, torch.arange(count))


def part(batch: ClipBatch, rows) -> ClipBatch:
    return ClipBatch(*(values[rows] for values in batch))


def validated(module: RecurrentModule, batches) -> float:
    """recall@1, as Lightning would log it after these validation batches."""
    logged: dict[str, float] = {}
    module.log = lambda name, value, **settings: logged.update({name: float(value)})
    trainer = pl.Trainer(
        logger=False, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False
    )
    module.trainer = trainer
    with torch.no_grad():
        for number, batch in enumerate(batches):
            module.validation_step(batch, number)
        module.on_validation_epoch_end()
    return logged["recall@1"]


@pytest.mark.parametrize("loss", [TripletLoss(), NPairLoss()])
def test_recall_is_that_of_the_embeddings_as_the_loss_compares_them(generator, model, loss) -> None:
    batch = batch_of(generator, 30)
    embeddings = model(batch.feature_maps).detach()
    if loss.normalize:
        embeddings = unit_norm(embeddings)
    wanted = recall_at_k(embeddings, batch.labels.tolist(), ks=(1,)).recall[1]
    parts = [part(batch, slice(start, start + 8)) for start in range(0, 30, 8)]
    assert validated(module_of(model, loss), parts) == pytest.approx(wanted)


@pytest.mark.parametrize(("loss", "recall"), [(TripletLoss(), 1.0), (NPairLoss(), 0.0)])
def test_directions_and_lengths_give_the_numbers_worked_out_on_paper(loss, recall) -> None:
    # By direction each point is nearest to the one of its class, by distance to the other class's.
    points = torch.tensor([[1.0, 0.0], [10.0, 1.0], [1.0, 0.5], [10.0, 6.0]])
    batch = ClipBatch(points, torch.tensor([0, 0, 1, 1]), torch.arange(4))
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
    module.log = lambda *values, **settings: None
    wanted = TripletLoss()(model(batch.feature_maps), batch.labels)
    assert torch.equal(module.training_step(batch, 0), wanted)


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_almost_nothing(model) -> None:
    made = adamw_one_cycle(model.parameters(), 50, lr=0.1, weight_decay=0.02)
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(50):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert max(rates) == pytest.approx(0.1, rel=0.01) and rates.index(max(rates)) in (14, 15)
    assert rates[0] < 0.01 and rates[-1] < 1e-5
    assert made["lr_scheduler"]["interval"] == "step"
    assert optimizer.param_groups[0]["weight_decay"] == 0.02


def test_adam_keeps_its_learning_rate(model) -> None:
    assert adam(model.parameters(), 50, lr=0.3).keys() == {"optimizer"}

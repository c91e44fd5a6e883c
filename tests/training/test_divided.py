"""A training divided among processes is the training of one: weights, losses, validation."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from caf_video.metric_learning import NPairLoss, PKBatchSampler, ProxyAnchorLoss, TripletLoss
from caf_video.training import (
    ClassifierModule,
    EmbeddingModule,
    EvaluationBatches,
    TrainingBatches,
)
from caf_video.training.optimizers import adam

SIZES = (3, 2, 3, 2, 3)  # samples of each class: batches of 7 or 8, which 2 and 3 do not divide
LABELS = [label for label, size in enumerate(SIZES) for _ in range(size)]
STEPS = 3
WORLDS = (1, 2, 3)
LOSSES: dict[str, Callable[[], nn.Module]] = {
    "semi-hard": TripletLoss,
    "hard": lambda: TripletLoss("hard"),
    "N-pair": NPairLoss,
    "Proxy-Anchor": lambda: ProxyAnchorLoss(len(SIZES), 4),
}


class Points:
    """Samples that depend on their position and on what is drawn of them."""

    def __len__(self) -> int:
        return len(LABELS)

    def batch(self, positions, randoms) -> torch.Tensor:
        fixed = [
            torch.randn(6, generator=torch.Generator().manual_seed(position)).double()
            for position in positions
        ]
        if randoms is not None:
            fixed = [
                row + 0.1 * float(random.random())
                for row, random in zip(fixed, randoms, strict=True)
            ]
        return torch.stack(fixed)


class Logits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, len(SIZES))

    def training_logits(self, inputs, labels) -> list[torch.Tensor]:
        return [self.layer(inputs)]

    def forward(self, inputs) -> torch.Tensor:
        return self.layer(inputs)


class Data(pl.LightningDataModule):
    def __init__(self, samples_per_class: int) -> None:
        super().__init__()
        self.samples_per_class = samples_per_class

    def process(self) -> dict[str, int]:
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}

    def train_dataloader(self) -> TrainingBatches:
        sampler = PKBatchSampler(
            [str(label) for label in LABELS],
            classes_per_batch=3,
            samples_per_class=self.samples_per_class,
            batches_per_epoch=STEPS,
            seed=5,
        )
        return TrainingBatches(Points(), LABELS, sampler, seed=5, **self.process())

    def val_dataloader(self) -> EvaluationBatches:
        return EvaluationBatches(Points(), LABELS, batch_size=2, **self.process())


def trained(name: str, world: int) -> tuple[dict[str, torch.Tensor], float, float]:
    """Weights, last loss and metric of three steps, in float64."""
    torch.manual_seed(11)

    def optimizer(network, steps, loss=None):
        return adam(network, steps, lr=1e-2, **({"loss": loss} if loss is not None else {}))

    if name == "classifier":
        module = ClassifierModule(Logits(), optimizer)
    else:
        network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
        module = EmbeddingModule(network, LOSSES[name](), optimizer)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=world,
        strategy="ddp" if world > 1 else "auto",
        precision="64-true",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(module, datamodule=Data(2 if name == "N-pair" else 3))
    found = trainer.callback_metrics
    weights = {key: value.clone() for key, value in module.state_dict().items()}
    return weights, float(found["loss"]), float(found[module.metric])


def one_of(rank: int, ports: dict[int, int], folder: str) -> None:
    """What process `rank` does, as torchrun would have started it, for each number of processes."""
    import warnings

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for world in WORLDS[1:]:
        if rank >= world:
            continue
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(ports[world]),
            "WORLD_SIZE": str(world),
            "LOCAL_RANK": str(rank),
            "NODE_RANK": "0",
        }
        for name in (*LOSSES, "classifier"):
            found = trained(name, world)
            torch.save(found, Path(folder) / f"{name} {world} {rank}.pt")
        torch.distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


@pytest.fixture(scope="module")
def divided(tmp_path_factory) -> Path:
    """What every process of two, and of three, ended with."""
    folder = tmp_path_factory.mktemp("divided")
    ports = {world: free_port() for world in WORLDS[1:]}
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=one_of, args=(rank, ports, str(folder))) for rank in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=240)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    return folder


@pytest.mark.filterwarnings("ignore")  # Lightning's, on numbers of workers and of devices
@pytest.mark.parametrize("world", WORLDS[1:])
@pytest.mark.parametrize("name", [*LOSSES, "classifier"])
def test_processes_end_with_the_weights_loss_and_metric_of_one(divided, name, world) -> None:
    weights, loss, metric = trained(name, 1)
    for rank in range(world):
        found = torch.load(divided / f"{name} {world} {rank}.pt", weights_only=True)
        for key, value in found[0].items():
            torch.testing.assert_close(value, weights[key], rtol=0, atol=1e-10)
        assert found[1] == pytest.approx(loss, abs=1e-10)
        assert found[2] == metric

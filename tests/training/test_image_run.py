"""Trainings on images: both kinds stopped and resumed, and what comes back of them."""

import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from caf_video.data.images import read_image
from caf_video.errors import InputError
from caf_video.metric_learning import NPairLoss, TripletLoss, unit_norm
from caf_video.models.image_network import ImageNetwork
from caf_video.training import (
    CheckpointError,
    ClassifierModule,
    EmbeddingModule,
    ImageDataModule,
    RunFolder,
    TrainingInterrupted,
    TrainingModule,
    load_clip_run,
    load_image_run,
    load_run,
    read_metrics,
    train_run,
)
from caf_video.training.optimizers import adamw_one_cycle, sgd_steps

EPOCHS, LENGTH = 2, 4
EVERYTHING = ("triplet", "n_pair", "gap", "acol", "adl")
RANKED = {"triplet": (TripletLoss(), 3), "n_pair": (NPairLoss(), 2)}

pytestmark = pytest.mark.usefixtures("tiny_backbone")


def run_training(
    folder: Path,
    root: Path,
    what: str,
    *,
    resume: bool = False,
    interrupt_at: int | None = None,
    workers: int = 0,
    window: float = 0.8,
) -> TrainingModule:
    """Train a tiny network as the pipeline does; returns what it ended with."""
    loss, samples_per_class = RANKED.get(what, (None, None))
    config = {
        "kind": "retrieval" if loss else "classifier",
        "seed": 0,
        "data": {"root": str(root), "workers": workers, "window": window},
        "model": {"tuning": what},
    }
    data = ImageDataModule(
        "folder",
        root,
        protocol="classification",
        backbone="tiny",
        size=[32, 40],
        window=window,
        batch_size=9,
        samples_per_class=samples_per_class,
        batches_per_epoch=LENGTH,
        seed=0,
        workers=workers,
    )
    run = RunFolder.begin(folder, config, data.description, ckpt_path="last" if resume else None)
    torch.manual_seed(0)
    network = partial(ImageNetwork, "tiny", weights="none", erase_channels=8)
    module: TrainingModule
    if loss:
        one_cycle = partial(adamw_one_cycle, lr=1e-2, weight_decay=0.01)
        module = EmbeddingModule(network(outputs=5), loss, one_cycle)
    else:
        steps = partial(sgd_steps, momentum=0.9, weight_decay=0.0, pretrained_factor=0.1)
        factory = partial(steps, lr=0.05, drops=[0.6])
        module = ClassifierModule(network(outputs=3, tuning=what), factory)
    if interrupt_at is not None:
        interrupt(module, interrupt_at)
    trainer = partial(
        pl.Trainer, max_epochs=EPOCHS, accelerator="cpu", devices=1, log_every_n_steps=1
    )
    train_run(run, module, data, make_trainer=trainer, progress_bar=False)
    return module


def interrupt(module: TrainingModule, at: int) -> None:
    """Press Ctrl-C in the middle of a step, counted from 0."""
    step = module.training_step

    def interrupted(*given):
        if module.global_step == at:
            signal.raise_signal(signal.SIGINT)
        return step(*given)

    module.training_step = interrupted


@pytest.fixture(scope="module")
def runs(pictures, tmp_path_factory) -> dict[str, tuple[Path, TrainingModule]]:
    """An uninterrupted training of each."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        what: (folder / what, run_training(folder / what, pictures, what)) for what in EVERYTHING
    }


@pytest.mark.parametrize("what", EVERYTHING)
def test_it_learns_and_logs_every_step_and_every_validation(runs, what) -> None:
    folder, module = runs[what]
    series = read_metrics(folder)
    assert series.keys() == {"loss", "learning_rate", module.metric}
    assert module.metric == ("recall@1" if what in RANKED else "top-1")
    assert series["loss"][0] == series["learning_rate"][0] == list(range(EPOCHS * LENGTH))
    assert series[module.metric][0] == [LENGTH - 1, 2 * LENGTH - 1]
    assert max(series[module.metric][1]) > 0.6  # of three classes
    losses = series["loss"][1]
    assert sum(losses[-3:]) < sum(losses[:3])


@pytest.mark.parametrize("at", [1, LENGTH - 1, LENGTH])
@pytest.mark.parametrize("what", EVERYTHING)
def test_stopped_and_resumed_it_ends_as_if_it_never_had(
    runs, pictures, tmp_path, assert_same_end, what, at
) -> None:
    with pytest.raises(TrainingInterrupted, match=f"after step {at + 1}: .*ckpt_path=last"):
        run_training(tmp_path, pictures, what, interrupt_at=at)
    run_training(tmp_path, pictures, what, resume=True)
    assert_same_end(tmp_path, runs[what][0])


@pytest.mark.parametrize("what", ["n_pair", "adl"])
def test_with_other_processes_and_a_moved_folder_it_goes_on_all_the_same(
    runs, pictures, tmp_path, assert_same_end, what
) -> None:
    moved = Path(shutil.copytree(pictures, tmp_path / "moved"))
    with pytest.raises(TrainingInterrupted):
        run_training(tmp_path / "run", moved, what, interrupt_at=LENGTH, workers=2)
    run_training(tmp_path / "run", pictures, what, resume=True, workers=1)
    assert_same_end(tmp_path / "run", runs[what][0])


def test_other_settings_or_images_are_refused(runs, pictures, make_pictures) -> None:
    folder, _ = runs["adl"]
    for what, changes, told in (
        ("adl", {"window": 0.9}, r"data\.window=0\.8, not 0\.9"),
        ("gap", {}, r"model\.tuning=adl, not gap"),
        ("triplet", {}, "kind=classifier, not retrieval"),
    ):
        with pytest.raises(CheckpointError, match=told):
            run_training(folder, pictures, what, resume=True, **changes)
    with pytest.raises(CheckpointError, match=r"other inputs: train_images 18 \(.*, not 15 \("):
        run_training(folder, make_pictures(train=5), "adl", resume=True)


def test_without_a_val_split_the_last_network_is_the_best(make_pictures, tmp_path) -> None:
    module = run_training(tmp_path / "run", make_pictures(val=0), "gap")
    assert read_metrics(tmp_path / "run").keys() == {"loss", "learning_rate"}
    loaded = load_run(tmp_path / "run")
    assert loaded.step == EPOCHS * LENGTH
    for name, values in module.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], values)


# --- loaded --------------------------------------------------------------------------------------


@pytest.fixture
def images(pictures) -> torch.Tensor:
    """Two pictures as the networks were fed."""
    paths = [pictures / f"test_{colour}_0.png" for colour in ("red", "blue")]
    preprocessing = ImageNetwork("tiny", outputs=2, weights="none").preprocessing((32, 40))
    return torch.cat([preprocessing(read_image(path)[None]) for path in paths])


def last_of(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize("what", EVERYTHING)
def test_a_run_comes_back_with_all_that_its_use_needs(runs, pictures, images, what) -> None:
    folder, module = runs[what]
    torch.load(last_of(folder), weights_only=True)
    loaded = load_image_run(last_of(folder))
    assert loaded.kind == ("retrieval" if what in RANKED else "classifier")
    assert loaded.label_names == ["blue", "green", "red"]
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    described = loaded.description
    assert (described.dataset, described.root) == ("folder", str(pictures))
    assert (described.protocol, described.size) == ("classification", (32, 40))
    assert loaded.config["data"]["root"] == str(pictures)
    assert torch.equal(
        loaded.preprocessing(read_image(pictures / "test_red_0.png")[None]), images[:1]
    )
    with torch.no_grad():
        outputs = module.model.eval()(images)
        assert torch.equal(loaded.model(images), outputs)
    assert loaded.normalize is (what == "triplet")
    if what in RANKED:
        assert torch.equal(
            loaded.embed(images), unit_norm(outputs) if loaded.normalize else outputs
        )
    else:
        assert loaded.model.hyperparameters["tuning"] == what
        with pytest.raises(InputError, match="is a classifier: it has logits, no embeddings"):
            loaded.embed(images)


def test_where_clips_are_wanted_it_is_refused_with_advice(runs) -> None:
    folder = runs["gap"][0]
    with pytest.raises(CheckpointError) as refused:
        load_clip_run(folder)
    assert str(refused.value) == (
        f"{folder} is a classifier run, of images, not of clips: "
        f"`caf-video localize --model {folder}` is for those"
    )


def test_a_network_that_is_not_the_one_described_is_refused(runs, tmp_path) -> None:
    checkpoint = torch.load(last_of(runs["gap"][0]), weights_only=True)
    for changes, told in (
        ({"outputs": 4}, "no weight has the size outputs=4"),
        ({"backbone": "resnet19"}, "no backbone 'resnet19'"),
        ({"colour": "red"}, "unexpected keyword"),
    ):
        changed = {**checkpoint, "caf_video": {**checkpoint["caf_video"]}}
        changed["caf_video"]["hyperparameters"] = {
            **checkpoint["caf_video"]["hyperparameters"],
            **changes,
        }
        torch.save(changed, tmp_path / "changed.ckpt")
        with pytest.raises(CheckpointError, match=f"does not hold the network.*{told}"):
            load_run(tmp_path / "changed.ckpt")

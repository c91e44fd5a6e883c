"""Strips of a few clips while a training goes on."""

import numpy as np
import pytest
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

from caf_video.errors import InputError
from caf_video.pipeline.train import compose_config, train
from caf_video.training import EpochPictures

FEW = ["model.channels=4", "trainer.max_epochs=4", "data.batches_per_epoch=1", "progress_bar=false"]


def test_clips_of_validation_are_drawn_every_other_epoch_and_change_nothing(
    store_folder, tmp_path
) -> None:
    runs = []
    for every in (0, 2):
        settings = [f"features={store_folder}", f"run_dir={tmp_path / str(every)}"]
        runs.append(train(compose_config([*settings, *FEW, f"strips_every={every}"])))
    plain, drawn = runs
    assert not (plain / "strips").exists()
    names = sorted(path.name for path in (drawn / "strips").glob("*.jpg"))
    assert len(names) == 6 and {name[:5] for name in names} == {"0002-", "0004-"}
    assert {label for label in ("left", "right", "stop") if any(label in n for n in names)} == {
        "left", "right", "stop",
    }  # fmt: skip
    assert (plain / "metrics.csv").read_bytes() == (drawn / "metrics.csv").read_bytes()


def test_a_number_of_epochs_that_is_none_is_refused(store_folder, tmp_path) -> None:
    settings = [f"features={store_folder}", f"run_dir={tmp_path / 'r'}", "strips_every=-1"]
    with pytest.raises(InputError, match="strips_every is -1"):
        train(compose_config([*settings, *FEW]))


def test_loggers_of_pictures_get_them_and_others_do_not() -> None:
    told = []

    class Board(TensorBoardLogger):
        def __init__(self) -> None:
            pass

        @property
        def experiment(self):
            return self

        def add_image(self, name, pixels, step, dataformats) -> None:
            told.append((name, pixels.shape, step, dataformats))

    class Weights(WandbLogger):
        def __init__(self) -> None:
            pass

        def log_image(self, key, images) -> None:
            told.append((key, len(images)))

    class Trainer:
        is_global_zero, global_step = True, 7
        loggers = [Board(), Weights(), object()]

    picture = Image.fromarray(np.zeros((4, 6, 3), np.uint8))
    callback = EpochPictures(2, lambda epochs: {f"after {epochs}": picture})
    for epoch in range(4):
        Trainer.current_epoch = epoch
        callback.on_train_epoch_end(Trainer(), None)
    assert told == [
        ("after 2", (4, 6, 3), 7, "HWC"), ("after 2", 1),
        ("after 4", (4, 6, 3), 7, "HWC"), ("after 4", 1),
    ]  # fmt: skip

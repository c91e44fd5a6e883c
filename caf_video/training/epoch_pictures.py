"""Pictures every few epochs of a training, to the loggers that show pictures."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

Draw = Callable[[int], Mapping[str, Any]]  # of so many epochs, pictures by name


class EpochPictures(pl.Callback):
    """Has pictures drawn after every n-th epoch; of several processes the first alone.

    Args:
        every: n.
        draw: Draws them, as PIL images, and keeps them where it likes.
    """

    def __init__(self, every: int, draw: Draw) -> None:
        self._every = every
        self._draw = draw

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw them, if it is time."""
        epochs = trainer.current_epoch + 1
        if epochs % self._every or not trainer.is_global_zero:
            return
        for name, picture in self._draw(epochs).items():
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    pixels = np.asarray(picture.convert("RGB"))
                    logger.experiment.add_image(
                        name, pixels, trainer.global_step, dataformats="HWC"
                    )
                elif isinstance(logger, WandbLogger):
                    logger.log_image(name, [picture])

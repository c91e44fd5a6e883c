"""What watches over a training: checkpoints, Ctrl-C, a loss that is no number, disk, log."""

import logging
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from caf_video.clock import ProgressClock
from caf_video.errors import CafVideoError, Interrupted
from caf_video.files import unwritable
from caf_video.training.checkpoint import BEST, KEY, LAST, RunRecord, plain_record

logger = logging.getLogger(__name__)

FROM_SCHEDULERS = [signal.SIGTERM]
if hasattr(signal, "SIGUSR1"):  # not on Windows
    FROM_SCHEDULERS.append(signal.SIGUSR1)


class TrainingError(CafVideoError):
    """A training that cannot begin, or cannot go on."""


class TrainingInterrupted(TrainingError, Interrupted):
    """A training that was asked to stop. Says how to go on."""


class RunCheckpoints(pl.Callback):
    """Saves last.ckpt after every epoch, and best.ckpt when its metric is the best so far.

    Of equally good epochs, which are common where few samples are validated, the later one is kept:
    it has trained for longer, at a lower learning rate. So it is where nothing is validated.

    Ctrl-C, SIGTERM and SIGUSR1, what schedulers send before they kill, let the batch end, save
    last.ckpt and raise TrainingInterrupted. Of several processes any one may hear it: they agree
    between two steps. A second Ctrl-C stops at once.

    Args:
        folder: Of the checkpoints.
        record: What they say of the run.
        metric: Name of what is logged of the validation samples; None where there are none.
        signals: Other than Ctrl-C, to hear.
    """

    def __init__(
        self,
        folder: Path,
        record: RunRecord,
        *,
        metric: str | None,
        signals: Sequence[int] = FROM_SCHEDULERS,
    ) -> None:
        self._last, self._best = folder / LAST, folder / BEST
        self._record = record
        self._metric = metric
        self._signals = signals
        self._best_so_far = -math.inf
        self._found: float | None = None  # of the epoch that ends, if it was validated
        self._heard = False  # a signal, in this process
        self._ends = False  # for one of the processes heard one

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Hear signals while the context lasts; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [signal.SIGINT, *self._signals]
        previous = {number: signal.getsignal(number) for number in heard}
        self._listen(heard)
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as error:  # Lightning makes the one into the other
            raise TrainingInterrupted(
                "interrupted at once: ckpt_path=last goes on from the last checkpoint, if any"
            ) from error
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Hear them here, too, where Lightning has put its own handler in, or started a process.

        Its handler of SIGTERM tells the other processes, and waits for them, in the middle of a
        step.
        """
        if threading.current_thread() is threading.main_thread():
            self._listen(self._signals)

    def _listen(self, signals: Sequence[int]) -> None:
        def hear(number: int, frame: FrameType | None) -> None:
            self._heard = True
            if number == signal.SIGINT:
                # Not the previous one: a job in the background was started with SIGINT ignored.
                signal.signal(signal.SIGINT, signal.default_int_handler)

        for number in signals:
            signal.signal(number, hear)

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Stop before a loss that is no number reaches the weights."""
        if not loss.isfinite():
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            raise TrainingError(
                f"the loss is {loss.item()} at step {trainer.global_step}, at learning rate "
                f"{rate:.2g}: lower optimizer.lr"
            )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Where a process was told to end, save."""
        self._ends = trainer.strategy.reduce_boolean_decision(self._heard, all=False)
        if self._ends:
            self._save(trainer, self._last)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Then stop: not where it saves, for there the batch's numbers are not logged yet."""
        if self._ends:
            raise TrainingInterrupted(
                f"interrupted after step {trainer.global_step}: "
                "the same command with ckpt_path=last goes on from there"
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember how good the epoch is."""
        if self._metric is not None:
            self._found = float(trainer.callback_metrics[self._metric])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last, and the best."""
        found, self._found = self._found, None
        if self._metric is None:
            self._save(trainer, self._best)
        elif found is not None and found >= self._best_so_far:
            self._best_so_far = found
            self._save(trainer, self._best)
        self._save(trainer, self._last)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Where no epoch was validated, by the trainer's settings, the last is the best known."""
        if self._metric is not None and self._best_so_far == -math.inf:
            logger.warning(
                "the training ended before its first validation: best.ckpt is its last state"
            )
            self._save(trainer, self._best)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say in the checkpoint what it is."""
        checkpoint[KEY] = plain_record(self._record)

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"best_so_far": self._best_so_far}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the best so far."""
        self._best_so_far = state_dict["best_so_far"]

    def _save(self, trainer: pl.Trainer, file: Path) -> None:
        try:
            trainer.save_checkpoint(file)  # by `WholeCheckpoints`
        except OSError as error:
            raise unwritable(
                file, error, TrainingError, again="go on with ckpt_path=last"
            ) from error


class ProgressLines(pl.Callback):
    """A line on how far the training is, for a log: every 5 % of its steps or half a minute.

    Args:
        line: Takes it.
    """

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line = line
        self._began: ProgressClock | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        total = int(trainer.estimated_stepping_batches)
        self._began = ProgressClock("Training", total, done=trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Say how far it is, if it is time."""
        if self._began is None or not trainer.is_global_zero:
            return
        line = self._began.line(trainer.global_step)
        if line is not None:
            loss = trainer.callback_metrics.get("loss")
            self._line(line if loss is None else f"{line}, loss {float(loss):.4f}")

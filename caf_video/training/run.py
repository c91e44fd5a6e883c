"""The folder of a training run, and the training itself.

RUN/config.yaml              every setting, resolved
RUN/metrics.csv              loss, learning_rate and recall@1, or top-1, by step
RUN/checkpoints/best.ckpt    best in validation; the last, where nothing is validated
RUN/checkpoints/last.ckpt    where `ckpt_path=last` goes on
"""

import logging
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.multiprocessing import ProcessRaisedException

from caf_video.errors import InputError
from caf_video.files import (
    is_of_the_system,
    is_ours,
    make_writable_folder,
    require_ours,
    unwritable,
    written_whole,
)
from caf_video.shards import is_first_process
from caf_video.training.callbacks import (
    FROM_SCHEDULERS,
    ProgressLines,
    RunCheckpoints,
    TrainingError,
    TrainingInterrupted,
)
from caf_video.training.checkpoint import (
    BEST,
    LAST,
    CheckpointError,
    DamagedCheckpointError,
    Description,
    RunRecord,
    digest_of_clips,
    read_checkpoint,
    record_of,
    require_same_inputs,
)
from caf_video.training.checkpoint_files import WholeCheckpoints
from caf_video.training.datamodule import BatchesDataModule
from caf_video.training.loggers import MetricsFile
from caf_video.training.module import TrainingModule

logger = logging.getLogger(__name__)

# The settings that a training must keep when it goes on, or it would be another one.
_KEPT = (
    "kind",
    "seed",
    "data",
    "model",
    "loss",
    "optimizer",
    "trainer.max_epochs",
    "trainer.precision",
)
_FREE = (
    "data.features",  # it and the root may have moved: what they hold is compared
    "data.root",
    "data.workers",
    "data.memory_gb",
    "data.evaluation_batch_size",
)

logger = logging.getLogger(__name__)

_GO_ON = "run the same command, with ckpt_path=last if there is a last.ckpt"

_REFRESHES_PER_SECOND = 4  # of the progress bar: Lightning's 100 cost more than the training


@dataclass(frozen=True)
class RunFolder:
    """The folder that a training fills; made by `begin`, which also finds where one stopped.

    Attributes:
        path: Of the folder.
        config: Every setting, plain values.
        last: The checkpoint to go on from, or None for a new training.
        step: Optimizer steps done so far.
        schedule_began: The step at which the learning rate's schedule began.
        begins_anew: Whether it begins at `step`: of a finished training that has more epochs now.
    """

    path: Path
    config: dict[str, Any]
    last: Path | None
    step: int
    schedule_began: int = 0
    begins_anew: bool = False

    @classmethod
    def begin(
        cls,
        folder: str | Path,
        config: dict[str, Any],
        description: Description,
        *,
        ckpt_path: str | None = None,
        training_clips: Mapping[str, str] | None = None,
    ) -> "RunFolder":
        """Make the folder of a new training, or find where one stopped, and write config.yaml.

        Of several processes that train together, the first does.

        A finished training goes on where `trainer.max_epochs` is larger: optimizer and schedule
        begin anew for the epochs that are added. A folder whose training stopped before its first
        checkpoint is as good as a new one.

        Args:
            folder: Of the run.
            config: Every setting, plain values.
            description: What made the inputs to train on.
            ckpt_path: "last" to go on from last.ckpt, None to begin.
            training_clips: What to train on, by clip id; None for images.

        Raises:
            TrainingError: The folder is a file, cannot be written, or holds a run already.
            CheckpointError: There is nothing to go on from, or it was trained with other settings
                or on other inputs or clips.
            InputError: `ckpt_path` is something else.
        """
        folder = Path(folder)
        last = folder / "checkpoints" / LAST
        config_file = folder / "config.yaml"
        if ckpt_path not in (None, "last"):
            raise InputError(f"ckpt_path={ckpt_path}: it is 'last', to go on, or null, to begin")
        if folder.exists() and not folder.is_dir():
            raise TrainingError(f"{folder} is a file, not a folder: choose another run_dir")
        if ckpt_path is None:
            if last.exists():
                raise TrainingError(
                    f"{folder} already holds a run: go on with ckpt_path=last, "
                    "or choose another run_dir"
                )
            if not is_ours(config_file):
                require_ours(config_file, folder / "metrics.csv", folder / "curves.png",
                             failure=TrainingError)  # fmt: skip
            run = cls(folder, config, None, 0)
        else:
            if not last.is_file():
                raise CheckpointError(
                    f"{folder} holds no checkpoint to go on from (no checkpoints/last.ckpt): "
                    "begin without ckpt_path=last"
                )
            last, checkpoint = _last_whole(folder)
            record = record_of(checkpoint, last)
            added = _epochs_added(checkpoint, record.config, config)
            before = record.config
            if added:
                before = {**before, "trainer": {**before["trainer"], **_epochs_of(config)}}
            _require_same_settings(folder, before, config)
            require_same_inputs(last, record.description, description)
            _require_same_clips(folder, record.training_clips, training_clips)
            step = checkpoint["global_step"]
            began = step if added else checkpoint.get("schedule_began", 0)
            run = cls(folder, config, last, step, began, begins_anew=added > 0)
            if added:
                logger.warning(
                    "trained on for %d more epoch(s): optimizer and learning rate begin anew for "
                    "these, from the weights of step %d", added, step,
                )  # fmt: skip
        if not is_first_process():
            return run
        try:
            make_writable_folder(last.parent)
        except OSError as error:
            raise unwritable(folder, error, TrainingError) from error
        text = OmegaConf.to_yaml(OmegaConf.create(config))
        with written_whole(config_file, TrainingError, ours=True) as part:
            part.write_text(text, encoding="utf-8")
        return run


def train_run(
    run: RunFolder,
    module: TrainingModule,
    data: BatchesDataModule,
    *,
    make_trainer: Callable[..., pl.Trainer],
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[pl.Callback] = (),
    progress_bar: bool = True,
) -> None:
    """Train a network into a run's folder, or go on where it stopped.

    What an interrupted and resumed training ends with is what an uninterrupted one ends with. A
    finished one is left as it is, unless it has more epochs now: see `RunFolder.begin`.

    Args:
        run: Where; its config names the kind.
        module: What trains.
        data: What it trains on.
        make_trainer: `pl.Trainer` with its settings; called with those that a run needs.
        loggers: Beside metrics.csv.
        callbacks: Beside those of every run.
        progress_bar: Show one.

    Raises:
        TrainingInterrupted: On Ctrl-C, after last.ckpt is saved.
        TrainingError: The loss is no number any more, or the folder cannot be written.
        InputError: Lightning takes no such settings of the trainer.
        CafVideoError: The samples cannot be used.
    """
    data.setup("fit")
    module.schedule_began, module.begins_anew = run.schedule_began, run.begins_anew
    record = RunRecord(
        kind=run.config["kind"],
        hyperparameters=cast(dict[str, Any], module.model.hyperparameters),
        normalize=module.normalize,
        description=data.description,
        label_names=data.label_names,
        config=run.config,
        training_clips=data.training_clips,
        training_sha256=digest_of_clips(data.training_clips),
        features_from_run=_way(run.path, run.config.get("features")),
    )
    plugins = [*(getattr(make_trainer, "keywords", {}).get("plugins") or [])]
    requeues = any(isinstance(one, SLURMEnvironment) and one.auto_requeue for one in plugins)
    checkpoints = RunCheckpoints(
        run.path / "checkpoints",
        record,
        metric=module.metric if data.validates else None,
        signals=[] if requeues else FROM_SCHEDULERS,  # Lightning saves, and requeues the job
    )
    unvalidated: dict[str, Any] = {} if data.validates else {"limit_val_batches": 0}
    terminal = sys.stderr.isatty() or sys.stdout.isatty()
    bar: list[pl.Callback] = []
    if progress_bar and terminal:
        bar = [RichProgressBar(refresh_rate=_REFRESHES_PER_SECOND)]
    elif progress_bar:
        bar = [ProgressLines(_say)]
    if progress_bar and is_first_process():
        _say(data.an_epoch())
    with _quiet_lightning():
        try:
            trainer = make_trainer(
                default_root_dir=run.path,
                logger=[MetricsFile(run.path, resume_step=run.step), *loggers],
                callbacks=[checkpoints, *bar, *callbacks],
                plugins=[*plugins, WholeCheckpoints()],
                enable_progress_bar=progress_bar and terminal,
                enable_model_summary=False,
                enable_checkpointing=False,  # ours saves
                num_sanity_val_steps=0,  # a metric of a few samples checks nothing
                use_distributed_sampler=False,  # the batches know their process
                **unvalidated,
            )
        except (TypeError, ValueError, MisconfigurationException) as error:
            raise InputError(f"trainer: {' '.join(str(error).split())}") from error
        with checkpoints.interruptible():
            try:
                trainer.fit(module, datamodule=data, ckpt_path=run.last)
            except ProcessRaisedException as error:  # of a process of ddp_spawn
                told = re.search(r"(\w+): (.*)\s*$", str(error))
                kinds = {kind.__name__: kind for kind in (TrainingInterrupted, TrainingError)}
                if told is None or told[1] not in kinds:
                    raise
                raise kinds[told[1]](told[2]) from error
            except OSError as error:  # of a logger, say
                if not is_of_the_system(error):
                    raise
                raise unwritable(
                    Path(error.filename or run.path), error, TrainingError, again=_GO_ON
                ) from error


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _last_whole(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The checkpoint to go on from, and what it holds.

    Where last.ckpt is damaged, best.ckpt takes its place.

    Raises:
        CheckpointError: Neither can be used.
    """
    last, best = (folder / "checkpoints" / name for name in (LAST, BEST))
    try:
        return last, read_checkpoint(last)
    except DamagedCheckpointError as error:
        begin = f"to begin again, delete {last.parent} and leave out ckpt_path=last"
        if not best.is_file():
            raise CheckpointError(f"{error}, and there is no best.ckpt: {begin}") from error
        try:
            checkpoint = read_checkpoint(best)
        except DamagedCheckpointError:
            raise CheckpointError(f"{error}, and so is best.ckpt: {begin}") from error
        step = checkpoint["global_step"]
        if not is_first_process():
            return best, checkpoint
        logger.warning("%s: going on from best.ckpt, of step %d", error, step)
        with written_whole(last, TrainingError, synced=True) as part:
            shutil.copyfile(best, part)
        return last, checkpoint


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Let Lightning say what is wrong, and nothing of hardware, products and its own defaults."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 with torch 2.15; nothing that a user could mend.
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            # Lightning's gathering, with torch 2.14.
            warnings.filterwarnings("ignore", ".*all_gather is deprecated")
            # A hint where Slurm is installed, whether or not the training is one of its jobs.
            warnings.filterwarnings("ignore", "The `srun` command is available on your system")
            # Frozen batch norm is, and was asked for.
            warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _require_same_settings(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    old, new = dict(_kept(before)), dict(_kept(now))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            raise CheckpointError(
                f"{folder} was trained with {name}={old.get(name)}, not {new.get(name)}: "
                "go on with the same settings, or choose another run_dir"
            )


def _epochs_added(checkpoint: dict[str, Any], before: dict[str, Any], now: dict[str, Any]) -> int:
    """By how many epochs a finished training is longer now; 0 for one that is not finished."""
    old, new = (_epochs_of(config).get("max_epochs") for config in (before, now))
    loops = checkpoint.get("loops")  # Lightning's own record
    if old is None or new is None or loops is None:
        return 0
    done = loops["fit_loop"]["epoch_progress"]["current"]["processed"]
    return max(new - old, 0) if done >= old else 0


def _epochs_of(config: dict[str, Any]) -> dict[str, Any]:
    trainer = config.get("trainer", {})
    return {name: trainer[name] for name in ("max_epochs",) if name in trainer}


def _way(folder: Path, features: str | None) -> str:
    """From a run's folder to its features; "" where there is none, or on another drive."""
    if features is None:
        return ""
    try:
        return Path(os.path.relpath(features, folder.resolve())).as_posix()
    except ValueError:
        return ""


def _require_same_clips(
    folder: Path, before: Mapping[str, str] | None, now: Mapping[str, str] | None
) -> None:
    if before is None or now is None or before.keys() == now.keys():
        return
    raise CheckpointError(
        f"{folder} was trained on other clips: {len(before.keys() - now.keys())} of "
        f"{len(before)} are not in the train split any more, {len(now.keys() - before.keys())} are "
        "new: put the splits back, or choose another run_dir"
    )


def _kept(config: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names, with dots, and values of the settings that must stay."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _kept(value, f"{name}.")
        elif key == "_recursive_":  # says how Hydra builds, not what
            continue
        elif name not in _FREE and any(f"{name}.".startswith(f"{kept}.") for kept in _KEPT):
            yield name, value

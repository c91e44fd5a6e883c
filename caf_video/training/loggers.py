"""Where a training's numbers go: metrics.csv always, TensorBoard or W&B on demand."""

import csv
import io
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from caf_video.errors import CafVideoError
from caf_video.files import written_whole
from caf_video.reading import file_bytes

_ROWS_BETWEEN_WRITES = 25


class LoggerError(CafVideoError):
    """A logger that cannot be used, or a metrics file that cannot be read or written."""


class MetricsFile(Logger):
    """A CSV with one row a step and one column a metric, written whole every few steps.

    Args:
        folder: Holds metrics.csv.
        resume_step: Rows from this step on are dropped, for training makes them again; 0 is a new
            file.
    """

    def __init__(self, folder: str | Path, *, resume_step: int = 0) -> None:
        super().__init__()
        self._file = Path(folder) / "metrics.csv"
        self._rows: dict[int, dict[str, float]] = {}
        self._unwritten = 0
        if resume_step and self._file.is_file():
            for name, (steps, values) in read_metrics(self._file.parent).items():
                for step, value in zip(steps, values, strict=True):
                    if step < resume_step:
                        self._rows.setdefault(step, {})[name] = value

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = self._rows.setdefault(int(step or 0), {})
        row.update({name: value for name, value in metrics.items() if name != "epoch"})
        self._unwritten += 1
        if self._unwritten >= _ROWS_BETWEEN_WRITES:
            self.save()

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing: the run's folder has them in config.yaml."""

    @rank_zero_only
    def save(self) -> None:
        if not self._rows:  # those of ddp_spawn are in another process
            return
        names = sorted({name for row in self._rows.values() for name in row})
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", *names], lineterminator="\n")
        writer.writeheader()
        for step in sorted(self._rows):
            row = {name: f"{value:.7g}" for name, value in self._rows[step].items()}
            writer.writerow({"step": step, **row})
        with written_whole(self._file, LoggerError, again="go on with ckpt_path=last") as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")
        self._unwritten = 0


def read_metrics(run: str | Path) -> dict[str, tuple[list[int], list[float]]]:
    """What a run logged: for each metric the steps, counted from 0, and its values.

    Raises:
        LoggerError: There is no metrics.csv, or it is no table of numbers.
    """
    file = Path(run) / "metrics.csv"
    series: dict[str, tuple[list[int], list[float]]] = {}
    try:
        text = file_bytes(file).decode("utf-8")
        for row in csv.DictReader(io.StringIO(text, newline="")):
            step = int(row.pop("step"))
            for name, cell in row.items():
                if cell:
                    steps, values = series.setdefault(name, ([], []))
                    steps.append(step)
                    values.append(float(cell))
    except FileNotFoundError as error:
        raise LoggerError(f"no metrics at {file}: nothing was trained there") from error
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise LoggerError(f"{file} is not a table of metrics") from error
    return series


def tensorboard(folder: str | Path) -> Logger:
    """TensorBoard's event files in a folder of the run.

    Raises:
        LoggerError: TensorBoard is not installed.
    """
    try:
        return TensorBoardLogger(folder, name="tensorboard", version="")
    except ModuleNotFoundError as error:
        raise LoggerError("logger=tensorboard needs a package: pip install tensorboard") from error


def wandb(folder: str | Path, *, project: str, offline: bool) -> Logger:
    """Weights & Biases; offline runs are kept in the run's folder.

    Raises:
        LoggerError: The package is not installed.
    """
    try:
        return WandbLogger(save_dir=folder, project=project, offline=offline)
    except ModuleNotFoundError as error:
        raise LoggerError("logger=wandb needs a package: pip install wandb") from error

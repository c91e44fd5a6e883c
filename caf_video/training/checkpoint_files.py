"""How Lightning's checkpoints get to the disk: whole, in the run's own folder, or not at all."""

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from caf_video.files import written_whole
from caf_video.training.callbacks import TrainingError
from caf_video.training.checkpoint import LAST, read_checkpoint

_OF_SPAWN = ".temp.ckpt"  # how ddp_spawn of Lightning brings weights back to the main process


class WholeCheckpoints(CheckpointIO):
    """Writes a checkpoint beside the one before, and gives it the name once the disk has it.

    Lightning's own writes to TMPDIR and moves it: from another file system that is a copy, which a
    reader, a kill or a full disk finds half done.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            TrainingError: It cannot be written; the one before stays.
        """
        file = Path(path)
        content = io.BytesIO()  # for what torch writes to a file, it says of no error which it was
        torch.save(checkpoint, content)
        again = "go on with ckpt_path=last" if (file.parent / LAST).exists() else "begin again"
        with written_whole(file, TrainingError, again=again, synced=True) as part:
            part.write_bytes(content.getbuffer())

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """What was saved, on the CPU; never code.

        Raises:
            CheckpointError: It is missing, damaged or something else.
        """
        if Path(path).name == _OF_SPAWN:
            return dict(torch.load(path, weights_only=True))
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)

"""What a long pass has done so far, on disk: it goes on where it was interrupted."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from caf_video.pipeline.results import write_npz

Arrays = dict[str, np.ndarray]


class Parts:
    """Numbered results of a pass with certain settings; without a folder nothing is kept.

    Args:
        beside: The file that the pass will end in; the parts lie in a folder beside it.
        settings: All that the results depend on, plain values: other settings, other parts.
    """

    def __init__(self, beside: Path | None, settings: Any) -> None:
        self._folder: Path | None = None
        if beside is not None:
            text = json.dumps(settings, sort_keys=True, default=str)
            digest = hashlib.sha256(text.encode()).hexdigest()[:12]
            self._folder = beside.with_name(f".{beside.name}.{digest}.parts")

    def read(self, number: int) -> Arrays | None:
        """A part that is done, or None."""
        path = self._path(number)
        if path is None or not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    def write(self, number: int, arrays: Arrays) -> None:
        """Keep a part.

        Raises:
            CafVideoError: It cannot be written.
        """
        path = self._path(number)
        if path is not None:
            write_npz(path, arrays)

    def discard(self) -> None:
        """Forget all parts: the pass has ended."""
        if self._folder is not None and self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path | None:
        return None if self._folder is None else self._folder / f"{number:06d}.npz"

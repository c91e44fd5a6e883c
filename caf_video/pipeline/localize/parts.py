"""What a long pass has done so far, on disk: it goes on where it was interrupted."""

import hashlib
import json
import shutil
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch

from caf_video.data.sealed import DamagedFileError, sealed, unsealed
from caf_video.errors import CafVideoError
from caf_video.files import unwritable, written_whole

Arrays = dict[str, np.ndarray]
FEW_BYTES = 64  # of a row that stays in memory


class Parts:
    """Numbered results of a pass with certain settings; in memory where there is no folder.

    Args:
        beside: The file that the pass will end in; the parts lie in a folder beside it.
        settings: All that the results depend on, plain values: other settings, other parts.
    """

    def __init__(self, beside: Path | None, settings: Any) -> None:
        self._folder: Path | None = None
        self._held: dict[int, Arrays] = {}
        if beside is not None:
            text = json.dumps(settings, sort_keys=True, default=str)
            digest = hashlib.sha256(text.encode()).hexdigest()[:12]
            self._folder = beside.with_name(f".{beside.name}.{digest}.parts")

    def read(self, number: int) -> Arrays | None:
        """A part that is done and is as it was written, or None: it is then made again.

        Raises:
            CafVideoError: What lies in its place is no file, or may not be read.
        """
        path = self._path(number)
        if path is None:
            return self._held.get(number)
        if not path.exists():
            return None
        try:
            tensors, texts = unsealed(path)
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            return arrays | {name: np.array(json.loads(text)) for name, text in texts.items()}
        except (DamagedFileError, ValueError, TypeError):
            return None

    def write(self, number: int, arrays: Arrays) -> None:
        """Keep a part.

        Raises:
            CafVideoError: It cannot be written.
        """
        path = self._path(number)
        if path is None:
            self._held[number] = arrays
            return
        texts = {name for name, array in arrays.items() if array.dtype.kind == "U"}
        content = sealed(
            {
                name: torch.from_numpy(np.ascontiguousarray(array))
                for name, array in arrays.items()
                if name not in texts
            },
            {name: json.dumps(arrays[name].tolist()) for name in texts},
        )
        with written_whole(path, again="run the same command again, it goes on") as part:
            part.write_bytes(content)

    def rows(self) -> "Rows":
        """What joins rows of the parts, on disk where the parts lie there."""
        return Rows(None if self._folder is None else self._folder.parent)

    def discard(self) -> None:
        """Forget all parts: the pass has ended."""
        if self._folder is not None and self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path | None:
        return None if self._folder is None else self._folder / f"{number:06d}.safetensors"


class Rows:
    """Rows of many parts that become one array: of few numbers a row in memory, else on disk.

    A mean over the thresholds of every image needs some of an array at a time: one that is mapped
    into memory takes what room there is, and goes with the file, which has no name.

    Args:
        folder: Where files may be; None for memory alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: list[np.ndarray] = []
        self._file: Any = None
        self._count = 0

    def add(self, rows: np.ndarray) -> None:
        """Put rows (m, ...) below those that are there, of the same kind.

        Raises:
            CafVideoError: They cannot be written.
        """
        if self._folder is None or rows.dtype.itemsize * prod(rows.shape[1:]) <= FEW_BYTES:
            self._held.append(rows)
            return
        try:
            if self._file is None:
                self._file = TemporaryFile(dir=self._folder)
            self._file.write(np.ascontiguousarray(rows))
        except OSError as error:
            raise unwritable(self._folder / "(temporary)", error, CafVideoError) from error
        self._count += len(rows)
        self._held = [rows[:0]]

    def joined(self) -> np.ndarray:
        """All of them, (n, ...)."""
        if self._file is None:
            return np.concatenate(self._held)
        self._file.flush()
        kind = self._held[0]  # no row of it, but its type
        return np.memmap(self._file, kind.dtype, "r", shape=(self._count, *kind.shape[1:]))

    def close(self) -> None:
        """No more is added; what was joined stays."""
        if self._file is not None:
            self._file.close()

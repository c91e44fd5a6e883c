"""What a long pass has done so far, on disk: it goes on where it was interrupted."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caf_video.data.sealed import DamagedFileError, sealed, unsealed
from caf_video.files import written_whole

Arrays = dict[str, np.ndarray]


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

    def discard(self) -> None:
        """Forget all parts: the pass has ended."""
        if self._folder is not None and self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path | None:
        return None if self._folder is None else self._folder / f"{number:06d}.safetensors"

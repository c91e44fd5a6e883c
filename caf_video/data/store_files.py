"""Where a store keeps a file for each clip: fanned out over folders, found by name alone.

A folder of 1e5 files is slow to list on many file systems, and refused by some: a file lies in one
of 256 folders, which two hexadecimal digits of a digest of the clip's id name.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from caf_video.file_names import file_name


def fanned_out(folder: Path, clip_id: str, suffix: str) -> Path:
    """The file of a clip in a folder."""
    digest = hashlib.sha256(clip_id.encode("utf-8", "surrogateescape")).hexdigest()
    return folder / digest[:2] / f"{file_name(clip_id)}{suffix}"


def names_in(folder: Path, suffix: str) -> set[str]:
    """The `file_name` of every clip that has a file there; none is opened.

    A file that is being written is hidden, and does not count.
    """
    return set(_names_in(folder, suffix))


def _names_in(folder: Path, suffix: str) -> Iterator[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        for part in os.scandir(folder):
            if not part.is_dir():
                continue
            for entry in os.scandir(part):
                if entry.name.endswith(suffix) and not entry.name.startswith("."):
                    yield entry.name.removesuffix(suffix)

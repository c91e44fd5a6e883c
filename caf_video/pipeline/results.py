"""Results on disk: written whole or not at all, with one line where they cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np

from caf_video.errors import CafVideoError
from caf_video.files import reason, written_whole


def output_folder(folder: Path) -> Path:
    """Make a folder for results.

    Raises:
        CafVideoError: It is a file, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise CafVideoError(f"{folder} is a file, not a folder: choose another folder") from error
    except OSError as error:
        raise CafVideoError(f"cannot make the folder {folder}: {reason(error)}") from error
    return folder


def file_name(name: str) -> str:
    """A name that any file system takes: what it may not hold is percent-encoded."""
    return quote(name, safe=" ")


def write_json(path: Path, record: Any) -> None:
    """Write plain values as JSON; NaN is an error of the caller.

    Raises:
        CafVideoError: The file cannot be written; what was there stays.
    """
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text.

    Raises:
        CafVideoError: The file cannot be written; what was there stays.
    """
    _write_whole(path, lambda file: file.write(text.encode()))


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays by name, compressed.

    Raises:
        CafVideoError: The file cannot be written; what was there stays.
    """
    _write_whole(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def _write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    with written_whole(path) as temporary, temporary.open("wb") as file:
        write(file)


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        CafVideoError: The file cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CafVideoError(f"cannot read {path}: {reason(error)}") from error
    except ValueError as error:
        raise CafVideoError(f"{path} is not JSON: delete it") from error

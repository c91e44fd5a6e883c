"""Results on disk: written whole or not at all, and in the place of nothing but our own."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np

from caf_video.errors import CafVideoError
from caf_video.files import (
    is_ours,
    make_writable_folder,
    reason,
    require_ours,
    unwritable,
    written_whole,
)
from caf_video.rendering import write_image


def output_folder(folder: Path) -> Path:
    """Make a folder for results.

    Raises:
        CafVideoError: It is a file, or cannot be made or written to.
    """
    try:
        make_writable_folder(folder)
    except FileExistsError as error:
        raise CafVideoError(f"{folder} is a file, not a folder: choose another folder") from error
    except OSError as error:
        raise unwritable(folder, error, CafVideoError) from error
    return folder


def file_name(name: str) -> str:
    """A name that any file system takes: what it may not hold is percent-encoded."""
    return quote(name, safe=" ")


def result_names(wanted: Sequence[tuple[str, Path]], folder: Path) -> list[str]:
    """A file name, without suffix, for the results of each: no two alike, also where case is none.

    A name that another has already, here or in the folder's records, is told from it by the
    folders that the video is in.

    Args:
        wanted: What to call each, and its video.
        folder: Of the results.
    """
    names: list[str] = []
    taken: set[str] = set()
    for name, video in wanted:
        folders = [part for part in reversed(video.resolve().parent.parts) if part.strip("/")]
        found, number = name, 1
        while file_name(found).casefold() in taken or _is_of_another(found, video, folder):
            if folders:
                found = f"{folders.pop(0)}/{found}"
            else:
                number += 1
                found = f"{name} {number}"
        taken.add(file_name(found).casefold())
        names.append(file_name(found))
    return names


def _is_of_another(name: str, video: Path, folder: Path) -> bool:
    record = folder / f"{file_name(name)}.json"
    if not is_ours(record):
        return False
    told = read_json(record)
    other = told.get("video") if isinstance(told, dict) else None
    return other is not None and Path(other).name == video.name and Path(other) != video.resolve()


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


def write_picture(path: Path, picture: Any) -> None:
    """Write a picture; the suffix names the format.

    Raises:
        CafVideoError: The file cannot be written; what was there stays.
    """
    require_ours(path)
    write_image(path, picture, ours=True)


def _write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    require_ours(path)
    with written_whole(path, ours=True) as part, part.open("wb") as file:
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

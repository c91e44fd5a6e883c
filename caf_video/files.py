"""Files that appear whole or not at all, and only where nothing of a user's own is replaced.

FOLDER/.caf_video.sha256 says which files of a folder are ours: their digests, as `sha256sum` lists
them. A file that is not in it, or is not as it was written, is never replaced.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from caf_video.errors import CafVideoError

Failure = TypeVar("Failure", bound=CafVideoError)


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder, so that a rename stays inside one file system."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


@contextmanager
def written_whole(
    path: Path, failure: type[CafVideoError] = CafVideoError, *, again: str = "try again"
) -> Iterator[Path]:
    """A hidden name beside `path` to write to, of the same suffix; `path` takes it over at the end.

    The folder is made if it is missing. After an error what stood at `path` is untouched.

    Args:
        path: Of the file.
        failure: What is raised where it cannot be written.
        again: See `unwritable`.

    Raises:
        CafVideoError: A `failure`: the file cannot be written.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error, failure, again=again) from error


RECORD = ".caf_video.sha256"


def require_ours(*paths: Path, failure: type[CafVideoError] = CafVideoError) -> None:
    """Refuse to replace what is not a file as we wrote it; where nothing is, there is no obstacle.

    Raises:
        CafVideoError: A `failure`: names the file, of which nothing is touched.
    """
    for path in paths:
        if os.path.lexists(path) and not is_ours(path):
            raise failure(
                f"{path} is there already, and is not as caf_video wrote it: "
                "choose another place for the results, or move it away"
            )


def is_ours(path: Path) -> bool:
    """Whether a file is as we wrote it."""
    return path.is_file() and _line(path) in _lines(path.parent)


def was_ours(path: Path) -> bool:
    """Whether we wrote a file of this name, whatever became of it since."""
    return any(line.partition("  ")[2] == path.name for line in _lines(path.parent))


def remember_ours(path: Path, failure: type[CafVideoError] = CafVideoError) -> None:
    """Note that a file is ours, as it is now.

    Raises:
        CafVideoError: A `failure`: the note cannot be written.
    """
    line = _line(path)
    if line in _lines(path.parent):
        return
    record = path.parent / RECORD
    try:
        with record.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise unwritable(record, error, failure) from error


def _line(path: Path) -> str:
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}"


def _lines(folder: Path) -> list[str]:
    try:
        return (folder / RECORD).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def unwritable(
    path: Path, error: BaseException, failure: type[Failure], *, again: str = "try again"
) -> Failure:
    """The failure to raise: 'cannot write X: reason', and after a full disk what to do.

    Args:
        path: What was to be written, a file or a folder.
        error: What the system or a library said.
        failure: What to make of it.
        again: What to do once there is space: "free some and …".
    """
    why = reason(error)
    if isinstance(error, FileExistsError | NotADirectoryError):
        files = [place for place in (path, *path.parents) if place.is_file()]
        why = f"{files[0]} is a file, not a folder" if files else why
    elif getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        why = f"{why}; free some and {again}"
    return failure(f"cannot write {path}: {why}")


def reason(error: BaseException) -> str:
    """The system's words for an error, without the path, which the message names already."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

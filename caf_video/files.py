"""Files that appear whole or not at all, and the one line that says why one cannot be written."""

import errno
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

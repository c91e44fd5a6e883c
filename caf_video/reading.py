"""Files that others wrote, read without waiting for ever or filling the memory.

What is no regular file is not opened: a pipe would never end. What goes wrong is an OSError whose
`strerror` is the reason, as the system's own, for a caller that names the file; `require_file`
names it.
"""

import errno
import os
import stat
from pathlib import Path

from caf_video.errors import CafVideoError
from caf_video.files import reason

MOST_BYTES = 2**29  # of a list or a table: a hundred million characters are some million rows


def require_regular(path: str | Path, *, most: int | None = None) -> None:
    """Look at a file before somebody opens it.

    Raises:
        OSError: It is missing, a folder, a pipe or a device, its name cannot be one, or it has more
            than `most` bytes.
    """
    try:
        found = os.stat(path)
    except ValueError as error:
        raise OSError(errno.EINVAL, "no file can have such a name") from error
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
    if most is not None and found.st_size > most:
        raise OSError(errno.EFBIG, f"it has {found.st_size} bytes, more than such a file can have")


def require_file(
    path: Path, failure: type[CafVideoError] = CafVideoError, *, most: int | None = None
) -> None:
    """`require_regular` in one line for the user; and the file may be read.

    Raises:
        CafVideoError: A `failure`: names the file.
    """
    try:
        require_regular(path, most=most)
        with path.open("rb"):
            return
    except FileNotFoundError as error:
        raise failure(f"there is no file {path}") from error
    except OSError as error:
        raise failure(f"cannot read {path}: {reason(error)}") from error


def file_bytes(path: str | Path, *, most: int = MOST_BYTES) -> bytes:
    """All of a file.

    Raises:
        OSError: As `require_regular`, or it cannot be read.
    """
    require_regular(path, most=most)
    with open(path, "rb") as file:
        return file.read()


def text_of(data: bytes, name: str, failure: type[CafVideoError]) -> str:
    """The text of a file: UTF-8, or UTF-16 with its mark, which spreadsheets call Unicode text.

    Args:
        data: Of the file.
        name: Of the file.
        failure: What is raised where it is no text.

    Raises:
        CafVideoError: A `failure`: names file and line.
    """
    try:
        utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise failure(
            f"{name} line {line}: byte 0x{data[error.start]:02x} is not UTF-8: "
            "save the file as UTF-8 text"
        ) from error
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise failure(f"{name} line {line}: a null character: save the file as UTF-8 text")
    return text

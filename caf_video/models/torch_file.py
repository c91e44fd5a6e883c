"""Files of `torch.save`, read without running code of theirs and without believing damaged ones."""

import pickle
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from caf_video.errors import CafVideoError
from caf_video.reading import require_file

# What torch and zipfile raise over files that are cut short, changed, or something else.
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, MemoryError, AssertionError),
    *(ValueError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error),
)


_DIRECTORY = 0x10  # of a record's MS-DOS attributes


class DamagedTorchFileError(CafVideoError):
    """A file that `torch.save` did not write, or that is not as it wrote it."""


def read_torch_file(file: Path, *, old_format: bool = False) -> Any:
    """What was saved in a file: plain values and tensors, on the CPU.

    A file of `torch.save` is a zip archive, which has a CRC-32 of each of its records. torch does
    not look at them; here they are checked first, and a record that says that it is larger than
    the file is not made room for.

    Args:
        file: Which.
        old_format: Take one of torch before 1.6, too, which has no checksums.

    Raises:
        DamagedTorchFileError: It is not as it was written, or something else.
        CafVideoError: There is no such file, or it may not be read.
    """
    require_file(file)
    try:
        if zipfile.is_zipfile(file):
            _require_whole(file)
        elif not old_format:
            raise DamagedTorchFileError(f"{file} is no file of torch.save")
        with warnings.catch_warnings():
            # It refuses what it does not know; here that is one line.
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(file, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise DamagedTorchFileError(f"{file} cannot be read") from error


def _require_whole(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        stored = all(record.compress_type == zipfile.ZIP_STORED for record in records)
        # torch 2.6 reads nothing of what says that it is a folder, and gives what was in memory.
        folders = any(record.external_attr & _DIRECTORY for record in records)
        size = sum(record.file_size for record in records)
        too_large = size > file.stat().st_size
        if not stored or folders or too_large or archive.testzip() is not None:
            raise DamagedTorchFileError(f"{file} does not have the checksums it was written with")

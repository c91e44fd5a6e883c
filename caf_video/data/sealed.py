"""Files of tensors that tell whether they are as they were written: safetensors with a checksum.

Their metadata have one entry more, `crc32`: the CRC-32 of the whole file, as zlib computes it, with
eight zeros in the place of its own eight digits. Any reader of safetensors reads them. A file
without the entry is not one of these, also if an earlier version wrote it. The same content gives
the same bytes: the entries of the metadata are in the order of their names.
"""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from caf_video.errors import CafVideoError
from caf_video.reading import require_file

_NAME, _ZEROS = "crc32", "00000000"
# No id or label can hold this: JSON puts a backslash before a quotation mark.
_ENTRY = re.compile(rb'"crc32":"([0-9a-f]{8})"')
_LENGTH = 8  # bytes before the header, which say how long it is


class DamagedFileError(CafVideoError):
    """A file that is not as it was written, or not one of these at all."""


def sealed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of such a file.

    Args:
        tensors: By name, contiguous.
        metadata: Beside them; not `crc32`.
    """
    content = _in_order(save(dict(tensors)), {**metadata, _NAME: _ZEROS})
    start = content.index(b'"crc32":"00000000"') + len(b'"crc32":"')
    content[start : start + len(_ZEROS)] = f"{zlib.crc32(content):08x}".encode()
    return bytes(content)


def unsealed(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of such a file, whole.

    Raises:
        DamagedFileError: They are not as they were written.
        CafVideoError: There is no such file, or it may not be read.
    """
    require_file(file)
    try:
        content = file.read_bytes()
        entry = _entry(content)
        if entry is None:
            raise DamagedFileError(f"{file} has no checksum")
        start, stop = entry.span(1)
        whole, found = memoryview(content), 0
        for piece in (whole[:start], _ZEROS.encode(), whole[stop:]):
            found = zlib.crc32(piece, found)
        if found != int(entry[1], 16):
            raise DamagedFileError(f"{file} does not have the checksum that it was written with")
        metadata = json.loads(content[_LENGTH : _header_end(content)])["__metadata__"]
        return load(content), {name: text for name, text in metadata.items() if name != _NAME}
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedFileError(f"{file} cannot be read") from error


def _in_order(content: bytes, metadata: Mapping[str, str]) -> bytearray:
    """Such a file with these metadata, which the library itself would write in any order."""
    end = _header_end(content)
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(content[_LENGTH:end])}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)  # the tensors begin at a multiple of eight bytes
    return bytearray(len(text).to_bytes(_LENGTH, "little") + text) + content[end:]


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a file: its first byte, and its shape."""

    start: int
    shape: tuple[int, ...]


def place_of(file: Path, name: str) -> Place:
    """Where a tensor lies in such a file, which was verified.

    Raises:
        DamagedFileError: It is not there.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(_LENGTH), "little")
            entry = json.loads(opened.read(length))[name]
        return Place(_LENGTH + length + entry["data_offsets"][0], tuple(entry["shape"]))
    except (OSError, ValueError, KeyError) as error:
        raise DamagedFileError(f"{file} cannot be read") from error


def _entry(content: bytes | bytearray) -> re.Match[bytes] | None:
    return _ENTRY.search(content, _LENGTH, _header_end(content))


def _header_end(content: bytes | bytearray) -> int:
    return min(_LENGTH + int.from_bytes(content[:_LENGTH], "little"), len(content))

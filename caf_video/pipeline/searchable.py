"""index ─► the same index with inverted lists beside its parts, to be searched faster.

    INDEX/lists.json   kind, vectors, lists, probes, recall; of which parts, digest of lists.faiss
    INDEX/lists.faiss  the lists, as faiss writes them; ids are positions among the moments

Without them an index is `flat`: every moment is compared. With them the nearest lists give
candidates, of which exact distances choose.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caf_video.errors import InputError
from caf_video.files import written_whole
from caf_video.pipeline.moments import MomentIndex, MomentIndexError
from caf_video.pipeline.results import read_json, write_json
from caf_video.reading import require_file
from caf_video.retrieval import APPROXIMATE, Built, InvertedLists

FLAT = "flat"
KINDS = (FLAT, *APPROXIMATE)


@dataclass(frozen=True)
class Searchable:
    """How an index is searched.

    Attributes:
        kind: One of KINDS.
        built: How good its lists are; None of a flat one.
        size_bytes: Of the lists on disk.
    """

    kind: str
    built: Built | None = None
    size_bytes: int = 0


def make_searchable(folder: Path, kind: str | None = None) -> Searchable:
    """Build the lists of an index anew, where its moments or the kind are others than theirs.

    The embeddings are read part by part, as often as needed, and never held all together.

    Args:
        folder: Of the index.
        kind: One of KINDS; None keeps the one that it has, which at first is flat.

    Raises:
        CafVideoError: There is no such kind, the moments are too few for it, or the index cannot be
            read or written.
    """
    record = _record(folder)
    kind = kind or (record["kind"] if record else FLAT)
    if kind not in KINDS:
        raise InputError(f"no kind {kind!r} of index: choose {', '.join(KINDS)}")
    if kind == FLAT:
        if record:
            for file in (_record_file(folder), _lists_file(folder)):
                file.unlink(missing_ok=True)
        return Searchable(FLAT)
    index = MomentIndex.open(folder)
    parts = _parts_digest(index)
    if record and record["kind"] == kind and record["parts_sha256"] == parts:
        return Searchable(kind, Built(**record["built"]), _lists_file(folder).stat().st_size)

    def blocks() -> Iterator[np.ndarray]:
        return index.embeddings()

    lists, built = InvertedLists.build(kind, blocks)
    # First what says what the lists are goes, then they: none is taken for another's.
    _record_file(folder).unlink(missing_ok=True)
    with written_whole(_lists_file(folder), MomentIndexError) as part:
        lists.save(part)
    write_json(
        _record_file(folder),
        {
            "kind": kind,
            "built": dataclasses.asdict(built),
            "parts_sha256": parts,
            "lists_sha256": _sha256(_lists_file(folder)),
        },
    )
    return Searchable(kind, built, _lists_file(folder).stat().st_size)


def how_searched(index: MomentIndex) -> tuple[Searchable, bool]:
    """How an index is searched, and whether its lists are of the moments that it has.

    Of a flat one that is so; whether the lists are as they were written is `open_lists`' to find.

    Raises:
        CafVideoError: What should describe the lists does not.
    """
    record = _record(index.folder)
    if record is None:
        return Searchable(FLAT), True
    file = _lists_file(index.folder)
    size = file.stat().st_size if file.is_file() else 0
    fits = bool(size) and record["parts_sha256"] == _parts_digest(index)
    return Searchable(record["kind"], Built(**record["built"]), size), fits


def open_lists(index: MomentIndex) -> InvertedLists | None:
    """The lists of an index; None where it is flat.

    Raises:
        CafVideoError: They are damaged, or were made of other moments than there are now.
    """
    record = _record(index.folder)
    if record is None:
        return None
    file = _lists_file(index.folder)
    again = f"run `caf-video index` again with --kind {record['kind']}, or --kind flat"
    if record["parts_sha256"] != _parts_digest(index):
        raise MomentIndexError(f"{file} was made of other moments than {index.folder} has: {again}")
    require_file(file, MomentIndexError)
    if _sha256(file) != record["lists_sha256"]:
        raise MomentIndexError(f"{file} is not as it was written: {again}")
    return InvertedLists.open(file, Built(**record["built"]).probes)


def _record(folder: Path) -> dict[str, Any] | None:
    file = _record_file(folder)
    if not file.is_file():
        return None
    record = read_json(file)
    wanted = {"kind", "built", "parts_sha256", "lists_sha256"}
    if not isinstance(record, dict) or record.keys() != wanted or record["kind"] not in APPROXIMATE:
        raise MomentIndexError(f"{file} does not describe the lists of an index: delete it")
    try:
        Built(**record["built"])
    except TypeError as error:
        raise MomentIndexError(
            f"{file} does not describe the lists of an index: delete it"
        ) from error
    return record


def _parts_digest(index: MomentIndex) -> str:
    """Digest of which parts there are: each is named by the moments in it."""
    return hashlib.sha256("\n".join(index.part_names()).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _record_file(folder: Path) -> Path:
    return folder / "lists.json"


def _lists_file(folder: Path) -> Path:
    return folder / "lists.faiss"

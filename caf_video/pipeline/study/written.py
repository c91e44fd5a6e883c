"""What a study leaves on disk: a table for people, plain values for programs, pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caf_video.files import require_ours
from caf_video.pipeline.result_table import Table
from caf_video.pipeline.results import output_folder, write_json, write_picture, write_text


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        name: Of its files.
        tables: For people.
        record: All of it, plain values.
        pictures: By the rest of the file's name; "" is the study's own.
    """

    name: str
    tables: Sequence[Table]
    record: dict[str, Any]
    pictures: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """Its tables."""
        return "\n".join(table.markdown() for table in self.tables)


def prepare(folder: Path, name: str) -> Path:
    """The folder of a study, made before anything is computed.

    Raises:
        CafVideoError: It cannot be made, or holds such files of somebody else.
    """
    output_folder(folder)
    require_ours(folder / f"{name}.json", folder / f"{name}.md")
    return folder


def write_study(study: Study, folder: Path) -> list[Path]:
    """Write `NAME.md`, `NAME.json`, and `NAME-….png` or `NAME.png` for each picture.

    The record has the tables too, and the names of the pictures: a page of them reads nothing else.

    Returns:
        The files, the table first.

    Raises:
        CafVideoError: One cannot be written.
    """
    table, record = folder / f"{study.name}.md", folder / f"{study.name}.json"
    pictures = {
        folder / f"{study.name}{'-' if suffix else ''}{suffix}.png": picture
        for suffix, picture in study.pictures.items()
    }
    shown = {
        "tables": [one.plain() for one in study.tables],
        "pictures": [path.name for path in pictures],
    }
    write_text(table, study.markdown())
    write_json(record, {**study.record, **shown})
    for path, picture in pictures.items():
        write_picture(path, picture)
    return [table, record, *pictures]

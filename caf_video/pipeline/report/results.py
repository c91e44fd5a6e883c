"""results of studies, of `localize` and of searches ─► one page that opens by double-click."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from caf_video.data.images import ImageError, image_size
from caf_video.data.manifest import Clip
from caf_video.errors import CafVideoError, InputError
from caf_video.files import is_ours, require_ours, written_whole
from caf_video.pipeline.page_folder import FRAMES, PICTURES, PageFolder
from caf_video.pipeline.report.parts import FILMS_BYTES, ReportDone, folder_done
from caf_video.pipeline.results import read_json
from caf_video.pipeline.search import told_times
from caf_video.rendering import (
    ResultPicture,
    ResultsPage,
    ResultTable,
    SearchResult,
    StudyResult,
    write_results_page,
)

COMMAND = "caf-video report"
SEARCH = "search.json"
FILMS = (".webp", ".gif", ".mp4")


@dataclass(frozen=True)
class FoundResult:
    """A record among the results: what it is, or of one that is older why it cannot be shown."""

    path: Path
    kind: Literal["study", "search", "older"]
    record: dict[str, Any]


def find_results(folder: Path) -> list[FoundResult]:
    """What can be shown, or could be if it were made again; in a folder and the folders in it.

    A study is known by the tables in its record. What has a table in Markdown beside it, and none
    in it, is older than that.
    """
    if not folder.is_dir():
        return []
    inner = (one for one in sorted(folder.iterdir()) if one.is_dir())
    found = []
    for path in (path for place in (folder, *inner) for path in sorted(place.glob("*.json"))):
        try:
            record = read_json(path)
        except CafVideoError:  # somebody else's: what is ours is JSON
            continue
        kind = _kind(path, record)
        if kind is not None:
            found.append(FoundResult(path, kind, record))
    return found


def report_results(folder: Path, found: Sequence[FoundResult], out: Path) -> ReportDone:
    """Write one page of results.

    Pictures are copied, and so is the page of a search with its films and clips: the folder of the
    page may be carried away, and its links still lead somewhere.

    Args:
        folder: Where `caf-video study`, `localize --json` or `search` left their files.
        found: What `find_results` found there.
        out: Folder for the page.

    Raises:
        CafVideoError: All results are older than their tables, a record is not as we wrote it, or
            the folder for the page holds what is not ours.
    """
    older = [str(one.path.relative_to(folder)) for one in found if one.kind == "older"]
    if len(older) == len(found):
        raise InputError(
            f"{folder}: {', '.join(older)}: without their tables, which older versions left out: "
            "run the study again"
        )
    if any(one.kind == "search" and _same(one.path.parent, out) for one in found):
        raise InputError(f"{out} has the page of a search: choose another --out")
    if _same(folder, out):  # the page is to be carried away without what it was made of
        raise InputError(f"{out} has the results themselves: choose another --out")
    page_folder, room = PageFolder(out, COMMAND), Room(FILMS_BYTES)
    studies: list[StudyResult] = []
    searches: list[SearchResult] = []
    for one in found:
        if one.kind == "search":
            searches.append(_search(one, folder, page_folder, len(searches), room))
        elif one.kind == "study":
            studies.append(_study(one, folder, page_folder, len(studies), room))
    page = ResultsPage(
        title=f"Results {'/'.join(folder.resolve().parts[-2:])}",
        lead=f"{_counted(len(studies), 'study', 'studies')} and "
        f"{_counted(len(searches), 'search', 'searches')}.",
        studies=studies,
        searches=searches,
        notes=[f"{name} is older than its tables: run the study again to see them here."
               for name in older],
    )  # fmt: skip
    write_results_page(page_folder.page, page)
    return folder_done(page_folder, len(studies) + len(searches), len(found))


class Room:
    """Bytes that are left for what is copied."""

    def __init__(self, left: float) -> None:
        self.left = left

    def take(self, *files: Path) -> bool:
        """Whether files still fit; they then take their room."""
        size = sum(file.stat().st_size for file in files)
        if size > self.left:
            return False
        self.left -= size
        return True


def _kind(path: Path, record: Any) -> Literal["study", "search", "older"] | None:
    if not isinstance(record, dict):
        return None
    if path.name == SEARCH and {"query", "matches"} <= record.keys():
        return "search"
    tables = record.get("tables")
    if isinstance(tables, list) and tables and all(map(_is_table, tables)):
        return "study"
    return "older" if is_ours(path) and is_ours(path.with_suffix(".md")) else None


def _is_table(plain: Any) -> bool:
    """Whether it is what `Table.plain` makes."""
    if not isinstance(plain, dict) or not isinstance(plain.get("title"), str):
        return False
    columns, rows, best = plain.get("columns"), plain.get("rows"), plain.get("best")
    return (
        _are_texts(columns)
        and _are_texts(plain.get("notes"))
        and isinstance(rows, list)
        and all(_are_texts(row) and len(row) == len(columns or ()) for row in rows)
        and isinstance(best, list)
        and all(isinstance(cell, list) and len(cell) == 2 for cell in best)
    )


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _study(
    found: FoundResult, folder: Path, page: PageFolder, number: int, room: Room
) -> StudyResult:
    path, record = found.path, found.record
    source = path.relative_to(folder)
    tables = [
        ResultTable(
            plain["title"], plain["columns"], plain["rows"], plain["notes"],
            {(row, column) for row, column in plain["best"]},
        )
        for plain in record["tables"]
    ]  # fmt: skip
    pictures, notes = [], []
    for place, name in enumerate(record.get("pictures", ())):
        picture = path.parent / Path(str(name)).name
        if picture.suffix not in PICTURES:
            continue
        try:
            height, width = image_size(picture)
        except ImageError as error:
            notes.append(f"A picture is missing: {error}")
            continue
        if not room.take(picture):
            notes.append(f"No room here for the picture {picture}.")
            continue
        file = page.keep(picture, f"{number:03}-{place:02}")
        pictures.append(ResultPicture(file, (width, height), picture.stem))
    films = [one for suffix in FILMS if is_ours(one := path.with_suffix(suffix))]
    film = page.keep(films[0], f"{number:03}") if films and room.take(films[0]) else ""
    name = str(source.with_suffix(""))
    return StudyResult(name, str(source), tables, pictures, notes, film)


def _search(
    found: FoundResult, folder: Path, page: PageFolder, number: int, room: Room
) -> SearchResult:
    path, record = found.path, found.record
    try:
        query = _clip(record["query"])
        rows = [
            [
                str(rank), str(match["id"]), str(match["label"]), f"{match['distance']:.4g}",
                str(match["session"]), told_times(_clip(match)),
            ]
            for rank, match in enumerate(record["matches"], 1)
        ]  # fmt: skip
        facts = {
            "video": str(record["query"]["video"]),
            "times": told_times(query),
            "session": query.session or "its own video",
            "searched": f"{record['moments']} moments, of which {record['left_out']} were left out",
            "index": str(record["index"]),
            "run": str(record["run"]),
            "file": str(path.relative_to(folder)),
        }
        notes = [str(note) for note in record["notes"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not as `caf-video search` writes it: search again") from error
    columns = ["rank", "moment", "class", "distance", "session", "in its drive"]
    table = ResultTable("Matches, nearest first", columns, rows)
    copied, why_not = _copied(path.parent, page, number, room)
    return SearchResult(f"What resembles {query.path.name}", facts, table, notes + why_not, copied)


def _clip(told: dict[str, Any]) -> Clip:
    start, end = told["start_seconds"], told["end_seconds"]
    return Clip(
        str(told["id"]), Path(told["video"]), "", float(start),
        None if end is None else float(end), session=str(told["session"]),
    )  # fmt: skip


def _copied(folder: Path, page: PageFolder, number: int, room: Room) -> tuple[str, list[str]]:
    """The page of a search, copied with its films and clips; or a sentence why it was not."""
    if not is_ours(folder / "index.html"):
        return "", [f"There is no page of this search in {folder}, as caf-video wrote it."]
    films = sorted((folder / FRAMES).glob("*.jpg"))
    clips = [clip for clip in sorted((folder / "clips").glob("*.mp4")) if is_ours(clip)]
    if not room.take(folder / "index.html", *films, *clips):
        return "", [f"There is no room here for the page of this search: {folder / 'index.html'}"]
    copied = PageFolder(page.folder / "searches" / f"{number:03}", COMMAND)
    for film in films:
        copied.keep(film, film.stem)
    for clip in clips:
        require_ours(copied.folder / "clips" / clip.name)
        with written_whole(copied.folder / "clips" / clip.name, ours=True) as temporary:
            shutil.copyfile(clip, temporary)
    with written_whole(copied.page) as temporary:
        shutil.copyfile(folder / "index.html", temporary)
    copied.done()
    return copied.page.relative_to(page.folder).as_posix(), []


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"

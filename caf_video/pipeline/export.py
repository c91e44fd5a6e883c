"""run ─► embeddings of a split as npy, CSV and Parquet, for other tools."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caf_video.files import require_ours, written_whole
from caf_video.pipeline.embed import EmbeddedSplit, embed_split
from caf_video.pipeline.evaluate import ALL_OTHERS, OTHER_SESSIONS
from caf_video.pipeline.opened import open_features, open_run
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.results import output_folder, write_text

ARRAY, TABLE, PARQUET, README = "embeddings.npy", "clips.csv", "clips.parquet", "README.md"

COLUMNS = {
    "id": "name of the clip",
    "path": "its video, absolute",
    "start": "when the event begins, seconds from the first frame of the video",
    "end": "when it ends, seconds; empty: at the end of the video",
    "label": "its class",
    "session": "the recording it is cut from; empty: the video is the session",
    "split": "train, val or test",
    "nearest": "id of the nearest other clip of the split",
    "distance": "to that clip, Euclidean, between the embeddings as they are here",
    "correct": "whether that clip has the same label: the gate",
}


@dataclass(frozen=True)
class Export:
    """What `export` left.

    Attributes:
        embedded: The split.
        files: By name.
        parquet: Whether there is a Parquet file among them: pyarrow was there.
    """

    embedded: EmbeddedSplit
    files: list[Path]
    parquet: bool


def export(
    run_folder: Path,
    out: Path,
    *,
    split: str = "test",
    features: Path | None = None,
    track: Track = quietly,
) -> Export:
    """Write the embeddings of a split, and what is known of each clip.

    Leaves `embeddings.npy` (n, d), float32, `clips.csv`, its rows in that order, `README.md` on the
    columns and, where pyarrow is installed, `clips.parquet`, which holds the embeddings too.

    Args:
        run_folder: The run.
        out: Folder for the files.
        split: train, val or test.
        features: Where the features are, if they are not where the run left them.
        track: Shows how far it is.

    Raises:
        CafVideoError: The run or its features cannot be used, the split has fewer than two clips,
            or a file cannot be written, or is there and not ours.
    """
    folder = output_folder(out)
    require_ours(*(folder / name for name in (ARRAY, TABLE, PARQUET, README)))
    run = open_run(run_folder)
    embedded = embed_split(run, open_features(run, features), split, track=track)
    rule = OTHER_SESSIONS if embedded.sessions_allow else ALL_OTHERS
    rows = list(_rows(embedded))
    array = np.ascontiguousarray(embedded.embeddings.numpy(), dtype=np.float32)
    with written_whole(folder / ARRAY, ours=True) as part, part.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    text = io.StringIO()
    table = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / TABLE, text.getvalue())
    parquet = _write_parquet(folder / PARQUET, rows, array)
    write_text(folder / README, readme(embedded, array.shape, rule, run_folder, parquet))
    names = [ARRAY, TABLE, *([PARQUET] if parquet else []), README]
    return Export(embedded, [folder / name for name in names], parquet)


def readme(
    embedded: EmbeddedSplit, shape: tuple[int, ...], rule: str, run: Path, parquet: bool
) -> str:
    """What the files hold, column by column."""
    where = "of another session than the clip's own" if rule == OTHER_SESSIONS else "of all others"
    lines = [
        f"# Embeddings of the {embedded.split} split",
        "",
        f"By the run `{run.name}`: {shape[0]} clips of {shape[1]} dimensions. Clips that the run "
        f"was trained on are left out: {len(embedded.trained_on)}.",
        "",
        f"- `{ARRAY}`: float32, a row a clip, as retrieval compares them by Euclidean distance",
        f"- `{TABLE}`: what is known of each clip, in the same order",
    ]
    if parquet:
        lines.append(f"- `{PARQUET}`: the same columns, and `embedding`, a list of floats")
    lines += ["", "| column | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {told} |" for name, told in COLUMNS.items()]
    return "\n".join([*lines, "", f"`nearest` is searched among the clips {where}.", ""])


def _rows(embedded: EmbeddedSplit) -> Iterator[dict[str, Any]]:
    nearest = embedded.nearest(
        embedded.embeddings, embedded.clips, other_sessions=embedded.sessions_allow
    )
    for clip, other, distance in zip(
        embedded.clips, nearest.clips, nearest.distances.tolist(), strict=True
    ):
        values = (
            *(clip.clip_id, str(clip.path), clip.start_seconds, clip.end_seconds, clip.label),
            *(clip.session, clip.split, other.clip_id, distance, other.label == clip.label),
        )
        yield dict(zip(COLUMNS, values, strict=True))


def _write_parquet(path: Path, rows: list[dict[str, Any]], embeddings: np.ndarray) -> bool:
    """Write the rows with their embeddings, if pyarrow is installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        return False
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in COLUMNS}
    columns["end"] = pyarrow.array(columns["end"], pyarrow.float64())
    flat = pyarrow.array(embeddings.ravel())
    columns["embedding"] = pyarrow.FixedSizeListArray.from_arrays(flat, embeddings.shape[1])
    with written_whole(path, ours=True) as part:
        parquet.write_table(pyarrow.table(columns), part)
    return True

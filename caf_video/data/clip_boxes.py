"""Ground truth of clips on disk: a box for every frame, and whether the evidence is visible."""

import csv
from pathlib import Path

import numpy as np

from caf_video.errors import CafVideoError

BOX_COLUMNS = ("clip_id", "frame_index", "x1", "y1", "x2", "y2", "visible")


class ClipBoxesError(CafVideoError):
    """A table of boxes that cannot be read; names the file."""


def read_boxes(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Ground truth of clips: for each clip id, boxes (frames, 4) and visible (frames,) bool.

    Raises:
        ClipBoxesError: If the file is missing or not such a table; names file and line.
    """
    path = Path(path)
    rows: dict[str, list[tuple[int, list[float], bool]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != BOX_COLUMNS:
                raise ClipBoxesError(f"{path} line 1: the columns are not {','.join(BOX_COLUMNS)}")
            for row in reader:
                box = [float(row[name]) for name in ("x1", "y1", "x2", "y2")]
                entry = (int(row["frame_index"]), box, row["visible"] == "1")
                rows.setdefault(row["clip_id"], []).append(entry)
    except OSError as error:
        raise ClipBoxesError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ClipBoxesError(f"{path} line {reader.line_num}: not a box") from error
    truth = {}
    for clip_id, entries in rows.items():
        entries.sort(key=lambda entry: entry[0])
        boxes = np.array([box for _, box, _ in entries])
        truth[clip_id] = (boxes, np.array([visible for _, _, visible in entries]))
    return truth

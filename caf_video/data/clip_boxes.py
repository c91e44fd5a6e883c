"""Ground truth of clips on disk: a box for every frame, and whether the evidence is visible."""

from pathlib import Path

import numpy as np

from caf_video.data.csv_rows import csv_rows
from caf_video.errors import CafVideoError
from caf_video.reading import file_bytes, text_of

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
        text = text_of(file_bytes(path), path.name, ClipBoxesError)
    except OSError as error:
        raise ClipBoxesError(f"cannot read {path}: {error.strerror}") from error
    lines = csv_rows(text, str(path), ClipBoxesError)
    if tuple(next(lines, (1, []))[1]) != BOX_COLUMNS:
        raise ClipBoxesError(f"{path} line 1: the columns are not {','.join(BOX_COLUMNS)}")
    for line, cells in lines:
        try:
            clip_id, frame_index, *corners, visible = cells
            box = [float(corner) for corner in corners]
            entry = (int(frame_index), box, visible == "1")
        except ValueError as error:
            raise ClipBoxesError(f"{path} line {line}: not a box") from error
        if len(box) != 4 or not np.isfinite(box).all():
            raise ClipBoxesError(f"{path} line {line}: not a box")
        rows.setdefault(clip_id, []).append(entry)
    truth = {}
    for clip_id, entries in rows.items():
        entries.sort(key=lambda entry: entry[0])
        boxes = np.array([box for _, box, _ in entries])
        truth[clip_id] = (boxes, np.array([visible for _, _, visible in entries]))
    return truth

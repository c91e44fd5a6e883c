"""A clip: one labelled event of a video."""

from dataclasses import dataclass, field
from pathlib import Path

from caf_video.errors import CafVideoError

SPLITS = ("train", "val", "test")
# A test in two halves: the queries are searched in the gallery, and not among one another.
QUERY, GALLERY = "query", "gallery"
ALL_SPLITS = (*SPLITS, QUERY, GALLERY)
# How others call them; letter case does not matter.
SPLIT_OF_NAME = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("query", "queries"), QUERY),
    GALLERY: GALLERY,
}


class ManifestError(CafVideoError):
    """A list of clips that cannot be used as it is. Names the file and line, or the clip."""


@dataclass(frozen=True)
class Clip:
    """A trimmed event of a video.

    Attributes:
        clip_id: Its name, unique in its list.
        path: The video file, or the folder of its numbered frames; absolute.
        label: Its class.
        start_seconds: When the event begins, from the first frame of the video.
        end_seconds: When it ends; None is the end of the video.
        session: The recording it is cut from; "" means that the video file is the session.
        split: One of `ALL_SPLITS`, or "" where none is assigned yet.
        fps: Frames a second of the video, for raw streams and folders of frames, which do not tell;
            None where the list does not say.
        listed_path: The path from the folder of its list, "" where it comes from none.
        other: Columns of its list that mean nothing here, (name, cell); kept when it is written.
    """

    clip_id: str
    path: Path
    label: str
    start_seconds: float = 0.0
    end_seconds: float | None = None
    session: str = ""
    split: str = ""
    fps: float | None = None
    other: tuple[tuple[str, str], ...] = ()
    listed_path: str = field(default="", compare=False)

    @property
    def recording(self) -> str:
        """What no two splits may share: the session, or the video file where none is named."""
        return self.session or str(self.path)

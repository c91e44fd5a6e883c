"""query ─► the moments of an index that resemble it, before anything is drawn."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from caf_video.data.manifest import Clip
from caf_video.data.sampling import clip_frame_indices
from caf_video.data.video.reader import VideoReader
from caf_video.errors import InputError
from caf_video.models.backbones import Backbone
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.kept_moments import KeptMoments, Moment
from caf_video.pipeline.moments import MomentIndex
from caf_video.pipeline.opened import open_run, run_backbone
from caf_video.pipeline.progress import device
from caf_video.pipeline.searchable import open_lists
from caf_video.pipeline.windows import maps_of_clip
from caf_video.retrieval import CANDIDATES, best_moments, distances_to
from caf_video.training import ClipRun


@dataclass(frozen=True, eq=False)
class Match:
    """A moment that was found.

    Attributes:
        position: In the index.
        distance: To the query.
        moment: It, its frames and their times.
    """

    position: int
    distance: float
    moment: Moment

    @property
    def clip(self) -> Clip:
        """The moment itself."""
        return self.moment.clip


@dataclass(frozen=True, eq=False)
class Found:
    """The answer to a query, before anything is drawn.

    Attributes:
        query: The clip that was asked for; of the session of its video, where the index knows it.
        frame_indices, times_seconds: Of its frames, (t,).
        maps: Theirs, (t, c, h, w).
        embedding: As the run compares it, (d,).
        matches: The best, nearest first; overlapping windows count once.
        left_out: How many moments were not searched: those that share time with the query, and of
            its session, where that was asked for.
        notes: What the reader must know.
    """

    query: Clip
    frame_indices: np.ndarray
    times_seconds: np.ndarray
    maps: Tensor
    embedding: np.ndarray
    matches: list[Match]
    left_out: int
    notes: list[str]


class SearchIndex:
    """An index with its run, opened: many queries may be asked of it. Embeddings stay on disk.

    Args:
        folder: Of the index.
        run_folder: The run, if it is not where the index says.

    Raises:
        CafVideoError: The index or its run cannot be used, or the run is another now.
    """

    def __init__(self, folder: Path, run_folder: Path | None = None) -> None:
        self.index = MomentIndex.open(folder)
        checkpoint = Path(self.index.record["run"])
        if run_folder is None and not checkpoint.is_file():
            raise InputError(f"the run of {folder} is not at {checkpoint} any more: --model RUN")
        self.run: ClipRun = open_run(run_folder or checkpoint)
        self.index.require(self.run)
        self.moments = KeptMoments(self.index)
        self._lists = open_lists(self.index)
        self._backbone: Backbone | None = None

    @property
    def backbone(self) -> Backbone:
        """Of the run, loaded once."""
        if self._backbone is None:
            self._backbone = run_backbone(self.run, self.index.folder.name)
        return self._backbone

    def ask(self, query: Clip, *, top: int = 10, exclude_session: bool = False) -> Found:
        """The moments nearest to a clip of a video.

        Moments that share time with the query itself are no answer.

        Raises:
            CafVideoError: The video cannot be read, or the times are not in it.
        """
        wanted = self.run.description
        with VideoReader(query.path, fps=query.fps) as reader:
            frames = clip_frame_indices(query, reader, timesteps=wanted.timesteps, candidates=1)
            times = reader.times_seconds[frames[:, 0]]
        maps = maps_of_clip(self.run, self.backbone, query, frames[:, 0])
        embedding = self.run.embed(maps[None].to(device()))[0].double().cpu().numpy()
        leave_out, notes, recording = self._not_to_be_found(query, exclude_session)
        best, distances = self._best(embedding, top, leave_out)
        matches = [
            Match(int(row), float(distance), self.moments[int(row)])
            for row, distance in zip(best, distances, strict=True)
        ]
        if len(matches) < top:
            notes.append(f"The index has {len(matches)} such moments, fewer than {top}.")
        asked = Clip(query.clip_id, query.path, "", query.start_seconds, query.end_seconds,
                     recording, fps=query.fps)  # fmt: skip
        return Found(asked, frames[:, 0], times, maps, embedding, matches,
                     int(leave_out.sum()), notes)  # fmt: skip

    def distances(self, found: Found) -> np.ndarray:
        """Of every moment of the index to what was asked for, (n,)."""
        return self.moments.measured(partial(distances_to, found.embedding))

    def _best(
        self, embedding: np.ndarray, top: int, leave_out: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best moments (top or fewer,) and their distances, among all or among candidates.

        Windows that overlap with a nearer one are struck out: where too few candidates are left,
        more are asked for, and of a quarter of the index on all are compared.
        """
        count = CANDIDATES * top
        while self._lists is not None and 4 * count < len(self.moments):
            rows = self._lists.candidates(
                embedding[None].astype(np.float32), count, allowed=~leave_out
            )[0]
            rows = np.sort(rows[rows >= 0])
            best, distances = self._best_of(rows, embedding, top)
            if len(best) == top:
                return best, distances
            count *= 4
        return self._best_of(np.flatnonzero(~leave_out), embedding, top)

    def _best_of(
        self, rows: np.ndarray, embedding: np.ndarray, top: int
    ) -> tuple[np.ndarray, np.ndarray]:
        of = self.moments
        distances = of.measured(partial(distances_to, embedding), rows)
        best = best_moments(
            distances, of.video_codes[rows], of.starts[rows], of.ends[rows], top=top
        )
        return rows[best], distances[best]

    def _not_to_be_found(
        self, query: Clip, exclude_session: bool
    ) -> tuple[np.ndarray, list[str], str]:
        """Which moments are no answer (n,), what to say of it, and the query's session."""
        digest = VideoDigests().event(query).partition("|")[0]
        of = self.moments
        code = of.code_of_video(digest)
        own = of.video_codes == code
        end = np.inf if query.end_seconds is None else query.end_seconds
        leave_out = own & (of.starts < end) & (of.ends > query.start_seconds)
        recordings = np.unique(of.recording_codes[own])
        session = of.first_clips[code].session if code >= 0 else ""
        if exclude_session:
            leave_out |= np.isin(of.recording_codes, recordings)
            if not len(recordings):
                return leave_out, [
                    f"{query.path.name} is not a video of the index: it is not known of which "
                    "session it is, and none was left out."
                ], ""  # fmt: skip
        return leave_out, [], session

"""run and features ─► embeddings of a split, and the index to search them: made once, and kept.

    RUN/embeddings/best.test.safetensors    embeddings (n, d); what they were made of, as metadata

They are made again when the checkpoint, the manifest or the features of a clip have changed.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from caf_video.data.manifest import Clip
from caf_video.data.sealed import DamagedFileError, sealed, unsealed
from caf_video.data.stores import ClipStore
from caf_video.errors import CafVideoError
from caf_video.files import written_whole
from caf_video.pipeline.opened import clips_of, maps_at_test
from caf_video.pipeline.progress import Track, quietly
from caf_video.retrieval import EmbeddingIndex
from caf_video.training import ClipRun

FORMAT = "1"  # of the file: another one once the same weights and features embed otherwise


@dataclass(frozen=True, eq=False)
class NearestClips:
    """The clip of a split that is nearest to each query, never the query itself.

    Attributes:
        clips: One for each query.
        distances: To it, Euclidean, float64, (q,).
    """

    clips: list[Clip]
    distances: np.ndarray


@dataclass(frozen=True, eq=False)
class EmbeddedSplit:
    """The clips of a split and their embeddings.

    Attributes:
        split: Its name.
        clips: Its clips, n of them, less those that the run was trained on.
        embeddings: Theirs, (n, d), as retrieval compares them.
        trained_on: Clips of the split that are left out, because the run was trained on them.
        checked: Whether the run remembers what it was trained on.
    """

    split: str
    clips: list[Clip]
    embeddings: Tensor
    trained_on: list[Clip]
    checked: bool

    @cached_property
    def index(self) -> EmbeddingIndex:
        """To search among them, by clip id and recording."""
        ids = [clip.clip_id for clip in self.clips]
        return EmbeddingIndex(self.embeddings, ids, groups=self.recordings)

    @property
    def recordings(self) -> list[str]:
        """The session of each clip; its video, where no session is named."""
        return [clip.recording for clip in self.clips]

    @property
    def sessions_allow(self) -> bool:
        """Whether a class has clips of two sessions, so that one can be left out of a search."""
        first: dict[str, str] = {}
        return any(
            first.setdefault(clip.label, clip.recording) != clip.recording for clip in self.clips
        )

    def nearest(
        self, queries: Tensor, clips: Sequence[Clip], *, other_sessions: bool = False
    ) -> NearestClips:
        """The clip nearest to each query (q, d), which is the embedding of one of `clips`.

        Args:
            other_sessions: Search among the clips of other sessions than the query's alone; there
                must be two.
        """
        found = self.index.search(
            queries,
            neighbours=1,
            query_ids=[clip.clip_id for clip in clips],
            query_groups=[clip.recording for clip in clips] if other_sessions else None,
        )
        nearest = [self.clips[position] for position in found.positions[:, 0]]
        return NearestClips(nearest, found.distances[:, 0])


def embed_split(
    run: ClipRun, store: ClipStore, split: str, *, track: Track = quietly
) -> EmbeddedSplit:
    """The embeddings of a split, as kept in the run's folder, else made and kept there.

    Args:
        run: The trained network.
        store: Features of the kind it was trained on.
        split: train, val or test.

    Raises:
        CafVideoError: The split has no clip, or none that the run was not trained on; or a clip's
            features cannot be read.
    """
    measured = clips_of(run, store, split)
    clips = measured.clips
    file = embeddings_file(run.checkpoint, split)
    made_of = _made_of(run, store, split, clips)
    kept = _read(file, made_of, len(clips))
    if kept is None:
        rows = [
            run.embed(maps_at_test(store.read(clip.clip_id))[None]).cpu()
            for clip in track(clips, description=f"Embedding the {split} split", total=len(clips))
        ]
        kept = torch.cat(rows)
        _require_finite(run, clips, kept)
        _write(file, kept, made_of)
    return EmbeddedSplit(split, clips, kept, measured.trained_on, measured.checked)


def embeddings_file(checkpoint: Path, split: str) -> Path:
    """Where the embeddings of a split by a checkpoint are kept: in its run's folder."""
    folder = checkpoint.parent
    if folder.name == "checkpoints":
        folder = folder.parent
    return folder / "embeddings" / f"{checkpoint.stem}.{split}.safetensors"


def _made_of(run: ClipRun, store: ClipStore, split: str, clips: Sequence[Clip]) -> dict[str, str]:
    """All that the embeddings depend on, and whose they are: the metadata of their file."""
    with run.checkpoint.open("rb") as checkpoint:
        checkpoint_sha256 = hashlib.file_digest(checkpoint, "sha256").hexdigest()
    return {
        "format": FORMAT,
        "split": split,
        "ids": json.dumps([clip.clip_id for clip in clips]),
        "labels": json.dumps([clip.label for clip in clips]),
        "sessions": json.dumps([clip.session for clip in clips]),
        "checkpoint_sha256": checkpoint_sha256,
        "manifest_sha256": hashlib.sha256(store.manifest_path.read_bytes()).hexdigest(),
        "features_sha256": store.digest([clip.clip_id for clip in clips]),
    }


def _require_finite(run: ClipRun, clips: Sequence[Clip], embeddings: Tensor) -> None:
    bad = [clip for clip, row in zip(clips, embeddings, strict=True) if not row.isfinite().all()]
    if bad:
        raise CafVideoError(
            f"{run.checkpoint} gives clip {bad[0].clip_id!r} an embedding that is not finite "
            f"({len(bad)} of {len(clips)} clips): train again, or name another checkpoint"
        )


def _read(file: Path, made_of: dict[str, str], count: int) -> Tensor | None:
    """The embeddings of so many clips, or None where they are not there, not whole or of others."""
    if not file.exists():
        return None
    try:
        tensors, metadata = unsealed(file)
    except DamagedFileError:
        return None
    embeddings = tensors.get("embeddings")
    if metadata != made_of or embeddings is None or len(embeddings) != count:
        return None
    return embeddings


def _write(file: Path, embeddings: Tensor, made_of: dict[str, str]) -> None:
    payload = sealed({"embeddings": embeddings.contiguous()}, made_of)
    try:
        with written_whole(file) as part:
            part.write_bytes(payload)
    except CafVideoError as error:  # of a run that others may only read: all else goes on
        warnings.warn(f"{error}; the embeddings are made again next time", stacklevel=3)

"""What is read part by part is what stands in the whole index, and nothing large is held."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from caf_video.data.features import StoreDescription
from caf_video.data.manifest import Clip
from caf_video.errors import CafVideoError
from caf_video.pipeline import kept_moments
from caf_video.pipeline.kept_moments import KeptMoments
from caf_video.pipeline.moments import MomentIndex, Moments
from caf_video.retrieval import distances_to

DESCRIPTION = StoreDescription("net", "none", "0" * 64, 32, (64, 96), 4, (2, 3), 3, 3)


def moments_of(names: list[str], seed: int) -> Moments:
    """Windows of two seconds, every one, `video:second`; the last of a video ends with it."""
    random = np.random.default_rng(seed)
    clips, events = [], []
    for name in names:
        video, _, second = name.partition(":")
        end = None if second == "9" else float(second) + 2
        session = "" if video == "c" else "drive " + video
        clips.append(Clip(name, Path(f"/{video}.mp4"), "", float(second), end, session))
        events.append(f"{video}{video}|{second}|{end}" if video != "d" else f"|clip {name}")
    shape = (len(names), 3)
    frames, times = random.integers(90, size=shape), random.random(shape)
    return Moments(
        clips, events, random.normal(size=(len(names), 5)).astype(np.float32),
        random.random(len(names)).astype(np.float32), frames, times,
    )  # fmt: skip


@pytest.fixture
def index(tmp_path: Path) -> MomentIndex:
    """Of three parts; two of the third's moments others have too, whichever comes first."""
    (tmp_path / "best.ckpt").write_bytes(b"a checkpoint")
    run: Any = SimpleNamespace(checkpoint=tmp_path / "best.ckpt", description=DESCRIPTION)
    made = MomentIndex.create(tmp_path / "index", run)
    made.add(moments_of([f"a:{second}" for second in range(10)], 1))
    made.add(moments_of(["c:1", "b:9", "b:2"], 2))
    made.add(moments_of(["d:3", "a:4", "c:7", "b:2", "d:4"], 3))
    return made


@pytest.mark.parametrize("at_once", [2, 1 << 14])
def test_distances_are_to_the_digit_those_of_all_embeddings_in_memory(
    index: MomentIndex, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(kept_moments, "_ROWS_AT_ONCE", at_once)
    whole, kept = index.read(), KeptMoments(index)
    assert len(kept) == len(whole) == 16
    query = np.random.default_rng(0).normal(size=5)
    wanted = np.sqrt(((whole.embeddings.astype(np.float64) - query) ** 2).sum(axis=1))
    seen = []

    def measure(rows: np.ndarray) -> np.ndarray:
        seen.append(len(rows))
        return distances_to(query, rows)

    assert kept.measured(measure).tolist() == wanted.tolist()
    assert sum(seen) == 16 and max(seen) <= at_once
    for rows in ([], [0], [15], [3, 9, 10, 15], [1, 2, 3, 11, 13]):
        chosen = kept.measured(partial(distances_to, query), np.array(rows, np.int64))
        assert chosen.tolist() == wanted[rows].tolist()


def test_every_moment_is_told_as_the_whole_index_tells_it(index: MomentIndex) -> None:
    whole, kept = index.read(), KeptMoments(index)
    for position in [*range(16), 0, 15, 7]:
        moment = kept[position]
        assert moment.clip == whole.clips[position]
        assert moment.frame_indices.tolist() == whole.frame_indices[position].tolist()
        assert moment.times_seconds.tolist() == whole.times_seconds[position].tolist()
        assert kept.recordings[kept.recording_codes[position]] == moment.clip.recording
        assert kept.starts[position] == moment.clip.start_seconds
        assert kept.last_times[position] == moment.times_seconds[-1]
        end = moment.clip.end_seconds
        assert kept.ends[position] == (np.inf if end is None else end)
        # Without a digest a video is known by its path.
        video = moment.clip.path.stem
        known_as = str(moment.clip.path) if video == "d" else video * 2
        assert kept.code_of_video(known_as) == kept.video_codes[position]
        first = kept.first_clips[kept.video_codes[position]]
        assert first == next(clip for clip in whole.clips if clip.path == moment.clip.path)
    assert len(kept.first_clips) == 4 and kept.code_of_video("zz") == -1
    outputs = whole.embeddings * whole.norms[:, None]
    np.testing.assert_allclose(kept.mean_output, outputs.astype(float).mean(axis=0), rtol=1e-12)


def test_a_part_that_is_gone_or_damaged_meanwhile_is_told_in_a_line(index: MomentIndex) -> None:
    kept = KeptMoments(index)
    for part in (index.folder / "parts").iterdir():
        part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(CafVideoError, match=r"safetensors was taken away or changed .*: run the"):
        kept[0]
    for part in (index.folder / "parts").iterdir():
        part.unlink()
    with pytest.raises(CafVideoError, match=r"safetensors was taken away or changed .*: run the"):
        kept.measured(lambda rows: np.zeros(len(rows)))
    with pytest.raises(CafVideoError, match="holds no moment: add some"):
        KeptMoments(index)

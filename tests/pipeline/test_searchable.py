"""An index with inverted lists: the same moments by fewer comparisons, or what is wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from caf_video.data.manifest import Clip
from caf_video.errors import CafVideoError
from caf_video.pipeline.ask import SearchIndex
from caf_video.pipeline.moments import MomentIndex, Moments
from caf_video.pipeline.opened import open_run
from caf_video.pipeline.searchable import FLAT, make_searchable, open_lists


def windows(video: int, count: int) -> Moments:
    """Overlapping windows of a drive, two seconds each, whose embeddings move along a path."""
    random = np.random.default_rng(video)
    path = np.cumsum(random.normal(size=(count, 2)), axis=0).astype(np.float32)
    clips = [
        Clip(f"{video}@{second}", Path(f"/{video}.mp4"), "", float(second), second + 2.0)
        for second in range(count)
    ]
    frames = np.zeros((count, 3), np.int64)
    events = [f"video{video}|{clip.start_seconds}|{clip.end_seconds}" for clip in clips]
    return Moments(clips, events, path, np.ones(count, np.float32), frames, frames / 10)


@pytest.fixture(scope="module")
def moments() -> list[Moments]:
    return [windows(video, 200) for video in range(8)]


@pytest.fixture
def index(known_run, tmp_path, moments) -> MomentIndex:
    made = MomentIndex.create(tmp_path / "i", open_run(known_run.folder))
    for one in moments:
        made.add(one)
    return made


def test_the_best_moments_are_those_of_the_flat_index(index, monkeypatch) -> None:
    flat = SearchIndex(index.folder)
    done = make_searchable(index.folder, "ivf_flat")
    assert done.built.vectors == 1600 and done.size_bytes > 1600 * 8
    fast = SearchIndex(index.folder)
    compared = []

    def count(embedding, rows):
        compared.append(len(rows))
        return np.linalg.norm(rows - embedding, axis=1)

    monkeypatch.setattr("caf_video.pipeline.ask.distances_to", count)
    embeddings = index.read().embeddings
    random = np.random.default_rng(0)
    agreed, few = 0, []
    for _ in range(50):
        query = embeddings[random.integers(1600)] + random.normal(0, 0.1, 2)
        leave_out = flat.moments.video_codes == random.integers(8)
        wanted, distances = flat._best(query, 3, leave_out)
        assert sum(compared) == 1400
        compared.clear()
        found, approximate = fast._best(query, 3, leave_out)
        few.append(sum(compared))
        compared.clear()
        assert not leave_out[found].any() and len(found) == 3
        agreed += found.tolist() == wanted.tolist()
        if found.tolist() == wanted.tolist():
            np.testing.assert_allclose(approximate, distances)
    assert agreed >= 45
    assert np.median(few) < 300


def test_where_too_few_candidates_are_left_all_are_compared(index) -> None:
    flat = SearchIndex(index.folder)
    make_searchable(index.folder, "ivf_flat")
    nothing = np.zeros(1600, bool)
    query = index.read().embeddings[7].astype(float)
    for top in (30, 500):
        for one, other in zip(flat._best(query, top, nothing),
                              SearchIndex(index.folder)._best(query, top, nothing),
                              strict=True):  # fmt: skip
            np.testing.assert_array_equal(one, other)


def test_lists_are_made_once_and_anew_where_moments_were_added(index, moments) -> None:
    assert make_searchable(index.folder).kind == FLAT and open_lists(index) is None
    first = make_searchable(index.folder, "ivf_flat")
    file = index.folder / "lists.faiss"
    written = file.stat().st_mtime_ns
    assert make_searchable(index.folder) == first and file.stat().st_mtime_ns == written
    index.add(windows(8, 100))
    with pytest.raises(CafVideoError, match=r"made of other moments .* has: run .*--kind ivf_flat"):
        SearchIndex(index.folder)
    assert make_searchable(index.folder).built.vectors == 1700
    assert len(open_lists(index)) == 1700
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(CafVideoError, match="lists.faiss is not as it was written: run"):
        SearchIndex(index.folder)
    assert make_searchable(index.folder, FLAT) == make_searchable(index.folder)
    assert not file.exists() and SearchIndex(index.folder)._lists is None


def test_an_event_that_two_parts_have_counts_once_in_the_order_of_the_moments(
    index, moments
) -> None:
    one = moments[3]
    index.add(
        replace(
            one,
            clips=one.clips[:5],
            events=one.events[:5],
            embeddings=one.embeddings[:5] + 1,
            norms=one.norms[:5],
            frame_indices=one.frame_indices[:5],
            times_seconds=one.times_seconds[:5],
        )
    )
    whole = np.concatenate([*index.embeddings()])
    np.testing.assert_array_equal(whole, index.read().embeddings)
    assert len(whole) == 1600

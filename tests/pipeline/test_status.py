"""`status` of an index, of explained clips, and of what is neither."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from caf_video.cli import main
from caf_video.data.manifest import Clip
from caf_video.pipeline.moments import MomentIndex, Moments
from caf_video.pipeline.opened import open_run
from caf_video.pipeline.searchable import make_searchable


def windows(video: int, count: int) -> Moments:
    """Moments of a video, a second apart, and their random embeddings."""
    random = np.random.default_rng(video)
    clips = [Clip(f"{video}@{s}", Path(f"/{video}.mp4"), "", float(s), s + 2.0)
             for s in range(count)]  # fmt: skip
    events = [f"video{video}|{clip.start_seconds}|{clip.end_seconds}" for clip in clips]
    frames = np.zeros((count, 3), np.int64)
    embeddings = random.normal(size=(count, 2)).astype(np.float32)
    return Moments(clips, events, embeddings, np.ones(count, np.float32), frames, frames / 10)


@pytest.fixture
def status(monkeypatch, capsys):
    """The exit code and the output of `caf-video status`."""

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["caf-video", "status", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        told = capsys.readouterr()
        return int(done.value.code or 0), told.out + told.err

    return run


def test_an_index_tells_its_moments_its_kind_and_whether_its_lists_are_of_them(
    known_run, tmp_path, status
) -> None:
    index = MomentIndex.create(tmp_path / "i", open_run(known_run.folder))
    code, told = status(index.folder)
    assert code == 1 and told.startswith("0 moments, 0 videos; flat") and "adds some" in told
    index.add(windows(0, 500))
    index.add(windows(1, 300))
    index.add(windows(1, 310))  # of these 300 are there already
    assert status(index.folder) == (
        0, "810 moments, 2 videos; flat, every moment is compared.\n"
    )  # fmt: skip
    built = make_searchable(index.folder, "ivf_sq8").built
    code, told = status(index.folder)
    assert code == 0 and told == (
        f"810 moments, 2 videos; ivf_sq8, recall@1 {built.recall_at_1:.3f}, recall@10 "
        f"{built.recall_at_10:.3f} when its lists were built of 810.\n"
    )
    index.add(windows(2, 4))
    code, told = status(index.folder)
    assert code == 1 and told.startswith("814 moments, 3 videos; ivf_sq8, ")
    assert "are not of these moments: run `caf-video index` again with --kind ivf_sq8" in told
    make_searchable(index.folder)
    assert status(index.folder)[0] == 0
    (index.folder / "lists.faiss").unlink()
    assert status(index.folder)[0] == 1
    code, told = status(index.folder, tmp_path / "list.csv")
    assert code == 2 and told.count("\n") == 1 and "is no feature store: leave" in told


def explained(folder: Path, name: str, seconds: int) -> None:
    """What `explain` leaves of a clip, written so long after the others."""
    for end in (".npz", ".png", ".json"):
        file = folder / f"{name}{end}"
        file.write_text(json.dumps({"clip_id": name, "made_of": "this"}))
        os.utime(file, (1000 + seconds, 1000 + seconds))


def test_explained_clips_are_all_there_once_their_page_is_written_after_them(
    tmp_path, status
) -> None:
    explained(tmp_path, "a", 0)
    explained(tmp_path, "b", 10)
    explained(tmp_path, "c", 20)
    (tmp_path / "c.npz").unlink()  # not whole, and not counted
    assert status(tmp_path) == (
        1, "2 clips explained; their page is not written yet: the same `caf-video explain` goes "
        "on.\n",
    )  # fmt: skip
    page = tmp_path / "index.html"
    page.touch()
    os.utime(page, (1015, 1015))
    assert status(tmp_path) == (0, f"2 clips explained; open {page}.\n")
    explained(tmp_path, "b", 30)  # by another run
    assert status(tmp_path)[0] == 1


def test_another_folder_is_refused_in_a_line(tmp_path, status) -> None:
    for end in (".npz", ".png", ".json"):
        (tmp_path / f"a{end}").write_text('{"mine": 1}')
    for folder in (tmp_path, tmp_path / "nothing"):
        code, told = status(folder)
        assert code == 2 and told.count("\n") == 1
        assert "is neither a feature store nor an index, and holds no explained clip: name" in told

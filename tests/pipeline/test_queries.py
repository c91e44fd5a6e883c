"""Queries that are searched in a gallery, for a run whose embeddings are known on paper."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from caf_video.data.features import ClipFeatures
from caf_video.data.manifest import Clip, write_manifest
from caf_video.errors import CafVideoError, InputError
from caf_video.pipeline.embed import EmbeddedSplit
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.explain import explain_clips
from caf_video.pipeline.export import export
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.queries import EmbeddedSearch

# Of the embeddings in conftest: left_a finds left_b, right_a right_b and stop_a stop_b; stop_c,
# which lies among those to the left, finds left_b. Queries do not see one another: left_a is
# nearer to stop_c than stop_b is.
QUERIES = ("left_a", "right_a", "stop_a", "stop_c")
NEAREST = {"left_a": "left_b", "right_a": "right_b", "stop_a": "stop_b", "stop_c": "left_b"}


def split_in_two(known, **sessions: str) -> None:
    clips = []
    for clip in known.clips:
        split = "query" if clip.clip_id in QUERIES else "gallery"
        clip = replace(clip, session=sessions.get(clip.clip_id, clip.session))
        clips.append(replace(clip, split=split) if clip.split == "test" else clip)
    write_manifest(clips, known.store.manifest_path)


@pytest.fixture(scope="module")
def halved(write_run, tmp_path_factory):
    known = write_run(tmp_path_factory.mktemp("halved"))
    split_in_two(known)
    return known


def test_queries_are_searched_in_the_gallery_alone(halved) -> None:
    record = evaluate(halved.folder, split="query").record()
    assert (record["split"], record["gallery"]) == ("query", "gallery")
    assert {clip["clip_id"]: clip["nearest"] for clip in record["clips"]} == NEAREST
    assert record["recall@1"] == 3 / 4
    assert record["recall@2"] == 1.0  # stop_c: then stop_b, at 7.06; right_b is at 7.22
    assert record["chance"] == pytest.approx(1 / 3)  # one right of left_b, right_b, stop_b
    assert record["excluded"] == 0


def test_queries_are_the_test_where_there_is_no_other(halved) -> None:
    assert evaluate(halved.folder).record() == evaluate(halved.folder, split="query").record()
    with pytest.raises(InputError, match="split gallery: it is searched, not measured"):
        evaluate(halved.folder, split="gallery")


def test_the_gate_asks_other_sessions_of_the_gallery(make_known_run) -> None:
    """left_b and left_a of one drive: then left_a has nothing right to find, and finds stop_b or
    right_b, whichever is nearer: stop_b at (1.4, 1.6) is 8.8 away from (4, 10), right_b 8.0."""
    known = make_known_run()
    split_in_two(known, left_a="drive", left_b="drive")
    evaluation = evaluate(known.folder)
    record = evaluation.record()
    assert record["gate"] == "other_sessions"
    assert record["nearest_of_own_session"] == 1 / 4
    apart = {clip["clip_id"]: clip["other_sessions"]["nearest"] for clip in record["clips"]}
    assert apart == {**NEAREST, "left_a": "right_b"}
    assert record["other_sessions"]["excluded"] == 1
    assert record["other_sessions"]["recall@1"] == pytest.approx(2 / 3)
    explained = {one.clip.clip_id: one for one in explain_clips(known.folder, [])}
    assert {name: one.nearest.clip_id for name, one in explained.items()} == apart


def test_explanations_take_their_neighbours_from_the_gallery(halved) -> None:
    explained = explain_clips(halved.folder, [], only="wrong")
    assert [one.clip.clip_id for one in explained] == ["stop_c"]
    assert explained[0].nearest.clip_id == "left_b"
    (other,) = explain_clips(halved.folder, ["left_b"])  # of the gallery, and not its own neighbour
    assert other.nearest.clip_id != "left_b"


def test_an_export_holds_queries_and_gallery_and_searches_the_first(halved, tmp_path) -> None:
    export(halved.folder, tmp_path)
    with (tmp_path / "clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [*QUERIES, "left_b", "right_b", "stop_b"]
    assert {row["id"]: row["nearest"] for row in rows if row["split"] == "query"} == NEAREST
    assert all(row["nearest"] == row["correct"] == "" for row in rows if row["split"] == "gallery")
    array = np.load(tmp_path / "embeddings.npy")
    np.testing.assert_allclose(array, [halved.embedding(row["id"]) for row in rows], rtol=2e-3)
    assert "query and gallery" in (tmp_path / "README.md").read_text(encoding="utf-8")
    parquet = pytest.importorskip("pyarrow.parquet", reason="an extra that is not installed")
    nearest = parquet.read_table(tmp_path / "clips.parquet").column("nearest").to_pylist()
    assert nearest == [*NEAREST.values(), None, None, None]


def test_an_event_that_is_query_and_gallery_does_not_find_itself(make_known_run) -> None:
    known = make_known_run()
    stored = known.store.read("left_b")
    known.store.write(replace(stored, clip_id="twin"), "known", event=known.store.event("left_b"))
    split_in_two(known)
    clips = [replace(known.clip("left_b"), clip_id="twin", split="query")]
    for clip in known.clips:
        split = "query" if clip.clip_id == "left_a" else "gallery"
        clips.append(replace(clip, split=split) if clip.split == "test" else clip)
    write_manifest(clips, known.store.manifest_path)
    found = {clip["clip_id"]: clip["nearest"] for clip in evaluate(known.folder).record()["clips"]}
    assert found == {"twin": "stop_c", "left_a": "left_b"}


# --- queries of another manifest ------------------------------------------------------------------


@pytest.fixture
def as_in_the_store(known_run, monkeypatch):
    """Let a video that is called `CLIP.mp4` have the features of that clip of the store."""

    def features(run, clips):
        for clip in clips:
            stored = known_run.store.read(clip.path.stem)
            yield ClipFeatures(
                clip.clip_id, stored.feature_maps, stored.frame_indices, stored.times_seconds
            )

    monkeypatch.setattr("caf_video.pipeline.queries.new_features", features)


def another_manifest(known, folder: Path, *names: str) -> Path:
    """Of copies of videos, changed by a byte at their end unless the name ends in "!"."""
    lines = ["clip_id,path,label"]
    for name in names:
        clip_id = name.rstrip("!")
        file = folder / f"{clip_id}.mp4"
        shutil.copy(known.clip(clip_id).path, file)
        if name == clip_id:
            file.write_bytes(file.read_bytes() + b"\0")
        lines.append(f"{clip_id},{file.name},{known.clip(clip_id).label}")
    (folder / "queries.csv").write_text("\n".join(lines) + "\n")
    return folder / "queries.csv"


def test_new_queries_are_searched_in_the_test_split(known_run, as_in_the_store, tmp_path) -> None:
    """They are other videos, whatever they are called: left_a finds left_a, at no distance."""
    manifest = another_manifest(known_run, tmp_path, "left_a", "stop_c")
    evaluation = evaluate(known_run.folder, queries=manifest)
    record = evaluation.record()
    assert (record["split"], record["gallery"]) == ("queries.csv", "test")
    assert {clip["clip_id"]: clip["nearest"] for clip in record["clips"]} == {
        "left_a": "left_a",
        "stop_c": "stop_c",
    }
    assert record["recall@1"] == 1.0
    assert record["chance"] == pytest.approx((2 / 7 + 3 / 7) / 2)
    assert record["clips"][0]["distance"] == pytest.approx(0, abs=1e-9)


def test_a_new_query_that_is_an_event_of_the_gallery_does_not_find_itself(
    make_known_run, as_in_the_store, tmp_path
) -> None:
    known = make_known_run()
    stored, event = known.store.read("left_a"), VideoDigests().event(known.clip("left_a"))
    known.store.write(stored, "known", event=event)
    (tmp_path / "other").mkdir()
    manifest = another_manifest(known, tmp_path / "other", "left_a!", "right_a")
    record = evaluate(known.folder, queries=manifest).record()
    assert [clip["nearest"] for clip in record["clips"]] == ["left_b", "right_a"]
    assert record["clips"][0]["session"] == known.clip("left_a").session  # of the same video


def test_new_queries_whose_folder_was_moved_are_found_below_another(
    known_run, as_in_the_store, tmp_path
) -> None:
    manifest = another_manifest(known_run, tmp_path, "left_a", "right_a")
    (tmp_path / "moved").mkdir()
    for name in ("left_a", "right_a"):
        (tmp_path / f"{name}.mp4").rename(tmp_path / "moved" / f"{name}.mp4")
    with pytest.raises(CafVideoError, match="no video at .*--videos FOLDER says where"):
        evaluate(known_run.folder, queries=manifest)
    found = evaluate(known_run.folder, queries=manifest, videos=tmp_path / "moved")
    assert [clip.path.parent.name for clip in found.clips] == ["moved", "moved"]
    with pytest.raises(InputError, match="of new queries alone"):
        evaluate(known_run.folder, videos=tmp_path / "moved")


def test_the_nearest_of_other_sessions_is_only_asked_for_by_name() -> None:
    rows = torch.tensor([[0.0], [1.0], [5.0]])
    names = ("p1", "p2", "q")
    clips = [Clip(name, Path(f"{name}.mp4"), "left", session=name[0]) for name in names]
    split = EmbeddedSplit("test", clips, rows, [], checked=True)
    search = EmbeddedSearch(split, split, [clip.clip_id for clip in clips])
    nearest = search.nearest(rows, clips)
    assert [clip.clip_id for clip in nearest.clips] == ["p2", "p1", "p2"]
    assert nearest.distances.tolist() == [1.0, 1.0, 4.0]
    nearest = search.nearest(rows, clips, other_sessions=True)
    assert [clip.clip_id for clip in nearest.clips] == ["q", "q", "p2"]
    assert nearest.distances.tolist() == [5.0, 4.0, 4.0]

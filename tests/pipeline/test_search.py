"""A search in an index of drives that are known on paper: what is found, and what it leaves."""

import json
import math

import av
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from caf_video.attention import explain_clip
from caf_video.cli import app
from caf_video.data.manifest import Clip
from caf_video.data.video.reader import VideoReader
from caf_video.errors import CafVideoError
from caf_video.models.preprocessing import Normalization, Preprocessing
from caf_video.pipeline import ask as asking
from caf_video.pipeline import index as indexing
from caf_video.pipeline import search as stage
from caf_video.pipeline.ask import SearchIndex
from caf_video.pipeline.index import Windows, index_moments
from caf_video.pipeline.moments import MomentIndex
from caf_video.pipeline.report.stage import report
from caf_video.pipeline.search import cut_clip, search
from caf_video.rendering import Recording, VideoWriter

BRIGHT = 200


class Brightness:
    """A backbone whose map says in both channels how bright a frame is, left and right."""

    def preprocessing(self, size):
        return Preprocessing(size, Normalization("bilinear", (0, 0, 0), (1, 1, 1)))  # as they are

    def features(self, images):
        halves = images.mean(dim=(1, 2)).unflatten(1, (4, -1)).mean(dim=2)  # (n, 4)
        return halves[:, None, None, :].expand(-1, 2, 2, 4) / 32


@pytest.fixture
def drives(known_run, monkeypatch, tmp_path):
    """An index of two drives in windows of 2 s; each brightens for 2 s, on its left half."""
    for module in (indexing, asking):
        monkeypatch.setattr(module, "run_backbone", lambda run, name: Brightness())
    paths = []
    for name, first in (("a", 20), ("b", 50)):
        paths.append(tmp_path / f"{name}.mp4")
        with VideoWriter(paths[-1], fps=10) as writer:
            for frame in range(100):
                picture = np.full((64, 128, 3), 40 + len(paths), np.uint8)
                if first <= frame < first + 20:
                    picture[:, :64] = BRIGHT
                writer.write(picture)
    index_moments(known_run.folder, tmp_path / "i", paths, windows=Windows(2, 0.5))
    return tmp_path, paths


def test_the_same_event_of_the_other_drive_comes_first_and_windows_around_it_count_once(
    drives,
) -> None:
    folder, (a, b) = drives
    opened = SearchIndex(folder / "i")
    found = opened.ask(Clip("q", a.resolve(), "", 2.0, 4.0), top=4)
    best = found.matches[0].clip
    assert best.path == b.resolve() and (best.start_seconds, best.end_seconds) == (5.0, 7.0)
    embeddings = opened.index.read().embeddings.astype(float)
    distances = np.linalg.norm(embeddings - found.embedding, axis=1)
    np.testing.assert_allclose(opened.distances(found), distances)
    spans: dict = {}
    for match in found.matches:
        spans.setdefault(match.clip.path, []).append(
            (match.clip.start_seconds, match.clip.end_seconds)
        )
        assert match.distance == distances[match.position]
    for its in spans.values():
        for one, other in zip(sorted(its), sorted(its)[1:], strict=False):
            assert one[1] <= other[0]
    for start, end in spans.get(a.resolve(), []):  # the query is no answer to itself
        assert end <= 2.0 or start >= 4.0


def test_the_session_of_a_query_is_left_out_where_that_is_asked_for(drives) -> None:
    folder, (a, b) = drives
    opened = SearchIndex(folder / "i")
    found = opened.ask(Clip("q", a.resolve(), "", 2.0, 4.0), top=50, exclude_session=True)
    assert {match.clip.path for match in found.matches} == {b.resolve()}
    assert found.left_out == 17 and "fewer than 50" in found.notes[0]
    copy = folder / "stranger.mp4"
    with VideoWriter(copy, fps=10) as writer:
        for _ in range(30):
            writer.write(np.full((64, 128, 3), 90, np.uint8))
    found = opened.ask(Clip("q", copy, "", 0.0, None), exclude_session=True)
    assert found.left_out == 0 and "not a video of the index" in found.notes[0]


def test_a_page_pictures_clips_and_json_are_left(drives) -> None:
    folder, (a, b) = drives
    query = Clip("<b>q</b>", a.resolve(), "", 2.0, 4.0)
    done = search(query, folder / "i", folder / "out", top=2, timeline=True)
    record = json.loads((folder / "out" / "search.json").read_text())
    assert [match["distance"] for match in record["matches"]] == [
        match.distance for match in done.matches
    ]
    assert record["query"]["frame_indices"] == [23, 30, 36] or record["query"]["video"] == str(a)
    assert [drive["video"] for drive in record["drives"]] == [str(a), str(b)]
    assert len(record["drives"][0]["distance"]) == 17
    assert record["drives"][0]["middle_seconds"][:3] == [1.0, 1.5, 2.0]
    page = done.page.read_text()
    assert "<b>q</b>" not in page and page.count('<rect class="moment"') == len(done.matches)
    for letter in "abcd":
        assert f"frames/000q{letter}.jpg" in page
        with Image.open(folder / "out" / "frames" / f"000m{letter}.jpg") as picture:
            assert picture.width == 3 * stage.FILM_WIDTH
    with VideoReader(folder / "out" / record["matches"][0]["cut"]) as video:
        assert video.info.frame_count == 20
        assert abs(int(video.read([10])[0, :, :60].mean()) - BRIGHT) < 4
    search(query, folder / "i", folder / "out", top=1)  # its own files it replaces
    (folder / "out" / "index.html").write_text("mine")
    with pytest.raises(CafVideoError, match="not as caf_video wrote it"):
        search(query, folder / "i", folder / "out", top=1)
    assert (folder / "out" / "index.html").read_text() == "mine"


def test_what_is_alike_in_a_pair_is_where_both_brighten(drives) -> None:
    folder, (a, _) = drives
    search(Clip("q", a.resolve(), "", 2.0, 4.0), folder / "i", folder / "out", top=1)
    for side in "qm":
        with Image.open(folder / "out" / "frames" / f"000{side}b.jpg") as alike:
            colours = np.asarray(alike).astype(int)[
                :, -stage.FILM_WIDTH :
            ]  # the last frame: it weighs most
        warmth = np.abs(colours[..., 0] - colours[..., 2])
        half = stage.FILM_WIDTH // 2
        assert warmth[:, : half - 60].mean() > 3 * warmth[:, half + 60 :].mean()


def test_each_of_a_pair_is_explained_by_the_other_and_by_the_mean_of_the_index(
    drives, monkeypatch
) -> None:
    folder, (a, _) = drives
    asked = []

    def spy(model, maps, **knobs):
        asked.append((maps, knobs))
        return explain_clip(model, maps, **knobs)

    monkeypatch.setattr(stage, "explain_clip", spy)
    query = Clip("q", a.resolve(), "", 2.5, 4.5)  # no window is this one
    search(query, folder / "i", folder / "out", top=1)
    (_, own), (query_maps, of_query), (_, _), (match_maps, of_match) = asked
    assert own == {} and not torch.equal(query_maps, match_maps)
    assert torch.equal(of_query["reference"], match_maps)
    assert torch.equal(of_match["reference"], query_maps)
    moments = MomentIndex.open(folder / "i").read()
    mean = (moments.embeddings * moments.norms[:, None]).mean(axis=0)
    np.testing.assert_allclose(of_query["center"].numpy(), mean, rtol=1e-6)


def test_a_run_that_was_trained_further_does_not_search_the_index_of_before(
    make_known_run, tmp_path
) -> None:
    known = make_known_run()
    index_moments(known.folder, tmp_path / "i")
    moments = MomentIndex.open(tmp_path / "i").read()
    mean = np.mean([known.embedding(clip.clip_id) for clip in moments.clips], axis=0)
    np.testing.assert_allclose(SearchIndex(tmp_path / "i").moments.mean_output, mean, rtol=1e-3)
    known.retrain()
    with pytest.raises(CafVideoError, match="index of another run"):
        SearchIndex(tmp_path / "i")
    (known.folder / "checkpoints" / "best.ckpt").rename(tmp_path / "gone.ckpt")
    with pytest.raises(CafVideoError, match="--model RUN"):
        SearchIndex(tmp_path / "i")


def test_the_commands_say_what_they_did_and_what_to_do_next(drives, known_run) -> None:
    folder, (a, b) = drives
    run = CliRunner().invoke
    bad = folder / "bad.mp4"
    bad.write_bytes(b"no video")
    lists = ["index", str(known_run.folder), str(a), str(bad), "--out", str(folder / "j")]
    partly = run(app, [*lists, "--window", "2", "--step", "0.5"])
    assert partly.exit_code == 3 and "17 moments added, 0 were there" in partly.output
    assert "bad.mp4" in partly.output and "caf-video search QUERY.mp4" in partly.output
    asked = ["search", str(a), "--start", "2", "--end", "4", "--index", str(folder / "i")]
    found = run(app, [*asked, "--out", str(folder / "o"), "--top", "1"])
    assert found.exit_code == 0 and "0:05.0 – 0:07.0" in found.output
    assert (folder / "o" / "index.html").is_file() and not (folder / "o" / "clips").exists()
    page = run(app, ["report", str(known_run.folder), "--out", str(folder / "p")])
    assert page.exit_code == 0 and "7 of 7 shown" in page.output
    nothing = run(app, ["search", str(a), "--index", str(folder)])
    assert isinstance(nothing.exception, CafVideoError)


def write_gops(path, b_frames: int) -> np.ndarray:
    """Forty frames, a keyframe every tenth; returns them as they are read."""
    gops = {"g": "10", "keyint_min": "10", "sc_threshold": "0", "crf": "10"}
    options = {**gops, "bf": str(b_frames), "b_strategy": "0", "flags": "+cgop"}
    with av.open(str(path), "w") as made:
        stream = made.add_stream("libx264", rate=10, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for frame in range(40):
            picture = np.full((64, 64, 3), 20 + 5 * frame, np.uint8)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        made.mux(stream.encode(None))
    with VideoReader(path) as video:
        return video.read(range(40))


def test_a_clip_is_copied_where_a_keyframe_begins_it_else_coded_anew(tmp_path) -> None:
    path = tmp_path / "drive.mp4"
    source = write_gops(path, b_frames=0)
    assert cut_clip(Clip("c", path, "", 1.0, 3.0), tmp_path / "copied.mp4")
    with VideoReader(tmp_path / "copied.mp4") as video:
        np.testing.assert_array_equal(video.read(range(20)), source[10:30])
        assert video.info.frame_count == 20 and math.isclose(video.info.fps, 10)
    assert not cut_clip(Clip("c", path, "", 1.3, 3.0), tmp_path / "anew.mp4")
    with VideoReader(tmp_path / "anew.mp4") as video:
        assert video.info.frame_count == 17
        made_anew = video.read(range(17)).astype(int)
    assert np.abs(made_anew - source[13:30]).max() < 8


def test_frames_that_are_made_from_later_ones_are_never_cut_off_from_them(tmp_path) -> None:
    path = tmp_path / "drive.mp4"
    source = write_gops(path, b_frames=3)
    copied = []
    for stop in range(11, 21):
        out = tmp_path / f"{stop}.mp4"
        copied.append(cut_clip(Clip("c", path, "", 1.0, stop / 10), out))
        with VideoReader(out) as video:
            assert video.info.frame_count == stop - 10
            frames = video.read(range(stop - 10)).astype(int)
        assert np.abs(frames - source[10:stop]).max() < (1 if copied[-1] else 8)
    assert copied[-1] and not all(copied)


def test_a_recording_has_the_pair_the_influence_and_the_similarity_along_each_drive(
    drives, monkeypatch
) -> None:
    pytest.importorskip("rerun")
    folder, paths = drives
    told = []
    keep = Recording._log
    monkeypatch.setattr(
        Recording, "_log", lambda self, *what: (told.append(what), keep(self, *what))
    )
    query = Clip("q", paths[0], "", 2.0, 4.0)
    search(query, folder / "i", folder / "s", top=1, rerun=folder / "s.rrd")
    assert (folder / "s.rrd").stat().st_size > 0
    for side in ("match 1/query", "match 1/b.mp4"):
        times = [at for entity, at, _ in told if entity == f"{side}/influence"]
        assert len(times) > 1
        for mode in ("attention", "alike", "unlike"):
            assert [at for entity, at, _ in told if entity == f"{side}/frame/{mode}"] == times
    along = [
        at for entity, at, _ in told if entity.endswith(("similarity/b.mp4", "distance/b.mp4"))
    ]
    assert along == pytest.approx(np.arange(1, 9.01, 0.5))  # the middle of every window


def test_a_report_shows_the_search_as_it_was_left(drives) -> None:
    folder, (a, _) = drives
    found = search(Clip("q", a.resolve(), "", 2.0, 4.0), folder / "i", folder / "out", top=1)
    done = report(folder / "out", folder / "page")
    text = done.page.read_text()
    assert f"<td>{found.matches[0].clip.clip_id}</td>" in text
    assert f">{found.matches[0].distance:.4g}</td>" in text
    assert 'href="searches/000/index.html"' in text
    copied = folder / "page" / "searches" / "000"
    assert (copied / "index.html").read_bytes() == found.page.read_bytes()
    films = {film.name for film in (copied / "frames").glob("*.jpg")}
    assert films == {film.name for film in (folder / "out" / "frames").glob("*.jpg")} != set()

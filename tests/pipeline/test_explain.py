"""Explained clips, their records and their strips, for a run that is known on paper."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from caf_video.cli import main
from caf_video.errors import CafVideoError
from caf_video.pipeline.explain import ask, explain_clips
from caf_video.pipeline.explain_files import draw_clip, explain_into, write_explanations
from caf_video.rendering.strip import CAPTION_HEIGHT, GAP, MARGIN, TITLE_HEIGHT
from caf_video.shards import Shard


@pytest.fixture(scope="module")
def explained(known_run):
    return {one.clip.clip_id: one for one in explain_clips(known_run.folder, [])}


def column(strip: Image.Image, number: int, *, row: int = 0, captioned: bool) -> np.ndarray:
    """The picture of one timestep in a strip, as it is drawn: (height, width, 3)."""
    pixels = np.asarray(strip.convert("RGB")).astype(int)
    width = (strip.width - 2 * MARGIN - 2 * GAP) // 3
    height = width // 2
    left = MARGIN + number * (width + GAP)
    top = MARGIN + TITLE_HEIGHT + CAPTION_HEIGHT * captioned
    return pixels[top : top + height, left : left + width]


def warmth(picture: np.ndarray) -> np.ndarray:
    """Where a grey picture has become coloured: red over blue, (height, width)."""
    return (picture[..., 0] - picture[..., 2]).clip(min=0)


def sides(picture: np.ndarray) -> tuple[int, int]:
    """How many pixels of the left and of the right half are coloured."""
    coloured = warmth(picture) > 8
    half = coloured.shape[1] // 2
    return int(coloured[:, :half].sum()), int(coloured[:, half:].sum())


def test_a_record_holds_the_neighbour_its_distance_and_whether_it_is_right(
    known_run, explained
) -> None:
    labels = {clip.clip_id: clip.label for clip in known_run.clips}
    assert list(explained) == list(known_run.nearest)
    for clip_id, one in explained.items():
        record = one.record()
        nearest = known_run.nearest[clip_id]
        assert record["nearest"] == nearest
        assert record["label"] == labels[clip_id] and record["nearest_label"] == labels[nearest]
        assert record["correct"] is (clip_id in known_run.right)
        on_paper = math.dist(known_run.embedding(clip_id), known_run.embedding(nearest))
        assert record["distance"] == pytest.approx(on_paper, rel=2e-2)


def test_a_record_holds_each_sampled_frame_and_when_it_appears(known_run) -> None:
    for target in ("right_a", "train_right_a"):  # of training the middle candidates
        (one,) = explain_clips(known_run.folder, [target])
        frames = one.record()["frames"]
        assert [frame["frame_index"] for frame in frames] == [1, 4, 7]
        assert [frame["time_seconds"] for frame in frames] == pytest.approx([0.1, 0.4, 0.7])
        assert one.nearest_frames.tolist() == [1, 4, 7]


def test_influence_is_that_of_each_frame_in_its_order(known_run, explained) -> None:
    """The same in every frame: the last counts 4, the middle 2, the first 1 of 7, nearly."""
    for clip_id in ("stop_a", "right_b"):
        shares = [frame["influence"] for frame in explained[clip_id].record()["frames"]]
        assert shares == pytest.approx([1 / 7, 2 / 7, 4 / 7], rel=5e-2)


def test_filters_lie_on_the_left_where_these_clips_hold_all_they_hold(explained) -> None:
    for one in explained.values():
        mass = one.filters.square().sum(dim=1)  # over rows, (t, w)
        torch.testing.assert_close(one.filters.square().sum(dim=(1, 2)), torch.ones(3))
        assert (mass[:, 0] > 0.95).all()


def test_only_right_and_only_wrong_are_the_clips_on_paper(known_run) -> None:
    wrong = explain_clips(known_run.folder, [], only="wrong")
    right = explain_clips(known_run.folder, [], only="correct")
    assert {one.clip.clip_id for one in wrong} == {"left_b", "stop_c"}
    assert {one.clip.clip_id for one in right} == known_run.right


def test_a_strip_has_its_heat_on_the_left_where_the_filter_is(explained) -> None:
    strip = draw_clip(explained["left_a"], captioned=False)
    for timestep in range(3):
        left, right = sides(column(strip, timestep, captioned=False))
        assert left > 500 and right == 0


def test_each_frame_of_a_strip_has_its_own_filter(explained) -> None:
    one_hot = torch.zeros(3, 2, 4)
    one_hot[0, 0, 0] = one_hot[1, 1, 3] = -1.0  # signed: heat is its absolute value
    strip = draw_clip(replace(explained["left_a"], filters=one_hot), captioned=False)
    for timestep, (on_left, above) in enumerate([(True, True), (False, False)]):
        heat = warmth(column(strip, timestep, captioned=False))
        rows, columns = (heat > 8).nonzero()
        height, width = heat.shape
        assert bool(columns.mean() < width / 2) is on_left
        assert bool(rows.mean() < height / 2) is above
    assert not warmth(column(strip, 2, captioned=False)).any()


def test_a_strip_shows_the_sampled_frames_of_the_clip_and_of_its_neighbour(
    known_run, explained
) -> None:
    cold = replace(explained["left_b"], filters=torch.zeros(3, 2, 4))
    strip = draw_clip(cold, captioned=False)
    pixels = np.asarray(strip.convert("RGB")).astype(int)
    first = column(strip, 0, captioned=False)
    for timestep, frame in enumerate(known_run.frames):
        shown = np.median(column(strip, timestep, captioned=False))
        assert shown == pytest.approx(known_run.shade("left_b", frame), abs=4)
        # The neighbour's frame stands in the same column further down.
        left = MARGIN + timestep * (first.shape[1] + GAP) + first.shape[1] // 2
        shades = pixels[MARGIN + TITLE_HEIGHT + first.shape[0] + 2 :, left, 0]
        wanted = known_run.shade("stop_c", frame)
        assert (abs(shades - wanted) <= 4).sum() > first.shape[0] // 2


def test_written_filters_are_those_found_and_the_strip_is_drawn_from_them(
    explained, tmp_path
) -> None:
    one = explained["right_b"]
    (strip,) = write_explanations([one], tmp_path)
    stored = np.load(tmp_path / "right_b.npz")
    assert np.array_equal(stored["filters"], one.filters.numpy())
    assert stored["frame_indices"].tolist() == [1, 4, 7]
    assert stored["times_seconds"].tolist() == pytest.approx([0.1, 0.4, 0.7])
    assert np.array_equal(stored["influence"], one.influence)
    assert np.array_equal(stored["losses"], one.losses)
    record = json.loads((tmp_path / "right_b.json").read_text())
    assert record["files"] == {"strip": "right_b.png", "filters": "right_b.npz"}
    assert record["frames"] == one.record()["frames"]
    with Image.open(strip) as picture:
        for timestep in range(3):
            left, right = sides(column(picture, timestep, captioned=True))
            assert left > 500 and right == 0


def test_one_filter_for_a_clip_says_which_frame_in_record_file_and_strip(
    known_run, tmp_path
) -> None:
    (one,) = explain_clips(known_run.folder, ["right_b"], filters="joint")
    shares = one.filters.square().sum(dim=(1, 2)).numpy()
    assert shares.sum() == pytest.approx(1) and one.losses.shape == (1,)
    assert shares[2] == max(shares)  # the last frame counts most in these embeddings
    record = one.record()
    assert record["filters"] == "joint" and record["loss"] == pytest.approx(one.losses[0])
    assert record["settled"] is True and record["steps"] == one.steps[0]
    assert [frame["share"] for frame in record["frames"]] == pytest.approx(shares)
    assert set(record["frames"][0]) == {"frame_index", "time_seconds", "share", "influence"}

    (strip,) = write_explanations([one], tmp_path)
    stored = np.load(tmp_path / "right_b.npz")
    assert stored["frame_shares"] == pytest.approx(shares)
    assert np.array_equal(stored["filters"], one.filters.numpy())

    one_hot = torch.zeros(3, 2, 4)
    one_hot[0, :, 0], one_hot[1, :, 0], one_hot[2, :, 3] = 0.7, 0.05, -0.7
    drawn = draw_clip(replace(one, filters=one_hot), captioned=False)
    lit = [sides(column(drawn, timestep, captioned=False)) for timestep in range(3)]
    assert lit[0][0] > 500 and lit[1] == (0, 0) == lit[2]  # of the clip's maximum; positive only


def test_the_command_takes_the_kind_of_filters(known_run, tmp_path, monkeypatch) -> None:
    def caf_video(*arguments: object) -> None:
        monkeypatch.setattr("sys.argv", ["caf-video", *map(str, arguments)])
        main()

    ours = ("--model", known_run.folder, "--out", tmp_path)
    with pytest.raises(SystemExit) as done:
        caf_video("explain", "right_b", *ours, "--filters", "joint")
    assert not done.value.code
    assert json.loads((tmp_path / "right_b.json").read_text())["filters"] == "joint"
    with pytest.raises(SystemExit) as refused:
        caf_video("explain", "x.mp4", "--backbone", "resnet18", "--filters", "joint")
    assert refused.value.code == 2


def test_clips_of_odd_names_are_all_explained(explained, tmp_path) -> None:
    one = explained["left_a"]
    odd = ["左" * 27, "x" * 300, "caf\udce9", "con", ".hidden", "a/b", "[/x]\u202e", "Left", "left"]
    renamed = [replace(one, clip=replace(one.clip, clip_id=name, label=name)) for name in odd]
    write_explanations(renamed, tmp_path)
    for _ in range(2):  # and again in their place
        strips = write_explanations(renamed, tmp_path)
    assert len(set(strips)) == len(odd) == len(list(tmp_path.glob("*.png")))
    for name, strip in zip(odd, strips, strict=True):
        record = json.loads(strip.with_suffix(".json").read_text(encoding="utf-8"))
        assert record["clip_id"] == name and record["files"]["strip"] == strip.name


def test_a_clip_that_cannot_be_drawn_does_not_stop_those_that_follow(explained, tmp_path) -> None:
    lost = [
        replace(explained[name], clip=replace(explained[name].clip, path=path))
        for name, path in (
            ("left_a", tmp_path / "gone.mp4"),
            ("left_b", tmp_path / ("x" * 300 + ".mp4")),
        )
    ]
    with pytest.raises(CafVideoError, match="2 of 4 clips could not be drawn.*gone.mp4: there is"):
        write_explanations(
            [lost[0], explained["stop_a"], lost[1], explained["stop_b"]], tmp_path / "out"
        )
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"stop_a.png", "stop_b.png"}


def explained_into(known, folder, index: int = 0, count: int = 1, only: str = "all", **settings):
    shard = Shard(index, count)
    asked = ask(known.folder, settings.pop("targets", []), shard=shard, **settings)
    return explain_into(folder, asked, only=only, shard=shard)


def records_in(folder) -> dict[str, dict]:
    found = (json.loads(file.read_text()) for file in folder.glob("*.json"))
    return {record.pop("clip_id"): record for record in found}


def flat(value) -> list:
    if isinstance(value, dict):
        return [one for key in sorted(value) for one in (key, *flat(value[key]))]
    return [one for item in value for one in flat(item)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("only", ["all", "wrong"])
def test_shards_leave_what_one_process_leaves_and_the_last_one_has_all_strips(
    known_run, tmp_path, only
) -> None:
    whole = explained_into(known_run, tmp_path / "whole", only=only)
    wanted = set(known_run.nearest) - (known_run.right if only == "wrong" else set())
    assert {strip.stem for strip in whole.strips} == wanted and whole.all_strips == whole.strips
    waiting = []
    for index in (2, 0, 1):
        left = explained_into(known_run, tmp_path / "parts", index, 3, only)
        waiting.append([one.index for one in left.waiting])
    assert waiting == [[0, 1], [1], []]
    assert [strip.name for strip in left.all_strips] == [strip.name for strip in whole.strips]
    one, parts = records_in(tmp_path / "whole"), records_in(tmp_path / "parts")
    assert one.keys() == parts.keys() == wanted
    for clip_id in wanted:
        for value, other in zip(flat(one[clip_id]), flat(parts[clip_id]), strict=True):
            assert value == (pytest.approx(other, rel=1e-5) if isinstance(other, float) else other)


def test_what_is_explained_is_not_explained_again_unless_the_run_changed(
    make_known_run, tmp_path, monkeypatch
) -> None:
    from caf_video.pipeline import explain

    known, out, solved = make_known_run(), tmp_path / "out", []
    explain_clip = explain.explain_clip
    monkeypatch.setattr(
        explain,
        "explain_clip",
        lambda model, maps, **more: solved.append(len(maps)) or explain_clip(model, maps, **more),
    )
    monkeypatch.setattr(explain, "CLIPS_AT_ONCE", 3)
    assert explained_into(known, out).held == 0 and solved == [3, 3, 1]
    left = explained_into(known, out)
    assert left.held == 7 and len(left.strips) == 7 and solved == [3, 3, 1]
    wrong = explained_into(known, out, only="wrong")
    assert {strip.stem for strip in wrong.strips} == {"left_b", "stop_c"} and wrong.held == 2

    before = {file.name: file.stat().st_mtime_ns for file in out.glob("*.json")}
    (out / "right_b.png").unlink()  # of the second chunk, which is solved again as a whole
    assert explained_into(known, out).held == 6 and solved[3:] == [3]
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("*.json")}
    assert {name for name in after if after[name] != before[name]} == {"right_b.json"}

    assert explained_into(known, out, filters="joint").held == 0
    known.retrain()
    assert explained_into(known, out).held == 0
    (out / "stop_c.json").write_text("mine")
    with pytest.raises(CafVideoError, match=r"stop_c\.json is there already"):
        explained_into(known, out)

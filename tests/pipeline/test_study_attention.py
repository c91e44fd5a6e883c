"""The study of attention on a run that is known on paper: evidence on the left, in late frames."""

import json
from dataclasses import replace

import pytest
import torch

from caf_video.data.features import ClipFeatures, FeatureStore
from caf_video.data.manifest import Clip, write_manifest
from caf_video.errors import CafVideoError
from caf_video.pipeline.opened import open_run
from caf_video.pipeline.study import synthetic
from caf_video.pipeline.study.attention import study_attention
from caf_video.pipeline.study.clip_rows import (
    cells_in_box,
    center_first,
    mean_training_embedding,
)
from caf_video.pipeline.study.synthetic import copies_of, know, synthetic_folder
from caf_video.pipeline.study.written import prepare, write_study


def test_the_mean_embedding_is_of_the_clips_trained_on_by_loops(known_run) -> None:
    run = open_run(known_run.folder)
    rows = [
        run.model(known_run.store.read(clip.clip_id).middle_frames().feature_maps[None].float())[0]
        for clip in known_run.clips
        if clip.split == "train"
    ]
    assert len(rows) == 6
    torch.testing.assert_close(mean_training_embedding(run), torch.stack(rows).mean(dim=0))


def test_clips_without_truth_or_copies_beside_them_are_one_clear_line(known_run, tmp_path) -> None:
    path = tmp_path / "clips" / "session" / "one.mp4"
    clip = Clip("one", path, "stop_sign", session="session", split="test")
    (tmp_path / "boxes.csv").touch()
    with pytest.raises(CafVideoError, match=f"no neutral.csv in {tmp_path}.*`caf-video synth`"):
        synthetic_folder([clip])
    write_manifest([replace(clip, clip_id="other")], tmp_path / "neutral.csv")
    assert synthetic_folder([clip]) == tmp_path
    with pytest.raises(CafVideoError, match="has 0 of the 1 clips of train"):
        copies_of([clip], tmp_path, "train")
    assert [one.clip_id for one in copies_of([replace(clip, clip_id="other")], tmp_path, "")] == [
        "other"
    ]


def test_a_split_without_copies_is_told_before_anything_is_evaluated(
    known_run, tmp_path, monkeypatch
) -> None:
    other = replace(known_run.clips[0], clip_id="other")
    write_manifest([other], tmp_path / "neutral.csv")
    monkeypatch.setattr(synthetic, "synthetic_folder", lambda clips: tmp_path)
    monkeypatch.delattr(synthetic, "evaluate")
    with pytest.raises(CafVideoError, match="has 0 of the 7 clips of test"):
        know(known_run.folder)


@pytest.fixture(scope="module")
def copies(known_run, tmp_path_factory):
    """Features of neutral copies: next to nothing of what the clips hold, from frame 4 on."""
    store = FeatureStore.create(tmp_path_factory.mktemp("copies"), known_run.store.description)
    for clip in known_run.clips:
        if clip.split == "test":
            features = known_run.store.read(clip.clip_id)
            maps = features.feature_maps.clone()
            maps[1:] *= 0.05
            store.write(
                ClipFeatures(clip.clip_id, maps, features.frame_indices, features.times_seconds),
                "known",
            )
    return store


@pytest.fixture(scope="module")
def with_copies(known_run, copies):
    root = known_run.boxes_csv.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "synthetic_folder", lambda clips: root)
        patch.setattr(synthetic, "copies_of", lambda *_: [])
        patch.setattr(synthetic, "neutral_features", lambda *_: copies)
        yield known_run


@pytest.fixture(scope="module")
def study(with_copies, tmp_path_factory):
    folder = prepare(tmp_path_factory.mktemp("study"), "attention")
    done = study_attention([with_copies.folder])
    write_study(done, folder)
    return done, folder


def test_the_figures_are_those_on_paper(study, with_copies) -> None:
    done, folder = study
    figures = done.record["figures"]
    for row in ("l2-caf", "l2-caf-joint", "l2-caf-passed", "feature-norm", "ceiling"):
        assert figures[row]["all"]["pointing"]["value"] == 1.0, row
        assert figures[row]["all"]["pointing"]["count"] == 14  # of seven clips two frames
    assert figures["l2-caf-joint"]["right"]["pointing"]["count"] == 2 * len(with_copies.right)
    assert figures["l2-caf-joint"]["wrong"]["pointing"]["count"] == 2 * (7 - len(with_copies.right))
    # Evidence is visible in the last two of three frames.
    assert figures["frame-number"]["all"]["when_auc"]["value"] == 1.0
    assert figures["frame-number"]["all"]["heaviest"]["value"] == 1.0
    assert figures["ceiling"]["all"]["when_auc"]["value"] == 1.0  # frame 0 is as in the copy
    assert figures["ceiling"]["all"]["causal_cosine"]["value"] > 0.8
    assert figures["random"]["all"]["causal_cosine"]["value"] < 0.5
    # All that a clip holds is in its left column: without it nothing is left.
    for row in ("feature-norm", "l2-caf-joint"):
        found = figures[row]["all"]
        assert (
            found["deletion_zeros"]["value"] < figures["random"]["all"]["deletion_zeros"]["value"]
        )
        assert found["insertion_zeros"]["value"] > 0.9
    run = done.record["runs"][0]
    assert run["n"] == 7 and run["recall@1"] == pytest.approx(5 / 7)
    assert run["means"]["l2-caf-joint"]["pointing"] == 1.0
    record = json.loads((folder / "attention.json").read_text())
    assert record["pictures"] == ["attention.png"] and len(record["tables"]) == len(done.tables)
    assert {name: record[name] for name in done.record} == done.record
    assert (folder / "attention.png").stat().st_size > 5000


def test_the_table_names_every_row_and_prints_the_best_in_bold(study) -> None:
    done, folder = study
    text = (folder / "attention.md").read_text()
    assert text == done.markdown()
    for title in ("L2-CAF, one filter a clip", "Frame number", "Random cells", "The box itself"):
        assert f"| {title} |" in text
    assert "**1.000 [1.000, 1.000]**" in text
    assert "R@1 0.714 (chance" in text
    for heading in ("Where and when", "Masked, wrong retrievals", "Pointing, by class"):
        assert heading.lower() in text.lower()


def test_two_runs_of_one_set_are_averaged_clip_by_clip(with_copies, study) -> None:
    once, _ = study
    twice = study_attention([with_copies.folder] * 2)
    for measure, found in once.record["figures"]["l2-caf-joint"]["all"].items():
        again = twice.record["figures"]["l2-caf-joint"]["all"][measure]
        assert again["value"] == pytest.approx(found["value"]), measure
        assert again["count"] == 2 * found["count"]
        assert (again["low"], again["high"]) == pytest.approx((found["low"], found["high"]))


def test_the_truth_of_the_sampled_frames_and_the_baselines_by_loops(with_copies) -> None:
    known = know(with_copies.folder)
    assert known.visible.tolist() == [[False, True, True]] * 7 and known.other is None
    assert known.boxes[0].tolist() == [[x, 0, x + 20, 64] for x in (1.0, 4.0, 7.0)]
    inside = cells_in_box(known)
    # Boxes of 20 of a cell's 32 columns, and of both rows whole.
    assert inside[:, 0].sum() == 0
    torch.testing.assert_close(inside[0, 1, 0], torch.tensor([20 / 32, 0, 0, 0]).double())
    near = center_first(torch.zeros(1, 1, 3, 5))
    assert int(near.flatten().argmax()) == 7 and torch.equal(near, near.flip(-1))
    torch.testing.assert_close(
        known.share.sum(dim=(1, 2, 3)),
        (known.run.model.head(known.maps) - known.run.model.head(known.neutral))
        .square()
        .sum(dim=1),
        rtol=1e-2,
        atol=1e-6,
    )

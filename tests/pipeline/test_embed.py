"""Embeddings of a split: made once, kept in the run, and made again when something has changed."""

import json
import math
import os

import numpy as np
import pytest
import torch
from safetensors import safe_open

from caf_video.data.manifest import write_manifest
from caf_video.errors import CafVideoError, InputError
from caf_video.pipeline.embed import embed_split, embeddings_file
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.explain import explain_clips
from caf_video.pipeline.opened import open_features, open_run
from caf_video.pipeline.queries import embed_search
from caf_video.training import ClipRun


@pytest.fixture
def embeds(monkeypatch):
    """How often the trained network of a run embeds: a list that grows."""
    calls = []
    embed = ClipRun.embed

    def counted(run, maps):
        if not torch.equal(run.model.lstm.bias_hh_l0, torch.zeros(8)):
            return embed(run, maps)  # the untrained network, whose weights are not those of paper
        calls.append(len(maps))
        return embed(run, maps)

    monkeypatch.setattr(ClipRun, "embed", counted)
    return calls


def embedded(known, split="test"):
    run = open_run(known.folder)
    return embed_split(run, open_features(run), split)


def test_embeddings_are_those_on_paper(known_run) -> None:
    found = embedded(known_run)
    ids = [clip.clip_id for clip in found.clips]
    assert ids == list(known_run.nearest)
    wanted = [known_run.embedding(clip_id) for clip_id in ids]
    np.testing.assert_allclose(found.embeddings, wanted, rtol=2e-3)  # stored as float16


def test_an_embedding_that_is_not_finite_names_the_clip_and_the_checkpoint(
    make_known_run, monkeypatch
) -> None:
    known = make_known_run()
    embed = ClipRun.embed
    monkeypatch.setattr(ClipRun, "embed", lambda run, maps: embed(run, maps) * math.nan)
    with pytest.raises(
        CafVideoError,
        match=r"best\.ckpt gives clip 'left_a' an embedding that is not finite",
    ):
        embedded(known)
    assert not embeddings_file(open_run(known.folder).checkpoint, "test").exists()


def test_the_middle_candidates_stand_for_a_clip_of_training(known_run) -> None:
    found = embedded(known_run, "train")
    wanted = [known_run.embedding(clip.clip_id.removeprefix("train_")) for clip in found.clips]
    np.testing.assert_allclose(found.embeddings, wanted, rtol=2e-3)


def test_the_nearest_clip_of_each_is_the_one_on_paper_at_its_distance(known_run) -> None:
    run = open_run(known_run.folder)
    search = embed_search(run, open_features(run), "test")
    found = search.queries
    nearest = search.nearest(found.embeddings, found.clips)
    for clip, other, distance in zip(found.clips, nearest.clips, nearest.distances, strict=True):
        distances = {
            name: math.dist(known_run.embedding(clip.clip_id), known_run.embedding(name))
            for name in known_run.nearest
            if name != clip.clip_id
        }
        assert other.clip_id == min(distances, key=distances.get) == known_run.nearest[clip.clip_id]
        assert distance == pytest.approx(distances[other.clip_id], rel=2e-2)


def test_a_second_evaluation_and_an_explanation_embed_nothing_again(make_known_run, embeds) -> None:
    known = make_known_run()
    first = evaluate(known.folder)
    assert embeds == [1] * 7
    second = evaluate(known.folder)
    explain_clips(known.folder, [])
    assert embeds == [1] * 7
    assert torch.equal(first.search.queries.embeddings, second.search.queries.embeddings)
    assert first.record() == second.record()


def test_only_a_clip_of_another_split_is_embedded_to_be_explained(make_known_run, embeds) -> None:
    known = make_known_run()
    embedded(known)
    embeds.clear()
    (explained,) = explain_clips(known.folder, ["train_right_b"])
    assert embeds == [1]
    assert explained.nearest.clip_id == "right_b"
    assert explained.distance == pytest.approx(0, abs=1e-6)


def test_the_file_says_whose_embeddings_it_holds(make_known_run) -> None:
    known = make_known_run()
    found = embedded(known)
    file = known.folder / "embeddings" / "best.test.safetensors"
    with safe_open(file, framework="pt") as stored:
        metadata = stored.metadata()
        assert torch.equal(stored.get_tensor("embeddings"), found.embeddings)
    assert json.loads(metadata["ids"]) == list(known.nearest)
    assert json.loads(metadata["labels"]) == [clip.label for clip in found.clips]
    assert json.loads(metadata["sessions"]) == [f"test_{number}" for number in range(7)]
    assert metadata["split"] == "test"


def test_a_changed_checkpoint_embeds_anew(make_known_run, embeds) -> None:
    known = make_known_run()
    before = embedded(known).embeddings
    known.retrain()
    after = embedded(known).embeddings
    assert len(embeds) == 14
    torch.testing.assert_close(after, before / 2)


def test_a_changed_manifest_embeds_anew(make_known_run, embeds) -> None:
    known = make_known_run()
    before = embedded(known).embeddings
    write_manifest(known.clips[1:], known.store.manifest_path)
    found = embedded(known)
    assert [clip.clip_id for clip in found.clips] == list(known.nearest)[1:]
    assert len(embeds) == 7 + 6
    assert torch.equal(found.embeddings, before[1:])


def test_features_that_were_written_anew_are_embedded_anew(make_known_run, embeds) -> None:
    known = make_known_run()
    before = embedded(known).embeddings
    features = known.store.read("left_a")
    features.feature_maps.mul_(0.5)
    known.store.write(features, "known")
    found = embedded(known).embeddings
    assert len(embeds) == 14
    assert torch.equal(found[1:], before[1:])
    assert (found[0] < 0.6 * before[0]).all()


@pytest.mark.parametrize("content", [b"", b"not a safetensors file", None])
def test_a_file_that_cannot_be_read_is_made_again(make_known_run, embeds, content) -> None:
    known = make_known_run()
    before = embedded(known).embeddings
    file = embeddings_file(known.folder / "checkpoints" / "best.ckpt", "test")
    whole = file.read_bytes()
    file.write_bytes(whole[:-5] if content is None else content)
    assert torch.equal(embedded(known).embeddings, before)
    assert len(embeds) == 14
    assert embedded(known).clips and len(embeds) == 14  # and is kept again
    assert os.listdir(file.parent) == [file.name]


def test_each_split_and_checkpoint_has_embeddings_of_its_own(make_known_run) -> None:
    known = make_known_run()
    checkpoint = known.folder / "checkpoints" / "best.ckpt"
    files = {embeddings_file(checkpoint.with_name(name), split)
             for name in ("best.ckpt", "last.ckpt") for split in ("val", "test")}  # fmt: skip
    assert len(files) == 4
    assert len(embedded(known, "train").clips) == 6
    assert len(embedded(known, "test").clips) == 7


def test_a_run_that_may_only_be_read_is_embedded_with_a_warning(make_known_run) -> None:
    known = make_known_run()
    (known.folder / "embeddings").write_text("a file in the way")
    with pytest.warns(UserWarning, match=r"cannot write .*best\.test\.safetensors"):
        assert len(embedded(known).embeddings) == 7


def test_a_split_without_clips_is_an_error(known_run) -> None:
    with pytest.raises(
        InputError,
        match=r"manifest\.csv is in the split 'val': by split there are test 7, train 6$",
    ):
        embedded(known_run, "val")

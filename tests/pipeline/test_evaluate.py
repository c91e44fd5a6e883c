"""The figures of an evaluation, for a run whose neighbours are known on paper."""

import numpy as np
import pytest
import torch

from caf_video.pipeline.evaluate import FROZEN, UNTRAINED, evaluate
from caf_video.pipeline.opened import open_run, split_maps, untrained


@pytest.fixture(scope="module")
def evaluation(known_run):
    return evaluate(known_run.folder)


def test_each_clip_is_recorded_with_its_neighbour_and_whether_that_is_right(
    known_run, evaluation
) -> None:
    record = evaluation.record()
    labels = {clip.clip_id: clip.label for clip in known_run.clips}
    assert [clip["clip_id"] for clip in record["clips"]] == list(known_run.nearest)
    for clip in record["clips"]:
        assert clip["nearest"] == known_run.nearest[clip["clip_id"]]
        assert clip["label"] == labels[clip["clip_id"]]
        assert clip["nearest_label"] == labels[clip["nearest"]]
        assert clip["correct"] is (clip["clip_id"] in known_run.right)


def test_the_recall_of_all_and_of_each_class_is_counted_by_hand(evaluation) -> None:
    record = evaluation.record()
    assert record["split"] == "test"
    assert record["recall@1"] == pytest.approx(5 / 7)
    assert record["recall@8"] == 1.0  # of six others
    assert record["per_class"] == {
        "pedestrian_to_left": 0.5,
        "pedestrian_to_right": 1.0,
        "stop_sign": pytest.approx(2 / 3),
    }
    assert record["excluded"] == 0


def test_chance_is_that_of_the_split_that_is_measured(known_run, evaluation) -> None:
    """Of test's 2, 2 and 3 clips: four with one other of six, three with two; of train's 2, 2, 2:
    one other of five."""
    assert evaluation.record()["chance"] == pytest.approx((4 * 1 / 6 + 3 * 2 / 6) / 7)
    assert evaluate(known_run.folder, split="train").chance == pytest.approx(1 / 5)


def recall_by_loops(embeddings: np.ndarray, labels: list[str], k: int) -> float:
    hits = []
    for i, row in enumerate(embeddings):
        others = sorted(
            (j for j in range(len(labels)) if j != i),
            key=lambda j: (((embeddings[j] - row) ** 2).sum(), j),
        )
        hits.append(any(labels[j] == labels[i] for j in others[:k]))
    return sum(hits) / len(hits)


def test_the_baselines_are_those_of_frozen_features_and_of_the_first_weights(
    known_run, evaluation
) -> None:
    run = open_run(known_run.folder)
    maps = split_maps(known_run.store, evaluation.clips)
    labels = [clip.label for clip in evaluation.clips]
    by_frame = maps.double().numpy().mean(axis=(3, 4))  # (n, t, c)
    mean = by_frame.mean(axis=1)
    torch.manual_seed(run.config["seed"])
    first = type(run.model)(**run.model.hyperparameters).eval()
    with torch.no_grad():
        rows = {
            FROZEN: mean / np.linalg.norm(mean, axis=1, keepdims=True),
            "frozen, pooled frame by frame": by_frame.reshape(7, -1)
            / np.linalg.norm(by_frame.reshape(7, -1), axis=1, keepdims=True),
            UNTRAINED: first(maps).double().numpy(),
        }
    record = evaluation.record()
    assert set(record["baselines"]) == set(rows)
    for name, embeddings in rows.items():
        for k in (1, 2, 4, 8):
            wanted = recall_by_loops(embeddings, labels, k)
            assert record["baselines"][name][f"recall@{k}"] == pytest.approx(wanted), (name, k)
    assert record["recall@1_frozen"] == record["baselines"][FROZEN]["recall@1"]
    assert record["recall@1_untrained"] == record["baselines"][UNTRAINED]["recall@1"]


def test_frozen_features_of_these_clips_do_not_know_the_order_of_frames(evaluation) -> None:
    """Their means over frames: left_a and right_a are nearly alike, told apart by order alone."""
    assert evaluation.baselines[FROZEN][1] < 5 / 7


def test_the_untrained_network_has_the_first_weights_of_its_seed_and_is_not_the_trained(
    known_run,
) -> None:
    run = open_run(known_run.folder)
    run.model.fit_standardization(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    state = torch.get_rng_state()
    before = untrained(run)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(run.config["seed"])
    first = type(run.model)(**run.model.hyperparameters)
    for name, values in before.model.named_parameters():
        assert torch.equal(values, dict(first.named_parameters())[name]), name
    assert not torch.equal(before.model.projection.weight, run.model.projection.weight)
    assert before.model.channel_mean.tolist() == [1.0, 2.0]
    assert before.model.channel_std.tolist() == [3.0, 4.0]
    assert not before.model.training

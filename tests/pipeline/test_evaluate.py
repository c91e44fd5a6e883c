"""The figures of an evaluation, for a run whose neighbours are known on paper."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score

from caf_video.data.manifest import write_manifest
from caf_video.errors import CafVideoError
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
    assert evaluate(known_run.folder, split="train").all_others.chance == pytest.approx(1 / 5)


def baseline_rows(known_run, evaluation) -> dict[str, np.ndarray]:
    """The embeddings that nobody trained, worked out again."""
    run = open_run(known_run.folder)
    maps = split_maps(known_run.store, evaluation.clips)
    by_frame = maps.double().numpy().mean(axis=(3, 4))  # (n, t, c)
    mean = by_frame.mean(axis=1)
    torch.manual_seed(run.config["seed"])
    first = type(run.model)(**run.model.hyperparameters).eval()
    with torch.no_grad():
        return {
            FROZEN: mean / np.linalg.norm(mean, axis=1, keepdims=True),
            "frozen, pooled frame by frame": by_frame.reshape(7, -1)
            / np.linalg.norm(by_frame.reshape(7, -1), axis=1, keepdims=True),
            UNTRAINED: first(maps).double().numpy(),
        }


def nmi_by_trying_every_clustering(rows: np.ndarray, labels: list[str]) -> float:
    """Of the three clusters of least error among all partitions of so few clips."""
    best, chosen = math.inf, None
    for codes in itertools.product(range(3), repeat=len(rows)):
        groups = [rows[[i for i, code in enumerate(codes) if code == k]] for k in range(3)]
        if all(map(len, groups)):
            error = sum(((group - group.mean(axis=0)) ** 2).sum() for group in groups)
            best, chosen = min((best, chosen), (error, codes), key=lambda pair: pair[0])
    return float(normalized_mutual_info_score(labels, chosen, average_method="geometric"))


def test_nmi_is_that_of_each_embedding_and_its_best_clusters(known_run, evaluation) -> None:
    labels = [clip.label for clip in evaluation.clips]
    trained = np.array([known_run.embedding(clip.clip_id) for clip in evaluation.clips])
    record = evaluation.record()
    assert record["nmi"] == pytest.approx(nmi_by_trying_every_clustering(trained, labels))
    assert 0 < record["nmi"] < 1
    for name, rows in baseline_rows(known_run, evaluation).items():
        found = record["baselines"][name]["nmi"]
        assert found == pytest.approx(nmi_by_trying_every_clustering(rows, labels)), name


def test_a_split_in_which_nothing_has_a_right_neighbour_is_refused_before_the_work(
    make_known_run, monkeypatch
) -> None:
    known = make_known_run()
    alone = {"left_a", "right_a", "stop_a"}
    clips = [clip for clip in known.clips if clip.split == "train" or clip.clip_id in alone]
    write_manifest(clips, known.store.manifest_path)
    monkeypatch.setattr("caf_video.pipeline.evaluate.embed_search", None)
    with pytest.raises(CafVideoError, match="^no class has two clips in the test split"):
        evaluate(known.folder)


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
    labels = [clip.label for clip in evaluation.clips]
    rows = baseline_rows(known_run, evaluation)
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
    assert evaluation.all_others.baselines[FROZEN][1] < 5 / 7


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


# --- sessions -------------------------------------------------------------------------------------

DRIVES = {"left_a": "p", "left_b": "q", "stop_c": "q", "right_a": "p", "right_b": "p",
          "stop_a": "p", "stop_b": "q"}  # fmt: skip


@pytest.fixture(scope="module")
def in_two_drives(write_run, tmp_path_factory):
    known = write_run(tmp_path_factory.mktemp("drives"))
    clips = [replace(clip, session=DRIVES.get(clip.clip_id, clip.session)) for clip in known.clips]
    write_manifest(clips, known.store.manifest_path)
    return known, evaluate(known.folder)


def nearest_by_loops(known, *, other_sessions: bool) -> dict[str, str]:
    found = {}
    for name in known.nearest:
        others = [
            other
            for other in known.nearest
            if other != name and not (other_sessions and DRIVES[other] == DRIVES[name])
        ]
        found[name] = min(
            others, key=lambda other: math.dist(known.embedding(name), known.embedding(other))
        )
    return found


def test_neighbours_are_recorded_among_all_others_and_among_other_sessions(in_two_drives) -> None:
    known, evaluation = in_two_drives
    labels = {clip.clip_id: clip.label for clip in known.clips}
    record = evaluation.record()
    everyone = nearest_by_loops(known, other_sessions=False)
    others = nearest_by_loops(known, other_sessions=True)
    assert everyone == known.nearest and others != everyone
    for clip in record["clips"]:
        name, apart = clip["clip_id"], clip["other_sessions"]
        assert clip["session"] == DRIVES[name]
        assert clip["nearest"] == everyone[name]
        assert apart["nearest"] == others[name]
        assert apart["nearest_session"] == DRIVES[others[name]] != DRIVES[name]
        assert apart["nearest_label"] == labels[others[name]]
        wanted = math.dist(known.embedding(name), known.embedding(others[name]))
        assert apart["distance"] == pytest.approx(wanted, rel=2e-2)
        # Clips to the right are all of one drive: no other session has a right answer.
        right = labels[others[name]] == labels[name]
        assert apart["correct"] is clip["gate"] is right
    assert record["gate"] == "other_sessions"


def test_figures_of_other_sessions_are_counted_by_hand(in_two_drives) -> None:
    known, evaluation = in_two_drives
    record = evaluation.record()
    labels = {clip.clip_id: clip.label for clip in known.clips}
    others = nearest_by_loops(known, other_sessions=True)
    counted = [name for name in known.nearest if not name.startswith("right")]
    apart = record["other_sessions"]
    share = np.mean([labels[others[name]] == labels[name] for name in counted])
    assert apart["recall@1"] == pytest.approx(share)
    assert apart["excluded"] == 2 and record["excluded"] == 0
    assert apart["recall@8"] == 1.0
    # left_a has 1 right of 3 others in q, left_b 1 of 4 in p, stop_a 2 of 3, stop_b and c 1 of 4.
    assert apart["chance"] == pytest.approx((1 / 3 + 1 / 4 + 2 / 3 + 1 / 4 + 1 / 4) / 5)
    same = [DRIVES[known.nearest[name]] == DRIVES[name] for name in known.nearest]
    assert record["nearest_of_own_session"] == pytest.approx(np.mean(same))
    assert record["recall@1"] == pytest.approx(5 / 7)  # among all others, as ever
    for figures in (record, apart):
        for part in (figures, *figures["baselines"].values()):
            assert 0 <= part["nmi"] <= 1
        assert 0 <= figures["map@r"] <= figures["r_precision"] <= 1


def test_where_no_class_has_clips_of_two_sessions_the_gate_is_of_all_others(
    make_known_run,
) -> None:
    known = make_known_run()
    clips = [replace(clip, session=f"{clip.split} {clip.label}") for clip in known.clips]
    write_manifest(clips, known.store.manifest_path)
    evaluation = evaluate(known.folder)
    record = evaluation.record()
    assert record["gate"] == "all_others" and record["other_sessions"] is None
    assert evaluation.gate is evaluation.result
    assert all(clip["gate"] is clip["correct"] for clip in record["clips"])
    assert all(clip["other_sessions"] == {} for clip in record["clips"])


def test_sessions_of_one_clip_change_nothing(evaluation) -> None:
    record = evaluation.record()
    assert record["nearest_of_own_session"] == 0.0 and record["gate"] == "other_sessions"
    for name in ("recall@1", "recall@8", "chance", "per_class", "excluded", "map@r"):
        assert record["other_sessions"][name] == record[name], name
    assert all(clip["gate"] is clip["correct"] for clip in record["clips"])

"""Gates by loops over images; the bootstrap beside closed forms."""

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.localization import estimate, estimates, gate, gates, true_class_ranks


def test_every_gate_by_loops(random: np.random.Generator) -> None:
    count, classes = 60, 12
    logits = random.integers(0, 9, size=(count, classes)).astype(float)  # with ties
    labels = random.integers(0, classes, size=count)
    hits = random.integers(0, 2, size=count)
    embeddings = random.normal(size=(count, 3))
    wanted: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        wanted.setdefault(name, []).append(float(value))

    correct, counted = [], []
    for i in range(count):
        order = sorted(range(classes), key=lambda c: (-logits[i, c], c))
        others = [j for j in range(count) if j != i]
        nearest = min(others, key=lambda j: ((embeddings[i] - embeddings[j]) ** 2).sum())
        correct.append(labels[nearest] == labels[i])
        counted.append(any(labels[j] == labels[i] for j in others))
        note("gt_known", hits[i])
        for k in (1, 5):
            note(f"top{k}", labels[i] in order[:k])
            note(f"top{k}_loc", labels[i] in order[:k] and hits[i])
        if counted[i]:
            note("recall@1", correct[i])
            note("gated_loc", correct[i] and hits[i])
    scores = gate(
        hits,
        ranks=true_class_ranks(logits, labels),
        neighbour_correct=correct,
        neighbour_counted=counted,
    )
    assert set(scores) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(scores[name], values)


def test_no_gate_lets_more_through_than_the_box_or_the_class_alone(
    random: np.random.Generator,
) -> None:
    ranks = random.integers(0, 9, size=100)
    scores = {name: values.mean() for name, values in gate(random.random(100), ranks=ranks).items()}
    assert scores["top1_loc"] <= scores["top5_loc"] <= scores["gt_known"]
    assert scores["top1_loc"] <= scores["top1"] and scores["top5_loc"] <= scores["top5"]


def test_a_share_of_a_hit_passes_a_gate_as_that_share() -> None:
    scores = gate([1 / 3, 2 / 3], ranks=[0, 7], neighbour_correct=[False, True])
    assert scores["top1_loc"].tolist() == [1 / 3, 0.0]
    assert scores["gated_loc"].tolist() == [0.0, 2 / 3]


def test_ranks_count_the_classes_before_the_true_one() -> None:
    logits = [[1.0, 3.0, 2.0], [5.0, 5.0, 5.0], [5.0, 5.0, 5.0]]
    assert true_class_ranks(logits, [2, 0, 2]).tolist() == [1, 0, 2]


def test_an_image_without_another_of_its_label_is_not_counted() -> None:
    scores = gate(
        [1, 1, 0], neighbour_correct=[True, False, True], neighbour_counted=[True, False, True]
    )
    assert scores["recall@1"].tolist() == [1.0, 1.0]
    assert scores["gated_loc"].tolist() == [1.0, 0.0]
    assert len(scores["gt_known"]) == 3


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    scores = np.arange(1000) % 10 < 3
    found = estimate(scores)
    error = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - error, abs=0.003)
    assert found.high == pytest.approx(0.3 + error, abs=0.003)


@pytest.mark.parametrize("at_once", [2**22, 7 * 12])
def test_the_interval_is_from_percentile_to_percentile_of_2000_resamples_by_loops(
    at_once: int, random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caf_video.localization.gates._VALUES_AT_ONCE", at_once)
    scores = random.random(12)
    means = []
    for images in np.random.default_rng(5).integers(12, size=(2000, 12)).tolist():
        means.append(sum(scores[image] for image in images) / 12)
    means.sort()
    found = estimate(scores, seed=5)
    # 2.5 % and 97.5 % of the way from the first to the last, which is place 1999.
    assert found.low == pytest.approx(means[49] + 0.975 * (means[50] - means[49]), rel=1e-12)
    assert found.high == pytest.approx(means[1949] + 0.025 * (means[1950] - means[1949]), rel=1e-12)


def test_a_certain_score_has_no_interval() -> None:
    for value in (0.0, 1.0):
        found = estimate(np.full(50, value))
        assert (found.value, found.low, found.high) == (value, value, value)


def test_the_interval_depends_on_the_seed_alone(random: np.random.Generator) -> None:
    scores = random.random(80)
    assert estimate(scores, seed=3) == estimate(scores, seed=3)
    assert estimate(scores, seed=3) != estimate(scores, seed=4)


def test_a_paired_difference_does_not_see_what_both_have_in_common(
    random: np.random.Generator,
) -> None:
    """Of 400 images one method finds the other's and 20 more: the rest is certain."""
    others = (random.random(400) < 0.5).astype(float)
    missed = np.flatnonzero(others == 0)[:20]
    scores = others.copy()
    scores[missed] = 1
    found = estimate(scores - others)
    error = 1.96 * np.sqrt(0.05 * 0.95 / 400)
    assert found.value == pytest.approx(0.05)
    assert found.low == pytest.approx(0.05 - error, abs=0.004)
    assert found.high == pytest.approx(0.05 + error, abs=0.004)
    apart = estimate(scores).high - estimate(scores).low
    assert found.high - found.low < 0.6 * apart


def test_many_estimates_are_the_estimates_of_each(random: np.random.Generator) -> None:
    rows = [random.random(60), (random.random(60) < 0.3).astype(float)]
    for together, row in zip(estimates([*rows, rows[0] - rows[1]]), rows, strict=False):
        alone = estimate(row)
        assert together.value == pytest.approx(alone.value)
        assert (together.low, together.high) == pytest.approx((alone.low, alone.high))
    assert estimates([]) == []


def test_the_resamples_are_the_same_however_many_are_drawn_at_once(monkeypatch) -> None:
    wanted = np.concatenate([*gates.resamples(3, seed=1)])
    assert wanted.shape == (2000, 3) and (wanted.sum(axis=1) == 3).all()
    for values in (1, 7, 601):
        monkeypatch.setattr(gates, "_VALUES_AT_ONCE", values)
        np.testing.assert_array_equal(np.concatenate([*gates.resamples(3, seed=1)]), wanted)


def test_wrong_input_is_named() -> None:
    with pytest.raises(InputError, match=r"hits of shape \(0,\)"):
        gate([])
    with pytest.raises(InputError, match=r"hits outside \[0, 1\]"):
        gate([0.5, np.nan])
    with pytest.raises(InputError, match=r"ranks of shape \(3,\) for hits of shape \(2,\)"):
        gate([0, 1], ranks=[0, 0, 0])
    with pytest.raises(InputError, match="no image has another one of its label"):
        gate([1], neighbour_correct=[False], neighbour_counted=[False])
    with pytest.raises(InputError, match="label 3 of image 1: the logits are of 3 classes"):
        true_class_ranks(np.zeros((2, 3)), [0, 3])
    with pytest.raises(InputError, match=r"logits of shape \(2, 3\) and labels of shape \(3,\)"):
        true_class_ranks(np.zeros((2, 3)), [0, 1, 2])
    with pytest.raises(InputError, match="the logits of image 0 are not finite"):
        true_class_ranks([[np.nan, 0.0]], [0])
    with pytest.raises(InputError, match=r"scores of shape \(0,\)"):
        estimate([])
    with pytest.raises(InputError, match=r"scores of shapes \(3,\) and \(2,\)"):
        estimates([[0, 1], [0, 1, 1]])

"""R@K, NMI and chance: by loops, by hand, and beside torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score
from torchmetrics.retrieval import RetrievalHitRate

from caf_video.errors import InputError
from caf_video.retrieval import (
    chance_recall,
    metrics,
    nmi_across_groups,
    normalized_mutual_information,
    ranked_precision,
    recall_at_k,
)


def recall_by_loops(points: np.ndarray, labels: list[str], k: int) -> float:
    hits = []
    for i in range(len(points)):
        if labels.count(labels[i]) < 2:
            continue
        others = [j for j in range(len(points)) if j != i]
        others.sort(key=lambda j: (((points[i] - points[j]) ** 2).sum(), j))
        hits.append(any(labels[j] == labels[i] for j in others[:k]))
    return float(np.mean(hits))


def labelled_points(
    generator: torch.Generator, count: int = 80, classes: int = 7, width: int = 5
) -> tuple[torch.Tensor, list[str]]:
    codes = torch.randint(0, classes, (count,), generator=generator)
    centers = torch.randn(classes, width, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return centers[codes] + noise, [f"class {code}" for code in codes.tolist()]


def test_recall_agrees_with_loops(generator: torch.Generator) -> None:
    points, labels = labelled_points(generator)
    result = recall_at_k(points, labels, ks=(1, 2, 4, 8, 50))
    for k, recall in result.recall.items():
        assert recall == recall_by_loops(points.numpy(), labels, k)


def test_recall_agrees_with_the_hit_rate_of_torchmetrics(generator: torch.Generator) -> None:
    points, labels = labelled_points(generator)
    distances = torch.cdist(points, points)
    count = len(labels)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    for k in (1, 4):
        metric = RetrievalHitRate(top_k=k, empty_target_action="skip")
        metric.update(
            torch.tensor([1.0 / (1.0 + distances[i, j]) for i, j in pairs]),
            torch.tensor([labels[i] == labels[j] for i, j in pairs]),
            indexes=torch.tensor([i for i, _ in pairs]),
        )
        assert recall_at_k(points, labels, ks=(k,)).recall[k] == pytest.approx(
            float(metric.compute())
        )


def test_recall_on_a_line_worked_out_by_hand() -> None:
    points = np.array([[0.0], [1.0], [3.0], [3.5], [9.0]])
    result = recall_at_k(points, ["a", "b", "a", "a", "c"], ids=list("pqrst"), ks=(1, 2, 3, 4))
    assert result.nearest.tolist() == [1, 0, 3, 2, 3]
    assert result.correct.tolist() == [False, False, True, True, False]
    assert result.counted.tolist() == [True, False, True, True, False]
    assert result.excluded == 2
    assert result.recall == {1: 2 / 3, 2: 1.0, 3: 1.0, 4: 1.0}
    assert result.per_class == {"a": 2 / 3}


def test_a_k_above_the_number_of_others_means_all_of_them() -> None:
    points = np.array([[0.0], [1.0], [1.1], [0.1]])
    result = recall_at_k(points, ["a", "a", "b", "b"], ks=(1, 3, 8, 100))
    assert result.recall == {1: 0.0, 3: 1.0, 8: 1.0, 100: 1.0}


def test_duplicates_do_not_find_themselves() -> None:
    """Every point is there twice, under two labels: dropping the first column would say 0.5."""
    points = np.repeat(np.arange(10.0)[:, None] ** 2, 2, axis=0)
    labels = ["a", "b"] * 10
    assert recall_at_k(points, labels, ks=(1,)).recall[1] == 0.0


@pytest.mark.parametrize("offset", [0, 10, 1000, 100_000])
def test_a_common_offset_does_not_change_recall(offset: float, generator: torch.Generator) -> None:
    """In float32, as networks give them: faiss alone says 0.04 for a true 0.10 at 1000."""
    points, labels = labelled_points(generator, count=400, classes=20, width=32)
    moved = (points + offset).float()
    expected = recall_by_loops(moved.double().numpy(), labels, 1)
    assert recall_at_k(moved, labels, ks=(1,)).recall[1] == pytest.approx(expected, abs=1e-12)


def test_items_are_told_apart_by_id_in_any_order(generator: torch.Generator) -> None:
    points, labels = labelled_points(generator, count=30)
    order = torch.randperm(30, generator=generator)
    ids = [f"clip {i}" for i in range(30)]
    straight = recall_at_k(points, labels, ids=ids)
    shuffled = recall_at_k(points[order], [labels[i] for i in order], ids=[ids[i] for i in order])
    assert shuffled.recall == straight.recall
    assert shuffled.per_class == straight.per_class
    np.testing.assert_array_equal(shuffled.correct, straight.correct[order])
    np.testing.assert_array_equal(order[shuffled.nearest], straight.nearest[order])


def test_collapsed_embeddings_warn_and_score_the_same_each_time() -> None:
    labels = ["a", "b"] * 20
    with pytest.warns(UserWarning, match="all 40 embeddings are equal"):
        result = recall_at_k(np.ones((40, 4)), labels, ks=(1,))
    assert result.nearest.tolist() == [1] + [0] * 39
    assert result.recall[1] == 19 / 40


def test_wrong_input_is_named() -> None:
    points = np.eye(4)
    labels = ["a", "a", "b", "b"]
    broken = points.copy()
    broken[3, 0] = np.inf
    with pytest.raises(InputError, match="embedding of 'clip 3' holds inf"):
        recall_at_k(broken, labels, ids=[f"clip {i}" for i in range(4)])
    with pytest.raises(InputError, match="embedding 3 holds inf"):
        normalized_mutual_information(broken, labels)
    with pytest.raises(InputError, match="item 'x' is there twice"):
        recall_at_k(points, labels, ids=["x", "y", "x", "z"])
    with pytest.raises(InputError, match="no class has two samples"):
        recall_at_k(points, list("abcd"))
    with pytest.raises(InputError, match="no class has two samples"):
        chance_recall(["a"])
    with pytest.raises(InputError, match="no class has two samples"):
        recall_at_k(np.empty((0, 3)), [])
    with pytest.raises(InputError, match=r"recall at \[0\]"):
        recall_at_k(points, labels, ks=(0,))
    for metric in (recall_at_k, normalized_mutual_information):
        with pytest.raises(InputError, match="3 labels for 4 embeddings"):
            metric(points, ["a", "a", "b"])


def test_chance_is_the_recall_of_a_random_other(generator: torch.Generator) -> None:
    labels = list("aaaabbbccd")
    hits = []
    for i, label in enumerate(labels):
        others = labels[:i] + labels[i + 1 :]
        if label in others:
            hits.append(others.count(label) / len(others))
    assert chance_recall(labels) == pytest.approx(np.mean(hits))
    assert chance_recall([f"{i % 10}" for i in range(1000)]) == pytest.approx(99 / 999)
    points = torch.randn(4000, 3, generator=generator)
    many = [str(i % 8) for i in range(4000)]
    assert recall_at_k(points, many, ks=(1,)).recall[1] == pytest.approx(
        chance_recall(many), abs=0.03
    )


def test_nmi_is_that_of_scikit_learn_with_the_geometric_mean(generator: torch.Generator) -> None:
    from caf_video.retrieval.metrics import _geometric_nmi

    for classes, clusters in ((5, 5), (2, 9), (1, 3), (3, 1), (1, 1), (40, 40)):
        one = torch.randint(0, classes, (60,), generator=generator).numpy()
        other = torch.randint(0, clusters, (60,), generator=generator).numpy()
        expected = normalized_mutual_info_score(one, other, average_method="geometric")
        assert _geometric_nmi(one, other) == pytest.approx(expected, abs=1e-12)


def test_nmi_of_clear_and_of_meaningless_clusters(generator: torch.Generator) -> None:
    labels = [str(i % 6) for i in range(120)]
    clear = torch.eye(6).repeat(20, 1) * 10 + torch.randn(120, 6, generator=generator)
    assert normalized_mutual_information(clear + 1e4, labels) == pytest.approx(1.0)
    noise = torch.randn(120, 6, generator=generator)
    assert normalized_mutual_information(noise, labels) < 0.3
    assert normalized_mutual_information(torch.ones(120, 6), labels) < 1e-6


def test_nmi_depends_on_the_seed_alone_and_says_nothing(
    generator: torch.Generator, capfd: pytest.CaptureFixture[str]
) -> None:
    points, labels = labelled_points(generator, count=200, classes=20)
    first = normalized_mutual_information(points, labels, seed=3)
    assert normalized_mutual_information(points, labels, seed=3) == first
    assert capfd.readouterr() == ("", "")


def test_nmi_of_as_many_classes_as_items_is_defined(generator: torch.Generator) -> None:
    points = torch.randn(5, 3, generator=generator)
    assert normalized_mutual_information(points, list("abcde")) == pytest.approx(1.0)
    assert normalized_mutual_information(points, list("aaaaa")) == 1.0


# --- neighbours of other groups alone -------------------------------------------------------------


def grouped_points(
    generator: torch.Generator, count: int = 70
) -> tuple[np.ndarray, list[str], list[str]]:
    """Points of classes, in drives that look alike more than the classes do."""
    points, labels = labelled_points(generator, count=count, classes=5)
    codes = torch.randint(0, 9, (count,), generator=generator)
    drives = 3 * torch.randn(9, 5, generator=generator, dtype=torch.float64)
    return (points + drives[codes]).numpy(), labels, [f"drive {code}" for code in codes.tolist()]


def ranked_by_loops(
    points: np.ndarray, labels: list[str], groups: list[str] | None
) -> list[tuple[int, list[int]]]:
    """Each item with a right answer, and the others that it may find, nearest first."""
    found = []
    for i in range(len(points)):
        others = [j for j in range(len(points)) if j != i]
        if groups is not None:
            others = [j for j in others if groups[j] != groups[i]]
        if any(labels[j] == labels[i] for j in others):
            others.sort(key=lambda j: (((points[i] - points[j]) ** 2).sum(), j))
            found.append((i, others))
    return found


def test_recall_and_chance_across_groups_agree_with_loops(generator: torch.Generator) -> None:
    points, labels, groups = grouped_points(generator)
    labels[0] = "alone"
    ranked = ranked_by_loops(points, labels, groups)
    result = recall_at_k(points, labels, groups=groups, ks=(1, 2, 8, 60))
    for k in (1, 2, 8, 60):
        hits = [any(labels[j] == labels[i] for j in others[:k]) for i, others in ranked]
        assert result.recall[k] == np.mean(hits)
    assert result.recall[1] != recall_at_k(points, labels, ks=(1,)).recall[1]
    assert np.flatnonzero(result.counted).tolist() == [i for i, _ in ranked]
    assert result.nearest[result.counted].tolist() == [others[0] for _, others in ranked]
    chance = [np.mean([labels[j] == labels[i] for j in others]) for i, others in ranked]
    assert chance_recall(labels, groups=groups) == pytest.approx(np.mean(chance))


def test_items_that_are_groups_of_their_own_are_measured_as_without_groups(
    generator: torch.Generator,
) -> None:
    points, labels = labelled_points(generator)
    groups = [str(number) for number in range(len(labels))]
    one, other = recall_at_k(points, labels), recall_at_k(points, labels, groups=groups)
    assert one.recall == other.recall and one.per_class == other.per_class
    np.testing.assert_array_equal(one.nearest, other.nearest)
    assert chance_recall(labels) == pytest.approx(chance_recall(labels, groups=groups))
    assert ranked_precision(points, labels) == ranked_precision(points, labels, groups=groups)


def test_two_moments_of_a_drive_by_hand() -> None:
    """Each clip lies beside the other of its drive and class; across drives it finds the wrong."""
    points = np.array([[0.0], [0.1], [1.0], [1.1], [5.0], [5.1]])
    labels, drives = list("aabbaa"), list("ppqqrr")
    assert recall_at_k(points, labels, ks=(1,)).recall[1] == 1.0
    across = recall_at_k(points, labels, groups=drives, ks=(1, 2, 4))
    assert across.nearest.tolist() == [2, 2, 1, 1, 3, 3]
    assert across.counted.tolist() == [True, True, False, False, True, True]
    assert across.excluded == 2 and across.per_class == {"a": 0.0}
    assert across.recall == {1: 0.0, 2: 0.0, 4: 1.0}
    assert chance_recall(labels, groups=drives) == 0.5


def test_a_group_that_is_alone_has_no_neighbour() -> None:
    points = np.arange(4.0)[:, None]
    with pytest.raises(InputError, match="no class has samples of two groups"):
        recall_at_k(points, list("aabb"), groups=list("ppqq"))
    with pytest.raises(InputError, match="3 groups for 4 labels"):
        recall_at_k(points, list("aabb"), groups=list("ppq"))
    with pytest.raises(InputError, match="one group"):
        nmi_across_groups(points, list("aabb"), list("pppp"))


@pytest.mark.parametrize("at_once", [1, 40, metrics._VALUES_AT_ONCE])
@pytest.mark.parametrize("across", [False, True])
def test_ranked_precision_agrees_with_loops_however_many_items_are_ranked_at_once(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch, across: bool, at_once: int
) -> None:
    monkeypatch.setattr(metrics, "_VALUES_AT_ONCE", at_once)
    points, labels, drives = grouped_points(generator)
    groups = drives if across else None
    precisions, averages = [], []
    for i, others in ranked_by_loops(points, labels, groups):
        right = [labels[j] == labels[i] for j in others]
        count = sum(right)
        precisions.append(sum(right[:count]) / count)
        averages.append(
            sum(sum(right[: k + 1]) / (k + 1) for k in range(count) if right[k]) / count
        )
    found = ranked_precision(points, labels, groups=groups)
    assert found.r_precision == pytest.approx(np.mean(precisions))
    assert found.map_at_r == pytest.approx(np.mean(averages))


def test_ranked_precision_agrees_with_pytorch_metric_learning(generator: torch.Generator) -> None:
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    points, labels = labelled_points(generator, count=60)
    labels[3] = "alone"
    codes = torch.tensor([sorted(set(labels)).index(label) for label in labels])
    calculator = AccuracyCalculator(
        include=("mean_average_precision_at_r", "r_precision"), k="max_bin_count",
        device=torch.device("cpu"),
    )  # fmt: skip
    peer = calculator.get_accuracy(points.float(), codes)
    found = ranked_precision(points.float(), labels)
    assert found.map_at_r == pytest.approx(peer["mean_average_precision_at_r"], abs=1e-6)
    assert found.r_precision == pytest.approx(peer["r_precision"], abs=1e-6)


def test_clusters_of_other_groups_name_the_classes_only_where_classes_are_alike_across_them(
    generator: torch.Generator,
) -> None:
    labels = [str(i % 3) for i in range(90)]
    drives = [str(i % 10) for i in range(90)]
    noise = 0.1 * torch.randn(90, 6, generator=generator)
    by_class = torch.eye(6)[[i % 3 for i in range(90)]] * 10 + noise
    assert nmi_across_groups(by_class, labels, drives) == pytest.approx(1.0)
    # A class that is known by its one drive: clear among all, lost when the drive is held out.
    one_drive_a_class = ["a", "b", "c"] * 30
    assert normalized_mutual_information(by_class, labels) == pytest.approx(1.0)
    assert nmi_across_groups(by_class, labels, one_drive_a_class) < 0.8


def test_groups_are_held_out_one_by_one_or_in_ten_folds(monkeypatch, generator) -> None:
    points, labels = labelled_points(generator, count=46, classes=2)
    held = []
    clusters = metrics._clusters

    def noted(rows, queries, count, seed):
        assert seed == 0  # unless given
        held.append(len(queries))
        return clusters(rows, queries, count, seed)

    monkeypatch.setattr(metrics, "_clusters", noted)
    for groups, sizes in ((23, [6] * 3 + [4] * 7), (9, [6] + [5] * 8)):
        held.clear()
        nmi_across_groups(points, labels, [f"{i % groups:02d}" for i in range(46)])
        assert held == sizes


def test_nmi_across_groups_agrees_with_loops_over_folds(generator: torch.Generator) -> None:
    """Clear clusters, so that any clustering finds them; what is held out lies in the wrong one."""
    centers = {"a": 0.0, "b": 10.0, "c": 20.0}
    points, labels, drives = [], [], []
    for drive in range(4):
        for label, center in centers.items():
            for _ in range(3):
                shift = 10.0 if drive == 0 and label != "c" else 0.0
                points.append([center + shift + 0.01 * len(points)])
                labels.append(label)
                drives.append(str(drive))
    named = [{"a": "b", "b": "c"}.get(label, label) if drive == "0" else label
             for label, drive in zip(labels, drives, strict=True)]  # fmt: skip
    wanted = normalized_mutual_info_score(labels, named, average_method="geometric")
    assert nmi_across_groups(np.array(points), labels, drives) == pytest.approx(wanted)

"""R@K, NMI and chance: by loops, by hand, and beside torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score
from torchmetrics.retrieval import RetrievalHitRate

from caf_video.errors import InputError
from caf_video.retrieval import chance_recall, normalized_mutual_information, recall_at_k


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

"""The batch sampler: P classes, K different samples of each, the same for the same seed."""

from collections import Counter

import pytest

from caf_video.errors import InputError
from caf_video.metric_learning import PKBatchSampler

LABELS = [f"class {position % 7}" for position in range(7 * 9)]


def sampler_of(labels=LABELS, **changes) -> PKBatchSampler:
    settings = dict(classes_per_batch=4, samples_per_class=3, batches_per_epoch=20, seed=5)
    return PKBatchSampler(labels, **{**settings, **changes})


def batches_of(sampler: PKBatchSampler, *, epochs: int = 1) -> list[list[int]]:
    return [sampler.batch(number) for number in range(epochs * len(sampler))]


def test_a_batch_holds_p_classes_with_k_different_samples_each() -> None:
    batches = batches_of(sampler_of())
    assert len(batches) == len(sampler_of()) == 20
    for batch in batches:
        assert len(set(batch)) == 12
        assert sorted(Counter(LABELS[position] for position in batch).values()) == [3] * 4


def test_every_class_and_every_sample_is_drawn_equally_often() -> None:
    drawn = Counter(
        position for batch in batches_of(sampler_of(batches_per_epoch=2000)) for position in batch
    )
    expected = 2000 * 12 / len(LABELS)
    assert len(drawn) == len(LABELS)
    assert max(abs(count - expected) for count in drawn.values()) < 6 * expected**0.5


def test_the_same_seed_and_number_give_the_same_batch_whatever_came_before() -> None:
    forwards = batches_of(sampler_of(), epochs=3)
    one = sampler_of(batches_per_epoch=7)
    assert [one.batch(number) for number in reversed(range(60))] == forwards[::-1]
    assert batches_of(sampler_of(seed=6), epochs=3) != forwards
    assert len({tuple(batch) for batch in forwards}) == 60


def test_a_small_class_gives_all_it_has_once() -> None:
    labels = ["rare"] * 2 + ["common"] * 10 + ["other"] * 10
    for batch in batches_of(sampler_of(labels, classes_per_batch=3, samples_per_class=5)):
        counts = Counter(labels[position] for position in batch)
        assert counts == {"rare": 2, "common": 5, "other": 5}
        assert len(set(batch)) == len(batch)


def test_with_fewer_than_p_classes_all_are_drawn() -> None:
    for batch in batches_of(sampler_of(["a"] * 4 + ["b"] * 4, classes_per_batch=10)):
        assert len(batch) == 6


def test_a_pass_draws_as_many_samples_as_there_are() -> None:
    assert len(sampler_of(batches_per_epoch=None)) == 6  # of 12 samples: 63 take 5.25
    # Classes of 2, 10 and 10 give 2, 5 and 5, and two of the three 8 on average: 22 take 2.75.
    labels = ["rare"] * 2 + ["common"] * 10 + ["other"] * 10
    few = sampler_of(labels, classes_per_batch=2, samples_per_class=5, batches_per_epoch=None)
    assert len(few) == 3


def test_two_samples_of_two_classes_are_enough() -> None:
    for batch in batches_of(sampler_of(classes_per_batch=2, samples_per_class=2)):
        assert sorted(Counter(LABELS[position] for position in batch).values()) == [2, 2]


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        (["a", "a", "b"], {}, "class 'b' has one sample"),
        (["a", "a"], {}, "1 class to draw"),
        ([], {}, "0 class to draw"),
        (LABELS, {"classes_per_batch": 1}, "1 classes x 3 samples"),
        (LABELS, {"samples_per_class": 1}, "4 classes x 1 samples"),
        (LABELS, {"batches_per_epoch": 0}, "0 batches an epoch"),
    ],
)
def test_what_cannot_form_pairs_is_refused(labels, changes, message) -> None:
    with pytest.raises(InputError, match=message):
        sampler_of(labels, **changes)

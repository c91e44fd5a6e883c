"""One of several processes that divide a work: what schedulers say, and a division worked out."""

import pytest

from caf_video.errors import InputError
from caf_video.shards import WHOLE, Shard, is_first_process, items_of, shard_of

ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}
STEP = {"SLURM_PROCID": "1", "SLURM_NTASKS": "3"}
TORCHRUN = {"RANK": "2", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, WHOLE),
        (TORCHRUN, Shard(2, 8)),
        (TORCHRUN | STEP, Shard(1, 3)),
        (TORCHRUN | STEP | ARRAY, Shard(2, 4)),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "4"}, Shard(3, 4)),
        ({"RANK": "2"}, WHOLE),
    ],
)
def test_a_scheduler_says_which_shard(environment, shard) -> None:
    assert shard_of(None, environment) == shard
    assert shard_of("2/5", environment) == Shard(1, 5)  # what is asked for counts


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "4", "a/b", "-1/4", "1/4/2", ""])
def test_what_is_no_shard_is_refused(text) -> None:
    with pytest.raises(InputError, match="wanted I/N"):
        shard_of(text, {})


def test_an_array_with_gaps_is_refused() -> None:
    environment = {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "4"}
    with pytest.raises(InputError, match="without gaps, or say --shard"):
        shard_of(None, environment)


def test_sessions_stay_together_and_the_dearest_are_dealt_first() -> None:
    # Sessions of 5, 4, 3 and 2 seconds on two shards: 5 + 2 and 4 + 3.
    items = [("a", 2.0), ("b", 4.0), ("a", 3.0), ("c", 3.0), ("d", 2.0)]
    parts = [
        items_of(items, Shard(number, 2), together=lambda one: one[0], cost=lambda one: one[1])
        for number in range(2)
    ]
    assert parts == [[items[0], items[2], items[4]], [items[1], items[3]]]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_shards_are_all_of_the_work_and_nothing_twice(count) -> None:
    items = [(number % 5, number * 7 % 11) for number in range(40)]
    parts = [
        items_of(items, Shard(number, count), together=lambda one: one[0], cost=lambda one: one[1])
        for number in range(count)
    ]
    assert sorted(item for part in parts for item in part) == sorted(items)
    groups = [{group for group, _ in part} for part in parts]
    assert sum(len(some) for some in groups) == 5


def test_one_process_of_a_training_is_the_first() -> None:
    assert is_first_process({})
    assert is_first_process({"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "0"})
    # The second node's first process, as torchrun and as Lightning's own launcher name it.
    assert not is_first_process({"RANK": "2", "LOCAL_RANK": "0"})
    assert not is_first_process({"NODE_RANK": "1"})
    assert not is_first_process({"LOCAL_RANK": "1"})

"""Batches: which samples, what is drawn of them, again after a stop and in any process."""

import itertools
import os
import types
from collections import Counter

import numpy as np
import pytest
import torch

from caf_video.data.features import FeatureStore
from caf_video.errors import CafVideoError, InputError
from caf_video.metric_learning import PKBatchSampler
from caf_video.training import (
    ClipMaps,
    EvaluationBatches,
    ShuffledSampler,
    TrainingBatches,
)


@pytest.fixture(params=["memory", "disk"])
def maps(request, store_folder) -> ClipMaps:
    return maps_of(store_folder, 1.0 if request.param == "memory" else 0.0)


LABELS = [0] * 6 + [1] * 6 + [2] * 6
IDS = [f"train/{label}_{number}" for label in ("left", "right", "stop") for number in range(6)]


def maps_of(folder, memory_gb: float = 1.0) -> ClipMaps:
    maps = ClipMaps(FeatureStore.open(folder), IDS, memory_gb=memory_gb)
    assert maps.in_memory is (memory_gb > 0)
    return maps


def training(maps: ClipMaps, *, length: int = 4, **settings) -> TrainingBatches:
    sampler = PKBatchSampler(
        [str(label) for label in LABELS],
        classes_per_batch=2,
        samples_per_class=3,
        batches_per_epoch=length,
        seed=7,
    )
    return TrainingBatches(maps, LABELS, sampler, **{"seed": 7, **settings})


def copied(batches) -> list[tuple[torch.Tensor, ...]]:
    return [tuple(part.clone() for part in batch) for batch in batches]


def assert_same(one, other) -> None:
    assert len(one) == len(other)
    for batch, wanted in zip(one, other, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch, wanted, strict=True))


def test_a_training_batch_is_one_stored_frame_of_every_segment(maps, store_folder) -> None:
    store = FeatureStore.open(store_folder)
    drawn = Counter()
    for batch in itertools.chain(*(training(maps, length=20) for _ in range(2))):
        assert batch.inputs.shape == (6, 3, 6, 2, 3)
        assert batch.inputs.dtype == torch.float32
        assert batch.labels.tolist() == [LABELS[position] for position in batch.positions]
        for clip, position in zip(batch.inputs, batch.positions.tolist(), strict=True):
            stored = store.read(IDS[position]).feature_maps.float()  # (t, k, c, h, w)
            frames = (clip[:, None] == stored).all(dim=(2, 3, 4))
            assert (frames.sum(dim=1) == 1).all()
            drawn[tuple(frames.int().argmax(dim=1).tolist())] += 1
    assert len(drawn) > 20  # of 27: each segment draws for itself


def test_evaluation_gives_every_clip_once_in_order_with_its_middle_frames(maps, store_folder):
    store = FeatureStore.open(store_folder)
    batches = EvaluationBatches(maps, LABELS, batch_size=7)
    seen = copied(batches)
    assert [len(labels) for _, labels, _ in seen] == [7, 7, 4] and len(batches) == 3
    assert torch.cat([positions for *_, positions in seen]).tolist() == list(range(18))
    assert torch.cat([labels for _, labels, _ in seen]).tolist() == LABELS
    wanted = torch.stack([store.read(name).feature_maps[:, 1].float() for name in IDS])
    assert torch.equal(torch.cat([inputs for inputs, *_ in seen]), wanted)


def test_memory_and_disk_give_the_same_batches(store_folder) -> None:
    held, read = maps_of(store_folder), maps_of(store_folder, memory_gb=0.0)
    assert_same(copied(training(held)), copied(training(read)))


def test_maps_lie_channels_last_as_one_product_wants_them(maps) -> None:
    batch = next(iter(training(maps)))
    assert batch.inputs.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_the_next_batch_overwrites_the_maps_and_nothing_else(maps) -> None:
    first, second = itertools.islice(training(maps), 2)
    assert torch.equal(first.inputs, second.inputs)
    assert not torch.equal(first.positions, second.positions)


def test_a_pass_is_an_epoch_and_the_next_one_goes_on(maps) -> None:
    batches, whole = training(maps, length=4), training(maps, length=8)
    assert len(batches) == 4
    assert_same(copied(batches) + copied(batches), copied(whole))


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_it_goes_on_from_any_batch_with_what_it_would_have_given(maps, stop) -> None:
    whole = training(maps)
    uninterrupted = copied(whole) + copied(whole)
    batches = training(maps)
    passes = itertools.chain(batches, batches)
    copied(itertools.islice(passes, stop))
    resumed = training(maps)
    resumed.load_state_dict(batches.state_dict())
    rest = copied(resumed)
    assert_same(rest, uninterrupted[stop : stop + len(rest)])
    assert (stop + len(rest)) % 4 == 0  # up to the end of the epoch


def test_processes_share_the_batches_out(maps) -> None:
    whole = copied(training(maps))
    shares = [copied(training(maps, rank=rank, world_size=4)) for rank in range(4)]
    for rank, share in enumerate(shares):  # 2, 2, 1 and 1 of the six
        assert_same(share, [tuple(part[rank::4] for part in batch) for batch in whole])


def test_a_batch_is_not_shared_by_more_processes_than_it_has_samples(maps) -> None:
    with pytest.raises(InputError, match="6 samples cannot be shared by 7 processes"):
        next(iter(training(maps, rank=6, world_size=7)))


@pytest.mark.parametrize("world", [1, 2, 4, 5])
def test_processes_share_what_is_evaluated_and_all_have_as_many(maps, world) -> None:
    shares = [
        [
            position
            for batch in EvaluationBatches(maps, LABELS, batch_size=4, rank=rank, world_size=world)
            for position in batch.positions.tolist()
        ]
        for rank in range(world)
    ]
    assert len({len(share) for share in shares}) == 1
    assert {position for share in shares for position in share} == set(range(18))
    assert sum(map(len, shares)) - 18 < world


def test_another_seed_draws_other_frames(maps) -> None:
    one, other = copied(training(maps)), copied(training(maps, seed=8))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(one, other, strict=True))


def test_channel_statistics_are_those_of_the_middle_frames(maps, store_folder) -> None:
    store = FeatureStore.open(store_folder)
    cells = np.stack([store.read(name).feature_maps[:, 1].double().numpy() for name in IDS])
    mean, std = maps.channel_statistics()
    np.testing.assert_allclose(mean, cells.mean(axis=(0, 1, 3, 4)), rtol=1e-5)
    np.testing.assert_allclose(std, cells.std(axis=(0, 1, 3, 4)), rtol=1e-5)


class Constant:
    """A store whose clips are one number all over."""

    value = 0.1

    description = types.SimpleNamespace(timesteps=3, grid=(2, 3), channels=6)

    def read(self, clip_id: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(feature_maps=torch.full((3, 1, 6, 2, 3), self.value).half())


def test_a_channel_that_never_varies_has_deviation_0_whatever_the_rounding() -> None:
    store = Constant()
    for value in torch.linspace(0.1, 3.0, 40).tolist():
        store.value = value
        mean, std = ClipMaps(store, IDS, memory_gb=1.0).channel_statistics()
        assert torch.allclose(mean, torch.tensor(value).half().float())
        assert (std < 1e-3 * value).all()  # and no root of a number below 0


def test_maps_are_held_where_they_just_fit() -> None:
    bytes_of_all = len(IDS) * 3 * 6 * 2 * 3 * 2
    for spare, held in ((0.5, True), (-0.5, False)):
        maps = ClipMaps(Constant(), IDS, memory_gb=(bytes_of_all + spare) / 1e9)
        assert maps.in_memory is held


def test_batches_of_no_clips_are_refused(maps) -> None:
    with pytest.raises(InputError, match="batches of 0 samples"):
        EvaluationBatches(maps, LABELS, batch_size=0)


# --- in other processes -------------------------------------------------------------------------


class Noise:
    """Samples of which all is drawn, each batch in new memory."""

    def __len__(self) -> int:
        return len(LABELS)

    def batch(self, positions, randoms) -> torch.Tensor:
        drawn = [random.random(3) for random in randoms or ()] or np.zeros((len(positions), 3))
        return torch.tensor([[place, *row] for place, row in zip(positions, drawn, strict=True)])


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_that_work_ahead_give_the_same_batches(workers) -> None:
    assert_same(copied(training(Noise(), workers=workers)), copied(training(Noise())))
    ahead, here = (
        EvaluationBatches(Noise(), LABELS, batch_size=5, workers=n) for n in (workers, 0)
    )
    assert_same(copied(ahead), copied(here))


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_with_processes_ahead_it_goes_on_from_the_batch_that_was_given_last(stop) -> None:
    whole = training(Noise())
    uninterrupted = copied(whole) + copied(whole)
    batches = training(Noise(), workers=2)
    copied(itertools.islice(itertools.chain(batches, batches), stop))
    assert batches.state_dict() == {"given": stop}  # not those made ahead
    resumed = training(Noise(), workers=2)
    resumed.load_state_dict(batches.state_dict())
    rest = copied(resumed)
    assert_same(rest, uninterrupted[stop : stop + len(rest)])


class EndsItsProcess(Noise):
    """Samples that take down the process that makes a batch of them."""

    def batch(self, positions, random) -> torch.Tensor:
        os._exit(1)


def test_a_process_that_is_ended_from_outside_says_how_the_training_goes_on() -> None:
    with pytest.raises(CafVideoError, match="^a process that makes batches was .* ckpt_path=last"):
        next(iter(training(EndsItsProcess(), workers=1)))


# --- shuffled ------------------------------------------------------------------------------------


def shuffled(count: int, batch_size: int, seed: int = 3) -> ShuffledSampler:
    return ShuffledSampler(count, batch_size=batch_size, batches_per_epoch=5, seed=seed)


def test_an_epoch_of_shuffled_samples_may_be_a_pass_without_what_is_left_over() -> None:
    whole = ShuffledSampler(17, batch_size=5, batches_per_epoch=None, seed=3)
    assert len(whole) == 3
    assert len({position for number in range(3) for position in whole.batch(number)}) == 15
    assert len(ShuffledSampler(4, batch_size=5, batches_per_epoch=None, seed=3)) == 1


def test_a_pass_takes_no_sample_twice_and_leaves_out_what_fills_no_batch() -> None:
    sampler = shuffled(23, 4)
    assert len(sampler) == 5  # an epoch need not be a pass, which has 5 batches and 3 samples over
    for turn in range(3):
        batches = [sampler.batch(turn * 5 + place) for place in range(5)]
        assert [len(batch) for batch in batches] == [4] * 5
        assert len(set(itertools.chain(*batches))) == 20


def test_passes_differ_and_every_sample_comes_up_in_time() -> None:
    sampler = shuffled(23, 4)
    passes = [list(itertools.chain(*map(sampler.batch, range(5 * n, 5 * n + 5)))) for n in range(9)]
    assert len({tuple(positions) for positions in passes}) == 9
    assert set(itertools.chain(*passes)) == set(range(23))


def test_the_same_seed_and_number_give_the_same_batch_whatever_came_before() -> None:
    one, other = shuffled(23, 4), shuffled(23, 4)
    forwards = [one.batch(number) for number in range(12)]
    assert [other.batch(number) for number in reversed(range(12))] == forwards[::-1]
    assert shuffled(23, 4, seed=4).batch(0) != forwards[0]


def test_fewer_samples_than_a_batch_are_one_batch() -> None:
    sampler = shuffled(3, 4)
    assert [sorted(sampler.batch(number)) for number in range(4)] == [[0, 1, 2]] * 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"count": 0}, "0 samples: wanted"),
        ({"batch_size": 0}, "0 samples in a batch"),
        ({"batches_per_epoch": 0}, "0 batches an epoch"),
    ],
)
def test_numbers_below_one_are_refused(changes, told) -> None:
    settings = {"count": 9, "batch_size": 2, "batches_per_epoch": 3, "seed": 0, **changes}
    with pytest.raises(InputError, match=told):
        ShuffledSampler(settings.pop("count"), **settings)

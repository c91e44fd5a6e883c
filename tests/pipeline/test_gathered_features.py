"""Frames of several clips go through the backbone together, and each clip gets its own back."""

import torch

from caf_video.data.frames import ClipSample
from caf_video.pipeline.extract import gathered_features, sample_features


class Doubling:
    """A backbone whose map is twice the image; it notes how many images came together."""

    def __init__(self) -> None:
        self.together: list[int] = []

    def features(self, images):
        self.together.append(len(images))
        return 2 * images


def sample_of(name: str, timesteps: int, candidates: int) -> ClipSample:
    shape = (timesteps, candidates)
    images = torch.randn(*shape, 3, 4, 4, generator=torch.Generator().manual_seed(len(name)))
    return ClipSample(name, images, torch.zeros(shape).long(), torch.zeros(shape).double())


def test_clips_come_back_in_order_with_their_own_maps_and_failures_between_them() -> None:
    samples = [
        "not read", sample_of("a", 3, 3), "lost", sample_of("bb", 3, 1), sample_of("ccc", 3, 3),
        "crashed", sample_of("dddd", 3, 1),
    ]  # fmt: skip
    for frames, together in ((1, [9, 3, 9, 3]), (10, [12, 12]), (100, [24])):
        backbone = Doubling()
        found = [*gathered_features(backbone, iter(samples), frames)]
        assert backbone.together == together
        for one, sample in zip(found, samples, strict=True):
            if isinstance(sample, str):
                assert one == sample
                continue
            assert one.clip_id == sample.clip_id
            assert torch.equal(one.feature_maps, 2 * sample.images)
            alone = sample_features(Doubling(), sample)
            assert torch.equal(one.feature_maps, alone.feature_maps)


def test_a_clip_that_fails_waits_for_none_and_no_clip_is_read_before_it_is_wanted() -> None:
    asked = []

    def samples():
        for name in ("not read", "a", "b"):
            asked.append(name)
            yield name if name == "not read" else sample_of(name, 3, 1)

    found = gathered_features(Doubling(), samples(), 1)
    assert next(found) == "not read" and asked == ["not read"]
    assert next(found).clip_id == "a" and asked == ["not read", "a"]

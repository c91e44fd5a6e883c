"""Frames of several clips go through the backbone together, and each clip gets its own back."""

import pytest
import torch

from caf_video.data.frames import ClipSample
from caf_video.models.preprocessing import LITE, Normalization, Preprocessing
from caf_video.pipeline.extract import feature_maps, gathered_features, sample_features

AS_THEY_ARE = Preprocessing((32, 32), Normalization("bilinear", (0, 0, 0), (1, 1, 1)))


class Doubling:
    """A backbone whose map is twice the image; it notes how many images came together."""

    def __init__(self) -> None:
        self.together: list[int] = []

    def features(self, images):
        self.together.append(len(images))
        return 2 * images


def sample_of(name: str, timesteps: int, candidates: int) -> ClipSample:
    shape = (timesteps, candidates)
    seeded = torch.Generator().manual_seed(len(name))
    images = torch.randint(0, 256, (*shape, 3, 32, 32), generator=seeded, dtype=torch.uint8)
    return ClipSample(name, images, torch.zeros(shape).long(), torch.zeros(shape).double())


def test_clips_come_back_in_order_with_their_own_maps_and_failures_between_them() -> None:
    samples = [
        "not read", sample_of("a", 3, 3), "lost", sample_of("bb", 3, 1), sample_of("ccc", 3, 3),
        "crashed", sample_of("dddd", 3, 1),
    ]  # fmt: skip
    for frames, together in ((1, [9, 3, 9, 3]), (10, [12, 12]), (100, [24])):
        backbone = Doubling()
        found = [*gathered_features(backbone, AS_THEY_ARE, iter(samples), frames)]
        assert backbone.together == together
        for one, sample in zip(found, samples, strict=True):
            if isinstance(sample, str):
                assert one == sample
                continue
            assert one.clip_id == sample.clip_id
            assert torch.equal(one.feature_maps, 2 * sample.images.float())
            alone = sample_features(Doubling(), AS_THEY_ARE, sample)
            assert torch.equal(one.feature_maps, alone.feature_maps)


def test_a_clip_that_fails_waits_for_none_and_no_clip_is_read_before_it_is_wanted() -> None:
    asked = []

    def samples():
        for name in ("not read", "a", "b"):
            asked.append(name)
            yield name if name == "not read" else sample_of(name, 3, 1)

    found = gathered_features(Doubling(), AS_THEY_ARE, samples(), 1)
    assert next(found) == "not read" and asked == ["not read"]
    assert next(found).clip_id == "a" and asked == ["not read", "a"]


@pytest.mark.parametrize("resized", [None, (40, 48)])
def test_images_come_as_bytes_and_are_normalised_to_the_digit_as_before(resized) -> None:
    preprocessing = Preprocessing((32, 32), LITE, resized)
    video = torch.randint(0, 256, (5, 50, 60, 3), dtype=torch.uint8).numpy()
    images = preprocessing.resize(video)
    assert images.dtype == torch.uint8
    kept = images.clone()
    found = feature_maps(Doubling(), preprocessing, images)
    assert torch.equal(images, kept)
    top, left = ((side - 32) // 2 for side in images.shape[-2:])
    for image, map_ in zip(images, found, strict=True):
        for pixels, of_map in zip(image, map_, strict=True):
            cut = pixels[top : top + 32, left : left + 32].to(torch.float32)
            assert torch.equal(of_map, 2 * ((cut - torch.tensor(127.0)) / torch.tensor(128.0)))
    assert torch.equal(found, 2 * preprocessing(video))

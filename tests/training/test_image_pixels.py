"""Images as samples: the whole of each, or a drawn window, from memory or from disk."""

import numpy as np
import pytest
import torch

from caf_video.data.images import ImageError, LabelledImage, read_image, read_image_set
from caf_video.models.preprocessing import IMAGENET, Preprocessing
from caf_video.training import ImagePixels

WHOLE = Preprocessing((32, 40), IMAGENET)
ENLARGED = Preprocessing((32, 40), IMAGENET, (36, 46))


@pytest.fixture(scope="module")
def images(pictures) -> tuple[LabelledImage, ...]:
    return read_image_set("folder", pictures).split("train")


@pytest.fixture(params=["memory", "disk"])
def memory_gb(request) -> float:
    return 1.0 if request.param == "memory" else 0.0


def test_with_nothing_drawn_an_image_is_as_preprocessing_makes_it(images, memory_gb) -> None:
    for preprocessing in (WHOLE, ENLARGED):  # the latter: its centre
        pixels = ImagePixels(images, preprocessing, memory_gb=memory_gb)
        assert len(pixels) == 18 and pixels.in_memory is (memory_gb > 0)
        batch = pixels.batch([4, 0, 17], None)
        wanted = [preprocessing(read_image(images[n].path)[None]) for n in (4, 0, 17)]
        assert torch.equal(batch, torch.cat(wanted))
        assert batch.is_contiguous(memory_format=torch.channels_last)


def test_what_is_drawn_is_a_window_of_the_enlarged_image_mirrored_or_not(images, memory_gb) -> None:
    pixels = ImagePixels(images, ENLARGED, memory_gb=memory_gb)
    enlarged = ENLARGED.resize(read_image(images[3].path)[None])
    windows = [
        WHOLE.finish(window.flip(3) if mirrored else window)[0]
        for top in range(5)
        for left in range(7)
        for window in [enlarged[:, :, top : top + 32, left : left + 40]]
        for mirrored in (False, True)
    ]
    randoms = [np.random.default_rng(seed) for seed in range(30)]
    seen = set()
    for image in pixels.batch([3] * 30, randoms):
        (found,) = [n for n, window in enumerate(windows) if torch.equal(image, window)]
        seen.add(found)
    assert len(seen) > 15


def test_memory_and_disk_draw_the_same(images) -> None:
    held, read = (
        ImagePixels(images, ENLARGED, memory_gb=gb).batch(
            range(18), [np.random.default_rng(seed) for seed in range(18)]
        )
        for gb in (1.0, 0.0)
    )
    assert torch.equal(held, read)


def test_they_are_held_if_they_fit_to_the_byte(images) -> None:
    needed = 18 * 36 * 46 * 3 / 1e9
    assert ImagePixels(images, ENLARGED, memory_gb=needed).in_memory
    assert not ImagePixels(images, ENLARGED, memory_gb=needed * 0.999).in_memory


def test_an_image_that_cannot_be_read_is_named(make_pictures) -> None:
    folder = make_pictures()
    images = read_image_set("folder", folder).split("train")
    whole = images[5].path.read_bytes()
    images[5].path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="train_blue_5.png"):
        ImagePixels(images, WHOLE, memory_gb=1.0)
    pixels = ImagePixels(images, WHOLE, memory_gb=0.0)
    assert pixels.batch([4], None).shape == (1, 3, 32, 40)
    with pytest.raises(ImageError, match="train_blue_5.png"):
        pixels.batch([4, 5], None)

"""Windows of an image against all windows it has; the halves of preprocessing against the whole."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from caf_video.errors import InputError
from caf_video.models.augmentation import random_window
from caf_video.models.preprocessing import IMAGENET, LITE, Preprocessing


@pytest.fixture
def image(generator: torch.Generator) -> torch.Tensor:
    return torch.randint(256, (3, 5, 7), dtype=torch.uint8, generator=generator)


def test_every_window_comes_up_as_it_is_and_mirrored_about_equally_often(image) -> None:
    windows = {
        image[:, top : top + 4, left : left + 5].flip(-1 if mirrored else ()).numpy().tobytes(): key
        for key in itertools.product(range(2), range(3), (False, True))
        for top, left, mirrored in [key]
    }
    random = np.random.default_rng(0)
    drawn = Counter(
        windows[random_window(image, (4, 5), random).numpy().tobytes()] for _ in range(1200)
    )
    assert len(drawn) == 2 * 3 * 2
    assert all(60 < count < 140 for count in drawn.values())


def test_the_same_random_numbers_draw_the_same_window(image) -> None:
    one, other = ([random_window(image, (2, 3), np.random.default_rng(seed)) for seed in range(9)]
                  for _ in range(2))  # fmt: skip
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_the_only_window_of_its_own_size_is_the_image(image) -> None:
    random = np.random.default_rng(1)
    drawn = {random_window(image, (5, 7), random).numpy().tobytes() for _ in range(20)}
    assert drawn == {image.numpy().tobytes(), image.flip(2).numpy().tobytes()}


def test_a_window_larger_than_the_image_is_refused(image) -> None:
    with pytest.raises(InputError, match=r"image of \(5, 7\) has no window of \(6, 6\)"):
        random_window(image, (6, 6), np.random.default_rng(0))


@pytest.mark.parametrize("normalization", [IMAGENET, LITE])
@pytest.mark.parametrize("resized", [None, (40, 50)])
def test_resizing_now_and_finishing_later_is_preprocessing(normalization, resized) -> None:
    frames = np.random.default_rng(0).integers(256, size=(2, 60, 45, 3), dtype=np.uint8)
    preprocessing = Preprocessing((32, 36), normalization, resized)
    halfway = preprocessing.resize(frames)
    assert halfway.dtype == torch.uint8 and halfway.shape == (2, 3, *(resized or (32, 36)))
    assert torch.equal(preprocessing.finish(halfway), preprocessing(frames))

"""GIF and WebP: as fast as life, whole or not at all."""

from itertools import repeat

import numpy as np
import pytest
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering import RenderingError, moving_writer, write_moving
from caf_video.rendering.animation import MOST_FRAMES


def frames(count: int, width: int = 40) -> list[np.ndarray]:
    return [np.full((30, width, 3), 20 + 9 * number, np.uint8) for number in range(count)]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "A.GIF"])
@pytest.mark.parametrize(("fps", "kept"), [(5, 1), (12.5, 1), (25, 2), (30, 3)])
def test_frames_beyond_what_an_animation_needs_are_left_out_and_life_is_as_fast(
    tmp_path, name, fps, kept
) -> None:
    write_moving(tmp_path / name, frames(10), fps=fps)
    with Image.open(tmp_path / name) as moving:
        assert moving.n_frames == -(-10 // kept)
        for place in range(moving.n_frames):
            moving.seek(place)
            shade = np.asarray(moving.convert("RGB")).mean()
            assert shade == pytest.approx(20 + 9 * kept * place, abs=4)
            # hundredths of a second are all that a GIF can say
            assert moving.info["duration"] == pytest.approx(1000 * kept / fps, abs=10)


def test_a_wide_frame_is_drawn_narrower(tmp_path) -> None:
    write_moving(tmp_path / "a.webp", frames(2, width=1920), fps=5)
    with Image.open(tmp_path / "a.webp") as moving:
        assert moving.size == (960, 15)


def test_what_went_wrong_leaves_nothing(tmp_path) -> None:
    with pytest.raises(InputError, match="too many for a gif"):
        write_moving(tmp_path / "a.gif", repeat(frames(1)[0], MOST_FRAMES + 1), fps=5)
    with pytest.raises(RenderingError, match="no frames"):
        write_moving(tmp_path / "a.gif", [], fps=5)
    with pytest.raises(InputError, match="uint8"):
        write_moving(tmp_path / "a.webp", [np.zeros((3, 4, 3))], fps=5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "fps"), [("a.avi", 5), ("a.gif", 0), ("a.webp", float("inf"))])
def test_a_suffix_or_a_rate_that_is_none_is_an_error(tmp_path, name, fps) -> None:
    with pytest.raises(InputError, match=name):
        moving_writer(tmp_path / name, fps=fps)

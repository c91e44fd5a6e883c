"""What the pages are made of: films, charts, and data that nothing ends."""

import json

import numpy as np
import pytest
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering import film_width, line_chart, write_film
from caf_video.rendering.page import json_block
from caf_video.rendering.page_charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH


def points_of(line) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in line.points.split()]


def test_a_line_goes_through_its_points() -> None:
    chart = line_chart(
        "d", {"d": ([0, 5, 10], [0.0, 1.0, 0.5])}, levels={"half": 0.5}, spans=[(5, 20)]
    )
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    floor = HEIGHT - BOTTOM
    assert points_of(chart.lines[0]) == [
        (LEFT, floor), (LEFT + across / 2, floor - up), (LEFT + across, floor - up / 2)
    ]  # fmt: skip
    assert chart.levels == [("half", floor - up / 2)]
    assert chart.spans == [(LEFT + across / 2, LEFT + across)]  # no farther than the axis
    places = {tick.text: tick.place for tick in chart.y_ticks}
    assert places["0"] == floor and places["1"] == TOP and len(places) <= 7


@pytest.mark.parametrize("values", [[3.0, 3.0], [1e-9, 2e-9], [-5e6, 7e6], [0.9987, 0.9991]])
def test_ticks_cover_all_values_and_tell_them_apart(values) -> None:
    chart = line_chart("d", {"d": ([0, 1], values)})
    ticks = [float(tick.text) for tick in chart.y_ticks]
    assert 2 <= len(ticks) <= 8 and len(set(ticks)) == len(ticks)
    for _, y in points_of(chart.lines[0]):
        assert TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1


def test_what_is_not_finite_is_left_out_and_nothing_is_no_error() -> None:
    chart = line_chart("d", {"d": ([0, 1, 2], [1.0, float("nan"), 2.0])})
    assert len(points_of(chart.lines[0])) == 2
    assert points_of(line_chart("d", {"d": ([], [])}).lines[0]) == []


def test_a_film_is_its_frames_in_a_row(tmp_path) -> None:
    frames = [np.full((40, 80, 3), level, np.uint8) for level in (30, 120, 210)]
    assert write_film(tmp_path / "f.jpg", frames, 160) == (160, 80)
    with Image.open(tmp_path / "f.jpg") as picture:
        assert picture.size == (480, 80)
        levels = [int(np.asarray(picture)[40, 160 * step + 80, 0]) for step in range(3)]
    assert levels == pytest.approx([30, 120, 210], abs=3)
    with pytest.raises(InputError, match="of one size"):
        write_film(tmp_path / "f.jpg", [frames[0], frames[1][:20]], 160)


def test_many_films_are_small_and_few_are_large() -> None:
    widths = [film_width(films, 3, 16 / 9, bytes_at_most=140e6) for films in (10, 4000, 10**6)]
    assert widths[0] == 320 and widths[2] == 128 and 200 < widths[1] < 320
    assert all(width % 2 == 0 for width in widths)


def test_two_thousand_clips_of_a_busy_road_stay_within_the_bytes(tmp_path) -> None:
    """Noise of a road's spectrum, 1/f: what a film takes for each pixel, at the most."""
    width = film_width(4000, 3, 16 / 9, bytes_at_most=140e6)
    random = np.random.default_rng(0)
    fy, fx = np.meshgrid(np.fft.fftfreq(360), np.fft.fftfreq(640), indexing="ij")
    white = np.fft.fft2(random.normal(size=(360, 640)))
    noise = np.fft.ifft2(white / np.maximum(np.hypot(fx, fy), 1 / 640)).real
    frame = (128 + 50 * (noise - noise.mean()) / noise.std()).clip(0, 255).astype(np.uint8)
    write_film(tmp_path / "f.jpg", [np.stack([frame] * 3, -1)] * 3, width)
    assert (tmp_path / "f.jpg").stat().st_size * 4000 < 150e6


def test_data_in_a_page_end_no_script_and_come_back_as_they_were() -> None:
    data = {"</script>": ["<!--", "&amp;", "é \u2028", 0.1, None, True]}
    block = json_block(data)
    assert not set("<>&\u2028") & set(block)
    assert json.loads(block) == data
    with pytest.raises(ValueError):
        json_block({"distance": float("nan")})

"""A recording for rerun's viewer: what is in it, and what is said where it cannot be."""

import sys
from pathlib import Path

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.rendering import Recording
from caf_video.rendering.contours import contour_lines


def test_without_the_package_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(InputError, match=r"pip install 'caf_video\[rerun\]'"):
        Recording(tmp_path / "a.rrd")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.rrd"):
        Recording(tmp_path / "a.mp4")


def test_a_line_closes_around_the_hot_pixels() -> None:
    heat = np.zeros((8, 12), np.float32)
    heat[2:5, 3:8] = 1.0
    (line,) = contour_lines(heat, 1.0, (0.5,))
    assert line[:, 0].min() == pytest.approx(2.5, abs=0.1)
    assert line[:, 0].max() == pytest.approx(7.5, abs=0.1)
    assert (line[:, 1].min(), line[:, 1].max()) == pytest.approx((1.5, 4.5), abs=0.1)


def test_a_recording_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    path = tmp_path / "a.rrd"
    with pytest.raises(RuntimeError), Recording(path) as recording:
        recording.value("a", 0.0, 1.0)
        raise RuntimeError
    assert not path.exists()
    frame, heat = np.full((8, 12, 3), 90, np.uint8), np.eye(8, 12, dtype=np.float32)
    with Recording(path) as recording:
        for seconds in (0.0, 0.5):
            recording.frame("drive.mp4/frame", seconds, frame)
            recording.heat("drive.mp4/frame/heat", seconds, heat)
            recording.heat("drive.mp4/frame/none", seconds, np.zeros_like(heat))
            recording.value("similarity", seconds, 0.25)
    stored = path.read_bytes()
    assert stored.startswith(b"RRF2")

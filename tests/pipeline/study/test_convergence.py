"""The loop's path beside the exact answer: its losses, its end, and the film."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from caf_video.attention import explain
from caf_video.attention.solvers.descent import PRESETS
from caf_video.data.images import read_image
from caf_video.errors import CafVideoError, InputError
from caf_video.models.backbones import Backbone
from caf_video.pipeline.study import convergence
from caf_video.pipeline.study.convergence import (
    Descent,
    read_frames,
    require_film,
    study_convergence,
    write_film,
)
from caf_video.rendering import write_video


def test_the_path_is_that_of_the_loop_and_ends_near_the_exact_answer(
    pictures: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "tf", replace(PRESETS["tf"], max_steps=60))
    monkeypatch.setattr(convergence, "FRAMES", 6)
    target = pictures / "1.png"
    found = study_convergence(target, backbone, starts=2)
    frame = read_image(target)
    maps = backbone.features(backbone.preprocessing(backbone.size_for(64, 96))(frame[None]))
    network = nn.Sequential(nn.Identity(), backbone.tail)
    exact = explain(network, maps, layer="0", axes="n c h w")
    assert [one["start"] for one in found.study.record["paths"]] == [0, 1]
    for one in found.study.record["paths"]:
        loop = explain(
            network, maps, layer="0", axes="n c h w", solver="descent", preset="tf",
            seed=one["start"],
        )  # fmt: skip
        assert len(one["losses"]) == int(loop.steps[0]) == len(one["cosines"])
        assert one["losses"][-1] == pytest.approx(float(loop.losses[0]), rel=1e-3)
        assert one["exact_loss"] == pytest.approx(float(exact.losses[0]), rel=1e-5)
        assert min(one["losses"]) >= one["exact_loss"] * (1 - 1e-4)
        assert one["cosines"][-1] > one["cosines"][0]
    film = tmp_path / "film.gif"
    write_film(film, found.film)
    with Image.open(film) as written:
        assert 3 < written.n_frames < 60 and written.width == min(960, found.film[0].width)


def test_a_filter_is_close_from_where_it_stays_close() -> None:
    def steps(cosines: list[float]) -> int | None:
        line = np.array(cosines)
        grid = np.zeros((len(line), 1, 1), np.float32)
        return Descent(0, 0, grid, line, line, grid[0], 1.0, True).steps_until_close

    assert steps([0.2, 0.995, 0.5, 0.992, 0.999]) == 3
    assert steps([0.995, 0.999]) == 0
    assert steps([0.995, 0.98]) is None


def test_the_frames_of_a_video_are_the_middles_of_its_parts(tmp_path: Path) -> None:
    video = tmp_path / "shades.mp4"
    write_video(video, [np.full((32, 48, 3), 20 * n, np.uint8) for n in range(12)], fps=4)
    shades = [frame.mean() for frame in read_frames(video, 3)]
    assert shades == pytest.approx([40, 120, 200], abs=4)  # frames 2, 6 and 10
    broken = tmp_path / "broken.bin"
    broken.write_bytes(b"neither")
    with pytest.raises(InputError, match="is no picture .* and no video"):
        read_frames(broken, 3)
    with pytest.raises(CafVideoError, match="no image at"):
        read_frames(tmp_path / "missing.png", 3)


def test_a_film_of_another_format_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a film is written as .mp4, .gif, .webp"):
        require_film(tmp_path / "film.avi")
    assert require_film(tmp_path / "new" / "film.mp4").parent.is_dir()
    assert torch.is_grad_enabled() and convergence.FRAMES > 1

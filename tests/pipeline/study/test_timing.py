"""Timing: every way is timed in every turn, and ratios are of one turn."""

from itertools import count

import numpy as np
import pytest

from caf_video.errors import InputError
from caf_video.pipeline.study import timing
from caf_video.pipeline.study.timing import WAYS, study_timing


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a second later than the one before; ways cost nothing else."""
    ticks = count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(ticks)))
    answers = {"fast descent": (40, "descent"), "vanilla descent": (4, "descent")}
    monkeypatch.setattr(
        timing, "_ways", lambda *_: {way: lambda way=way: answers.get(way, (1, "")) for way in WAYS}
    )


@pytest.mark.usefixtures("clock")
def test_every_way_is_timed_in_turns_and_vanilla_is_scaled_to_fast_descents_steps() -> None:
    study = study_timing(networks=["googlenet", "vgg16"], repeats=3, vanilla_steps=4)
    found = study.record["timings"]
    assert [(one["network"], one["way"]) for one in found] == [
        (network, way) for network in ("googlenet", "vgg16") for way in WAYS
    ]
    for one in found:
        expected = 10.0 if one["way"] == "vanilla descent" else 1.0  # 40 steps for 4
        assert one["seconds"] == [expected] * 3
        np.testing.assert_allclose(one["ratios"], [expected] * 3)
    rows = {(row[0], row[1]): row for row in study.tables[0].rows}
    assert rows["vgg16", "vanilla descent"][2:] == [
        "10000 (10000 … 10000)", "10 (10 … 10)", "–",
    ]  # fmt: skip


def test_the_ways_are_those_of_the_package() -> None:
    ways = timing._ways("googlenet", "none", (64, 64), 2)
    assert tuple(ways) == WAYS
    assert ways["forward pass"]() == (1, "") and ways["Grad-CAM"]() == (1, "")
    steps, solver = ways["explain"]()
    assert solver == "exact" and steps < 10
    assert ways["fast descent"]()[0] > 50
    assert ways["vanilla descent"]() == (2, "descent")


def test_an_unknown_network_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="no network 'vgg19' in this study: there are googlenet"):
        study_timing(networks=["vgg19"])

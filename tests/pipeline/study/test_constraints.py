"""Four constraints: entropy and modes of maps made by hand, and every row of a small study."""

import math
from pathlib import Path

import numpy as np
import pytest

from caf_video.data.images import read_image_set
from caf_video.errors import InputError
from caf_video.models.backbones import Backbone
from caf_video.pipeline.study.constraints import (
    CONSTRAINTS,
    count_modes,
    entropy_share,
    study_constraints,
)


def test_entropy_is_one_of_a_uniform_map_and_zero_of_one_cell() -> None:
    assert entropy_share(np.ones((3, 5))) == pytest.approx(1)
    one = np.zeros((3, 5))
    one[1, 2] = -4  # of either sign
    assert entropy_share(one) == 0
    half = np.zeros((4, 4))
    half[0, 0] = half[3, 3] = 1
    assert entropy_share(half) == pytest.approx(math.log(2) / math.log(16))


@pytest.mark.parametrize(
    ("rows", "modes"),
    [
        ([[1, 1], [1, 1]], 1),
        ([[9, 0, 0], [0, 0, 0], [0, 0, 8]], 2),
        ([[9, 0, 0], [0, 0, 0], [0, 0, 4]], 1),  # below half of the maximum
        ([[9, 8, 0], [0, 0, 7]], 1),  # 8 neighbours: one slope
        ([[9, 0, 8, 8, 0, 9]], 3),  # a plateau is one
        ([[9, 8, 8, 0, 9]], 2),  # a plateau beside something higher is none
        ([[-9, 0, 8]], 2),  # of either sign
    ],
)
def test_modes_are_tops_of_half_the_maximum_or_more(rows: list[list[int]], modes: int) -> None:
    assert count_modes(np.array(rows, dtype=float)) == modes


def test_every_constraint_has_a_row_for_one_object_and_for_two(
    pictures: Path, backbone: Backbone
) -> None:
    study = study_constraints(read_image_set("folder", pictures), backbone, count=2)
    (table,) = study.tables
    expected = [[kind, c] for kind in ("one object", "two objects") for c in CONSTRAINTS]
    assert [list(row[:2]) for row in table.rows] == expected
    found = study.record["images"]
    assert [one["image_id"] for one in found[::4]] == ["0.png", "4.png", "1.png", "5.png"]
    for one in found:
        total = np.abs(one["heat"]).sum()
        norm = np.linalg.norm(one["heat"]) if one["constraint"] == "l2" else total
        assert norm == pytest.approx(1, abs=1e-3)
        assert one["loss"] >= 0 and 0 <= one["iou"] <= 1
    rows = {(row[0], row[1]): row for row in table.rows}
    losses = [
        one["loss"] for one in found if (one["kind"], one["constraint"]) == ("one object", "l2")
    ]
    assert rows["one object", "l2"][4].startswith(f"{np.mean(losses):.2f} [")


def test_a_set_with_neither_one_box_nor_two_is_refused(pictures: Path, backbone: Backbone) -> None:
    (pictures / "images.csv").write_text("image,label\n0.png,a\n")
    with pytest.raises(InputError, match="has one box or two: nothing to compare"):
        study_constraints(read_image_set("folder", pictures), backbone)

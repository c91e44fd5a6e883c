"""Rows of many parts, joined: what concatenation gives, and on disk where they are many numbers."""

from pathlib import Path

import numpy as np
import pytest

from caf_video.errors import CafVideoError
from caf_video.pipeline.localize.parts import FEW_BYTES, Parts, Rows


@pytest.mark.parametrize(
    ("kind", "shape", "on_disk"),
    [
        (np.float64, (255,), True),
        (np.float32, (FEW_BYTES // 4 + 1,), True),
        (np.float32, (FEW_BYTES // 4,), False),
        (np.float64, (1,), False),
        (np.int64, (), False),
        (np.float64, (3, 50), True),
    ],
)
def test_rows_are_those_of_the_parts_one_below_the_other(
    tmp_path: Path, kind: type, shape: tuple[int, ...], on_disk: bool
) -> None:
    random = np.random.default_rng(0)
    parts = [(100 * random.random((count, *shape))).astype(kind) for count in (3, 1, 0, 32)]
    parts[0] = np.asfortranarray(parts[0])
    for beside, mapped in ((tmp_path / "out.json", on_disk), (None, False)):
        rows = Parts(beside, {}).rows()
        for part in parts:
            rows.add(part)
        joined = rows.joined()
        rows.close()
        assert joined.dtype == kind and isinstance(joined, np.memmap) == mapped
        np.testing.assert_array_equal(joined, np.concatenate(parts))
        assert not list(tmp_path.iterdir())  # the file has no name


def test_a_folder_that_cannot_be_written_to_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(CafVideoError, match=r"^cannot write .*nowhere[^\n]*$"):
        Rows(tmp_path / "nowhere").add(np.zeros((2, 255)))

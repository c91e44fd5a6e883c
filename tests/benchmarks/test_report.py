"""The table tells what was found, and what was missed."""

import json
from pathlib import Path

from benchmarks.report import Row, Timing, at_least, at_most, write


def test_a_row_is_judged_by_its_median_or_by_its_worst_value() -> None:
    values = [1.0, 2.0, 9.0]
    assert Row("case", "ratio", values, at_most(2)).reached is True
    assert Row("case", "error", values, at_most(2), worst=True).reached is False
    assert Row("case", "correlation", values, at_least(2), worst=True).value == 1.0
    assert Row("case", "speed-up", values, at_least(2)).reached is True
    assert Row("case", "by the way", values).reached is None


def test_both_files_hold_what_was_found(tmp_path: Path) -> None:
    rows = [
        Row("net", "faster", [3.0, 4.0, 5.0], at_least(4, "×"), unit="×"),
        Row("net", "loss of |f|", [1e-3], at_most(1e-4), worst=True, note="64 starts"),
    ]
    timings = [Timing("net", "solver", [0.002, 0.004], [0.003, 0.005], calls=9, share=1.0)]
    write(tmp_path, rows, timings, {"processor": "a fast one"}, ["Networks are seeded."])
    table = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "| net | faster | 4× | 3.5 … 4.5 | ≥ 4× | yes |" in table
    missed = r"| net | loss of \|f\| (64 starts) | 0.001 | 0.001 … 0.001 | ≤ 0.0001 | **no** |"
    assert missed in table
    assert "| net | solver | 3 (2.5 … 3.5) | 4 (3.5 … 4.5) |" in table
    assert "* processor: a fast one" in table and "* Networks are seeded." in table
    found = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert found["rows"][1]["reached"] is False and found["rows"][0]["values"] == [3.0, 4.0, 5.0]
    assert found["timings"][0]["calls"] == 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmarks.json", "benchmarks.md"]

"""Exported embeddings of a run that is known on paper."""

import csv
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from caf_video.data.manifest import write_manifest
from caf_video.errors import CafVideoError
from caf_video.files import remember_ours
from caf_video.pipeline.export import COLUMNS, export


def test_the_array_and_the_table_hold_the_clips_in_one_order(known_run, tmp_path) -> None:
    export(known_run.folder, tmp_path / "out")
    array = np.load(tmp_path / "out" / "embeddings.npy")
    assert array.dtype == np.float32
    with (tmp_path / "out" / "clips.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["id"] for row in rows] == list(known_run.nearest)
    for row, embedding in zip(rows, array, strict=True):
        name, clip = row["id"], known_run.clip(row["id"])
        np.testing.assert_allclose(embedding, known_run.embedding(name), rtol=2e-3)
        assert (row["path"], row["label"], row["session"]) == (
            str(clip.path), clip.label, clip.session
        )  # fmt: skip
        assert (float(row["start"]), row["end"], row["split"]) == (0.0, "", "test")
        nearest = known_run.nearest[name]
        assert row["nearest"] == nearest
        assert row["correct"] == str(name in known_run.right)
        wanted = math.dist(known_run.embedding(name), known_run.embedding(nearest))
        assert float(row["distance"]) == pytest.approx(wanted, rel=2e-2)


def test_the_readme_tells_of_every_column_and_of_what_is_left_out(make_known_run, tmp_path) -> None:
    known = make_known_run()
    clips = [replace(c, split="test") if c.clip_id == "train_left_a" else c for c in known.clips]
    write_manifest(clips, known.store.manifest_path)
    done = export(known.folder, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` | " in text for name in COLUMNS)
    assert "7 clips of 2 dimensions" in text and "trained on are left out: 1." in text
    assert all(f"`{file.name}`" in text for file in done.files if file.name != "README.md")


def test_without_pyarrow_all_but_the_parquet_file_is_there(
    known_run, tmp_path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = export(known_run.folder, tmp_path)
    assert not done.parquet
    assert {file.name for file in done.files} == {"embeddings.npy", "clips.csv", "README.md"}
    assert "parquet" not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_parquet_holds_the_same_columns_and_the_embeddings(known_run, tmp_path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="an extra that is not installed")
    export(known_run.folder, tmp_path)
    table = parquet.read_table(tmp_path / "clips.parquet")
    assert table.column_names == [*COLUMNS, "embedding"]
    rows = table.to_pylist()
    np.testing.assert_array_equal(
        np.array([row["embedding"] for row in rows], np.float32),
        np.load(tmp_path / "embeddings.npy"),
    )
    assert [row["id"] for row in rows] == list(known_run.nearest)
    assert rows[0]["end"] is None and rows[0]["correct"] is True


def test_a_file_of_a_users_is_not_replaced(known_run, tmp_path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(CafVideoError, match=r"README\.md is there already"):
        export(known_run.folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    (tmp_path / "README.md").unlink()
    export(known_run.folder, tmp_path)
    export(known_run.folder, tmp_path)


def test_neither_a_folder_nor_a_link_of_a_users_is_replaced(known_run, tmp_path) -> None:
    (tmp_path / "clips.csv").mkdir()
    with pytest.raises(CafVideoError, match=r"clips\.csv is there already"):
        export(known_run.folder, tmp_path)
    (tmp_path / "clips.csv").rmdir()
    (tmp_path / "clips.csv").symlink_to("a disk that is not there")
    with pytest.raises(CafVideoError, match=r"clips\.csv is there already"):
        export(known_run.folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["clips.csv"]


def test_no_parquet_file_of_other_embeddings_stays(known_run, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "clips.parquet").write_bytes(b"mine")
    with pytest.raises(CafVideoError, match=r"clips\.parquet is there already"):
        export(known_run.folder, tmp_path)
    remember_ours(tmp_path / "clips.parquet")
    export(known_run.folder, tmp_path)
    assert not (tmp_path / "clips.parquet").exists()

"""The paper's tables from records of `localize`, and how large boxes are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caf_video.cli import main
from caf_video.data.images import read_image_set
from caf_video.errors import InputError
from caf_video.pipeline.study.tables import (
    LAYOUTS,
    read_paper,
    read_results,
    study_box_sizes,
    study_tables,
)


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.01, "high": value + 0.02}


def record(
    backbone: str, trained: str, dataset: str, protocol: str, methods: list[str], **more: Any
) -> dict[str, Any]:
    rows = [
        {
            "protocol": protocol,
            "method": method,
            "gt_known": figure(0.5 + number / 10),
            **({"gated_loc": figure(0.3)} if more else {"top1_loc": figure(0.4 + number / 10)}),
        }
        for number, method in enumerate(methods)
    ]
    settings = {"dataset": dataset, "split": "test", "images": 7}
    return {"settings": settings, "backbone": backbone, "trained": trained, "rows": rows, **more}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Of Table 1 a row and one that the paper has not, of Table 2 and 3 a row; and another file."""
    folder = tmp_path / "results"
    folder.mkdir()
    near = {"cam": {"recall@1": figure(0.55), "nmi": 0.61}}
    for name, one in {
        "v2": record(
            "timm/resnetv2_50.a1h_in1k", "ImageNet", "wsol", "cam", ["grad-cam", "l2-caf"]
        ),
        "own": record("resnet50", "ImageNet", "imagenet", "cam", ["l2-caf"]),
        "simple": record("googlenet", "ImageNet", "imagenet", "simple", ["l2-caf"]),
        "acol": record("vgg16_gap", "acol", "cub", "adl", ["acol", "l2-caf"]),
        "pairs": record("resnet50", "N-pair", "cars", "cam", ["l2-caf"], retrieval=near),
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(one))
    (folder / "else.json").write_text('{"settings": 1}')
    return folder


def lines(markdown: str, number: int) -> list[list[str]]:
    """The rows of a table's Markdown."""
    part = markdown.partition(f"## Table {number}:")[2].partition("## Table")[0]
    rows = [row for row in part.splitlines() if row.startswith("| ")]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[1:]]


def test_every_result_is_in_its_table_and_what_is_missing_is_named(results: Path) -> None:
    study = study_tables(read_results([results]))
    text = study.markdown()
    first = {(row[1], row[3]): row for row in lines(text, 1)}
    assert first["resnetv2_50", "l2-caf"] == [
        "imagenet", "resnetv2_50", "ImageNet", "l2-caf",
        "–", "60.0 [59.0, 62.0]", "–", "50.0 [49.0, 52.0]", "–", "–",
    ]  # fmt: skip
    assert first["resnet50", "l2-caf"][5] == "50.0 [49.0, 52.0]"  # the paper has no such row
    missing = {row[1] for row in lines(text, 1) if row[3] == "missing"}
    assert missing == {"googlenet", "densenet161"}  # that of another protocol is none
    assert "--backbone googlenet --protocol cam" in text
    assert [row[3] for row in lines(text, 2) if row[2] == "acol"] == ["acol", "l2-caf"]
    third = next(row for row in lines(text, 3) if row[3] == "l2-caf")
    assert third[:3] == ["cars", "resnet50", "N-pair"]
    assert (
        third[5] == "61.0" and third[7] == "55.0 [54.0, 57.0]" and third[9] == "30.0 [29.0, 32.0]"
    )
    assert sum(row[3] == "missing" for row in lines(text, 3)) == len(LAYOUTS[2].wanted) - 1
    assert study.record["figures"][0]["rows"][0]["ours"]["gt_known"]["value"] == 0.5


def test_the_papers_figures_stand_beside_ours(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "paper.csv"
    path.write_text(
        "table,dataset,backbone,trained,method,figure,percent\n"
        "1,imagenet,resnetv2_50,ImageNet,l2-caf,top1_loc,12.5\n"
        "1,imagenet,googlenet,ImageNet,l2-caf,gt_known,33\n"
    )
    text = study_tables(read_results([results]), read_paper(path)).markdown()
    rows = {(row[1], row[3]): row for row in lines(text, 1)}
    assert rows["resnetv2_50", "l2-caf"][6:8] == ["12.5", "50.0 [49.0, 52.0]"]
    assert rows["googlenet", "l2-caf"][4:6] == ["33.0", "–"]
    assert "not at hand" not in text
    path.write_text("table,dataset,backbone,trained,method,figure,percent\n1,a,b,c,d,e,many\n")
    with pytest.raises(InputError, match="paper.csv line 2: percent 'many' is not a number"):
        read_paper(path)
    path.write_text("table,percent\n")
    with pytest.raises(InputError, match="wanted the columns table,dataset"):
        read_paper(path)


def test_places_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results at"):
        read_results([tmp_path / "nothing"])
    with pytest.raises(InputError, match="no result of `caf-video localize --json` in"):
        read_results([tmp_path])


def test_box_sizes_are_shares_of_the_image(pictures: Path) -> None:
    study = study_box_sizes(read_image_set("folder", pictures))
    share = 24 * 30 / (64 * 96)
    np.testing.assert_allclose(study.record["largest"], [share] * 6)
    np.testing.assert_allclose(study.record["every"], [share] * 9)
    row = next(row for row in study.tables[0].rows if row[0] == "10 to 15 %")
    assert list(row[1:]) == ["100.0", "100.0"]


def test_the_command_writes_table_record_and_picture(
    results: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    monkeypatch.setattr(
        "sys.argv",
        ["caf-video", "study", "tables", str(results), "--dataset", "folder", "--root",
         str(pictures), "--out", str(folder)],
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    made = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert made == {"tables.md", "tables.json", "box_sizes.md", "box_sizes.json", "box_sizes.png"}

"""The page of results that are no run: what studies, `localize` and searches left in a folder."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caf_video.cli import main
from caf_video.errors import CafVideoError, InputError
from caf_video.files import remember_ours
from caf_video.pipeline.report.results import find_results
from caf_video.pipeline.report.stage import report
from caf_video.pipeline.result_table import Best, Table
from caf_video.pipeline.results import write_json, write_text
from caf_video.pipeline.study.written import Study, write_study

HOSTILE = '</script><img src=x onerror="alert(1)">**x** <b>\'&'


def study(name: str = "known", **changes) -> Study:
    rows = [["L2-CAF", Best("0.9 [0.8, 1.0]")], [HOSTILE, "–"], ["**bold**", "1 of 3"]]
    fields = {
        "name": name,
        "tables": [Table(f"First, {name}", ["", "pointing"], rows, ["Run `caf-video study`."])],
        "record": {"figures": {"l2-caf": 0.9}},
        "pictures": {
            "": Image.new("RGB", (40, 20), (200, 0, 0)),
            "end": Image.new("RGB", (30, 60), (0, 0, 200)),
        },
    }
    return Study(**{**fields, **changes})


def write_search(folder: Path, name: str = "drive.mp4") -> None:
    """What a search of two matches leaves, as far as a page of results reads it."""
    moment = {"session": "", "start_seconds": 2.0, "end_seconds": 4.0, "frame_indices": [1, 2]}
    write_json(
        folder / "search.json",
        {
            "index": "runs/index",
            "run": "runs/mine",
            "moments": 12,
            "left_out": 3,
            "query": {**moment, "id": "q", "video": f"videos/{name}"},
            "matches": [
                {**moment, "id": "a", "video": "a.mp4", "label": "left", "distance": 0.25},
                {
                    **moment, "id": HOSTILE, "video": "b.mp4", "label": "", "distance": 1.5,
                    "session": "s7", "start_seconds": 61.5, "end_seconds": None,
                },
            ],
            "drives": [],
            "notes": ["There are no more."],
        },
    )  # fmt: skip
    write_text(folder / "index.html", '<img src="frames/000qa.jpg"><a href="clips/001.mp4">a</a>')
    (folder / "frames").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "frames" / "000qa.jpg")
    (folder / "clips").mkdir()
    (folder / "clips" / "001.mp4").write_bytes(b"film")
    remember_ours(folder / "clips" / "001.mp4")


def cells_of(page: Path) -> list[list[str]]:
    """The text of every cell of every row of the page; markup that is left in it stays."""
    rows = re.findall(r"<tr>(.*?)</tr>", page.read_text(), re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def linked(page: Path) -> set[str]:
    """All that the page names as a file."""
    return {
        file for file in re.findall(r'(?:src|href)="([^"]+)"', page.read_text()) if file[0] != "#"
    } - {"data:,"}


def test_a_study_is_shown_with_its_tables_its_notes_and_its_pictures(tmp_path) -> None:
    write_study(study(), tmp_path / "in")
    done = report(tmp_path / "in", tmp_path / "page")
    assert (done.shown, done.total) == (1, 1)
    text = done.page.read_text()
    hostile = HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    hostile = hostile.replace('"', "&#34;").replace("'", "&#39;")
    assert cells_of(done.page) == [
        ["", "pointing"],
        ["L2-CAF", "<b>0.9 [0.8, 1.0]</b>"],
        [hostile, "–"],
        ["**bold**", "1 of 3"],
    ]
    assert HOSTILE not in text and 'onerror="' not in text
    assert "First, known" in text and "<li>Run <code>caf-video study</code>.</li>" in text
    assert linked(done.page) == {"frames/000-00.png", "frames/000-01.png"}
    for file, size, level in (("000-00", (40, 20), 0), ("000-01", (30, 60), 2)):
        with Image.open(tmp_path / "page" / "frames" / f"{file}.png") as picture:
            assert picture.size == size and np.asarray(picture)[0, 0, level] == 200
        assert f'width="{size[0]}" height="{size[1]}" loading="lazy"' in text


def test_markdown_has_the_same_table_and_foreign_marks_are_text_in_it() -> None:
    lines = study().markdown().splitlines()
    assert "| L2-CAF | **0.9 [0.8, 1.0]** |" in lines
    assert r"| \*\*bold\*\* | 1 of 3 |" in lines


def test_folders_in_the_folder_are_shown_and_those_in_them_are_not(tmp_path) -> None:
    for place in ("", "b", "a", "a/deep"):
        write_study(study(f"study_{place.replace('/', '_')}"), tmp_path / "in" / place)
    (tmp_path / "in" / "other.json").write_text("[1, 2")
    (tmp_path / "in" / "list.json").write_text("[]")
    done = report(tmp_path / "in", tmp_path / "page")
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", done.page.read_text())
    assert headings == ["study_", "a/study_a", "b/study_b"]


def test_a_search_is_shown_with_its_matches_and_its_page_goes_along(tmp_path) -> None:
    write_search(tmp_path / "in" / "one")
    done = report(tmp_path / "in", tmp_path / "page")
    rows = cells_of(done.page)
    assert ["times", "0:02.0 – 0:04.0"] in rows
    assert ["searched", "12 moments, of which 3 were left out"] in rows
    assert rows[-2] == ["1", "a", "left", "0.25", "", "0:02.0 – 0:04.0"]
    assert rows[-1][2:] == ["", "1.5", "s7", "1:01.5 – end"]
    assert "There are no more." in done.page.read_text()
    assert linked(done.page) == {"searches/000/index.html"}
    shutil.rmtree(tmp_path / "in")  # the page is all that one needs
    copied = tmp_path / "page" / "searches" / "000"
    assert linked(copied / "index.html") == {"frames/000qa.jpg", "clips/001.mp4"}
    assert all((copied / file).is_file() for file in linked(copied / "index.html"))


def test_the_page_of_a_search_that_somebody_changed_does_not_go_along(tmp_path) -> None:
    write_search(tmp_path / "in")
    (tmp_path / "in" / "index.html").write_text("<script>mine</script>")
    done = report(tmp_path / "in", tmp_path / "page")
    assert linked(done.page) == set() and not (tmp_path / "page" / "searches").exists()
    assert "There is no page of this search" in done.page.read_text()


def test_what_has_no_room_is_named_and_not_copied(tmp_path, monkeypatch) -> None:
    write_study(study(), tmp_path / "in")
    write_search(tmp_path / "in" / "one")
    monkeypatch.setattr("caf_video.pipeline.report.results.FILMS_BYTES", 1)
    done = report(tmp_path / "in", tmp_path / "page")
    assert linked(done.page) == set()
    assert "No room here for the picture" in done.page.read_text()
    assert "no room here for the page of this search" in done.page.read_text()


def test_what_still_fits_is_copied(tmp_path, monkeypatch) -> None:
    write_study(study(), tmp_path / "in")
    sizes = [path.stat().st_size for path in (tmp_path / "in").glob("*.png")]
    monkeypatch.setattr("caf_video.pipeline.report.results.FILMS_BYTES", sum(sizes) - 1)
    done = report(tmp_path / "in", tmp_path / "page")
    assert linked(done.page) == {"frames/000-00.png"}


def test_a_page_is_made_again_with_fewer_pictures(tmp_path) -> None:
    write_study(study(), tmp_path / "in")
    report(tmp_path / "in", tmp_path / "page")
    write_study(study(pictures={}), tmp_path / "in")
    report(tmp_path / "in", tmp_path / "page")
    assert not list((tmp_path / "page" / "frames").glob("*.png"))
    (tmp_path / "page" / "index.html").write_text("mine")
    with pytest.raises(CafVideoError, match="not as caf_video wrote it"):
        report(tmp_path / "in", tmp_path / "page")


def test_older_results_are_to_be_made_again(tmp_path) -> None:
    write_json(tmp_path / "in" / "sanity.json", {"figures": {}})
    write_text(tmp_path / "in" / "sanity.md", "## Sanity")
    with pytest.raises(InputError, match=r"sanity\.json.*run the study again"):
        report(tmp_path / "in", tmp_path / "page")
    assert not (tmp_path / "page").exists()
    write_study(study(), tmp_path / "in")
    done = report(tmp_path / "in", tmp_path / "page")
    assert (done.shown, done.total) == (1, 2)
    assert "sanity.json is older than its tables" in done.page.read_text()


@pytest.mark.parametrize(
    "change",
    [{"columns": None}, {"rows": [["1", "2"]]}, {"rows": [[1]]}, {"best": [1]}, {"notes": "no"}],
)
def test_a_record_with_other_tables_is_no_study(tmp_path, change) -> None:
    table = Table("t", ["a"], [["1"]], ["note"]).plain()
    write_json(tmp_path / "a.json", {"tables": [table]})
    assert len(find_results(tmp_path)) == 1
    (tmp_path / "a.json").write_text(json.dumps({"tables": [{**table, **change}]}))
    assert find_results(tmp_path) == []


def test_pictures_are_those_beside_the_record_alone(tmp_path) -> None:
    write_study(study(), tmp_path / "in")
    Image.new("RGB", (5, 5)).save(tmp_path / "outside.png")
    record = json.loads((tmp_path / "in" / "known.json").read_text())
    record["pictures"] = ["../outside.png", "known.json", "gone.png", "known.png"]
    (tmp_path / "in" / "known.json").write_text(json.dumps(record))
    done = report(tmp_path / "in", tmp_path / "page")
    assert linked(done.page) == {"frames/000-03.png"}
    assert "A picture is missing" in done.page.read_text()


def test_a_search_that_is_not_as_it_was_written_is_named(tmp_path) -> None:
    write_search(tmp_path / "in")
    record = json.loads((tmp_path / "in" / "search.json").read_text())
    del record["matches"][0]["distance"]
    (tmp_path / "in" / "search.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"search\.json is not as `caf-video search` writes it"):
        report(tmp_path / "in", tmp_path / "page")


def test_the_page_of_a_search_is_not_replaced_by_that_of_the_results(tmp_path) -> None:
    write_search(tmp_path / "in")
    with pytest.raises(InputError, match="choose another --out"):
        report(tmp_path / "in", tmp_path / "in")
    assert (tmp_path / "in" / "frames" / "000qa.jpg").is_file()


def test_the_page_lies_beside_the_results_and_not_among_them(tmp_path) -> None:
    write_study(study(), tmp_path)
    with pytest.raises(InputError, match="has the results themselves: choose another --out"):
        report(tmp_path, tmp_path)


def test_a_folder_of_neither_says_in_a_line_what_it_may_be(tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "in").mkdir()
    command = ["caf-video", "report", str(tmp_path / "in"), "--out", str(tmp_path / "page")]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit):
        main()
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no training run" in line and "holds no results of `caf-video study`" in line
    write_study(study(), tmp_path / "in")
    for option in ({"videos": tmp_path}, {"map_kind": "tsne"}):
        with pytest.raises(InputError, match="are of runs"):
            report(tmp_path / "in", tmp_path / "page", **option)

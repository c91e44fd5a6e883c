"""Names that others gave are shown letter by letter, wherever they are put."""

import json
from dataclasses import replace

import pytest
from rich.table import Table

from caf_video import escapes
from caf_video.cli import console
from caf_video.cli.console import one_line_failures, show
from caf_video.errors import CafVideoError
from caf_video.escapes import markdown, spreadsheet, visible, writable
from caf_video.pipeline.results import read_json, write_json
from caf_video.rendering.report import Report, render_report
from caf_video.rendering.style import fit, font

HOSTILE = ("light [red]", "[/x]", "[link=file:///etc]x[/link]", ":smile:", "[bold", "a\\[b]")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_in_brackets_is_printed_as_it_is(name: str, capsys) -> None:
    console.out.print(f"Label: {name}", soft_wrap=True)
    table = Table("class", title=f"of {name}")
    table.add_row(name)
    console.out.print(table)
    show(table)
    printed = capsys.readouterr().out
    assert printed.startswith(f"Label: {name}\n")
    assert printed.count(name) == 5


@pytest.mark.parametrize("name", HOSTILE)
def test_an_error_about_a_name_in_brackets_is_that_line(name: str, capsys) -> None:
    with pytest.raises(SystemExit), one_line_failures():
        raise CafVideoError(f"no clip {name}")
    assert capsys.readouterr().err == f"caf-video: no clip {name}\n"


def test_a_bar_is_described_letter_by_letter(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(console, "err", console.PlainConsole(stderr=True, force_terminal=True))
    assert list(console.track([1], description="of [/x]\u202e", total=1)) == [1]
    assert "of [/x]\\u202e" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("exe\u202e4pm.scr", "exe\\u202e4pm.scr"),
        ("a\u2028b\u2066c\ufeff", "a\\u2028b\\u2066c\\ufeff"),
        ("caf\udce9", "caf\\udce9"),
        ("\x9b31m", "\\x9b31m"),
        ("tag\U000e0041", "tag\\U000e0041"),
    ],
)
def test_what_is_not_seen_is_shown_in_terminals_pictures_and_pages(
    name: str, shown: str, capsys
) -> None:
    assert visible(name) == shown
    console.out.print(name, soft_wrap=True)
    assert capsys.readouterr().out == f"{shown}\n"
    if name.split() == [name]:  # a picture makes one space of several
        assert fit(name, font(12), 1e6) == shown
    page = Report(title=name, summary="", metrics={"recall@1": 0.5})
    assert f"<h1>{shown}</h1>" in render_report(page)


@pytest.mark.parametrize("name", ["左转", "é", "می\u200cخواهم", "👩\u200d🚗", "a  b", "C:\\x"])
def test_what_people_write_stays(name: str) -> None:
    assert visible(name) == name


def test_a_page_takes_no_name_for_its_own_html() -> None:
    name = "<script>alert(1)</script>&\"'"
    report = Report(title=name, summary=name, metrics={"recall@1": 0.5}, run={name: name})
    page = render_report(replace(report, per_class={name: (0.5, 2)}))
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;") >= 4


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", "a\\|b"),
        ("*b* _c_ `d`", "\\*b\\* \\_c\\_ \\`d\\`"),
        ("[x](http://y) [x][y] [x]: z", "[x]\\(http://y) [x]\\[y] [x]\\: z"),
        ("<b> &lt; $x$ ~~y~~", "\\<b> \\&lt; \\$x\\$ \\~\\~y\\~\\~"),
        ("a\nb", "a\\\\nb"),
        ("69.4 [66.0, 72.9]", "69.4 [66.0, 72.9]"),
        ("maxboxacc_v2", "maxboxacc_v2"),
    ],
)
def test_a_name_is_no_markdown(text: str, escaped: str) -> None:
    assert markdown(text) == escaped


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-x", "@SUM(A1)", "\tx", "＝1"])
def test_no_spreadsheet_takes_a_name_for_a_formula(text: str) -> None:
    assert spreadsheet(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-3", "+1.5e-3", "-.5", "", "left", "a=b", "3-4"])
def test_numbers_and_other_names_stay_in_a_spreadsheet(text: str) -> None:
    assert spreadsheet(text) == text


def test_removing_one_apostrophe_gives_the_name_again() -> None:
    for text in ("'quoted'", "=x", "left", "''"):
        cell = spreadsheet(text)
        assert (cell[1:] if cell[:1] == "'" else cell) == text


def test_a_path_that_is_no_utf8_is_the_same_path_when_it_is_read_from_json(tmp_path) -> None:
    write_json(tmp_path / "a.json", {"video": "caf\udce9/é.mp4"})
    assert read_json(tmp_path / "a.json") == {"video": "caf\udce9/é.mp4"}
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads('"' + writable("caf\udce9") + '"') == "caf\udce9"


def test_every_function_of_the_page_keeps_to_one_line() -> None:
    for function in (escapes.visible, escapes.markdown):
        assert "\n" not in function("a\r\nb\vc\fd\x85e\u2029f")

"""Names that others gave, put where some of their letters would mean something.

One function for each such place: a terminal or a picture, Markdown, a table for spreadsheets, JSON.
(HTML is escaped by jinja2, which the report's template has switched on.)
"""

import re

# Controls, lone surrogates (bytes of a file name that are no UTF-8), and what has no shape but
# moves the text around it: bidirectional marks, line separators, tags. Not the joiners U+200C and
# U+200D, which Persian, Indic scripts and emoji are spelled with.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
# What begins emphasis, code, HTML, a cell, mathematics or an entity, and what makes a link of [x].
_MARKDOWN = re.compile(r"[\\`*<|~$&]|(?<!\w)_|_(?!\w)|(?<=\])[(\[:]")
_LONGEST_LINE = 2000  # letters: a screen is about as many
_FORMULA = re.compile(r"[=+\-@\t\r'＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def visible(text: str) -> str:
    r"""The text on one line, with every character that is not seen shown as its escape.

    >>> visible("turn\x1b[31m left\u202e.mp4")
    'turn\\x1b[31m left\\u202e.mp4'
    """
    return _UNSEEN.sub(_escape, text)


def line(text: str) -> str:
    """What a failure says, as one line: of one that is longer than a page the middle is left out.

    >>> len(line("x" * 10**6))
    2000
    """
    shown = visible(text)
    if len(shown) <= _LONGEST_LINE:
        return shown
    half = _LONGEST_LINE // 2
    return f"{shown[: half - 3]} … {shown[-half:]}"


def markdown(text: str) -> str:
    r"""The text as it reads in Markdown, also in a cell of a table.

    >>> markdown("a|b *c* [x](y)"), markdown("snake_case [66.0, 72.9]")
    ('a\\|b \\*c\\* [x]\\(y)', 'snake_case [66.0, 72.9]')
    """
    return _MARKDOWN.sub(r"\\\g<0>", visible(text))


def spreadsheet(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: an apostrophe is put before it.

    A text that begins with an apostrophe gets another, so that removing one gives what was there.
    Numbers stay. For tables that people open; one that is read again has its names as they are.

    >>> spreadsheet("=1+1"), spreadsheet("-3.5"), spreadsheet("left")
    ("'=1+1", '-3.5', 'left')
    """
    harmless = _FORMULA.match(text) is None or _NUMBER.fullmatch(text)
    return text if harmless else f"'{text}"


def writable(text: str) -> str:
    r"""The text with bytes of a name that are no UTF-8 as escapes, `\udcff`, which JSON reads."""
    return text.encode("utf-8", "backslashreplace").decode()


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")

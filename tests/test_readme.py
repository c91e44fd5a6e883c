"""What the README and the guide say works: their Python runs, commands take what they are given."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from caf_video.cli import app
from caf_video.data.features import FeatureStore
from caf_video.data.manifest import Clip
from caf_video.pipeline.train import compose_config, train

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs" / "guide").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
# All blocks in turn: what closes one would otherwise be taken to open the next.
BLOCKS = re.findall(r"^```(.*?)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
PYTHON = [block for kind, block in BLOCKS if kind == "python"]
PLAIN = [block for kind, block in BLOCKS if not kind]
COMMANDS = sorted(
    {
        line.partition("#")[0].strip()
        for block in PLAIN
        for line in block.splitlines()
        if line.startswith("caf-video ")
    }
)


# The guide's network is a random one: its mean logit may be positive.
@pytest.mark.filterwarnings("ignore::caf_video.attention.AttentionWarning")
def test_its_python_runs_from_top_to_bottom(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_clips: Callable[..., list[Clip]],
    make_store: Callable[..., FeatureStore],
) -> None:
    first, *others = make_clips()
    make_store([replace(first, clip_id="left-1"), *others])
    monkeypatch.chdir(tmp_path)
    overrides = "features=features run_dir=runs/mine model.channels=4 trainer.max_epochs=1"
    train(compose_config([*overrides.split(), "data.batches_per_epoch=1", "progress_bar=false"]))
    assert len(PYTHON) >= 3
    names: dict[str, object] = {}
    for block in PYTHON:
        exec(compile(block, "a page", "exec"), names)
    assert names["result"].heatmaps.shape == (4, 224, 224)  # type: ignore[attr-defined]
    assert names["result"].filters.shape == (4, 7, 7)  # type: ignore[attr-defined]
    assert names["result"].solver == "exact"  # type: ignore[attr-defined]
    assert names["clip"].filters.shape == (1, 3, 2, 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_takes_what_a_page_gives_it(line: str) -> None:
    _, name, *arguments = shlex.split(line)
    if name == "train":
        if "--config-dir" in arguments:
            return  # of a folder that is the reader's
        config_name = "recurrent"
        if arguments[0] == "--config-name":
            config_name, arguments = arguments[1], arguments[2:]
        config = compose_config(arguments, config_name)
        assert config.run_dir.startswith("runs/") and config.kind == config_name
        return
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, list(arguments))  # an unknown option is an error
    assert context.params


def test_the_commands_of_the_pages_are_those_there_are() -> None:
    assert len(COMMANDS) >= 25
    named = {line.split()[1] for line in COMMANDS} | set(re.findall(r"`caf-video ([a-z-]+)", TEXT))
    assert named == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_the_readme_is_a_screen_to_the_first_picture_and_then_links() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150

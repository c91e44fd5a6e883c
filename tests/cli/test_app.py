"""What a newcomer meets at the command line before any network is loaded."""

import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest
import typer

from caf_video.cli import app

NAMES = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
HEAVY = ("torch", "torchvision", "numpy", "cv2", "faiss", "hydra", "pytorch_lightning")


def caf_video(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m caf_video` at 80 columns."""
    return subprocess.run(
        [sys.executable, "-m", "caf_video", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environment},
    )


def test_the_module_runs_as_the_command() -> None:
    done = caf_video("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("Usage: caf-video [OPTIONS] COMMAND")


def test_without_arguments_it_says_where_to_begin() -> None:
    done = caf_video()
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    first_steps = re.findall(r"^    caf-video (\S+)", text, re.MULTILINE)
    assert first_steps == ["demo", "explain", "COMMAND"]
    for name in NAMES:
        assert re.search(rf"^  {name}  +\w", text, re.MULTILINE), name


def test_no_summary_of_a_command_is_cut_short() -> None:
    assert "..." not in caf_video("--help").stdout.partition("Commands:")[2]


def test_version_names_ours_pythons_and_torchs() -> None:
    done = caf_video("--version")
    assert (done.returncode, done.stderr) == (0, "")
    python = ".".join(map(str, sys.version_info[:3]))
    told = f"caf-video {version('caf_video')} (Python {python}, torch {version('torch')})\n"
    assert done.stdout == told


@pytest.mark.parametrize("name", [name for name in NAMES if name != "train"])  # that is Hydra's
def test_every_option_of_a_command_says_what_it_is(name: str) -> None:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    for parameter in command.params:
        assert parameter.help, f"{name}: {parameter.name}"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["explain", "--help"]], ids=str)
def test_help_and_version_wait_for_no_heavy_library(arguments: list[str]) -> None:
    program = (
        "import sys; from caf_video.cli import main\n"
        f"sys.argv[1:] = {arguments}\n"
        "try: main()\n"
        f"except SystemExit: print(*({set(HEAVY)} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_completion_script_for_the_shell(shell: str) -> None:
    done = caf_video(_CAF_VIDEO_COMPLETE=f"source_{shell}")
    assert done.returncode == 0
    assert "_CAF_VIDEO_COMPLETE=complete_" in done.stdout and "caf-video" in done.stdout


def test_the_shell_completes_commands_and_options() -> None:
    done = caf_video(_CAF_VIDEO_COMPLETE="complete_bash", COMP_WORDS="caf-video ex", COMP_CWORD="1")
    assert done.stdout.split() == ["extract", "export", "explain"]
    done = caf_video(
        _CAF_VIDEO_COMPLETE="complete_bash", COMP_WORDS="caf-video explain --only", COMP_CWORD="2"
    )
    assert done.stdout.split() == ["--only-correct", "--only-wrong"]

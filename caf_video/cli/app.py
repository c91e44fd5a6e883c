"""The command `caf-video`: its subcommands in the order of a user's work, and how it ends."""

import io
import platform
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from caf_video.cli import bring, find, learn, look, prepare, state
from caf_video.cli.console import EXIT_INTERRUPTED, err, one_line_failures, out
from caf_video.cli.study import study
from caf_video.errors import Interrupted

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        ours, torch = version("caf_video"), version("torch")
        out.print(
            f"caf-video {ours} (Python {platform.python_version()}, torch {torch})",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit


@app.callback()
def caf_video(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """Where a network looked: in an image, and in every frame of a driving clip.

    A folder of videos with a list of events becomes a trained clip embedding in four steps:
    check, extract, train, evaluate; `explain` then shows where it looked.

    \b
    To begin with:
      caf-video demo                                 the whole job, on synthetic clips
      caf-video explain VIDEO --backbone resnet18    any video, nothing to train
      caf-video COMMAND --help                       what a command does and takes
    """


app.command()(prepare.synth)
app.command()(prepare.synth_pictures)
app.command("import")(bring.import_events)
app.command("import-hdd")(bring.import_hdd)
app.command()(prepare.check)
app.command()(prepare.extract)
app.command()(state.status)
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)(learn.train)
app.command()(learn.evaluate)
app.command()(learn.export)
app.command()(look.explain)
app.command()(find.index)
app.command()(find.search)
app.command()(find.report)
app.command()(look.localize)
app.command()(look.demo)
app.add_typer(study, name="study")


def main() -> None:
    """The console script. Ctrl-C, which Typer makes an exit code, says how to go on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of ASCII shows a `?`, no traceback
            stream.reconfigure(errors="replace")
    try:
        with one_line_failures():
            app(prog_name="caf-video")
    except SystemExit as ended:
        if ended.code == EXIT_INTERRUPTED and not isinstance(ended.__cause__, Interrupted):
            err.print("Interrupted; the same command goes on from here.")
        raise

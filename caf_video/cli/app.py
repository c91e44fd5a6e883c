"""The command `caf-video`: its subcommands in the order of a user's work, and how it ends."""

import typer

from caf_video.cli import learn, look, prepare
from caf_video.cli.console import EXIT_INTERRUPTED, err, one_line_failures

app = typer.Typer(
    help="Where a network looked: in an image, and in every frame of a driving clip.\n\n"
    "A folder of videos with a list of events becomes a trained clip embedding in four steps:\n"
    "check, extract, train, evaluate; `explain` then shows where it looked. `caf-video demo` does "
    "all of it on synthetic clips.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(prepare.synth)
app.command()(prepare.synth_pictures)
app.command()(prepare.check)
app.command()(prepare.extract)
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)(learn.train)
app.command()(learn.evaluate)
app.command()(look.explain)
app.command()(look.localize)
app.command()(look.demo)


def main() -> None:
    """The console script. Ctrl-C, which Typer makes an exit code, says how to go on."""
    try:
        with one_line_failures():
            app(prog_name="caf-video")
    except SystemExit as ended:
        if ended.code == EXIT_INTERRUPTED:
            err.print("Interrupted; the same command goes on from here.")
        raise

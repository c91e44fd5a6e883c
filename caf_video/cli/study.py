"""Ask whether attention is true: each study leaves a table, JSON and a picture."""

from pathlib import Path
from typing import Annotated

import typer

from caf_video.cli.console import out, track

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Ask whether attention is true: each study leaves a table, JSON and a picture.",
)


@app.callback()
def study() -> None:
    """Keep the studies sub-commands, however few there are."""


@app.command()
def attention(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Runs on clips of `caf-video synth`: of one set with several seeds of training, "
            "of several sets, or both.",
        ),
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results.")],
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    seed: Annotated[int, typer.Option(help="Of the resamples and the random row.")] = 0,
) -> None:
    """Every method on synthetic clips, where the evidence is known in place and time.

    Pointing, energy, single maximum, when-AUC, deletion and insertion, and the cosine with what
    really changed the embedding: by class, and right and wrong retrievals apart. Extracts the
    features of the clips' neutral copies first.
    """
    from caf_video.pipeline.study.attention import study_attention

    done = study_attention(runs, folder, split=split, seed=seed, track=track)
    out.print(done.markdown, markup=False, highlight=False, soft_wrap=True)
    for file in done.files:
        out.print(str(file), markup=False, highlight=False, soft_wrap=True)

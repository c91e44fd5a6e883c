"""`caf-video study …`: the paper's tables and ablations, each a table, a record and pictures."""

from pathlib import Path
from typing import Annotated

import typer

from caf_video.cli.console import out, track

study = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The paper's tables and ablations: a table, a record and pictures each.",
)


@study.callback()
def studies() -> None:
    """Keep the studies sub-commands, however few there are."""


@study.command()
def attention(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Runs on clips of `caf-video synth`: of one set with several seeds of training, "
            "of several sets, or both.",
        ),
    ],
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    seed: Annotated[int, typer.Option(help="Of the resamples and the random row.")] = 0,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for the table, the record and pictures.")
    ] = Path("runs/study"),
) -> None:
    """Every method on synthetic clips, where the evidence is known in place and time.

    Pointing, energy, single maximum, when-AUC, deletion and insertion, and the cosine with what
    really changed the embedding: by class, and right and wrong retrievals apart. Extracts the
    features of the clips' neutral copies first.
    """
    from caf_video.pipeline.study.attention import NAME, study_attention
    from caf_video.pipeline.study.written import prepare, write_study

    prepare(folder, NAME)
    done = study_attention(runs, split=split, seed=seed, track=track)
    paths = write_study(done, folder)
    out.print(done.markdown(), markup=False, highlight=False, soft_wrap=True)
    out.print(f"Written: {', '.join(map(str, paths))}", soft_wrap=True)

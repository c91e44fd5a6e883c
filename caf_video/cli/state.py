"""How far a work is that several processes share."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from caf_video.cli.console import out, show


def status(
    store: Annotated[Path, typer.Argument(help="Folder of a feature store.")],
    manifest: Annotated[
        Path | None,
        typer.Argument(
            help="The list that `extract` was given. None: the store's own, which leaves out the "
            "clips that failed."
        ),
    ] = None,
    fps: Annotated[float | None, typer.Option(help="As of `extract`.")] = None,
) -> None:
    """Say how many clips are extracted.

    Of each split how many are there, missing and failed, by the names of their files: whether they
    are whole is `extract`'s and `train`'s to find. Exit code 0 if all are there, 1 if not.
    """
    from caf_video.pipeline.status import store_status

    found = store_status(store, manifest, fps=fps)
    table = Table("split", "clips", "there", "missing", "failed")
    for one in found.splits:
        numbers = (one.clips, one.there, one.missing, one.failed)
        table.add_row(one.split, *map(str, numbers))
    if len(found.splits) > 1:
        sums = (
            sum(getattr(one, name) for one in found.splits)
            for name in ("clips", "there", "missing", "failed")
        )
        table.add_section()
        table.add_row("all", *map(str, sums))
    show(table)
    for clip_id, reason in found.reasons:
        out.print(f"{clip_id}: {reason}", highlight=False, soft_wrap=True)
    if found.left_out:
        out.print(
            f"{found.left_out} more clips failed and are not in {found.source}.", soft_wrap=True
        )
    if found.complete:
        out.print(f"All clips of {found.source} are there.", soft_wrap=True)
        return
    out.print("The same `caf-video extract` goes on, and tries again what failed.")
    raise typer.Exit(1)

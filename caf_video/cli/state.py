"""How far a work is that several processes share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from caf_video.cli.console import out, show

if TYPE_CHECKING:
    from caf_video.pipeline.status import ExplainedStatus, IndexStatus, StoreStatus


def status(
    folder: Annotated[
        Path,
        typer.Argument(help="A feature store, an index, or what `explain --model` fills."),
    ],
    manifest: Annotated[
        Path | None,
        typer.Argument(
            help="Of a store, the list that `extract` was given. None: the store's own, which "
            "leaves out the clips that failed."
        ),
    ] = None,
    fps: Annotated[float | None, typer.Option(help="As of `extract`.")] = None,
) -> None:
    """Say how much of a work is done. Exit code 0 if all is, 1 if not.

    Of a feature store: how many clips of each split are there, missing and failed, by the names of
    their files: whether they are whole is `extract`'s and `train`'s to find. Of an index: its
    moments, and whether its lists are of them. Of explained clips: how many, and whether the page
    that ends the pass was written.
    """
    from caf_video.pipeline.status import IndexStatus, StoreStatus, status_of

    found = status_of(folder, manifest, fps=fps)
    if isinstance(found, StoreStatus):
        _tell_store(found)
    elif isinstance(found, IndexStatus):
        _tell_index(found, folder)
    else:
        _tell_explained(found, folder)
    if not found.complete:
        raise typer.Exit(1)


def _tell_store(found: "StoreStatus") -> None:
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
    else:
        out.print("The same `caf-video extract` goes on, and tries again what failed.")


def _tell_index(found: "IndexStatus", folder: Path) -> None:
    built = found.searched.built
    out.print(
        f"{found.moments} moments, {found.videos} videos; {found.searched.kind}"
        + (
            f", recall@1 {built.recall_at_1:.3f}, recall@10 {built.recall_at_10:.3f} when its "
            f"lists were built of {built.vectors}"
            if built is not None
            else ", every moment is compared"
        )
        + ".",
        highlight=False,
        soft_wrap=True,
    )
    if not found.moments:
        out.print("`caf-video index` adds some.")
    elif not found.fits:
        out.print(
            f"The lists of {folder} are not of these moments: run `caf-video index` again with "
            f"--kind {found.searched.kind}, or --kind flat.",
            highlight=False,
            soft_wrap=True,
        )


def _tell_explained(found: "ExplainedStatus", folder: Path) -> None:
    end = (
        f"open {folder / 'index.html'}"
        if found.complete
        else "their page is not written yet: the same `caf-video explain` goes on"
    )
    out.print(f"{found.clips} clips explained; {end}.", highlight=False, soft_wrap=True)

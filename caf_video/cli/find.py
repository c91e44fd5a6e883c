"""Search in drives: an index of moments, a query, and pages to look at."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from caf_video.cli.console import EXIT_PARTLY, err, out, show, track
from caf_video.cli.options import ShardText, open_shard
from caf_video.errors import InputError
from caf_video.shards import WHOLE


def index(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="VIDEO_OR_MANIFEST",
            help="Long videos, cut in windows; or lists of clips. None: a split of the run's own.",
        ),
    ] = None,
    *,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the index, new or this run's.")],
    split: Annotated[str, typer.Option(help="Without sources: train, val or test.")] = "test",
    drives: Annotated[
        bool, typer.Option("--drives", help="Of lists and folders the whole videos, in windows.")
    ] = False,
    window: Annotated[float, typer.Option(help="Seconds that a window has.", min=0.01)] = 4.0,
    step: Annotated[float, typer.Option(help="Seconds between windows.", min=0.01)] = 1.0,
    features: Annotated[
        Path | None, typer.Option(help="Where the run's features are, if they were moved.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second, of videos that do not say.", min=0.001)
    ] = None,
    shard: ShardText = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="How it is searched: flat compares all; ivf_flat, ivf_sq8 and ivf_pq are for "
            "10 000 moments and more. None: as it was, at first flat."
        ),
    ] = None,
) -> None:
    """Embed clips or whole drives, to search among them.

    A drive becomes overlapping windows; each of its frames goes through the backbone once. The
    index is added to: what it has already is not made again. Several processes, each with a shard,
    add to one index.
    """
    from caf_video.pipeline.index import Windows, index_moments
    from caf_video.pipeline.searchable import FLAT, KINDS, make_searchable

    if kind is not None and kind not in KINDS:
        raise InputError(f"no kind {kind!r} of index: choose {', '.join(KINDS)}")
    part = open_shard(shard)
    if part != WHOLE and kind not in (None, FLAT):
        raise InputError(
            f"--kind {kind}: a shard sees a part; give it in a last `caf-video index`, --shard 1/1"
        )
    done = index_moments(
        run,
        folder,
        sources or [],
        split=split,
        drives=drives,
        windows=Windows(window, step),
        features=features,
        fps=fps,
        shard=part,
        track=track,
    )
    out.print(
        f"{done.added} moments added, {done.held} were there; the index has {done.total}.",
        highlight=False,
    )
    made = None if part != WHOLE else make_searchable(folder, kind)
    if made is not None and made.built is not None:
        out.print(
            f"{made.kind}: recall@1 {made.built.recall_at_1:.3f}, recall@10 "
            f"{made.built.recall_at_10:.3f} against exact search, measured with "
            f"{made.built.queries} moments before they were added; {made.size_bytes / 1e6:.1f} MB.",
            highlight=False,
        )
    for _, reason in done.failed:
        err.print(f"Passed over: {reason}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"Next: caf-video search QUERY.mp4 --index {folder}", soft_wrap=True)
    if done.failed:
        raise typer.Exit(EXIT_PARTLY)


def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_RESULTS",
            help="Folder of a training run; or one that holds results of `study`, `localize` or "
            "`search`, itself or in the folders in it.",
        ),
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the page and its pictures.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    gallery: Annotated[
        int, typer.Option(help="Clips to show at most; of more, so many by chance.", min=1)
    ] = 2000,
    map_kind: Annotated[
        str,
        typer.Option(
            "--map",
            help="Of the embeddings: pca, or tsne, which keeps neighbours near (needs "
            "caf_video[maps]).",
        ),
    ] = "pca",
    features: Annotated[
        Path | None, typer.Option(help="Where the features are, if they were moved.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Where the videos are, if they were moved.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Of a run of images: where they are, if they were moved.")
    ] = None,
) -> None:
    """Write the page of a run, or of results, to open.

    Figures beside their baselines, curves, a map of the embeddings, and every clip with its
    attention and its neighbours; of results their tables, pictures and matches. It opens by
    double-click, and needs no network and no server.
    """
    from caf_video.pipeline.report.stage import report as write_report

    done = write_report(
        run,
        folder,
        split=split,
        gallery=gallery,
        map_kind=map_kind,
        features=features,
        videos=videos,
        root=root,
        track=track,
    )
    out.print(
        f"{done.shown} of {done.total} shown, {done.size_bytes / 1e6:.1f} MB; open {done.page}",
        highlight=False,
        soft_wrap=True,
    )


def search(
    query: Annotated[Path, typer.Argument(help="A video, of which --start and --end cut a clip.")],
    index: Annotated[Path, typer.Option(help="Folder of an index: `caf-video index`.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the page.")] = Path(
        "runs/search"
    ),
    start: Annotated[float, typer.Option(help="Seconds at which the query begins.", min=0)] = 0.0,
    end: Annotated[float | None, typer.Option(help="Seconds at which it ends.", min=0)] = None,
    top: Annotated[int, typer.Option(help="How many moments to find.", min=1)] = 10,
    exclude_session: Annotated[
        bool, typer.Option("--exclude-session", help="Leave out the query's own session.")
    ] = False,
    timeline: Annotated[
        bool,
        typer.Option("--timeline", help="Draw similarity along each drive; cut the moments out."),
    ] = False,
    rerun: Annotated[
        Path | None,
        typer.Option(help="Also a recording, .rrd, for the viewer of rerun.io."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The run, if it is not where the index says.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Where the videos are, if they were moved.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second of a query that does not say.", min=0.001)
    ] = None,
) -> None:
    """Find moments that resemble a clip, and see why.

    Leaves a page to open, with the query beside each match: where the network looked, what makes
    them alike and what does not; and the same as JSON.
    """
    from caf_video.data.manifest import Clip
    from caf_video.pipeline.search import search as search_index
    from caf_video.pipeline.search import told_times

    clip = Clip(query.stem, query.resolve(), "", start, end, fps=fps)
    done = search_index(
        clip,
        index,
        folder,
        top=top,
        exclude_session=exclude_session,
        timeline=timeline,
        rerun=rerun,
        run_folder=model,
        videos=videos,
        track=track,
    )
    table = Table("", "distance", "moment", "in its drive", "session", "class")
    for place, match in enumerate(done.matches, start=1):
        found = match.clip
        cells = (found.clip_id, told_times(found), found.session, found.label)
        table.add_row(str(place), f"{match.distance:.4g}", *map(escape, cells))
    show(table)
    for note in done.notes:
        out.print(note, markup=False, highlight=False, soft_wrap=True)
    out.print(f"Open {done.page}", soft_wrap=True)

"""Where a network looked: shown, measured, and the whole job as a demonstration."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from caf_video.cli.console import out, show, track
from caf_video.cli.learn import say_what_is_left_out
from caf_video.cli.options import (
    BackboneName,
    Stride,
    Weights,
    open_backbone,
    parse_size,
    split_names,
)
from caf_video.errors import InputError


def explain(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VIDEO_OR_CLIP_ID", help="Clips of the run, or video files. None: all."
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the results.")] = Path(
        "runs/explain"
    ),
    model: Annotated[
        Path | None, typer.Option(help="Folder of a training run: explain its embedding.")
    ] = None,
    only_correct: Annotated[
        bool, typer.Option("--only-correct", help="Clips whose nearest neighbour was right.")
    ] = False,
    only_wrong: Annotated[
        bool, typer.Option("--only-wrong", help="Clips whose nearest neighbour was wrong.")
    ] = False,
    split: Annotated[str, typer.Option(help="Where neighbours are searched.")] = "test",
    features: Annotated[
        Path | None, typer.Option(help="With --model: where the features are, if they were moved.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="With --model: where the videos are, if they were moved.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Without --model: explain this pretrained classifier (names: `extract --help`)."
        ),
    ] = None,
    weights: Weights = "default",
    stride: Stride = 32,
    every: Annotated[int, typer.Option(help="Without --model: every n-th frame.", min=1)] = 1,
) -> None:
    """Show where a network looked.

    With --model, a clip's sampled frames in a row, with heatmaps, its nearest neighbour and whether
    that was right; beside the picture the raw filters (npz) and a record (JSON). With --backbone,
    no training at all: an overlay mp4 of any video.
    """
    if (model is None) == (backbone is None):
        raise InputError("give --model RUN for a trained embedding, or --backbone NAME for none")
    if only_correct and only_wrong:
        raise InputError("--only-correct and --only-wrong leave nothing: choose one")
    if model is not None:
        from caf_video.pipeline.explain import explain_clips, write_explanations
        from caf_video.pipeline.results import output_folder

        output_folder(folder)  # now, and not after the work
        only: Literal["all", "correct", "wrong"] = (
            "correct" if only_correct else "wrong" if only_wrong else "all"
        )
        explained = explain_clips(
            model,
            targets or [],
            split=split,
            only=only,
            features=features,
            videos=videos,
            track=track,
        )
        say_what_is_left_out(explained.gallery)
        if only != "all" and explained.unjudged:
            out.print(
                f"Not judged, and so left out: {len(explained.unjudged)} clips without a label, or "
                "that the run was trained on.",
                soft_wrap=True,
            )
        if not explained:
            judged = len(targets or [None]) > len(explained.unjudged)
            why = f"none of them was {only}" if judged else "nothing was judged"
            out.print(f"No clip is left: {why}.")
            return
        strips = write_explanations(explained, folder, track=track)
        out.print(f"{len(strips)} clips explained; open {strips[0]}", soft_wrap=True)
        if alone := sum(not one.has_video for one in explained):
            out.print(f"{alone} of them have no video: their strips show the heat alone.")
        return
    if not targets:
        raise InputError("give a video file to explain")
    if only_correct or only_wrong:
        raise InputError(
            "--only-correct and --only-wrong need --model: a classifier retrieves nothing"
        )
    from caf_video.pipeline.explain_video import explain_video

    network = open_backbone(str(backbone), weights, stride, "float32")
    for target in targets:
        done = explain_video(Path(target), folder, backbone=network, every=every, track=track)
        out.print(
            f"{done.frames} frames in {done.seconds:.1f} s, {done.frames / done.seconds:.1f} a "
            f"second; {done.backbone_seconds / done.seconds:.2f} of it is the bare backbone. "
            f"{done.overlay}",
            soft_wrap=True,
        )


def localize(
    dataset: Annotated[str, typer.Option(help="imagenet, cub, cars or folder (with a CSV).")],
    root: Annotated[Path, typer.Option(help="Folder of the data set.")],
    model: Annotated[Path | None, typer.Option(help="Folder of a training run of images.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Without --model: a pretrained classifier of ImageNet.")
    ] = None,
    weights: Weights = "default",
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="l2-caf, l2-caf-class, l2-caf-class-centered, cam, grad-cam, retrieval-grad-cam, "
            "retrieval-grad-cam-abs, acol, feature-norm, uniform; several with commas. "
            "All that fit the network, unless given."
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="simple (unless given), cam, adl, maxboxacc, maxboxacc_v2; several with commas."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    size: Annotated[
        str | None,
        typer.Option(
            help="HEIGHTxWIDTH: show the whole image in this size, whatever a protocol published. "
            "All protocols then share one pass of the network."
        ),
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(help="Write everything to this file, and the table beside it as Markdown."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for pictures of some images and their boxes.")
    ] = None,
    picture_count: Annotated[int, typer.Option(help="How many images to draw.", min=1)] = 24,
    workers: Annotated[
        int | None, typer.Option(help="Processes that measure; one for each core.", min=1)
    ] = None,
) -> None:
    """Measure boxes of heatmaps (WSOL) under named protocols.

    With --backbone, Table 1: GT-known, top-1 and top-5. With --model RUN, Table 2 (a classifier) or
    Table 3 (an embedding: R@1-gated, beside NMI and R@1). With --json, an interrupted run goes on
    where it stopped.
    """
    if (model is None) == (backbone is None):
        raise InputError("give --model RUN for a network of `caf-video train`, or --backbone NAME")
    from caf_video.pipeline.localize import table as tables
    from caf_video.pipeline.localize.explained_network import of_backbone, of_run
    from caf_video.pipeline.localize.stage import localize as measure

    subject = (
        of_run(model)
        if model is not None
        else of_backbone(open_backbone(str(backbone), weights, 32, "float32"))
    )
    done = measure(
        dataset,
        root,
        subject,
        split=split,
        methods=split_names(method),
        protocols=split_names(protocol) or ["simple"],
        size=None if size is None else parse_size(size),
        json=json,
        workers=workers,
        pictures=pictures,
        picture_count=picture_count,
        track=track,
    )
    title = f"{subject.backbone}, {subject.trained}"
    shown = Table(title=title)
    rows = [tables.cells(row, done.scores, subject, full=False) for row in done.scores.rows]
    columns = zip(*rows, strict=True)
    for column, cells in zip(tables.header(done.scores, full=False), columns, strict=True):
        longest = max(len(word) for cell in [column, *cells] for word in cell.split())
        width = None if column == "protocol" else longest  # so narrow that no name is cut short
        shown.add_column(column, width=width, min_width=longest)
    for row in rows:
        shown.add_row(*row)
    out.print(shown)
    for note in done.notes:
        out.print(note, markup=False, highlight=False, soft_wrap=True)
    seconds = done.found.seconds
    out.print(
        f"{seconds['total']:.1f} s, {seconds.get('forward', 0):.1f} of them in the bare network.",
        highlight=False,
    )
    if json is not None:
        table = json.with_suffix(".md")
        out.print(f"All of it, image by image: {json}; the table: {table}", soft_wrap=True)
    if pictures is not None:
        out.print(f"Pictures: {pictures}", soft_wrap=True)


def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for everything.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Of the training; the clips stay the same.")] = 0,
    backbone: BackboneName = "efficientnet_lite0",
    weights: Weights = "default",
) -> None:
    """Do the whole job on synthetic driving clips.

    Renders, checks, extracts, trains, evaluates and explains. Goes on where it was interrupted.
    Ends with a table and a report to open.
    """
    from caf_video.pipeline.demo import run_demo

    network = open_backbone(backbone, weights, 32, "fastest")
    done = run_demo(folder, backbone=network, seed=seed, track=track)
    table = Table("", "R@1")
    for name, key in (
        ("trained", "recall@1"),
        ("frozen features, mean-pooled", "recall@1_frozen"),
        ("untrained network", "recall@1_untrained"),
        ("chance", "chance"),
    ):
        table.add_row(name, f"{done.metrics[key]:.3f}")
    show(table)
    attention = Table("attention on visible evidence", "pointing", "energy", "area", "n")
    for method, scores in done.metrics["attention"].items():
        figures = [f"{scores[name]:.3f}" for name in ("pointing", "energy", "area")]
        attention.add_row(method, *figures, str(scores["n"]))
    show(attention)
    seconds = done.metrics["seconds"]
    stages = ", ".join(f"{stage} {spent:.0f}" for stage, spent in seconds.items())
    out.print(f"{sum(seconds.values()):.0f} s: {stages}")
    out.print(f"Open {done.report}", soft_wrap=True)

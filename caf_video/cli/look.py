"""Where a network looked: shown, measured, and the whole job as a demonstration."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from caf_video.cli.console import out, show, track
from caf_video.cli.learn import say_what_is_left_out
from caf_video.cli.options import (
    BackboneName,
    ShardText,
    Stride,
    Weights,
    open_backbone,
    open_shard,
    parse_size,
    split_names,
)
from caf_video.errors import CafVideoError, InputError


def explain(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE_OR_CLIP_ID",
            help="Photographs or videos; with --model clips of the run. None: all its clips.",
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
    split: Annotated[
        str, typer.Option(help="Where neighbours are searched; of query, in gallery.")
    ] = "test",
    filters: Annotated[
        Literal["per-frame", "joint"],
        typer.Option(
            help="With --model: a filter for each frame (where), or one for the clip (where and "
            "when: frames are compared)."
        ),
    ] = "per-frame",
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
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="With --backbone: a class to explain, by name or number; several for photographs.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            help="Of photographs: explain each one's first n classes; 2 unless --class is given.",
            min=0,
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Of photographs: l2-caf, l2-caf-class (Eq. 2), l2-caf-class-centered, cam, "
            "grad-cam, feature-norm …; several with commas. l2-caf,l2-caf-class-centered unless "
            "given. Of videos with a class: one of the two L2-CAF of a class."
        ),
    ] = None,
    every: Annotated[int, typer.Option(help="Of videos: every n-th frame.", min=1)] = 1,
    fps: Annotated[
        float | None, typer.Option(help="Of videos, in place of --every: frames a second.")
    ] = None,
    start: Annotated[float, typer.Option(help="Of videos: begin here, seconds.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Of videos: end here, seconds.")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help="Of videos: mp4, gif or webp; several with commas. mp4 unless given."
        ),
    ] = None,
    shard: ShardText = None,
    rerun: Annotated[
        Path | None,
        typer.Option(help="Of one video: also a recording, .rrd, for the viewer of rerun.io."),
    ] = None,
) -> None:
    """Show where a network looked.

    With --model, a clip's sampled frames in a row, with heatmaps, its nearest neighbour and whether
    that was right; beside the picture the raw filters (npz) and a record (JSON). With --backbone,
    no training at all: photographs on one sheet, a row each, looked at as a whole and for each
    class; or the overlay of any video.
    """
    if (model is None) == (backbone is None):
        raise InputError("give --model RUN for a trained embedding, or --backbone NAME for none")
    if only_correct and only_wrong:
        raise InputError("--only-correct and --only-wrong leave nothing: choose one")
    if rerun is not None and model is not None:
        raise InputError("--rerun is of a video: it needs --backbone")
    if model is not None:
        from caf_video.pipeline.explain import ask
        from caf_video.pipeline.explain_files import explain_into
        from caf_video.pipeline.explain_page import write_explained_page
        from caf_video.pipeline.results import output_folder

        output_folder(folder)  # now, and not after the work
        only: Literal["all", "correct", "wrong"] = (
            "correct" if only_correct else "wrong" if only_wrong else "all"
        )
        part = open_shard(shard)
        asked = ask(
            model,
            targets or [],
            split=split,
            filters=filters,
            features=features,
            videos=videos,
            shard=part,
            track=track,
        )
        say_what_is_left_out(asked.search)
        if only != "all" and asked.unjudged:
            out.print(
                f"Not judged, and so left out: {len(asked.unjudged)} clips without a label, or "
                "that the run was trained on.",
                soft_wrap=True,
            )
        left = explain_into(folder, asked, only=only, shard=part, track=track)
        if left.waiting:
            others = ", ".join(map(str, left.waiting))
            out.print(
                f"{len(left.strips)} clips explained; the page is written when the other shards "
                f"have ended: {others}.",
                soft_wrap=True,
                highlight=False,
            )
            return
        if not left.all_strips:
            judged = len(asked.everything) > len(asked.unjudged)
            why = f"none of them was {only}" if judged else "nothing was judged"
            out.print(f"No clip is left: {why}.")
            return
        page = write_explained_page(left.all_strips, title=f"Where {model.name} looked")
        again = f", {left.held} of them before" if left.held else ""
        out.print(f"{len(left.strips)} clips explained{again}; open {page}", soft_wrap=True)
        if left.without_video:
            out.print(
                f"{left.without_video} of them have no video: their strips show the heat alone."
            )
        return
    if shard is not None:
        raise InputError("--shard needs --model: photographs and videos are explained one by one")
    if not targets:
        raise InputError("give a photograph or a video file to explain")
    if only_correct or only_wrong:
        raise InputError(
            "--only-correct and --only-wrong need --model: a classifier retrieves nothing"
        )
    if filters != "per-frame":
        raise InputError("--filters joint needs --model: a classifier sees one frame at a time")
    if fps is not None and every != 1:
        raise InputError("--every and --fps exclude each other: how many frames, or how often")
    from caf_video.data.video.reader import VideoError
    from caf_video.pipeline.explain_images import explain_images, is_photograph
    from caf_video.pipeline.explain_video import explain_video

    photographs = [Path(target) for target in targets if is_photograph(Path(target))]
    clips = [Path(target) for target in targets if not is_photograph(Path(target))]
    if rerun is not None and len(clips) != 1:
        raise InputError("--rerun is of one video: give one")
    center_logits = clips and _is_centered(classes or [], split_names(method))
    network = open_backbone(str(backbone), weights, stride, "float32")
    if photographs:
        sheet = explain_images(
            photographs,
            folder,
            backbone=network,
            classes=classes or [],
            top=top if top is not None else 0 if classes else 2,
            methods=split_names(method) or None,
            track=track,
        )
        out.print(f"{len(photographs)} photographs explained; open {sheet.sheet}", soft_wrap=True)
        if sheet.against:
            out.print(
                f"{sheet.against} of the pictures show what speaks against their class, and say so."
            )
    failed = []
    for clip in clips:
        try:
            done = explain_video(
                clip,
                folder,
                backbone=network,
                every=every,
                fps=fps,
                start_seconds=start,
                end_seconds=end,
                target=classes[0] if classes else None,
                center_logits=bool(center_logits),
                formats=split_names(formats) or ["mp4"],
                rerun=rerun,
                track=track,
            )
        except VideoError as error:  # the others are none the worse
            failed.append(error)
            continue
        out.print(
            f"{done.frames} frames in {done.seconds:.1f} s, {done.frames / done.seconds:.1f} a "
            f"second; {done.backbone_seconds / done.seconds:.2f} of it is the bare backbone. "
            f"{done.overlay}",
            soft_wrap=True,
        )
    if failed:
        raise CafVideoError(
            str(failed[0])
            if len(clips) == 1
            else f"{len(failed)} of {len(clips)} videos could not be explained: "
            + "; ".join(map(str, failed))
        )


def _is_centered(classes: list[str], methods: list[str]) -> bool:
    """Whether a video's class is explained with its logits centred; InputError if it cannot be."""
    of_class = {"l2-caf-class": False, "l2-caf-class-centered": True}
    if not classes and methods in ([], ["l2-caf"]):
        return False
    if len(classes) != 1:
        raise InputError("a video is explained for one class at most: give one --class")
    if methods and (len(methods) != 1 or methods[0] not in of_class):
        raise InputError(f"the method of a video's class is one of {', '.join(of_class)}")
    return of_class[methods[0]] if methods else True


def localize(
    dataset: Annotated[str, typer.Option(help="imagenet, cub, cars, folder (with a CSV) or wsol.")],
    root: Annotated[Path, typer.Option(help="Folder of the data set.")],
    metadata: Annotated[
        Path | None,
        typer.Option(
            help="Of wsol: folder of the benchmark's lists, such as metadata/ILSVRC, with train/, "
            "val/ and test/ in it."
        ),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of a training run of images.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Without --model: a pretrained classifier of ImageNet.")
    ] = None,
    weights: Weights = "default",
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="l2-caf, l2-caf-passed, l2-caf-class, l2-caf-class-centered, l2-caf-pair, "
            "l2-caf-like, l2-caf-like-mean, cam, grad-cam, retrieval-grad-cam, "
            "retrieval-grad-cam-abs, grad-cam-cosine, similarity, acol, feature-norm, uniform; "
            "several with commas. All that fit the network, unless given, but for those of a pair: "
            "an image and the nearest other."
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="simple (unless given), cam, adl, maxboxacc, maxboxacc_v2; of masks pxap; several "
            "with commas."
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
    shard: ShardText = None,
) -> None:
    """Measure boxes of heatmaps (WSOL) under named protocols.

    With --backbone, Table 1: GT-known, top-1 and top-5. With --model RUN, Table 2 (a classifier) or
    Table 3 (an embedding: R@1-gated, beside NMI and R@1). With --json, an interrupted run goes on
    where it stopped; and several processes, each with a shard, share the pass.
    """
    if (model is None) == (backbone is None):
        raise InputError("give --model RUN for a network of `caf-video train`, or --backbone NAME")
    from caf_video.pipeline.localize import table as tables
    from caf_video.pipeline.localize.explained_network import of_backbone, of_run
    from caf_video.pipeline.localize.measure import Waiting
    from caf_video.pipeline.localize.stage import localize as measure

    part = open_shard(shard)
    subject = (
        of_run(model)
        if model is not None
        else of_backbone(open_backbone(str(backbone), weights, 32, "float32"))
    )
    done = measure(
        dataset,
        root,
        subject,
        metadata=metadata,
        split=split,
        methods=split_names(method),
        protocols=split_names(protocol) or ["simple"],
        size=None if size is None else parse_size(size),
        json=json,
        workers=workers,
        pictures=pictures,
        picture_count=picture_count,
        shard=part,
        track=track,
    )
    if isinstance(done, Waiting):
        out.print(
            f"Done; {len(done.parts)} of {done.total} parts of the pass are still to come from "
            f"other shards. Who ends last, or the same command with --shard 1/1, writes {json}.",
            soft_wrap=True,
            highlight=False,
        )
        return
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
    show(shown)
    for note in done.notes:
        out.print(note, highlight=False, soft_wrap=True)
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
    seed: Annotated[int, typer.Option(help="Of the training; the clips stay the same.", min=0)] = 0,
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

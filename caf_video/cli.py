"""`caf-video …`: read the command line, call the pipeline, print one line per expected failure."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from caf_video.errors import CafVideoError, InputError

Item = TypeVar("Item")

EXIT_EXPECTED_FAILURE = 2
EXIT_INTERRUPTED = 130

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
out = Console()
err = Console(stderr=True)

BackboneName = Annotated[
    str,
    typer.Option(
        help="Frozen network: efficientnet_lite0 (its weights come installed), resnet18, resnet34, "
        "resnet50, resnet101, googlenet, densenet121, densenet161 or vgg16."
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        help="'default' (downloaded once by torchvision), a torchvision name such as "
        "IMAGENET1K_V1, a file (.safetensors or .pth), or 'none' (random)."
    ),
]
Stride = Annotated[int, typer.Option(help="Pixels a cell of the feature map: 32 or 16.")]
Timesteps = Annotated[int, typer.Option(help="Frames that stand for a clip.", min=1)]
Candidates = Annotated[
    int,
    typer.Option(help="Frames per timestep that training chooses from, an odd number.", min=1),
]


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for clips and manifest.")],
    train_sessions: Annotated[int, typer.Option(help="Sessions to train on.", min=0)] = 50,
    val_sessions: Annotated[int, typer.Option(help="Sessions to choose a model by.", min=0)] = 10,
    test_sessions: Annotated[int, typer.Option(help="Sessions to test on.", min=0)] = 20,
    seed: Annotated[int, typer.Option(help="Another seed, other sessions.", min=0)] = 0,
) -> None:
    """Render synthetic driving clips: mp4 files, manifest.csv and the boxes of the evidence.

    Each session holds one clip of every event class. What is rendered already stays.
    """
    from caf_video.pipeline.results import output_folder
    from caf_video.synthetic import write_driving_clips

    manifest = write_driving_clips(
        output_folder(folder),
        train_sessions=train_sessions,
        val_sessions=val_sessions,
        test_sessions=test_sessions,
        seed=seed,
        track=_track,
    )
    out.print(f"Clips: {manifest}", soft_wrap=True)


@app.command()
def synth_pictures(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for pictures and table.")],
    train: Annotated[int, typer.Option(help="Pictures of each class to train on.", min=0)] = 60,
    val: Annotated[int, typer.Option(help="To choose a network by.", min=0)] = 15,
    test: Annotated[int, typer.Option(help="To test on.", min=0)] = 30,
    size: Annotated[int, typer.Option(help="Height and width in pixels.", min=32)] = 160,
    seed: Annotated[int, typer.Option(help="Another seed, other pictures.", min=0)] = 0,
) -> None:
    """Render still pictures of 12 road objects: JPEG files and images.csv with labels and boxes.

    For `train --config-name retrieval` or `classifier`, and `localize --dataset folder`. What is
    rendered already stays.
    """
    from caf_video.pipeline.results import output_folder
    from caf_video.synthetic import write_pictures

    table = write_pictures(
        output_folder(folder),
        train_per_class=train,
        val_per_class=val,
        test_per_class=test,
        seed=seed,
        size=size,
        track=_track,
    )
    out.print(f"Pictures: {table}", soft_wrap=True)


@app.command()
def check(
    manifest: Annotated[
        Path, typer.Argument(help="Manifest CSV, a folder per class, or a `path label` list.")
    ],
    write: Annotated[
        Path | None, typer.Option(help="Write a manifest of the clips that can be read.")
    ] = None,
    timesteps: Timesteps = 3,
    candidates: Candidates = 3,
    timeout_seconds: Annotated[float, typer.Option(help="Time limit for one clip.")] = 30.0,
    workers: Annotated[int, typer.Option(help="Processes that open clips.", min=1)] = 2,
) -> None:
    """Open every clip as training would, and report those that cannot be read.

    Exit code 1 if there are any.
    """
    from caf_video.pipeline.check import check as check_clips

    checked = check_clips(
        manifest,
        timesteps=timesteps,
        candidates=candidates,
        timeout_seconds=timeout_seconds,
        workers=workers,
        good=write,
        track=_track,
    )
    kinds: Counter[tuple[str, str, str]] = Counter()
    for one in checked:
        if one.info is not None:
            info = one.info
            kinds[f"{info.width}x{info.height}", f"{info.fps:.4g}", info.reader] += 1
    if kinds:
        table = Table("size", "fps", "reader", "clips")
        for kind, count in sorted(kinds.items()):
            table.add_row(*kind, str(count))
        out.print(table)
    bad = [one for one in checked if not one.ok]
    for one in bad:
        out.print(f"{one.clip.clip_id}: {one.reason}", markup=False, soft_wrap=True)
    videos = {one.clip.path: one.info.frame_count for one in checked if one.info is not None}
    out.print(
        f"{len(checked) - len(bad)} of {len(checked)} clips can be read; "
        f"their {len(videos)} videos have {sum(videos.values())} frames."
    )
    if write is not None:
        out.print(f"Those that can: {write}", soft_wrap=True)
    if bad:
        raise typer.Exit(1)


@app.command()
def extract(
    manifest: Annotated[
        Path, typer.Argument(help="Manifest CSV, a folder per class, or a `path label` list.")
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder of the feature store.")],
    backbone: BackboneName = "efficientnet_lite0",
    weights: Weights = "default",
    stride: Stride = 32,
    size: Annotated[
        str, typer.Option(help="HEIGHTxWIDTH that frames are resized to, multiples of 32.")
    ] = "256x448",
    timesteps: Timesteps = 3,
    candidates: Candidates = 3,
    precision: Annotated[
        str,
        typer.Option(help="float32, bfloat16, or 'fastest': bfloat16 where the CPU has it."),
    ] = "fastest",
    workers: Annotated[int, typer.Option(help="Processes that decode (0: none).", min=0)] = 1,
    seed: Annotated[int, typer.Option(help="Of the splits, for clips that have none.")] = 0,
) -> None:
    """Turn the clips' frames into frozen feature maps on disk.

    Goes on where it was interrupted. Clips without a split get one, whole sessions at a time.
    """
    from caf_video.pipeline.extract import extract as extract_features

    network = _backbone(backbone, weights, stride, precision)
    store = extract_features(
        manifest,
        folder,
        backbone=network,
        size=_parse_size(size),
        timesteps=timesteps,
        candidates=candidates,
        workers=workers,
        seed=seed,
        track=_track,
    )
    out.print(f"Features: {store.folder}", soft_wrap=True)
    out.print(f"Next: caf-video train features={store.folder} run_dir=RUN", soft_wrap=True)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def train(context: typer.Context) -> None:
    """Train an embedder of clips or images, or a classifier; arguments are Hydra's (`--help`).

    Examples: caf-video train features=FEATURES run_dir=runs/mine loss=n_pair;
    caf-video train --config-name retrieval data=cub root=CUB_200_2011 run_dir=runs/cub;
    caf-video train --config-name classifier data=cub tuning=adl root=CUB_200_2011 run_dir=runs/adl
    """
    import hydra
    from omegaconf import DictConfig

    from caf_video.configuration import conf_dir
    from caf_video.pipeline.train import train as train_from_config

    def task(config: DictConfig) -> None:
        # Here, for Hydra would print a traceback of its own.
        with one_line_failures():
            run = train_from_config(config)
        out.print(f"Run: {run}", soft_wrap=True)
        measured = f"caf-video evaluate {run}"
        if config.kind != "recurrent":
            dataset = config.data.dataset
            measured = f"caf-video localize --model {run} --dataset {dataset} --root {config.root}"
        out.print(f"Next: {measured}", soft_wrap=True)

    sys.argv = ["caf-video train", *context.args]
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="recurrent")(task)()


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
) -> None:
    """Measure a run: R@1, 2, 4, 8 and NMI, beside chance and what nobody trained."""
    from caf_video.pipeline.evaluate import evaluate as evaluate_run
    from caf_video.pipeline.results import write_json

    evaluation = evaluate_run(run, split=split, track=_track)
    ks = sorted(evaluation.result.recall)
    table = Table(f"{split} split", *(f"R@{k}" for k in ks))
    table.add_row("trained", *(f"{evaluation.result.recall[k]:.3f}" for k in ks))
    for name, recall in evaluation.baselines.items():
        table.add_row(name, *(f"{recall[k]:.3f}" for k in ks))
    table.add_row("chance", f"{evaluation.chance:.3f}")
    out.print(table)
    classes = Table("class", "R@1", "clips")
    labels = [clip.label for clip in evaluation.clips]
    for label, recall_at_1 in sorted(evaluation.result.per_class.items()):
        classes.add_row(label, f"{recall_at_1:.3f}", str(labels.count(label)))
    out.print(classes)
    right = int(evaluation.result.correct.sum())
    out.print(
        f"NMI {evaluation.nmi:.3f}. {right} of {len(labels)} clips found their own class; "
        f"{evaluation.result.excluded} had no other clip of theirs and do not count."
    )
    if json is not None:
        write_json(json, evaluation.record())
        out.print(f"All of it, clip by clip: {json}", soft_wrap=True)


@app.command()
def explain(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VIDEO_OR_CLIP_ID]...", help="Clips of the run, or video files. None: all."
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
    backbone: Annotated[
        str | None,
        typer.Option(help="Without --model: explain this pretrained classifier on the videos."),
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

        only: Literal["all", "correct", "wrong"] = (
            "correct" if only_correct else "wrong" if only_wrong else "all"
        )
        explained = explain_clips(model, targets or [], split=split, only=only, track=_track)
        if not explained:
            out.print(f"No clip is left: none of them was {only}.")
            return
        strips = write_explanations(explained, folder, track=_track)
        out.print(f"{len(strips)} clips explained; open {strips[0]}", soft_wrap=True)
        return
    if not targets:
        raise InputError("give a video file to explain")
    if only_correct or only_wrong:
        raise InputError(
            "--only-correct and --only-wrong need --model: a classifier retrieves nothing"
        )
    from caf_video.pipeline.explain_video import explain_video

    network = _backbone(str(backbone), weights, stride, "float32")
    for target in targets:
        done = explain_video(Path(target), folder, backbone=network, every=every, track=_track)
        out.print(
            f"{done.frames} frames in {done.seconds:.1f} s, {done.frames / done.seconds:.1f} a "
            f"second; {done.backbone_seconds / done.seconds:.0%} of it is the bare backbone. "
            f"{done.overlay}",
            soft_wrap=True,
        )


@app.command()
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
    """Measure localisation (WSOL): boxes of every method, under named protocols, gated.

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
        else of_backbone(_backbone(str(backbone), weights, 32, "float32"))
    )
    done = measure(
        dataset,
        root,
        subject,
        split=split,
        methods=_names(method),
        protocols=_names(protocol) or ["simple"],
        size=None if size is None else _parse_size(size),
        json=json,
        workers=workers,
        pictures=pictures,
        picture_count=picture_count,
        track=_track,
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


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for everything.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="Of the training; the clips stay the same.")] = 0,
    backbone: BackboneName = "efficientnet_lite0",
    weights: Weights = "default",
) -> None:
    """The whole job on synthetic driving clips: render, check, extract, train, evaluate, explain.

    Goes on where it was interrupted. Ends with a table and a report to open.
    """
    from caf_video.pipeline.demo import run_demo

    network = _backbone(backbone, weights, 32, "fastest")
    done = run_demo(folder, backbone=network, seed=seed, track=_track)
    table = Table("", "R@1")
    for name, key in (
        ("trained", "recall@1"),
        ("frozen features, mean-pooled", "recall@1_frozen"),
        ("untrained network", "recall@1_untrained"),
        ("chance", "chance"),
    ):
        table.add_row(name, f"{done.metrics[key]:.3f}")
    out.print(table)
    attention = Table("attention on visible evidence", "pointing", "energy", "area", "n")
    for method, scores in done.metrics["attention"].items():
        figures = [f"{scores[name]:.3f}" for name in ("pointing", "energy", "area")]
        attention.add_row(method, *figures, str(scores["n"]))
    out.print(attention)
    seconds = done.metrics["seconds"]
    stages = ", ".join(f"{stage} {spent:.0f}" for stage, spent in seconds.items())
    out.print(f"{sum(seconds.values()):.0f} s: {stages}")
    out.print(f"Open {done.report}", soft_wrap=True)


def _backbone(name: str, weights: str, stride: int, precision: str):  # type: ignore[no-untyped-def]
    from caf_video.models.backbones import fastest_precision, load_backbone

    chosen = fastest_precision() if precision == "fastest" else precision
    return load_backbone(name, weights=weights, stride=stride, precision=chosen)


def _names(values: list[str] | None) -> list[str]:
    """Options given several times, or with commas."""
    return [name.strip() for value in values or [] for name in value.split(",") if name.strip()]


def _parse_size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InputError(f"size {text!r} is not HEIGHTxWIDTH, such as 256x448")
    return int(height), int(width)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
    )


def _track(items: Iterable[Item], *, description: str, total: int) -> Iterator[Item]:
    with _bar() as progress:
        yield from progress.track(items, total=total, description=description)


@contextmanager
def one_line_failures() -> Iterator[None]:
    """Expected failures are one line on stderr and exit code 2."""
    try:
        yield
    except CafVideoError as error:
        err.print(f"caf-video: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(EXIT_EXPECTED_FAILURE) from error


def main() -> None:
    """The console script. Ctrl-C, which Typer makes an exit code, says how to go on."""
    try:
        with one_line_failures():
            app(prog_name="caf-video")
    except SystemExit as ended:
        if ended.code == EXIT_INTERRUPTED:
            err.print("Interrupted; the same command goes on from here.")
        raise


if __name__ == "__main__":
    main()

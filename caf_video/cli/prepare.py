"""Clips and pictures before any learning: render, check, turn into feature maps."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from caf_video.cli.console import EXIT_PARTLY, err, out, show, track
from caf_video.cli.options import (
    BackboneName,
    Candidates,
    ShardText,
    Stride,
    Timesteps,
    Weights,
    open_backbone,
    open_shard,
    parse_size,
)

Videos = Annotated[
    Path | None, typer.Option(help="Where the videos are, if they are not where the list says.")
]

# Of `extract` without options: EfficientNet-Lite0 at stride 32 on 256x448 pixels.
DEFAULT_CHANNELS, DEFAULT_GRID = 1280, (8, 14)


def synth(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for clips and manifest.")],
    clip_set: Annotated[
        str,
        typer.Option(
            "--set",
            help="one-event: one object decides the class; two-events: two events in either order, "
            "of which one decides (extract --timesteps 6, train experiment=two_events).",
        ),
    ] = "one-event",
    train_sessions: Annotated[int, typer.Option(help="Sessions to train on.", min=0)] = 50,
    val_sessions: Annotated[int, typer.Option(help="Sessions to choose a model by.", min=0)] = 10,
    test_sessions: Annotated[int, typer.Option(help="Sessions to test on.", min=0)] = 20,
    seed: Annotated[int, typer.Option(help="Another seed, other sessions.", min=0)] = 0,
) -> None:
    """Render synthetic driving clips with a known truth.

    Writes mp4 files, manifest.csv and boxes.csv, the boxes of the evidence; of the val and test
    clips a copy with all evidence painted out, listed in neutral.csv; of two events the boxes of
    the one that does not decide, others.csv. Each session holds one clip of every event class, or
    two of each with two events. What is rendered already stays.
    """
    from caf_video.pipeline.results import output_folder
    from caf_video.synthetic import write_driving_clips

    manifest = write_driving_clips(
        output_folder(folder),
        clip_set=clip_set,
        train_sessions=train_sessions,
        val_sessions=val_sessions,
        test_sessions=test_sessions,
        seed=seed,
        track=track,
    )
    out.print(f"Clips: {manifest}", soft_wrap=True)


def synth_pictures(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for pictures and table.")],
    train: Annotated[int, typer.Option(help="Pictures of each class to train on.", min=0)] = 60,
    val: Annotated[int, typer.Option(help="To choose a network by.", min=0)] = 15,
    test: Annotated[int, typer.Option(help="To test on.", min=0)] = 30,
    size: Annotated[int, typer.Option(help="Height and width in pixels.", min=32)] = 160,
    seed: Annotated[int, typer.Option(help="Another seed, other pictures.", min=0)] = 0,
) -> None:
    """Render still pictures of 12 road objects.

    Writes JPEG files and images.csv, their labels and boxes. For `train --config-name retrieval` or
    `classifier`, and `localize --dataset folder`. What is rendered already stays.
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
        track=track,
    )
    out.print(f"Pictures: {table}", soft_wrap=True)


def check(
    manifest: Annotated[
        Path, typer.Argument(help="Manifest CSV, a folder per class, or a `path label` list.")
    ],
    write: Annotated[
        Path | None,
        typer.Option(help="Write a manifest of the clips that can be read, with all its columns."),
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Frames a second, where neither file nor list says: raw streams (.h264, .hevc), "
            "folders of frames, times in frames."
        ),
    ] = None,
    timesteps: Timesteps = 3,
    candidates: Candidates = 3,
    timeout_seconds: Annotated[float, typer.Option(help="Time limit for one clip.")] = 30.0,
    workers: Annotated[int, typer.Option(help="Processes that open clips.", min=1)] = 2,
    videos: Videos = None,
) -> None:
    """Open every clip, and report those that cannot be read.

    Says first what the list holds: clips by label, split and session, and the disk that the default
    features will take. Opens the clips as training would. Exit code 1 if any cannot be read.
    """
    from caf_video.cli.clip_tables import print_clips, print_lengths
    from caf_video.data.summary import length_seconds
    from caf_video.pipeline.check import check as check_clips

    checked = check_clips(
        manifest,
        timesteps=timesteps,
        candidates=candidates,
        timeout_seconds=timeout_seconds,
        workers=workers,
        fps=fps,
        good=write,
        videos=videos,
        listed=lambda clips: print_clips(
            clips,
            timesteps=timesteps,
            candidates=candidates,
            channels=DEFAULT_CHANNELS,
            grid=DEFAULT_GRID,
        ),
        track=track,
    )
    kinds: Counter[tuple[str, str, str]] = Counter()
    for one in checked:
        if one.info is not None:
            info = one.info
            rate = f"{info.fps:.4g}" if info.has_clock else "unknown"
            kinds[f"{info.width}x{info.height}", rate, info.reader] += 1
    if kinds:
        table = Table("size", "fps", "reader", "clips")
        for kind, count in sorted(kinds.items()):
            table.add_row(*kind, str(count))
        show(table)
    print_lengths(
        [
            length_seconds(one.clip, one.info.duration_seconds)
            for one in checked
            if one.info is not None and one.info.has_clock
        ]
    )
    bad = [one for one in checked if not one.ok]
    for one in bad:
        out.print(f"{one.clip.clip_id}: {one.reason}", soft_wrap=True)
    frames = {one.clip.path: one.info.frame_count for one in checked if one.info is not None}
    out.print(
        f"{len(checked) - len(bad)} of {len(checked)} clips can be read; "
        f"their {len(frames)} videos have {sum(frames.values())} frames."
    )
    unread = dict.fromkeys(name for one in checked for name, _ in one.clip.other)
    if unread:
        names = ", ".join(unread)
        out.print(f"Columns that mean nothing here, and are kept: {names}", soft_wrap=True)
    if write is not None:
        out.print(f"Those that can: {write}", soft_wrap=True)
    if bad:
        raise typer.Exit(1)


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
    workers: Annotated[
        int,
        typer.Option(help="Processes that decode (0: none, and none that hangs is ended).", min=0),
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of splits drawn for clips without one.", min=0)] = 0,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Frames a second, where neither file nor list says: raw streams (.h264, .hevc), "
            "folders of frames, times in frames."
        ),
    ] = None,
    videos: Videos = None,
    shard: ShardText = None,
) -> None:
    """Turn the clips' frames into frozen feature maps on disk.

    Goes on where it was interrupted, and past a clip that cannot be read (then exit code 3). Clips
    without a split get one, whole sessions at a time, and keep it when others are added. Several
    processes, each with a shard, fill one store; `status` says what is there.
    """
    from caf_video.data.clips import splits_without_clips
    from caf_video.data.manifest import read_manifest
    from caf_video.pipeline.extract import extract as extract_features

    part = open_shard(shard)
    network = open_backbone(backbone, weights, stride, precision)
    extracted = extract_features(
        manifest,
        folder,
        backbone=network,
        size=parse_size(size),
        timesteps=timesteps,
        candidates=candidates,
        workers=workers,
        seed=seed,
        fps=fps,
        videos=videos,
        shard=part,
        track=track,
    )
    store = extracted.store
    for one in extracted.failed:
        err.print(f"{one.clip.clip_id} ({one.clip.path}): {one.reason}", soft_wrap=True)
    if extracted.failed:
        err.print(
            f"{len(extracted.failed)} clips have no features and are not in "
            f"{store.manifest_path}; the same command tries them again.",
            soft_wrap=True,
        )
    if extracted.clips < extracted.total:
        out.print(f"{extracted.clips} of {extracted.total} clips are of this shard.")
    empty = splits_without_clips(read_manifest(store.manifest_path))
    if empty:
        err.print(empty, soft_wrap=True)
    out.print(f"Features: {store.folder}", soft_wrap=True)
    if extracted.failed:
        raise typer.Exit(EXIT_PARTLY)
    following = f"caf-video train features={store.folder} run_dir=RUN"
    if extracted.clips < extracted.total:
        following = f"caf-video status {store.folder} {manifest}"
    out.print(f"Next: {following}", soft_wrap=True)

"""Bring events from where they were annotated: tools' exports, and the Honda driving dataset."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from caf_video.cli.console import out, show, track
from caf_video.errors import InputError

if TYPE_CHECKING:
    from caf_video.pipeline.import_events import Imported

_NAMED = 20  # of the videos that were not found


def import_events(
    source: Annotated[
        Path, typer.Argument(help="An exported file, of any format named above, or a folder.")
    ],
    videos: Annotated[Path, typer.Option(help="Folder that the videos are in, at any depth.")],
    manifest: Annotated[Path, typer.Option("--out", help="The manifest to write, a new file.")],
    format: Annotated[
        str | None,
        typer.Option(
            help="elan, activitynet, via, label-studio or csv; told by the content, unless given."
        ),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option(help="Whose events are meant: a tier (ELAN), attribute (VIA) or control."),
    ] = None,
    columns: Annotated[
        str, typer.Option(help="Of a CSV: path=video,start=t0,end=t1,label=behavior.")
    ] = "",
    unit: Annotated[
        str | None, typer.Option(help="Of times in a CSV: s, ms or frames, where none is named.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second, for times in frames.", min=0.001)
    ] = None,
    first_frame: Annotated[
        int | None, typer.Option(help="Number of a video's first frame.", min=0, max=1)
    ] = None,
) -> None:
    """Turn an annotation tool's export into a manifest.

    ELAN .eaf, ActivityNet JSON, VIA 3 JSON, Label Studio JSON, CSV. Videos are found by their
    names. What was skipped is counted by reason.
    """
    from caf_video.data.events.events import Reading
    from caf_video.data.events.table import UNITS, parse_columns
    from caf_video.pipeline.import_events import import_events as bring

    if unit is not None and unit not in UNITS:
        raise InputError(f"--unit {unit}: it is one of {', '.join(UNITS)}")
    how = Reading(tier, parse_columns(columns), unit, fps, first_frame)
    _report(bring(source, videos, manifest, how=how, format=format))
    out.print(f"Manifest: {manifest}", soft_wrap=True)
    out.print(f"Next: caf-video check {manifest}", soft_wrap=True)


def import_hdd(
    root: Annotated[Path, typer.Argument(help="Folder of the release.")],
    target: Annotated[
        Path, typer.Option("--out", help="New manifest, or with --features folder of a store.")
    ],
    layer: Annotated[str, typer.Option(help="goal, stimuli or cause.")] = "goal",
    classes: Annotated[
        str,
        typer.Option(help="all; or with the background trn (12, of causes 7), author (11), seven."),
    ] = "all",
    min_seconds: Annotated[
        float | None, typer.Option(help="Shortest event; 5 steps of 1/3 s, unless given.")
    ] = None,
    background: Annotated[
        bool | None, typer.Option(help="Whether stretches without an event are a class.")
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(help="cfg.py or TRN_data_info.json; found in the release, unless given."),
    ] = None,
    val_sessions: Annotated[
        int, typer.Option(help="Sessions of training to validate by.", min=0)
    ] = 10,
    annotations: Annotated[
        Path | None, typer.Option(help="Folder of .eaf files; ROOT, unless given.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(help="Folder of maps of the feature release, to be used where they are."),
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="With --features: a release with videos, for the strips.")
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(help="With --features: first or last, where the maps' shape does not tell."),
    ] = None,
    timesteps: Annotated[
        int | None, typer.Option(help="With --features: steps that stand for a clip.", min=1)
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(help="With --features: steps per timestep to choose from, odd.", min=1),
    ] = None,
) -> None:
    """Turn the Honda driving dataset into a manifest.

    Or, with --features, its feature release into a feature store, its maps read where they are.
    Events by its authors' rule, sessions split as published. docs/guide/hdd.md goes on to a
    trained run.
    """
    from caf_video.data.events.hdd import EventRule
    from caf_video.data.events.hdd_labels import classes_named, layer_named
    from caf_video.data.events.hdd_steps import SHORTEST_SECONDS
    from caf_video.pipeline.import_hdd import HddSplit, import_hdd_features
    from caf_video.pipeline.import_hdd import import_hdd as bring

    chosen = layer_named(layer)
    seconds = SHORTEST_SECONDS if min_seconds is None else min_seconds
    rule = EventRule(chosen, classes_named(chosen, classes, background), seconds)
    sessions = HddSplit(split, val_sessions)
    if features is None:
        only = {
            "--videos": videos, "--channels": channels,
            "--timesteps": timesteps, "--candidates": candidates,
        }  # fmt: skip
        if given := [name for name, value in only.items() if value is not None]:
            raise InputError(f"{', '.join(given)}: for --features; give it, or leave them out")
        imported = bring(root, target, rule, annotations=annotations, split=sessions, track=track)
        _report(imported)
        out.print(f"Manifest: {target}", soft_wrap=True)
        out.print(f"Next: caf-video check {target}", soft_wrap=True)
        return
    if annotations is not None:
        raise InputError("--annotations: with --features the release's own labels are read")
    imported = import_hdd_features(
        root,
        features,
        target,
        rule,
        videos=videos,
        channels=channels,
        timesteps=timesteps or 3,
        candidates=candidates or 3,
        split=sessions,
        track=track,
    )
    _report(imported)
    out.print(f"Features: {target}", soft_wrap=True)
    out.print(f"Next: caf-video train experiment=hdd features={target} run_dir=RUN", soft_wrap=True)


def _report(imported: "Imported") -> None:
    """Clips by label and split, and what did not become one."""
    from caf_video.data.clip import ALL_SPLITS

    counts = Counter((clip.label, clip.split) for clip in imported.clips)
    used = {clip.split for clip in imported.clips}
    splits = [split for split in (*ALL_SPLITS, "") if split in used]
    table = Table("label", *(split or "no split" for split in splits))
    for label in sorted({clip.label for clip in imported.clips}):
        table.add_row(label, *(str(counts[label, split]) for split in splits))
    show(table)
    videos = {clip.path for clip in imported.clips}
    out.print(f"{len(imported.clips)} clips of {len(videos)} videos.", highlight=False)
    for reason, count in imported.skipped.most_common():
        out.print(f"Skipped, {reason}: {count}", highlight=False, soft_wrap=True)
    if imported.unread:
        names = ", ".join(imported.unread)
        out.print(f"Columns that nothing reads: {names}", highlight=False, soft_wrap=True)
    if imported.missing:
        out.print(
            f"Videos not found: {len(imported.missing)}, with "
            f"{sum(imported.missing.values())} events: {_named(imported.missing)}",
            highlight=False,
            soft_wrap=True,
        )


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return ", ".join(listed[:_NAMED]) + more

"""What a list of clips holds, as tables: before a long piece of work, and after the check."""

from collections.abc import Sequence
from statistics import median

from rich.table import Table

from caf_video.cli.console import out, show
from caf_video.data.clip import Clip
from caf_video.data.clips import assign_splits, splits_without_clips
from caf_video.data.summary import (
    features_bytes,
    label_counts,
    length_seconds,
    sampled_frames,
    splits_in,
)


def print_clips(
    clips: Sequence[Clip], *, timesteps: int, candidates: int, channels: int, grid: tuple[int, int]
) -> None:
    """Clips by label, split and number of recordings, their lengths, and the disk they will take.

    Clips without a split are counted in the one that extraction deals them by default.

    Args:
        channels: Of a feature map.
        grid: (h, w) of a feature map.
    """
    dealt = assign_splits(clips, seed=0)
    splits = splits_in(dealt)
    table = Table("label", *splits, "sessions")
    for count in label_counts(dealt):
        table.add_row(count.label, *map(str, count.clips), str(count.recordings))
    table.add_section()
    table.add_row(
        "all",
        *(str(sum(clip.split == split for clip in dealt)) for split in splits),
        str(len({clip.recording for clip in dealt})),
    )
    show(table)
    undealt = sum(not clip.split for clip in clips)
    if undealt:
        out.print(f"{undealt} clips have no split in the list: as seed 0 deals them.")
    if empty := splits_without_clips(dealt):
        out.print(f"Note: {empty}", soft_wrap=True)
    print_lengths([length_seconds(clip) for clip in clips])
    frames = sampled_frames(dealt, timesteps=timesteps, candidates=candidates)
    size = readable_bytes(features_bytes(frames, channels, grid))
    h, w = grid
    out.print(f"Features of {frames} frames, {channels} channels of {h}x{w} cells: {size}.")


def print_lengths(lengths: Sequence[float | None]) -> None:
    """Shortest, middle and longest; those of unknown length counted apart."""
    known = [length for length in lengths if length is not None]
    open_ended = len(lengths) - len(known)
    if known:
        text = f"{min(known):.2f} / {median(known):.2f} / {max(known):.2f} s"
        more = f"; {open_ended} more end with their video" if open_ended else ""
        out.print(f"Lengths, shortest / median / longest: {text}{more}.", soft_wrap=True)


def readable_bytes(count: int) -> str:
    """`12 MB`, in powers of 1000, as disks are sold."""
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"

"""The clip strip (Fig. 9): one row, a column for each timestep, the attention over each frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from caf_video.errors import InputError
from caf_video.rendering.boxes import Box, draw_box
from caf_video.rendering.legend import Key, box_key, colour_bar, legend, legend_text
from caf_video.rendering.overlay import check_frames, check_heatmap, overlay
from caf_video.rendering.scale import scaled_to_width
from caf_video.rendering.style import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    PAPER,
    RIGHT,
    TRUTH,
    WRONG,
    font,
    write,
    write_heading,
)

# Pixels. Column i of the first row begins at x = MARGIN + i (column_width + GAP), and its frame at
# y = MARGIN + TITLE_HEIGHT, or CAPTION_HEIGHT lower where there is a caption.
MARGIN, GAP = 24, 14
CAPTION_HEIGHT, TITLE_HEIGHT, SHARE_HEIGHT = 60, 26, 30

_INFLUENCE = "frame's share of the embedding change when blanked"
_SHARE = "frame's share of the clip's one filter"


@dataclass(frozen=True)
class ClipCaption:
    """What the strip says above the frames; without a neighbour only the clip and its label."""

    clip_id: str
    label: str
    neighbour_id: str = ""
    neighbour_label: str = ""
    correct: bool | None = None  # the gate: had the nearest other clip the same label
    neighbour_session: str = ""
    distance: float | None = None  # to the neighbour, Euclidean


@dataclass(frozen=True)
class NeighbourRow:
    """The nearest other clip's frames, uint8 (t, height, width, 3), plain under the clip's own."""

    frames: NDArray[np.uint8]
    titles: Sequence[str]


def frame_title(frame_index: int, time_seconds: float) -> str:
    """The usual title of a frame: 'frame 7 · 1.75 s'."""
    return f"frame {frame_index} · {time_seconds:.2f} s"


def clip_strip(
    frames: NDArray[np.uint8],
    heatmaps: NDArray[np.floating],
    *,
    titles: Sequence[str],
    caption: ClipCaption | None = None,
    boxes: Sequence[Box] | NDArray[np.floating] | None = None,
    evidence_visible: Sequence[bool] | NDArray[np.bool_] | None = None,
    frame_influence: Sequence[float] | NDArray[np.floating] | None = None,
    frame_shares: Sequence[float] | NDArray[np.floating] | None = None,
    neighbour: NeighbourRow | None = None,
    column_width: int = 448,
) -> Image.Image:
    """Draw a clip's frames side by side under their heatmaps, with a legend of all that is drawn.

    Args:
        frames: RGB, uint8 (t, height, width, 3).
        heatmaps: Non-negative heat, (t, height, width); each frame's is drawn on its own maximum,
            or all on the clip's where there are `frame_shares`.
        titles: One line a frame, t of them (see `frame_title`).
        caption: The clip, its label, its nearest neighbour, right or wrong.
        boxes: Ground truth, t boxes (x1, y1, x2, y2) in pixels of a frame; empty or NaN: none.
        evidence_visible: For each box, whether the evidence is visible; all are, by default.
        frame_influence: Each frame's share of the embedding change when it is blanked, (t,).
        frame_shares: Each frame's share of the clip's one filter, (t,), in place of the influence;
            the heat of different frames may then be compared.
        neighbour: A second row.
        column_width: Width of a drawn frame, pixels; its height keeps the frame's aspect.

    Raises:
        InputError: If a length is not t, a shape is wrong or a value not finite; names the frame.
    """
    name = caption.clip_id if caption else "clip"
    check_frames(frames, name)
    _check_lengths(
        name,
        len(frames),
        {
            "heatmaps": heatmaps,
            "titles": titles,
            "boxes": boxes,
            "evidence flags": evidence_visible,
            "frame influences": frame_influence,
            "frame shares": frame_shares,
        },
    )
    if frame_influence is not None and frame_shares is not None:
        raise InputError(f"{name}: frame influences or frame shares, a strip draws one of them")
    drawn = frame_influence if frame_shares is None else frame_shares
    if drawn is not None and not np.isfinite(drawn).all():
        what = "influence" if frame_shares is None else "share"
        raise InputError(f"{name}: a frame {what} is not finite")
    scaled = [scaled_to_width(heatmap, column_width) for heatmap in heatmaps]
    maximum = None if frame_shares is None else max(float(heatmap.max()) for heatmap in scaled)
    pictures = []
    for position, (frame, heatmap) in enumerate(zip(frames, heatmaps, strict=True)):
        frame_name = f"{name}, {titles[position]}"
        check_heatmap(heatmap, frame.shape[:2], frame_name)
        picture = overlay(
            scaled_to_width(frame, column_width),
            scaled[position],
            maximum=maximum,
            name=frame_name,
        )
        if boxes is not None:
            # Drawn after scaling: the line keeps its width whatever the size of the video.
            box = np.asarray(boxes[position], np.float64) * (column_width / frame.shape[1])
            visible = evidence_visible is None or bool(evidence_visible[position])
            picture = draw_box(picture, box, evidence_visible=visible)
        pictures.append(picture)

    columns = max(len(frames), len(neighbour.frames) if neighbour else 0)
    width = columns * (column_width + GAP) - GAP
    blocks = [_caption_block(caption, width)] if caption else []
    blocks.append(_row_block(pictures, titles, drawn, width))
    if neighbour:
        neighbour_name = f"neighbour of {name}"
        check_frames(neighbour.frames, neighbour_name)
        _check_lengths(neighbour_name, len(neighbour.frames), {"titles": neighbour.titles})
        plain = [scaled_to_width(frame, column_width) for frame in neighbour.frames]
        blocks.append(_row_block(plain, [f"nearest · {t}" for t in neighbour.titles], None, width))
    hidden = evidence_visible is not None and not np.all(evidence_visible)
    shares = "" if drawn is None else _INFLUENCE if frame_shares is None else _SHARE
    blocks.append(_legend_block(width, boxes is not None, hidden, shares))
    return _stacked(blocks, width)


def one_above_another(strips: Sequence[Image.Image]) -> Image.Image:
    """Strips of one clip in one picture, the first on top."""
    size = max(strip.width for strip in strips), sum(strip.height for strip in strips)
    canvas, top = Image.new("RGB", size, PAPER), 0
    for strip in strips:
        canvas.paste(strip, (0, top))
        top += strip.height
    return canvas


def _check_lengths(name: str, count: int, values: dict[str, Sequence | NDArray | None]) -> None:
    for what, value in values.items():
        if value is not None and len(value) != count:
            raise InputError(f"{name}: {count} frames but {len(value)} {what}")


def _stacked(blocks: list[Image.Image], width: int) -> Image.Image:
    height = sum(block.height for block in blocks) + 2 * MARGIN
    canvas = Image.new("RGB", (width + 2 * MARGIN, height), PAPER)
    top = MARGIN
    for block in blocks:
        canvas.paste(block, (MARGIN, top))
        top += block.height
    return canvas


def _caption_block(caption: ClipCaption, width: int) -> Image.Image:
    """Two lines: which clip this is; what was found nearest to it, and whether that was right."""
    block = Image.new("RGB", (width, CAPTION_HEIGHT), PAPER)
    write_heading(block, 17, caption.label, caption.clip_id, sizes=(19, 15), gap=12)
    if not caption.neighbour_id:
        return block
    left = 0.0
    if caption.correct is not None:
        verdict = "✓ right" if caption.correct else "✗ wrong"
        colour = RIGHT if caption.correct else WRONG
        left = 10 + write(block, (0, 42), verdict, font(15, bold=True), colour, width=width)
    parts = [f"nearest other clip: {caption.neighbour_label}, {caption.neighbour_id}"]
    if caption.neighbour_session:
        parts.append(f"session {caption.neighbour_session}")
    if caption.distance is not None:
        parts.append(f"distance {caption.distance:.3f}")
    text = " · ".join(parts)
    if left + 40 < width:
        write(block, (left, 42), text, font(15), INK, width=width - left)
    return block


def _row_block(
    pictures: list[NDArray[np.uint8]],
    titles: Sequence[str],
    shares: Sequence[float] | NDArray[np.floating] | None,
    width: int,
) -> Image.Image:
    """Frames side by side, a title above each and its share of something below."""
    column_height, column_width = pictures[0].shape[:2]
    below = GAP if shares is None else SHARE_HEIGHT
    block = Image.new("RGB", (width, TITLE_HEIGHT + column_height + below), PAPER)
    for position, picture in enumerate(pictures):
        left = position * (column_width + GAP)
        write(block, (left, 17), titles[position], font(14), MUTED, width=column_width)
        block.paste(Image.fromarray(picture), (left, TITLE_HEIGHT))
        if shares is not None:
            top = TITLE_HEIGHT + column_height + 8
            _draw_share(block, left, top, column_width, float(shares[position]))
    return block


def _draw_share(block: Image.Image, left: int, top: int, width: int, share: float) -> None:
    """A thin bar on its track, the number at its right end."""
    text = f"{share:.2f}"
    track = width - 48
    filled = round(track * min(max(share, 0.0), 1.0))
    block.paste(FAINT, (left, top, left + track, top + 5))
    block.paste(ACCENT, (left, top, left + filled, top + 5))
    write(block, (left + width, top + 8), text, font(13), INK, anchor="rs")


def _legend_block(width: int, boxes: bool, hidden: bool, shares: str) -> Image.Image:
    """What is drawn, and nothing that is not; `shares` is what the bars are, if there are any."""
    heat = legend_text(of="clip" if shares == _SHARE else "frame")
    keys: list[Key] = [(colour_bar(72, 10), heat)]
    if boxes:
        keys.append((box_key(TRUTH), "ground truth"))
    if boxes and hidden:
        keys.append((box_key(TRUTH, evidence_visible=False), "ground truth, evidence not visible"))
    if shares:
        keys.append((_share_key(), shares))
    return legend(keys, width)


def _share_key() -> Image.Image:
    key = Image.new("RGB", (28, 5), FAINT)
    key.paste(ACCENT, (0, 0, 16, 5))
    return key

"""filters ─► pictures: what `caf_video.explain` and `explain_clip` return can be looked at.

The mathematics in attention/ knows of no picture. Here its results meet rendering/: the public
functions are attention's own, and return attention's own results with a few methods more.
"""

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from caf_video.attention import ClipExplanation, Explanation
from caf_video.attention import explain as _explain
from caf_video.attention import explain_clip as _explain_clip
from caf_video.errors import InputError
from caf_video.localization import cut_levels
from caf_video.models.backbones import Backbone
from caf_video.pipeline.display import Frame, as_frames, is_pictures, stretched
from caf_video.rendering import (
    LEVELS,
    MOVING,
    LookCell,
    LookRow,
    clip_strip,
    heat_over,
    look_sheet,
    write_image,
    write_moving,
)
from caf_video.rendering import overlay as draw_overlay

Contours = str | Sequence[float]
P = ParamSpec("P")

_MOST_SHOWN = 24  # pictures of a sheet that nobody asked for by name
_IN_A_ROW = 4
_GREY = 96  # under heat of which there is no picture


@dataclass(frozen=True, repr=False)
class DrawableExplanation(Explanation):
    """An `Explanation` to look at.

    Attributes:
        inputs: What was explained, kept for `save` and `show`.
        mean, std: What it was normalised with, where the network says so.
    """

    inputs: Any = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def overlay(
        self,
        images: Any,
        *,
        contours: Contours = LEVELS,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> list[Image.Image]:
        """The images under their heat, one for each filter, in the order of the samples.

        Where every frame has a filter of its own, the frames of the first sample come first.

        Args:
            images: Of any size, as `caf_video.overlay` takes them: as many as there are filters.
            contours: As of `caf_video.overlay`.
            mean, std: What normalised images were normalised with, on the scale from 0 to 1.

        Raises:
            InputError: The images are of no such kind or of another number, or the filters are not
                over (height, width).
        """
        frames = as_frames(images, mean=mean, std=std)
        heat = self._heat()
        if len(frames) != len(heat):
            raise InputError(f"{len(frames)} images for {len(heat)} filters: wanted one for each")
        return [
            _drawn(frame, one, contours, f"image {number}")
            for number, (frame, one) in enumerate(zip(frames, heat, strict=True))
        ]

    def save(
        self,
        path: str | Path,
        images: Any = None,
        *,
        contours: Contours = LEVELS,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        """Write one picture of all images under their heat: png, jpg or webp.

        Args:
            path: Where to; the suffix names the format.
            images: As of `overlay`. None: the inputs that were explained. Those normalised with
                what nobody says are drawn between their own extremes, which the picture says.
            contours, mean, std: As of `overlay`.

        Raises:
            InputError: As `overlay`.
            CafVideoError: The file cannot be written.
        """
        write_image(path, self._sheet(images, contours, mean, std))

    def show(self, images: Any = None, **options: Any) -> None:
        """Open the picture that `save` writes; takes what `save` takes."""
        self._sheet(
            images,
            options.pop("contours", LEVELS),
            options.pop("mean", None),
            options.pop("std", None),
            **options,
        ).show()

    def __repr__(self) -> str:
        of = f"{self.layer}, {self.axes}" + (f", until {self.until}" if self.until else "")
        return _in_three_lines(self, of)

    def _repr_png_(self) -> bytes | None:
        return _png(self._sheet(None, LEVELS, None, None)) if self.filters.dim() >= 3 else None

    def _repr_html_(self) -> str:
        return _page(repr(self), self._repr_png_())

    def _heat(self) -> NDArray[np.float32]:
        if self.filters.dim() - self.losses.dim() != 2:
            raise InputError(
                f"filters over {tuple(self.filters.shape[self.losses.dim() :])} cells are no "
                "picture: wanted (height, width)"
            )
        return _array(self.heatmaps.flatten(0, -3))

    def _sheet(
        self,
        images: Any,
        contours: Contours,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> Image.Image:
        heat = self._heat()
        remarks = []
        if images is None:
            frames, remark = self._shown(heat, mean, std)
            remarks += [remark] if remark else []
        else:
            frames = as_frames(images, mean=mean, std=std)
        if len(heat) > _MOST_SHOWN and images is None:
            remarks.append(f"the first {_MOST_SHOWN} of {len(heat)}")
            heat, frames = heat[:_MOST_SHOWN], frames[:_MOST_SHOWN]
        if len(frames) != len(heat):
            raise InputError(f"{len(frames)} images for {len(heat)} filters: wanted one for each")
        losses, settled = self.losses.flatten().tolist(), self.settled.flatten().tolist()
        cells = [
            LookCell(
                frame,
                heat[i],
                _levels(contours, heat[i]),
                title=f"{i}",
                note=f"loss {losses[i]:.3g}" + ("" if settled[i] else ", not settled"),
            )
            for i, frame in enumerate(frames)
        ]
        rows = [LookRow(cells[i : i + _IN_A_ROW]) for i in range(0, len(cells), _IN_A_ROW)]
        levels = () if isinstance(contours, str) else tuple(contours)
        if isinstance(contours, str):
            remarks.append(f"lines where the protocol {contours} cuts")
        return look_sheet(rows, contours=levels, remarks=remarks)

    def _shown(
        self,
        heat: NDArray[np.float32],
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> tuple[list[Frame], str]:
        """What the network was shown, as pictures, and what is to be said of them."""
        inputs = self.inputs[0] if isinstance(self.inputs, tuple) else self.inputs
        if isinstance(inputs, dict):
            inputs = next(iter(inputs.values()), None)
        if not is_pictures(inputs):
            grey = np.full((*heat.shape[1:], 3), _GREY, np.uint8)
            return [grey] * len(heat), "the input is no picture: its heat alone, over grey"
        mean, std = mean or self.mean, std or self.std
        if inputs.dtype == torch.uint8:
            return as_frames(inputs), ""
        if mean is None and not 0 <= float(inputs.min()) <= float(inputs.max()) <= 1:
            return stretched(inputs), "pixels drawn between their own extremes"
        return as_frames(inputs.float(), mean=mean, std=std), ""


@dataclass(frozen=True, repr=False)
class DrawableClipExplanation(ClipExplanation):
    """A `ClipExplanation` to look at."""

    def strip(
        self,
        frames: Any,
        *,
        clip: int = 0,
        titles: Sequence[str] | None = None,
        column_width: int = 448,
    ) -> Image.Image:
        """A clip's frames side by side under their heat (Fig. 9).

        Args:
            frames: The t frames of the clip, of any size, as `caf_video.overlay` takes images.
            clip: Which of the b clips.
            titles: A line above each frame; None numbers them.
            column_width: Pixels, of a frame as it is drawn.

        Raises:
            InputError: There is no such clip, or the frames are not t.
        """
        pictures, heat = self._pairs(frames, clip)
        size = pictures[0].shape[:2]
        if any(picture.shape[:2] != size for picture in pictures):
            raise InputError("the frames of a clip are of several sizes: wanted one")
        resized = np.stack([heat_over(one, size) for one in heat])
        names = titles or [f"frame {number}" for number in range(len(pictures))]
        return clip_strip(np.stack(pictures), resized, titles=names, column_width=column_width)

    def save(
        self,
        path: str | Path,
        frames: Any = None,
        *,
        clip: int = 0,
        fps: float = 2.0,
        contours: Contours = LEVELS,
    ) -> None:
        """Write a clip under its heat: mp4, gif or webp frame by frame, png or jpg as a strip.

        Args:
            path: Where to; the suffix names the format.
            frames: As of `strip`; None draws the heat alone, over grey.
            clip: Which of the b clips.
            fps: Frames a second.
            contours: As of `caf_video.overlay`; a strip has the usual ones.

        Raises:
            InputError: As `strip`, or the suffix is of no such format.
            CafVideoError: The file cannot be written.
        """
        if Path(path).suffix.lower() not in MOVING:
            write_image(path, self.strip(self._plain() if frames is None else frames, clip=clip))
            return
        pictures, heat = self._pairs(self._plain() if frames is None else frames, clip)
        drawn = (
            np.asarray(_drawn(picture, one, contours, f"frame {number}"))
            for number, (picture, one) in enumerate(zip(pictures, heat, strict=True))
        )
        write_moving(path, drawn, fps=fps)

    def show(self, frames: Any = None, *, clip: int = 0) -> None:
        """Open the strip of a clip; without frames the heat alone, over grey."""
        self.strip(self._plain() if frames is None else frames, clip=clip).show()

    def __repr__(self) -> str:
        return _in_three_lines(self, "clips × frames × cells")

    def _repr_png_(self) -> bytes | None:
        return _png(self.strip(self._plain(), column_width=224))

    def _repr_html_(self) -> str:
        return _page(repr(self), self._repr_png_())

    def _pairs(self, frames: Any, clip: int) -> tuple[list[Frame], NDArray[np.float32]]:
        if not -len(self.heatmaps) <= clip < len(self.heatmaps):
            raise InputError(f"there are {len(self.heatmaps)} clips, no clip {clip}")
        pictures, heat = as_frames(frames), _array(self.heatmaps[clip])
        if len(pictures) != len(heat):
            raise InputError(f"{len(pictures)} frames for the {len(heat)} filters of clip {clip}")
        return pictures, heat

    def _plain(self) -> NDArray[np.uint8]:
        timesteps, height, width = self.heatmaps.shape[1:]
        scale = max(1, 256 // max(height, width))
        return np.full((timesteps, height * scale, width * scale, 3), _GREY, np.uint8)


def overlay(
    image: Any,
    heatmap: ArrayLike | Tensor,
    *,
    contours: Contours = LEVELS,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Image.Image:
    """An image under a heatmap: L2-CAF's, Grad-CAM's, or any other.

    The heat is divided by its own maximum, for display alone.

    Args:
        image: A PIL image; or an array or tensor, uint8, floats from 0 to 1, or normalised, of
            (height, width, 3) or (3, height, width).
        heatmap: Heat, nowhere negative, (h, w); of another size it is resized linearly.
        contours: Lines at these shares of the maximum; or the name of a protocol of localisation
            ("cam", "adl", "simple"): lines where it cuts.
        mean, std: What a normalised image was normalised with, on the scale from 0 to 1.

    Raises:
        InputError: The image is of no such kind or several, or the heat is negative or not finite.
    """
    frames = as_frames(image, mean=mean, std=std)
    if len(frames) != 1:
        raise InputError(f"{len(frames)} images for one heatmap: wanted one")
    heat = np.asarray(heatmap.detach().cpu() if isinstance(heatmap, Tensor) else heatmap)
    if heat.ndim != 2 or not heat.size:
        raise InputError(f"heatmap of shape {heat.shape}: wanted (height, width)")
    return _drawn(frames[0], heat.astype(np.float32), contours, "heatmap")


def _levels(contours: Contours, heat: NDArray[np.float32]) -> tuple[float, ...]:
    if isinstance(contours, str):
        return cut_levels(contours, heat) if heat.max() > 0 else ()
    return tuple(contours)


def _drawn(frame: Frame, heat: NDArray[np.float32], contours: Contours, name: str) -> Image.Image:
    resized = heat_over(heat, frame.shape[:2])
    levels = _levels(contours, resized)
    return Image.fromarray(draw_overlay(frame, resized, contours=levels, name=name))


def _array(maps: Tensor) -> NDArray[np.float32]:
    return maps.detach().float().cpu().numpy()


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _page(text: str, png: bytes | None) -> str:
    picture = ""
    if png is not None:
        picture = f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    return f"<pre>{html.escape(text)}</pre>{picture}"


def _in_three_lines(found: Explanation | ClipExplanation, of: str) -> str:
    """Shape; loss; solver, and which were not settled."""
    least, most = float(found.losses.min()), float(found.losses.max())
    unsettled = [tuple(place) for place in (~found.settled).nonzero().tolist()]
    names = ", ".join(str(place[0] if len(place) == 1 else place) for place in unsettled[:8])
    names += ", …" if len(unsettled) > 8 else ""
    settled = f"not settled: {names}" if unsettled else "all settled"
    steps = f"{int(found.steps.max())} steps at most"
    return (
        f"{type(found).__name__.removeprefix('Drawable')} of {tuple(found.filters.shape)} ({of})\n"
        f"loss {least:.4g}" + (f" to {most:.4g}\n" if most > least else "\n") + f"solver "
        f"{found.solver}, {steps}, {settled}"
    )


def _values(found: Any) -> dict[str, Any]:
    return {field.name: getattr(found, field.name) for field in fields(found)}


def _drawable(solve: Callable[P, Explanation]) -> Callable[P, DrawableExplanation]:
    @wraps(solve)
    def explain(*args: P.args, **kwargs: P.kwargs) -> DrawableExplanation:
        found = solve(*args, **kwargs)
        model, inputs = (
            kwargs.get(name, args[place] if place < len(args) else None)
            for place, name in enumerate(("model", "inputs"))
        )
        mean = std = None
        if isinstance(model, Backbone):
            mean, std = (
                tuple(value / 255 for value in values)
                for values in (model.normalization.mean, model.normalization.std)
            )
        return DrawableExplanation(**_values(found), inputs=inputs, mean=mean, std=std)

    explain.__annotations__["return"] = DrawableExplanation
    return explain


def _drawable_clip(
    solve: Callable[P, ClipExplanation],
) -> Callable[P, DrawableClipExplanation]:
    @wraps(solve)
    def explain_clip(*args: P.args, **kwargs: P.kwargs) -> DrawableClipExplanation:
        return DrawableClipExplanation(**_values(solve(*args, **kwargs)))

    explain_clip.__annotations__["return"] = DrawableClipExplanation
    return explain_clip


explain = _drawable(_explain)
explain_clip = _drawable_clip(_explain_clip)

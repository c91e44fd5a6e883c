"""The pictures of these pages, made anew.

caf-video demo --out runs/demo
python docs/pictures.py --demo runs/demo --road solidWhiteRight.mp4

The road is Udacity's (github.com/udacity/CarND-LaneLines-P1, `test_videos/`, MIT). All else is
rendered by `caf_video.synthetic`.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import caf_video
from caf_video.attention import METHODS
from caf_video.attention.methods import Given
from caf_video.cli import app
from caf_video.data.clip_boxes import read_boxes
from caf_video.data.video.reader import VideoReader
from caf_video.localization import cut_levels, enlarge, localize
from caf_video.models.backbones import Backbone, load_backbone
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.explain import ExplainedClip, draw_clip, explain_clips
from caf_video.rendering import (
    LookCell,
    LookRow,
    SheetRow,
    contact_sheet,
    draw_box,
    heat_over,
    look_sheet,
    one_above_another,
)
from caf_video.synthetic import EVENT_CLASSES, PICTURE_CLASSES, render_clip, render_picture

HERE = Path(__file__).parent
SIZE = 256  # pixels of a rendered picture
SCENES = [("stop_sign", 3), ("sedan", 8), ("van", 21)]  # and their sessions
SHOWN = (2, 6, 10)  # frames of a clip on the contact sheet
QUALITY = 80


def saved(picture: Image.Image, name: str, width: int) -> None:
    """A JPEG of at most that many pixels across, in docs/."""
    height = round(picture.height * min(1.0, width / picture.width))
    picture.resize((min(width, picture.width), height), Image.Resampling.LANCZOS).save(
        HERE / name, "JPEG", quality=QUALITY
    )


def road(video: Path) -> None:
    """The animated strip at the top of the README, by the command that it names."""
    with TemporaryDirectory() as folder:
        words = ["explain", str(video), "--backbone", "efficientnet_lite0", "--out", folder]
        words += ["--class", "sports car", "--start", "5", "--fps", "3", "--format", "webp"]
        app(words, standalone_mode=False)
        (HERE / "road.webp").write_bytes(next(Path(folder).glob("*.webp")).read_bytes())


def look(backbone: Backbone, video: Path) -> None:
    """What `result.save` writes: of a frame of the road and of rendered pictures."""
    with VideoReader(video) as reader:
        frame = reader.read([205])[0][:, :540]  # nearly square
    pictures = [np.asarray(Image.fromarray(frame).resize((SIZE, SIZE)))]
    images = backbone.preprocessing((SIZE, SIZE))(np.stack([*pictures, *scenes()]))
    result = caf_video.explain(backbone, images)
    with TemporaryDirectory() as folder:
        result.save(Path(folder) / "look.png")
        saved(Image.open(Path(folder) / "look.png").convert("RGB"), "look.jpg", 900)


def scenes(further: int = 0) -> list[np.ndarray]:
    """The scenes, or others of the same classes."""
    return [
        render_picture(label, session=session + further, size=SIZE).pixels
        for label, session in SCENES
    ]


def classes() -> None:
    """A clip of every class, with its evidence."""
    rows = []
    for number, label in enumerate(EVENT_CLASSES):
        clip = render_clip(label, session=300 + number)
        rows.append(
            SheetRow(
                label,
                clip.frames[list(SHOWN)],
                boxes=clip.boxes[list(SHOWN)],
                evidence_visible=clip.visible[list(SHOWN)],
            )
        )
    contact_sheet(rows).save(HERE / "contact_sheet.jpg", "JPEG", quality=QUALITY)


def strips(demo: Path) -> None:
    """Clips of the demo: the README's strip, filters of both kinds, the truth."""
    run = demo / "run"
    evaluation = evaluate(run)
    right = {
        clip.label: clip.clip_id
        for clip, correct in zip(evaluation.clips, evaluation.gate.correct, strict=True)
        if correct
    }
    chosen = [right.get(label) for label in ("light_to_green", "car_leaves_left")]
    ids = [one for one in chosen if one] or list(right.values())[:1]
    each = explain_clips(run, ids)
    joint = explain_clips(run, ids, filters="joint")
    saved(draw_clip(each[0]), "strip.jpg", 1420)
    both = [draw_clip(one, captioned=False, with_neighbour=False) for one in (each[-1], joint[-1])]
    saved(one_above_another(both), "methods/clips.jpg", 1000)
    boxes, visible = (v[each[0].frame_indices] for v in truth(demo)[each[0].clip.clip_id])
    picture = draw_clip(
        each[0], captioned=False, with_neighbour=False, boxes=boxes, evidence_visible=visible
    )
    saved(picture, "metrics/clips.jpg", 1000)
    found(each)


def truth(demo: Path) -> dict:
    return read_boxes(demo / "clips" / "boxes.csv")


def found(explained: list[ExplainedClip]) -> None:
    """Queries beside what was nearest to them."""
    rows = []
    for one in explained:
        for clip, what in ((one.clip, "query"), (one.nearest, "nearest other")):
            with VideoReader(clip.path) as reader:
                frames = reader.read(list(SHOWN))
            rows.append(SheetRow(clip.label, frames, note=f"{what}, session {clip.session}"))
    sheet = contact_sheet(rows, columns=2, frame_width=160)
    saved(sheet, "metrics/retrieval.jpg", 1040)


class Pooled(nn.Module):
    """An embedding: the mean of the map."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.maps = backbone.trunk

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean(dim=(2, 3))


def methods(backbone: Backbone) -> None:
    """Every method's picture, of the same scenes."""
    pictures = scenes()
    images = backbone.preprocessing((SIZE, SIZE))(np.stack(pictures))
    with torch.no_grad():
        maps = backbone.features(images)
        first = backbone.head(maps).topk(2, dim=1).indices

    def heat(name: str, given: Given) -> np.ndarray:
        found = METHODS[name].of_pictures(backbone.tail, maps, given).detach()
        return (found.abs() if METHODS[name].filters else found.clamp(min=0)).numpy()

    def sheet(file: str, columns: dict[str, np.ndarray]) -> None:
        rows = [
            LookRow(
                [LookCell(picture, title="picture")]
                + [
                    LookCell(picture, heat_over(one[number], picture.shape[:2]), title=title)
                    for title, one in columns.items()
                ]
            )
            for number, picture in enumerate(pictures)
        ]
        saved(look_sheet(rows), f"methods/{file}.jpg", 200 * (len(columns) + 1))

    none = Given()
    both = [Given(classes=first[:, place]) for place in (0, 1)]
    sheet("l2_caf", {"l2-caf": heat("l2-caf", none), "l2-caf-passed": heat("l2-caf-passed", none)})
    sheet(
        "class",
        {
            f"{name}, {word}": heat(name, given)
            for name in ("l2-caf-class", "l2-caf-class-centered")
            for word, given in zip(("1st", "2nd"), both, strict=True)
        },
    )
    sheet(
        "grad_cam",
        {
            "grad-cam, 1st class": heat("grad-cam", both[0]),
            "2nd class": heat("grad-cam", both[1]),
            "retrieval-grad-cam": heat("retrieval-grad-cam", none),
            "…-abs": heat("retrieval-grad-cam-abs", none),
        },
    )
    sheet("cam", {"cam, 1st class": heat("cam", both[0]), "2nd class": heat("cam", both[1])})
    sheet("norm", {"feature-norm": heat("feature-norm", none), "uniform": heat("uniform", none)})


def pair(backbone: Backbone) -> None:
    """What in x resembles y, the same kind of thing in another scene, and what does not."""
    preprocess = backbone.preprocessing((SIZE, SIZE))
    pictures, others = scenes(), scenes(further=40)
    embed = Pooled(backbone).eval()
    of_x, of_y = preprocess(np.stack(pictures)), preprocess(np.stack(others))
    kinds = [render_picture(label, session=90, size=SIZE).pixels for label in PICTURE_CLASSES]
    with torch.no_grad():
        center = embed(preprocess(np.stack(kinds))).mean(dim=0)
    plain = caf_video.explain(embed, of_x, layer="maps", reference=of_y)
    by_mean = caf_video.explain(embed, of_x, layer="maps", reference=of_y, center=center)
    by_map = caf_video.explain(embed, of_x, layer="maps", reference=of_y, center="map")
    rows = []
    for number, (picture, other) in enumerate(zip(pictures, others, strict=True)):
        heats = {
            "l2-caf-pair": plain.heatmaps[number],
            "l2-caf-like-mean": by_mean.heatmaps[number],
            "l2-caf-like": by_map.heatmaps[number],
        }
        cells = [LookCell(picture, title="x"), LookCell(other, title="y")]
        cells += [LookCell(picture, heat.numpy(), title=name) for name, heat in heats.items()]
        rows.append(LookRow(cells))
    saved(look_sheet(rows), "methods/pair.jpg", 1000)


def boxes(backbone: Backbone) -> None:
    """The same map under several protocols."""
    rows = []
    for label, session in SCENES:
        rendered = render_picture(label, session=session, size=SIZE)
        images = backbone.preprocessing((SIZE, SIZE))(rendered.pixels[None])
        first = backbone(images).argmax(dim=1)
        found = caf_video.explain(backbone, images, target=first, center_logits=True)
        grid = found.filters[0].clamp(min=0).numpy()
        cells = []
        for name in ("cam", "adl", "simple"):
            size = rendered.pixels.shape[:2]
            heat = enlarge(name, grid, size, size)
            box = localize(name, heat)
            picture = draw_box(rendered.pixels, np.asarray(box).reshape(-1, 4)[0])
            levels = cut_levels(name, heat)
            cells.append(LookCell(picture, np.clip(heat, 0, None), levels, title=name))
        rows.append(LookRow(cells))
    saved(look_sheet(rows, contours=()), "metrics/localization.jpg", 700)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path)
    parser.add_argument("--road", type=Path)
    chosen = parser.parse_args()
    backbone = load_backbone("efficientnet_lite0")
    classes()
    methods(backbone)
    pair(backbone)
    boxes(backbone)
    if chosen.road:
        road(chosen.road)
        look(backbone, chosen.road)
    if chosen.demo:
        strips(chosen.demo)


if __name__ == "__main__":
    main()

"""What explain returns, looked at: whose heat lies on which image, in any form they come in."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import caf_video
from caf_video.attention import ClipExplanation, Explanation
from caf_video.attention import explain as plain_explain
from caf_video.data.video.reader import VideoReader
from caf_video.errors import InputError
from caf_video.localization import PROTOCOLS
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.pipeline.display import as_frames
from caf_video.rendering import overlay as draw

SIDE = 32


class Quarters(nn.Module):
    """A map of 2 x 2 cells, of which logit k reads cell k of the brightness alone."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(SIDE // 2)
        self.head = nn.Linear(4, 4, bias=False)
        self.head.weight = nn.Parameter(torch.eye(4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(images.mean(dim=1, keepdim=True)).flatten(1))


@pytest.fixture
def images() -> torch.Tensor:
    """Image k is bright in quarter k: (4, 3, 32, 32), 0 to 1."""
    quarters = torch.full((4, 2, 2), 0.02)
    quarters.view(4, 4).fill_diagonal_(0.9)
    return quarters.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, None].repeat(1, 3, 1, 1)


@pytest.fixture
def result(images: torch.Tensor):
    return caf_video.explain(Quarters(), images, layer="pool")


def test_it_is_attentions_own_result_and_more(result, images) -> None:
    plain = plain_explain(Quarters(), images, layer="pool")
    assert type(plain) is Explanation and isinstance(result, Explanation)
    assert torch.equal(plain.filters, result.filters)
    assert torch.equal(result.outputs, Quarters()(images))
    assert caf_video.explain.__doc__ == plain_explain.__doc__


def test_each_image_is_drawn_under_its_own_heat(result, images) -> None:
    for scale in (1, 3):
        shown = images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
        for k, picture in enumerate(result.overlay(shown, contours=())):
            assert picture.size == (scale * SIDE, scale * SIDE)
            pixels = np.asarray(picture).astype(int)
            half = scale * SIDE // 2
            warm = (pixels[..., 0] - pixels[..., 2]).reshape(2, half, 2, half).sum(axis=(1, 3))
            assert warm.argmax() == k


def test_all_kinds_of_the_same_images_are_the_same_pictures(result, images) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    as_column = lambda values: torch.tensor(values).view(3, 1, 1)  # noqa: E731
    uint8 = (255 * images).round().to(torch.uint8)
    kinds = {
        "floats": (images, {}),
        "uint8": (uint8, {}),
        "channels last": (uint8.movedim(1, 3).numpy(), {}),
        "list of PIL": ([Image.fromarray(one.movedim(0, 2).numpy()) for one in uint8], {}),
        "normalised": ((images - as_column(mean)) / as_column(std), {"mean": mean, "std": std}),
        "one channel": (images[:, :1], {}),
    }
    wanted = [np.asarray(picture) for picture in result.overlay(images)]
    for name, (kind, numbers) in kinds.items():
        for picture, one in zip(result.overlay(kind, **numbers), wanted, strict=True):
            assert np.abs(np.asarray(picture).astype(int) - one).max() <= 1, name


@pytest.mark.parametrize(
    ("bad", "numbers", "message"),
    [
        (torch.randn(4, 3, 8, 8), {}, "normalised images say with what"),
        (torch.zeros(3, 3, 8, 8), {}, "3 images for 4 filters"),
        (torch.zeros(4, 2, 8, 8), {}, r"images are torch.float32 \(4, 2, 8, 8\)"),
        ("photo.jpg", {}, "images are str"),
        (torch.zeros(4, 3, 8, 8), {"mean": (0, 0, 0)}, "mean and std belong together"),
        (torch.zeros(4, 3, 8, 8).byte(), {"mean": 0, "std": 1}, "uint8 are not normalised"),
        (torch.zeros(4, 3, 8, 8), {"mean": (0, 0), "std": (1, 1)}, "mean has shape"),
        (torch.full((4, 3, 8, 8), torch.nan), {}, "pixels go from nan"),
    ],
)
def test_images_that_are_none_are_an_error_in_one_line(result, bad, numbers, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        result.overlay(bad, **numbers)
    assert "\n" not in str(caught.value)


def test_three_lines_are_a_picture_and_a_page(result, tmp_path) -> None:
    result.save(tmp_path / "look.png")
    with Image.open(tmp_path / "look.png") as sheet:
        assert sheet.size[0] == 2 * 20 + 4 * 256 + 3 * 10
        assert np.array_equal(sheet, Image.open(io.BytesIO(result._repr_png_())))
    lines = repr(result).splitlines()
    assert len(lines) == 3
    assert "(4, 2, 2)" in lines[0] and "pool" in lines[0]
    assert f"{float(result.losses.min()):.4g}" in lines[1]
    assert "exact" in lines[2] and "all settled" in lines[2]
    assert "<img" in result._repr_html_() and "<script" not in result._repr_html_()


def test_what_was_not_settled_is_named_and_a_hostile_layer_stays_text(result) -> None:
    settled = torch.tensor([True, False, True, False])
    told = replace(result, settled=settled, layer="<script>")
    assert repr(told).splitlines()[2].endswith("not settled: 1, 3")
    assert "<script>" not in told._repr_html_() and "&lt;script&gt;" in told._repr_html_()


@pytest.mark.parametrize("kind", ["normalised", "no picture"])
def test_a_picture_says_what_stands_for_inputs_that_cannot_be_shown(
    images, kind, tmp_path, monkeypatch
) -> None:
    remarks = []
    monkeypatch.setattr(
        "caf_video.pipeline.pictures.look_sheet",
        lambda rows, **options: remarks.extend(options["remarks"]) or Image.new("RGB", (8, 8)),
    )
    network = Quarters()
    if kind == "normalised":
        caf_video.explain(network, images * 4 - 2, layer="pool").save(tmp_path / "a.png")
        assert remarks == ["pixels drawn between their own extremes"]
        remarks.clear()
        found = caf_video.explain(network, images * 4 - 2, layer="pool")
        found.save(tmp_path / "a.png", mean=(0.5,), std=(0.25,))
        assert remarks == []
    else:
        maps = torch.cat([images, images], dim=1)
        caf_video.explain(network, maps, layer="pool").save(tmp_path / "a.png")
        assert remarks == ["the input is no picture: its heat alone, over grey"]


def test_any_heat_can_be_laid_over_any_image(images) -> None:
    heat = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    image = (255 * images[1]).byte().movedim(0, 2).numpy()
    resized = nn.functional.interpolate(
        heat[None, None], (SIDE, SIDE), mode="bilinear", align_corners=False
    )[0, 0].numpy()
    wanted = draw(image, resized, contours=(0.4,)).astype(int)
    found = np.asarray(caf_video.overlay(image, heat, contours=(0.4,))).astype(int)
    assert np.abs(wanted - found).max() <= 2  # OpenCV's weights are rounded otherwise
    with pytest.raises(InputError, match="negative"):
        caf_video.overlay(image, heat - 1)
    with pytest.raises(InputError, match="4 images for one heatmap"):
        caf_video.overlay(images, heat)
    with pytest.raises(InputError, match="wanted .height, width."):
        caf_video.overlay(image, heat[None])


@pytest.mark.parametrize("protocol", ["simple", "cam", "adl"])
def test_lines_are_where_a_protocol_cuts(protocol) -> None:
    """On a ramp from 1/2 to 1, a wide one: the first column that the protocol keeps."""
    ramp = np.tile(np.linspace(0.5, 1, 256, dtype=np.float32), (64, 1))
    if protocol != "adl":
        ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (64, 1))
    grey = np.full((64, 256, 3), 80, np.uint8)
    lined = np.asarray(caf_video.overlay(grey, ramp, contours=protocol)).astype(int)
    plain = np.asarray(caf_video.overlay(grey, ramp, contours=())).astype(int)
    first = int((lined - plain)[32].sum(axis=1)[:250].argmax())
    kept = {"simple": ramp[32] >= 0.2, "cam": np.floor(255 * ramp[32] + 0.5) > 20}
    kept["adl"] = (ramp[32] - 0.5) / 0.5 >= 52 / 256
    columns = {int(kept[protocol].argmax())}
    if protocol == "cam":
        columns |= {int((np.floor(255 * ramp[32] + 0.5) > level).argmax()) for level in (100, 110)}
    assert min(abs(first - column) for column in columns) <= 1


def test_an_oracle_has_no_level_of_its_own(images) -> None:
    oracles = [name for name, protocol in PROTOCOLS.items() if protocol.oracle]
    for name in oracles:
        with pytest.raises(InputError, match="oracle"):
            caf_video.overlay(images[0], torch.rand(2, 2), contours=name)


@pytest.fixture
def clip():
    torch.manual_seed(0)
    model = RecurrentEmbedder(in_channels=6, grid=(2, 4), hidden=8, embedding_dim=4).eval()
    maps = torch.rand(2, 3, 6, 2, 4)
    found = caf_video.explain_clip(model, maps)
    assert torch.allclose(found.outputs, model.head(model.features(maps)))
    return found


def test_a_clip_is_a_strip_or_moves(clip, tmp_path) -> None:
    assert isinstance(clip, ClipExplanation) and len(repr(clip).splitlines()) == 3
    frames = np.broadcast_to(
        np.array([40, 110, 180], np.uint8)[:, None, None, None], (3, 48, 96, 3)
    )
    strip = clip.strip(frames, clip=1, column_width=96)
    assert strip.width == 2 * 24 + 3 * 96 + 2 * 14
    clip.save(tmp_path / "clip.png", frames)
    for name in ("clip.gif", "clip.webp"):
        clip.save(tmp_path / name, frames, fps=4)
        with Image.open(tmp_path / name) as moving:
            assert (moving.n_frames, moving.size) == (3, (96, 48))
            assert moving.is_animated
    clip.save(tmp_path / "clip.mp4", frames, fps=4)
    with VideoReader(tmp_path / "clip.mp4") as reader:
        assert (reader.info.frame_count, reader.info.fps) == (3, 4)
        shown = reader.read([2])[0].astype(int)
    heat = nn.functional.interpolate(
        clip.heatmaps[:1], (48, 96), mode="bilinear", align_corners=False
    )[0, 2].numpy()
    assert np.abs(shown - draw(frames[2], heat)).mean() < 5  # of the codec
    assert np.abs(shown - draw(frames[0], heat)).mean() > 15
    clip.save(tmp_path / "heat.webp")  # alone, over grey
    assert clip._repr_png_()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="2 frames for the 3 filters of clip 0"):
        clip.strip(frames[:2])
    with pytest.raises(InputError, match="no clip 2"):
        clip.strip(frames, clip=2)


def test_leading_axes_of_images_are_counted_through() -> None:
    video = torch.arange(6).view(2, 3, 1, 1, 1).expand(2, 3, 3, 4, 5).byte()
    assert [int(frame[0, 0, 0]) for frame in as_frames(video)] == list(range(6))

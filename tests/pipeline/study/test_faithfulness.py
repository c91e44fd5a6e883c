"""Attention without ground truth: masked by hand, mosaics of flat colours, and both commands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from caf_video.attention import METHODS, Given
from caf_video.cli import main
from caf_video.data.images import LabelledImage, read_image_set
from caf_video.errors import InputError
from caf_video.models.backbones import Backbone
from caf_video.pipeline.localize.explained_network import ExplainedNetwork, of_backbone
from caf_video.pipeline.opened import open_run
from caf_video.pipeline.result_table import Best
from caf_video.pipeline.study.faithfulness import corner_heat, study_faithfulness
from caf_video.pipeline.study.mosaics import (
    Mosaic,
    MosaicHeat,
    heat_of_mosaics,
    in_quarter,
    photograph_mosaics,
)
from caf_video.pipeline.study.queries import (
    METHODS_OF_PAIRS,
    Queries,
    clip_queries,
    picture_queries,
)

COLOURS = {"red": (220, 0, 0), "green": (0, 220, 0), "blue": (0, 0, 220), "grey": (90, 90, 90)}


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    """Two pictures of each of four colours, white on their left eighth."""
    root = tmp_path / "flags"
    root.mkdir()
    rows = ["image,label"]
    for name, colour in COLOURS.items():
        for number in range(2):
            pixels = np.full((40, 80, 3), colour, np.uint8)
            pixels[:, :10] = 255
            Image.fromarray(pixels).save(root / f"{name}{number}.png")
            rows.append(f"{name}{number}.png,{name}")
    (root / "images.csv").write_text("\n".join(rows))
    return root


def queries_by_hand(*, in_gallery: bool = True) -> Queries:
    """Three samples of ten cells in two channels: what tells them apart lies in the first cell.

    The embedding is the sum over the cells. a and b have 9 in the first channel there, c in the
    second; the rest is 0.1 of both channels.
    """
    maps = torch.full((3, 1, 2, 2, 5), 0.1)
    for row, channel in enumerate((0, 0, 1)):
        maps[row, 0, channel, 0, 0] = 9.0 - row / 100
    whole = maps.sum(dim=(1, 3, 4))

    def nearest(raw: Tensor) -> np.ndarray:
        angles = torch.nn.functional.normalize(raw) @ torch.nn.functional.normalize(whole).T
        return angles.fill_diagonal_(-2).argmax(dim=1).numpy()

    evidence = torch.zeros(3, 1, 2, 5)
    evidence[:, 0, 0, 0] = 1
    return Queries(
        title="by hand",
        ids=["a", "b", "c"],
        labels=["one", "one", "other"],
        maps=maps,
        head=lambda a: a.sum(dim=(1, 3, 4)),
        nearest=nearest,
        gallery_labels=["one", "one", "other"],
        in_gallery=in_gallery,
        heat={"l2-caf": evidence, "feature-norm": -evidence},
        neighbours=whole[[1, 0, 1]],
        pair_heat={"l2-caf-like": evidence, "similarity": -evidence},
    )


def test_the_evidence_masked_is_seen_and_all_the_rest_masked_is_not() -> None:
    record = study_faithfulness(queries_by_hand()).record
    assert record["recall@1"] == 1.0  # of a and b: c has nobody to find
    assert record["with_another_of_their_class"] == 2
    found, spared = record["masked"]["l2-caf"], record["masked"]["feature-norm"]
    assert found["recall_zeros"]["count"] == 2
    assert spared["same_zeros"]["value"] == spared["recall_zeros"]["value"] == 1.0
    # A tenth is the first cell. What is left, 0.9 of both, is nearest to c, which has least there.
    assert found["recall_zeros"]["value"] == 0.0
    left, whole = np.array([0.9, 0.9]), np.array([9.9, 1.0])
    cosine = left @ whole / np.linalg.norm(left) / np.linalg.norm(whole)
    # 1 untouched, then `cosine` nine times, then nothing is left: by trapezoid.
    area = 0.1 * (0.5 + 9 * cosine)
    assert found["deletion_zeros"]["value"] == pytest.approx(area, abs=1e-3)
    assert spared["deletion_zeros"]["value"] > 0.9
    assert found["insertion_zeros"]["value"] == pytest.approx(spared["deletion_zeros"]["value"])
    difference = record["less_than_random"]["l2-caf"]["deletion_zeros"]
    random = record["masked"]["random"]["deletion_zeros"]["value"]
    assert difference["value"] == pytest.approx(area - random, abs=1e-3)


def test_a_pair_is_masked_by_the_cosine_to_the_nearest_other() -> None:
    found = study_faithfulness(queries_by_hand()).record["masked_pairs"]
    whole, neighbours = np.array([[9.9, 1.0], [9.89, 1.0], [1.0, 9.88]]), [1, 0, 1]

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    def area(of_share: list[float]) -> float:
        return 0.1 * (sum(of_share) - (of_share[0] + of_share[-1]) / 2)

    # The evidence first: nine times 0.9 and less of both channels, of one direction; then nothing.
    first, last = [], []
    for row, place in enumerate(neighbours):
        at_once = cosine(whole[row], whole[place])
        first.append(area([at_once, *[cosine(np.ones(2), whole[place])] * 9, 0.0]))
        left = [whole[row] - 0.1 * gone for gone in range(10)]  # a cell less of both channels
        last.append(area([*[cosine(one, whole[place]) for one in left], 0.0]))
    like, unlike = found["l2-caf-like"], found["similarity"]
    assert like["deletion_zeros"]["value"] == pytest.approx(np.mean(first), abs=2e-3)
    assert unlike["deletion_zeros"]["value"] == pytest.approx(np.mean(last), abs=2e-3)
    assert set(found) == {"l2-caf-like", "similarity", "random", "center"}


def test_the_mean_map_fills_in_what_samples_share() -> None:
    queries = queries_by_hand()
    mean = queries.maps.mean(dim=0, keepdim=True)
    left = queries.maps.clone()
    left[:, :, :, 0, 0] = mean[:, :, :, 0, 0]
    whole, masked = queries.head(queries.maps), queries.head(left)
    same = queries.nearest(masked) == queries.nearest(whole)
    record = study_faithfulness(queries).record["masked"]["l2-caf"]
    assert record["same_mean"]["value"] == pytest.approx(same.mean())


def test_heat_in_the_corners_is_told_beside_a_uniform_map() -> None:
    heat = torch.zeros(3, 2, 3, 4)
    heat[0] = 5.0  # the same everywhere
    heat[1, 0, 0, 0], heat[1, 1, 1, 1] = 1.0, 1.0  # half of it in one of 8 corners of 24 cells
    assert corner_heat(heat).tolist() == pytest.approx([1.0, 0.5 * 24 / 8, 1.0])


def test_a_gallery_apart_needs_one_of_the_class_only() -> None:
    record = study_faithfulness(queries_by_hand(in_gallery=False)).record
    assert record["with_another_of_their_class"] == 3


def test_the_share_of_a_quarter_is_summed_by_hand() -> None:
    heat = torch.arange(16.0).view(1, 4, 4).repeat(4, 1, 1)
    share, points = in_quarter(heat[:, None], torch.arange(4))
    sums = [0 + 1 + 4 + 5, 2 + 3 + 6 + 7, 8 + 9 + 12 + 13, 10 + 11 + 14 + 15]
    assert share.tolist() == pytest.approx([one / 120 for one in sums])
    assert points.tolist() == [False, False, False, True]
    share, points = in_quarter(torch.zeros(1, 1, 2, 4), torch.tensor([2]))
    assert share.tolist() == [0.25] and points.tolist() == [False]
    with pytest.raises(InputError, match="3 x 4 has no quarters"):
        in_quarter(torch.ones(1, 1, 3, 4), torch.tensor([0]))


def test_a_query_is_a_mirrored_crop_of_what_is_in_its_quarter(flags: Path) -> None:
    images = read_image_set("folder", flags).images
    mosaics = list(photograph_mosaics(images, 12, (40, 80), seed=0))
    assert len({mosaic.quarter for mosaic in mosaics}) == 4
    white = 0
    for mosaic in mosaics:
        names = [images[place].image_id for place in mosaic.places]
        assert len({name[:-5] for name in names}) == 4  # of four colours
        row, column = divmod(mosaic.quarter, 2)
        picture, query = mosaic.picture[0], mosaic.query[0]
        quarter = picture[40 * row : 40 * row + 40, 80 * column : 80 * column + 80]
        name = names[mosaic.quarter]
        np.testing.assert_array_equal(quarter, np.asarray(Image.open(flags / name)))
        np.testing.assert_array_equal(query[20, 20], quarter[20, 70])  # the left is coloured
        assert query.shape == (40, 80, 3)
        white += query[20, -1].min() == 255  # the white left is on the right, if it is there
    assert 0 < white < 12
    again = list(photograph_mosaics(images, 12, (40, 80), seed=0))
    assert all(np.array_equal(a.query, b.query) for a, b in zip(mosaics, again, strict=True))


def test_fewer_than_four_labels_make_no_mosaic(pictures: Path) -> None:
    with pytest.raises(InputError, match="of 4 distinct labels, and there are 3"):
        next(photograph_mosaics(read_image_set("folder", pictures).images, 1, (64, 64)))


class Colours:
    """A network whose map is the colours of a picture, and whose embedding is their mean."""

    tail = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def features(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 10)

    def preprocessing(self, size: tuple[int, int], resized: tuple[int, int] | None = None):
        def prepare(frames: np.ndarray) -> Tensor:
            assert frames.shape[1:3] == size
            return torch.from_numpy(frames).permute(0, 3, 1, 2) / 255

        return prepare


def test_a_centred_pair_finds_the_colour_that_it_is_asked_for(flags: Path) -> None:
    network = ExplainedNetwork(
        Colours(), "colours", "nothing", "embedding", None, None, True, (40, 80), "", {}
    )
    images = [i for i in read_image_set("folder", flags).images if "grey" not in i.image_id]
    grey = [i for i in read_image_set("folder", flags).images if "grey" in i.image_id]
    found = heat_of_mosaics(network, [*images, *grey], count=20, shown=2)
    assert list(found.energy) == list(METHODS_OF_PAIRS)
    coloured = np.array([m.places[m.quarter] < len(images) for m in drawn(images + grey)])
    # Of a primary colour less the mean of all four nothing else has anything: but for the white.
    assert found.energy["l2-caf-like"][coloured].mean() > 0.9
    assert found.pointing["l2-caf-like"][coloured].mean() > 0.9
    assert abs(found.energy["feature-norm"].mean() - 0.25) < 0.1
    assert len(found.shown) == 2
    for row, (mosaic, heats) in enumerate(found.shown):
        heat = torch.from_numpy(heats["l2-caf-like"])[None]
        share, _ = in_quarter(heat, torch.tensor([mosaic.quarter]))
        assert float(share) == pytest.approx(found.energy["l2-caf-like"][row])
    everything = drawn(images + grey)
    references = [torch.from_numpy(m.query / 255).mean(dim=(0, 1, 2)).float() for m in everything]
    picture = torch.from_numpy(everything[0].picture).permute(0, 3, 1, 2) / 255
    given = Given(reference=references[0][None], center=torch.stack(references).mean(dim=0))
    by_hand = METHODS["l2-caf-like-mean"].of_pictures(
        network.halves.tail, network.halves.features(picture), given
    )
    torch.testing.assert_close(
        by_hand.numpy(), found.shown[0][1]["l2-caf-like-mean"], rtol=0, atol=1e-4
    )


def drawn(images: list[LabelledImage]) -> list[Mosaic]:
    return list(photograph_mosaics(images, 20, (40, 80)))


def test_pictures_query_one_another_by_the_angle_of_the_pooled_map(
    flags: Path, backbone: Backbone
) -> None:
    images = read_image_set("folder", flags)
    queries = picture_queries(of_backbone(backbone), images.images, images.label_names)
    raw = queries.head(queries.maps)
    torch.testing.assert_close(raw, queries.maps[:, 0].mean(dim=(2, 3)))
    for row, place in enumerate(queries.nearest(raw)):
        others = [o for o in range(len(images.images)) if o != row]
        angle = [float(torch.cosine_similarity(raw[row], raw[o], dim=0)) for o in others]
        assert angle[others.index(place)] == pytest.approx(max(angle), abs=1e-6)
    lengths = torch.tensor([0.01, 100.0] * 4)[:, None]  # say nothing of an angle
    np.testing.assert_array_equal(queries.nearest(raw * lengths), queries.nearest(raw))
    places = queries.nearest(raw)
    torch.testing.assert_close(queries.neighbours, raw[torch.from_numpy(places)])
    tail = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    given = Given(reference=raw[torch.from_numpy(places)], center=raw.mean(dim=0))
    for name in ("l2-caf-like-mean", "grad-cam-cosine"):
        by_hand = METHODS[name].of_pictures(tail, queries.maps[:, 0], given)
        torch.testing.assert_close(queries.pair_heat[name][:, 0], by_hand.clamp(min=0))
    assert queries.labels[0] == "red" and queries.gallery_labels == queries.labels
    assert all(heat.min() >= 0 and heat.shape == (8, 1, 7, 7) for heat in queries.heat.values())


def test_a_picture_is_asked_about_its_nearest_other_and_not_about_itself(
    pictures: Path, backbone: Backbone
) -> None:
    images = read_image_set("folder", pictures)
    queries = picture_queries(of_backbone(backbone), images.images, images.label_names)
    raw = queries.head(queries.maps)
    for row in range(len(raw)):
        angles = torch.cosine_similarity(raw[row][None], raw, dim=1)
        angles[row] = -2
        torch.testing.assert_close(queries.neighbours[row], raw[angles.argmax()])
        assert not torch.equal(queries.neighbours[row], raw[row])


def test_clips_query_the_whole_split(known_run) -> None:
    run = open_run(known_run.folder)
    queries = clip_queries(run, count=3)
    assert len(queries.ids) == 3 and len(queries.gallery_labels) == 7 and queries.in_gallery
    assert list(queries.heat)[:2] == ["l2-caf", "l2-caf-joint"]
    everybody = clip_queries(run)
    assert list(everybody.pair_heat) == list(METHODS_OF_PAIRS)
    for row, clip_id in enumerate(everybody.ids):
        nearest = everybody.ids.index(known_run.nearest[clip_id])
        torch.testing.assert_close(
            everybody.neighbours[row], everybody.head(everybody.maps)[nearest]
        )
    names = [clip.clip_id for clip in known_run.clips if clip.split == "test"]
    found = everybody.nearest(everybody.head(everybody.maps))
    for clip_id, place in zip(everybody.ids, found, strict=True):
        assert names[place] == known_run.nearest[clip_id]


def test_one_sample_has_no_neighbour() -> None:
    with pytest.raises(InputError, match="one sample is not enough"):
        Queries(**{**vars(queries_by_hand()), "ids": ["a"]})


def test_mosaics_stand_in_the_table_and_empty_maps_are_told() -> None:
    energy = {name: np.full(2, 0.25) for name in METHODS_OF_PAIRS} | {
        "l2-caf-like": np.array([1.0, 0.5])
    }
    grey = np.full((3, 4, 4, 3), 90, np.uint8)
    mosaic = Mosaic(grey, grey[:, :2, :2], 0, (0, 1, 2, 3))
    shown = [(mosaic, {name: np.ones((3, 2, 2), np.float32) for name in energy})]
    points, empty = {name: np.zeros(2) for name in energy}, {"l2-caf-like": 0, "similarity": 2}
    heat = MosaicHeat(energy, points, empty, shown, "four clips; the query is a crop")
    study = study_faithfulness(queries_by_hand(), heat)
    row = study.tables[2].rows[0]
    assert row[:2] == ["L2-CAF of a pair, centred", "0.750 [0.500, 1.000]"]
    assert [isinstance(cell, Best) for cell in row[:2]] == [False, True]
    told = study.tables[2].notes
    assert "2 mosaics of four clips; the query is a crop of one of them." in told[0]
    assert "Decomposition of the similarity 2." in told[1]


def test_the_command_prints_its_table_line_by_line(
    known_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    command = ["caf-video", "study", "faithfulness", "--model", str(known_run.folder)]
    monkeypatch.setattr("sys.argv", [*command, "--out", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out.splitlines()
    assert "## Masked retrieval" in printed
    assert any(line.startswith("| Random cells |") for line in printed)
    assert "Without mosaics: a mosaic is of 4 distinct labels, and there are 3." in printed
    record = json.loads((folder / "faithfulness.json").read_text())
    assert record["masked"]["l2-caf"]["deletion_zeros"]["count"] == 7
    assert not (folder / "faithfulness-mosaics.png").exists()

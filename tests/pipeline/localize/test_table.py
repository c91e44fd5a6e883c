"""Every cell, note and value of the record, from figures that are all different."""

from dataclasses import replace
from pathlib import Path

import pytest

from caf_video.data.images import SkippedImage
from caf_video.localization import Estimate
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.localize.measure import Measurements
from caf_video.pipeline.localize.pictures import oracle_thresholds, spread
from caf_video.pipeline.localize.scores import Scores
from caf_video.pipeline.localize.table import cells, footnotes, header, markdown, percent, record

NETWORK = ExplainedNetwork(
    halves=None,  # type: ignore[arg-type]
    backbone="resnet18",
    trained="N-pair",
    kind="embedding",
    classes=None,
    label_names=None,
    normalize=True,
    size=(224, 224),
    protocol="classification",
    source={},
)
TITLES = {
    "GT-known LOC": "gt_known",
    "top-1 LOC": "top1_loc",
    "top-5 LOC": "top5_loc",
    "R@1-gated LOC": "gated_loc",
}


def rows_of(text: str) -> list[dict[str, str]]:
    """The table of a Markdown text: a dict by column for each row."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:2] == "| "]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def in_percent(share: float, low: float, high: float, sign: str = "") -> str:
    return "{:{s}.1f} [{:{s}.1f}, {:{s}.1f}]".format(share * 100, low * 100, high * 100, s=sign)


def written(figure: Estimate, sign: str = "") -> str:
    return in_percent(figure.value, figure.low, figure.high, sign)


def test_percent_is_a_hundred_times_the_share() -> None:
    assert percent(Estimate(0.694, 0.66, 0.729)) == "69.4 [66.0, 72.9]"
    assert percent(Estimate(0.5, 0.25, 1.0)) == "50.0 [25.0, 100.0]"
    assert percent(Estimate(0.021, -0.003, 0.04), signed=True) == "+2.1 [-0.3, +4.0]"
    assert percent(Estimate(-0.5, -0.75, 0.0), signed=True) == "-50.0 [-75.0, +0.0]"


def test_every_cell_of_the_markdown_table_of_a_classifier(classified: Scores) -> None:
    found = rows_of(markdown(classified, NETWORK, ["a note"]))
    names = ["simple", "simple", "maxboxacc_v2 (oracle)", "maxboxacc_v2 (oracle)"]
    for cell, row, name in zip(found, classified.rows, names, strict=True):
        assert cell.pop("protocol") == name
        assert cell.pop("method") == row.method
        assert (cell.pop("backbone"), cell.pop("trained")) == ("resnet18", "N-pair")
        assert cell.pop("Δ top-1 LOC") == ("–" if row.delta is None else written(row.delta, "+"))
        assert {TITLES[title]: value for title, value in cell.items()} == {
            figure: written(value) for figure, value in row.figures.items()
        }


def test_every_cell_of_the_markdown_table_of_an_embedding(embedded: Scores) -> None:
    found = rows_of(markdown(embedded, NETWORK, []))
    for cell, row in zip(found, embedded.rows, strict=True):
        near = embedded.retrieval[row.protocol]
        assert cell["protocol"] == row.protocol and cell["method"] == row.method
        assert cell["NMI"] == f"{near.nmi * 100:.1f}"
        assert cell["R@1"] == written(near.recall_at_1)
        assert cell["GT-known LOC"] == written(row.figures["gt_known"])
        assert cell["R@1-gated LOC"] == written(row.figures["gated_loc"])
        assert cell["Δ R@1-gated LOC"] == ("–" if row.delta is None else written(row.delta, "+"))
    assert markdown(embedded, NETWORK, ["one", "two"]).endswith("\n\n* one\n* two\n")


def test_the_table_of_a_screen_has_the_same_figures_without_intervals(
    classified: Scores, embedded: Scores
) -> None:
    for scores in (classified, embedded):
        columns = header(scores, full=False)
        for row in scores.rows:
            cell = dict(zip(columns, cells(row, scores, NETWORK, full=False), strict=True))
            assert cell.pop("method") == row.method
            assert cell.pop("protocol").split()[0] == row.protocol
            delta = next(cell.pop(name) for name in list(cell) if name[0] == "Δ")
            assert delta == ("–" if row.delta is None else f"{row.delta.value * 100:+.1f}")
            assert {TITLES[title]: value for title, value in cell.items()} == {
                figure: f"{value.value * 100:.1f}" for figure, value in row.figures.items()
            }


def test_notes_count_what_was_measured_and_what_was_not(
    classified: Scores, measured: Measurements
) -> None:
    skipped = [SkippedImage(f"s{i}", f"reason {i}") for i in range(7)]
    first, second, *_ = footnotes(classified, measured, skipped, "a set, split val")
    assert first.startswith("12 images of a set, split val, 10 with a box. Percent ")
    named = "; ".join(f"s{i}: reason {i}" for i in range(5))
    assert second == f"7 listed images were skipped: {named}; and 2 more."
    few = footnotes(classified, measured, skipped[:2], "")
    assert few[1] == "2 listed images were skipped: s0: reason 0; s1: reason 1."
    all_named = footnotes(classified, measured, skipped[:5], "")[1]
    assert all_named.endswith("s4: reason 4.") and "more" not in all_named
    assert not any("skipped" in note for note in footnotes(classified, measured, [], ""))


def test_protocols_of_which_all_is_the_same_share_a_note(
    classified: Scores, embedded: Scores, measured: Measurements
) -> None:
    top, near = classified.top["simple"], embedded.retrieval["cam"]
    scores = replace(
        classified,
        top={"simple": top, "cam": classified.top["maxboxacc_v2"], "maxboxacc_v2": dict(top)},
        retrieval={"cam": near, "simple": embedded.retrieval["adl"], "maxboxacc": near},
    )
    notes = footnotes(scores, measured, [], "")
    about = [note.partition(":")[0] for note in notes if "all images" in note]
    assert about == [
        "Classification of all images (simple, maxboxacc_v2)",
        "Classification of all images (cam)",
        "Retrieval among all images (cam, maxboxacc)",
        "Retrieval among all images (simple)",
    ]


def test_there_is_a_note_on_differences_where_there_is_one(
    classified: Scores, measured: Measurements
) -> None:
    rows = [replace(row, delta=None) for row in classified.rows]
    for there, scores in ((True, classified), (False, replace(classified, rows=rows))):
        notes = footnotes(scores, measured, [], "")
        assert any(note.startswith("Δ is ") for note in notes) is there
    with_all = [row for row in classified.rows if row.delta is not None]
    notes = footnotes(replace(classified, rows=with_all), measured, [], "")
    assert any(note.startswith("Δ is ") for note in notes)


def test_notes_of_a_classifier(classified: Scores, measured: Measurements) -> None:
    notes = footnotes(classified, measured, [], "")[1:]
    one, two = ([written(top[k]) for k in ("top1", "top5")] for top in classified.top.values())
    thresholds = [
        [f"{t:.3f}" for t in row.curve.best_thresholds] for row in classified.rows if row.curve
    ]
    assert notes == [
        f"Classification of all images (simple): top-1 {one[0]}, top-5 {one[1]}.",
        f"Classification of all images (maxboxacc_v2): top-1 {two[0]}, top-5 {two[1]}.",
        "Δ is top-1 LOC less that of vanilla Grad-CAM, by paired bootstrap.",
        "maxboxacc_v2 is an oracle, whose thresholds were chosen on these very boxes: l2-caf "
        f"{', '.join(thresholds[0])}; grad-cam {', '.join(thresholds[1])}.",
        "third: 4 of 12 filters are more negative than positive, and |f| then shows what speaks "
        "against the class.",
    ]


def test_notes_of_an_embedding(embedded: Scores, measured: Measurements) -> None:
    notes = footnotes(embedded, measured, [], "")
    assert (
        "Retrieval among all images (cam): R@1 66.6 [65.4, 70.0], R@2 76.6, R@4 81.6, R@8 86.6, "
        "NMI 44.4. 1 images are the only ones of their label."
    ) in notes
    assert (
        "Retrieval among all images (adl): R@1 "
        f"{written(embedded.retrieval['adl'].recall_at_1)}, R@2 65.7, R@4 70.7, R@8 75.7, NMI 33.3."
    ) in notes


def plain(figure: Estimate) -> dict[str, float]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}


def test_the_record_holds_shares_of_one_and_each_in_its_row(
    classified: Scores, measured: Measurements
) -> None:
    found = record(classified, NETWORK, measured, measured.skipped, {"a": 1})
    assert (found["backbone"], found["trained"], found["headline"]) == (
        "resnet18", "N-pair", "top1_loc",
    )  # fmt: skip
    for one, row in zip(found["rows"], classified.rows, strict=True):
        assert (one["protocol"], one["method"]) == (row.protocol, row.method)
        assert one["oracle"] is (row.protocol == "maxboxacc_v2")
        for name in ("gt_known", "top1_loc", "top5_loc"):
            assert one[name] == plain(row.figures[name])
        assert one["delta"] == (None if row.delta is None else plain(row.delta))
        if row.curve is None:
            assert one["curve"] is None
        else:
            accuracies = row.curve.accuracies.tolist()
            best = [max(level) for level in accuracies]
            assert one["curve"] == {
                "thresholds": row.curve.thresholds.tolist(),
                "iou_levels": [0.3, 0.5, 0.7],
                "accuracies": accuracies,
                "best_thresholds": [
                    row.curve.thresholds[level.index(most)]
                    for level, most in zip(accuracies, best, strict=True)
                ],
                "best_accuracy": pytest.approx(sum(best) / 3),
            }
    assert found["classification"] == {
        protocol: {name: plain(figure) for name, figure in top.items()}
        for protocol, top in classified.top.items()
    }
    assert found["negative_filters"] == {"first": 0, "third": 4}
    assert found["seconds"] == {"forward": 1.25, "total": 7.5}
    assert found["skipped"] == [{"image_id": "image-x", "reason": "cannot be read"}]


def test_the_record_of_each_image_is_its_own(classified: Scores, measured: Measurements) -> None:
    found = record(classified, NETWORK, measured, [], {})["images"]
    boxed = [i for i, image in enumerate(measured.images) if image.boxes]
    for i, (one, image) in enumerate(zip(found, measured.images, strict=True)):
        assert (one["image_id"], one["label"]) == (image.image_id, image.label)
        assert one["rank"] == {name: ranks[i] for name, ranks in measured.ranks.items()}
        if i not in boxed:
            assert "iou" not in one
            continue
        assert one["iou"] == {  # an oracle has no box of its own
            "simple": {
                method: round(float(overlaps[boxed.index(i), 0]), 4)
                for (protocol, method), overlaps in measured.overlaps.items()
                if protocol == "simple"
            }
        }


def test_the_record_of_an_embedding(embedded: Scores, measured: Measurements) -> None:
    found = record(embedded, NETWORK, measured, [], {})
    assert found["retrieval"]["cam"] == {
        "recall@1": plain(embedded.retrieval["cam"].recall_at_1),
        "recall@2": pytest.approx(0.766),
        "recall@4": pytest.approx(0.816),
        "recall@8": pytest.approx(0.866),
        "nmi": 0.444,
        "excluded": 1,
    }
    assert found["retrieval"]["adl"]["nmi"] == 0.333
    for i, one in enumerate(found["images"]):
        assert one["nearest"] == {
            "cam": f"image-{(i + 1) % 12}",
            "adl": f"image-{(i + 5) % 12}",
        }


def test_pictures_take_the_threshold_that_is_best_at_a_half(classified: Scores) -> None:
    thresholds = oracle_thresholds(classified, "maxboxacc_v2")
    assert (
        thresholds
        == {  # accuracy 0.3 at the first of three
            row.method: row.curve.thresholds[0] for row in classified.rows[2:] if row.curve
        }
    )
    assert len(set(thresholds.values())) == 2
    assert oracle_thresholds(classified, "simple") == {}


def test_pictures_are_of_images_with_boxes_spread_from_first_to_last(
    measured: Measurements,
) -> None:
    assert [image.path for image in spread(measured.images, 4)] == [
        Path(f"{i}.png") for i in (0, 4, 8, 11)
    ]
    assert len(spread(measured.images, 99)) == 10

"""What stands beside a training's curves: the chance of what is validated, and by what name."""

from collections.abc import Callable

import pytest

from caf_video.pipeline import train as stage
from caf_video.pipeline.train import compose_config, curves, train
from caf_video.training import MetricsFile


@pytest.fixture
def drawn(monkeypatch) -> dict:
    """What the curves are drawn of."""
    given: dict = {}

    def training_curves(series, *, references):
        given.update(series=series, references=references)
        return "a picture"

    monkeypatch.setattr(stage, "training_curves", training_curves)
    monkeypatch.setattr(stage, "write_image", lambda file, picture: given.update(file=file))
    return given


def test_curves_are_of_all_that_was_logged_but_the_learning_rate(tmp_path, drawn) -> None:
    metrics = MetricsFile(tmp_path)
    metrics.log_metrics({"loss": 0.5, "learning_rate": 0.1}, 0)
    metrics.log_metrics({"loss": 0.25, "learning_rate": 0.2, "recall@1": 0.75}, 1)
    metrics.save()
    assert curves(tmp_path, {"recall@1": {"chance": 0.4}}) == "a picture"
    assert drawn["series"] == {"loss": ([0, 1], [0.5, 0.25]), "recall@1": ([1], [0.75])}
    assert drawn["references"] == {"recall@1": {"chance": 0.4}}


def test_a_training_of_clips_is_drawn_beside_the_chance_of_its_validation_clips(
    make_store: Callable, make_clips: Callable, tmp_path, drawn
) -> None:
    clips = [clip for clip in make_clips() if clip.clip_id != "val/left_0"]
    overrides = [
        f"features={make_store(clips).folder}", f"run_dir={tmp_path / 'run'}", "progress_bar=false",
        "trainer.max_epochs=1", "data.batches_per_epoch=1", "data.classes_per_batch=3",
        "data.samples_per_class=2", "trainer.accelerator=cpu",
    ]  # fmt: skip
    run = train(compose_config(overrides))
    # Of 8 clips, 2 have 1 other of their class among 7 others, and 6 have 2.
    chance = (2 * 1 / 7 + 6 * 2 / 7) / 8
    assert drawn["references"] == {"recall@1": {"chance": pytest.approx(chance)}}
    assert drawn["file"] == run / "curves.png"


class Data:
    """Labels of a set of images."""

    label_names = ("a", "b", "c", "d", "e")

    def labels(self, split: str) -> list[str]:
        return {"train": ["a", "b"] * 9, "val": ["a", "a", "b", "b", "b"]}[split]


def test_a_guess_is_right_as_often_as_a_class_or_a_random_other_is() -> None:
    assert stage._chance({"kind": "classifier"}, Data()) == pytest.approx(1 / 5)
    wanted = (2 * 1 / 4 + 3 * 2 / 4) / 5
    assert stage._chance({"kind": "retrieval"}, Data()) == pytest.approx(wanted)

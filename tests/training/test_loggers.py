"""metrics.csv: a row a step, kept over a resume; loggers that say what to install."""

import pytest

from caf_video.training import LoggerError, MetricsFile, read_metrics
from caf_video.training import loggers as loggers_module


def test_what_is_logged_comes_back(tmp_path) -> None:
    metrics = MetricsFile(tmp_path)
    for step in range(60):
        metrics.log_metrics({"loss": 1 / (step + 1), "epoch": step // 10}, step)
        if step % 10 == 9:
            metrics.log_metrics({"recall@1": step / 100, "epoch": step // 10}, step)
    metrics.finalize("success")
    series = read_metrics(tmp_path)
    assert series.keys() == {"loss", "recall@1"}
    assert series["loss"][0] == list(range(60))
    assert series["loss"][1] == pytest.approx([1 / (step + 1) for step in range(60)])
    assert series["recall@1"] == ([9, 19, 29, 39, 49, 59], [0.09, 0.19, 0.29, 0.39, 0.49, 0.59])


def test_a_row_is_a_step(tmp_path) -> None:
    metrics = MetricsFile(tmp_path)
    metrics.log_metrics({"loss": 0.25}, 0)
    metrics.log_metrics({"recall@1": 0.5}, 0)
    metrics.log_metrics({"loss": 0.125}, 1)
    metrics.save()
    assert (tmp_path / "metrics.csv").read_text() == "step,loss,recall@1\n0,0.25,0.5\n1,0.125,\n"


def test_it_is_on_disk_while_training_runs(tmp_path) -> None:
    metrics = MetricsFile(tmp_path)
    for step in range(30):
        metrics.log_metrics({"loss": 1.0}, step)
    assert len(read_metrics(tmp_path)["loss"][0]) >= 20


def test_a_resumed_run_keeps_the_rows_before_and_makes_the_others_again(tmp_path) -> None:
    first = MetricsFile(tmp_path)
    for step in range(6):
        first.log_metrics({"loss": float(step)}, step)
    first.save()
    second = MetricsFile(tmp_path, resume_step=4)
    second.log_metrics({"loss": 40.0}, 4)
    second.save()
    assert read_metrics(tmp_path)["loss"] == ([0, 1, 2, 3, 4], [0.0, 1.0, 2.0, 3.0, 40.0])


def test_what_is_made_again_is_gone_before_it_is_made(tmp_path) -> None:
    first = MetricsFile(tmp_path)
    for step in range(6):
        first.log_metrics({"loss": float(step)}, step)
    first.save()
    MetricsFile(tmp_path, resume_step=4).save()
    assert read_metrics(tmp_path)["loss"][0] == [0, 1, 2, 3]


def test_a_new_run_begins_anew(tmp_path) -> None:
    for value in (1.0, 2.0):
        metrics = MetricsFile(tmp_path)
        metrics.log_metrics({"loss": value}, 0)
        metrics.save()
    assert read_metrics(tmp_path)["loss"] == ([0], [2.0])


def test_no_metrics_are_said_to_be_none(tmp_path) -> None:
    with pytest.raises(LoggerError, match="no metrics at"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("content", ["step,loss\nx,1\n", "a,b\n1,2\n", "step,loss\n1,no\n"])
def test_another_table_is_refused(tmp_path, content) -> None:
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(LoggerError, match="is not a table of metrics"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_logger_says_what_to_install(tmp_path, monkeypatch, name) -> None:
    def missing(*arguments, **settings) -> None:
        raise ModuleNotFoundError(f"no {name}")

    monkeypatch.setattr(loggers_module, "TensorBoardLogger", missing)
    monkeypatch.setattr(loggers_module, "WandbLogger", missing)
    settings = {"project": "p", "offline": True} if name == "wandb" else {}
    with pytest.raises(LoggerError, match=f"^logger={name} needs .* pip install {name}$"):
        getattr(loggers_module, name)(tmp_path, **settings)

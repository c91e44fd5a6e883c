"""The whole chain on a handful of synthetic clips, through the commands a user types."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caf_video import cli
from caf_video.attention.methods import METHODS

CAF_VIDEO = Path(sys.executable).with_name("caf-video")
EPOCHS = ("trainer.max_epochs=1", "data.batches_per_epoch=2")


def caf_video(*arguments: str | Path, code: int = 0, cwd: Path | None = None) -> str:
    """Run a command as a user would: what it prints, after a look at its exit code."""
    done = subprocess.run(
        [CAF_VIDEO, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo on two sessions a split, with a backbone of random weights and two steps."""
    import torch

    from caf_video.models.backbones import load_backbone
    from caf_video.pipeline.demo import run_demo

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("demo")
    backbone = load_backbone("efficientnet_lite0")
    run_demo(folder, backbone=backbone, sessions=(2, 2, 2), overrides=EPOCHS)
    return folder


def test_the_demo_leaves_every_figure_it_promises(demo: Path) -> None:
    metrics = json.loads((demo / "metrics.json").read_text())
    for name in ("recall@1", "recall@1_frozen", "recall@1_untrained", "chance", "nmi"):
        assert 0 <= metrics[name] <= 1, name
    ours = {"l2-caf", "retrieval-grad-cam", "retrieval-grad-cam-abs", "feature-norm", "uniform"}
    assert set(metrics["attention"]) == ours | {"box-prior"}
    assert ours <= METHODS.keys()
    for scores in metrics["attention"].values():
        assert {"pointing", "energy", "area", "n"} <= set(scores)
    uniform = metrics["attention"]["uniform"]
    assert uniform["energy"] == pytest.approx(uniform["area"], abs=1e-6)
    stages = {"synth", "check", "extract", "train", "evaluate", "attention", "explain"}
    assert stages <= set(metrics["seconds"])
    assert metrics["seed"] == 0


def test_the_report_holds_its_pictures_and_needs_no_network(demo: Path) -> None:
    page = (demo / "report.html").read_text()
    assert "data:image/" in page
    assert not re.search(r'(?:src|href)="https?://', page)


def test_the_report_says_of_every_class_and_clip_what_the_records_say(
    demo: Path, tmp_path: Path
) -> None:
    page = (demo / "report.html").read_text()
    caf_video("evaluate", demo / "run", "--json", tmp_path / "e.json")
    clips = json.loads((tmp_path / "e.json").read_text())["clips"]
    expected = []
    for label in sorted({clip["label"] for clip in clips}):
        right = [clip["correct"] for clip in clips if clip["label"] == label]
        expected.append((label, str(len(right)), f"{sum(right) / len(right):.3f}"))
    by_class = page.partition('id="classes"')[2].partition("</table>")[0]
    row = r'<th scope="row">(.*?)</th><td class="figure">(.*?)</td>.*?<data .*?>(.*?)</data>'
    assert re.findall(row, by_class) == expected

    captions = re.findall(r'<figcaption><span class="verdict (\w+)">.*?</span>(.*?)<', page)
    explained = [json.loads(path.read_text()) for path in (demo / "explained").glob("*.json")]
    assert sorted(captions) == sorted(
        (
            "right" if clip["label"] == clip["nearest_label"] else "wrong",
            f"{clip['label']} ({clip['clip_id']}); nearest: {clip['nearest_label']} "
            f"({clip['nearest']})",
        )
        for clip in explained
    )


def test_evaluate_writes_the_gate_of_every_clip(demo: Path, tmp_path: Path) -> None:
    text = caf_video("evaluate", demo / "run", "--json", tmp_path / "e.json")
    record = json.loads((tmp_path / "e.json").read_text())
    metrics = json.loads((demo / "metrics.json").read_text())
    assert record["recall@1"] == metrics["recall@1"]
    share = np.mean([clip["correct"] for clip in record["clips"]])
    assert share == pytest.approx(record["recall@1"])
    assert f"{record['recall@1']:.3f}" in text


def test_explain_shows_each_frame_of_a_clip_beside_its_neighbour(
    demo: Path, tmp_path: Path
) -> None:
    clip_id = json.loads((demo / "explained" / _first(demo)).read_text())["clip_id"]
    caf_video("explain", clip_id, "--model", demo / "run", "--out", tmp_path)
    record = json.loads((tmp_path / f"{clip_id}.json").read_text())
    stored = np.load(tmp_path / f"{clip_id}.npz")
    assert stored["filters"].shape == (3, 8, 14)
    np.testing.assert_allclose(np.linalg.norm(stored["filters"].reshape(3, -1), axis=1), 1, 1e-5)
    assert [frame["frame_index"] for frame in record["frames"]] == [2, 6, 10]
    assert sum(frame["influence"] for frame in record["frames"]) == pytest.approx(1)
    assert record["correct"] == (record["nearest_label"] == record["label"])
    with Image.open(tmp_path / f"{clip_id}.png") as strip:
        assert strip.width > 3 * 448


def test_explain_takes_a_video_file_that_no_manifest_lists(demo: Path, tmp_path: Path) -> None:
    video = next((demo / "clips" / "clips").rglob("*.mp4"))
    caf_video("explain", video, "--model", demo / "run", "--out", tmp_path)
    record = json.loads((tmp_path / f"{video.stem}.json").read_text())
    assert record["label"] == "" and record["correct"] is None and record["nearest"]


def test_only_correct_and_only_wrong_part_the_split(demo: Path, tmp_path: Path) -> None:
    for choice in ("correct", "wrong"):
        caf_video(
            "explain", "--model", demo / "run", "--split", "val", f"--only-{choice}",
            "--out", tmp_path / choice,
        )  # fmt: skip
    named = {
        choice: {path.stem for path in (tmp_path / choice).glob("*.json")}
        for choice in ("correct", "wrong")
    }
    assert not named["correct"] & named["wrong"]
    assert len(named["correct"] | named["wrong"]) == 24


def test_explain_without_training_overlays_a_video(demo: Path, tmp_path: Path) -> None:
    from caf_video.data.video.reader import probe_video

    video = next((demo / "clips" / "clips").rglob("*.mp4"))
    caf_video(
        "explain", video, "--backbone", "resnet18", "--weights", "none", "--every", "3",
        "--out", tmp_path,
    )  # fmt: skip
    stored = np.load(tmp_path / f"{video.stem}.npz")
    assert stored["frame_indices"].tolist() == [0, 3, 6, 9]
    assert probe_video(tmp_path / f"{video.stem}.mp4").frame_count == 4


def test_a_demo_that_is_run_again_does_nothing_twice(demo: Path) -> None:
    from caf_video.models.backbones import load_backbone
    from caf_video.pipeline.demo import run_demo

    before = {
        path: path.stat().st_mtime_ns
        for folder in ("clips/clips", "features/clips", "run/checkpoints")
        for path in (demo / folder).rglob("*")
    }
    backbone = load_backbone("efficientnet_lite0")
    run_demo(demo, backbone=backbone, sessions=(2, 2, 2), overrides=EPOCHS)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_demo_interrupted_in_training_is_told_to_be_run_again_as_it_was(
    demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from caf_video.models.backbones import load_backbone
    from caf_video.pipeline.demo import run_demo
    from caf_video.training import TrainingInterrupted

    def interrupted(_: object) -> None:
        raise TrainingInterrupted("the same command with ckpt_path=last")

    monkeypatch.setattr("caf_video.pipeline.demo.train", interrupted)
    backbone = load_backbone("efficientnet_lite0")
    with pytest.raises(KeyboardInterrupt):  # of which the command makes its own advice
        run_demo(demo, backbone=backbone, sessions=(2, 2, 2), overrides=EPOCHS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "no-such-run"], "no-such-run"),
        (["explain", "turn-7", "--model", "{run}"], "neither a video file nor a clip"),
        (["explain", "{manifest}", "--backbone", "resnet18", "--weights", "none"], "manifest.csv"),
        (["explain", "x.mp4", "--backbone", "resnet19"], "resnet19"),
        (["explain", "x.mp4"], "--model"),
        (["evaluate", "{run}", "--split", "night"], "night"),
        (["extract", "{manifest}", "--out", "{manifest}"], "is a file"),
        (["extract", "{manifest}", "--out", "{features}", "--size", "224x224"], "size is"),
        (["extract", "nowhere.csv", "--out", "f"], "nowhere.csv"),
        (["synth", "{manifest}"], "manifest.csv"),
        (["check", "{manifest}", "--candidates", "2"], "odd"),
    ],
)
def test_an_expected_failure_is_one_line_and_exit_code_2(
    demo: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    places = {
        "run": demo / "run",
        "manifest": demo / "clips" / "manifest.csv",
        "features": demo / "features",
    }
    text = caf_video(*(word.format(**places) for word in arguments), code=2, cwd=tmp_path)
    assert words in text
    assert len(text.strip().splitlines()) == 1


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("caf_video.synthetic.write_pictures", interrupted)
    monkeypatch.setattr("sys.argv", ["caf-video", "synth-pictures", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Interrupted; the same command goes on from here.\n"


def _first(demo: Path) -> str:
    return min(path.name for path in (demo / "explained").glob("*.json"))

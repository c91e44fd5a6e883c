"""The whole job on synthetic driving clips, one stage after the other, from nothing to a report."""

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from caf_video.attention import METHODS
from caf_video.data.clip_boxes import read_boxes
from caf_video.errors import CafVideoError
from caf_video.files import require_ours
from caf_video.models.backbones import Backbone
from caf_video.pipeline.check import check
from caf_video.pipeline.evaluate import Evaluation, evaluate
from caf_video.pipeline.explain import ExplainedClip, explain_clips
from caf_video.pipeline.explain_files import draw_clip, write_explanations
from caf_video.pipeline.extract import extract
from caf_video.pipeline.opened import open_features, open_run, split_maps
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.results import output_folder, read_json, write_json
from caf_video.pipeline.synthetic_attention import (
    evidence_influence,
    heat_of_frames,
    opposites_found,
    score_attention,
)
from caf_video.pipeline.train import compose_config, curves, train
from caf_video.rendering import GalleryItem, Report, one_above_another, write_report
from caf_video.synthetic import write_driving_clips
from caf_video.training import TrainingInterrupted

SIZE = (256, 448)  # height and width, of the clips and of the network's input: nothing is resampled
EXPLAINED_RIGHT, EXPLAINED_WRONG = 12, 4  # clips in the report

PRIOR_TITLES = {"box-prior": "Mean of training boxes"}

SUMMARY = (
    "Synthetic driving clips, in each of which one object decides the class of the event. A "
    "small recurrent network over frozen features was trained to put clips of one class side by "
    "side, and was tested on sessions it had never seen. L2-CAF then shows where it looked, frame "
    "by frame; one filter for the whole clip also shows when."
)


@dataclass(frozen=True)
class Demo:
    """What the demo left: `metrics` as in metrics.json, and the page to open."""

    metrics: dict[str, Any]
    report: Path


def run_demo(
    out: Path,
    *,
    backbone: Backbone,
    seed: int = 0,
    sessions: tuple[int, int, int] = (50, 10, 20),
    overrides: Sequence[str] = (),
    track: Track = quietly,
) -> Demo:
    """Render, check, extract, train, evaluate, explain; goes on where it was interrupted.

    Leaves clips/, features/, run/, explained/, metrics.json and report.html in `out`.

    Args:
        out: Folder for everything.
        backbone: The frozen network.
        seed: Of the training. The clips and their splits are the same whatever it is.
        sessions: Of the train, val and test splits.
        overrides: Hydra overrides of the demo's experiment.

    Raises:
        CafVideoError: A stage cannot do its work; says which and why.
        KeyboardInterrupt: On Ctrl-C, also in training.
    """
    folder = output_folder(out)
    require_ours(*(folder / name for name in ("seconds.json", "metrics.json", "report.html")))
    seconds = Stopwatch(folder / "seconds.json")
    with seconds.stage("synth"):
        manifest = write_driving_clips(
            folder / "clips",
            train_sessions=sessions[0],
            val_sessions=sessions[1],
            test_sessions=sessions[2],
            track=track,
        )
    with seconds.stage("check"):
        bad = [one for one in check(manifest, track=track) if not one.ok]
        if bad:
            raise CafVideoError(f"{bad[0].reason}: delete {bad[0].clip.path}, it is rendered again")
    with seconds.stage("extract"):
        extracted = extract(
            manifest, folder / "features", backbone=backbone, size=SIZE, track=track
        )
        if extracted.failed:
            raise CafVideoError(extracted.failed[0].reason)
        store = extracted.store
    with seconds.stage("train"):
        config = compose_config(["experiment=demo", *overrides])
        config.features, config.run_dir = str(store.folder), str(folder / "run")
        config.seed = seed
        config.ckpt_path = (
            "last" if (folder / "run" / "checkpoints" / "last.ckpt").exists() else None
        )
        try:
            run_folder = train(config)
        except TrainingInterrupted as error:  # whose advice is for `train`: here the same command
            raise KeyboardInterrupt from error
    with seconds.stage("evaluate"):
        evaluation = evaluate(run_folder, track=track)
    boxes_csv = manifest.parent / "boxes.csv"
    run = open_run(run_folder)
    maps = split_maps(open_features(run), evaluation.clips)
    with seconds.stage("attention"):
        heat = heat_of_frames("l2-caf", run, maps)
    with seconds.stage("score"):
        attention = score_attention(run, evaluation, maps, heat, boxes_csv, SIZE)
        backwards = opposites_found(run, evaluation, maps)
        influence = evidence_influence(run, evaluation, maps, boxes_csv)
    with seconds.stage("explain"):
        ids = clips_to_show(evaluation)
        explained = explain_clips(run_folder, ids, track=track)
        write_explanations(explained, folder / "explained", track=track)
        joint = explain_clips(run_folder, ids, filters="joint", track=track)
    record = evaluation.record()
    names = ("recall@1", "recall@1_frozen", "recall@1_untrained", "chance", "nmi")
    metrics = {
        **{name: record[name] for name in names},
        "baselines": record["baselines"],
        "map@r": record["map@r"],
        "r_precision": record["r_precision"],
        "other_sessions": record["other_sessions"],
        "nearest_of_own_session": record["nearest_of_own_session"],
        "gate": record["gate"],
        "per_class": record["per_class"],
        "attention": attention,
        "opposite_found_when_played_backwards": backwards,
        "influence": influence,
        "seconds": seconds.spent,
        "seed": seed,
        "backbone": backbone.name,
    }
    write_json(folder / "metrics.json", metrics)
    report = folder / "report.html"
    page = demo_report(metrics, evaluation, explained, joint, boxes_csv, run_folder)
    write_report(report, page, ours=True)
    return Demo(metrics, report)


class Stopwatch:
    """Seconds of each stage, kept on disk: a stage that was interrupted adds up."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.spent: dict[str, float] = read_json(file) if file.exists() else {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = self.spent.get(name, 0.0) + time.perf_counter() - started
            self.spent[name] = round(spent, 2)
            write_json(self._file, self.spent)


def clips_to_show(evaluation: Evaluation) -> list[str]:
    """Some clips of every class that were right, and some that were wrong."""
    right: dict[str, str] = {}
    wrong: list[str] = []
    for clip, correct in zip(evaluation.clips, evaluation.gate.correct, strict=True):
        if correct:
            right.setdefault(clip.label, clip.clip_id)
        else:
            wrong.append(clip.clip_id)
    return [*list(right.values())[:EXPLAINED_RIGHT], *wrong[:EXPLAINED_WRONG]]


def demo_report(
    metrics: dict[str, Any],
    evaluation: Evaluation,
    explained: Sequence[ExplainedClip],
    joint: Sequence[ExplainedClip],
    boxes_csv: Path,
    run_folder: Path,
) -> Report:
    """The page of the demo: each clip's strips show the boxes of the frames that they show.

    The upper one has a filter for each frame, the lower one for the clip, which also says when.
    """
    truth = read_boxes(boxes_csv)
    gallery = []
    for one, of_clip in zip(explained, joint, strict=True):
        boxes, visible = (values[one.frame_indices] for values in truth[one.clip.clip_id])
        strips = [
            draw_clip(
                clip, captioned=False, with_neighbour=clip is one, boxes=boxes,
                evidence_visible=visible,
            )
            for clip in (one, of_clip)
        ]  # fmt: skip
        picture = one_above_another(strips)
        caption = (
            f"{one.clip.label} ({one.clip.clip_id}); nearest: {one.nearest.label} "
            f"({one.nearest.clip_id})"
        )
        gallery.append(GalleryItem(picture, caption, bool(one.correct)))
    labels = [clip.label for clip in evaluation.clips]
    return Report(
        title="caf_video: the demo",
        summary=SUMMARY,
        metrics=metrics,
        methods={**{name: method.title for name, method in METHODS.items()}, **PRIOR_TITLES},
        per_class={
            label: (recall, labels.count(label))
            for label, recall in sorted(evaluation.result.per_class.items())
        },
        curves=curves(run_folder, {"recall@1": {"chance": evaluation.all_others.chance}}),
        gallery=gallery,
        run={
            "command": f"caf-video demo --seed {metrics['seed']} --backbone {metrics['backbone']}",
            "date": date.today().isoformat(),
            "caf_video": version("caf_video"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
        },
    )

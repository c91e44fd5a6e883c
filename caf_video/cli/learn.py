"""Train a network, and measure what it learned."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from caf_video.cli.console import one_line_failures, out, track

if TYPE_CHECKING:
    from caf_video.pipeline.embed import EmbeddedSplit


def train(context: typer.Context) -> None:
    """Train an embedder of clips or images, or a classifier.

    Arguments are Hydra's (`--help`). Examples:
    caf-video train features=FEATURES run_dir=runs/mine loss=n_pair;
    caf-video train --config-name retrieval data=cub root=CUB_200_2011 run_dir=runs/cub;
    caf-video train --config-name classifier data=cub tuning=adl root=CUB_200_2011 run_dir=runs/adl
    """
    import hydra
    from omegaconf import DictConfig

    from caf_video.configuration import conf_dir
    from caf_video.pipeline.train import train as train_from_config

    def task(config: DictConfig) -> None:
        # Here, for Hydra would print a traceback of its own.
        with one_line_failures():
            run = train_from_config(config)
        out.print(f"Run: {run}", soft_wrap=True)
        measured = f"caf-video evaluate {run}"
        if config.kind != "recurrent":
            dataset = config.data.dataset
            measured = f"caf-video localize --model {run} --dataset {dataset} --root {config.root}"
        out.print(f"Next: {measured}", soft_wrap=True)

    sys.argv = ["caf-video train", *context.args]
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="recurrent")(task)()


def say_what_is_left_out(embedded: "EmbeddedSplit") -> None:
    """A word on clips that the run was trained on, or that it cannot say."""
    if not embedded.checked:
        out.print(
            "This run does not say which clips it was trained on: "
            "whether any is measured here cannot be checked."
        )
    elif embedded.trained_on:
        ids = [clip.clip_id for clip in embedded.trained_on]
        out.print(
            f"Left out, for the run was trained on them: {len(ids)} clips of the "
            f"{embedded.split} split: {', '.join(ids[:5])}{', …' if len(ids) > 5 else ''}",
            markup=False,
            soft_wrap=True,
        )


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
) -> None:
    """Measure a run of clips: R@1, 2, 4, 8 and NMI.

    They stand beside chance and what nobody trained.
    """
    from caf_video.pipeline.evaluate import evaluate as evaluate_run
    from caf_video.pipeline.results import write_json

    evaluation = evaluate_run(run, split=split, track=track)
    ks = sorted(evaluation.result.recall)
    table = Table(f"{split} split", *(f"R@{k}" for k in ks))
    table.add_row("trained", *(f"{evaluation.result.recall[k]:.3f}" for k in ks))
    for name, recall in evaluation.baselines.items():
        table.add_row(name, *(f"{recall[k]:.3f}" for k in ks))
    table.add_row("chance", f"{evaluation.chance:.3f}")
    out.print(table)
    classes = Table("class", "R@1", "clips")
    labels = [clip.label for clip in evaluation.clips]
    for label, recall_at_1 in sorted(evaluation.result.per_class.items()):
        classes.add_row(label, f"{recall_at_1:.3f}", str(labels.count(label)))
    out.print(classes)
    right = int(evaluation.result.correct.sum())
    out.print(
        f"NMI {evaluation.nmi:.3f}. {right} of {len(labels)} clips found their own class; "
        f"{evaluation.result.excluded} had no other clip of theirs and do not count."
    )
    say_what_is_left_out(evaluation.embedded)
    if evaluation.new_classes:
        out.print(f"Classes that training did not have: {', '.join(evaluation.new_classes)}.")
    if json is not None:
        write_json(json, evaluation.record())
        out.print(f"All of it, clip by clip: {json}", soft_wrap=True)

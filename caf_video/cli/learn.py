"""Train a network, and measure what it learned."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from caf_video.cli.console import out, show, track
from caf_video.files import require_writable
from caf_video.shards import is_first_process

Split = Annotated[
    str,
    typer.Option(
        help="train, val or test; or query, which is searched in gallery, and is the test where "
        "there is no other."
    ),
]

if TYPE_CHECKING:
    from caf_video.pipeline.evaluate import Figures
    from caf_video.pipeline.queries import EmbeddedSearch


def train(context: typer.Context) -> None:
    """Train an embedder of clips or images, or a classifier.

    Arguments are Hydra's (`--help`). Examples:
    caf-video train features=FEATURES run_dir=runs/mine loss=n_pair;
    caf-video train --config-name retrieval data=cub root=CUB_200_2011 run_dir=runs/cub;
    caf-video train --config-name classifier data=cub tuning=adl root=CUB_200_2011 run_dir=runs/adl
    """
    from omegaconf import DictConfig

    from caf_video.pipeline.hydra_command import run_command
    from caf_video.pipeline.train import train as train_from_config

    def task(config: DictConfig) -> None:
        # Lightning starts further processes by the name of this one's file, which says no `train`;
        # and by the module that is run, where one is.
        sys.argv[0] = str(Path(__file__).with_name("train_process.py"))
        sys.modules["__main__"].__spec__ = None
        run = train_from_config(config)
        if not is_first_process():
            return
        out.print(f"Run: {run}", soft_wrap=True)
        measured = f"caf-video evaluate {run}"
        if config.kind != "recurrent":
            dataset = config.data.dataset
            measured = f"caf-video localize --model {run} --dataset {dataset} --root {config.root}"
        out.print(f"Next: {measured}", soft_wrap=True)

    sys.argv = ["caf-video train", *context.args]
    run_command(task, context.args, "recurrent")


def _figures_table(title: str, figures: "Figures") -> Table:
    ks = sorted(figures.result.recall)
    table = Table("", *(f"R@{k}" for k in ks), "mAP@R", "R-prec.", "NMI", title=title)
    ranked = (figures.ranked.map_at_r, figures.ranked.r_precision, figures.nmi)
    recall = (figures.result.recall[k] for k in ks)
    table.add_row("trained", *(f"{share:.3f}" for share in (*recall, *ranked)))
    for name, shares in figures.baselines.items():
        nmi = figures.baselines_nmi[name]
        table.add_row(name, *(f"{shares[k]:.3f}" for k in ks), "", "", f"{nmi:.3f}")
    table.add_row("chance", f"{figures.chance:.3f}")
    return table


def say_what_is_left_out(search: "EmbeddedSearch") -> None:
    """A word on clips that the run was trained on, or that it cannot say."""
    if not search.queries.checked:
        out.print(
            "This run does not say which clips it was trained on: "
            "whether any is measured here cannot be checked."
        )
    for side in search.sides:
        ids = [clip.clip_id for clip in side.trained_on]
        if ids:
            out.print(
                f"Left out, for the run was trained on them: {len(ids)} clips of the "
                f"{side.split} split: "
                f"{', '.join(ids[:5])}{', …' if len(ids) > 5 else ''}",
                soft_wrap=True,
            )


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    split: Split = "test",
    queries: Annotated[
        Path | None,
        typer.Option(help="A list of other clips to measure, searched in the split or gallery."),
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Where the features are, if they were moved.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="With --queries: where its videos are, if they were moved.")
    ] = None,
) -> None:
    """Measure a run of clips: R@K, mAP@R and NMI.

    They stand beside chance and what nobody trained, twice: among all other clips, and among those
    of other sessions than the clip's own. All figures are fractions. Clips of the split query are
    searched in the split gallery alone, and not among one another; so are those of --queries, whose
    features are extracted anew. A query that is an event of the gallery does not find itself.
    """
    from caf_video.pipeline.evaluate import evaluate as evaluate_run
    from caf_video.pipeline.results import write_json

    if json is not None:
        require_writable(json)
    evaluation = evaluate_run(
        run, split=split, queries=queries, features=features, videos=videos, track=track
    )
    search = evaluation.search
    told = f"{search.queries.split} split, among"
    if not search.in_itself:
        told = f"{search.queries.split}, in the {search.gallery.split} split, among"
    show(_figures_table(f"{told} all others", evaluation.all_others))
    if evaluation.other_sessions is not None:
        show(_figures_table(f"{told} other sessions alone", evaluation.other_sessions))
    gate = evaluation.gate
    classes = Table("class", "R@1", "clips", title=f"by the gate ({evaluation.gate_rule})")
    labels = [clip.label for clip in evaluation.clips]
    for label, recall_at_1 in sorted(gate.per_class.items()):
        classes.add_row(label, f"{recall_at_1:.3f}", str(labels.count(label)))
    show(classes)
    right = int(gate.correct.sum())
    among = "other sessions" if evaluation.other_sessions else "all others"
    out.print(
        f"Of the nearest neighbours among all others {evaluation.own_session_share:.3f} are of the "
        f"clip's own session. The gate asks among {among}: {right} of {len(labels)} clips found "
        f"their own class; {gate.excluded} had no such clip of theirs and do not count.",
        highlight=False,
    )
    if evaluation.other_sessions is None:
        out.print("No class has clips of two sessions: they cannot be told from their drives.")
    say_what_is_left_out(evaluation.search)
    if evaluation.new_classes:
        out.print(f"Classes that training did not have: {', '.join(evaluation.new_classes)}.")
    if json is not None:
        write_json(json, evaluation.record())
        out.print(f"All of it, clip by clip: {json}", soft_wrap=True)


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the files.")],
    split: Split = "test",
    features: Annotated[
        Path | None, typer.Option(help="Where the features are, if they were moved.")
    ] = None,
) -> None:
    """Write a split's embeddings for other tools.

    As npy, with a CSV of the clips and a README of its columns; and as Parquet, with pyarrow. Of
    queries, those of the gallery, too.
    """
    from caf_video.pipeline.export import export as export_run

    done = export_run(run, folder, split=split, features=features, track=track)
    say_what_is_left_out(done.search)
    for file in done.files:
        out.print(str(file), highlight=False, soft_wrap=True)
    if not done.parquet:
        out.print("No Parquet file: that takes pyarrow (pip install 'caf_video[export]').",
                  soft_wrap=True)  # fmt: skip

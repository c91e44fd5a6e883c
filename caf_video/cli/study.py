"""`caf-video study …`: the paper's tables and ablations, each a table, a record and pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caf_video.cli.console import out, track
from caf_video.cli.options import Weights, open_backbone, parse_size, split_names
from caf_video.errors import InputError

if TYPE_CHECKING:
    from caf_video.data.images import ImageSet
    from caf_video.pipeline.localize.explained_network import ExplainedNetwork
    from caf_video.pipeline.study.written import Study
    from caf_video.training import ClipRun

study = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make the paper's tables and ablations.",
)

Out = Annotated[Path, typer.Option("--out", help="Folder for the table, the record and pictures.")]
OfRun = Annotated[
    Path | None, typer.Option(help="Folder of a training run, of images or of clips.")
]
SetOfImages = Annotated[
    str | None, typer.Option(help="Of networks of images: the set, see `localize`.")
]
Root = Annotated[Path | None, typer.Option(help="Folder of the data set.")]
Lists = Annotated[Path | None, typer.Option(help="Of wsol: folder of its lists.")]


@study.command()
def attention(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Runs on clips of `caf-video synth`: of one set with several seeds of training, "
            "of several sets, or both.",
        ),
    ],
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    seed: Annotated[int, typer.Option(help="Of the resamples and the random row.", min=0)] = 0,
    folder: Out = Path("runs/study"),
) -> None:
    """Every method on synthetic clips, where the evidence is known in place and time.

    Pointing, energy, single maximum, when-AUC, deletion and insertion, and the cosine with what
    really changed the embedding: by class, and right and wrong retrievals apart. Extracts the
    features of the clips' neutral copies first.
    """
    from caf_video.pipeline.study.attention import NAME, study_attention
    from caf_video.pipeline.study.written import prepare

    prepare(folder, NAME)  # now, and not after the work
    _finish([study_attention(runs, split=split, seed=seed, track=track)], folder)


@study.command()
def tables(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RESULT", help="JSON files of `localize --json`, or folders of them."
        ),
    ] = None,
    paper: Annotated[
        Path | None,
        typer.Option(
            help="The paper's figures, to stand beside ours: a CSV with the columns "
            "table,dataset,backbone,trained,method,figure,percent."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Box sizes (Fig. 5) of this image set, see `localize`.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="With --dataset: its folder.")] = None,
    metadata: Annotated[Path | None, typer.Option(help="With --dataset wsol: its lists.")] = None,
    split: Annotated[
        str | None, typer.Option(help="With --dataset: train, val or test. All, unless given.")
    ] = None,
    folder: Out = Path("runs/study"),
) -> None:
    """Tables 1, 2 and 3 from what `localize` has found, and which runs are missing.

    With --dataset and --root also Fig. 5: how much of their image the boxes of a set cover.
    """
    if not results and dataset is None:
        raise InputError("give results of `localize --json`, or --dataset and --root for Fig. 5")
    if (dataset is None) != (root is None):
        raise InputError("--dataset and --root go together")
    from caf_video.data.images import read_image_set
    from caf_video.pipeline.study import tables as study_of

    found: list[Study] = []
    if results:
        published = None if paper is None else study_of.read_paper(paper)
        found.append(study_of.study_tables(study_of.read_results(results), published))
    if dataset is not None and root is not None:
        images = read_image_set(dataset, root, metadata=metadata)
        found.append(study_of.study_box_sizes(images, split=split, track=track))
    _finish(found, folder)


@study.command()
def constraints(
    dataset: Annotated[str, typer.Option(help="Photographs with boxes, see `localize`.")],
    root: Annotated[Path, typer.Option(help="Folder of the data set.")],
    backbone: Annotated[str, typer.Option(help="A pretrained classifier.")] = "resnet50",
    weights: Weights = "default",
    metadata: Lists = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    count: Annotated[
        int, typer.Option(help="Photographs with one object, and as many with two.", min=1)
    ] = 50,
    folder: Out = Path("runs/study"),
) -> None:
    """Fig. 11: L2, softmax, Gaussian and L1 on photographs with one object and with two.

    Entropy and modes of the filters, their loss, and how well their boxes fit.
    """
    from caf_video.data.images import read_image_set
    from caf_video.pipeline.study.constraints import study_constraints

    network = open_backbone(backbone, weights, 32, "float32")
    images = read_image_set(dataset, root, metadata=metadata)
    found = study_constraints(images, network, split=split, count=count, track=track)
    _finish([found], folder)


@study.command()
def convergence(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="A picture or a video.")],
    backbone: Annotated[str, typer.Option(help="A pretrained classifier.")] = "resnet50",
    weights: Weights = "default",
    starts: Annotated[int, typer.Option(help="Random starts.", min=1)] = 3,
    frames: Annotated[int, typer.Option(help="Frames of a video, spread over it.", min=1)] = 3,
    film: Annotated[
        Path | None,
        typer.Option(help="The film: .webp (beside the table, unless given), .gif, .mp4."),
    ] = None,
    folder: Out = Path("runs/study"),
) -> None:
    """The slow motion: the loop's filter from random starts, beside the exact answer.

    A film, the curve of the loss, and when the filter looks like the exact one.
    """
    from caf_video.pipeline.study.convergence import require_film, study_convergence, write_film

    place = require_film(film or folder / "convergence.webp")
    network = open_backbone(backbone, weights, 32, "float32")
    found = study_convergence(target, network, starts=starts, frame_count=frames, track=track)
    _finish([found.study], folder)
    write_film(place, found.film)
    out.print(f"The film: {place}", soft_wrap=True)


@study.command()
def timing(
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="googlenet, resnet50, vgg16, vgg16_gap, densenet161; several with commas. All, "
            "unless given."
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="'none' (random), 'default', or a file for one network.")
    ] = "none",
    size: Annotated[str, typer.Option(help="Of the image, HEIGHTxWIDTH.")] = "224x224",
    repeats: Annotated[int, typer.Option(help="Turns of every way.", min=1)] = 5,
    vanilla_steps: Annotated[
        int,
        typer.Option(
            help="Time vanilla descent on so many evaluations, and scale. 0: to its own end.", min=0
        ),
    ] = 10,
    folder: Out = Path("runs/study"),
) -> None:
    """Fig. 12: what a forward pass, Grad-CAM, the exact answer and the paper's loop cost.

    In turns, in one run; bars with spread, and ratios to the forward pass.
    """
    from caf_video.pipeline.study.timing import NETWORKS, study_timing

    found = study_timing(
        networks=split_names(network) or NETWORKS,
        weights=weights,
        size=parse_size(size),
        repeats=repeats,
        vanilla_steps=vanilla_steps,
        track=track,
    )
    _finish([found], folder)


@study.command()
def sanity(
    model: OfRun = None,
    backbone: Annotated[
        str | None, typer.Option(help="Without --model: a pretrained classifier.")
    ] = None,
    weights: Weights = "default",
    dataset: SetOfImages = None,
    root: Root = None,
    metadata: Lists = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    count: Annotated[int, typer.Option(help="Images or clips, spread over it.", min=2)] = 16,
    seeds: Annotated[int, typer.Option(help="Draws of the random weights.", min=1)] = 3,
    folder: Out = Path("runs/study"),
) -> None:
    """Fig. 10, S5, S6: what is left of heatmaps when weights are made random.

    The head, then stage by stage from the output, then all weights; every method a row. Says which
    method passes.
    """
    from caf_video.pipeline.study import sanity as study_of

    opened = _of_clips_or_images(model, backbone, weights, dataset, root, metadata)
    if not isinstance(opened, tuple):
        subject = study_of.clips_subject(opened, split=split, count=count)
    else:
        network, images = opened
        chosen = study_of.spread(images.split(split), count)
        subject = study_of.images_subject(network, chosen)
    _finish([study_of.study_sanity(subject, seeds=seeds, track=track)], folder)


@study.command()
def faithfulness(
    model: OfRun = None,
    backbone: Annotated[
        str | None, typer.Option(help="Without --model: a pretrained network of images.")
    ] = None,
    weights: Weights = "default",
    dataset: SetOfImages = None,
    root: Root = None,
    metadata: Lists = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    count: Annotated[int, typer.Option(help="Images or clips that query, at most.", min=2)] = 200,
    mosaics: Annotated[
        int, typer.Option(help="Mosaics of four images or clips of the split; 0: none.", min=0)
    ] = 200,
    seed: Annotated[int, typer.Option(help="Of mosaics, resamples and the random row.", min=0)] = 0,
    folder: Out = Path("runs/study"),
) -> None:
    """Is attention true on images or clips of your own, where nobody knows the evidence?

    Retrieval with the hottest cells masked, beside cells at random; and mosaics of four images or
    clips, queried by a crop of one: how much of the heat lies where the query is.
    """
    from caf_video.pipeline.study.clip_mosaics import heat_of_clip_mosaics, why_no_clip_mosaics
    from caf_video.pipeline.study.faithfulness import NAME, study_faithfulness
    from caf_video.pipeline.study.mosaics import heat_of_mosaics, why_no_mosaics
    from caf_video.pipeline.study.queries import clip_queries, picture_queries
    from caf_video.pipeline.study.sanity import spread
    from caf_video.pipeline.study.written import prepare

    prepare(folder, NAME)  # now, and not after the work
    opened = _of_clips_or_images(model, backbone, weights, dataset, root, metadata)
    explained, reason = None, ""
    if not isinstance(opened, tuple):
        queries = clip_queries(opened, split=split, count=count, track=track)
        if mosaics and not (reason := why_no_clip_mosaics(opened, split)):
            explained = heat_of_clip_mosaics(
                opened, split=split, count=mosaics, seed=seed, track=track
            )
    else:
        network, images = opened
        of_split = images.split(split)
        queries = picture_queries(network, spread(of_split, count), images.label_names)
        if mosaics and not (reason := why_no_mosaics([image.label for image in of_split])):
            explained = heat_of_mosaics(network, of_split, count=mosaics, seed=seed, track=track)
    if reason:
        out.print(f"Without mosaics: {reason}.", soft_wrap=True)
    _finish([study_faithfulness(queries, explained, seed=seed, track=track)], folder)


def _of_clips_or_images(
    model: Path | None,
    backbone: str | None,
    weights: str,
    dataset: str | None,
    root: Path | None,
    metadata: Path | None,
) -> "ClipRun | tuple[ExplainedNetwork, ImageSet]":
    """A run of clips; or a network of images, and the images that it is to look at.

    Raises:
        InputError: The options do not go together.
    """
    if (model is None) == (backbone is None):
        raise InputError("give --model RUN, or --backbone NAME for a pretrained classifier")
    from caf_video.data.images import read_image_set
    from caf_video.pipeline.localize.explained_network import of_backbone, of_run
    from caf_video.pipeline.opened import open_run
    from caf_video.training import ClipRun, load_run

    if model is not None and isinstance(load_run(model), ClipRun):
        if dataset is not None or root is not None:
            raise InputError(f"{model} is a run of clips: leave --dataset and --root out")
        return open_run(model)
    if dataset is None or root is None:
        raise InputError("a network of images needs --dataset and --root")
    network = (
        of_run(model)
        if model is not None
        else of_backbone(open_backbone(str(backbone), weights, 32, "float32"))
    )
    return network, read_image_set(dataset, root, protocol=network.protocol, metadata=metadata)


def _finish(studies: Sequence["Study"], folder: Path) -> None:
    """Write what was found, show the tables, and say where all of it is."""
    from caf_video.pipeline.study.written import prepare, write_study

    for one in studies:
        paths = write_study(one, prepare(folder, one.name))
        for text in one.markdown().splitlines():  # a line break inside a text would be escaped
            out.print(text, highlight=False, soft_wrap=True)
        out.print(f"Written: {', '.join(map(str, paths))}", soft_wrap=True)

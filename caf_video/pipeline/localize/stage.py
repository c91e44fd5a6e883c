"""images + network ─► the paper's Tables 1 to 3: localisation by every method, under protocols."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caf_video.attention.methods import METHODS, Method, require_methods
from caf_video.data.images import ImageSet, LabelledImage, SkippedImage, read_image_set
from caf_video.errors import InputError
from caf_video.localization import PROTOCOLS, Protocol, require_protocol
from caf_video.pipeline.files import output_folder, write_json, write_text
from caf_video.pipeline.localize import table
from caf_video.pipeline.localize.explained_network import Subject
from caf_video.pipeline.localize.inputs import Look, Size, looks
from caf_video.pipeline.localize.measure import Measurements, measure_images
from caf_video.pipeline.localize.parts import Parts
from caf_video.pipeline.localize.pictures import spread, write_pictures
from caf_video.pipeline.localize.scores import Scores, score
from caf_video.pipeline.progress import Track, quietly
from caf_video.rendering import threshold_curves, write_image


@dataclass(frozen=True)
class Localization:
    """What `localize` found.

    Attributes:
        subject: The network.
        scores: The figures.
        found: What they were made of.
        skipped: Images that are listed and were not used, and why.
        notes: What the figures hold for, a sentence each.
        settings: All they depend on.
    """

    subject: Subject
    scores: Scores
    found: Measurements
    skipped: tuple[SkippedImage, ...]
    notes: list[str]
    settings: dict[str, Any]

    def markdown(self) -> str:
        """The table and its footnotes."""
        return table.markdown(self.scores, self.subject, self.notes)


def localize(
    dataset: str,
    root: Path,
    subject: Subject,
    *,
    split: str = "test",
    methods: Sequence[str] = (),
    protocols: Sequence[str] = ("simple",),
    size: Size | None = None,
    json: Path | None = None,
    workers: int | None = None,
    pictures: Path | None = None,
    picture_count: int = 24,
    track: Track = quietly,
) -> Localization:
    """Measure where a network looks on the images of a set that have boxes.

    All methods explain the same maps of one pass; protocols that publish another input (a centre
    crop) cost a pass of their own, unless `size` is given.

    Args:
        dataset: As `read_image_set` takes it.
        root: Its folder.
        subject: The network.
        split: Of the set.
        methods: Keys of METHODS; empty for all that fit the network.
        protocols: Keys of PROTOCOLS.
        size: (height, width): show the whole image in this size to the network, whatever a protocol
            published.
        json: Write the figures here, and the table beside it as Markdown; an interrupted pass goes
            on where it stopped.
        workers: Processes that measure; None: one for each core.
        pictures: Folder for sheets of some of the images, with boxes of the first protocol, and for
            curves of accuracy by threshold, of the protocols that have one.
        picture_count: How many images, spread over the split.
        track: Shows how far it is.

    Raises:
        CafVideoError: The images, the network or a choice cannot be used; says which and why.
    """
    protocols = [require_protocol(name).name for name in dict.fromkeys(protocols)]
    image_set = read_image_set(dataset, root, protocol=subject.protocol)
    images = image_set.split(split)
    if not any(image.boxes for image in images):
        raise InputError(f"no image of split {split!r} of {root} has a box to be localised by")
    known = subject.knows_classes_of(image_set)
    chosen = _chosen(methods, subject, image_set, known)
    views = looks(protocols, whole=size or subject.size, everywhere=size is not None)
    sweeps = [] if pictures is None else [n for n in protocols if _is_swept(PROTOCOLS[n])]
    settings = _settings(image_set, images, split, subject, chosen, views) | {"sweeps": sweeps}
    for folder in (pictures, json and json.parent):  # now, and not after the pass
        if folder is not None:
            output_folder(folder)
    if json is not None and json.is_dir():
        raise InputError(f"{json} is a folder, not a file to write to")
    parts = Parts(json, settings)
    found = measure_images(
        images, subject, chosen, views,
        classes_known=known, parts=parts, sweeps=sweeps, workers=workers, track=track,
    )  # fmt: skip
    if not found.localised.any():
        raise InputError(
            f"none of the {len(images)} images could be read: {found.skipped[0].reason}"
        )
    scores = score(found, protocols, [method.name for method in chosen])
    skipped = (*image_set.skipped, *found.skipped)
    where = f"{dataset}, split {split}"
    done = Localization(
        subject, scores, found, skipped, table.footnotes(scores, found, skipped, where), settings
    )
    if json is not None:
        write_json(json, table.record(scores, subject, found, skipped, settings))
        write_text(json.with_suffix(".md"), done.markdown())
        parts.discard()
    if pictures is not None:
        look = next(look for look in views if protocols[0] in look.views)
        write_pictures(
            pictures, spread(found.images, picture_count), image_set.label_names, subject, chosen,
            look, protocols[0], scores, track=track,
        )  # fmt: skip
        curves = accuracy_curves(scores)
        if curves is not None:
            write_image(pictures / "curves.png", curves)
    return done


def accuracy_curves(scores: Scores) -> Any:
    """Accuracy by threshold of every protocol that has one; None if there is none."""
    panels: dict[str, dict[str, tuple[Any, Any]]] = {}
    for row in scores.rows:
        if row.curve is not None:
            mean = row.curve.accuracies.mean(axis=0)
            panels.setdefault(row.protocol, {})[row.method] = (row.curve.thresholds, mean)
    if not panels:
        return None
    return threshold_curves(
        panels, subtitle="GT-known; the best threshold is an oracle, chosen on these very boxes"
    )


def _is_swept(protocol: Protocol) -> bool:
    """Whether it has a threshold that measuring it does not sweep anyway."""
    return bool(protocol.thresholds) and not protocol.oracle


def _chosen(
    names: Sequence[str], subject: Subject, image_set: ImageSet, known: bool
) -> list[Method]:
    """The methods of those names, or all that fit.

    Raises:
        InputError: There is none of a name, or it is of a class that the network does not know.
    """
    if not names:
        fitting = [m for m in METHODS.values() if subject.kind in m.default_for]
        return [method for method in fitting if known or not method.of_class]
    chosen = require_methods(names)
    for method in chosen:
        if method.of_class and not known:
            others = f"has other classes than the {len(image_set.label_names)} of the images"
            raise InputError(
                f"method {method.name} shows a class, and this network ({subject.backbone}, "
                f"{subject.trained}) {'has none' if subject.classes is None else others}: "
                "leave it out"
            )
    return chosen


def _settings(
    image_set: ImageSet,
    images: Sequence[LabelledImage],
    split: str,
    subject: Subject,
    methods: Sequence[Method],
    views: Sequence[Look],
) -> dict[str, Any]:
    return {
        "dataset": image_set.name,
        "root": str(image_set.root),
        "split": split,
        "images": len(images),
        "network": subject.source,
        "methods": [method.name for method in methods],
        "inputs": [
            {"size": look.size, "resized": look.resized, "protocols": list(look.views)}
            for look in views
        ],
    }

"""images + network ─► the paper's Tables 1 to 3: localisation by every method, under protocols."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caf_video.attention import METHODS, Method, require_methods
from caf_video.data.images import ImageSet, LabelledImage, SkippedImage, read_image_set
from caf_video.errors import InputError
from caf_video.files import require_writable
from caf_video.localization import PROTOCOLS, Protocol, require_protocol
from caf_video.pipeline.localize import table
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.localize.inputs import NetworkInput, Size, inputs_for
from caf_video.pipeline.localize.measure import Measurements, Waiting, measure_images
from caf_video.pipeline.localize.neighbours import nearest_others
from caf_video.pipeline.localize.parts import Parts
from caf_video.pipeline.localize.pictures import spread, write_pictures
from caf_video.pipeline.localize.scores import Scores, score
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.results import write_json, write_picture, write_text
from caf_video.rendering import threshold_curves
from caf_video.shards import WHOLE, Shard

ORACLE = "GT-known; the best threshold is an oracle, chosen on these very boxes"

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # thresholds, accuracies: both (t,)


@dataclass(frozen=True)
class Localization:
    """What `localize` found.

    Attributes:
        network: The network.
        scores: The figures.
        found: What they were made of.
        skipped: Images that are listed and were not used, and why.
        notes: What the figures hold for, a sentence each.
        settings: All they depend on.
    """

    network: ExplainedNetwork
    scores: Scores
    found: Measurements
    skipped: tuple[SkippedImage, ...]
    notes: list[str]
    settings: dict[str, Any]

    def markdown(self) -> str:
        """The table and its footnotes."""
        return table.markdown(self.scores, self.network, self.notes)


def localize(
    dataset: str,
    root: Path,
    network: ExplainedNetwork,
    *,
    metadata: Path | None = None,
    split: str = "test",
    methods: Sequence[str] = (),
    protocols: Sequence[str] = ("simple",),
    size: Size | None = None,
    json: Path | None = None,
    workers: int | None = None,
    pictures: Path | None = None,
    picture_count: int = 24,
    shard: Shard = WHOLE,
    track: Track = quietly,
) -> Localization | Waiting:
    """Measure where a network looks on the images of a set that have boxes.

    All methods explain the same maps of one pass; protocols that publish another input (a centre
    crop) cost a pass of their own, unless `size` is given.

    Args:
        dataset: As `read_image_set` takes it.
        root: Its folder.
        network: The network.
        metadata: Of "wsol", the folder of its lists.
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
        shard: Which parts of the pass to make; who ends last, or a run of all, puts them together.
        track: Shows how far it is.

    Raises:
        CafVideoError: The images, the network or a choice cannot be used; says which and why.
    """
    if shard != WHOLE and json is None:
        raise InputError("shards meet in a file: give all of them the same --json FILE")
    protocols = [require_protocol(name).name for name in dict.fromkeys(protocols)]
    image_set = read_image_set(dataset, root, protocol=network.protocol, metadata=metadata)
    images = image_set.split(split)
    _require_truth(images, f"split {split!r} of {root}", protocols, pictures)
    known = network.knows_classes_of(image_set)
    chosen = _chosen(methods, network, image_set, known)
    network_inputs = inputs_for(protocols, whole=size or network.size, everywhere=size is not None)
    sweeps = [] if pictures is None else [n for n in protocols if _is_swept(PROTOCOLS[n])]
    settings = _settings(image_set, metadata, images, split, network, chosen, network_inputs) | {
        "sweeps": sweeps
    }
    if json is not None:  # now, and not after the pass
        require_writable(json, json.with_suffix(".md"), failure=InputError)
    if pictures is not None:
        require_writable(pictures / "curves.png")
    parts = Parts(json, settings | {"images": [_identity(image) for image in images]})
    neighbours = (
        [nearest_others(images, network, one, track=track) for one in network_inputs]
        if any("reference" in method.needs for method in chosen)
        else []
    )
    found = measure_images(
        images, network, chosen, network_inputs,
        classes_known=known, parts=parts, neighbours=neighbours, sweeps=sweeps, workers=workers,
        shard=shard, track=track,
    )  # fmt: skip
    if isinstance(found, Waiting):
        return found
    if not found.localized.any():
        raise InputError(
            f"none of the {len(images)} images could be read: {found.skipped[0].reason}"
        )
    scores = score(found, protocols, [method.name for method in chosen])
    skipped = (*image_set.skipped, *found.skipped)
    where = f"{dataset}, split {split}"
    done = Localization(
        network, scores, found, skipped, table.footnotes(scores, found, skipped, where), settings
    )
    if json is not None:
        shown = table.shown(scores, network, done.notes, f"Localisation: {where}")
        record = table.record(scores, network, found, skipped, settings)
        write_json(json, {**record, "tables": [shown.plain()]})
        write_text(json.with_suffix(".md"), done.markdown())
        if shard == WHOLE:  # other shards may be about to read them
            parts.discard()
    if pictures is not None:
        at = next(i for i, one in enumerate(network_inputs) if protocols[0] in one.geometries)
        write_pictures(
            pictures, spread(found.images, picture_count), image_set.label_names, network, chosen,
            network_inputs[at], protocols[0], scores, track=track,
            **({"neighbours": neighbours[at]} if neighbours else {}),
        )  # fmt: skip
        curves = accuracy_curves(scores)
        if curves:
            write_picture(pictures / "curves.png", threshold_curves(curves, subtitle=ORACLE))
    return done


def accuracy_curves(scores: Scores) -> dict[str, dict[str, Curve]]:
    """By protocol and method thresholds and accuracy, the mean over IoU levels; where there is one.

    The accuracy is with known class.
    """
    panels: dict[str, dict[str, Curve]] = {}
    for row in scores.rows:
        if row.curve is not None:
            mean = row.curve.accuracies.mean(axis=0)
            panels.setdefault(row.protocol, {})[row.method] = (row.curve.thresholds, mean)
    return panels


def _identity(image: LabelledImage) -> list[Any]:
    """What is known of an image and its file: parts of others of the same number are not its."""
    try:
        stat = image.path.stat()
        file = [stat.st_size, stat.st_mtime_ns]
    except OSError:
        file = []
    return [image.image_id, image.label, image.boxes, *file]


def _is_swept(protocol: Protocol) -> bool:
    """Whether it has a threshold that measuring it does not sweep anyway."""
    return bool(protocol.thresholds) and not protocol.oracle


def _require_truth(
    images: Sequence[LabelledImage], where: str, protocols: Sequence[str], pictures: Path | None
) -> None:
    """Images have what their protocols compare with: boxes, or masks.

    Raises:
        InputError: They have not, or pictures are wanted of what has no boxes to draw.
    """
    boxes, masks = (any(image.boxes for image in images), any(image.masks for image in images))
    if not boxes and not masks:
        raise InputError(f"no image of {where} has a box to be localised by")
    for name in protocols:
        if PROTOCOLS[name].of_masks and not masks:
            raise InputError(f"protocol {name} compares with masks, and {where} has boxes")
        if not PROTOCOLS[name].of_masks and not boxes:
            raise InputError(f"protocol {name} compares with boxes, and {where} has masks: pxap")
        if PROTOCOLS[name].of_masks and pictures is not None:
            raise InputError(f"pictures show boxes, and protocol {name} has none: leave them out")


def _chosen(
    names: Sequence[str], network: ExplainedNetwork, image_set: ImageSet, known: bool
) -> list[Method]:
    """The methods of those names, or all that fit.

    Raises:
        InputError: There is none of a name, or it is of clips, or of a class that the network does
            not know.
    """
    if not names:
        fitting = [m for m in METHODS.values() if network.kind in m.default_for]
        return [method for method in fitting if known or not method.of_class]
    chosen = require_methods(names)
    for method in chosen:
        if method.maps is None:
            raise InputError(f"method {method.name} explains clips, not images: leave it out")
        if method.of_class and not known:
            others = f"has other classes than the {len(image_set.label_names)} of the images"
            raise InputError(
                f"method {method.name} shows a class, and this network ({network.backbone}, "
                f"{network.trained}) {'has none' if network.classes is None else others}: "
                "leave it out"
            )
    return chosen


def _settings(
    image_set: ImageSet,
    metadata: Path | None,
    images: Sequence[LabelledImage],
    split: str,
    network: ExplainedNetwork,
    methods: Sequence[Method],
    network_inputs: Sequence[NetworkInput],
) -> dict[str, Any]:
    return {
        "dataset": image_set.name,
        "root": str(image_set.root),
        "metadata": None if metadata is None else str(metadata.resolve()),
        "split": split,
        "images": len(images),
        "network": network.source,
        "methods": [method.name for method in methods],
        "inputs": [
            {"size": one.size, "resized": one.resized, "protocols": list(one.geometries)}
            for one in network_inputs
        ],
    }

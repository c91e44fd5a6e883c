"""What a study of retrieval looks at: samples that query one another, and every method's heat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from caf_video.attention import METHODS, Given
from caf_video.data.images import LabelledImage, read_image
from caf_video.errors import InputError
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.opened import open_features, split_maps
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.pipeline.study.clip_rows import mean_training_embedding
from caf_video.retrieval import EmbeddingIndex
from caf_video.training import ClipRun

AT_ONCE = 16
OF_PICTURES = (
    *("l2-caf", "l2-caf-passed", "retrieval-grad-cam", "retrieval-grad-cam-abs", "feature-norm"),
)
METHODS_OF_PAIRS = (
    *("l2-caf-like", "l2-caf-like-mean", "l2-caf-pair", "grad-cam-cosine", "similarity"),
    *("l2-caf", "feature-norm"),
)


@dataclass(frozen=True, eq=False)
class Queries:
    """Samples, the maps that filters multiply, and what is behind them.

    Attributes:
        title: The network, for people.
        ids: Names of the samples, n of them.
        labels: Their classes.
        maps: A, (n, t, c, h, w); t is 1 of pictures.
        head: From A to raw embeddings, (n, d).
        nearest: From raw embeddings (n, d), one for each sample, to the position of the nearest
            other sample of the gallery, untouched, (n,).
        gallery_labels: Classes of the gallery.
        in_gallery: Whether the samples are of the gallery, so that one label there is their own.
        heat: Every method's map, by name, nowhere negative, (n, t, h, w).
        neighbours: Raw embeddings of the nearest others, untouched, (n, d).
        pair_heat: By method of pairs, what makes each sample resemble its neighbour, as `heat`.
    """

    title: str
    ids: Sequence[str]
    labels: Sequence[str]
    maps: Tensor
    head: Callable[[Tensor], Tensor]
    nearest: Callable[[Tensor], NDArray[np.int64]]
    gallery_labels: Sequence[str]
    in_gallery: bool
    heat: dict[str, Tensor]
    neighbours: Tensor
    pair_heat: dict[str, Tensor]

    def __post_init__(self) -> None:
        if len(self.ids) < 2:
            raise InputError("one sample is not enough: nothing is there to be its neighbour")


def embedding_tail(network: ExplainedNetwork) -> tuple[nn.Module, str]:
    """From the last map to an embedding, and what it is called.

    A classifier is taken as retrieval takes one that nobody trained further: its map, pooled.
    """
    if network.kind == "embedding":
        return network.halves.tail, f"{network.backbone}, {network.trained}"
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return pooled, f"{network.backbone}, {network.trained}, its last map pooled"


@torch.no_grad()
def last_maps(
    network: ExplainedNetwork,
    frames: Sequence[NDArray[np.uint8]],
    size: tuple[int, int],
) -> Tensor:
    """The maps (n, c, h, w) of pictures, resized to `size` (height, width)."""
    prepare = network.halves.preprocessing(size)
    parts = []
    for first in range(0, len(frames), AT_ONCE):
        batch = torch.cat([prepare(frame[None]) for frame in frames[first : first + AT_ONCE]])
        parts.append(network.halves.features(batch.to(device())))
    return torch.cat(parts)


def picture_queries(
    network: ExplainedNetwork, images: Sequence[LabelledImage], label_names: Sequence[str]
) -> Queries:
    """Pictures that query one another.

    Raises:
        InputError: There are fewer than two.
    """
    tail, title = embedding_tail(network)
    normalize = network.normalize or network.kind != "embedding"  # pooled maps: by their angle
    maps = last_maps(network, [read_image(image.path) for image in images], network.size)
    ids = [image.image_id for image in images]

    def compared(raw: Tensor) -> Tensor:
        return (nn.functional.normalize(raw) if normalize else raw).float().cpu()

    with torch.no_grad():
        raw = tail(maps)
    index = EmbeddingIndex(compared(raw), ids)

    def nearest(raw: Tensor) -> NDArray[np.int64]:
        return index.search(compared(raw), neighbours=1, query_ids=ids).positions[:, 0]

    def heat_of(names: Sequence[str], given: Given) -> dict[str, Tensor]:
        found = {name: METHODS[name].of_pictures(tail, maps, given) for name in names}
        return {
            name: (one.abs() if METHODS[name].filters else one.clamp(min=0))[:, None].float().cpu()
            for name, one in found.items()
        }

    neighbours = raw[torch.from_numpy(nearest(raw))]
    labels = [label_names[image.label] for image in images]
    return Queries(
        title=title,
        ids=ids,
        labels=labels,
        maps=maps[:, None],
        head=lambda filtered: tail(filtered[:, 0]),
        nearest=nearest,
        gallery_labels=labels,
        in_gallery=True,
        heat=heat_of(OF_PICTURES, Given()),
        neighbours=neighbours,
        pair_heat=heat_of(METHODS_OF_PAIRS, Given(reference=neighbours, center=raw.mean(dim=0))),
    )


def clip_queries(
    run: ClipRun, *, split: str = "test", count: int = 200, track: Track = quietly
) -> Queries:
    """Clips of a run's split that query the split, or what it is searched in.

    Args:
        run: The run.
        split: Whose clips.
        count: How many query, spread over it.
        track: Shows how far it is.

    Raises:
        CafVideoError: The run's features or the split cannot be used.
    """
    evaluation = evaluate(run.folder, split=split, track=track)
    places = np.linspace(0, len(evaluation.clips) - 1, min(count, len(evaluation.clips)))
    clips = [evaluation.clips[place] for place in places.round().astype(int)]
    gallery = evaluation.search.gallery.clips
    store = open_features(run)
    parts = split_maps(store, clips).split(AT_ONCE)
    with torch.no_grad():
        maps = torch.cat([run.model.features(part) for part in parts])
        raw = run.model.head(maps)
    center = mean_training_embedding(run)
    heat = {
        name: torch.cat([method.heat_of_frames(run.model, p, center=center).cpu() for p in parts])
        for name, method in METHODS.items()
        if method.clip_maps is not None and "reference" not in method.needs
    }
    position = {clip.clip_id: place for place, clip in enumerate(gallery)}

    def nearest(raw: Tensor) -> NDArray[np.int64]:
        rows = nn.functional.normalize(raw) if run.normalize else raw
        found = evaluation.search.nearest(rows.cpu(), clips)
        return np.array([position[clip.clip_id] for clip in found.clips])

    others = [gallery[place] for place in nearest(raw)]
    with torch.no_grad():
        neighbours = run.model(split_maps(store, others))
    pairs = list(zip(parts, neighbours.split(AT_ONCE), strict=True))
    pair_heat = {
        name: torch.cat(
            [
                METHODS[name].heat_of_frames(run.model, part, reference=of, center=center)
                for part, of in pairs
            ]
        ).clamp(min=0)
        for name in METHODS_OF_PAIRS
    }

    return Queries(
        title=f"recurrent network of {run.folder.name}",
        ids=[clip.clip_id for clip in clips],
        labels=[clip.label for clip in clips],
        maps=maps,
        head=run.model.head,
        nearest=nearest,
        gallery_labels=[clip.label for clip in gallery],
        in_gallery=evaluation.search.in_itself,
        heat=heat,
        neighbours=neighbours,
        pair_heat={name: one.cpu() for name, one in pair_heat.items()},
    )

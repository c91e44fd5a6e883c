"""Query mosaics: four photographs or clips in one, asked for one of them; where the heat lies."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from caf_video.attention import METHODS, Given
from caf_video.data.images import LabelledImage, read_image
from caf_video.errors import InputError
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.study.queries import (
    AT_ONCE,
    METHODS_OF_PAIRS,
    embedding_tail,
    last_maps,
)

CROP = 0.8  # of the photograph's sides, in the query
QUARTERS = 4
CHANCE = 1 / QUARTERS
LOOKING = "Looking at mosaics"


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Four photographs or clips of distinct labels, and a query that shows one of them.

    Attributes:
        picture: Of all four, uint8 RGB (t, height, width, 3); t is 1 of photographs.
        query: A crop of one, the same in every frame, (t, its height, its width, 3).
        quarter: Where that one is: 0 and 1 above, 2 and 3 below, left before right.
        places: Of the four among what was drawn from.
    """

    picture: NDArray[np.uint8]
    query: NDArray[np.uint8]
    quarter: int
    places: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MosaicHeat:
    """What methods of pairs make of mosaics.

    Attributes:
        energy: By method, the share of the heat in the query's quarter, (n,); of a map without any
            heat the CHANCE.
        pointing: By method, whether the maximum lies there, (n,).
        empty: By method, how many maps have no heat.
        shown: The first mosaics, with the heat of each method on the grid, (t, h, w).
        made_of: What was mosaicked and how it was asked for, a sentence.
    """

    energy: dict[str, NDArray[np.float64]]
    pointing: dict[str, NDArray[np.float64]]
    empty: dict[str, int]
    shown: list[tuple[Mosaic, dict[str, NDArray[np.float32]]]]
    made_of: str


def why_no_mosaics(labels: Sequence[object]) -> str:
    """What keeps samples of these labels from being mosaicked; "" where nothing does."""
    if (count := len(set(labels))) < QUARTERS:
        return f"a mosaic is of {QUARTERS} distinct labels, and there are {count}"
    return ""


def draw_mosaics(
    labels: Sequence[object],
    read: Callable[[int], NDArray[np.uint8]],
    count: int,
    quarter_size: tuple[int, int],
    query_size: tuple[int, int],
    *,
    mirrored: bool,
    seed: int = 0,
) -> Iterator[Mosaic]:
    """Mosaics at random.

    Args:
        labels: Of what is drawn from.
        read: Frames (t, height, width, 3) of the one at a place, all of one t.
        count: How many.
        quarter_size, query_size: (height, width) of each.
        mirrored: Whether the query is.
        seed: Of the draw.

    Raises:
        InputError: There are fewer than four labels.
    """
    if reason := why_no_mosaics(labels):
        raise InputError(reason)
    generator = np.random.default_rng(seed)
    for _ in range(count):
        chosen: dict[object, int] = {}
        for place in generator.permutation(len(labels)).tolist():
            chosen.setdefault(labels[place], place)
            if len(chosen) == QUARTERS:
                break
        frames = [read(place) for place in chosen.values()]
        quarters = [_resized(one, quarter_size) for one in frames]
        rows = [np.concatenate(quarters[first : first + 2], axis=2) for first in (0, 2)]
        quarter = int(generator.integers(QUARTERS))
        source = frames[quarter]
        sides = [max(1, int(CROP * side)) for side in source.shape[1:3]]
        top, left = (
            int(generator.integers(whole - side + 1))
            for whole, side in zip(source.shape[1:3], sides, strict=True)
        )
        query = _resized(source[:, top : top + sides[0], left : left + sides[1]], query_size)
        if mirrored:
            query = np.ascontiguousarray(query[:, :, ::-1])
        yield Mosaic(np.concatenate(rows, axis=1), query, quarter, tuple(chosen.values()))


def in_batches(mosaics: Iterable[Mosaic], count: int) -> Iterator[list[Mosaic]]:
    """So many at a time, and what is left."""
    drawn = iter(mosaics)
    while batch := list(islice(drawn, count)):
        yield batch


def photograph_mosaics(
    images: Sequence[LabelledImage], count: int, size: tuple[int, int], *, seed: int = 0
) -> Iterator[Mosaic]:
    """Mosaics of photographs; the query is mirrored, so that no pixel of it is in the mosaic.

    Raises:
        InputError: The images have fewer than four labels.
    """
    return draw_mosaics(
        [image.label for image in images],
        lambda place: read_image(images[place].path)[None],
        count,
        size,
        size,
        mirrored=True,
        seed=seed,
    )


def heat_of_mosaics(
    network: ExplainedNetwork,
    images: Sequence[LabelledImage],
    *,
    count: int = 200,
    seed: int = 0,
    shown: int = 3,
    track: Track = quietly,
) -> MosaicHeat:
    """Explain mosaics by the methods of pairs: how much of the heat lies where the query is.

    A quarter has the size that the network was trained on. The centre of `l2-caf-like-mean` is the
    mean embedding of all queries.

    Raises:
        InputError: The images have fewer than four labels, or the network's grid has no middle.
    """
    tail, _ = embedding_tail(network)
    height, width = network.size
    mosaics = photograph_mosaics(images, count, network.size, seed=seed)
    maps, embeddings = [], []
    quarters: list[int] = []
    first: list[Mosaic] = []
    for batch in in_batches(track(mosaics, description=LOOKING, total=count), AT_ONCE):
        quarters += [mosaic.quarter for mosaic in batch]
        first += batch[: shown - len(first)]
        pictures, queries = [m.picture[0] for m in batch], [m.query[0] for m in batch]
        maps.append(last_maps(network, pictures, (2 * height, 2 * width)))
        with torch.no_grad():
            embeddings.append(tail(last_maps(network, queries, network.size)))
    reference = torch.cat(embeddings)
    center = reference.mean(dim=0)
    parts = list(zip(maps, reference.split(AT_ONCE), strict=True))
    heats = {}
    for method in (METHODS[name] for name in METHODS_OF_PAIRS):
        found = [
            method.of_pictures(tail, part, Given(reference=of, center=center)) for part, of in parts
        ]
        heat = torch.cat(found)[:, None].float().cpu()
        heats[method.name] = heat.abs() if method.filters else heat.clamp(min=0)
    return mosaic_heat(
        heats, quarters, first, "four photographs of distinct labels; the query is a mirrored crop"
    )


def mosaic_heat(
    heats: Mapping[str, Tensor], quarters: Sequence[int], first: Sequence[Mosaic], made_of: str
) -> MosaicHeat:
    """What is in the right quarters.

    Args:
        heats: By method, nowhere negative, (n, t, h, w).
        quarters: Where the query is, n of them.
        first: The first mosaics, which are shown.
        made_of: As of MosaicHeat.
    """
    where = torch.tensor(quarters)
    energy, pointing, empty = {}, {}, {}
    for name, heat in heats.items():
        energy[name], pointing[name] = (one.double().numpy() for one in in_quarter(heat, where))
        empty[name] = int((heat.flatten(1).sum(dim=1) == 0).sum())
    shown = [
        (mosaic, {name: heat[row].numpy() for name, heat in heats.items()})
        for row, mosaic in enumerate(first)
    ]
    return MosaicHeat(energy, pointing, empty, shown, made_of)


def in_quarter(heat: Tensor, quarter: Tensor) -> tuple[Tensor, Tensor]:
    """The share of heat (n, t, h, w) in the quarters (n,), and whether the maximum lies there.

    Of heat that is nowhere the share is CHANCE, and no maximum lies anywhere.

    Raises:
        InputError: The grid cannot be halved.
    """
    n, _, height, width = heat.shape
    if height % 2 or width % 2:
        raise InputError(f"a grid of {height} x {width} has no quarters: both must be even")
    halves = heat.view(n, -1, 2, height // 2, 2, width // 2)
    masses = halves.sum(dim=(1, 3, 5), dtype=torch.float64).flatten(1)
    tops = halves.amax(dim=(1, 3, 5)).flatten(1)
    rows, total = torch.arange(n), masses.sum(dim=1)
    share = masses[rows, quarter] / total.where(total > 0, 1.0)
    points = (tops.argmax(dim=1) == quarter) & (total > 0)
    return share.where(total > 0, CHANCE), points


def _resized(frames: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    wanted = size[::-1], Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(frame).resize(*wanted)) for frame in frames])

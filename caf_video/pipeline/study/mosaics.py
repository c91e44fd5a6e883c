"""Query mosaics: four photographs in one, a query that is one of them, and where the heat lies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from caf_video.pipeline.study.queries import AT_ONCE, embedding_tail, last_maps

CROP = 0.8  # of the photograph's sides, in the query
QUARTERS = 4
CHANCE = 1 / QUARTERS
METHODS_OF_PAIRS = (
    *("l2-caf-like", "l2-caf-like-mean", "l2-caf-pair", "grad-cam-cosine", "similarity"),
    *("l2-caf", "feature-norm"),
)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Four photographs of distinct labels, and a query that shows one of them.

    Attributes:
        picture: Of all four, uint8 RGB (2 height, 2 width, 3).
        query: A mirrored crop of one, (height, width, 3).
        quarter: Where that one is: 0 and 1 above, 2 and 3 below, left before right.
        image_ids: Of the four.
    """

    picture: NDArray[np.uint8]
    query: NDArray[np.uint8]
    quarter: int
    image_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MosaicHeat:
    """What methods of pairs make of mosaics.

    Attributes:
        energy: By method, the share of the heat in the query's quarter, (n,); of a map without any
            heat the CHANCE.
        pointing: By method, whether the maximum lies there, (n,).
        empty: By method, how many maps have no heat.
        shown: The first mosaics, with the heat of each method on the grid.
    """

    energy: dict[str, NDArray[np.float64]]
    pointing: dict[str, NDArray[np.float64]]
    empty: dict[str, int]
    shown: list[tuple[Mosaic, dict[str, NDArray[np.float32]]]]


def draw_mosaics(
    images: Sequence[LabelledImage], count: int, size: tuple[int, int], *, seed: int = 0
) -> Iterator[Mosaic]:
    """Mosaics at random, of quarters of `size` (height, width).

    Raises:
        InputError: The images have fewer than four labels.
    """
    if len({image.label for image in images}) < QUARTERS:
        raise InputError("a mosaic is of four photographs of distinct labels: there are fewer")
    generator = np.random.default_rng(seed)
    height, width = size
    for _ in range(count):
        chosen: dict[int, LabelledImage] = {}
        for place in generator.permutation(len(images)):
            chosen.setdefault(images[place].label, images[place])
            if len(chosen) == QUARTERS:
                break
        frames = [read_image(image.path) for image in chosen.values()]
        quarters = [_resized(frame, size) for frame in frames]
        picture = np.concatenate(
            [np.concatenate(quarters[:2], axis=1), np.concatenate(quarters[2:], axis=1)]
        )
        quarter = int(generator.integers(QUARTERS))
        source = frames[quarter]
        sides = [max(1, int(CROP * side)) for side in source.shape[:2]]
        top, left = (
            int(generator.integers(whole - side + 1))
            for whole, side in zip(source.shape[:2], sides, strict=True)
        )
        crop = source[top : top + sides[0], left : left + sides[1]]
        query = np.ascontiguousarray(_resized(crop, size)[:, ::-1])
        yield Mosaic(picture, query, quarter, tuple(i.image_id for i in chosen.values()))


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
    mosaics = draw_mosaics(images, count, network.size, seed=seed)
    maps, embeddings, quarters = [], [], []
    first: list[Mosaic] = []
    batch: list[Mosaic] = []
    for number, mosaic in enumerate(
        track(mosaics, description="Looking at mosaics", total=count), start=1
    ):
        batch.append(mosaic)
        quarters.append(mosaic.quarter)
        if len(first) < shown:
            first.append(mosaic)
        if len(batch) == AT_ONCE or number == count:
            pictures, queries = [m.picture for m in batch], [m.query for m in batch]
            maps.append(last_maps(network, pictures, (2 * height, 2 * width)))
            with torch.no_grad():
                embeddings.append(tail(last_maps(network, queries, network.size)))
            batch = []
    reference, where = torch.cat(embeddings), torch.tensor(quarters)
    center = reference.mean(dim=0)
    parts = list(zip(maps, reference.split(AT_ONCE), strict=True))
    energy, pointing, empty, heats = {}, {}, {}, {}
    for method in (METHODS[name] for name in METHODS_OF_PAIRS):
        found = [
            method.of_pictures(tail, part, Given(reference=of, center=center)) for part, of in parts
        ]
        heat = torch.cat(found).float().cpu()
        heat = heat.abs() if method.filters else heat.clamp(min=0)
        energy[method.name], pointing[method.name] = (
            one.double().numpy() for one in in_quarter(heat, where)
        )
        empty[method.name] = int((heat.flatten(1).sum(dim=1) == 0).sum())
        heats[method.name] = heat[: len(first)].numpy()
    return MosaicHeat(
        energy,
        pointing,
        empty,
        [(m, {name: heat[row] for name, heat in heats.items()}) for row, m in enumerate(first)],
    )


def in_quarter(heat: Tensor, quarter: Tensor) -> tuple[Tensor, Tensor]:
    """The share of heat (n, h, w) in the quarters (n,), and whether the maximum lies there.

    Of heat that is nowhere the share is CHANCE, and no maximum lies anywhere.

    Raises:
        InputError: The grid cannot be halved.
    """
    n, height, width = heat.shape
    if height % 2 or width % 2:
        raise InputError(f"a grid of {height} x {width} has no quarters: both must be even")
    halves = heat.view(n, 2, height // 2, 2, width // 2)
    masses = halves.sum(dim=(2, 4), dtype=torch.float64).flatten(1)
    tops = halves.amax(dim=(2, 4)).flatten(1)
    rows, total = torch.arange(n), masses.sum(dim=1)
    share = masses[rows, quarter] / total.where(total > 0, 1.0)
    points = (tops.argmax(dim=1) == quarter) & (total > 0)
    return share.where(total > 0, CHANCE), points


def _resized(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(frame).resize(size[::-1], Image.Resampling.BICUBIC))

"""One pass over the images: heatmaps of every method, measured under every protocol."""

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from caf_video.attention import Given, Method, mostly_negative
from caf_video.data.images import (
    Box,
    ImageError,
    LabelledImage,
    SkippedImage,
    read_image,
    read_mask,
)
from caf_video.errors import CafVideoError
from caf_video.localization import (
    Geometry,
    joined_masks,
    measure_all,
    require_protocol,
    true_class_ranks,
)
from caf_video.pipeline.localize.explained_network import ExplainedNetwork
from caf_video.pipeline.localize.inputs import NetworkInput
from caf_video.pipeline.localize.neighbours import NO_NEIGHBOURS, Neighbours
from caf_video.pipeline.localize.parts import Arrays, Parts, Rows
from caf_video.pipeline.progress import Track, device, quietly
from caf_video.processes import worker_pool
from caf_video.shards import WHOLE, Shard, items_of

IMAGES_AT_ONCE = 32
JOBS_A_BATCH = 8  # handed to processes: fewer wait for the slowest, more for the post
FEWEST_FOR_PROCESSES = 64  # images; fewer are measured before other processes have begun

Picture = NDArray[np.uint8]
Overlaps = dict[str, NDArray[np.float64]]  # by protocol, (t,)
Measured = tuple[list[Overlaps], list[Overlaps]]  # for each method, and its sweeps


@dataclass(frozen=True)
class Measurements:
    """What was found of n images, of which m have boxes or masks and so can be localised.

    Where the parts of the pass lie on disk, so do arrays of more than a few numbers an image: they
    are mapped into memory, to be read alone.

    Attributes:
        images: Those that could be read, (n).
        skipped: Those that could not.
        localized: Whether an image has a box or a mask, (n,).
        overlaps: By protocol and method, what `measure` said of each such image, (m, t).
        sweeps: By protocol and method, what `sweep` said of each such image, (m, t), of those
            protocols that were asked for; an oracle needs none.
        ranks: By protocol, how many classes come before the true one, (n,); of classifiers.
        embeddings: By protocol, as retrieval compares them, (n, d); of embeddings.
        negative: By method, filters that are more negative than positive (maths 1.5).
        seconds: By stage: "read", "forward" (the bare network), "attention", "measure" (waited
            for), and "total". Of the images of this run only.
    """

    images: tuple[LabelledImage, ...]
    skipped: tuple[SkippedImage, ...]
    localized: NDArray[np.bool_]
    overlaps: dict[tuple[str, str], NDArray[np.float64]]
    sweeps: dict[tuple[str, str], NDArray[np.float64]]
    ranks: dict[str, NDArray[np.int64]]
    embeddings: dict[str, NDArray[np.float32]]
    negative: dict[str, int]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Waiting:
    """A shard has done its parts of a pass, and some of the others' are not there.

    Attributes:
        parts: Their numbers, from 0 on.
        total: How many there are.
    """

    parts: list[int]
    total: int


def measure_images(
    images: Sequence[LabelledImage],
    network: ExplainedNetwork,
    methods: Sequence[Method],
    network_inputs: Sequence[NetworkInput],
    *,
    classes_known: bool,
    parts: Parts,
    neighbours: Sequence[Neighbours] = (),
    sweeps: Sequence[str] = (),
    workers: int | None = None,
    shard: Shard = WHOLE,
    track: Track = quietly,
) -> Measurements | Waiting:
    """Explain and measure images: one run of the network for each input, whatever the methods.

    A batch of them is a part, which is written and forgotten: all are read again at the end.

    Args:
        images: Which.
        network: The network.
        methods: Those that explain it.
        network_inputs: Its inputs, and the protocols that measure.
        classes_known: Whether its logits are of the images' classes.
        parts: Where results are kept, and found again.
        neighbours: For each input the nearest others, where a method is of pairs; else none.
        sweeps: Protocols whose threshold is swept, too.
        workers: Processes that measure; None: one for each core.
        shard: Which of the parts to make.
        track: Shows how far it is.
    """
    started = time.perf_counter()
    known = neighbours or [NO_NEIGHBOURS] * len(network_inputs)
    work = _Pass(network, methods, network_inputs, known, classes_known, sweeps)
    batches = [images[i : i + IMAGES_AT_ONCE] for i in range(0, len(images), IMAGES_AT_ONCE)]
    done = {number for number, batch in enumerate(batches) if _is_made(work, parts, number, batch)}
    mine = items_of(range(len(batches)), shard, together=lambda one: one, cost=lambda one: 1.0)
    missing = {number: batches[number] for number in mine if number not in done}
    left = sum(map(len, missing.values()))
    workers = workers or os.cpu_count() or 1
    several = workers > 1 and left >= FEWEST_FOR_PROCESSES
    with worker_pool(workers) if several else nullcontext() as pool:
        if pool is not None:
            for _ in range(workers):
                pool.submit(require_protocol, "simple")  # they load what they need while we begin
        for finished in track(work.run(missing, pool), description="Explaining", total=left):
            if finished is not None:
                number, arrays = finished
                parts.write(number, arrays)
    work.seconds["total"] = time.perf_counter() - started
    if shard != WHOLE:
        waiting = [
            number
            for number, batch in enumerate(batches)
            if number not in mine and not _is_made(work, parts, number, batch)
        ]
        if waiting:
            return Waiting(waiting, len(batches))
    return _joined(batches, parts, dict(work.seconds))


@dataclass(frozen=True)
class _Seen:
    """An image as it was read: the picture, and what is to be found in it.

    Attributes:
        frame: uint8 RGB (height, width, 3).
        boxes: (x1, y1, x2, y2) each.
        masks: One of each object, (h, w).
        ignored: What does not count.
    """

    frame: Picture
    boxes: tuple[Box, ...]
    masks: list[NDArray[np.bool_]]
    ignored: NDArray[np.bool_] | None

    @property
    def size(self) -> tuple[int, int]:
        return self.frame.shape[0], self.frame.shape[1]

    @property
    def can_be_localized(self) -> bool:
        return bool(self.boxes or self.masks)

    def truth(self, protocol: str, geometry: Geometry) -> NDArray[np.generic]:
        """What a protocol compares with, in pixels of its view."""
        if require_protocol(protocol).of_masks:
            return joined_masks(self.masks, self.ignored, geometry.size(self.size))
        return geometry.boxes(self.boxes, self.size)


@dataclass(frozen=True)
class _Explained:
    """A batch whose heatmaps are made and being measured.

    Attributes:
        arrays: What is known so far.
        positions: In the batch, of the image of each measurement.
        measured: What will come: for each method the overlaps.
    """

    arrays: Arrays
    positions: list[int]
    measured: Iterator[Measured]


class _Jobs(NamedTuple):
    """What `measure_all` is to do, an item each for every image with boxes and size of heatmaps."""

    positions: list[int]
    grids: list[NDArray[np.float32]]
    sizes: list[tuple[int, int]]
    shown: list[tuple[int, int]]
    truths: list[dict[str, NDArray[np.generic]]]
    sweeps: list[list[str]]

    @property
    def chunk(self) -> int:
        """How many to hand to a process at once."""
        return max(1, len(self.positions) // JOBS_A_BATCH)


class _Pass:
    """The network, the methods and the inputs, and how long each stage took."""

    def __init__(
        self,
        network: ExplainedNetwork,
        methods: Sequence[Method],
        network_inputs: Sequence[NetworkInput],
        neighbours: Sequence[Neighbours],
        classes_known: bool,
        sweeps: Sequence[str],
    ) -> None:
        self._network, self._methods, self._inputs = network, methods, network_inputs
        self._neighbours = neighbours
        self._classes_known, self._sweeps = classes_known, sweeps
        self._preprocessing = [
            network.halves.preprocessing(one.size, one.resized) for one in network_inputs
        ]
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def made(self, arrays: Arrays, batch: Sequence[LabelledImage]) -> bool:
        """Whether arrays are what this pass makes of a batch, by their names and lengths."""
        reasons = arrays.get("reasons")
        if reasons is None or reasons.shape != (len(batch),) or reasons.dtype.kind != "U":
            return False
        read = [image for image, reason in zip(batch, reasons, strict=True) if not reason]
        protocols = [name for one in self._inputs for name in one.geometries]
        lengths = {"reasons": len(batch)}
        if read:
            for name in protocols:
                if self._classes_known:
                    lengths[f"ranks|{name}"] = len(read)
                elif self._network.classes is None:
                    lengths[f"embeddings|{name}"] = len(read)
            for method in self._methods:
                if method.filters and method.of_class:
                    lengths[f"negative|{method.name}"] = len(read)
        localized = sum(bool(image.boxes or image.masks) for image in read)
        if localized:
            for kind, names in (("overlaps", protocols), ("sweeps", self._sweeps)):
                for name in names:
                    for method in self._methods:
                        lengths[f"{kind}|{name}|{method.name}"] = localized
        return lengths == {name: len(array) for name, array in arrays.items() if array.ndim}

    def run(
        self, batches: dict[int, Sequence[LabelledImage]], pool: ProcessPoolExecutor | None
    ) -> Iterator[tuple[int, Arrays] | None]:
        """Once for each image: None, or with the last of a batch its number and results.

        A GPU explains the next batch while processes measure this one. On a CPU each has all cores
        in turn: beside other work its threads wait for each other (measured: a fifth slower).
        """
        overlapping = device().type == "cuda"
        waiting: tuple[int, _Explained] | None = None
        if not batches:
            return
        with ThreadPoolExecutor(2) as readers:
            coming: list[Future[_Seen | str]] = []
            for number, following in zip(batches, [*list(batches)[1:], None], strict=True):
                coming = coming or [readers.submit(_read, image) for image in batches[number]]
                with self._timed("read"):
                    pictures = [future.result() for future in coming]
                explained = self._explain(batches[number], pictures, pool)
                ahead = [] if following is None else batches[following]
                coming = [readers.submit(_read, image) for image in ahead]
                if waiting is not None:
                    yield from self._finished(*waiting, count=len(batches[waiting[0]]))
                waiting = number, explained
                if not overlapping or following is None:
                    yield from self._finished(*waiting, count=len(batches[number]))
                    waiting = None

    def _finished(
        self, number: int, explained: _Explained, *, count: int
    ) -> Iterator[tuple[int, Arrays] | None]:
        arrays = explained.arrays
        rows: defaultdict[str, dict[int, np.ndarray]] = defaultdict(dict)
        with self._timed("measure"):
            for position, found in zip(explained.positions, explained.measured, strict=True):
                for kind, of_methods in zip(("overlaps", "sweeps"), found, strict=True):
                    for method, overlaps in zip(self._methods, of_methods, strict=True):
                        for name, values in overlaps.items():
                            rows[f"{kind}|{name}|{method.name}"][position] = values
        for key, by_image in rows.items():
            arrays[key] = np.stack([by_image[position] for position in sorted(by_image)])
        yield from [None] * (count - 1)
        yield number, arrays

    def _explain(
        self,
        batch: Sequence[LabelledImage],
        pictures: Sequence[_Seen | str],
        pool: ProcessPoolExecutor | None,
    ) -> _Explained:
        """Run the network and every method on a batch, and let its heatmaps be measured."""
        read = [i for i, picture in enumerate(pictures) if not isinstance(picture, str)]
        seen = [picture for picture in pictures if not isinstance(picture, str)]
        reasons = [picture if isinstance(picture, str) else "" for picture in pictures]
        arrays: Arrays = {"reasons": np.array(reasons)}
        jobs = _Jobs([], [], [], [], [], [])
        for network_input, preprocess, neighbours in zip(
            self._inputs, self._preprocessing, self._neighbours, strict=True
        ):
            if not read:
                break
            with self._timed("read"):
                inputs = torch.cat([preprocess(one.frame[None]) for one in seen]).to(device())
            labels = torch.tensor([batch[i].label for i in read], device=device())
            with self._timed("forward"), torch.no_grad():
                maps = self._network.halves.features(inputs)
                outputs = self._network.halves.tail(maps)
            self._note_outputs(arrays, network_input, outputs, labels)
            with self._timed("attention"):
                given = neighbours.given([batch[i] for i in read], labels)
                heat = [self._heat(arrays, network_input, m, maps, given) for m in self._methods]
                grids = torch.stack(heat, dim=1).numpy()  # (images, methods, h, w)
            for i, one, grid in zip(read, seen, grids, strict=True):
                if one.can_be_localized:
                    self._add_jobs(jobs, network_input, i, one, grid)
        mapping = map if pool is None else partial(pool.map, chunksize=jobs.chunk)
        measured = mapping(
            measure_all, jobs.grids, jobs.sizes, jobs.shown, jobs.truths, jobs.sweeps
        )
        return _Explained(arrays, jobs.positions, measured)

    def _heat(
        self,
        arrays: Arrays,
        network_input: NetworkInput,
        method: Method,
        maps: Tensor,
        given: Given,
    ) -> Tensor:
        heat = method.of_pictures(self._network.halves.tail, maps, given).float().cpu()
        if method.filters:
            if method.of_class and network_input is self._inputs[0]:
                arrays[f"negative|{method.name}"] = mostly_negative(heat).numpy()
            heat = heat.abs()
        return heat

    def _note_outputs(
        self, arrays: Arrays, network_input: NetworkInput, outputs: Tensor, labels: Tensor
    ) -> None:
        for name in network_input.geometries:
            if self._classes_known:
                ranks = true_class_ranks(outputs.float().cpu().numpy(), labels.cpu().numpy())
                arrays[f"ranks|{name}"] = ranks
            elif self._network.classes is None:
                embeddings = self._network.comparable(outputs).float().cpu().numpy()
                arrays[f"embeddings|{name}"] = embeddings

    def _add_jobs(
        self,
        jobs: _Jobs,
        network_input: NetworkInput,
        position: int,
        seen: _Seen,
        grids: NDArray[np.float32],
    ) -> None:
        for heat_size, names in network_input.sizes(seen.size).items():
            jobs.positions.append(position)
            jobs.grids.append(grids)
            jobs.sizes.append(heat_size)
            jobs.shown.append(network_input.size)
            jobs.truths.append(
                {name: seen.truth(name, network_input.geometries[name]) for name in names}
            )
            jobs.sweeps.append([name for name in self._sweeps if name in names])

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started


def _read(image: LabelledImage) -> _Seen | str:
    """The picture with its masks, or why they cannot be read."""
    try:
        ignored = None if image.ignored is None else read_mask(image.ignored)
        masks = [read_mask(path) for path in image.masks]
        return _Seen(read_image(image.path), image.boxes, masks, ignored)
    except ImageError as error:
        return str(error)


def _is_made(work: _Pass, parts: Parts, number: int, batch: Sequence[LabelledImage]) -> bool:
    kept = parts.read(number)
    return kept is not None and work.made(kept, batch)


def _joined(
    batches: Sequence[Sequence[LabelledImage]], parts: Parts, seconds: dict[str, float]
) -> Measurements:
    images: list[LabelledImage] = []
    skipped: list[SkippedImage] = []
    with ExitStack() as files:
        found = defaultdict[str, Rows](lambda: files.enter_context(closing(parts.rows())))
        for number, batch in enumerate(batches):
            arrays = parts.read(number)
            if arrays is None:  # somebody has taken it away meanwhile
                raise CafVideoError(
                    f"part {number} of the pass is gone: run the same command again"
                )
            for image, reason in zip(batch, arrays["reasons"].tolist(), strict=True):
                if reason:
                    skipped.append(SkippedImage(image.image_id, reason))
                else:
                    images.append(image)
            for name, values in arrays.items():
                if name != "reasons":
                    found[name].add(values)
        # One by one, so that no more than one of them is there twice.
        joined = {name: found.pop(name).joined() for name in list(found)}

    def of(kind: str) -> dict[str, np.ndarray]:
        start = f"{kind}|"
        return {name.removeprefix(start): v for name, v in joined.items() if name.startswith(start)}

    def of_pairs(kind: str) -> dict[tuple[str, str], np.ndarray]:
        pairs = ((name.partition("|"), values) for name, values in of(kind).items())
        return {(protocol, method): values for (protocol, _, method), values in pairs}

    return Measurements(
        images=tuple(images),
        skipped=tuple(skipped),
        localized=np.array([bool(image.boxes or image.masks) for image in images], dtype=bool),
        overlaps=of_pairs("overlaps"),
        sweeps=of_pairs("sweeps"),
        ranks=of("ranks"),
        embeddings=of("embeddings"),
        negative={name: int(v.sum()) for name, v in of("negative").items()},
        seconds=seconds,
    )

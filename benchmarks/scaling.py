"""How time and memory grow with the number of clips: the commands, on stores of small maps.

`python -m benchmarks.scaling --clips 1000 10000 100000` prints a table. Every stage is a process of
its own and runs once; seconds are those of processors. The last column is the exponent by which
it grew between the two largest stores: 1 where ten times as many clips take ten times as long.
"""

import argparse
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from benchmarks.apart import Cost, apart
from caf_video.data.features import ClipFeatures, FeatureStore, StoreDescription
from caf_video.data.manifest import Clip, write_manifest
from caf_video.pipeline.embed import embed_split
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.opened import open_features, open_run
from caf_video.pipeline.report.stage import report
from caf_video.pipeline.status import store_status
from caf_video.pipeline.train import compose_config, train
from caf_video.retrieval import ranked_precision, recall_at_k

CLASSES = 12  # as many as the Honda driving dataset has
CLIPS_A_SESSION = 100
SPLITS = ("train",) * 7 + ("val",) + ("test",) * 2  # of ten sessions
GRID, CHANNELS, TIMESTEPS, CANDIDATES = (3, 5), 8, 3, 3
SIZE = (96, 160)
GALLERY = 2000


def make_store(folder: Path, count: int) -> int:
    """A feature store of so many clips, whose maps are noise around those of their class."""
    description = StoreDescription(
        "none", "none", "0" * 64, 32, SIZE, CHANNELS, GRID, TIMESTEPS, CANDIDATES
    )
    store = FeatureStore.create(folder, description)
    random = np.random.default_rng(0)
    centers = random.normal(size=(CLASSES, TIMESTEPS, 1, CHANNELS, *GRID))
    sessions = -(-count // CLIPS_A_SESSION)
    shuffled = random.permutation(sessions)
    clips = []
    (folder / "sessions").mkdir()
    for session in range(sessions):  # no video: the report draws heat over grey
        (folder / "sessions" / f"{session:05}.npy").touch()
    for number in range(count):
        session = number // CLIPS_A_SESSION
        split = SPLITS[int(shuffled[session]) % len(SPLITS)]
        kind = int(random.integers(CLASSES))
        start = 30.0 * (number % CLIPS_A_SESSION)
        name = f"s{session:05}_{number % CLIPS_A_SESSION:03}"
        path = (folder / "sessions" / f"{session:05}.npy").resolve()
        clips.append(
            Clip(name, path, f"class {kind}", start, start + 6, f"session {session}", split)
        )
        candidates = CANDIDATES if split == "train" else 1
        maps = centers[kind] + random.normal(0, 2, (TIMESTEPS, candidates, CHANNELS, *GRID))
        times = torch.from_numpy(start + random.random((TIMESTEPS, candidates)))
        features = ClipFeatures(name, torch.from_numpy(maps), (10 * times).long(), times)
        event = f"{session:064x}|{start}|{start + 6}"
        store.write(features, f"synthetic {name}", event=event)
    write_manifest(clips, store.manifest_path)
    return len(clips)


def status(folder: Path) -> bool:
    """Open the store and say whether all is there."""
    return store_status(folder).complete


def train_an_epoch(folder: Path, run: Path) -> None:
    """A whole pass from disk, with what is before and after it: statistics, R@1 of val, a file."""
    _one_thread()
    settings = (
        *(f"features={folder}", f"run_dir={run}", "progress_bar=false"),
        *("data.batches_per_epoch=null", "data.memory_gb=0", "trainer.max_epochs=1"),
        *("trainer.accelerator=cpu", "model.channels=16", "model.hidden=32"),
    )
    train(compose_config(settings))


def embed(run: Path) -> int:
    """Embed the test split, and keep that in the run."""
    _one_thread()
    opened = open_run(run)
    return len(embed_split(opened, open_features(opened), "test").clips)


def measure(run: Path) -> float:
    """All that `evaluate` says of embeddings that are kept."""
    _one_thread()
    return evaluate(run).result.recall[1]


def exact_search(run: Path) -> float:
    """R@K of embeddings that are kept, alone."""
    _one_thread()
    return recall_at_k(*_kept(run)).recall[1]


def ranking(run: Path) -> float:
    """mAP@R of embeddings that are kept, alone: as many neighbours of each as its class has."""
    _one_thread()
    return ranked_precision(*_kept(run)).map_at_r


def _kept(run: Path) -> tuple[torch.Tensor, list[str]]:
    opened = open_run(run)
    split = embed_split(opened, open_features(opened), "test")
    return split.embeddings, [clip.label for clip in split.clips]


def page(run: Path, out: Path) -> int:
    """The report, with a gallery of 2000 clips at most."""
    _one_thread()
    return report(run, out, gallery=GALLERY).shown


def _one_thread() -> None:
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)


def stages(folder: Path, count: int) -> Iterable[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """Their names, the work and its arguments, in an order that they can be run in."""
    store, run = folder / "features", folder / "run"
    yield "write the clips", make_store, (store, count)
    yield "`status`", status, (store,)
    yield "`train`, an epoch from disk", train_an_epoch, (store, run)
    yield "embed the test split", embed, (run,)
    yield "R@1 of it, exact search", exact_search, (run,)
    yield "mAP@R of it, exact search", ranking, (run,)
    yield "`evaluate`, of kept embeddings", measure, (run,)
    yield f"`report`, {GALLERY} clips shown", page, (run, folder / "report")


def _row(name: str, counts: list[int], costs: list[Cost]) -> str:
    seconds, memory = [one.seconds for one in costs], [one.peak_mb for one in costs]
    cells = [f"{value:.3g}" for value in seconds] + [_exponent(counts, seconds)]
    cells += [f"{value:.0f}" for value in memory] + [_exponent(counts, memory)]
    return f"| {name} | {' | '.join(cells)} |"


def _exponent(counts: list[int], values: list[float]) -> str:
    if len(counts) < 2 or min(values[-2:]) <= 0:
        return "–"
    return f"{math.log(values[-1] / values[-2]) / math.log(counts[-1] / counts[-2]):.2f}"


def main() -> None:
    """Print the table, and while it is made a line a stage."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 10_000])
    args = parser.parse_args()
    costs: dict[str, list[Cost]] = {}
    for count in args.clips:
        folder = Path(tempfile.mkdtemp(prefix="caf_video_scaling_"))
        try:
            for name, work, arguments in stages(folder, count):
                cost = apart(work, *arguments)
                costs.setdefault(name, []).append(cost)
                told = f"{cost.seconds:.3g} s, {cost.peak_mb:.0f} MB ({cost.found})"
                print(f"{count} clips, {name}: {told}", flush=True)
        finally:
            shutil.rmtree(folder)
    heads = [f"{count:,} clips".replace(",", " ") for count in args.clips] + ["exponent"]
    titles = [f"CPU s, {heads[0]}", *heads[1:], f"MB, {heads[0]}", *heads[1:]]
    print(f"\n| stage | {' | '.join(titles)} |\n|{'---|' * (len(titles) + 1)}")
    for name, of_stage in costs.items():
        print(_row(name, args.clips, of_stage))


if __name__ == "__main__":
    main()

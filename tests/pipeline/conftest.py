"""A run of clips small enough to be known on paper: its embeddings, neighbours and attention."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from caf_video.data.features import ClipFeatures, FeatureStore, StoreDescription
from caf_video.data.manifest import Clip, read_manifest, write_manifest
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.rendering import VideoWriter
from caf_video.training.checkpoint import FORMAT, KEY, RunRecord, digest_of_clips, plain_record

HEIGHT, WIDTH = 64, 128
GRID = (2, 4)
FRAMES = (1, 4, 7)  # of the nine of a video, those that stand for a clip
SEED = 12  # of a network whose first weights tell the clips apart
INWARD = 0.01  # of the recurrence, so small that what follows is nearly linear

TO_LEFT, TO_RIGHT, STOP = "pedestrian_to_left", "pedestrian_to_right", "stop_sign"

# Of each clip of the test split what its frames hold, in two channels; the network weighs the
# frames 1/4, 1/2 and 1, so that the sum beside each is, nearly, 100 times its embedding.
HELD: dict[str, tuple[str, list[tuple[float, float]]]] = {
    "left_a": (TO_LEFT, [(8, 0), (4, 4), (0, 8)]),  # (4, 10)
    "left_b": (TO_LEFT, [(7.2, 0), (3.6, 3.8), (0, 7.2)]),  # (3.6, 9.1)
    "right_a": (TO_RIGHT, [(0, 8), (4.2, 4), (8, 0)]),  # (10.1, 4): left_a played backwards, nearly
    "right_b": (TO_RIGHT, [(5, 2), (5, 2), (5, 2)]),  # (8.75, 3.5), backwards as well
    "stop_a": (STOP, [(1, 1.2), (1, 1.2), (1, 1.2)]),  # (1.75, 2.1)
    "stop_b": (STOP, [(0.8, 0.9), (0.8, 0.9), (0.8, 0.9)]),  # (1.4, 1.575)
    "stop_c": (STOP, [(6.8, 0), (3.4, 3.1), (0, 6.8)]),  # (3.4, 8.35), among those to the left
}
NEAREST = {
    "left_a": "left_b",
    "left_b": "stop_c",
    "right_a": "right_b",
    "right_b": "right_a",
    "stop_a": "stop_b",
    "stop_b": "stop_a",
    "stop_c": "left_b",
}
RIGHT = frozenset({"left_a", "right_a", "right_b", "stop_a", "stop_b"})


def on_paper(frames: Sequence[tuple[float, float]]) -> list[float]:
    """The embedding of a clip that holds this, by loops: an LSTM whose forget gate is a half."""
    embedding = []
    for channel in (0, 1):
        cell = 0.0
        for frame in frames:
            cell = 0.5 * cell + math.tanh(INWARD * frame[channel])
        embedding.append(math.tanh(cell))
    return embedding


def known_network() -> RecurrentEmbedder:
    """Weights set by hand: input and output gates open, the forget gate at a half."""
    model = RecurrentEmbedder(
        in_channels=2,
        grid=GRID,
        channels=2,
        coordinates=False,
        spatial_kernel=None,
        hidden=2,
        embedding_dim=2,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.reduction.weight.copy_(torch.eye(2))
        inward = torch.zeros(8, 2)
        inward[4:6] = INWARD * torch.eye(2)  # gates in the order of torch: i, f, g, o
        model.lstm.weight_ih_l0.copy_(inward)
        model.lstm.bias_ih_l0.copy_(torch.tensor([40.0, 40, 0, 0, 0, 0, 40, 40]))
        model.projection.weight.copy_(torch.eye(2))
    return model


@dataclass(frozen=True)
class KnownRun:
    """A run, its features and its clips; every clip holds what it holds in its left column."""

    folder: Path
    store: FeatureStore
    clips: list[Clip]
    boxes_csv: Path

    nearest = NEAREST
    right = RIGHT
    frames = FRAMES
    size = (HEIGHT, WIDTH)

    def embedding(self, clip_id: str, *, backwards: bool = False) -> list[float]:
        """Of a clip of the test split, on paper."""
        held = HELD[clip_id][1]
        return on_paper(held[::-1] if backwards else held)

    def shade(self, clip_id: str, frame: int) -> int:
        """Grey level of a frame of its video."""
        return shade([clip.clip_id for clip in self.clips].index(clip_id), frame)

    def retrain(self) -> None:
        """Put other weights in the checkpoint, which halve every embedding."""
        model = known_network()
        model.projection.weight.data *= 0.5
        write_checkpoint(self.folder, model, self.store)

    def clip(self, clip_id: str) -> Clip:
        return next(clip for clip in self.clips if clip.clip_id == clip_id)


def write_known_run(root: Path) -> KnownRun:
    """Seven clips to test on, six to train on; videos whose brightness says clip and frame."""
    description = StoreDescription(
        backbone="known",
        weights="none",
        weights_sha256="0" * 64,
        stride=32,
        size=(HEIGHT, WIDTH),
        channels=2,
        grid=GRID,
        timesteps=3,
        candidates=3,
    )
    store = FeatureStore.create(root / "features", description)
    held = [(name, "test", *parts) for name, parts in HELD.items()]
    held += [(f"train_{name}", "train", *parts) for name, parts in HELD.items() if name != "stop_c"]
    clips = []
    lines = ["clip_id,frame_index,x1,y1,x2,y2,visible"]
    for number, (clip_id, split, label, frames) in enumerate(held):
        path = root / "videos" / f"{clip_id}.mp4"
        path.parent.mkdir(exist_ok=True)
        with VideoWriter(path, fps=10) as writer:
            for frame in range(9):
                writer.write(np.full((HEIGHT, WIDTH, 3), shade(number, frame), np.uint8))
        clips.append(Clip(clip_id, path, label, session=f"{split}_{number}", split=split))
        candidates = 3 if split == "train" else 1
        maps = torch.full((3, candidates, 2, *GRID), 9.0)  # decoys, but for the middle candidate
        maps[:, candidates // 2] = 0
        maps[:, candidates // 2, :, :, 0] = GRID[1] * torch.tensor(frames)[:, :, None]
        indices = torch.zeros(3, candidates, dtype=torch.int64)
        indices[:, candidates // 2] = torch.tensor(FRAMES)
        features = ClipFeatures(clip_id, maps, indices, indices / 10)
        store.write(features, "known", event=f"event of {clip_id}")
        for frame in range(9):
            # The box is on the left, in training on the right, and wanders a pixel a frame. Of a
            # test clip evidence is visible from frame 4 on, so in two of its sampled frames.
            x = frame if split == "test" else 96 + frame
            lines.append(f"{clip_id},{frame},{x},0,{x + 20},64,{int(frame >= 4)}")
    write_manifest(clips, store.manifest_path)
    boxes_csv = root / "boxes.csv"
    boxes_csv.write_text("\n".join(lines) + "\n")
    folder = root / "run"
    write_checkpoint(folder, known_network(), store)
    return KnownRun(folder, store, clips, boxes_csv)


def shade(clip: int, frame: int) -> int:
    """Grey level of a frame of a clip, by its number in the manifest."""
    return 20 + 12 * clip + 5 * frame


def write_checkpoint(folder: Path, model: RecurrentEmbedder, store: FeatureStore) -> None:
    names = [clip.clip_id for clip in read_manifest(store.manifest_path) if clip.split == "train"]
    training_clips = {name: store.event(name) for name in names}
    record = RunRecord(
        kind="recurrent",
        hyperparameters=model.hyperparameters,
        normalize=False,
        description=store.description,
        label_names=[TO_LEFT, TO_RIGHT, STOP],
        config={"kind": "recurrent", "seed": SEED, "features": str(store.folder)},
        training_clips=training_clips,
        training_sha256=digest_of_clips(training_clips),
    )
    assert plain_record(record)["format"] == FORMAT
    weights = {f"model.{name}": values for name, values in model.state_dict().items()}
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    torch.save(
        {KEY: plain_record(record), "state_dict": weights, "global_step": 7},
        folder / "checkpoints" / "best.ckpt",
    )


@pytest.fixture(scope="session")
def known_run(tmp_path_factory: pytest.TempPathFactory) -> KnownRun:
    """A run that several tests read, and none spoils."""
    return write_known_run(tmp_path_factory.mktemp("known"))


@pytest.fixture(scope="session")
def write_run() -> Callable[[Path], KnownRun]:
    """Write such a run to a folder."""
    return write_known_run


@pytest.fixture
def make_known_run(tmp_path: Path) -> Callable[[], KnownRun]:
    """A run that a test may spoil."""
    return lambda: write_known_run(tmp_path)

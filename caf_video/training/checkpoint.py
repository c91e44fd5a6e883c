"""What a trained network leaves on disk, and how it comes back: plain values and tensors."""

import dataclasses
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caf_video.data.features import StoreDescription
from caf_video.errors import CafVideoError, InputError
from caf_video.metric_learning import unit_norm
from caf_video.models.recurrent import RecurrentEmbedder

KEY = "caf_video"  # of our part of a Lightning checkpoint
FORMAT = 1


class CheckpointError(CafVideoError):
    """A checkpoint that is missing, not ours, damaged, of another shape or of other settings."""


@dataclass(frozen=True)
class RunRecord:
    """What a checkpoint says of itself.

    Attributes:
        hyperparameters: Of the network.
        normalize: Whether its embeddings are compared at length 1.
        description: What made the features it was trained on.
        label_names: The labels it was trained on, sorted.
        config: The settings of the training.
    """

    hyperparameters: dict[str, Any]
    normalize: bool
    description: StoreDescription
    label_names: list[str]
    config: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """All of it in plain values, for a checkpoint."""
        return {"format": FORMAT, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class LoadedRun:
    """A trained network, and what is needed to use it as it was trained.

    Attributes:
        checkpoint: The file it came from.
        model: The network, in eval mode, its weights frozen, on the CPU.
        normalize: Whether its embeddings are compared at length 1.
        description: What made the features it was trained on.
        label_names: The labels it was trained on, sorted.
        config: The settings of the training, plain values.
        step: Optimizer steps it had.
    """

    checkpoint: Path
    model: RecurrentEmbedder
    normalize: bool
    description: StoreDescription
    label_names: list[str]
    config: dict[str, Any]
    step: int

    @torch.no_grad()
    def embed(self, feature_maps: Tensor) -> Tensor:
        """Embeddings (b, d) of frozen maps (b, t, c, h, w), as retrieval compares them."""
        embeddings = self.model(feature_maps)
        return unit_norm(embeddings) if self.normalize else embeddings

    def require_features(self, description: StoreDescription) -> None:
        """Raise CheckpointError, naming what differs, unless features are as those trained on."""
        require_same_features(self.checkpoint, self.description, description)


def load_run(run: str | Path) -> LoadedRun:
    """The best network of a run's folder, or that of a checkpoint file.

    Raises:
        CheckpointError: There is none, it is not ours, is damaged, or does not fit its own
            description; names the file.
    """
    path = Path(run)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
        if not path.is_file():
            raise CheckpointError(
                f"{run} holds no trained network (no checkpoints/best.ckpt): "
                f"train one with `caf-video train run_dir={run}`"
            )
    checkpoint = read_checkpoint(path)
    record = record_of(checkpoint, path)
    weights = {
        name.removeprefix("model."): values
        for name, values in checkpoint["state_dict"].items()
        if name.startswith("model.")
    }
    try:
        model = RecurrentEmbedder(**record.hyperparameters)
        model.load_state_dict(weights)
    except (TypeError, RuntimeError, InputError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path} does not hold the network it describes: {reason[:200]}"
        ) from error
    return LoadedRun(
        checkpoint=path,
        model=model.eval().requires_grad_(False),
        normalize=record.normalize,
        description=record.description,
        label_names=record.label_names,
        config=record.config,
        step=checkpoint["global_step"],
    )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours as it was saved, read without running any code of it.

    Raises:
        CheckpointError: It is missing, damaged, or something else.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"no run and no checkpoint at {path}") from error
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is damaged, or no checkpoint at all") from error
    wanted = {KEY, "state_dict", "global_step"}
    if not isinstance(checkpoint, dict) or not wanted <= checkpoint.keys():
        raise CheckpointError(f"{path} is not a checkpoint of `caf-video train`")
    return checkpoint


def record_of(checkpoint: dict[str, Any], path: Path) -> RunRecord:
    """What a checkpoint, read from `path`, says of itself.

    Raises:
        CheckpointError: It is of another version.
    """
    try:
        fields = dict(checkpoint[KEY])
        if fields.pop("format") != FORMAT:
            raise CheckpointError(f"{path} was written by another version: train again")
        fields["description"] = StoreDescription(**fields["description"])
        return RunRecord(**fields)
    except (TypeError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} was written by another version: train again") from error


def require_same_features(path: Path, trained: StoreDescription, found: StoreDescription) -> None:
    """Raise CheckpointError, naming what differs, unless features are of the kind trained on.

    How many candidates are stored a segment makes no difference to a network.
    """
    names = [name for name in trained.differences(found) if name != "candidates"]
    if names:
        told = "; ".join(
            f"{name} {getattr(trained, name)}, not {getattr(found, name)}" for name in names
        )
        raise CheckpointError(
            f"{path} was trained on other features: {told}. Use features of the same kind, "
            "or train on these"
        )

"""What a trained network leaves on disk, and how it comes back: plain values and tensors."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from caf_video.data.features import LARGEST, StoreDescription
from caf_video.errors import CafVideoError, InputError
from caf_video.metric_learning import unit_norm
from caf_video.models.image_network import ImageNetwork
from caf_video.models.preprocessing import Preprocessing
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.models.torch_file import DamagedTorchFileError, read_torch_file
from caf_video.reading import require_file
from caf_video.training.image_description import ImageDescription

KEY = "caf_video"  # of our part of a Lightning checkpoint
FORMAT = 2
BEST, LAST = "best.ckpt", "last.ckpt"

# The trainings there are; the main files of conf/ have the same names.
RECURRENT, RETRIEVAL, CLASSIFIER = KINDS = ("recurrent", "retrieval", "classifier")

Description = StoreDescription | ImageDescription
Network = TypeVar("Network", RecurrentEmbedder, ImageNetwork)
Loaded = TypeVar("Loaded", "ClipRun", "ImageRun")


class CheckpointError(CafVideoError):
    """A checkpoint that is missing, not ours, damaged, of another shape or of other settings."""


class DamagedCheckpointError(CheckpointError):
    """A file that is not as it was written, or never was a checkpoint."""


@dataclass(frozen=True)
class RunRecord:
    """What a run is, in plain values: what its checkpoints say of themselves.

    Attributes:
        kind: One of KINDS.
        hyperparameters: Of the network.
        normalize: Whether its outputs are embeddings that are compared at length 1.
        description: What made the inputs it was trained on.
        label_names: Of its training set; a classifier's outputs are in their order.
        config: The settings of the training.
        training_clips: Which event each clip was that it was trained on, by clip id ("" where that
            is not known): those it must not be tested on. None for images, and in checkpoints that
            were written before this was remembered.
        training_sha256: Their digest.
        features_from_run: The way from the run's folder to the features, so that both can move.
    """

    kind: str
    hyperparameters: dict[str, Any]
    normalize: bool
    description: Description
    label_names: list[str]
    config: dict[str, Any]
    training_clips: dict[str, str] | None = field(default=None, kw_only=True)
    training_sha256: str = field(default="", kw_only=True)
    features_from_run: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class LoadedRun(RunRecord):
    """A trained network beside its record, to be used as it was trained.

    Attributes:
        checkpoint: The file it came from.
        model: The network, in eval mode, its weights frozen, on the CPU.
        step: Optimizer steps it had.
    """

    checkpoint: Path
    model: nn.Module
    step: int

    @property
    def folder(self) -> Path:
        """That of the run."""
        folder = self.checkpoint.parent
        return folder.parent if folder.name == "checkpoints" else folder

    @torch.no_grad()
    def embed(self, inputs: Tensor) -> Tensor:
        """Embeddings (b, d) as retrieval compares them.

        Args:
            inputs: Frozen maps of clips (b, t, c, h, w), or preprocessed images
                (b, 3, height, width).

        Raises:
            InputError: The network is a classifier.
        """
        if self.kind == CLASSIFIER:
            raise InputError(f"{self.checkpoint} is a classifier: it has logits, no embeddings")
        embeddings: Tensor = self.model(inputs)
        return unit_norm(embeddings) if self.normalize else embeddings


@dataclass(frozen=True)
class ClipRun(LoadedRun):
    """A trained embedder of clips; inputs are the maps of a feature store, (b, t, c, h, w)."""

    model: RecurrentEmbedder
    description: StoreDescription

    def require_features(self, description: StoreDescription) -> None:
        """Raise CheckpointError, naming what differs, unless features are as those trained on."""
        require_same_inputs(self.checkpoint, self.description, description)


@dataclass(frozen=True)
class ImageRun(LoadedRun):
    """A trained embedder or classifier of images, (b, 3, height, width)."""

    model: ImageNetwork
    description: ImageDescription

    @property
    def preprocessing(self) -> Preprocessing:
        """What turns whole images into input of the size trained on."""
        return self.model.preprocessing(self.description.size)


def load_run(run: str | Path) -> ClipRun | ImageRun:
    """The best network of a run's folder, or that of a checkpoint file.

    Raises:
        CheckpointError: There is none, it is not ours, is damaged, or does not fit its own
            description; names the file.
    """
    path = Path(run)
    if path.is_dir():
        path = path / "checkpoints" / BEST
        if not path.is_file():
            last = path.with_name(LAST)
            mend = (
                f"it stopped before its first validation: name {last} to use it as it is"
                if last.is_file()
                else f"train one with `caf-video train run_dir={run}`"
            )
            raise CheckpointError(
                f"{run} holds no trained network (no checkpoints/best.ckpt): {mend}"
            )
    checkpoint = read_checkpoint(path)
    record = record_of(checkpoint, path)
    known = {**vars(record), "checkpoint": path, "step": checkpoint["global_step"]}
    if isinstance(record.description, StoreDescription):
        embedder = partial(RecurrentEmbedder, **record.hyperparameters)
        return ClipRun(model=_network(embedder, checkpoint, path), **known)
    bare = partial(ImageNetwork, **record.hyperparameters, weights="none")
    return ImageRun(model=_network(bare, checkpoint, path), **known)


def _network(make: Callable[[], Network], checkpoint: dict[str, Any], path: Path) -> Network:
    """A network with the weights of a checkpoint, which was read from `path`."""
    weights = {
        name.removeprefix("model."): values
        for name, values in checkpoint["state_dict"].items()
        if name.startswith("model.")
    }
    _require_sizes(checkpoint[KEY]["hyperparameters"], weights, path)
    try:
        network = make()
        network.load_state_dict(weights)
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{path} does not hold the network it describes: {reason[:200]}"
        ) from error
    return network.eval().requires_grad_(False)


# The hyperparameters that are a dimension of some of the weights, whatever the network.
_SIZES = {"in_channels", "channels", "hidden", "embedding_dim", "outputs", "spatial_kernel"}


def _require_sizes(hyperparameters: dict[str, Any], weights: dict[str, Tensor], path: Path) -> None:
    """Refuse numbers that are not of these weights before memory is asked for them."""
    there = {size for values in weights.values() for size in values.shape} | {None}
    sizes = _SIZES | ({"erase_channels"} if hyperparameters.get("tuning") == "acol" else set())
    for name, value in hyperparameters.items():
        numbers = value if isinstance(value, list) else [value]
        known = [abs(number) for number in numbers if isinstance(number, int | float)]
        if math.prod(known) >= LARGEST or (name in sizes and value not in there):
            raise CheckpointError(
                f"{path} does not hold the network it describes: no weight has the size "
                f"{name}={str(value)[:40]}"
            )


# What runs take, and which commands, given the run, are for them.
_USES: dict[type[LoadedRun], tuple[str, str]] = {
    ClipRun: ("clips", "`caf-video evaluate {0}` and `caf-video explain --model {0}` are"),
    ImageRun: ("images", "`caf-video localize --model {0}` is"),
}


def load_clip_run(run: str | Path) -> ClipRun:
    """As `load_run`, of a network of clips.

    Raises:
        CheckpointError: Also if it is one of images.
    """
    return _load(run, ClipRun)


def load_image_run(run: str | Path) -> ImageRun:
    """As `load_run`, of a network of images.

    Raises:
        CheckpointError: Also if it is one of clips.
    """
    return _load(run, ImageRun)


def _load(run: str | Path, wanted: type[Loaded]) -> Loaded:
    loaded = load_run(run)
    if not isinstance(loaded, wanted):
        inputs, commands = _USES[type(loaded)]
        raise CheckpointError(
            f"{run} is a {loaded.kind} run, of {inputs}, not of {_USES[wanted][0]}: "
            f"{commands.format(run)} for those"
        )
    return loaded


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours as it was saved, read without running any code of it.

    Raises:
        CheckpointError: It is missing, damaged, or something else.
    """
    if not path.exists():
        raise CheckpointError(f"no run and no checkpoint at {path}")
    require_file(path, CheckpointError)
    try:
        checkpoint = read_torch_file(path)
    except DamagedTorchFileError as error:
        raise DamagedCheckpointError(f"{path} is damaged, or no checkpoint at all") from error
    wanted = {KEY, "state_dict", "global_step"}
    if not isinstance(checkpoint, dict) or not wanted <= checkpoint.keys():
        raise CheckpointError(f"{path} is not a checkpoint of `caf-video train`")
    weights = checkpoint["state_dict"]
    if not isinstance(weights, dict) or type(checkpoint["global_step"]) is not int:
        raise CheckpointError(f"{path} is not a checkpoint of `caf-video train`")
    for name, values in weights.items():
        if not isinstance(name, str) or not isinstance(values, Tensor):
            raise CheckpointError(f"{path} is not a checkpoint of `caf-video train`")
        if values.is_floating_point() and not values.isfinite().all():
            raise CheckpointError(f"{path} holds values in {name} that are not finite")
    return checkpoint


def digest_of_clips(clips: Mapping[str, str] | None) -> str:
    """SHA-256 of clip ids and events in order; "" of None."""
    if clips is None:
        return ""
    lines = "".join(f"{clip_id}\t{clips[clip_id]}\n" for clip_id in sorted(clips))
    return hashlib.sha256(lines.encode()).hexdigest()


def plain_record(record: RunRecord) -> dict[str, Any]:
    """A record as a checkpoint holds it, under KEY; `record_of` reads it."""
    return {"format": FORMAT, **dataclasses.asdict(record)}


def record_of(checkpoint: dict[str, Any], path: Path) -> RunRecord:
    """What a checkpoint, read from `path`, says of itself.

    Raises:
        CheckpointError: It is of another version.
    """
    try:
        fields = dict(checkpoint[KEY])
        if fields.pop("format") != FORMAT or fields["kind"] not in KINDS:
            raise CheckpointError(f"{path} was written by another version: train again")
        described = StoreDescription if fields["kind"] == RECURRENT else ImageDescription
        fields["description"] = described.of_plain(fields["description"])
        record = RunRecord(**fields)
        _require_plain(record)
        return record
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} was written by another version: train again") from error


def _require_plain(record: RunRecord) -> None:
    """Raise ValueError unless the fields of a record are of the types that it was written with."""
    clips = {} if record.training_clips is None else record.training_clips
    types = (
        (record.hyperparameters, dict), (record.normalize, bool), (record.label_names, list),
        (record.config, dict), (clips, dict), (record.training_sha256, str),
        (record.features_from_run, str), (record.config["seed"], int),
    )  # fmt: skip
    texts = [*record.label_names, *record.hyperparameters, *record.config, *clips, *clips.values()]
    if record.kind == RECURRENT:
        texts.append(record.config.get("features", ""))
    if not all(isinstance(value, kind) for value, kind in types) or not all(
        isinstance(text, str) for text in texts
    ):
        raise ValueError("a record of other types")


def require_same_inputs(path: Path, trained: Description, found: Description) -> None:
    """Raise CheckpointError, naming what differs, unless inputs are of the kind trained on.

    How many candidates are stored a segment makes no difference to a network.

    Args:
        path: Of the checkpoint.
        trained, found: Both of clips, or both of images.
    """
    differences = trained.differences(found)  # type: ignore[arg-type]  # of one kind, see Args
    names = [name for name in differences if name != "candidates"]
    if names:
        told = "; ".join(
            f"{name} {getattr(trained, name)}, not {getattr(found, name)}" for name in names
        )
        raise CheckpointError(
            f"{path} was trained on other inputs: {told}. Use those of the same kind, "
            "or train on these"
        )

"""samples ─► run: train what a Hydra configuration says, an embedder or a classifier."""

import inspect
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from caf_video.configuration import conf_dir
from caf_video.data.images import ImageSet
from caf_video.errors import CafVideoError, InputError, Interrupted
from caf_video.escapes import line, visible
from caf_video.files import only_one
from caf_video.metric_learning import LibraryLoss
from caf_video.pipeline.hydra_command import run_command
from caf_video.pipeline.results import write_text
from caf_video.pipeline.setting_types import require_types
from caf_video.pipeline.training_strips import TrainingStrips
from caf_video.processes import ending_with_starter
from caf_video.rendering import training_curves, write_image
from caf_video.retrieval import chance_recall
from caf_video.shards import is_first_process
from caf_video.training import (
    CLASSIFIER,
    KINDS,
    RECURRENT,
    RETRIEVAL,
    ClassifierModule,
    EmbeddingModule,
    EpochPictures,
    FeatureDataModule,
    ImageDataModule,
    RunFolder,
    TrainingError,
    TrainingModule,
    read_metrics,
    train_run,
)

logger = logging.getLogger(__name__)

_OF_LIBRARY_LOSS = ("miner", "normalize", "learning_rate_factor")
# The settings and sections that the main files of conf/ have.
_SHARED = {
    *("kind", "run_dir", "seed", "ckpt_path", "progress_bar"),
    *("data", "model", "optimizer", "trainer", "logger"),
}
KNOWN = {
    RECURRENT: _SHARED | {"features", "loss", "strips_every"},
    RETRIEVAL: _SHARED | {"root", "loss"},
    CLASSIFIER: _SHARED | {"root"},
}
_SEEDS = 2**63  # that torch takes
EXPERIMENT_BEGINS = "# @package _global_"


def train(config: DictConfig) -> Path:
    """Train what a main file of `conf/` and its groups describe; returns the run's folder.

    Raises:
        CafVideoError: A choice, the samples or the run's folder cannot be used; or training was
            interrupted, and says how to go on.
    """
    choices = plain(config)
    _require_sensible(choices)
    _require_known(config, choices)
    for name in {"features", "root"} & choices.keys():  # the run is used from other folders too
        choices[name] = choices["data"][name] = str(Path(choices[name]).resolve())
    data: FeatureDataModule | ImageDataModule = build(config, "data")
    folder = Path(choices["run_dir"])
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is a file, not a folder: choose another run_dir")
    busy = f"another process trains into {folder}: wait for it, or choose another run_dir"
    alone = only_one(folder, TrainingError, busy) if is_first_process() else nullcontext()
    with alone, ending_with_starter():
        return _train(config, choices, data)


def _train(
    config: DictConfig, choices: dict[str, Any], data: FeatureDataModule | ImageDataModule
) -> Path:
    run = RunFolder.begin(
        choices["run_dir"],
        choices,
        data.description,
        ckpt_path=choices["ckpt_path"],
        training_clips=data.training_clips,
    )
    if isinstance(data, ImageDataModule) and is_first_process():
        _tell_skipped(data.images, run.path / "skipped.txt")
    torch.manual_seed(choices["seed"])  # the network's first weights; batches have the same seed
    module = _module(config, choices, data, new=run.last is None)
    first = is_first_process()
    try:
        train_run(
            run,
            module,
            data,
            make_trainer=build(config, "trainer"),
            loggers=list(build(config, "logger").values()),
            callbacks=_strips(choices, data, module, run.path),
            progress_bar=choices["progress_bar"],
        )
    except Interrupted:
        if first:
            raise
    if not first:
        return run.path
    references = {module.metric: {"chance": _chance(choices, data)}} if data.validates else {}
    write_image(run.path / "curves.png", curves(run.path, references))
    return run.path


def _strips(
    choices: Mapping[str, Any],
    data: FeatureDataModule | ImageDataModule,
    module: TrainingModule,
    run_folder: Path,
) -> list[EpochPictures]:
    """What draws clips of validation every `strips_every` epochs; nothing where it is 0."""
    every = choices.get("strips_every", 0)
    if type(every) is not int or every < 0:
        raise InputError(f"strips_every is {every!r}: wanted a number of epochs, 0 for no strips")
    if not every or not isinstance(data, FeatureDataModule):
        return []
    draw = TrainingStrips(choices["features"], data.clips["val"], module.model, run_folder)
    return [EpochPictures(every, draw)]


def curves(run_folder: Path, references: Mapping[str, Mapping[str, float]]) -> Any:
    """A picture of the loss and of R@1 or top-1 by step, with level lines for comparison."""
    series = read_metrics(run_folder)
    series.pop("learning_rate", None)
    return training_curves(series, references=references)


def script(config_name: str) -> None:
    """All that a script of `train/` does: Hydra's command line, and one line where it fails."""

    def task(config: DictConfig) -> None:
        run = train(config)
        if is_first_process():
            print(visible(f"Trained: {run}"))

    try:
        run_command(task, sys.argv[1:], config_name)
    except CafVideoError as error:
        print(line(str(error)), file=sys.stderr)
        raise SystemExit(130 if isinstance(error, Interrupted) else 2) from error
    except KeyboardInterrupt as error:  # before the training, which hears Ctrl-C itself
        print("Interrupted; the same command goes on from here.", file=sys.stderr)
        raise SystemExit(130) from error


def compose_config(overrides: Sequence[str], config_name: str = RECURRENT) -> DictConfig:
    """The configuration that `caf-video train` would have with these overrides.

    Raises:
        InputError: An override names nothing.
    """
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose(config_name, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(" ".join(str(error).split())) from error


def plain(config: DictConfig) -> dict[str, Any]:
    """All choices as plain values.

    Raises:
        InputError: One is missing, or refers to nothing; says which.
    """
    for name in map(str, config):
        if OmegaConf.is_missing(config, name):
            raise InputError(f"{name} is not given: add {name}=VALUE to the command")
    try:
        choices = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(f"{error.full_key}: {str(error).splitlines()[0]}") from error
    return {str(name): value for name, value in choices.items()}  # type: ignore[union-attr]


def build(config: Mapping[Any, Any], section: str, **known: Any) -> Any:
    """What a section of the configuration describes.

    Raises:
        InputError: It describes nothing that can be built; or what the thing itself says.
    """
    given = config[section]
    if OmegaConf.is_config(given):
        given = OmegaConf.to_container(given, resolve=True)
    try:
        if isinstance(given, dict) and "_target_" in given:
            require_types(_target(given), given, section)
        built = instantiate(config[section], **known, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, CafVideoError):
            raise error.__cause__ from None
        reason = " ".join(str(error.__cause__ or error).split())
        unknown = re.search(r"unexpected keyword argument '(\w+)'", reason)
        if unknown:
            raise _unknown(config, f"{section}.{unknown[1]}") from error
        raise InputError(f"{section}: {reason}") from error
    if isinstance(built, partial):  # which looks at its arguments only when it is called
        parameters = inspect.signature(built.func).parameters
        takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        for name in built.keywords.keys() - parameters.keys():
            if not takes_all:
                raise _unknown(config, f"{section}.{name}")
    return built


def _target(section: Mapping[str, Any]) -> Any:
    try:
        return get_object(section["_target_"])
    except Exception:  # importing runs foreign code; `instantiate` says what is wrong with it
        return None


def _require_known(config: DictConfig, choices: dict[str, Any]) -> None:
    """Refuse a setting that nothing reads: a training must not leave out what it was told."""
    kind = choices["kind"]
    text = OmegaConf.to_yaml(config, resolve=False)
    for name, value in choices.items():
        # What another setting refers to is used.
        if name in KNOWN[kind] or re.search(rf"\$\{{{re.escape(name)}[}}.]", text):
            continue
        if isinstance(value, dict) and (name == "experiment" or value.keys() & KNOWN[kind]):
            raise InputError(
                f"{name}: the settings of this file went under its own name and would not be used: "
                f"begin it with the line `{EXPERIMENT_BEGINS}`"
            )
        raise _unknown(config, name)


def _unknown(config: Mapping[Any, Any], name: str) -> InputError:
    """The failure that names where a setting belongs that is not known where it is."""
    key = name.rpartition(".")[2]
    settings = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
    places = [place for place in _places(settings, key) if place != name]
    section = config if "." not in name else config[name.rpartition(".")[0]]
    known = sorted(str(one) for one in section if str(one) != key and not str(one).startswith("_"))
    meant = [f"{name.rpartition('.')[0]}.{one}".lstrip(".") for one in
             get_close_matches(key, known, n=1)]  # fmt: skip
    if places or meant:
        return InputError(f"{name} is no setting: did you mean {' or '.join(places or meant)}?")
    return InputError(f"{name} is no setting: there are {', '.join(known)}")


def _places(settings: Any, key: str, prefix: str = "") -> list[str]:
    """Where a setting of this name is, with dots."""
    if not isinstance(settings, dict):
        return []
    found = []
    for name, value in settings.items():
        found += [f"{prefix}{name}"] if name == key else []
        found += _places(value, key, f"{prefix}{name}.")
    return found


def build_loss(section: Mapping[str, Any], **known: int) -> Any:
    """The ranking loss that a section `loss` describes.

    A loss that does not say itself how embeddings are compared (`normalize`) is one from elsewhere,
    with pytorch-metric-learning's conventions: it becomes a `LibraryLoss`, and what that takes
    (`miner`, `normalize`, `learning_rate_factor`) is in the section, too.

    Args:
        section: Plain values.
        known: What the data and the network know, given to a loss that has an argument so named:
            `num_classes` of the training, and `embedding_size`.

    Raises:
        InputError: It describes no loss, or has what is not its to say.
    """
    if "_target_" not in section:
        raise InputError("loss names no _target_: the class of the loss, as conf/loss/ has them")
    around = {name: section[name] for name in _OF_LIBRARY_LOSS if name in section}
    inner = {name: value for name, value in section.items() if name not in around}
    target = build({"loss": {**inner, "_partial_": True}}, "loss").func
    takes = inspect.signature(target).parameters
    inner |= {name: around.pop(name) for name in [*around] if name in takes}
    for name in known.keys() & inner.keys():
        raise InputError(f"loss.{name}={inner[name]} comes from the data and the network: leave it")
    wanted = {name: value for name, value in known.items() if name in takes}
    loss = build({"loss": inner}, "loss", **wanted)
    if not hasattr(loss, "normalize"):
        if around.get("miner") is not None:
            around["miner"] = build({"loss.miner": around["miner"]}, "loss.miner")
        return LibraryLoss(loss, **around)
    if around:
        raise InputError(f"loss.{min(around)}: {target.__name__} has no such setting")
    return loss


def _require_sensible(choices: dict[str, Any]) -> None:
    for name in sorted({"features", "root", "run_dir"} & choices.keys()):
        path = choices[name]
        if path is None:
            raise InputError(f"{name} is null: give it a path, {name}=PATH")
        if not isinstance(path, str):
            raise InputError(f"{name}={path} is not taken for a path: write {name}=./PATH")
    seed = choices["seed"]
    if type(seed) is not int or not 0 <= seed < _SEEDS:
        raise InputError(f"seed={seed}: wanted a whole number, 0 or more")
    if not isinstance(choices["progress_bar"], bool):
        raise InputError(f"progress_bar={choices['progress_bar']}: wanted true or false")
    epochs = choices["trainer"].get("max_epochs", 1)
    if not isinstance(epochs, int) or epochs < 1:
        raise InputError(f"trainer.max_epochs={epochs}: wanted a whole number, 1 or more")
    kind = choices["kind"]
    if kind not in KINDS:
        raise InputError(f"kind={kind}: it is one of {', '.join(KINDS)}, as the main files say")
    if "_target_" not in choices["data"]:
        raise InputError(
            "data=cub, cars and folder are images: train on them with "
            f"--config-name {RETRIEVAL} or {CLASSIFIER}"
        )
    if kind == RETRIEVAL and choices["model"]["tuning"] != "gap":
        raise InputError(
            f"tuning={choices['model']['tuning']}: an embedding has no classes to tune it by; "
            f"leave tuning=gap, or train a classifier (--config-name {CLASSIFIER})"
        )


def _tell_skipped(images: ImageSet, file: Path) -> None:
    if not images.skipped:
        return
    lines = [visible(f"{one.image_id}: {one.reason}") + "\n" for one in images.skipped]
    write_text(file, "".join(lines))
    first = images.skipped[0]
    logger.warning(
        "skipped %d of %d images in %s, listed in %s; the first of them, %s: %s",
        len(images.skipped), len(images.skipped) + len(images.images), images.root, file,
        visible(first.image_id), visible(first.reason),
    )  # fmt: skip


def _module(
    config: DictConfig,
    choices: dict[str, Any],
    data: FeatureDataModule | ImageDataModule,
    *,
    new: bool,
) -> TrainingModule:
    """A network and what trains it; a new one of clips is standardised by the training clips."""
    optimizer, seed = build(config, "optimizer"), choices["seed"]
    if choices["kind"] == CLASSIFIER:
        network = build(config, "model", outputs=len(data.label_names))
        return ClassifierModule(network, optimizer, seed=seed)
    if isinstance(data, ImageDataModule):
        network = build(config, "model")
        embedding_size = network.hyperparameters["outputs"]
    else:
        description = data.description
        network = build(config, "model", in_channels=description.channels, grid=description.grid)
        embedding_size = network.hyperparameters["embedding_dim"]
        if new:
            network.fit_standardization(*data.channel_statistics())
    present = set(data.labels("train"))
    classes = [number for number, name in enumerate(data.label_names) if name in present]
    loss = build_loss(choices["loss"], num_classes=len(classes), embedding_size=embedding_size)
    return EmbeddingModule(network, loss, optimizer, seed=seed, classes=classes)


def _chance(choices: dict[str, Any], data: FeatureDataModule | ImageDataModule) -> float:
    """What a guess would have in validation."""
    if choices["kind"] == CLASSIFIER:
        return 1 / len(data.label_names)
    return chance_recall(data.labels("val"))

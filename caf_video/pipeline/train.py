"""features ─► run: train the recurrent embedding as a Hydra configuration says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from caf_video.configuration import conf_dir
from caf_video.errors import CafVideoError, InputError
from caf_video.rendering import training_curves, write_image
from caf_video.retrieval import chance_recall
from caf_video.training import RecurrentModule, Run, read_metrics, train_recurrent


def train(config: DictConfig) -> Path:
    """Train what `conf/recurrent.yaml` and its groups describe; returns the run's folder.

    Raises:
        CafVideoError: A choice, the features, the clips or the run's folder cannot be used; or
            training was interrupted, and says how to go on.
    """
    choices = plain(config)
    # The run is used from other folders too.
    choices["features"] = choices["data"]["features"] = str(Path(choices["features"]).resolve())
    data = build(config, "data")
    run = Run.begin(choices["run_dir"], choices, data.description, ckpt_path=choices["ckpt_path"])
    torch.manual_seed(choices["seed"])  # the network's first weights; batches have the same seed
    model = build(
        config, "model", in_channels=data.description.channels, grid=data.description.grid
    )
    train_recurrent(
        run,
        RecurrentModule(
            model, build(config, "loss"), build(config, "optimizer"), seed=choices["seed"]
        ),
        data,
        make_trainer=build(config, "trainer"),
        loggers=list(build(config, "logger").values()),
        progress_bar=choices["progress_bar"],
    )
    chance = chance_recall([clip.label for clip in data.clips["val"]])
    picture = curves(run.folder, {"recall@1": {"chance": chance}})
    write_image(run.folder / "curves.png", picture)
    return run.folder


def curves(run_folder: Path, references: Mapping[str, Mapping[str, float]]) -> Any:
    """A picture of the loss and of R@1 by step, with level lines for comparison."""
    series = read_metrics(run_folder)
    series.pop("learning_rate", None)
    return training_curves(series, references=references)


def compose_config(overrides: Sequence[str]) -> DictConfig:
    """The configuration that `caf-video train` would have with these overrides.

    Raises:
        InputError: An override names nothing.
    """
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return compose("recurrent", overrides=list(overrides))
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


def build(config: DictConfig, section: str, **known: Any) -> Any:
    """What a section of the configuration describes.

    Raises:
        InputError: It describes nothing that can be built; or what the thing itself says.
    """
    try:
        return instantiate(config[section], **known, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, CafVideoError):
            raise error.__cause__ from None
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(f"{section}: {reason}") from error

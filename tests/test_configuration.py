"""Every choice in conf/ composes, builds and trains; files of a user's own are found."""

import ast
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from caf_video.configuration import conf_dir
from caf_video.data.clips import Clip, write_manifest
from caf_video.data.features import ClipFeatures, FeatureStore, StoreDescription
from caf_video.pipeline.train import train
from caf_video.training import LoggerError, load_run, read_metrics

ROOT = Path(__file__).resolve().parents[1]
GROUPS = ("data", "model", "loss", "optimizer", "trainer", "logger", "experiment")
CHOICES = [
    (group, file.stem)
    for group in GROUPS
    for file in sorted((ROOT / "conf" / group).glob("*.yaml"))
]
# Packages that are installed only by those who want them.
OPTIONAL = {("logger", "tensorboard"), ("logger", "wandb")}


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of noise with three classes."""
    folder = tmp_path_factory.mktemp("configuration")
    description = StoreDescription("tiny", "none", "0" * 64, 32, (64, 96), 6, (2, 3), 3, 1)
    store = FeatureStore.create(folder / "features", description)
    clips = [
        Clip(f"{split} {label} {number}", folder / "video.mp4", label, session=split, split=split)
        for split in ("train", "val")
        for label in ("left", "right", "stop")
        for number in range(3)
    ]
    write_manifest(clips, store.manifest_path)
    generator = torch.Generator().manual_seed(0)
    for clip in clips:
        maps = torch.rand(3, 1, 6, 2, 3, generator=generator)
        times = torch.zeros(3, 1)
        store.write(ClipFeatures(clip.clip_id, maps, times.long(), times), clip_key="")
    return store.folder


def composed(features: Path, run_dir: Path, overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("recurrent", [f"features={features}", f"run_dir={run_dir}", *overrides])


def test_the_checkouts_conf_is_found() -> None:
    assert conf_dir() == ROOT / "conf"


def test_the_wheels_copy_of_conf_is_found_before_it(tmp_path) -> None:
    # The wheel carries conf/ inside the package, and there is no checkout around it.
    package = tmp_path / "caf_video"
    (package / "conf").mkdir(parents=True)
    source = (ROOT / "caf_video" / "configuration.py").read_text(encoding="utf-8")
    (package / "configuration.py").write_text(source, encoding="utf-8")
    (package / "__init__.py").touch()
    command = "from caf_video.configuration import conf_dir; print(conf_dir())"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == (package / "conf").resolve()


def test_every_group_has_a_choice() -> None:
    assert {group for group, _ in CHOICES} == set(GROUPS)


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=["/".join(choice) for choice in CHOICES])
def test_every_choice_composes_and_builds(features, tmp_path, group, choice) -> None:
    config = composed(features, tmp_path, [f"{group}={choice}"])
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    for section in ("data", "loss", "optimizer", "trainer"):
        assert instantiate(config[section]) is not None
    model = instantiate(config.model, in_channels=6, grid=(2, 3))
    assert model(torch.rand(2, 3, 6, 2, 3)).shape == (2, config.model.embedding_dim)
    try:
        instantiate(config.logger)
    except Exception as error:  # what Hydra makes of ours
        assert (group, choice) in OPTIONAL and isinstance(error.__cause__, LoggerError)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda file: file.stem
)
def test_every_file_begins_with_a_comment_on_what_it_is(file) -> None:
    assert file.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("file", sorted((ROOT / "conf").glob("*.yaml")))
def test_a_main_file_begins_with_the_command_that_runs_it(file) -> None:
    assert file.read_text(encoding="utf-8").startswith("# caf-video train ")


@pytest.mark.parametrize(
    "overrides",
    [
        ["experiment=demo"],
        ["experiment=hdd"],
        ["loss=n_pair"],
        ["loss=triplet_hard", "loss.soft=true"],
        ["model.dropout=0.2", "model.cell=gru"],
    ],
    ids=str,
)
def test_it_trains_two_steps(features, tmp_path, overrides) -> None:
    short = ["trainer.max_epochs=1", "data.batches_per_epoch=2", "progress_bar=false"]
    config = composed(features, tmp_path / "run", [*overrides, *short])
    run = train(config)
    assert read_metrics(run)["loss"][0] == [0, 1]
    loaded = load_run(run)
    assert loaded.normalize is ("loss=n_pair" not in overrides)
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    kept = OmegaConf.load(run / "config.yaml")
    assert kept.model == config.model and kept.seed == 0


@pytest.fixture
def script(monkeypatch, tmp_path, capfd) -> Callable[..., tuple[int, str, str]]:
    """Run train/recurrent.py in the test's folder: its exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    path = ROOT / "train" / "recurrent.py"

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as exit:
            code = int(exit.code or 0)
        finally:
            GlobalHydra.instance().clear()
        return (code, *capfd.readouterr())

    return run


def test_the_script_trains_with_files_of_a_users_own_from_any_folder(
    features, tmp_path, script
) -> None:
    mine = tmp_path / "mine" / "experiment"
    mine.mkdir(parents=True)
    (mine / "short.yaml").write_text(
        "# @package _global_\ntrainer:\n  max_epochs: 1\ndata:\n  batches_per_epoch: 2\n"
    )
    choices = (f"features={features}", "run_dir=out", "progress_bar=false")
    code, output, error = script("--config-dir", mine.parent, "experiment=short", *choices)
    assert (code, output, error) == (0, "Trained: out\n", "")
    assert load_run(tmp_path / "out").step == 2
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "out"}  # Hydra leaves nothing


def test_the_search_path_is_respected(tmp_path, script) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("margin: 0.7\n")
    choices = ("loss=mine", "features=f", "run_dir=r", "--cfg", "job")
    _, output, _ = script(f"hydra.searchpath=[file://{tmp_path}]", *choices)
    assert "margin: 0.7" in output


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        (["features=nowhere", "run_dir=out"], "no feature store at"),
        (["run_dir=notes"], "notes is a file, not a folder"),
        ([], "run_dir is not given"),
        (["run_dir=out", "ckpt_path=last"], "no checkpoint to go on from"),
        (["run_dir=out", "data.samples_per_class=1"], "at least 2 x 2"),
        (["run_dir=out", "loss.margin=-1"], "margin -1"),
        (["run_dir=out", "model.pooling=max"], "pooling is 'max'"),
    ],
    ids=str,
)
def test_the_script_says_in_one_line_what_is_wrong(
    features, tmp_path, script, choices, told
) -> None:
    (tmp_path / "notes").write_text("mine")
    code, output, error = script(f"features={features}", "progress_bar=false", *choices)
    assert code == 2 and output == ""
    assert told in error and len(error.splitlines()) == 1
    assert (tmp_path / "notes").read_text() == "mine"


def test_the_script_is_short() -> None:
    tree = ast.parse((ROOT / "train" / "recurrent.py").read_text(encoding="utf-8"))
    assert len([node for node in ast.walk(tree) if isinstance(node, ast.stmt)]) < 20

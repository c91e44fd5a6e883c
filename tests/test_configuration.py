"""Every choice in conf/ composes, builds and trains; files of a user's own are found."""

import ast
import csv
import logging
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from scipy.io import savemat

from caf_video import cli
from caf_video.configuration import conf_dir
from caf_video.data.features import ClipFeatures, FeatureStore, StoreDescription
from caf_video.data.manifest import Clip, write_manifest
from caf_video.pipeline.train import KNOWN, build_loss, train
from caf_video.training import KINDS, FeatureDataModule, LoggerError, load_run, read_metrics

ROOT = Path(__file__).resolve().parents[1]
IMAGES = {"retrieval", "classifier"}

# Which of the main files a choice is for, where it is not for all that have its group.
FOR = {
    **{("data", name): {"recurrent"} for name in ("features", "hdd")},
    **{("data", name): IMAGES for name in ("cub", "cars", "folder")},
    **{("tuning", name): {"classifier"} for name in ("acol", "adl")},
    **{("experiment", name): {"recurrent"} for name in ("demo", "hdd", "two_events")},
    ("experiment", "pictures"): IMAGES,
    **{("experiment", name): {"classifier"} for name in ("cub_acol", "cub_resnet50_se")},
    ("optimizer", "sgd_steps"): {"classifier"},
}
CLIP_GROUPS = {"data", "model", "loss", "optimizer", "trainer", "logger", "experiment"}
IMAGE_GROUPS = {"data", "backbone", "tuning", "optimizer", "trainer", "logger", "experiment"}
GROUPS = {
    "recurrent": CLIP_GROUPS,
    "retrieval": IMAGE_GROUPS | {"loss"},
    "classifier": IMAGE_GROUPS,
}
CHOICES = [
    (kind, group, file.stem)
    for kind, groups in GROUPS.items()
    for group in sorted(groups)
    for file in sorted((ROOT / "conf" / group).glob("*.yaml"))
    if kind in FOR.get((group, file.stem), KINDS)
]
# Packages that are installed only by those who want them.
OPTIONAL = {("logger", "tensorboard"), ("logger", "wandb")}
# Of a package that may be missing; of a download; of a module that only its owner has.
PACKAGES = {("backbone", "timm_resnet50"): "timm", ("backbone", "timm_vit"): "timm"}
ELSEWHERE = {("backbone", "hf_dinov2"), ("backbone", "own")}
SMALL = [
    "backbone=resnet18",
    "model.weights=none",
    "data.size=[32,32]",
    "data.batch_size=8",
    "data.workers=0",
]
SHORT = ["trainer.max_epochs=1", "data.batches_per_epoch=2", "progress_bar=false"]


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


def write_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(256, size=(44, 52, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def cub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CUB-200-2011 with four classes of four images, the last of each to test."""
    root = tmp_path_factory.mktemp("birds") / "CUB_200_2011"
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross", "004.Ani"]
    lines: dict[str, list[str]] = {
        "classes.txt": [f"{number} {name}" for number, name in enumerate(names, start=1)]
    }
    for number in range(16):
        name = f"{names[number // 4]}/Bird_{number:04d}.jpg"
        write_image(root / "images" / name, number)
        for file, row in (
            ("images.txt", name),
            ("image_class_labels.txt", number // 4 + 1),
            ("bounding_boxes.txt", "5.0 4.0 30.0 32.0"),
            ("train_test_split.txt", int(number % 4 < 3)),
        ):
            lines.setdefault(file, []).append(f"{number + 1} {row}")
    for file, rows in lines.items():
        (root / file).write_text("".join(f"{row}\n" for row in rows))
    return root


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CARS196 in its older layout, with four classes of four images, the last of each to test."""
    root = tmp_path_factory.mktemp("cars")
    fields = ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")
    rows = np.empty((1, 16), dtype=[(field, object) for field in fields])
    for number in range(16):
        name = f"car_ims/{number + 1:06d}.jpg"
        write_image(root / name, number)
        rows[0, number] = (name, 5, 4, 40, 36, number // 4 + 1, int(number % 4 == 3))
    names = np.empty((1, 4), dtype=object)
    names[0, :] = ["Acura RL Sedan 2012", "Audi S4 2007", "BMW M3 Coupe 2012", "Fiat 500 Abarth"]
    savemat(root / "cars_annos.mat", {"annotations": rows, "class_names": names})
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table: three classes, four images of each to train on and two to validate."""
    root = tmp_path_factory.mktemp("folder")
    rows = [
        (f"{split}{label}{number}.png", label, split)
        for split, count in (("train", 4), ("val", 2), ("test", 2))
        for label in ("car", "sign", "signal")
        for number in range(count)
    ]
    for number, (name, _, _) in enumerate(rows):
        write_image(root / name, number)
    with (root / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label", "split"), *rows])
    return root


@pytest.fixture
def roots(features, cub, cars, folder) -> dict[str, Path]:
    """Where the samples of each choice of data are."""
    return {"features": features, "cub": cub, "cars": cars, "folder": folder}


def composed(kind: str, where: Path, run_dir: Path, overrides: Sequence[str]) -> DictConfig:
    samples = "features" if kind == "recurrent" else "root"
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(kind, [f"{samples}={where}", f"run_dir={run_dir}", *overrides])


# --- what there is ------------------------------------------------------------------------------


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


def test_a_main_file_is_one_of_the_kinds_and_says_so() -> None:
    mains = sorted((ROOT / "conf").glob("*.yaml"))
    assert {file.stem for file in mains} == set(KINDS)
    assert all(OmegaConf.load(file).kind == file.stem for file in mains)


def test_every_file_in_conf_is_a_main_file_or_tried_here() -> None:
    tried = {(group, choice) for _, group, choice in CHOICES}
    files = {(file.parent.name, file.stem) for file in (ROOT / "conf").glob("*/*.yaml")}
    assert files - tried == {("shared", "run"), ("shared", "images")}  # parts of the main files


@pytest.mark.parametrize(("kind", "group", "choice"), CHOICES, ids=lambda value: value)
def test_every_choice_composes_and_builds(roots, tmp_path, kind, group, choice) -> None:
    image_data = choice if group == "data" else "folder" if choice == "pictures" else "cub"
    if (group, choice) in PACKAGES:
        pytest.importorskip(PACKAGES[group, choice], reason="an extra that is not installed")
    where = roots["features" if kind == "recurrent" else image_data]
    overrides = [f"{group}={choice}"]
    if kind in IMAGES:
        overrides += ["model.weights=none", "data.workers=0"]
    if choice == "folder":
        overrides += ["data.protocol=classification"]  # the folder's splits share their classes
    config = composed(kind, where, tmp_path, overrides)
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    if (group, choice) in ELSEWHERE:
        return
    data = instantiate(config.data)
    data.setup("fit")
    optimizer, trainer = instantiate(config.optimizer), instantiate(config.trainer)
    if kind == "recurrent":
        model = instantiate(config.model, in_channels=6, grid=(2, 3))
        outputs = model(torch.rand(2, 3, 6, 2, 3))
        assert outputs.shape == (2, config.model.embedding_dim)
    else:
        known = {} if kind == "retrieval" else {"outputs": len(data.label_names)}
        model = instantiate(config.model, **known).eval()
        with torch.no_grad():
            outputs = model(torch.rand(2, 3, 32, 32))
        assert outputs.shape == (2, 128 if kind == "retrieval" else len(data.label_names))
    if kind != "classifier":
        section = OmegaConf.to_container(config.loss, resolve=True)
        loss = build_loss(section, num_classes=2, embedding_size=5)
        assert loss(torch.randn(4, 5), torch.tensor([0, 0, 1, 1])) >= 0
    assert optimizer(model, 10)["optimizer"].param_groups
    assert trainer.keywords["max_epochs"] > 0
    try:
        instantiate(config.logger)
    except Exception as error:  # what Hydra makes of ours
        assert (group, choice) in OPTIONAL and isinstance(error.__cause__, LoggerError)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda file: file.stem
)
def test_every_file_begins_with_a_comment_on_what_it_is(file) -> None:
    assert file.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_main_file_begins_with_the_command_that_runs_it(kind) -> None:
    flag = "" if kind == "recurrent" else f"--config-name {kind} "
    text = (ROOT / "conf" / f"{kind}.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# caf-video train {flag}")


# --- what the papers say ------------------------------------------------------------------------


@pytest.mark.parametrize(("loss", "classes", "samples"), [("triplet", 20, 6), ("n_pair", 60, 2)])
def test_table_3_is_trained_for_5000_steps_of_120_images(loss, classes, samples) -> None:
    config = composed("retrieval", Path("cub"), Path("run"), [f"loss={loss}"])
    assert config.data.batches_per_epoch * config.trainer.max_epochs == 5000
    assert config.data.batch_size // config.data.samples_per_class == classes
    assert (config.data.samples_per_class, config.model.outputs) == (samples, 128)
    assert config.data.protocol == "zero_shot"


@pytest.mark.parametrize(
    ("overrides", "steps", "batch_size", "lr", "weight_decay"),
    [
        (["tuning=adl"], 105_000, 32, 0.01, 5e-4),
        (["experiment=cub_resnet50_se"], 105_000, 32, 0.1, 1e-4),
        (["experiment=cub_acol"], 18_000, 20, 1e-3, 5e-4),
    ],
    ids=str,
)
def test_table_2_is_trained_as_its_authors_commands_say(
    overrides, steps, batch_size, lr, weight_decay
) -> None:
    config = composed("classifier", Path("cub"), Path("run"), overrides)
    assert config.data.batches_per_epoch * config.trainer.max_epochs == steps
    assert (config.data.batch_size, config.data.protocol) == (batch_size, "classification")
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (lr, weight_decay)
    assert config.optimizer.pretrained_factor == 0.1


# --- training -----------------------------------------------------------------------------------


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
def test_clips_train_two_steps(features, tmp_path, overrides) -> None:
    config = composed("recurrent", features, tmp_path / "run", [*overrides, *SHORT])
    run = train(config)
    assert read_metrics(run)["loss"][0] == [0, 1]
    loaded = load_run(run)
    assert loaded.normalize is ("loss=n_pair" not in overrides)
    mean, std = FeatureDataModule(
        features, classes_per_batch=3, samples_per_class=2, batches_per_epoch=1, seed=0
    ).channel_statistics()
    assert torch.equal(loaded.model.channel_mean, mean)
    assert torch.equal(loaded.model.channel_std, std)
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    kept = OmegaConf.load(run / "config.yaml")
    assert kept.model == config.model and kept.seed == 0


@pytest.mark.parametrize(
    ("kind", "data", "overrides"),
    [
        ("retrieval", "cub", ["loss=triplet", "data.samples_per_class=3", *SMALL]),
        ("retrieval", "cars", ["loss=n_pair", "model.frozen_batch_norm=true", *SMALL]),
        ("retrieval", "folder", ["experiment=pictures", "data.samples_per_class=3", *SMALL]),
        ("retrieval", "cub", ["loss=proxy_anchor", "data.samples_per_class=3", *SMALL]),
        ("retrieval", "cars", ["loss=multi_similarity", "data.samples_per_class=3", *SMALL]),
        ("classifier", "cub", ["tuning=gap", *SMALL]),
        ("classifier", "cars", ["tuning=acol", "model.erase_channels=8", *SMALL]),
        ("classifier", "folder", ["experiment=pictures", "tuning=adl", *SMALL]),
        ("classifier", "cub", ["tuning=adl", *SMALL[1:], "backbone=vgg16_gap"]),
    ],
    ids=str,
)
def test_images_train_two_steps(roots, tmp_path, kind, data, overrides) -> None:
    config = composed(kind, roots[data], tmp_path / "run", [f"data={data}", *overrides, *SHORT])
    run = train(config)
    series = read_metrics(run)
    assert series["loss"][0] == [0, 1]
    metric = "recall@1" if kind == "retrieval" else "top-1"
    assert (metric in series) is (data == "folder")  # CUB and CARS have no val split
    loaded = load_run(run)
    assert (loaded.kind, loaded.step) == (kind, 2)
    assert (loaded.description.dataset, loaded.description.root) == (data, str(roots[data]))
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not (run / "skipped.txt").exists()


def test_skipped_images_are_counted_in_one_line_and_listed_in_the_run(
    tmp_path, caplog, cub
) -> None:
    rows = (cub / "bounding_boxes.txt").read_text().splitlines()
    outside = ["1 50.0 4.0 30.0 32.0", "2 5.0 4.0 0.0 32.0", *rows[2:]]
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in cub.iterdir():
        (copy / file.name).symlink_to(file)
    (copy / "bounding_boxes.txt").unlink()
    (copy / "bounding_boxes.txt").write_text("\n".join(outside))
    with caplog.at_level(logging.WARNING):
        run = train(composed("classifier", copy, tmp_path / "run", [*SMALL, *SHORT]))
    (line,) = [record.getMessage() for record in caplog.records if "skipped" in record.getMessage()]
    assert line.startswith(f"skipped 2 of 16 images in {copy}, listed in {run / 'skipped.txt'}; ")
    listed = (run / "skipped.txt").read_text().splitlines()
    assert len(listed) == 2 and listed[0] in line
    assert "reaches 28 pixels beyond the image" in listed[0] and "is empty" in listed[1]


# --- the scripts and the command ------------------------------------------------------------------


@pytest.fixture
def script(monkeypatch, tmp_path, capfd) -> Callable[..., tuple[int, str, str]]:
    """Run a script of train/ in the test's folder: its exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def run(kind: str, *arguments: str | Path) -> tuple[int, str, str]:
        path = ROOT / "train" / f"{kind}.py"
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
    code, output, error = script(
        "recurrent", "--config-dir", mine.parent, "experiment=short", *choices
    )
    assert (code, output, error) == (0, "Trained: out\n", "")
    assert load_run(tmp_path / "out").step == 2
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "out"}  # Hydra leaves nothing


@pytest.mark.parametrize("group", ["experiment", "mine"])
def test_an_experiment_file_that_lacks_its_first_line_is_told_how_it_begins(
    features, tmp_path, script, group
) -> None:
    (tmp_path / "mine" / group).mkdir(parents=True)
    (tmp_path / "mine" / group / "short.yaml").write_text("trainer:\n  max_epochs: 1\n")
    choice = "experiment=short" if group == "experiment" else "+mine=short"
    code, _, error = script(
        "recurrent", "--config-dir", tmp_path / "mine", choice, f"features={features}",
        "run_dir=out",
    )  # fmt: skip
    assert code == 2 and len(error.splitlines()) == 1
    assert error.startswith(f"{group}: ")
    assert "begin it with the line `# @package _global_`" in error
    assert not (tmp_path / "out").exists()


def test_a_setting_of_a_users_own_that_another_refers_to_is_used(features, tmp_path) -> None:
    config = composed("recurrent", features, tmp_path / "run",
                      ["+margin_of_all=0.4", "loss.margin=${margin_of_all}", *SHORT])  # fmt: skip
    assert OmegaConf.load(train(config) / "config.yaml").loss.margin == 0.4


@pytest.mark.parametrize("kind", KINDS)
def test_the_known_settings_are_those_of_the_main_file(kind) -> None:
    assert set(map(str, composed(kind, Path("f"), Path("r"), []))) == KNOWN[kind]


def test_the_search_path_is_respected(tmp_path, script) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("margin: 0.7\n")
    choices = ("loss=mine", "features=f", "run_dir=r", "--cfg", "job")
    _, output, _ = script("recurrent", f"hydra.searchpath=[file://{tmp_path}]", *choices)
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
        (["run_dir=out", "data=cub"], "train on them with --config-name retrieval or classifier"),
        (["run_dir=out", "kind=audio"], "kind=audio: it is one of recurrent, retrieval, class"),
        (["run_dir=null"], "run_dir is null: give it a path"),
        (["run_dir=out", "trainer.max_epochs=word"], "wanted a whole number"),
        (["run_dir=out", "trainer.precision=7"], "trainer.precision=7: wanted "),
        (["run_dir=out", "trainer.devices=0"], "trainer: "),
        (["run_dir=5"], "run_dir=5 is not taken for a path"),
        (["run_dir=out", "seed=-1"], "seed=-1: wanted a whole number, 0 or more"),
        (["run_dir=out", "seed=true"], "seed=True: wanted a whole number, 0 or more"),
        (["run_dir=out", "optimizer.lr=fast"], "optimizer.lr=fast: wanted a number"),
        (["run_dir=out", "optimizer.lr=-1"], "a learning rate of -1: wanted a number above 0"),
        (["run_dir=out", "optimizer.weight_decay=-1"], "optimizer: Invalid weight_decay"),
        (["run_dir=out", "model.hidden=1.5"], "model.hidden=1.5: wanted a whole number"),
        (["run_dir=out", "model.coordinates=7"], "model.coordinates=7: wanted true or false"),
        (["run_dir=out", "data.memory_gb=null"], "data.memory_gb=null: wanted a number"),
        (["run_dir=out", "+lr=0.5"], "lr is no setting: did you mean optimizer.lr?"),
        (["run_dir=out", "+sede=1"], "sede is no setting: did you mean seed?"),
        (["run_dir=out", "+colour=red"], "colour is no setting: there are ckpt_path, data, feat"),
        (["run_dir=out", "+root=photos"], "root is no setting"),
        (["run_dir=out", "+data.margin=1"], "data.margin is no setting: did you mean loss.margin?"),
        (
            ["run_dir=out", "+optimizer.mining=x"],
            "optimizer.mining is no setting: did you mean",
        ),
        (["run_dir=out", "+optimizer.l=1"], "optimizer.l is no setting: did you mean optimizer.lr"),
        (["run_dir=out", "+trainer.max_epoch=3"], "trainer.max_epoch is no setting: did you mean"),
    ],
    ids=str,
)
def test_the_script_says_in_one_line_what_is_wrong(
    features, tmp_path, script, choices, told
) -> None:
    (tmp_path / "notes").write_text("mine")
    code, output, error = script(
        "recurrent", f"features={features}", "progress_bar=false", *choices
    )
    assert code == 2 and output == ""
    assert told in error and len(error.splitlines()) == 1
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "choices", "told"),
    [
        ("retrieval", ["root=nowhere"], "no folder at"),
        ("retrieval", ["root=null"], "root is null: give it a path"),
        ("retrieval", ["root={folder}"], "images.txt"),
        ("retrieval", ["tuning=adl"], "tuning=adl: an embedding has no classes"),
        ("retrieval", ["data.samples_per_class=1"], "at least 2 x 2"),
        ("retrieval", ["loss=n_pair", "data.samples_per_class=4"], "takes exactly 2 of a class"),
        ("retrieval", ["data=features"], "features"),
        ("retrieval", ["data.size=64"], "size is 64: wanted [height, width]"),
        ("classifier", ["data.protocol=zero_shot"], "2 of the 4 classes"),
        ("classifier", ["model.weights=missing.pth"], "no weights 'missing.pth'"),
        ("classifier", ["optimizer.drops=[30]"], "wanted shares of the steps"),
    ],
    ids=str,
)
def test_with_images_too_it_says_in_one_line_what_is_wrong(
    roots, script, kind, choices, told
) -> None:
    choices = [choice.format(**roots) for choice in choices]
    code, output, error = script(
        kind, f"root={roots['cub']}", "run_dir=out", *SMALL, *SHORT, *choices
    )
    assert code == 2 and output == ""
    assert told in error and len(error.splitlines()) == 1


def test_ctrl_c_before_the_training_is_one_line(monkeypatch, script) -> None:
    def interrupted(_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("caf_video.pipeline.train.train", interrupted)
    code, _, error = script("retrieval", "root=pictures", "run_dir=out")
    assert (code, error) == (130, "Interrupted; the same command goes on from here.\n")


@pytest.mark.parametrize("kind", sorted(IMAGES))
def test_a_missing_root_is_asked_for(script, kind) -> None:
    code, _, error = script(kind, "run_dir=out")
    assert (code, error) == (2, "root is not given: add root=VALUE to the command\n")


def test_the_command_trains_what_config_name_says_and_tells_what_is_next(
    monkeypatch, tmp_path, capfd, folder
) -> None:
    monkeypatch.chdir(tmp_path)
    choices = ["data=folder", f"root={folder}", "run_dir=out", *SMALL, *SHORT]
    arguments = ["caf-video", "train", "--config-name", "classifier", *choices]
    monkeypatch.setattr(sys, "argv", arguments)
    try:
        cli.app(arguments[1:], standalone_mode=False)
    finally:
        GlobalHydra.instance().clear()
    output, error = capfd.readouterr()
    assert error == ""
    assert output.splitlines() == [
        "Run: out",
        f"Next: caf-video localize --model out --dataset folder --root {folder}",
    ]
    assert load_run("out").kind == "classifier"


@pytest.mark.parametrize("kind", KINDS)
def test_help_tells_of_all_three(script, kind) -> None:
    code, output, _ = script(kind, "--help")
    assert code == 0
    assert output.startswith("caf-video train [--config-name NAME]")
    assert all(f"{name}, " in output[:400] for name in KINDS)
    assert "first line is `# @package _global_`" in output


@pytest.mark.parametrize("kind", KINDS)
def test_the_script_is_short(kind) -> None:
    tree = ast.parse((ROOT / "train" / f"{kind}.py").read_text(encoding="utf-8"))
    assert len([node for node in ast.walk(tree) if isinstance(node, ast.stmt)]) < 6

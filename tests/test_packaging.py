"""The wheel holds all that a user needs: it trains from outside the checkout."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def no_other_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PYTHONPATH that names the checkout would hide the wheel."""
    monkeypatch.delenv("PYTHONPATH", raising=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of scripts of an environment that holds the wheel, beside our dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, symlinks=True, with_pip=False)
    python = environment / "bin" / "python"
    (site_packages,) = environment.glob("lib/python*/site-packages")
    # A path file inside a folder that a path file names is not read: our own editable install,
    # which stands beside the dependencies, is not seen.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel]
    subprocess.run(install, check=True, capture_output=True)
    return python.parent


def test_the_wheel_trains_a_step_from_outside_the_checkout(
    installed: Path, store_folder: Path, tmp_path: Path
) -> None:
    arguments = [f"features={store_folder}", "run_dir=run", "experiment=demo"]
    arguments += ["trainer.max_epochs=1", "data.batches_per_epoch=1"]
    done = subprocess.run(
        [installed / "caf-video", "train", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()
    assert (tmp_path / "run" / "curves.png").is_file()


def test_the_wheel_is_what_runs_and_carries_its_configuration(installed: Path) -> None:
    program = "import caf_video.configuration as c; print(c.__file__, c.conf_dir())"
    done = subprocess.run(
        [installed / "python", "-c", program], cwd=installed, capture_output=True, text=True
    )
    module, configuration = done.stdout.split()
    assert str(installed.parent) in module
    assert Path(configuration).parent == Path(module).parent
    carried = {path.relative_to(configuration) for path in Path(configuration).rglob("*.yaml")}
    conf = ROOT / "conf"
    assert carried == {path.relative_to(conf) for path in conf.rglob("*.yaml")}


def test_the_wheel_carries_its_types_and_its_version(installed: Path) -> None:
    program = "import caf_video; print(caf_video.__path__[0], caf_video.__version__)"
    done = subprocess.run(
        [installed / "python", "-c", program], cwd=installed, capture_output=True, text=True
    )
    package, version = done.stdout.split()
    assert str(installed.parent) in package
    assert (Path(package) / "py.typed").is_file()
    told = subprocess.run([installed / "caf-video", "--version"], capture_output=True, text=True)
    assert told.stdout.startswith(f"caf-video {version} (Python ")

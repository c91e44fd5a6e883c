"""What `import caf_video` offers: names found on first use, listed, typed, and one version."""

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import caf_video

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", caf_video.__all__)
def test_a_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(caf_video, name) is not None
    assert name in dir(caf_video)


def test_dir_lists_the_public_names_and_nothing_else() -> None:
    listed = {name for name in dir(caf_video) if not name.startswith("__")}
    assert listed == set(caf_video.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'explian'"):
        _ = caf_video.explian


def test_listing_the_names_and_asking_for_the_version_import_no_torch() -> None:
    program = "import sys, caf_video; dir(caf_video); caf_video.__version__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "numpy"} & set(done.stdout.split())


def test_the_version_is_written_down_once() -> None:
    (written,) = re.findall(
        r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert caf_video.__version__ == version("caf_video") == written


def test_type_checkers_are_told_that_the_package_has_types() -> None:
    assert (ROOT / "caf_video" / "py.typed").read_text() == ""

"""Where the Hydra configuration is."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def conf_dir() -> Path:
    """Folder of `recurrent.yaml` and its groups: a checkout's conf/, or the copy in the wheel."""
    installed = _PACKAGE / "conf"
    return installed if installed.is_dir() else _PACKAGE.parent / "conf"

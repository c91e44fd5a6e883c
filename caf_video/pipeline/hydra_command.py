"""Hydra's command line, with its failures as expected ones: one line each."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from caf_video.configuration import conf_dir
from caf_video.errors import CafVideoError, InputError
from caf_video.reading import file_bytes

_MOST_BYTES = 2**20  # of a configuration file
# What reading YAML may raise, beside OSError: not text, nested or a number beyond reason, a list
# where a mapping belongs.
_UNREADABLE = (
    *(YAMLError, OmegaConfBaseException, ValueError, RecursionError, TypeError),
    AssertionError,  # OmegaConf's, of a file that holds one number
)


def run_command(
    task: Callable[[DictConfig], None], arguments: Sequence[str], config_name: str
) -> None:
    """Compose what the arguments say, and do the task; what the task raises is its own.

    Args:
        task: What to do with it.
        arguments: Of the command line, `sys.argv` less the program; Hydra itself reads `sys.argv`.
        config_name: Of the main file, unless the arguments name another.

    Raises:
        InputError: A file of the configuration cannot be read, or an argument names nothing.
    """
    for folder in _folders(arguments):
        _require_readable(Path(folder))
    begun = False
    expected: list[CafVideoError] = []

    def noted(config: DictConfig) -> None:
        nonlocal begun
        begun = True
        try:
            task(config)
        except CafVideoError as error:  # of which Hydra would print a line of its own
            expected.append(error)

    command = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=config_name)
    try:
        # Else Hydra prints tracebacks and ends the process.
        with _environment("HYDRA_FULL_ERROR", "1"):
            command(noted)()
    except (HydraException, OSError, *_UNREADABLE) as error:
        if begun:  # a bug
            raise
        raise InputError(f"the configuration: {_words(error)}") from error
    if expected:
        raise expected[0]


def _folders(arguments: Sequence[str]) -> Iterator[str]:
    """The folders that `--config-dir` names."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd", "--config-path", "-cp"):
            yield value if equals else following


def _require_readable(folder: Path) -> None:
    """Refuse a folder with a configuration that Hydra could not read, or not without waiting.

    Raises:
        InputError: Names the file.
    """
    for file in sorted(folder.rglob("*.yaml")):
        try:
            OmegaConf.create(file_bytes(file, most=_MOST_BYTES).decode("utf-8"))
        except OSError as error:
            raise InputError(f"cannot read {file}: {error.strerror}") from error
        except _UNREADABLE as error:
            raise InputError(f"{file} is not YAML of settings: {_words(error)}") from error


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before

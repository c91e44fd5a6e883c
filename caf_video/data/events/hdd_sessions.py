"""Where HDD keeps what: annotations and videos of a session, and the published split of sessions.

A session is its first twelve digits, year to minute: annotations are named with seconds
(`2017-10-04-11-02-21.eaf`), folders without (`201710041102`, older `201710041102_ITS`). The
layouts are those of the releases of 2019 and the older copies; annotations may lie in the session
(`annotation/event`), or all of them in a folder of their own.
"""

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from caf_video.data.events.events import EventError, member, parse_json, read_text

TRAIN, TEST = "train_session_set", ("validation_session_set", "test_session_set")


def session_of(name: str) -> str:
    """The twelve digits of a session in a name, "" if it has fewer.

    >>> session_of("2017-10-04-11-02-21_new_0.75")
    '201710041102'
    """
    digits = "".join(re.findall(r"[0-9]+", name))
    return digits[:12] if len(digits) >= 12 else ""


def annotation_files(root: Path) -> dict[str, Path]:
    """The `.eaf` file of each session in a folder and the folders in it.

    Raises:
        EventError: There is none, or a session has two that differ.
    """
    files: dict[str, Path] = {}
    for path in sorted(_files(root, "*.eaf")):
        session = session_of(path.stem)
        if not session:
            raise EventError(f"{path}: its name has no date and time of a session")
        earlier = files.setdefault(session, path)
        if earlier != path and earlier.read_bytes() != path.read_bytes():
            raise EventError(
                f"session {session} has two annotations that differ, {earlier} and {path}: "
                "choose one folder of them with --annotations"
            )
    if not files:
        raise EventError(f"{root} holds no annotation (.eaf): name their folder with --annotations")
    return files


def session_videos(root: Path) -> dict[str, Path]:
    """The video of each session: the first mp4 of its `camera/center`.

    Raises:
        EventError: There is no folder `root`, or a session has videos in two places.
    """
    videos: dict[str, Path] = {}
    for folder in sorted(_files(root, "camera/center")):
        found = sorted(path for path in folder.glob("*.mp4") if path.name[0] != ".")
        if not found:
            continue  # frame times only
        session = session_of(folder.parent.parent.name) or session_of(found[0].stem)
        if not session:
            raise EventError(f"{folder}: neither folder nor video says which session it is")
        earlier = videos.setdefault(session, found[0])
        if earlier != found[0]:
            raise EventError(f"session {session} has two videos, {earlier} and {found[0]}")
    return videos


def read_split(file: Path) -> dict[str, str]:
    """The split of every session, train or test, as published.

    Args:
        file: `cfg.py` of the release, of which two assignments are read and nothing is run; or a
            JSON with the same lists (`TRN_data_info.json`).

    Raises:
        EventError: It has no such lists, or a session in both.
    """
    text = read_text(file)
    lists = _python_lists(text, file) if file.suffix == ".py" else _json_lists(text, file)
    split: dict[str, str] = {}
    for name, chosen in ((TRAIN, "train"), *((name, "test") for name in TEST)):
        for written in lists.get(name, ()):
            session = session_of(str(written))
            if not session:
                raise EventError(f"{file}: {name} holds {written!r}, which is no session")
            if split.setdefault(session, chosen) != chosen:
                raise EventError(f"{file}: session {session} is in both lists")
    if set(split.values()) != {"train", "test"}:
        raise EventError(f"{file}: no lists {TRAIN} and {TEST[0]} (or {TEST[1]}) of sessions")
    return split


def find_split(root: Path) -> Path:
    """`cfg.py` in the folder `EAF_parsing` of the release.

    Raises:
        EventError: It is not there.
    """
    found = [path for path in _files(root, "cfg.py") if path.parent.name.lower() == "eaf_parsing"]
    if not found:
        raise EventError(
            f"{root} holds no EAF_parsing/cfg.py, which has the split: name it, or a JSON with the "
            "same lists, with --split"
        )
    return sorted(found)[0]


def with_validation(
    split: Mapping[str, str], sessions: Iterable[str], count: int
) -> dict[str, str]:
    """The published split, with some sessions of training for validation.

    Which ones depends on their names alone, so they stay the same.

    Args:
        split: Of every session, train or test.
        sessions: Those that there are.
        count: How many.

    Raises:
        EventError: There are not so many.
    """
    training = [session for session in sessions if split.get(session) == "train"]
    if count and not count < len(training):
        raise EventError(
            f"--val-sessions {count}: there are {len(training)} sessions to train on, of which "
            "some must be left"
        )
    ordered = sorted(training, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return {**split, **dict.fromkeys(ordered[:count], "val")}


def _python_lists(text: str, file: Path) -> dict[str, Sequence[Any]]:
    """The assignments of plain lists to the names that a split has."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None) or 1
        raise EventError(f"{file} line {line}: not Python: {error.args[0]}") from error
    lists: dict[str, Sequence[Any]] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        if name in (TRAIN, *TEST):
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError) as error:
                raise EventError(
                    f"{file} line {node.lineno}: {name} is computed, not a plain list: not run"
                ) from error
            if not isinstance(value, list | tuple):
                raise EventError(f"{file} line {node.lineno}: {name} is not a list")
            lists[name] = value
    return lists


def _json_lists(text: str, file: Path) -> dict[str, Sequence[Any]]:
    parsed = parse_json(text, str(file))
    if isinstance(parsed, dict) and "HDD" in parsed:  # beside other data sets
        parsed = parsed["HDD"]
    names = [name for name in (TRAIN, *TEST) if isinstance(parsed, dict) and name in parsed]
    return {name: member(parsed, name, list, str(file)) for name in names}


def _files(root: Path, pattern: str) -> Iterable[Path]:
    if not root.is_dir():
        raise EventError(f"no folder at {root}")
    return root.rglob(pattern)

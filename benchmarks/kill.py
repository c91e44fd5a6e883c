"""What a killed stage leaves: each is ended by SIGKILL at a random moment, and then run again.

`make kill` tries every stage so many times. A try starts with nothing of the stage, is killed once
or twice, and runs then to its end; what it leaves is compared, value by value, with what a run left
that nobody disturbed. TMPDIR is on another file system, if there is one.

A stage runs in a fork of this process, which has everything imported: so the moments fall into its
own work, and not into its imports.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from caf_video.cli.app import app
from caf_video.cli.console import one_line_failures
from caf_video.data.manifest import Clip, write_manifest
from caf_video.data.sealed import unsealed
from caf_video.rendering import VideoWriter
from caf_video.synthetic import write_pictures
from caf_video.training.checkpoint import KEY

# What a training is; Lightning's own counters tell a run that went on from one that did not.
_OF_A_CHECKPOINT = (
    *("state_dict", "optimizer_states", "lr_schedulers"),
    *("callbacks", "global_step", "epoch"),
)

MOST_SECONDS = 120.0  # that processes have to notice that one of them is gone
MOST_SECONDS_OF_A_RUN = 900.0
NEEDED = ("extract", "train", "index")  # by other stages
OUTCOMES = ("equal", "different", "refused", "hung")
ELSEWHERE = Path("/dev/shm")  # another file system than that of the results, on Linux


class HungError(Exception):
    """A command, or processes of it, that had to be ended."""


@dataclass(frozen=True)
class Stage:
    """A command, and what it leaves.

    Attributes:
        command: Given the folder of a try, the arguments of `caf-video`.
        prepare: Puts into the folder of a try what the command works on there.
        one_process: One of its processes is killed, drawn at random, and the others end themselves.
        once: It refuses to begin where its result is there, whole.
    """

    command: Callable[[Path], list[str]]
    prepare: Callable[[Path], None] = lambda folder: None
    one_process: bool = False
    once: bool = False


def stages(inputs: Path) -> dict[str, Stage]:
    """By name, in the order in which one needs the other's results, which lie in `inputs`."""
    run, features = inputs / "train" / "run", inputs / "extract" / "features"

    def own_run(folder: Path) -> None:
        shutil.copytree(run, folder / "run", ignore=shutil.ignore_patterns("embeddings"))

    def train(folder: Path) -> list[str]:
        stopped = (folder / "run" / "checkpoints" / "last.ckpt").exists()
        return [
            *("train", f"features={features}", f"run_dir={folder / 'run'}"),
            *(["ckpt_path=last"] if stopped else []),
            *("trainer.max_epochs=4", "trainer.accelerator=cpu", "progress_bar=false"),
            *("data.batches_per_epoch=4", "data.classes_per_batch=3", "data.samples_per_class=2"),
            *("model.channels=8", "model.hidden=8", "model.embedding_dim=8"),
        ]

    index = inputs / "index" / "index"
    drive = inputs / "videos" / "drive.mp4"

    def divided(folder: Path) -> list[str]:
        return [*train(folder), "trainer.devices=2", "trainer.strategy=ddp"]

    sessions = ["--train-sessions", "1", "--val-sessions", "0", "--test-sessions", "0"]
    extracted = ["--size", "64x96", "--precision", "float32", "--workers", "0"]
    localized = ["--backbone", "efficientnet_lite0", "--workers", "1", "--size", "96x96"]
    given = ["--features", str(features)]
    videos = ["--videos", str(inputs / "videos")]
    return {
        "import": Stage(
            lambda folder: [
                *("import", str(inputs / "videos" / "events.csv"), "--unit", "s", *videos),
                *("--out", str(folder / "manifest.csv")),
            ],
            once=True,
        ),
        "synth": Stage(lambda folder: ["synth", str(folder / "clips"), *sessions]),
        "extract": Stage(
            lambda folder: [
                *("extract", str(inputs / "videos" / "manifest.csv")),
                *("--out", str(folder / "features"), *extracted),
            ]
        ),
        "train": Stage(train),
        "train-ddp": Stage(divided, one_process=True),
        "evaluate --json": Stage(
            lambda folder: [
                *("evaluate", str(folder / "run"), "--json", str(folder / "out.json"), *given)
            ],
            own_run,
        ),
        "explain": Stage(
            lambda folder: [
                *("explain", "--model", str(folder / "run"), "--out", str(folder / "out"), *given)
            ],
            own_run,
        ),
        "index": Stage(
            lambda folder: [
                *("index", str(run), str(drive), "--out", str(folder / "index"), *given),
                *("--window", "1", "--step", "0.25"),
            ]
        ),
        "search": Stage(
            lambda folder: [
                *("search", str(drive), "--start", "2", "--end", "3", "--timeline"),
                *("--index", str(index), "--out", str(folder / "out")),
            ]
        ),
        "localize": Stage(
            lambda folder: [
                *("localize", "--dataset", "folder", "--root", str(inputs / "pictures")),
                *("--json", str(folder / "out.json"), *localized),
            ]
        ),
    }


def write_videos(folder: Path) -> None:
    """Clips of three classes, two of each in every split: a bar that moves over noise.

    And a drive, and a table of events in all of them, as an annotation tool exports it.
    """
    random_ = np.random.default_rng(0)
    clips = []
    for split in ("train", "val", "test"):
        for number, label in product(range(2), ("left", "right", "still")):
            path = folder / f"{split}_{label}_{number}.mp4"
            with VideoWriter(path, fps=4) as writer:
                for frame in range(12):
                    pixels = random_.integers(0, 60, (64, 96, 3), dtype=np.uint8)
                    at = {"left": 80 - 6 * frame, "right": 6 * frame, "still": 40}[label]
                    pixels[:, at : at + 12] += 150
                    writer.write(pixels)
            clips.append(Clip(path.stem, path, label, session=path.stem, split=split))
    write_manifest(clips, folder / "manifest.csv")
    with VideoWriter(folder / "drive.mp4", fps=4) as writer:
        for frame in range(48):
            writer.write(np.full((64, 96, 3), 40 + 4 * frame, np.uint8))
    rows = [f"{clip.path.name},{clip.label},0.5,2.5" for clip in clips]
    rows += [f"drive.mp4,still,{second},{second + 1}" for second in range(11)]
    (folder / "events.csv").write_text("\n".join(["video,label,start,end", *rows]) + "\n")


def run(
    command: list[str], *, kill_after: float | None = None, only_one: random.Random | None = None
) -> tuple[int | None, float, str]:
    """Run a command of `caf-video` in a fork: exit code, seconds, and the last line it said.

    The code is None if it was killed, which it is after so many seconds, with its processes; or,
    with `only_one`, one of them that it draws.

    Raises:
        HungError: It did not end, or the others did not after the one.
    """
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            os._exit(_command(command))
        os.setpgid(child, child)  # both do: whichever of them is first
        killed = False
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            if time.perf_counter() - began > MOST_SECONDS_OF_A_RUN:
                _kill(-child)
                os.waitpid(child, 0)
                raise HungError(f"still running after {MOST_SECONDS_OF_A_RUN:g} s")
            if kill_after is not None and time.perf_counter() - began > kill_after:
                if only_one is not None:
                    _kill(only_one.choice(processes_of(child) or [child]))
                    await_end_of(child)
                _kill(-child)
                _, status = os.waitpid(child, 0)
                killed = only_one is not None or os.WIFSIGNALED(status)
                break
            time.sleep(0.002)
        seconds = time.perf_counter() - began
        said.seek(0)
        lines = said.read().strip().splitlines()
    code = None if killed else os.waitstatus_to_exitcode(status)
    return code, seconds, lines[-1] if lines else ""


def processes_of(group: int) -> list[int]:
    """The processes of a group that are not over."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = entry.read_text().partition(" (")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, its_group = rest.rpartition(") ")[2].split()[:3]
        if int(its_group) == group and state != "Z":
            found.append(int(number))
    return sorted(found)


def await_end_of(group: int) -> None:
    """Wait until the processes of a group have ended by themselves."""
    until = time.monotonic() + MOST_SECONDS
    while rest := processes_of(group):
        if time.monotonic() > until:
            names = [_command_of(process) for process in rest]
            _kill(-group)
            raise HungError(f"did not end after another process was killed: {', '.join(names)}")
        time.sleep(0.05)


def _command_of(process: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:80]
    return "one that is gone now"


def _kill(process: int) -> None:
    """A process, or the group of minus this number, which may be over."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _command(arguments: list[str]) -> int:
    """What the console script ends with."""
    sys.argv = ["caf-video", *arguments]
    # One process: others would import everything again, which takes longer than the work.
    os.cpu_count = lambda: 1  # type: ignore[assignment]
    try:
        with one_line_failures():
            app(arguments, prog_name="caf-video")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # as the interpreter would: the fork must not go on in this file
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def left(folder: Path) -> dict[str, Any]:
    """What is in a folder, by file: values where they are known to be read, else bytes."""
    return {
        path.relative_to(folder).as_posix(): values(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".caf_video.sha256", ".caf_video.lock")
    }


def values(path: Path) -> Any:
    """The values of a file, without what tells of time alone."""
    if path.suffix == ".ckpt":
        checkpoint = torch.load(path, weights_only=True)
        checkpoint[KEY]["config"].pop("ckpt_path")
        return {name: checkpoint[name] for name in (KEY, *_OF_A_CHECKPOINT)}
    if path.name == "config.yaml":
        lines = path.read_text().splitlines()
        return [line for line in lines if not line.startswith("ckpt_path")]
    if path.suffix == ".safetensors":
        tensors, metadata = unsealed(path)
        for name in ("checkpoint_sha256", "features_sha256"):  # of files, by date and by bytes
            metadata.pop(name, None)
        return tensors, metadata
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays}
    if path.suffix == ".json":
        record = json.loads(path.read_text())
        return {k: v for k, v in record.items() if k != "seconds"}
    return path.read_bytes()


def same(one: Any, other: Any) -> bool:
    """Equal to the bit, whatever it is made of."""
    if isinstance(one, dict):
        equal = isinstance(other, dict) and one.keys() == other.keys()
        return equal and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


def differing(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The files that are not in both, or not the same in both."""
    names = sorted(found.keys() | wanted.keys())
    return [
        name
        for name in names
        if name not in found or name not in wanted or not same(found[name], wanted[name])
    ]


def try_stage(stage: Stage, folder: Path, wanted: dict[str, Any], moments: list[float]) -> str:
    """Kill a stage at some moments, let it end, and say how that went: an outcome and why."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stage.prepare(folder)
    try:
        for moment in [*moments, None]:
            chosen = random.Random(moment) if moment and stage.one_process else None
            code, _, said = run(stage.command(folder), kill_after=moment, only_one=chosen)
            if code and not (stage.once and not differing(left(folder), wanted)):
                return f"refused: {said}"
    except HungError as error:
        return f"hung: {error}"
    others = differing(left(folder), wanted)
    return f"different: {', '.join(others[:3])}" if others else "equal"


def main() -> int:
    """Try what the command line asks for, and print the table."""
    options = _options()
    torch.set_num_threads(1)
    work = Path(options.out).resolve()
    shutil.rmtree(work, ignore_errors=True)
    inputs = work / "inputs"
    if ELSEWHERE.is_dir():
        tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(dir=ELSEWHERE)
    write_videos(inputs / "videos")
    write_pictures(
        inputs / "pictures",
        train_per_class=0,
        val_per_class=0,
        test_per_class=4,
        size=96,
        workers=1,
    )
    draw = random.Random(options.seed)
    table: list[list[str]] = []
    reasons: list[str] = []
    for name, stage in stages(inputs).items():
        tried = not options.stages or name.split()[0] in options.stages
        if not tried and name not in NEEDED:
            continue
        # Undisturbed, in the folder that the tries have: what is left names it.
        place, folder = work / "tries" / name.split()[0], inputs / name.split()[0]
        place.mkdir(parents=True)
        stage.prepare(place)
        code, seconds, said = run(stage.command(place))
        if code:
            raise SystemExit(f"{name}: {said}")
        wanted = left(place)
        shutil.copytree(place, folder)
        if not tried:
            continue
        found: Counter[str] = Counter()
        for number in range(options.tries):
            moments = [draw.uniform(0, seconds) for _ in range(1 + number % 2)]
            outcome = try_stage(stage, place, wanted, moments)
            found[outcome.partition(":")[0]] += 1
            if outcome != "equal":
                reasons.append(f"{name}, killed after {moments}: {outcome}")
        shutil.rmtree(place)
        row = [name, f"{seconds:.1f}", str(options.tries), *(str(found[one]) for one in OUTCOMES)]
        table.append(row)
        print(" ".join(row), flush=True)
    shown = Table("stage", "seconds", "tries", *OUTCOMES)
    for row in table:
        shown.add_row(*row)
    Console().print(shown)
    print("\n".join(reasons))
    shutil.rmtree(tempfile.gettempdir() if ELSEWHERE.is_dir() else work / "tmp", ignore_errors=True)
    return int(bool(reasons))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="runs/kill", help="folder for everything; emptied first")
    parser.add_argument("--tries", type=int, default=20, help="of every stage (%(default)s)")
    names = [name.split()[0] for name in stages(Path())]
    parser.add_argument(
        "--stages",
        nargs="*",
        choices=names,
        metavar="STAGE",
        help=f"all, or some of: {', '.join(names)}; those that they need run once, undisturbed",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

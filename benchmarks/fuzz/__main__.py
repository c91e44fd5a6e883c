"""`make fuzz`: every reader on files that are damaged, odd or hostile, for as long as asked.

Prints a table: reader → tried, clean (one line), same (what was written), wrong (another result and
no word, of a file that has a checksum), other (the same of a format that has none: there a change
of a value is another value, which nobody can tell), foreign (an exception that is none of ours),
crash, hang. Ends with exit code 1 where one was wrong, foreign, a crash or a hang, or where foreign
code was run.
"""

import argparse
import os
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.fuzz.forked import KINDS, Outcome, Worker
from benchmarks.fuzz.mutators import CANARY, mutated, strange
from benchmarks.fuzz.readers import Reader, readers

HANG_SECONDS = 60.0  # on a busy machine a configuration takes half of it
STRANGE_SHARE = 0.03


def fuzz(
    chosen: Mapping[str, Reader], *, seconds: float, most: int, seed: int
) -> Iterator[tuple[str, Outcome, int]]:
    """The outcome of every attempt, the readers taking turns; with it the attempt's number."""
    expected: dict[str, str] = {}
    worker = Worker({name: reader.read for name, reader in chosen.items()})
    for name in chosen:
        outcome, expected[name] = worker.read(name, 120, None)
        if outcome.kind != "same":
            raise SystemExit(f"{name} does not read what is whole: {outcome.kind} {outcome.words}")
    ends = time.monotonic() + seconds
    for number in range(most):
        name = list(chosen)[number % len(chosen)]
        if time.monotonic() > ends:
            break
        with changed(chosen[name], random.Random(f"{seed} {number}")):
            outcome, _ = worker.read(name, HANG_SECONDS, expected[name])
        if outcome.kind == "wrong" and not chosen[name].sealed:
            outcome = Outcome("other")
        yield name, outcome, number
    worker.end()


@contextmanager
def changed(reader: Reader, draw: random.Random) -> Iterator[None]:
    """One of a reader's files is another; then it is put back."""
    file = draw.choice(reader.files)
    content = file.read_bytes()
    try:
        if draw.random() < STRANGE_SHARE:
            strange(file, draw)
        else:
            file.write_bytes(mutated(content, draw))
        os.utime(file.parent)  # by which a folder of frames is known
        yield
    finally:
        if file.is_dir() and not file.is_symlink():
            file.rmdir()
        else:
            file.unlink(missing_ok=True)
        file.write_bytes(content)


def table(counts: Mapping[str, Counter[str]]) -> str:
    """Markdown."""
    lines = [f"| reader | tried | {' | '.join(KINDS)} |", f"|---|{'---|' * (len(KINDS) + 1)}"]
    total: Counter[str] = Counter()
    for count in counts.values():
        total += count
    for name, count in [*counts.items(), ("all", total)]:
        figures = " | ".join(str(count[kind]) for kind in KINDS)
        lines.append(f"| {name} | {count.total()} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = float(os.environ.get("FUZZ_SECONDS", 300))
    parser.add_argument("--seconds", type=float, default=default)
    parser.add_argument("--inputs", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("FUZZ_SEED", 0)))
    parser.add_argument("--readers", default="", help="with commas; all, unless given")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        every = readers(Path(folder))
        chosen = {name: every[name] for name in filter(None, arguments.readers.split(","))} or every
        counts: dict[str, Counter[str]] = {name: Counter() for name in chosen}
        told: dict[str, set[str]] = defaultdict(set)
        how = {"seconds": arguments.seconds, "most": arguments.inputs, "seed": arguments.seed}
        for name, outcome, number in fuzz(chosen, **how):
            counts[name][outcome.kind] += 1
            if outcome.kind not in ("clean", "same", "other"):
                bad += 1
                if outcome.words.partition(": ")[0] not in told[name]:
                    told[name].add(outcome.words.partition(": ")[0])
                    print(f"{name} #{number}: {outcome.kind} {outcome.words}", flush=True)
        run = sorted(str(path) for path in Path(folder).rglob(CANARY))
    print(table(counts))
    print(f"code run: {len(run)} {' '.join(run)}")
    raise SystemExit(1 if bad or run else 0)


if __name__ == "__main__":
    main()

"""What the tests would not notice: small errors put into the code, one at a time.

`make mutants` draws places in the modules that make numbers, the same share of every group, changes
one operator, number or decorator at each (by cosmic-ray), and runs the tests of that group alone
until one fails. A mutant that no test fails on has survived: a test is missing, or the change makes
no difference, and then `tests/mutants.md` has it with the reason.

Mutants are tried in copies of the working tree. A run that was interrupted goes on.
"""

import argparse
import ast
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.testing import run_tests
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkItem, WorkResult
from rich.progress import track

ROOT = Path(__file__).resolve().parents[1]
LISTED = ROOT / "tests" / "mutants.md"

# By group: what is mutated, and the tests that are to notice, beside those of every group.
GROUPS = {
    "evaluation": (["evaluation"], ["tests/evaluation"]),
    "retrieval": (["retrieval"], ["tests/retrieval"]),
    "metric_learning": (["metric_learning"], ["tests/metric_learning"]),
    "localization": (["localization"], ["tests/localization"]),
    "attention/solvers": (
        ["attention/solvers"],
        ["tests/attention/solvers", "tests/attention/test_affine_head.py"],
    ),
    "attention": (
        [
            "attention/clip_responses.py",
            "attention/heatmap.py",
            "attention/influence.py",
            "attention/pairs.py",
            "attention/path_shares.py",
            "attention/recurrent_tail.py",
            "attention/telling.py",
        ],
        ["tests/attention"],
    ),
    "pipeline/study": (
        [
            "pipeline/study/attention.py",
            "pipeline/study/attention_tables.py",
            "pipeline/study/clip_rows.py",
            "pipeline/study/constraints.py",
            "pipeline/study/convergence.py",
            "pipeline/study/sanity.py",
            "pipeline/study/synthetic.py",
            "pipeline/study/tables.py",
        ],
        ["tests/pipeline/study", "tests/pipeline/test_study_attention.py"],
    ),
    "pipeline": (
        [
            "pipeline/embed.py",
            "pipeline/evaluate.py",
            "pipeline/queries.py",
            "pipeline/localize/measure.py",
            "pipeline/localize/scores.py",
            "pipeline/localize/table.py",
        ],
        [
            "tests/pipeline/localize",
            "tests/pipeline/test_evaluate.py",
            "tests/pipeline/test_embed.py",
            "tests/pipeline/test_queries.py",
        ],
    ),
}

EVERYWHERE = ["tests/test_frozen.py"]

# Such mutants die of a TypeError, or are as good as the original: they say nothing of the tests.
_UNFIT = re.compile(
    r"_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(RShift|LShift|Bit\w+)$"
    r"|Comparison\w*_(Eq|NotEq|Lt|LtE|Gt|GtE)_(Is|IsNot)$"
)
_OUTCOMES = ("killed", "timeout", "survived", "listed")


def modules_of(group: str) -> list[Path]:
    """The files of a group that hold code, relative to the root."""
    found: list[Path] = []
    for name in GROUPS[group][0]:
        path = ROOT / "caf_video" / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [path.relative_to(ROOT) for path in found if path.name != "__init__.py"]


def places(session: Path) -> dict[str, list[list[WorkItem]]]:
    """By group, every place where something can be changed, each with its mutants, in order."""
    found: dict[str, list[list[WorkItem]]] = {}
    for group in GROUPS:
        by_place: dict[tuple[Path, tuple[int, int]], list[WorkItem]] = {}
        with use_db(session.with_suffix(".all"), WorkDB.Mode.create) as database:
            init(modules_of(group), database, {})
            items = sorted(database.work_items, key=lambda item: _name(item.mutations[0]))
        for item in items:
            mutation = item.mutations[0]
            if not _UNFIT.search(mutation.operator_name):
                by_place.setdefault((mutation.module_path, mutation.start_pos), []).append(item)
        hints = {path: list(_annotations(path)) for path in {path for path, _ in by_place}}
        found[group] = [
            mutants
            for (path, start), mutants in sorted(by_place.items())
            if not any(first <= start < last for first, last in hints[path])
        ]
    session.with_suffix(".all").unlink()
    return found


def draw(session: Path, count: int, seed: int) -> list[WorkItem]:
    """About `count` mutants, one at a place, from the same share of every group's places."""
    everywhere = places(session)
    share = count / sum(len(group) for group in everywhere.values())
    drawn: list[WorkItem] = []
    for name, group in everywhere.items():
        generator = random.Random(f"{seed} {name}")
        chosen = generator.sample(group, min(len(group), round(share * len(group))))
        drawn += [generator.choice(mutants) for mutants in chosen]
    return drawn


def main() -> int:
    """Draw, try, and report."""
    options = _options()
    os.chdir(ROOT)
    for name in GROUPS.keys() - set(options.groups):
        del GROUPS[name]
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    session = out / f"{_digest(options)}.sqlite"
    if not session.exists():
        drawn = draw(session, options.count, options.seed)
        with use_db(session.with_suffix(".new"), WorkDB.Mode.create) as database:
            database.add_work_items(drawn)
        session.with_suffix(".new").rename(session)
    with (
        use_db(session, WorkDB.Mode.open) as database,
        tempfile.TemporaryDirectory() as copies,
        ProcessPoolExecutor(options.workers, initializer=_settle, initargs=(copies,)) as pool,
    ):
        seconds = dict(zip(GROUPS, pool.map(_untouched, GROUPS), strict=True))
        jobs = {}
        for item in database.pending_work_items:
            group = _group_of(item)
            limit = 3 * seconds[group] + 10
            jobs[pool.submit(mutate_and_test, item.mutations, _tests(group), limit)] = item.job_id
        try:
            for job in track(as_completed(jobs), "mutants", total=len(jobs)):
                database.set_result(jobs[job], job.result())
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C only what has begun is waited for
        report = _report([*database.completed_work_items])
    print(report)
    (out / "mutants.md").write_text(report, encoding="utf-8")
    return 0


def _settle(copies: str) -> None:
    """Give this process a copy of the working tree to work in, and leave Ctrl-C to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    copy = Path(copies) / str(os.getpid())
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(command, text=True).split("\0"):
        if name and Path(name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, copy / name)
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}


def _untouched(group: str) -> float:
    """Seconds that the tests of a group take on the code as it is."""
    started = time.perf_counter()
    outcome, output = run_tests(_tests(group), 3600)
    if outcome != TestOutcome.SURVIVED:
        raise SystemExit(f"the tests of {group} fail on the code as it is:\n{output}")
    return time.perf_counter() - started


def _tests(group: str) -> str:
    tests = " ".join([*EVERYWHERE, *GROUPS[group][1]])
    return f"{sys.executable} -m pytest -x -p no:cacheprovider {tests}"


def _group_of(item: WorkItem) -> str:
    path = item.mutations[0].module_path
    return next(group for group in GROUPS if path in modules_of(group))


def _report(tried: list[tuple[WorkItem, WorkResult]]) -> str:
    """A table by group, and the survivors as `tests/mutants.md` would have them."""
    listed = LISTED.read_text(encoding="utf-8")
    counts: dict[str, Counter[str]] = {group: Counter() for group in GROUPS}
    survivors = []
    for item, result in sorted(tried, key=lambda pair: _name(pair[0].mutations[0])):
        outcome = "timeout" if result.output == "timeout" else "killed"
        if not result.is_killed:
            change = _change(item.mutations[0], result)
            outcome = "listed" if change in listed else "survived"
            survivors += [change] if outcome == "survived" else []
        counts[_group_of(item)][outcome] += 1
    counts["all"] = sum(counts.values(), Counter())
    lines = [f"| group | mutants | {' | '.join(_OUTCOMES)} | killed or timeout, % |"]
    lines += ["|---" * 7 + "|"]
    for group, found in counts.items():
        dead = 100 * (found["killed"] + found["timeout"]) / max(1, found.total())
        cells = [str(found[outcome]) for outcome in _OUTCOMES]
        lines.append(f"| {group} | {found.total()} | {' | '.join(cells)} | {dead:.0f} |")
    return "\n".join([*lines, "", *(f"```diff\n{change}\n```\n" for change in survivors)])


def _change(mutation: MutationSpec, result: WorkResult) -> str:
    """Where, and the lines taken out and put in, but for empty ones at the end of a file."""
    changed = re.findall(r"^(?:-(?!--)|\+(?!\+\+)).+$", result.diff or "", re.MULTILINE)
    return "\n".join([f"{mutation.module_path}, {mutation.definition_name}", *changed])


def _annotations(path: Path) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """From where to where a file has type hints, in which an error changes nothing that runs."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for hint in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if hint is not None:
                yield (hint.lineno, hint.col_offset), (hint.end_lineno, hint.end_col_offset)


def _name(mutation: MutationSpec) -> str:
    return f"{mutation.module_path} {mutation.operator_name} {mutation.occurrence:05}"


def _digest(options: argparse.Namespace) -> str:
    """Of the code, the tests and the draw: a session of others is not gone on with."""
    digest = hashlib.sha256(f"{options.count} {options.seed} {sorted(GROUPS)}".encode())
    for path in sorted([*ROOT.glob("caf_video/**/*.py"), *ROOT.glob("tests/**/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("groups", nargs="*", default=list(GROUPS), help="some of the groups")
    parser.add_argument("--count", type=int, default=330, help="mutants, about")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="tried at once")
    parser.add_argument("--out", type=Path, default=Path("runs/mutants"), help="folder")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

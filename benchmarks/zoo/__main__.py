"""`python -m benchmarks.zoo`: every network of the zoo, each in a process of its own."""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
import traceback
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.__main__ import _processor
from benchmarks.zoo import networks, table
from benchmarks.zoo.check import check


def main() -> int:
    """Run the networks that are not in the report yet, and write the table."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = options.out / "zoo.jsonl"
    names = [
        name for name in networks.names()
        if not options.only or any(part in name for part in options.only)
    ]  # fmt: skip
    if options.list:
        print("\n".join(names))
        return 0
    if options.again:
        lines.unlink(missing_ok=True)
    done = table.read(lines)
    left = [name for name in names if done.get(name, {}).get("verdict", "not run") == "not run"]
    for number, name in enumerate(left, start=1):
        found = _apart(name, options)
        with lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found, ensure_ascii=False) + "\n")
        about = found.get("layer") or found["why"]
        print(f"{number}/{len(left)} {found['verdict']:8} {name}: {about[:150]}"
              f" ({found['wall_s']:.0f} s)", file=sys.stderr, flush=True)  # fmt: skip
        if found["verdict"] == "wrong":
            print(f"    {found['why'][:400]}", file=sys.stderr, flush=True)
    found = table.read(lines)
    for name, one in found.items():
        one["family"] = networks.family_of(name)
    table.write(options.out, found, _about(found))
    return 0


def _apart(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What became of a network, tried in a process that ends when its time or memory is used up."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    start = time.perf_counter()
    process = context.Process(target=_try, args=(name, options, theirs))
    process.start()
    theirs.close()
    found: dict[str, Any] = {"verdict": "not run", "why": f"took over {options.seconds:.0f} s"}
    try:
        if ours.poll(options.seconds):
            found = ours.recv()
    except EOFError:
        found["why"] = "its process died"
    process.kill()
    process.join()
    return {"name": name, **found, "wall_s": time.perf_counter() - start}


def _try(name: str, options: argparse.Namespace, answer: Any) -> None:
    limit = int(options.gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    torch.set_num_threads(1)
    try:
        case = networks.make(name, options.millions)
    except Exception as error:  # noqa: BLE001 - it is the network that cannot be made or run
        answer.send({"verdict": "not run", "why": f"{type(error).__name__}: {error}"})
        return
    try:
        answer.send(check(case))
    except Exception as error:  # noqa: BLE001 - the check itself failed: never silently
        trace = traceback.format_exc()
        answer.send({"verdict": "wrong", "why": f"check: {error!r}", "trace": trace})


def _about(found: dict[str, Any]) -> dict[str, Any]:
    """What the page holds for."""
    packages = ("torch", "torchvision", "timm", "transformers")
    return {
        "command": "`python -m benchmarks.zoo`, one thread",
        "machine": f"{_processor()}, {os.cpu_count()} cores, shared with other work",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
        "inputs": "two samples a network, 64 × 96 px where it takes them; at most "
        f"{max((one.get('parameters', 0) for one in found.values()), default=0) / 1e6:.0f} M "
        "parameters",
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/zoo"), help="folder of the report")
    parser.add_argument("--only", action="append", help="networks whose name holds this")
    parser.add_argument("--again", action="store_true", help="start anew")
    parser.add_argument("--seconds", type=float, default=120, help="at most, for a network")
    parser.add_argument("--gigabytes", type=float, default=6, help="at most, for a network")
    parser.add_argument("--millions", type=float, default=100, help="of parameters, at most")
    parser.add_argument("--list", action="store_true", help="print the networks and stop")
    return parser.parse_args()


if __name__ == "__main__":
    for library in ("timm", "transformers", "torchvision"):
        __import__(library)
    sys.exit(main())

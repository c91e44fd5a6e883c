"""What a network learns from synthetic clips whose evidence is painted out: it must be nothing.

`python -m benchmarks.leak --set two-events` renders neutral copies of the clips of every split,
training's too, trains on them as on the clips themselves, and evaluates. R@1 at chance means that
nothing but the evidence tells the classes apart: no place, no order, no trace of the painting.
"""

import argparse
import json
from pathlib import Path
from unittest.mock import patch

from caf_video.cli.app import app
from caf_video.synthetic import CLIP_SETS, clips, write_driving_clips

SPLITS = ("train", "val", "test")
# By set: sessions of each split, and how the clips are extracted and trained on (conf/experiment).
SESSIONS = {"one-event": (50, 10, 20), "two-events": (38, 4, 12)}
EXTRACTED = {"one-event": [], "two-events": ["--timesteps", "6", "--candidates", "1"]}
EXPERIMENT = {"one-event": "demo", "two-events": "two_events"}


def leak(out: Path, clip_set: str, seed: int) -> dict[str, float]:
    """Render, extract, train and evaluate; R@1 and the chance of it."""
    train, val, test = SESSIONS[clip_set]
    with patch.object(clips, "NEUTRAL_SPLITS", SPLITS):  # of this process alone: one renders
        write_driving_clips(
            out, clip_set=clip_set, train_sessions=train, val_sessions=val, test_sessions=test,
            seed=seed, workers=1,
        )  # fmt: skip
    features, run, result = out / "features", out / "run", out / "evaluation.json"
    settings = [f"experiment={EXPERIMENT[clip_set]}", f"features={features}", f"run_dir={run}"]
    for command in (
        ["extract", str(out / "neutral.csv"), "--out", str(features), *EXTRACTED[clip_set]],
        ["train", *settings, f"seed={seed}"],
        ["evaluate", str(run), "--json", str(result)],
    ):
        app(command, standalone_mode=False)
    found = json.loads(result.read_text())
    return {name: found[name] for name in ("recall@1", "chance")}


def main() -> None:
    """Check one set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=CLIP_SETS, default="one-event", help="of clips")
    parser.add_argument("--seed", type=int, default=0, help="of the clips and of the training")
    parser.add_argument("--out", type=Path, default=Path("runs/leak"), help="folder")
    given = parser.parse_args()
    print(leak(given.out, given.set, given.seed))


if __name__ == "__main__":
    main()

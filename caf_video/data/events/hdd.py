"""The events of HDD's annotations: a layer's tier of an `.eaf`, as runs of steps of its classes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caf_video.data.events.elan import parse_elan, tiers_of
from caf_video.data.events.events import chosen_tier, read_text
from caf_video.data.events.hdd_labels import BACKGROUND, Classes, Layer, canonical
from caf_video.data.events.hdd_steps import SHORTEST_SECONDS, Run, paint, runs_of, steps_needed


@dataclass(frozen=True)
class EventRule:
    """Which stretches of a session are events.

    Attributes:
        layer: Of annotation.
        classes: That events are imported as; what is annotated as none of them is background.
        min_seconds: The shortest event.
    """

    layer: Layer
    classes: Classes
    min_seconds: float = SHORTEST_SECONDS


def annotated_runs(file: Path, rule: EventRule) -> tuple[list[Run], Counter[str]]:
    """The events of a session's annotation, and how many annotations were dropped, by reason.

    Raises:
        EventError: The file cannot be read, or has no tier of the layer.
    """
    root = parse_elan(read_text(file), file.name)
    tiers = tiers_of(root, file.name)
    counts = {name: len(tier.annotations) for name, tier in tiers.items()}
    tier = tiers[chosen_tier(rule.layer.tier, counts, file.name, kind="tier")]
    dropped = Counter(tier.skipped)
    events = []
    for start, end, written in tier.annotations:
        label, reason = canonical(written, rule.layer)
        if reason or end <= start:
            dropped[reason or "ends when it begins, or before"] += 1
            continue
        if not rule.classes.hold(label):
            dropped[f"{label}, not among the classes"] += 1
            label = BACKGROUND
        events.append((start / 1000, end / 1000, label))
    runs, short = kept_runs(paint(events, BACKGROUND), rule)
    return runs, dropped + short


def kept_runs(labels: Sequence[str], rule: EventRule) -> tuple[list[Run], Counter[str]]:
    """The runs of steps that are events by a rule, and how many were too short."""
    needed = steps_needed(rule.min_seconds)
    dropped: Counter[str] = Counter()
    kept = []
    for run in runs_of(labels):
        if run.label == BACKGROUND and not rule.classes.background:
            continue
        if run.stop - run.first >= needed:
            kept.append(run)
        elif run.label != BACKGROUND:
            dropped[f"shorter than {needed} steps of 1/3 s"] += 1
    return kept, dropped

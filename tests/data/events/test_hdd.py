"""HDD's annotations: labels as written, class sets, the rule of events by loops."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from caf_video.data.events.events import EventError
from caf_video.data.events.hdd import EventRule, annotated_runs
from caf_video.data.events.hdd_labels import (
    GOALS,
    LAYERS,
    canonical,
    classes_named,
    layer_named,
    numbered,
)
from caf_video.data.events.hdd_steps import Run, paint, runs_of, steps_needed

GOAL, STIMULI, CAUSE = (LAYERS[name] for name in ("goal", "stimuli", "cause"))

# Labels


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("右轉 right turn", "right turn"),
        ("左轉 left turn ", "left turn"),
        ("  左轉   LEFT  turn", "left turn"),
        ("穿過十字路口 intersection passing", "intersection passing"),
        ("穿過T字路口 intersection passing", "intersection passing"),
        ("切左道 left lane change", "left lane change"),
        ("右邊分支 right lane branch", "right lane branch"),
        ("穿過人行道 crosswalk passing", "crosswalk passing"),
        ("穿過鐵路 railroad passing", "railroad passing"),
        ("併道 merge", "merge"),
        ("U轉 U-turn", "U-turn"),
        ("U-turn", "U-turn"),
        ("merge merge", "merge"),
    ],
)
def test_the_english_end_of_a_goal_counts(written: str, label: str) -> None:
    assert canonical(written, GOAL) == (label, "")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "no label"),
        (" \n", "no label"),
        ("駕駛者路旁停車 park", "park"),
        ("Park park", "park"),
        ("park park", "park"),
        ("no right turn", "unknown label 'no right turn'"),
        ("右轉", "unknown label '右轉'"),
    ],
)
def test_what_is_no_goal_is_dropped_with_its_reason(written: str, why: str) -> None:
    assert canonical(written, GOAL) == ("", why)


def test_stimuli_and_causes_are_read_in_any_case_and_causes_beside_the_six_are_kept() -> None:
    assert canonical("避讓 Avoid tp", STIMULI) == ("avoid TP", "")
    assert canonical("Stop 4 Sign", STIMULI) == ("stop 4 sign", "")
    assert canonical("sign", STIMULI) == ("", "unknown label 'sign'")
    assert canonical("Crossing Vehicle", CAUSE) == ("crossing vehicle", "")
    assert canonical("行人 On-road Motorcyclist", CAUSE) == ("on-road motorcyclist", "")
    assert canonical("traffic sign", CAUSE) == ("traffic sign", "")


def test_the_class_sets_have_the_classes_of_those_who_used_them(shared_data: Path) -> None:
    sizes = {
        name: len(chosen.labels) + chosen.background
        for name in ("all", "trn", "author", "seven")
        for chosen in [classes_named(GOAL, name, None)]
    }
    assert sizes == {"all": 11, "trn": 12, "author": 11, "seven": 7}
    assert not classes_named(GOAL, "author", None).hold("railroad passing")
    assert classes_named(GOAL, "all", True).background
    assert not classes_named(GOAL, "trn", False).background
    assert classes_named(CAUSE, "all", None).hold("whatever is annotated")
    published = json.loads((shared_data / "hdd" / "TRN_data_info.json").read_text())["HDD"]
    assert list(numbered(GOAL)) == published["class_index"]


def test_a_class_set_or_layer_that_is_not_there_is_told() -> None:
    with pytest.raises(EventError, match="^layer cause has no class set 'seven': it has all"):
        classes_named(CAUSE, "seven", None)
    with pytest.raises(EventError, match="^unknown layer 'area': it is one of goal, "):
        layer_named("area")


# The rule, by loops


def runs_by_loops(
    events: Sequence[tuple[float, float, str]], shortest: int
) -> list[tuple[str, int, int]]:
    """Step by step: which event came last there; then every step with its neighbours."""
    last = max(3 * int(np.rint(end)) for _, end, _ in events)
    labels = []
    for step in range(last + 1):
        label = ""
        for start, end, name in events:
            if 3 * np.rint(start) <= step <= 3 * np.rint(end):
                label = name
        labels.append(label)
    runs = []
    for step, label in enumerate(labels):
        begins = step == 0 or labels[step - 1] != label
        if label and begins:
            stop = step
            while stop < len(labels) and labels[stop] == label:
                stop += 1
            if stop - step >= shortest:
                runs.append((label, step, stop))
    return runs


@pytest.mark.parametrize("seed", range(20))
def test_events_are_runs_of_what_was_painted_last(seed: int) -> None:
    random = np.random.default_rng(seed)
    events = []
    for _ in range(12):
        start = random.uniform(0, 40)
        events.append((start, start + random.uniform(0.1, 6), str(random.choice(list("abc")))))
    needed = steps_needed(5 / 3)
    runs = [
        (run.label, run.first, run.stop)
        for run in runs_of(paint(events, ""))
        if run.label and run.stop - run.first >= needed
    ]
    assert runs == runs_by_loops(events, 5)


def test_the_rule_on_paper() -> None:
    painted = paint([(1.4, 2.6, "a"), (3.4, 3.4, "b")], "-")
    assert "".join(painted) == "---" + "a" * 6 + "b"  # 3 s is both: the later one has it
    assert runs_of("aab") == [Run("a", 0, 2), Run("b", 2, 3)] and runs_of("") == []
    assert (Run("a", 3, 10).start_seconds, Run("a", 3, 10).end_seconds) == (1.0, 10 / 3)


@pytest.mark.parametrize(("seconds", "steps"), [(5 / 3, 5), (1, 3), (1.01, 4), (0.1, 1), (2, 6)])
def test_the_shortest_event_in_steps(seconds: float, steps: int) -> None:
    assert steps_needed(seconds) == steps


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_shortest_event_that_is_no_length_is_refused(seconds: float) -> None:
    with pytest.raises(EventError, match="--min-seconds"):
        steps_needed(seconds)


# A file


def write_eaf(path: Path, tiers: dict[str, Sequence[tuple[int, int, str]]]) -> Path:
    slots, written = [], []
    for tier, annotations in tiers.items():
        inside = ""
        for start, end, label in annotations:
            number = len(slots)
            for offset, time in enumerate((start, end)):
                name = f"ts{number + offset}"
                slots.append(f'<TIME_SLOT TIME_SLOT_ID="{name}" TIME_VALUE="{time}"/>')
            inside += (
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" '
                f'TIME_SLOT_REF1="ts{number}" TIME_SLOT_REF2="ts{number + 1}"><ANNOTATION_VALUE>'
                f"{label}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        written.append(f'<TIER TIER_ID="{tier}">{inside}</TIER>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT><HEADER TIME_UNITS='
        f'"milliseconds"/><TIME_ORDER>{"".join(slots)}</TIME_ORDER>{"".join(written)}'
        "</ANNOTATION_DOCUMENT>",
        encoding="utf-8",
    )
    return path


TIERS: dict[str, Sequence[tuple[int, int, str]]] = {
    "目標 Operation_Goal-oriented": [
        (2400, 5600, "右轉 right turn"),  # 2 to 6 s: steps 6 to 18
        (5600, 6400, "穿過鐵路 railroad passing"),  # 6 s: step 18
        (10000, 10900, "Park park"),
        (12000, 13400, "左轉 left turn"),  # 12 to 13 s: 4 steps
        (20000, 22000, "U轉 U-turn "),  # steps 60 to 66
    ],
    "原因 CAUSE": [(1000, 4000, "Red Light")],
}


@pytest.mark.parametrize(
    ("classes", "background", "runs", "dropped"),
    [
        (
            "all",
            None,
            [("right turn", 6, 18), ("U-turn", 60, 67)],
            {"park": 1, "shorter than 5 steps of 1/3 s": 2},
        ),
        (
            "author",
            None,
            [
                ("background", 0, 6),
                ("right turn", 6, 18),
                ("background", 18, 36),
                ("background", 40, 60),
                ("U-turn", 60, 67),
            ],
            {
                "park": 1,
                "railroad passing, not among the classes": 1,
                "shorter than 5 steps of 1/3 s": 1,
            },
        ),
        (
            "seven",
            False,
            [("right turn", 6, 18), ("U-turn", 60, 67)],
            {
                "park": 1,
                "railroad passing, not among the classes": 1,
                "shorter than 5 steps of 1/3 s": 1,
            },
        ),
    ],
)
def test_a_sessions_events_by_class_set(tmp_path, classes, background, runs, dropped) -> None:
    file = write_eaf(tmp_path / "2017-02-27-10-17-27.eaf", TIERS)
    rule = EventRule(GOAL, classes_named(GOAL, classes, background))
    found, counted = annotated_runs(file, rule)
    assert [(run.label, run.first, run.stop) for run in found] == runs
    assert counted == Counter(dropped)


def test_another_layer_is_another_tier_and_a_shorter_event_can_be_asked_for(tmp_path) -> None:
    file = write_eaf(tmp_path / "2017-02-27-10-17-27.eaf", TIERS)
    found, _ = annotated_runs(file, EventRule(CAUSE, classes_named(CAUSE, "all", None)))
    assert found == [Run("red light", 3, 13)]
    rule = EventRule(GOAL, classes_named(GOAL, "all", None), min_seconds=1 / 3)
    assert len(annotated_runs(file, rule)[0]) == 4
    stimuli = EventRule(STIMULI, classes_named(STIMULI, "all", None))
    with pytest.raises(EventError, match="no tier is called 'Operation_Stimuli-driven'"):
        annotated_runs(file, stimuli)


def test_goals_have_the_numbers_of_the_feature_release() -> None:
    assert numbered(GOAL)[1] == "intersection passing" and numbered(GOAL)[11] == "U-turn"
    assert len(GOALS) == 11 and list(numbered(CAUSE))[1::5] == ["congestion", "crossing pedestrian"]

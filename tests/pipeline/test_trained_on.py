"""What a run was trained on, known by overlapping times of one video."""

from dataclasses import replace
from pathlib import Path

import pytest

from caf_video.data.manifest import Clip, write_manifest
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.explain import explain_clips
from caf_video.pipeline.trained_on import TrainingTimes

DIGEST, OTHER = "a" * 64, "b" * 64
CLIP = Clip("new", Path("/elsewhere.mp4"), "left", 2.0, 4.0)


@pytest.mark.parametrize(
    ("event", "included"),
    [
        (f"{DIGEST}|2.0|4.0", True),  # itself
        (f"{DIGEST}|3.9|9.0", True),
        (f"{DIGEST}|0.0|None", True),  # the whole video
        (f"{DIGEST}|2.5|3.0", True),
        (f"{DIGEST}|4.0|9.0", False),  # begins where it ends
        (f"{DIGEST}|0.0|2.0", False),
        (f"{OTHER}|2.0|4.0", False),
        ("", False),
        ("named otherwise", False),
    ],
)
def test_a_clip_that_shares_time_with_a_training_clip_is_one(event: str, included: bool) -> None:
    assert TrainingTimes({"a": f"{DIGEST}|2.0|4.0"}, []).include(CLIP, event) is included


def test_a_training_clip_to_the_end_of_its_video_shares_all_that_follows() -> None:
    times = TrainingTimes({"a": f"{DIGEST}|5.0|None"}, [])
    assert times.include(CLIP, f"{DIGEST}|100.0|101.0")
    assert not times.include(CLIP, f"{DIGEST}|0.0|5.0")


def test_two_rates_of_a_raw_stream_are_compared_in_frames() -> None:
    """Seconds 2 to 4 at 10 a second are frames 20 to 40; at 20 a second 1 s to 2 s are as many."""
    times = TrainingTimes({"a": f"{DIGEST}|2.0|4.0|10.0"}, [])
    assert times.include(CLIP, f"{DIGEST}|1.0|2.0|20.0")
    assert not times.include(CLIP, f"{DIGEST}|2.0|4.0|20.0")


def test_where_events_are_unknown_the_path_tells() -> None:
    learned = replace(CLIP, clip_id="a", start_seconds=3.0, end_seconds=9.0)
    assert TrainingTimes({"a": ""}, [learned]).include(CLIP, "")
    assert not TrainingTimes({"b": ""}, [learned]).include(CLIP, "")
    elsewhere = replace(learned, path=Path("/another.mp4"))
    assert not TrainingTimes({"a": ""}, [elsewhere]).include(CLIP, "")


def test_a_test_clip_that_overlaps_a_training_clip_is_left_out_and_counted(make_known_run) -> None:
    """Two sessions of one video, so that a manifest may have them in two splits."""
    known = make_known_run()
    before = evaluate(known.folder).record()
    assert before["training"]["left_out"] == []
    for name, event in (("train_left_a", f"{DIGEST}|0.0|3.0"), ("stop_c", f"{DIGEST}|2.0|5.0")):
        known.store.write(known.store.read(name), "known", event=event)
    known.retrain()  # remembers the training clip's event
    after = evaluate(known.folder).record()
    assert after["training"]["left_out"] == ["stop_c"]
    assert {clip["clip_id"] for clip in after["clips"]} == set(known.nearest) - {"stop_c"}
    assert after["recall@1"] == 1.0  # stop_c alone was wrong, and the wrong neighbour of left_b
    (told,) = explain_clips(known.folder, ["stop_c"])
    assert told.trained_on


def test_names_and_paths_of_the_manifest_do_not_hide_an_overlap(make_known_run) -> None:
    known = make_known_run()
    known.store.write(known.store.read("train_left_a"), "known", event=f"{DIGEST}|0.0|3.0")
    known.retrain()
    known.store.write(known.store.read("left_a"), "known", event=f"{DIGEST}|1.0|2.0")
    clips = [clip for clip in known.clips if clip.clip_id != "train_left_a"]
    write_manifest(clips, known.store.manifest_path)
    assert evaluate(known.folder).record()["training"]["left_out"] == ["left_a"]

"""HDD from its release to a trained run: annotations with videos, and features read in place."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caf_video.cli import app
from caf_video.data.events.events import EventError
from caf_video.data.events.hdd import EventRule
from caf_video.data.events.hdd_labels import LAYERS, classes_named
from caf_video.data.manifest import read_manifest
from caf_video.data.stores import open_store
from caf_video.errors import CafVideoError
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.explain import explain_clips
from caf_video.pipeline.explain_files import write_explanations
from caf_video.pipeline.import_hdd import HddSplit, import_hdd, import_hdd_features
from caf_video.pipeline.train import compose_config, train
from caf_video.rendering import VideoWriter

SESSIONS = [f"2017022710{minute}" for minute in range(10, 18)]
TRAIN, TEST = SESSIONS[:5], SESSIONS[5:7]  # the last is in neither list
RULE = EventRule(LAYERS["goal"], classes_named(LAYERS["goal"], "all", None))
CHANNELS, GRID = 6, (2, 2)
CANDIDATES = {"train": 3, "val": 1, "test": 1}


def write_split(root: Path) -> None:
    (root / "EAF_parsing").mkdir(parents=True)
    (root / "EAF_parsing" / "cfg.py").write_text(
        f"train_session_set = {TRAIN}\nvalidation_session_set = {TEST}\n"
    )


def write_annotations(root: Path) -> None:
    """Of each session two turns and a U-turn, all of them on whole seconds."""
    labels = ["左轉 left turn", "右轉 right turn ", "U轉 U-turn"]
    for session in SESSIONS:
        slots = tier = ""
        for number, label in enumerate(labels):
            for name, time in (("a", 10_000 * number), ("b", 10_000 * number + 2_000)):
                slots += f'<TIME_SLOT TIME_SLOT_ID="{name}{number}" TIME_VALUE="{time}"/>'
            tier += (
                f'<ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="a{number}" '
                f'TIME_SLOT_REF2="b{number}"><ANNOTATION_VALUE>{label}</ANNOTATION_VALUE>'
                "</ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        parts = [session[:4], *(session[i : i + 2] for i in range(4, 12, 2)), "27"]
        file = root / "EAF" / f"{'-'.join(parts)}.eaf"
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            f"<ANNOTATION_DOCUMENT><TIME_ORDER>{slots}</TIME_ORDER>"
            f'<TIER TIER_ID="目標 Operation_Goal-oriented">{tier}</TIER></ANNOTATION_DOCUMENT>',
            encoding="utf-8",
        )


def video_of(root: Path, session: str) -> Path:
    return root / "day" / session / "camera" / "center" / f"{session}_new_0.75.mp4"


def write_features(root: Path, *, last: bool) -> Path:
    """Noise whose first channels tell the label; each session has six events of three classes."""
    write_split(root)
    random = np.random.default_rng(0)
    target = np.repeat([0, 1, 0, 2, 3, 0, 1, 2, 3, 0], 7)
    for session in SESSIONS:
        maps = random.random((len(target) + 2, CHANNELS, *GRID))
        maps[np.arange(len(target)), target] += 3
        for folder, array in (
            ("target", target),
            ("tinynet", maps.transpose(0, 2, 3, 1) if last else maps),
        ):
            (root / folder).mkdir(exist_ok=True)
            stored = array if folder == "target" else array.astype(np.float32 if last else "f2")
            np.save(root / folder / f"{session}.npy", stored)
    return root / "tinynet"


def test_annotations_and_videos_become_a_manifest(tmp_path) -> None:
    write_split(tmp_path)
    write_annotations(tmp_path)
    for session in SESSIONS[1:]:
        video_of(tmp_path, session).parent.mkdir(parents=True)
        video_of(tmp_path, session).touch()
    out = tmp_path / "manifest.csv"
    # Of the five to train on one has no video: it cannot be one of those that validate.
    with pytest.raises(EventError, match="^--val-sessions 4: there are 4 sessions to train on"):
        import_hdd(tmp_path, out, RULE, split=HddSplit(validation=4))
    imported = import_hdd(tmp_path, out, RULE, split=HddSplit(validation=1))
    clips = read_manifest(out)
    assert clips == imported.clips
    assert imported.missing == Counter({SESSIONS[0]: 3})
    assert imported.skipped == Counter({"of a session in neither list of the split": 1})
    per_split = Counter(clip.split for clip in clips)
    assert per_split == Counter({"train": 9, "val": 3, "test": 6})
    assert {clip.session for clip in clips if clip.split == "test"} == set(TEST)
    first = [clip for clip in clips if clip.session == SESSIONS[1]]
    # Both ends are steps of the event: to 2 s inclusive is up to 7 thirds of a second.
    assert [(clip.label, clip.start_seconds, clip.end_seconds) for clip in first] == [
        ("left turn", 0.0, 2.333),
        ("right turn", 10.0, 12.333),
        ("U-turn", 20.0, 22.333),
    ]
    assert {clip.path for clip in first} == {video_of(tmp_path, SESSIONS[1])}
    with pytest.raises(EventError, match="is there already"):
        import_hdd(tmp_path, out, RULE)


def test_without_a_split_it_says_how_to_name_one(tmp_path) -> None:
    write_annotations(tmp_path)
    with pytest.raises(EventError, match="holds no EAF_parsing/cfg.py.*--split$"):
        import_hdd(tmp_path, tmp_path / "out.csv", RULE)


@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_features_are_trained_on_evaluated_and_explained_in_place(
    tmp_path, last, monkeypatch
) -> None:
    features = write_features(tmp_path / "release", last=last)
    before = {file: file.stat() for file in features.parent.rglob("*.npy")}
    folder = tmp_path / "store"
    split = HddSplit(validation=1)
    imported = import_hdd_features(features.parent, features, folder, RULE, split=split)
    assert imported.skipped == Counter({"of a session in neither list of the split": 1})
    assert Counter(clip.split for clip in imported.clips) == {"train": 24, "val": 6, "test": 12}
    store = open_store(folder)
    shapes = {(c.split, store.read(c.clip_id).feature_maps.shape) for c in imported.clips}
    assert shapes == {(name, (3, k, CHANNELS, *GRID)) for name, k in CANDIDATES.items()}
    held = sum(file.stat().st_size for file in folder.rglob("*"))
    assert held < 20_000 and not list(folder.rglob("*.safetensors"))  # nothing was copied

    overrides = f"experiment=hdd features={folder} run_dir={tmp_path / 'run'} model.channels=4"
    short = "trainer.max_epochs=1 data.batches_per_epoch=2 progress_bar=false data.memory_gb=0"
    run = train(compose_config([*overrides.split(), *short.split()]))
    evaluation = evaluate(run)
    assert len(evaluation.clips) == 12
    # Pooled features of these maps are their labels.
    assert evaluation.record()["recall@1_frozen"] == 1.0
    explained = explain_clips(run, [])
    assert len(explained) == 12 and not any(one.has_video for one in explained)
    for one in explained:
        assert one.filters.shape == (3, *GRID)
        steps = np.array(one.frame_indices)
        assert np.array_equal(one.times_seconds, steps / 3)
        assert (one.clip.start_seconds - 1e-3 <= one.times_seconds).all()
        assert (one.times_seconds < one.clip.end_seconds).all()
    (strip,) = write_explanations(explained[:1], tmp_path / "out")
    with Image.open(strip) as picture:
        assert picture.width > picture.height  # one row: there are no frames of the neighbour
    with pytest.raises(CafVideoError, match=r"^new\.mp4: .* maps of tinynet that were made elsewh"):
        (tmp_path / "new.mp4").touch()
        explain_clips(run, [str(tmp_path / "new.mp4")])
    after = {file: file.stat() for file in features.parent.rglob("*.npy")}
    assert {file: stat.st_mtime_ns for file, stat in after.items()} == {
        file: stat.st_mtime_ns for file, stat in before.items()
    }


def test_with_videos_strips_show_their_frames(tmp_path) -> None:
    features = write_features(tmp_path / "release", last=False)
    for session in TEST:
        video_of(tmp_path, session).parent.mkdir(parents=True)
        with VideoWriter(video_of(tmp_path, session), fps=6) as writer:
            for shade in range(136):
                writer.write(np.full((64, 64, 3), shade, np.uint8))
    folder = tmp_path / "store"
    split = HddSplit(validation=1)
    import_hdd_features(features.parent, features, folder, RULE, videos=tmp_path, split=split)
    store = open_store(folder)
    clips = {clip.session: clip for clip in read_manifest(store.manifest_path)}
    assert clips[TEST[0]].path == video_of(tmp_path, TEST[0])
    assert clips[TRAIN[0]].path == features / f"{TRAIN[0]}.npy"
    read = store.read(clips[TEST[0]].clip_id)
    times = read.times_seconds[:, 0].numpy()
    assert read.frame_indices[:, 0].tolist() == np.minimum(np.rint(times * 6), 135).tolist()


def test_the_command_makes_a_manifest_or_a_store(tmp_path, capsys) -> None:
    features = write_features(tmp_path / "release", last=True)
    common = ["import-hdd", str(features.parent), "--val-sessions", "1", "--classes", "trn"]
    store = tmp_path / "store"
    with pytest.raises(SystemExit) as ended:
        app([*common, "--features", str(features), "--out", str(store), "--candidates", "1"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert "of a session in neither list of the split: 1" in told
    assert open_store(store).description.candidates == 1
    assert json.loads((store / "sessions.json").read_text())["channels_last"] is True
    for wrong, message in (
        (["--out", "x.csv", "--timesteps", "4"], "--timesteps: for --features"),
        (["--out", "x", "--features", str(features), "--annotations", "x"], "--annotations: with"),
    ):
        with pytest.raises(CafVideoError, match=message):
            app([*common, *wrong], standalone_mode=False)

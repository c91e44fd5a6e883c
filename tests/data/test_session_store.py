"""Clips as windows into arrays of sessions: what is read, in both channel orders; what is not."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from caf_video.data.features import FeatureStore, FeatureStoreError, StoreDescription
from caf_video.data.manifest import Clip, write_manifest
from caf_video.data.session_store import SessionStore, Window, sessions_file
from caf_video.data.stores import open_store

STEPS, CHANNELS, GRID = 40, 6, (2, 3)
DESCRIPTION = StoreDescription("net", "made elsewhere", "", 0, (0, 0), CHANNELS, GRID, 3, 3)
WINDOWS = {
    "train": Window("s1", 9, 27, 3),
    "test": Window("s2", 0, 5, 1),
    "end": Window("s2", 37, 40, 1),
}


def values(session: str) -> np.ndarray:
    """Of every value which step, channel and cell it is of, (steps, c, h, w)."""
    shape = (STEPS, CHANNELS, *GRID)
    offset = {"s1": 0, "s2": 1000}[session]
    return (np.arange(np.prod(shape)).reshape(shape) % 997 + offset).astype(np.float32)


def write_store(
    root: Path, *, last: bool, dtype: type = np.float16, videos: dict | None = None
) -> SessionStore:
    (root / "release").mkdir(parents=True)
    arrays = {session: root / "release" / f"{session}.npy" for session in ("s1", "s2")}
    for session, file in arrays.items():
        order = (0, 2, 3, 1) if last else (0, 1, 2, 3)
        np.save(file, values(session).transpose(order).astype(dtype))
    store = SessionStore(
        root / "store",
        DESCRIPTION,
        steps_a_second=3,
        channels_last=last,
        arrays=arrays,
        windows=WINDOWS,
        videos=videos or {},
    )
    store.save()
    return store


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("last", [False, True], ids=["channels first", "channels last"])
def test_a_clip_is_the_middle_steps_of_its_segments(tmp_path, last, dtype) -> None:
    write_store(tmp_path, last=last, dtype=dtype)
    store = open_store(tmp_path / "store")
    assert store.description == DESCRIPTION
    features = store.read("train")
    # 18 steps in three segments, each in three parts of two: the later of the two is the middle.
    steps = [[10, 12, 14], [16, 18, 20], [22, 24, 26]]
    assert features.frame_indices.tolist() == steps
    assert features.times_seconds.tolist() == [[step / 3 for step in row] for row in steps]
    assert features.feature_maps.dtype == torch.float16
    for t, row in enumerate(steps):
        for k, step in enumerate(row):
            wanted = torch.from_numpy(values("s1")[step].astype(np.float16))
            assert torch.equal(features.feature_maps[t, k], wanted)
    test = store.read("test")
    assert test.frame_indices.tolist() == [[0], [2], [4]]
    wanted = torch.from_numpy(values("s2")[[0, 2, 4]].astype(np.float16))
    assert torch.equal(test.middle_frames().feature_maps, wanted)


def test_frames_are_those_of_the_video_where_there_is_one(tmp_path) -> None:
    write_store(tmp_path, last=False, videos={"s1": (30.0, 1000), "s2": (29.97, 385)})
    store = open_store(tmp_path / "store")
    assert store.read("train").frame_indices[0].tolist() == [100, 120, 140]
    # 39 / 3 s at 29.97 a second would be frame 390; the video ends with 384.
    assert store.read("end").frame_indices[:, 0].tolist() == [370, 380, 384]
    assert store.read("end").times_seconds[:, 0].tolist() == [37 / 3, 38 / 3, 13.0]


def test_a_store_that_was_moved_with_its_arrays_is_the_same(tmp_path) -> None:
    before = write_store(tmp_path / "here", last=True).read("train").feature_maps
    (tmp_path / "here").rename(tmp_path / "there")
    assert torch.equal(open_store(tmp_path / "there" / "store").read("train").feature_maps, before)


def test_the_digest_is_another_as_soon_as_an_array_or_a_window_is(tmp_path) -> None:
    store = write_store(tmp_path, last=False)
    both = store.digest(["train", "test"])
    assert open_store(tmp_path / "store").digest(["train", "test"]) == both
    assert store.digest(["train"]) != store.digest(["test"]) != both
    file = tmp_path / "release" / "s2.npy"
    os.utime(file, (1, 1))
    assert store.digest(["train", "test"]) != both


def test_what_cannot_be_read_is_told_with_its_file(tmp_path) -> None:
    store = write_store(tmp_path, last=False, dtype=np.float32)
    with pytest.raises(FeatureStoreError, match="sessions.json has no clip 'trai'$"):
        store.read("trai")
    file = tmp_path / "release" / "s1.npy"
    changed = values("s1")
    changed[20, 0, 0, 0] = 1e6
    np.save(file, changed)
    with pytest.raises(FeatureStoreError, match=r"s1\.npy, step 20: values that are not finite"):
        open_store(store.folder).read("train")
    np.save(file, values("s1")[:26])
    with pytest.raises(FeatureStoreError, match="has 26 steps, but clip 'train' ends at step 27"):
        open_store(store.folder).read("train")
    np.save(file, values("s1")[:, :5])
    with pytest.raises(FeatureStoreError, match="is no longer of shape"):
        open_store(store.folder).read("train")
    np.save(file, np.array([object()]), allow_pickle=True)
    for opened in (open_store(store.folder), store):
        file.unlink(missing_ok=True) if opened is store else None
        with pytest.raises(FeatureStoreError, match="the array of session s1 cannot be read"):
            opened.read("train")
    with pytest.raises(FeatureStoreError, match="the array of session s1 cannot be read"):
        store.digest(["train"])


def test_a_pickle_in_an_arrays_place_is_never_opened(tmp_path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    store = write_store(tmp_path, last=False)
    (tmp_path / "release" / "s1.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FeatureStoreError, match="the array of session s1 cannot be read"):
        store.read("train")
    assert not (tmp_path / "sprung").exists()


def test_a_description_that_is_none_is_told_and_the_other_kind_still_opens(tmp_path) -> None:
    store = write_store(tmp_path, last=False)
    file = sessions_file(store.folder)
    record = json.loads(file.read_text())
    for broken in ("{", "[]", json.dumps({**record, "windows": {"a": [1]}})):
        file.write_text(broken)
        with pytest.raises(FeatureStoreError, match="does not describe windows into arrays"):
            open_store(store.folder)
    made = FeatureStore.create(tmp_path / "made", DESCRIPTION)
    write_manifest([Clip("a", tmp_path / "a.mp4", "x")], made.manifest_path)
    assert isinstance(open_store(tmp_path / "made"), FeatureStore)
    with pytest.raises(FeatureStoreError, match="^no feature store at"):
        open_store(tmp_path / "none")

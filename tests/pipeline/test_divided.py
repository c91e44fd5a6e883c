"""Stages divided among processes: together they leave what one process leaves."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from caf_video.cli import main
from caf_video.data.manifest import Clip, read_manifest, write_manifest
from caf_video.data.store_files import fanned_out
from caf_video.errors import CafVideoError
from caf_video.models.preprocessing import Normalization, Preprocessing
from caf_video.pipeline import progress
from caf_video.pipeline.extract import extract
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.progress import device
from caf_video.pipeline.status import store_status
from caf_video.rendering import VideoWriter
from caf_video.shards import Shard


class Grey:
    """A backbone whose one channel is the mean of a cell; it says whose frames it was given."""

    name = weights = weights_sha256 = normalization = revision = "grey"
    stride, channels, precision = 32, 1, "float32"

    def grid(self, size):
        return size[0] // 32, size[1] // 32

    def preprocessing(self, size):
        return Preprocessing(size, Normalization("bilinear", (0, 0, 0), (1, 1, 1)))  # as they are

    def to(self, device) -> None:
        """Nowhere to go."""

    def features(self, images):
        return torch.nn.functional.avg_pool2d(images[:, :1], 32)


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> Path:
    """A list of eight clips of five sessions, none with a split."""
    folder = tmp_path_factory.mktemp("videos")
    clips = []
    for number, session in enumerate("aaabbcde"):
        path = folder / f"{number}.mp4"
        with VideoWriter(path, fps=10) as writer:
            for frame in range(3):
                writer.write(np.full((32, 64, 3), 20 * number + frame, np.uint8))
        clips.append(Clip(f"clip {number}", path, "ab"[number % 2], session=session))
    write_manifest(clips, folder / "list.csv")
    return folder / "list.csv"


def extracted(source: Path, out: Path, shard: Shard):
    return extract(source, out, backbone=Grey(), size=(32, 64), workers=0, shard=shard)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but videos.json, in which the order of the shards shows, and the record."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "videos.json"
    }


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_in_any_order_leave_the_store_that_one_process_leaves(
    listed, tmp_path, count
) -> None:
    whole = extracted(listed, tmp_path / "whole", Shard(0, 1))
    assert (whole.clips, whole.total) == (8, 8)
    manifests, sizes = set(), []
    for index in reversed(range(count)):
        done = extracted(listed, tmp_path / "shared", Shard(index, count))
        manifests.add(done.store.manifest_path.read_bytes())
        sizes.append(done.clips)
        assert done.total == 8 and len(done.store.stored()) == sum(sizes)
    assert manifests == {whole.store.manifest_path.read_bytes()}
    assert sum(sizes) == 8 and max(sizes) == max(3, -(-8 // count))
    assert contents(tmp_path / "shared") == contents(tmp_path / "whole")
    known = [json.loads((tmp_path / name / "videos.json").read_text()) for name in
             ("whole", "shared")]  # fmt: skip
    assert known[0] == known[1] and len(known[0]) == 8  # what each knew is kept


def test_what_fails_on_a_shard_is_left_out_of_the_manifest_whoever_ends_last(
    listed, tmp_path
) -> None:
    clips = read_manifest(listed)
    lost = [replace(one, path=tmp_path / "gone.mp4") if one.session == "c" else one
            for one in clips]  # fmt: skip
    write_manifest(lost, tmp_path / "list.csv")
    out = tmp_path / "out"
    failing = next(
        number
        for number in range(3)
        if extracted(tmp_path / "list.csv", tmp_path / "try", Shard(number, 3)).failed
    )
    for index in [failing, *({0, 1, 2} - {failing})]:
        store = extracted(tmp_path / "list.csv", out, Shard(index, 3)).store
    assert {clip.clip_id for clip in read_manifest(store.manifest_path)} == {
        clip.clip_id for clip in clips
    } - {"clip 5"}
    assert "gone.mp4" in store.failure("clip 5")

    told = store_status(out, tmp_path / "list.csv")
    assert sum(one.there for one in told.splits) == 7
    assert sum(one.failed for one in told.splits) == 1 and not told.complete
    assert told.reasons == [("clip 5", store.failure("clip 5"))]
    own = store_status(out)
    assert own.left_out == 1 and sum(one.clips for one in own.splits) == 7 and not own.complete

    extracted(listed, out, Shard(0, 1))  # the video is there again
    assert store_status(out, listed).complete and store_status(out).complete
    assert len(read_manifest(store.manifest_path)) == 8 and not store.failed()


def test_a_shard_of_one_bad_recording_fails_alone_and_all_bad_ones_leave_the_manifest(
    listed, tmp_path
) -> None:
    clips = [replace(one, path=tmp_path / "gone.mp4", session=str(number))
             for number, one in enumerate(read_manifest(listed)[:2])]  # fmt: skip
    write_manifest(clips, tmp_path / "list.csv")
    first = extracted(tmp_path / "list.csv", tmp_path / "out", Shard(0, 2))
    assert len(first.failed) == 1
    with pytest.raises(CafVideoError, match="none of the 2 clips can be read"):
        extracted(tmp_path / "list.csv", tmp_path / "out", Shard(1, 2))
    assert len(read_manifest(first.store.manifest_path)) == 2  # the splits that were dealt stay


def test_a_shard_without_clips_has_nothing_to_do(listed, tmp_path) -> None:
    done = [extracted(listed, tmp_path / "out", Shard(index, 9)) for index in range(9)]
    assert sorted(one.clips for one in done) == [0, 0, 0, 0, 1, 1, 1, 2, 3]
    assert store_status(tmp_path / "out", listed).complete


def caf_video(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["caf-video", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


def test_status_says_what_is_missing_and_exits_by_it(listed, tmp_path, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    first = extracted(listed, out, Shard(0, 2))
    assert caf_video(monkeypatch, "status", out, listed) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "all" in line.split())
    assert [int(cell) for cell in line.split() if cell.isdecimal()] == [8, 4, 4, 0]
    assert first.clips == 4
    extracted(listed, out, Shard(1, 2))
    assert caf_video(monkeypatch, "status", out) == 0
    assert "All clips of" in capsys.readouterr().out
    clip = read_manifest(listed)[3].clip_id
    fanned_out(out / "clips", clip, ".safetensors").unlink()
    states = {one.split: one for one in store_status(out).splits}
    assert sum(one.missing for one in states.values()) == 1
    assert states[{c.clip_id: c.split for c in read_manifest(out / "manifest.csv")}[clip]].missing
    assert caf_video(monkeypatch, "status", out) == 1
    assert caf_video(monkeypatch, "status", tmp_path) == 2  # no store


def test_status_of_windows_into_arrays_is_by_its_windows(tmp_path, monkeypatch) -> None:
    from caf_video.pipeline import status

    class Windows:
        manifest_path = tmp_path / "manifest.csv"

        def event(self, clip_id: str) -> str:
            return "" if clip_id == "b" else clip_id

    clips = [Clip(name, tmp_path / "a.npy", "x", split="test") for name in "abc"]
    write_manifest(clips, Windows.manifest_path)
    monkeypatch.setattr(status, "open_store", lambda folder: Windows())
    (told,) = store_status(tmp_path).splits
    assert (told.there, told.missing, told.failed) == (2, 1, 0)


def test_digests_that_two_processes_found_are_all_kept(listed, tmp_path) -> None:
    clips = read_manifest(listed)
    one, other = (VideoDigests(tmp_path / "videos.json") for _ in range(2))
    one.event(clips[0])
    other.event(clips[1])
    one.keep()
    other.keep()
    known = json.loads((tmp_path / "videos.json").read_text())
    assert set(known) == {str(clip.path) for clip in clips[:2]}


@pytest.mark.parametrize(
    ("environment", "gpu"),
    [
        ({}, None),
        ({"LOCAL_RANK": "2"}, 2),
        ({"SLURM_LOCALID": "1"}, 1),
        ({"LOCAL_RANK": "3", "SLURM_LOCALID": "1"}, 3),
        ({"LOCAL_RANK": "5"}, 1),  # of four
        ({"LOCAL_RANK": ""}, None),
    ],
)
def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch, environment, gpu) -> None:
    assert device(environment).type == "cpu" or torch.cuda.is_available()
    monkeypatch.setattr(progress.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(progress.torch.cuda, "device_count", lambda: 4)
    assert device(environment) == torch.device("cuda" if gpu is None else f"cuda:{gpu}")

"""What an index keeps, damaged or of others: refused in one line, or made again; never used."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from caf_video.data.features import StoreDescription
from caf_video.data.manifest import Clip
from caf_video.data.sealed import sealed, unsealed
from caf_video.errors import CafVideoError
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.moments import MomentIndex, Moments

DESCRIPTION = StoreDescription("net", "none", "0" * 64, 32, (64, 96), 4, (2, 3), 3, 3)


@pytest.fixture
def index(tmp_path: Path) -> MomentIndex:
    (tmp_path / "best.ckpt").write_bytes(b"a checkpoint")
    run: Any = SimpleNamespace(checkpoint=tmp_path / "best.ckpt", description=DESCRIPTION)
    made = MomentIndex.create(tmp_path / "index", run)
    clips = [Clip(name, tmp_path / f"{name}.mp4", "left", 0.5, None, "s") for name in "ab"]
    table = np.arange(6.0).reshape(2, 3)
    made.add(Moments(clips, ["x|0", "y|0"], table, table[:, 0], table.astype(np.int64), table))
    return made


def part_of(index: MomentIndex) -> Path:
    (part,) = (index.folder / "parts").glob("*.safetensors")
    return part


def without(name: str) -> Any:
    return lambda listed: [{key: value for key, value in listed[0].items() if key != name}] * 2


@pytest.mark.parametrize(
    "change",
    [
        lambda listed: {},
        lambda listed: [1, 2],
        lambda listed: listed[:1],
        lambda listed: [listed[0]] * 2,
        lambda listed: [listed[0], {**listed[1], "start": "0"}],
        lambda listed: [listed[0], {**listed[1], "end": True}],
        lambda listed: [listed[0], {**listed[1], "video": None}],
        without("event"),
        without("fps"),
    ],
)
def test_a_part_that_tells_of_its_moments_otherwise_is_refused_and_made_again(
    index: MomentIndex, change: Any
) -> None:
    assert len(index.read()) == 2
    tensors, texts = unsealed(part_of(index))
    moments = json.dumps(change(json.loads(texts["moments"])))
    part_of(index).write_bytes(sealed(tensors, {"moments": moments}))
    with pytest.raises(CafVideoError, match=r"^[^\n]*\.safetensors[^\n]*: run `caf-video index`"):
        index.read()
    assert not MomentIndex.open(index.folder).holds("x|0")
    assert not list((index.folder / "parts").glob("*.safetensors"))


@pytest.mark.parametrize("name", ["embeddings", "norms", "frame_indices", "times_seconds"])
def test_a_part_whose_arrays_are_of_other_shapes_is_refused(index: MomentIndex, name: str) -> None:
    tensors, texts = unsealed(part_of(index))
    for values in (tensors[name][:1], tensors[name][None]):
        content = sealed({**tensors, name: values.contiguous()}, texts)
        part_of(index).write_bytes(content)
        with pytest.raises(CafVideoError, match=f"has {name} of another shape than its moments"):
            index.read()


def test_parts_of_two_widths_are_not_joined(index: MomentIndex) -> None:
    one = np.zeros((1, 1))
    clip = Clip("c", Path("c.mp4"), "left")
    index.add(Moments([clip], ["z|0"], one, one[0], np.zeros((1, 3), np.int64), np.zeros((1, 3))))
    with pytest.raises(CafVideoError, match="differ in the shape of embeddings"):
        index.read()


def test_a_record_of_an_index_that_was_changed_is_refused(index: MomentIndex) -> None:
    record = index.folder / "index.json"
    MomentIndex.open(index.folder)
    whole = record.read_text()
    for changed in (
        whole.replace("best.ckpt", "last.ckpt"),
        '{"format": 1}',
        '{"format": 1, "run": 2}',
    ):
        record.write_text(changed)
        with pytest.raises(CafVideoError, match=r"index\.json is not as it was written"):
            MomentIndex.open(index.folder)


def test_a_digest_of_a_video_that_was_changed_on_disk_is_made_again(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"a video")
    digests = VideoDigests(tmp_path / "videos.json")
    event = digests.event(Clip("a", video, "left"))
    digests.keep()
    kept = tmp_path / "videos.json"
    kept.write_text(kept.read_text().replace(event[:64], "0" * 64))
    assert VideoDigests(kept).event(Clip("a", video, "left")) == event

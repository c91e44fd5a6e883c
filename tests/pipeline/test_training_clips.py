"""What a run was trained on is never what it is tested on, whatever became of the splits."""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from caf_video.data.features import FeatureStore
from caf_video.data.manifest import Clip, read_manifest, write_manifest
from caf_video.errors import CafVideoError, InputError
from caf_video.models.preprocessing import Normalization, Preprocessing
from caf_video.pipeline import extract as stage
from caf_video.pipeline.evaluate import evaluate
from caf_video.pipeline.explain import explain_clips
from caf_video.pipeline.extract import extract, with_kept_splits
from caf_video.pipeline.opened import clips_of, open_features, open_run
from caf_video.pipeline.train import compose_config, train
from caf_video.rendering import VideoWriter
from caf_video.training import CheckpointError, load_run
from caf_video.training.checkpoint import KEY, digest_of_clips


def moved(known, **splits: str) -> None:
    """Give clips of a run another split by hand."""
    clips = [replace(clip, split=splits.get(clip.clip_id, clip.split)) for clip in known.clips]
    write_manifest(clips, known.store.manifest_path)


def test_a_training_clip_that_was_put_into_the_test_split_is_left_out_and_counted(
    make_known_run,
) -> None:
    known = make_known_run()
    before = evaluate(known.folder).record()
    moved(known, train_left_a="test", train_stop_a="test")
    after = evaluate(known.folder).record()
    assert after["training"]["left_out"] == ["train_left_a", "train_stop_a"]
    assert before["training"]["left_out"] == []
    assert after["recall@1"] == before["recall@1"] and after["clips"] == before["clips"]
    gallery = {one.nearest.clip_id for one in explain_clips(known.folder, [])}
    assert not gallery & {"train_left_a", "train_stop_a"}


def test_a_training_clip_is_known_under_another_name_by_its_event(make_known_run) -> None:
    known = make_known_run()
    features = replace(known.store.read("train_left_a"), clip_id="new name")
    known.store.write(features, "known", event=known.store.event("train_left_a"))
    clips = [*known.clips, replace(known.clip("train_left_a"), clip_id="new name", split="test",
                                   session="another")]  # fmt: skip
    write_manifest(clips, known.store.manifest_path)
    assert evaluate(known.folder).record()["training"]["left_out"] == ["new name"]


def test_a_split_of_training_clips_alone_is_refused(make_known_run) -> None:
    known = make_known_run()
    moved(known, **{name: "train" for name in known.nearest}, train_stop_a="test",
          train_stop_b="test")  # fmt: skip
    for use in (evaluate, lambda run: explain_clips(run, [])):
        with pytest.raises(InputError, match="was trained on all 2 clips of the test split: put"):
            use(known.folder)


def test_a_run_that_does_not_say_what_it_was_trained_on_is_used_and_says_so(
    make_known_run,
) -> None:
    """As format 2 was written before training clips were remembered."""
    known = make_known_run()
    file = known.folder / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    for name in ("training_clips", "training_sha256"):
        del checkpoint[KEY][name]
    torch.save(checkpoint, file)
    moved(known, train_left_a="test")
    record = evaluate(known.folder).record()
    assert record["training"] == {"clips_sha256": "", "checked": False, "left_out": []}
    assert "train_left_a" in {clip["clip_id"] for clip in record["clips"]}


def test_a_trained_run_remembers_its_training_clips_and_goes_on_with_no_others(
    make_store: Callable, make_clips: Callable, tmp_path: Path
) -> None:
    clips = make_clips()
    store = make_store(clips)
    overrides = [
        f"features={store.folder}", f"run_dir={tmp_path / 'run'}", "progress_bar=false",
        "trainer.max_epochs=1", "data.batches_per_epoch=1", "data.classes_per_batch=3",
        "data.samples_per_class=2", "trainer.accelerator=cpu",
    ]  # fmt: skip
    run = load_run(train(compose_config(overrides)))
    ids = {clip.clip_id for clip in clips if clip.split == "train"}
    assert run.training_clips is not None and run.training_clips.keys() == ids
    assert run.training_sha256 == digest_of_clips(run.training_clips) != ""
    swap = {"train/left_0": "test", "test/left_0": "train"}
    write_manifest(
        [replace(clip, split=swap.get(clip.clip_id, clip.split), session=clip.clip_id)
         for clip in clips], store.manifest_path,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="1 of 18 are not in the train split any more, 1 are"):
        train(compose_config([*overrides, "ckpt_path=last"]))
    open_run_clips = clips_of(open_run(tmp_path / "run"), open_features(open_run(tmp_path / "run")),
                              "test")  # fmt: skip
    assert [clip.clip_id for clip in open_run_clips.trained_on] == ["train/left_0"]


def test_classes_that_training_did_not_have_are_evaluated_and_named(make_known_run) -> None:
    known = make_known_run()
    clips = [replace(clip, label="crossing") if clip.label == "stop_sign" and clip.split == "test"
             else clip for clip in known.clips]  # fmt: skip
    write_manifest(clips, known.store.manifest_path)
    record = evaluate(known.folder).record()
    assert record["new_classes"] == ["crossing"]
    assert record["recall@1"] == pytest.approx(5 / 7)


# --- extraction -----------------------------------------------------------------------------------


class Grey:
    """A backbone whose one channel is the mean of a cell."""

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


def write_video(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=10) as writer:
        for frame in range(9):
            writer.write(np.full((32, 64, 3), shade + frame, np.uint8))
    return path


def extracted(source: Path, out: Path, **settings):
    return extract(source, out, backbone=Grey(), size=(32, 64), workers=0, **settings)  # type: ignore[arg-type]


def listing(folder: Path, count: int) -> Path:
    """A list without splits, of `path label` lines; its videos are made where they are missing."""
    for number in range(count):
        if not (folder / f"{number}.mp4").exists():
            write_video(folder / f"{number}.mp4", 10 + 5 * number)
    list_file = folder / "list.txt"
    list_file.write_text("".join(f"{n}.mp4 {'ab'[n % 2]}\n" for n in range(count)))
    return list_file


def splits_of(store: FeatureStore) -> dict[str, str]:
    return {clip.clip_id: clip.split for clip in read_manifest(store.manifest_path)}


def test_splits_once_dealt_stay_when_clips_are_added_or_the_seed_is_another(tmp_path) -> None:
    first = splits_of(extracted(listing(tmp_path, 10), tmp_path / "out").store)
    again = splits_of(extracted(listing(tmp_path, 10), tmp_path / "out", seed=1).store)
    assert again == first
    more = splits_of(extracted(listing(tmp_path, 14), tmp_path / "out", seed=2).store)
    assert {name: more[name] for name in first} == first
    assert set(more.values()) == {"train", "val", "test"}


def test_a_split_that_is_given_outdoes_the_one_that_was_dealt() -> None:
    clip = Clip("a", Path("/a.mp4"), "left", session="monday")
    other = replace(clip, clip_id="b")
    dealt = [replace(clip, split="test"), replace(other, split="test")]
    assert [c.split for c in with_kept_splits([clip, other], dealt)] == ["test", "test"]
    new = replace(clip, clip_id="c")
    assert [c.split for c in with_kept_splits([new], dealt)] == ["test"]  # of the same recording
    given = replace(other, split="train")
    assert [c.split for c in with_kept_splits([clip, given], dealt)] == ["", "train"]


def test_extraction_goes_on_past_clips_that_cannot_be_read_and_names_them(tmp_path) -> None:
    source = listing(tmp_path, 6)
    (tmp_path / "2.mp4").write_bytes(b"no video at all")
    (tmp_path / "3.mp4").unlink()
    done = extracted(source, tmp_path / "out")
    assert {one.clip.clip_id for one in done.failed} == {"2", "3"}
    for one in done.failed:
        assert str(one.clip.path.name) in one.reason and "\n" not in one.reason
    assert set(splits_of(done.store)) == {"0", "1", "4", "5"}
    before = splits_of(done.store)
    write_video(tmp_path / "2.mp4", 60)
    write_video(tmp_path / "3.mp4", 70)
    mended = extracted(source, tmp_path / "out")
    assert not mended.failed
    after = splits_of(mended.store)
    assert len(after) == 6 and {name: after[name] for name in before} == before


def test_a_digest_and_not_a_date_or_a_place_decides_what_is_extracted_again(
    tmp_path, monkeypatch
) -> None:
    (tmp_path / "old").mkdir()
    source = listing(tmp_path / "old", 4)
    extracted(source, tmp_path / "old" / "out")
    written: list[str] = []
    write = FeatureStore.write

    def counted(store, features, key, **settings):
        written.append(features.clip_id)
        write(store, features, key, **settings)

    monkeypatch.setattr(FeatureStore, "write", counted)
    (tmp_path / "old" / "1.mp4").touch()
    extracted(source, tmp_path / "old" / "out")
    (tmp_path / "old").rename(tmp_path / "new")
    new = tmp_path / "new"
    extracted(new / "list.txt", new / "out")
    assert written == []
    write_video(new / "1.mp4", 99)
    extracted(new / "list.txt", new / "out")
    assert written == ["1"]


@dataclass(frozen=True)
class Watched(Preprocessing):
    """Tells the shade of a clip's first frame where it was decoded."""

    tell: Callable[[int], None] = print

    def resize(self, frames):
        self.tell(int(frames[0, 0, 0, 0]))
        return super().resize(frames)


class At(Grey):
    """Does something in the process that decodes a video of one shade."""

    def __init__(self, shade: int, act: Callable[[], object]) -> None:
        self.shade, self.act = shade, act

    def preprocessing(self, size):
        def tell(shade: int) -> None:
            if self.shade <= shade < self.shade + 9:
                self.act()

        return Watched(size, super().preprocessing(size).normalization, tell=tell)


def six_shades(folder: Path) -> Path:
    """A list of videos 0 to 5, told apart by their shades: 20, 50, 80 and so on."""
    for number in range(6):
        write_video(folder / f"{number}.mp4", 20 + 30 * number)
    (folder / "list.txt").write_text("".join(f"{n}.mp4 {'ab'[n % 2]}\n" for n in range(6)))
    return folder / "list.txt"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("at", [0, 3, 5])
def test_a_decoder_that_ends_its_process_costs_its_clip_alone(tmp_path, workers, at) -> None:
    source = six_shades(tmp_path)
    backbone = At(18 + 30 * at, lambda: os._exit(1))
    done = extract(source, tmp_path / "out", backbone=backbone, size=(32, 64), workers=workers)
    ((clip_id, reason),) = [(one.clip.clip_id, one.reason) for one in done.failed]
    assert clip_id == str(at)
    assert reason == f"{at}.mp4: the video crashed its decoder, or memory ran out"
    assert set(splits_of(done.store)) == set("012345") - {clip_id}
    for name in splits_of(done.store):
        assert done.store.read(name).clip_id == name
    mended = extract(source, tmp_path / "out", backbone=Grey(), size=(32, 64), workers=0)
    assert not mended.failed and len(splits_of(mended.store)) == 6


@pytest.mark.parametrize(("at", "workers"), [(0, 2), (3, 1), (5, 2)])
def test_a_decoder_that_hangs_is_ended_in_time_and_costs_its_clip_alone(
    tmp_path, monkeypatch, workers, at
) -> None:
    monkeypatch.setattr(stage, "_LEAST_SECONDS", 2.0)
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    backbone = At(18 + 30 * at, lambda: time.sleep(600))
    done = extract(six_shades(tmp_path), tmp_path / "out", backbone=backbone, size=(32, 64),
                   workers=workers)  # fmt: skip
    assert [(one.clip.clip_id, one.reason) for one in done.failed] == [
        (str(at), f"{at}.mp4: nothing was decoded in 2 s")
    ]
    assert set(splits_of(done.store)) == set("012345") - {str(at)}
    until = time.monotonic() + 30  # the process was told to end, and takes its moment
    while multiprocessing.active_children():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_decoder_that_hangs_while_clips_are_tried_alone_is_ended_too(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(stage, "_LEAST_SECONDS", 2.0)
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    lost = tmp_path / "lost"

    def once_lost_then_hangs() -> None:
        if lost.exists():
            time.sleep(600)
        lost.touch()
        os._exit(1)

    done = extract(six_shades(tmp_path), tmp_path / "out", backbone=At(78, once_lost_then_hangs),
                   size=(32, 64), workers=1)  # fmt: skip
    assert [one.reason for one in done.failed] == ["2.mp4: nothing was decoded in 2 s"]


def test_a_decoder_that_is_slow_is_waited_for_and_a_large_video_is_given_longer(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(stage, "_LEAST_SECONDS", 0.1)
    monkeypatch.setattr(stage, "_BYTES_A_SECOND", 200.0)
    source = six_shades(tmp_path)
    size = (tmp_path / "3.mp4").stat().st_size
    assert size > 1500  # so that it has more than seven seconds
    backbone = At(18 + 30 * 3, lambda: time.sleep(0.7))
    done = extract(source, tmp_path / "out", backbone=backbone, size=(32, 64), workers=1)
    assert not done.failed and len(splits_of(done.store)) == 6


@pytest.mark.parametrize(("value", "told"), [(torch.inf, "not finite"), (7e4, "more than float16")])
def test_features_that_are_not_finite_cost_their_clip_alone(tmp_path, value, told) -> None:
    class OneSpoilt(Grey):
        calls = 0

        def features(self, images):
            self.calls += 1
            maps = super().features(images)
            return torch.full_like(maps, value) if self.calls == 2 else maps

    done = extract(
        listing(tmp_path, 3), tmp_path / "out", backbone=OneSpoilt(), size=(32, 64), workers=0
    )
    assert [one.clip.clip_id for one in done.failed] == ["1"] and told in done.failed[0].reason
    assert set(splits_of(done.store)) == {"0", "2"}


def test_extraction_finds_videos_that_were_moved_and_keeps_their_splits(tmp_path) -> None:
    source = listing(tmp_path, 5)
    before = splits_of(extracted(source, tmp_path / "out").store)
    (tmp_path / "disk").mkdir()
    for number in range(5):
        (tmp_path / f"{number}.mp4").rename(tmp_path / "disk" / f"{number}.mp4")
    with pytest.raises(CafVideoError, match=r"none of the 5 clips can be read: .*0\.mp4"):
        extracted(source, tmp_path / "out")
    done = extracted(source, tmp_path / "out", videos=tmp_path / "disk")
    assert not done.failed and splits_of(done.store) == before
    paths = {clip.path.parent for clip in read_manifest(done.store.manifest_path)}
    assert paths == {tmp_path / "disk"}
    new = extracted(source, tmp_path / "new", videos=tmp_path / "disk")
    assert splits_of(new.store) == before  # as the list names them, wherever they lie

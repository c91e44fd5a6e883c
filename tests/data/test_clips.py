"""Lists of clips: what is read, what is refused and in which words, and how clips are split."""

import errno
import hashlib
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from caf_video.data.clips import (
    assign_splits,
    require_evaluable,
    require_trainable,
    sides_of,
    splits_without_clips,
)
from caf_video.data.manifest import (
    SPLITS,
    Clip,
    ManifestError,
    read_clips,
    read_manifest,
    write_manifest,
)
from caf_video.data.sampling import clip_frame_range, segment_frame_indices
from caf_video.errors import InputError

HEADER = "clip_id,path,label,start_seconds,end_seconds,session,split\n"


def manifest(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    path.write_bytes(text.encode(encoding))
    return path


def clip(
    clip_id: str, label: str = "left", *, session: str = "", split: str = "", video: str = ""
) -> Clip:
    return Clip(
        clip_id, Path("/videos") / (video or f"{clip_id}.mp4"), label, 0.0, None, session, split
    )


# Reading a manifest


def test_a_row_becomes_a_clip_with_an_absolute_path(tmp_path: Path) -> None:
    path = manifest(tmp_path, HEADER + "a,videos/drive.mp4,left turn,1.5,4,s1,train\n")
    expected = Clip("a", tmp_path / "videos/drive.mp4", "left turn", 1.5, 4.0, "s1", "train")
    assert read_manifest(path) == [expected]


def test_optional_columns_may_be_absent_or_empty_and_in_any_order(tmp_path: Path) -> None:
    path = manifest(tmp_path, "label,end_seconds,clip_id,path\nleft,,a,x.mp4\nleft,2,b,x.mp4\n")
    assert read_manifest(path) == [
        Clip("a", tmp_path / "x.mp4", "left"),
        Clip("b", tmp_path / "x.mp4", "left", end_seconds=2.0),
    ]


def test_a_path_is_relative_to_the_manifest_however_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    manifest(tmp_path / "lists", HEADER + "a,../x.mp4,left,,,,\nb,/data/y.mp4,left,,,,\n")
    monkeypatch.chdir(tmp_path)
    clips = read_clips("lists/manifest.csv")
    assert [clip.path for clip in clips] == [tmp_path / "x.mp4", Path("/data/y.mp4")]


def test_a_spreadsheets_habits_are_understood(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, blank rows, spaces, quotes, text of any script."""
    text = (
        HEADER + '"右轉 1", ビデオ/a b.mp4 ,"right, slowly",0,1,,\n,,,,,,\n\n'
        'b,"x ""y"".mp4",cafe\u0301,,,,\n'
    )
    path = manifest(tmp_path, text.replace("\n", "\r\n"), encoding="utf-8-sig")
    clips = read_manifest(path)
    assert [clip.clip_id for clip in clips] == ["右轉 1", "b"]
    assert clips[0].path == tmp_path / "ビデオ" / "a b.mp4"
    assert clips[0].label == "right, slowly"
    assert clips[1].path.name == 'x "y".mp4'
    assert clips[1].label == "caf\u00e9"  # one spelling: two would be two classes


def test_columns_of_other_names_are_kept(tmp_path: Path) -> None:
    header = "clip_id,path,label,weather,start_seconds,,speed (m/s),\n"
    path = manifest(tmp_path, header + "a,x.mp4,left,rain,1,note,8,\nb,y.mp4,left,,,,,\n")
    first, second = read_manifest(path)
    assert first == Clip(
        *("a", tmp_path / "x.mp4", "left", 1.0),
        other=(("weather", "rain"), ("column 6", "note"), ("speed (m/s)", "8")),
    )
    assert second.other == (("weather", ""), ("column 6", ""), ("speed (m/s)", ""))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "manifest.csv line 1: no column 'path'"),
        ("clip_id path label\na x l\n", "line 1: columns are separated by ' ', not by ','"),
        (HEADER, "lists no clip"),
        ("clip_id,path\na,x.mp4\n", "line 1: no column 'label' (it has clip_id, path)"),
        ("clip_id,path,lable\na,x,l\n", "line 1: unknown column 'lable': did you mean 'label'?"),
        ("clip_id,path,label,spilt\na,x,l,5\n", "'spilt': did you mean 'split'?"),
        ("clip_id,path,path,label\na,x,x,l\n", "line 1: two columns are named 'path'"),
        (HEADER + "a,x.mp4,left,4.5,3,,\n", "manifest.csv line 2: end 3.0 s is before start 4.5 s"),
        (
            HEADER + "a,x.mp4,left,3,3,,\n",
            "line 2: start and end are both 3.0 s: the clip is empty",
        ),
        (HEADER + "a,x,left,,0,,\n", "line 2: start and end are both 0.0 s"),
        (HEADER + "a,x,left,1:75,,,\n", "start_seconds '1:75' is not a time h:mm:ss.s"),
        (HEADER + "a,x,left,,abc,,\n", "end_seconds 'abc' is not a number of seconds"),
        (HEADER + "a,x,left,nan,,,\n", "start_seconds 'nan' is not a time from 0 s on"),
        (HEADER + "a,x,left,-1,,,\n", "start_seconds '-1' is not a time from 0 s on"),
        (HEADER + "a,x,left,,inf,,\n", "end_seconds 'inf' is not a time from 0 s on"),
        (HEADER + "a,x,,,,,\n", "line 2: label is empty"),
        (HEADER + "a,,left,,,,\n", "line 2: path is empty"),
        (HEADER + " ,x,left,,,,\n", "line 2: clip_id is empty"),
        (HEADER + "a,x,left,,,,trian\n", "line 2: unknown split 'trian': it is one of train, val"),
        (HEADER + "a,x,left\n", "line 2: 3 cells, but the header has 7"),
        (HEADER + "a,x,left,,,,,,\n", "line 2: 9 cells, but the header has 7"),
        (HEADER + '"a\nb",x,left,,,,\n', r"line 2: clip_id 'a\nb' holds a control character"),
        (HEADER + "a,x\x07,left,,,,\n", "path 'x\\x07' holds a control character"),
        (HEADER + "a,x\0,left,,,,\n", "line 2: a null character"),
        (HEADER + "b,x,left,,,,\n\n\na,x,l,9,1,,\n", "line 5: end 1.0 s is before start 9.0 s"),
        (HEADER + '"b",x,"left\n', "line 2: not CSV: unexpected end of data"),
        (
            HEADER + "a,x,left,,,,\nb,x,left,,,,\na,y,left,,,,\n",
            "manifest.csv line 4: clip 'a' is on manifest.csv line 2 too",
        ),
        (
            HEADER + "a,x,left,,,s1,train\nb,y,left,,,s1,test\n",
            "line 3: session 's1' is in split 'test', but in 'train' on manifest.csv line 2",
        ),
        (
            HEADER + "a,d/x.mp4,l,,,,train\nb,d/../d/x.mp4,l,,,,val\n",
            "line 3: video x.mp4 is in split 'val', but in 'train' on manifest.csv line 2",
        ),
        (
            HEADER + "a,x.mp4,l,,,s1,train\nb,x.mp4,l,,,,test\n",
            "line 3: x.mp4 has no session here, but one on manifest.csv line 2",
        ),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_file_and_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = manifest(tmp_path, text)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "manifest.csv" in str(caught.value)


@pytest.mark.parametrize("text", ["clip_id,pth,lable\na,x,l\n", "clip_id;path;lable\na;x;l\n"])
def test_a_misspelt_manifest_is_not_taken_for_a_list_of_paths(tmp_path: Path, text: str) -> None:
    with pytest.raises(ManifestError, match="line 1: unknown column '(pth|lable)'"):
        read_clips(manifest(tmp_path, text))


def test_a_file_in_another_encoding_is_named_with_the_line(tmp_path: Path) -> None:
    path = manifest(tmp_path, HEADER + "a,x.mp4,left,,,,\nb,x.mp4,caf\u00e9,,,,\n", "latin-1")
    with pytest.raises(ManifestError, match=r"manifest.csv line 3: byte 0xe9 is not UTF-8"):
        read_clips(path)


def test_a_missing_or_unreadable_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no list of clips at .*nowhere.csv"):
        read_clips(tmp_path / "nowhere.csv")
    with pytest.raises(ManifestError, match="cannot read .*: Is a directory"):
        read_manifest(tmp_path)


# Folders and path lists


def test_a_folder_per_class_gives_the_classes(tmp_path: Path) -> None:
    for name in ("left/b.mp4", "left/deep/a.MOV", "右/c.webm", "left/notes.txt", ".cache/x.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert read_clips(tmp_path) == [
        Clip("left/b", tmp_path / "left/b.mp4", "left"),
        Clip("left/deep/a", tmp_path / "left/deep/a.MOV", "left"),
        Clip("右/c", tmp_path / "右/c.webm", "右"),
    ]


def test_folders_named_as_the_splits_are_splits(tmp_path: Path) -> None:
    for name in ("train/left/a.mp4", "test/left/a.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    clips = read_clips(tmp_path)
    assert [(clip.clip_id, clip.label, clip.split) for clip in clips] == [
        ("test/left/a", "left", "test"),
        ("train/left/a", "left", "train"),
    ]


def test_videos_that_differ_in_the_suffix_only_keep_it_in_their_ids(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    for name in ("a.mp4", "a.mkv", "b.mp4"):
        (tmp_path / "left" / name).touch()
    assert [clip.clip_id for clip in read_clips(tmp_path)] == ["left/a.mkv", "left/a.mp4", "left/b"]


def test_an_empty_folder_or_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="lists no clip"):
        read_clips(tmp_path)
    (tmp_path / "left").mkdir()
    with pytest.raises(ManifestError, match="class folder .*left holds no video"):
        read_clips(tmp_path)


def test_a_path_list_has_its_label_after_the_last_space(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("my videos/a b.mp4 3\r\n\n/data/c.mp4\tleft\n", encoding="utf-8-sig")
    assert read_clips(path) == [
        Clip("my videos/a b", tmp_path / "my videos/a b.mp4", "3"),
        Clip("/data/c", Path("/data/c.mp4"), "left"),
    ]


def test_a_wrong_path_list_is_refused_with_its_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("a.mp4 1\nb.mp4\n")
    with pytest.raises(ManifestError, match="train.txt line 2: 'b.mp4' is neither `path label`"):
        read_clips(path)
    path.write_text("a.mp4 1\nb.mp4 1\na.mp4 2\n")
    with pytest.raises(ManifestError, match="train.txt line 3: clip 'a' is on train.txt line 1"):
        read_clips(path)
    path.write_text("\n")
    with pytest.raises(ManifestError, match="train.txt lists no clip"):
        read_clips(path)


# Writing


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    clips = [
        Clip('x, "y"', tmp_path / "videos/é b.mp4", "left, slow", 0.1, 1 / 3, "s1", "train"),
        Clip("右", Path("/elsewhere/z.mp4"), "l"),
    ]
    path = tmp_path / "new" / "manifest.csv"
    write_manifest(clips, path)
    assert read_manifest(path) == clips
    assert "../videos/é b.mp4" in path.read_text(encoding="utf-8")


def test_a_manifest_and_its_videos_can_be_moved_together(tmp_path: Path) -> None:
    write_manifest([Clip("a", tmp_path / "old/a.mp4", "l")], tmp_path / "old/manifest.csv")
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_manifest(tmp_path / "new/manifest.csv")[0].path == tmp_path / "new/a.mp4"


def test_a_full_disk_leaves_the_old_manifest_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest([clip("a")], path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        ManifestError, match=r"cannot write .*manifest.csv: No space left on device"
    ):
        write_manifest([clip("b")], path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]
    assert read_manifest(path) == [clip("a")]


def test_an_output_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    for path in (tmp_path / "out/manifest.csv", tmp_path / "out/deep/manifest.csv"):
        with pytest.raises(ManifestError, match="is a file, not a folder"):
            write_manifest([clip("a")], path)
    with pytest.raises(ManifestError, match="Is a directory"):
        write_manifest([clip("a")], tmp_path)


# Splits


def split_of_sessions(clips: list[Clip]) -> dict[str, set[str]]:
    splits = defaultdict(set)
    for clip in clips:
        splits[clip.recording].add(clip.split)
    return splits


def test_a_recording_draws_its_split_by_a_digest_of_its_name_and_the_seed() -> None:
    """The rule by hand: the first 48 bits of SHA-256, as a fraction, cut at 0.7 and 0.85."""
    clips = [clip(f"{i}", session=f"s{i}") for i in range(200)]
    for seed in (0, 7):
        for dealt in assign_splits(clips, seed=seed):
            digest = hashlib.sha256(f"{seed} session {dealt.session}".encode()).hexdigest()
            draw = int(digest[:12], 16) / 16**12
            expected = "train" if draw < 0.7 else "val" if draw < 0.85 else "test"
            assert dealt.split == expected


def test_clips_that_are_added_never_move_the_old_ones() -> None:
    old = [clip(f"{i}", f"class {i % 3}", session=f"s{i // 2}") for i in range(60)]
    new = [clip(f"new {i}", f"class {i % 5}", session=f"t{i}") for i in range(60)]
    alone = assign_splits(old, seed=3)
    together = assign_splits([*new, *old[::-1]], seed=3)
    assert {c.clip_id: c.split for c in together if c.session[0] == "s"} == {
        c.clip_id: c.split for c in alone
    }


def test_no_session_is_divided_and_the_fractions_are_kept_on_average() -> None:
    clips = [
        clip(f"{session}-{i}", f"class {i}", session=f"s{session}")
        for session in range(2000)
        for i in range(2)
    ]
    divided = assign_splits(clips, seed=1)
    assert all(len(splits) == 1 for splits in split_of_sessions(divided).values())
    counts = [sum(clip.split == split for clip in divided) for split in SPLITS]
    np.testing.assert_allclose(counts, [2800, 600, 600], atol=120)  # 3 standard deviations or more


def test_without_a_session_the_video_is_the_session() -> None:
    clips = [clip(f"{video}-{i}", video=f"{video}.mp4") for video in range(40) for i in range(3)]
    divided = assign_splits(clips, seed=0)
    assert all(len(splits) == 1 for splits in split_of_sessions(divided).values())
    assert {clip.split for clip in divided} == set(SPLITS)


def test_a_folder_that_is_moved_keeps_the_splits_of_its_videos(tmp_path: Path) -> None:
    """`route/0/video.hevc` and `route/1/video.hevc` are two recordings, wherever they lie."""
    text = "path,label\n" + "".join(f"route/{i}/video.hevc,l\n" for i in range(40))

    def splits(folder: Path) -> list[str]:
        folder.mkdir()
        return [c.split for c in assign_splits(read_clips(manifest(folder, text)), seed=0)]

    here = splits(tmp_path / "here")
    assert here == splits(tmp_path / "elsewhere")
    assert set(here) == set(SPLITS)


def test_splits_depend_on_the_seed() -> None:
    clips = [clip(f"{i}", f"class {i % 3}", session=f"s{i}") for i in range(60)]
    assert assign_splits(clips, seed=3) != assign_splits(clips, seed=4)


def test_splits_that_got_nothing_are_told_with_what_helps() -> None:
    clips = [clip("a", session="s1", split="train"), clip("b", session="s2", split="train")]
    told = splits_without_clips(clips)
    assert "no clip is in the val or test split, of 2 recordings" in told
    assert "column 'split'" in told and "--seed" in told
    assert splits_without_clips(good_clips()) == ""


def test_given_splits_stay_and_their_sessions_follow_them() -> None:
    clips = [
        clip("a", session="s1", split="test"),
        clip("b", session="s1"),
        clip("c", session="s2", split="val"),
        *(clip(f"{i}", session=f"t{i}") for i in range(20)),
    ]
    divided = assign_splits(clips, seed=0)
    assert [clip.split for clip in divided[:3]] == ["test", "test", "val"]
    assert all(clip.split for clip in divided)
    assert assign_splits(divided, seed=99) == divided


def test_a_split_of_no_fraction_gets_nothing() -> None:
    clips = [clip(f"{i}", session=f"s{i}") for i in range(200)]
    divided = assign_splits(clips, seed=0, fractions=(0.5, 0.0, 0.5))
    counts = [sum(clip.split == split for clip in divided) for split in SPLITS]
    np.testing.assert_allclose(counts, [100, 0, 100], atol=25)
    assert counts[1] == 0


def test_a_session_in_two_splits_is_refused_naming_both_clips() -> None:
    clips = [clip("a", session="s1", split="train"), clip("b", session="s1", split="test")]
    with pytest.raises(ManifestError, match="clip 'b': session 's1' is in .*'train' on clip 'a'"):
        assign_splits(clips, seed=0)


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.9, 0.2, -0.1), (1, 1, 1), (np.nan, 0, 1)])
def test_fractions_that_do_not_add_up_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="are not three that add up to 1"):
        assign_splits([clip("a")], seed=0, fractions=fractions)  # type: ignore[arg-type]


# What a split must have


def good_clips() -> list[Clip]:
    return [
        clip(f"{split}-{label}-{i}", label, split=split)
        for split in SPLITS
        for label in ("left", "right")
        for i in range(2)
    ]


def test_good_splits_pass() -> None:
    require_trainable(good_clips())
    for split in SPLITS:
        require_evaluable(good_clips(), split)


@pytest.mark.parametrize("split", ["train", "val"])
def test_training_refuses_a_split_without_clips(split: str) -> None:
    clips = [clip for clip in good_clips() if clip.split != split]
    with pytest.raises(ManifestError, match=f"no clip is in the {split} split .*test 4"):
        require_trainable(clips)


def test_training_refuses_a_class_with_one_clip() -> None:
    clips = [*good_clips(), clip("lonely", "u turn", split="train")]
    with pytest.raises(ManifestError, match="class 'u turn' has one clip in the train .*'lonely'"):
        require_trainable(clips)


def test_training_refuses_a_single_class() -> None:
    clips = [clip for clip in good_clips() if clip.label == "left"]
    with pytest.raises(ManifestError, match="holds one class, 'left'"):
        require_trainable(clips)


def test_a_label_that_training_does_not_know_is_refused() -> None:
    clips = [*good_clips(), clip("x", "rihgt", split="test"), clip("y", "zzz", split="val")]
    with pytest.raises(ManifestError, match="clip 'x': .* no label 'rihgt': did you mean 'right'"):
        require_evaluable(clips, "test")
    with pytest.raises(ManifestError, match="clip 'y': .* no label 'zzz': it has left, right"):
        require_trainable(clips)


def test_evaluation_refuses_a_split_without_clips_or_pairs() -> None:
    with pytest.raises(ManifestError, match="no clip is in the test split"):
        require_evaluable([clip for clip in good_clips() if clip.split != "test"])
    with pytest.raises(ManifestError, match="no clip is in the test split .*no clips"):
        require_evaluable([])
    single = [clip("a", "left", split="test"), clip("b", "right", split="test")]
    with pytest.raises(ManifestError, match="no class has two clips in the test split"):
        require_evaluable(single)
    with pytest.raises(InputError, match="unknown split 'dev'"):
        require_evaluable(good_clips(), "dev")


# Sampling


def test_test_frames_are_the_middles_of_the_segments() -> None:
    assert segment_frame_indices(0, 12, timesteps=3).tolist() == [[2], [6], [10]]
    assert segment_frame_indices(100, 103, timesteps=3).tolist() == [[100], [101], [102]]
    assert segment_frame_indices(0, 9, timesteps=3, candidates=3).tolist() == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8],
    ]


@pytest.mark.parametrize("candidates", [1, 3, 5, 7])
@pytest.mark.parametrize("timesteps", [1, 2, 3, 5])
def test_candidates_lie_in_their_segment_around_the_test_frame(
    timesteps: int, candidates: int
) -> None:
    for frames in [*range(1, 40), 1000]:
        indices = segment_frame_indices(7, 7 + frames, timesteps=timesteps, candidates=candidates)
        assert indices.shape == (timesteps, candidates) and indices.dtype == np.int64
        assert (np.diff(indices.ravel()) >= 0).all()
        test_frames = segment_frame_indices(7, 7 + frames, timesteps=timesteps)
        np.testing.assert_array_equal(indices[:, candidates // 2], test_frames[:, 0])
        for segment in range(timesteps):
            begin = 7 + segment * frames / timesteps
            end = 7 + (segment + 1) * frames / timesteps
            assert (indices[segment] >= np.floor(begin)).all()
            assert (indices[segment] < np.ceil(end)).all()


@pytest.mark.parametrize(
    ("first", "stop", "timesteps", "candidates", "message"),
    [
        (0, 9, 3, 2, "2 candidate frames per segment: take an odd number"),
        (0, 9, 3, 0, "0 candidate frames"),
        (0, 9, 0, 1, "0 timesteps"),
        (4, 4, 3, 1, "no frame to choose"),
        (-1, 4, 3, 1, "no frame to choose"),
    ],
)
def test_impossible_samplings_are_refused(
    first: int, stop: int, timesteps: int, candidates: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        segment_frame_indices(first, stop, timesteps=timesteps, candidates=candidates)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, None, (0, 10)),
        (0.2, 0.6, (2, 6)),
        (0.25, 0.55, (2, 6)),  # the frame on screen at 0.25 s appeared at 0.2 s
        (0.1999, 0.6001, (2, 6)),  # rounding in the container is no other frame
        (0.2001, 0.5999, (2, 6)),
        (0.21, 0.22, (2, 3)),  # shorter than a frame
        (0.95, 2.0, (9, 10)),  # a second after the end: an annotation by hand
    ],
)
def test_a_clip_is_the_frames_on_screen_during_it(
    start: float, end: float | None, expected: tuple[int, int]
) -> None:
    event = Clip("a", Path("/x.mp4"), "l", start, end)
    assert clip_frame_range(event, np.arange(10) / 10, 1.0) == expected


def test_the_frames_of_a_clip_follow_a_variable_frame_rate() -> None:
    times = np.array([0.0, 1.0, 1.1, 1.2, 3.0])
    assert clip_frame_range(Clip("a", Path("/x"), "l", 0.5, 1.2), times, 3.1) == (0, 3)
    assert clip_frame_range(Clip("a", Path("/x"), "l", 2.0, 2.5), times, 3.1) == (3, 4)


@pytest.mark.parametrize("end", [0.2, 0.3])
def test_a_clip_that_ends_before_it_starts_is_named(end: float) -> None:
    event = Clip("left-3", Path("/videos/drive.mp4"), "l", 0.3, end)
    with pytest.raises(ManifestError, match=f"clip 'left-3': end {end} s is not after start 0.3"):
        clip_frame_range(event, np.arange(10) / 10, 1.0)


def test_a_clip_that_starts_after_its_video_is_named() -> None:
    event = Clip("left-3", Path("/videos/drive.mp4"), "l", 30.0, 31.0)
    with pytest.raises(ManifestError, match=r"clip 'left-3': start 30.0 s is after .*drive.mp4"):
        clip_frame_range(event, np.arange(250) / 10, 25.0)
    assert clip_frame_range(Clip("a", Path("/x"), "l"), np.zeros(1), 0.0) == (0, 1)


# Queries and a gallery


def test_queries_and_a_gallery_are_splits_that_may_share_a_recording(tmp_path: Path) -> None:
    text = "path,label,session,split\na.mp4,l,s1,Query\nb.mp4,l,s1,gallery\nc.mp4,l,s2,train\n"
    clips = read_clips(manifest(tmp_path, text))
    assert [clip.split for clip in clips] == ["query", "gallery", "train"]
    assert assign_splits(clips, seed=0) == clips
    with pytest.raises(ManifestError, match="line 5: session 's2' is in split 'query', but in"):
        read_clips(manifest(tmp_path, text + "d.mp4,l,s2,query\n"))
    undecided = [*clips, clip("d", session="s1")]
    with pytest.raises(ManifestError, match="'d' has no split, and its recording is of query and"):
        assign_splits(undecided, seed=0)


def test_queries_are_measured_in_the_gallery_and_are_the_test_where_there_is_none() -> None:
    queries = [clip("a", "left", split="query"), clip("b", "left", split="gallery")]
    both = [*queries, clip("c", split="test")]
    assert sides_of(queries, "test") == sides_of(both, "query") == ("query", "gallery")
    assert sides_of(both, "test") == ("test", "test")
    assert sides_of(queries, "val") == ("val", "val")
    with pytest.raises(InputError, match="unknown split 'tset': it is one of train, val"):
        sides_of(queries, "tset")
    require_evaluable(queries, "query", "gallery")
    with pytest.raises(ManifestError, match="no class of the query split is in the gallery split"):
        require_evaluable([queries[0], clip("b", "right", split="gallery")], "query", "gallery")
    assert "no clip is in the train or val split" in splits_without_clips(queries)
    assert "val or gallery split" in splits_without_clips([clip("c", split="train"), queries[0]])


def test_a_manifest_is_read_anew_whatever_was_read_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, label in (("a", "x"), ("b", "y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.csv").write_text(f"path,label\nv.mp4,{label}\n")
    for name, label in (("a", "x"), ("b", "y"), ("a", "x")):
        monkeypatch.chdir(tmp_path / name)
        clips = read_manifest("m.csv")
        assert [(clip.path, clip.label) for clip in clips] == [(tmp_path / name / "v.mp4", label)]
        clips.clear()  # is the caller's own
    (tmp_path / "a" / "m.csv").write_text("path,label\nv.mp4,z\n")
    assert [clip.label for clip in read_manifest("m.csv")] == ["z"]
    assert [clip.fps for clip in read_manifest("m.csv", fps=5)] == [5]
    assert [clip.fps for clip in read_manifest("m.csv")] == [None]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            "path,label,set\na.mp4,x,train\nb.mp4,x,Test\n",
            r"'set' holds names of splits \(test",
        ),
        ("path,label,fold\na.mp4,x,\nb.mp4,x,val\n", r"'fold' holds names of splits \(val\)"),
        ("path,label,fold\na.mp4,x,1\nb.mp4,x,val\n", ""),
        ("path,label,fold\na.mp4,x,\nb.mp4,x,\n", ""),
        ("path,label,split,old\na.mp4,x,val,train\nb.mp4,x,test,train\n", ""),
    ],
)
def test_a_split_under_another_name_is_not_left_aside(
    tmp_path: Path, table: str, told: str
) -> None:
    (tmp_path / "m.csv").write_text(table)
    if told:
        with pytest.raises(ManifestError, match=told):
            read_manifest(tmp_path / "m.csv")
    else:
        assert len(read_manifest(tmp_path / "m.csv")) == 2

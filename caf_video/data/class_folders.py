"""A folder per class, in folders of splits or not: which videos there are, of which class.

A video is a file, or a folder of numbered pictures.
"""

from collections.abc import Sequence
from pathlib import Path

from caf_video.data.clip import SPLIT_OF_NAME, ManifestError
from caf_video.data.video.frames_folder import is_picture

# Every container that the reader reads, and raw streams.
VIDEO_SUFFIXES = frozenset(
    (
        ".264 .265 .3g2 .3gp .asf .av1 .avi .dav .divx .dv .f4v .flv .gif .h264 .h265 .hevc .ivf "
        ".lrv .m2t .m2ts .m2v .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpe .mpeg .mpg .mpv .mts .mxf .nut "
        ".obu .ogg .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .wtv .y4m"
    ).split()
)
EXPECTED = (
    "FOLDER/CLASS/video.mp4 or FOLDER/train/CLASS/video.mp4 (val and test beside it); a folder of "
    "numbered pictures, as FOLDER/CLASS/video/000001.png, is a video, too"
)


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video, and not hidden."""
    return path.suffix.lower() in VIDEO_SUFFIXES and path.name[0] != "." and path.is_file()


def videos_of_class_folders(source: Path) -> list[tuple[str, str, str]]:
    """The path, relative to the folder, the class and the split ("": none) of every video.

    The class is the sub-folder's name; one more level of folders named as splits are, in any
    spelling of `SPLIT_OF_NAME`, gives the splits.

    Raises:
        ManifestError: The folder cannot be read; folders of splits stand beside other folders, or
            two of them are one split; videos or pictures lie outside of the classes' videos; a
            class holds none, or both files and folders of pictures.
    """
    folders = _sub_folders(source)
    splits = {folder: SPLIT_OF_NAME.get(folder.name.casefold(), "") for folder in folders}
    _require_one_kind(source, splits)
    roots = [(split, folder) for folder, split in splits.items() if split] or [("", source)]
    rows: list[tuple[str, str, str]] = []
    loose = [] if roots == [("", source)] else [source]
    for place in (*loose, *(root for _, root in roots)):
        _require_no_loose_video(place)
    for split, root in roots:
        for folder in _sub_folders(root):
            videos = _videos_in(folder)
            rows += [(path.relative_to(source).as_posix(), folder.name, split) for path in videos]
    return rows


def _videos_in(folder: Path) -> list[Path]:
    """The videos of a class: files, or folders of pictures, at any depth."""
    files = sorted(path for path in folder.rglob("*") if is_video(path))
    of_pictures = sorted(
        {path.parent for path in folder.rglob("*") if is_picture(path)}
        - {path.parent for path in files}  # their thumbnails
    )
    hidden = [place for place in of_pictures if _is_hidden(place.relative_to(folder))]
    of_pictures = [place for place in of_pictures if place not in hidden]
    if files and of_pictures:
        raise ManifestError(
            f"class folder {folder} holds both video files ({_some([files[0].name])}) and folders "
            f"of pictures ({_some([place.name for place in of_pictures])}): which are the clips? "
            "Keep one kind, or list the clips in a manifest CSV with columns path and label"
        )
    if folder in of_pictures:
        raise ManifestError(
            f"class folder {folder} holds pictures that are in no video's folder. Expected: "
            f"{EXPECTED}"
        )
    if not files and not of_pictures:
        raise ManifestError(f"class folder {folder} holds no video")
    return files or of_pictures


def _is_hidden(path: Path) -> bool:
    return any(part[0] == "." for part in path.parts)


def _require_one_kind(source: Path, splits: dict[Path, str]) -> None:
    named = [folder.name for folder, split in splits.items() if split]
    others = [folder.name for folder, split in splits.items() if not split]
    if named and others:
        raise ManifestError(
            f"{source} holds folders of splits ({_some(named)}) beside others ({_some(others)}): "
            "is each a class or a split? Expected: " + EXPECTED
        )
    for split in dict.fromkeys(filter(None, splits.values())):
        same = [folder.name for folder, its in splits.items() if its == split]
        if len(same) > 1:
            raise ManifestError(
                f"{source}: folders {' and '.join(same)} are both the {split} split: merge them"
            )


def _require_no_loose_video(folder: Path) -> None:
    try:
        loose = sorted(path.name for path in folder.iterdir() if is_video(path))
    except OSError as error:
        raise ManifestError(f"cannot read {folder}: {error.strerror}") from error
    if loose:
        raise ManifestError(
            f"{folder} holds videos that lie in no class folder ({_some(loose)}). Expected: "
            f"{EXPECTED}; or a manifest CSV with columns path and label"
        )


def _sub_folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    except OSError as error:
        raise ManifestError(f"cannot read {folder}: {error.strerror}") from error


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

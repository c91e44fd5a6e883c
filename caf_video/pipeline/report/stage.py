"""The page of a run, whatever it was trained on; or of results that are no run."""

from pathlib import Path

from caf_video.errors import InputError
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.report.clips import report_clips
from caf_video.pipeline.report.images import report_images
from caf_video.pipeline.report.parts import GALLERY, MAPS, ReportDone, require_map
from caf_video.pipeline.report.results import find_results, report_results
from caf_video.training import ImageRun, load_run


def report(
    run_folder: Path,
    out: Path,
    *,
    split: str = "test",
    gallery: int = GALLERY,
    map_kind: str = MAPS[0],
    features: Path | None = None,
    videos: Path | None = None,
    root: Path | None = None,
    track: Track = quietly,
) -> ReportDone:
    """Write the page of a run, or of the results of studies and searches.

    Args:
        run_folder: The run; or a folder that holds results, itself or in the folders in it.
        out: Folder for the page and its pictures.
        split: Whose clips or images are measured and shown.
        gallery: How many are shown at most; of more, as many are drawn by chance.
        map_kind: Of the embeddings, one of MAPS.
        features, videos: Of clips, where they are, if they were moved.
        root: Of images, where they are, if they were moved.
        track: Shows how far it is.

    Raises:
        CafVideoError: The run, or what it is measured on, cannot be used; or the folder holds what
            is not ours.
    """
    if run_folder.is_dir() and not (run_folder / "checkpoints").is_dir():
        found = find_results(run_folder)
        if not found:
            raise InputError(
                f"{run_folder} is no training run (no checkpoints/best.ckpt), and holds no results "
                "of `caf-video study`, `localize --json` or `search`, nor do the folders in it"
            )
        if (features, videos, root, map_kind) != (None, None, None, MAPS[0]):
            raise InputError("--features, --videos, --root and --map are of runs: here are results")
        return report_results(run_folder, found, out)
    require_map(map_kind)
    if isinstance(load_run(run_folder), ImageRun):
        if features is not None or videos is not None:
            raise InputError("--features and --videos are of clips: this run is of images")
        return report_images(
            run_folder, out, split=split, gallery=gallery, map_kind=map_kind, root=root, track=track
        )
    if root is not None:
        raise InputError("--root is of images: this run is of clips")
    return report_clips(
        run_folder,
        out,
        split=split,
        gallery=gallery,
        map_kind=map_kind,
        features=features,
        videos=videos,
        track=track,
    )

"""run ─► a page that opens by double-click: its figures, its embeddings, every clip to look at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from caf_video.data.manifest import SPLITS, Clip, read_manifest
from caf_video.metric_learning import loss_name
from caf_video.pipeline.evaluate import OTHER_SESSIONS, Evaluation, Figures, evaluate
from caf_video.pipeline.explain import ExplainedClip, explain_clips
from caf_video.pipeline.opened import open_features, open_run
from caf_video.pipeline.page_folder import PageFolder, heat_of, read_small
from caf_video.pipeline.progress import Track, quietly
from caf_video.pipeline.report.parts import (
    FILMS_BYTES,
    GALLERY,
    MAPS,
    MODES,
    NEIGHBOURS,
    ReportDone,
    charts,
    drawn,
    folder_done,
    on_plane,
    settings_of,
)
from caf_video.rendering import (
    FigureTable,
    PageClip,
    RunPage,
    film_width,
    write_run_page,
)
from caf_video.training import ClipRun


def report_clips(
    run_folder: Path,
    out: Path,
    *,
    split: str = "test",
    gallery: int = GALLERY,
    map_kind: str = MAPS[0],
    features: Path | None = None,
    videos: Path | None = None,
    track: Track = quietly,
) -> ReportDone:
    """Write the page of a run of clips.

    Args:
        run_folder: The run.
        out: Folder for the page and its pictures.
        split: Whose clips are measured and shown.
        gallery: How many clips are shown at most; of more, as many are drawn by chance.
        map_kind: One of MAPS.
        features: Where the features are, if they are not where the run left them.
        videos: Where the videos are, if they are not where the manifest says.
        track: Shows how far it is.

    Raises:
        CafVideoError: The run, its features or a video cannot be used; or the folder holds what is
            not ours.
    """
    folder = PageFolder(out, "caf-video report")
    evaluation = evaluate(run_folder, split=split, features=features, track=track)
    rows = drawn(len(evaluation.clips), gallery)
    ids = [evaluation.clips[row].clip_id for row in rows]
    explained = explain_clips(
        run_folder, ids, split=split, features=features, videos=videos, track=track
    )
    run = open_run(run_folder)
    plane, told = on_plane(evaluation.search.queries.embeddings, rows, map_kind)
    clips = _gallery(folder, evaluation, rows, explained.clips, plane, track)
    page = run_page(run, evaluation, clips, told, _data_card(run, evaluation, features))
    write_run_page(folder.page, page)
    folder.done()
    return folder_done(folder, len(clips), len(evaluation.clips))


def run_page(
    run: ClipRun,
    evaluation: Evaluation,
    clips: Sequence[PageClip],
    told: str,
    data: Mapping[str, object],
) -> RunPage:
    """What the page of a run of clips says."""
    gate = evaluation.gate
    counted = Counter(
        clip.label for clip, counts in zip(evaluation.clips, gate.counted, strict=True) if counts
    )
    rule = "of another session" if evaluation.gate_rule == OTHER_SESSIONS else "of all others"
    figures = evaluation.other_sessions or evaluation.all_others
    headline = {f"R@1, {rule}": figures.result.recall[1], "NMI": figures.nmi}
    tables = [_table("Among all others", "Any other clip may be the neighbour.",
                     evaluation.all_others)]  # fmt: skip
    if evaluation.other_sessions is not None:
        note = (
            "Only clips of other sessions may: that two moments of one drive look alike is no "
            f"merit. Among all others {evaluation.own_session_share:.3f} of the neighbours are of "
            "the clip's own session."
        )
        tables.append(_table("Among other sessions", note, evaluation.other_sessions))
    return RunPage(
        title=f"Run {'/'.join(run.folder.resolve().parts[-2:])}",
        lead=(
            f"{len(evaluation.clips)} clips of the {evaluation.search.queries.split} split, each "
            "searched for among the others by the trained embedding."
        ),
        headline=headline,
        tables=tables,
        per_class={
            label: (counted[label], share) for label, share in sorted(gate.per_class.items())
        },
        charts=charts(run.folder),
        settings=_settings(run),
        data=data,
        plane=told,
        modes=MODES,
        clips=clips,
        noun="clips",
        total=len(evaluation.clips),
        verdict_rule=(
            f"A clip is right if its nearest clip {rule} has its class. All figures are fractions."
        ),
    )


def _gallery(
    folder: PageFolder,
    evaluation: Evaluation,
    rows: Sequence[int],
    explained: Sequence[ExplainedClip],
    plane: np.ndarray,
    track: Track,
) -> list[PageClip]:
    """The clips of the page, their films written."""
    search = evaluation.search
    queries, gallery = search.queries, search.gallery
    others = min(NEIGHBOURS, len(gallery.clips) - 1)
    near = search.index.search(
        queries.embeddings[list(rows)],
        neighbours=others,
        query_ids=[search.ids[row] for row in rows],
        query_groups=(
            [queries.recordings[row] for row in rows] if evaluation.other_sessions else None
        ),
    )
    place_of = {row: place for place, row in enumerate(rows)} if search.in_itself else {}
    grid = explained[0].filters.shape[1:]
    timesteps = len(explained[0].filters)
    width = film_width(
        len(rows) * len(MODES), timesteps, grid[1] / grid[0], bytes_at_most=FILMS_BYTES
    )
    found: list[PageClip] = []
    drawn = zip(rows, explained, strict=True)
    for place, (row, one) in enumerate(
        track(drawn, description="Drawing clips", total=len(explained))
    ):
        frames = read_small(one.clip, one.frame_indices, width, grid)
        films, size = folder.films(f"{place:05}", frames, [heat_of(one.filters, frames)], width)
        neighbours = [
            (place_of.get(other, -1), gallery.clips[other].clip_id, float(distance))
            for other, distance in zip(
                near.positions[place].tolist(), near.distances[place].tolist(), strict=True
            )
            if other >= 0
        ]
        counted = bool(evaluation.gate.counted[row])
        nearest = gallery.clips[int(near.positions[place, 0])] if neighbours else None
        found.append(
            PageClip(
                id=one.clip.clip_id,
                label=one.clip.label,
                session=one.clip.session,
                verdict=bool(evaluation.gate.correct[row]) if counted else None,
                found=nearest.label if nearest else "",
                distance=neighbours[0][2] if neighbours else None,
                point=(float(plane[place, 0]), float(plane[place, 1])),
                films=films,
                size=size,
                times_seconds=[round(value, 3) for value in one.times_seconds.tolist()],
                influence=[round(value, 3) for value in one.influence.tolist()],
                near=neighbours,
                facts={"video": one.clip.path.name, "times": _times(one.clip)},
            )
        )
    return found


def _times(clip: Clip) -> str:
    end = "end" if clip.end_seconds is None else f"{clip.end_seconds:.2f} s"
    return f"{clip.start_seconds:.2f} s – {end}"


def _table(title: str, note: str, figures: Figures) -> FigureTable:
    ks = sorted(figures.result.recall)
    ranked: list[float | None] = [figures.ranked.map_at_r, figures.ranked.r_precision, figures.nmi]
    rows: list[tuple[str, list[float | None]]] = [
        ("trained", [*(figures.result.recall[k] for k in ks), *ranked])
    ]
    for name, recall in figures.baselines.items():
        nmi = figures.baselines_nmi[name]
        rows.append((name, [*(recall[k] for k in ks), None, None, nmi]))
    rows.append(("chance", [figures.chance, *[None] * (len(ks) + 2)]))
    return FigureTable(title, note, [*(f"R@{k}" for k in ks), "mAP@R", "R-prec.", "NMI"], rows)


def _settings(run: ClipRun) -> dict[str, object]:
    wanted, config = run.description, run.config
    described: dict[str, object] = {
        "run": str(run.folder.resolve()),
        "step": run.step,
        "backbone": f"{wanted.backbone}, {wanted.weights} weights",
        "input": f"{wanted.size[0]} × {wanted.size[1]} pixels, {wanted.timesteps} frames a clip",
        "maps": f"{wanted.channels} channels of {wanted.grid[0]} × {wanted.grid[1]} cells, "
        f"{wanted.precision}",
    }
    if "loss" in config:
        described["loss"] = loss_name(config["loss"])
    return {**described, **settings_of(config)}


def _data_card(run: ClipRun, evaluation: Evaluation, features: Path | None) -> dict[str, object]:
    store = open_features(run, features)
    clips = read_manifest(store.manifest_path)
    card: dict[str, object] = {"features": str(store.folder.resolve())}
    for split in SPLITS:
        its = [clip for clip in clips if clip.split == split]
        if its:
            sessions = len({clip.recording for clip in its})
            labels = len({clip.label for clip in its})
            card[f"{split} split"] = f"{len(its)} clips of {labels} classes, {sessions} sessions"
    lengths = [c.end_seconds - c.start_seconds for c in clips if c.end_seconds is not None]
    if lengths:
        card["lengths"] = (
            f"{min(lengths):.2f} / {median(lengths):.2f} / {max(lengths):.2f} s, "
            "shortest / median / longest"
        )
    left_out = len(evaluation.search.queries.trained_on)
    card["trained on"] = (
        f"{len(run.training_clips)} clips, of which {left_out} were left out of this split"
        if run.training_clips is not None
        else "not remembered: whether a clip here was trained on cannot be checked"
    )
    card["not judged"] = f"{evaluation.gate.excluded} clips whose class has no other such clip"
    if evaluation.new_classes:
        card["new classes"] = ", ".join(evaluation.new_classes)
    for label, count in sorted(Counter(clip.label for clip in evaluation.clips).items()):
        in_all = sum(clip.label == label for clip in clips)
        card[f"class {label}"] = f"{count} clips here, {in_all} in all"
    return card

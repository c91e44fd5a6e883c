"""Every reader of ours with a small file that it reads: what is written is what is changed."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.io import savemat

from benchmarks.fuzz import forked
from caf_video.data.clip import Clip
from caf_video.data.clip_boxes import read_boxes
from caf_video.data.events.detect import read_events
from caf_video.data.events.events import Reading
from caf_video.data.events.hdd import EventRule
from caf_video.data.events.hdd_features import open_maps, target_runs
from caf_video.data.events.hdd_labels import LAYERS, classes_named
from caf_video.data.events.hdd_sessions import read_split
from caf_video.data.features import ClipFeatures, FeatureStore, StoreDescription
from caf_video.data.images import cars, read_image, read_image_set
from caf_video.data.images.imagenet import read_box_file
from caf_video.data.images.wsol import read_wsol
from caf_video.data.manifest import read_clips, read_manifest
from caf_video.data.sealed import sealed, unsealed
from caf_video.data.session_store import SessionStore, Window
from caf_video.data.stores import open_store
from caf_video.data.video.reader import VideoReader
from caf_video.errors import CafVideoError
from caf_video.models.recurrent import RecurrentEmbedder
from caf_video.pipeline import embed
from caf_video.pipeline.hydra_command import run_command
from caf_video.pipeline.identity import VideoDigests
from caf_video.pipeline.localize.parts import Parts
from caf_video.pipeline.moments import MomentIndex, Moments
from caf_video.pipeline.page_folder import PageFolder
from caf_video.pipeline.results import read_json
from caf_video.processes import ProcessDied
from caf_video.rendering import VideoWriter
from caf_video.training import load_run, read_metrics
from caf_video.training.checkpoint import KEY, RunRecord, digest_of_clips, plain_record

DESCRIPTION = StoreDescription("net", "none", "0" * 64, 32, (64, 96), 4, (2, 3), 3, 3)
STEPS_A_SESSION = 40
SESSION = "201710041102"


@dataclass(frozen=True)
class Reader:
    """A reader, the files of which one is changed, and whether a digest tells any change."""

    files: list[Path]
    read: Callable[[], Any]
    sealed: bool = False


def readers(root: Path) -> dict[str, Reader]:
    """All of them, with their files in a folder."""
    made: dict[str, Reader] = {}
    for add in (_lists, _events, _hdd, _images, _image_sets, _videos, _stores, _runs, _indexes):
        add(root / add.__name__, made)
    return made


def _written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _lists(root: Path, made: dict[str, Reader]) -> None:
    manifest = _written(
        root / "manifest.csv",
        "clip_id,path,label,start_seconds,end_seconds,session,split,fps\n"
        "a,v/a.mp4,left,0.5,2.5,s1,train,10\nb,v/b.mp4,\u5de6,1:02.5,1:04,s2,test,30000/1001\n",
    )
    frames = _written(root / "frames.csv", "video;class;start_frame;duration\nx.mp4;left;3;2,5\n")
    paths = _written(root / "list.txt", "a/b.mp4 left\nc d.mp4 right\n")
    boxes = _written(
        root / "boxes.csv",
        "clip_id,frame_index,x1,y1,x2,y2,visible\na,0,1,2,3.5,4,1\na,1,1,2,3,4,0\nb,0,0,0,9,9,1\n",
    )
    made["manifest"] = Reader([manifest], lambda: read_clips(manifest))
    made["manifest of others"] = Reader([frames], lambda: read_clips(frames, fps=25))
    made["path list"] = Reader([paths], lambda: read_clips(paths))
    made["clip boxes"] = Reader([boxes], lambda: read_boxes(boxes))
    neutral = _written(root / "neutral.csv", manifest.read_bytes())
    others = _written(root / "others.csv", boxes.read_bytes())
    made["neutral.csv and others.csv"] = Reader(
        [neutral, others], lambda: (read_manifest(neutral), read_boxes(others))
    )


def _events(root: Path, made: dict[str, Reader]) -> None:
    slots = "".join(f'<TIME_SLOT TIME_SLOT_ID="ts{i}" TIME_VALUE="{1500 * i}"/>' for i in range(4))
    held = "".join(
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{i}" TIME_SLOT_REF1="ts{i}" '
        f'TIME_SLOT_REF2="ts{i + 1}"><ANNOTATION_VALUE>left turn</ANNOTATION_VALUE>'
        "</ALIGNABLE_ANNOTATION></ANNOTATION>"
        for i in range(3)
    )
    eaf = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT><HEADER TIME_UNITS='
        '"milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL="file:///d%201.mp4" TIME_ORIGIN="40"/></HEADER>'
        f'<TIME_ORDER>{slots}</TIME_ORDER><TIER TIER_ID="goal">{held}</TIER></ANNOTATION_DOCUMENT>'
    )
    activitynet = {
        "database": {
            "d1": {"subset": "training", "annotations": [{"label": "left", "segment": [1, 2.5]}]},
            "d2": {"subset": "validation", "annotations": []},
        }
    }
    via = {
        "attribute": {"1": {"aname": "goal", "options": {"0": "left", "1": "right"}}},
        "file": {"1": {"fname": "d1.mp4"}, "2": {"fname": "d2.mp4"}},
        "view": {"1": {"fid_list": ["2"]}, "2": {"fid_list": [1]}},
        "metadata": {
            f"m{i}": {"vid": str(i), "z": [1, 2.5], "xy": [], "av": {"1": "0"}} for i in (1, 2)
        },
    }
    result = {
        "from_name": "goal", "type": "timelinelabels",
        "value": {"ranges": [{"start": 3, "end": 9}], "timelinelabels": ["left"]},
    }  # fmt: skip
    studio = [
        {"data": {"video": "/data/upload/1/0123abcd-d.mp4"}, "annotations": [{"result": [result]}]}
    ]
    table = "video,behavior,start (s),end_ms,subset\nd1.mp4,left,1.5,2500,train\nd2,right,0:03,9,\n"
    for name, content in (
        ("elan.eaf", eaf), ("activitynet.json", json.dumps(activitynet)),
        ("via.json", json.dumps(via)), ("label-studio.json", json.dumps(studio)),
        ("csv.csv", table),
    ):  # fmt: skip
        file = _written(root / name, content)
        made[f"events {file.stem}"] = Reader([file], lambda file=file: _told(file))


def _told(file: Path) -> Any:
    found = read_events(file, Reading(fps=10, first_frame=0))
    return found.events, found.skipped


def _hdd(root: Path, made: dict[str, Reader]) -> None:
    config = _written(
        root / "cfg.py",
        f"import os\ntrain_session_set = ['{SESSION}']\ntest_session_set = ['201704111315']\n",
    )
    data = {"HDD": {"train_session_set": [SESSION], "test_session_set": ["201704111315"]}}
    lists = _written(root / "TRN_data_info.json", json.dumps(data))
    maps, target = root / "maps" / f"{SESSION}.npy", root / "target" / f"{SESSION}.npy"
    for file in (maps, target):
        file.parent.mkdir()
    np.save(maps, np.zeros((STEPS_A_SESSION, 4, 3, 3), np.float16))
    np.save(target, np.repeat(np.arange(4), STEPS_A_SESSION // 4))
    rule = EventRule(LAYERS["goal"], classes_named(LAYERS["goal"], "all", None), 5 / 3)
    made["HDD cfg.py"] = Reader([config], lambda: read_split(config))
    made["HDD split JSON"] = Reader([lists], lambda: read_split(lists))
    made["HDD maps"] = Reader([maps], lambda: open_maps(maps.parent, "first"))
    made["HDD labels"] = Reader([target], lambda: target_runs(target, STEPS_A_SESSION, rule))


def _images(root: Path, made: dict[str, Reader]) -> None:
    picture = Image.fromarray(np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    root.mkdir()
    for suffix in ("png", "jpg", "webp", "tif", "bmp", "gif"):
        file = root / f"picture.{suffix}"
        picture.save(file, exif=exif) if suffix in ("png", "jpg", "webp") else picture.save(file)
        made[f"image {suffix}"] = Reader([file], lambda file=file: read_image(file))
    (root / "frames").mkdir()
    files = [root / "frames" / f"{number}.jpg" for number in range(3)]
    for file in files:
        picture.save(file)
    made["folder of frames"] = Reader(files, lambda: _frames(root / "frames", [0, 1, 2]))


def _frames(path: Path, wanted: list[int]) -> Any:
    with VideoReader(path, fps=10) as video:
        info = video.info
        return info.frame_count, info.height, info.width, video.times_seconds, video.read(wanted)


def _image_sets(root: Path, made: dict[str, Reader]) -> None:
    box = _written(
        root / "ILSVRC2012_val_00000001.xml",
        "<annotation><size><width>30</width><height>40</height></size><object>"
        "<name>n01440764</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>30</ymax>"
        "</bndbox></object></annotation>",
    )
    made["ImageNet XML"] = Reader([box], lambda: read_box_file(box))
    cub, folder = root / "cub", root / "folder"
    lists = {
        "images.txt": "1 001.A/a.jpg\n2 002.B/b.jpg\n", "classes.txt": "1 001.A\n2 002.B\n",
        "image_class_labels.txt": "1 1\n2 2\n", "train_test_split.txt": "1 1\n2 0\n",
        "bounding_boxes.txt": "1 1.0 2.0 20.0 30.0\n2 0 0 9 9\n",
    }  # fmt: skip
    files = [_written(cub / name, content) for name, content in lists.items()]
    table = _written(
        folder / "images.csv",
        "image,label,split,x1,y1,x2,y2\na.jpg,left,train,1,2,20,30\nb.jpg,right,test,0,0,9,9\n",
    )
    for place in ("cub/images/001.A/a", "cub/images/002.B/b", "folder/a", "folder/b"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 40)).save(root / f"{place}.jpg")
    made["CUB lists"] = Reader(files, lambda: _listed("cub", cub))
    made["images.csv"] = Reader([table], lambda: _listed("folder", folder))
    a, b = "001.A/a.jpg", "002.B/b.jpg"
    wsol = {
        "image_ids.txt": f"{a}\n{b}\n",
        "class_labels.txt": f"{a},0\n{b},1\n",
        "image_sizes.txt": f"{a},30,40\n{b},30,40\n",
        "localization.txt": f"{a},1,2,20,30\n{a},0,0,9,9\n{b},masks/b.png,masks/b_i.png\n",
    }
    files = [_written(root / "wsol" / "test" / name, content) for name, content in wsol.items()]
    made["WSOL lists"] = Reader(files, lambda: _benchmarked(cub / "images", root / "wsol"))
    corners = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
    rows = np.empty((1, 4), dtype=[(name, object) for name in (*corners, "class", "fname")])
    for i in range(4):
        rows[0, i] = (*(np.uint8(v) for v in (1, 2, 20, 30)), np.uint8(i // 2 + 1), f"{i:05d}.jpg")
    names = np.empty((1, 2), dtype=object)
    names[0, :] = ("Audi S4 2007", "BMW M3 2012")
    for compressed in (False, True):
        file = root / f"cars{int(compressed)}.mat"
        savemat(file, {"annotations": rows, "class_names": names}, do_compression=compressed)
        made[f"CARS .mat{' compressed' * compressed}"] = Reader([file], lambda f=file: _cars(f))


def _listed(dataset: str, folder: Path) -> Any:
    found = read_image_set(dataset, folder)
    return found.label_names, found.images, found.skipped


def _benchmarked(images: Path, lists: Path) -> Any:
    found = read_wsol(images, lists)
    return found.label_names, found.images, found.skipped


def _cars(file: Path) -> Any:
    # Forked, as all is here: a fork server belongs to the process that began it.
    with mock.patch.object(cars, "apart", _forked):
        return cars.read_class_names(file), cars.read_annotations(file, 2)


def _forked(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    worker = forked.Worker({"": lambda: function(*arguments)})
    outcome, _ = worker.read("", min(seconds, 10), None)  # less than what is a hang
    worker.end()
    if outcome.kind in ("crash", "hang") or outcome.words.startswith("MemoryError"):
        raise ProcessDied(outcome.words)
    return function(*arguments)  # which does not crash


def _videos(root: Path, made: dict[str, Reader]) -> None:
    root.mkdir()
    whole = root / "h264.mp4"
    with VideoWriter(whole, fps=10) as writer:
        draw = np.random.default_rng(0)
        for frame in range(12):
            noise = draw.integers(0, 60, (64, 96, 3))
            writer.write((noise + 15 * frame).astype(np.uint8))
    made["video h264 mp4"] = Reader([whole], lambda: _frames(whole, [0, 5, 11]))
    import av

    for name, codec in (("mjpeg.avi", "mjpeg"), ("vp9.webm", "libvpx-vp9"), ("mpeg4.mkv", "mpeg4")):
        file = root / name
        with av.open(str(file), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height = 96, 64
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for frame in range(12):
                shade = np.full((64, 96, 3), 15 * frame, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, "rgb24")))
            container.mux(stream.encode(None))
        made[f"video {name.replace('.', ' ')}"] = Reader(
            [file], lambda file=file: _frames(file, [0, 5, 11])
        )


def _stores(root: Path, made: dict[str, Reader]) -> None:
    store = FeatureStore.create(root / "store", DESCRIPTION)
    maps = torch.arange(3 * 4 * 6, dtype=torch.float32).reshape(3, 1, 4, 2, 3)
    places = torch.arange(3).reshape(3, 1)
    store.write(ClipFeatures("a", maps, places, places / 10), "key", event="e")
    (clip,) = (root / "store" / "clips").rglob("*.safetensors")
    made["stored clip"] = Reader([clip], lambda: _clip(root / "store", "a"), sealed=True)
    described = root / "store" / "store.json"
    made["store.json"] = Reader([described], lambda: _clip(root / "store", "a"), sealed=True)
    array = root / f"{SESSION}.npy"
    np.save(array, np.arange(STEPS_A_SESSION * 24, dtype=np.float32).reshape(-1, 4, 2, 3))
    windows = {"a": Window("s", 3, 27, 1)}
    SessionStore(
        root / "sessions", DESCRIPTION, steps_a_second=3, channels_last=False,
        arrays={"s": array}, windows=windows, videos={"s": (10.0, 99)},
    ).save()  # fmt: skip
    record = root / "sessions" / "sessions.json"
    made["sessions.json"] = Reader([record], lambda: _clip(root / "sessions", "a"), sealed=True)
    # It is the user's own .npy, of up to gigabytes, of which a window is read: no checksum.
    made["session array"] = Reader([array], lambda: _clip(root / "sessions", "a"))


def _clip(folder: Path, clip_id: str) -> Any:
    store = open_store(folder)
    found = store.read(clip_id)
    return found.feature_maps, found.frame_indices, found.times_seconds, store.event(clip_id)


def _runs(root: Path, made: dict[str, Reader]) -> None:
    torch.manual_seed(0)
    model = RecurrentEmbedder(in_channels=4, grid=(2, 3), channels=4, hidden=4, embedding_dim=3)
    clips = {"a": "event"}
    record = RunRecord(
        kind="recurrent",
        hyperparameters=model.hyperparameters,
        normalize=True,
        description=DESCRIPTION,
        label_names=["left", "right"],
        config={"kind": "recurrent", "seed": 0, "features": "features"},
        training_clips=clips,
        training_sha256=digest_of_clips(clips),
    )
    weights = {f"model.{name}": values for name, values in model.state_dict().items()}
    best = root / "run" / "checkpoints" / "best.ckpt"
    best.parent.mkdir(parents=True)
    torch.save({KEY: plain_record(record), "state_dict": weights, "global_step": 7}, best)
    made["checkpoint"] = Reader([best], lambda: _run(root / "run"), sealed=True)
    metrics = _written(
        root / "run" / "metrics.csv", "step,train/loss,val/recall@1\n0,1.5,\n1,1,0.5\n"
    )
    made["metrics.csv"] = Reader([metrics], lambda: read_metrics(root / "run"))
    json_record = _written(root / "record.json", json.dumps({"video": "a", "frames": [1, 2, {}]}))
    made["record JSON"] = Reader([json_record], lambda: read_json(json_record))
    video = _written(root / "a.mp4", b"a video")
    digests = VideoDigests(root / "videos.json")
    digests.event(Clip("a", video, "left"))
    digests.keep()
    made["videos.json"] = Reader(
        [root / "videos.json"],
        lambda: VideoDigests(root / "videos.json").event(Clip("a", video, "left")),
        sealed=True,
    )
    parts = Parts(root / "result.json", {"a": 1})
    parts.write(0, {"maps": np.arange(12.0).reshape(3, 4), "labels": np.array([1, 2, 3])})
    (part,) = (path for path in root.glob(".result.json*/*.safetensors"))
    made["localize part"] = Reader([part], lambda: _part(parts), sealed=True)
    net = {f"layer{i}.weight": torch.randn(3, 4) for i in range(3)}
    safe, old = root / "w.safetensors", root / "w.pth"
    save_file(net, safe)
    torch.save(net, old)
    # A zip archive has a checksum of every record; safetensors of others have none.
    made["weights .pth"] = Reader([old], lambda: _weights(old), sealed=True)
    made["weights .safetensors"] = Reader([safe], lambda: _weights(safe))
    settings = _written(
        root / "conf" / "mine.yaml", "defaults:\n  - recurrent\n  - _self_\nseed: 3\n"
    )
    made["configuration"] = Reader([settings], lambda: _configured(settings.parent))


def _indexes(root: Path, made: dict[str, Reader]) -> None:
    """Of moments, what a page keeps beside it, and the embeddings of a split."""
    run: Any = SimpleNamespace(
        checkpoint=_written(root / "best.ckpt", b"a checkpoint"), description=DESCRIPTION
    )
    index = MomentIndex.create(root / "index", run)
    clips = [
        Clip(name, root / f"{name}.mp4", "left", 0.5, None, "s", fps=10.0) for name in ("a", "b")
    ]
    times = np.arange(6.0).reshape(2, 3)
    index.add(
        Moments(clips, ["x|0", "y|0"], times[:, :2], times[:, 0], times.astype(np.int64), times)
    )
    folder = index.folder
    (part,) = (folder / "parts").glob("*.safetensors")
    record = folder / "index.json"
    made["index part"] = Reader([part], lambda: _moments(folder), sealed=True)
    made["index.json"] = Reader([record], lambda: _moments(folder), sealed=True)
    # As the malicious write it: with a checksum.
    tensors, texts = unsealed(part)
    told = _written(root / "moments.json", texts["moments"])
    made["index part of others"] = Reader([told], lambda: _resealed(root / "other", tensors, told))

    page = root / "page"
    PageFolder(page, "caf-video search")
    frames = page / "frames" / "frames.json"
    made["frames.json"] = Reader(
        [frames], lambda: PageFolder(page, "caf-video search").page, sealed=True
    )
    rows = torch.arange(6.0).reshape(3, 2)
    kept = root / "run" / "embeddings" / "best.test.safetensors"
    embed._write(kept, rows, {"format": embed.FORMAT})
    made["kept embeddings"] = Reader([kept], lambda: _embeddings(kept), sealed=True)


def _moments(folder: Path) -> Any:
    index = MomentIndex.open(folder)
    found = index.read()
    arrays = found.embeddings, found.norms, found.frame_indices, found.times_seconds
    return index.record, found.clips, found.events, arrays


def _resealed(folder: Path, tensors: Any, moments: Path) -> Any:
    text = moments.read_bytes().decode("utf-8", "replace") if moments.is_file() else ""
    content = {"format": 1, "run": "r", "checkpoint_sha256": "0"}
    _written(folder / "index.json", json.dumps(content))
    _written(folder / "parts" / "a.safetensors", sealed(tensors, {"moments": text}))
    return _moments(folder)


def _embeddings(file: Path) -> Any:
    found = embed._read(file, {"format": embed.FORMAT}, 3)
    if found is None:
        raise CafVideoError("made again")
    return found


def _run(folder: Path) -> Any:
    run = load_run(folder)
    return run.model.state_dict(), run.label_names, run.training_clips, run.normalize, run.step


def _part(parts: Parts) -> Any:
    found = parts.read(0)
    if found is None:
        raise CafVideoError("made again")
    return found


def _weights(file: Path) -> Any:
    from caf_video.models import weights

    return weights._read_state_dict(file)


def _configured(folder: Path) -> Any:
    found: list[Any] = []
    arguments = ["--config-dir", str(folder), "--config-name", "mine", "hydra.run.dir=."]
    with mock.patch.object(sys, "argv", ["train", *arguments]):
        run_command(found.append, arguments, "recurrent")
    return [str(config) for config in found]

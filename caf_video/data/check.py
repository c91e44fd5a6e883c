"""Open every clip as training would, and survive the ones that hang or crash the decoder."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue

from caf_video.data.manifest import Clip
from caf_video.data.sampling import clip_frame_indices, segment_frame_indices
from caf_video.data.video.reader import VideoInfo, VideoReader
from caf_video.errors import CafVideoError, InputError
from caf_video.processes import exit_words

Probe = Callable[[Clip, int, int], VideoInfo]

_START_SECONDS = 120.0  # for a process to come up, on a busy machine


@dataclass(frozen=True)
class ClipCheck:
    """What came of opening a clip.

    Attributes:
        clip: The clip.
        ok: Whether its frames could be read.
        info: About its video; None where it could not be read.
        reason: Why not, in one line; "" where it is ok.
    """

    clip: Clip
    ok: bool
    info: VideoInfo | None
    reason: str


def probe_clip(clip: Clip, timesteps: int, candidates: int) -> VideoInfo:
    """Read the frames of a clip as `ClipFrames` does.

    Raises:
        CafVideoError: They cannot be read.
    """
    with VideoReader(clip.path, fps=clip.fps) as reader:
        indices = clip_frame_indices(clip, reader, timesteps=timesteps, candidates=candidates)
        reader.read(indices.ravel().tolist())
        return reader.info


def check_clips(
    clips: Sequence[Clip],
    *,
    timesteps: int,
    candidates: int = 1,
    timeout_seconds: float = 30.0,
    workers: int = 2,
    probe: Probe = probe_clip,
) -> Generator[ClipCheck]:
    """Open every clip in a process that can be killed, and yield what came of it, in order.

    The processes stay for many clips; one that hangs for longer than `timeout_seconds`, or dies, is
    replaced, and its clip is reported. As with all processes that are not forked, a script that
    calls this keeps its own work under `if __name__ == "__main__":`.

    Args:
        timesteps: Segments of a clip.
        candidates: Frames per segment of training clips, odd.
        timeout_seconds: For one clip, counted from when a running process is given it.
        workers: Processes at once.
        probe: What is done to a clip, given timesteps and candidates; it can be pickled.

    Raises:
        InputError: A number is not positive, or `candidates` is even.
        RuntimeError: A process cannot even start.
    """
    segment_frame_indices(0, 1, timesteps=timesteps, candidates=candidates)
    if workers < 1 or not timeout_seconds > 0:
        raise InputError(f"{workers} workers and {timeout_seconds} s: both must be above 0")
    openers = [_Opener(probe, timesteps, candidates, timeout_seconds) for _ in range(workers)]
    return _check(clips, openers)


def _check(clips: Sequence[Clip], openers: Sequence["_Opener"]) -> Generator[ClipCheck]:
    """Each thread waits for one process at a time; the threads do nothing else."""
    idle: SimpleQueue[_Opener] = SimpleQueue()
    for opener in openers:
        idle.put(opener)

    def check(clip: Clip) -> ClipCheck:
        opener = idle.get()
        try:
            return opener.check(clip)
        finally:
            idle.put(opener)

    threads = ThreadPoolExecutor(len(openers))
    try:
        yield from threads.map(check, clips)
    finally:
        for opener in openers:  # first, or the threads would wait for answers nobody wants
            opener.kill()
        threads.shutdown(cancel_futures=True)
        for opener in openers:
            opener.close()


class _Opener:
    """A process that opens clips; another takes its place when it hangs or dies."""

    def __init__(
        self, probe: Probe, timesteps: int, candidates: int, timeout_seconds: float
    ) -> None:
        self.task = (probe, timesteps, candidates)
        self.timeout_seconds = timeout_seconds
        self.process: multiprocessing.process.BaseProcess | None = None
        self.connection: Connection | None = None
        self.unwanted = False

    def check(self, clip: Clip) -> ClipCheck:
        """Have the process open a clip; wait for the answer, its death or the time limit."""
        connection = self.connection or self._start()
        try:
            connection.send(clip)
            if connection.poll(self.timeout_seconds):
                info, reason = connection.recv()
                return ClipCheck(clip, ok=not reason, info=info, reason=reason)
            reason = f"{clip.path.name} hangs its reader: no answer in {self.timeout_seconds:g} s"
            self.close()
        except (EOFError, ConnectionError):
            reason = f"{clip.path.name} crashes its reader ({exit_words(self.close())})"
        return ClipCheck(clip, ok=False, info=None, reason=reason)

    def _start(self) -> Connection:
        # Never a plain fork: it copies threads and decoders of this process in a state that hangs.
        # The fork server imports once what each new process then has.
        if sys.platform == "linux":
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["__main__", __name__])
        else:
            context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        process = context.Process(target=_open_clips, args=(theirs, *self.task), daemon=True)
        process.start()
        self.process = process  # only now: what has not started cannot be killed
        if self.unwanted:
            process.kill()
        theirs.close()  # ours alone is left, so that the death of the process ends the connection
        try:
            if self.connection.poll(_START_SECONDS):
                self.connection.recv()
                return self.connection
        except (EOFError, ConnectionError):
            pass
        raise RuntimeError(f"a process to open clips did not start ({exit_words(self.close())})")

    def kill(self) -> None:
        """End the process, from any thread, also one that is about to start."""
        self.unwanted = True
        process = self.process
        if process is not None:
            process.kill()

    def close(self) -> int | None:
        """End the process, if it has not ended, and return its exit code."""
        if self.process is None or self.connection is None:
            return None
        self.process.join(timeout=0.5)  # one that is dying by itself tells how
        self.process.kill()
        self.process.join(timeout=5)  # one that sleeps in a dead disk cannot even be killed
        self.connection.close()
        exit_code = self.process.exitcode
        self.process = self.connection = None
        return exit_code


def _open_clips(connection: Connection, probe: Probe, timesteps: int, candidates: int) -> None:
    """The process: answer each clip with its video's info, or the reason why not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's, who ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection.send("ready")
    while True:
        try:
            clip = connection.recv()
        except EOFError:
            return
        try:
            info, reason = probe(clip, timesteps, candidates), ""
        except CafVideoError as error:
            info, reason = None, str(error)
        connection.send((info, reason))


def _end_with_parent() -> None:
    """A clip that hangs must not outlive a caller that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

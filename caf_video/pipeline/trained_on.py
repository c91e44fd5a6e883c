"""Which clips a run was trained on: by name, by event, and by overlapping times of one video."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from caf_video.data.manifest import Clip


class _Span(NamedTuple):
    """A part of a video: of `video`, from `start` to before `end`, in seconds, frames or steps."""

    video: str
    start: float
    end: float


class TrainingTimes:
    """What a run was trained on, to be compared with other clips.

    Args:
        training_clips: The event of each of its clips, by id, as the run remembers them.
        listed: Clips of its features as they are now: the videos of those without a known event.
    """

    def __init__(self, training_clips: Mapping[str, str], listed: Sequence[Clip]) -> None:
        self._events = set(training_clips.values()) - {""}
        spans = [_span_of_event(event) for event in self._events]
        spans += [_span_of_clip(clip) for clip in listed if training_clips.get(clip.clip_id) == ""]
        self._spans: dict[str, list[_Span]] = {}
        for span in spans:
            if span is not None:
                self._spans.setdefault(span.video, []).append(span)

    def include(self, clip: Clip, event: str) -> bool:
        """Whether a clip is one of them, or shares time of its video with one.

        Clips that touch, one ending where the other begins, share none.

        Args:
            clip: It.
            event: Which event of which video it is; "" where that is not known.
        """
        if event in self._events:
            return True
        return any(
            one.start < other.end and other.start < one.end
            for one in (_span_of_event(event), _span_of_clip(clip))
            if one is not None
            for other in self._spans.get(one.video, ())
        )


def _span_of_event(event: str) -> _Span | None:
    """Of an event as `VideoDigests` and `SessionStore` name it; None where it is named otherwise.

    Two rates of one raw stream are two clocks: its times are compared in frames.
    """
    video, *numbers = event.split("|")
    try:
        start, end, *rates = (float("inf" if one == "None" else one) for one in numbers)
    except ValueError:
        return None
    rate = rates[0] if rates else 1.0
    return _Span(f"{video}|{len(rates)}", start * rate, end * rate)


def _span_of_clip(clip: Clip) -> _Span:
    end = float("inf") if clip.end_seconds is None else clip.end_seconds
    return _Span(str(clip.path), clip.start_seconds, end)

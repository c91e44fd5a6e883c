"""Lines of progress for a log, by a clock that is set by hand."""

from caf_video.clock import ProgressClock


class Hand:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_line_comes_every_twentieth_of_the_work_and_at_its_end() -> None:
    hand = Hand()
    clock = ProgressClock("Extracting", 40, now=hand)
    lines = []
    for done in range(1, 41):
        hand.seconds += 2
        lines.append(clock.line(done))
    assert [number for number, line in enumerate(lines, start=1) if line] == list(range(2, 41, 2))
    assert lines[1] == "Extracting: 2/40, 0.5 a second, 0:01:16 left"
    assert lines[-1] == "Extracting: 40/40, 0.5 a second, 0:00:00 left"


def test_slow_work_is_told_of_every_half_minute() -> None:
    hand = Hand()
    clock = ProgressClock("Training", 10_000, done=1000, now=hand)
    told = []
    for done in range(1001, 1021):
        hand.seconds += 10
        told.append(clock.line(done))
    assert [number for number, line in enumerate(told, start=1) if line] == [3, 6, 9, 12, 15, 18]
    # 0.1 a second, 8997 to go: of those that were done before nothing is known.
    assert told[2] == "Training: 1003/10000, 0.1 a second, 24:59:30 left"


def test_few_items_are_told_of_one_by_one() -> None:
    clock = ProgressClock("Embedding", 3, now=Hand())
    lines = [clock.line(done) for done in (1, 2, 3)]
    assert all(line is not None and line.startswith("Embedding: ") for line in lines)

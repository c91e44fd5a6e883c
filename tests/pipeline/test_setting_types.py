"""Values against type hints, by a table of what fits and what does not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Optional

import pytest

from caf_video.errors import InputError
from caf_video.pipeline.setting_types import require_types

NAN = float("nan")


@pytest.mark.parametrize(
    ("hint", "fit", "unfit", "words"),
    [
        (int, [0, -3], [1.0, True, "1", None], "a whole number"),
        (float, [0, 0.5, float("inf")], [NAN, True, "0.5", None, [1.0]], "a number"),
        (bool, [True, False], [0, 1, "true", None], "true or false"),
        (str, ["", "x", {"_target_": "a.b"}], [1, None, True], "text"),
        (int | None, [3, None], ["3", 1.5], "a whole number or null"),
        (Optional[float], [3, None], ["3"], "a number or null"),  # noqa: UP045
        (int | float, [1, 1.5], ["1"], "a number"),
        (Literal["a", 3], ["a", 3], ["b", 3.0, True], "a or 3"),
        (Sequence[float], [[], [1, 0.5], 1.0], [[1, "x"], [NAN]], "a list"),
        (list[int], [[1]], [[1.5], [1, None]], "a list"),
        (Path, ["x", 3, None], [], ""),  # others are left to what they are for
        (Any, [object(), None], [], ""),
        (dict[str, int], [{"a": "b"}, 3], [], ""),
    ],
    ids=str,
)
def test_a_value_fits_its_hint_or_is_one_line(hint, fit, unfit, words) -> None:
    def target(size): ...

    target.__annotations__ = {"size": hint}
    for value in fit:
        require_types(target, {"size": value, "other": value}, "model")
    for value in unfit:
        with pytest.raises(InputError, match=rf"^model\.size=.*: wanted {words}$"):
            require_types(target, {"size": value}, "model")


def test_of_a_class_the_hints_are_those_of_its_making() -> None:
    class Made:
        size: str

        def __init__(self, size: int) -> None: ...

    require_types(Made, {"size": 3, "_target_": "Made", "_partial_": True}, "model")
    with pytest.raises(InputError, match="model.size=true: wanted a whole number"):
        require_types(Made, {"size": True}, "model")


def test_hints_that_cannot_be_read_are_left_alone() -> None:
    def target(size: "Nowhere"): ...  # type: ignore[name-defined]  # noqa: F821

    require_types(target, {"size": 3}, "model")
    require_types(None, {"size": 3}, "model")  # type: ignore[arg-type]

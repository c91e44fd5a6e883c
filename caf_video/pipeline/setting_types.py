"""Settings of a configuration ─► are they of the types that what they build is written for?"""

import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

from caf_video.errors import InputError

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
}


def require_types(target: Callable[..., Any], given: Mapping[str, Any], section: str) -> None:
    """Refuse a value that is not of the type of the argument that it is for.

    Numbers, text, truth values, choices, and what is in lists of them are looked at; what else an
    argument may be is left to the target. NaN is no number.

    Args:
        target: A class or a function with type hints; without, nothing is looked at.
        given: Plain values by the names of arguments.
        section: Where they were given, to name them.

    Raises:
        InputError: Names the setting and what is wanted.
    """
    made_by = getattr(target, "__init__") if isinstance(target, type) else target  # noqa: B009
    try:
        hints = typing.get_type_hints(made_by)
    except (NameError, TypeError, AttributeError):  # hints of a library that only a checker reads
        return
    for name, value in given.items():
        if name in hints and not _fits(value, hints[name]):
            raise InputError(f"{section}.{name}={_shown(value)}: wanted {_words(hints[name])}")


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(value, dict):  # which may describe anything
        return True
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in arguments)
    if isinstance(origin, type) and issubclass(list, origin) and issubclass(origin, Sequence):
        return not isinstance(value, list) or all(_fits(one, arguments[0]) for one in value)
    if hint is float:
        return type(value) in (int, float) and not math.isnan(value)
    return type(value) is hint if hint in _WORDS else True


def _words(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [one for one in arguments if one is not int or float not in arguments]
        return " or ".join(dict.fromkeys(map(_words, kinds)))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is not None:
        return "a list"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _shown(value: Any) -> str:
    """As it is written in a configuration."""
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )

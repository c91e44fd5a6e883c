"""ELAN: an `.eaf` file is XML with tiers of annotations between time slots in milliseconds."""

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from caf_video.data.events.events import EventError, EventList, Reading, chosen_tier


@dataclass(frozen=True)
class Tier:
    """The annotations of a tier that have times, and why others were skipped.

    Attributes:
        annotations: Start and end in milliseconds, and the text, in the order of the file.
        skipped: How many were, by reason.
    """

    annotations: list[tuple[int, int, str]]
    skipped: Counter[str]


def read_elan(text: str, name: str, how: Reading) -> EventList:
    """The events of one tier of an `.eaf` file.

    The video is the first media file that it names, or else one of its own name.

    Args:
        text: Of the file.
        name: Of the file.
        how: Its tier counts.

    Raises:
        EventError: It is no such file, or the tier is not there; names the place.
    """
    root = parse_elan(text, name)
    tiers = tiers_of(root, name)
    counts = {tier: len(found.annotations) for tier, found in tiers.items()}
    chosen = tiers[chosen_tier(how.tier, counts, name, kind="tier")]
    own = PurePosixPath(name).stem
    video, origin = _media(root, name)
    found = EventList(skipped=Counter(chosen.skipped))
    for start, end, label in chosen.annotations:
        found.add(
            video or own,
            label,
            (start + origin) / 1000,
            (end + origin) / 1000,
            other_names=(own,) if video else (),
        )
    return found


def parse_elan(text: str, name: str) -> Element:
    """The root of an `.eaf` file, without any entity expanded or file fetched.

    Raises:
        EventError: It is not XML, not ELAN's, or defines entities.
    """
    try:
        # As bytes: a text that says what its bytes were encoded in is refused.
        root: Element = ElementTree.fromstring(text.encode(), forbid_dtd=True)
    except DefusedXmlException as error:
        raise EventError(
            f"{name}: it defines entities or a document type, which no annotation tool writes: "
            "not opened"
        ) from error
    except ParseError as error:
        line, column = error.position
        what = str(error).partition(":")[0]
        raise EventError(f"{name} line {line} column {column + 1}: not XML: {what}") from error
    except (LookupError, ValueError) as error:
        raise EventError(f"{name}: save it as UTF-8: {error}") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise EventError(f"{name}: XML of <{root.tag}>, not ELAN's <ANNOTATION_DOCUMENT>")
    header = root.find("HEADER")
    unit = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if unit != "milliseconds":
        raise EventError(f"{name}: times are in {unit}: save it with times in milliseconds")
    return root


def tiers_of(root: Element, name: str) -> dict[str, Tier]:
    """Every tier of a file by its name.

    Raises:
        EventError: A time is no number, a time slot is not there, or a tier is there twice.
    """
    slots: dict[str | None, int | None] = {}
    for slot in root.iterfind("TIME_ORDER/TIME_SLOT"):
        slots[slot.get("TIME_SLOT_ID")] = _whole(slot.get("TIME_VALUE"), "TIME_VALUE", name)
    tiers: dict[str, Tier] = {}
    for tier in root.iterfind("TIER"):
        tier_id = tier.get("TIER_ID", "")
        if tier_id in tiers:
            raise EventError(f"{name}: two tiers are called {tier_id!r}")
        tiers[tier_id] = _tier(tier, slots, f"{name}, tier {tier_id!r}")
    return tiers


def _tier(tier: Element, slots: dict[str | None, int | None], place: str) -> Tier:
    found = Tier([], Counter())
    for annotation in tier.iterfind("ANNOTATION/*"):
        if annotation.tag != "ALIGNABLE_ANNOTATION":
            found.skipped["refers to another annotation, without times of its own"] += 1
            continue
        times = []
        for attribute in ("TIME_SLOT_REF1", "TIME_SLOT_REF2"):
            reference = annotation.get(attribute)
            if reference not in slots:
                named = annotation.get("ANNOTATION_ID", "without a name")
                raise EventError(f"{place}, annotation {named}: there is no time slot {reference}")
            times.append(slots[reference])
        start, end = times
        if start is None or end is None:
            found.skipped["a time slot without a time"] += 1
            continue
        found.annotations.append((start, end, annotation.findtext("ANNOTATION_VALUE") or ""))
    return found


def _media(root: Element, name: str) -> tuple[str, int]:
    """The first video named, "" if none, and its own time at time 0 of the file, in ms."""
    for media in root.iterfind("HEADER/MEDIA_DESCRIPTOR"):
        url = media.get("MEDIA_URL") or media.get("RELATIVE_MEDIA_URL") or ""
        if url and not media.get("MIME_TYPE", "").startswith("audio/"):
            return unquote(url), _whole(media.get("TIME_ORIGIN"), "TIME_ORIGIN", name) or 0
    return "", 0


def _whole(text: str | None, what: str, name: str) -> int | None:
    if text is None or not text.strip():
        return None
    try:
        return int(text)
    except ValueError as error:
        raise EventError(f"{name}: {what} {text!r} is not a number of milliseconds") from error

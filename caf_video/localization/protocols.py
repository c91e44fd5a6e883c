"""The protocols by name: what is shown, how a heatmap becomes boxes, what counts as right.

Every protocol is an oracle or is not. One that is not turns a heatmap into its answer alone. An
oracle has an answer for every threshold, and the threshold is chosen on the very images and boxes
that are then reported: a bound on what the heatmaps allow, no result of a method by itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from caf_video.errors import InputError
from caf_video.localization.adl import CUT as ADL_CUT
from caf_video.localization.adl import adl_box
from caf_video.localization.boxes import box_iou, require_ground_truth
from caf_video.localization.cam import CUTS as CAM_CUTS
from caf_video.localization.cam import cam_box
from caf_video.localization.enlarging import Enlarge, Size, cubically, cubically_twice, linearly
from caf_video.localization.geometry import CENTER_OF_256, SQUARE_224, WHOLE_IMAGE, Geometry
from caf_video.localization.maxboxacc import THRESHOLDS, contour_boxes, contour_overlaps
from caf_video.localization.pxap import pixel_counts
from caf_video.localization.simple import CUT as SIMPLE_CUT
from caf_video.localization.simple import simple_box

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Protocol:
    """One way to turn heatmaps into a number.

    Attributes:
        name: Its key in PROTOCOLS.
        geometry: What of an image the network is shown, and where boxes are compared.
        convention: Of the IoU, see `box_iou`; empty where heatmaps are compared with masks.
        enlarge: How the network's grid becomes a heatmap of the view's size.
        answer: The box of a heatmap, (1, 4), or (0, 4) if it has none; None for an oracle.
        at_threshold: The boxes at a share of the maximum; None where there is no such knob.
        thresholds: Those of its curve; empty where `at_threshold` is None.
        cuts: The shares of the maximum at which `answer` cuts the heatmap.
        from_minimum: Whether they are shares of the way from the minimum to the maximum instead.
        iou_levels: The IoU from which on a box is right; the accuracies at several are averaged.
    """

    name: str
    geometry: Geometry
    convention: str
    enlarge: Enlarge
    answer: Callable[[ArrayLike], Boxes] | None = None
    at_threshold: Callable[[ArrayLike, float], Boxes] | None = None
    thresholds: tuple[float, ...] = ()
    cuts: tuple[float, ...] = ()
    from_minimum: bool = False
    iou_levels: tuple[float, ...] = (0.5,)

    @property
    def oracle(self) -> bool:
        """Whether its threshold is chosen on the data that it reports."""
        return self.answer is None and not self.of_masks

    @property
    def of_masks(self) -> bool:
        """Whether heatmaps are compared with masks, pixel by pixel, and not with boxes."""
        return not self.convention


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("cam", WHOLE_IMAGE, "inclusive", cubically_twice, answer=cam_box, cuts=CAM_CUTS),
        Protocol(
            "adl",
            CENTER_OF_256,
            "inclusive",
            linearly,
            answer=adl_box,
            cuts=(ADL_CUT,),
            from_minimum=True,
        ),
        Protocol(
            "maxboxacc",
            SQUARE_224,
            "inclusive",
            cubically,
            at_threshold=lambda heatmap, threshold: contour_boxes(heatmap, threshold=threshold),
            thresholds=THRESHOLDS,
        ),
        Protocol(
            "maxboxacc_v2",
            SQUARE_224,
            "inclusive",
            cubically,
            at_threshold=lambda heatmap, threshold: contour_boxes(
                heatmap, threshold=threshold, every=True
            ),
            thresholds=THRESHOLDS,
            iou_levels=(0.3, 0.5, 0.7),
        ),
        Protocol(
            "simple",
            WHOLE_IMAGE,
            "exact",
            linearly,
            answer=simple_box,
            cuts=(SIMPLE_CUT,),
            at_threshold=lambda heatmap, threshold: simple_box(heatmap, threshold=threshold),
            thresholds=tuple(percent / 100 for percent in range(5, 100, 5)),
        ),
        Protocol("pxap", SQUARE_224, "", cubically),
    )
}


OF_BOXES = tuple(name for name, protocol in PROTOCOLS.items() if not protocol.of_masks)


def require_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        InputError: There is none; names those there are.
    """
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}: it is one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def cut_levels(protocol: str, heatmap: ArrayLike) -> tuple[float, ...]:
    """Where a protocol cuts a heatmap, as shares of its maximum: the lines to draw.

    Args:
        protocol: A key of PROTOCOLS that is no oracle.
        heatmap: Finite, with a maximum above 0.

    Raises:
        InputError: The protocol is unknown, or has no level of its own.
    """
    found = require_protocol(protocol)
    if found.answer is None:
        raise InputError(
            f"{protocol} is an oracle and has no level of its own: give the best of its curve"
        )
    if not found.from_minimum:
        return found.cuts
    values = np.asarray(heatmap)
    lowest, highest = float(values.min()), float(values.max())
    return tuple((lowest + cut * (highest - lowest)) / highest for cut in found.cuts)


def enlarge(protocol: str, grid: ArrayLike, size: Size, shown: Size) -> NDArray[np.floating]:
    """A heatmap on the network's grid (h, w) as the protocol enlarges it, (height, width).

    Args:
        protocol: A key of PROTOCOLS.
        grid: Of any sign.
        size: (height, width) of the protocol's view, `Geometry.size`.
        shown: (height, width) of the network's input.

    Raises:
        InputError: An unknown protocol.
    """
    return require_protocol(protocol).enlarge(grid, size, shown)


def localize(protocol: str, heatmap: ArrayLike, *, threshold: float | None = None) -> Boxes:
    """The boxes of a heatmap under a protocol.

    Args:
        protocol: A key of PROTOCOLS.
        heatmap: (height, width) of the protocol's view, finite, of any sign.
        threshold: Share of the maximum. An oracle needs one: the best of its curve. For the others
            None is their own; `cam` and `adl` have no other.

    Returns:
        (k, 4), in pixels of the view: one box, of `maxboxacc_v2` one or more. What maps give that
        point at nothing is said at each protocol: `cam_boxes`, `adl_box`, `contour_boxes`,
        `simple_box`; it can be no box, (0, 4).

    Raises:
        InputError: On a malformed or non-finite heatmap, an unknown protocol, a threshold that is
            missing, outside [0, 1], or of no use to the protocol.
    """
    found = require_protocol(protocol)
    if found.of_masks:
        raise InputError(f"{protocol} ranks pixels and has no boxes")
    if threshold is None:
        if found.answer is None:
            raise InputError(
                f"{protocol} is an oracle and has no threshold of its own: give the best of its "
                "curve"
            )
        return found.answer(heatmap)
    if found.at_threshold is None:
        raise InputError(f"{protocol} has no threshold to set: leave it out")
    return found.at_threshold(heatmap, threshold)


def measure(
    heatmap: ArrayLike, ground_truth: ArrayLike, protocols: Sequence[str] = OF_BOXES
) -> dict[str, NDArray[np.float64]]:
    """Best IoU of each protocol's boxes with any ground-truth box.

    The two oracles together cost one pass.

    Args:
        heatmap: (height, width) of the protocols' view, finite, of any sign.
        ground_truth: Boxes in pixels of the heatmap, (g, 4), one or more (`Geometry.boxes`); for
            `pxap` a mask (`joined_masks`).
        protocols: Keys of PROTOCOLS.

    Returns:
        By protocol, (1,) for its answer, or for an oracle (255,) for its thresholds. 0 where there
        is no box. For `pxap` the `pixel_counts`.

    Raises:
        InputError: On a malformed or non-finite heatmap or box, without a ground-truth box, or an
            unknown protocol.
    """
    results = {}
    contours = None
    for name in protocols:
        protocol = require_protocol(name)
        if protocol.of_masks:
            results[name] = pixel_counts(heatmap, ground_truth)
        elif protocol.oracle:
            contours = contours or contour_overlaps(heatmap, ground_truth)
            results[name] = contours[name == "maxboxacc_v2"]
        else:
            boxes = localize(name, heatmap)
            results[name] = np.array([_best_iou(boxes, ground_truth, protocol)])
    return results


def measure_all(
    grids: ArrayLike,
    size: Size,
    shown: Size,
    ground_truth: Mapping[str, ArrayLike],
    sweeps: Sequence[str] = (),
) -> tuple[list[dict[str, NDArray[np.float64]]], list[dict[str, NDArray[np.float64]]]]:
    """`measure` of several heatmaps of one image: one item for each.

    Args:
        grids: The heatmaps as the network's grid has them, (m, h, w): less to hand to a process.
        size: (height, width) of the protocols' views, to which `enlarge` brings them.
        shown: (height, width) of the network's input.
        ground_truth: By protocol, the boxes in its view; for `pxap` the mask.
        sweeps: Protocols to `sweep`, too: some of those of `ground_truth`.

    Returns:
        What `measure` says of each heatmap, and by protocol what `sweep` says of it.
    """
    # Protocols that look at one map and compare it with the same boxes share the work.
    alike: dict[tuple[Enlarge, bytes], tuple[NDArray, list[str]]] = {}
    for name, truth in ground_truth.items():
        array = np.asarray(truth)
        key = require_protocol(name).enlarge, array.tobytes()
        alike.setdefault(key, (array, []))[1].append(name)
    measured, swept = [], []
    for grid in np.asarray(grids):
        maps = {way: way(grid, size, shown) for way in dict.fromkeys(way for way, _ in alike)}
        found: dict[str, NDArray[np.float64]] = {}
        for (way, _), (truth, names) in alike.items():
            found |= measure(maps[way], truth, names)
        measured.append({name: found[name] for name in ground_truth})
        swept.append(
            {
                name: sweep(name, maps[PROTOCOLS[name].enlarge], ground_truth[name])
                for name in sweeps
            }
        )
    return measured, swept


def sweep(protocol: str, heatmap: ArrayLike, ground_truth: ArrayLike) -> NDArray[np.float64]:
    """Best IoU with any ground-truth box at each of the protocol's `thresholds`, (t,).

    Args:
        protocol: A key of PROTOCOLS that has thresholds.
        heatmap: As for `measure`.
        ground_truth: As for `measure`.

    Raises:
        InputError: As `measure`, or the protocol has no threshold to set.
    """
    found = require_protocol(protocol)
    if found.oracle:
        return measure(heatmap, ground_truth, [protocol])[protocol]
    if found.at_threshold is None:
        raise InputError(f"{protocol} has no threshold to set, and so no curve")
    return np.array(
        [
            _best_iou(found.at_threshold(heatmap, threshold), ground_truth, found)
            for threshold in found.thresholds
        ]
    )


def _best_iou(boxes: Boxes, ground_truth: ArrayLike, protocol: Protocol) -> float:
    truth = require_ground_truth(ground_truth)
    return float(box_iou(boxes, truth, convention=protocol.convention).max(initial=0))

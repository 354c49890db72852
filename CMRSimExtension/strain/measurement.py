"""Which measurement of strain a cine allows, and what each needs."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.aha import VentricleAxes
from CMRSimExtension.errors import InputError
from CMRSimExtension.simulation.cine import Cine
from CMRSimExtension.strain.harp import MIN_FRAMES, harp_strain, tag_acquisition
from CMRSimExtension.strain.series import StrainSeries, strain_from_displacement
from CMRSimExtension.tagging.motion import carry_labels, displacement_in_pixels, estimate_motion
from CMRSimExtension.tagging.simulated import motion_source, scanned_plane

_DIRECTIONS = 24
_CLOSED = 0.95
"""One direction may be missing."""


def measure_strain(
    cine: Cine,
    labels: NDArray[np.uint8] | None,
    method: str | None,
    progress: Callable[[float, str], None] | None = None,
) -> tuple[StrainSeries, StrainSeries | None]:
    """Strain of a cine, and the true strain beside it where that is known and something else was measured.

    Parameters
    ----------
    cine
        With what was read beside it: labels, displacement.
    labels
        (frames, slices, rows, columns) or (slices, rows, columns) at end diastole, in place of the cine's.
    method
        "truth", "harp", "registration", or None for the best that the cine allows.
    progress
        For the registration.

    Raises
    ------
    InputError
        The cine is no short-axis one, or lacks what the method needs, or the labels lack what tells the ventricle's
        segments apart.
    """
    if labels is not None and labels.ndim == 4:
        cine, labels = replace(cine, labels=labels), None
    # Registration takes a minute; what would stop the work after it is found now.
    diastole = labels if labels is not None else None if cine.labels is None else cine.labels[0]
    if diastole is None or not np.any(diastole == 2):
        raise InputError("strain needs the LV myocardium (label 2) at end diastole; give labels")
    _require_short_axis(cine, diastole)
    VentricleAxes.from_labels(diastole, cine.grid)
    known = cine.displacement_mm is not None
    true = known and motion_source(cine) == "true"
    if method is None:
        follows = tag_acquisition(cine) is not None and len(cine.image) >= MIN_FRAMES
        method = "truth" if true else "harp" if follows else "registration"
    if method == "truth":
        if not true:
            raise InputError(
                "this cine carries no true motion (only simulated ones do); choose the method registration, or harp "
                "for a tagged cine"
            )
        return strain_from_displacement(_labelled(cine, labels)), None
    truth = strain_from_displacement(_labelled(cine, labels)) if true else None
    if method == "harp":
        return harp_strain(cine, labels=labels), truth
    if not known or true:
        cine = _registered(cine, labels, progress)
    return strain_from_displacement(_labelled(cine, labels), source="registration", reach_px=2), truth


def _require_short_axis(cine: Cine, diastole: NDArray[np.uint8]) -> None:
    """Radial, circumferential and longitudinal are reckoned from the slices' normal, so that must be the long axis."""
    plane = scanned_plane(cine)
    if plane is None:
        closed = closed_share(diastole)
        if closed < _CLOSED:
            raise InputError(
                f"the LV myocardium surrounds the cavity by {closed:.0%} only (median of the slices), as in long-axis "
                "and axial views; strain is measured in short-axis cines, in which it is a closed ring: give one, or "
                "complete the labels"
            )
    elif plane != "sax":
        raise InputError(f"the cine was scanned in the plane {plane}; strain is measured in short-axis cines (sax)")


def closed_share(labels: NDArray[np.integer]) -> float:
    """How far the LV myocardium (2) surrounds the ventricle's middle, 0 to 1, in (slices, rows, columns) of one frame.

    The median over the slices that show myocardium of the share of directions in which there is some. Of 280 label
    images of ACDC and M&Ms it is 1 in every one; simulated long-axis views have 0.75 to 0.83, axial stacks 0.83 to
    0.96. (How elongated the ventricle is tells less: dilated ones are as round in long-axis views.)
    """
    shares = []
    for section in labels:
        wall = np.argwhere(section == 2)
        if not len(wall):
            continue
        offset = wall - np.argwhere(np.isin(section, (1, 2))).mean(axis=0)
        turn = np.arctan2(offset[:, 0], offset[:, 1]) / (2 * np.pi) + 0.5
        shares.append(len(np.unique((turn * _DIRECTIONS).astype(np.intp) % _DIRECTIONS)) / _DIRECTIONS)
    return float(np.median(shares)) if shares else 0.0


def _registered(
    cine: Cine, labels: NDArray[np.uint8] | None, progress: Callable[[float, str], None] | None
) -> Cine:
    motion = estimate_motion(
        cine.image, cine.grid, diastole_labels=labels, frame_labels=cine.labels if labels is None else None,
        progress=progress,
    )
    return replace(cine, displacement_mm=motion.displacement_mm(cine.grid))


def _labelled(cine: Cine, labels: NDArray[np.uint8] | None) -> Cine:
    """The cine with labels in every frame: its own, or those of end diastole carried along its motion."""
    if labels is None or cine.displacement_mm is None:
        return cine
    return replace(cine, labels=carry_labels(labels, displacement_in_pixels(cine.displacement_mm, cine.grid)))

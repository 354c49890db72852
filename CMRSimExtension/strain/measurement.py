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
from CMRSimExtension.tagging.simulated import motion_source


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
        The cine lacks what the method needs, or the labels what tells the ventricle's segments apart.
    """
    if labels is not None and labels.ndim == 4:
        cine, labels = replace(cine, labels=labels), None
    # Registration takes a minute; what would stop the work after it is found now.
    diastole = labels if labels is not None else None if cine.labels is None else cine.labels[0]
    if diastole is None or not np.any(diastole == 2):
        raise InputError("strain needs the LV myocardium (label 2) at end diastole; give labels")
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

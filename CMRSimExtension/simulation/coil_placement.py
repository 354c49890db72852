"""Where the receive coils lie on this body: as near the heart as its chest and back let them."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.material import Anatomy, Moment
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.scanner.coils import HOUSING_MM, CoilArray

_FRONTWARDS = np.array([0.0, 1.0, 0.0])
_STEP_MM, _DEEPEST_MM = 5.0, 300.0
"""How finely, and how far beyond a wire, the body is looked for."""


def usual_array(anatomy: Anatomy, coils: int) -> CoilArray:
    """A flexible array on the chest and one in the table, clear of the body.

    They start where a slim patient's would lie (`CoilArray.body_and_spine`, which is also where they stay on a heart
    with nothing around it). Each loop on the chest is moved forward, and the table's array back as a whole, until
    `HOUSING_MM` lie between its wires and all tissue that was in the way. Beside a wire the field of a loop grows
    without bound: a conductor within the body makes sensitivities that no scanner's array has, and that nobody can
    estimate from images.

    Parameters
    ----------
    anatomy
        Looked at in end expiration, end diastole.
    coils
        Total number of loops; the front has the larger half.

    Raises
    ------
    InputError
        For less than 1 coil.
    """
    heart = anatomy.heart_frame.middle_mm
    array = CoilArray.body_and_spine(coils, heart)
    on_chest = array.centres_mm[:, 1] > heart[1]
    outwards = np.where(on_chest[:, None], _FRONTWARDS, -_FRONTWARDS)
    distance = _way_out(anatomy, array.wires_mm, outwards)
    distance[~on_chest] = distance[~on_chest].max(initial=0.0)
    return replace(array, centres_mm=array.centres_mm + distance[:, None] * outwards)


def _way_out(anatomy: Anatomy, wires: NDArray[np.float64], outwards: NDArray[np.float64]) -> NDArray[np.float64]:
    """(coils,) mm to move loops (coils, segments, 3) `outwards`, (coils, 3) directions; 0 where they are clear."""
    ahead = np.arange(_STEP_MM - HOUSING_MM, _DEEPEST_MM, _STEP_MM)
    points = wires[:, :, None] + outwards[:, None, None] * ahead[:, None]
    structure = anatomy.sample(points.reshape(-1, 3), Moment(), rest=False).structure.reshape(points.shape[:3])
    tissue = (structure != Structure.OUTSIDE).any(axis=1)
    # Tissue that is found ends less than a step farther on.
    return np.where(tissue, ahead + _STEP_MM + HOUSING_MM, 0.0).max(axis=1)

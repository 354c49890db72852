"""One cardiac phase of a heart, and points on their way through its bodies."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.levels import LongAxis
from CMRSimExtension.anatomy.heart.right_ventricle import RightOutline
from CMRSimExtension.anatomy.heart.trabeculae import Papillaries

CAVITY, ENDO, EPI, CONTOUR, REST_CAVITY, REST_ENDO = range(6)
"""Columns of `HeartState.shells`."""


@dataclass(frozen=True)
class HeartState:
    """Everything about one cardiac phase that sampling needs; made once per phase.

    Attributes
    ----------
    phase, ejection, twist
        Cardiac phase, emptied share of the stroke volume, share of full torsion.
    axis
        Long-axis map.
    shells
        (levels, angles + 1, 6) squared radii, the last angle repeating the first.
    right
        Outline of the RV.
    papillaries
        Axes of the papillary muscles.
    band
        End points (2, 3) of the moderator band, present heart coordinates in material levels.
    muscle_share
        Share of muscle in the LV's trabeculated layer.
    atrial_growth
        Factor on the atria's width.
    """

    phase: float
    ejection: float
    twist: float
    axis: LongAxis
    shells: NDArray
    right: RightOutline
    papillaries: Papillaries
    band: NDArray
    muscle_share: float
    atrial_growth: float


@dataclass
class Points:
    """Points under classification, present x, y in mm and material level, with the answers collected so far."""

    x: NDArray
    y: NDArray
    level: NDArray
    structure: NDArray[np.uint8]
    clinical: NDArray[np.uint8]
    rest_x: NDArray
    rest_y: NDArray
    open: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.open = np.ones(len(self.x), dtype=bool)

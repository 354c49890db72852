"""The vessels that run in the epicardial fat: coronary arteries, cardiac veins and their branches."""

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.noise import look_up, periodic_field

_CELL_MM, _CORRELATION = 1.6, 2.6
"""Cell, and correlation length in cells, of the fields whose common zeros are the vessels: about one runs through
every 170 mm2 of fat."""
_RADIUS_MM = 1.5
"""Typical radius of a vessel."""
_PER_MM = 1.0 / (np.sqrt(2.0) * _CORRELATION * _CELL_MM)
"""Typical slope of such a field."""


def in_vessel(rest_x: NDArray, rest_y: NDArray, level: NDArray, seed: int) -> NDArray[np.bool_]:
    """Whether points of the epicardial fat, at material coordinates (mm), lie in a vessel.

    Two smooth random fields vanish together along curves that wind and never end: vessels, about as many and as wide as
    a cine shows, but not the named coronary arteries in their places.
    """
    x, y, z = rest_x / _CELL_MM + float(seed // 8 % 64), rest_y / _CELL_MM, level / _CELL_MM
    # No two of the eight seeds have both fields in common.
    first, second = (look_up(periodic_field((seed + k) % 8, _CORRELATION), x, y, z) for k in (1, 4))
    return first * first + second * second < (_RADIUS_MM * _PER_MM) ** 2

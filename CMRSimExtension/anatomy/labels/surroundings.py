"""The body around a labelled heart, and how heart and body breathe together."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.labels.moving_heart import MovingHeart
from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.torso.breathing import Breathing
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.torso import Torso

_SAC_TOP_MM = -50.0
"""Level above which aorta and pulmonary trunk have left the pericardial sac."""

HEART_FOLLOWS_DIAPHRAGM = 0.6
"""Share of the diaphragm's excursion that the heart follows (Wang et al., Magn Reson Med 1995;33:713)."""


_FIXED = np.zeros(256, dtype=bool)
_FIXED[
    [
        Structure.BODY_FAT,
        Structure.SKIN,
        Structure.MUSCLE,
        Structure.RIB,
        Structure.RIB_MARROW,
        Structure.STERNUM,
        Structure.VERTEBRA,
        Structure.INTERVERTEBRAL_DISC,
        Structure.SPINAL_CANAL,
        Structure.CARTILAGE,
        Structure.BREAST,
    ]
] = True
FOLLOWS_THE_HEART = np.zeros(256, dtype=bool)
FOLLOWS_THE_HEART[[s for s in Structure if s in range(1, 30)]] = True
"""(256,) True for the structures of the heart, its vessels and its fat."""


def chest_wall_stays(
    followed: NDArray[np.uint8], unmoved: NDArray[np.uint8]
) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """What lies beside a beating heart, if soft organs follow it and the chest wall does not.

    Parameters
    ----------
    followed
        (n,) structures where everything follows the heart.
    unmoved
        (n,) structures at the same points while the heart is at rest.

    Returns
    -------
    (n,) mask of the points that stay, and (n,) structures: those of the soft organs as they follow, the chest wall as
    it was, and lung where the wall would have been pulled in.
    """
    wall_here, wall_pulled = _FIXED[unmoved], _FIXED[followed]
    out = np.where(wall_here, unmoved, followed)
    pulled = wall_pulled & ~wall_here
    out[pulled] = np.where(FOLLOWS_THE_HEART[unmoved[pulled]], Structure.LUNG_LEFT, unmoved[pulled])
    return wall_here | pulled, out


class Background(Protocol):
    """What lies around the heart, such as the parametric torso."""

    def sample(self, points_mm: NDArray[np.floating], respiratory_phase: float) -> NDArray[np.uint8]:
        """Structure numbers at (n, 3) RAS points."""
        ...

    def rest_mm(self, points_mm: NDArray[np.floating], respiratory_phase: float) -> NDArray[np.floating]:
        """Where the tissue now at (n, 3) RAS points was at end expiration."""
        ...

    def describe(self) -> dict[str, Any]:
        """Record for the sidecar."""
        ...


def torso_around(heart: MovingHeart, frame: HeartFrame, rng: np.random.Generator) -> Torso:
    """Draw an adult's torso around a labelled heart at end diastole.

    Raises
    ------
    InputError
        If no chest fits around the heart.
    """
    cells = heart.labels.volume
    levels = cells.cell_centres(cells.label != Structure.OUTSIDE)[:, 2]
    volume = np.count_nonzero(levels > _SAC_TOP_MM) * cells.voxel_mm3
    radius = float(np.clip((3.0 * volume / (4.0 * np.pi)) ** (1.0 / 3.0), 20.0, 110.0))

    def in_sac(points_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        at = frame.to_heart(points_mm)
        return (heart.sample(at, 0.0, rest=False)[0] != Structure.OUTSIDE) & (at[:, 2] > _SAC_TOP_MM)

    parameters = TorsoParameters.random(rng)
    return Torso(parameters, frame, radius, int(rng.integers(2**31)), pericardium=in_sac)


def heart_shift_mm(background: Background | None, respiratory_phase: float) -> NDArray[np.float64]:
    """(3,) RAS displacement of the heart with breathing; none where there is no torso that breathes."""
    if not isinstance(background, Torso):
        return np.zeros(3)
    p = background.parameters
    breath = Breathing.depth_of_breath(respiratory_phase)
    return breath * np.array([0.0, 0.5 * p.chest_expansion_mm, -HEART_FOLLOWS_DIAPHRAGM * p.diaphragm_excursion_mm])

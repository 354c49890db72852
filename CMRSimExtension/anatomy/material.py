"""The one question every anatomy answers: what is at these points, at this moment?

All lengths are millimetres, all positions are in the patient's RAS frame (+x right, +y anterior, +z superior).
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError


@dataclass(frozen=True)
class Moment:
    """A moment of two independent cycles.

    Attributes
    ----------
    cardiac
        Cardiac phase in [0, 1); 0 is the R wave, which is end diastole.
    respiratory
        Respiratory phase in [0, 1); 0 is end expiration.
    """

    cardiac: float = 0.0
    respiratory: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cardiac", "respiratory"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise InputError(f"{name} phase is {value}, outside [0, 1); take it modulo 1")


@dataclass(frozen=True)
class Material:
    """What lies at n points.

    Attributes
    ----------
    structure
        (n,) uint8, `Structure` numbers: the anatomical truth.
    tissue
        (n,) uint8, `Tissue` numbers: what the point shines like.
    clinical
        (n,) uint8: 1 LV blood pool, 2 LV myocardium, 3 RV blood pool, as readers contour them (papillary muscles and
        trabeculae count as blood pool), 0 elsewhere: the clinical truth.
    rest_mm
        (n, 3) float, RAS: where the tissue now at the point was at moment (0, 0). Blood and air, which have no rest
        position that lasts, carry their own position mapped with the motion of what encloses them. None when the
        caller did not ask for it.
    """

    structure: NDArray[np.uint8]
    tissue: NDArray[np.uint8]
    clinical: NDArray[np.uint8]
    rest_mm: NDArray[np.floating] | None = None


class HeldPoints(Protocol):
    """Points of an anatomy while the breath is held, to be asked for at many cardiac phases."""

    def __call__(self, cardiac: float, chosen: NDArray[np.intp] | None = None) -> Material:
        """What lies, with its rest positions, at the points, or at the `chosen` ones, at a cardiac phase."""
        ...


@runtime_checkable
class Anatomy(Protocol):
    """Anything that can be scanned: the parametric subject, a label image, XCAT frames."""

    def sample(self, points_mm: NDArray[np.floating], moment: Moment, *, rest: bool = True) -> Material:
        """Tell what lies at `points_mm`, (n, 3) RAS, at `moment`; `rest=False` leaves `rest_mm` out and is faster."""
        ...

    def may_move(self, points_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(n,) mask of the points around which material may change over the cardiac cycle.

        False promises that nothing within 10 mm ever does, so that a voxel may be judged by its centre.
        """
        ...

    def blood_velocity(self, points_mm: NDArray[np.floating], moment: Moment) -> NDArray[np.floating]:
        """(n, 3) velocity in mm/s, RAS; zero outside blood and where the anatomy does not know."""
        ...

    @property
    def heart_frame(self) -> "HeartFrame":
        """Where the heart lies, for planning planes."""
        ...

    @property
    def cycle_ms(self) -> float:
        """Duration of the heartbeat (R-R interval) in ms."""
        ...

    def hold(self, points_mm: NDArray[np.floating], respiratory: float) -> HeldPoints:
        """`sample` for many cardiac phases of the same points: what does not beat is looked up once."""
        ...

    def describe(self) -> dict:
        """Everything needed to build this anatomy again, as JSON-able values: it goes into the sidecar."""
        ...


@dataclass(frozen=True)
class HeartFrame:
    """The heart's own coordinate system at moment (0, 0).

    Right-handed, in mm: +x points from the septum to the LV free (lateral) wall, +y to the anterior wall, +z from base
    to apex; the origin is the centre of the mitral annulus plane on the LV long axis. Seen as a reader sees a
    short-axis image (from the apex), the RV lies on the left (-x) and the anterior wall at the top (+y).

    Attributes
    ----------
    origin_mm
        (3,) RAS.
    axes
        (3, 3): rows are the unit vectors x, y, z in RAS.
    lv_length_mm
        From the annulus plane to the epicardial apex at end diastole.
    rv_centre_mm
        (3,) RAS: centre of the RV at mid-ventricular level, which fixes the four-chamber plane.
    aortic_valve_mm
        (3,) RAS: centre of the aortic valve, which fixes the three-chamber plane.
    """

    origin_mm: NDArray[np.floating]
    axes: NDArray[np.floating]
    lv_length_mm: float
    rv_centre_mm: NDArray[np.floating]
    aortic_valve_mm: NDArray[np.floating]

    @property
    def middle_mm(self) -> NDArray[np.float64]:
        """(3,) RAS: the middle of the LV, at which coils and adjustments aim."""
        return np.asarray(self.origin_mm + 0.45 * self.lv_length_mm * self.axes[2], dtype=np.float64)

    def to_heart(self, points_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """RAS points (n, 3) in heart coordinates (n, 3), mm."""
        return (points_mm - self.origin_mm) @ self.axes.T

    def to_ras(self, points_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """Heart coordinates (n, 3) in RAS, mm."""
        return points_mm @ self.axes + self.origin_mm

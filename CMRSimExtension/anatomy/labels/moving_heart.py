"""What a body needs to know of the labelled heart that beats in it."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.anatomy.labels.heart_volume import HeartVolume
from CMRSimExtension.anatomy.labels.volume import LabelVolume


class MovingHeart(Protocol):
    """A heart in its own coordinates, at end expiration. *Ground* is where `labels` has a piece of tissue."""

    @property
    def labels(self) -> HeartVolume:
        """Labels at one moment."""
        ...

    @property
    def function(self) -> CardiacFunction:
        """True function by the model."""
        ...

    @property
    def cycle_ms(self) -> float:
        """R-R interval."""
        ...

    def ejection(self, phase: float) -> float:
        """Share of the stroke volume that has left the ventricles at cardiac `phase`."""
        ...

    def near(self, heart_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(n,) mask of the points that the motion may displace at any phase."""
        ...

    def sample(
        self, heart_mm: NDArray[np.floating], cardiac: float, *, rest: bool, volume: LabelVolume | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.floating], NDArray[np.floating] | None]:
        """Structures (0 where the heart is not), ground positions and, if asked for, rest positions.

        Where the heart is not, `volume` tells the structure at the ground position.
        """
        ...

    def to_rest(self, ground: NDArray[np.floating]) -> NDArray[np.floating]:
        """Positions at end diastole of what lies at `ground`."""
        ...

    def from_rest(self, rest_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """The inverse of `to_rest`."""
        ...

    def blood_velocity(self, heart_mm: NDArray[np.floating], cardiac: float, cycle_ms: float) -> NDArray[np.float64]:
        """(n, 3) mm/s."""
        ...

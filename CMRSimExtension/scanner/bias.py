"""The receive field of surface coils: brighter near the chest wall, less so after the scanner's own correction."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import array_namespace, beside, is_torch
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.smooth_field import on_grid


@dataclass(frozen=True)
class ReceiveField:
    """Combined sensitivity of an anterior and a posterior coil array, 1 at the heart.

    Each element is a loop whose sensitivity falls with distance d as (1 + (d/a)^2)^(-3/2), the on-axis law of a loop of
    radius a; the root of the sum of their squares, raised to `strength`, is what remains after the vendor's
    normalisation.

    Attributes
    ----------
    elements_mm
        (elements, 3) RAS centres.
    radius_mm
        Loop radius a.
    heart_mm
        (3,) RAS; the field is 1 here.
    strength
        0 leaves images uniform (perfect prescan normalisation), 1 is the bare array.
    """

    elements_mm: NDArray[np.float64]
    radius_mm: float
    heart_mm: NDArray[np.float64]
    strength: float

    def __post_init__(self) -> None:
        elements = np.asarray(self.elements_mm, dtype=np.float64)
        if elements.ndim != 2 or elements.shape[1] != 3 or len(elements) == 0:
            raise InputError(f"elements_mm has shape {elements.shape}; give (elements, 3) with at least one element")
        if not self.radius_mm > 0:
            raise InputError(f"radius_mm is {self.radius_mm}; it must be above 0")
        if not 0.0 <= self.strength <= 2.0:
            raise InputError(f"strength is {self.strength}; choose a value from 0 to 2")
        object.__setattr__(self, "elements_mm", elements)
        object.__setattr__(self, "heart_mm", np.asarray(self.heart_mm, dtype=np.float64))

    @classmethod
    def draw(
        cls, rng: np.random.Generator, heart_mm: NDArray[np.floating], *, chest_wall_mm: float = 65.0
    ) -> "ReceiveField":
        """A body-array-plus-spine-array field around a heart, with the array's placement and strength drawn.

        Parameters
        ----------
        heart_mm
            (3,) RAS centre of the heart.
        chest_wall_mm
            From there to the skin in front.
        """
        shift = rng.normal(0.0, 15.0, size=2)
        heart = np.asarray(heart_mm, dtype=np.float64)
        front = [(x, chest_wall_mm + 15.0, z) for x in (-80.0, 0.0, 80.0) for z in (-60.0, 60.0)]
        back = [(x, -chest_wall_mm - 75.0, z) for x in (-60.0, 60.0) for z in (-60.0, 60.0)]
        elements = heart + np.array(front + back) + rng.normal(0.0, 8.0, size=(len(front + back), 3))
        elements[:, [0, 2]] += shift
        return cls(elements, float(rng.uniform(60.0, 90.0)), heart, float(0.12 + 1.0 * rng.uniform() ** 2))

    def at(self, points_mm: Any) -> Any:
        """(n,) relative sensitivity at points (n, 3) in RAS mm: float32, or of the precision of tensors."""
        points = points_mm if is_torch(points_mm) else np.asarray(points_mm, dtype=np.float64)
        values = self._raw(points) / float(self._raw(self.heart_mm[None])[0])
        return values if is_torch(values) else values.astype(np.float32)

    def on(self, grid: ImageGrid) -> NDArray[np.float32]:
        """(slices, rows, columns) relative sensitivity at the voxel centres."""
        return np.asarray(on_grid(self.at, grid), dtype=np.float32)

    def _raw(self, points: Any) -> Any:
        xp, total = array_namespace(points), 0.0
        for element in self.elements_mm:
            distance2 = xp.sum((points - beside(element, points)) ** 2, axis=-1)
            total = total + (1.0 + distance2 / self.radius_mm**2) ** -3.0
        return total ** (0.5 * self.strength)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` is its inverse."""
        return {
            "elements_mm": self.elements_mm.tolist(),
            "radius_mm": self.radius_mm,
            "heart_mm": self.heart_mm.tolist(),
            "strength": self.strength,
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "ReceiveField":
        """The field of a record."""
        return cls(**record)

"""Receive coil arrays: complex sensitivities by Biot-Savart and reciprocity.

A coil's sensitivity to precessing magnetisation is the conjugate rotating component of the field that unit current in
it would make (Hoult DI, Richards RE, J Magn Reson 1976;24:71-85). Loops are polygons; the field of each straight
segment is exact. Sensitivities are quasi-static: the phase shifts of wave propagation (a tenth of a cycle across a
chest at 3 T) are left out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import InputError
from CMRSimExtension.physics.array_namespace import as_arrays
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.scanner.smooth_field import on_grid

_AT_ONCE = 256
"""Points whose segments are worked on together, so that they stay in cache."""
HOUSING_MM = 20.0
"""From a coil's wires to the skin: foam, housing, clothes and blankets."""
_SEGMENTS = 24
"""Straight segments of a round loop; its field differs from a circle's by 1 % at one radius, less farther off."""


@dataclass(frozen=True)
class CoilArray:
    """Loops around a patient.

    The channels' noise is white, of equal SD and uncorrelated, as it is after the scanner's prewhitening.

    Attributes
    ----------
    centres_mm
        (coils, 3) RAS.
    normals
        (coils, 3) unit normals of the loops.
    radii_mm
        (coils,) loop radii.
    reference_mm
        (3,) RAS: the root sum of squares of all sensitivities is 1 here.

    Raises
    ------
    InputError
        For no loops, lengths that do not match, or a radius that is not above 0.
    """

    centres_mm: NDArray[np.float64]
    normals: NDArray[np.float64]
    radii_mm: NDArray[np.float64]
    reference_mm: NDArray[np.float64]

    def __post_init__(self) -> None:
        centres, normals = (np.atleast_2d(np.asarray(v, dtype=np.float64)) for v in (self.centres_mm, self.normals))
        radii = np.asarray(self.radii_mm, dtype=np.float64)
        if centres.shape != normals.shape or centres.shape != (len(radii), 3) or len(radii) == 0:
            raise InputError(
                f"centres {centres.shape}, normals {normals.shape} and radii {radii.shape} do not describe the same "
                "loops; give (coils, 3), (coils, 3) and (coils,) with at least one coil"
            )
        if not np.all(radii > 0):
            raise InputError(f"a coil has a radius of {radii.min()} mm; it must be above 0")
        lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
        if not np.all(lengths > 0):
            raise InputError("a coil's normal has no length; give it a direction")
        for name, value in (("centres_mm", centres), ("normals", normals / lengths), ("radii_mm", radii)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "reference_mm", np.asarray(self.reference_mm, dtype=np.float64))

    @property
    def coils(self) -> int:
        """Number of channels."""
        return len(self.radii_mm)

    @classmethod
    def body_and_spine(
        cls,
        coils: int,
        heart_mm: NDArray[np.floating],
        *,
        chest_wall_mm: float = 65.0,
        back_mm: float = 130.0,
        rng: np.random.Generator | None = None,
    ) -> "CoilArray":
        """A flexible array on the chest and a rigid one in the table, as every vendor's cardiac set-up has.

        Parameters
        ----------
        coils
            Total number; the front has the larger half.
        heart_mm
            (3,) RAS centre of the heart, over which the arrays are centred.
        chest_wall_mm, back_mm
            From there to the skin in front and behind; coils lie `HOUSING_MM` off the skin.
        rng
            Draws how precisely the radiographer placed them; None places them exactly.
        """
        if coils < 1:
            raise InputError(f"coils is {coils}; at least 1 is needed")
        heart = np.asarray(heart_mm, dtype=np.float64)
        front = (coils + 1) // 2
        parts = []
        for count, side, skin_mm in ((front, 1.0, chest_wall_mm), (coils - front, -1.0, back_mm)):
            if count == 0:
                continue
            distance = skin_mm + HOUSING_MM
            across, along = _lattice(count)
            extent = 300.0, 240.0
            x = (across - 0.5) * extent[0]
            z = (along - 0.5) * extent[1]
            # The chest array wraps around the body; the table's is flat.
            bend = 0.0016 * x**2 if side > 0 else np.zeros_like(x)
            centres = heart + np.stack([x, side * distance - side * bend, z], axis=-1)
            normals = np.stack([side * 0.0032 * x if side > 0 else np.zeros_like(x), np.full_like(x, side), 0 * x], -1)
            # Neighbours overlap a little, as they must to be decoupled (Roemer 1990).
            radius = 1.05 * np.sqrt(extent[0] * extent[1] / count / np.pi)
            parts.append((centres, normals, np.full(count, radius)))
        centres, normals, radii = (np.concatenate(p) for p in zip(*parts, strict=True))
        if rng is not None:
            centres = centres + rng.normal(0.0, 8.0, size=3) + rng.normal(0.0, 3.0, size=centres.shape)
        return cls(centres, normals, radii, heart)

    @classmethod
    def ring(
        cls, coils: int, centre_mm: NDArray[np.floating], *, distance_mm: float = 220.0, rows: int = 1
    ) -> "CoilArray":
        """Loops evenly around the body's long axis (superior), in `rows` rings."""
        if coils < 1 or rows < 1 or coils % rows:
            raise InputError(f"{coils} coils cannot be shared evenly by {rows} rings; choose a multiple of the rings")
        per_ring = coils // rows
        angle = 2 * np.pi * (np.arange(coils) % per_ring) / per_ring
        height = (np.arange(coils) // per_ring - (rows - 1) / 2) * 120.0
        outwards = np.stack([np.cos(angle), np.sin(angle), np.zeros(coils)], axis=-1)
        centres = np.asarray(centre_mm) + outwards * distance_mm + height[:, None] * np.array([0.0, 0.0, 1.0])
        radius = min(0.65 * np.pi * distance_mm / per_ring, 120.0)
        return cls(centres, outwards, np.full(coils, radius), np.asarray(centre_mm))

    def sensitivities(self, points_mm: Any) -> Any:
        """(n, coils) complex sensitivities at points (n, 3) in RAS mm; complex64 for float32 points.

        The main field points along +z (superior). Torch tensors give torch tensors.
        """
        values = _receive(points_mm, self.wires_mm)
        reference = _receive(self.reference_mm[None], self.wires_mm)
        return values * float(1.0 / np.sqrt(np.sum(np.abs(reference) ** 2)))

    def on(self, grid: ImageGrid, lattice_mm: float = 12.0) -> NDArray[np.complex64]:
        """(coils, slices, rows, columns) complex64 at the voxel centres, interpolated from a lattice."""
        maps = on_grid(lambda points: self.sensitivities(points).astype(np.complex64), grid, lattice_mm)
        return np.ascontiguousarray(np.moveaxis(maps, -1, 0))

    @property
    def wires_mm(self) -> NDArray[np.float64]:
        """(coils, segments, 3) RAS corners of the polygons that stand for the loops."""
        # Two directions across each normal; any pair will do for a circle.
        helper = np.where(np.abs(self.normals[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
        first = np.cross(helper, self.normals)
        first /= np.linalg.norm(first, axis=-1, keepdims=True)
        second = np.cross(self.normals, first)
        angle = 2 * np.pi * np.arange(_SEGMENTS) / _SEGMENTS
        # Corners outside the circle so that polygon and circle have the same area, hence the same far field.
        scale = np.sqrt(2 * np.pi / (_SEGMENTS * np.sin(2 * np.pi / _SEGMENTS)))
        circle = np.cos(angle)[:, None] * first[:, None] + np.sin(angle)[:, None] * second[:, None]
        return np.asarray(self.centres_mm[:, None] + scale * self.radii_mm[:, None, None] * circle)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` is its inverse."""
        names = ("centres_mm", "normals", "radii_mm", "reference_mm")
        return {name: getattr(self, name).tolist() for name in names}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "CoilArray":
        """The array of a record."""
        return cls(**{name: np.array(value) for name, value in record.items()})


def field_of_polygon(points_mm: Any, vertices_mm: Any) -> Any:
    """Magnetic field of unit current in closed polygons, in units of mu0 I / (4 pi mm).

    Each segment from a to b contributes (Biot-Savart law, integrated exactly; Hanson JD, Hirshman SP, Phys Plasmas
    2002;9:4410-4412)::

        B = (r1 x r2) (|r1| + |r2|) / (|r1| |r2| (|r1| |r2| + r1 . r2)),  r1 = p - a, r2 = p - b

    Parameters
    ----------
    points_mm
        (n, 3).
    vertices_mm
        (coils, segments, 3) corners in order; the last joins the first.

    Returns
    -------
    array
        (n, coils, 3).
    """
    xp, (points, vertices) = as_arrays(points_mm, vertices_mm)
    parts = [_field_of_some(xp, points[i : i + _AT_ONCE], vertices) for i in range(0, points.shape[0], _AT_ONCE)]
    return xp.concat(parts, axis=0)


def _field_of_some(xp: Any, points: Any, vertices: Any) -> Any:
    # Components apart: arrays of (points, coils, segments) instead of an innermost axis of three.
    x, y, z = (points[:, None, None, axis] - vertices[None, :, :, axis] for axis in range(3))
    u, v, w = (xp.roll(component, -1, axis=2) for component in (x, y, z))
    r1 = xp.sqrt(x * x + y * y + z * z)
    r2 = xp.roll(r1, -1, axis=2)
    product = r1 * r2
    factor = (r1 + r2) / (product * (product + x * u + y * v + z * w))
    parts = (y * w - z * v, z * u - x * w, x * v - y * u)
    return xp.stack([xp.sum(part * factor, axis=2) for part in parts], axis=-1)


def _receive(points: Any, vertices: NDArray[np.float64]) -> Any:
    xp, (points, _) = as_arrays(points, 1.0)
    single = points.dtype == xp.float32
    field = field_of_polygon(points, xp.astype(xp.asarray(vertices), points.dtype) if xp is np else vertices)
    result = field[..., 0] - 1j * field[..., 1]
    return xp.astype(result, xp.complex64) if single else result


def _lattice(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions (0 to 1) of `count` loops in rows of nearly equal length."""
    rows = max(1, round(np.sqrt(count * 0.75)))
    sizes = [count // rows + (1 if index < count % rows else 0) for index in range(rows)]
    across = np.concatenate([(np.arange(n) + 0.5) / n for n in sizes])
    along = np.concatenate([np.full(n, (index + 0.5) / rows) for index, n in enumerate(sizes)])
    return across, along

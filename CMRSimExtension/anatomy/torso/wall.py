"""The wall of the trunk: skin, fat, breast, muscle, ribs and sternum around the body cavity.

All surfaces are radii over direction and height, in one table; a point finds its layer by comparing its distance from
the trunk's axis with them. Torso coordinates: x right, y anterior (0 amid the cavity), z superior (0 at the heart's
centre), mm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from CMRSimExtension.anatomy.noise import look_up
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.tables import (
    BoundaryMode,
    Float,
    Table,
    circle_direction,
    circle_position,
    smooth_noise,
)

_DIRECTIONS = 192
_STEP = 5.0
_BOTTOM, _TOP = -380.0, 330.0

CAVITY, RIBS, MUSCLE, SKIN_INNER, SKIN_OUTER, GLAND, RIB_SHIFT, AROUND = range(8)
"""Channels of the wall table: five radii, glandular thickness of the breast, height of the ribs below their heads, and
the way around from the back (0) to the front (1)."""

CORE_MARGIN_MM = 6.0
"""Distance from the cavity's wall beyond which no organ heeds it."""

_RIB_LAYER = 11.0
"""Depth of the layer of ribs, costal cartilages and intercostal muscles, mm in a man of 176 cm."""

# Half heights over the spacing of the ribs, and half thicknesses over that of their layer. Ribs are 13 mm high and 8 mm
# thick with a rind of 1.3 mm at the thinnest (local maxima of the pleural cortex: 1.4 mm on average, Holcombe et al.,
# J Anat 2019;235:883); the cartilages in front are plumper, as in short-axis cines.
_BONE_HALF = (0.25, 0.76)
_CARTILAGE_HALF = (0.33, 0.95)
_PARASTERNAL = 0.80
"""Where, on the way around, muscle between the ribs gives way to fat around the vessels beside the sternum."""

# How far around each rib runs as bone: true ribs to their cartilage, false ribs shorter, floating ribs not past the
# flank; index 0 is the first rib.
_BONE_END = np.array([0.78, 0.80, 0.82, 0.83, 0.83, 0.82, 0.80, 0.76, 0.71, 0.64, 0.48, 0.34], dtype=np.float32)
_CARTILAGE_END = np.array([1, 1, 1, 1, 1, 1, 1, 0.93, 0.86, 0.75, 0.48, 0.34], dtype=np.float32)


def _superellipse(dx: NDArray, dy: NDArray, a: NDArray, b: NDArray, n: float) -> NDArray:
    return ((np.abs(dx) / a) ** n + (np.abs(dy) / b) ** n) ** (-1.0 / n)


@dataclass(frozen=True)
class Core:
    """Two ellipses at each height, one well inside the cavity, one around the skin: they settle most points cheaply.

    Attributes
    ----------
    centre_y_mm, per_width, per_depth
        Centre of the ellipses on the midline, and the reciprocals of the half axes of the unit ellipse.
    inner, outer
        (heights,) squared sizes of the two, in unit ellipses.
    bottom_mm, step_mm
        Heights of the rows.
    """

    centre_y_mm: float
    per_width: float
    per_depth: float
    inner: Float
    outer: Float
    bottom_mm: float
    step_mm: float

    @classmethod
    def of(cls, table: Table, half_width_mm: float, half_depth_mm: float) -> "Core":
        """From the radii of a wall table."""
        around, heights = table.shape
        channels = table.values.reshape(around, heights, -1)
        dx, dy = (v[:, None] for v in circle_direction(np.arange(around) * table.step[0]))
        y0, u, v = 0.2 * half_depth_mm, 1.0 / half_width_mm, 1.0 / half_depth_mm

        def size(r: NDArray) -> NDArray[np.float64]:
            return (r * dx * u) ** 2 + ((r * dy - y0) * v) ** 2

        inside = channels[..., CAVITY] - CORE_MARGIN_MM
        inner = np.where(inside.min(axis=0) > 0.3 * half_depth_mm, size(inside).min(axis=0), 0.0)
        outer = size(channels[..., SKIN_OUTER] + 3.0).max(axis=0)
        # A point between two rows must pass at both.
        inner = np.minimum(inner, np.minimum(np.roll(inner, 1), np.roll(inner, -1)))
        outer = np.maximum(outer, np.maximum(np.roll(outer, 1), np.roll(outer, -1)))
        return cls(y0, u, v, inner.astype(np.float32), outer.astype(np.float32), table.start[1], table.step[1])

    def sort(self, x: Float, y: Float, z: Float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Masks of the points surely inside the cavity (by `CORE_MARGIN_MM`) and surely outside the skin."""
        row = ((z - np.float32(self.bottom_mm)) * np.float32(1.0 / self.step_mm) + np.float32(0.5)).astype(np.int32)
        np.clip(row, 0, len(self.inner) - 1, out=row)
        size = np.square(x * np.float32(self.per_width))
        size += np.square((y - np.float32(self.centre_y_mm)) * np.float32(self.per_depth))
        return size < self.inner.take(row), size > self.outer.take(row)


@dataclass(frozen=True)
class Wall:
    """Layers of the trunk's wall; `build` it from parameters."""

    table: Table
    rib_spacing_mm: float
    first_rib_mm: float
    sternum_mm: tuple[float, float, float]
    noise: NDArray[np.float32]
    offset: tuple[float, float, float]
    plane: float
    core: Core

    @classmethod
    def build(
        cls,
        p: TorsoParameters,
        half_width_mm: float,
        half_depth_mm: float,
        spine_front_mm: float,
        noise: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> "Wall":
        """For a cavity of the given half axes at heart level, whose spine reaches forward to y = `spine_front_mm`."""
        s = p.body_scale
        grid_s = s  # heights scale with the skeleton, so a child's table covers the same anatomy
        z = np.arange(_BOTTOM, _TOP + 1e-6, _STEP) * grid_s
        position = np.arange(_DIRECTIONS + 1) * 4.0 / _DIRECTIONS
        dx, dy = (v[:, None] for v in circle_direction(position))
        zz = z[None, :]
        modes: tuple[BoundaryMode, ...] = ("wrap", "nearest")

        def wobble(cells_around: float, cells_up: float) -> NDArray[np.float64]:
            field = smooth_noise(rng, (_DIRECTIONS, len(z)), (cells_around, cells_up), modes)
            return np.concatenate([field, field[:1]])

        # Cavity: widest at the diaphragm, closing over the lung apices.
        t = zz / s
        close = np.clip(1.0 - np.clip(t / 172.0, 0.0, 1.0) ** 2.6, 1e-4, 1.0) ** 0.5
        waist = 1.0 + 0.03 * np.exp(-(((t + 40.0) / 60.0) ** 2)) - 0.06 * np.exp(-(((t + 190.0) / 70.0) ** 2))
        a = half_width_mm * close * waist
        lean_forward = 1.0 - 0.10 * np.clip(t / 150.0, 0.0, 1.5)
        front = half_depth_mm * close**0.7 * lean_forward * (1.0 + 0.10 * p.visceral_fat * (t < -60))
        back = half_depth_mm * close**0.6 * (1.0 - 0.05 * np.clip(-t / 200.0, 0.0, 1.0))
        depth = np.where(dy > 0, front, back)
        cavity = _superellipse(dx, dy, a, depth, p.chest_squareness)
        # The spine bulges into the back of the cavity; the gutters for the lungs remain on both sides.
        across = dx * cavity
        bulge = np.exp(-((across / (24.0 * s)) ** 2)) * (dy < 0)
        cavity -= bulge * np.clip(cavity * -dy + (spine_front_mm + 10.0 * s), 0.0, None)
        cavity *= 1.0 + 0.014 * wobble(9, 6)

        ribs = cavity + _RIB_LAYER * s
        lateral = np.abs(dx)
        upper = np.clip((t - 10.0) / 100.0, 0.0, 1.0)
        pectoral = np.exp(-(((np.abs(dx) - 0.55) / 0.30) ** 2)) * (dy > 0) * np.clip((t + 25.0) / 60.0, 0.0, 1.0)
        dorsal = np.exp(-(((np.abs(dx) - 0.40) / 0.32) ** 2)) * (dy < 0)
        m = p.muscle_mm
        muscle = 0.32 * m + 0.55 * m * lateral**2 * (0.7 + 0.7 * upper) + m * 0.75 * pectoral * (0.6 + 0.8 * upper)
        muscle += (1.35 * m + 6.0 * s) * dorsal
        muscle *= np.clip(1.0 + 0.13 * wobble(8, 5), 0.5, 1.6)
        muscle_outer = ribs + muscle
        # The back is flat: the long muscles beside the spine fill it to the tips of the spinous processes.
        behind = half_depth_mm * close**0.3 + _RIB_LAYER * s + 0.32 * m + 1.35 * m + 7.0 * s
        furrow = 1.0 - 0.05 * np.exp(-((across / (16.0 * s)) ** 2))
        flat_back = _superellipse(dx, dy, 0.90 * (a + _RIB_LAYER * s + 0.5 * m), behind * furrow, 3.2)
        muscle_outer = np.where(dy < 0, np.maximum(muscle_outer, flat_back), muscle_outer)
        # Shoulders and neck, where the outline no longer follows the rib cage.
        heights = (-400, 0, 60, 120, 165, 195, 225, 250, 330)
        shoulder = PchipInterpolator(heights, (1, 40, 95, 145, 172, 150, 84, 62, 58))(t[0])
        neck_depth = PchipInterpolator(heights, (1, 40, 66, 82, 76, 70, 62, 58, 58))(t[0])
        girdle = _superellipse(dx, dy, np.maximum(shoulder * s, 1.0), np.maximum(neck_depth * s, 1.0), 2.2)
        muscle_outer = np.maximum(muscle_outer, girdle)

        # Thicknesses are along the normal; radii grow by more where the outline is oblique to the ray.
        slope = np.gradient(muscle_outer, axis=0) / np.gradient(np.unwrap(np.arctan2(dy, dx)[:, 0]))[:, None]
        stretch = np.clip(np.hypot(1.0, slope / muscle_outer), 1.0, 1.8)
        fat = np.ones_like(muscle_outer)
        fat += 0.35 * np.clip(-t / 150.0, 0.0, 1.0) * (1.0 + 0.3 * (dy > 0))
        fat -= 0.35 * np.clip(t / 150.0, 0.0, 1.0)
        fat += 0.25 * lateral * (t < 0) - 0.25 * (np.abs(dx) < 0.12) * (dy > 0) + 0.2 * dorsal * (t < -50)
        fat = p.subcutaneous_fat_mm * np.clip(fat * (1.0 + 0.16 * wobble(11, 9)), 0.25, 3.0) + 0.8
        skin_inner = muscle_outer + fat * stretch
        gland = np.zeros_like(fat)
        if p.breast_mm > 0:
            # Supine breasts spread sideways.
            x_surface = np.abs(dx) * skin_inner
            centre = 0.66 * half_width_mm
            wide, high = (36.0 + 0.45 * p.breast_mm) * s, (34.0 + 0.42 * p.breast_mm) * s
            mound = np.exp(-((np.abs((x_surface - centre) / wide) ** 2.6) + np.abs((zz - 12.0 * s) / high) ** 2.6)) * (
                dy > -0.1
            )
            mound *= 1.0 + 0.1 * wobble(8, 6)
            skin_inner += p.breast_mm * mound * stretch**0.5
            gland = np.clip(mound - 0.25, 0.0, None) * (0.9 * p.breast_mm + 0.5 * p.subcutaneous_fat_mm)
            gland *= 0.4 + p.breast_glandular
        skin_outer = skin_inner + 1.9 * s**0.3 * stretch

        around = 1.0 - np.arctan2(np.abs(dx), dy) / np.pi
        # Ribs slope down from the spine to the side and their cartilages rise again to the sternum.
        drop = s * (118.0 * np.clip(around, 0.0, 0.8) ** 1.1 - 190.0 * np.clip(around - 0.72, 0.0, 1.0))
        shift = np.broadcast_to(drop, cavity.shape)
        channels = np.stack(
            [cavity, ribs, muscle_outer, skin_inner, skin_outer, gland, shift, np.broadcast_to(around, cavity.shape)],
            axis=-1,
        )
        table = Table.of(channels, (0.0, float(z[0])), (4.0 / _DIRECTIONS, _STEP * grid_s))
        sternum = (float(-55.0 * s), float(112.0 * s), float(rng.uniform(15.0, 20.0) * s))
        plane = float(np.clip(0.012 + 0.0018 * p.subcutaneous_fat_mm, 0.015, 0.05))
        first_rib = float(168.0 * s + rng.uniform(-0.5, 0.5) * p.rib_spacing_mm)
        ox, oy, oz = (float(v) for v in rng.uniform(0.0, 64.0, 3))
        offset = (ox, oy, oz)
        core = Core.of(table, half_width_mm, half_depth_mm)
        return cls(table, p.rib_spacing_mm, first_rib, sternum, noise, offset, plane, core)

    def look_up(self, x: Float, y: Float, z: Float) -> Float:
        """(8, n) channels of the wall table in the directions of the points."""
        return self.table.at(circle_position(x, y), z)

    def classify(self, x: Float, y: Float, z: Float, r: Float, channels: Float) -> NDArray[np.uint8]:
        """Structures of points that lie inside the skin and outside the cavity, at distance `r` from the axis."""
        _, ribs, muscle, inner, outer, gland, shift, around = channels
        out = np.full(len(x), Structure.BODY_FAT, dtype=np.uint8)
        out[r > inner] = Structure.SKIN
        out[r <= muscle] = Structure.MUSCLE
        ox, oy, oz = self.offset
        noise = look_up(self.noise, 0.42 * x + ox, 0.42 * y + oy, 0.42 * z + oz)
        # Planes of fat between the layers of muscle.
        depth = (r - ribs) / np.maximum(muscle - ribs, 1.0)
        thick = (muscle - ribs) > 8.0
        # They run on for centimetres and fade.
        wave = np.sin(0.050 * x + 0.031 * z + ox) + np.sin(0.043 * y - 0.058 * z + oy)
        plane = thick & (np.abs(depth - 0.42 - 0.07 * wave) < self.plane * (1.0 + 0.45 * wave))
        plane |= (depth > -0.10) & (depth < 0.07 * wave)
        out[plane & (out == Structure.MUSCLE)] = Structure.BODY_FAT
        core = (gland > 3.0) & (r > muscle + 4.0) & (r < inner - 6.0)
        core &= np.abs(r - 0.5 * (muscle + inner)) < gland * (0.25 + 0.6 * noise)
        out[core] = Structure.BREAST
        bone = np.flatnonzero(r < ribs)
        if len(bone):
            out[bone] = self._ribs(x[bone], y[bone], z[bone], r[bone], channels[:, bone], noise[bone])
        return out

    def _ribs(
        self, x: Float, y: Float, z: Float, r: Float, channels: Float, noise: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        cavity, ribs, shift, around = channels[CAVITY], channels[RIBS], channels[RIB_SHIFT], channels[AROUND]
        level = (np.float32(self.first_rib_mm) - shift - z) / np.float32(self.rib_spacing_mm)
        rib = np.rint(level)
        number = np.clip(rib, 0, 11).astype(np.int32)
        real = (rib >= 0) & (rib <= 11)
        half = 0.5 * (ribs - cavity)
        out_of_middle = (r - 0.5 * (ribs + cavity)) / half
        bony = around < _BONE_END[number]
        per_height = np.where(bony, np.float32(1.0 / _BONE_HALF[0]), np.float32(1.0 / _CARTILAGE_HALF[0]))
        per_depth = np.where(bony, np.float32(1.0 / _BONE_HALF[1]), np.float32(1.0 / _CARTILAGE_HALF[1]))
        oval = np.square((level - rib) * per_height) + np.square(out_of_middle * per_depth)
        oval *= 0.92 + 0.16 * noise
        real &= around < _CARTILAGE_END[number]
        out = np.where((np.abs(level - rib) > 0.30) & (noise > 0.90), Structure.BODY_FAT, Structure.MUSCLE)
        out = out.astype(np.uint8)
        # Fat wraps ribs and cartilages here and there, and fills most of the gaps beside the sternum.
        out[real & (oval < 1.45) & (noise > 0.45)] = Structure.BODY_FAT
        out[(around > _PARASTERNAL) & (noise > 0.38 + 0.45 * out_of_middle)] = Structure.BODY_FAT
        inside = real & (oval < 1.0)
        bone = inside & bony
        out[bone] = Structure.RIB
        out[bone & (oval < 0.48)] = Structure.RIB_MARROW
        out[inside & ~bony] = Structure.CARTILAGE
        low, high, wide = self.sternum_mm
        edge = np.abs(x) / (wide * (1.0 + 0.35 * np.clip((z - high * 0.6) / (high * 0.4), 0, 1)))
        breast_bone = (y > 0) & (edge < 1.0) & (z > low) & (z < high) & (np.abs(out_of_middle) < 0.9)
        out[breast_bone] = Structure.STERNUM
        rind = breast_bone & ((edge > 0.92) | (np.abs(out_of_middle) > 0.72))
        out[rind] = Structure.BONE_CORTEX
        return out

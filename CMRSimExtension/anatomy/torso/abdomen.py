"""Organs below the diaphragm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.noise import look_up
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.torso.compartments import Compartments
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.shapes import Ellipsoid, Ripple, points_within
from CMRSimExtension.anatomy.torso.spine import Spine
from CMRSimExtension.anatomy.torso.tables import Float
from CMRSimExtension.anatomy.torso.vessel_tree import VesselVolume


@dataclass(frozen=True)
class Abdomen:
    """Everything inside the cavity below the diaphragm; torso coordinates, mm."""

    parameters: TorsoParameters
    ripple: Ripple
    tangle: Ripple
    stomach: tuple[Ellipsoid, ...]
    stomach_levels: tuple[float, float]
    spleen: Ellipsoid
    kidneys: tuple[Ellipsoid, Ellipsoid]
    gallbladder: Ellipsoid
    psoas: tuple[float, float]
    pancreas: tuple[float, float, float]
    bowel_top_mm: float
    spine: Spine
    liver_vessels: VesselVolume
    noise: NDArray[np.float32]
    offset: NDArray[np.float32]

    @classmethod
    def build(
        cls,
        p: TorsoParameters,
        half_width_mm: float,
        half_depth_mm: float,
        floor: Compartments,
        spine: Spine,
        liver_vessels: VesselVolume,
        noise: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> "Abdomen":
        """Organs hung under the two domes of `floor` in a cavity of the given half axes."""
        s = p.body_scale
        a, b = half_width_mm / (132.0 * s), half_depth_mm / (80.0 * s)  # girth of this cavity over the reference
        left, right = floor.left_dome_mm, floor.right_dome_mm
        # Stomach and spleen rise with the dome; what lies behind and below them hardly does.
        deep = left - 0.7 * (p.left_dome_mm - 20.0 * s)
        j = rng.normal(0.0, 1.0, 24)
        full = p.stomach_fill
        ripple = Ripple.draw(
            rng, tuple(s * v for v in (150.0, 110.0, 80.0, 55.0, 38.0)), tuple(s * v for v in (6.0, 5.0, 3.5, 2.4, 1.5))
        )

        tangle = Ripple.draw(
            rng, tuple(s * v for v in (170.0, 130.0, 110.0, 90.0)), tuple(s * v for v in (26.0, 22.0, 17.0, 11.0))
        )

        def place(x: float, y: float, z: float) -> tuple[float, float, float]:
            return x * s * a, y * s * b, z

        girth = 0.70 + 0.47 * full
        stomach = (
            Ellipsoid.at(
                place(-60 + 5 * j[0], -12 + 6 * j[1], left - (8 + 38 * girth) * s),
                (s * 44 * girth, s * 42 * girth, s * 40 * girth),
                (14.0, -10.0),
            ),
            Ellipsoid.at(
                place(-56 + 6 * j[2], 22 + 6 * j[3], left - (50 + 44 * girth) * s),
                (s * 32 * girth, s * 30 * girth, s * 56),
                (-20.0, 14.0),
            ),
            Ellipsoid.at(
                place(-14 + 6 * j[4], 38 + 5 * j[5], deep - (90 + 48 * girth) * s),
                (s * 46, s * 22 * girth, s * 22 * girth),
                (-14.0, 0.0),
            ),
        )
        middle, radius = stomach[0].centre[1], s * 42 * girth
        # Supine: air lies in front, solid food settles at the back.
        air = float(middle + radius * (1.25 - 1.6 * p.stomach_air))
        food = float(middle + radius * (2.2 * p.stomach_food - 1.0))
        half = 0.5 * p.spleen_mm
        spleen = Ellipsoid.at(
            place(-103 + 4 * j[6], -40 + 5 * j[7], left - (46 + 5 * j[8]) * s),
            (0.62 * half, 0.90 * half, half),
            (18.0, 24.0),
        )
        k = 0.5 * p.kidney_mm
        x0, y0 = spine.centre_at(deep - 120 * s)
        kidneys = (
            Ellipsoid.at(
                (x0 + s * 55, y0 + s * (2 + 2 * j[9]), right - (152 + 8 * j[10]) * s),
                (0.52 * k, 0.46 * k, k),
                (14.0, 12.0),
            ),
            Ellipsoid.at(
                (x0 - s * 56, y0 + s * (2 + 2 * j[11]), deep - (122 + 8 * j[12]) * s),
                (0.52 * k, 0.46 * k, k),
                (-14.0, 12.0),
            ),
        )
        gallbladder = Ellipsoid.at(
            place(48 + 5 * j[13], 46 + 4 * j[14], right - (112 + 6 * j[15]) * s),
            (s * (11 + 2 * j[16]), s * (14 + 2 * j[16]), s * 30),
            (20.0, -30.0),
        )
        return cls(
            p,
            ripple,
            tangle,
            stomach,
            (air, food),
            spleen,
            kidneys,
            gallbladder,
            (s * 33.0, s * (14.0 if p.sex == "F" else 18.0)),
            (s * 11.0, deep - (104 + 5 * j[17]) * s, 0.22),
            left - (24 + 10 * j[18]) * s,
            spine,
            liver_vessels,
            noise,
            rng.uniform(0, 64, 3).astype(np.float32),
        )

    def classify(
        self, x: Float, y: Float, z: Float, wall_mm: Float, below_mm: Float, liver_mm: Float
    ) -> NDArray[np.uint8]:
        """Structures of points in the abdominal cavity.

        Parameters
        ----------
        wall_mm, below_mm, liver_mm
            Distances inside the cavity's wall, below the diaphragm, and above the liver's lower face.
        """
        p, s = self.parameters, self.parameters.body_scale
        wx, wy, wz = self.ripple.apply(x, y, z)
        noise = look_up(self.noise, 0.4 * x + self.offset[0], 0.4 * y + self.offset[1], 0.4 * z + self.offset[2])
        out = np.full(len(x), Structure.VISCERAL_FAT, dtype=np.uint8)
        gap = np.float32(1.0 + 3.0 * p.visceral_fat)  # below CORE_MARGIN_MM
        fits = (wall_mm > gap) & (below_mm > 0)
        self._bowel(out, x, y, z, wx, wy, wz, fits, noise)
        liver = fits & (liver_mm > 0)
        # Perirenal fat, then the organs over it in the order in which they give way to one another.
        at = np.flatnonzero(liver)
        vessel = self.liver_vessels.inside(x[at], y[at], z[at])
        out[at] = np.where(vessel, np.uint8(Structure.LIVER_VESSEL), np.uint8(Structure.LIVER))
        at = points_within(self.gallbladder.bounds(), x, y, z, 14.0 * s)
        if len(at):
            inside = (self.gallbladder.level(wx[at], wy[at], wz[at]) < 1.0) & fits[at]
            out[at[inside]] = Structure.GALLBLADDER
        self._stomach(out, x, y, z, wx, wy, wz, fits, noise)
        at = points_within(self.spleen.bounds(), x, y, z, 16.0 * s)
        if len(at):
            # It presses a hollow into the stomach and leaves a film of fat between.
            level = self.spleen.level(wx[at], wy[at], wz[at])
            there = fits[at] & ~liver[at]
            out[at[there & (level < 1.0 + 0.2 * p.visceral_fat)]] = Structure.VISCERAL_FAT
            out[at[there & (level < 1.0)]] = Structure.SPLEEN
        self._pancreas(out, x, y, z, wx, wy, wz, noise)
        self._kidneys(out, x, y, z, wx, wy, wz, noise)
        self._psoas(out, x, y, z)
        return out

    def _stomach(
        self,
        out: NDArray[np.uint8],
        x: Float,
        y: Float,
        z: Float,
        wx: Float,
        wy: Float,
        wz: Float,
        fits: NDArray[np.bool_],
        noise: NDArray[np.float32],
    ) -> None:
        s = self.parameters.body_scale
        boxes = [e.bounds(1.25) for e in self.stomach]
        box = np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)
        at = points_within(box, x, y, z, 14.0 * s)
        if len(at) == 0:
            return
        px, py, pz = wx[at], wy[at], wz[at]
        # Blobs that melt into one another; the logarithm turns their sum into a depth in mm.
        total = np.zeros(len(at), dtype=np.float32)
        for blob in self.stomach:
            total += np.exp(3.0 - 3.0 * blob.level(px, py, pz))
        size = np.float32(0.5 * 36.0 * s / 3.0)
        depth = size * np.log(total + np.float32(1e-6))
        ok = fits[at]
        # Lean people's stomachs touch what is around them.
        fat = ok & (depth > -6.0 * self.parameters.visceral_fat)
        spleen_or_liver = np.isin(out[at], (Structure.SPLEEN, Structure.LIVER, Structure.LIVER_VESSEL))
        out[at[fat & ~spleen_or_liver]] = Structure.VISCERAL_FAT
        out[at[fat & (depth > -3.0 * self.parameters.visceral_fat)]] = Structure.VISCERAL_FAT
        # Rugae run along the organ, wind, and are the higher the emptier it is.
        slack = 1.0 - self.parameters.stomach_fill
        wind = 1.3 * np.sin((0.16 * py + 0.09 * pz) / s) + 1.2 * noise[at]
        fold = np.sin((0.46 * px - 0.33 * py) / s + wind) + 0.5
        thick = s**0.5 * (3.0 + 8.5 * slack * slack * np.clip(fold, 0.0, 1.3))
        wall = ok & (depth > 0)
        out[at[wall]] = Structure.STOMACH_WALL
        lumen = wall & (depth > thick)
        air, food = self.stomach_levels
        content = np.full(len(at), Structure.STOMACH_FLUID, dtype=np.uint8)
        # Food is a mash: packed at the back with a little fluid between, loosening to lumps in the fluid before it.
        loose = np.clip((py - food) / (26.0 * s) + 0.5, 0.04, 0.90)
        content[noise[at] > loose] = Structure.STOMACH_FOOD
        content[y[at] > air] = Structure.STOMACH_AIR
        out[at[lumen]] = content[lumen]

    def _pancreas(
        self,
        out: NDArray[np.uint8],
        x: Float,
        y: Float,
        z: Float,
        wx: Float,
        wy: Float,
        wz: Float,
        noise: NDArray[np.float32],
    ) -> None:
        s = self.parameters.body_scale
        radius, level, rise = self.pancreas
        at = np.flatnonzero((np.abs(z - level) < 45 * s) & (x > -80 * s) & (x < 45 * s) & (y < 30 * s))
        if len(at) == 0:
            return
        front = self.spine.line[:, 1].max() + self.spine.half_depth_mm
        px, py, pz = wx[at], wy[at], wz[at]
        bow = front + 30.0 * s - (px / (72.0 * s)) ** 2 * 34.0 * s
        thick = radius * (0.9 + 0.45 * (px > 15 * s)) * (0.62 + 0.55 * noise[at])
        inside = ((py - bow) ** 2 + 0.5 * (pz - level + rise * px) ** 2) < thick**2
        free = np.isin(
            out[at], (Structure.VISCERAL_FAT, Structure.BOWEL_WALL, Structure.BOWEL_CONTENTS, Structure.BOWEL_AIR)
        )
        out[at[inside & free]] = Structure.PANCREAS

    def _kidneys(
        self,
        out: NDArray[np.uint8],
        x: Float,
        y: Float,
        z: Float,
        wx: Float,
        wy: Float,
        wz: Float,
        noise: NDArray[np.float32],
    ) -> None:
        s = self.parameters.body_scale
        fat = (1.05 + 0.35 * self.parameters.visceral_fat) ** 2
        for kidney, outward in zip(self.kidneys, (1.0, -1.0), strict=True):
            at = points_within(kidney.bounds(fat**0.5), x, y, z, 14.0 * s)
            if len(at) == 0:
                continue
            px, py, pz = 0.5 * (x[at] + wx[at]), 0.5 * (y[at] + wy[at]), 0.5 * (z[at] + wz[at])
            level = kidney.level(px, py, pz)
            # Kidneys are beans: the hilum, facing the spine and forward, is hollow and filled with fat and pelvis.
            k = 0.5 * self.parameters.kidney_mm
            inward = -outward * (px - kidney.centre[0]) / (0.52 * k)
            up = (pz - kidney.centre[2]) / (0.45 * k)
            hilum = np.square(inward - 0.95) / 0.55 + up * up + np.square((py - kidney.centre[1]) / (0.45 * k) - 0.3)
            inside = level < 1.0
            solid = np.isin(out[at], (Structure.SPLEEN, Structure.LIVER, Structure.LIVER_VESSEL, Structure.MUSCLE))
            out[at[(level < fat) & (~solid | (level < 1.06))]] = Structure.VISCERAL_FAT
            out[at[inside]] = Structure.KIDNEY_CORTEX
            # Pyramids point to the hilum, columns of cortex between them.
            around = np.cos(7.0 * np.arctan2(up, inward - 0.6)) + np.cos(4.0 * (py - kidney.centre[1]) / (0.2 * k))
            pyramids = (level < 0.60) & (around + 1.5 * (noise[at] - 0.5) > -0.55)
            out[at[pyramids & inside]] = Structure.KIDNEY_MEDULLA
            out[at[(hilum < 0.62) & inside]] = Structure.VISCERAL_FAT
            out[at[(hilum < 0.62) & inside & (noise[at] > 0.62)]] = Structure.KIDNEY_PELVIS

    def _psoas(self, out: NDArray[np.uint8], x: Float, y: Float, z: Float) -> None:
        s = self.parameters.body_scale
        aside, radius = self.psoas
        top = self.kidneys[1].centre[2]
        at = np.flatnonzero((z < top) & (y < -20.0 * s) & (np.abs(x) < aside + 2.0 * radius))
        if len(at) == 0:
            return
        cx, cy = self.spine.centre(z[at])
        grow = radius * np.clip(0.45 + (top - z[at]) / (150.0 * s), 0.0, 1.3)
        dx = np.abs(x[at] - cx) - aside
        inside = dx**2 + (0.8 * (y[at] - cy - 2.0 * s)) ** 2 < grow**2
        # The posterior abdominal wall beside it (quadratus lumborum).
        out[at[inside]] = Structure.MUSCLE

    def _bowel(
        self,
        out: NDArray[np.uint8],
        x: Float,
        y: Float,
        z: Float,
        wx: Float,
        wy: Float,
        wz: Float,
        fits: NDArray[np.bool_],
        noise: NDArray[np.float32],
    ) -> None:
        p, s = self.parameters, self.parameters.body_scale
        back = self.spine.half_depth_mm + float(self.spine.line[:, 1].max())
        ok = fits & (wz < self.bowel_top_mm + 0.25 * (wx + 40.0 * s)) & (wy > back - 6.0 * s + 0.10 * np.abs(wx))
        at = np.flatnonzero(ok)
        if len(at) == 0:
            return
        # Sausages: the cells of a stretched, staggered lattice, thoroughly bent; each cell has its own filling.
        bx, by, bz = self.tangle.apply(x[at], y[at], z[at])
        v, w = by * np.float32(1 / (35.0 * s)), bz * np.float32(1 / (33.0 * s))
        row, level = np.rint(v), np.rint(w)
        u = bx * np.float32(1 / (58.0 * s)) + 0.5 * row + 0.37 * level
        cell = np.rint(u)
        filling = look_up(self.noise, 17 * cell + 5 * row, 23 * row + 11 * level, 29 * level + 7 * cell)
        squared = (0.82 * (u - cell)) ** 2 + (v - row) ** 2 + (w - level) ** 2
        radius = 0.70 - 0.24 * p.visceral_fat - 0.20 * filling * filling
        edge = radius - np.sqrt(squared) + 0.14 * (noise[at] - 0.5)
        # Neighbours flatten one another, but round the corners.
        edge = np.minimum(edge, 0.48 - np.sqrt(np.sqrt((v - row) ** 4 + (w - level) ** 4)))
        bowel = edge > 0
        lumen = edge > 0.07 + 0.16 * (filling > 0.7)  # some loops are empty: thick wall, little inside
        out[at[bowel]] = Structure.BOWEL_WALL
        out[at[lumen]] = Structure.BOWEL_CONTENTS
        # Gas gathers in the front of its loop, over a level of its own.
        gassy = (1.37 * filling) % 1.0 + 0.0025 / s * y[at] > 1.0 - p.bowel_gas
        out[at[lumen & gassy & (v - row > 0.5 * (2.71 * filling % 1.0) - 0.25)]] = Structure.BOWEL_AIR

"""The tubes of the mediastinum and the retroperitoneum: great vessels, airways, oesophagus, crura.

Upright ones are circles whose centre and radius are tabulated over z; the others (aortic arch, pulmonary arteries and
veins, main bronchi) are chains of capsules, tested only inside their bounding boxes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.torso.parameters import TorsoParameters
from CMRSimExtension.anatomy.torso.spine import Spine
from CMRSimExtension.anatomy.torso.tables import Float

_STEP = 2.0


@dataclass(frozen=True)
class Landmarks:
    """Where the tubes meet the heart and the lungs; torso coordinates, mm."""

    aortic_valve: NDArray[np.float64]
    right_atrium: NDArray[np.float64]
    left_atrium: NDArray[np.float64]
    pulmonary_valve: NDArray[np.float64]
    hilum_right: NDArray[np.float64]
    hilum_left: NDArray[np.float64]
    hiatus_mm: float
    """z at which the aorta passes the diaphragm."""


@dataclass(frozen=True)
class Tubes:
    """All tubes of one torso.

    Attributes
    ----------
    rows
        (heights, tubes * 3) float32: x, y and radius of each upright tube every 2 mm; radius 0 where it does not run.
    bottom_mm
        z of the first row.
    upright
        (structure of the lumen, structure of the wall, wall thickness in mm) of each; the first that claims a point has
        it.
    chains
        Capsules: structure, (n, 3) points, (n,) radii, wall thickness.
    """

    rows: NDArray[np.float32]
    bottom_mm: float
    upright: tuple[tuple[int, int, float], ...]
    chains: tuple[tuple[int, NDArray[np.float32], NDArray[np.float32], float], ...]
    box: tuple[NDArray[np.float32], NDArray[np.float32]]

    @classmethod
    def build(cls, p: TorsoParameters, spine: Spine, marks: Landmarks, rng: np.random.Generator) -> "Tubes":
        """From the landmarks of heart and lungs."""
        s = p.body_scale
        bottom = -380.0 * s
        z = np.arange(bottom, 330.0 * s, _STEP)
        sx, sy = (np.asarray(v, dtype=float) for v in spine.centre(z.astype(np.float32)))
        front = sy + spine.half_depth_mm
        jitter = rng.normal(0.0, 1.0, 12) * s
        valve = marks.aortic_valve
        arch_top = valve[2] + (72.0 * s) + 3.0 * jitter[0]
        ra = 0.5 * p.aorta_mm
        names: list[tuple[int, int, float]] = []
        columns: list[NDArray[np.float64]] = []

        def upright(
            structure: Structure,
            wall: Structure,
            wall_mm: float,
            heights: list[float],
            x: list[float],
            y: list[float],
            r: list[float],
        ) -> None:
            order = np.argsort(heights)
            h = np.asarray(heights, dtype=float)[order]
            runs = (z >= h[0]) & (z <= h[-1])
            column = np.zeros((len(z), 3))
            for k, values in enumerate((x, y, r)):
                column[:, k] = PchipInterpolator(h, np.asarray(values, dtype=float)[order])(np.clip(z, h[0], h[-1]))
            column[:, 2] *= runs
            columns.append(column)
            names.append((int(structure), int(wall), wall_mm))

        def at(height: float) -> tuple[float, float]:
            k = int(np.clip((height - bottom) / _STEP, 0, len(z) - 1))
            return float(sx[k]), float(front[k])

        hiatus = marks.hiatus_mm
        levels = [bottom, hiatus - 90 * s, hiatus - 30 * s, hiatus + 30 * s, arch_top - 40 * s, arch_top - 14 * s]
        offset_x = [-4, -6, -10, -19, -24, -22]
        offset_y = [ra + 3, ra + 3, ra + 3, ra - 1, ra - 6, ra - 4]
        calibre = [0.70, 0.80, 0.9, 1.0, 1.04, 1.06]
        upright(
            Structure.AORTA,
            Structure.VESSEL_WALL,
            1.3,
            levels,
            [at(h)[0] + o * s + jitter[1] for h, o in zip(levels, offset_x, strict=True)],
            [at(h)[1] + o for h, o in zip(levels, offset_y, strict=True)],
            [ra * c for c in calibre],
        )
        atrium = marks.right_atrium
        inlet = float(atrium[2] - 14 * s)
        levels = [bottom, hiatus - 60 * s, inlet - 45 * s, inlet - 18 * s, inlet]
        upright(
            Structure.IVC,
            Structure.VESSEL_WALL,
            0.8,
            levels,
            [at(bottom)[0] + 17 * s, at(hiatus)[0] + 20 * s, 0.5 * (atrium[0] + 22 * s), atrium[0] - 4 * s, atrium[0]],
            [
                at(bottom)[1] + 11 * s,
                at(hiatus)[1] + 14 * s,
                0.6 * at(inlet)[1] + 0.4 * atrium[1] + 4 * s,
                atrium[1] - 8 * s,
                atrium[1] - 2 * s,
            ],
            [9.5 * s, 10.5 * s, 12 * s, 12.5 * s, 12.5 * s],
        )
        top = float(atrium[2] + 22 * s)
        levels = [top, top + 30 * s, arch_top + 10 * s, arch_top + 45 * s]
        upright(
            Structure.SVC,
            Structure.VESSEL_WALL,
            0.8,
            levels,
            [atrium[0], max(atrium[0] - 10 * s, 22 * s), 24 * s, 20 * s],
            [atrium[1], atrium[1] - 4 * s, valve[1] - 10 * s, valve[1] - 6 * s],
            [10.5 * s, 9.5 * s, 9 * s, 7 * s],
        )
        carina = valve[2] + 46 * s + 3 * jitter[2]
        high = 320.0 * s
        levels = [carina - 4 * s, carina + 40 * s, high]
        behind = [at(carina)[1] + 20 * s, at(carina + 40 * s)[1] + 22 * s, at(high)[1] + 24 * s]
        upright(
            Structure.AIRWAY,
            Structure.CARTILAGE,
            1.4,
            levels,
            [4 * s, 3 * s, 0.0],
            behind,
            [8.5 * s, 8.5 * s, 8.0 * s],
        )
        levels = [hiatus + 12 * s, hiatus + 45 * s, carina, high]
        upright(
            Structure.OESOPHAGUS,
            Structure.OESOPHAGUS,
            1.0,
            levels,
            [-16 * s, -8 * s + jitter[3], -4 * s, -3 * s],
            [
                at(hiatus + 12 * s)[1] + 26 * s,
                at(hiatus + 45 * s)[1] + 17 * s,
                at(carina)[1] + 9 * s,
                at(high)[1] + 9 * s,
            ],
            [7.5 * s, 7 * s, 6.5 * s, 6.5 * s],
        )
        levels = [hiatus - 20 * s, hiatus + 60 * s, carina + 12 * s]
        upright(
            Structure.SVC,
            Structure.SVC,
            0.0,
            levels,
            [at(h)[0] + 9 * s for h in levels],
            [at(h)[1] + 5 * s for h in levels],
            [3.0 * s, 3.8 * s, 4.4 * s],
        )
        for side in (-1.0, 1.0):
            levels = [hiatus - 85 * s, hiatus - 45 * s, hiatus - 4 * s]
            upright(
                Structure.DIAPHRAGM,
                Structure.DIAPHRAGM,
                0.0,
                levels,
                [at(h)[0] + side * o * s for h, o in zip(levels, (11, 14, 13), strict=True)],
                [at(h)[1] + o * s for h, o in zip(levels, (3, 8, 14), strict=True)],
                [3.5 * s, 6.0 * s, 6.5 * s],
            )

        def chain(structure: Structure, points: list, radii: list[float], wall: float) -> None:
            chains.append(
                (int(structure), np.asarray(points, dtype=np.float32), np.asarray(radii, dtype=np.float32), wall)
            )

        chains: list[tuple[int, NDArray[np.float32], NDArray[np.float32], float]] = []
        ax, ay = at(arch_top - 14 * s)
        asc = 1.28 * ra
        chain(
            Structure.AORTA,
            [
                valve + s * np.array([1, 2, 6]),
                valve + s * np.array([9, 6, 30]),
                valve + s * np.array([8, 0, 52]),
                [valve[0] - 2 * s, valve[1] - 20 * s, arch_top],
                [0.5 * (valve[0] + ax) - 14 * s, ay + 22 * s, arch_top],
                [ax - 22 * s, ay + ra - 2, arch_top - 16 * s],
            ],
            [asc, asc, 1.2 * ra, 1.14 * ra, 1.1 * ra, 1.06 * ra],
            1.4,
        )
        valve_p = marks.pulmonary_valve
        fork = np.array([valve_p[0] + 6 * s, 0.5 * (valve_p[1] + marks.hilum_left[1]), marks.hilum_left[2] + 4 * s])
        right, left = marks.hilum_right, marks.hilum_left
        chain(
            Structure.PULMONARY_ARTERY,
            [valve_p, 0.5 * (valve_p + fork) + s * np.array([-2, 2, 3]), fork],
            [12.5 * s, 12.5 * s, 12 * s],
            0.8,
        )
        chain(
            Structure.PULMONARY_ARTERY,
            [fork, 0.5 * (fork + right) + s * np.array([4, -4, 2]), right],
            [11 * s, 10 * s, 8.5 * s],
            0.8,
        )
        chain(
            Structure.PULMONARY_ARTERY,
            [fork, 0.5 * (fork + left) + s * np.array([-3, 0, 4]), left],
            [11 * s, 10 * s, 8.5 * s],
            0.8,
        )
        # Off the arch: brachiocephalic, left carotid and left subclavian artery; the brachiocephalic vein before them.
        for share, bend, radius in ((0.0, 12, 6.0), (0.4, -3, 4.0), (0.8, -18, 4.5)):
            foot = np.array([valve[0] - 2 * s, valve[1] - 20 * s, arch_top]) * (1 - share)
            foot += np.array([ax - 4 * s, ay + ra + 8 * s, arch_top]) * share
            chain(
                Structure.AORTA,
                [foot, foot + s * np.array([0.5 * bend, -2, 34]), foot + s * np.array([2.0 * bend, -8, 78])],
                [radius * s, radius * s, 0.8 * radius * s],
                0.8,
            )
        vein = [[22 * s, valve[1] - 4 * s, arch_top + 16 * s], [-30 * s, valve[1] - 6 * s, arch_top + 42 * s]]
        chain(Structure.SVC, vein, [6.5 * s, 6 * s], 0.6)
        atrium_l = marks.left_atrium
        for hilum, drop, forward in ((right, -12, 8), (right, -30, -4), (left, -14, 8), (left, -32, -4)):
            chain(Structure.PULMONARY_VEIN, [atrium_l, hilum + s * np.array([0, forward, drop])], [7 * s, 5.5 * s], 0.5)
        fork_y = behind[0]
        for hilum in (right, left):
            chain(Structure.AIRWAY, [[4 * s, fork_y, carina], hilum + s * np.array([0, -5, -8])], [7 * s, 5.5 * s], 1.2)
        low = np.min([(c[1] - c[2][:, None] - c[3]).min(0) for c in chains], axis=0)
        upper = np.max([(c[1] + c[2][:, None] + c[3]).max(0) for c in chains], axis=0)
        return cls(
            np.ascontiguousarray(np.concatenate(columns, axis=1), dtype=np.float32),
            bottom,
            tuple(names),
            tuple(chains),
            (low, upper),
        )

    def classify(self, x: Float, y: Float, z: Float, out: NDArray[np.uint8], keep: NDArray[np.bool_]) -> None:
        """Write the tubes' structures into `out` (n,) at their points, except where `keep` is set."""
        row = np.clip((z - np.float32(self.bottom_mm)) * np.float32(1 / _STEP), 0, len(self.rows) - 1).astype(np.int32)
        table = self.rows.take(row, axis=0)
        free = ~keep
        for k in range(len(self.upright) - 1, -1, -1):
            lumen, wall, thick = self.upright[k]
            dx, dy, r = x - table[:, 3 * k], y - table[:, 3 * k + 1], table[:, 3 * k + 2]
            d2 = dx * dx + dy * dy
            if thick > 0:
                outer = r + np.float32(thick)
                out[(d2 < outer * outer) & (r > 0) & free] = wall
            out[(d2 < r * r) & free] = lumen

    def classify_chains(self, x: Float, y: Float, z: Float, out: NDArray[np.uint8]) -> None:
        """Write the chains' structures into `out` (n,); call it with points of the chest only."""
        low, high = self.box
        near = np.flatnonzero(
            (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1]) & (z > low[2]) & (z < high[2])
        )
        if len(near) == 0:
            return
        points = np.stack([x[near], y[near], z[near]])
        best = np.full(len(near), np.float32(np.inf))
        found = np.zeros(len(near), dtype=np.uint8)
        for structure, line, radii, wall in self.chains:
            for a, b, ra, rb in zip(line[:-1], line[1:], radii[:-1], radii[1:], strict=True):
                reach = max(ra, rb) + wall
                lo, hi = np.minimum(a, b) - reach, np.maximum(a, b) + reach
                inside = np.flatnonzero(
                    (points[0] > lo[0])
                    & (points[0] < hi[0])
                    & (points[1] > lo[1])
                    & (points[1] < hi[1])
                    & (points[2] > lo[2])
                    & (points[2] < hi[2])
                )
                if len(inside) == 0:
                    continue
                d = points[:, inside] - a[:, None]
                axis = b - a
                t = np.clip((axis @ d) / np.float32(max(float(axis @ axis), 1e-6)), 0, 1)
                d -= axis[:, None] * t
                depth = np.sqrt((d * d).sum(0)) - (ra + (rb - ra) * t)
                hit = (depth < wall) & (depth < best[inside])
                where = inside[hit]
                best[where] = depth[hit]
                tube_wall = Structure.CARTILAGE if structure == Structure.AIRWAY else Structure.VESSEL_WALL
                found[where] = np.where(depth[hit] < 0, structure, int(tube_wall))
        hit = found > 0
        out[near[hit]] = found[hit]

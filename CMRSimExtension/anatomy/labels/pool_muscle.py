"""Papillary muscles and trabeculae inside the blood pools of a label image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.heart.parameters import HeartParameters
from CMRSimExtension.anatomy.labels.base_bodies import Grid
from CMRSimExtension.anatomy.labels.shell_map import ShellTables
from CMRSimExtension.anatomy.labels.volume import FineField
from CMRSimExtension.anatomy.structures import Structure as S


@dataclass(frozen=True)
class PoolMuscle:
    """Papillary muscles and trabeculae: muscle within a blood pool, whose volume stays while the pool's does not.

    A point of the pool is muscle where `field` lies below a threshold: 0 at the labels' own moment, more when the pool
    has shrunk, so that the same amount of muscle crowds a smaller cavity.

    Attributes
    ----------
    field
        About the distance to the muscle, mm, negative within.
    is_papillary
        Negative where the muscle is a papillary muscle rather than a trabecula.
    levels
        Quantiles (0, 0.01 ... 1) of `field` over the pool.
    share
        Share of the pool that is muscle at the labels' own moment.
    """

    field: FineField
    is_papillary: FineField
    levels: NDArray[np.float64]
    share: float

    @classmethod
    def of(
        cls, trabeculae: NDArray, papillary: NDArray, pool: NDArray[np.bool_], affine: NDArray[np.float64]
    ) -> "PoolMuscle":
        """From the distances to both kinds of muscle on a fine grid, and the mask of the pool on it."""
        field = np.minimum(trabeculae, papillary)
        inside = field[pool]
        return cls(
            FineField(field, affine),
            FineField(papillary - trabeculae, affine),
            np.quantile(inside, np.linspace(0.0, 1.0, 101)),
            float(np.mean(inside < 0)),
        )

    def threshold(self, volume_ratio: float) -> float:
        """Value of `field` below which a pool of `volume_ratio` times its labelled volume is muscle."""
        wanted = min(self.share / volume_ratio, 0.8)
        return float(np.interp(wanted, np.linspace(0.0, 1.0, len(self.levels)), self.levels))

    def fill_in(
        self, structure: NDArray[np.uint8], points_mm: NDArray[np.floating], pool: S, volume_ratio: float
    ) -> None:
        """Turn the points of `structure` that are `pool` and lie in its muscle into that muscle, in place."""
        index = np.flatnonzero(structure == pool)
        points = points_mm[index]
        solid = self.field.at(points) < self.threshold(volume_ratio)
        index, points = index[solid], points[solid]
        if pool is S.RV_BLOOD:
            structure[index] = S.RV_TRABECULAE
        else:
            structure[index] = np.where(self.is_papillary.at(points) < 0, S.LV_PAPILLARY, S.LV_TRABECULAE)


def papillary_muscles(grid: Grid, level: NDArray, shells: ShellTables, radius_mm: float) -> NDArray[np.float32]:
    """Signed distance to two papillary muscles where most hearts have them.

    Parameters
    ----------
    grid
        Heart coordinates.
    level
        0 at the annulus plane, 1 at the apex, at every node of the grid.
    shells
        Of the same heart.
    radius_mm
        Of the muscles at their feet, before it is scaled to the cavity.
    """
    x, y, z = grid
    p = HeartParameters()
    length = shells.apex_mm - shells.base_mm
    radius = radius_mm * cavity_size(shells)
    out = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), 50.0, dtype=np.float32)
    for angle_deg, (top, bottom) in zip(p.papillary_angles_deg, p.papillary_levels, strict=True):
        angle = np.deg2rad(angle_deg)
        column = round(angle / (2 * np.pi) * shells.endo.shape[1]) % shells.endo.shape[1]
        reach = np.sqrt(np.interp(z, shells.levels_mm, shells.endo[:, column]))
        along = np.clip((level - top) / (bottom - top), 0.0, 1.0)
        # Free tips above, broad feet in the wall below.
        centre = reach - radius * (1.7 - 1.1 * along)
        girth = radius * (0.75 + 0.35 * along)
        gap = np.hypot(x - centre * np.cos(angle), y - centre * np.sin(angle)) - girth
        ends = np.maximum(top - level, level - bottom - 0.06) * length
        out = np.minimum(out, np.maximum(gap, ends + 0.4 * gap)).astype(np.float32)
    return out


def cavity_size(shells: ShellTables) -> float:
    """Radius of the LV cavity over a normal adult's 24 mm, within 0.35 to 1.2."""
    middle = shells.base_mm + 0.4 * (shells.apex_mm - shells.base_mm)
    row = int(np.argmin(np.abs(shells.levels_mm - middle)))
    return float(np.clip(np.sqrt(shells.endo[row].mean()) / 24.0, 0.35, 1.2))

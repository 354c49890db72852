"""A labelled heart in motion: what `sample`, `may_move` and `blood_velocity` of label images and XCAT share."""

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.composition import TISSUE_OF_STRUCTURE
from CMRSimExtension.anatomy.function import MYOCARDIAL_DENSITY_G_PER_ML, CardiacFunction
from CMRSimExtension.anatomy.labels.beat import Beat
from CMRSimExtension.anatomy.labels.heart_volume import HeartVolume
from CMRSimExtension.anatomy.labels.shell_motion import ShellMotion
from CMRSimExtension.anatomy.labels.volume import FineField, LabelVolume
from CMRSimExtension.anatomy.structures import Structure, Tissue

_REST_TABLE_MM = 3.0
_STEP = 2e-3
"""Phase step of the velocity's finite difference."""


class BeatingHeart:
    """Labels, shells and beat of one heart, asked in its own coordinates at end expiration.

    Parameters
    ----------
    beat
        The heart and how it contracts.
    still
        Whether it stays as labelled.
    """

    def __init__(self, beat: Beat, *, still: bool = False) -> None:
        self.beat, self.still = beat, still
        self._rest_table: list[FineField] | None = None
        shells = beat.heart.shells
        self._low, self._high = shells.start_mm, float(shells.levels_mm[-1])
        states = [] if still else [beat.motion(phase) for phase in (0.0, beat.timing.end_systole)]
        self._reach = np.max([m.reach_squared() for m in states], axis=0) if states else np.zeros((1, 1))

    @property
    def function(self) -> CardiacFunction:
        """True function; a still heart has no end systole."""
        if not self.still:
            return self.beat.function
        lv, wall, rv = self.beat.label_volumes_ml
        return CardiacFunction(lv, None, wall * MYOCARDIAL_DENSITY_G_PER_ML, rv or None)

    @property
    def labels(self) -> HeartVolume:
        """The labels, in the coordinates that `sample` calls ground."""
        return self.beat.heart

    @property
    def cycle_ms(self) -> float:
        """R-R interval."""
        return 60000.0 / self.beat.parameters.heart_rate_bpm

    def ejection(self, phase: float) -> float:
        """Share of the stroke volume that has left the ventricles at cardiac `phase`."""
        return 0.0 if self.still else self.beat.timing.ejection(phase)

    def from_rest(self, rest_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """Where the label map has what is at `rest_mm` at end diastole: the inverse of `to_rest`."""
        return rest_mm if self.still else self.beat.motion(0.0).to_label_map(rest_mm)

    def near(self, heart_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(n,) mask of the points that the motion may displace at any phase."""
        if self.still:
            return np.zeros(len(heart_mm), dtype=bool)
        shells = self.beat.heart.shells
        x, y, z = heart_mm[:, 0], heart_mm[:, 1], heart_mm[:, 2]
        row = np.rint((z - shells.start_mm) * (1.0 / shells.step_mm)).astype(np.int32)
        inside = (row >= 0) & (row < len(self._reach))
        inside[inside] &= (x[inside] ** 2 + y[inside] ** 2) < self._reach[row[inside]]
        return inside

    def _motion(self, cardiac: float) -> ShellMotion:
        return self.beat.motion(self.beat.phase_of_labels if self.still else cardiac)

    def sample(
        self,
        heart_mm: NDArray[np.floating],
        cardiac: float,
        *,
        rest: bool,
        volume: LabelVolume | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.floating], NDArray[np.floating] | None]:
        """Structures, positions in the label map and, if asked for, rest positions (heart coordinates) at `heart_mm`.

        The structure is 0 where the labelled heart is not; `volume`, if given, is looked up in its place.
        """
        motion = self._motion(cardiac)
        ground = heart_mm
        moved = np.flatnonzero(self.near(heart_mm)) if not (self.still or motion.identity) else None
        if moved is not None and moved.size:
            ground = np.array(heart_mm, dtype=np.float64)
            ground[moved] = motion.to_label_map(ground[moved])
        structure = (volume or self.beat.heart.volume).look_up(ground)
        self._fill_in_muscle(structure, ground, cardiac)
        if not rest:
            return structure, ground, None
        return structure, ground, self.to_rest(ground)

    def _fill_in_muscle(self, structure: NDArray[np.uint8], ground: NDArray[np.floating], cardiac: float) -> None:
        heart = self.beat.heart
        lv_ratio, rv_ratio = (1.0, 1.0) if self.still else self.beat.volume_ratios(cardiac)
        if heart.lv_muscle is not None:
            heart.lv_muscle.fill_in(structure, ground, Structure.LV_BLOOD, lv_ratio)
        if heart.rv_muscle is not None:
            heart.rv_muscle.fill_in(structure, ground, Structure.RV_BLOOD, rv_ratio)

    def to_rest(self, ground: NDArray[np.floating]) -> NDArray[np.floating]:
        """Positions at end diastole (phase 0) of points of the label map."""
        first = self._motion(0.0)
        if self.still or first.identity:
            return ground
        out = np.array(ground, dtype=np.float64)
        near = np.flatnonzero(self.near(ground))
        out[near] = first.from_label_map(out[near], self._to_rest_beyond)
        return out

    def _to_rest_beyond(self, ground: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rest positions outside the heart, where no closed form exists, from a table: exact to about 0.1 mm."""
        if self._rest_table is None:
            motion = self._motion(0.0)
            step = _REST_TABLE_MM
            side = float(np.sqrt(self._reach.max())) + 2 * step
            counts = [int(np.ceil(2 * side / step))] * 2 + [int(np.ceil((self._high - self._low) / step)) + 1]
            affine = np.diag([step, step, step, 1.0])
            affine[:3, 3] = (-side, -side, self._low)
            k, j, i = np.indices(counts[::-1]).reshape(3, -1)
            nodes = np.stack([i, j, k], axis=-1) @ affine[:3, :3].T + affine[:3, 3]
            moved = motion.solve(np.asarray(nodes, dtype=np.float64), 1e-3) - nodes
            self._rest_table = [FineField(moved[:, a].reshape(counts[::-1]), affine) for a in range(3)]
        return ground + np.stack([f.at(ground) for f in self._rest_table], axis=1)

    def blood_velocity(self, heart_mm: NDArray[np.floating], cardiac: float, cycle_ms: float) -> NDArray[np.float64]:
        """(n, 3) velocity in mm/s, heart coordinates, of the blood in the two ventricles; zero elsewhere.

        The wall's own motion carries the pool along; what the emptying pool loses leaves along the long axis, in
        proportion to the volume below each level over its cross-section, so that the flow is free of divergence within
        the ventricles. It fades out over 20 mm above the valve plane.
        """
        out = np.zeros((len(heart_mm), 3))
        if self.still:
            return out
        structure, ground, _ = self.sample(heart_mm, cardiac, rest=False)
        tissue = TISSUE_OF_STRUCTURE[structure]
        seconds = _STEP * cycle_ms / 1000.0
        before, after = self._motion((cardiac - 0.5 * _STEP) % 1.0), self._motion((cardiac + 0.5 * _STEP) % 1.0)
        pools = (
            (structure == Structure.LV_BLOOD) & (tissue == Tissue.BLOOD_ARTERIAL),
            (structure == Structure.RV_BLOOD) & (tissue == Tissue.BLOOD_VENOUS),
        )
        now = self._motion(cardiac)
        for left, pool in zip((True, False), pools, strict=True):
            index = np.flatnonzero(pool)
            if not index.size:
                continue
            points, origin = heart_mm[index], ground[index]
            wall = (after.from_label_map(origin) - before.from_label_map(origin)) / seconds
            ratio = after.pool_jacobian(left) / np.maximum(before.pool_jacobian(left), 1e-9)
            rate = np.interp(origin[:, 2], self.beat.heart.shells.levels_mm, np.log(ratio) / seconds)
            out[index] = wall + now.emptying_flow(points, rate, left)
        return out

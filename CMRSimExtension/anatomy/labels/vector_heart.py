"""A heart whose motion is known voxel by voxel: its first labels, carried along by a displacement field."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.anatomy.composition import CLINICAL_OF_STRUCTURE
from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.anatomy.labels.heart_volume import HeartVolume
from CMRSimExtension.anatomy.labels.series_heart import (
    PoolStep,
    SeriesTiming,
    ejected_share,
    function_of_series,
    velocity_of_pools,
)
from CMRSimExtension.anatomy.labels.shell_map import ShellMap
from CMRSimExtension.anatomy.labels.volume import FineField, LabelVolume
from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.anatomy.structures import Structure

_MARGIN_MM = 11.0
"""`Anatomy.may_move` promises that nothing moves within 10 mm of what it leaves out."""
_FADE_MM = 15.0
_MOVES_MM = 0.01
_DAMPING = 0.5
"""Fixed-point steps converge where the tissue is stretched to less than 2 / damping of its length."""
_ITERATIONS = 80
_SETTLED = 2e-3
"""Voxels: about 0.005 mm, far below what trilinear interpolation errs."""
_KEPT = 24


class VectorHeart:
    """A `MovingHeart` from the labels of the first frame and the displacement of each of its voxels.

    The displacement of every frame is inverted once, on the voxels: where tissue now at a voxel was at first. Between
    voxels that is trilinear, between frames a periodic cubic spline (`SeriesTiming.weights`), and at every frame's own
    phase it is the field as given. Labels, tags and strain all follow it. Where the box of known displacements ends
    inside the phantom, motion fades out.

    Parameters
    ----------
    volume
        Labels and shells of the first frame, end diastole, in heart coordinates.
    structures
        (slices, rows, columns) of the first frame on the grid of `displacement_mm`.
    displacement_mm
        (frames, slices, rows, columns, 3) RAS: place at each frame less place at the first.
    affine_ras
        (4, 4): (column, row, slice, 1) of that grid to RAS mm.
    cut
        (3, 2): on which sides of slices, rows and columns the phantom goes on beyond the grid.
    frame
        The heart's own coordinates.
    timing
        When the frames were taken.
    """

    def __init__(
        self,
        volume: HeartVolume,
        structures: NDArray[np.uint8],
        displacement_mm: NDArray[np.float32],
        affine_ras: NDArray[np.float64],
        cut: NDArray[np.bool_],
        frame: HeartFrame,
        timing: SeriesTiming,
    ) -> None:
        self._volume, self._timing = volume, timing
        self._affine = np.eye(4)
        self._affine[:3, :3] = frame.axes @ affine_ras[:3, :3]
        self._affine[:3, 3] = frame.to_heart(affine_ras[None, :3, 3])[0]
        self._spacing = np.linalg.norm(affine_ras[:3, :3], axis=0)
        to_voxels = np.linalg.inv(affine_ras[:3, :3]).T
        shape = displacement_mm.shape[1:4]
        fade = self._fade(shape, cut)
        self._back = np.zeros((len(displacement_mm), *shape, 3), dtype=np.float32)
        counts = np.array([np.count_nonzero(CLINICAL_OF_STRUCTURE[volume.volume.label] == n) for n in (1, 2, 3)])
        sizes = np.tile(counts * volume.volume.voxel_mm3 / 1000.0, (len(displacement_mm), 1))
        guess, unsettled = np.zeros((*shape, 3), dtype=np.float32), 0
        for index, forward in enumerate(displacement_mm):
            voxels = forward @ to_voxels * fade[..., None]
            sizes[index] *= _growth(voxels, CLINICAL_OF_STRUCTURE[structures])
            guess, open_points = inverted(voxels, guess)
            unsettled += int(np.count_nonzero(open_points & (CLINICAL_OF_STRUCTURE[structures] > 0)))
            self._back[index] = guess @ self._affine[:3, :3].T
        self._volumes = sizes
        self._unsettled = unsettled / (int(np.count_nonzero(CLINICAL_OF_STRUCTURE[structures])) * len(self._back))
        self._reach = self._reached(cut)
        self._fields: dict[float, tuple[FineField, FineField, FineField]] = {}
        s = volume.shells
        self._still = ShellMap(s, s.levels_mm, (s.endo, s.epi, s.free, s.outer), np.zeros(len(s.levels_mm)))

    def _fade(self, shape: tuple[int, ...], cut: NDArray[np.bool_]) -> NDArray[np.float32]:
        out = np.ones(shape, dtype=np.float32)
        for axis, (before, after) in enumerate(cut):
            steps = np.arange(shape[axis]) * self._spacing[2 - axis]
            for wanted, away in ((before, steps), (after, steps[::-1])):
                if wanted:
                    share = np.clip((away - _MARGIN_MM) / _FADE_MM, 0.0, 1.0)
                    out *= np.expand_dims(share, tuple(a for a in range(3) if a != axis)).astype(np.float32)
        return out

    def _reached(self, cut: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Voxels near which something moves, with one more on each side: what lies beyond the grid."""
        moves = np.abs(self._back).max(axis=(0, 4)) > _MOVES_MM
        away = ndimage.distance_transform_edt(~moves, self._spacing[::-1]) if moves.any() else np.full(moves.shape, 1e9)
        # A phantom that ends goes on as it is at its end.
        grown = np.pad(away < _MARGIN_MM + self._spacing.max(), 1, mode="edge")
        for axis, ends in enumerate(cut):
            for end, wanted in zip((0, -1), ends, strict=True):
                if wanted:
                    np.moveaxis(grown, axis, 0)[end] = False
        return grown

    @property
    def unsettled_share(self) -> float:
        """Share of the heart's voxels, over all frames, at which the displacement has no inverse (tissue folds)."""
        return self._unsettled

    @property
    def labels(self) -> HeartVolume:
        """Labels of the first frame."""
        return self._volume

    @property
    def cycle_ms(self) -> float:
        """Heartbeat."""
        return self._timing.cycle_ms

    @property
    def function(self) -> CardiacFunction:
        """From the first labels and how the displacement changes their volumes."""
        return function_of_series(self._volumes)

    def _volumes_at(self, phase: float) -> NDArray[np.float64]:
        return np.asarray(self._timing.weights(phase) @ self._volumes)

    def ejection(self, phase: float) -> float:
        """Share of the stroke volume that has left the LV at cardiac `phase`."""
        return ejected_share(self._volumes[:, 0], self._volumes_at(phase)[0])

    def near(self, heart_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(n,) mask of the points that the motion may displace at any phase."""
        inverse = np.linalg.inv(self._affine)
        at = np.rint(np.asarray(heart_mm) @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64) + 1
        i, j, k = np.clip(at, 0, np.array(self._reach.shape[::-1]) - 1).T
        return np.asarray(self._reach[k, j, i])

    def _field(self, phase: float) -> tuple[FineField, FineField, FineField]:
        """First less present position, at present positions, along the heart's three axes."""
        known = self._fields
        if phase not in known:
            field = np.tensordot(self._timing.weights(phase).astype(np.float32), self._back, axes=1)
            x, y, z = (FineField(field[..., a], self._affine) for a in range(3))
            # Put in place at once: slices are scanned by several threads.
            self._fields = known = {**dict(list(known.items())[1 - _KEPT :]), phase: (x, y, z)}
        return known[phase]

    def _to_first(self, heart_mm: NDArray[np.floating], phase: float) -> NDArray[np.float64]:
        out = np.array(heart_mm, dtype=np.float64)
        moved = np.flatnonzero(self.near(heart_mm))
        if moved.size:
            points = out[moved]
            out[moved] += np.stack([f.at(points) for f in self._field(phase)], axis=1)
        return out

    def sample(
        self, heart_mm: NDArray[np.floating], cardiac: float, *, rest: bool, volume: LabelVolume | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.floating], NDArray[np.floating] | None]:
        """Structures, and positions at end diastole (twice: the first frame is the ground)."""
        ground = self._to_first(heart_mm, cardiac)
        structure = (volume or self._volume.volume).look_up(ground)
        ratio = self._volumes_at(cardiac) / np.maximum(self._volumes[0], 1e-6)
        for muscle, pool, share in (
            (self._volume.lv_muscle, Structure.LV_BLOOD, ratio[0]),
            (self._volume.rv_muscle, Structure.RV_BLOOD, ratio[2]),
        ):
            if muscle is not None:
                muscle.fill_in(structure, ground, pool, float(share))
        return structure, ground, ground if rest else None

    def to_rest(self, ground: NDArray[np.floating]) -> NDArray[np.floating]:
        """The same: the first frame is at rest."""
        return ground

    def from_rest(self, rest_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """The same: the first frame is at rest."""
        return rest_mm

    def blood_velocity(self, heart_mm: NDArray[np.floating], cardiac: float, cycle_ms: float) -> NDArray[np.float64]:
        """(n, 3) velocity in mm/s of the ventricles' blood, as `BeatingHeart`'s: that of the displacement field, and
        what the emptying pool loses through a cavity of its first shape."""
        structure, ground, _ = self.sample(heart_mm, cardiac, rest=False)

        def velocity(index: NDArray[np.intp], step: PoolStep) -> NDArray[np.floating]:
            flow = self._still.emptying_flow(ground[index], np.full(index.size, step.rate), step.left)
            return self._wall_velocity(heart_mm[index], cardiac, (step.before, step.after), step.seconds) + flow

        return velocity_of_pools(structure, self._volumes_at, cardiac, cycle_ms, velocity)

    def _wall_velocity(
        self, points: NDArray[np.floating], cardiac: float, moments: tuple[float, float], seconds: float
    ) -> NDArray[np.float64]:
        """Of tissue at `points`: its first position X(x, t) stays, so grad X . velocity = -dX/dt."""
        rate = (self._to_first(points, moments[1]) - self._to_first(points, moments[0])) / seconds
        half = 0.5 * float(self._spacing.max())
        gradient = np.empty((len(points), 3, 3))
        for axis, step in enumerate(half * np.eye(3)):
            gradient[:, :, axis] = (
                self._to_first(points + step, cardiac) - self._to_first(points - step, cardiac)
            ) / (2 * half)
        return np.asarray(-np.einsum("nij,nj->ni", np.linalg.pinv(gradient), rate))


def inverted(
    voxels: NDArray[np.floating], guess: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Invert a displacement: v with X + u(X) = x for X = x + v(x), by damped fixed-point steps.

    Parameters
    ----------
    voxels
        (slices, rows, columns, 3) u, along columns, rows and slices, in voxels.
    guess
        Of the same shape, v to start from.

    Returns
    -------
    v, of the same shape, and (slices, rows, columns) where it did not settle, for the displacement folds there.
    """
    shape = voxels.shape[:3]
    parts = [FineField(voxels[..., a], np.eye(4)) for a in range(3)]
    k, j, i = np.indices(shape).reshape(3, -1)
    target = np.stack([i, j, k], axis=1).astype(np.float64)
    back = guess.reshape(-1, 3).astype(np.float64)
    open_points = np.arange(len(target))
    for _ in range(_ITERATIONS):
        at = target[open_points] + back[open_points]
        error = back[open_points] + np.stack([p.at(at) for p in parts], axis=1)
        back[open_points] -= _DAMPING * error
        open_points = open_points[np.abs(error).max(axis=1) > _SETTLED]
        if not open_points.size:
            break
    left = np.zeros(len(target), dtype=bool)
    left[open_points] = True
    return back.reshape(voxels.shape).astype(np.float32), left.reshape(shape)


def _growth(voxels: NDArray[np.floating], clinical: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(3,) present over first volume of LV blood, LV myocardium and RV blood: the mean of det(1 + grad u)."""
    heart = clinical > 0
    gradient = np.empty((np.count_nonzero(heart), 3, 3))
    for part in range(3):
        for axis in range(3):
            gradient[:, part, axis] = np.gradient(voxels[..., part], axis=2 - axis)[heart] + (part == axis)
    change, parts = np.linalg.det(gradient), clinical[heart]
    return np.array([change[parts == n].mean() if np.any(parts == n) else 1.0 for n in (1, 2, 3)])

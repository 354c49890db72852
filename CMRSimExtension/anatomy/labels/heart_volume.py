"""The heart of a label image on a fine grid: its labels made smooth, and around them what a bare label map lacks."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CMRSimExtension.anatomy.labels.base_bodies import base_bodies
from CMRSimExtension.anatomy.labels.pool_muscle import PoolMuscle, cavity_size, papillary_muscles
from CMRSimExtension.anatomy.labels.shell_map import ShellTables
from CMRSimExtension.anatomy.labels.signed_distance import FineAxes, crop, fine_distance
from CMRSimExtension.anatomy.labels.volume import LabelVolume, SolidsInOrder
from CMRSimExtension.anatomy.material import HeartFrame
from CMRSimExtension.anatomy.noise import look_up, periodic_field
from CMRSimExtension.anatomy.structures import Structure as S

_ANGLES = 96
_LEVEL_STEP_MM = 1.5
_PAPILLARY_REACH_MM = 9.0
_BEYOND_LABELS_MM = 15.0
_LV_BLOOD = (S.LV_BLOOD, S.LV_PAPILLARY, S.LV_TRABECULAE, S.LV_OUTFLOW)
_RV_BLOOD = (S.RV_BLOOD, S.RV_TRABECULAE, S.MODERATOR_BAND, S.RV_OUTFLOW)


@dataclass(frozen=True)
class HeartDetail:
    """What is drawn around and inside the labels; lengths in mm.

    Attributes
    ----------
    rv_wall_mm
        RV free wall where the labels have none.
    fat_mm
        Epicardial fat away from the grooves; 0 for none.
    papillary_radius_mm
        Radius of the two papillary muscles drawn inside an LV pool that has none; 0 for none.
    trabeculae
        0 to 1: how densely the RV's and the apical LV's trabeculated layer is filled with muscle.
    base
        Whether atria, aortic root and pulmonary trunk are drawn above the valve plane where the labels have none.
    """

    rv_wall_mm: float = 3.0
    fat_mm: float = 2.5
    papillary_radius_mm: float = 4.0
    trabeculae: float = 0.5
    base: bool = True


@dataclass(frozen=True)
class HeartVolume:
    """The heart's fine labels, in heart coordinates, what muscle its pools hold, and the shells measured on it."""

    volume: LabelVolume
    lv_muscle: PoolMuscle | None
    rv_muscle: PoolMuscle | None
    shells: ShellTables

    def with_background(self, structure_at: Callable[[NDArray[np.float64]], NDArray[np.uint8]]) -> "HeartVolume":
        """The same with its empty cells filled by what `structure_at` says of heart coordinates (n, 3)."""
        empty = self.volume.label == S.OUTSIDE
        label, margin = self.volume.label.copy(), self.volume.margin.copy()
        label[empty] = structure_at(self.volume.cell_centres(empty))
        # Boundaries within the background are only known to the cell.
        margin[empty] = np.minimum(margin[empty], 0.5 * self.volume.voxel_mm3 ** (1 / 3))
        return replace(self, volume=LabelVolume(label, margin, self.volume.affine))


def _has(labels: NDArray, *structures: S) -> NDArray[np.bool_]:
    return np.isin(labels, [int(s) for s in structures])


def _fine_axes(
    labels: NDArray[np.uint8], spacing: tuple[float, float, float], margins_mm: NDArray, cell_mm: float
) -> FineAxes:
    heart = _has(labels, *_LV_BLOOD, S.LV_MYOCARDIUM, *_RV_BLOOD, S.RV_MYOCARDIUM)
    start, stop = [], []
    for axis in range(3):
        used = np.flatnonzero(heart.any(axis=tuple(a for a in range(3) if a != axis)))
        start.append(int(used[0] - np.ceil(margins_mm[axis][0] / spacing[axis])))
        stop.append(int(used[-1] + 1 + np.ceil(margins_mm[axis][1] / spacing[axis])))
    k, j, i = (max(1, round(s / cell_mm)) for s in spacing)
    return FineAxes((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]), (k, j, i))


def _close_in_plane(mask: NDArray[np.bool_], spacing_ji: tuple[float, float], reach_mm: float) -> NDArray[np.bool_]:
    """Fill what a disc of `reach_mm` cannot enter, slice by slice: papillary muscles become part of the cavity."""
    out = np.zeros_like(mask)
    pad = int(np.ceil(reach_mm / min(spacing_ji))) + 2
    for index, one in enumerate(mask):
        if not one.any():
            continue
        wide = np.pad(one, pad)
        grown = ndimage.distance_transform_edt(~wide, sampling=spacing_ji) <= reach_mm
        kept = ndimage.distance_transform_edt(grown, sampling=spacing_ji) > reach_mm
        out[index] = ndimage.binary_fill_holes(kept | wide)[pad:-pad, pad:-pad]
    return out


def build_heart_volume(
    labels: NDArray[np.uint8],
    affine_ras: NDArray,
    spacing_kji_mm: tuple[float, float, float],
    frame: HeartFrame,
    detail: HeartDetail,
    rng: np.random.Generator,
    cell_mm: float = 1.2,
    *,
    complete: bool = False,
    base_mm: float = 0.0,
) -> HeartVolume:
    """Make the fine heart volume of a label array.

    Parameters
    ----------
    labels
        (slices, rows, columns) `Structure` numbers.
    affine_ras
        (4, 4), (i, j, k, 1) to RAS mm.
    spacing_kji_mm
        Voxel distances.
    frame
        The heart's own coordinates, in the same RAS.
    detail
        What to draw that the labels lack.
    rng
        Draws the irregularities of fat and trabeculae.
    cell_mm
        Size of the fine cells, roughly.
    complete
        Whether the labels tell all there is within their slices, so that atria and vessels are drawn beyond them only.
    base_mm
        Level of the annulus plane in this label array: 0 but for the later frames of a series.
    """
    along_k = float(frame.axes[2] @ affine_ras[:3, 2]) / spacing_kji_mm[0]
    margins = np.full((3, 2), 26.0)
    if abs(along_k) > 0.7:
        above, below = (72.0 if detail.base else 26.0), 24.0
        margins[0] = (above, below) if along_k > 0 else (below, above)
    elif detail.base:
        margins[:] = 60.0
    axes = _fine_axes(labels, spacing_kji_mm, margins, cell_mm)
    builder = _Builder(labels, axes, affine_ras, spacing_kji_mm, frame, detail, rng, base_mm)
    if complete:
        index = axes.native(0)[:, None, None]
        ends = np.minimum(index + 0.5, labels.shape[0] - 0.5 - index) * spacing_kji_mm[0]
        builder.within_mm = np.asarray(ends, dtype=np.float32)
    return builder.build()


class _Builder:
    """The steps of `build_heart_volume`, and what they share."""

    def __init__(
        self,
        labels: NDArray[np.uint8],
        axes: FineAxes,
        affine_ras: NDArray,
        spacing: tuple[float, float, float],
        frame: HeartFrame,
        detail: HeartDetail,
        rng: np.random.Generator,
        base_mm: float,
    ) -> None:
        self.base_mm = base_mm
        self.within_mm: NDArray[np.float32] | None = None
        self.labels, self.axes, self.spacing, self.frame, self.detail = labels, axes, spacing, frame, detail
        to_heart = np.eye(4)
        to_heart[:3, :3] = frame.axes
        to_heart[:3, 3] = -frame.axes @ frame.origin_mm
        self.affine = to_heart @ axes.affine(affine_ras)
        self.smooth_mm = 0.8 * max(spacing[1:])
        self.seed = int(rng.integers(2**31))
        nk, nj, ni = axes.shape
        start, columns = self.affine[:3, 3], self.affine[:3, :3]
        k, j, i = (np.arange(n, dtype=np.float32) for n in (nk, nj, ni))
        x, y, z = (
            np.float32(start[a])
            + np.float32(columns[a, 2]) * k[:, None, None]
            + np.float32(columns[a, 1]) * j[None, :, None]
            + np.float32(columns[a, 0]) * i[None, None, :]
            for a in range(3)
        )
        self.xyz = (x, y, z)

    def _distance(self, mask: NDArray[np.bool_], low_cap: float, high_cap: float) -> NDArray[np.float32]:
        return fine_distance(mask, self.axes, self.spacing, (low_cap, high_cap), self.smooth_mm)

    def _caps(self, base_mm: float, apex_mm: float) -> tuple[float, float]:
        """Dome heights at the low and the high slice end, given those towards base and apex."""
        forward = self.affine[2, 2] > 0
        return (base_mm, apex_mm) if forward else (apex_mm, base_mm)

    def build(self) -> HeartVolume:
        labels, dz = self.labels, self.spacing[0]
        pool = _has(labels, *_LV_BLOOD)
        wall = _has(labels, S.LV_MYOCARDIUM)
        filled = _close_in_plane(pool, self.spacing[1:], _PAPILLARY_REACH_MM) & (pool | wall)
        papillary = _has(labels, S.LV_PAPILLARY) | (filled & wall & self._away_from_epicardium(pool | wall))
        pool |= papillary
        right = _has(labels, *_RV_BLOOD)
        right_wall = _has(labels, S.RV_MYOCARDIUM)
        apex_wall = float(np.clip(0.6 * self._wall_mm(pool, wall), 3.0, 8.0))
        self.epi = self._distance(pool | wall, *self._caps(-0.5 * dz, max(1.0 * dz, 3.0)))
        self.endo = self._distance(pool, *self._caps(-0.5 * dz, max(0.5 * dz, 1.5)))
        # The cavity never breaks through the apex, however the two domes meet.
        x, y, z = self.xyz
        apical = np.clip((z - 0.75 * self.frame.lv_length_mm) / (0.2 * self.frame.lv_length_mm), 0.0, 1.0)
        self.endo = np.maximum(self.endo, self.epi + apical * apex_wall)
        self.right = self._distance(right, *self._caps(-0.5 * dz, max(0.8 * dz, 2.0))) if right.any() else None

        shells = self._measure()
        solids = SolidsInOrder(self.axes.shape)
        solids.add(S.LV_BLOOD, self.endo)
        solids.add(S.LV_MYOCARDIUM, self.epi)
        self._add_labelled(solids)
        self._draw_right(solids, right_wall)
        self._draw_base(solids, shells)
        self._draw_fat(solids)
        label, margin = solids.finish()
        volume = LabelVolume(label, margin, self.affine)
        return HeartVolume(volume, self._lv_muscle(papillary, shells, label), self._rv_muscle(shells, label), shells)

    def _away_from_epicardium(self, solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Muscle that a wall of normal thickness cannot explain: it stands inside the closed cavity."""
        out = np.zeros_like(solid)
        for index, one in enumerate(solid):
            if one.any():
                depth = ndimage.distance_transform_edt(np.pad(one, 1), sampling=self.spacing[1:])[1:-1, 1:-1]
                out[index] = depth > 0.35 * depth.max()
        return out

    def _wall_mm(self, pool: NDArray[np.bool_], wall: NDArray[np.bool_]) -> float:
        areas = self.spacing[1] * self.spacing[2] * np.stack([pool.sum((1, 2)), wall.sum((1, 2))]).astype(float)
        closed = areas[0] > 0
        thickness = np.sqrt(areas.sum(axis=0)[closed] / np.pi) - np.sqrt(areas[0][closed] / np.pi)
        return float(np.median(thickness)) if thickness.size else 8.0

    def _sample(self, field: NDArray[np.float32], heart: NDArray) -> NDArray:
        """Trilinear look-up of a fine array at heart coordinates (n, 3)."""
        inverse = np.linalg.inv(self.affine)
        index = heart @ inverse[:3, :3].T + inverse[:3, 3]
        return ndimage.map_coordinates(field, index[:, ::-1].T, order=1, mode="nearest")

    def _measure(self) -> ShellTables:
        """Cast rays from the long axis and measure the squared radii of every shell."""
        apex = float(self.xyz[2][self.epi < 0].max())
        start, stop = -84.0, self.frame.lv_length_mm + 36.0
        levels = start + _LEVEL_STEP_MM * np.arange(int((stop - start) / _LEVEL_STEP_MM) + 1)
        angles = np.arange(_ANGLES) * (2 * np.pi / _ANGLES)
        radii = np.arange(0.5, 110.0, 1.0)
        # Above the annulus plane the shells go on as they are there.
        held = np.clip(levels, self.base_mm + 2.0, None)
        unit = np.stack([np.cos(angles), np.sin(angles)])
        shape = (len(levels), _ANGLES, len(radii))
        points = np.empty((*shape, 3))
        points[..., 0] = unit[0][None, :, None] * radii
        points[..., 1] = unit[1][None, :, None] * radii
        points[..., 2] = held[:, None, None]
        flat = points.reshape(-1, 3)
        epi = self._sample(self.epi, flat).reshape(shape) < 0
        endo = self._sample(self.endo, flat).reshape(shape) < 0
        # Squared radius of equal area: exact volumes whatever the outline.
        shell = 2.0 * radii * 1.0
        endo2, epi2 = (endo * shell).sum(axis=2), (epi * shell).sum(axis=2)
        free2 = epi2.copy()
        if self.right is not None:
            right = self._sample(self.right, flat).reshape(shape) < 0
            last = np.where(
                right.any(axis=2), radii[right.shape[2] - 1 - np.argmax(right[..., ::-1], axis=2)] + 0.5, 0.0
            )
            free2 = np.maximum(free2, last**2)
            # Readers often begin the RV below the LV's base: up there it goes on as it begins.
            ring = (free2 - epi2).sum(axis=1)
            first = int(np.argmax(ring > 0.4 * ring.max()))
            free2[:first] = epi2[:first] + (free2 - epi2)[first]
        smooth = (3.0 / _LEVEL_STEP_MM, _ANGLES / 40.0)
        endo_r, epi_r, free_r = (
            ndimage.gaussian_filter(np.sqrt(a), smooth, mode=("nearest", "wrap")) for a in (endo2, epi2, free2)
        )
        epi_r = np.maximum(epi_r, endo_r)
        free_r = np.maximum(free_r, epi_r)
        # Muscle and fat keep their thickness; what lies beyond them (lung, mostly) gives way.
        outer = (free_r + self.detail.rv_wall_mm + 2.0 * self.detail.fat_mm + 0.5) ** 2
        return ShellTables(start, _LEVEL_STEP_MM, endo_r**2, epi_r**2, free_r**2, outer, apex, self.base_mm)

    def _lv_muscle(
        self, labelled: NDArray[np.bool_], shells: ShellTables, label: NDArray[np.uint8]
    ) -> PoolMuscle | None:
        """Papillary muscles as labelled or else where most hearts have two, and an apical trabeculated layer."""
        level = self._level(shells)
        far = np.full(self.axes.shape, 50.0, dtype=np.float32)
        papillary, trabeculae = far, far
        if labelled.any():
            cap = 0.4 * self.spacing[0]
            papillary = self._distance(labelled, cap, cap)
        elif self.detail.papillary_radius_mm > 0:
            papillary = papillary_muscles(self.xyz, level, shells, self.detail.papillary_radius_mm)
        if self.detail.trabeculae > 0:
            amount = np.clip((level - 0.3) / 0.5, 0.05, 1.0)
            layer = -self.endo - (1.0 + 5.0 * amount) * cavity_size(shells)
            share = (self._noise(4.0, 0) + 1.0 - 1.5 * self.detail.trabeculae * amount) * 1.8
            trabeculae = np.maximum(layer, share)
        if papillary is far and trabeculae is far:
            return None
        return PoolMuscle.of(trabeculae, papillary, label == S.LV_BLOOD, self.affine)

    def _rv_muscle(self, shells: ShellTables, label: NDArray[np.uint8]) -> PoolMuscle | None:
        """The free wall and the apex of the RV are trabeculated; its septal side and outflow tract are smooth."""
        pool = label == S.RV_BLOOD
        if self.right is None or self.detail.trabeculae <= 0 or not pool.any():
            return None
        septal = np.clip((self.epi - 4.0) / 6.0, 0.0, 1.0)
        apical = np.clip(self._level(shells) * 1.6, 0.15, 1.0)
        layer = -self.right - (2.0 + 6.0 * apical * septal)
        share = (self._noise(4.6, 1) + 1.0 - 1.5 * self.detail.trabeculae * apical * septal) * 2.0
        none = np.full(self.axes.shape, 50.0, dtype=np.float32)
        return PoolMuscle.of(np.maximum(layer, share), none, pool, self.affine)

    def _level(self, shells: ShellTables) -> NDArray[np.float32]:
        """0 at the annulus plane, 1 at the apex."""
        return (self.xyz[2] - np.float32(shells.base_mm)) / np.float32(shells.apex_mm - shells.base_mm)

    def _noise(self, scale_mm: float, salt: int) -> NDArray[np.float32]:
        """Smooth unit-variance field that varies over `scale_mm`, in heart coordinates."""
        x, y, z = (a / (0.5 * scale_mm) for a in self.xyz)
        return look_up(periodic_field(self.seed + salt, 2.0), x, y, z)

    def _add_labelled(self, solids: SolidsInOrder) -> None:
        """Whatever else the label map knows (atria, vessels), as it is."""
        done = {*_LV_BLOOD, *_RV_BLOOD, S.LV_MYOCARDIUM, S.RV_MYOCARDIUM, S.OUTSIDE}
        window = crop(self.labels, self.axes)
        for number in np.unique(window):
            if S(int(number)) not in done:
                cap = max(1.0, 0.5 * self.spacing[0])
                solids.add(int(number), self._distance(self.labels == number, cap, cap))

    def _draw_right(self, solids: SolidsInOrder, right_wall: NDArray[np.bool_]) -> None:
        if self.right is None:
            return
        solids.add(S.RV_BLOOD, self.right)
        wall = self.right - self.detail.rv_wall_mm
        if right_wall.any():
            cap = 0.5 * self.spacing[0]
            wall = np.minimum(self.right - 1.5, self._distance(right_wall, cap, cap))
        # Open towards the right atrium: no muscle across the tricuspid valve.
        solids.add(S.RV_MYOCARDIUM, np.maximum(wall, self.base_mm - 2.0 - self.xyz[2]))

    def _draw_base(self, solids: SolidsInOrder, shells: ShellTables) -> None:
        if not self.detail.base:
            return
        labelled = {S(int(n)) for n in np.unique(self.labels)}
        base_row = int(np.argmin(np.abs(shells.levels_mm - self.base_mm - 4.0)))
        radius = float(np.sqrt(shells.endo[base_row].mean()))
        if radius < 6.0:
            return
        epi, free = np.sqrt(shells.epi[base_row]), np.sqrt(shells.free[base_row])

        def between(angle_deg: float, share: float) -> tuple[float, float]:
            """A point between septum and RV free wall."""
            angle = np.deg2rad(angle_deg)
            column = round(angle / (2 * np.pi) * _ANGLES) % _ANGLES
            distance = epi[column] + share * max(free[column] - epi[column], 20.0)
            return float(distance * np.cos(angle)), float(distance * np.sin(angle))

        size = radius / 23.0 if self.right is None else float(np.clip((free - epi).max() / 36.0, 0.6, 1.4))
        absent = {S.AORTIC_ROOT: S.AORTA, S.VESSEL_WALL: S.AORTA, S.LA_WALL: S.LA_BLOOD, S.RA_WALL: S.RA_BLOOD}
        grid = (self.xyz[0], self.xyz[1], self.xyz[2] - np.float32(self.base_mm))
        for body, distance in base_bodies(grid, radius, between(118.0, 0.45), between(196.0, 0.5), size):
            if self.within_mm is not None:
                slab = np.maximum(self.within_mm, -_BEYOND_LABELS_MM - self.within_mm)
                solids.add(int(body), np.maximum(distance, slab))
            elif not labelled & {body, absent.get(body, body)} or body is S.RV_MYOCARDIUM:
                solids.add(int(body), distance)

    def _draw_fat(self, solids: SolidsInOrder) -> None:
        """Fat fills the grooves between the chambers and covers the rest thinly."""
        if self.detail.fat_mm <= 0:
            return
        union = solids.union
        # A closing by 7 mm on a coarse copy finds the grooves.
        step = tuple(max(1, round(2.4 / float(np.linalg.norm(self.affine[:3, c])))) for c in (2, 1, 0))
        coarse = union[:: step[0], :: step[1], :: step[2]]
        sampling = [s * float(np.linalg.norm(self.affine[:3, c])) for s, c in zip(step, (2, 1, 0), strict=True)]
        reach = 7.0
        grown = ndimage.distance_transform_edt(coarse > reach, sampling=sampling)
        shrunk = ndimage.distance_transform_edt(coarse <= reach, sampling=sampling)
        hull = np.where(coarse > reach, grown, -shrunk).astype(np.float32) + reach
        hull = ndimage.gaussian_filter(hull, 1.0)
        index = np.meshgrid(
            *(np.arange(n) / s for n, s in zip(union.shape, step, strict=True)), indexing="ij", sparse=True
        )
        fine = ndimage.map_coordinates(hull, np.broadcast_arrays(*index), order=1, mode="nearest")
        uneven = 1.0 + 0.45 * self._noise(18.0, 2)
        solids.add(S.EPICARDIAL_FAT, np.minimum(fine, union) - self.detail.fat_mm * np.maximum(uneven, 0.15))

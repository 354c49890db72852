"""A heart known from a series of label maps: the shells of every frame, matched and interpolated in time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

from CMRSimExtension.anatomy.composition import CLINICAL_OF_STRUCTURE
from CMRSimExtension.anatomy.function import MYOCARDIAL_DENSITY_G_PER_ML, CardiacFunction
from CMRSimExtension.anatomy.heart.timing import CardiacTiming
from CMRSimExtension.anatomy.labels.heart_volume import HeartVolume
from CMRSimExtension.anatomy.labels.shell_map import ShellMap
from CMRSimExtension.anatomy.labels.volume import LabelVolume
from CMRSimExtension.anatomy.structures import Structure

_STEP = 4e-3
"""Share of the heartbeat over which velocities are taken."""
_EDGE_MM = 58.0
"""The descent of the base fades out over this distance above the ventricles."""
_BASAL_SHARE = 0.35
"""Levels above this share of the LV's length are basal."""
_VENTRICLES = np.zeros(256, dtype=bool)
_VENTRICLES[
    [
        Structure.LV_BLOOD,
        Structure.LV_MYOCARDIUM,
        Structure.RV_BLOOD,
        Structure.RV_MYOCARDIUM,
        Structure.LV_PAPILLARY,
        Structure.LV_TRABECULAE,
        Structure.RV_TRABECULAE,
    ]
] = True
_SHORTENING_PER_EJECTION = 0.16 / 0.60
"""Long-axis shortening over ejection fraction of a normal heart."""


@dataclass(frozen=True)
class SeriesTiming:
    """When the frames of a series were taken.

    Attributes
    ----------
    phases
        Cardiac phase of each frame, rising from 0.
    cycle_ms
        Heartbeat.
    """

    phases: tuple[float, ...]
    cycle_ms: float

    def share_of_second(self, phase: float) -> float:
        """How far, at `phase`, the first of two frames has become the second: by a typical volume curve."""
        return CardiacTiming(systole_fraction=float(np.clip(self.phases[1], 0.15, 0.65))).ejection(phase)

    def weights(self, phase: float) -> NDArray[np.float64]:
        """(frames,) share of each frame in what is seen at `phase`: periodic cubic splines, or `share_of_second`."""
        if len(self.phases) == 2:
            share = self.share_of_second(phase)
            return np.array([1.0 - share, share])
        return np.asarray(_closed(self.phases, np.eye(len(self.phases)))(phase))


class SeriesHeart:
    """A `MovingHeart` from label maps of one heartbeat.

    Motion is estimated, by surfaces: LV endocardium, epicardium and RV free wall of every frame are measured as
    functions of angle and level around one long axis and matched along the rays from it; the level follows the length
    of the LV, for which the labels' (which come in steps of a slice) and the one expected from the ejected volume count
    half each. Labels do not show torsion, so there is none. Between frames the squared radii follow periodic cubic
    splines; two frames are joined by a typical volume curve. Structures are those of the frames on both sides, carried
    along.

    Parameters
    ----------
    frames
        Labels and shells of each frame, in the same heart coordinates and tables of one size; the first is end
        diastole.
    timing
        When they were taken.
    """

    def __init__(self, frames: list[HeartVolume], timing: SeriesTiming) -> None:
        self._frames, self._timing = frames, timing
        self._tables = shells = frames[0].shells
        voxels = [CLINICAL_OF_STRUCTURE[f.volume.label] for f in frames]
        size = [f.volume.voxel_mm3 / 1000.0 for f in frames]
        counts = [[np.sum(v == n) * s for n in (1, 2, 3)] for v, s in zip(voxels, size, strict=True)]
        self._volumes = np.array(counts, dtype=np.float64)
        levels = shells.levels_mm
        moved, columns = [], []
        for index, frame in enumerate(frames):
            z = self._levels_of(index)
            row = np.clip((z - shells.start_mm) / shells.step_mm, 0, len(levels) - 1)
            at = np.stack(np.broadcast_arrays(row[:, None], np.arange(shells.endo.shape[1])))
            measured = (frame.shells.endo, frame.shells.epi, frame.shells.free, frame.shells.outer)
            moved.append(z)
            columns.append([ndimage.map_coordinates(a, at, order=1, mode="nearest") for a in measured])
        self._levels = _smooth_in_time(np.array(moved))
        self._shells = _smooth_in_time(np.array(columns))
        self._maps: dict[float, ShellMap] = {}
        if len(frames) > 2:
            series = (self._levels, self._shells, self._volumes)
            self._splines = tuple(_closed(timing.phases, values) for values in series)
        reach = [self._to_frame(f).reach_squared() for f in range(1, len(frames))]
        # Splines overshoot a little between frames.
        self._reach = (np.sqrt(np.max(reach, axis=0)) + 3.0) ** 2

    def _levels_of(self, index: int) -> NDArray[np.float64]:
        """Present z of every material level in a frame."""
        t = self._tables
        shells, levels = self._frames[index].shells, t.levels_mm
        if index == 0:
            return levels.copy()
        ejected = 1.0 - self._volumes[index, 0] / self._volumes[0, 0]
        labelled = (shells.apex_mm - shells.base_mm) / (t.apex_mm - t.base_mm)
        expected = 1.0 - _SHORTENING_PER_EJECTION * ejected
        stretch = float(np.clip(0.5 * (labelled + expected), 0.7, 1.1))
        descent = (1.0 - stretch) * (t.apex_mm - t.base_mm)
        knots = np.array([levels[0], t.base_mm - _EDGE_MM, t.base_mm, t.apex_mm, levels[-1]])
        return np.interp(levels, knots, knots + np.array([0.0, 0.0, descent, 0.0, 0.0]))

    def _map(self, levels: NDArray, shells: NDArray) -> ShellMap:
        a, b, c, d = np.maximum.accumulate(np.maximum(shells, 0.0), axis=0)
        rising = np.maximum.accumulate(levels + 1e-6 * np.arange(len(levels)))
        return ShellMap(self._tables, rising, (a, b, c, d), np.zeros(len(levels)))

    def _to_frame(self, index: int) -> ShellMap:
        """The map between the first frame and another."""
        return self._at(self._timing.phases[index], lambda: self._map(self._levels[index], self._shells[index]))

    def _motion(self, phase: float) -> ShellMap:
        """The map between the first frame and any phase."""

        def between() -> ShellMap:
            if len(self._frames) == 2:
                share = self._timing.share_of_second(phase)
                return self._map(*((1 - share) * a[0] + share * a[1] for a in (self._levels, self._shells)))
            return self._map(self._splines[0](phase), self._splines[1](phase))

        return self._at(phase, between)

    def _at(self, phase: float, make: Callable[[], ShellMap]) -> ShellMap:
        known = self._maps
        if phase not in known:
            # Put in place at once: slices are scanned by several threads.
            recent = dict(list(known.items())[-99:])
            recent[phase] = make()
            self._maps = known = recent
        return known[phase]

    def _neighbours(self, phase: float) -> tuple[int, int, float]:
        """Frames before and after `phase`, and how far it is from the first to the second."""
        count = len(self._frames)
        if count == 2:
            return 0, 1, self._timing.share_of_second(phase)
        phases = np.array([*self._timing.phases, 1.0])
        low = int(np.clip(np.searchsorted(phases, phase, side="right") - 1, 0, count - 1))
        return low, (low + 1) % count, float((phase - phases[low]) / (phases[low + 1] - phases[low]))

    @property
    def labels(self) -> HeartVolume:
        """Labels of the first frame."""
        return self._frames[0]

    @property
    def cycle_ms(self) -> float:
        """Heartbeat."""
        return self._timing.cycle_ms

    @property
    def volumes_ml(self) -> NDArray[np.float64]:
        """(frames, 3) LV blood, LV myocardium and RV blood."""
        return self._volumes.copy()

    @property
    def function(self) -> CardiacFunction:
        """From the volumes of the smooth labels of all frames: ED and ES are the LV's largest and smallest."""
        return function_of_series(self._volumes)

    def _volumes_at(self, phase: float) -> NDArray[np.float64]:
        if len(self._frames) > 2:
            return np.asarray(self._splines[2](phase))
        low, high, share = self._neighbours(phase)
        return np.asarray((1 - share) * self._volumes[low] + share * self._volumes[high])

    def ejection(self, phase: float) -> float:
        """Share of the stroke volume that has left the LV at cardiac `phase`."""
        return ejected_share(self._volumes[:, 0], self._volumes_at(phase)[0])

    def near(self, heart_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(n,) mask of the points that the motion may displace at any phase."""
        t = self._tables
        row = np.rint((heart_mm[:, 2] - t.start_mm) * (1.0 / t.step_mm)).astype(np.int32)
        inside = (row >= 0) & (row < len(self._reach))
        inside[inside] &= np.sum(heart_mm[inside, :2] ** 2, axis=1) < self._reach[row[inside]]
        return inside

    def sample(
        self, heart_mm: NDArray[np.floating], cardiac: float, *, rest: bool, volume: LabelVolume | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.floating], NDArray[np.floating] | None]:
        """Structures, and positions at end diastole (twice: the first frame is the ground)."""
        low, high, share = self._neighbours(cardiac)
        ground = np.array(heart_mm, dtype=np.float64)
        near = np.flatnonzero(self.near(heart_mm))
        if near.size and not (low == 0 and share == 0.0):
            ground[near] = self._motion(cardiac).to_label_map(ground[near])
        structure = self._frame_at(low, heart_mm if share == 0.0 else self._carried(low, ground))
        if share > 0.0:
            self._blend(structure, ground, low, high, share)
        beside = np.flatnonzero(structure == Structure.OUTSIDE)
        at = ground[beside]
        found = (volume or self._frames[0].volume).look_up(at)
        # Where the frames at this moment say no ventricle, though the first one has some: readers stop contouring below
        # the valves, so at the base it is atrial blood, and elsewhere fat.
        found[_VENTRICLES[found]] = Structure.EPICARDIAL_FAT
        for pool, atrium in ((Structure.LV_BLOOD, Structure.LA_BLOOD), (Structure.RV_BLOOD, Structure.RA_BLOOD)):
            was = self._frames[0].volume.look_up(at) == pool
            found[was & (at[:, 2] < _BASAL_SHARE * self._tables.apex_mm)] = atrium
        structure[beside] = found
        return structure, ground, ground if rest else None

    def _frame_at(self, index: int, at: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Ventricular structures of a frame at heart coordinates of its own moment, 0 elsewhere."""
        frame, first = self._frames[index], self._frames[0]
        structure = frame.volume.look_up(at)
        structure[~_VENTRICLES[structure]] = Structure.OUTSIDE
        # As much muscle in the cavity as in the first frame, less what has been pressed into the wall and become part
        # of its label.
        pressed = max(0.0, float(self._volumes[index, 1] - self._volumes[0, 1]))
        for muscle, rest, pool, column, lost in (
            (frame.lv_muscle, first.lv_muscle, Structure.LV_BLOOD, 0, pressed),
            (frame.rv_muscle, first.rv_muscle, Structure.RV_BLOOD, 2, 0.0),
        ):
            if muscle is None or rest is None or self._volumes[index, column] <= 0:
                continue
            wanted = max(rest.share * self._volumes[0, column] - lost, 0.0) / self._volumes[index, column]
            if wanted > 0:
                muscle.fill_in(structure, at, pool, muscle.share / float(wanted))
        return structure

    def _carried(self, index: int, ground: NDArray[np.floating]) -> NDArray[np.floating]:
        """Where tissue of the first frame lies in another."""
        if index == 0:
            return ground
        at = np.array(ground, dtype=np.float64)
        near = np.flatnonzero(self.near(ground))
        # Beyond the heart a frame holds no labels to look up.
        at[near] = self._to_frame(index).from_label_map(at[near], lambda far: far)
        return at

    def _blend(
        self, structure: NDArray[np.uint8], ground: NDArray[np.floating], low: int, high: int, share: float
    ) -> None:
        """Where two frames disagree, the one that is surer (deeper inside, nearer in time) has its way."""
        other = self._frame_at(high, self._carried(high, ground))
        differ = np.flatnonzero(other != structure)
        if not differ.size:
            return
        at = ground[differ]
        before = self._frames[low].volume.depth(self._carried(low, at))
        after = self._frames[high].volume.depth(self._carried(high, at))
        wins = share * after > (1.0 - share) * before
        structure[differ[wins]] = other[differ[wins]]

    def to_rest(self, ground: NDArray[np.floating]) -> NDArray[np.floating]:
        """The same: the first frame is at rest."""
        return ground

    def from_rest(self, rest_mm: NDArray[np.floating]) -> NDArray[np.floating]:
        """The same: the first frame is at rest."""
        return rest_mm

    def blood_velocity(self, heart_mm: NDArray[np.floating], cardiac: float, cycle_ms: float) -> NDArray[np.float64]:
        """(n, 3) velocity in mm/s of the ventricles' blood, as `BeatingHeart`'s, from the estimated motion."""
        structure, ground, _ = self.sample(heart_mm, cardiac, rest=False)

        def velocity(index: NDArray[np.intp], step: PoolStep) -> NDArray[np.floating]:
            start = self._motion(step.before).from_label_map(ground[index])
            wall = (self._motion(step.after).from_label_map(ground[index]) - start) / step.seconds
            flow = self._motion(cardiac).emptying_flow(heart_mm[index], np.full(index.size, step.rate), step.left)
            return np.asarray(wall + flow)

        return velocity_of_pools(structure, self._volumes_at, cardiac, cycle_ms, velocity)


@dataclass(frozen=True)
class PoolStep:
    """A short step of the heartbeat as one ventricle's blood sees it.

    Attributes
    ----------
    before, after
        Cardiac phases at its ends.
    seconds
        How long it lasts.
    rate
        Relative change of the pool's volume, per second.
    left
        Whether the pool is the left one.
    """

    before: float
    after: float
    seconds: float
    rate: float
    left: bool


def velocity_of_pools(
    structure: NDArray[np.uint8],
    volumes_at: Callable[[float], NDArray[np.floating]],
    cardiac: float,
    cycle_ms: float,
    velocity: Callable[[NDArray[np.intp], PoolStep], NDArray[np.floating]],
) -> NDArray[np.float64]:
    """(n, 3) velocity in mm/s of the blood in both ventricles, 0 elsewhere.

    Parameters
    ----------
    structure
        (n,) `Structure` of the points.
    volumes_at
        LV pool, LV wall and RV pool volume (3,) at a cardiac phase, ml.
    cardiac, cycle_ms
        Phase of the heartbeat, and how long it is.
    velocity
        (m, 3) mm/s of the points with these indices (m,), over a step around `cardiac`.
    """
    out = np.zeros((len(structure), 3))
    seconds = _STEP * cycle_ms / 1000.0
    before, after = (cardiac - 0.5 * _STEP) % 1.0, (cardiac + 0.5 * _STEP) % 1.0
    earlier, later = (np.maximum(volumes_at(phase), 1e-6) for phase in (before, after))
    change = np.log(later / earlier) / seconds
    for left, pool, rate in ((True, Structure.LV_BLOOD, change[0]), (False, Structure.RV_BLOOD, change[2])):
        index = np.flatnonzero(structure == pool)
        if index.size:
            out[index] = velocity(index, PoolStep(before, after, seconds, float(rate), left))
    return out


def function_of_series(volumes_ml: NDArray[np.float64]) -> CardiacFunction:
    """From (frames, 3) volumes of LV blood, LV myocardium and RV blood: ED and ES are the LV's largest and smallest."""
    v = volumes_ml
    largest, least = int(np.argmax(v[:, 0])), int(np.argmin(v[:, 0]))
    mass = float(v[largest, 1]) * MYOCARDIAL_DENSITY_G_PER_ML
    right = (float(v[largest, 2]), float(v[least, 2])) if v[:, 2].any() else (None, None)
    return CardiacFunction(float(v[largest, 0]), float(v[least, 0]), mass, *right)


def ejected_share(lv_ml: NDArray[np.float64], now_ml: float) -> float:
    """Share of the stroke volume of a series of LV volumes that has left when `now_ml` is in it."""
    stroke = float(lv_ml.max() - lv_ml.min())
    return float(np.clip((lv_ml.max() - now_ml) / stroke, 0.0, 1.0)) if stroke > 0 else 0.0


def _closed(phases: tuple[float, ...], values: NDArray[np.float64]) -> CubicSpline:
    """Periodic spline through the (frames, ...) values at these phases."""
    return CubicSpline(np.array([*phases, 1.0]), np.concatenate([values, values[:1]]), bc_type="periodic")


def _smooth_in_time(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take contouring noise out of a long series; a short one needs every frame."""
    if len(values) < 8:
        return values
    return np.asarray(ndimage.gaussian_filter1d(values, 0.7, axis=0, mode="wrap"), dtype=np.float64)

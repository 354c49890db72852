"""Anatomy from XCAT's activity files: its organs made smooth, its heart beating, its breathing followed."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from CMRSimExtension.anatomy.composition import CLINICAL_OF_STRUCTURE
from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.anatomy.labels.beat import Beat, BeatParameters
from CMRSimExtension.anatomy.labels.beating_heart import BeatingHeart
from CMRSimExtension.anatomy.labels.body_volume import build_body_volume
from CMRSimExtension.anatomy.labels.heart_in_body import HeartInBody
from CMRSimExtension.anatomy.labels.heart_volume import HeartDetail, HeartVolume, build_heart_volume
from CMRSimExtension.anatomy.labels.moving_heart import MovingHeart
from CMRSimExtension.anatomy.labels.placement import Placement, base_level_mm, place_heart
from CMRSimExtension.anatomy.labels.series_heart import SeriesHeart, SeriesTiming
from CMRSimExtension.anatomy.labels.surroundings import FOLLOWS_THE_HEART
from CMRSimExtension.anatomy.labels.vector_heart import VectorHeart
from CMRSimExtension.anatomy.labels.volume import LabelVolume
from CMRSimExtension.anatomy.material import HeartFrame, HeldPoints, Material, Moment
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.xcat_files import XcatFrame, XcatSeries, depth_of_breath, read_xcat
from CMRSimExtension.anatomy.xcat_organs import xcat_tissues
from CMRSimExtension.anatomy.xcat_vectors import (
    XCAT_MOTION,
    Box,
    box_around,
    vector_files,
    vector_motion,
    vectors_beside,
)
from CMRSimExtension.errors import FileFormatError, InputError

_EDGE_MM = 15.0
"""How far beyond its first and last slice the phantom goes on unchanged."""

_SAME_PHASE = 0.02
"""Heart phases closer than this are the same."""
_NEAR_DIASTOLE = 0.1
_END_SYSTOLE = 0.4

_VECTORS_BEYOND_MM = 70.0
"""Vectors are read this far around the ventricles: the atria lie within, and motion fades out over the last 26 mm."""

_XCAT_DETAIL = HeartDetail(fat_mm=0.0, papillary_radius_mm=0.0, trabeculae=0.4)


class XcatBody:
    """The phantom around the heart; a `Background` that does not breathe (each frame is a breath of its own)."""

    def __init__(self, volume: LabelVolume, affine_ras: NDArray[np.float64], shape: tuple[int, int, int]) -> None:
        self._volume = volume
        inverse = np.linalg.inv(affine_ras)
        spacing = np.linalg.norm(affine_ras[:3, :3], axis=0)
        self._matrix, self._shift = inverse[:3, :3].T * spacing, inverse[:3, 3] * spacing
        self._ends = (-0.5 * spacing[2], (shape[0] - 0.5) * spacing[2])
        self._low = -0.5 * spacing - np.array([0.0, 0.0, _EDGE_MM])
        self._high = (np.array(shape[::-1]) - 0.5) * spacing + np.array([0.0, 0.0, _EDGE_MM])

    def sample(self, points_mm: NDArray[np.floating], respiratory_phase: float) -> NDArray[np.uint8]:
        """Structure numbers at (n, 3) RAS points; air beyond the phantom."""
        out = np.zeros(len(points_mm), dtype=np.uint8)
        at = points_mm @ self._matrix + self._shift
        inside = np.flatnonzero(np.all((at > self._low) & (at < self._high), axis=1))
        found = self._volume.look_up(np.asarray(points_mm, dtype=np.float64)[inside])
        # Organs go on beyond the last slice as they are there, but the heart ends: `HeartVolume` closes its apex.
        beyond = (at[inside, 2] < self._ends[0]) | (at[inside, 2] > self._ends[1])
        found[beyond & FOLLOWS_THE_HEART[found]] = Structure.EPICARDIAL_FAT
        out[inside] = found
        return out

    def rest_mm(self, points_mm: NDArray[np.floating], respiratory_phase: float) -> NDArray[np.floating]:
        """The points themselves."""
        return points_mm

    def describe(self) -> dict[str, Any]:
        """Nothing of its own: the phantom's files tell it all."""
        return {"kind": "XCAT"}


class XcatAnatomy:
    """An XCAT phantom; implements `Anatomy`.

    Frames that differ by breathing alone are its respiratory phases: at a depth of breath between two of them the
    nearer one is shifted by what the heart moves. The heart beats, at each of them, by shells fitted to its labels
    (XCAT's activity files hold no displacement), with the ejection fraction and the shortening that the log tells.

    Frames at several heart phases are a beating series: each is kept and the motion between them estimated
    (`SeriesHeart`); the body around them is that of the first. Where XCAT's motion vectors lie beside such frames under
    the same name, or are given, they are the motion: frame 1 is carried along by them (`VectorHeart`), and the other
    frames only tell whether the vectors are theirs.

    Parameters
    ----------
    source
        Path of a log, of one activity file or of a ``.par``; or what `read_xcat` made of it.
    vectors
        One of XCAT's motion vector files, or their folder, if they do not lie beside the frames under the same name.
    beat
        False leaves the heart as XCAT drew it.
    parameters
        How it beats; from the log and drawn from `seed` where None.
    seed
        Of what is drawn.

    Raises
    ------
    FileFormatError
        If a file is missing, has the wrong size or holds unknown activities, or there is no heart in it.
        Also if motion vectors are unreadable, lack a frame, or belong to another run.
    InputError
        If frames show several heart phases, but not end diastole; if there are motion vectors, but the frames breathe,
        do not start at end diastole, or (where `vectors` was given) show one heart phase or shall not beat.
    """

    def __init__(
        self,
        source: str | Path | XcatSeries,
        *,
        vectors: str | Path | None = None,
        beat: bool = True,
        parameters: BeatParameters | None = None,
        seed: int = 0,
    ) -> None:
        series = source if isinstance(source, XcatSeries) else read_xcat(source)
        self._series, self._seed, self._beats = series, int(seed), bool(beat)
        phases = np.array([f.cardiac for f in series.frames])
        spread = np.abs(np.angle(np.exp(2j * np.pi * (phases - phases[0])))).max()
        self._cardiac_series = bool(spread > 2 * np.pi * _SAME_PHASE)
        self._frames = sorted(series.frames, key=lambda f: f.cardiac if self._cardiac_series else f.inhaled)
        if self._cardiac_series:
            self._frames = _one_per_phase(self._frames, series.source)
        self._vectors = self._vectors_of(vectors)
        first = self._structures(self._frames[0])
        self._placement: Placement = place_heart(first, series.affine_ras, series.spacing_mm, mirrored=False)
        self._shifts = np.array([self._shift(first, self._structures(f)) for f in self._frames])
        drawn = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
        self._parameters = parameters or _parameters_of(series, first, self._frames[0].cardiac, drawn)
        self._bodies: dict[int, HeartInBody] = {0: self._build(0, first)}
        for frame in self._frames:
            _ = frame.sha256  # Kept now, as the files may be gone when the record is written.

    def _structures(self, frame: XcatFrame) -> NDArray[np.uint8]:
        structures = self._series.structures(frame)
        for part in (Structure.LV_BLOOD, Structure.LV_MYOCARDIUM, Structure.RV_BLOOD):
            if not np.any(structures == part):
                name = part.name.lower().replace("_", " ")
                raise FileFormatError(f"{frame.path.name} holds no {name}: its slices do not reach the heart")
        return structures

    def _shift(self, first: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(3,) RAS displacement of the heart from one frame to another, by cross-correlation of its labels."""
        if first is other or np.array_equal(first, other):
            return np.zeros(3)
        pad = [n + 16 for n in first.shape]
        total = np.zeros([fft.next_fast_len(n) for n in pad])
        for part in (Structure.LV_BLOOD, Structure.LV_MYOCARDIUM, Structure.RV_BLOOD):
            a, b = ((s == part).astype(np.float32) for s in (first, other))
            total += fft.irfftn(np.conj(fft.rfftn(a, total.shape)) * fft.rfftn(b, total.shape), total.shape)
        peak = np.unravel_index(int(np.argmax(total)), total.shape)
        place = []
        for axis, at in enumerate(peak):
            n = total.shape[axis]
            line = [
                total[tuple((p + d) % m if a == axis else p for a, (p, m) in enumerate(zip(peak, total.shape)))]
                for d in (-1, 0, 1)
            ]
            bend = line[0] - 2 * line[1] + line[2]
            offset = 0.5 * (line[0] - line[2]) / bend if bend < 0 else 0.0
            place.append((at + n // 2) % n - n // 2 + offset)
        return np.asarray(self._placement.affine_ras[:3, :3] @ np.array(place[::-1]), dtype=np.float64)

    def _build(self, index: int, structures: NDArray[np.uint8]) -> HeartInBody:
        place, spacing = self._placement, self._series.spacing_mm
        shift = self._shifts[index]
        base = place.frame
        frame = HeartFrame(
            base.origin_mm + shift,
            base.axes,
            base.lv_length_mm,
            base.rv_centre_mm + shift,
            base.aortic_valve_mm + shift,
        )
        # One seed for all frames: trabeculae stay the same from breath to breath.
        seed = np.random.SeedSequence(self._seed).spawn(2)[1]
        heart: MovingHeart
        if self._vectors:
            heart = self._vector_heart(structures, seed)
        elif self._cardiac_series and self._beats:
            heart = self._series_heart(seed)
        else:
            volume = self._heart_volume(structures, place.affine_ras, frame, seed, 0.0)
            heart = BeatingHeart(Beat(volume, self._parameters, self._frames[index].cardiac), still=not self._beats)
        body = XcatBody(build_body_volume(structures, place.affine_ras, spacing), place.affine_ras, structures.shape)  # type: ignore[arg-type]
        return HeartInBody(frame, heart, body, xcat_tissues(), body_at_rest=False)

    def _heart_volume(
        self,
        structures: NDArray[np.uint8],
        affine_ras: NDArray[np.float64],
        frame: HeartFrame,
        seed: np.random.SeedSequence,
        base_mm: float,
    ) -> HeartVolume:
        heart = np.where(CLINICAL_OF_STRUCTURE[structures] > 0, structures, 0).astype(np.uint8)
        heart[structures == Structure.RV_MYOCARDIUM] = Structure.RV_MYOCARDIUM
        rng, spacing = np.random.default_rng(seed), self._series.spacing_mm
        return build_heart_volume(heart, affine_ras, spacing, frame, _XCAT_DETAIL, rng, complete=True, base_mm=base_mm)

    def _series_heart(self, seed: np.random.SeedSequence) -> SeriesHeart:
        """All cardiac phases; what the heart shifts with breathing on the way is taken out."""
        place = self._placement
        volumes: list[HeartVolume] = []
        for frame, shift in zip(self._frames, self._shifts, strict=True):
            structures = self._structures(frame)
            affine = place.affine_ras.copy()
            if frame.inhaled != self._frames[0].inhaled:
                affine[:3, 3] -= shift
            base = base_level_mm(structures, affine, self._series.spacing_mm, place.frame) if volumes else 0.0
            volumes.append(self._heart_volume(structures, affine, place.frame, seed, base))
        return SeriesHeart(volumes, self._timing())

    def _timing(self) -> SeriesTiming:
        start = self._frames[0].cardiac
        return SeriesTiming(tuple(f.cardiac - start for f in self._frames), self.cycle_ms)

    def _vectors_of(self, given: str | Path | None) -> dict[int, Path]:
        """XCAT's own motion of a series: the vector files that were given, or that lie beside it; by frame number."""
        if not (self._cardiac_series and self._beats):
            if given is not None:
                what = "was asked to stay still" if self._cardiac_series else "shows one heart phase"
                raise InputError(
                    f"motion vectors move frames from heart phase to heart phase, but {self._series.source} {what}; "
                    "give the log of a beating series, or leave the vectors out"
                )
            return {}
        files = vectors_beside(self._series) if given is None else vector_files(given)
        depths = [f.inhaled for f in self._frames]
        if files and np.ptp(depths) > 0:
            raise InputError(
                f"the frames of {self._series.source} breathe as they beat ({min(depths):.0%} to {max(depths):.0%} "
                "inhaled), so their motion vectors hold both; run XCAT with motion_option = 0, or move the vectors "
                "elsewhere to have the motion estimated"
            )
        return files

    def _vector_heart(self, structures: NDArray[np.uint8], seed: np.random.SeedSequence) -> VectorHeart:
        """The first frame, moved as XCAT says."""
        place, spacing = self._placement, self._series.spacing_mm
        box = box_around(CLINICAL_OF_STRUCTURE[structures] > 0, spacing, _VECTORS_BEYOND_MM)
        numbers = tuple(f.number for f in self._frames)
        motion = vector_motion(self._vectors, numbers, place.affine_ras, FOLLOWS_THE_HEART[structures], box)
        volume = self._heart_volume(structures, place.affine_ras, place.frame, seed, 0.0)
        heart = VectorHeart(
            volume, structures[box], motion.displacement_mm, motion.affine_ras, motion.cut, place.frame, self._timing()
        )
        self._check_vectors(structures[box], box, heart)
        self._shares = {
            "known": motion.known_share, "filled": motion.filled_share, "without_inverse": heart.unsettled_share
        }
        return heart

    def _check_vectors(self, first: NDArray[np.uint8], box: Box, heart: VectorHeart) -> None:
        """Vectors of another run or grid explain the frame nearest end systole worse than no motion at all."""
        frame = min(self._frames[1:], key=lambda f: abs(f.cardiac - _END_SYSTOLE))
        there = CLINICAL_OF_STRUCTURE[self._structures(frame)[box]]
        at = np.indices(there.shape).reshape(3, -1).T[:, ::-1] + [side.start for side in box[::-1]]
        affine = self._placement.affine_ras
        points = self._placement.frame.to_heart(at @ affine[:3, :3].T + affine[:3, 3])
        moved = heart.sample(points, frame.cardiac - self._frames[0].cardiac, rest=False)[0]
        wrong = np.count_nonzero(CLINICAL_OF_STRUCTURE[moved] != there.ravel())
        unmoved = np.count_nonzero(CLINICAL_OF_STRUCTURE[first] != there)
        if wrong > unmoved:
            raise FileFormatError(
                f"carried by {self._vectors[frame.number].name}, the heart of frame 1 differs from {frame.path.name} "
                f"in {wrong} voxels, and unmoved in {unmoved}: the vectors belong to another run; make both with the "
                "same parameters, or move the vectors elsewhere"
            )

    def _at(self, index: int) -> HeartInBody:
        if index not in self._bodies:
            built = self._build(index, self._structures(self._frames[index]))
            self._bodies = {**self._bodies, index: built}
        return self._bodies[index]

    def _breath(self, respiratory: float) -> tuple[int, NDArray[np.float64]]:
        """The frame nearest in depth of breath, and how far (RAS mm) the phantom is shifted from it."""
        depths = np.array([f.inhaled for f in self._frames])
        if len(depths) == 1 or self._cardiac_series:
            return 0, np.zeros(3)
        depth = float(np.clip(depth_of_breath(respiratory), depths[0], depths[-1]))
        index = int(np.argmin(np.abs(depths - depth)))
        here = np.array([np.interp(depth, depths, self._shifts[:, a]) for a in range(3)])
        return index, here - self._shifts[index]

    @property
    def heart_frame(self) -> HeartFrame:
        """The heart's own coordinates at full expiration."""
        return self._placement.frame

    @property
    def placement(self) -> Placement:
        """Where the phantom was put; its `affine_ras` is the grid of XCAT's own voxels."""
        return self._placement

    @property
    def cycle_ms(self) -> float:
        """XCAT's heart period."""
        return self._series.cycle_ms

    @property
    def function(self) -> CardiacFunction:
        """True function by the model."""
        return self._bodies[0].function

    def ejection(self, phase: float) -> float:
        """Share of the stroke volume that has left the ventricles at cardiac `phase`."""
        return self._bodies[0].ejection(phase)

    def _to_rest(self, material: Material, index: int) -> Material:
        if material.rest_mm is None:
            return material
        return replace(material, rest_mm=material.rest_mm - (self._shifts[index] - self._shifts[0]))

    def sample(self, points_mm: NDArray[np.floating], moment: Moment, *, rest: bool = True) -> Material:
        """What lies at `points_mm`, (n, 3) RAS, at `moment`."""
        index, shift = self._breath(moment.respiratory)
        found = self._at(index).sample(np.asarray(points_mm) - shift, Moment(moment.cardiac), rest=rest)
        return self._to_rest(found, index)

    def hold(self, points_mm: NDArray[np.floating], respiratory: float) -> HeldPoints:
        """`sample` for many cardiac phases of the same points."""
        index, shift = self._breath(respiratory)
        held = self._at(index).hold(np.asarray(points_mm) - shift, 0.0)
        return lambda cardiac, chosen=None: self._to_rest(held(cardiac, chosen), index)

    def may_move(self, points_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(n,) mask of the points whose material may change over the cardiac cycle, at any depth of breath."""
        points = np.asarray(points_mm)
        reach = np.zeros(len(points), dtype=bool)
        for shift in self._shifts[:1] if self._cardiac_series else self._shifts:
            reach |= self._bodies[0].may_move(points - shift)
        return reach

    def blood_velocity(self, points_mm: NDArray[np.floating], moment: Moment) -> NDArray[np.floating]:
        """(n, 3) mm/s, RAS; zero outside the ventricles' blood."""
        index, shift = self._breath(moment.respiratory)
        return self._at(index).blood_velocity(np.asarray(points_mm) - shift, Moment(moment.cardiac))

    def _motion_said(self) -> str:
        if not self._beats:
            return "none"
        if self._vectors:
            return XCAT_MOTION
        if self._cardiac_series:
            return "estimated: shells of the phantom's frames matched"
        return "shells fitted to the phantom's heart"

    def describe(self) -> dict[str, Any]:
        """Record for the sidecar."""
        return {
            "kind": "XCAT",
            "source": self._series.source,
            "frames": [
                {"file": f.path.name, "sha256": f.sha256}
                | {"cardiac": f.cardiac, "respiratory": f.respiratory, "inhaled": f.inhaled}
                for f in self._frames
            ],
            "seed": self._seed,
            "beat": self._beats,
            "motion": self._motion_said(),
            "vectors": {"files": [p.name for _, p in sorted(self._vectors.items())], "shares": self._shares}
            if self._vectors
            else None,
            "breathing": "none" if len(self._frames) == 1 or self._cardiac_series else "nearest frame, shift estimated",
            "parameters": asdict(self._parameters),
            "placement": self._placement.as_dict(),
            "shared_activities": {str(n): list(o) for n, o in self._series.shared.items()},
        }


def _one_per_phase(frames: list[XcatFrame], source: str) -> list[XcatFrame]:
    """Of frames in the order of their heart phases, the most exhaled one of each phase."""
    kept: list[XcatFrame] = []
    for frame in frames:
        if kept and frame.cardiac - kept[-1].cardiac < _SAME_PHASE:
            kept[-1] = min(kept[-1], frame, key=lambda f: f.inhaled)
        else:
            kept.append(frame)
    if kept[0].cardiac > _NEAR_DIASTOLE:
        raise InputError(
            f"the earliest heart phase in {source} is {kept[0].cardiac:g}; a beating series needs end diastole (at "
            f"most {_NEAR_DIASTOLE:g}): add that frame, or give one frame alone"
        )
    return kept


def _parameters_of(
    series: XcatSeries, structures: NDArray[np.uint8], phase: float, rng: np.random.Generator
) -> BeatParameters:
    """As the log tells, and drawn where it does not."""
    pool = np.sum(CLINICAL_OF_STRUCTURE[structures] == 1) * float(np.prod(series.spacing_mm)) / 1000.0
    parameters = BeatParameters.drawn(rng, float(pool), phase)
    parameters = replace(parameters, heart_rate_bpm=60000.0 / series.cycle_ms)
    if series.lv_volumes_ml is not None:
        diastolic, systolic = series.lv_volumes_ml
        parameters = replace(parameters, lv_ejection_fraction=1.0 - systolic / diastolic)
    if series.lv_lengths_mm is not None:
        long, short = series.lv_lengths_mm
        parameters = replace(parameters, longitudinal_shortening=1.0 - short / long)
    return parameters

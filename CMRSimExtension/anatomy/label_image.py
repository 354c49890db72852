"""Anatomy from somebody's label image: smooth walls between thick slices, a heart that beats, a body around it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.composition import CLINICAL_OF_STRUCTURE, TISSUE_OF_STRUCTURE
from CMRSimExtension.anatomy.function import CardiacFunction
from CMRSimExtension.anatomy.label_maps import LabelMap, parse_label_map
from CMRSimExtension.anatomy.labels.beat import Beat, BeatParameters
from CMRSimExtension.anatomy.labels.beating_heart import BeatingHeart
from CMRSimExtension.anatomy.labels.heart_volume import HeartDetail, build_heart_volume
from CMRSimExtension.anatomy.labels.placement import Placement, place_heart
from CMRSimExtension.anatomy.labels.reading import structures_from, voxel_spacing_mm
from CMRSimExtension.anatomy.labels.surroundings import (
    FOLLOWS_THE_HEART,
    Background,
    chest_wall_stays,
    heart_shift_mm,
    torso_around,
)
from CMRSimExtension.anatomy.labels.volume import LabelVolume
from CMRSimExtension.anatomy.material import HeartFrame, Material, Moment
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError


class LabelAnatomy:
    """A heart known from one label map, beating by the motion of nested shells fitted to it.

    Parameters
    ----------
    labels
        (slices, rows, columns) integers.
    affine_ras
        (4, 4): (column, row, slice, 1) to RAS mm, as in NIfTI.
    label_map
        Preset name (``acdc``, ``mms``), a text such as ``1=rv,2=myo,3=lv``, or a mapping of numbers to `Structure`.
    background
        What fills the space around the heart: ``torso`` draws a parametric torso around it, None leaves the space
        `Structure.OUTSIDE`.
    beat
        False leaves the heart as labelled at every moment.
    phase_of_labels
        Cardiac phase of the label map: 0 for end diastole. At end systole use `Beat` timing, about 0.38.
    parameters
        How it beats; drawn from `seed` where None.
    detail
        What is drawn that a bare label map lacks.
    orientation
        ``auto`` believes the affine where it puts the heart into a possible orientation, and otherwise lays the heart
        into the body as a standard heart lies; ``file`` always believes it.
    mirrored
        Whether the affine turns the heart into its mirror image; None decides it, see `place_heart`.
    seed
        Of everything that is drawn.
    source
        Where the labels came from, for the record.

    Raises
    ------
    InputError
        Empty label map, label outside `label_map`, NaN, missing LV blood or myocardium, an affine that cannot be
        inverted or is sheared, a phase outside [0, 1).
    """

    def __init__(
        self,
        labels: NDArray,
        affine_ras: NDArray[np.floating],
        label_map: str | LabelMap,
        *,
        background: Literal["torso"] | Background | None = "torso",
        beat: bool = True,
        phase_of_labels: float = 0.0,
        parameters: BeatParameters | None = None,
        detail: HeartDetail | None = None,
        orientation: Literal["auto", "file"] = "auto",
        mirrored: bool | None = None,
        seed: int = 0,
        source: str = "",
    ) -> None:
        table: Mapping[int, Structure] = parse_label_map(label_map) if isinstance(label_map, str) else label_map
        if np.ndim(labels) != 3:
            raise InputError(
                f"labels must be (slices, rows, columns), got {np.ndim(labels)} axes; a series is LabelSeries"
            )
        Moment(cardiac=phase_of_labels)
        spacing = voxel_spacing_mm(affine_ras)
        structures = structures_from(labels, table)
        self._seed, self._source, self._beats = int(seed), source, bool(beat)
        self._detail = HeartDetail() if detail is None else detail
        self._table = {int(n): Structure(s).name for n, s in table.items()}
        self._digest = hashlib.sha256(np.ascontiguousarray(structures).tobytes()).hexdigest()
        drawn, details, around = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
        self._placement = place_heart(structures, affine_ras, spacing, orientation=orientation, mirrored=mirrored)
        volume = build_heart_volume(
            structures, self._placement.affine_ras, spacing, self._placement.frame, self._detail, details
        )
        if parameters is None:
            clinical = CLINICAL_OF_STRUCTURE[structures] == 1
            parameters = BeatParameters.drawn(drawn, float(clinical.sum() * np.prod(spacing)) / 1000.0, phase_of_labels)
        frame = self._placement.frame
        self._heart = BeatingHeart(Beat(volume, parameters, phase_of_labels), still=not beat)
        torso = torso_around(self._heart, frame, around) if background == "torso" else background
        self._background: Background | None = torso
        self._filled: LabelVolume | None = None
        if torso is not None:
            # The body belongs to the heart at rest: each cell of the label map asks where it would be then.
            self._filled = volume.with_background(
                lambda at: torso.sample(frame.to_ras(self._heart.to_rest(at)), 0.0)
            ).volume

    @property
    def heart_frame(self) -> HeartFrame:
        """The heart's own coordinates in the body."""
        return self._placement.frame

    @property
    def placement(self) -> Placement:
        """Where the label image was put; its `affine_ras` is the grid that shows the labels as they were."""
        return self._placement

    @property
    def cycle_ms(self) -> float:
        """R-R interval."""
        return 60000.0 / self._heart.beat.parameters.heart_rate_bpm

    @property
    def function(self) -> CardiacFunction:
        """True function by the model; a still heart has no end systole."""
        return self._heart.function

    def ejection(self, phase: float) -> float:
        """Share of the stroke volume that has left the ventricles at cardiac `phase`."""
        beat = self._heart.beat
        return 0.0 if self._heart.still else beat.timing.ejection(phase)

    def sample(self, points_mm: NDArray[np.floating], moment: Moment, *, rest: bool = True) -> Material:
        """What lies at `points_mm`, (n, 3) RAS of the body, at `moment`.

        The heart moves with breathing as a whole; the body around it breathes, and near the heart follows its beat.
        """
        points = np.asarray(points_mm)
        frame, breath = self.heart_frame, moment.respiratory
        heart_mm = frame.to_heart(points - heart_shift_mm(self._background, breath))
        structure, _, relaxed = self._heart.sample(
            heart_mm, moment.cardiac, rest=True, volume=None if breath else self._filled
        )
        assert relaxed is not None
        rest_mm = frame.to_ras(relaxed)
        beside = np.flatnonzero(~FOLLOWS_THE_HEART[structure])
        if self._background is not None and beside.size:
            moved = rest_mm[beside] + points[beside] - frame.to_ras(heart_mm[beside])
            structure[beside], moved = self._around(structure[beside], points[beside], moved, breath)
            rest_mm[beside] = self._background.rest_mm(moved, breath)
        tissue, clinical = TISSUE_OF_STRUCTURE[structure], CLINICAL_OF_STRUCTURE[structure]
        return Material(structure, tissue, clinical, rest_mm if rest else None)

    def _around(
        self, structure: NDArray[np.uint8], points: NDArray, moved: NDArray, breath: float
    ) -> tuple[NDArray[np.uint8], NDArray]:
        """Structures beside the heart at `points`, and where they lie while the heart is at rest.

        `moved` is where they would lie if everything followed the heart, `structure` what that gives (0: not known yet).
        """
        assert self._background is not None
        unknown = np.flatnonzero(structure == Structure.OUTSIDE)
        structure[unknown] = self._background.sample(moved[unknown], breath)
        pushed = np.flatnonzero(np.abs(moved - points).max(axis=1) > 1e-9)
        if pushed.size:
            unmoved = self._unmoved(points[pushed], breath)
            stays, found = chest_wall_stays(structure[pushed], unmoved)
            structure[pushed] = found
            moved[pushed[stays]] = points[pushed[stays]]
        return structure, moved

    def _unmoved(self, points: NDArray, breath: float) -> NDArray[np.uint8]:
        """What lies at `points` while the heart is at rest; 0 or more for what the body lacks."""
        assert self._background is not None
        if breath or self._filled is None:
            return self._background.sample(points, breath)
        at = self._heart.beat.motion(0.0).to_label_map(self.heart_frame.to_heart(points))
        return self._filled.look_up(at)

    def hold(self, points_mm: NDArray[np.floating], respiratory: float) -> Callable[[float], Material]:
        """`sample` for many cardiac phases of the same points: what the beat cannot reach is looked up once."""
        points = np.asarray(points_mm)
        shift = heart_shift_mm(self._background, respiratory)
        moving = np.flatnonzero(self._heart.near(self.heart_frame.to_heart(points - shift)))
        resting = np.setdiff1d(np.arange(len(points)), moving, assume_unique=True)
        still = self.sample(points[resting], Moment(0.0, respiratory))

        def at(cardiac: float) -> Material:
            found = self.sample(points[moving], Moment(cardiac, respiratory))
            parts = []
            for name in ("structure", "tissue", "clinical", "rest_mm"):
                mine, theirs = getattr(found, name), getattr(still, name)
                both = np.empty((len(points), *mine.shape[1:]), dtype=mine.dtype)
                both[moving], both[resting] = mine, theirs
                parts.append(both)
            return Material(*parts)

        return at

    def may_move(self, points_mm: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(n,) mask of the points whose material may change over the cardiac cycle, at any respiratory phase."""
        points = np.asarray(points_mm)
        reach = np.zeros(len(points), dtype=bool)
        for respiratory in (0.0, 0.25, 0.35, 0.5):
            reach |= self._heart.near(self.heart_frame.to_heart(points - heart_shift_mm(self._background, respiratory)))
        return reach

    def blood_velocity(self, points_mm: NDArray[np.floating], moment: Moment) -> NDArray[np.floating]:
        """(n, 3) mm/s, RAS; zero outside the ventricles' blood."""
        frame = self.heart_frame
        at = frame.to_heart(np.asarray(points_mm) - heart_shift_mm(self._background, moment.respiratory))
        heart = self._heart.blood_velocity(at, moment.cardiac, self.cycle_ms)
        return heart @ frame.axes

    def describe(self) -> dict[str, Any]:
        """Record for the sidecar."""
        background = self._background
        return {
            "kind": "label image",
            "source": self._source,
            "labels_sha256": self._digest,
            "label_map": {str(n): name.lower() for n, name in self._table.items()},
            "seed": self._seed,
            "beat": self._beats,
            "motion": "shells fitted to one label map" if self._beats else "none",
            "phase_of_labels": self._heart.beat.phase_of_labels,
            "parameters": asdict(self._heart.beat.parameters),
            "detail": asdict(self._detail),
            "placement": self._placement.as_dict(),
            "background": None if background is None else background.describe(),
        }

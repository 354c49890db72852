"""Anatomy from somebody's label image or series: smooth walls, a heart that beats, a body around it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.composition import CLINICAL_OF_STRUCTURE
from CMRSimExtension.anatomy.label_maps import LabelMap, parse_label_map
from CMRSimExtension.anatomy.labels.beat import Beat, BeatParameters, drawn_beat
from CMRSimExtension.anatomy.labels.beating_heart import BeatingHeart
from CMRSimExtension.anatomy.labels.heart_in_body import HeartInBody
from CMRSimExtension.anatomy.labels.heart_volume import HeartDetail, HeartVolume, build_heart_volume
from CMRSimExtension.anatomy.labels.moving_heart import MovingHeart
from CMRSimExtension.anatomy.labels.placement import Placement, base_level_mm, place_heart
from CMRSimExtension.anatomy.labels.reading import choose_frames, structures_from, voxel_spacing_mm
from CMRSimExtension.anatomy.labels.series_heart import SeriesHeart, SeriesTiming
from CMRSimExtension.anatomy.labels.surroundings import (
    Background,
    torso_around,
)
from CMRSimExtension.anatomy.material import Moment
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError


class LabelAnatomy(HeartInBody):
    """A heart known from label maps; implements `Anatomy`.

    One label map beats by the motion of nested shells fitted to it. A series beats as its frames do, by an estimate of
    the motion between them (`SeriesHeart`).

    Parameters
    ----------
    labels
        (slices, rows, columns) integers, or (frames, slices, rows, columns) over one heartbeat, end diastole first.
        Frames without any label are left out. Of two labelled frames, the one with the larger LV is end diastole.
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
        Cardiac phase of a single label map: 0 for end diastole, about 0.39 for end systole.
    frame_phases
        (frames,) cardiac phases of a series, rising from 0. Even by default; two frames are taken at 0 and 0.35.
    cycle_ms
        Heartbeat of a series; 800 ms (75 per minute) by default.
    parameters
        How a single label map beats; drawn from `seed` where None.
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
        frame_phases: Sequence[float] | None = None,
        cycle_ms: float | None = None,
        parameters: BeatParameters | None = None,
        detail: HeartDetail | None = None,
        orientation: Literal["auto", "file"] = "auto",
        mirrored: bool | None = None,
        seed: int = 0,
        source: str = "",
    ) -> None:
        table: Mapping[int, Structure] = parse_label_map(label_map) if isinstance(label_map, str) else label_map
        if np.ndim(labels) not in (3, 4):
            raise InputError(
                f"labels must be (slices, rows, columns) or (frames, slices, rows, columns), got {np.ndim(labels)} axes"
            )
        Moment(cardiac=phase_of_labels)
        spacing = voxel_spacing_mm(affine_ras)
        self._table = {int(n): Structure(s).name for n, s in table.items()}
        self._seed, self._source, self._beats = int(seed), source, bool(beat)
        self._detail = HeartDetail() if detail is None else detail
        structures = structures_from(labels, table)
        self._digest = hashlib.sha256(np.ascontiguousarray(structures).tobytes()).hexdigest()
        if structures.ndim == 3:
            self._phases: tuple[float, ...] = (phase_of_labels,)
            frames = [structures]
        else:
            frames, self._phases = choose_frames(structures, frame_phases)
        if cycle_ms is not None and not 200.0 <= cycle_ms <= 3000.0:
            raise InputError(f"cycle_ms is {cycle_ms}; a heartbeat lasts 200 to 3000 ms")
        drawn, details, around = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
        self._placement = place_heart(frames[0], affine_ras, spacing, orientation=orientation, mirrored=mirrored)
        self._parameters = parameters
        heart: MovingHeart
        if len(frames) > 1 and beat:
            heart = self._series(frames, spacing, details, 800.0 if cycle_ms is None else cycle_ms)
        else:
            heart = self._single(frames[0], spacing, drawn, details, cycle_ms)
        frame = self._placement.frame
        torso = torso_around(heart, frame, around) if background == "torso" else background
        super().__init__(frame, heart, torso)

    def _single(
        self,
        structures: NDArray[np.uint8],
        spacing: tuple[float, float, float],
        drawn: np.random.Generator,
        details: np.random.Generator,
        cycle_ms: float | None,
    ) -> BeatingHeart:
        place, phase = self._placement, self._phases[0]
        volume = build_heart_volume(structures, place.affine_ras, spacing, place.frame, self._detail, details)
        if self._parameters is None:
            pool = np.count_nonzero(CLINICAL_OF_STRUCTURE[structures] == 1) * float(np.prod(spacing)) / 1000.0
            self._parameters = drawn_beat(volume, drawn, pool, phase).parameters
        if cycle_ms is not None:
            self._parameters = replace(self._parameters, heart_rate_bpm=60000.0 / cycle_ms)
        return BeatingHeart(Beat(volume, self._parameters, phase), still=not self._beats)

    def _series(
        self,
        frames: list[NDArray[np.uint8]],
        spacing: tuple[float, float, float],
        details: np.random.Generator,
        cycle_ms: float,
    ) -> SeriesHeart:
        place = self._placement
        seed = int(details.integers(2**31))
        # Many frames are kept on a coarser grid, which their sub-voxel boundaries bear well.
        cell = 1.2 if len(frames) <= 2 else 1.6
        volumes: list[HeartVolume] = []
        for structures in frames:
            # Atria, vessels and fat are those of the first frame, which the motion carries along.
            detail = replace(self._detail, base=False, fat_mm=0.0) if volumes else self._detail
            base = 0.0 if not volumes else base_level_mm(structures, place.affine_ras, spacing, place.frame)
            # The same seed for each: fat and trabeculae stay the same from frame to frame.
            rng = np.random.default_rng(seed)
            volumes.append(
                build_heart_volume(structures, place.affine_ras, spacing, place.frame, detail, rng, cell, base_mm=base)
            )
        return SeriesHeart(volumes, SeriesTiming(self._phases, cycle_ms))

    @property
    def placement(self) -> Placement:
        """Where the label image was put; its `affine_ras` is the grid that shows the labels as they were."""
        return self._placement

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
            "motion": self._motion_said(),
            "phases_of_labels": list(self._phases),
            "cycle_ms": self.cycle_ms,
            "parameters": None if self._parameters is None else asdict(self._parameters),
            "detail": asdict(self._detail),
            "placement": self._placement.as_dict(),
            "background": None if background is None else background.describe(),
        }

    def _motion_said(self) -> str:
        if not self._beats:
            return "none"
        if len(self._phases) > 1:
            return "estimated: shells of the label frames matched"
        return "shells fitted to one label map"

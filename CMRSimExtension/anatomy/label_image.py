"""Anatomy from somebody's label image: smooth walls between thick slices, a heart that beats, a body around it."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.composition import CLINICAL_OF_STRUCTURE
from CMRSimExtension.anatomy.label_maps import LabelMap, parse_label_map
from CMRSimExtension.anatomy.labels.beat import Beat, BeatParameters
from CMRSimExtension.anatomy.labels.beating_heart import BeatingHeart
from CMRSimExtension.anatomy.labels.heart_in_body import HeartInBody
from CMRSimExtension.anatomy.labels.heart_volume import HeartDetail, build_heart_volume
from CMRSimExtension.anatomy.labels.placement import Placement, place_heart
from CMRSimExtension.anatomy.labels.reading import structures_from, voxel_spacing_mm
from CMRSimExtension.anatomy.labels.surroundings import (
    Background,
    torso_around,
)
from CMRSimExtension.anatomy.material import Moment
from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.errors import InputError


class LabelAnatomy(HeartInBody):
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
        heart = BeatingHeart(Beat(volume, parameters, phase_of_labels), still=not beat)
        torso = torso_around(heart, frame, around) if background == "torso" else background
        super().__init__(frame, heart, torso)

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
            "motion": "shells fitted to one label map" if self._beats else "none",
            "phase_of_labels": self._heart.beat.phase_of_labels,
            "parameters": asdict(self._heart.beat.parameters),
            "detail": asdict(self._detail),
            "placement": self._placement.as_dict(),
            "background": None if background is None else background.describe(),
        }

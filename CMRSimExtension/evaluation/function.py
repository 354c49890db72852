"""Heart function from labels, as readers define it.

End diastole is the frame of the largest LV pool, end systole that of the smallest; the RV is measured at the same two
frames, its own extremes stand beside it; mass is the myocardium at end diastole.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.function import MYOCARDIAL_DENSITY_G_PER_ML, CardiacFunction
from CMRSimExtension.anatomy.reference import ADULT_YEARS, PUBLISHED_ADULTS
from CMRSimExtension.errors import InputError
from CMRSimExtension.person import parse_sex


@dataclass(frozen=True)
class FunctionCurves:
    """Function and the volume curves it was read from.

    Attributes
    ----------
    function
        Global function; its systolic values are None when only one frame was labelled. A value of the RV at a frame
        whose labels have none of it is None: an RV that has left the slices is not empty.
    frames
        Indices of the frames that have labels.
    lv_ml, rv_ml, myocardium_ml
        Volumes of those frames.
    end_diastole, end_systole
        Frame indices; end systole is None when only one frame has labels.
    rv_largest_ml, rv_smallest_ml
        The RV's own extremes, which need not fall on those frames.
    indexed
        Volumes and mass per m2 of body surface, where height and weight are known.
    wall_mm
        Wall thickness per segment, see `wall_thickness.wall_of_heartbeat`; empty where it was not measured.
    """

    function: CardiacFunction
    frames: tuple[int, ...]
    lv_ml: tuple[float, ...]
    rv_ml: tuple[float, ...]
    myocardium_ml: tuple[float, ...]
    end_diastole: int
    end_systole: int | None
    rv_largest_ml: float
    rv_smallest_ml: float | None
    indexed: dict[str, float]
    wall_mm: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """All values by name, JSON-able."""
        return asdict(self) | {"function": self.function.as_dict()}


def body_surface_m2(height_cm: float, weight_kg: float) -> float:
    """Body surface area by Mosteller (N Engl J Med 1987;317:1098): sqrt(height x weight / 3600).

    Raises
    ------
    InputError
        When either is not a human's: outside 30 to 250 cm or 1 to 400 kg.
    """
    if not 30.0 <= height_cm <= 250.0 or not 1.0 <= weight_kg <= 400.0:
        raise InputError(f"height {height_cm} cm and weight {weight_kg} kg: give 30 to 250 cm and 1 to 400 kg")
    return float(np.sqrt(height_cm * weight_kg / 3600.0))


def normal_ranges(sex: str, age_years: float) -> dict[str, tuple[float, float]]:
    """Published range (mean -/+ 1.96 SD) of healthy adults for the values of `FunctionCurves`, by name.

    Volumes and mass are per m2 of body surface, ejection fractions in percent. Source: `PUBLISHED_ADULTS`, whose people
    were 45 to 74 years old. Nothing is given for children, whose indices grow with body surface.

    Parameters
    ----------
    sex
        See `person.SEX_SPELLINGS`.
    """
    ranges = PUBLISHED_ADULTS[parse_sex(sex)]
    if age_years < ADULT_YEARS:
        return {}
    return {name: (value.at(-1.96), value.at(1.96)) for name, value in ranges.items()}


def volumes_ml(labels: NDArray[np.integer], spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """(frames, 3): LV pool, LV myocardium and RV pool volumes of (frames, slices, rows, columns) labels.

    `spacing_mm` is (slice, row, column); the slice distance counts, gaps included, as in Simpson's rule.
    """
    if labels.ndim != 4:
        raise InputError(f"labels of shape {labels.shape}: (frames, slices, rows, columns) is needed")
    voxel = float(np.prod(np.asarray(spacing_mm, float))) / 1000.0
    counts = [[np.count_nonzero(frame == label) for label in (1, 2, 3)] for frame in labels]
    return np.array(counts, float).reshape(len(labels), 3) * voxel


def function_from_labels(
    labels: NDArray[np.integer],
    spacing_mm: Sequence[float],
    *,
    frames: Sequence[int] | None = None,
    height_cm: float | None = None,
    weight_kg: float | None = None,
) -> FunctionCurves:
    """Function of a labelled cine.

    Parameters
    ----------
    labels
        (frames, slices, rows, columns): 1 LV blood pool, 2 LV myocardium, 3 RV blood pool.
    spacing_mm
        (slice, row, column) distances.
    frames
        Frames that have labels; None takes those in which the LV pool is not empty.
    height_cm, weight_kg
        For indexing to body surface area, where both are known.

    Raises
    ------
    InputError
        When no frame has an LV blood pool, or a spacing is not above 0.
    """
    spacing = [float(side) for side in spacing_mm]
    if len(spacing) != 3 or not all(side > 0 and np.isfinite(side) for side in spacing):
        raise InputError(f"spacing {tuple(spacing_mm)}: give the (slice, row, column) distances in mm, each above 0")
    volumes = volumes_ml(labels, spacing)
    shown = np.flatnonzero(volumes[:, 0] > 0) if frames is None else np.asarray(sorted(set(frames)), int)
    if not len(shown) or not (volumes[shown, 0] > 0).any():
        raise InputError("no frame has an LV blood pool (label 1): there is no function to measure")
    lv, myocardium, rv = volumes[shown].T
    ed, es = int(np.argmax(lv)), int(np.argmin(lv))
    two = len(shown) > 1
    function = CardiacFunction(
        lv_edv_ml=float(lv[ed]),
        lv_esv_ml=float(lv[es]) if two else None,
        lv_mass_g=float(myocardium[ed]) * MYOCARDIAL_DENSITY_G_PER_ML,
        rv_edv_ml=float(rv[ed]) if rv[ed] > 0 else None,
        rv_esv_ml=float(rv[es]) if two and rv[es] > 0 else None,
    )
    indexed = {}
    if height_cm is not None and weight_kg is not None:
        surface = body_surface_m2(height_cm, weight_kg)
        indexed = {
            f"{name}_per_m2": value / surface
            for name, value in function.as_dict().items()
            if value is not None and not name.endswith("percent")
        }
    return FunctionCurves(
        function,
        tuple(int(frame) for frame in shown),
        tuple(lv.tolist()),
        tuple(rv.tolist()),
        tuple(myocardium.tolist()),
        int(shown[ed]),
        int(shown[es]) if two else None,
        float(rv.max()),
        float(rv.min()) if two else None,
        indexed,
    )

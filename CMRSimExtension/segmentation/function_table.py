"""The table of function of a folder of cases: one row for each patient, and one for each file of a single frame.

``kind`` tells the rows apart. ``image``: a cine, or an image that stands for its patient alone. ``frame``: one of
several files of one frame of a patient (``P_frame01`` and ``P_frame12``, ``P_ED`` and ``P_ES``), with the volumes of
its own ``phase``. ``patient``: these files joined to one heartbeat. So the rows that are no ``frame`` are one for each
patient, and no volume stands under the name of another phase.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CMRSimExtension.anatomy.aha import SEGMENT_NAMES
from CMRSimExtension.evaluation.case_values import patient_of, phases_of
from CMRSimExtension.evaluation.wall_thickness import wall_key
from CMRSimExtension.files.atomic import StagedFiles
from CMRSimExtension.segmentation.job import SegmentationOptions, SegmentedCine, with_function
from CMRSimExtension.segmentation.segment import Segmentation

IMAGE, FRAME, PATIENT = "image", "frame", "patient"
_VOLUMES = ("lv_edv_ml", "lv_esv_ml", "lv_sv_ml", "lv_mass_g", "rv_edv_ml", "rv_esv_ml", "rv_sv_ml")
COLUMNS = (
    "case", "patient", "kind", "phase", "lv_edv_ml", "lv_esv_ml", "lv_sv_ml", "lv_ef_percent", "lv_mass_g",
    "rv_edv_ml", "rv_esv_ml", "rv_sv_ml", "rv_ef_percent", "rv_largest_ml", "rv_smallest_ml",
    *(f"{name}_per_m2" for name in _VOLUMES), "end_diastole", "end_systole",
    *(wall_key(phase, segment) for phase in ("ed", "es") for segment in SEGMENT_NAMES), "note",
)  # fmt: skip


@dataclass(eq=False)
class Outcome:
    """What became of one case.

    Attributes
    ----------
    case
        Its name.
    options
        How it was segmented, and of whom it is.
    result
        None where it failed.
    failure
        Why it failed.
    """

    case: str
    options: SegmentationOptions
    result: SegmentedCine | None = None
    failure: str = ""


def rows_of_patient(outcomes: Sequence[Outcome], files: int) -> list[dict[str, Any]]:
    """The rows of the files that are named as one patient's.

    Parameters
    ----------
    outcomes
        Of the files done so far.
    files
        How many files the patient has.
    """
    if files < 2:
        return [_own_row(outcome) for outcome in outcomes]
    cines = [outcome for outcome in outcomes if outcome.result is not None and not _is_frame(outcome.result)]
    frames = [outcome for outcome in outcomes if outcome not in cines]
    rows = [_own_row(outcome) for outcome in cines]
    if not frames or files - len(cines) < 2:
        return rows + [_own_row(outcome) for outcome in frames]
    measured = [outcome for outcome in frames if outcome.result is not None and _pool(outcome.result) > 0]
    results = [outcome.result for outcome in measured if outcome.result is not None]
    without = [outcome.case for outcome in frames if outcome not in measured]
    lost = f"no LV was measured in {', '.join(without)}" if without else ""
    joined = len(results) > 1 and _on_one_grid(results)
    # Of one grid the larger pool is end diastole, as in a cine; else only a name can tell.
    phases = (
        phases_of([""] * len(results), [_pool(result) for result in results])
        if joined
        else [_phase_of_name(outcome.case) for outcome in measured]
    )
    phase_of = dict(zip((outcome.case for outcome in measured), phases, strict=True))
    rows += [_frame_row(outcome, phase_of.get(outcome.case)) for outcome in frames]
    patient = patient_of(frames[0].case)
    row = {"case": patient, "patient": patient, "kind": PATIENT}
    if joined:
        try:
            return [*rows, row | _joined(measured, results, phases, lost)]
        # Nor may joining cost the run, whatever the labels are like.
        except Exception as error:
            return [*rows, row | {"note": f"not joined: {type(error).__name__}: {error}"}]
    if len(frames) < files - len(cines):
        return rows  # the rest is still to come
    why = lost or "its files differ in size or voxel size"
    return [*rows, row | {"note": f"no function over the heartbeat: {why}"}]


def write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the table, whole or not at all; what is not known is empty."""
    with StagedFiles() as staged, staged.path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        for row in rows:
            table.writerow({name: f"{value:.3f}" if isinstance(value, float) else value for name, value in row.items()})


def _own_row(outcome: Outcome) -> dict[str, Any]:
    """Row of an image that stands for itself."""
    row: dict[str, Any] = {"case": outcome.case, "patient": patient_of(outcome.case), "kind": IMAGE}
    if outcome.result is None:
        return row | {"note": outcome.failure}
    notes = list(outcome.result.segmentation.notes)
    if not _is_frame(outcome.result):
        return row | _values(outcome.result) | {"note": "; ".join(notes)}
    phase = _phase_of_name(outcome.case)
    if not phase:
        notes.append("one frame alone, taken for end diastole")
    return row | {"phase": phase} | _values_of_phase(outcome.result, phase or "ED") | {"note": "; ".join(notes)}


def _frame_row(outcome: Outcome, phase: str | None) -> dict[str, Any]:
    """Row of a file that is one of a patient's frames; `phase` is None for one that was not measured."""
    row: dict[str, Any] = {"case": outcome.case, "patient": patient_of(outcome.case), "kind": FRAME}
    if outcome.result is None:
        return row | {"note": outcome.failure}
    notes = list(outcome.result.segmentation.notes)
    named = _phase_of_name(outcome.case)
    if phase == "":
        notes.append("not known to be end diastole or end systole: its volumes stand in its .json alone")
    elif phase and named and phase != named:
        notes.append(f"named {named}, and by its left ventricle {phase} of these files: look at it first")
    return row | {"phase": phase or ""} | _values_of_phase(outcome.result, phase) | {"note": "; ".join(notes)}


def _joined(
    measured: Sequence[Outcome], results: Sequence[SegmentedCine], phases: Sequence[str], lost: str
) -> dict[str, Any]:
    """Values of a patient's frames as one heartbeat; `phases` are theirs, `lost` tells of those that are not in it."""
    first = results[0]
    found = Segmentation(
        np.concatenate([result.segmentation.labels for result in results]),
        tuple(range(len(results))),
        first.segmentation.place,
    )
    values = _values(with_function(found, first.grid, measured[0].options, first.sizes_known))
    files = {phase: outcome.case for phase, outcome in zip(phases, measured, strict=True)}
    named = {"end_diastole": files.get("ED", ""), "end_systole": files.get("ES", "")}
    notes = [f"joined from {', '.join(outcome.case for outcome in measured)}", lost, *found.notes]
    return values | named | {"note": "; ".join(note for note in notes if note)}


def _values(result: SegmentedCine) -> dict[str, Any]:
    """All that is known of function, by column."""
    curves = result.function
    if curves is None:
        return {name: value for name, value in result.ejection_fractions.items() if value is not None}
    values = curves.function.as_dict() | {
        "rv_largest_ml": curves.rv_largest_ml if curves.function.rv_edv_ml is not None else None,
        "rv_smallest_ml": curves.rv_smallest_ml if curves.function.rv_edv_ml is not None else None,
        "end_diastole": curves.end_diastole,
        "end_systole": curves.end_systole,
    }
    known: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    return known | curves.indexed | curves.wall_mm


def _values_of_phase(result: SegmentedCine, phase: str | None) -> dict[str, Any]:
    """What one frame tells, under the names of its phase: function counts a single frame as end diastole."""
    if not phase:
        return {}
    other = ("end_", "rv_largest", "rv_smallest")
    values = {name: value for name, value in _values(result).items() if not name.startswith(other)}
    if phase == "ED":
        return values
    renamed = ((name.replace("edv", "esv").replace("wall_ed_", "wall_es_"), value) for name, value in values.items())
    # Mass is that of end diastole.
    return {name: value for name, value in renamed if not name.startswith("lv_mass")}


def _is_frame(result: SegmentedCine) -> bool:
    return len(result.segmentation.labels) == 1


def _pool(result: SegmentedCine) -> float:
    """Voxels of the LV's blood pool."""
    return float((result.segmentation.labels == 1).sum())


def _phase_of_name(case: str) -> str:
    """ED or ES where the name says it, else ""."""
    return phases_of([case], [0.0])[0]


def _on_one_grid(results: Sequence[SegmentedCine]) -> bool:
    """Whether they are of one size and voxel size, so that they can be one series."""
    first = results[0]
    return all(
        result.segmentation.labels.shape == first.segmentation.labels.shape
        and result.sizes_known == first.sizes_known
        and np.allclose(result.grid.spacing_mm, first.grid.spacing_mm, rtol=1e-3)
        for result in results
    )

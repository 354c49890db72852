"""How accurate a model is on labelled data sets: every case compared, function, and the worst cases to look at.

`accuracy_tables` makes text of them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.errors import Cancelled, InputError
from CMRSimExtension.evaluation.case_values import CaseValue, function_values, patient_of
from CMRSimExtension.evaluation.overlap import Comparison, compare
from CMRSimExtension.files.display import LABEL_COLOURS
from CMRSimExtension.segmentation.measured_sets import MeasuredSet
from CMRSimExtension.segmentation.model import SegmentationModel
from CMRSimExtension.segmentation.segment import segment
from CMRSimExtension.simulation.cine import Cine


@dataclass(frozen=True)
class MeasuredCase:
    """One volume with its reference and what the model made of it.

    Attributes
    ----------
    name
        Data set and case.
    image, reference, predicted
        (slices, rows, columns).
    dice
        Mean over the structures.
    spacing_mm
        (slice, row, column) distances, or None where they are not to be trusted.
    pathology
        Group, where known.
    frame
        Its phase or number, where its file has several.
    """

    name: str
    image: NDArray[np.floating]
    reference: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    dice: float
    spacing_mm: tuple[float, float, float] | None = None
    pathology: str = ""
    frame: str = ""


def measure(
    model: SegmentationModel,
    sets: Iterable[MeasuredSet],
    *,
    device: str = "auto",
    views: str = "four",
    distances: bool = False,
    every: int = 1,
    change: Callable[[Cine], Cine] | None = None,
    progress: Callable[[float], bool] = lambda fraction: True,
) -> tuple[list[Comparison], list[MeasuredCase]]:
    """Segment every case and compare it with its labels.

    A file of several frames is segmented whole, and compared where it is labelled.

    Parameters
    ----------
    sets
        Labelled folders, simulated subjects, or both.
    distances
        Whether to compute Hausdorff distances (where voxel sizes are true); they cost more than the segmentation.
    every
        Take every n-th patient of each set only, with all of its frames.
    change
        Applied to each patient's end diastole and end systole, in this order, as a cine of two frames with its labels,
        before it is segmented: tagging, for instance. Without it each file is a case of its own.
    progress
        Told the fraction done; returning False cancels.

    Returns
    -------
    tuple
        Rows for `summarise` (the case's name begins with the set's), and the cases, for `worst_cases`.

    Raises
    ------
    InputError
        No case is left by `only` and `without` of the sets; a folder without labelled images; `every` below 1.
    Cancelled
        When `progress` says so.
    """
    if every < 1:
        raise InputError(f"every is {every}; take every patient, 1, or more seldom ones")
    todo = [patient for entry in sets for patient in entry.patients(change is not None)[::every]]
    if not todo:
        raise InputError("no case of any set is left by what is to be taken only or left out; correct the patterns")
    rows: list[Comparison] = []
    cases: list[MeasuredCase] = []
    for done, patient in enumerate(todo):
        if not progress(done / len(todo)):
            raise Cancelled("measuring was cancelled")
        for shown in patient():
            cine = shown.cine if change is None else change(shown.cine)
            found = segment(
                cine.image, cine.grid, model, device=device, views=views, spacing_trusted=shown.trusted
            ).labels
            assert cine.labels is not None
            dx, dy, dz = cine.grid.spacing_mm
            true_spacing = (dz, dy, dx) if shown.trusted else None
            for frame in shown.frames:
                predicted, reference = found[frame.index], cine.labels[frame.index]
                part = compare(
                    predicted,
                    reference,
                    (float("nan"),) * 3 if true_spacing is None else true_spacing,
                    case=frame.case,
                    frame=frame.frame,
                    pathology=shown.pathology,
                    phase=frame.phase,
                    distances=distances,
                    apex_first=frame.apex_first,
                )
                rows += part
                overall = float(np.mean([row.dice for row in part if row.position == "volume"]))
                named = "" if frame.alone else frame.frame
                cases.append(
                    MeasuredCase(
                        frame.case, cine.image[frame.index], reference, predicted, overall, true_spacing,
                        shown.pathology, named,
                    )
                )  # fmt: skip
    progress(1.0)
    return rows, cases


def function_of(cases: Sequence[MeasuredCase]) -> tuple[list[CaseValue], list[str]]:
    """Ventricular function of every patient, by the prediction and by the reference, each by its own two phases.

    Where voxel sizes are not to be trusted the ejection fractions are left. Patients of whom there is one phase only
    have volumes and mass. With the values come sentences on what was left out.
    """
    patients: dict[str, list[MeasuredCase]] = {}
    for case in cases:
        patients.setdefault(patient_of(case.name), []).append(case)
    values: list[CaseValue] = []
    notes: list[str] = []
    for name, frames in patients.items():
        if len({frame.reference.shape for frame in frames}) > 1:
            notes.append(f"{name}: its files have different grids, so function was not compared")
            continue
        predicted, reference = (np.stack([getattr(f, side) for f in frames]) for side in ("predicted", "reference"))
        found, said = function_values(predicted, reference, frames[0].spacing_mm, name, frames[0].pathology)
        values += found
        notes += said
    if not values:
        notes.append("there is nothing to compare: ejection fractions need two frames, volumes true voxel sizes")
    return values, notes


def worst_cases(path: Path, cases: Sequence[MeasuredCase], count: int = 10) -> list[str]:
    """A sheet of the worst volumes: some slices from base to apex, reference above, prediction below, as PNG.

    Returns
    -------
    list of str
        Names and Dice of the volumes, worst first.
    """
    from matplotlib.figure import Figure

    worst = sorted(cases, key=lambda case: case.dice)[:count]
    if not worst:
        raise InputError("no case was measured, so there is no worst one")
    columns = 7
    figure = Figure(figsize=(2.2 * columns, 4.6 * len(worst)))
    axes = figure.subplots(
        2 * len(worst),
        columns,
        squeeze=False,
        gridspec_kw={"hspace": 0.06, "wspace": 0.03, "left": 0.01, "right": 0.99, "top": 0.99, "bottom": 0.005},
    )
    for index, case in enumerate(worst):
        shown = np.flatnonzero((case.reference > 0).any(axis=(1, 2)) | (case.predicted > 0).any(axis=(1, 2)))
        shown = shown if len(shown) else np.arange(len(case.image))
        picked = shown[np.unique(np.linspace(0, len(shown) - 1, columns).round().astype(int))]
        rows, columns_box = _box(case)
        for place in range(columns):
            for below, labels in enumerate((case.reference, case.predicted)):
                axis = axes[2 * index + below, place]
                axis.axis("off")
                if place >= len(picked):
                    continue
                picture = case.image[picked[place]][rows, columns_box]
                axis.imshow(picture, cmap="gray", vmax=np.quantile(picture, 0.995))
                for number, rgb in LABEL_COLOURS.items():
                    mask = labels[picked[place]][rows, columns_box] == number
                    if mask.any():
                        axis.contour(mask, [0.5], colors=[tuple(channel / 255 for channel in rgb)], linewidths=1.0)
        axes[2 * index, 0].set_title(
            f"{_title(case)}: {case.dice:.3f} (reference, then prediction)", loc="left", fontsize=9
        )
    figure.savefig(path, dpi=60)
    return [f"{_title(case)} {case.dice:.3f}" for case in worst]


def _title(case: MeasuredCase) -> str:
    return f"{case.name} {case.frame}".rstrip()


def _box(case: MeasuredCase) -> tuple[slice, slice]:
    """The part of the slices that shows both segmentations, with a margin."""
    where = np.argwhere((case.reference > 0) | (case.predicted > 0))
    if not len(where):
        return slice(None), slice(None)
    low, high = np.maximum(where.min(0)[1:] - 25, 0), where.max(0)[1:] + 26
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))

"""Comparing label files: one pair, or two folders matched by name."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.anatomy.stack_order import begins_at_apex
from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.agreement import Agreement
from CMRSimExtension.evaluation.case_values import (
    CaseValue,
    agreements,
    function_values,
    patient_of,
    phases_of,
    wall_values,
)
from CMRSimExtension.evaluation.overlap import Comparison, compare, summarise
from CMRSimExtension.evaluation.voxel_sizes import spacing_is_plausible
from CMRSimExtension.files.cine_files import is_nifti_name, sidecar_path
from CMRSimExtension.files.label_origin import SEGMENTATION_FORMAT
from CMRSimExtension.files.third_party import reading
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.segmentation.exchanged_labels import note_on_exchanged_pools
from CMRSimExtension.segmentation.label_files import (
    files_by_name,
    is_folder_of_files,
    is_label_image,
    label_name,
    read_pair,
)
from CMRSimExtension.training.label_numbers import label_table


@dataclass(frozen=True)
class FileComparison:
    """What the comparison of some label files gave.

    Attributes
    ----------
    rows
        One per structure and frame, and per slice.
    values
        Function and wall thickness of each case, by both sides; files of one frame of the same patient are one case.
    agreement
        Agreement of these over the cases, by quantity; empty for fewer than two cases.
    unmatched
        Names of files without a partner.
    notes
        Sentences on what was left out, and why.
    """

    rows: list[Comparison]
    values: list[CaseValue]
    agreement: dict[str, Agreement]
    unmatched: list[str]
    notes: list[str]


@dataclass(frozen=True)
class _Frame:
    """One frame that both sides labelled, of one file."""

    file: str
    index: int
    predicted: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    grid: ImageGrid
    known: bool

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """(slice, row, column), or None where the file's are not to be believed."""
        dx, dy, dz = self.grid.spacing_mm
        return (dz, dy, dx) if self.known else None


def compare_files(
    predicted: Path,
    reference: Path,
    labels_map: str = "cmrsim",
    *,
    distances: bool = True,
    spacing: str = "auto",
    groups: Mapping[str, str] | None = None,
) -> FileComparison:
    """Compare a label file with its reference, or two folders of them.

    Files may be label images (NIfTI, NRRD), .seg.nrrd or DICOM segmentations, on one grid (`label_files.read_pair`); a
    DICOM folder with images and their segmentations counts as one file. Folders are matched by file name; an ending
    such as ``_gt`` or ``_labels`` on either side is ignored. Frames that the reference leaves empty are not compared,
    nor those that the prediction's sidecar says were not asked for. Files of one frame whose names differ in
    ``_frame01``, ``_ED`` or ``_ES`` alone are one patient's, with an ejection fraction.

    Parameters
    ----------
    labels_map
        Label numbers of the reference, where it is a label image (see `anatomy.label_maps`); the prediction's are this
        library's.
    distances
        Whether to compute Hausdorff distances.
    spacing
        ``auto`` (believe the reference's voxel sizes unless they cannot be true), ``trust`` or ``ignore``. Without
        them there are Dice and ejection fractions only.
    groups
        Pathology by case or patient (see `read_groups`).

    Raises
    ------
    InputError
        When one is a folder and the other a file, nothing matches, shapes or geometry differ, or a label is unknown.
    """
    if spacing not in ("auto", "trust", "ignore"):
        raise InputError(f"spacing is {spacing!r}; choose auto, trust or ignore")
    pairs, unmatched = _matched(Path(predicted), Path(reference))
    notes: list[str] = []
    patients: dict[tuple[str, bool], list[_Frame]] = {}
    for name, first, second in pairs:
        frames = _frames(name, first, second, labels_map, spacing, notes)
        single = len(frames) == 1
        patients.setdefault((patient_of(name) if single else name, single), []).extend(frames)
    lost = sorted({frame.file for frames in patients.values() for frame in frames if not frame.known})
    numbered = {name for name, _, second in pairs if is_label_image(second)}
    of_numbers = (frame for frames in patients.values() for frame in frames if frame.file in numbered)
    notes += note_on_exchanged_pools(((frame.predicted, frame.reference) for frame in of_numbers), labels_map)
    if lost:
        notes.append(
            f"voxel sizes cannot be true or were to be ignored: nothing is given in mm or ml for {', '.join(lost)}"
        )
    group_of = _group_lookup(groups, [name for name, _, _ in pairs], notes)
    rows: list[Comparison] = []
    values: list[CaseValue] = []
    for (patient, _), frames in patients.items():
        for case, members in _on_one_grid(patient, frames, notes):
            pathology = group_of[members[0].file]
            rows += _overlap(members, pathology, distances)
            values += _values(case, members, pathology, notes)
    if not rows:
        raise InputError(f"{predicted} and {reference} have no labelled frame in common; there is nothing to compare")
    return FileComparison(rows, values, agreements(values), unmatched, notes)


def read_groups(path: Path) -> dict[str, str]:
    """Pathology of each case from a CSV file with the columns ``case`` and ``pathology``.

    A case is a label file's name without its ending, or its patient's, without ``_frame01``, ``_ED`` or ``_ES``.

    Raises
    ------
    InputError
        When the file does not exist, lacks a column or any row, or gives one case two groups.
    """
    path = Path(path)
    with reading(path, "a table of cases"), path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        rows, columns = list(table), table.fieldnames or []
    if not {"case", "pathology"} <= set(columns):
        raise InputError(
            f"{path.name} has the columns {list(columns)}; it needs case and pathology, with commas between"
        )
    groups: dict[str, str] = {}
    for row in rows:
        case, pathology = (row["case"] or "").strip(), (row["pathology"] or "").strip()
        if groups.setdefault(case, pathology) != pathology:
            raise InputError(f"{path.name} gives the case {case} two groups, {groups[case]} and {pathology}")
    if not groups:
        raise InputError(f"{path.name} lists no case; give a row for each")
    return groups


def _group_lookup(groups: Mapping[str, str] | None, names: Sequence[str], notes: list[str]) -> dict[str, str]:
    """Pathology of each file, "" where the table has none."""
    table = groups or {}
    found = {name: table.get(name, table.get(patient_of(name))) for name in names}
    without = [name for name, group in found.items() if group is None]
    if groups is not None and len(without) == len(names):
        raise InputError(f"the table of groups has none of the cases, such as {names[0]}, only {', '.join(groups)}")
    if groups is not None and without:
        notes.append(f"not in the table of groups: {', '.join(without)}")
    return {name: group or "" for name, group in found.items()}


def _matched(predicted: Path, reference: Path) -> tuple[list[tuple[str, Path, Path]], list[str]]:
    """Name, prediction and reference of every case, and the names without a partner."""
    for path in (predicted, reference):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name")
    folders = is_folder_of_files(predicted), is_folder_of_files(reference)
    if folders[0] != folders[1]:
        raise InputError("one of the two is a folder and the other a file; give two files or two folders")
    if not folders[0]:
        return [(label_name(predicted), predicted, reference)], []
    found, truth = files_by_name(predicted), files_by_name(reference)
    pairs = [(name, found[name], truth[name]) for name in sorted(found.keys() & truth.keys())]
    if not pairs:
        raise InputError(f"no label file of {predicted} has a partner of the same name in {reference}")
    return pairs, sorted(found.keys() ^ truth.keys())


def _frames(name: str, first: Path, second: Path, labels_map: str, spacing: str, notes: list[str]) -> list[_Frame]:
    """The frames of a pair of files that are to be compared."""
    labels, truths, grid = read_pair(first, second, label_table("cmrsim"), label_table(labels_map))
    known = spacing == "trust" or (spacing == "auto" and spacing_is_plausible(grid))
    skipped = {index for index in _not_asked_for(first) if index < len(labels) and not labels[index].any()}
    shown = [index for index in range(len(truths)) if truths[index].any() and index not in skipped]
    if not shown:
        notes.append(f"{name}: no frame is labelled in both files")
    return [_Frame(name, index, labels[index], truths[index], grid, known) for index in shown]


def _not_asked_for(labels: Path) -> set[int]:
    """Frames that `cmrsim segment` was told to leave empty, from the sidecar of what it wrote; none without one."""
    if not is_nifti_name(labels):
        return set()  # the command writes NIfTI alone
    path = sidecar_path(labels)
    if not path.is_file():
        return set()
    with reading(path, "a JSON sidecar"):
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("format") != SEGMENTATION_FORMAT:
            return set()
        return {int(index) for index in record["empty_frames"]}


def _on_one_grid(patient: str, frames: list[_Frame], notes: list[str]) -> list[tuple[str, list[_Frame]]]:
    """The frames as one case, or, where a patient's files differ in size, each file as a case of its own."""
    first = frames[0] if frames else None
    if first is None or all(
        frame.predicted.shape == first.predicted.shape
        and frame.known == first.known
        and np.allclose(frame.grid.spacing_mm, first.grid.spacing_mm, rtol=1e-3)
        for frame in frames
    ):
        return [(patient, frames)] if frames else []
    notes.append(f"{patient}: its frames differ in size, so each is a case of its own, without an ejection fraction")
    return [(frame.file, [frame]) for frame in frames]


def _overlap(frames: Sequence[_Frame], pathology: str, distances: bool) -> list[Comparison]:
    phases = phases_of([frame.file for frame in frames], [float((frame.reference == 1).sum()) for frame in frames])
    apex_first = begins_at_apex(np.stack([frame.reference for frame in frames]))
    rows: list[Comparison] = []
    for frame, phase in zip(frames, phases, strict=True):
        rows += compare(
            frame.predicted, frame.reference, frame.spacing_mm or (math.nan,) * 3, case=frame.file,
            frame=str(frame.index), pathology=pathology, phase=phase, distances=distances, apex_first=apex_first,
        )  # fmt: skip
    return rows


def _values(case: str, frames: Sequence[_Frame], pathology: str, notes: list[str]) -> list[CaseValue]:
    """Function over the frames, and wall thickness at the reference's end diastole."""
    labels, truths = (np.stack([getattr(frame, side) for frame in frames]) for side in ("predicted", "reference"))
    values, said = function_values(labels, truths, frames[0].spacing_mm, case, pathology)
    notes += said
    if frames[0].known:
        end_diastole = int(np.argmax((truths == 1).sum(axis=(1, 2, 3))))
        walls, said = wall_values(
            labels[end_diastole], truths[end_diastole], frames[end_diastole].grid, case, pathology,
            apex_first=begins_at_apex(truths),
        )  # fmt: skip
        values += walls
        notes += said
    return values


def comparison_table(rows: Sequence[Comparison]) -> str:
    """Mean, SD, median and quartiles of Dice, and medians of HD and HD95, as text.

    Per structure and position; then, of whole volumes, by phase (ED, ES) and by pathology where these are known.
    """
    volumes = [row for row in rows if row.position == "volume"]
    parts = {
        "position": list(rows),
        "phase": [row for row in volumes if row.phase],
        "pathology": [row for row in volumes if row.pathology],
    }
    width = max(9, *(1 + len(row.pathology) for row in rows))
    lines = [
        f"{'structure':16}{'where':{width}}{'n':>5}{'Dice mean':>11}{'SD':>7}{'median':>8}{'Q1':>7}{'Q3':>7}"
        f"{'HD median':>11}{'HD95 median':>13}"
    ]
    for by, members in parts.items():
        for entry in summarise(members, ("structure", by)):
            lines.append(
                f"{entry['structure']!s:16}{entry[by]!s:{width}}{entry['dice_n']:5d}{entry['dice_mean']:11.3f}"
                f"{entry['dice_sd']:7.3f}{entry['dice_median']:8.3f}{entry['dice_q1']:7.3f}{entry['dice_q3']:7.3f}"
                f"{entry['hd_mm_median']:11.2f}{entry['hd95_mm_median']:13.2f}"
            )
    return "\n".join(lines)

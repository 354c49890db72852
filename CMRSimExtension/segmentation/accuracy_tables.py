"""How accurate a model was on labelled data sets, as text."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from CMRSimExtension.evaluation.case_values import patient_of
from CMRSimExtension.evaluation.label_offset import dice_moved_back, mean_offset, slice_offsets
from CMRSimExtension.evaluation.overlap import STRUCTURES, Comparison, dice, middle_slices, summarise
from CMRSimExtension.segmentation.measurement import MeasuredCase


def accuracy_table(rows: Sequence[Comparison]) -> str:
    """Mean Dice per set and structure: all volumes, by phase, and by slice position, as text."""
    names = list(dict.fromkeys(row.structure for row in rows))
    groups: list[tuple[str, list[Comparison]]] = []
    for name in dict.fromkeys(row.case.split("/")[0] for row in rows):
        of_set = [row for row in rows if row.case.startswith(f"{name}/")]
        volumes = [row for row in of_set if row.position == "volume"]
        groups.append((f"{name} all", volumes))
        for phase in dict.fromkeys(row.frame for row in volumes):
            groups.append((f"{name} {phase}", [row for row in volumes if row.frame == phase]))
        for position in ("basal", "mid", "apical"):
            groups.append((f"{name} {position}", [row for row in of_set if row.position == position]))
        for group in sorted({row.pathology for row in volumes} - {""}):
            groups.append((f"{name} {group}", [row for row in volumes if row.pathology == group]))
    wide = max([14, *(len(label) + 1 for label, _ in groups)])
    lines = [f"{'':{wide}}{'n':>6}" + "".join(f"{name:>16}" for name in names)]
    for label, members in groups:
        by_name = {str(entry["structure"]): entry for entry in summarise(members, ("structure",), ("dice",))}
        if by_name:
            count = max(int(entry["dice_n"]) for entry in by_name.values())
            cells = [by_name[name]["dice_mean"] if name in by_name else float("nan") for name in names]
            lines.append(f"{label:{wide}}{count:6d}" + "".join(f"{float(cell):16.3f}" for cell in cells))
    return "\n".join(lines)


def error_table(cases: Sequence[MeasuredCase]) -> str:
    """Where the wrong voxels are, as fractions of the reference's volume, per set and structure, as text.

    In slices that the reference leaves empty, in slices that the prediction leaves empty, and, in slices that both
    show, too much and too little: what to improve first.
    """
    titles = ("extra slices", "missed slices", "too much", "too little")
    lines = [f"{'':26}" + "".join(f"{title:>15}" for title in titles)]
    for name in dict.fromkeys(case.name.split("/")[0] for case in cases):
        for label, structure in STRUCTURES.items():
            counts, total = np.zeros(4), 0
            for case in cases:
                if not case.name.startswith(f"{name}/"):
                    continue
                for truth, found in zip(case.reference == label, case.predicted == label, strict=True):
                    total += int(truth.sum())
                    if not truth.any():
                        counts[0] += found.sum()
                    elif not found.any():
                        counts[1] += truth.sum()
                    else:
                        counts[2:] += (found & ~truth).sum(), (truth & ~found).sum()
            lines.append(f"{name:10}{structure:16}" + "".join(f"{value:15.3f}" for value in counts / max(total, 1)))
    return "\n".join(lines)


def offset_table(cases: Sequence[MeasuredCase]) -> str:
    """Where each set's references lie beside the predictions, and the mean Dice had they not, as text.

    See `evaluation.label_offset`: an offset that is larger than its error says that the labels lie beside the images,
    and that the Dice they are measured with says less than it could, most for thin walls.
    """
    titles = ("rows (pixels)", "columns (pixels)", *STRUCTURES.values())
    lines = [f"{'':10}{'slices':>8}" + "".join(f"{title:>18}" for title in titles)]
    for name in dict.fromkeys(case.name.split("/")[0] for case in cases):
        members = [case for case in cases if case.name.startswith(f"{name}/")]
        patients: dict[str, list[NDArray[np.float64]]] = {}
        for case in members:
            patients.setdefault(patient_of(case.name), []).append(slice_offsets(case.predicted, case.reference))
        offset = mean_offset([np.concatenate(parts) for parts in patients.values()])
        line = f"{name:10}{offset.slices:8d}"
        if not offset.slices:
            lines.append(line + "  no slice agrees well enough to tell")
            continue
        for mean, error in ((offset.rows, offset.rows_error), (offset.columns, offset.columns_error)):
            line += f"{f'{mean:+.2f} +- {error:.2f}':>18}"
        for label in STRUCTURES:
            values = [dice_moved_back(case.predicted, case.reference, offset, label) for case in members]
            line += f"{float(np.mean(values)):18.3f}"
        lines.append(line)
    return "\n".join(lines)


def middle_table(cases: Sequence[MeasuredCase], count: int = 4) -> str:
    """Mean Dice on the middle slices of each volume, taken together, per set and structure, as text.

    P3 trains and tests on four mid-ventricular slices of each volume, which are the easiest ones: its figures are to
    be laid beside these, not beside those of whole stacks.
    """
    lines = [f"{'':14}{'n':>6}" + "".join(f"{name:>16}" for name in STRUCTURES.values())]
    for name in dict.fromkeys(case.name.split("/")[0] for case in cases):
        members = [case for case in cases if case.name.startswith(f"{name}/")]
        line = f"{name:14}{len(members):6d}"
        for label in STRUCTURES:
            values = []
            for case in members:
                middle = middle_slices(case.reference, count)
                values.append(dice(case.predicted[middle] == label, case.reference[middle] == label))
            line += f"{float(np.mean(values)):16.3f}"
        lines.append(line)
    return "\n".join(lines)

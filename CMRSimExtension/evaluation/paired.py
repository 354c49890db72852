"""Whether one segmentation is better than another of the same patients, or only looks so by chance."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.case_values import patient_of
from CMRSimExtension.evaluation.overlap import Comparison

_VALUES = ("dice", "hd95_mm")
_DRAWS = 10_000
"""Resamples of the patients; the ends of the interval are then drawn to about a fiftieth of its width."""


@dataclass(frozen=True)
class PairedDifference:
    """One value of one structure, by two segmentations of the same patients.

    Attributes
    ----------
    structure, value
        What was compared: ``dice`` or ``hd95_mm``.
    patients
        How many have the value by both.
    first, second
        Means over the patients.
    difference, low, high
        Mean of first less second, and its 95 % interval (bootstrap over patients, percentiles).
    p_value
        Wilcoxon's signed-rank test, two-sided; 1 where no patient differs.
    """

    structure: str
    value: str
    patients: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float


def paired_differences(first: Iterable[Comparison], second: Iterable[Comparison]) -> list[PairedDifference]:
    """Compare two segmentations of the same patients with the same reference, over whole volumes.

    The frames of a patient are averaged first: they are no independent observations.

    Parameters
    ----------
    first, second
        What `overlap.compare` gave for each; frames that only one of them has are left out.

    Raises
    ------
    InputError
        When fewer than two patients have a frame in both.
    """
    by_frame = [{(row.structure, row.case, row.frame): row for row in rows if row.position == "volume"} for rows in
                (first, second)]  # fmt: skip
    shared = [key for key in by_frame[0] if key in by_frame[1]]
    patients = {patient_of(case) for _, case, _ in shared}
    if len(patients) < 2:
        raise InputError(
            f"{len(patients)} patient has a segmentation by both; a difference over patients needs two at least, "
            "matched by name: give two folders with the same file names"
        )
    table = []
    for structure in dict.fromkeys(key[0] for key in shared):
        for value in _VALUES:
            of_patient: dict[str, list[tuple[float, float]]] = {}
            for key in shared:
                one, other = (float(getattr(rows[key], value)) for rows in by_frame)
                if key[0] == structure and math.isfinite(one) and math.isfinite(other):
                    of_patient.setdefault(patient_of(key[1]), []).append((one, other))
            if len(of_patient) > 1:
                means = np.array([np.mean(pairs, axis=0) for pairs in of_patient.values()])
                table.append(_difference(structure, value, means))
    return table


def _difference(structure: str, value: str, means: np.ndarray) -> PairedDifference:
    """Of the means (patients, 2)."""
    from scipy import stats  # takes a second to load, which evaluations without a second prediction need not wait for

    change = means[:, 0] - means[:, 1]
    drawn = np.random.default_rng(0).integers(len(change), size=(_DRAWS, len(change)))
    low, high = np.quantile(change[drawn].mean(axis=1), [0.025, 0.975])
    p_value = float(stats.wilcoxon(change).pvalue) if change.any() else 1.0
    first, second = means.mean(axis=0)
    return PairedDifference(
        structure, value, len(change), float(first), float(second), float(change.mean()), float(low), float(high),
        p_value,
    )  # fmt: skip


def paired_table(differences: Sequence[PairedDifference]) -> str:
    """The differences as lines of text."""
    lines = [f"{'structure':16}{'value':9}{'n':>4}{'first':>9}{'second':>9}{'difference (95 % interval)':>32}{'p':>9}"]
    for row in differences:
        interval = f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
        p_value = "<0.001" if row.p_value < 0.001 else f"{row.p_value:.3f}"
        lines.append(f"{row.structure:16}{row.value:9}{row.patients:4}{row.first:9.3f}{row.second:9.3f}{interval:>32}"
                     f"{p_value:>9}")  # fmt: skip
    return "\n".join(lines)


def write_paired(path: Path, differences: Sequence[PairedDifference]) -> None:
    """All differences as CSV, one column per field of `PairedDifference`."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [entry.name for entry in fields(PairedDifference)])
        table.writeheader()
        table.writerows(asdict(row) for row in differences)

"""Lay a simulated population beside real, contoured cines: sizes, contrasts and grey value distributions.

    python Testing/realism/population_table.py --data FOLDER [--subjects 12] [--out TABLE.md]

FOLDER holds `acdc` (see the README of the data); only means and standard deviations leave it.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.evaluation.cine_statistics import CineStatistics, mean_and_sd, measure
from CMRSimExtension.evaluation.intensity_distributions import distance, normalised
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.simulate import simulate

GROUPS = {"normal": "NOR", "dcm": "DCM", "hcm": "HCM", "minf": "MINF", "rv": "RV"}
FIRST_PATIENT = {"dcm": 1, "hcm": 21, "minf": 41, "normal": 61, "rv": 81}
COLUMNS = tuple(CineStatistics.__dataclass_fields__)
TISSUES = {1: "LV blood", 2: "myocardium", 3: "RV blood"}

Volume = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]
"""Image and labels (slices, rows, columns), slice 0 the most basal, and spacing (columns, rows, slices) in mm."""


def real_volumes(folder: Path, group: str, phase: int) -> Iterator[Volume]:
    """The ACDC volumes of a group at end diastole (0) or end systole (1); labels as this project numbers them."""
    start = FIRST_PATIENT[group]
    for patient in range(start, start + 20):
        files = sorted(folder.glob(f"patient{patient:03d}_frame??.nii.gz"))
        if len(files) != 2:
            continue
        path = files[phase]
        image = nib.load(path)
        contours = np.rint(nib.load(path.with_name(path.name.replace(".nii", "_gt.nii"))).get_fdata())
        labels = np.select([contours == 3, contours == 2, contours == 1], [1, 2, 3], 0).transpose(2, 1, 0)
        pixels = image.get_fdata().transpose(2, 1, 0)
        walled = np.flatnonzero((labels == 2).any(axis=(1, 2)))
        if (labels[walled[0]] > 0).sum() < (labels[walled[-1]] > 0).sum():
            labels, pixels = labels[::-1], pixels[::-1]
        dx, dy, dz = (float(z) for z in image.header.get_zooms()[:3])
        yield pixels, labels, (dx, dy, dz)


def simulated_volumes(group: str, subjects: int) -> Iterator[tuple[Volume, Volume]]:
    """End diastole and end systole of random subjects scanned as the real ones were: 10 mm from slice to slice."""
    for number in range(subjects):
        subject = Subject.random(1000 + number, pathology=group)
        protocol = Protocol.random(np.random.default_rng(number))
        phase, read = protocol.acquired_resolution_mm
        protocol = protocol.replace(
            slice_thickness_mm=8.0, slice_gap_mm=2.0, slices=None, matrix=(176, 176), fov_mm=(264.0, 264.0),
            acquired_resolution_mm=(max(phase, 1.5), max(read, 1.5)),
        )  # fmt: skip
        cine = simulate(subject, protocol, number, phases=(0.0, subject.heart.timing.end_systole))
        labels = cine.labels
        assert labels is not None
        yield tuple((cine.image[k], labels[k], cine.grid.spacing_mm) for k in (0, 1))  # type: ignore[misc]


def middle_samples(volumes: list[Volume]) -> dict[int, np.ndarray]:
    """Normalised grey values of each tissue over the middle slices of volumes."""
    found: dict[int, list[np.ndarray]] = {number: [] for number in TISSUES}
    for image, labels, _ in volumes:
        walled = np.flatnonzero((labels == 2).any(axis=(1, 2)))
        middle = walled[len(walled) // 2]
        values = normalised(image[middle], labels[middle])
        for number in TISSUES:
            found[number].append(values[labels[middle] == number])
    return {number: np.concatenate(values) for number, values in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines = ["| group, phase | | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    distances = ["| group, phase | tissue | chi-square | KL | KS |", "|---|---|---|---|---|"]
    inside = total = 0
    for group, name in GROUPS.items():
        pairs = list(simulated_volumes(group, options.subjects))
        for phase, label in enumerate(("ED", "ES")):
            real = list(real_volumes(options.data / "acdc", group, phase))
            simulated = [pair[phase] for pair in pairs]
            rows = {kind: mean_and_sd([measure(*v) for v in volumes]) for kind, volumes in
                    (("real", real), ("simulated", simulated))}  # fmt: skip
            for kind, row in rows.items():
                cells = [f"{row[c][0]:.3g}±{row[c][1]:.2g}" for c in COLUMNS]
                lines.append(f"| {name} {label} | {kind} | " + " | ".join(cells) + " |")
            off = {c: (rows["simulated"][c][0] - rows["real"][c][0]) / rows["real"][c][1] for c in COLUMNS}
            lines.append("| | SDs off | " + " | ".join(f"{off[c]:+.1f}" for c in COLUMNS) + " |")
            inside += sum(abs(z) <= 1.0 for z in off.values())
            total += len(off)
            first, second = middle_samples(real), middle_samples(simulated)
            for number, tissue in TISSUES.items():
                d = distance(first[number], second[number])
                distances.append(
                    f"| {name} {label} | {tissue} | {d.chi_square:.3f} | {d.kullback_leibler:.3f} | "
                    f"{d.kolmogorov_smirnov:.3f} |"
                )
    text = "\n".join([*lines, "", f"{inside} of {total} means within one SD.", "", *distances, ""])
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

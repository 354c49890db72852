"""`cmrsim evaluate`: how well a segmentation agrees with its reference."""

import argparse
from pathlib import Path

from CMRSimExtension.command_line.console import Console

HELP = "compare a segmentation with its reference"
DESCRIPTION = """\
Dice, Hausdorff distance and its 95th percentile per structure, for whole volumes and by slice position (basal, mid,
apical thirds), with medians and quartiles; for cases with several frames also the agreement of volumes, ejection
fractions and mass (Bland and Altman). Two folders are matched by file name.
"""
EXAMPLES = """\
examples:
  cmrsim evaluate seg.nii.gz truth.nii.gz
  cmrsim evaluate results references --labels-map acdc --out table.csv
  cmrsim evaluate seg.nii.gz truth.nii.gz --labels-map 1=rv,2=myo,3=lv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prediction", metavar="PREDICTION", help="label file written by this project, or a folder of them"
    )
    parser.add_argument("reference", metavar="REFERENCE", help="label file or folder to compare with")
    parser.add_argument(
        "--labels-map",
        default="cmrsim",
        metavar="MAP",
        help="numbers of the reference: cmrsim, acdc, mms, or 1=rv,2=myo,3=lv",
    )
    parser.add_argument("--out", metavar="T.csv", help="write every comparison to this table")
    parser.add_argument(
        "--no-distances", action="store_true", help="leave out the Hausdorff distances, which take longest"
    )


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.files.atomic import StagedFiles
    from CMRSimExtension.segmentation.comparison import compare_files, comparison_table
    from CMRSimExtension.segmentation.measurement import write_rows

    found = compare_files(
        Path(options.prediction), Path(options.reference), options.labels_map, distances=not options.no_distances
    )
    console.result(comparison_table(found.rows))
    if found.agreement:
        console.result(f"\n{'quantity':16}{'n':>5}{'bias':>9}{'SD':>9}{'limits of agreement':>23}{'mean |diff|':>13}")
        for name, value in found.agreement.items():
            limits = f"{value.lower:.1f} to {value.upper:.1f}"
            console.result(
                f"{name:16}{value.count:5d}{value.bias:9.2f}{value.sd:9.2f}{limits:>23}{value.mean_absolute:13.2f}"
            )
    for name in found.unmatched:
        console.warn(f"{name} has no partner and was left out")
    if options.out:
        with StagedFiles() as staged:
            write_rows(staged.path(Path(options.out)), found.rows)
        console.say(f"table: {options.out}")

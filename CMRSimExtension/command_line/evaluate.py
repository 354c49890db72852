"""`cmrsim evaluate`: how well a segmentation agrees with its reference."""

import argparse
from pathlib import Path

from CMRSimExtension.command_line.console import Console

HELP = "compare a segmentation with its reference"
DESCRIPTION = """\
Dice, Hausdorff distance and its 95th percentile per structure, with medians and quartiles: for whole volumes, by slice
position (basal, mid, apical thirds), at end diastole and end systole, and by pathology (--groups). Then volumes,
ejection fractions, mass, and wall thickness at end diastole in the segments of the American Heart Association's model,
with their agreement over the cases (Bland and Altman).

Either side may be a label image (.nii.gz, .nrrd), a segmentation of 3D Slicer (.seg.nrrd), a DICOM segmentation, or a
DICOM folder with images and their segmentations; both must lie on the same grid. --labels-map is for the numbers of
label images: segments say by their names what they are.

Two folders are matched by file name. Files of one frame named P_frame01 and P_frame12, or P_ED and P_ES, are one
patient's: the larger LV is end diastole. Frames that 'cmrsim segment' was told to leave empty are not compared.

--against tells whether PREDICTION is better than another prediction of the same patients: the mean difference of Dice
and HD95 with its 95 % interval (bootstrap over patients) and Wilcoxon's signed-rank test.
"""
EXAMPLES = """\
examples:
  cmrsim evaluate seg.nii.gz truth.nii.gz
  cmrsim evaluate seg.nii.gz corrected.seg.nrrd
  cmrsim evaluate results references --labels-map acdc --out table.csv --groups cases.csv
  cmrsim evaluate seg.nii.gz truth.nii.gz --labels-map 1=rv,2=myo,3=lv
  cmrsim evaluate finetuned references --against from_scratch --out table.csv
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
    parser.add_argument(
        "--out", metavar="T.csv",
        help="write every comparison to this table, the values of each case to T_values.csv, their agreement to "
        "T_agreement.csv, and its picture after Bland and Altman to T_agreement.png (from two cases on)",
    )  # fmt: skip
    parser.add_argument(
        "--groups", metavar="CASES.csv", help="table with the columns case and pathology, to report by pathology too"
    )
    parser.add_argument(
        "--against", metavar="OTHER", help="another folder of predictions; with --out also written to T_against.csv"
    )
    parser.add_argument(
        "--spacing", choices=("auto", "trust", "ignore"), default="auto",
        help="whether to believe the reference's voxel sizes (default: auto, unless they cannot be true)",
    )  # fmt: skip
    parser.add_argument(
        "--no-distances",
        action="store_true",
        help="leave out the Hausdorff distances, which take longest and alone need torch and MONAI",
    )


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.errors import MissingDependencyError
    from CMRSimExtension.evaluation.agreement_figure import write_agreement_figure
    from CMRSimExtension.evaluation.case_values import agreement_table, write_agreement, write_values
    from CMRSimExtension.evaluation.overlap import write_rows
    from CMRSimExtension.evaluation.paired import paired_differences, paired_table, write_paired
    from CMRSimExtension.files.atomic import StagedFiles, check_writable
    from CMRSimExtension.pictures import require_matplotlib
    from CMRSimExtension.segmentation.comparison import compare_files, comparison_table, read_groups

    out = Path(options.out) if options.out else None
    if out is not None:
        check_writable(out)
    groups = read_groups(Path(options.groups)) if options.groups else None
    found, *other = (
        compare_files(
            Path(prediction), Path(options.reference), options.labels_map, distances=not options.no_distances,
            spacing=options.spacing, groups=groups,
        )
        for prediction in (options.prediction, options.against) if prediction is not None
    )  # fmt: skip
    differences = paired_differences(found.rows, other[0].rows) if other else []
    console.result(comparison_table(found.rows))
    if found.values:
        console.result("\n" + agreement_table(found.values))
    if other:
        console.result(f"\n{options.prediction} (first) against {options.against} (second)")
        console.result(paired_table(differences))
    for name in dict.fromkeys(name for each in (found, *other) for name in each.unmatched):
        console.warn(f"{name} has no partner and was left out")
    for note in dict.fromkeys(note for each in (found, *other) for note in each.notes):
        console.warn(note)
    if out is not None:
        values, agreement = (out.with_name(f"{out.stem}_{name}{out.suffix}") for name in ("values", "agreement"))
        against = out.with_name(f"{out.stem}_against{out.suffix}")
        picture = agreement.with_suffix(".png")
        drawn = bool(found.agreement)
        try:
            require_matplotlib("pictures of agreement")
        except MissingDependencyError as error:
            # The tables have cost the time; they do not wait for a picture.
            console.warn(f"{error}; the picture was left out")
            drawn = False
        with StagedFiles() as staged:
            write_rows(staged.path(out), found.rows)
            write_values(staged.path(values), found.values)
            write_agreement(staged.path(agreement), found.values)
            if other:
                write_paired(staged.path(against), differences)
            else:
                staged.remove(against)  # of an older table of this name
            if drawn:
                write_agreement_figure(staged.path(picture), found.agreement)
            else:
                staged.remove(picture)  # of an older table of this name
        console.say(f"tables: {out}, {values}, {agreement}{f'; picture: {picture}' if drawn else ''}")

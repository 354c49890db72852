"""`cmrsim strain`: strain per segment and frame, with curves and a bull's eye."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.series_option import add_series_option

if TYPE_CHECKING:
    from CMRSimExtension.strain.series import StrainSeries

HELP = "myocardial strain per AHA segment and frame"
DESCRIPTION = """\
Green-Lagrange radial, circumferential and longitudinal strain of the LV myocardium per AHA segment and frame. Writes a
table (segment 0 is the whole wall), T_curves.png and T_bullseye.png beside it. Methods: "truth" from the true motion of
a simulated cine, "harp" from the tags of a tagged cine, "registration" from motion estimated from the frames; motion
within the slice has no longitudinal part. For research, not for clinical use.
"""
EXAMPLES = """\
examples:
  cmrsim strain heart.nii.gz --out strain.csv
  cmrsim strain tagged.nii.gz --method harp --out harp.csv
  cmrsim strain cine.nii.gz --labels seg.nii.gz --method registration --out strain.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="cine or tagged cine")
    parser.add_argument("--out", metavar="T.csv", required=True, help="table to write; pictures are named after it")
    add_series_option(parser)
    parser.add_argument("--labels", metavar="L", help="labels of every frame, or of end diastole (default: beside IN)")
    parser.add_argument("--labels-map", metavar="MAP", help="what the labels mean (as cmrsim tag)")
    parser.add_argument("--method", choices=("truth", "harp", "registration"),
                        help="default: truth where the motion is known, harp for other tagged cines, else registration")


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.errors import InputError
    from CMRSimExtension.files.atomic import StagedFiles, check_writable
    from CMRSimExtension.pictures import require_matplotlib
    from CMRSimExtension.strain.figures import write_bulls_eye, write_curves

    target = Path(options.out)
    if target.suffix.lower() != ".csv":
        raise InputError(f"{target.name} does not end in .csv; name the table so")
    check_writable(target)
    require_matplotlib("pictures of strain")
    found, truth = measure(options, console)
    names = [target, *(target.with_name(f"{target.stem}_{kind}.png") for kind in ("curves", "bullseye"))]
    with StagedFiles() as staged:
        staged.path(target).write_text(found.table(), encoding="utf-8")
        write_curves(found, staged.path(names[1]), truth=truth)
        write_bulls_eye(found, staged.path(names[2]))
    for name in names:
        console.result(str(name))
    tell_difference(found, truth, console)


def measure(options: argparse.Namespace, console: Console) -> "tuple[StrainSeries, StrainSeries | None]":
    """Read what the options name and measure it: the strain, and the truth beside it where that is known."""
    from CMRSimExtension.command_line.tag_input import read_tag_input
    from CMRSimExtension.strain.measurement import measure_strain

    cine, labels = read_tag_input(
        [Path(options.input)], [Path(options.labels)] if options.labels else [], options.labels_map, options.series,
        console, want_motion=True,
    )
    with console.progress("strain") as progress:
        return measure_strain(cine, labels, options.method, progress)


def tell_difference(found: "StrainSeries", truth: "StrainSeries | None", console: Console) -> None:
    """Say how far the measured strain is from the true one, where that is known."""
    from CMRSimExtension.strain.series import mean_absolute_difference

    if truth is not None:
        difference = mean_absolute_difference(found, truth)
        console.say(f"circumferential strain differs from the truth by {difference:.3f} (median over segments)")

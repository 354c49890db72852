"""`cmrsim segment`: LV, myocardium and RV of a cine by a trained network."""

import argparse
from pathlib import Path

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.series_option import add_series_option
from CMRSimExtension.person import SEX_SPELLINGS

HELP = "segment LV, myocardium and RV of a cine"
DESCRIPTION = """\
Segment the left ventricle's blood pool (1), its myocardium (2) and the right ventricle's blood pool (3) over the
heartbeat with a trained network. Writes X.nii.gz, labels on the input's own grid (frames not asked for are empty),
and X.json with volumes, ejection fractions, mass and the wall thickness of the segments (AHA). A folder of cases (image
files, or a sub-folder of DICOM images for each) gives a folder and one function.csv, with a row for each patient. For
research, not for clinical use.
"""
EXAMPLES = """\
examples:
  cmrsim segment heart.nii.gz --out heart_seg.nii.gz
  cmrsim segment heart.nii.gz --out heart_seg.nii.gz --frames edes
  cmrsim segment heart.seq.nrrd --out heart_seg.nii.gz
  cmrsim segment study_folder --out seg.nii.gz --series cine_sax
  cmrsim segment cases --out results --views none
  cmrsim segment cases --out results --persons persons.csv
  cmrsim segment heart.nii.gz --out s.nii.gz --sex F --age-years 54 --height-cm 165 --weight-kg 62
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN",
                        help="image (.nii.gz, .nrrd, .h5, .dcm), folder of DICOM images, or folder of such cases")
    parser.add_argument(
        "--out", metavar="X.nii.gz", required=True, help="label file to write, or a folder for a folder"
    )
    add_series_option(parser)
    parser.add_argument(
        "--model", default="cine_sax", help="name of a model (see 'cmrsim models list') or bundle folder"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    parser.add_argument("--frames", default="all", help="all, edes, or numbers such as 0,7,12 (default: all)")
    parser.add_argument("--probabilities", action="store_true", help="also write probability and uncertainty maps")
    parser.add_argument(
        "--views", choices=("none", "four", "eight"), default="four",
        help="flips and turns whose results are averaged: more take longer (default: four)",
    )  # fmt: skip
    parser.add_argument(
        "--spacing", choices=("auto", "trust", "ignore"), default="auto",
        help="whether to believe the file's voxel sizes (default: auto, unless they cannot be true)",
    )  # fmt: skip
    person = parser.add_argument_group("who it is, for indexed values and normal ranges")
    person.add_argument("--sex", choices=SEX_SPELLINGS)
    person.add_argument("--age-years", type=float, metavar="A")
    person.add_argument("--height-cm", type=float, metavar="H")
    person.add_argument("--weight-kg", type=float, metavar="W")
    person.add_argument(
        "--persons", metavar="FILE.csv",
        help="for a folder: a table with the columns case, sex, age_years, height_cm, weight_kg",
    )  # fmt: skip


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.errors import Cancelled, InputError
    from CMRSimExtension.segmentation.bundle import read_bundle
    from CMRSimExtension.segmentation.cases import holds_one_image
    from CMRSimExtension.segmentation.folder import TABLE, segment_folder
    from CMRSimExtension.segmentation.job import SegmentationOptions, segment_file
    from CMRSimExtension.segmentation.registry import find_model

    source = Path(options.input)
    if not source.exists():
        raise InputError(f"{source} does not exist; check the name")
    settings = SegmentationOptions(
        frames=options.frames,
        device=options.device,
        views=options.views,
        spacing=options.spacing,
        probabilities=options.probabilities,
        sex=options.sex,
        age_years=options.age_years,
        height_cm=options.height_cm,
        weight_kg=options.weight_kg,
    )
    cases = source.is_dir() and not holds_one_image(source)
    if options.persons is not None and not cases:
        raise InputError(f"--persons is for a folder of cases, and {source} is one image; give --sex, --age-years, "
                         "--height-cm and --weight-kg")
    model = read_bundle(find_model(options.model))
    with console.progress("segmenting") as report:

        def progress(share: float) -> bool:
            report(share)
            return True

        if cases:
            out = Path(options.out)
            try:
                written, failures = segment_folder(
                    source, out, model, settings, progress, console.warn, series=options.series,
                    persons=None if options.persons is None else Path(options.persons),
                )  # fmt: skip
            except KeyboardInterrupt as stop:
                done = f"; what was done lies in {out}, with {TABLE}" if (out / TABLE).is_file() else ""
                raise Cancelled(f"stopped{done}") from stop
            for path in written:
                console.result(str(path))
            if failures:
                raise InputError(
                    f"{failures} of {len(written) - 1 + failures} cases could not be segmented; see above"
                )
            return
        files, result = segment_file(source, Path(options.out), model, settings, progress, series=options.series)
    for note in result.segmentation.notes:
        console.warn(note)
    for path in files:
        console.result(str(path))
    if result.function is not None:
        known = {name: value for name, value in result.function.function.as_dict().items() if value is not None}
        console.say("function: " + ", ".join(f"{name} {value:.1f}" for name, value in known.items()))

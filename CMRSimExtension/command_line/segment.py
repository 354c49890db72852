"""`cmrsim segment`: LV, myocardium and RV of a cine by a trained network."""

import argparse
from pathlib import Path

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.person import SEX_SPELLINGS

HELP = "segment LV, myocardium and RV of a cine"
DESCRIPTION = """\
Segment the left ventricle's blood pool (1), its myocardium (2) and the right ventricle's blood pool (3) over the
heartbeat with a trained network. Writes X.nii.gz, labels on the input's own grid (frames not asked for are empty),
and X.json with volumes, ejection fractions, mass and the wall thickness of the segments (AHA). A folder of NIfTI images
gives a folder and one function.csv. For research, not for clinical use.
"""
EXAMPLES = """\
examples:
  cmrsim segment heart.nii.gz --out heart_seg.nii.gz
  cmrsim segment heart.nii.gz --out heart_seg.nii.gz --frames edes
  cmrsim segment heart.seq.nrrd --out heart_seg.nii.gz
  cmrsim segment study_folder --out seg.nii.gz --series cine_sax
  cmrsim segment cases --out results --views none
  cmrsim segment heart.nii.gz --out s.nii.gz --sex F --age-years 54 --height-cm 165 --weight-kg 62
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN",
                        help="image (.nii.gz, .nrrd, .h5, .dcm), folder of DICOM images, or folder of NIfTI images")
    parser.add_argument(
        "--out", metavar="X.nii.gz", required=True, help="label file to write, or a folder for a folder"
    )
    parser.add_argument("--series", metavar="NAME", help="which series or case, where IN holds several")
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


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.errors import InputError
    from CMRSimExtension.segmentation.bundle import read_bundle
    from CMRSimExtension.segmentation.job import SegmentationOptions, segment_file, segment_folder
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
    model = read_bundle(find_model(options.model))
    with console.progress("segmenting") as report:

        def progress(share: float) -> bool:
            report(share)
            return True

        if source.is_dir() and any(source.glob("*.nii*")):
            written, failures = segment_folder(source, Path(options.out), model, settings, progress, console.warn)
            for path in written:
                console.result(str(path))
            if failures:
                raise InputError(
                    f"{failures} of {len(written) - 1 + failures} images could not be segmented; see above"
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

"""`cmrsim convert IN OUT`: from any format to any other."""

import argparse
from pathlib import Path

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.series_option import add_series_option

HELP = "from any image format to any other"
DESCRIPTION = """\
Convert a cine with its labels between NIfTI (.nii.gz), 3D Slicer's sequences (.seq.nrrd) and segmentations
(.seg.nrrd), DICOM (a folder, or one enhanced .dcm), ISMRMRD raw data (.h5), nnU-Net raw data sets and MONAI data lists.
The format follows from the name of OUT; a folder means DICOM unless --format says otherwise. What a format cannot hold
lies in the .json sidecar beside it.
"""
EXAMPLES = """\
examples:
  cmrsim convert study_folder heart.nii.gz --series cine_sax      one 4D cine from several DICOM series
  cmrsim convert heart.nii.gz heart.seq.nrrd                      for 3D Slicer
  cmrsim convert heart.nii.gz series_folder                       classic DICOM MR, labels as DICOM segmentations
  cmrsim convert heart.nii.gz heart.dcm                           enhanced DICOM MR
  cmrsim convert heart_labels.nii.gz seg_folder --format dicom-seg --reference series_folder
  cmrsim convert heart.nii.gz Dataset042_Heart --format nnunet
  cmrsim convert folder_of_cines list_folder --format monai       every NIfTI cine in the folder, with its labels
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from CMRSimExtension.files.format_names import NAMED_FORMATS

    parser.add_argument("input", metavar="IN", help="file, DICOM folder or data set")
    parser.add_argument("output", metavar="OUT", help="file or folder to write; a folder must be new or empty")
    parser.add_argument("--format", choices=NAMED_FORMATS, help="format of OUT where its name does not say it")
    parser.add_argument("--reference", metavar="FILE", help="DICOM images that a segmentation belongs to")
    add_series_option(parser)


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.errors import InputError
    from CMRSimExtension.files.cine_files import TRUTHS, refuse_own_input
    from CMRSimExtension.files.data_sets import MONAI, NNUNET, cines_in_folder, write_data_set
    from CMRSimExtension.files.formats import (
        DICOM_SEG,
        ENHANCED,
        NIFTI,
        case_name,
        format_of,
        left_behind,
        read_content,
        read_image,
        write_content,
    )

    source, target = Path(options.input), Path(options.output)
    kind = format_of(target, options.format)
    if options.reference is not None and kind != DICOM_SEG:
        raise InputError("--reference belongs to --format dicom-seg; leave it out")
    if source.resolve() == target.resolve():
        raise InputError(f"{source} would be replaced by its own conversion; give OUT another name")
    refuse_own_input(target, [name for name in (source, options.reference) if name])
    if kind in (NNUNET, MONAI) and source.is_dir():
        cines = cines_in_folder(source)
        if cines:
            console.say(f"reading {len(cines)} cines of {source}")
            for path in write_data_set([(case_name(p), read_image(p)) for p in cines], target, kind):
                console.result(str(path))
            return
    console.say(f"reading {source}")
    series = None if options.reference is not None and not source.is_dir() else options.series
    content = read_content(source, series, TRUTHS if kind == NIFTI else ("labels", "anatomy"))
    left = left_behind(content, source, kind)
    if left:
        cure = "; write the labels with --format dicom-seg --reference" if kind == ENHANCED and "labels" in left else ""
        console.warn(f"not converted: {', '.join(left)}, which {kind} images do not hold{cure}")
    console.say(f"writing {target}")
    reference = None if options.reference is None else Path(options.reference)
    for path in write_content(content, target, kind, source=source, reference=reference, series=options.series):
        console.result(str(path))

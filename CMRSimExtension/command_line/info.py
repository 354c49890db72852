"""`cmrsim info FILE`: what is in an image file."""

import argparse

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.series_option import add_series_option

HELP = "what is in a file or folder of images"
DESCRIPTION = """\
Say what an image file or a folder of DICOM images holds: size, geometry, times, labels, function. Of a DICOM folder,
list the series, and the stacks that they form or why they form none.
"""
EXAMPLES = """\
examples:
  cmrsim info heart.nii.gz
  cmrsim info study_folder
  cmrsim info study_folder --series 12,13,14
  cmrsim info heart.nii.gz --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="image file, or folder of DICOM images")
    add_series_option(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, for other programs")


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.files.information import describe, describe_text
    from CMRSimExtension.files.sidecar import json_text

    found = describe(options.file, options.series)
    console.result(json_text(found).rstrip() if options.json else describe_text(found))

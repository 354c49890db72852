"""`cmrsim preview`: one slice to look at, before the whole cine is made, or of an image that is there already."""

import argparse
from pathlib import Path

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.scan_options import add_scan_options, build_protocol, chosen

HELP = "one slice as a picture, quickly"
DESCRIPTION = """\
Simulate one slice and write it as a picture, with the options of 'cmrsim simulate'; or show a slice of an image file.
A name ending in .gif or .webp gives the moving slice.
"""
EXAMPLES = """\
examples:
  cmrsim preview --out look.png --seed 7
  cmrsim preview --out look.gif --seed 7 --pathology hcm --overlay
  cmrsim preview heart.nii.gz --out slice3.png --slice 3 --frame 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IN", nargs="?",
                        help="image file or DICOM folder to show; without it, one slice is simulated")
    parser.add_argument("--out", metavar="X.png", required=True, help="picture to write: .png, .gif or .webp")
    parser.add_argument("--overlay", action="store_true", help="draw the labels over the image")
    parser.add_argument("--slice", type=int, metavar="N",
                        help="slice to show, 0 the most basal (default the middle one)")
    parser.add_argument("--frame", type=int, default=0, metavar="N", help="frame of a still picture, 0 end diastole")
    add_scan_options(parser)


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.errors import InputError
    from CMRSimExtension.files.preview import write_animation, write_still

    path = Path(options.out)
    moving = path.suffix.lower() in (".gif", ".webp")
    if not moving and path.suffix.lower() != ".png":
        raise InputError(f"{path.name} does not end in .png, .gif or .webp; name the picture so")
    values = chosen(options)
    if options.image is not None:
        from CMRSimExtension.files.formats import read_image

        if values:
            given = ", ".join("--" + key.replace("_", "-") for key in values)
            raise InputError(f"{options.image} is an image already; leave out {given}")
        cine = read_image(options.image)
        index = options.slice
    else:
        from CMRSimExtension.command_line.scanning import scan_one_slice

        frame = None if moving else options.frame
        cine, options.frame = scan_one_slice(values, build_protocol(values), options.slice, frame, console)
        index = 0
    if moving:
        write_animation(cine, path, slice_index=index, labels=options.overlay)
    else:
        write_still(cine, path, slice_index=index, frame=options.frame, labels=options.overlay)
    console.result(str(path))

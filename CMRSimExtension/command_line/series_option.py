"""``--series``, alike in every command that reads an image."""

import argparse


def add_series_option(parser: argparse.ArgumentParser) -> None:
    """Let a command take ``--series``, as `files.formats.read_image` understands it."""
    parser.add_argument(
        "--series",
        metavar="NAME",
        help="which DICOM series (number, several as 12,13,14, UID, description, or 'stack 2' as cmrsim info lists "
        "them) or case, where the input holds several",
    )

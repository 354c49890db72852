"""`cmrsim demo`: one subject end to end, into a folder with a page to look at."""

import argparse
from pathlib import Path

from CMRSimExtension.command_line.console import Console

HELP = "one subject end to end, with a page to look at"
DESCRIPTION = """\
Draw one subject, scan it, and write DIR/index.html: the moving cine, its labels, volume and strain over the heartbeat,
wall thickness and strain of each segment, what the shipped network finds, a slice with tags, long-axis views, and the
files themselves. Takes about a minute of processor time, which a busy machine spreads over several.
"""
EXAMPLES = """\
examples:
  cmrsim demo
  cmrsim demo --out another --seed 12
"""
MATRIX, PHASES = 192, 25
"""Pixels along the longer side, and frames: the whole page took 64 s of one processor core with them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", default="demo", help="folder to write to (default demo)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another number, another subject (default 1)")


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.command_line.demo_page.page import build_page
    from CMRSimExtension.command_line.demo_page.sections import (
        curves_section,
        files_section,
        function_cards,
        long_axis_section,
        stack_section,
        tagged_section,
    )
    from CMRSimExtension.command_line.demo_page.segmented import segmented_section
    from CMRSimExtension.command_line.demo_page.segments import segments_section
    from CMRSimExtension.command_line.demo_page.viewer import viewer_section
    from CMRSimExtension.command_line.scan_options import build_protocol
    from CMRSimExtension.command_line.scanning import build_anatomy, one_slice_of, scan_anatomy
    from CMRSimExtension.command_line.tag_options import SimulatedTags
    from CMRSimExtension.files.atomic import StagedFiles
    from CMRSimExtension.files.cine_files import check_target, write_cine
    from CMRSimExtension.files.preview import write_animation
    from CMRSimExtension.strain.series import strain_from_displacement

    folder = Path(options.out)
    check_target(folder / "cine.nii.gz")
    values = {"seed": options.seed, "matrix": MATRIX, "phases": PHASES}
    protocol = build_protocol(values)
    subject = build_anatomy(values)
    cine = scan_anatomy(subject, protocol, options.seed, "sax", frozenset({"labels", "motion"}), console)
    views = [
        (name, scan_anatomy(subject, protocol.replace(slices=1), options.seed, plane, frozenset({"labels"}), console))
        for plane, name in (("4ch", "four-chamber view"), ("2ch", "two-chamber view"), ("3ch", "three-chamber view"))
    ]
    tags = SimulatedTags({"tag": "grid"})
    middle = one_slice_of(cine, cine.image.shape[1] // 2)
    tagged = scan_anatomy(
        subject, tags.protocol(protocol), options.seed, "sax", frozenset({"labels"}), console, grid=middle.grid,
        preparation=tags.preparation,
    )
    tagged = tags.recorded(tagged)
    console.say("writing")
    written = write_cine(cine, folder / "cine.nii.gz")
    gif = folder / "cine.gif"
    write_animation(cine, gif, labels=True)
    strain = strain_from_displacement(cine)
    sections = [
        viewer_section(cine, function_cards(cine, subject),
                       lead="A short-axis stack of one virtual subject. The labels are not drawn by hand: they follow "
                            "from the same anatomy as the image."),
        curves_section(cine, subject, strain),
        segments_section(cine, strain),
        tagged_section(tagged, middle),
        segmented_section(cine),
        long_axis_section(views),
        stack_section(cine),
        files_section(folder, [*written, gif], cine, options.seed),
    ]
    page = build_page(
        "A virtual patient", f"Simulated cardiac MR, seed {options.seed}. No patient was scanned for this page.",
        sections, "Made by CMRSimExtension. For research, not for clinical use.",
    )
    with StagedFiles() as staged:
        staged.path(folder / "index.html").write_text(page, encoding="utf-8")
    console.result(str(folder / "index.html"))

"""`cmrsim tag`: any cine turned into tagged CMR."""

import argparse
from pathlib import Path
from typing import Any

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.command_line.series_option import add_series_option

HELP = "turn any cine into tagged CMR"
DESCRIPTION = """\
Lay tags (SPAMM or CSPAMM, lines or a grid) on a cine. Method "moving": tags move with the heart and fade, the contrast
becomes that of a tagged series; a simulated cine is tagged with its true motion, any other with motion estimated from
its frames, guided by labels where there are some. Method "paper": the static grid of the literature, for comparison.
Writes X.nii.gz, X_labels.nii.gz and X_myocardium.nii.gz where labels are known, X_motion.nii.gz, and X.json, which
says what is true, what is estimated and what was assumed.
"""
EXAMPLES = """\
examples:
  cmrsim tag heart.nii.gz --out tagged.nii.gz
  cmrsim tag study_folder --series cine_sax --out tagged.nii.gz --spacing-mm 6 --snr 25
  cmrsim tag cine.nii.gz --labels seg.nii.gz --out tagged.nii.gz --pattern lines --angle-deg 0
  cmrsim tag ed.nii.gz es.nii.gz --labels ed_gt.nii.gz es_gt.nii.gz --labels-map acdc --out tagged.nii.gz
  cmrsim tag cine.nii.gz --out tagged.nii.gz --cspamm --frames 25
  cmrsim tag cine.nii.gz --out tagged.nii.gz --method paper
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", nargs="+",
                        help="cine (file, DICOM folder), or two volumes: end diastole and end systole")
    parser.add_argument("--out", metavar="X.nii.gz", required=True, help="image to write; the rest is named after it")
    add_series_option(parser)
    parser.add_argument("--labels", metavar="L", nargs="+",
                        help="labels of every frame, or of end diastole alone (default: those beside IN)")
    parser.add_argument("--labels-map", metavar="MAP",
                        help="what the labels mean: acdc, mms, cmrsim, or a table such as 1=rv,2=myo,3=lv")
    parser.add_argument("--method", default="moving", metavar="moving|paper",
                        help="tags that move and fade (default), or the paper's static grid")
    tags = parser.add_argument_group("tags")
    tags.add_argument("--pattern", choices=("grid", "lines"), default="grid")
    tags.add_argument("--spacing-mm", type=float, metavar="S", help="distance of the tags (default 7 mm; paper 5 px)")
    tags.add_argument("--spacing-px", type=float, metavar="S", help="the same in pixels")
    tags.add_argument("--angle-deg", type=float, default=45.0, metavar="A", help="angle of the lines to the rows (45)")
    tags.add_argument("--train", default="1-3-3-1", metavar="T", help="1-1, 1-2-1, 1-3-3-1 (default) or 1-4-6-4-1")
    tags.add_argument("--flip-deg", type=float, metavar="F", help="total flip angle (default 90; paper 70)")
    tags.add_argument("--cspamm", action="store_true", help="complementary tagging: tags that do not fade")
    series = parser.add_argument_group("series")
    series.add_argument("--readout", choices=("gre", "bssfp"), default="gre")
    series.add_argument("--frames", type=int, metavar="N", help="frames of the tagged series (default: those of IN)")
    series.add_argument("--snr", type=float, metavar="S", help="add noise: heart signal over its SD (default: none)")
    series.add_argument("--field-t", type=float, metavar="T",
                        help="field strength of the tissues, 1.5 or 3 (default: the file's; 1.5 if it tells none)")
    series.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise")


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.command_line.tag_input import read_tag_input, tag_method
    from CMRSimExtension.files.cine_files import check_target, refuse_own_input, write_cine
    from CMRSimExtension.tagging.options import TagOptions
    from CMRSimExtension.tagging.tag_cine import myocardium_label, tag_cine

    target = Path(options.out)
    check_target(target)
    refuse_own_input(target, [*options.input, *(options.labels or ())])
    chosen: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("pattern", "spacing_mm", "spacing_px", "angle_deg", "train", "flip_deg", "cspamm", "readout",
                     "frames", "snr", "field_t")
    }
    settings = TagOptions(method=tag_method(options.method), **chosen)
    console.say("reading")
    cine, labels = read_tag_input(
        [Path(p) for p in options.input], [Path(p) for p in options.labels or ()], options.labels_map, options.series,
        console, want_motion=settings.method == "moving",
    )
    with console.progress("tagging") as progress:
        tagged = tag_cine(cine, settings, labels=labels, seed=options.seed, progress=progress)
    console.say("writing")
    more = {} if tagged.labels is None else {"myocardium": myocardium_label(tagged.labels)}
    for written in write_cine(tagged, target, more=more):
        console.result(str(written))
    record = tagged.sidecar["tagging"]
    console.say(f"motion of the tags: {record['motion']['source']}")
    if "times" in record:
        console.say(f"times of the frames: {record['times']}")

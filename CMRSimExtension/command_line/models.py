"""`cmrsim models`: which segmentation models there are, whether they are intact, and how accurate they are."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from CMRSimExtension.command_line.console import Console
from CMRSimExtension.errors import FileFormatError, InputError

if TYPE_CHECKING:
    from CMRSimExtension.segmentation.measured_sets import MeasuredSet
    from CMRSimExtension.simulation.cine import Cine
    from CMRSimExtension.tagging.options import Method

HELP = "list, verify, add and measure segmentation models"
DESCRIPTION = """\
list      the models that 'cmrsim segment --model' knows, shipped and added
verify    check every file's SHA-256 and load the weights; all are checked, whichever fails
add       copy a MONAI bundle folder into your own models (the folder CMRSIM_MODELS, or .cmrsim/models in your home)
measure   run a model over labelled sets (a folder holding acdc, mms_A or mms_B) or over simulated subjects, whose
          labels are true, and print its accuracy

What measure prints, each also written to table.txt with --out: the mean Dice of every set, by phase, slice position and
pathology; where the wrong voxels are; and how far each set's labels lie beside its images: the mean distance, in pixels
with its standard error, from the prediction's left ventricle to the reference's over the slices where both agree (Dice
above 0.85), then the mean Dice had the labels been moved back by it. Where the distance is well above its error, and
the model has no such offset on other sets, the labels are misplaced and the first table is too low, most for the
myocardium; the second is an upper estimate, since the distance comes from the same predictions. With --distances also
medians and quartiles of Dice and the medians of the Hausdorff distance and its 95th percentile.

Sets may lie flat or as they are published (a folder for each patient, with ACDC's Info.cfg); of files of several frames
those with labels are compared. --only and --without take patterns of case names as the configurations of 'cmrsim train'
do, to score the patients that a training left out, of an experiment of a paper for instance.

--simulated N scans N random subjects with random scanners as whole short-axis stacks, at end diastole and end systole;
none of them is in a training stream. Without --data it measures on these alone. --tag moving and --tag paper tag them
afterwards as 'cmrsim tag' does, --tag scanned lays the tags into the tissue that is scanned.
"""
EXAMPLES = """\
examples:
  cmrsim models list
  cmrsim models verify
  cmrsim models add my_bundle --name mine
  cmrsim models measure cine_sax --data ../shared/data --out accuracy
  cmrsim models measure tagged_sax --simulated 20 --tag scanned --out accuracy
  cmrsim models measure runs/scratch --sets acdc --only "patient01[3-9]*,patient020*"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    actions.add_parser("list", help="names, sizes and descriptions", allow_abbrev=False)
    verify = actions.add_parser("verify", help="check files and weights", allow_abbrev=False)
    verify.add_argument("names", metavar="NAME", nargs="*", help="models or bundle folders (default: all)")
    add = actions.add_parser("add", help="add a bundle", allow_abbrev=False)
    add.add_argument("folder", metavar="FOLDER", help="MONAI bundle: configs/metadata.json, models/model.pt")
    add.add_argument("--name", help="what to call it (default: the folder's name)")
    measure = actions.add_parser("measure", help="accuracy on labelled sets", allow_abbrev=False)
    measure.add_argument("name", metavar="NAME", help="model, bundle folder, or folder of a training run")
    measure.add_argument("--data", metavar="FOLDER", help="holds acdc, mms_A, mms_B (default: CMRSIM_DATA)")
    measure.add_argument("--sets", default="", help="which of them, with commas between (default: all that are there)")
    measure.add_argument(
        "--out", metavar="FOLDER",
        help="write rows.csv, function.csv, table.txt and, of each set, pictures of the worst cases and of how "
        "function agrees (Bland and Altman) here",
    )  # fmt: skip
    measure.add_argument(
        "--only", metavar="PATTERNS", default="",
        help="take only the cases whose names match one of these, with commas between: patient01[3-9]*,patient020*",
    )  # fmt: skip
    measure.add_argument("--without", metavar="PATTERNS", default="", help="leave out cases that match one of these")
    measure.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth case only, for a quick look")
    measure.add_argument("--views", choices=("none", "four", "eight"), default="four")
    measure.add_argument("--simulated", type=int, metavar="N", help="measure on N simulated subjects")
    measure.add_argument("--seed", type=int, help="of the simulated subjects (default: 0)")
    measure.add_argument(
        "--tag", choices=("moving", "paper", "scanned"),
        help="tag the images first, as 'cmrsim tag' does, or scan simulated subjects with tags",
    )  # fmt: skip
    measure.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    for action in actions.choices.values():
        # `cmrsim models ACTION --quiet` is as good as `cmrsim models --quiet ACTION`.
        action.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    measure.add_argument(
        "--distances", action="store_true", help="also Hausdorff distances, where voxel sizes are true"
    )


def run(options: argparse.Namespace, console: Console) -> None:
    {"list": _list, "verify": _verify, "add": _add, "measure": _measure}[options.action](options, console)


def _list(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.segmentation.registry import list_models

    entries = list_models()
    if not entries:
        console.say("no models yet; add one with 'cmrsim models add FOLDER'")
    for entry in entries:
        size = sum(path.stat().st_size for path in entry.folder.rglob("*") if path.is_file()) / 1e6
        console.result(
            f"{entry.name:16} {'shipped' if entry.shipped else 'added':8} {size:6.1f} MB  {entry.description}"
        )


def _verify(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.segmentation.bundle import read_bundle
    from CMRSimExtension.segmentation.registry import find_model, list_models

    names = options.names or [entry.name for entry in list_models()]
    wrong: list[str] = []
    for name in names:
        try:
            read_bundle(find_model(name))
        except (InputError, FileFormatError) as error:
            wrong.append(f"{name}: {error}")
            console.result(f"{name}: cannot be used")
        else:
            console.result(f"{name}: every file is as it was written, and the weights fit")
    if wrong:
        raise FileFormatError("\n  ".join([f"{len(wrong)} of {len(names)} models cannot be used:", *wrong]))


def _add(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.segmentation.bundle import read_bundle
    from CMRSimExtension.segmentation.foreign_bundle import ASSUMED
    from CMRSimExtension.segmentation.registry import add_model

    added = add_model(Path(options.folder), options.name)
    for sentence in read_bundle(added).metadata.get(ASSUMED, ()):
        console.warn(sentence)
    console.result(str(added))


def _measure(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.evaluation.agreement_figure import write_agreement_figure
    from CMRSimExtension.evaluation.case_values import agreement_table, agreements, write_values
    from CMRSimExtension.evaluation.overlap import write_rows
    from CMRSimExtension.files.atomic import StagedFiles
    from CMRSimExtension.segmentation.accuracy_tables import accuracy_table, error_table, middle_table, offset_table
    from CMRSimExtension.segmentation.comparison import comparison_table
    from CMRSimExtension.segmentation.measurement import function_of, measure, worst_cases
    from CMRSimExtension.segmentation.trained import model_of

    if options.every < 1:
        raise InputError(f"--every is {options.every}; it must be at least 1")
    sets = _sets(options)
    model = model_of(options.name)
    change = _tagging(options.tag) if options.tag in ("moving", "paper") else None
    with console.progress("measuring") as report:

        def progress(share: float) -> bool:
            report(share)
            return True

        rows, cases = measure(
            model, sets, device=options.device, views=options.views, distances=options.distances, every=options.every,
            change=change, progress=progress,
        )  # fmt: skip
    of_set = {name: [case for case in cases if case.name.startswith(f"{name}/")] for name in (e.name for e in sets)}
    of_set = {name: members for name, members in of_set.items() if members}
    parts = [
        accuracy_table(rows),
        "the four slices in the middle of each volume, taken together\n" + middle_table(cases),
        "wrong voxels over the reference's\n" + error_table(cases),
        "where the reference lies beside the prediction, and mean Dice with it moved back\n" + offset_table(cases),
    ]
    functions = {name: function_of(members) for name, members in of_set.items()}
    for name, (values, notes) in functions.items():
        parts.append("\n".join([f"{name}: function by the segmentation and by the reference", *notes,
                                agreement_table(values)]).rstrip())
    if options.distances:
        for name in of_set:
            spread = comparison_table([row for row in rows if row.case.startswith(f"{name}/")])
            parts.append(f"{name}: spread of Dice, and distances in mm\n" + spread)
    table = "\n\n".join(parts)
    console.result(table)
    if options.out:
        folder = Path(options.out)
        with StagedFiles() as staged:
            write_rows(staged.path(folder / "rows.csv"), rows)
            write_values(staged.path(folder / "function.csv"), [v for values, _ in functions.values() for v in values])
            staged.path(folder / "table.txt").write_text(table + "\n", encoding="utf-8")
            for name, members in of_set.items():
                worst_cases(staged.path(folder / f"worst_{name}.png"), members)
                picture, found = folder / f"agreement_{name}.png", agreements(functions[name][0])
                if found:
                    write_agreement_figure(staged.path(picture), found, name)
                else:
                    staged.remove(picture)  # of an older table in this folder
        console.say(f"rows, function, table, agreement and worst cases: {folder}")


def _sets(options: argparse.Namespace) -> "list[MeasuredSet]":
    """What `measure` is to run over."""
    import os
    from dataclasses import replace

    from CMRSimExtension.segmentation.measured_sets import MeasuredSet, SimulatedSet, known_sets

    if options.seed is not None and options.simulated is None:
        raise InputError("--seed draws simulated subjects: give --simulated N, or leave it out")
    scanned = options.tag == "scanned"
    if scanned and options.simulated is None:
        raise InputError("--tag scanned is for simulated subjects: give --simulated N, or choose moving or paper")
    if scanned and options.data:
        raise InputError("--tag scanned cannot lay tags into images of --data; leave one of them out")
    # Simulated subjects alone need no data; a folder that only the environment names is then not asked for.
    data = options.data or (os.environ.get("CMRSIM_DATA") if options.simulated is None else None)
    if not data and options.simulated is None:
        raise InputError("measuring needs labelled images: give --data FOLDER, set CMRSIM_DATA, or give --simulated N")
    sets: list[MeasuredSet] = []
    if options.simulated is not None:
        sets.append(SimulatedSet(options.simulated, options.seed or 0, scanned))
    if data:
        names, only, without = ([part.strip() for part in text.split(",") if part.strip()]
                                for text in (options.sets, options.only, options.without))
        sets += [replace(entry, only=only, without=without) for entry in known_sets(Path(data), names)]
    elif options.sets or options.only or options.without:
        raise InputError("--sets, --only and --without choose from --data; simulated subjects are chosen by --seed")
    return sets


def _tagging(method: "Method") -> "Callable[[Cine], Cine]":
    from CMRSimExtension.tagging.options import TagOptions
    from CMRSimExtension.tagging.tag_cine import tag_cine

    return lambda cine: tag_cine(cine, TagOptions(method=method))

"""`cmrsim population`: many subjects with their labels, each scanned once or in many ways."""

import argparse
from pathlib import Path
from typing import Any

from CMRSimExtension.command_line.console import Console

HELP = "simulate many subjects, as a labelled data set"
DESCRIPTION = """\
Draw subjects and scan each of them, as a YAML file says. Writes subject_00000.nii.gz, its labels and its sidecar, and
so on, and population.csv, with a row for each image: who was scanned, true function, scanner, contrast. Where a subject
is scanned in several ways the files are called subject_00000_scan_000 and so on.

Subject number i depends on the seed and i alone. The same command goes on with a folder that was begun, also with a
larger count; a folder that holds another population is refused. Training, 'cmrsim segment' and 'cmrsim evaluate' take
the folder as it is; its table serves them as --groups and --persons.
"""
EXAMPLES = """\
examples:
  cmrsim population heart_disease.yaml --out hearts
  cmrsim population heart_disease.yaml --out hearts --count 200

a configuration file; all but the count may be left out:
  count: 60                 # subjects
  seed: 1                   # default 0
  pathology: normal         # or dcm, hcm, minf, rv, dmd; any: drawn for each
  sexes: [female, male]     # in turn; without it each is drawn
  plane: sax                # or 2ch, 3ch, 4ch, axial, whole_heart
  phases: ed_es             # end diastole and end systole; all (default): the whole heartbeat
  protocol:                 # each subject is scanned with each; one alone needs no list; random: a scanner for each
    - {preset: siemens_1.5t, slices: 10, flip_angle_deg: 50}
    - {preset: siemens_1.5t, slices: 10, flip_angle_deg: 60}
    - {preset: siemens_1.5t, slices: 10, flip_angle_deg: 70}
  looks: 3                  # how often tissue values and fields of each subject are drawn (default 1)
  tissue:                   # each subject is scanned with each; one alone needs no list; what is not given is drawn
    - {}
    - {myocardium: {t1_ms: 1200, t2_ms: 70}, blood_arterial: {t2_ms: 200, proton_density: 0.9}}
  snr: [80, 40, 20]         # in place of the protocol's
Without tissue these are 27 contrasts of each of 60 hearts in two phases: 3,240 volumes.
"""
_KEYS = ("count", "seed", "pathology", "sexes", "plane", "phases", "protocol", "looks", "tissue", "snr")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="YAML file, see below")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write to, made where it is not there")
    parser.add_argument("--count", type=int, metavar="N", help="subjects, instead of the configuration's")
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the configuration's")


def run(options: argparse.Namespace, console: Console) -> None:
    from CMRSimExtension.command_line.scan_options import read_document
    from CMRSimExtension.errors import Cancelled
    from CMRSimExtension.files.atomic import make_folder
    from CMRSimExtension.population.writing import TABLE, write_population

    values = read_document(Path(options.config), _KEYS)
    values |= {name: getattr(options, name) for name in ("count", "seed") if getattr(options, name) is not None}
    recipe = recipe_of(values, options.config)
    folder = Path(options.out)
    make_folder(folder)
    console.say(f"{recipe.count} subjects, {recipe.scans_per_subject} images of each")
    try:
        with console.progress("simulating") as progress:
            done = write_population(recipe, folder, progress)
    except KeyboardInterrupt as error:
        raise Cancelled(f"stopped; {folder} keeps what is finished, and the same command goes on from there") from error
    console.say(f"{done.written} images written, {done.skipped} were there")
    console.result(str(folder / TABLE))


def recipe_of(values: dict[str, Any], config: str) -> Any:
    """The `PopulationRecipe` that the values of a configuration file ask for.

    Raises
    ------
    InputError
        For a value of the wrong kind, and as `PopulationRecipe`, `Protocol` and `TissueSettings`.
    """
    from CMRSimExtension.command_line.scan_options import DEFAULT_PROTOCOL, build_protocol
    from CMRSimExtension.errors import InputError
    from CMRSimExtension.population.recipe import PopulationRecipe
    from CMRSimExtension.simulation.tissue_settings import TissueSettings

    def several(key: str, kinds: tuple[type, ...], what: str) -> list[Any]:
        given = values.get(key)
        entries = given if isinstance(given, list) else [] if given is None else [given]
        for entry in entries:
            if not isinstance(entry, kinds) or isinstance(entry, bool):
                raise InputError(f"the configuration {config} has {key}: {entry!r}; {what}")
        return entries

    if "count" not in values:
        raise InputError(f"the configuration {config} has no count; say how many subjects, there or by --count")
    protocols = several("protocol", (str, dict), "give a preset, a table of a protocol's values, or random")
    protocols = protocols or [DEFAULT_PROTOCOL]
    if "random" in protocols and len(protocols) > 1:
        raise InputError(f"the configuration {config} has protocol: random beside others; give random alone")
    given = {name: values[name] for name in ("count", "seed", "plane", "phases", "looks") if name in values}
    pathology = values.get("pathology", "normal")
    if not isinstance(pathology, str):
        raise InputError(f"the configuration {config} has pathology: {pathology!r}; give one name, or any")
    return PopulationRecipe(
        **given,
        pathology=None if pathology == "any" else pathology,
        sexes=several("sexes", (str,), "give female and male"),
        protocols=[build_protocol({"protocol": protocol}) for protocol in protocols if protocol != "random"],
        tissues=[TissueSettings.of(setting) for setting in several("tissue", (dict,), "give tables of tissues")],
        snrs=several("snr", (int, float), "give numbers"),
    )

"""A population as files: images with labels and sidecars, and a table of who they are."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.errors import InputError
from CMRSimExtension.population.recipe import PlannedScan, PopulationRecipe
from CMRSimExtension.version import __version__

RECORD, TABLE = "population.json", "population.csv"
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Written:
    """How many images were written, and how many were there already."""

    written: int
    skipped: int


def write_population(recipe: PopulationRecipe, folder: Path, progress: Progress | None = None) -> Written:
    """Write a population to a folder that exists: NIfTI images with labels and sidecars, and `TABLE`.

    Files are written whole or not at all, and an image whose sidecar is there is not made again, so a run that was
    stopped goes on where it was, and one that is given a larger count adds to what is there. `TABLE` has a row for each
    image up to the last subject that was finished.

    Parameters
    ----------
    progress
        Called with the share done and a line of text; may raise `Cancelled`.

    Raises
    ------
    InputError
        If the folder holds another population, or one that another version began, which draws other subjects.
    """
    from CMRSimExtension.files.cine_files import sidecar_path, write_cine
    from CMRSimExtension.simulation.simulate import simulate

    folder = Path(folder)
    _claim(recipe, folder / RECORD)
    rows: list[dict[str, Any]] = []
    written = skipped = 0
    images = recipe.count * recipe.scans_per_subject
    for index in range(recipe.count):
        subject = recipe.subject(index)
        phases = (0.0, subject.heart.timing.end_systole) if recipe.phases == "ed_es" else None
        for scan in recipe.scans(index):
            path = folder / f"{scan.name}.nii.gz"
            rows.append(_row(scan, subject))
            if sidecar_path(path).is_file():
                skipped += 1
                continue

            def report(share: float, text: str, done: int = written + skipped, name: str = scan.name) -> None:
                if progress is not None:
                    progress((done + share) / images, f"{name}: {text}")

            cine = simulate(
                subject, scan.protocol, scan.seed, plane=recipe.plane, truth=("labels",), phases=phases,
                rotation_deg=scan.rotation_deg, tissues=scan.tissues.as_dict(), progress=report,
            )  # fmt: skip
            write_cine(cine, path)
            written += 1
        _write_table(folder / TABLE, rows)
    if progress is not None:
        progress(1.0, f"{written} images written, {skipped} were there")
    return Written(written, skipped)


def _claim(recipe: PopulationRecipe, record: Path) -> None:
    """Write the record of a new population, or see that the one that is there is the same."""
    from CMRSimExtension.files.atomic import StagedFiles

    wanted = recipe.as_dict()
    if not record.is_file():
        with StagedFiles() as staged:
            staged.path(record).write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        return
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{record} cannot be read ({error}); choose an empty folder") from error
    if found != wanted:
        raise InputError(
            f"{record.parent} holds a population of another protocol, pathology, sex, plane, seed or turn, of other "
            "looks, phases, tissue values or signal-to-noise ratios, or one of another version than "
            f"{__version__} ({record.name} says which); choose an empty folder, or those settings and that version to "
            "go on with it"
        )


def _row(scan: PlannedScan, subject: Subject) -> dict[str, Any]:
    """One row of the table; volumes and mass are the model's own, in ml and g."""
    person, function, protocol = subject.parameters.torso, subject.function, scan.protocol
    return {
        "case": scan.name,
        "sex": person.sex,
        "age_years": round(person.age_years, 1),
        "height_cm": round(person.height_cm, 1),
        "weight_kg": round(person.weight_kg, 1),
        "pathology": subject.parameters.pathology,
        **{name: round(value, 2) for name, value in function.as_dict().items() if value is not None},
        "look": scan.look,
        "protocol": protocol.name,
        "vendor": protocol.vendor,
        "field_t": protocol.field_t,
        "tr_ms": protocol.repetition_time_ms,
        "te_ms": protocol.echo_time_ms,
        "flip_deg": protocol.flip_angle_deg,
        "tissue": str(scan.tissues),
        "snr": protocol.snr,
        "rotation_deg": round(scan.rotation_deg, 2),
    }


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    from CMRSimExtension.files.atomic import StagedFiles

    with StagedFiles() as staged, staged.path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)

"""Who the people in a folder of cases are: a table of sex, age, height and weight."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from CMRSimExtension.errors import InputError
from CMRSimExtension.evaluation.case_values import patient_of
from CMRSimExtension.evaluation.function import body_surface_m2
from CMRSimExtension.files.third_party import reading
from CMRSimExtension.person import check_person

NUMBERS = ("age_years", "height_cm", "weight_kg")
COLUMNS = ("case", "sex", *NUMBERS)


def read_persons(path: Path, cases: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What a CSV file tells of the person of each case.

    Parameters
    ----------
    path
        Table with the columns of `COLUMNS`; others are left alone. ``case`` is the name of an image without its ending,
        or its patient's, without ``_frame01``, ``_ED`` or ``_ES``. An empty cell is not known.
    cases
        Names of all the images.

    Returns
    -------
    dict
        By patient (see `case_values.patient_of`): ``sex``, ``age_years``, ``height_cm`` and ``weight_kg``, None where
        not known. Patients that the table lacks are not there.

    Raises
    ------
    InputError
        No such file, a column or every row is missing; a case is unknown, or two lines differ on it; a value is no
        number, is impossible, or lacks the one that it goes with. The message names the line.
    """
    path = Path(path)
    known = {name: patient_of(name) for name in cases}
    known |= {patient: patient for patient in known.values()}
    persons: dict[str, dict[str, Any]] = {}
    with reading(path, "a table of persons"), path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise InputError(
                f"{path.name} has the columns {list(table.fieldnames or ())} and lacks {', '.join(missing)}; it needs "
                f"{', '.join(COLUMNS)}, with commas between"
            )
        for row in table:
            where = f"{path.name}, line {table.line_num}"
            case = (row["case"] or "").strip()
            if case not in known:
                raise InputError(f"{where}: there is no case {case!r}, only {_some(sorted(set(known)))}")
            patient, person = known[case], _person(row, where)
            if persons.setdefault(patient, person) != person:
                raise InputError(f"{where}: an earlier line tells otherwise of {patient}; keep one of them")
    if not persons:
        raise InputError(f"{path.name} lists no case; give a row for each")
    return persons


def _person(row: dict[str, str], where: str) -> dict[str, Any]:
    person: dict[str, Any] = {"sex": (row["sex"] or "").strip() or None}
    for name in NUMBERS:
        text = (row[name] or "").strip()
        try:
            person[name] = float(text) if text else None
        except ValueError as error:
            raise InputError(f"{where}: {name} is {text!r}; give a number, or leave it empty") from error
    try:
        check_person(**person)
        if person["height_cm"] is not None:
            body_surface_m2(person["height_cm"], person["weight_kg"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return person


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

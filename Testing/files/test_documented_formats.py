"""Docs/Files.md says of each format what a file of it holds: its table, cell by cell, against files read back."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CMRSimExtension.command_line.main import build_parser
from CMRSimExtension.errors import InputError
from CMRSimExtension.files.cine_files import TRUTHS
from CMRSimExtension.files.formats import Content, format_of, read_content, write_content

PAGE = (Path(__file__).resolve().parents[2] / "Docs" / "Files.md").read_text(encoding="utf-8")
COLUMNS = {"x.nii.gz": "NIfTI", "x.seq.nrrd": "NRRD", "series": "DICOM folder", "x.dcm": "DICOM `.dcm`",
           "x.h5": "ISMRMRD", "set": "nnU-Net, MONAI"}  # fmt: skip
FIELDS = {
    "slice thickness": lambda cine: cine.grid.slice_thickness_mm,
    "frame times": lambda cine: None if cine.times_ms is None else np.diff(cine.times_ms, axis=1).mean(),
    "times of each slice": lambda cine: cine.times_ms,
    "heartbeats": lambda cine: cine.heartbeats_ms,
    "labels": lambda cine: cine.labels,
    "anatomy": lambda cine: cine.anatomy,
    "motion, tissue fractions": lambda cine: cine.fractions,
    "function": lambda cine: cine.function and cine.function.lv_edv_ml,
    "provenance": lambda cine: cine.sidecar.get("seed"),
}


def table():
    """{row: {column: cell}} of the page's first table."""
    lines = re.search(r"^\| \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE).group().strip().splitlines()
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows[1:]}


def cell(row, name):
    return next(text for column, text in table()[row].items() if column.startswith(COLUMNS[name]))


@pytest.fixture(scope="module", params=COLUMNS)
def read_back(request, make_cine, tmp_path_factory):
    """Name of the file, the cine in it, and what comes back with its sidecar and without."""
    cine = replace(make_cine(frames=3, slices=3), heartbeats_ms=np.array([800.0, 813.4, 826.0]))
    folder, name = tmp_path_factory.mktemp("written"), request.param
    kind = "nnunet" if name == "set" else format_of(Path(name))
    write_content(Content(cine.grid, cine), folder / name, kind, source=Path("x"))
    whole = read_content(folder / name, truths=TRUTHS).cine
    for sidecar in (*folder.glob("*.json"), *folder.glob("*/sidecars/*.json")):
        sidecar.unlink()
    return name, cine, whole, read_content(folder / name, truths=TRUTHS).cine


@pytest.mark.parametrize("row", FIELDS)
def test_a_cell_of_the_table_is_true(read_back, row):
    name, *cines = read_back
    true, whole, alone = (FIELDS[row](cine) for cine in cines)
    said = cell(row, name)
    # Of provenance DICOM holds its own words, and no seed.
    alone_has = alone is not None and np.shape(alone) == np.shape(true) and np.allclose(alone, true, atol=0.5)
    whole_has = whole is not None and np.array_equal(whole, true)
    if row == "provenance" and "Synthetic Data" in said:
        said = "sidecar"
    assert (alone_has, whole_has) == (said not in ("no", "sidecar"), said != "no"), said


@pytest.mark.parametrize("name", COLUMNS)
def test_uneven_slices_are_held_or_refused_as_the_table_says(small_cine, tmp_path, name):
    affine = np.array(small_cine.grid.affine_ras)
    origins = affine[:3, 3] + np.outer([0, 1, 2.3], affine[:3, 2])
    cine = replace(small_cine, slice_origins_mm=origins)
    kind = "nnunet" if name == "set" else format_of(Path(name))
    held = True
    try:
        write_content(Content(cine.grid, cine), tmp_path / name, kind, source=Path("x"))
    except InputError:
        held = False
    assert held == (cell("uneven slices", name) == "yes")


def test_the_commands_on_the_page_exist():
    commands = re.findall(r"^cmrsim .*$", PAGE, re.MULTILINE)
    assert len(commands) >= 10
    for command in commands:
        build_parser().parse_args(shlex.split(command, comments=True)[1:])

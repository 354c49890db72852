"""Files of each format, made from the small cine."""

import shutil
import subprocess

import pytest

_UNKNOWN_TO_OLD_CHECKERS = "</(0008,001c)> - Attribute with an even group number is not a recognized standard attribute"
"""Synthetic Data (0008,001C) is newer than some versions of dciodvfy, which do not know it."""


@pytest.fixture
def dicom_errors():
    """A function: the errors that dciodvfy finds in a file."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("needs dciodvfy (Debian's dicom3tools)")

    def check(path):
        done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).splitlines()
        return [line for line in lines if line.startswith("Error") and _UNKNOWN_TO_OLD_CHECKERS not in line]

    return check


@pytest.fixture
def series(small_cine, tmp_path):
    """Folder with the small cine as a classic DICOM series, without sidecar and labels."""
    from dataclasses import replace

    from CMRSimExtension.files.dicom_writing import write_dicom

    write_dicom(replace(small_cine, labels=None), tmp_path / "series")
    (tmp_path / "series.dicom.json").unlink()
    return tmp_path / "series"


@pytest.fixture
def change():
    """A function that changes a DICOM file in place: change(path, TriggerTime="3", SliceThickness=None)."""

    def apply(path, **values):
        import pydicom

        dataset = pydicom.dcmread(path)
        for name, value in values.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)
        dataset.save_as(path)

    return apply

"""Who and what written DICOM objects say they are: one patient and distinct series in each study."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.files.dicom_enhanced import write_enhanced
from CMRSimExtension.files.dicom_identity import series_number, study_dataset
from CMRSimExtension.files.dicom_reading import read_dicom
from CMRSimExtension.files.dicom_segments import series_number_of
from CMRSimExtension.files.dicom_writing import write_dicom
from CMRSimExtension.files.label_origin import LabelOrigin

SAX, FOUR_CHAMBER = "cine_trufi_retro", "cine_trufi_retro 4CH"


def headers(folder):
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.rglob("*.dcm"))]


def found(datasets, *names):
    return {tuple(str(dataset.get(name, "")) for name in names) for dataset in datasets}


@pytest.fixture(scope="module")
def converted(cmrsim_data, tmp_path_factory):
    """Both stacks of the real study in each form, with labels drawn on each."""
    folder = tmp_path_factory.mktemp("study")
    for name, series in (("sax", SAX), ("4ch", FOUR_CHAMBER)):
        cine = read_dicom(cmrsim_data / "cine_dicom", series)
        # Two frames show all that there is to number.
        few = replace(cine, image=cine.image[:2], times_ms=cine.times_ms[:, :2])
        labels = np.zeros(few.image.shape, np.uint8)
        labels[:, :, 90:110, 100:120] = 1
        write_dicom(replace(few, labels=labels), folder / name)
        write_enhanced(few, folder / f"{name}.dcm")
    return folder


def test_two_stacks_of_a_real_study_are_of_one_patient_and_one_space(converted, cmrsim_data):
    (source,) = found(headers(cmrsim_data / "cine_dicom" / "Se7"), "FrameOfReferenceUID")
    assert len(found(headers(converted), "StudyInstanceUID", "PatientID", "PatientName", "PatientSex", "StudyID")) == 1
    assert found(headers(converted), "FrameOfReferenceUID") == {source}


def test_each_series_of_a_study_has_a_number_of_its_own(converted):
    numbers = {uid: int(number) for uid, number in found(headers(converted), "SeriesInstanceUID", "SeriesNumber")}
    # The lowest of the scanner's: 7001, 8001, ..., 12001 for the short axis, and 16001.
    assert sorted(numbers.values()) == [7001, 16001, 1007001, 1016001, 8007001, 8016001]


def test_a_checker_finds_no_error_in_the_study(converted, dicom_errors):
    files = sorted(converted.rglob("*.dcm"))
    assert [error for path in files for error in dicom_errors(path)] == []
    if shutil.which("dcentvfy") is None:
        pytest.skip("needs dcentvfy (Debian's dicom3tools)")
    done = subprocess.run(["dcentvfy", *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0 and "Error" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_converting_by_command_names_one_patient(cmrsim_data, tmp_path, capsys):
    for name, series in (("sax", SAX), ("4ch", FOUR_CHAMBER)):
        arguments = ["convert", str(cmrsim_data / "cine_dicom"), str(tmp_path / f"{name}.nii.gz"), "--series", series]
        assert main(arguments) == 0
        assert main(["convert", str(tmp_path / f"{name}.nii.gz"), str(tmp_path / name)]) == 0
    datasets = headers(tmp_path)
    assert len(found(datasets, "StudyInstanceUID", "PatientID")) == 1
    assert found(datasets, "SeriesNumber") == {("7001",), ("16001",)}


def of_series(cine, number, uid, **more):
    source = {"study_uid": "1.2.3", "series_uids": [uid], **({} if number is None else {"series_numbers": [number]})}
    return replace(cine, sidecar={**more, "source": source})


def test_what_is_made_of_one_stack_has_numbers_of_its_own(small_cine):
    plain, tagged = (of_series(small_cine, 7, "1.2.4", **more) for more in ({}, {"tagging": {"method": "paper"}}))
    numbers = [series_number(cine, enhanced=enhanced) for cine in (plain, tagged) for enhanced in (False, True)]
    assert numbers == [7, 1000007, 2000007, 3000007]
    origins = [LabelOrigin(kind) for kind in ("simulated", "given", "network")]
    images = [[pydicom.Dataset()] for _ in numbers]
    for number, (image,) in zip(numbers, images):
        image.SeriesNumber = number
    labels = [series_number_of(of_one, origin) for of_one in images for origin in origins]
    assert len({*numbers, *labels}) == 16 and max(labels) < 2**31


@pytest.mark.parametrize("number", [None, 0, 2**31 - 1])
def test_series_that_the_scanner_did_not_number_are_told_apart_by_their_uids(small_cine, number):
    numbers = [series_number(of_series(small_cine, number, uid)) for uid in ("1.2.4", "1.2.5", "1.2.5")]
    assert numbers[0] != numbers[1] == numbers[2]
    assert all(0 < n <= 1_000_000 for n in numbers)


def test_what_was_read_from_no_series_is_numbered_from_one(small_cine):
    assert [series_number(small_cine), series_number(small_cine, enhanced=True)] == [1, 2]


def test_studies_of_others_are_of_others(small_cine):
    ids = [study_dataset(replace(small_cine, sidecar={"source": {"study_uid": uid}}), "k").PatientID
           for uid in ("1.2.3", "1.2.4")]
    assert len(set(ids)) == 2


def test_scans_of_one_simulated_subject_are_of_one_patient(small_cine):
    subject, other = ({"kind": "parametric subject", "parameters": {"edv_ml": value}} for value in (150.0, 160.0))
    scans = [{"seed": 7, "anatomy": subject}, {"seed": 8, "anatomy": subject},
             {"tagging": {}, "source": {"seed": 7, "anatomy": subject}}, {"seed": 7, "anatomy": other}]
    ids = [study_dataset(replace(small_cine, sidecar=record), f"key{n}").PatientID for n, record in enumerate(scans)]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert ids[0].startswith("CMRSIM-SIM-")


@pytest.mark.parametrize("form", ["series", "x.dcm"])
def test_what_is_called_synthetic_is_called_so_again_without_its_sidecar(small_cine, tmp_path, form):
    (write_enhanced if form == "x.dcm" else write_dicom)(replace(small_cine, labels=None), tmp_path / form)
    for sidecar in tmp_path.glob("*.json"):
        sidecar.unlink()
    write_dicom(read_dicom(tmp_path / form), tmp_path / "again")
    assert {dataset[0x0008, 0x001C].value for dataset in headers(tmp_path / "again")} == {"YES"}

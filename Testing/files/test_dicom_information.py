"""What is said of DICOM folders and files: their series, and why they cannot be read."""

import json

import pydicom
import pytest

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.information import describe, describe_text


def test_a_study_lists_its_series_and_stacks(cmrsim_data):
    found = describe(cmrsim_data / "cine_dicom")
    assert [row["number"] for row in found["series"]] == [7001, 8001, 9001, 10001, 11001, 12001, 16001]
    assert {(row["images"], row["slices"], row["phases"], row["image_type"]) for row in found["series"]} == {
        (25, 1, 25, "ORIGINAL\\PRIMARY\\M")}
    assert found["stacks"]["stack_2"] == "cine_trufi_retro 4CH (series 16001): 1 slice of 25 frames, 208 x 256"


def test_series_are_a_table_for_people(cmrsim_data):
    lines = describe_text(describe(cmrsim_data / "cine_dicom")).splitlines()
    head, row = (next(line for line in lines if word in line) for word in ("description", "16001"))
    assert head.index("images") == row.index("25") and head.index("uid") == row.index("1.2.826")


def test_a_series_is_described_with_its_cine(series):
    found = describe(series)
    assert (found["frames"], found["slices"]) == (6, 3)
    assert (found["series"][0]["slices"], found["series"][0]["phases"]) == (3, 6)


def test_a_series_that_cannot_be_read_is_listed_with_the_reason(series):
    (series / "slice02_frame004.dcm").unlink()
    found = describe(series)
    assert found["series"][0]["phases"] == [5, 6]
    assert "cannot be read: missing phases: slice 1" in found["stacks"]["stack_1"]


def test_damaged_files_and_other_objects_are_listed(series, change):
    change(series / "slice02_frame003.dcm", ImagePositionPatient=None)
    report = pydicom.dcmread(series / "slice01_frame001.dcm")
    report.SOPClassUID, report.Modality = "1.2.840.10008.5.1.4.1.1.88.22", "SR"
    report.save_as(series / "report")
    found = describe(series)
    assert found["other_objects"] == [{"modality": "SR", "kind": "Enhanced SR", "files": 1}]
    (row,) = found["unusable_files"]
    assert (row["series"], row["files"]) == (1, 1) and "slice02_frame003.dcm: ImagePositionPatient" in row["reason"]
    assert "ImagePositionPatient is missing" in found["cannot_be_read"]
    assert json.loads(json.dumps(found)) == found and "Enhanced SR" in describe_text(found)


def test_a_folder_of_damaged_images_alone_is_refused(series, change):
    for path in series.iterdir():
        change(path, ImagePositionPatient=None)
    with pytest.raises(FileFormatError, match="ImagePositionPatient is missing"):
        describe(series)


def test_one_file_of_a_series_is_described_as_what_it_is(series, small_cine):
    found = describe(series / "slice02_frame003.dcm")
    assert (found["frames"], found["slices"], found["series_number"], found["instance_number"]) == (1, 1, 1, 9)
    assert found["trigger_time_ms"] == pytest.approx(small_cine.times_ms[1, 2])
    assert found["note"] == "one image of series 1, of which the scanner made 6; give the folder for the cine"


def test_one_file_that_is_no_image_is_refused_by_its_kind(series, change):
    change(series / "slice02_frame003.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.22", Modality="SR")
    with pytest.raises(InputError, match="there is SR"):
        describe(series / "slice02_frame003.dcm")


def test_a_series_that_is_named_is_described_alone(cmrsim_data):
    assert describe(cmrsim_data / "cine_dicom", "stack 2")["frames"] == 25

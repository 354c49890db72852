"""What of a folder is a case."""

import numpy as np
import pydicom
import pytest

from CMRSimExtension.errors import InputError
from CMRSimExtension.files.formats import Content, write_content
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.segmentation.cases import find_cases, holds_one_image
from CMRSimExtension.simulation.cine import Cine

GRID = ImageGrid(np.diag([1.5, 1.5, 8.0, 1.0]), (2, 40, 48), 8.0)


def dicom(folder, study="2.25.1", kind="dicom"):
    """One small image as DICOM: a folder of classic files, or an enhanced one."""
    cine = Cine(np.arange(2 * 40 * 48, dtype=np.float32).reshape(1, 2, 40, 48), GRID)
    write_content(Content(GRID, cine), folder, kind, source=folder)
    for file in [folder] if folder.is_file() else folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.StudyInstanceUID = study
        dataset.save_as(file)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"no image, but named as one")


def names(folder):
    return [path.name for path in find_cases(folder).paths]


def test_image_files_of_every_format_and_dicom_folders_are_cases(tmp_path):
    touch(tmp_path, "a.nii.gz", "b.seq.nrrd", "c.nrrd", "d.h5", "e.NII", "notes.txt", "empty/readme.txt")
    dicom(tmp_path / "f" / "series")
    dicom(tmp_path / "g.dcm", kind="dicom-enhanced")
    assert names(tmp_path) == ["a.nii.gz", "b.seq.nrrd", "c.nrrd", "d.h5", "e.NII", "f", "g.dcm"]
    assert not holds_one_image(tmp_path)


def test_labels_maps_raw_data_and_hidden_files_are_no_cases(tmp_path):
    touch(
        tmp_path, "a.nii.gz", "a_labels.nii.gz", "a_gt.nii.gz", "a_kspace.h5", "b.seq.nrrd", "b_labels.seq.nrrd",
        "b.seg.nrrd", "._a.nii.gz", ".writing-x-a.nii.gz", "own_kspace.h5",
    )  # fmt: skip
    assert names(tmp_path) == ["a.nii.gz", "b.seq.nrrd", "own_kspace.h5"]


def test_sub_folders_of_one_study_are_one_image_and_of_several_studies_cases(tmp_path):
    for sub, study in (("Se1", "2.25.1"), ("Se2", "2.25.1")):
        dicom(tmp_path / "study" / sub, study)
    assert holds_one_image(tmp_path / "study")
    for sub, study in (("P1", "2.25.1"), ("P2", "2.25.2")):
        dicom(tmp_path / "people" / sub, study)
    assert not holds_one_image(tmp_path / "people") and names(tmp_path / "people") == ["P1", "P2"]


def test_loose_files_of_a_dicom_folder_are_one_image(tmp_path):
    dicom(tmp_path / "series")
    assert holds_one_image(tmp_path / "series")


def test_enhanced_files_of_several_studies_are_cases(tmp_path):
    for number in (1, 2):
        dicom(tmp_path / f"P{number}.dcm", f"2.25.{number}", "dicom-enhanced")
    assert not holds_one_image(tmp_path) and names(tmp_path) == ["P1.dcm", "P2.dcm"]


def test_loose_dicom_files_beside_images_are_left_out_and_named(tmp_path):
    dicom(tmp_path)
    touch(tmp_path, "a.nii.gz")
    found = find_cases(tmp_path)
    assert [path.name for path in found.paths] == ["a.nii.gz"]
    assert "1 more beside the cases" in found.left_out[0] and "sub-folder for each case" in found.left_out[0]


def test_a_data_set_is_one_image_whose_case_is_to_be_named(tmp_path):
    touch(tmp_path, "dataset.json")
    assert holds_one_image(tmp_path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "is empty"),
        (("a.png", "b.png", "c.seg.nrrd"), "but 2 .png files, 1 .seg.nrrd file"),
        (("sub/a.txt",), "1 folder without DICOM images"),
        (("p1/a.nii.gz", "p2/b.nii.gz"), r"sub-folders with image files \(p1 and 1 more\)"),
    ],
)
def test_a_folder_without_an_image_is_told_what_it_holds(tmp_path, files, said):
    touch(tmp_path, *files)
    assert not holds_one_image(tmp_path)
    with pytest.raises(InputError, match=said):
        find_cases(tmp_path)

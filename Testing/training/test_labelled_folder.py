"""Labelled folders as data sets are published and as programs leave them: which files are cases, which frames count."""

import json
import warnings

import numpy as np
import pytest

from CMRSimExtension.errors import CMRSimWarning, InputError
from CMRSimExtension.files.nifti import write_nifti
from CMRSimExtension.files.nrrd_files import write_segmentation
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.training.batches import read_folder
from CMRSimExtension.training.labelled_folder import FolderSource, choose_cases, find_cases, read_case

AFFINE = np.diag([1.5, 1.5, 8.0, 1.0])
TABLE = {1: 1, 2: 2, 3: 3}


def series(frames=1, labelled=(0,)):
    """(frames, slices, rows, columns) grey values, each frame its own, and labels of some of the frames."""
    image = np.broadcast_to(np.arange(1.0, frames + 1)[:, None, None, None], (frames, 3, 20, 24)).astype(np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[list(labelled), :, 5:12, 6:14] = 1
    return image, labels


def write(folder, name, values):
    folder.mkdir(parents=True, exist_ok=True)
    write_nifti(folder / name, values, AFFINE)


def write_pair(folder, name, ending="_gt", **options):
    image, labels = series(**options)
    write(folder, f"{name}.nii.gz", image)
    write(folder, f"{name}{ending}.nii.gz", labels)


def acdc_patient(folder, number, group, frames=("01", "12")):
    home = folder / f"patient{number:03d}"
    for frame in frames:
        write_pair(home, f"patient{number:03d}_frame{frame}")
    write(home, f"patient{number:03d}_4d.nii.gz", series(frames=4)[0])
    if group:
        (home / "Info.cfg").write_text(f"ED: 1\nES: 12\nGroup: {group}\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n")


def test_frames_without_labels_are_left_out_and_counted(tmp_path):
    write_pair(tmp_path, "A0S9V9_sa", frames=25, labelled=(0, 9))
    with pytest.warns(CMRSimWarning, match="23 of 25 frames have no labels"):
        images, labels = read_folder(FolderSource(str(tmp_path), "mms", size=(32, 32)))
    assert len(images) == 2 * 3 and bool((labels == 1).flatten(1).any(1).all())
    volumes = read_case(find_cases(tmp_path)[0], TABLE)
    assert [(volume.name, volume.image.max()) for volume in volumes] == [("A0S9V9_sa#0", 1.0), ("A0S9V9_sa#9", 10.0)]


@pytest.mark.parametrize(("frames", "labelled"), [(1, (0,)), (1, ()), (3, ()), (3, (0, 1, 2))])
def test_a_volume_and_a_file_without_any_label_or_with_all_are_taken_whole(tmp_path, frames, labelled):
    write_pair(tmp_path, "a", frames=frames, labelled=labelled)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_folder(FolderSource(str(tmp_path), "mms", size=(32, 32)))[0]) == 3 * frames


def test_acdc_is_found_as_it_is_published(tmp_path):
    acdc_patient(tmp_path / "training", 1, "MINF")
    acdc_patient(tmp_path / "testing", 101, "RV")
    acdc_patient(tmp_path / "testing", 102, "")
    assert {case.name: case.pathology for case in find_cases(tmp_path)} == {
        "patient001_frame01": "MINF", "patient001_frame12": "MINF",
        "patient101_frame01": "RV", "patient101_frame12": "RV", "patient102_frame01": "", "patient102_frame12": "",
    }  # fmt: skip


def test_mms_is_found_as_it_is_published(tmp_path):
    for patient in ("A0S9V9", "A1D9Z7"):
        write_pair(tmp_path / "Training" / "Labeled" / patient, f"{patient}_sa")
    write(tmp_path / "Training" / "Unlabeled" / "B1", "B1_sa.nii.gz", series()[0])
    assert [case.name for case in find_cases(tmp_path)] == ["A0S9V9_sa", "A1D9Z7_sa"]


def test_cases_of_one_name_in_two_folders_are_called_by_their_paths(tmp_path):
    for folder in ("site1", "site2"):
        write_pair(tmp_path / folder, "heart")
    write_pair(tmp_path / "site2", "other")
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["site1/heart", "site2/heart", "other"]
    assert [case.name for case in choose_cases(cases, ["site*"], ["*2/*"])] == ["site1/heart"]


def test_cases_of_one_name_in_a_data_list_are_called_by_their_paths(tmp_path):
    for folder in ("site1", "site2"):
        write_pair(tmp_path / folder, "heart")
    entries = [{"image": f"{site}/heart.nii.gz", "label": f"{site}/heart_gt.nii.gz"} for site in ("site1", "site2")]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    assert [case.name for case in find_cases(tmp_path / "list.json")] == ["site1/heart", "site2/heart"]


def test_the_description_of_one_patient_is_not_that_of_others_in_its_folder(tmp_path):
    write_pair(tmp_path, "patient001_frame01")
    write_pair(tmp_path, "patient002_frame01")
    (tmp_path / "Info.cfg").write_text("Group: DCM\n")
    assert {case.pathology for case in find_cases(tmp_path)} == {""}


def test_hidden_files_are_no_cases(tmp_path):
    """macOS leaves ``._X`` beside every file X of a copied folder."""
    write_pair(tmp_path / "p1", "a")
    for name in ("._a.nii.gz", "._a_gt.nii.gz"):
        (tmp_path / "p1" / name).write_bytes(b"resource fork")
    assert [case.name for case in find_cases(tmp_path)] == ["a"]


def test_labels_that_slicer_saved_are_read(tmp_path):
    image, labels = series()
    write(tmp_path, "a.nii.gz", image)
    write_segmentation(2 * labels, ImageGrid(AFFINE, (3, 20, 24), 8.0), tmp_path / "a_gt.seg.nrrd")
    (volume,) = read_case(find_cases(tmp_path)[0], {3: 1})
    assert np.array_equal(volume.labels, 2 * labels[0])
    # Cropped to the box of the segment, as Slicer saves it.
    moved = AFFINE.copy()
    moved[:3, 3] = AFFINE[:3, :3] @ [6, 5, 0]
    box = np.ascontiguousarray(2 * labels[:, :, 5:12, 6:14])
    write_segmentation(box, ImageGrid(moved, box.shape[1:], 8.0), tmp_path / "a_gt.seg.nrrd")
    (volume,) = read_case(find_cases(tmp_path)[0], {3: 1})  # segments are known by name, whatever the table says
    assert volume.image.max() == 1.0 and np.array_equal(volume.labels, 2 * labels[0])


def test_an_image_with_two_label_files_is_refused_and_copies_of_them_are_not(tmp_path):
    write_pair(tmp_path, "a")
    write(tmp_path, "a_gt.nii", series()[1])  # a copy of a_gt.nii.gz
    assert find_cases(tmp_path)[0].labels.name == "a_gt.nii.gz"
    write_segmentation(series()[1], ImageGrid(AFFINE, (3, 20, 24), 8.0), tmp_path / "a_gt.seg.nrrd")
    with pytest.raises(InputError, match=r"a_gt.nii.gz and a_gt.seg.nrrd; keep the one"):
        find_cases(tmp_path)

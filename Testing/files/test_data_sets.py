"""nnU-Net raw data sets and MONAI data lists."""

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.cine_files import write_cine
from CMRSimExtension.files.data_sets import cine_names, cines_in_folder, read_data_set, write_data_set


@pytest.fixture(params=["nnunet", "monai"])
def layout(request):
    return request.param


@pytest.fixture
def partly_labelled(small_cine):
    labels = small_cine.labels.copy()
    labels[2:] = 0
    return replace(small_cine, labels=labels)


def test_a_cine_comes_back_exactly(small_cine, tmp_path, layout):
    write_data_set([("heart", small_cine)], tmp_path / "D", layout)
    read = read_data_set(tmp_path / "D")
    for name in ("image", "labels", "times_ms", "heartbeats_ms"):
        np.testing.assert_array_equal(getattr(read, name), getattr(small_cine, name), err_msg=name)
    np.testing.assert_array_equal(read.grid.affine_ras, small_cine.grid.affine_ras)
    assert read.sidecar == small_cine.sidecar


def test_nnunet_finds_its_layout(partly_labelled, tmp_path):
    write_data_set([("heart", partly_labelled)], tmp_path / "Dataset042_Heart", "nnunet")
    root = tmp_path / "Dataset042_Heart"
    description = json.loads((root / "dataset.json").read_text())
    assert sorted(p.name for p in (root / "imagesTr").iterdir()) == [
        "heart_frame000_0000.nii.gz", "heart_frame001_0000.nii.gz"]
    assert sorted(p.name for p in (root / "labelsTr").iterdir()) == ["heart_frame000.nii.gz", "heart_frame001.nii.gz"]
    assert len(list((root / "imagesTs").iterdir())) == 4
    assert description["numTraining"] == 2
    assert description["labels"] == {"background": 0, "LV blood pool": 1, "LV myocardium": 2, "RV blood pool": 3}
    assert description["channel_names"] == {"0": "cine MRI"} and description["file_ending"] == ".nii.gz"


def test_monai_reads_the_list(partly_labelled, tmp_path):
    decathlon = pytest.importorskip("monai.data.decathlon_datalist")
    write_data_set([("heart", partly_labelled)], tmp_path / "D", "monai")
    entries = decathlon.load_decathlon_datalist(str(tmp_path / "D" / "datalist.json"), True, "training")
    assert len(entries) == 2
    image, label = (nibabel.load(entries[1][key]) for key in ("image", "label"))
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, partly_labelled.image[1])
    np.testing.assert_array_equal(np.asarray(label.dataobj).T, partly_labelled.labels[1])


def test_several_cines_are_told_apart_by_name(small_cine, make_cine, tmp_path, layout):
    write_data_set([("a", small_cine), ("b", make_cine(frames=2))], tmp_path / "D", layout)
    assert cine_names(tmp_path / "D") == ["a", "b"]
    assert read_data_set(tmp_path / "D", "b").image.shape[0] == 2
    with pytest.raises(InputError, match="2 cines .*--series"):
        read_data_set(tmp_path / "D")


def test_two_cines_of_one_name_are_refused(small_cine, tmp_path, layout):
    with pytest.raises(InputError, match="two cines are called 'a'"):
        write_data_set([("a", small_cine), ("a", small_cine)], tmp_path / "D", layout)
    assert list(tmp_path.iterdir()) == []


def test_labels_beyond_the_clinical_ones_are_refused(small_cine, tmp_path, layout):
    small_cine.labels[0, 0, 0, 0] = 9
    with pytest.raises(InputError, match="label 9"):
        write_data_set([("a", small_cine)], tmp_path / "D", layout)


def test_a_missing_frame_is_told(small_cine, tmp_path):
    write_data_set([("a", small_cine)], tmp_path / "D", "nnunet")
    (tmp_path / "D" / "imagesTr" / "a_frame003_0000.nii.gz").unlink()
    with pytest.raises(FileFormatError, match="some are missing"):
        read_data_set(tmp_path / "D")


def test_a_list_that_names_a_missing_file_is_refused(small_cine, tmp_path):
    write_data_set([("a", small_cine)], tmp_path / "D", "monai")
    (tmp_path / "D" / "labels" / "a_frame003.nii.gz").unlink()
    with pytest.raises(FileFormatError, match="a_frame003.nii.gz, which is not there"):
        read_data_set(tmp_path / "D")


def test_a_list_may_not_lead_out_of_its_folder(small_cine, tmp_path):
    write_data_set([("a", small_cine)], tmp_path / "D", "monai")
    listing = tmp_path / "D" / "datalist.json"
    listing.write_text(listing.read_text().replace("images/a_frame000", "../secret"))
    with pytest.raises(FileFormatError, match="outside its folder"):
        read_data_set(tmp_path / "D")


@pytest.mark.parametrize("labels", [
    {"background": 0, "RV": 1, "MLV": 2, "LVC": 3}, {"0": "background", "1": "RV", "2": "MYO", "3": "LV"},
])
def test_labels_of_someone_elses_set_are_read_by_their_names(partly_labelled, tmp_path, labels):
    write_data_set([("heart", partly_labelled)], tmp_path / "D", "nnunet")
    (tmp_path / "D" / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz", "labels": labels}))
    expected = np.array([0, 3, 2, 1], np.uint8)[partly_labelled.labels]
    np.testing.assert_array_equal(read_data_set(tmp_path / "D").labels, expected)


def test_a_label_of_an_unknown_name_is_refused(partly_labelled, tmp_path):
    write_data_set([("heart", partly_labelled)], tmp_path / "D", "nnunet")
    (tmp_path / "D" / "dataset.json").write_text('{"file_ending": ".nii.gz", "labels": {"scar": 1, "myo": 2, "rv": 3}}')
    with pytest.raises(FileFormatError, match="calls label 1 'scar'"):
        read_data_set(tmp_path / "D")


def test_what_was_written_with_a_cine_is_no_cine_of_its_own(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz", more={"myocardium": (small_cine.labels == 2).astype(np.uint8)})
    assert [path.name for path in cines_in_folder(tmp_path)] == ["X.nii.gz"]


def test_someone_elses_nnunet_set_of_volumes_is_read(small_cine, tmp_path):
    (tmp_path / "D" / "imagesTr").mkdir(parents=True)
    (tmp_path / "D" / "dataset.json").write_text('{"file_ending": ".nii.gz"}')
    nibabel.save(nibabel.Nifti1Image(small_cine.image[0].T, np.diag([1.0, 1, 5, 1])),
                 tmp_path / "D" / "imagesTr" / "patient001_0000.nii.gz")
    read = read_data_set(tmp_path / "D", "patient001")
    np.testing.assert_array_equal(read.image[0], small_cine.image[0])

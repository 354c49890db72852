"""`cmrsim convert` and `cmrsim info`."""

import json

import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.files.cine_files import TRUTHS, read_cine, write_cine
from CMRSimExtension.files.nrrd_files import read_segmentation


@pytest.fixture
def heart(small_cine, tmp_path):
    """Whole numbers, so that DICOM can hold them exactly."""
    from dataclasses import replace

    whole = np.round(small_cine.image)
    cine = replace(small_cine, image=whole, displacement_mm=None, fractions=None, anatomy=None)
    write_cine(cine, tmp_path / "heart.nii.gz")
    return tmp_path / "heart.nii.gz"


def run(*arguments):
    return main([str(a) for a in arguments])


@pytest.mark.parametrize("steps", [
    ["a.seq.nrrd", "b.nii.gz"], ["folder", "b.nii.gz"], ["a.h5", "b.nii.gz"], ["a.dcm", "b.nii.gz"],
    ["a.seq.nrrd", "folder", "a.h5", "b.nii.gz"],
])
def test_a_way_through_other_formats_changes_nothing(heart, tmp_path, steps):
    before, source = read_cine(heart), heart
    for name in steps:
        assert run("convert", source, tmp_path / "way" / name, "--quiet") == 0
        source = tmp_path / "way" / name
    after = read_cine(source)
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_array_equal(after.times_ms, before.times_ms)
    np.testing.assert_array_equal(after.grid.affine_ras, before.grid.affine_ras)
    assert (after.function, after.sidecar) == (before.function, before.sidecar)


@pytest.mark.parametrize("middle", ["a.seq.nrrd", "folder"])
def test_labels_travel_with_the_image(heart, tmp_path, middle):
    assert run("convert", heart, tmp_path / "way" / middle) == 0
    assert run("convert", tmp_path / "way" / middle, tmp_path / "way" / "b.nii.gz") == 0
    np.testing.assert_array_equal(read_cine(tmp_path / "way" / "b.nii.gz").labels, read_cine(heart).labels)


@pytest.mark.parametrize("layout", ["nnunet", "monai"])
def test_a_data_set_comes_back_as_a_cine(heart, tmp_path, layout):
    assert run("convert", heart, tmp_path / "D", "--format", layout) == 0
    assert run("convert", tmp_path / "D", tmp_path / "b.nii.gz") == 0
    np.testing.assert_array_equal(read_cine(tmp_path / "b.nii.gz").labels, read_cine(heart).labels)


def test_labels_become_slicer_segmentations(heart, tmp_path):
    assert run("convert", heart, tmp_path / "s.seg.nrrd") == 0
    labels = read_segmentation(tmp_path / "s_frame004.seg.nrrd").values[0]
    np.testing.assert_array_equal(labels, read_cine(heart).labels[3])


def test_a_label_file_alone_becomes_a_segmentation(heart, tmp_path):
    label_file = tmp_path / "heart_labels.nii.gz"
    assert run("convert", label_file, tmp_path / "s.seg.nrrd") == 0
    assert (tmp_path / "s_frame006.seg.nrrd").exists()


def test_a_segmentation_becomes_a_label_image(heart, tmp_path):
    run("convert", heart, tmp_path / "s.seg.nrrd")
    assert run("convert", tmp_path / "s_frame001.seg.nrrd", tmp_path / "back.nii.gz") == 0
    np.testing.assert_array_equal(read_cine(tmp_path / "back.nii.gz", ()).image[0], read_cine(heart).labels[0])


def test_a_segmentation_refers_to_the_series_it_is_given(heart, tmp_path):
    run("convert", heart, tmp_path / "series")
    assert run("convert", tmp_path / "heart_labels.nii.gz", tmp_path / "seg", "--format", "dicom-seg",
               "--reference", tmp_path / "series") == 0
    import pydicom

    segmentation = pydicom.dcmread(tmp_path / "seg" / "frame002.dcm")
    image = pydicom.dcmread(tmp_path / "series" / "slice01_frame002.dcm")
    assert segmentation.StudyInstanceUID == image.StudyInstanceUID


@pytest.mark.parametrize(("arguments", "message"), [
    (["nowhere.nii.gz", "x.nrrd"], "nowhere.nii.gz does not exist"),
    (["{heart}", "x.pdf"], "x.pdf ends in none of"),
    (["{heart}", "x.nrrd", "--format", "dicom"], "not a name for --format dicom"),
    (["{heart}", "{heart}"], "replaced by its own conversion"),
    (["{heart}", "x.nrrd", "--reference", "a"], "--reference belongs to"),
    (["{labels}", "x", "--format", "dicom-seg"], "--reference"),
])
def test_what_cannot_be_done_is_said(heart, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    filled = [a.format(heart=heart, labels=tmp_path / "heart_labels.nii.gz") for a in arguments]
    assert run("convert", *filled) == 2
    assert message in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_an_image_without_labels_cannot_become_a_segmentation(heart, tmp_path, capsys):
    (tmp_path / "heart_labels.nii.gz").unlink()
    assert run("convert", heart, tmp_path / "s.seg.nrrd") == 2
    assert "heart.nii.gz has no labels" in capsys.readouterr().err


def test_what_is_left_behind_is_told(small_cine, tmp_path, capsys):
    write_cine(small_cine, tmp_path / "heart.nii.gz")
    assert run("convert", tmp_path / "heart.nii.gz", tmp_path / "x.seq.nrrd") == 0
    assert "not converted: motion, fractions" in capsys.readouterr().err


def test_from_nifti_to_nifti_every_truth_goes_along(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "heart.nii.gz")
    assert run("convert", tmp_path / "heart.nii.gz", tmp_path / "copy.nii") == 0
    copy = read_cine(tmp_path / "copy.nii", TRUTHS)
    np.testing.assert_array_equal(copy.displacement_mm, small_cine.displacement_mm)
    np.testing.assert_array_equal(copy.fractions, small_cine.fractions)


def test_labels_that_an_enhanced_object_does_not_hold_come_with_a_cure(heart, tmp_path, capsys):
    assert run("convert", heart, tmp_path / "x.dcm") == 0
    assert "not converted: labels" in (err := capsys.readouterr().err) and "--format dicom-seg --reference" in err


@pytest.mark.parametrize("copy", ["heart.dcm", "heart.seq.nrrd", "heart.h5", "heart"])
def test_a_copy_of_the_same_name_leaves_the_sidecar_of_the_original_alone(heart, tmp_path, copy):
    before = (tmp_path / "heart.json").read_text()
    assert run("convert", heart, tmp_path / copy) == 0
    assert (tmp_path / "heart.json").read_text() == before


def test_info_tells_size_times_labels_and_function(heart, capsys):
    assert run("info", heart) == 0
    out = capsys.readouterr().out
    for words in ("frames                6", "mean frame step ms    135.5", "1 LV blood pool", "lv edv ml"):
        assert words in out


def test_info_as_json_can_be_read_by_programs(heart, capsys):
    assert run("info", heart, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 6 and found["heartbeats_ms"] == [800, 813, 826]


def test_info_of_a_study_lists_its_stacks(cmrsim_data, capsys):
    assert run("info", cmrsim_data / "cine_dicom") == 0
    out = capsys.readouterr().out
    assert "6 slices of 25 frames" in out and "cine_trufi_retro 4CH" in out


def test_the_published_acdc_header_is_explained_to_the_user(cmrsim_data, capsys):
    assert run("info", cmrsim_data / "acdc_original" / "patient005_frame01.nii.gz") == 0
    assert "pixdim is believed" in capsys.readouterr().err


def test_the_folder_one_stands_in_is_read_by_its_dot(heart, tmp_path, monkeypatch, capsys):
    assert run("convert", heart, tmp_path / "series") == 0
    monkeypatch.chdir(tmp_path / "series")
    assert run("convert", ".", tmp_path / "back.nii.gz") == 0
    np.testing.assert_array_equal(read_cine(tmp_path / "back.nii.gz").image, read_cine(heart).image)


def test_info_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("hello")
    assert run("info", tmp_path / "a.txt") == 2
    assert "not an image that is read here" in capsys.readouterr().err


def test_a_folder_of_cines_becomes_one_data_set(heart, make_cine, tmp_path):
    (tmp_path / "cines").mkdir()
    for name, frames in (("a", 2), ("b", 3)):
        write_cine(make_cine(frames=frames), tmp_path / "cines" / f"{name}.nii.gz")
    assert run("convert", tmp_path / "cines", tmp_path / "D", "--format", "nnunet") == 0
    assert len(list((tmp_path / "D" / "labelsTr").iterdir())) == 5
    assert run("convert", tmp_path / "D", tmp_path / "b.nii.gz", "--series", "b") == 0
    np.testing.assert_array_equal(read_cine(tmp_path / "b.nii.gz").labels, make_cine(frames=3).labels)

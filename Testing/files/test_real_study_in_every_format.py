"""The real DICOM study written as every format and read back: same voxels, oblique geometry and per-slice times."""

from pathlib import Path

import numpy as np
import pytest

from CMRSimExtension.files.dicom_reading import read_dicom
from CMRSimExtension.files.formats import Content, format_of, read_content, write_content

OUTPUTS = [("x.nii.gz", None), ("x.nii", None), ("x.seq.nrrd", None), ("x.nrrd", None), ("x.h5", None), ("x.dcm", None),
           ("folder", None), ("folder", "dicom"), ("set", "nnunet"), ("set", "monai")]
ALONE = ["x.seq.nrrd", "x.h5", "x.dcm", "folder"]
"""Formats that hold the times of every slice by themselves."""


@pytest.fixture(scope="module", params=["cine_trufi_retro", "cine_trufi_retro 4CH"])
def study(request, cmrsim_data):
    return read_dicom(cmrsim_data / "cine_dicom", request.param)


@pytest.mark.parametrize(("name", "named"), OUTPUTS)
def test_nothing_changes_on_the_way(study, tmp_path, name, named):
    path = tmp_path / name
    write_content(Content(study.grid, study), path, format_of(path, named), source=Path("study"))
    read = read_content(path).cine
    np.testing.assert_array_equal(read.image, study.image)
    np.testing.assert_array_equal(read.grid.affine_ras, study.grid.affine_ras)
    np.testing.assert_array_equal(read.times_ms, study.times_ms)
    np.testing.assert_array_equal(read.heartbeats_ms, study.heartbeats_ms)
    assert read.grid.slice_thickness_mm == study.grid.slice_thickness_mm == 6.0


@pytest.mark.parametrize("name", ALONE)
def test_the_file_alone_tells_where_and_when_every_slice_was_taken(study, tmp_path, name):
    path = tmp_path / name
    write_content(Content(study.grid, study), path, format_of(path), source=Path("study"))
    for sidecar in tmp_path.glob("*.json"):
        sidecar.unlink()
    read = read_content(path).cine
    # 16 characters of a DICOM decimal string hold 202 mm to 1e-12.
    np.testing.assert_allclose(read.grid.affine_ras, study.grid.affine_ras, atol=1e-11)
    np.testing.assert_allclose(read.times_ms, study.times_ms, atol=1e-11)
    np.testing.assert_array_equal(read.heartbeats_ms, study.heartbeats_ms)


def test_written_dicom_has_no_errors(study, tmp_path, dicom_errors):
    content = Content(study.grid, study)
    write_content(content, tmp_path / "folder", "dicom", source=Path("study"))
    write_content(content, tmp_path / "x.dcm", "dicom-enhanced", source=Path("study"))
    # Every file has the same attributes: some of each slice and frame stand for all 150.
    files = [tmp_path / "x.dcm", *sorted((tmp_path / "folder").glob("*.dcm"))[::13]]
    assert [e for path in files for e in dicom_errors(path)] == []


@pytest.mark.parametrize("options", [{"pattern": "grid"}, {"pattern": "lines", "train": "1-1"}])
def test_written_dicom_of_the_tagged_study_has_no_errors(study, tmp_path, dicom_errors, options):
    from CMRSimExtension.tagging.options import TagOptions
    from CMRSimExtension.tagging.tag_cine import tag_cine

    tagged = tag_cine(study, TagOptions(method="paper", **options))
    content = Content(study.grid, tagged)
    write_content(content, tmp_path / "folder", "dicom", source=Path("study"))
    write_content(content, tmp_path / "x.dcm", "dicom-enhanced", source=Path("study"))
    files = [tmp_path / "x.dcm", *sorted((tmp_path / "folder").glob("*.dcm"))[::13]]
    assert [e for path in files for e in dicom_errors(path)] == []


def test_labels_drawn_on_the_study_become_segmentations_of_its_own_images(study, tmp_path, cmrsim_data, dicom_errors):
    import pydicom

    labels = np.zeros(study.image.shape, np.uint8)
    labels[0, :, 90:110, 100:120] = 1
    name = study.sidecar["source"]["series_descriptions"][0]
    write_content(Content(study.grid, labels=labels), tmp_path / "seg.dcm", "dicom-seg", source=Path("labels"),
                  reference=cmrsim_data / "cine_dicom", series=name)
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    assert dicom_errors(tmp_path / "seg.dcm") == []
    assert segmentation.StudyInstanceUID == study.sidecar["source"]["study_uid"]
    assert segmentation.FrameOfReferenceUID == study.sidecar["source"]["frame_of_reference_uid"]
    assert segmentation.pixel_array.sum() == labels.sum()
    referred = {str(item.SeriesInstanceUID) for item in segmentation.ReferencedSeriesSequence}
    assert referred == set(study.sidecar["source"]["series_uids"])

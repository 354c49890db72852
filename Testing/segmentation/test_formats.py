"""Whatever the readers read is segmented, not NIfTI and DICOM folders alone."""

import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import InputError
from CMRSimExtension.files.formats import Content, format_of, write_content
from CMRSimExtension.files.nifti import read_nifti
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.segmentation.job import SegmentationOptions, segment_file
from CMRSimExtension.simulation.cine import Cine
from Testing.segmentation.conftest import heart_labels, picture

SPACING_MM = (8.0, 1.5, 1.5)


@pytest.fixture
def cine():
    labels = heart_labels((5, 90, 110), SPACING_MM)[None]
    return Cine(picture(labels).astype(np.float32), ImageGrid(np.diag([1.5, 1.5, 8.0, 1.0]), (5, 90, 110), 8.0))


@pytest.mark.parametrize("name", ["heart.seq.nrrd", "heart.h5", "heart.dcm"])
def test_an_image_that_convert_writes_is_segmented_like_its_nifti_file(cine, oracle, tmp_path, name):
    found = []
    for image in ("heart.nii.gz", name):
        source = tmp_path / image
        write_content(Content(cine.grid, cine), source, format_of(source), source=source)
        segment_file(source, tmp_path / "labels.nii.gz", oracle, SegmentationOptions(device="cpu", views="none"))
        found.append(read_nifti(tmp_path / "labels.nii.gz"))
    assert found[0].values.any()
    # DICOM's whole numbers move the odd voxel on a border.
    assert (found[0].values != found[1].values).mean() < 1e-3
    np.testing.assert_allclose(found[1].grid.affine_ras, found[0].grid.affine_ras, atol=1e-4)


def test_labels_alone_are_no_image_to_segment(cine, oracle, tmp_path):
    labels = (cine.image > 0).astype(np.uint8)
    source = tmp_path / "heart.seg.nrrd"
    write_content(Content(cine.grid, labels=labels), source, format_of(source), source=source)
    with pytest.raises(InputError, match="labels and no image"):
        segment_file(source, tmp_path / "labels.nii.gz", oracle)


@pytest.fixture
def study(cine, tmp_path):
    """Two series of one study, ``short`` (number 1, one frame) and ``long`` (number 2, two frames)."""
    for number, name in enumerate(("short", "long"), start=1):
        series = replace(cine, image=np.repeat(cine.image, number, axis=0) + number)
        folder = tmp_path / "study" / name
        write_content(Content(series.grid, series), folder, "dicom", source=tmp_path / name)
        for file in sorted(folder.iterdir()):
            dataset = pydicom.dcmread(file)
            dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = "2.25.1", "2.25.2"
            dataset.SeriesNumber, dataset.SeriesDescription = number, name
            dataset.save_as(file)
    return tmp_path / "study"


@pytest.mark.parametrize(("series", "frames"), [("short", 1), ("2", 2)])
def test_one_series_of_a_study_is_segmented_by_description_or_number(study, oracle, tmp_path, series, frames):
    plain = SegmentationOptions(device="cpu", views="none")
    with pytest.raises(InputError, match="name one with --series"):
        segment_file(study, tmp_path / "labels.nii.gz", oracle, plain)
    segment_file(study, tmp_path / "labels.nii.gz", oracle, plain, series=series)
    assert len(read_nifti(tmp_path / "labels.nii.gz").values) == frames
    assert json.loads((tmp_path / "labels.json").read_text())["series"] == series


def test_the_command_takes_the_series_of_a_study(study, oracle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("CMRSimExtension.segmentation.bundle.read_bundle", lambda folder: oracle)
    command = ["segment", str(study), "--out", str(tmp_path / "s.nii.gz"), "--device", "cpu", "--views", "none"]
    assert main(command) == 2 and "name one with --series" in capsys.readouterr().err
    assert main([*command, "--series", "long"]) == 0
    assert len(read_nifti(tmp_path / "s.nii.gz").values) == 2


def test_one_series_of_a_real_study_is_segmented(cmrsim_data, oracle, tmp_path):
    options = SegmentationOptions("0", "cpu", "none")
    segment_file(cmrsim_data / "cine_dicom", tmp_path / "s.nii.gz", oracle, options, series="16001")
    assert read_nifti(tmp_path / "s.nii.gz").values.shape == (25, 1, 256, 208)

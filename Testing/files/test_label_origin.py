"""DICOM segmentations say who made their labels."""

import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.files.cine_files import write_cine
from CMRSimExtension.files.nifti import write_nifti

REAL = {"source": {"study_uid": "1.2.3", "series_uids": ["1.2.3.4"], "frame_of_reference_uid": "1.2.3.5"}}
MODEL = {"format": "cmrsim segmentation", "model": {"name": "cine_sax", "version": "1.2"}}


def convert(*arguments):
    assert main(["convert", *map(str, arguments), "--quiet"]) == 0


@pytest.fixture(params=["simulated", "real"])
def image(request, small_cine, tmp_path):
    """heart.nii.gz with labels, and its DICOM series."""
    cine = replace(small_cine, image=np.round(small_cine.image), anatomy=None, displacement_mm=None, fractions=None)
    cine = cine if request.param == "simulated" else replace(cine, sidecar=REAL, function=None)
    write_cine(cine, tmp_path / "heart.nii.gz")
    convert(tmp_path / "heart.nii.gz", tmp_path / "series")
    return request.param, tmp_path / "heart.nii.gz", tmp_path / "series"


def said(path):
    """Type of algorithm, code of its family and its name in a segmentation, and the series description."""
    dataset = pydicom.dcmread(path)
    (told,) = {
        (s.SegmentAlgorithmType, s.get("SegmentAlgorithmName"),
         s.SegmentationAlgorithmIdentificationSequence[0].AlgorithmFamilyCodeSequence[0].CodeValue
         if "SegmentationAlgorithmIdentificationSequence" in s else None)
        for s in dataset.SegmentSequence
    }
    return (*told, dataset.SeriesDescription)


TRUE = ("AUTOMATIC", "CMRSimExtension simulation", "SIMULATED_TRUTH", "True labels")
DRAWN = ("MANUAL", None, None, "Labels")
# PS3.16, context group 7162: 123110 is artificial intelligence.
FOUND = ("AUTOMATIC", "cine_sax", "123110", "Labels by cine_sax")


def test_labels_of_an_image_are_true_only_where_it_was_simulated(image):
    kind, _, series = image
    assert said(series / "segmentation" / "frame001.dcm") == (TRUE if kind == "simulated" else DRAWN)


def test_a_label_file_is_true_where_it_belongs_to_a_simulated_image(image, tmp_path):
    kind, heart, series = image
    convert(heart.with_name("heart_labels.nii.gz"), tmp_path / "seg", "--format", "dicom-seg", "--reference", series)
    assert said(tmp_path / "seg" / "frame001.dcm") == (TRUE if kind == "simulated" else DRAWN)


def test_labels_by_a_network_are_called_so_even_of_a_simulated_image(image, small_cine, tmp_path):
    _, _, series = image
    write_nifti(tmp_path / "found.nii.gz", small_cine.labels, small_cine.grid.affine_ras)
    (tmp_path / "found.json").write_text(json.dumps(MODEL))
    convert(tmp_path / "found.nii.gz", tmp_path / "seg", "--format", "dicom-seg", "--reference", series)
    assert said(tmp_path / "seg" / "frame001.dcm") == FOUND


def test_labels_by_a_network_beside_an_image_are_called_so_in_its_series(image, tmp_path):
    _, heart, _ = image
    heart.with_name("heart_labels.json").write_text(json.dumps(MODEL))
    convert(heart, tmp_path / "again")
    assert said(tmp_path / "again" / "segmentation" / "frame001.dcm") == FOUND


def test_labels_of_unknown_making_are_not_called_true_of_a_simulated_image(image, small_cine, tmp_path):
    _, _, series = image
    write_nifti(tmp_path / "mine.nii.gz", small_cine.labels, small_cine.grid.affine_ras)
    convert(tmp_path / "mine.nii.gz", tmp_path / "seg", "--format", "dicom-seg", "--reference", series)
    assert said(tmp_path / "seg" / "frame001.dcm") == DRAWN
    segments = pydicom.dcmread(tmp_path / "seg" / "frame001.dcm").SegmentSequence
    assert {s.SegmentDescription for s in segments} == {"As given; who or what drew it is not known"}


def test_segmentations_of_each_making_have_no_errors_and_identifiers_of_their_own(image, tmp_path, dicom_errors):
    _, heart, series = image
    labels = heart.with_name("heart_labels.nii.gz")
    for name, record in (("found", MODEL), ("mine", {})):
        (tmp_path / f"{name}.nii.gz").write_bytes(labels.read_bytes())
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
        convert(tmp_path / f"{name}.nii.gz", tmp_path / name, "--format", "dicom-seg", "--reference", series)
    files = [tmp_path / "found" / "frame001.dcm", tmp_path / "mine" / "frame001.dcm"]
    assert [e for path in files for e in dicom_errors(path)] == []
    assert len({pydicom.dcmread(path).SOPInstanceUID for path in files}) == 2

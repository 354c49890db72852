"""Whatever the readers read is segmented, not NIfTI and DICOM folders alone."""

import numpy as np
import pytest

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

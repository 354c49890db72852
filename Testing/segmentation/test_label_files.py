"""Labels in the formats that other programs save them in, compared with each other."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.atomic import atomic_file
from CMRSimExtension.files.dicom_segmentation import write_dicom_seg
from CMRSimExtension.files.dicom_writing import write_dicom
from CMRSimExtension.files.nifti import write_nifti
from CMRSimExtension.files.nrrd_files import write_segmentation
from CMRSimExtension.files.nrrd_header import write_nrrd
from CMRSimExtension.scanner.geometry import ImageGrid
from CMRSimExtension.segmentation.comparison import compare_files
from CMRSimExtension.simulation.cine import Cine
from Testing.segmentation.conftest import heart_labels, picture

SHAPE = (5, 60, 70)
TURN = np.array([[0.8, 0.36, 0.48], [-0.6, 0.48, 0.64], [0.0, -0.8, 0.6]])
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = TURN * [1.5, 1.7, 8.0], [10.0, -20.0, 30.0]
ACDC = np.array([0, 3, 2, 1], np.uint8)


def heart(scale=0.8):
    """(1, slices, rows, columns); nothing is labelled in the first slice."""
    labels = heart_labels(SHAPE, (8.0, 1.7, 1.5), (48.0, 60.0), scale=scale)[None]
    labels[:, 0] = 0
    return labels


def save(path: Path, labels, affine=AFFINE):
    """`labels` at `path`, in the format that its name says, and that path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = ImageGrid(affine, labels.shape[1:], 8.0)
    if path.name.endswith(".seg.nrrd"):
        write_segmentation(labels, grid, path)
    elif path.suffix == ".nrrd":
        with atomic_file(path) as temporary:
            write_nrrd(temporary, labels[0], affine, {})
    elif path.suffix == ".dcm":
        write_dicom_seg(Cine(picture(labels), grid), labels, grid, path, None)
    else:
        write_nifti(path, labels, affine)
    return path


def dice_of(found):
    return sorted({round(row.dice, 6) for row in found.rows if row.position == "volume"})


def compared(one, other, *options):
    return compare_files(one, other, *options, distances=False)


ENDINGS = (".nii.gz", ".nrrd", ".seg.nrrd", ".dcm")


@pytest.mark.parametrize("one", ENDINGS)
@pytest.mark.parametrize("other", ENDINGS)
def test_every_format_is_compared_with_every_other(tmp_path, one, other):
    truth, smaller = heart(), heart(0.7)
    reference = save(tmp_path / f"truth{other}", truth)
    assert dice_of(compared(save(tmp_path / f"same{one}", truth), reference)) == [1.0]
    expected = dice_of(compared(save(tmp_path / "a.nii.gz", smaller), save(tmp_path / "b.nii.gz", truth)))
    found = compared(save(tmp_path / f"mine{one}", smaller), reference)
    assert dice_of(found) == expected and expected[-1] < 0.95
    volumes = {value.quantity: value.reference for value in found.values}
    assert volumes["lv_edv_ml"] == pytest.approx((truth == 1).sum() * 1.5 * 1.7 * 8.0 / 1000.0, rel=1e-4)


def test_numbers_of_a_reference_mean_what_the_map_says_and_its_segments_what_they_are_called(tmp_path):
    mine = save(tmp_path / "mine.nii.gz", heart())
    assert dice_of(compared(mine, save(tmp_path / "a.nrrd", ACDC[heart()]), "acdc")) == [1.0]
    assert dice_of(compared(mine, save(tmp_path / "b.seg.nrrd", heart()), "acdc")) == [1.0]


def test_a_segmentation_counts_slices_the_other_way_than_its_label_image(tmp_path):
    """Programs turn axes when they export: the place in space says which pixel is which."""
    turned = AFFINE.copy()
    turned[:3, 3] += AFFINE[:3, 2] * (SHAPE[0] - 1) + AFFINE[:3, 1] * (SHAPE[1] - 1)
    turned[:3, 1:3] *= -1
    mine = save(tmp_path / "mine.dcm", np.ascontiguousarray(heart()[:, ::-1, ::-1]), turned)
    assert dice_of(compared(mine, save(tmp_path / "truth.nii.gz", heart()))) == [1.0]


@pytest.mark.parametrize("ending", [".nrrd", ".seg.nrrd", ".dcm"])
def test_labels_that_lie_elsewhere_are_refused_in_every_format(tmp_path, ending):
    moved = AFFINE.copy()
    moved[:3, 3] += 0.4 * AFFINE[:3, 0]
    with pytest.raises(InputError, match="mm (apart|beside)"):
        compared(save(tmp_path / f"a{ending}", heart(), moved), save(tmp_path / "b.nii.gz", heart()))


@pytest.mark.parametrize("reference", [".nii.gz", ".seg.nrrd", ".dcm"])
def test_a_segmentation_that_holds_the_box_of_its_segments_alone_is_compared(tmp_path, reference):
    """3D Slicer crops what it saves to the segments; here to slices two and four, which alone are labelled."""
    labels = heart()
    labels[:, [2, 4]] = 0
    rows, columns = (np.flatnonzero(labels.any(axis=axes)) for axes in ((0, 1, 3), (0, 1, 2)))
    box = labels[:, 1:4, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    moved = AFFINE.copy()
    moved[:3, 3] = (AFFINE @ [columns[0], rows[0], 1, 1])[:3]
    mine = save(tmp_path / "mine.seg.nrrd", np.ascontiguousarray(box), moved)
    found = compared(mine, save(tmp_path / f"truth{reference}", labels))
    assert dice_of(found) == [1.0]
    volumes = {value.quantity: value.reference for value in found.values}
    assert volumes["lv_edv_ml"] == pytest.approx((labels == 1).sum() * 1.5 * 1.7 * 8.0 / 1000.0, rel=1e-4)


def test_a_dicom_segmentation_of_more_than_the_reference_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.dcm has labels outside"):
        compared(save(tmp_path / "a.dcm", heart()), save(tmp_path / "b.nii.gz", heart()[:, :3]))


def test_a_dicom_segmentation_of_several_moments_is_refused(tmp_path):
    path = save(tmp_path / "a.dcm", heart())
    dataset = pydicom.dcmread(path)
    groups = dataset.PerFrameFunctionalGroupsSequence
    groups[1] = groups[0]
    dataset.save_as(path)
    with pytest.raises(FileFormatError, match="several moments"):
        compared(path, path)


def test_a_study_is_compared_by_the_segmentations_that_lie_with_its_images(tmp_path):
    labels = np.concatenate([heart(), heart(0.7)])
    grid = ImageGrid(AFFINE, SHAPE, 8.0)
    cine = Cine(picture(labels), grid, labels=labels, times_ms=np.tile([0.0, 400.0], (SHAPE[0], 1)))
    write_dicom(cine, tmp_path / "study")
    found = compared(tmp_path / "study", save(tmp_path / "truth.nii.gz", labels))
    assert dice_of(found) == [1.0] and {row.frame for row in found.rows} == {"0", "1"}
    assert {row.case for row in found.rows} == {"study"}


def test_folders_of_several_formats_are_matched_by_name(tmp_path):
    for name, scale in (("p1_frame01", 0.8), ("p1_frame12", 0.6), ("p2_frame01", 0.7)):
        save(tmp_path / "truth" / f"{name}_gt.nii.gz", heart(scale))
    save(tmp_path / "mine" / "p1_frame01.nii.gz", heart())
    save(tmp_path / "mine" / "p1_frame12.seg.nrrd", heart(0.6))
    save(tmp_path / "mine" / "p2_frame01.dcm", heart(0.7))
    found = compared(tmp_path / "mine", tmp_path / "truth")
    assert len({row.case for row in found.rows}) == 3 and dice_of(found) == [1.0] and not found.unmatched
    assert "lv_ef_percent" in {value.quantity for value in found.values if value.case == "p1"}


def test_two_files_of_one_case_are_refused(tmp_path):
    save(tmp_path / "mine" / "p1.nii.gz", heart())
    save(tmp_path / "mine" / "p1.seg.nrrd", heart(0.7))
    with pytest.raises(InputError, match=r"two files of the case p1, p1\.seg\.nrrd and p1\.nii\.gz"):
        compared(tmp_path / "mine", tmp_path / "mine")


def test_the_command_evaluates_a_correction_that_slicer_saved(tmp_path, capsys):
    mine, truth = save(tmp_path / "mine.nii.gz", heart()), save(tmp_path / "corrected.seg.nrrd", heart(0.7))
    assert main(["evaluate", str(mine), str(truth), "--no-distances"]) == 0
    assert "lv_myocardium" in capsys.readouterr().out

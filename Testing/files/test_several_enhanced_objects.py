"""Several enhanced DICOM objects, one for each slice position, read as one cine and segmented as one."""

import shutil
import warnings
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from CMRSimExtension.errors import CMRSimWarning, FileFormatError, InputError
from CMRSimExtension.files.dicom_enhanced import write_enhanced
from CMRSimExtension.files.dicom_segmentation import write_dicom_seg
from CMRSimExtension.files.formats import read_image
from CMRSimExtension.files.third_party import GeometryWarning
from CMRSimExtension.scanner.geometry import ImageGrid


@pytest.fixture
def cine(small_cine):
    """The small cine in whole numbers, with labels alone: three oblique slices of six frames, from base to apex."""
    affine = np.array(small_cine.grid.affine_ras)
    affine[:3, 3] += 2 * affine[:3, 2]
    affine[:3, 2] *= -1
    return replace(
        small_cine, image=np.round(small_cine.image[:, ::-1]), labels=small_cine.labels[:, ::-1].copy(), anatomy=None,
        displacement_mm=None, fractions=None, times_ms=small_cine.times_ms[::-1].copy(),
        heartbeats_ms=small_cine.heartbeats_ms[::-1].copy(),
        grid=ImageGrid(affine, small_cine.grid.shape, small_cine.grid.slice_thickness_mm))


@pytest.fixture
def objects(cine, tmp_path):
    """Folder with each slice as an enhanced object of its own, the files named against their order in space."""
    source = {"study_uid": "1.2.3", "frame_of_reference_uid": "1.2.4", "series_descriptions": ["cine"]}
    for s in range(3):
        affine = np.array(cine.grid.affine_ras)
        affine[:3, 3] += s * affine[:3, 2]
        one = replace(cine, labels=None, image=cine.image[:, s:s + 1], times_ms=cine.times_ms[s:s + 1],
                      heartbeats_ms=cine.heartbeats_ms[s:s + 1], sidecar={"source": source},
                      grid=ImageGrid(affine, (1, *cine.grid.shape[1:]), cine.grid.slice_thickness_mm))
        write_enhanced(one, tmp_path / "study" / f"{'cab'[s]}.dcm")
    return tmp_path / "study"


def test_they_become_one_cine_with_the_values_and_times_of_each(objects, cine):
    read = read_image(objects)
    np.testing.assert_array_equal(read.image, cine.image)
    np.testing.assert_array_equal(read.times_ms, cine.times_ms)
    np.testing.assert_array_equal(read.heartbeats_ms, cine.heartbeats_ms)
    # Decimal strings have 16 characters.
    np.testing.assert_allclose(read.grid.affine_ras, cine.grid.affine_ras, atol=1e-11)


def test_six_objects_of_a_real_study_are_the_stack_of_its_six_series(cmrsim_data, tmp_path):
    for number in (11, 1, 2, 3, 4, 5):
        write_enhanced(read_image(cmrsim_data / "cine_dicom" / f"Se{number}"), tmp_path / "study" / f"{number}.dcm")
    read, classic = read_image(tmp_path / "study"), read_image(cmrsim_data / "cine_dicom", "cine_trufi_retro")
    np.testing.assert_array_equal(read.image, classic.image)
    np.testing.assert_array_equal(read.times_ms, classic.times_ms)
    np.testing.assert_allclose(read.grid.affine_ras, classic.grid.affine_ras, atol=1e-11)


def test_objects_of_one_series_are_read_too(objects, cine, change):
    for path in objects.glob("*.dcm"):
        change(path, SeriesInstanceUID="1.2.5", Manufacturer="a scanner's")
    np.testing.assert_array_equal(read_image(objects).heartbeats_ms, cine.heartbeats_ms)


def test_objects_without_their_scale_are_said_to_be(objects, cine):
    (objects / "a.dcm.json").unlink()
    with pytest.warns(CMRSimWarning, match="no .json beside a.dcm tells the scale"):
        read = read_image(objects)
    assert read.image.max() == 4095


def test_scanners_objects_have_one_scale_by_themselves(objects, change):
    for path in objects.glob("*.dcm"):
        change(path, Manufacturer="a scanner's")
        path.with_name(f"{path.name}.json").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(objects)


def _without_a_frame(path):
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:-1]
    dataset.NumberOfFrames = len(dataset.PerFrameFunctionalGroupsSequence)
    dataset.PixelData = dataset.PixelData[:-2 * dataset.Rows * dataset.Columns]
    dataset.save_as(path)


def test_an_object_with_fewer_frames_is_named(objects):
    _without_a_frame(objects / "a.dcm")
    with pytest.raises(FileFormatError, match=r"missing phases: slice 1 .*a\.dcm\) has 5 images where others have 6"):
        read_image(objects)


def test_the_same_object_twice_is_refused(objects):
    shutil.copy(objects / "a.dcm", objects / "copy.dcm")
    with pytest.raises(FileFormatError, match="duplicate instances: a.dcm and copy.dcm are the same image"):
        read_image(objects)


@pytest.mark.parametrize(("series", "message"), [(None, "duplicate instances: a.dcm and again.dcm are the same slice"),
                                                 ("1.2.9", "mixed series: series 2 and 9 both hold the slice at")])
def test_two_objects_of_one_slice_are_refused(objects, change, series, message):
    shutil.copy(objects / "a.dcm", objects / "again.dcm")
    other = {} if series is None else {"SeriesInstanceUID": series, "SeriesNumber": 9}
    change(objects / "again.dcm", SOPInstanceUID="1.2.3.4", **other)
    with pytest.raises(FileFormatError, match=message):
        read_image(objects)


@pytest.mark.parametrize("other", [{"FrameOfReferenceUID": "1.2.99"}, {"StudyInstanceUID": "1.2.99"},
                                   {"SeriesDescription": "late enhancement", "SeriesNumber": 9}])
def test_objects_that_do_not_belong_together_are_mixed_series(objects, change, other):
    change(objects / "a.dcm", **other)
    with pytest.raises(InputError, match="mixed series that do not form one stack"):
        read_image(objects)


def test_objects_of_two_pixel_spacings_are_refused(objects):
    dataset = pydicom.dcmread(objects / "a.dcm")
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = ["1.5", "1.5"]
    dataset.save_as(objects / "a.dcm")
    with pytest.raises(FileFormatError, match="two in-plane pixel spacings"):
        read_image(objects)


def test_of_uneven_distances_every_position_is_kept_and_the_user_told(objects, cine):
    dataset = pydicom.dcmread(objects / "b.dcm")
    normal = cine.grid.affine_ras[:3, 2] * [-1, -1, 1] / 9.6
    for group in dataset.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        moved = np.array(place.ImagePositionPatient, float) + 3.0 * normal
        place.ImagePositionPatient = [f"{v:.10g}" for v in moved]
    dataset.save_as(objects / "b.dcm")
    with pytest.warns(GeometryWarning, match="9.60, 12.60"):
        read = read_image(objects)
    np.testing.assert_allclose(np.linalg.norm(np.diff(read.slice_origins_mm, axis=0), axis=1), [9.6, 12.6], atol=1e-6)


@pytest.fixture
def segmented(objects, cine):
    """The folder with segmentations of all objects: the labels of the cine."""
    # As scanners may write it: where all frames are of one slice, its place is said once.
    dataset = pydicom.dcmread(objects / "a.dcm")
    groups = dataset.PerFrameFunctionalGroupsSequence
    dataset.SharedFunctionalGroupsSequence[0].PlanePositionSequence = groups[0].PlanePositionSequence
    for group in groups:
        del group.PlanePositionSequence
    dataset.save_as(objects / "a.dcm")
    write_dicom_seg(None, cine.labels, cine.grid, objects / "seg", objects)
    return objects


def test_labels_of_several_objects_come_back_with_them(segmented, cine):
    np.testing.assert_array_equal(read_image(segmented).labels, cine.labels)


def test_segmentations_of_several_objects_have_no_errors(segmented, dicom_errors):
    assert [e for path in (segmented / "seg").iterdir() for e in dicom_errors(path)] == []


def test_each_plane_refers_to_its_own_object_and_frame(segmented):
    images = {n: pydicom.dcmread(segmented / f"{n}.dcm", stop_before_pixels=True) for n in "abc"}
    segmentation = pydicom.dcmread(segmented / "seg" / "frame003.dcm")
    found = set()
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        name = next(n for n, image in images.items() if image.SOPInstanceUID == source.ReferencedSOPInstanceUID)
        groups = images[name].PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1]
        of_slice = groups.get("PlanePositionSequence") or (
            images[name].SharedFunctionalGroupsSequence[0].PlanePositionSequence)
        np.testing.assert_allclose(np.array(group.PlanePositionSequence[0].ImagePositionPatient, float),
                                   np.array(of_slice[0].ImagePositionPatient, float), atol=1e-9)
        found.add((name, int(source.ReferencedFrameNumber)))
    assert found == {("a", 3), ("b", 3), ("c", 3)}


def test_the_series_of_every_object_is_referred_to(segmented):
    segmentation = pydicom.dcmread(segmented / "seg" / "frame001.dcm")
    referred = {str(series.SeriesInstanceUID): [str(i.ReferencedSOPInstanceUID)
                                                for i in series.ReferencedInstanceSequence]
                for series in segmentation.ReferencedSeriesSequence}
    images = [pydicom.dcmread(segmented / f"{n}.dcm", stop_before_pixels=True) for n in "abc"]
    assert referred == {str(i.SeriesInstanceUID): [str(i.SOPInstanceUID)] for i in images}

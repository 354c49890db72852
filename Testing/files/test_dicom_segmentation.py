"""DICOM segmentations of enhanced images; those of classic ones are tested with the series they are written beside."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from CMRSimExtension.anatomy.structures import Structure
from CMRSimExtension.anatomy.terminology import structure_of_code
from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.dicom_enhanced import write_enhanced
from CMRSimExtension.files.dicom_segmentation import write_dicom_seg
from CMRSimExtension.files.display import LABEL_COLOURS
from CMRSimExtension.files.formats import read_content, read_image
from CMRSimExtension.files.label_planes import on_grid, planes_of


@pytest.fixture
def study(small_cine, tmp_path):
    """Folder with the small cine as one enhanced object and its labels as segmentations of that."""
    write_enhanced(small_cine, tmp_path / "study" / "image.dcm")
    write_dicom_seg(None, small_cine.labels, small_cine.grid, tmp_path / "study" / "seg",
                    tmp_path / "study" / "image.dcm")
    return tmp_path / "study"


def referred_frames(path: Path) -> list[int]:
    groups = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    return [int(g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber) for g in groups]


def test_labels_of_an_enhanced_image_come_back_with_it(study, small_cine):
    np.testing.assert_array_equal(read_image(study).labels, small_cine.labels)


def test_segmentations_of_an_enhanced_image_have_no_errors(study, dicom_errors):
    assert [e for path in (study / "seg").iterdir() for e in dicom_errors(path)] == []


def test_they_refer_to_the_frames_of_their_own_time(study, small_cine):
    frames, slices = small_cine.image.shape[:2]
    # The enhanced object runs through time first; its frames count from 1.
    expected = {s * frames + 3 for s in range(slices)}
    assert set(referred_frames(study / "seg" / "frame003.dcm")) == expected


def test_they_refer_to_the_object_itself(study):
    image, segmentation = pydicom.dcmread(study / "image.dcm"), pydicom.dcmread(study / "seg" / "frame001.dcm")
    (series,) = segmentation.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == image.SeriesInstanceUID
    assert [i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence] == [image.SOPInstanceUID]


def test_another_reader_finds_the_same_planes(study, small_cine):
    import highdicom

    image = pydicom.dcmread(study / "image.dcm")
    frames, slices = small_cine.image.shape[:2]
    planes = highdicom.seg.segread(study / "seg" / "frame002.dcm").get_pixels_by_source_frame(
        image.SOPInstanceUID, [s * frames + 2 for s in range(slices)], combine_segments=True
    )
    np.testing.assert_array_equal(planes, small_cine.labels[1])


def test_labels_of_one_frame_belong_to_the_first(small_cine, tmp_path):
    write_enhanced(small_cine, tmp_path / "image.dcm")
    write_dicom_seg(None, small_cine.labels[:1], small_cine.grid, tmp_path / "seg.dcm", tmp_path / "image.dcm")
    frames, slices = small_cine.image.shape[:2]
    assert set(referred_frames(tmp_path / "seg.dcm")) == {s * frames + 1 for s in range(slices)}


def test_one_without_its_images_is_labels_in_their_place(study, small_cine):
    content = read_content(study / "seg" / "frame002.dcm")
    assert content.cine is None and content.labels is not None
    planes = planes_of(content.labels[0], content.grid)
    np.testing.assert_array_equal(on_grid(planes, small_cine.grid, "labels"), small_cine.labels[1])


def changed(path, apply, name=None):
    """`path` with `apply` done to it, written there or under `name` as another object."""
    dataset = pydicom.dcmread(path)
    apply(dataset)
    if name is not None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.save_as(path if name is None else path.with_name(name))


def as_lesion(dataset):
    for segment in dataset.SegmentSequence:
        segment.SegmentLabel, segment.TrackingID = "Liver lesion", "somebody's"
        code = segment.SegmentedPropertyTypeCodeSequence[0]
        code.CodeValue, code.CodeMeaning = "52988006", "Lesion"


def of_another_study(dataset):
    as_lesion(dataset)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        for source in group.DerivationImageSequence[0].SourceImageSequence:
            source.ReferencedSOPInstanceUID = "1.2.3.4"


def without_references(dataset):
    as_lesion(dataset)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence


@pytest.mark.parametrize("apply", [of_another_study, without_references])
def test_segmentations_of_other_images_are_left_alone(study, small_cine, apply):
    changed(study / "seg" / "frame001.dcm", apply, "other.dcm")
    np.testing.assert_array_equal(read_image(study).labels, small_cine.labels)


def test_a_segment_that_no_plane_of_these_images_has_needs_no_number(study, small_cine):
    def add_one(dataset):
        import copy

        extra = copy.deepcopy(dataset.SegmentSequence[0])
        extra.SegmentNumber = len(dataset.SegmentSequence) + 1
        dataset.SegmentSequence.append(extra)
        as_lesion(dataset)
        for segment, label in zip(dataset.SegmentSequence, ("LV blood pool", "LV myocardium", "RV blood pool")):
            segment.SegmentLabel = label

    changed(study / "seg" / "frame001.dcm", add_one)
    np.testing.assert_array_equal(read_image(study).labels, small_cine.labels)


def test_a_segment_of_these_images_without_a_number_is_named(study):
    changed(study / "seg" / "frame001.dcm", as_lesion)
    with pytest.raises(FileFormatError, match=r"frame001.dcm has a segment 'Liver lesion' \(Lesion\)"):
        read_image(study)


def test_segments_of_any_name_are_known_by_their_code(study, small_cine):
    def rename(dataset):
        for number, segment in enumerate(dataset.SegmentSequence):
            segment.SegmentLabel, segment.TrackingID = f"Segment_{number}", "somebody's"

    for path in (study / "seg").iterdir():
        changed(path, rename)
    np.testing.assert_array_equal(read_image(study).labels, small_cine.labels)


def test_viewers_are_told_the_colours_of_every_picture(study):
    from highdicom.color import CIELabColor

    segments = pydicom.dcmread(study / "seg" / "frame001.dcm").SegmentSequence
    for segment, rgb in zip(segments, LABEL_COLOURS.values(), strict=True):
        told = CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb()
        np.testing.assert_allclose(told, rgb, atol=2)  # two libraries' constants, each rounded


def test_a_segment_named_once_for_all_planes_is_read(study, small_cine):
    """Writers may say what all planes share once, in the shared groups."""
    def share(dataset):
        kept = [g for g in dataset.PerFrameFunctionalGroupsSequence
                if g.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1]
        planes = np.stack([plane for g, plane in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array)
                           if g in kept])
        dataset.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence = kept[0].SegmentIdentificationSequence
        for group in kept:
            del group.SegmentIdentificationSequence
        dataset.PerFrameFunctionalGroupsSequence = pydicom.sequence.Sequence(kept)
        dataset.NumberOfFrames = len(kept)
        dataset.PixelData = pydicom.pixels.utils.pack_bits(planes)

    changed(study / "seg" / "frame001.dcm", share)
    np.testing.assert_array_equal(read_image(study).labels[0], np.where(small_cine.labels[0] == 1, 1, 0))


@pytest.mark.parametrize(("code", "structure"), [
    (("87878005", "SCT"), Structure.LV_BLOOD), (("49848007", "SCT"), Structure.LV_MYOCARDIUM),
    (("74281007", "SCT", "24028007"), Structure.RV_MYOCARDIUM),  # myocardium, right
    (("74281007", "SCT"), None),  # of which side?
    (("82471001", "SCT"), Structure.LA_BLOOD),  # its wall has the same code, and another name
    (("248300009", "SCT"), None),  # fat of several places
    (("87878005", "FMA"), None),
])
def test_a_code_means_a_structure_only_where_it_can_mean_no_other(code, structure):
    assert structure_of_code(*code) is structure

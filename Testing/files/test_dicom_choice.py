"""A DICOM study with more in it than one cine: what is passed over, what is refused, and how a series is named."""

import shutil
import warnings

import numpy as np
import pydicom
import pytest

from CMRSimExtension.errors import CMRSimWarning, FileFormatError, InputError
from CMRSimExtension.files.dicom_reading import read_dicom
from CMRSimExtension.files.dicom_segmentation import write_dicom_seg

PIXEL_ELEMENTS = ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
                  "SamplesPerPixel", "PhotometricInterpretation")
RGB = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "SeriesInstanceUID": "1.2.9",
       "SeriesNumber": 900, "SeriesDescription": "a map"}


@pytest.fixture
def beside(series):
    """A function that puts an object beside the cine: beside(name, class_uid, modality, pixels=False, **values)."""

    def make(name, class_uid, modality, pixels=False, **values):
        dataset = pydicom.dcmread(series / "slice01_frame001.dcm")
        for element in () if pixels else PIXEL_ELEMENTS:
            delattr(dataset, element)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = class_uid
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{sum(map(ord, name))}"
        dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesNumber = modality, "1.2.8", 800
        dataset.SeriesDescription = "something else"
        for key, value in values.items():
            setattr(dataset, key, value)
        dataset.save_as(series / name)
        return series / name

    return make


@pytest.fixture
def study(series, change):
    """The cine with each slice as a series of its own: numbers 11, 12, 13, UIDs 1.2.11 and so on."""
    for path in series.iterdir():
        number = 10 + int(path.name[5:7])
        change(path, SeriesNumber=number, SeriesInstanceUID=f"1.2.{number}")
    return series


def acquire_again(study, change, slices="02", uid="1.2.99", **values):
    """Copies of some slices as another series with images of its own."""
    for path in sorted(study.glob(f"slice{slices}*")):
        again = study / f"again_{uid}_{path.name}"
        shutil.copy(path, again)
        change(again, SOPInstanceUID=f"{pydicom.dcmread(again).SOPInstanceUID[:40]}.{uid[4:]}", SeriesInstanceUID=uid,
               **values)


def said(folder, series=None):
    """The cine, and everything that was said about what it was read from."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cine = read_dicom(folder, series)
    return cine, " ".join(str(w.message) for w in caught if issubclass(w.category, CMRSimWarning))


@pytest.mark.parametrize(("class_uid", "modality", "named"), [
    ("1.2.840.10008.5.1.4.1.1.11.1", "PR", "PR (Grayscale Softcopy Presentation State, 1 file)"),
    ("1.2.840.10008.5.1.4.1.1.88.22", "SR", "SR (Enhanced SR, 1 file)"),
    ("1.2.840.10008.5.1.4.1.1.88.59", "KO", "KO (Key Object Selection Document, 1 file)"),
    ("1.2.840.10008.5.1.4.1.1.104.1", "DOC", "DOC (Encapsulated PDF, 1 file)"),
    ("1.2.840.10008.5.1.4.1.1.4.2", "MR", "MR (MR Spectroscopy, 1 file)"),
])
def test_objects_that_are_no_images_are_passed_over_and_named(series, beside, class_uid, modality, named):
    before = read_dicom(series).image
    beside("x", class_uid, modality)
    cine, words = said(series)
    np.testing.assert_array_equal(cine.image, before)
    assert "passed over" in words and named in words


@pytest.mark.parametrize("modality", ["MR", "OT", "CT"])
def test_screenshots_and_images_of_other_modalities_are_passed_over(series, beside, modality):
    beside("x", "1.2.840.10008.5.1.4.1.1.7", modality, pixels=True, **RGB)
    cine, words = said(series)
    assert cine.image.shape == (6, 3, 40, 48) and f"{modality} (Secondary Capture Image, 1 file)" in words


def test_many_objects_of_a_kind_are_counted(series, beside):
    for name in "abc":
        beside(name, "1.2.840.10008.5.1.4.1.1.11.1", "PR")
    assert "PR (Grayscale Softcopy Presentation State, 3 files)" in said(series)[1]


def test_a_screenshot_alone_is_refused_with_its_reason(series, beside, tmp_path):
    (tmp_path / "alone").mkdir()
    shutil.move(beside("x", "1.2.840.10008.5.1.4.1.1.7", "MR", pixels=True, **RGB), tmp_path / "alone")
    with pytest.raises(FileFormatError, match="x is RGB with 3 samples"):
        read_dicom(tmp_path / "alone")


def test_a_report_alone_is_refused_by_its_name(series, beside, tmp_path):
    (tmp_path / "alone").mkdir()
    shutil.move(beside("x", "1.2.840.10008.5.1.4.1.1.88.22", "SR"), tmp_path / "alone")
    with pytest.raises(InputError, match=r"no DICOM MR image; there is SR \(Enhanced SR, 1 file\)"):
        read_dicom(tmp_path / "alone")


def test_a_damaged_report_is_passed_over_too(series, beside):
    path = beside("x", "1.2.840.10008.5.1.4.1.1.88.22", "SR")
    path.write_bytes(path.read_bytes()[:500])
    assert "(Enhanced SR, 1 file)" in said(series)[1]


def test_a_colour_map_of_another_series_is_passed_over_and_named(series, beside):
    beside("x", "1.2.840.10008.5.1.4.1.1.4", "MR", pixels=True, **RGB)
    assert "1 file of series 900 (a map) (x is RGB with 3 samples" in said(series)[1]


def test_an_image_without_a_place_is_refused_in_a_series_of_the_same_description(study, change):
    # It may be a slice of the same stack.
    for path in study.glob("slice03*"):
        change(path, ImagePositionPatient=None)
    with pytest.raises(FileFormatError, match=r"slice03_frame001.dcm: ImagePositionPatient is missing"):
        read_dicom(study)
    with pytest.raises(FileFormatError, match="ImagePositionPatient is missing"):
        read_dicom(study, "Simulated cine")


def test_it_is_passed_over_where_other_series_are_named_one_by_one(study, change):
    for path in study.glob("slice03*"):
        change(path, ImagePositionPatient=None)
    cine, words = said(study, "11,12")
    assert cine.image.shape[1] == 2 and "6 files of series 13" in words


def test_a_series_of_damaged_images_alone_is_refused_by_what_is_wrong(study, change):
    for path in study.glob("slice03*"):
        change(path, ImagePositionPatient=None)
    with pytest.raises(FileFormatError, match="ImagePositionPatient is missing"):
        read_dicom(study, "13")


def test_an_image_of_the_series_that_calls_itself_another_modality_is_refused(series, change):
    change(series / "slice02_frame003.dcm", Modality="CT")
    with pytest.raises(FileFormatError, match="slice02_frame003.dcm is of the series that is read.*CT"):
        read_dicom(series)


@pytest.fixture
def cut(series):
    """A function that puts a copy of an image beside the cine, cut off before the header says its series."""

    def make(name="cut.dcm"):
        (series / name).write_bytes((series / "slice01_frame001.dcm").read_bytes()[:450])
        return series / name

    return make


def test_a_damaged_file_of_an_unknown_series_is_refused_with_its_cures(series, cut):
    cut()
    with pytest.raises(FileFormatError, match="cut.dcm .*copy or export it again; its series cannot be told.*--series"):
        read_dicom(series)


@pytest.mark.parametrize("name", ["1", "Simulated cine", "stack 1"])
def test_it_is_passed_over_where_the_series_that_is_named_is_complete(series, cut, name):
    cut()
    cine, words = said(series, name)
    assert cine.image.shape == (6, 3, 40, 48) and "1 file of an unknown series (cut.dcm" in words


def test_it_is_refused_where_a_phase_is_missing(series, cut):
    cut()
    (series / "slice02_frame004.dcm").unlink()
    with pytest.raises(FileFormatError, match="cut.dcm .*of which it is said: missing phases"):
        read_dicom(series, "1")


def test_it_is_refused_where_nothing_tells_how_many_phases_there_were(study, cut, change):
    # One slice, without the number of images that the scanner made: any may be missing.
    cut()
    for path in study.glob("slice0*"):
        change(path, CardiacNumberOfImages=None, NumberOfTemporalPositions=None)
    with pytest.raises(FileFormatError, match="whose number of images nothing tells"):
        read_dicom(study, "11")
    assert said(study, "11,12,13")[0].image.shape[1] == 3


def test_so_many_damaged_files_that_a_slice_may_be_missing_are_refused(series, cut):
    for number in range(6):
        cut(f"cut{number}.dcm")
    with pytest.raises(FileFormatError, match="whose number of images nothing tells"):
        read_dicom(series, "1")


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\0" * 5000])
def test_a_file_that_is_named_as_dicom_and_is_none_is_not_overlooked(series, content):
    (series / "slice03_frame006.dcm").write_bytes(content)
    with pytest.raises(FileFormatError, match="slice03_frame006.dcm is named as a DICOM file"):
        read_dicom(series)


def test_what_macos_writes_beside_files_is_overlooked(series):
    (series / "._slice03_frame006.dcm").write_bytes(b"\0" * 100)
    assert said(series)[1] == ""


def test_a_directory_of_a_disc_is_no_image(series):
    dataset = pydicom.dcmread(series / "slice01_frame001.dcm")
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    del dataset.SOPClassUID
    dataset.save_as(series / "DICOMDIR", enforce_file_format=False)
    assert said(series)[1] == ""


def test_what_the_file_meta_information_says_is_enough(series):
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.SOPClassUID
        dataset.SOPInstanceUID = ""
        dataset.save_as(path, enforce_file_format=False)
    assert read_dicom(series).image.shape == (6, 3, 40, 48)


@pytest.mark.parametrize(("name", "meta", "words"), [
    ("SOPClassUID", "MediaStorageSOPClassUID", "does not say what kind of object"),
    ("SOPInstanceUID", "MediaStorageSOPInstanceUID", "no SOP Instance UID"),
])
def test_an_image_that_lacks_a_uid_everywhere_is_refused_by_name(series, name, meta, words):
    path = series / "slice02_frame003.dcm"
    dataset = pydicom.dcmread(path)
    delattr(dataset, name)
    delattr(dataset.file_meta, meta)
    dataset.save_as(path, enforce_file_format=False)
    with pytest.raises(FileFormatError, match=f"slice02_frame003.dcm.*{words}"):
        read_dicom(series)


def test_one_file_of_a_cine_is_said_to_be_one(series):
    with pytest.raises(FileFormatError, match="slice02_frame003.dcm is one image of series 1 .*made 6; give"):
        read_dicom(series / "slice02_frame003.dcm")


@pytest.mark.parametrize(("name", "slices"), [
    ("12", [1]), ("1.2.13", [2]), ("11,12", [0, 1]), ("13, 11, 12", [0, 1, 2]), ("1.2.11,13", [0, 2]),
    ("Simulated cine", [0, 1, 2]), ("simulated cine 7", [0, 1, 2]), ("stack 1", [0, 1, 2]), ("Stack1", [0, 1, 2]),
])
def test_series_are_named_by_number_uid_description_or_stack(study, name, slices):
    everything = read_dicom(study)
    np.testing.assert_array_equal(said(study, name)[0].image, everything.image[:, slices])


def test_a_number_of_one_series_of_a_stack_says_what_the_others_are(study):
    assert "without series 11, 13" in said(study, "12")[1] and "--series 11,12,13" in said(study, "12")[1]
    assert said(study, "11,12,13")[1] == ""


@pytest.mark.parametrize("name", ["4", "11,4", "no such", "stack 2", "stack 0", "", "5"])
def test_a_name_of_nothing_is_refused_with_what_there_is(study, change, name):
    with pytest.raises(InputError, match=r"has no series .*stack 1: Simulated cine \(series 11, 12, 13,.* 18 images"):
        read_dicom(study, name)


def test_what_is_missing_of_a_list_is_named(study):
    with pytest.raises(InputError, match="has no series 4, 5 "):
        read_dicom(study, "11,4,5")


def test_a_slice_acquired_again_is_chosen_by_its_number(study, change):
    acquire_again(study, change, SeriesNumber=19)
    with pytest.raises(FileFormatError, match=r"mixed series: series 12 and 19 both.*--series \(12 or 19\)"):
        read_dicom(study)
    assert read_dicom(study, "11,19,13").image.shape == (6, 3, 40, 48)


def test_a_slice_acquired_again_under_the_same_number_is_chosen_by_its_uid(study, change):
    acquire_again(study, change)
    with pytest.raises(FileFormatError, match=r"series 12 and 12 both hold.*\(1.2.12 or 1.2.99\)"):
        read_dicom(study, "11,12,13")
    cine = read_dicom(study, "11,1.2.99,13")
    assert "1.2.99" in cine.sidecar["source"]["series_uids"] and cine.image.shape[1] == 3


def test_a_slice_acquired_again_at_other_times_is_not_taken_for_more_frames(study, change):
    acquire_again(study, change, SeriesNumber=19)
    for path in study.glob("again*"):
        change(path, TriggerTime=f"{float(pydicom.dcmread(path).TriggerTime) + 3:g}")
    for path in [*study.glob("slice01*"), *study.glob("slice03*")]:
        path.unlink()
    with pytest.raises(FileFormatError, match="mixed series: series 12 and 19 both hold"):
        read_dicom(study)


def test_phases_that_are_a_series_each_are_one_slice(series, change):
    for path in series.iterdir():
        frame = int(path.stem[-3:])
        change(path, SeriesNumber=frame, SeriesInstanceUID=f"1.2.{frame}")
    assert read_dicom(series).image.shape == (6, 3, 40, 48)


def test_series_called_otherwise_become_one_stack_when_they_are_named(study, change):
    for path in study.glob("slice03*"):
        change(path, SeriesDescription="apex, repeated")
    with pytest.raises(InputError, match="mixed series"):
        read_dicom(study)
    assert said(study, "11,12,13")[0].image.shape[1] == 3


def test_series_of_two_directions_are_not_joined_even_when_they_are_named(study, change):
    for path in study.glob("slice03*"):
        turned = pydicom.dcmread(path).ImageOrientationPatient
        change(path, ImageOrientationPatient=[*turned[3:], *turned[:3]])
    with pytest.raises(InputError, match=r"the series 11,13 of .* do not form one stack: stack 1: .*; stack 2: "):
        read_dicom(study, "11,13")


PHASE_IMAGES = [
    ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "RETRO"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "M", "RETRO"]}),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "PCA"]},
     {"ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]}),
    ({"ComplexImageComponent": "PHASE"}, {"ComplexImageComponent": "MAGNITUDE"}),
]


@pytest.mark.parametrize(("phase", "magnitude"), PHASE_IMAGES)
def test_phase_images_of_a_series_are_a_stack_of_their_own(series, change, phase, magnitude):
    for path in series.iterdir():
        change(path, **magnitude)
    before = read_dicom(series).image
    uid = pydicom.dcmread(series / "slice01_frame001.dcm").SeriesInstanceUID
    acquire_again(series, change, "0", uid="1.2.77", **phase)
    for path in series.glob("again*"):
        dataset = pydicom.dcmread(path)
        change(path, SeriesInstanceUID=uid, PixelData=(4095 - dataset.pixel_array).astype(np.uint16).tobytes())
    with pytest.raises(InputError, match="mixed series.*stack 1.*stack 2: .*phase"):
        read_dicom(series)
    with pytest.raises(InputError, match="the series 1 of .*stack 1.*stack 2"):
        read_dicom(series, "1")
    np.testing.assert_array_equal(read_dicom(series, "stack 1").image, before)
    np.testing.assert_array_equal(read_dicom(series, "stack 2").image, 4095 - before)


def test_two_descriptions_of_one_name_are_listed_by_their_stacks(study, change):
    for path in study.glob("slice03*"):
        turned = pydicom.dcmread(path).ImageOrientationPatient
        change(path, ImageOrientationPatient=[*turned[3:], *turned[:3]])
    with pytest.raises(InputError, match="mixed series of the description 'Simulated cine'.*stack 1: .*; stack 2: "):
        read_dicom(study, "Simulated cine")
    assert read_dicom(study, "stack 2").image.shape[1] == 1


def test_a_localizer_is_passed_over_and_named(study, change):
    for path in study.glob("slice03*"):
        turned = pydicom.dcmread(path).ImageOrientationPatient
        change(path, ImageOrientationPatient=[*turned[3:], *turned[:3]], SeriesDescription="survey",
               ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    cine, words = said(study)
    assert cine.image.shape[1] == 2 and "a localizer was passed over: survey" in words


def test_the_same_image_twice_in_another_series_does_not_matter(study):
    shutil.copy(study / "slice03_frame001.dcm", study / "copy.dcm")
    assert read_dicom(study, "11,12").image.shape[1] == 2


def test_segmentations_of_other_images_are_counted(series, small_cine, tmp_path):
    cine = read_dicom(series)
    write_dicom_seg(None, np.asarray(small_cine.labels), cine.grid, tmp_path / "seg", series)
    for path in (tmp_path / "seg").iterdir():
        dataset = pydicom.dcmread(path)
        for group in dataset.PerFrameFunctionalGroupsSequence:
            for source in group.DerivationImageSequence[0].SourceImageSequence:
                source.ReferencedSOPInstanceUID = "1.2.3.4"
        dataset.save_as(series / path.name)
    read, words = said(series)
    assert read.labels is None and "6 DICOM segmentations do not refer to these images" in words


def test_a_damaged_segmentation_is_named_and_costs_the_image_nothing(series, small_cine, tmp_path):
    write_dicom_seg(None, np.asarray(small_cine.labels), read_dicom(series).grid, tmp_path / "seg", series)
    whole = (tmp_path / "seg" / "frame001.dcm").read_bytes()
    (series / "seg.dcm").write_bytes(whole[:900])
    read, words = said(series)
    assert read.labels is None and "seg.dcm" in words

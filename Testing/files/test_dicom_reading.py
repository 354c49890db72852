"""DICOM cine studies: sorted by place and time, put together, and refused where they do not fit together."""

import shutil
import warnings
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from CMRSimExtension.errors import CMRSimError, CMRSimWarning, FileFormatError, InputError, MissingDependencyError
from CMRSimExtension.files.dicom_enhanced import write_enhanced
from CMRSimExtension.files.dicom_reading import read_dicom
from CMRSimExtension.files.dicom_stacks import build_stack, find_stacks
from CMRSimExtension.files.third_party import GeometryWarning


@pytest.fixture(scope="module")
def real(cmrsim_data):
    return read_dicom(cmrsim_data / "cine_dicom", "cine_trufi_retro")


def test_six_series_of_a_real_study_become_one_cine(real):
    assert real.image.shape == (25, 6, 208, 256)


def test_slices_of_the_real_study_are_as_far_apart_as_their_positions_not_their_thickness(real):
    # The README of the data gives 17.7 mm; the images are 6 mm thick.
    assert real.grid.spacing_mm[2] == pytest.approx(17.7, abs=0.05)
    assert real.grid.slice_thickness_mm == 6.0


def test_slices_of_the_real_study_run_from_base_to_apex(real):
    # Se11 is the most basal of them (README of the data); its heartbeat lasts 863 ms, that of the next, Se1, 860.
    assert real.heartbeats_ms.tolist() == [863, 860, 829, 776, 814, 831]


def test_each_slice_of_the_real_study_keeps_its_own_times(real):
    # 25 retrospective frames divide the heartbeat evenly.
    expected = real.heartbeats_ms[:, None] / 25 * np.arange(25)
    np.testing.assert_allclose(real.times_ms, expected, atol=1e-3)


def test_every_pixel_of_the_real_study_lies_where_its_own_header_says(real, cmrsim_data):
    points = real.grid.points_mm()
    for s, folder in enumerate(("Se11", "Se1", "Se2", "Se3", "Se4", "Se5")):
        dataset = pydicom.dcmread(next(iter(sorted((cmrsim_data / "cine_dicom" / folder).iterdir()))))
        along_row, along_column = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        position = np.array(dataset.ImagePositionPatient, float)
        lps = position + 1.40625 * (100 * along_row + 30 * along_column)
        # Positions are given to six digits.
        np.testing.assert_allclose(points[s, 30, 100], lps * [-1, -1, 1], atol=2e-3)


def test_a_study_of_two_stacks_asks_which(cmrsim_data):
    with pytest.raises(InputError, match="mixed series.*4CH.*--series"):
        read_dicom(cmrsim_data / "cine_dicom")


def test_a_stack_is_named_by_its_series_number(cmrsim_data):
    assert read_dicom(cmrsim_data / "cine_dicom", "16001").image.shape == (25, 1, 256, 208)


def test_file_names_and_instance_numbers_do_not_matter(series, small_cine, change):
    for number, path in enumerate(sorted(series.iterdir(), key=lambda p: hash(p.name))):
        change(path, InstanceNumber=number, TemporalPositionIdentifier=None)
        path.rename(series / f"IM{number * 7 % 18:05d}")
    cine = read_dicom(series)
    np.testing.assert_array_equal(np.argsort(cine.times_ms, axis=1), np.tile(np.arange(6), (3, 1)))


def test_without_trigger_times_the_temporal_position_orders_the_frames(series, small_cine, change):
    for path in series.iterdir():
        change(path, TriggerTime=None)
    cine = read_dicom(series)
    assert cine.times_ms is None
    scale = 4095 / small_cine.image.max()
    np.testing.assert_allclose(cine.image, small_cine.image * scale, atol=0.51)  # half a stored value


def test_times_that_one_image_lacks_are_left_out_with_a_note(series, change):
    before = read_dicom(series)
    change(series / "slice02_frame003.dcm", TriggerTime=None)
    with pytest.warns(CMRSimWarning, match=r"1 of 18 images \(of series 1\) have no trigger time, so the times of all"):
        cine = read_dicom(series)
    assert cine.times_ms is None and "1 of 18 images" in cine.sidecar["notes"][0]
    np.testing.assert_array_equal(cine.image, before.image)


def test_an_image_whose_place_in_time_is_contradicted_is_refused(series, change):
    for number, path in enumerate(sorted(series.glob("slice02*"), reverse=True)):
        change(path, InstanceNumber=number, TemporalPositionIdentifier=None)
    change(series / "slice02_frame003.dcm", TriggerTime=None)
    with pytest.raises(FileFormatError, match="slice02_frame003.dcm has no trigger time, and the instance numbers"):
        read_dicom(series)


def test_one_trigger_time_for_all_frames_is_no_time(series, change):
    before = read_dicom(series).image
    for path in series.iterdir():
        change(path, TriggerTime="0")
    with pytest.warns(CMRSimWarning, match="all images of slice 0, 1, 2 have the same trigger time"):
        cine = read_dicom(series)
    assert cine.times_ms is None
    np.testing.assert_array_equal(cine.image, before)


def test_a_single_frame_keeps_its_time(series, small_cine, change):
    for path in series.iterdir():
        if path.stem.endswith("004"):
            change(path, CardiacNumberOfImages=1, NumberOfTemporalPositions=1)
        else:
            path.unlink()
    cine = read_dicom(series)
    np.testing.assert_allclose(cine.times_ms, small_cine.times_ms[:, 3:4])


def test_a_heartbeat_that_one_slice_lacks_is_noted(series, change):
    for path in series.glob("slice02*"):
        change(path, NominalInterval=None)
    with pytest.warns(CMRSimWarning, match=r"1 of 3 slices .* have no nominal interval"):
        assert read_dicom(series).heartbeats_ms is None


def test_a_heartbeat_that_the_first_frame_lacks_is_that_of_the_others(series, small_cine, change):
    change(series / "slice02_frame001.dcm", NominalInterval=None)
    assert read_dicom(series).heartbeats_ms[1] == small_cine.heartbeats_ms[1]


def test_missing_spacing_between_slices_changes_nothing(series, small_cine, change):
    for path in series.iterdir():
        change(path, SpacingBetweenSlices=None)
    np.testing.assert_allclose(read_dicom(series).grid.affine_ras, small_cine.grid.affine_ras, atol=1e-9)


def test_uneven_slices_keep_their_own_positions(series, small_cine, change):
    for path in series.glob("slice03*"):
        position = np.array(pydicom.dcmread(path).ImagePositionPatient, float)
        normal = small_cine.grid.affine_ras[:3, 2] * [-1, -1, 1] / 9.6
        change(path, ImagePositionPatient=[f"{v:.10g}" for v in position + 3.0 * normal], SpacingBetweenSlices=None)
    with pytest.warns(GeometryWarning, match="9.60, 12.60"):
        cine = read_dicom(series)
    gaps = np.linalg.norm(np.diff(cine.slice_origins_mm, axis=0), axis=1)
    np.testing.assert_allclose(gaps, [9.6, 12.6], atol=1e-6)


def test_files_that_are_not_dicom_are_passed_over(series):
    (series / "notes.txt").write_text("hello")
    (series / ".DS_Store").write_bytes(b"\0" * 500)
    assert read_dicom(series).image.shape == (6, 3, 40, 48)


def test_a_rescaling_is_applied(series, change):
    before = read_dicom(series).image
    for path in series.iterdir():
        change(path, RescaleSlope="0.5", RescaleIntercept="-7")
    np.testing.assert_allclose(read_dicom(series).image, before * 0.5 - 7)


def test_a_folder_without_dicom_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match="holds no DICOM MR image"):
        read_dicom(tmp_path)


def test_a_missing_phase_is_told_with_its_slice(series):
    (series / "slice02_frame004.dcm").unlink()
    with pytest.raises(FileFormatError, match="missing phases: slice 1 .* has 5 images where others have 6"):
        read_dicom(series)


def test_a_phase_missing_from_every_slice_is_told_too(series):
    for path in series.glob("*frame004*"):
        path.unlink()
    with pytest.raises(FileFormatError, match="missing phases: 5 images of each slice are here, the scanner made 6"):
        read_dicom(series)


def test_a_copy_under_the_same_name_is_told_with_its_folder(series):
    (series / "again").mkdir()
    shutil.copy(series / "slice01_frame001.dcm", series / "again")
    message = f"duplicate instances: {series.name}/slice01_frame001.dcm and again/slice01_frame001.dcm are the same"
    with pytest.raises(FileFormatError, match=message):
        read_dicom(series)


def test_the_same_instance_twice_is_refused(series):
    shutil.copy(series / "slice01_frame001.dcm", series / "copy.dcm")
    with pytest.raises(FileFormatError, match="duplicate instances: copy.dcm and slice01_frame001.dcm"):
        read_dicom(series)


def test_two_images_of_one_slice_and_time_are_refused(series, change):
    shutil.copy(series / "slice01_frame001.dcm", series / "phase.dcm")
    change(series / "phase.dcm", SOPInstanceUID="1.2.3.4")
    with pytest.raises(FileFormatError, match="duplicate instances: .*same slice at the same trigger time"):
        read_dicom(series)


def test_two_acquisitions_of_one_slice_are_mixed_series(series, change):
    for path in sorted(series.glob("slice01*")):
        shutil.copy(path, series / f"again_{path.name}")
        again = series / f"again_{path.name}"
        uid = pydicom.dcmread(again).SOPInstanceUID + "1"
        change(again, SOPInstanceUID=uid[:64], SeriesInstanceUID="1.2.3", SeriesNumber=9)
    with pytest.raises(FileFormatError, match="mixed series: series 1 and 9 both hold the slice"):
        read_dicom(series)


def test_series_of_other_kinds_are_not_joined(series, change):
    for path in series.glob("slice03*"):
        change(path, SeriesInstanceUID="1.2.3", SeriesNumber=9, SeriesDescription="late enhancement")
    with pytest.raises(InputError, match="mixed series"):
        read_dicom(series)


def test_two_pixel_spacings_in_one_stack_are_refused(series, change):
    for path in series.glob("slice03*"):
        change(path, PixelSpacing=["1.5", "1.5"])
    with pytest.raises(FileFormatError, match="two in-plane pixel spacings"):
        read_dicom(series)


def test_two_matrices_in_one_stack_are_refused(series):
    for path in series.glob("slice03*"):
        dataset = pydicom.dcmread(path)
        dataset.Rows, dataset.PixelData = 39, dataset.PixelData[:39 * 48 * 2]
        dataset.save_as(path)
    with pytest.raises(FileFormatError, match="two numbers of rows"):
        read_dicom(series)


def test_another_modality_is_named(series, change):
    for path in series.iterdir():
        change(path, Modality="CT")
    with pytest.raises(InputError, match="no DICOM MR image; there is CT"):
        read_dicom(series)


def test_a_colour_image_is_refused(series, change):
    change(series / "slice01_frame001.dcm", SamplesPerPixel=3, PhotometricInterpretation="RGB")
    with pytest.raises(FileFormatError, match="RGB with 3 samples"):
        read_dicom(series)


def test_an_image_without_a_place_is_refused(series, change):
    change(series / "slice01_frame001.dcm", ImagePositionPatient=None)
    with pytest.raises(FileFormatError, match="ImagePositionPatient is missing"):
        read_dicom(series)


def test_crooked_direction_cosines_are_refused(series, change):
    change(series / "slice01_frame001.dcm", ImageOrientationPatient=["1", "0", "0", "0.5", "0.5", "0"])
    with pytest.raises(FileFormatError, match="not perpendicular unit vectors"):
        read_dicom(series)


def test_a_truncated_file_is_named(series):
    path = series / "slice02_frame003.dcm"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(FileFormatError, match="slice02_frame003.dcm.*damaged, incomplete"):
        read_dicom(series)


def test_a_file_truncated_within_its_header_is_named(series):
    path = series / "slice02_frame003.dcm"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(CMRSimError, match="slice02_frame003.dcm"):
        read_dicom(series)


def test_a_compression_without_a_decoder_is_named_with_its_cure(series):
    path = series / "slice01_frame001.dcm"
    dataset = pydicom.dcmread(path)
    # MPEG-4: no image decoder of pydicom reads it, whatever is installed.
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(MissingDependencyError, match="MPEG-4.*no installed decoder.*decompress it first"):
        read_dicom(series)


def test_a_lossless_compressed_series_is_read(series):
    before = read_dicom(series).image
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(pydicom.uid.RLELossless)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_dicom(series).image, before)


def test_a_stack_is_described_in_one_line(series):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        title = build_stack(find_stacks(series)[0]).title()
    assert title == "Simulated cine (series 1): 3 slices of 6 frames, 48 x 40"


SCAN = {"SequenceVariant": ["SK", "SS"], "ScanOptions": ["CG", "FS"], "ImagingFrequency": "123.256",
        "PixelBandwidth": "977"}


@pytest.mark.parametrize(("header", "transfer", "nulling"), [
    ({}, "NONE", "NO"),
    ({"SequenceVariant": ["SK", "MTC"]}, None, "NO"),  # which kind of transfer is not told
    ({"ScanningSequence": ["GR", "IR"]}, "NONE", None),
    ({"ScanOptions": "SP"}, "NONE", None),
])
def test_the_record_keeps_what_the_scanner_told_of_its_scan(series, change, header, transfer, nulling):
    for path in series.iterdir():
        change(path, **SCAN | header)
    source = read_dicom(series).sidecar["source"]
    assert (source["imaging_frequency_mhz"], source["pixel_bandwidth_hz"]) == (123.256, 977.0)
    assert (source.get("magnetization_transfer"), source.get("blood_signal_nulling")) == (transfer, nulling)


def test_an_enhanced_object_tells_of_its_scan_what_its_groups_say(small_cine, tmp_path):
    protocol = {"field_t": 3.0, "repetition_time_ms": 3.1, "echo_time_ms": 1.5, "flip_angle_deg": 50}
    write_enhanced(replace(small_cine, sidecar={"seed": 3, "protocol": protocol}), tmp_path / "x.dcm")
    (tmp_path / "x.dcm.json").unlink()
    source = read_dicom(tmp_path / "x.dcm").sidecar["source"]
    told = {name: source[name] for name in protocol}
    assert told == protocol
    assert source["imaging_frequency_mhz"] == pytest.approx(127.732, abs=1e-3)  # 42.577 MHz/T times 3 T
    assert (source["magnetization_transfer"], source["blood_signal_nulling"]) == ("NONE", "NO")

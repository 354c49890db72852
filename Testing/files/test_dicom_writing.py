"""DICOM written here: valid, marked as synthetic, and readable by others."""

import re
from dataclasses import replace

import numpy as np
import pydicom
import pytest

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.dicom_enhanced import write_enhanced
from CMRSimExtension.files.dicom_identity import ds_text, stored
from CMRSimExtension.files.dicom_reading import read_dicom
from CMRSimExtension.files.dicom_writing import write_dicom
from CMRSimExtension.scanner.protocol import Protocol

SYNTHETIC = (0x0008, 0x001C)


@pytest.fixture
def written(small_cine, tmp_path):
    write_dicom(small_cine, tmp_path / "out")
    return tmp_path / "out"


def _first(folder):
    return pydicom.dcmread(folder / "slice01_frame001.dcm")


def test_classic_images_have_no_errors(written, dicom_errors):
    assert [e for path in written.glob("*.dcm") for e in dicom_errors(path)] == []


def test_segmentations_have_no_errors(written, dicom_errors):
    files = list((written / "segmentation").iterdir())
    assert len(files) == 6
    assert [e for path in files for e in dicom_errors(path)] == []


def test_the_enhanced_object_has_no_errors(small_cine, tmp_path, dicom_errors):
    write_enhanced(small_cine, tmp_path / "x.dcm")
    assert dicom_errors(tmp_path / "x.dcm") == []


def test_images_that_were_not_simulated_have_no_errors_in_either_form(small_cine, tmp_path, dicom_errors):
    real = replace(small_cine, sidecar={"source": {"study_uid": "1.2.3", "series_uids": ["1.2.3.4"],
                                                   "frame_of_reference_uid": "1.2.3.5", "sar_w_per_kg": 1.6}})
    write_enhanced(real, tmp_path / "x.dcm")
    write_dicom(real, tmp_path / "out")
    files = [tmp_path / "x.dcm", *(tmp_path / "out").rglob("*.dcm")]
    assert [e for path in files for e in dicom_errors(path)] == []


def test_simulated_images_say_that_they_are_synthetic(written, small_cine, tmp_path):
    write_enhanced(small_cine, tmp_path / "x.dcm")
    for path in (*written.rglob("*.dcm"), tmp_path / "x.dcm"):
        assert pydicom.dcmread(path)[SYNTHETIC].value == "YES", path.name


def test_images_of_patients_are_not_called_synthetic(small_cine, tmp_path):
    write_dicom(replace(small_cine, sidecar={"source": {"study_uid": "1.2.3"}}), tmp_path / "out")
    assert SYNTHETIC not in _first(tmp_path / "out")


def test_no_patient_can_have_the_identifier(written):
    dataset = _first(written)
    assert dataset.PatientID.startswith("CMRSIM-SIM-")
    assert dataset.PatientBirthDate == ""


def test_the_largest_stored_value_is_4095_with_a_rescaling_of_one(written):
    datasets = [pydicom.dcmread(path) for path in written.glob("*.dcm")]
    assert max(d.pixel_array.max() for d in datasets) == 4095
    assert {(d.RescaleSlope, d.RescaleIntercept, d.PixelRepresentation, d.BitsAllocated) for d in datasets} == {
        (1, 0, 0, 16)}


def test_each_slice_has_its_own_trigger_times_and_heartbeat(written, small_cine):
    for s in range(3):
        for f in range(6):
            dataset = pydicom.dcmread(written / f"slice{s + 1:02d}_frame{f + 1:03d}.dcm")
            assert float(dataset.TriggerTime) == pytest.approx(small_cine.times_ms[s, f], abs=1e-9)
            assert dataset.NominalInterval == small_cine.heartbeats_ms[s]


def test_slicers_importer_finds_every_frame_with_one_image_of_each_slice(written):
    # MultiVolumeImporterPlugin groups a series by Temporal Position Identifier, wants groups of one size, and the
    # same first position in each; grouped by Trigger Time the positions would differ, and it looks further.
    groups = {}
    for path in written.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        groups.setdefault((dataset.SeriesInstanceUID, int(dataset.TemporalPositionIdentifier)), []).append(
            tuple(dataset.ImagePositionPatient))
    assert len(groups) == 6
    assert len({tuple(sorted(g)) for g in groups.values()}) == 1 and all(len(g) == 3 for g in groups.values())


def test_images_of_one_position_are_numbered_in_order_of_time(written):
    # Its other strategy sorts the images of each position by instance number, and needs a repetition time.
    datasets = [pydicom.dcmread(path) for path in sorted(written.glob("*.dcm"))]
    numbers = [int(d.InstanceNumber) for d in datasets]
    assert numbers == list(range(1, 19))
    assert all("RepetitionTime" in d for d in datasets)


def test_the_frame_of_reference_of_the_source_is_kept(small_cine, tmp_path):
    source = {"study_uid": "1.2.3", "frame_of_reference_uid": "1.2.3.5", "series_uids": ["1.2.3.4"]}
    write_dicom(replace(small_cine, sidecar={"source": source}), tmp_path / "out")
    dataset = _first(tmp_path / "out")
    assert dataset.FrameOfReferenceUID == "1.2.3.5"
    assert dataset.RelatedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4"


def test_the_same_cine_gives_the_same_bytes(small_cine, tmp_path):
    for name in "ab":
        write_dicom(small_cine, tmp_path / name)
        write_enhanced(small_cine, tmp_path / f"{name}.dcm")
    first = {p.relative_to(tmp_path / "a"): p.read_bytes() for p in (tmp_path / "a").rglob("*.dcm")}
    second = {p.relative_to(tmp_path / "b"): p.read_bytes() for p in (tmp_path / "b").rglob("*.dcm")}
    assert first == second
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_identifiers_differ_between_images_and_between_cines(small_cine, make_cine, tmp_path):
    write_dicom(small_cine, tmp_path / "a")
    other = make_cine()
    other.image[0, 0, 0, 0] += 50
    write_dicom(other, tmp_path / "b")
    uids = [pydicom.dcmread(p).SOPInstanceUID for f in "ab" for p in (tmp_path / f).rglob("*.dcm")]
    assert len(set(uids)) == len(uids)


def test_labels_come_back_from_the_segmentations(written, small_cine):
    np.testing.assert_array_equal(read_dicom(written).labels, small_cine.labels)


def test_a_segmentation_refers_to_the_images_it_belongs_to(written):
    images = {pydicom.dcmread(p).SOPInstanceUID for p in written.glob("*frame003.dcm")}
    segmentation = pydicom.dcmread(written / "segmentation" / "frame003.dcm")
    referred = {i.ReferencedSOPInstanceUID for i in segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == images


def test_segments_have_codes_and_the_numbers_of_the_label_files(written):
    segmentation = pydicom.dcmread(written / "segmentation" / "frame001.dcm")
    found = [(s.SegmentNumber, s.SegmentedPropertyTypeCodeSequence[0].CodeValue) for s in segmentation.SegmentSequence]
    assert found == [(1, "87878005"), (2, "49848007"), (3, "53085002")]  # CONVENTIONS: LV, LV myocardium, RV


def test_integers_come_back_exactly_through_the_sidecar(small_cine, tmp_path):
    whole = replace(small_cine, image=np.round(small_cine.image), labels=None)
    write_dicom(whole, tmp_path / "out")
    np.testing.assert_array_equal(read_dicom(tmp_path / "out").image, whole.image)


def test_other_values_come_back_to_half_a_stored_step(written, small_cine):
    step = small_cine.image.max() / 4095
    np.testing.assert_allclose(read_dicom(written).image, small_cine.image, atol=0.51 * step)


def test_the_enhanced_object_holds_geometry_and_times_by_itself(small_cine, tmp_path):
    write_enhanced(small_cine, tmp_path / "x.dcm")
    (tmp_path / "x.dcm.json").unlink()
    read = read_dicom(tmp_path / "x.dcm")
    # Decimal strings have 16 characters; times are doubles.
    np.testing.assert_allclose(read.grid.affine_ras, small_cine.grid.affine_ras, atol=1e-11)
    np.testing.assert_array_equal(read.times_ms, small_cine.times_ms)
    np.testing.assert_array_equal(read.heartbeats_ms, small_cine.heartbeats_ms)


def test_uneven_slices_keep_their_positions(small_cine, tmp_path):
    affine = np.array(small_cine.grid.affine_ras)
    origins = affine[:3, 3] + np.outer([0, 1, 2.3], affine[:3, 2])
    affine[:3, 2] *= 2.3 / 2
    grid = replace(small_cine.grid, affine_ras=affine)
    uneven = replace(small_cine, slice_origins_mm=origins, labels=None, grid=grid)
    write_dicom(uneven, tmp_path / "out")
    with pytest.warns(UserWarning, match="not evenly spaced"):
        read = read_dicom(tmp_path / "out")
    np.testing.assert_array_equal(read.slice_origins_mm, origins)


def test_negative_values_are_refused(small_cine, tmp_path):
    with pytest.raises(InputError, match="negative values"):
        write_dicom(replace(small_cine, image=small_cine.image - 100), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_sheared_rows_and_columns_are_refused(small_cine, tmp_path):
    affine = np.array(small_cine.grid.affine_ras)
    affine[:3, 1] += 0.3 * affine[:3, 0]
    grid = replace(small_cine.grid, affine_ras=affine)
    with pytest.raises(InputError, match="right angle"):
        write_dicom(replace(small_cine, grid=grid), tmp_path / "out")


def test_a_folder_with_files_is_left_alone(small_cine, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="already holds files"):
        write_dicom(small_cine, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["mine.txt", "out"]


@pytest.mark.parametrize("value", [0.1, -1 / 3, 123456.789012345, -1e-17, 1e300, 776.0, -202.214])
def test_decimal_strings_hold_sixteen_characters_at_most_and_most_of_the_value(value):
    text = ds_text(value)
    assert len(text) <= 16
    assert float(text) == pytest.approx(value, rel=1e-8)


def test_an_image_of_zeros_can_be_stored(small_cine):
    assert stored(replace(small_cine, image=np.zeros_like(small_cine.image))).pixels.max() == 0


def test_a_real_image_with_simulated_tags_says_that_it_is_synthetic(small_cine, tmp_path, dicom_errors):
    source = {"study_uid": "1.2.3", "frame_of_reference_uid": "1.2.3.5", "series_uids": ["1.2.3.4"],
              "series_descriptions": ["cine"]}
    tagged = replace(small_cine, sidecar={"tagging": {"acquisition": {}}, "source": {"source": source}}, labels=None)
    write_dicom(tagged, tmp_path / "out")
    dataset = _first(tmp_path / "out")
    assert dataset[SYNTHETIC].value == "YES"
    assert dataset.SeriesDescription == "cine tagged"
    assert dataset.FrameOfReferenceUID == "1.2.3.5"
    assert dicom_errors(tmp_path / "out" / "slice01_frame001.dcm") == []


PROTOCOL = {"field_t": 3.0, "repetition_time_ms": 3.1, "echo_time_ms": 1.5, "flip_angle_deg": 50, "sequence": "bssfp"}
REAL = {"source": {"study_uid": "1.2.3", "series_uids": ["1.2.3.4"], "frame_of_reference_uid": "1.2.3.5"}}
SIMULATED = {"seed": 3, "protocol": PROTOCOL}


def enhanced(cine, folder, sidecar):
    write_enhanced(replace(cine, sidecar=sidecar), folder / "e.dcm")
    return pydicom.dcmread(folder / "e.dcm")


def test_of_a_scanners_image_no_more_is_said_than_is_known(small_cine, tmp_path, dicom_errors):
    dataset = enhanced(small_cine, tmp_path, REAL)
    text = str(dataset)
    for guess in ("MagneticFieldStrength", "Tagging", "TransmitterFrequency", "ReceiveCoilName", "RepetitionTime",
                  "EffectiveEchoTime", "InversionRecovery", "PixelBandwidth", "NumberOfAverages", "KSpaceFiltering",
                  "CardiacSynchronizationTechnique", "RespiratoryMotionCompensationTechnique"):
        assert pydicom.datadict.dictionary_description(guess) not in text, guess
    assert "SIMULATED" not in text and dataset.ImageType[0] == "DERIVED"
    assert dicom_errors(tmp_path / "e.dcm") == []


def test_what_is_known_of_a_scanners_image_is_said(small_cine, tmp_path, dicom_errors):
    dataset = enhanced(small_cine, tmp_path, {"source": REAL["source"] | PROTOCOL | {"sar_w_per_kg": 1.6}})
    (groups,) = dataset.SharedFunctionalGroupsSequence
    assert dataset.MagneticFieldStrength == 3.0
    assert groups.MREchoSequence[0].EffectiveEchoTime == 1.5
    assert groups.MRTimingAndRelatedParametersSequence[0].RepetitionTime == 3.1
    assert dicom_errors(tmp_path / "e.dcm") == []


def test_a_simulated_original_names_its_scan(small_cine, tmp_path, dicom_errors):
    dataset = enhanced(small_cine, tmp_path, SIMULATED)
    (modifier,) = dataset.SharedFunctionalGroupsSequence[0].MRImagingModifierSequence
    assert dataset.ImageType[0] == "ORIGINAL" and dataset.MagneticFieldStrength == 3.0
    assert modifier.Tagging == "NONE"
    assert modifier.TransmitterFrequency == pytest.approx(127.732, abs=1e-3)  # 42.577 MHz/T (CODATA) times 3 T
    assert dicom_errors(tmp_path / "e.dcm") == []


@pytest.mark.parametrize(("tr_ms", "te_ms", "hz"), [(3.0, 1.5, 334), (2.9, 1.25, 400), (4.0, 3.0, 500)])
def test_the_pixel_bandwidth_of_a_simulation_is_the_lowest_that_its_times_allow(
    small_cine, tmp_path, dicom_errors, tr_ms, te_ms, hz
):
    protocol = PROTOCOL | {"repetition_time_ms": tr_ms, "echo_time_ms": te_ms}
    dataset = enhanced(small_cine, tmp_path, SIMULATED | {"protocol": protocol})
    (modifier,) = dataset.SharedFunctionalGroupsSequence[0].MRImagingModifierSequence
    assert modifier.PixelBandwidth == hz
    assert "lowest that TR and TE allow" in dataset.ImageComments
    assert dicom_errors(tmp_path / "e.dcm") == []


def test_how_k_space_was_filled_is_told_as_it_was(small_cine, tmp_path, dicom_errors):
    scan = Protocol(fov_mm=(270.0, 360.0), acquired_resolution_mm=(2.7, 2.0), acceleration=2, partial_fourier=0.75)
    dataset = enhanced(small_cine, tmp_path, SIMULATED | {"protocol": scan.as_dict()})
    (groups,) = dataset.SharedFunctionalGroupsSequence
    (field,), (modifier,) = groups.MRFOVGeometrySequence, groups.MRModifierSequence
    assert (field.MRAcquisitionPhaseEncodingStepsInPlane, field.MRAcquisitionFrequencyEncodingSteps) == (100, 180)
    assert field.PercentSampling == 37.5
    assert (modifier.PartialFourier, modifier.PartialFourierDirection) == ("YES", "PHASE")
    assert (modifier.ParallelAcquisitionTechnique, modifier.ParallelReductionFactorInPlane) == ("SENSE", 2.0)
    assert (dataset.KSpaceFiltering, dataset.GeometryOfKSpaceTraversal) == ("TUKEY", "RECTILINEAR")
    assert dicom_errors(tmp_path / "e.dcm") == []


def test_a_radial_scan_is_called_radial(small_cine, tmp_path, dicom_errors):
    scan = Protocol(trajectory="golden_angle", acceleration=3, filter="none").as_dict()
    dataset = enhanced(small_cine, tmp_path, SIMULATED | {"protocol": scan})
    assert (dataset.KSpaceFiltering, dataset.GeometryOfKSpaceTraversal) == ("NONE", "RADIAL")
    # Spokes are left out, which no parallel imaging makes up for.
    assert dataset.SharedFunctionalGroupsSequence[0].MRModifierSequence[0].ParallelAcquisition == "NO"
    assert dicom_errors(tmp_path / "e.dcm") == []


def test_a_simulation_whose_times_are_not_known_is_no_original(small_cine, tmp_path, dicom_errors):
    dataset = enhanced(small_cine, tmp_path, {"seed": 3, "protocol": {"field_t": 3.0}})
    assert dataset.ImageType[0] == "DERIVED" and "RepetitionTime" not in str(dataset)
    assert dicom_errors(tmp_path / "e.dcm") == []


def test_an_echo_after_the_next_pulse_is_refused(small_cine, tmp_path):
    with pytest.raises(InputError, match="echo time of 5 ms and a repetition time of 3.1 ms"):
        enhanced(small_cine, tmp_path, SIMULATED | {"protocol": PROTOCOL | {"echo_time_ms": 5.0}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("image", [REAL, SIMULATED])
@pytest.mark.parametrize(("pattern", "word"), [("grid", "GRID"), ("lines", "LINE")])
def test_tags_are_told_with_their_distance(small_cine, tmp_path, image, pattern, word):
    tagging = {"options": {"pattern": pattern, "angle_deg": 30.0}, "acquisition": {"spacing_mm": 6.5}}
    dataset = enhanced(small_cine, tmp_path, {"tagging": tagging, "source": image})
    (modifier,) = dataset.SharedFunctionalGroupsSequence[0].MRImagingModifierSequence
    assert (modifier.Tagging, modifier.TagSpacingFirstDimension) == (word, 6.5)
    assert modifier.get("TagSpacingSecondDimension") == (6.5 if word == "GRID" else None)
    # 30 degrees to the rows are 120 from the vertical, and the grid's other lines stand across.
    assert modifier.TagAngleFirstAxis == 120.0
    assert modifier.get("TagAngleSecondAxis") == (30.0 if word == "GRID" else None)
    assert modifier.TagThickness == pytest.approx(0.299 * 6.5, abs=0.01)  # of 1-3-3-1, see `TagTrain.line_width`


def test_a_tagged_simulation_has_no_errors(small_cine, tmp_path, dicom_errors):
    tagging = {"options": {"pattern": "grid"}, "acquisition": {"spacing_mm": 6.5}}
    enhanced(small_cine, tmp_path, {"tagging": tagging, "source": SIMULATED})
    assert dicom_errors(tmp_path / "e.dcm") == []


SCANNER = {"imaging_frequency_mhz": 123.256, "pixel_bandwidth_hz": 977.0, "magnetization_transfer": "NONE",
           "blood_signal_nulling": "NO"}


def test_tags_stand_beside_what_the_scanner_told_of_its_scan(small_cine, tmp_path, dicom_errors):
    tagging = {"options": {"pattern": "grid"}, "acquisition": {"spacing_mm": 6.5}}
    source = {"source": REAL["source"] | PROTOCOL | SCANNER}
    dataset = enhanced(small_cine, tmp_path, {"tagging": tagging, "source": source})
    (modifier,) = dataset.SharedFunctionalGroupsSequence[0].MRImagingModifierSequence
    # The scanner's frequency, not that of its nominal 3 T.
    assert (modifier.TransmitterFrequency, modifier.PixelBandwidth) == (123.256, 977.0)
    assert (modifier.MagnetizationTransfer, modifier.BloodSignalNulling) == ("NONE", "NO")
    assert dicom_errors(tmp_path / "e.dcm") == []


def test_on_an_image_of_unknown_scan_tags_stand_alone(small_cine, tmp_path, dicom_errors):
    """Valid, since PS3.3 asks for the rest of originals alone; dciodvfy asks without a look at the frame type."""
    enhanced(small_cine, tmp_path, {"tagging": {"options": {"pattern": "grid"}}, "source": REAL})
    pattern = r"/(\w+)\(\w+,\w+\)> - Missing attribute for Type 1C"
    missing = [re.search(pattern, error) for error in dicom_errors(tmp_path / "e.dcm")]
    assert {found and found.group(1) for found in missing} == {
        "MagnetizationTransfer", "BloodSignalNulling", "TransmitterFrequency", "PixelBandwidth"}


def test_of_tags_that_cannot_be_the_user_is_told(small_cine, tmp_path):
    tagging = {"options": {"pattern": "grid", "train": "9-9"}, "acquisition": {"spacing_mm": 6.5}}
    with pytest.raises(FileFormatError, match="record of the tags is damaged"):
        enhanced(small_cine, tmp_path, {"tagging": tagging, "source": REAL})


def test_tags_of_a_real_tagging_run_are_told(small_cine, tmp_path):
    from CMRSimExtension.tagging.options import TagOptions
    from CMRSimExtension.tagging.tag_cine import tag_cine

    tagged = tag_cine(small_cine, TagOptions(method="paper", pattern="lines"))
    dataset = enhanced(tagged, tmp_path, tagged.sidecar)
    (modifier,) = dataset.SharedFunctionalGroupsSequence[0].MRImagingModifierSequence
    # The paper's five pixels, of 1.4 mm here.
    assert modifier.Tagging == "LINE" and modifier.TagSpacingFirstDimension == pytest.approx(7.0)


def test_complementary_tags_have_two_dark_lines_in_each_period(small_cine, tmp_path):
    options = {"pattern": "lines", "train": "1-1", "cspamm": True}
    tagging = {"options": options, "acquisition": {"spacing_mm": 8.0}}
    dataset = enhanced(small_cine, tmp_path, {"tagging": tagging, "source": REAL})
    (modifier,) = dataset.SharedFunctionalGroupsSequence[0].MRImagingModifierSequence
    assert modifier.TagSpacingFirstDimension == 4.0
    # |cos| lies below one half over 60 of 180 degrees, which are 4 mm.
    assert modifier.TagThickness == pytest.approx(4.0 / 3.0, rel=1e-3)

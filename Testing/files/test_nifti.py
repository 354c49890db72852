"""NIfTI files: what goes in comes out, contradictions are told, damage is refused."""

import gzip
import json
import warnings
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from CMRSimExtension.command_line.main import main
from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.cine_files import companion, read_cine, sidecar_path, write_cine
from CMRSimExtension.files.nifti import read_nifti
from CMRSimExtension.files.third_party import GeometryWarning

ALL = ("labels", "anatomy", "motion", "fractions")


def test_every_array_comes_back_bit_for_bit(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    read = read_cine(tmp_path / "X.nii.gz", ALL)
    for name in ("image", "labels", "anatomy", "displacement_mm", "fractions", "times_ms", "heartbeats_ms"):
        np.testing.assert_array_equal(getattr(read, name), getattr(small_cine, name), err_msg=name)


def test_the_oblique_geometry_comes_back_in_double_precision(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    read = read_cine(tmp_path / "X.nii.gz")
    np.testing.assert_array_equal(read.grid.affine_ras, small_cine.grid.affine_ras)
    assert read.grid.slice_thickness_mm == 8.0


def test_without_its_sidecar_the_geometry_is_right_to_single_precision(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    sidecar_path(tmp_path / "X.nii.gz").unlink()
    read = read_cine(tmp_path / "X.nii.gz")
    # 24 bits of mantissa over positions of at most 128 mm.
    np.testing.assert_allclose(read.grid.affine_ras, small_cine.grid.affine_ras, atol=128 / 2**23)


def test_function_and_record_come_back(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    read = read_cine(tmp_path / "X.nii.gz")
    assert (read.function, read.sidecar) == (small_cine.function, small_cine.sidecar)


def test_nibabel_finds_columns_first_and_the_voxel_where_the_grid_says(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    image = nibabel.load(tmp_path / "X.nii.gz")
    assert image.shape == (48, 40, 3, 6)
    assert image.dataobj[7, 11, 2, 4] == small_cine.image[4, 2, 11, 7]
    expected = small_cine.grid.points_mm()[2, 11, 7]
    np.testing.assert_allclose(image.affine @ [7, 11, 2, 1], [*expected, 1], atol=1e-4)


def test_qform_and_sform_agree(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    header = nibabel.load(tmp_path / "X.nii.gz").header
    # A quaternion in single precision turns a 100 mm image by about 1e-5 mm.
    np.testing.assert_allclose(header.get_qform(), header.get_sform(), atol=1e-4)
    assert header["qform_code"] == header["sform_code"] == 1


def test_the_time_step_is_the_mean_over_slices_in_seconds(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    header = nibabel.load(tmp_path / "X.nii.gz").header
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header.get_zooms()[3] == pytest.approx(np.mean(np.diff(small_cine.times_ms)) / 1000, rel=1e-6)


def test_motion_is_a_five_dimensional_vector_image_in_ras(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    image = nibabel.load(companion(tmp_path / "X.nii.gz", "motion"))
    assert image.shape == (48, 40, 3, 6, 3)
    assert image.header.get_intent()[0] == "vector"
    np.testing.assert_array_equal(image.dataobj[7, 11, 2, 4], small_cine.displacement_mm[4, 2, 11, 7])


def test_the_same_cine_gives_the_same_bytes(small_cine, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        write_cine(small_cine, tmp_path / name / "X.nii.gz")
    assert (tmp_path / "a/X.nii.gz").read_bytes() == (tmp_path / "b/X.nii.gz").read_bytes()


def test_a_single_frame_is_written_as_a_volume(make_cine, tmp_path):
    write_cine(make_cine(frames=1), tmp_path / "X.nii.gz")
    assert nibabel.load(tmp_path / "X.nii.gz").shape == (48, 40, 3)
    assert read_cine(tmp_path / "X.nii.gz").image.shape == (1, 3, 40, 48)


def _write(path, shape, affine, pixdim=None, units=("mm", "sec")):
    image = nibabel.Nifti1Image(np.zeros(shape, np.int16), affine)
    image.header.set_xyzt_units(*units)
    if pixdim is not None:
        image.header["pixdim"][1:1 + len(pixdim)] = pixdim
    nibabel.save(image, path)


def test_where_affine_and_pixdim_disagree_pixdim_wins_and_the_user_is_told(tmp_path):
    _write(tmp_path / "a.nii", (4, 5, 6), np.eye(4))
    # nibabel puts the affine's sizes back into pixdim when saving; a header as ACDC's is made byte by byte.
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[80:92] = np.array([1.40625, 1.40625, 10.0], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.warns(GeometryWarning, match="pixdim is believed"):
        cine = read_cine(tmp_path / "a.nii")
    assert cine.grid.spacing_mm == (1.40625, 1.40625, 10.0)
    assert "1.406 x 1.406 x 10" in cine.sidecar["notes"][0]


def test_the_note_about_pixdim_reaches_the_next_sidecar(tmp_path, cmrsim_data):
    with pytest.warns(GeometryWarning):
        cine = read_cine(cmrsim_data / "acdc_original" / "patient005_frame01.nii.gz")
    write_cine(cine, tmp_path / "b.nii.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "pixdim is believed" in read_cine(tmp_path / "b.nii.gz").sidecar["notes"][0]


def test_acdc_as_published_is_read_with_its_true_spacing(cmrsim_data):
    with pytest.warns(GeometryWarning):
        cine = read_cine(cmrsim_data / "acdc_original" / "patient005_frame01.nii.gz")
    # README of the data: 1.406 x 1.406 x 10.
    np.testing.assert_allclose(cine.grid.spacing_mm, (1.406, 1.406, 10), atol=5e-4)


@pytest.mark.parametrize(("units", "step", "expected"), [("sec", 0.03, 30.0), ("msec", 30.0, 30.0),
                                                         ("usec", 30000.0, 30.0), ("unknown", 0.03, 30.0)])
def test_frame_times_follow_the_header_unit(tmp_path, units, step, expected):
    _write(tmp_path / "a.nii", (4, 5, 6, 7), np.eye(4), [1, 1, 1, step], ("mm", units))
    cine = read_cine(tmp_path / "a.nii")
    np.testing.assert_allclose(cine.times_ms, np.tile(expected * np.arange(7), (6, 1)), rtol=1e-6)


@pytest.mark.parametrize(("unit", "side"), [("meter", 1.5e-3), ("micron", 1500.0)])
def test_lengths_follow_the_header_unit_and_the_user_is_told(tmp_path, unit, side):
    affine = np.diag([side, side, 6.0 * side, 1.0])
    affine[:3, 3] = 10.0 * side
    _write(tmp_path / "a.nii", (4, 5, 6), affine, units=(unit, "sec"))
    with pytest.warns(GeometryWarning, match=f"lengths in {unit}s"):
        grid = read_cine(tmp_path / "a.nii").grid
    np.testing.assert_allclose(grid.spacing_mm, (1.5, 1.5, 9.0), rtol=1e-6)
    np.testing.assert_allclose(grid.affine_ras[:3, 3], 15.0, rtol=1e-6)


def test_frames_further_apart_than_a_heartbeat_are_left_without_times(tmp_path):
    _write(tmp_path / "a.nii", (4, 5, 6, 7), np.eye(4), [1, 1, 1, 1.0])
    with pytest.warns(GeometryWarning, match="longer than any heartbeat"):
        assert read_cine(tmp_path / "a.nii").times_ms is None


def test_truths_of_the_cine_that_lay_there_go_with_it(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz", more={"myocardium": small_cine.labels})
    own = tmp_path / "X_drawn.nii.gz"
    own.write_bytes(b"not ours")
    write_cine(replace(small_cine, displacement_mm=None, fractions=None), tmp_path / "X.nii.gz")
    assert {p.name for p in tmp_path.iterdir()} == {
        "X.nii.gz", "X.json", "X_labels.nii.gz", "X_anatomy.nii.gz", "X_drawn.nii.gz"}


def test_a_failed_write_deletes_nothing(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    before = {p.name for p in tmp_path.iterdir()}
    with pytest.raises(FileFormatError):
        write_cine(replace(small_cine, displacement_mm=None, sidecar={"x": float("nan")}), tmp_path / "X.nii.gz")
    assert {p.name for p in tmp_path.iterdir()} == before


def test_a_sidecar_of_another_image_is_not_believed(small_cine, make_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    other = nibabel.load(tmp_path / "X.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.asarray(other.dataobj), np.diag([2.0, 2, 2, 1])), tmp_path / "X.nii.gz")
    with pytest.warns(GeometryWarning, match="another geometry"):
        assert read_cine(tmp_path / "X.nii.gz", ()).grid.spacing_mm == (2.0, 2.0, 2.0)


def test_labels_that_lie_elsewhere_are_refused(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    labels = companion(tmp_path / "X.nii.gz", "labels")
    nibabel.save(nibabel.Nifti1Image(small_cine.labels.transpose(3, 2, 1, 0), np.eye(4)), labels)
    with pytest.raises(FileFormatError, match="lies elsewhere"):
        read_cine(tmp_path / "X.nii.gz")


def test_uneven_slices_are_refused_since_nifti_cannot_hold_them(small_cine, tmp_path):
    origins = np.array([[0.0, 0, 0], [0, 0, 8], [0, 0, 20]])
    with pytest.raises(InputError, match="8.00, 12.00 mm.*DICOM"):
        write_cine(replace(small_cine, slice_origins_mm=origins), tmp_path / "X.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_nan_is_refused_and_leaves_nothing(small_cine, tmp_path):
    small_cine.image[2, 1, 3, 4] = np.nan
    with pytest.raises(InputError, match="NaN"):
        write_cine(small_cine, tmp_path / "X.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_json_cannot_hold_leaves_nothing(small_cine, tmp_path):
    small_cine.sidecar["t1_ms"] = float("nan")
    with pytest.raises(FileFormatError, match="nan"):
        write_cine(small_cine, tmp_path / "X.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_named(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii.gz")
    whole = (tmp_path / "X.nii.gz").read_bytes()
    (tmp_path / "Y.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match="Y.nii.gz.*damaged, incomplete"):
        read_cine(tmp_path / "Y.nii.gz")


def test_a_header_that_claims_terabytes_is_refused_before_memory_is_asked_for(small_cine, tmp_path):
    write_cine(small_cine, tmp_path / "X.nii")
    data = bytearray((tmp_path / "X.nii").read_bytes())
    data[42:50] = np.array([30000, 30000, 30000, 1000], "<i2").tobytes()
    (tmp_path / "Y.nii").write_bytes(data)
    with pytest.raises(FileFormatError, match="truncated or its header damaged"):
        read_cine(tmp_path / "Y.nii")


@pytest.mark.parametrize(("name", "content"), [("a.nii.gz", b""), ("a.nii.gz", b"not gzip at all"),
                                               ("a.nii", b"\0" * 400),
                                               ("a.nii.gz", gzip.compress(b"\0" * 400, mtime=0))])
def test_files_of_another_kind_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError):
        read_cine(tmp_path / name)


def test_colour_and_complex_images_are_refused(tmp_path):
    rgb = np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(rgb, np.eye(4)), tmp_path / "rgb.nii")
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3), np.complex64), np.eye(4)), tmp_path / "complex.nii")
    for name in ("rgb.nii", "complex.nii"):
        with pytest.raises(FileFormatError, match="grey-scale"):
            read_nifti(tmp_path / name)


def test_an_affine_that_cannot_be_inverted_is_refused(tmp_path):
    flat = np.eye(4)
    flat[:, 1] = flat[:, 0]
    image = nibabel.Nifti1Image(np.zeros((3, 3, 3), np.int16), None)
    image.header.set_sform(flat, code=1)
    image.header["qform_code"] = 0
    data = bytearray(348 + 4 + 54)
    data[:348] = image.header.binaryblock
    data[344:348] = b"n+1\0"
    data[108:112] = np.array([352], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(data)
    with pytest.raises(FileFormatError, match="cannot be inverted"):
        read_nifti(tmp_path / "a.nii")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere.nii.gz does not exist"):
        read_cine(tmp_path / "nowhere.nii.gz")


@pytest.mark.parametrize(("units", "step", "why"), [("msec", 1.0, "merely count"),
                                                    ("msec", 0.03, "less than any scan takes")])
def test_frames_that_are_counted_or_closer_than_any_scan_are_left_without_times(tmp_path, units, step, why):
    _write(tmp_path / "a.nii", (4, 5, 6, 7), np.eye(4), [1, 1, 1, step], ("mm", units))
    with pytest.warns(GeometryWarning, match=why):
        assert read_cine(tmp_path / "a.nii").times_ms is None


def test_a_step_of_one_without_a_unit_is_no_time(tmp_path):
    _write(tmp_path / "a.nii", (4, 5, 6, 7), np.eye(4), [1, 1, 1, 1.0], ("unknown", "unknown"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_cine(tmp_path / "a.nii").times_ms is None


@pytest.mark.parametrize("bad", [1, 7 * 4 * 5 * 6])
def test_a_report_tells_of_values_that_are_not_finite_and_stays_json(tmp_path, bad, capsys):
    values = np.arange(7 * 4 * 5 * 6, dtype=np.float32)
    values[:bad] = np.nan
    nibabel.save(nibabel.Nifti1Image(values.reshape(4, 5, 6, 7), np.eye(4)), tmp_path / "a.nii")
    assert main(["info", str(tmp_path / "a.nii"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values_not_finite"] == bad
    assert found["value_range"] == ([1.0, 839.0] if bad == 1 else None)

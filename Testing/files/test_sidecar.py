"""Sidecars: believed where they fit their file, left out and told of where they do not."""

import json
import shutil
import warnings
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from CMRSimExtension.errors import CMRSimWarning, FileFormatError
from CMRSimExtension.files.cine_files import write_cine
from CMRSimExtension.files.dicom_enhanced import write_enhanced
from CMRSimExtension.files.dicom_reading import read_dicom
from CMRSimExtension.files.dicom_writing import write_dicom
from CMRSimExtension.files.formats import Content, format_of, read_image, write_content
from CMRSimExtension.files.sidecar import read_sidecar
from CMRSimExtension.files.third_party import GeometryWarning
from CMRSimExtension.scanner.geometry import ImageGrid

SIDECARS = {
    "x.nii.gz": "x.json",
    "x.seq.nrrd": "x.seq.nrrd.json",
    "x.h5": "x.h5.json",
    "x.dcm": "x.dcm.json",
    "series": "series.dicom.json",
    "set": "sidecars/x.json",
}


def write(cine, folder, name):
    """Write `cine` as `name`, without labels; where its sidecar lies."""
    folder.mkdir(exist_ok=True)
    kind = "nnunet" if name == "set" else format_of(folder / name)
    write_content(Content(cine.grid, cine), folder / name, kind, source=folder / "x")
    return folder / name / SIDECARS[name] if name == "set" else folder / SIDECARS[name]


def bare(cine, **changes):
    return replace(cine, labels=None, anatomy=None, displacement_mm=None, fractions=None, **changes)


@pytest.fixture
def cine(small_cine):
    return bare(small_cine, image=np.round(small_cine.image))


def brighter(cine):
    return bare(cine, image=np.round(1.5 * cine.image))


def moved(cine):
    affine = np.array(cine.grid.affine_ras)
    affine[:3, 3] += 5.0
    return bare(cine, grid=ImageGrid(affine, cine.grid.shape, cine.grid.slice_thickness_mm))


def shorter(cine):
    return bare(cine, image=cine.image[:5], times_ms=cine.times_ms[:, :5])


@pytest.mark.parametrize("name", SIDECARS)
@pytest.mark.parametrize(("other", "why"), [(brighter, "other image values"), (moved, "another geometry"),
                                            (shorter, r"shape \(5, 3, 40, 48\), the file has \(6, 3, 40, 48\)")])
def test_from_a_sidecar_of_another_image_nothing_is_taken(cine, tmp_path, name, other, why):
    sidecar = write(cine, tmp_path / "a", name)
    sidecar.unlink()
    alone = read_image(tmp_path / "a" / name)
    foreign = replace(other(cine), times_ms=2.0 * other(cine).times_ms, heartbeats_ms=2.0 * cine.heartbeats_ms)
    shutil.copy(write(foreign, tmp_path / "b", name), sidecar)
    with pytest.warns(GeometryWarning, match=f"{why}.* nothing is taken from it; take it away"):
        read = read_image(tmp_path / "a" / name)
    for field in ("image", "times_ms", "heartbeats_ms", "function"):
        np.testing.assert_array_equal(getattr(read, field), getattr(alone, field), err_msg=field)
    np.testing.assert_array_equal(read.grid.affine_ras, alone.grid.affine_ras)
    assert read.grid.slice_thickness_mm == alone.grid.slice_thickness_mm
    (note,) = read.sidecar.pop("notes")
    assert "nothing is taken" in note and read.sidecar == alone.sidecar


@pytest.mark.parametrize("name", SIDECARS)
def test_its_own_sidecar_gives_everything_without_a_word(cine, tmp_path, name):
    write(cine, tmp_path / "a", name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = read_image(tmp_path / "a" / name)
    for field in ("image", "times_ms", "heartbeats_ms", "function"):
        np.testing.assert_array_equal(getattr(read, field), getattr(cine, field), err_msg=field)
    assert read.sidecar == cine.sidecar


def change(sidecar, key, value):
    document = json.loads(sidecar.read_text(encoding="utf-8"))
    document[key] = value
    sidecar.write_text(json.dumps(document), encoding="utf-8")


def test_a_sidecar_without_a_checksum_is_believed_as_before(cine, tmp_path):
    change(write(cine, tmp_path, "x.nii.gz"), "stored_values", {})
    np.testing.assert_array_equal(read_image(tmp_path / "x.nii.gz").times_ms, cine.times_ms)


def test_a_time_step_corrected_in_the_file_wins(cine, tmp_path):
    write(cine, tmp_path, "x.nii.gz")
    image = nibabel.load(tmp_path / "x.nii.gz")
    values = np.asarray(image.dataobj)
    image.header["pixdim"][4] = 0.05
    nibabel.save(nibabel.Nifti1Image(values, image.affine, image.header), tmp_path / "x.nii.gz")
    with pytest.warns(CMRSimWarning, match="other frame times than the file; the file's are used"):
        read = read_image(tmp_path / "x.nii.gz")
    np.testing.assert_allclose(read.times_ms, np.tile(50.0 * np.arange(6), (3, 1)), rtol=1e-6)
    # Heartbeats that belong to other times, in a file that holds none itself.
    assert read.heartbeats_ms is None
    assert read.function == cine.function and read.sidecar["seed"] == 3
    assert "other frame times" in read.sidecar["notes"][0]


@pytest.mark.parametrize("name", ["x.seq.nrrd", "x.h5", "x.dcm", "series"])
def test_times_of_every_slice_in_the_file_win(cine, tmp_path, name):
    # The same mean over the slices, which is all that a viewer's index shows.
    times = cine.times_ms + np.array([[20.0], [0.0], [-20.0]])
    change(write(cine, tmp_path, name), "times_ms", {"values": times.tolist()})
    with pytest.warns(CMRSimWarning, match="other frame times"):
        read = read_image(tmp_path / name)
    np.testing.assert_allclose(read.times_ms, cine.times_ms, atol=1e-11)
    np.testing.assert_array_equal(read.heartbeats_ms, cine.heartbeats_ms)


def test_times_that_another_program_left_out_of_the_file_come_from_the_sidecar(cine, tmp_path):
    path = tmp_path / "x.seq.nrrd"
    write(cine, tmp_path, path.name)
    head, data = path.read_bytes().split(b"\n\n", 1)
    kept = [line for line in head.split(b"\n") if not line.startswith(b"cmrsim ")]
    path.write_bytes(b"\n".join(kept) + b"\n\n" + data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(path).times_ms, cine.times_ms)


def test_heartbeats_in_the_file_win(cine, tmp_path):
    change(write(cine, tmp_path, "series"), "heartbeats_ms", [900.0, 901.0, 902.0])
    with pytest.warns(CMRSimWarning, match="other heartbeats than the file"):
        np.testing.assert_array_equal(read_image(tmp_path / "series").heartbeats_ms, cine.heartbeats_ms)


def test_heartbeats_that_dicom_rounds_to_milliseconds_come_back_exactly(cine, tmp_path):
    write_dicom(replace(cine, heartbeats_ms=cine.heartbeats_ms + 0.4), tmp_path / "series")
    np.testing.assert_array_equal(read_dicom(tmp_path / "series").heartbeats_ms, cine.heartbeats_ms + 0.4)


@pytest.mark.parametrize(("key", "value", "why"), [
    ("times_ms", {"values": [[0.0, 30.0]]}, r"times of shape \(1, 2\), where its image needs \(3, 6\)"),
    ("heartbeats_ms", [800.0], r"heartbeats of shape \(1,\), where its image needs \(3,\)"),
])
def test_tables_of_another_number_of_slices_do_not_fit(cine, tmp_path, key, value, why):
    change(write(cine, tmp_path, "x.nii.gz"), key, value)
    with pytest.warns(GeometryWarning, match=why):
        read = read_image(tmp_path / "x.nii.gz")
    assert read.heartbeats_ms is None and read.function is None


def test_the_note_reaches_the_next_sidecar(cine, tmp_path):
    write(brighter(cine), tmp_path / "b", "x.nii.gz")
    write(cine, tmp_path / "a", "x.nii.gz")
    shutil.copy(tmp_path / "b" / "x.json", tmp_path / "a" / "x.json")
    with pytest.warns(GeometryWarning):
        read = read_image(tmp_path / "a" / "x.nii.gz")
    write_cine(read, tmp_path / "c.nii.gz")
    assert "nothing is taken" in read_sidecar(tmp_path / "c.json").record["notes"][0]


@pytest.mark.parametrize("scale", [0.0, -2.0, "nan"])
def test_a_scale_that_nothing_can_have_is_damage(cine, tmp_path, scale):
    change(write(cine, tmp_path, "series"), "stored_values", {"stored_over_true": scale})
    with pytest.raises(FileFormatError, match="times the true ones"):
        read_image(tmp_path / "series")


@pytest.mark.parametrize(("key", "value", "why"), [
    ("stored_values", {"true_values_are_multiples_of": "z"}, "could not convert string to float: 'z'"),
    ("stored_values", {"true_values_are_multiples_of": 0}, "true_values_are_multiples_of is 0.0"),
    ("geometry", {"slice_thickness_mm": -3}, "slice_thickness_mm is -3.0"),
    ("heartbeats_ms", [float("nan")] * 3, "values that are no numbers"),
    ("heartbeats_ms", [[800.0]], r"a table has the shape \(1, 1\)"),
    ("function", {"lv_edv_ml": "much", "lv_esv_ml": 50, "lv_mass_g": 100}, "could not convert string to float: 'much'"),
    ("record", {"notes": 5}, "its notes are 5, not a list"),
])
def test_values_that_nothing_can_have_are_damage_that_names_the_file(cine, tmp_path, key, value, why):
    change(write(cine, tmp_path, "x.seq.nrrd"), key, value)
    with pytest.raises(FileFormatError, match=rf"x\.seq\.nrrd\.json cannot be read as a JSON sidecar.*{why}"):
        read_image(tmp_path / "x.seq.nrrd")


def test_the_scale_of_one_object_of_several_is_taken_from_its_own_sidecar_alone(cine, tmp_path):
    source = {"study_uid": "1.2.3", "frame_of_reference_uid": "1.2.4"}
    for s in range(3):
        affine = np.array(cine.grid.affine_ras)
        affine[:3, 3] += s * affine[:3, 2]
        grid = ImageGrid(affine, (1, *cine.grid.shape[1:]), cine.grid.slice_thickness_mm)
        part = replace(
            cine, image=cine.image[:, s:s + 1], times_ms=cine.times_ms[s:s + 1], grid=grid,
            heartbeats_ms=cine.heartbeats_ms[s:s + 1], sidecar={"source": source},
        )
        write_enhanced(part, tmp_path / "study" / f"{s}.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Slices of several objects come from base to apex.
        np.testing.assert_array_equal(read_dicom(tmp_path / "study").image, cine.image[:, ::-1])
    shutil.copy(tmp_path / "study" / "0.dcm.json", tmp_path / "study" / "2.dcm.json")
    with pytest.warns(CMRSimWarning, match="no .json beside 2.dcm tells the scale"):
        assert read_dicom(tmp_path / "study").image.max() == 4095

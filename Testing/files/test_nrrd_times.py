"""When the frames of a NRRD series were taken, and spaces that have time as their fourth axis."""

import warnings

import nrrd
import numpy as np
import pytest

from CMRSimExtension.errors import CMRSimWarning, FileFormatError
from CMRSimExtension.files.nrrd_files import read_sequence
from CMRSimExtension.files.nrrd_times import FrameAxis, frame_times

SIGNS = {"left-posterior-superior": (-1, -1, 1), "right-anterior-superior": (1, 1, 1),
         "left-anterior-superior": (-1, 1, 1)}  # fmt: skip
SHORT = {"left-posterior-superior": "LPST", "right-anterior-superior": "RAST", "left-anterior-superior": "LAST"}


def write(path, cine, space, *, name=None, unit="ms", step=30.0, start=10.0, first=False, **more):
    """The cine in a space with time, as Teem writes it; the frames lie along the last axis, or the `first`."""
    signs = np.diag(SIGNS[space])
    affine = cine.grid.affine_ras
    rows = np.zeros((4, 4))
    rows[:3, :3] = (signs @ affine[:3, :3]).T
    rows[3, 3] = step
    values = cine.image.transpose(3, 2, 1, 0)
    if first:
        rows, values = np.roll(rows, 1, axis=0), np.moveaxis(values, -1, 0)
    origin = [*signs @ affine[:3, 3], start]
    header = {"space": name or f"{space}-time", "space directions": rows, "space origin": origin}
    if unit is not None:
        header["space units"] = ["mm", "mm", "mm", unit]
    nrrd.write(str(path), values, header | more)
    return path


def read_silently(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_sequence(path)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("space", SIGNS)
def test_a_space_with_time_gives_place_and_time(small_cine, tmp_path, space, short, first):
    name = SHORT[space] if short else None
    read = read_silently(write(tmp_path / "a.nrrd", small_cine, space, name=name, first=first))
    np.testing.assert_array_equal(read.image, small_cine.image)
    np.testing.assert_allclose(read.grid.affine_ras, small_cine.grid.affine_ras, atol=1e-12)
    np.testing.assert_array_equal(read.times_ms, np.tile(10.0 + 30.0 * np.arange(6), (3, 1)))


@pytest.mark.parametrize(("unit", "step"), [
    ("s", 0.03), ("sec", 0.03), ("seconds", 0.03), ("ms", 30.0), ("msec", 30.0), ("us", 3e4),
    ("\N{MICRO SIGN}s", 3e4), ("\N{GREEK SMALL LETTER MU}s", 3e4),
])  # fmt: skip
def test_time_is_read_in_the_unit_of_the_space(small_cine, tmp_path, unit, step):
    path = write(tmp_path / "a.nrrd", small_cine, "left-posterior-superior", step=step, start=0.0, unit="UNIT")
    head, data = path.read_bytes().split(b"\n\n", 1)
    path.write_bytes(head.replace(b"UNIT", unit.encode()) + b"\n\n" + data)
    np.testing.assert_allclose(read_silently(path).times_ms[1], 30.0 * np.arange(6), rtol=1e-12)


@pytest.mark.parametrize(("step", "unit"), [(0.03, "s"), (30.0, "ms")])
def test_of_a_time_without_a_unit_the_user_is_told_what_was_assumed(small_cine, tmp_path, step, unit):
    path = write(tmp_path / "a.nrrd", small_cine, "left-posterior-superior", unit=None, step=step, start=0.0)
    with pytest.warns(CMRSimWarning, match=f"time without a unit; it is taken as {unit}$"):
        read = read_sequence(path)
    np.testing.assert_allclose(read.times_ms[0], 30.0 * np.arange(6), rtol=1e-12)
    assert f"taken as {unit}" in read.sidecar["notes"][0]


def test_units_of_length_of_a_space_with_time_are_those_of_its_first_three_axes(small_cine, tmp_path):
    path = write(tmp_path / "a.nrrd", small_cine, "left-posterior-superior", unit="ms",
                 **{"space units": ["cm", "cm", "cm", "ms"]})  # fmt: skip
    np.testing.assert_allclose(read_silently(path).grid.spacing_mm, 10.0 * np.array(small_cine.grid.spacing_mm))


@pytest.mark.parametrize(("axis", "row"), [(2, (0.0, 0.0, 3.0, 5.0)), (3, (0.0, 0.0, 1.0, 30.0))])
def test_axes_that_mix_space_and_time_are_refused(small_cine, tmp_path, axis, row):
    rows = np.diag([1.0, 2.0, 3.0, 30.0])
    rows[axis] = row
    header = {"space": "LPST", "space directions": rows, "kinds": ["space", "space", "space", "time"]}
    nrrd.write(str(tmp_path / "a.nrrd"), small_cine.image.transpose(3, 2, 1, 0), header)
    with pytest.raises(FileFormatError, match="in space and time at once"):
        read_sequence(tmp_path / "a.nrrd")


def test_a_volume_in_a_space_with_time_is_one_frame(small_cine, tmp_path):
    rows = np.hstack([np.diag([1.0, 2.0, 3.0]), np.zeros((3, 1))])
    header = {"space": "RAST", "space directions": rows, "space origin": [1.0, 2.0, 3.0, 40.0]}
    nrrd.write(str(tmp_path / "a.nrrd"), small_cine.image[0].transpose(2, 1, 0), header)
    read = read_silently(tmp_path / "a.nrrd")
    assert read.image.shape == (1, 3, 40, 48) and read.times_ms is None
    np.testing.assert_array_equal(read.grid.affine_ras[:3, 3], [1.0, 2.0, 3.0])


def test_one_slice_over_time_is_read_as_frames(small_cine, tmp_path):
    rows = np.zeros((3, 4))
    rows[0, 0], rows[1, 1], rows[2, 3] = 1.0, 2.0, 30.0
    header = {"space": "RAST", "space directions": rows, "space units": ["mm", "mm", "mm", "ms"]}
    nrrd.write(str(tmp_path / "a.nrrd"), small_cine.image[:, 1].transpose(2, 1, 0), header)
    read = read_silently(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(read.image[:, 0], small_cine.image[:, 1])
    np.testing.assert_array_equal(read.times_ms, [30.0 * np.arange(6)])


@pytest.mark.parametrize(("kind", "unit", "step", "expected"), [
    ("time", "ms", 30.0, 30.0), ("list", "ms", 30.0, 30.0), ("time", "s", 0.03, 30.0),
    ("time", "", 30.0, "taken as ms"), ("list", "", 30.0, "has no unit, and the header does not call it time"),
    ("list", "mm", 30.0, "in 'mm', no unit of time"), ("time", "s", 30.0, "in s lasts longer than any heartbeat"),
    ("time", "s", 1.0, "merely counts them"), ("time", "ms", -30.0, "does not grow"),
])
def test_the_spacing_of_the_frames_is_a_time_only_in_a_unit_of_time(
    small_cine, tmp_path, kind, unit, step, expected
):
    header = {"spacings": [1.4, 1.4, 9.6, step], "kinds": ["domain"] * 3 + [kind], "units": ["mm"] * 3 + [unit]}
    nrrd.write(str(tmp_path / "a.nrrd"), small_cine.image.transpose(3, 2, 1, 0), header)
    if isinstance(expected, float):
        times = read_silently(tmp_path / "a.nrrd").times_ms
        np.testing.assert_allclose(times, np.tile(expected * np.arange(6), (3, 1)), rtol=1e-12)
        return
    with pytest.warns(CMRSimWarning, match=expected):
        times = read_sequence(tmp_path / "a.nrrd").times_ms
    assert (times is None) == ("taken as ms" not in expected)


@pytest.mark.parametrize(("unit", "mm"), [("um", 1e-3), ("\N{MICRO SIGN}m", 1e-3), ("cm", 10.0)])
def test_spacings_are_read_in_the_units_of_their_axes(tmp_path, unit, mm):
    header = {"spacings": [1.0, 2.0, 3.0], "units": ["UNIT"] * 3}
    nrrd.write(str(tmp_path / "a.nrrd"), np.zeros((4, 5, 6), np.float32), header)
    head, data = (tmp_path / "a.nrrd").read_bytes().split(b"\n\n", 1)
    (tmp_path / "a.nrrd").write_bytes(head.replace(b"UNIT", unit.encode()) + b"\n\n" + data)
    np.testing.assert_allclose(read_silently(tmp_path / "a.nrrd").grid.spacing_mm, mm * np.array([1.0, 2.0, 3.0]))


def test_what_itk_writes_in_four_dimensions_names_no_space_and_no_time(small_cine, tmp_path):
    header = {"space dimension": 4, "space directions": np.diag([1.4, 1.4, 9.6, 30.0]),
              "space origin": [1.0, 2.0, 3.0, 0.0], "kinds": ["domain"] * 4}  # fmt: skip
    nrrd.write(str(tmp_path / "a.nrrd"), small_cine.image.transpose(3, 2, 1, 0), header)
    with pytest.warns(CMRSimWarning) as told:
        read = read_sequence(tmp_path / "a.nrrd")
    assert [str(w.message).split(": ")[1].split(" (")[0] for w in told] == [
        "the header names no space; positions are taken as left-posterior-superior, as ITK writes them",
        "the spacing of the frames"]
    np.testing.assert_array_equal(read.grid.affine_ras[:3, 3], [-1.0, -2.0, 3.0])
    assert read.image.shape == small_cine.image.shape and read.times_ms is None


def test_an_index_wins_over_a_spacing():
    fields = {"axis 3 index values": "0 31 60"}
    np.testing.assert_array_equal(frame_times(FrameAxis("ms", step=30.0), fields, 3).times_ms, [0.0, 31.0, 60.0])


def test_frames_counted_by_a_writer_that_claims_no_time_are_no_reason_for_a_note():
    found = frame_times(FrameAxis(), {"axis 3 index values": "0 1 2"}, 3)
    assert (found.times_ms, found.notes) == (None, [])


@pytest.mark.parametrize(("values", "note"), [("0 30", "2 values for 3 frames"), ("0 nan 30", "no numbers"),
                                              ("0 30 30", "does not grow")])
def test_an_index_that_does_not_fit_is_told(values, note):
    found = frame_times(FrameAxis("ms"), {"axis 3 index values": values}, 3)
    assert found.times_ms is None and note in found.notes[0]

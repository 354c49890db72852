"""ISMRMRD raw data."""

import tracemalloc
from dataclasses import replace

import h5py
import ismrmrd
import numpy as np
import pytest

from CMRSimExtension.errors import FileFormatError, InputError
from CMRSimExtension.files.atomic import StagedFiles
from CMRSimExtension.files.ismrmrd_reading import read_ismrmrd
from CMRSimExtension.files.ismrmrd_writing import write_ismrmrd, write_raw
from CMRSimExtension.scanner.breath_hold import BreathHold
from CMRSimExtension.scanner.faults import Arrhythmia, Mistriggering
from CMRSimExtension.scanner.kspace import CartesianEncoding
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.scanner.segmented import segmented


@pytest.fixture
def raw(small_cine, tmp_path):
    write_ismrmrd(small_cine, tmp_path / "X.h5")
    (tmp_path / "X.h5.json").unlink()
    return tmp_path / "X.h5"


def test_the_file_alone_holds_voxels_geometry_and_times(raw, small_cine):
    read = read_ismrmrd(raw)
    np.testing.assert_array_equal(read.image, small_cine.image)
    np.testing.assert_array_equal(read.grid.affine_ras, small_cine.grid.affine_ras)
    np.testing.assert_array_equal(read.times_ms, small_cine.times_ms)
    np.testing.assert_array_equal(read.heartbeats_ms, small_cine.heartbeats_ms)


def test_the_k_space_gives_the_image(raw, small_cine):
    with h5py.File(raw, "a") as file:
        del file["cine"]
    # Single precision in k-space: 24 bits, summed over 2000 samples.
    np.testing.assert_allclose(read_ismrmrd(raw).image, small_cine.image, atol=small_cine.image.max() * 2e-6)


def test_without_our_own_parameters_the_geometry_follows_from_the_acquisitions(raw, small_cine):
    with h5py.File(raw, "a") as file:
        del file["cine"]
        xml = file["dataset"]["xml"][0]
        start, end = xml.index(b"<userParameters"), xml.index(b"</userParameters>") + len(b"</userParameters>")
        file["dataset"]["xml"][0] = xml[:start] + xml[end:]
    # Positions and directions are single precision: 77 mm / 2^24, times 48 pixels of direction error.
    np.testing.assert_allclose(read_ismrmrd(raw).grid.affine_ras, small_cine.grid.affine_ras, atol=2e-5)


def test_the_reference_package_reads_every_line(raw):
    with ismrmrd.File(raw, "r") as file:
        data = file["dataset"]
        assert len(data.acquisitions) == 6 * 3 * 40
        line = data.acquisitions[6 * 40 + 2 * 40 + 7]  # slice 1, frame 2, line 7
        assert (line.idx.slice, line.idx.phase, line.idx.kspace_encode_step_1) == (1, 2, 7)
        assert line.data.shape == (1, 48)
        assert data.header.encoding[0].encodedSpace.matrixSize.y == 40


def test_the_middle_sample_is_the_mean(raw, small_cine):
    with ismrmrd.File(raw, "r") as file:
        line = file["dataset"].acquisitions[20]
        assert line.data[0, line.center_sample] == pytest.approx(small_cine.image[0, 0].mean(), rel=1e-6)


@pytest.mark.parametrize("phase_direction", ["rows", "columns"])
def test_coils_of_a_simulated_k_space_combine_to_the_scanners_image(small_cine, tmp_path, phase_direction):
    # Acquired matrix smaller than the image's, as scanners do: zero-filling must not shift anything.
    encoding = CartesianEncoding((40, 48), (30, 36), (40, 48))
    maps = np.random.default_rng(1).normal(size=(3, 40, 48)) + 1.5
    kspace = [encoding.forward(small_cine.image[:, s, None] * maps) for s in range(3)]
    expected = np.stack([np.sqrt((np.abs(encoding.reconstruct(k)) ** 2).sum(axis=1)) for k in kspace], axis=1)
    write_ismrmrd(small_cine, tmp_path / "X.h5", kspace, phase_direction=phase_direction)
    with h5py.File(tmp_path / "X.h5", "a") as file:
        del file["cine"]
    np.testing.assert_allclose(read_ismrmrd(tmp_path / "X.h5").image, expected, atol=expected.max() * 5e-6)


def test_lines_of_a_segmented_scan_carry_their_own_times_and_heartbeats(small_cine, tmp_path):
    protocol = Protocol(
        fov_mm=(200.0, 240.0), matrix=(40, 48), acquired_resolution_mm=(5.0, 5.0), phases=6, views_per_segment=10,
        phase_direction="columns",
    )  # fmt: skip
    schedules = [segmented(protocol, beat * np.ones(5), 900.0) for beat in (850.0, 900.0, 950.0)]
    kspace = [np.ones((6, 1, 40, 48), np.complex64)] * 3
    with StagedFiles() as staged:
        write_raw(small_cine, staged.path(tmp_path / "X.h5"), kspace, phase_direction="columns", schedules=schedules)
    with h5py.File(tmp_path / "X.h5") as file:
        head = file["dataset/data"]["head"]
    idx, slices = head["idx"], head["idx"]["slice"]
    for s, schedule in enumerate(schedules):
        here = slices == s
        frame, line = idx["phase"][here], idx["kspace_encode_step_1"][here]
        np.testing.assert_array_equal(idx["segment"][here], schedule.heartbeat[frame, line])
        since_r = 2.5 * head["physiology_time_stamp"][here, 0]
        np.testing.assert_allclose(since_r, schedule.since_r_wave_ms[frame, line], atol=1.26)
        # Lines come in the order of acquisition; those of one heartbeat follow each other by the repetition time.
        since_start = 2.5 * head["acquisition_time_stamp"][here].astype(float)
        assert np.diff(since_start).min() >= 0 and np.diff(since_start).max() < 950.0
        # One clock for R waves: a line's time less that after its R wave is the time of a heartbeat of the series.
        before = sum(5 * beat for beat in (850.0, 900.0, 950.0)[:s]) - schedules[0].since_start_ms.min()
        waves = before + (850.0, 900.0, 950.0)[s] * np.arange(-1, 6)
        assert np.abs((since_start - since_r)[:, None] - waves).min(axis=1).max() < 2.6
        assert np.median(np.diff(since_start)) == pytest.approx(protocol.repetition_time_ms, abs=2.5)
        # Each frame is marked where its first and its last line come.
        for flag, own in ((7, 0), (8, -1)):
            marked = np.flatnonzero(head["flags"][here] & np.uint64(1 << (flag - 1)))
            assert sorted(frame[marked]) == list(range(6))
            assert all(index == np.flatnonzero(frame == frame[index])[own] for index in marked)
    np.testing.assert_array_equal(head["scan_counter"], np.arange(len(head)) + 1)


@pytest.mark.parametrize("fault", [Arrhythmia(), Mistriggering()])
def test_the_clock_never_goes_back_where_lines_come_late(small_cine, tmp_path, fault):
    protocol = Protocol(
        fov_mm=(200.0, 240.0), matrix=(40, 48), acquired_resolution_mm=(5.0, 5.0), phases=6, views_per_segment=10,
    )  # fmt: skip
    rng = np.random.default_rng(4)
    kspace = [np.ones((6, 1, 40, 48), np.complex64)] * 3
    for attempt in range(4):
        holds = [BreathHold.plan(protocol, (fault,), rng, cycle_ms=900.0) for _ in range(3)]
        path = tmp_path / f"{attempt}.h5"
        with StagedFiles() as staged:
            write_raw(small_cine, staged.path(path), kspace, schedules=[hold.schedule for hold in holds])
        with h5py.File(path) as file:
            stamps = file["dataset/data"]["head"]["acquisition_time_stamp"].astype(int)
        assert stamps[0] == 0 and np.diff(stamps).min() >= 0


def test_k_space_is_taken_slice_by_slice(small_cine, tmp_path):
    taken = []

    def slices():
        for s in range(3):
            taken.append(s)
            yield np.zeros((6, 2, 40, 48), np.complex64)

    write_ismrmrd(small_cine, tmp_path / "X.h5", slices())
    assert taken == [0, 1, 2]


def test_memory_does_not_grow_with_the_number_of_slices(make_cine, tmp_path):
    def peak(slices):
        cine = make_cine(slices=slices)
        rng = np.random.default_rng(0)

        def drawn(*shape):
            return (rng.normal(size=(*shape, 8, 40, 48, 2)) @ [1, 1j]).astype(np.complex64)

        tracemalloc.start()
        write_raw(cine, tmp_path / f"{slices}.h5", (drawn(6) for _ in range(slices)), noise=drawn()[:, :, :40],
                  references=(drawn() for _ in range(slices)))  # fmt: skip
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(10) < 1.1 * peak(2)


@pytest.mark.parametrize(("given", "message"), [
    ({"noise": np.ones((3, 4, 48))}, r"noise has the shape \(3, 4, 48\); \(coils = 2"),
    ({"noise": np.full((2, 4, 48), np.nan)}, "noise holds NaN"),
    ({"references": [np.ones((2, 40, 48))] * 2}, "there are 2 reference scans and more slices"),
    ({"references": [np.ones((2, 40, 24))] * 3}, "reference scan of slice 0 has the shape"),
    ({"references": [np.zeros((2, 40, 48))] * 3}, "reference scan of slice 0 is empty"),
    ({"references": [np.ones((2, 40, 48))] * 3, "kspace": None}, "leave references out"),
])  # fmt: skip
def test_a_prescan_that_does_not_fit_is_refused_and_leaves_nothing(small_cine, tmp_path, given, message):
    kspace = given.pop("kspace", [np.ones((6, 2, 40, 48), np.complex64)] * 3)
    with pytest.raises(InputError, match=message):
        write_ismrmrd(small_cine, tmp_path / "X.h5", kspace, **given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("source", "dwell_us"), [
    ({"pixel_bandwidth_hz": 500.0}, 1e6 / (500 * 48)), ({"repetition_time_ms": 3.2, "echo_time_ms": 1.3}, 2600 / 48),
    ({}, 0.0), ({"repetition_time_ms": 3.2, "echo_time_ms": 4.0}, 0.0),
])  # fmt: skip
def test_the_dwell_time_is_that_of_the_bandwidth_or_the_longest_that_fits(small_cine, tmp_path, source, dwell_us):
    write_ismrmrd(replace(small_cine, sidecar={"source": {"study_uid": "1.2.3", **source}}), tmp_path / "X.h5")
    with ismrmrd.File(tmp_path / "X.h5", "r") as file:
        assert file["dataset"].acquisitions[0].sample_time_us == pytest.approx(dwell_us, rel=1e-6)
        # Where the patient lay is not told of what was not simulated here.
        assert file["dataset"].header.measurementInformation is None


def test_a_file_without_a_header_is_refused(raw):
    with h5py.File(raw, "a") as file:
        del file["dataset"]["xml"]
    with pytest.raises(FileFormatError, match="no ISMRMRD header"):
        read_ismrmrd(raw)


def test_missing_lines_are_counted(raw):
    with h5py.File(raw, "a") as file:
        del file["cine"]
        data = file["dataset"]["data"]
        data.resize(len(data) - 5, axis=0)
    with pytest.raises(FileFormatError, match="lacks 5 of 720 k-space lines"):
        read_ismrmrd(raw)


def test_a_file_that_is_not_hdf5_is_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"hello" * 100)
    with pytest.raises(FileFormatError, match="a.h5 cannot be read as an ISMRMRD file"):
        read_ismrmrd(tmp_path / "a.h5")


def test_a_truncated_file_is_refused(raw):
    raw.write_bytes(raw.read_bytes()[:-5000])
    with pytest.raises(FileFormatError, match="X.h5"):
        read_ismrmrd(raw)


def test_too_few_slices_of_k_space_leave_nothing(small_cine, tmp_path):
    with pytest.raises(InputError, match="k-space has 2 slices, the images have 3"):
        write_ismrmrd(small_cine, tmp_path / "X.h5", [np.zeros((6, 2, 40, 48), np.complex64)] * 2)
    assert list(tmp_path.iterdir()) == []


def test_nan_in_k_space_is_refused(small_cine, tmp_path):
    with pytest.raises(InputError, match="NaN"):
        write_ismrmrd(small_cine, tmp_path / "X.h5", [np.full((6, 2, 40, 48), np.nan, np.complex64)] * 3)


def test_the_same_cine_gives_the_same_bytes(raw, small_cine, tmp_path):
    write_ismrmrd(small_cine, tmp_path / "Y.h5")
    assert raw.read_bytes() == (tmp_path / "Y.h5").read_bytes()


def test_uneven_slices_keep_their_positions(small_cine, tmp_path):
    origins = small_cine.grid.affine_ras[:3, 3] + np.outer([0, 1, 2.3], small_cine.grid.affine_ras[:3, 2])
    write_ismrmrd(replace(small_cine, slice_origins_mm=origins), tmp_path / "X.h5")
    (tmp_path / "X.h5.json").unlink()
    np.testing.assert_array_equal(read_ismrmrd(tmp_path / "X.h5").slice_origins_mm, origins)


def test_lines_that_were_not_acquired_are_not_in_the_file(small_cine, tmp_path):
    kspace = np.ones((6, 2, 40, 48), np.complex64)
    kspace[:, :, 1::2] = 0  # twofold undersampling
    write_ismrmrd(small_cine, tmp_path / "X.h5", [kspace] * 3)
    with ismrmrd.File(tmp_path / "X.h5", "r") as file:
        lines = {a.idx.kspace_encode_step_1 for a in file["dataset"].acquisitions}
        assert len(file["dataset"].acquisitions) == 6 * 3 * 20
    assert lines == set(range(0, 40, 2))
    np.testing.assert_array_equal(read_ismrmrd(tmp_path / "X.h5").image, small_cine.image)


@pytest.mark.parametrize(("sidecar", "field_t", "hertz"), [
    ({"source": {"study_uid": "1.2.3"}}, None, 0),
    ({"source": {"study_uid": "1.2.3", "field_t": 3.0}}, 3.0, 127732436),  # 42.577478518 MHz/T (CODATA 2018)
])
def test_the_field_strength_is_named_only_where_it_is_known(small_cine, tmp_path, sidecar, field_t, hertz):
    write_ismrmrd(replace(small_cine, sidecar=sidecar), tmp_path / "X.h5")
    header = ismrmrd.xsd.CreateFromDocument(ismrmrd.Dataset(tmp_path / "X.h5", "dataset", False).read_xml_header())
    assert header.acquisitionSystemInformation.systemFieldStrength_T == field_t
    assert header.experimentalConditions.H1resonanceFrequency_Hz == hertz

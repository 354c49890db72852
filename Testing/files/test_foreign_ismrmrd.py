"""ISMRMRD files as other programs write them: every kind of readout is used, passed by or refused with a reason."""

import shutil
from dataclasses import dataclass, field

import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ismrmrd import xsd

from CMRSimExtension.errors import FileFormatError
from CMRSimExtension.files.ismrmrd_reading import read_ismrmrd
from CMRSimExtension.files.third_party import GeometryWarning

ROWS, COLUMNS, COILS, FRAMES, SLICES = 48, 40, 4, 2, 2
LPS = np.diag([-1.0, -1.0, 1.0])


def channels():
    """(frames, slices, coils, rows, columns) of a disc under coils of smooth sensitivity."""
    y, x = np.meshgrid(np.arange(ROWS) - ROWS // 2, np.arange(COLUMNS) - COLUMNS // 2, indexing="ij")
    angle = 2 * np.pi * np.arange(COILS)[:, None, None] / COILS
    away = np.hypot(y - 30 * np.sin(angle), x - 30 * np.cos(angle))
    maps = np.exp(-((away / 32) ** 2) + 1j * (angle + 0.02 * away))
    size = 15 - np.arange(FRAMES)[:, None, None, None] - 2 * np.arange(SLICES)[:, None, None]
    disc = 10 / (1 + np.exp((np.hypot(y, x) - size) / 0.7))
    return disc[:, :, None] * maps


def transformed(images, axes=(-2, -1)):
    samples = np.fft.fft2(np.fft.ifftshift(images, axes=axes), axes=axes, norm="forward")
    return np.fft.fftshift(samples, axes=axes)


@dataclass
class Export:
    """A file on its way: its header's values, and a list of readouts, each of which can be changed or left out."""

    encoded_columns: int = COLUMNS
    trajectory: str = "CARTESIAN"
    limits: tuple[int, int, int] | None = (0, ROWS - 1, ROWS // 2)
    factor: int | None = None
    coils: int = COILS
    readouts: list[ismrmrd.Acquisition] = field(default_factory=list)

    def add(self, data, flags=(), center_sample=None, discard=(0, 0), **idx):
        readout = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data, dtype=np.complex64))
        readout.center_sample = data.shape[1] // 2 if center_sample is None else center_sample
        readout.discard_pre, readout.discard_post = discard
        readout.read_dir[:], readout.phase_dir[:], readout.slice_dir[:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
        readout.position[:] = (1, 2, 10.0 * idx.get("slice", 0))
        for flag in flags:
            readout.set_flag(flag)
        for name, value in idx.items():
            setattr(readout.idx, name, value)
        self.readouts.append(readout)

    def add_lines(self, change=None, images=None, wanted=range(ROWS)):
        """Lines of all frames and slices; `change` adds one in its own way, given data and index."""
        samples = transformed(channels() if images is None else images)
        for frame, s, line in np.ndindex(FRAMES, SLICES, ROWS):
            if line in wanted:
                idx = {"phase": frame, "slice": s, "kspace_encode_step_1": line}
                (change or self.add)(samples[frame, s, :, line], **idx)

    def write(self, path):
        def space(columns):
            return xsd.encodingSpaceType(
                matrixSize=xsd.matrixSizeType(x=columns, y=ROWS, z=1),
                fieldOfView_mm=xsd.fieldOfViewMm(x=5.0 * columns, y=5.0 * ROWS, z=8.0))

        parallel = None if self.factor is None else xsd.parallelImagingType(
            accelerationFactor=xsd.accelerationFactorType(kspace_encoding_step_1=self.factor, kspace_encoding_step_2=1))
        limit = None if self.limits is None else xsd.limitType(
            minimum=self.limits[0], maximum=self.limits[1], center=self.limits[2])
        header = xsd.ismrmrdHeader(
            experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_000_000),
            encoding=[xsd.encodingType(
                encodedSpace=space(self.encoded_columns), reconSpace=space(COLUMNS), parallelImaging=parallel,
                trajectory=xsd.trajectoryType[self.trajectory],
                encodingLimits=xsd.encodingLimitsType(kspace_encoding_step_1=limit))])
        with ismrmrd.File(path, "w") as file:
            file["dataset"].header = header
            file["dataset"].acquisitions = self.readouts
        return path


@pytest.fixture
def export():
    return Export()


def rss(images):
    return np.sqrt((np.abs(images) ** 2).sum(axis=2))


def read(export, tmp_path):
    return read_ismrmrd(export.write(tmp_path / "foreign.h5"))


def same(image, expected):
    # Single precision: 2^-24 over some 2000 samples.
    np.testing.assert_allclose(image, expected, atol=5e-6 * expected.max())


def test_lines_in_any_order_give_images_and_geometry(export, tmp_path):
    export.add_lines()
    np.random.default_rng(0).shuffle(export.readouts)
    cine = read(export, tmp_path)
    same(cine.image, rss(channels()))
    np.testing.assert_allclose(cine.grid.affine_ras @ [COLUMNS // 2, ROWS // 2, 1, 1], [-1, -2, 10, 1], atol=1e-4)
    np.testing.assert_allclose(cine.grid.affine_ras[:3, :2], LPS[:, :2] * 5)


def test_a_phantom_that_lies_nowhere_is_taken_to_be_axial_and_noted(export, tmp_path):
    def add(data, **idx):
        if idx["slice"] == 0:
            export.add(data, **idx)
            line = export.readouts[-1]
            line.read_dir[:] = line.phase_dir[:] = line.slice_dir[:] = line.position[:] = (0, 0, 0)

    export.add_lines(add)
    with pytest.warns(GeometryWarning, match="do not tell where the slice lies"):
        cine = read(export, tmp_path)
    np.testing.assert_allclose(cine.grid.affine_ras[:3, :2], LPS[:, :2] * 5)
    assert "taken to be axial" in cine.sidecar["notes"][0]


def test_slices_that_are_not_evenly_spaced_keep_their_positions(export, tmp_path):
    export.add_lines()
    export.add_lines(lambda data, **idx: export.add(data, **{**idx, "slice": 2}) if idx["slice"] else None)
    for readout in export.readouts:
        readout.position[:] = (1, 2, (0.0, 10.0, 23.0)[readout.idx.slice])
    origins = read(export, tmp_path).slice_origins_mm
    np.testing.assert_allclose(np.diff(origins, axis=0), [[0, 0, 10], [0, 0, 13]], atol=1e-5)


def turned(export):
    export.add_lines()
    for readout in export.readouts:
        if readout.idx.slice:
            readout.read_dir[:], readout.slice_dir[:] = (0, 0, 1), (-1, 0, 0)


def test_readouts_that_make_no_image_are_passed_by(export, tmp_path):
    junk = 1e3 * np.ones((COILS, COLUMNS))
    for flag in (ismrmrd.ACQ_IS_NAVIGATION_DATA, ismrmrd.ACQ_IS_PHASECORR_DATA, ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
                 ismrmrd.ACQ_IS_RTFEEDBACK_DATA, ismrmrd.ACQ_IS_DUMMYSCAN_DATA, ismrmrd.ACQ_IS_PHASE_STABILIZATION,
                 ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA):  # fmt: skip
        # Of other sizes and with indices of their own, too.
        export.add(junk, [flag], kspace_encode_step_1=5)
        export.add(junk[:2, :7], [flag], slice=9, contrast=3, kspace_encode_step_1=500)
    export.add_lines()
    export.add(junk, [ismrmrd.ACQ_IS_NAVIGATION_DATA], kspace_encode_step_1=7)
    same(read(export, tmp_path).image, rss(channels()))


def test_an_oversampled_readout_is_cut_to_the_image(export, tmp_path):
    export.encoded_columns = 2 * COLUMNS
    wide = np.pad(channels(), [(0, 0)] * 4 + [(COLUMNS // 2, COLUMNS // 2)])
    # What lies outside the image must not fold into it.
    wide[..., :6] = 3.0
    export.add_lines(images=wide)
    same(read(export, tmp_path).image, rss(channels()))


def test_reversed_readouts_are_turned(export, tmp_path):
    def add(data, **idx):
        if idx["kspace_encode_step_1"] % 2:
            back = COLUMNS - 1 - COLUMNS // 2
            export.add(data[:, ::-1], [ismrmrd.ACQ_IS_REVERSE], center_sample=back, **idx)
        else:
            export.add(data, **idx)

    export.add_lines(add)
    same(read(export, tmp_path).image, rss(channels()))


def test_discarded_samples_and_asymmetric_echoes_keep_the_centre(export, tmp_path):
    def add(data, **idx):
        padded = np.pad(data[:, 6:], [(0, 0), (3, 2)], constant_values=1e3)
        export.add(padded, center_sample=COLUMNS // 2 - 6 + 3, discard=(3, 2), **idx)

    export.add_lines(add)
    samples = transformed(channels())
    samples[..., :6] = 0
    axes = (-2, -1)
    expected = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(samples, axes=axes), norm="forward"), axes=axes)
    same(read(export, tmp_path).image, rss(expected))


def test_averages_are_averaged(export, tmp_path):
    def add(data, **idx):
        for average, sign in ((0, 1), (1, -1)):
            export.add(data + 0.3 * sign * np.abs(data[:, ::-1]), average=average, **idx)

    export.add_lines(add)
    same(read(export, tmp_path).image, rss(channels()))


def test_repetitions_of_one_phase_are_frames(export, tmp_path):
    export.add_lines(lambda data, **idx: export.add(data, repetition=idx.pop("phase"), **idx))
    same(read(export, tmp_path).image, rss(channels()))


def test_a_noise_scan_of_another_length_prewhitens(export, tmp_path):
    rng = np.random.default_rng(1)
    mixing = np.eye(COILS) + 0.4 * rng.normal(size=(COILS, COILS))
    mixing[2] *= 5  # a loud channel
    noise = rng.normal(size=(COILS, 40000, 2)) @ [1, 1j]
    export.add(mixing @ noise, [ismrmrd.ACQ_IS_NOISE_MEASUREMENT], slice=7)
    export.add_lines(lambda data, **idx: export.add(mixing @ data, **idx))
    # Whitening undoes the mixing up to a rotation of the channels, which their root sum of squares does not see, and
    # keeps the mean power. The covariance is known to 1 / sqrt(40000) = 0.5 %.
    power = np.sqrt(np.mean(np.sum(mixing**2, axis=1)))
    np.testing.assert_allclose(read(export, tmp_path).image, power * rss(channels()), rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("flagged", ["each as it serves", "all alike"])
def test_embedded_calibration_lines_unfold(export, tmp_path, first, flagged):
    export.factor = 2
    lattice, middle = set(range(first, ROWS, 2)), set(range(ROWS // 2 - 10, ROWS // 2 + 10))

    def add(data, **idx):
        serves_both = idx["kspace_encode_step_1"] in lattice or flagged == "all alike"
        flag = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING if serves_both else ismrmrd.ACQ_IS_PARALLEL_CALIBRATION
        export.add(data, [flag] if idx["kspace_encode_step_1"] in middle else (), **idx)

    export.add_lines(add, wanted=lattice | middle)
    image, expected = read(export, tmp_path).image, rss(channels())
    body = expected > 0.2 * expected.max()
    # Without noise; the 20 lines are all that the sensitivities are known from, and nothing outside the disc.
    assert np.sqrt(np.mean((image - expected)[body] ** 2)) < 0.02 * expected.max()
    folded = rss(channels() + np.roll(channels(), ROWS // 2, axis=-2)) / 2
    assert np.sqrt(np.mean((folded - expected)[body] ** 2)) > 0.2 * expected.max()


@pytest.mark.parametrize("limits", [(0, ROWS - 1, ROWS // 2), None])
def test_frames_that_skip_lines_in_turn_are_each_others_reference(export, tmp_path, limits):
    export.factor, export.limits = 2, limits

    def add(data, **idx):
        if (idx["kspace_encode_step_1"] + idx["phase"]) % 2 == 0:
            export.add(data, repetition=idx.pop("phase"), **idx)

    still = np.repeat(channels()[:1], FRAMES, axis=0)
    export.add_lines(add, images=still)
    image, expected = read(export, tmp_path).image, rss(still)
    body = expected > 0.2 * expected.max()
    assert np.sqrt(np.mean((image - expected)[body] ** 2)) < 0.01 * expected.max()


def test_limits_that_begin_late_are_partial_fourier(export, tmp_path):
    export.limits = (14, ROWS - 1, ROWS // 2)
    export.add_lines(wanted=range(14, ROWS))
    samples = transformed(channels())
    samples[..., :14, :] = 0
    axes = (-2, -1)
    expected = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(samples, axes=axes), norm="forward"), axes=axes)
    same(read(export, tmp_path).image, rss(expected))


def test_lines_counted_from_the_first_acquired_lie_where_the_centre_says(export, tmp_path):
    export.limits = (0, ROWS - 15, ROWS // 2 - 14)
    export.add_lines(
        lambda data, **idx: export.add(data, **{**idx, "kspace_encode_step_1": idx["kspace_encode_step_1"] - 14}),
        wanted=range(14, ROWS))
    counted = read(export, tmp_path).image
    absolute = Export(limits=(14, ROWS - 1, ROWS // 2))
    absolute.add_lines(wanted=range(14, ROWS))
    np.testing.assert_array_equal(counted, read(absolute, tmp_path).image)


def fold_in(export):
    export.factor = 2
    export.add_lines(wanted=range(0, ROWS, 2))


def few_reference_lines(export):
    fold_in(export)
    for frame, line in np.ndindex(SLICES, 5):
        export.add(np.ones((COILS, COLUMNS)), [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION], slice=frame,
                   kspace_encode_step_1=ROWS // 2 + line)  # fmt: skip


def reference_of_one_slice(export):
    fold_in(export)
    export.add(np.ones((COILS, COLUMNS)), [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION], kspace_encode_step_1=ROWS // 2)


def noise(export, coils=COILS, samples=400, twins=False):
    export.add_lines()
    data = np.random.default_rng(0).normal(size=(coils, samples))
    if twins:
        data[-1] = data[0]
    export.add(data, [ismrmrd.ACQ_IS_NOISE_MEASUREMENT])


def bipolar_echo_planar(export):
    export.add_lines(lambda data, **idx: export.add(data, [ismrmrd.ACQ_IS_REVERSE], **idx))
    export.add(np.ones((COILS, COLUMNS)), [ismrmrd.ACQ_IS_PHASECORR_DATA])


def slices_without_numbers(export):
    export.add_lines()
    for readout in export.readouts:
        readout.idx.slice = 0


def doubled(name):
    def build(export):
        export.add_lines()
        export.add_lines(lambda data, **idx: export.add(data, **{name: 1}, **idx))

    return build


def header(**values):
    def build(export):
        export.add_lines()
        for name, value in values.items():
            setattr(export, name, value)

    return build


@pytest.mark.parametrize(("build", "message"), [
    (fold_in, "skips lines .acceleration 2. and has reference lines of 0 of its 2 slices"),
    (reference_of_one_slice, "reference lines of 1 of its 2 slices"),
    (few_reference_lines, "has 5 reference lines from 0 to 4; at least 8"),
    (lambda e: e.add_lines(wanted=range(0, ROWS, 2)), "lacks 96 of 192 k-space lines"),
    (lambda e: e.add_lines(wanted=range(3, ROWS)), "lacks 12 of 192 k-space lines"),
    (lambda e: noise(e, coils=2), "noise of 2 channels and lines of 4"),
    (lambda e: noise(e, samples=30), "30 samples of noise for 4 channels"),
    (lambda e: noise(e, twins=True), "without noise of its own"),
    (bipolar_echo_planar, "echo-planar"),
    (doubled("contrast"), "holds 2 contrasts"), (doubled("set"), "holds 2 sets"),
    (doubled("kspace_encode_step_2"), "holds 2 partitions"), (doubled("repetition"), "2 repetitions of 2 phases"),
    (lambda e: e.add_lines(lambda data, **idx: e.add(data, [ismrmrd.ACQ_COMPRESSION1], **idx)), "compressed"),
    (lambda e: e.add_lines(lambda data, **idx: e.add(data, [ismrmrd.ACQ_IS_NAVIGATION_DATA], **idx)), "no lines"),
    (header(trajectory="EPI"), "holds epi or 3D"), (header(trajectory="SPIRAL"), "holds spiral"),
    (header(limits=(0, 20, 10)), "lines 0 to 47 where its header says 0 to 20"),
    (header(limits=(0, ROWS - 1, 3)), "from its centre for 48 rows"),
    (lambda e: e.add_lines(lambda data, **idx: e.add(np.tile(data, 2), **idx)), "readout of 80 samples"),
    (lambda e: e.add_lines(lambda data, **idx: e.add(data, center_sample=0, **idx)), "around its sample 0"),
    (lambda e: e.add_lines(images=np.nan * channels()), "NaN"), (turned, "slices of several orientations"),
    (slices_without_numbers, r"lines of slice 0 and one phase at positions 10\.0 mm apart"),
])  # fmt: skip
def test_what_makes_no_cine_is_refused_with_a_reason(export, tmp_path, build, message):
    build(export)
    with pytest.raises(FileFormatError, match=message):
        read(export, tmp_path)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Path of an undersampled file with every kind of readout, and its readouts as they lie in it."""
    export = Export(factor=2)
    export.add(np.random.default_rng(0).normal(size=(COILS, 400)), [ismrmrd.ACQ_IS_NOISE_MEASUREMENT])
    export.add_lines(wanted=range(0, ROWS, 2))
    for s, line in np.ndindex(SLICES, 20):
        line += ROWS // 2 - 10
        data = transformed(channels())[0, s, :, line]
        export.add(data, [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION], slice=s, kspace_encode_step_1=line)
    path = export.write(tmp_path_factory.mktemp("table") / "foreign.h5")
    assert read_ismrmrd(path).image.any()
    with h5py.File(path) as file:
        return path, file["dataset/data"][:]


NUMBERS = ("flags", "number_of_samples", "active_channels", "discard_pre", "discard_post", "center_sample",
           "encoding_space_ref", "kspace_encode_step_1", "kspace_encode_step_2", "slice", "phase", "repetition", "set",
           "average", "contrast")  # fmt: skip


@given(
    where=st.sampled_from(["noise", "one line", "all lines", "one reference line", "all"]),
    name=st.sampled_from(NUMBERS), value=st.one_of(st.integers(0, 70), st.integers(0, 2**16 - 1)),
    bit=st.integers(0, 63),
)  # fmt: skip
@settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_any_number_in_the_readouts_headers_is_read_or_refused(table, tmp_path_factory, where, name, value, bit):
    path, data = table
    changed = data.copy()
    part = {"noise": slice(0, 1), "one line": slice(9, 10), "all lines": slice(1, 97),
            "one reference line": slice(100, 101), "all": slice(None)}[where]  # fmt: skip
    head = changed["head"]
    field = head["idx"] if name in head["idx"].dtype.names else head
    field[name][part] = 1 << bit if name == "flags" else value
    target = tmp_path_factory.getbasetemp() / "changed.h5"
    shutil.copyfile(path, target)
    with h5py.File(target, "a") as file:
        file["dataset/data"][:] = changed
    try:
        assert np.isfinite(read_ismrmrd(target).image).all()
    except FileFormatError as error:
        assert "changed.h5" in str(error)

"""What reconstruction developers do with the raw data: images from the file alone, by the ismrmrd package and NumPy."""

import shutil

import h5py
import ismrmrd
import numpy as np
import pytest

from CMRSimExtension.anatomy.subject import Subject
from CMRSimExtension.command_line.kspace_store import KspaceStore
from CMRSimExtension.files.ismrmrd_reading import read_ismrmrd
from CMRSimExtension.scanner.protocol import Protocol
from CMRSimExtension.simulation.simulate import simulate

PROTOCOL = Protocol(
    fov_mm=(340.0, 340.0), matrix=(126, 126), acquired_resolution_mm=(2.8, 2.7), snr=20.0, filter="none", coils=8,
    phases=2, slices=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A function: the raw data of a scan of a subject, away from all other files, and the cine; each is made once."""
    made = {}

    def make(number=4, **changes):
        key = (number, *sorted(changes.items()))
        if key in made:
            return made[key]
        subject, protocol = Subject.random(number), PROTOCOL.replace(**changes)
        folder = tmp_path_factory.mktemp("raw")
        with KspaceStore(folder) as store:
            cine = simulate(subject, protocol, number, on_kspace=store)
            store.write(cine, folder / "X.h5")
        assert [path.name for path in folder.iterdir()] == ["X.h5"]
        made[key] = folder / "X.h5", cine
        return made[key]

    return make


def without_images(path):
    """A copy of a file that holds its k-space alone."""
    bare = path.with_name("bare.h5")
    shutil.copyfile(path, bare)
    with h5py.File(bare, "a") as file:
        del file["cine"]
    return bare


class Reader:
    """A file's acquisitions by kind, and what its header says; nothing here but ISMRMRD's and NumPy's own."""

    def __init__(self, path):
        with ismrmrd.File(path, "r") as file:
            self.header = file["dataset"].header
            acquisitions = file["dataset"].acquisitions[:]
        noise = [a for a in acquisitions if a.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
        self.reference = [a for a in acquisitions if a.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)]
        self.lines = [a for a in acquisitions if not any(a is b for b in (*noise, *self.reference))]
        self.noise = np.concatenate([a.data for a in noise], axis=1)
        self.encoding = self.header.encoding[0]
        self.limits = self.encoding.encodingLimits
        self.whiten = np.linalg.inv(np.linalg.cholesky(np.cov(self.noise)))  # unit variance of complex noise

    def kspace(self, acquisitions, s, frame):
        """(coils, rows, columns) zero-filled to the image's size, prewhitened."""
        shape = self.encoding.reconSpace.matrixSize
        samples = np.zeros((len(self.whiten), shape.y, shape.x), complex)
        for a in acquisitions:
            if a.idx.slice == s and a.idx.phase == frame:
                row = shape.y // 2 + a.idx.kspace_encode_step_1 - self.limits.kspace_encoding_step_1.center
                start = shape.x // 2 - a.center_sample
                samples[:, row, start:start + a.number_of_samples] = self.whiten @ a.data
        return samples


def transformed(samples):
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(samples, axes=axes), norm="forward"), axes=axes)


def blurred(values):
    """Means over 5 x 5 pixels with binomial weights; at the border they do not go on at the other end of the image."""
    for axis in (0, 1):
        beyond = np.pad(values, [(2 * (axis == n),) * 2 for n in range(values.ndim)], mode="edge")
        parts = (np.take(beyond, range(k, k + values.shape[axis]), axis) for k in range(5))
        values = sum(weight * part for weight, part in zip((1, 4, 6, 4, 1), parts)) / 16
    return values


def sensitivities(channels):
    """First eigenvectors of the local covariance (Walsh 2000)."""
    covariance = blurred(np.einsum("cyx,dyx->yxcd", channels, channels.conj()))
    return np.moveaxis(np.linalg.eigh(covariance)[1][..., -1], -1, 0)


def unfolded(folded, maps, factor):
    """SENSE image, and its noise SD (real part) for channel images of noise 1."""
    coils, rows, columns = maps.shape
    s = maps.reshape(coils, factor, rows // factor, columns).transpose(2, 3, 0, 1)
    inverse = np.linalg.inv(s.conj().swapaxes(-1, -2) @ s)
    period = folded[:, :rows // factor].transpose(1, 2, 0)[..., None]
    image = (inverse @ s.conj().swapaxes(-1, -2) @ period)[..., 0]
    sd = np.sqrt(np.diagonal(inverse, axis1=-2, axis2=-1).real)
    return tuple(np.moveaxis(v, -1, 0).reshape(rows, columns) for v in (image, sd))


@pytest.mark.parametrize(("number", "changes"), [
    (3, {"acceleration": 2}), (6, {"acceleration": 2, "phase_direction": "columns", "partial_fourier": 0.8}),
    (5, {"acceleration": 3, "snr": 10.0}),
])  # fmt: skip
def test_an_undersampled_scan_is_unfolded_from_its_file_alone(scan, number, changes):
    path, cine = scan(number, **changes)
    full_scan = scan(number, **{**changes, "acceleration": 1, "snr": 1e5})[0]
    got, whole, ours = Reader(path), Reader(full_scan), read_ismrmrd(without_images(path)).image
    factor = got.encoding.parallelImaging.accelerationFactor.kspace_encoding_step_1
    assert factor == changes["acceleration"]
    assert got.encoding.parallelImaging.calibrationMode.value == "separate"
    assert whole.encoding.parallelImaging is None and not whole.reference
    swapped = changes.get("phase_direction") == "columns"
    unit = np.sqrt(np.mean(np.abs(got.noise) ** 2))
    # The file's units, for a full scan whose noise is nothing.
    scale = unit / np.sqrt(np.mean(np.abs(whole.noise) ** 2))
    for s in range(2):
        maps = sensitivities(transformed(got.kspace(got.reference, s, 0)))
        for frame in range(2):
            samples = got.kspace(got.lines, s, frame)
            image, sd = unfolded(transformed(samples) * factor, maps, factor)
            # Prewhitened samples have a noise of 1, the real part of 1 / sqrt(2); the transform adds those acquired.
            sd = sd * factor * np.sqrt(np.count_nonzero(samples[0]) / 2)
            full = np.sqrt((np.abs(transformed(whole.kspace(whole.lines, s, frame))) ** 2).sum(axis=0)) / scale
            body = full > 0.25 * np.percentile(full, 99)
            labels, our = (values.T if swapped else values for values in (cine.labels[frame, s], ours[frame, s]))
            both = (np.stack([np.abs(image), our / unit]) - full) / sd
            # By the tools of this file, and by our own reader.
            for error in both:
                # The maps come from lines of the same noise, averaged over more than 9 pixels: less than a ninth of it
                # again for each of the folds.
                assert np.sqrt(np.mean(error[labels > 0] ** 2)) < np.sqrt(1 + factor / 9)
                assert 0.97 < np.sqrt(np.mean(error[body] ** 2)) < 1.2
                # From slice to slice this scatters with an SD of 0.025, by the noise that the maps share.
                assert abs(np.mean(error[body])) < 0.05
                # Of white noise, one pixel in two millions.
                assert np.mean(np.abs(error[body]) > 5) < 0.001


@pytest.mark.parametrize("changes", [
    {"acceleration": 2}, {"acceleration": 3, "snr": 10.0},
    {"acceleration": 2, "phase_direction": "columns", "partial_fourier": 0.8},
])  # fmt: skip
def test_our_own_reader_unfolds_what_it_reads_without_images(scan, changes):
    path, cine = scan(**changes)
    image, heart = read_ismrmrd(without_images(path)).image, cine.labels > 0
    noise = cine.image[heart].mean() / cine.sidecar["protocol"]["snr"]
    # The same lines, with sensitivities that are estimated instead of known: most of the noise is the same.
    assert np.sqrt(np.mean((image - cine.image)[heart] ** 2)) < 0.6 * noise


@pytest.mark.parametrize("changes", [{}, {"partial_fourier": 0.7, "phase_direction": "columns"}])
def test_our_own_reader_combines_full_lines_and_leaves_those_of_partial_fourier_zero(scan, changes):
    path, cine = scan(snr=100.0, **changes)
    image, heart = read_ismrmrd(without_images(path)).image, cine.labels > 0
    # The root sum of squares of 8 channels, where the scanner combines them with the true sensitivities: the others'
    # noise lifts it by 15 / (2 * 100**2), the change of sensitivities within a pixel by a few thousandths.
    np.testing.assert_allclose(image[heart].mean(), cine.image[heart].mean(), rtol=5e-3)
    np.testing.assert_array_equal(read_ismrmrd(path).image, cine.image)


def test_the_limits_are_those_of_the_lines_acquired(scan):
    got = Reader(scan(partial_fourier=0.7)[0])
    acquired = {a.idx.kspace_encode_step_1 for a in got.lines}
    # 121 lines (340 mm / 2.8 mm) of which floor(0.3 * 121) = 36 are left out.
    limits = got.limits.kspace_encoding_step_1
    assert (limits.minimum, limits.maximum, limits.center) == (36, 120, 60) == (min(acquired), max(acquired), 60)
    read = got.limits.kspace_encoding_step_0
    assert (read.minimum, read.maximum, read.center) == (0, 125, 63) and got.lines[0].center_sample == 63
    assert got.limits.phase.maximum == 1 and got.limits.slice.maximum == 1
    fast = Reader(scan(acceleration=2, partial_fourier=0.7)[0])
    limits = fast.limits.kspace_encoding_step_1
    assert (limits.minimum, limits.maximum, limits.center) == (36, 120, 60)
    assert {a.idx.kspace_encode_step_1 for a in fast.lines} == set(range(36, 121, 2))


def test_the_header_tells_receiver_patient_and_sampling(scan):
    path, cine = scan(acceleration=2)
    got = Reader(path)
    system, measurement = got.header.acquisitionSystemInformation, got.header.measurementInformation
    assert system.relativeReceiverNoiseBandwidth == 1.0 and system.receiverChannels == 8 == len(system.coilLabel)
    assert measurement.patientPosition.value == "HFS" and measurement.protocolName == "custom"
    protocol = Protocol.from_dict(cine.sidecar["protocol"])
    # The longest readout that is centred on the echo and lies between two pulses: 1.5 ms on either side, 126 samples.
    lasts_ms = {round(1e-3 * a.sample_time_us * a.number_of_samples, 5) for a in (*got.lines, *got.reference)}
    assert lasts_ms == {2 * min(protocol.echo_time_ms, protocol.repetition_time_ms - protocol.echo_time_ms)}


def test_noise_comes_first_and_reference_lines_before_their_slice(scan):
    path, cine = scan(acceleration=2, segmented=True, phases=6, views_per_segment=10)
    with ismrmrd.File(path, "r") as file:
        acquisitions = file["dataset"].acquisitions[:]
    kinds = [(a.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT), a.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION),
              a.idx.slice) for a in acquisitions]  # fmt: skip
    in_turn = [kind for n, kind in enumerate(kinds) if n == 0 or kind != kinds[n - 1]]
    assert in_turn == [(True, False, 0), (False, True, 0), (False, False, 0), (False, True, 1), (False, False, 1)]
    assert kinds.count((False, True, 1)) == 121 and kinds.count((True, False, 0)) == 64
    assert [a.scan_counter for a in acquisitions] == list(range(1, len(acquisitions) + 1))
    assert [n for n, a in enumerate(acquisitions) if a.is_flag_set(ismrmrd.ACQ_LAST_IN_MEASUREMENT)] == [
        len(acquisitions) - 1]
    stamps = np.array([a.acquisition_time_stamp for a in acquisitions], dtype=int)
    assert stamps[0] == 0 and np.diff(stamps).min() >= 0
    # Noise and reference follow each other by the repetition time; the breath hold begins right after them.
    steps = 2.5 * np.diff(stamps[:64 + 121 + 1])
    assert steps.max() <= 5.0 and steps.mean() == pytest.approx(3.0, abs=0.05)
    # One clock for R waves, too: those before a breath hold go on as those in it.
    for s, hold in enumerate(cine.sidecar["breath_holds"]):
        beats = hold["schedule"]["durations_ms"]
        lines = [(a, kind) for a, kind in zip(acquisitions, kinds) if kind[2] == s and not kind[0]]
        wave = {kind: np.array([2.5 * a.acquisition_time_stamp - 2.5 * a.physiology_time_stamp[0]
                                for a, other in lines if other == kind]) for kind in {k for _, k in lines}}  # fmt: skip
        first = np.median(wave[False, False, s][:10])
        before = (first - wave[False, True, s]) / beats[0]
        np.testing.assert_allclose(before, np.rint(before), atol=5.1 / beats[0])
    assert max(a.idx.segment for a in acquisitions) == Reader(path).limits.segment.maximum


@pytest.mark.parametrize("trajectory", ["radial", "golden_angle"])
def test_a_radial_scan_is_regridded_by_the_trajectory_in_its_file(scan, trajectory):
    pytest.importorskip("finufft")
    path, cine = scan(trajectory=trajectory, snr=1e5, acquired_resolution_mm=(4.0, 4.0), matrix=(96, 96), coils=4)
    got = Reader(path)
    assert got.encoding.trajectory.value == {"radial": "radial", "golden_angle": "goldenangle"}[trajectory]
    assert got.encoding.trajectoryDescription.identifier == trajectory
    lines = [a for a in got.lines if (a.idx.slice, a.idx.phase) == (1, 1)]
    encoded, image = got.encoding.encodedSpace.matrixSize, got.encoding.reconSpace.matrixSize
    k = np.stack([a.traj * [encoded.x, encoded.y] for a in lines])  # cycles per field of view, (spokes, samples, xy)
    angles = np.mod(np.arctan2(k[:, 0, 1], k[:, 0, 0]), np.pi)
    order = np.argsort(angles)
    gaps = np.diff(angles[order], append=angles[order[0]] + np.pi)
    share = np.empty(len(lines))
    share[order] = 0.5 * (gaps + np.roll(gaps, 1))
    radius = np.linalg.norm(k, axis=-1)
    weights = share[:, None] * np.where(radius < 0.5, 0.25, radius)
    samples = np.stack([a.data for a in lines], axis=1) * weights
    x, y = np.arange(image.x) - image.x // 2, np.arange(image.y) - image.y // 2
    across = np.exp(2j * np.pi * np.outer(x, k[..., 0].ravel()) / image.x)
    down = np.exp(2j * np.pi * np.outer(y, k[..., 1].ravel()) / image.y)
    channels = np.stack([(down * channel.ravel()) @ across.T for channel in samples])
    combined = np.sqrt((np.abs(channels) ** 2).sum(axis=0))
    heart = cine.labels[1, 1] > 0
    # Gridded alike but for the combination, which takes the sensitivities to be constant within a pixel.
    np.testing.assert_allclose(combined[heart], cine.image[1, 1][heart], rtol=0.03)
